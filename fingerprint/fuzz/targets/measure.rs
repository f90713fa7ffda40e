//! Any bytes are a file: it is measured within its limits, and what is said of it can be sent.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: hostile::begin(), |bytes: &[u8]| {
    hostile::measured(bytes);
});

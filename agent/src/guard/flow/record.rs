//! What the kernel's side and the agent tell each other: made from `bpf/record.h`.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    dead_code,
    non_camel_case_types,
    clippy::all,
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks
)]

use super::kernel::Plain;

include!(concat!(env!("OUT_DIR"), "/record.rs"));

// SAFETY: `record.h` has no padding, and only numbers and arrays of numbers.
unsafe impl Plain for key {}
// SAFETY: as above.
unsafe impl Plain for label {}
// SAFETY: as above.
unsafe impl Plain for place {}
// SAFETY: as above.
unsafe impl Plain for name {}
// SAFETY: as above.
unsafe impl Plain for suffix {}
// SAFETY: as above.
unsafe impl Plain for mounted {}
// SAFETY: as above.
unsafe impl Plain for network {}
// SAFETY: as above.
unsafe impl Plain for hosts {}
// SAFETY: as above.
unsafe impl Plain for program {}
// SAFETY: as above.
unsafe impl Plain for group {}
// SAFETY: as above.
unsafe impl Plain for ended {}
// SAFETY: as above.
unsafe impl Plain for settings {}
// SAFETY: as above.
unsafe impl Plain for shield {}
// SAFETY: as above.
unsafe impl Plain for event {}

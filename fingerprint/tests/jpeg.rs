//! The processes of JPEG (ISO/IEC 10918-1, table B.1) beside the usual ones: each shows the picture, or says by name
//! why it does not. The files in `fixtures` were written by cjpeg, and by libjpeg-turbo 3 through imagecodecs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails where it cannot go on")]

mod making;

use making::{content, difference, unscanned};
use vitrine_fingerprint::{Content, Picture, Reason};

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/{name}.jpg", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn found(name: &str) -> Picture {
    match content(&sample(name)) {
        Content::Picture(picture) => picture,
        Content::Unscanned(unscanned) => panic!("{name}: {}", unscanned.reason),
        _ => panic!("{name} is no picture"),
    }
}

#[test]
fn lossless_and_arithmetic_coding_show_the_picture() {
    let reference = found("lossless");
    for name in ["lossless", "arithmetic", "arithmetic-progressive"] {
        let picture = found(name);
        assert_eq!((picture.width, picture.height, picture.bit_depth), (97, 61, 8), "{name}");
        assert!(difference(&picture, &reference) < 10.0, "{name}: {:.2} away", difference(&picture, &reference));
    }
}

#[test]
fn what_is_not_read_is_named_with_its_size() {
    // Lossless with more bits, and a difference of two pictures (SOF5).
    let changed = |name: &str, marker: u8, bits: u8| {
        let mut bytes = sample(name);
        let at =
            bytes.windows(4).position(|w| w[0] == 0xff && matches!(w[1], 0xc1 | 0xc3 | 0xc9) && w[2] == 0).unwrap();
        (bytes[at + 1], bytes[at + 4]) = (marker, bits);
        bytes
    };
    for (bytes, bits, word) in [
        (sample("twelve"), 12, "12 bits per channel"),
        (changed("lossless", 0xc3, 16), 16, "lossless JPEG with 16 bits per channel"),
        (changed("arithmetic", 0xc5, 8), 8, "hierarchical"),
    ] {
        let found = unscanned(content(&bytes));
        assert!(matches!(&found.reason, Reason::Unsupported(text) if text.contains(word)), "{word}: {}", found.reason);
        let size = found.size.map(|size| (size.width, size.height, size.bit_depth));
        assert_eq!(size, Some((97, 61, bits)), "{word}");
    }
}

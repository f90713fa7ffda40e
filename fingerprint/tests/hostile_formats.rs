//! Files of every further format that were made to hurt: each ends soon, as a picture or as a reason that says
//! what is wrong. The sound ones in `fixtures` were written by ImageMagick, libvips and libtiff.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails where it cannot go on")]

mod making;

use std::path::Path;
use std::time::{Duration, Instant};

use making::{content, content_within, unscanned};
use vitrine_fingerprint::{Content, Format, Limits, Reason};

/// The sound files, 97 by 61 pixels each, and their formats.
const SAMPLES: &[(&str, Format)] = &[
    ("sample.gif", Format::Gif),
    ("sample.bmp", Format::Bmp),
    ("runs.bmp", Format::Bmp),
    ("sample.ppm", Format::Pnm),
    ("sample.pam", Format::Pnm),
    ("sample.psd", Format::Psd),
    ("sample.psb", Format::Psb),
    ("sample.jxl", Format::Jxl),
    ("sample.jp2", Format::Jp2),
    ("sample.j2k", Format::J2k),
    ("sample.exr", Format::Exr),
    ("sample.hdr", Format::Hdr),
    ("lzw.tif", Format::Tiff),
    ("deflate.tif", Format::Tiff),
    ("jpeg.tif", Format::Tiff),
    ("zstd.tif", Format::Tiff),
    ("webp.tif", Format::Tiff),
    ("lab.tif", Format::Tiff),
    ("fax3.tif", Format::Tiff),
    ("fax4.tif", Format::Tiff),
];

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

fn replace(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes[at..at + with.len()].copy_from_slice(with);
}

fn find(bytes: &[u8], text: &[u8]) -> usize {
    bytes.windows(text.len()).position(|window| window == text).unwrap()
}

/// The file with another size in its header.
fn sized(name: &str, width: u32, height: u32) -> Vec<u8> {
    let mut bytes = sample(name);
    let [w, h] = [width, height].map(u32::to_le_bytes);
    match name.rsplit('.').next().unwrap() {
        "gif" => {
            // The canvas, and the first frame.
            let frame = bytes.windows(9).position(|b| b == [0x2c, 0, 0, 0, 0, 97, 0, 61, 0]).unwrap();
            for at in [6, frame + 5] {
                replace(&mut bytes, at, &[w[0], w[1], h[0], h[1]]);
            }
        }
        "bmp" => replace(&mut bytes, 18, &[w, h].concat()),
        "psd" | "psb" => replace(&mut bytes, 14, &[height.to_be_bytes(), width.to_be_bytes()].concat()),
        "jp2" | "j2k" => {
            // Of the boxes and of the codestream (ISO/IEC 15444-1, "ihdr" and SIZ), whose tile is the picture.
            let [w, h] = [width, height].map(u32::to_be_bytes);
            if let Some(at) = bytes.windows(4).position(|window| window == b"ihdr") {
                replace(&mut bytes, at + 4, &[h, w].concat());
            }
            let siz = find(&bytes, b"\xff\x51") + 6;
            replace(&mut bytes, siz, &[w, h].concat());
            replace(&mut bytes, siz + 16, &[w, h].concat());
        }
        "exr" => {
            let at = find(&bytes, b"dataWindow\0box2i\0") + 17 + 4;
            let last = |length: u32| length.wrapping_sub(1).to_le_bytes();
            replace(&mut bytes, at, &[[0; 4], [0; 4], last(width), last(height)].concat());
        }
        "tif" => {
            for (tag, old, new) in [(256u16, 97u32, w), (257, 61, h)] {
                let entry = |kind: u8| [&tag.to_le_bytes()[..], &[kind, 0, 1, 0, 0, 0], &old.to_le_bytes()].concat();
                let at = bytes.windows(12).position(|window| window == entry(3) || window == entry(4)).unwrap();
                bytes[at + 2] = 4;
                replace(&mut bytes, at + 8, &new);
            }
        }
        "jxl" => bytes = jxl(width, height),
        "ppm" | "pam" | "hdr" => {
            let text = |w: u32, h: u32| match name {
                "sample.ppm" => format!("{w} {h}\n"),
                "sample.pam" => format!("WIDTH {w}\nHEIGHT {h}\n"),
                _ => format!("-Y {h} +X {w}\n"),
            };
            let old = text(97, 61);
            let at = find(&bytes, old.as_bytes());
            bytes.splice(at..at + old.len(), text(width, height).into_bytes());
        }
        _ => unreachable!(),
    }
    bytes
}

/// A JPEG XL codestream of a header alone (ISO/IEC 18181-1, "SizeHeader"): sides of up to 2^30 pixels.
fn jxl(width: u32, height: u32) -> Vec<u8> {
    let mut bits: Vec<bool> = Vec::new();
    let mut put = |value: u32, count: u32| bits.extend((0..count).map(|bit| value >> bit & 1 == 1));
    put(0, 1); // Not a multiple of eight.
    put(3, 2);
    put(height.wrapping_sub(1), 30);
    put(0, 3); // No ratio.
    put(3, 2);
    put(width.wrapping_sub(1), 30);
    put(1, 1); // Everything else as usual.
    put(1, 1); // And the colours.
    let bytes = bits.chunks(8).map(|byte| byte.iter().rev().fold(0u8, |value, bit| value << 1 | u8::from(*bit)));
    [0xff, 0x0a].into_iter().chain(bytes).chain([0; 16]).collect()
}

fn soon<T>(name: &str, within: u64, what: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = what();
    assert!(start.elapsed() < Duration::from_secs(within), "{name}: {:?}", start.elapsed());
    result
}

#[test]
fn sound_files_are_measured() {
    for (name, format) in SAMPLES {
        match content(&sample(name)) {
            Content::Picture(picture) => {
                assert_eq!((picture.format, picture.width, picture.height), (*format, 97, 61), "{name}");
            }
            Content::Unscanned(found) => panic!("{name}: {}", found.reason),
            _ => panic!("{name}: no picture"),
        }
    }
}

#[test]
fn truncated_files_end_with_a_reason() {
    for (name, format) in SAMPLES {
        let bytes = sample(name);
        for sixteenth in 1..16 {
            let cut = &bytes[..bytes.len() * sixteenth / 16];
            match soon(name, 5, || content(cut)) {
                Content::Unscanned(found) => {
                    assert_eq!(found.format, *format, "{name}");
                    let named = matches!(found.reason, Reason::Truncated(_) | Reason::Damaged(_));
                    assert!(named, "{name} cut at {sixteenth}/16: {}", found.reason);
                }
                // What is cut off may be no part of the picture; ImageMagick's PSD has its layers in front.
                // JPEG 2000 shows with each byte more of the whole picture.
                Content::Picture(_) if matches!(format, Format::Jp2 | Format::J2k) => {}
                Content::Picture(_) => assert!(sixteenth > 12, "{name} cut at {sixteenth}/16 is a picture"),
                _ => panic!("{name} cut at {sixteenth}/16 is no picture"),
            }
        }
    }
}

#[test]
fn a_header_of_exapixels_is_refused() {
    for (name, format) in SAMPLES {
        // What the field can say: GIF has 16 bits, BMP a sign; of JPEG XL, what its decoder does not refuse itself.
        let side = match format {
            Format::Gif => 65535,
            Format::Jxl => 100_000,
            Format::Bmp | Format::Exr => (1 << 31) - 1,
            _ => 1 << 31,
        };
        let found = unscanned(soon(name, 2, || content(&sized(name, side, side))));
        let expected = matches!(found.reason, Reason::TooManyPixels { .. } | Reason::Damaged(_));
        assert!(expected && found.format == *format, "{name}: {}", found.reason);
        if *format != Format::Exr {
            assert_eq!(
                found.size.map(|size| (size.width, size.height)),
                Some((side, side)),
                "{name}: {}",
                found.reason
            );
        }
    }
}

#[test]
fn a_picture_without_pixels_is_refused() {
    for (name, _) in SAMPLES.iter().filter(|(_, format)| *format != Format::Jxl) {
        for (width, height) in [(0, 61), (97, 0), (0, 0)] {
            let found = unscanned(soon(name, 2, || content(&sized(name, width, height))));
            assert!(matches!(found.reason, Reason::Damaged(_)), "{name}, {width} x {height}: {}", found.reason);
        }
    }
}

/// The header claims as many pixels as are allowed, and the file holds a few.
#[test]
fn a_bomb_costs_neither_memory_nor_time() {
    let limits = Limits { max_memory: 64 << 20, ..Limits::default() };
    for (name, _) in SAMPLES {
        for (width, height) in [(40_000, 40_000), (1, 60_000), (60_000, 1)] {
            let found = soon(name, 10, || content_within(&sized(name, width, height), &limits));
            if let Content::Unscanned(found) = found {
                assert!(!matches!(found.reason, Reason::DecoderFailed(_)), "{name}: {}", found.reason);
            }
        }
    }
}

#[test]
fn limits_hold_for_pixels() {
    let small = Limits { max_pixels: 1000, ..Limits::default() };
    for (name, _) in SAMPLES {
        let found = unscanned(content_within(&sample(name), &small));
        assert!(matches!(found.reason, Reason::TooManyPixels { limit: 1000, .. }), "{name}: {}", found.reason);
        assert_eq!(found.size.map(|size| (size.width, size.height)), Some((97, 61)), "{name}");
    }
}

#[test]
fn damaged_files_do_no_harm() {
    let limits = Limits { max_pixels: 10_000_000, max_memory: 64 << 20, ..Limits::default() };
    let mut state = 88_172_645_463_325_252u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for (name, format) in SAMPLES {
        let sound = sample(name);
        for round in 0..60 {
            let mut bytes = sound.clone();
            // Headers first: they do most damage. TIFF has them at the end.
            let start = if *format == Format::Tiff && round % 4 == 0 { bytes.len() - 200 } else { 4 };
            let reach = if round % 2 == 0 { (start + 300).min(bytes.len()) } else { bytes.len() };
            for _ in 0..1 + random(6) {
                let at = start + random(reach - start);
                bytes[at] = [0, 0xff, 0x7f, 0x80, random(256) as u8][random(5)];
            }
            let found = soon(name, 10, || content_within(&bytes, &limits));
            if let Content::Unscanned(found) = found
                && let Reason::DecoderFailed(message) = found.reason
            {
                println!("{name}, round {round}: a panic was caught: {message}");
            }
        }
    }
}

#[test]
fn what_is_known_and_not_decoded_is_unscanned() {
    for start in [
        b"FUJIFILMCCD-RAW 0201".as_slice(),
        b"IIRO\x08\0\0\0",
        b"IIU\0\x18\0\0\0",
        b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom",
        b"II\x1a\0\0\0HEAPCCDR",
        b"II*\0\x10\0\0\0IIIITwaR",
    ] {
        let found = unscanned(content(&[start, &[0; 100]].concat()));
        assert!(found.format == Format::Raw && matches!(found.reason, Reason::Unsupported(_)), "{}", found.reason);
    }
}

#[test]
fn texts_that_begin_like_pictures_are_none() {
    for text in [
        "BMW drivers and others",
        "P5 is a file format of Netpbm",
        "P1: read the manual\nP2: read it again",
        "P6 protocol\n",
        "#?RADIANT",
        "GIF89 is older than GIF89b",
        "BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0 no bitmap at all",
    ] {
        assert!(matches!(content(text.as_bytes()), Content::Other), "{text}");
    }
}

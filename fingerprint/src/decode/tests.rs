//! The pictures beside the first one, and hand-made files that no encoder at hand writes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails where it cannot go on")]

mod frames;

use std::ops::ControlFlow;

use super::*;

/// A little TIFF file from directories of entries: tag, type, values; `NEXT` chains them as it says.
struct Tiff {
    bytes: Vec<u8>,
}

impl Tiff {
    fn new() -> Tiff {
        Tiff { bytes: b"II*\0\x08\0\0\0".to_vec() }
    }

    /// Appends a directory and says where it lies. Values of more than four bytes follow it.
    fn directory(&mut self, entries: &[(u16, u16, &[u32])], next: u32) -> u32 {
        let start = self.bytes.len() as u32;
        let mut values = start + 2 + entries.len() as u32 * 12 + 4;
        let mut tail = Vec::new();
        self.bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, numbers) in entries {
            let width = if *kind == 3 { 2 } else { 4 };
            let mut bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()[..width].to_vec()).collect();
            self.bytes.extend(tag.to_le_bytes());
            self.bytes.extend(kind.to_le_bytes());
            self.bytes.extend((numbers.len() as u32).to_le_bytes());
            if bytes.len() > 4 {
                self.bytes.extend(values.to_le_bytes());
                values += bytes.len() as u32;
                tail.extend(bytes);
            } else {
                bytes.resize(4, 0);
                self.bytes.extend(bytes);
            }
        }
        self.bytes.extend(next.to_le_bytes());
        self.bytes.extend(tail);
        start
    }

    fn data(&mut self, bytes: &[u8]) -> u32 {
        let start = self.bytes.len() as u32;
        self.bytes.extend(bytes);
        start
    }

    /// A grey picture of `side` by `side` pixels of 8 bits, all `value`.
    fn grey(&mut self, side: u32, value: u8, more: &[(u16, u16, &[u32])], next: u32) -> u32 {
        let data = self.data(&vec![value; (side * side) as usize]);
        let entries: [(u16, u16, &[u32]); 6] = [
            (256, 4, &[side]),
            (257, 4, &[side]),
            (258, 3, &[8]),
            (262, 3, &[1]),
            (273, 4, &[data]),
            (279, 4, &[side * side]),
        ];
        self.directory(&[entries.as_slice(), more].concat(), next)
    }

    fn point(&mut self, at: u32, to: u32) {
        self.bytes[at as usize..at as usize + 4].copy_from_slice(&to.to_le_bytes());
    }
}

type Beside = (String, Result<(u32, u8), String>);

/// Names, sizes and first pixels of what lies beside the first picture; the reason where it is not decoded.
fn beside(bytes: &[u8]) -> Vec<Beside> {
    let mut found = Vec::new();
    let format = Format::of(bytes).unwrap();
    further(format, Source::Memory(bytes), &Limits::default(), &mut |name, result| {
        let result = result.map(|decoded| (decoded.size.width, decoded.reduced.rgb[0]));
        found.push((name, result.map_err(|failure| failure.reason.to_string())));
        ControlFlow::Continue(())
    });
    found
}

fn named(found: &[Beside]) -> Vec<(&str, (u32, u8))> {
    found.iter().map(|(name, result)| (name.as_str(), result.clone().unwrap())).collect()
}

#[test]
fn pages_and_sub_directories_are_found_once_each() {
    let mut tiff = Tiff::new();
    let third = tiff.grey(70, 30, &[], 0);
    let deep = tiff.grey(90, 22, &[], 0);
    let low = tiff.grey(80, 21, &[(330, 4, &[deep])], 0);
    let icon = tiff.grey(32, 99, &[], 0);
    // A mask has one bit a pixel (TIFF 6.0, NewSubfileType); a picture that calls itself one is a picture.
    let disguised = tiff.grey(100, 98, &[(254, 4, &[4])], third);
    let second = tiff.grey(100, 20, &[(330, 4, &[low, icon, low])], disguised);
    let first = tiff.grey(200, 10, &[], second);
    tiff.point(4, first);
    let found = beside(&tiff.bytes);
    let expected = [
        ("page 2", (100, 20)),
        ("sub-directory 1 of page 2", (80, 21)),
        ("sub-directory 1 of sub-directory 1 of page 2", (90, 22)),
        ("page 3", (100, 98)),
        ("page 4", (70, 30)),
    ];
    assert_eq!(named(&found), expected);
    let main = decode(Format::Tiff, Source::Memory(&tiff.bytes), &Limits::default()).unwrap();
    assert_eq!((main.size.width, main.reduced.rgb[0]), (200, 10));
}

#[test]
fn a_chain_of_directories_that_bites_its_tail_ends() {
    let mut tiff = Tiff::new();
    let second = tiff.grey(100, 20, &[], 0);
    let next = tiff.bytes.len() as u32 - 4;
    let first = tiff.grey(200, 10, &[(330, 4, &[second])], second);
    tiff.point(4, first);
    tiff.point(next, first);
    assert_eq!(named(&beside(&tiff.bytes)), [("sub-directory 1 of page 1", (100, 20))]);
}

#[test]
fn sub_directories_that_lie_in_themselves_or_in_each_other_end() {
    let entry = |to: u32| [&[74, 1, 4, 0, 1, 0, 0, 0][..], &to.to_le_bytes()].concat();
    let turn = |tiff: &mut Tiff, from: u32, to: u32| {
        let at = tiff.bytes.windows(12).position(|window| window == entry(from)).unwrap();
        tiff.point(at as u32 + 8, to);
    };
    let mut own = Tiff::new();
    let first = own.grey(200, 10, &[(330, 4, &[7777])], 0);
    own.point(4, first);
    turn(&mut own, 7777, first);
    assert_eq!(named(&beside(&own.bytes)), []);

    let mut tiff = Tiff::new();
    let grandchild = tiff.grey(90, 30, &[(330, 4, &[7777])], 0);
    let child = tiff.grey(100, 20, &[(330, 4, &[grandchild])], 0);
    let first = tiff.grey(200, 10, &[(330, 4, &[child])], 0);
    tiff.point(4, first);
    turn(&mut tiff, 7777, first);
    let expected =
        [("sub-directory 1 of page 1", (100, 20)), ("sub-directory 1 of sub-directory 1 of page 1", (90, 30))];
    assert_eq!(named(&beside(&tiff.bytes)), expected);
}

#[test]
fn more_directories_than_are_looked_at_are_reported_once() {
    let mut tiff = Tiff::new();
    let mut next = 0;
    for _ in 0..5000 {
        next = tiff.directory(&[(256, 4, &[8]), (257, 4, &[8])], next);
    }
    let first = tiff.grey(200, 10, &[], next);
    tiff.point(4, first);
    let found = beside(&tiff.bytes);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.as_ref().unwrap_err().contains("more than 4096 directories"));
}

#[test]
fn directories_that_share_one_strip_do_not_cost_for_ever() {
    let mut tiff = Tiff::new();
    let data = tiff.data(&[7; 200 * 200]);
    let mut next = 0;
    for _ in 0..50 {
        next = tiff.directory(
            &[
                (256, 4, &[200]),
                (257, 4, &[200]),
                (258, 3, &[8]),
                (262, 3, &[1]),
                (273, 4, &[data]),
                (279, 4, &[40_000]),
            ],
            next,
        );
    }
    tiff.point(4, next);
    let limits = Limits { max_pixels: 40_000, ..Limits::default() };
    let mut found = Vec::new();
    further(Format::Tiff, Source::Memory(&tiff.bytes), &limits, &mut |name, result| {
        found.push((name, result.err().map(|failure| failure.reason.to_string())));
        ControlFlow::Continue(())
    });
    assert_eq!(found.len(), 9, "{found:?}");
    assert!(found[8].1.as_ref().is_some_and(|reason| reason.contains("more pixels")), "{found:?}");
}

#[test]
fn a_page_that_is_not_read_is_not_replaced_by_another() {
    let mut tiff = Tiff::new();
    let second = tiff.grey(100, 20, &[], 0);
    let first = tiff.grey(200, 10, &[(259, 3, &[34925])], second);
    tiff.point(4, first);
    let failure = decode(Format::Tiff, Source::Memory(&tiff.bytes), &Limits::default()).err().unwrap();
    assert!(failure.reason.to_string().contains("LZMA"), "{}", failure.reason);
    assert_eq!(failure.size.map(|size| size.width), Some(200));
    assert_eq!(named(&beside(&tiff.bytes)), [("page 2", (100, 20))]);
}

#[test]
fn a_damaged_page_does_not_hide_the_next_one() {
    let mut tiff = Tiff::new();
    let third = tiff.grey(70, 30, &[], 0);
    let huge = tiff.directory(&[(256, 4, &[1 << 31]), (257, 4, &[1 << 31]), (262, 3, &[1])], third);
    let second = tiff.directory(&[(256, 4, &[100]), (257, 4, &[100]), (262, 3, &[1]), (273, 4, &[1 << 30])], huge);
    let first = tiff.grey(200, 10, &[], second);
    tiff.point(4, first);
    let found = beside(&tiff.bytes);
    assert!(found[0].0 == "page 2" && found[0].1.is_err(), "{found:?}");
    assert!(found[1].1.as_ref().unwrap_err().contains("pixels"), "{found:?}");
    assert_eq!(found[2], ("page 4".to_owned(), Ok((70, 30))));
}

#[test]
fn a_reduced_version_in_front_is_not_the_main_picture() {
    // As cameras do: a small picture first, the sensor's data and a larger preview below it.
    let mut tiff = Tiff::new();
    let preview = tiff.grey(150, 40, &[(254, 4, &[1])], 0);
    let sensor = tiff.directory(
        &[(254, 4, &[0]), (256, 4, &[6000]), (257, 4, &[4000]), (258, 3, &[14]), (262, 3, &[32803]), (273, 4, &[8])],
        0,
    );
    let first = tiff.grey(100, 10, &[(254, 4, &[1]), (330, 4, &[sensor, preview])], 0);
    tiff.point(4, first);
    let main = decode(Format::Tiff, Source::Memory(&tiff.bytes), &Limits::default()).unwrap();
    assert_eq!(main.size, Size { width: 6000, height: 4000, bit_depth: 14 });
    assert_eq!(main.reduced.rgb[0], 40);
    let found = beside(&tiff.bytes);
    assert_eq!(found[0], ("page 1".to_owned(), Ok((100, 10))));
    assert!(found[1].1.as_ref().unwrap_err().contains("sensor"), "{found:?}");
    assert_eq!(found.len(), 2);
}

#[test]
fn subsampled_colour_differences_are_unfolded() {
    // 4 x 2 pixels in two units of 2 x 2: red and blue by ITU-R BT.601.
    let mut tiff = Tiff::new();
    let data = tiff.data(&[76, 76, 76, 76, 85, 255, 29, 29, 29, 29, 255, 107]);
    let first = tiff.directory(
        &[
            (256, 4, &[4]),
            (257, 4, &[2]),
            (258, 3, &[8, 8, 8]),
            (262, 3, &[6]),
            (273, 4, &[data]),
            (277, 3, &[3]),
            (279, 4, &[12]),
            (530, 3, &[2, 2]),
        ],
        0,
    );
    tiff.point(4, first);
    let main = decode(Format::Tiff, Source::Memory(&tiff.bytes), &Limits::default()).unwrap();
    let rows: Vec<&[u8]> = main.reduced.rgb.chunks_exact(12).collect();
    assert_eq!(rows[0], rows[1]);
    let near = |pixel: &[u8], colour: [u8; 3]| pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 4);
    assert!(near(&rows[0][3..6], [255, 0, 0]) && near(&rows[0][6..9], [0, 0, 255]), "{rows:?}");
}

#[test]
fn half_precision_is_read() {
    // 0, 0.5, 1 and the smallest number of IEEE 754 binary16.
    let mut tiff = Tiff::new();
    let data = tiff.data(&[0x00, 0x00, 0x00, 0x38, 0x00, 0x3c, 0x01, 0x00]);
    let first = tiff.directory(
        &[
            (256, 4, &[4]),
            (257, 4, &[1]),
            (258, 3, &[16]),
            (262, 3, &[1]),
            (273, 4, &[data]),
            (279, 4, &[8]),
            (339, 3, &[3]),
        ],
        0,
    );
    tiff.point(4, first);
    let main = decode(Format::Tiff, Source::Memory(&tiff.bytes), &Limits::default()).unwrap();
    assert_eq!(main.size.bit_depth, 16);
    assert_eq!(main.reduced.rgb, [0, 0, 0, 128, 128, 128, 255, 255, 255, 0, 0, 0]);
}

#[test]
fn a_preview_that_is_a_whole_jpeg_is_found() {
    // As cameras store them: by two tags of "old-style" JPEG, and as the only strip.
    let pixels = [[200u8, 30, 30]; 90 * 70].concat();
    let jpeg = jpeg::encode(&pixels, 90, 70, 90).unwrap();
    let mut tiff = Tiff::new();
    let at = tiff.data(&jpeg);
    let length = jpeg.len() as u32;
    let linked = tiff.directory(&[(254, 4, &[1]), (259, 3, &[6]), (513, 4, &[at]), (514, 4, &[length])], 0);
    let strip = tiff.directory(
        &[
            (256, 4, &[90]),
            (257, 4, &[70]),
            (258, 3, &[8, 8, 8]),
            (259, 3, &[6]),
            (262, 3, &[6]),
            (273, 4, &[at]),
            (277, 3, &[3]),
            (279, 4, &[length]),
        ],
        linked,
    );
    tiff.point(4, strip);
    let main = decode(Format::Tiff, Source::Memory(&tiff.bytes), &Limits::default()).unwrap();
    assert!((main.size.width, main.size.height) == (90, 70) && main.reduced.rgb[0] > 180 && main.reduced.rgb[1] < 50);
    let found = beside(&tiff.bytes);
    assert!(matches!(found.as_slice(), [(name, Ok((90, _)))] if name == "page 2"), "{found:?}");
}

#[test]
fn damaged_files_end_whatever_lies_beside_the_first_picture() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let limits = Limits { max_pixels: 10_000_000, max_memory: 64 << 20, ..Limits::default() };
    let mut state = 2_463_534_242u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut paths: Vec<_> = std::fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let sound = std::fs::read(&path).unwrap();
        let format = Format::of(&sound).unwrap();
        for _ in 0..40 {
            let mut bytes = sound.clone();
            for _ in 0..1 + random(6) {
                let at = 4 + random(bytes.len() - 4);
                bytes[at] = [0, 0xff, 0x7f, 0x80, random(256) as u8][random(5)];
            }
            let start = std::time::Instant::now();
            further(format, Source::Memory(&bytes), &limits, &mut |_, _| ControlFlow::Continue(()));
            assert!(start.elapsed().as_secs() < 10, "{}: {:?}", path.display(), start.elapsed());
        }
    }
}

//! AVIF and HEIC: grids, turns and the pictures beside the main one, and files that were made to hurt. Those in
//! `fixtures` were written by avifenc and heif-enc; the grid of HEVC was put together from four of the latter's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails where it cannot go on")]

mod making;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use making::{base, content, content_within, difference, look, picture, pictures, run, unscanned};
use vitrine_fingerprint::{Content, Format, Limits, Reason, measure};

const SAMPLES: [(&str, Format); 5] = [
    ("sample.avif", Format::Avif),
    ("grid.avif", Format::Avif),
    ("sample.heic", Format::Heif),
    ("thumbnail.heic", Format::Heif),
    ("grid.heic", Format::Heif),
];

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

/// Where the contents of the first box of this kind begin.
fn at(bytes: &[u8], kind: &[u8; 4]) -> usize {
    bytes.windows(4).position(|window| window == kind).unwrap() + 4
}

fn put(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes[at..at + with.len()].copy_from_slice(with);
}

fn soon(name: &str, within: u64, bytes: &[u8], limits: &Limits) -> Content {
    let start = Instant::now();
    let content = content_within(bytes, limits);
    assert!(start.elapsed() < Duration::from_secs(within), "{name}: {:?}", start.elapsed());
    content
}

/// The sizes of what lies beside the main picture.
fn inside(bytes: &[u8]) -> Vec<(String, Option<(u32, u32)>)> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let mut found = Vec::new();
    let mut tell = |inside: vitrine_fingerprint::Inside| {
        if !inside.path.is_empty() {
            let size = inside.measurement.content.size();
            found.push((inside.path, size.map(|size| (size.width, size.height))));
        }
    };
    measure(&file, &Limits::default(), &mut tell).unwrap();
    found
}

#[test]
fn grids_and_turns_show_the_picture() {
    let Some(pictures) = pictures("grids of AVIF", &["convert-im6.q16", "avifenc"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let (_, base) = base(&pictures, directory.path());
    let (even, turned, out) = (directory.path().join("even.png"), directory.path().join("t.png"), "out.avif");
    let out = directory.path().join(out);
    let files = [("BASE", base.as_path()), ("EVEN", &even), ("TURNED", &turned), ("OUT", &out)];
    run("convert-im6.q16 BASE -crop 700x464+0+0 +repage EVEN", &files);
    for (encode, turn) in [
        ("avifenc -s 8 --grid 2x2 EVEN OUT", "-rotate 0"),
        ("avifenc -s 8 -y 420 -d 10 --grid 2x1 EVEN OUT", "-rotate 0"),
        ("avifenc -s 8 --grid 2x2 --irot 1 EVEN OUT", "-rotate 270"),
        ("avifenc -s 8 --irot 2 EVEN OUT", "-rotate 180"),
        ("avifenc -s 8 --irot 3 EVEN OUT", "-rotate 90"),
        ("avifenc -s 8 --imir 0 EVEN OUT", "-flip"),
        ("avifenc -s 8 --imir 1 EVEN OUT", "-flop"),
    ] {
        run(encode, &files);
        run(&format!("convert-im6.q16 EVEN {turn} TURNED"), &files);
        let (found, expected) = (look(&out), look(&turned));
        let (found, expected) = (picture(&found).unwrap(), picture(&expected).unwrap());
        assert_eq!((found.width, found.height), (expected.width, expected.height), "{encode}");
        let difference = difference(found, expected);
        assert!(difference < 4.0, "{encode}: {difference:.2} away");
    }
}

#[test]
fn thumbnails_are_looked_at_and_tiles_are_none() {
    assert_eq!(inside(&sample("grid.avif")), []);
    assert_eq!(inside(&sample("grid.heic")), []);
    let found = inside(&sample("thumbnail.heic"));
    assert!(matches!(found.as_slice(), [(_, Some((96, 76..=78)))]), "{found:?}");
}

#[test]
fn sound_files_are_measured() {
    for (name, format) in SAMPLES {
        let Content::Picture(found) = content(&sample(name)) else { panic!("{name} is no picture") };
        let small = name.starts_with("sample");
        assert_eq!((found.format, found.width, found.height > 60), (format, if small { 97 } else { 160 }, true));
    }
}

#[test]
fn a_grid_is_the_same_picture_however_it_is_coded() {
    let grids = ["grid.avif", "grid.heic", "thumbnail.heic"].map(|name| match content(&sample(name)) {
        Content::Picture(picture) => picture,
        _ => panic!("{name} is no picture"),
    });
    for other in &grids[1..] {
        assert!(difference(&grids[0], other) < 8.0, "{:.2} away", difference(&grids[0], other));
    }
}

#[test]
fn truncated_files_end_with_a_reason() {
    for (name, format) in SAMPLES {
        let bytes = sample(name);
        for sixteenth in 1..16 {
            let cut = &bytes[..bytes.len() * sixteenth / 16];
            match soon(name, 5, cut, &Limits::default()) {
                Content::Unscanned(found) => {
                    let named = matches!(found.reason, Reason::Truncated(_) | Reason::Damaged(_));
                    assert!(named && found.format == format, "{name} cut at {sixteenth}/16: {}", found.reason);
                }
                Content::Picture(_) => assert!(sixteenth > 8, "{name} cut at {sixteenth}/16 is a picture"),
                _ => panic!("{name} cut at {sixteenth}/16 is no picture"),
            }
        }
    }
}

#[test]
fn limits_hold_before_anything_is_decoded() {
    for (name, _) in SAMPLES {
        let few = Limits { max_pixels: 1000, ..Limits::default() };
        let found = unscanned(content_within(&sample(name), &few));
        assert!(matches!(found.reason, Reason::TooManyPixels { limit: 1000, .. }), "{name}: {}", found.reason);
        let little = Limits { max_memory: 50_000, ..Limits::default() };
        let found = unscanned(content_within(&sample(name), &little));
        assert!(matches!(found.reason, Reason::TooMuchMemory { .. }), "{name}: {}", found.reason);
        assert!(found.size.is_some_and(|size| size.width >= 97), "{name}: {:?}", found.size);
    }
}

#[test]
fn a_size_that_the_container_claims_is_not_believed() {
    for name in ["sample.avif", "sample.heic"] {
        let mut bytes = sample(name);
        let place = at(&bytes, b"ispe") + 4;
        put(&mut bytes, place, &[0, 0, 0, 8, 0, 0, 0, 8]);
        let Content::Picture(found) = content(&bytes) else { panic!("{name} is no picture") };
        assert_eq!(found.width, 97);
    }
}

#[test]
fn grids_that_lie_are_refused() {
    let sound = sample("grid.avif");
    // The description of the grid: version, flags, rows and columns less one, width, height.
    let grid = sound.windows(8).position(|window| window == [0, 0, 1, 1, 0, 160, 0, 128]).unwrap();
    for (with, word) in [
        ([0, 0, 255, 255, 0, 160, 0, 128], "tiles has 4"),
        ([0, 0, 1, 1, 255, 255, 255, 255], "do not fill"),
        ([0, 0, 1, 1, 0, 0, 0, 128], "no pixels"),
        ([0, 1, 1, 1, 255, 255, 255, 255], "ends too early"),
    ] {
        let mut bytes = sound.clone();
        put(&mut bytes, grid, &with);
        let found = unscanned(soon(word, 5, &bytes, &Limits::default()));
        assert!(found.reason.to_string().contains(word), "{word}: {}", found.reason);
    }
}

/// A file of these boxes in its description.
fn described(boxes: &[Vec<u8>]) -> Vec<u8> {
    [boxed(b"ftyp", b"avif\0\0\0\0avifmif1"), boxed(b"meta", &[&[0; 4], boxes.concat().as_slice()].concat())].concat()
}

fn boxed(kind: &[u8; 4], contents: &[u8]) -> Vec<u8> {
    [&(contents.len() as u32 + 8).to_be_bytes()[..], kind, contents].concat()
}

fn item(kind: &[u8; 4], number: u8) -> Vec<u8> {
    boxed(b"infe", &[&[2, 0, 0, 0, 0, number, 0, 0], kind.as_slice(), &[0]].concat())
}

#[test]
fn loops_and_bombs_of_items_come_to_an_end() {
    let pitm = boxed(b"pitm", &[0, 0, 0, 0, 0, 1]);
    let items = |kinds: &[&[u8; 4]]| {
        let entries: Vec<u8> = (1u8..).zip(kinds).flat_map(|(number, kind)| item(kind, number)).collect();
        boxed(b"iinf", &[&[0, 0, 0, 0, 0, kinds.len() as u8], entries.as_slice()].concat())
    };
    let made = |from: u8, to: u8| boxed(b"dimg", &[0, from, 0, 1, 0, to]);
    let iref = |references: &[Vec<u8>]| boxed(b"iref", &[&[0; 4], references.concat().as_slice()].concat());
    // Items that stand for one another, a grid of itself, pieces without length, a box that is shorter than its header.
    let stand = described(&[pitm.clone(), items(&[b"iden", b"iden"]), iref(&[made(1, 2), made(2, 1)])]);
    let inside = [&[1, 0, 0, 0, 0x44, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 1][..], &[0, 0, 0, 0, 0, 0, 0, 8]].concat();
    let own = described(&[
        pitm.clone(),
        items(&[b"grid"]),
        boxed(b"iloc", &inside),
        boxed(b"idat", &[0, 0, 0, 0, 0, 64, 0, 64]),
        iref(&[made(1, 1)]),
    ]);
    let entry = [0, 1, 0, 0, 0xff, 0xff];
    let nothing = [&[0, 0, 0, 0, 0, 0, 0xff, 0xff][..], &entry.repeat(0xffff)].concat();
    let pieces = described(&[pitm.clone(), items(&[b"av01"]), boxed(b"iloc", &nothing)]);
    let short = [described(&[pitm, items(&[b"av01"])]), b"\0\0\0\x04free".repeat(1000)].concat();
    for (name, bytes) in [("stand", stand), ("own", own), ("pieces", pieces), ("short", short)] {
        let found = unscanned(soon(name, 2, &bytes, &Limits::default()));
        let named = matches!(found.reason, Reason::Damaged(_) | Reason::Unsupported(_));
        assert!(named, "{name}: {}", found.reason);
    }
}

#[test]
fn thousands_of_pictures_in_one_item_are_refused() {
    let sound = sample("grid.avif");
    // A temporal delimiter and the sequence header, and then "show_existing_frame" again and again.
    let start = sound.windows(3).position(|window| window == [0x12, 0, 0x0a]).unwrap();
    let header = &sound[start..start + 4 + usize::from(sound[start + 3])];
    let mdat = [header, [0x1a, 1, 0x80].repeat(5000).as_slice()].concat();
    let pitm = boxed(b"pitm", &[0, 0, 0, 0, 0, 1]);
    let iinf = boxed(b"iinf", &[&[0, 0, 0, 0, 0, 1], item(b"av01", 1).as_slice()].concat());
    let length = (mdat.len() as u32).to_be_bytes();
    let iloc = [&[1, 0, 0, 0, 0x44, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0][..], &length].concat();
    let bytes = described(&[pitm, iinf, boxed(b"iloc", &iloc), boxed(b"idat", &mdat)]);
    let found = unscanned(soon("pictures", 2, &bytes, &Limits::default()));
    assert!(found.reason.to_string().contains("5000 pictures"), "{}", found.reason);
}

/// Bytes changed at random: an answer every time, and soon.
#[test]
fn damaged_files_are_answered() {
    let limits = Limits { max_memory: 64 << 20, max_pixels: 4 << 20, ..Limits::default() };
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for (name, _) in SAMPLES {
        let sound = sample(name);
        for round in 0..80 {
            let mut bytes = sound.clone();
            for _ in 0..1 + random(5) {
                let reach = if round % 2 == 0 { 600.min(bytes.len()) } else { bytes.len() };
                let place = 16 + random(reach - 16);
                bytes[place] = [0, 0xff, 0x7f, 0x80, random(256) as u8][random(5)];
            }
            if let Content::Unscanned(found) = soon(name, 10, &bytes, &limits)
                && let Reason::DecoderFailed(message) = found.reason
            {
                println!("{name}, round {round}: a panic was caught: {message}");
            }
        }
    }
}

//! Raw files of cameras, laid out as ExifTool's tables and dcraw's source say, around previews that are real JPEGs:
//! each shows its largest preview, in the size that its sensor has.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails where it cannot go on")]

mod making;

use std::time::{Duration, Instant};

use making::{content, content_within, difference, unscanned};
use vitrine_fingerprint::{Content, Format, Limits, Picture, Reason};

/// A picture that is not like any other, as JPEG.
fn preview(width: usize, height: usize) -> Vec<u8> {
    let pixel = |index: usize| {
        let (x, y) = (index % width * 600 / width, index / width * 400 / height);
        [(x * x / 1500 % 256) as u8, (y * 3 / 2 % 256) as u8, ((x / 40 * 7 + y / 40 * 13) % 5 * 50) as u8]
    };
    let pixels: Vec<u8> = (0..width * height).flat_map(pixel).collect();
    let format = turbojpeg::PixelFormat::RGB;
    let image = turbojpeg::Image { pixels: pixels.as_slice(), width, pitch: width * 3, height, format };
    turbojpeg::compress(image, 90, turbojpeg::Subsamp::Sub2x2).unwrap().to_vec()
}

/// Bytes that are no picture, as what a sensor saw is.
fn noise(length: usize) -> Vec<u8> {
    (0u32..length as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8 & 0x7f).collect()
}

fn found(bytes: &[u8]) -> Picture {
    match content(bytes) {
        Content::Picture(picture) => picture,
        Content::Unscanned(unscanned) => panic!("{}: {}", unscanned.format, unscanned.reason),
        _ => panic!("no picture"),
    }
}

fn be(number: usize) -> [u8; 4] {
    (number as u32).to_be_bytes()
}

/// Fujifilm: a header that says where the preview and the records lie.
fn raf() -> Vec<u8> {
    let (small, large) = (preview(160, 120), preview(960, 640));
    let large = [&large[..2], b"\xff\xe1\0\x08Exif\0\0", &large[2..]].concat();
    let records = [&[0, 0, 0, 2, 1, 0, 0, 4][..], &[16, 24, 24, 48], &[1, 0x11, 0, 4], &[16, 0, 24, 0]].concat();
    let mut file = [b"FUJIFILMCCD-RAW 0201FF159501".as_slice(), &[0; 56]].concat();
    let start = 160;
    file.extend([be(start), be(large.len()), be(start + large.len()), be(records.len())].concat());
    file.resize(start, 0);
    [file, large, records, small, noise(60_000)].concat()
}

/// A TIFF by whatever name: its directory, little-endian, and what follows.
fn tiff(magic: &[u8; 4], entries: &[(u16, u16, u32, u32)], behind: &[u8]) -> Vec<u8> {
    let entry = |(tag, kind, count, value): &(u16, u16, u32, u32)| {
        let (tag, kind) = (tag.to_le_bytes(), kind.to_le_bytes());
        [&tag[..], &kind, &count.to_le_bytes(), &value.to_le_bytes()].concat()
    };
    let count = (entries.len() as u16).to_le_bytes();
    let entries: Vec<u8> = entries.iter().flat_map(entry).collect();
    [magic, &8u32.to_le_bytes()[..], &count, &entries, &[0; 4], behind].concat()
}

/// Olympus: width and height of the sensor in the first directory, the preview in the maker's note.
fn orf() -> Vec<u8> {
    let behind = [b"OLYMPUS\0II\x03\0".to_vec(), noise(500), preview(960, 640), noise(60_000)].concat();
    tiff(b"IIRO", &[(0x100, 3, 1, 6144), (0x101, 3, 1, 4096), (0x102, 3, 1, 16)], &behind)
}

/// Panasonic: tags of its own, and the preview in tag 0x2e.
fn rw2() -> Vec<u8> {
    let preview = preview(960, 640);
    let entries = [
        (2, 3, 1, 6200),
        (3, 3, 1, 4120),
        (4, 3, 1, 8),
        (5, 3, 1, 16),
        (6, 3, 1, 4104),
        (7, 3, 1, 6160),
        (10, 3, 1, 14),
        (0x2e, 7, preview.len() as u32, 8 + 2 + 8 * 12 + 4),
    ];
    tiff(b"IIU\0", &entries, &[preview, noise(60_000)].concat())
}

fn boxed(kind: &[u8; 4], contents: &[u8]) -> Vec<u8> {
    [&be(contents.len() + 8)[..], kind, contents].concat()
}

/// Canon CR3: tracks of several sizes, a preview in a box of its own, and the full one in the data.
fn cr3() -> Vec<u8> {
    let track = |width: u16, height: u16| {
        let entry = [&[0; 24][..], &width.to_be_bytes(), &height.to_be_bytes(), &[0; 50]].concat();
        let stsd = boxed(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1][..], &boxed(b"CRAW", &entry)].concat());
        let inside = [b"stbl", b"minf", b"mdia", b"trak"];
        inside.iter().fold(stsd, |contents, kind| boxed(kind, &contents))
    };
    let thumbnail = boxed(b"THMB", &[&[0; 16][..], &preview(160, 120)].concat());
    let uuid = boxed(b"uuid", &[&[0x85; 16][..], &thumbnail].concat());
    let moov = boxed(b"moov", &[uuid, track(1620, 1080), track(6144, 4096)].concat());
    let prvw = boxed(b"PRVW", &[&[0; 16][..], &preview(480, 320)].concat());
    let uuid = boxed(b"uuid", &[&[0xea; 16][..], &prvw].concat());
    let mdat = boxed(b"mdat", &[preview(960, 640), noise(60_000)].concat());
    [boxed(b"ftyp", b"crx \0\0\0\x01crx isom"), moov, uuid, mdat].concat()
}

/// Sigma: columns and rows in the header.
fn x3f() -> Vec<u8> {
    let sides = [6144u32.to_le_bytes(), 4096u32.to_le_bytes(), [0; 4]].concat();
    [b"FOVb\0\0\x03\0".to_vec(), vec![0; 20], sides, noise(1000), preview(960, 640)].concat()
}

/// Minolta: height and width in the first block.
fn mrw() -> Vec<u8> {
    let block = [b"\0PRD\0\0\0\x18".as_slice(), b"21810002", &[16, 0, 24, 0], &[0; 12]].concat();
    [b"\0MRM\0\0\x10\0".to_vec(), block, noise(1000), preview(960, 640), noise(60_000)].concat()
}

/// Phase One: a directory of its own behind the header of a TIFF.
fn iiq() -> Vec<u8> {
    let tag = |tag: u32, value: u32| [tag, 1, 4, value].map(u32::to_le_bytes).concat();
    let tags = [tag(0x108, 6200), tag(0x109, 4120), tag(0x10c, 6144), tag(0x10d, 4096)].concat();
    let header = [b"II*\0\x10\0\0\0IIIITwaR".as_slice(), &12u32.to_le_bytes(), &[4, 0, 0, 0, 0, 0, 0, 0]].concat();
    [header, tags, preview(960, 640), noise(60_000)].concat()
}

/// Whose they are, and the files.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![("RAF", raf()), ("ORF", orf()), ("RW2", rw2()), ("CR3", cr3()), ("X3F", x3f()), ("MRW", mrw()), ("IIQ", iiq())]
}

#[test]
fn a_preview_stands_for_what_the_sensor_saw() {
    let reference = found(&preview(960, 640));
    for (name, bytes) in files() {
        let picture = found(&bytes);
        assert_eq!((picture.format, picture.width, picture.height), (Format::Raw, 6144, 4096), "{name}");
        assert!(picture.bit_depth > 8, "{name}: {} bits", picture.bit_depth);
        let difference = difference(&picture, &reference);
        assert!(difference < 1.0, "{name}: {difference:.2} away");
    }
}

#[test]
fn a_sensor_that_claims_to_be_small_makes_no_small_picture() {
    let mut bytes = orf();
    bytes[18..20].copy_from_slice(&[8, 0]);
    let picture = found(&bytes);
    assert_eq!((picture.width, picture.height, picture.bit_depth), (960, 640, 16));
}

/// The file without its previews: what is left has a size, and a reason.
#[test]
fn without_a_preview_the_size_is_told() {
    for (name, mut bytes) in files() {
        while let Some(at) = bytes.windows(3).position(|window| window == [0xff, 0xd8, 0xff]) {
            bytes[at] = 0;
        }
        let left = unscanned(content(&bytes));
        assert_eq!(left.size.map(|size| (size.width, size.height)), Some((6144, 4096)), "{name}: {}", left.reason);
        assert!(matches!(left.reason, Reason::Unsupported(_)), "{name}: {}", left.reason);
    }
}

#[test]
fn damaged_files_are_answered_soon() {
    let limits = Limits { max_memory: 64 << 20, max_depth: 0, ..Limits::default() };
    for (name, sound) in files() {
        let mut many = sound.clone();
        many.extend(b"\xff\xd8\xff".repeat(300_000));
        let mut broken = vec![many];
        broken.extend((1..4).map(|quarter| sound[..sound.len() * quarter / 4].to_vec()));
        broken.extend((16..160).step_by(48).flat_map(|at| {
            [0xff, 0].map(|byte| {
                let mut bytes = sound.clone();
                bytes[at..at + 3].fill(byte);
                bytes
            })
        }));
        for bytes in broken {
            let start = Instant::now();
            if let Content::Unscanned(found) = content_within(&bytes, &limits) {
                assert!(!matches!(found.reason, Reason::DecoderFailed(_)), "{name}: {}", found.reason);
            }
            assert!(start.elapsed() < Duration::from_secs(5), "{name}: {:?}", start.elapsed());
        }
    }
}

/// Canon CR2: a TIFF whose first directory is a preview that does not say so, and another of what the sensor saw, as
/// lossless JPEG in two columns at a time.
#[test]
fn a_preview_in_a_tiff_has_the_size_of_the_sensor() {
    let preview = preview(960, 640);
    // SOF3 of 14 bits and two components of 4096 lines and 3072 samples each.
    let sof3 = [0xff, 0xc3, 0, 14, 14, 16, 0, 12, 0, 2, 1, 0x11, 0, 2, 0x11, 0];
    let lossless = [&[0xff, 0xd8][..], &sof3, &noise(2000)].concat();
    let start = 16 + 2 + 6 * 12 + 4;
    let directory = |entries: &[(u16, u16, u32, u32)], next: u32| {
        let whole = tiff(b"II*\0", entries, &[]);
        [&whole[8..whole.len() - 4], &next.to_le_bytes()].concat()
    };
    let second = start + preview.len();
    let data = second + 2 + 3 * 12 + 4;
    let entries = [
        (256, 3, 1, 960),
        (257, 3, 1, 640),
        (259, 3, 1, 6),
        (273, 4, 1, start as u32),
        (278, 3, 1, 640),
        (279, 4, 1, preview.len() as u32),
    ];
    let raw = [(259, 3, 1, 6), (273, 4, 1, data as u32), (279, 4, 1, lossless.len() as u32)];
    let header = b"II*\0\x10\0\0\0CR\x02\0\0\0\0\0".to_vec();
    let bytes = [header, directory(&entries, second as u32), preview.clone(), directory(&raw, 0), lossless].concat();
    let picture = found(&bytes);
    assert_eq!((picture.format, picture.width, picture.height, picture.bit_depth), (Format::Tiff, 6144, 4096, 14));
    assert!(difference(&picture, &found(&preview)) < 1.0);
}

/// DNG and its like: a preview first, the sensor's picture below it, whether the preview says that it is one or not.
#[test]
fn what_lies_below_a_preview_gives_its_size() {
    let preview = preview(960, 640);
    for role in [0, 1] {
        let below = 8 + 2 + 8 * 12 + 4;
        let start = below + 2 + 5 * 12 + 4;
        let raw = [(254, 4, 1, 0), (256, 4, 1, 6144), (257, 4, 1, 4096), (258, 3, 1, 14), (262, 3, 1, 32803)];
        let raw = tiff(b"II*\0", &raw, &[]);
        let entries = [
            (254, 4, 1, role),
            (256, 4, 1, 960),
            (257, 4, 1, 640),
            (258, 3, 1, 8),
            (259, 3, 1, 6),
            (273, 4, 1, start),
            (279, 4, 1, preview.len() as u32),
            (330, 4, 1, below),
        ];
        let picture = found(&tiff(b"II*\0", &entries, &[&raw[8..], &preview].concat()));
        assert_eq!((picture.width, picture.height, picture.bit_depth), (6144, 4096, 14), "role {role}");
    }
}

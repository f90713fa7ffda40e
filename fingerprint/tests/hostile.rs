//! Files that were made to hurt: each ends as a reason, and never as a panic, a hang or gigabytes of memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails where it cannot go on")]

use std::fs::File;
use std::io::{Cursor, Write};
use std::process::Command;

use tiff::encoder::colortype::{Gray8, RGB16};
use tiff::encoder::{Compression, TiffEncoder};
use vitrine_fingerprint::{Content, Format, Limits, MeasureError, Reason, Size, Unscanned, measure};

fn content(bytes: &[u8]) -> Content {
    content_within(bytes, &Limits::default())
}

fn content_within(bytes: &[u8], limits: &Limits) -> Content {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let measurement = measure(&file, limits, &mut |_| {}).unwrap();
    assert_eq!(measurement.digest.to_string(), blake3::hash(bytes).to_string());
    measurement.content
}

fn unscanned(content: Content) -> Unscanned {
    match content {
        Content::Unscanned(unscanned) => unscanned,
        other => panic!("not unscanned: {other:?}"),
    }
}

/// Something to look at, `channels` samples a pixel.
fn pixels(width: u32, height: u32, channels: u32) -> Vec<u8> {
    (0..width * height * channels)
        .map(|i| ((i / channels % width / 9 * 37) ^ (i / channels / width / 7 * 59)) as u8)
        .collect()
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&pixels(width, height, 3)).unwrap();
    bytes
}

fn tiff(width: u32, height: u32, compression: Compression) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let samples: Vec<u16> = pixels(width, height, 3).into_iter().map(|sample| u16::from(sample) * 257).collect();
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap().with_compression(compression);
    encoder.write_image::<RGB16>(width, height, &samples).unwrap();
    bytes.into_inner()
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let pixels = pixels(width, height, 3);
    let (width, height) = (width as usize, height as usize);
    let image = turbojpeg::Image {
        pixels: pixels.as_slice(),
        width,
        pitch: width * 3,
        height,
        format: turbojpeg::PixelFormat::RGB,
    };
    turbojpeg::compress(image, 90, turbojpeg::Subsamp::Sub2x2).unwrap().to_vec()
}

fn webp(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = image_webp::WebPEncoder::new(&mut bytes);
    encoder.encode(&pixels(width, height, 3), width, height, image_webp::ColorType::Rgb8).unwrap();
    bytes
}

fn samples() -> Vec<(Format, Vec<u8>)> {
    vec![
        (Format::Png, png(211, 157)),
        (Format::Tiff, tiff(211, 157, Compression::Lzw)),
        (Format::Tiff, tiff(211, 157, Compression::Uncompressed)),
        (Format::Jpeg, jpeg(211, 157)),
        (Format::WebP, webp(211, 157)),
    ]
}

/// A PNG chunk.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = crc32(kind, data).to_be_bytes().to_vec();
    let mut chunk = (data.len() as u32).to_be_bytes().to_vec();
    chunk.extend_from_slice(kind);
    chunk.extend_from_slice(data);
    chunk.append(&mut crc);
    chunk
}

/// CRC-32 as in the PNG specification, annex D.
fn crc32(kind: &[u8], data: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 })
    };
    !kind.iter().chain(data).fold(u32::MAX, step)
}

#[test]
fn sound_pictures_are_measured() {
    for (format, bytes) in samples() {
        let Content::Picture(picture) = content(&bytes) else { panic!("{format} was not decoded") };
        assert_eq!((picture.format, picture.width, picture.height), (format, 211, 157));
        assert_eq!(picture.bit_depth, if format == Format::Tiff { 16 } else { 8 });
        assert!(picture.fingerprint.is_recognisable());
    }
}

#[test]
fn a_header_of_ten_gigapixels_is_refused_with_its_size() {
    let huge = Size { width: 100_000, height: 100_000, bit_depth: 8 };
    let mut header = [100_000u32.to_be_bytes(), 100_000u32.to_be_bytes()].concat();
    header.extend_from_slice(&[8, 2, 0, 0, 0]);
    let png =
        [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header), chunk(b"IDAT", &[]), chunk(b"IEND", &[])].concat();
    let found = unscanned(content(&png));
    assert_eq!((found.format, found.size), (Format::Png, Some(huge)));
    assert!(matches!(found.reason, Reason::TooManyPixels { pixels: 10_000_000_000, .. }));

    // TIFF: ImageWidth and ImageLength of a sound file, replaced.
    let mut bytes = tiff(211, 157, Compression::Lzw);
    for (tag, old) in [(256u16, 211u32), (257, 157)] {
        let entry: Vec<u8> = [&tag.to_le_bytes()[..], &[4, 0, 1, 0, 0, 0], &old.to_le_bytes()].concat();
        let at = bytes.windows(12).position(|window| window == entry).unwrap();
        bytes[at + 8..at + 12].copy_from_slice(&100_000u32.to_le_bytes());
    }
    let reason = unscanned(content(&bytes)).reason;
    assert!(matches!(reason, Reason::TooManyPixels { .. } | Reason::Damaged(_)), "{reason}");

    // JPEG 2000: a codestream header (SIZ) alone.
    let word = |value: u32| value.to_be_bytes().to_vec();
    let siz = [word(100_000), word(100_000), word(0), word(0), word(100_000), word(100_000), word(0), word(0)].concat();
    let j2k = [b"\xff\x4f\xff\x51\x00\x29\x00\x00".to_vec(), siz, b"\x00\x01\x07\x01\x01".to_vec()].concat();
    unscanned(content(&j2k));
}

#[test]
fn limits_hold_for_pixels_bytes_and_memory() {
    let small = Limits { max_pixels: 1000, ..Limits::default() };
    let narrow = Limits { max_memory: 10_000, ..Limits::default() };
    let short = Limits { max_bytes: 100, ..Limits::default() };
    for (format, bytes) in samples() {
        let found = unscanned(content_within(&bytes, &small));
        assert!(matches!(found.reason, Reason::TooManyPixels { limit: 1000, .. }), "{format}: {}", found.reason);
        assert_eq!(found.size.map(|size| (size.width, size.height)), Some((211, 157)), "{format}");
        let found = unscanned(content_within(&bytes, &short));
        assert!(matches!(found.reason, Reason::TooManyBytes { limit: 100, .. }), "{format}: {}", found.reason);
        if !matches!(format, Format::Png | Format::Tiff) {
            unscanned(content_within(&bytes, &narrow)); // The others are streamed.
        }
    }
}

#[test]
fn a_picture_in_one_strip_is_not_held_in_memory() {
    // 211 x 157 pixels of 16 bits in a single strip of 199 KB, with memory for much less.
    let samples: Vec<u16> = pixels(211, 157, 3).into_iter().map(|sample| u16::from(sample) * 257).collect();
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    let mut image = encoder.new_image::<RGB16>(211, 157).unwrap();
    image.rows_per_strip(157).unwrap();
    image.write_data(&samples).unwrap();
    let bytes = bytes.into_inner();
    let narrow = Limits { max_memory: 40_000, ..Limits::default() };
    let Content::Picture(picture) = content_within(&bytes, &narrow) else { panic!("it was not decoded") };
    let Content::Picture(strips) = content(&tiff(211, 157, Compression::Lzw)) else { panic!("it was not decoded") };
    assert!(picture.fingerprint == strips.fingerprint);
    let found = unscanned(content(&bytes[..bytes.len() / 2]));
    assert!(matches!(found.reason, Reason::Truncated(_) | Reason::Damaged(_)), "{}", found.reason);
}

#[test]
fn truncated_files_end_with_a_reason() {
    for (format, bytes) in samples() {
        for length in (1..bytes.len()).step_by(bytes.len() / 60 + 1) {
            match content(&bytes[..length]) {
                Content::Unscanned(found) => assert_eq!(found.format, format),
                Content::Other => assert!(length < 16, "{format} cut at {length}"),
                // What a JPEG shows so far is worth a look, and a file may lack only its last words.
                Content::Picture(_) => {
                    assert!(format == Format::Jpeg || length * 10 > bytes.len() * 9, "{format} cut at {length}");
                }
                Content::Container(_) | Content::Opaque(_) | Content::Tile(_) => {
                    panic!("{format} cut at {length} is no container")
                }
            }
        }
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
    for (_, sound) in samples() {
        for round in 0..150 {
            let mut bytes = sound.clone();
            // Headers first: they do most damage.
            let reach = if round % 2 == 0 { bytes.len().min(200) } else { bytes.len() };
            for _ in 0..1 + random(6) {
                let at = random(reach);
                bytes[at] = [0, 0xff, 0x7f, 0x80, random(256) as u8][random(5)];
            }
            content_within(&bytes, &limits);
        }
    }
}

#[test]
fn a_strip_that_claims_gigabytes_is_refused() {
    // 1 x 2,000,000,000 pixels, one strip of four bytes.
    let mut bytes = Cursor::new(Vec::new());
    TiffEncoder::new(&mut bytes).unwrap().write_image::<Gray8>(2, 2, &[0, 50, 100, 200]).unwrap();
    let mut bytes = bytes.into_inner();
    for (tag, old, new) in [(257u16, 2u32, 2_000_000_000u32), (256, 2, 1), (278, 2, u32::MAX)] {
        let kinds =
            [[3u8, 0], [4, 0]].map(|kind| [&tag.to_le_bytes()[..], &kind, &[1, 0, 0, 0], &old.to_le_bytes()].concat());
        let Some(at) = bytes.windows(12).position(|window| kinds.iter().any(|entry| window == entry)) else { continue };
        bytes[at + 2] = 4;
        bytes[at + 8..at + 12].copy_from_slice(&new.to_le_bytes());
    }
    unscanned(content(&bytes));
}

#[test]
fn what_is_no_regular_file_or_changes_is_not_measured() {
    let dir = tempfile::tempdir().unwrap();
    let directory = File::open(dir.path()).unwrap();
    assert!(matches!(measure(&directory, &Limits::default(), &mut |_| {}), Err(MeasureError::NotAFile)));
    let null = File::open("/dev/zero").unwrap();
    assert!(matches!(measure(&null, &Limits::default(), &mut |_| {}), Err(MeasureError::NotAFile)));
    let fifo = dir.path().join("fifo");
    if Command::new("mkfifo").arg(&fifo).status().is_ok_and(|status| status.success()) {
        let end = File::options().read(true).write(true).open(&fifo).unwrap();
        assert!(matches!(measure(&end, &Limits::default(), &mut |_| {}), Err(MeasureError::NotAFile)));
    }
}

#[test]
fn text_and_nothing_are_no_pictures() {
    assert!(matches!(content(b""), Content::Other));
    assert!(matches!(content(b"II* is how some TIFF files begin"), Content::Other));
    assert!(matches!(content(&[0; 5000]), Content::Other));
}

#[test]
fn a_measurement_travels_as_json() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&png(211, 157)).unwrap();
    let measurement = measure(&file, &Limits::default(), &mut |_| {}).unwrap();
    let text = serde_json::to_string(&measurement).unwrap();
    assert!(text.len() < 512 * 1024, "{} bytes", text.len());
    let back: vitrine_fingerprint::Measurement = serde_json::from_str(&text).unwrap();
    let (Content::Picture(a), Content::Picture(b)) = (&measurement.content, &back.content) else {
        panic!("no picture")
    };
    assert_eq!((a.fingerprint == b.fingerprint, &a.thumbnail), (true, &b.thumbnail));
}

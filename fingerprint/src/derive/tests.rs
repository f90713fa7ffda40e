//! Derivatives of pictures made here.

use std::io::Write;

use super::*;
use crate::{Content, measure};

/// Red on the left, blue on the right, lighter towards the bottom.
fn pixels(width: u32, height: u32) -> Vec<u8> {
    let pixel = |index: u32| {
        let (x, y) = (index % width, index / width);
        let light = (y * 200 / height) as u8;
        if x < width / 2 { [255, light, light] } else { [light, light, 255] }
    };
    (0..width * height).flat_map(pixel).collect()
}

fn profile(colours: &[u8; 4], length: usize) -> Vec<u8> {
    let mut profile = vec![0; length];
    profile[16..20].copy_from_slice(colours);
    profile[36..40].copy_from_slice(b"acsp");
    profile
}

/// An EXIF segment that says nothing but an orientation.
fn exif(orientation: u8) -> Vec<u8> {
    let tiff =
        [b"MM\0*\0\0\0\x08\0\x01".as_slice(), &[1, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0]].concat();
    let length = (tiff.len() + 8) as u16;
    [&[0xff, 0xe1], length.to_be_bytes().as_slice(), b"Exif\0\0", &tiff].concat()
}

fn jpeg(width: u32, height: u32, orientation: u8, icc: Option<&[u8]>) -> Vec<u8> {
    let plain = jpeg::encode(&pixels(width, height), width, height, 90).unwrap();
    let marked = marks::with_profile(plain, icc);
    [&marked[..2], &exif(orientation), &marked[2..]].concat()
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn derived(bytes: &[u8], largest: Largest, kind: Kind) -> Derivative {
    derive(&file(bytes), largest, kind, &Limits::default()).unwrap()
}

const HALF: Largest = Largest { megapixels: None, scale: Some(0.5) };

#[test]
fn it_keeps_within_both_limits_and_never_grows() {
    let size = |width, height| Size { width, height, bit_depth: 16 };
    let both = Largest { megapixels: Some(6.0), scale: Some(0.6) };
    for (width, height) in [(6000, 4000), (40_000, 10_000), (3000, 2001), (1, 50_000), (100, 100), (4_000_000, 1)] {
        let (w, h) = target(size(width, height), both);
        assert!(f64::from(w) * f64::from(h) <= 6e6 && w >= 1 && h >= 1);
        assert!(w <= 1 || f64::from(w) <= f64::from(width) * 0.6, "{w} of {width}");
    }
    assert_eq!(target(size(300, 200), Largest::default()), (300, 200));
    assert_eq!(target(size(300, 200), Largest { megapixels: Some(6.0), scale: Some(4.0) }), (300, 200));
    assert_eq!(target(size(300, 200), Largest { megapixels: Some(f64::NAN), scale: Some(-1.0) }), (1, 1));
}

#[test]
fn a_derivative_is_upright_in_its_colours_and_has_nothing_beside_it() {
    let icc = profile(b"RGB ", 3000);
    for kind in [Kind::Jpeg, Kind::Png] {
        let small = derived(&jpeg(1200, 800, 6, Some(&icc)), HALF, kind);
        assert_eq!((small.width, small.height), (396, 594), "{kind:?}");
        let format = Format::of(&small.bytes).unwrap();
        let found = marks::of(format, Source::Memory(&small.bytes), &Limits::default());
        assert_eq!((found.orientation, found.profile.as_deref()), (0, Some(icc.as_slice())));
        let mut inside = Vec::new();
        let limits = Limits::default();
        let measured = measure(&file(&small.bytes), &limits, &mut |found| inside.push(found.path)).unwrap();
        inside.retain(|path| !path.is_empty());
        assert!(inside.is_empty(), "{inside:?}");
        assert!(
            matches!(measured.content, Content::Picture(picture) if picture.width == 396 && picture.bit_depth == 8)
        );
        // What was left is above, because row 0 of the file is the right side of what is seen.
        let decoded = decode::decode(format, Source::Memory(&small.bytes), &limits).unwrap().reduced;
        let at = |x: usize, y: usize| decoded.rgb[(y * decoded.width + x) * 3..][..3].to_vec();
        let (top, bottom) = (at(decoded.width - 9, 9), at(decoded.width - 9, decoded.height - 9));
        assert!(top[0] > 200 && top[2] < 60 && bottom[2] > 200 && bottom[0] < 60, "{top:?} {bottom:?}");
    }
}

#[test]
fn a_profile_of_other_colours_or_of_great_length_is_left_out() {
    for icc in [profile(b"CMYK", 500), profile(b"GRAY", 500), profile(b"RGB ", 64_800), vec![7; 500]] {
        let small = derived(&jpeg(200, 100, 1, Some(&icc)), HALF, Kind::Jpeg);
        let found = marks::of(Format::Jpeg, Source::Memory(&small.bytes), &Limits::default());
        assert_eq!(found.profile, None);
    }
}

#[test]
fn fine_lines_stay_sharp() {
    // Lines of 8 pixels, at half the size lines of 4: their contrast is kept.
    let lines = |x: u32| if (x / 8).is_multiple_of(2) { [20u8; 3] } else { [235; 3] };
    let rgb: Vec<u8> = (0..1600u32 * 1200).flat_map(|index| lines(index % 1600)).collect();
    let bytes = jpeg::encode_full(&rgb, 1600, 1200, 95).unwrap();
    let limits = Limits { cells: 2000, ..Limits::default() };
    let small = derive(&file(&bytes), Largest { megapixels: Some(0.48), scale: None }, Kind::Png, &limits).unwrap();
    let decoded = decode::decode(Format::Png, Source::Memory(&small.bytes), &limits).unwrap().reduced;
    let row = &decoded.rgb[decoded.width * 3 * 300..][..decoded.width * 3];
    let (dark, light) = (row.iter().filter(|s| **s < 50).count(), row.iter().filter(|s| **s > 205).count());
    assert!((dark + light) * 10 > row.len() * 7, "{dark} dark and {light} light of {}", row.len());
}

#[test]
fn a_tiff_with_pages_and_sixteen_bits_becomes_one_plain_picture() {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut bytes).unwrap();
    let samples: Vec<u16> = pixels(400, 300).into_iter().map(|sample| u16::from(sample) * 257).collect();
    for _ in 0..2 {
        encoder.write_image::<tiff::encoder::colortype::RGB16>(400, 300, &samples).unwrap();
    }
    let small = derived(&bytes.into_inner(), HALF, Kind::Jpeg);
    assert_eq!((small.width, small.height), (198, 148));
}

#[test]
fn what_is_no_picture_is_named() {
    let refused = |bytes: &[u8]| derive(&file(bytes), HALF, Kind::Jpeg, &Limits::default()).unwrap_err().to_string();
    assert!(refused(b"no picture").contains("no picture of a known format"));
    assert!(refused(b"\xff\xd8\xff\xe0").contains("cannot be decoded"));
    assert!(refused(b"").contains("no picture"));
}

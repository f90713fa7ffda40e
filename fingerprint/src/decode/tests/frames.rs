//! Frames of animations and layers of documents, from encoders where there are some.

use std::path::Path;
use std::process::Command;

use super::{Beside, beside, named};
use crate::decode::{Format, Source, decode};
use crate::measure::Limits;

/// What ImageMagick makes of `words`, in a file with this ending; nothing where it is not installed.
fn made(words: &str, ending: &str) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join(Path::new("out").with_extension(ending));
    let mut command = Command::new("convert-im6.q16");
    command.args(words.split(' ').filter(|word| !word.is_empty())).arg(&out);
    let Ok(output) = command.output() else {
        println!("skipped: convert-im6.q16 is not installed");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(std::fs::read(out).unwrap())
}

/// The number of the frame and the grey of its first pixel.
fn greys(found: &[Beside]) -> Vec<(&str, u8)> {
    named(found).into_iter().map(|(name, (_, grey))| (name, grey)).collect()
}

fn near(found: &[(&str, u8)], expected: &[(&str, u8)]) {
    let same =
        found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| a.0 == b.0 && a.1.abs_diff(b.1) <= 3);
    assert!(same, "{found:?}");
}

const FRAMES: &str = "-size 100x80 xc:gray(40) xc:gray(80) xc:gray(120) -delay 10";

#[test]
fn frames_of_a_gif_are_found() {
    let Some(bytes) = made(FRAMES, "gif") else { return };
    near(&greys(&beside(&bytes)), &[("frame 2", 80), ("frame 3", 120)]);
    let main = decode(Format::Gif, Source::Memory(&bytes), &Limits::default()).unwrap();
    assert!(main.reduced.rgb[0].abs_diff(40) <= 3);
}

#[test]
fn a_frame_that_changes_a_corner_shows_the_rest_as_well() {
    // The second frame is 10 x 10 pixels in the middle of the canvas.
    let words = "-size 100x80 xc:gray(40) ( -size 10x10 xc:gray(200) -repage 100x80+50+40 ) -delay 10";
    let Some(bytes) = made(words, "gif") else { return };
    let found = beside(&bytes);
    assert_eq!(named(&found)[0].1.0, 100);
    near(&greys(&found), &[("frame 2", 40)]);
}

#[test]
fn frames_of_a_webp_are_found() {
    let Some(bytes) = made(FRAMES, "webp") else { return };
    near(&greys(&beside(&bytes)), &[("frame 2", 80), ("frame 3", 120)]);
}

#[test]
fn frames_of_a_png_are_found() {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 100, 80);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_animated(3, 0).unwrap();
    let mut writer = encoder.write_header().unwrap();
    for grey in [40, 80, 120] {
        writer.write_image_data(&vec![grey; 100 * 80]).unwrap();
    }
    writer.finish().unwrap();
    near(&greys(&beside(&bytes)), &[("frame 2", 80), ("frame 3", 120)]);
}

#[test]
fn frames_of_a_jpeg_xl_are_found() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/animation.jxl");
    near(&greys(&beside(&std::fs::read(path).unwrap())), &[("frame 2", 80), ("frame 3", 120)]);
}

#[test]
fn levels_of_a_pyramid_are_found_down_to_icons() {
    let Some(bytes) = made("-size 400x300 xc:gray(40) -define ptif:pyramid", "ptif") else { return };
    let found = beside(&bytes);
    assert_eq!(
        named(&found).iter().map(|(name, (width, _))| (*name, *width)).collect::<Vec<_>>(),
        [("page 2", 200), ("page 3", 100)]
    );
}

#[test]
fn an_animation_without_an_end_is_cut_and_says_so() {
    let Some(bytes) = made(&format!("-size 100x80 {} -delay 10", "xc:red xc:blue ".repeat(10)), "gif") else { return };
    let mut found = Vec::new();
    // Room for eight frames after the first.
    let limits = Limits { max_pixels: 100 * 80, ..Limits::default() };
    super::further(Format::Gif, Source::Memory(&bytes), &limits, &mut |name, result| {
        found.push((name, result.err().map(|failure| failure.reason.to_string())));
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(found.len(), 9, "{found:?}");
    let (last, frames) = found.split_last().unwrap();
    assert!(frames.iter().all(|(_, reason)| reason.is_none()), "{frames:?}");
    assert!(last.1.as_ref().is_some_and(|reason| reason.contains("more pixels")), "{last:?}");
}

#[test]
fn layers_of_a_document_are_found() {
    for ending in ["psd", "psb"] {
        for more in ["", "-compress RLE", "-depth 16", "-colorspace CMYK"] {
            let words = "-size 100x80 xc:rgb(40,40,40) ( -size 90x70 xc:rgb(80,80,80) ) ( -size 20x20 xc:white ) \
                         ( -size 64x9 xc:rgb(120,120,120) )";
            let Some(bytes) = made(&format!("{words} {more}"), ending) else { return };
            let found = beside(&bytes);
            // ImageMagick writes the first picture as the composite.
            near(&greys(&found), &[("layer 1", 80), ("layer 3", 120)]);
            assert_eq!(named(&found)[0].1.0, 90);
        }
    }
}

/// A PSB of one grey layer of 16 bits, deflated as differences, in the block where such layers lie, and without
/// a composite.
fn deflated_layer() -> Vec<u8> {
    use std::io::Write;
    let (width, height) = (100u32, 70u32);
    let mut row = vec![0u8; width as usize * 2];
    row[0] = 90; // 90 * 256 and no difference behind it.
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&row.repeat(height as usize)).unwrap();
    let data = [vec![0, 3], encoder.finish().unwrap()].concat();

    let mut layers = vec![0, 1];
    for side in [0, 0, height, width] {
        layers.extend(side.to_be_bytes());
    }
    layers.extend([0, 1, 0, 0]);
    layers.extend((data.len() as u64).to_be_bytes());
    layers.extend(b"8BIMnorm\xff\0\0\0\0\0\0\0");
    layers.extend(&data);
    layers.resize(layers.len().next_multiple_of(4), 0);
    let mut section = [0u8; 8 + 4].to_vec();
    section.extend(b"8BIMLr16");
    section.extend((layers.len() as u64).to_be_bytes());
    section.extend(&layers);

    let mut bytes = b"8BPS\0\x02\0\0\0\0\0\0\0\x01".to_vec();
    bytes.extend(height.to_be_bytes());
    bytes.extend(width.to_be_bytes());
    bytes.extend([0, 16, 0, 1, 0, 0, 0, 0]);
    let version = b"8BIM\x04\x21\0\0\0\0\0\x05\0\0\0\x01\0\0";
    bytes.extend((version.len() as u32).to_be_bytes());
    bytes.extend(version);
    bytes.extend((section.len() as u64).to_be_bytes());
    bytes.extend(section);
    bytes
}

#[test]
fn a_deflated_layer_of_a_document_without_a_composite_is_found() {
    let bytes = deflated_layer();
    let failure = decode(Format::Psb, Source::Memory(&bytes), &Limits::default()).err().unwrap();
    assert!(failure.reason.to_string().contains("without its composite"), "{}", failure.reason);
    near(&greys(&beside(&bytes)), &[("layer 1", 90)]);
}

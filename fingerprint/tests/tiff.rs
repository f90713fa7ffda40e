//! The variants of TIFF, as real encoders write them: each shows the same picture, or says why it does not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails where it cannot go on")]

mod making;

use std::path::Path;

use making::{base, difference, look, picture, pictures, run, try_run};
use vitrine_fingerprint::Reason;

/// What is compared with: the picture itself, its grey version, or its black-and-white one.
#[derive(Clone, Copy, Debug)]
enum As {
    Colour,
    Grey,
    Bits,
}

/// How a variant is made (lines that follow each other; BASE, GREY and BITS are given, OUT is the result and T1
/// and T2 lie between), what it must look like, bits per channel, and the largest mean difference.
const VARIANTS: &[(&str, As, u8, f64)] = &[
    ("tiffcp -c none -r 16 TIFF OUT", As::Colour, 8, 0.1),
    ("tiffcp -c none -r 9999 -B TIFF OUT", As::Colour, 8, 0.1),
    ("tiffcp -c none -t -w 64 -l 48 TIFF OUT", As::Colour, 8, 0.1),
    ("tiffcp -c none -p separate -r 50 TIFF OUT", As::Colour, 8, 0.1),
    ("tiffcp -c lzw:2 -p separate -t -w 128 -l 128 TIFF OUT", As::Colour, 8, 0.1),
    ("tiffcp -c lzw:1 -r 9999 TIFF OUT", As::Colour, 8, 0.1),
    ("tiffcp -c lzw:2 -8 -B TIFF OUT", As::Colour, 8, 0.1),
    ("tiffcp -c lzw -f lsb2msb TIFF OUT", As::Colour, 8, 0.1),
    ("tiffcp -c zip:2 TIFF OUT", As::Colour, 8, 0.1),
    ("tiffcp -c packbits -r 7 TIFF OUT", As::Colour, 8, 0.1),
    ("tiffcp -c zstd:2 -t -w 256 -l 256 TIFF OUT", As::Colour, 8, 0.1),
    ("tiffcp -c webp:90 TIFF OUT", As::Colour, 8, 4.0),
    ("tiffcp -c jpeg:90 -r 16 TIFF OUT", As::Colour, 8, 4.0),
    ("tiffcp -c jpeg:r:90 -t -w 128 -l 128 TIFF OUT", As::Colour, 8, 4.0),
    ("tiffcp -c jpeg:90 -r 64 GREYTIFF OUT", As::Grey, 8, 4.0),
    ("tiffcp -c jpeg:r:90 -r 64 -p separate TIFF OUT", As::Colour, 8, 4.0),
    ("convert-im6.q16 BASE -colorspace YCbCr -compress lzw OUT", As::Colour, 8, 4.0),
    ("tiffcp -c g3:1d BITSTIFF OUT", As::Bits, 1, 0.1),
    ("tiffcp -c g3:2d:fill BITSTIFF OUT", As::Bits, 1, 0.1),
    ("tiffcp -c g3:1d:fill -r 9999 BITSTIFF OUT", As::Bits, 1, 0.1),
    ("tiffcp -c g4 -r 32 BITSTIFF OUT", As::Bits, 1, 0.1),
    ("tiffcp -c g4 -f lsb2msb -r 9999 BITSTIFF OUT", As::Bits, 1, 0.1),
    ("tiffcp -c none -f lsb2msb BITSTIFF OUT", As::Bits, 1, 0.1),
    ("tiffcp -c g4 -t -w 64 -l 64 BITSTIFF OUT", As::Bits, 1, 0.1),
    ("convert-im6.q16 BITS -type bilevel -compress Fax OUT", As::Bits, 1, 0.1),
    ("convert-im6.q16 GREY -depth 4 -compress lzw OUT", As::Grey, 4, 9.0),
    ("convert-im6.q16 GREY -negate -define quantum:polarity=min-is-white -compress none OUT", As::Grey, 8, 0.1),
    (
        "convert-im6.q16 GREY -negate -define quantum:polarity=min-is-white -depth 16 -compress zip OUT",
        As::Grey,
        16,
        0.1,
    ),
    ("convert-im6.q16 BASE -depth 2 -compress none OUT", As::Colour, 2, 45.0),
    ("convert-im6.q16 BASE -depth 12 -compress none OUT", As::Colour, 12, 1.0),
    ("convert-im6.q16 BASE -depth 16 -compress none -endian MSB OUT", As::Colour, 16, 0.1),
    ("convert-im6.q16 BASE -depth 16 -compress lzw -define tiff:predictor=2 -interlace plane OUT", As::Colour, 16, 0.1),
    ("convert-im6.q16 BASE -depth 32 -compress zip OUT", As::Colour, 32, 1.0),
    ("convert-im6.q16 BASE -depth 32 -define quantum:format=floating-point -compress lzw OUT", As::Colour, 32, 1.0),
    ("convert-im6.q16 BASE -depth 64 -define quantum:format=floating-point -endian MSB OUT", As::Colour, 64, 1.0),
    ("vips cast BASE OUT[compression=deflate,predictor=float] float", As::Colour, 32, 1.0),
    ("vips cast BASE OUT[compression=deflate,predictor=float,tile] double", As::Colour, 64, 1.0),
    ("vips cast BASE OUT[compression=lzw,predictor=horizontal] uint", As::Colour, 32, 1.0),
    ("vips cast BASE OUT[compression=lzw,predictor=horizontal] short", As::Colour, 16, 1.0),
    ("vips cast BASE OUT[compression=zstd] int", As::Colour, 32, 1.0),
    ("convert-im6.q16 BASE -colorspace CMYK -compress zip OUT", As::Colour, 8, 3.0),
    ("convert-im6.q16 BASE -colorspace CMYK -depth 16 -interlace plane -compress none OUT", As::Colour, 16, 3.0),
    ("convert-im6.q16 BASE -colorspace CMYK -compress jpeg -quality 92 OUT", As::Colour, 8, 6.0),
    ("convert-im6.q16 BASE -colorspace Lab -compress zip OUT", As::Colour, 8, 4.0),
    ("convert-im6.q16 BASE -colorspace Lab -depth 16 -compress none OUT", As::Colour, 16, 4.0),
    ("vips colourspace BASE OUT[compression=lzw] lab", As::Colour, 32, 4.0),
    ("convert-im6.q16 BASE -type palette -compress lzw OUT", As::Colour, 8, 8.0),
    ("convert-im6.q16 BASE -colors 14 +dither -type palette -depth 4 -compress none OUT", As::Colour, 8, 30.0),
    ("convert-im6.q16 BASE -alpha set -compress zip OUT", As::Colour, 8, 0.1),
    (
        "convert-im6.q16 BASE -alpha set -channel A -evaluate set 100% -define tiff:alpha=associated OUT",
        As::Colour,
        8,
        0.1,
    ),
    ("vips copy BASE OUT[compression=jpeg,Q=90,tile,pyramid,subifd,bigtiff]", As::Colour, 8, 4.0),
    ("vips copy BASE OUT[compression=webp,Q=90,tile]", As::Colour, 8, 4.0),
];

fn variants(directory: &Path) -> Vec<String> {
    let path = |name: &str| directory.join(name);
    let (base, tiff, grey, grey_tiff, bits, bits_tiff, out) = (
        path("base.png"),
        path("a.tif"),
        path("grey.png"),
        path("b.tif"),
        path("bits.png"),
        path("c.tif"),
        path("out.tif"),
    );
    let files = [
        ("GREYTIFF", grey_tiff.as_path()),
        ("BITSTIFF", &bits_tiff),
        ("TIFF", &tiff),
        ("BASE", &base),
        ("GREY", &grey),
        ("BITS", &bits),
        ("OUT", &out),
    ];
    run("convert-im6.q16 BASE -compress none TIFF", &files);
    run("convert-im6.q16 BASE -colorspace Gray -depth 8 GREY", &files);
    run("convert-im6.q16 GREY -compress none GREYTIFF", &files);
    run("convert-im6.q16 GREY -ordered-dither h4x4a -type bilevel BITS", &files);
    run("convert-im6.q16 BITS -type bilevel -compress Group4 BITSTIFF", &files);
    let expected = [&base, &grey, &bits].map(|path| look(path));
    let mut faults = Vec::new();
    for (line, kind, depth, most) in VARIANTS {
        let _ = std::fs::remove_file(&out);
        if let Err(message) = try_run(line, &files) {
            faults.push(message);
            continue;
        }
        let found = look(&out);
        let reference = picture(&expected[*kind as usize]).unwrap();
        match picture(&found) {
            Ok(found) => {
                let difference = difference(found, reference);
                if difference > *most || found.bit_depth != *depth || found.width != reference.width {
                    faults.push(format!("{line}: {difference:.2} from {kind:?}, {} bits", found.bit_depth));
                }
            }
            Err(reason) => faults.push(format!("{line}: {reason}")),
        }
    }
    faults
}

#[test]
fn every_variant_shows_the_picture() {
    let tools = ["vips", "convert-im6.q16", "tiffcp"];
    let Some(pictures) = pictures("variants of TIFF", &tools) else { return };
    let directory = tempfile::tempdir().unwrap();
    base(&pictures, directory.path());
    let faults = variants(directory.path());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn what_is_not_read_is_named() {
    let tools = ["vips", "convert-im6.q16", "tiffcp"];
    let Some(pictures) = pictures("refused variants of TIFF", &tools) else { return };
    let directory = tempfile::tempdir().unwrap();
    let (_, base) = base(&pictures, directory.path());
    let (tiff, out) = (directory.path().join("a.tif"), directory.path().join("out.tif"));
    let files = [("TIFF", tiff.as_path()), ("BASE", &base), ("OUT", &out)];
    run("convert-im6.q16 BASE -compress none TIFF", &files);
    for (line, word) in
        [("tiffcp -c lzma TIFF OUT", "LZMA"), ("vips copy BASE OUT[compression=jp2k,tile]", "JPEG 2000")]
    {
        run(line, &files);
        let found = making::unscanned(look(&out).content);
        assert!(matches!(&found.reason, Reason::Unsupported(text) if text.contains(word)), "{}", found.reason);
        assert_eq!(found.size.map(|size| (size.width, size.height)), Some((700, 465)));
    }
}

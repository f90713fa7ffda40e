//! Every picture format beside TIFF, as real encoders write it: the copy shows the picture and is recognised.
//! Needs `../../shared/pictures`, `vips`, `avifenc`, `heif-enc` and ImageMagick with OpenEXR; says so and passes where they are not there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails where it cannot go on")]

mod making;

use std::fs::File;

use making::{base, difference, index, look, picture, pictures, run, try_run};
use vitrine_fingerprint::{Format, Kind, Limits, measure};

/// How a copy is made (BASE is given, OUT the result with its ending), its format, bits per channel, and the
/// largest mean difference (0 to 255).
const COPIES: &[(&str, Format, u8, f64)] = &[
    ("convert-im6.q16 BASE -interlace JPEG -quality 90 OUT.jpg", Format::Jpeg, 8, 4.0),
    ("convert-im6.q16 BASE -colorspace CMYK -quality 90 OUT.jpg", Format::Jpeg, 8, 4.0),
    ("convert-im6.q16 BASE -colorspace CMYK -interlace JPEG -quality 90 OUT.jpg", Format::Jpeg, 8, 4.0),
    ("convert-im6.q16 BASE -interlace PNG PNG48:OUT.png", Format::Png, 16, 0.1),
    ("convert-im6.q16 BASE PNG8:OUT.png", Format::Png, 8, 12.0),
    ("convert-im6.q16 BASE -quality 40 OUT.jp2", Format::Jp2, 8, 4.0),
    ("convert-im6.q16 BASE -quality 40 OUT.j2k", Format::J2k, 8, 4.0),
    ("convert-im6.q16 BASE OUT.gif", Format::Gif, 8, 8.0),
    ("convert-im6.q16 BASE -interlace line OUT.gif", Format::Gif, 8, 8.0),
    ("vips copy BASE OUT.gif", Format::Gif, 8, 8.0),
    ("convert-im6.q16 BASE BMP3:OUT.bmp", Format::Bmp, 8, 0.1),
    ("convert-im6.q16 BASE -alpha set BMP:OUT.bmp", Format::Bmp, 8, 0.1),
    ("convert-im6.q16 BASE BMP2:OUT.bmp", Format::Bmp, 8, 0.1),
    ("convert-im6.q16 BASE -type palette -compress RLE BMP3:OUT.bmp", Format::Bmp, 8, 8.0),
    ("convert-im6.q16 BASE -type palette -compress none BMP3:OUT.bmp", Format::Bmp, 8, 8.0),
    ("convert-im6.q16 BASE -define bmp:subtype=RGB565 BMP:OUT.bmp", Format::Bmp, 5, 5.0),
    ("convert-im6.q16 BASE OUT.ppm", Format::Pnm, 8, 0.1),
    ("convert-im6.q16 BASE -depth 16 OUT.ppm", Format::Pnm, 16, 0.1),
    ("convert-im6.q16 BASE -compress none OUT.ppm", Format::Pnm, 8, 0.1),
    ("convert-im6.q16 BASE -alpha set OUT.pam", Format::Pnm, 8, 0.1),
    ("convert-im6.q16 BASE -colorspace CMYK OUT.pam", Format::Pnm, 8, 3.0),
    ("convert-im6.q16 BASE OUT.pfm", Format::Pnm, 32, 1.0),
    // The format does not say whether its numbers are light or brightness: libvips writes light.
    ("vips cast BASE OUT.pfm float", Format::Pnm, 32, 30.0),
    ("convert-im6.q16 BASE -compress none OUT.psd", Format::Psd, 8, 0.1),
    ("convert-im6.q16 BASE -compress RLE OUT.psd", Format::Psd, 8, 0.1),
    ("convert-im6.q16 BASE -compress RLE OUT.psb", Format::Psb, 8, 0.1),
    ("convert-im6.q16 BASE -depth 16 -compress RLE OUT.psb", Format::Psb, 16, 0.1),
    ("convert-im6.q16 BASE -depth 16 -compress none OUT.psd", Format::Psd, 16, 0.1),
    ("convert-im6.q16 BASE -colorspace CMYK -compress RLE OUT.psd", Format::Psd, 8, 3.0),
    ("convert-im6.q16 BASE -colorspace CMYK -compress none OUT.psb", Format::Psb, 8, 3.0),
    ("convert-im6.q16 BASE -colorspace Lab -compress RLE OUT.psd", Format::Psd, 8, 4.0),
    ("convert-im6.q16 BASE -type palette OUT.psd", Format::Psd, 8, 8.0),
    ("convert-im6.q16 BASE -alpha set OUT.psd", Format::Psd, 8, 0.1),
    ("vips copy BASE OUT.jxl[Q=85]", Format::Jxl, 8, 4.0),
    ("vips copy BASE OUT.jxl[lossless]", Format::Jxl, 8, 0.5),
    ("vips bandjoin_const BASE OUT.jxl[Q=85] 255", Format::Jxl, 8, 4.0),
    ("vips colourspace BASE OUT.jxl[lossless] rgb16", Format::Jxl, 16, 2.0),
    ("vips colourspace BASE OUT.jxl[lossless] grey16", Format::Jxl, 16, 40.0),
    ("convert-im6.q16 BASE -colorspace RGB -compress piz OUT.exr", Format::Exr, 16, 2.0),
    ("convert-im6.q16 BASE -colorspace RGB -compress zip -alpha set OUT.exr", Format::Exr, 16, 2.0),
    // ImageMagick writes brightness where light is due, unless it is asked: pale, and recognised all the same.
    ("convert-im6.q16 BASE -compress none OUT.exr", Format::Exr, 16, 45.0),
    ("avifenc -s 8 BASE OUT.avif", Format::Avif, 8, 4.0),
    ("avifenc -s 8 -y 420 -r limited --cicp 1/13/1 BASE OUT.avif", Format::Avif, 8, 4.0),
    ("avifenc -s 8 -y 422 -d 10 --cicp 9/16/9 BASE OUT.avif", Format::Avif, 10, 4.0),
    ("avifenc -s 8 -y 444 -d 12 --min 0 --max 10 BASE OUT.avif", Format::Avif, 12, 2.0),
    ("avifenc -s 8 -l BASE OUT.avif", Format::Avif, 8, 0.1),
    ("avifenc -s 8 -y 400 BASE OUT.avif", Format::Avif, 8, 40.0),
    ("avifenc -s 8 --tilerowslog2 1 --tilecolslog2 1 BASE OUT.avif", Format::Avif, 8, 4.0),
    ("heif-enc -A BASE -o OUT.avif", Format::Avif, 8, 4.0),
    ("heif-enc BASE -o OUT.heic", Format::Heif, 8, 4.0),
    ("heif-enc -q 90 -p chroma=444 BASE -o OUT.heic", Format::Heif, 8, 2.0),
    ("heif-enc -p chroma=422 --matrix_coefficients 1 --full_range_flag 0 BASE -o OUT.heic", Format::Heif, 8, 4.0),
    ("heif-enc -L -p chroma=444 --matrix_coefficients 0 BASE -o OUT.heic", Format::Heif, 8, 1.0),
    ("vips copy BASE OUT.hdr", Format::Hdr, 32, 2.0),
    ("convert-im6.q16 BASE -colorspace RGB OUT.hdr", Format::Hdr, 32, 2.0),
];

#[test]
fn a_copy_in_every_format_is_recognised() {
    let Some(pictures) = pictures("formats", &["vips", "convert-im6.q16", "avifenc", "heif-enc"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let (master, base) = base(&pictures, directory.path());
    let reference = look(&base);
    let index = index(&master);
    let out = directory.path().join("out");
    let mut faults = Vec::new();
    for (line, format, depth, most) in COPIES {
        let ending = line.rsplit("OUT").next().unwrap_or_default().split(['[', ' ']).next().unwrap_or_default();
        if let Err(message) = try_run(line, &[("BASE", &base), ("OUT", &out)]) {
            if message.contains("no encode delegate") {
                println!("skipped: {line}: ImageMagick was built without this format");
            } else {
                faults.push(message);
            }
            continue;
        }
        let found = look(&directory.path().join(format!("out{ending}")));
        let matches = index.find(&found).unwrap();
        match picture(&found) {
            Ok(copy) => {
                let difference = difference(copy, picture(&reference).unwrap());
                let same = (copy.format, copy.bit_depth, copy.width, copy.height) == (*format, *depth, 700, 465);
                if difference > *most || !same {
                    faults.push(format!("{line}: {difference:.2} away, {} bits {}", copy.bit_depth, copy.format));
                }
                if !matches!(matches.as_slice(), [only] if only.kind == Kind::Derivative) {
                    faults.push(format!("{line}: {} matches", matches.len()));
                }
            }
            Err(reason) => faults.push(format!("{line}: {reason}")),
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Black and white, and grey with text.
#[test]
fn bitmaps_are_read_as_they_are_written() {
    let Some(pictures) = pictures("bitmaps", &["convert-im6.q16"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let (_, base) = base(&pictures, directory.path());
    let bits = directory.path().join("bits.png");
    run(
        "convert-im6.q16 BASE -colorspace Gray -ordered-dither h4x4a -type bilevel OUT",
        &[("BASE", &base), ("OUT", &bits)],
    );
    let reference = look(&bits);
    let out = directory.path().join("out");
    for (line, ending) in [
        ("convert-im6.q16 BITS OUT.pbm", "pbm"),
        ("convert-im6.q16 BITS -compress none OUT.pbm", "pbm"),
        ("convert-im6.q16 BITS -depth 8 OUT.pgm", "pgm"),
        ("convert-im6.q16 BITS -compress none OUT.pgm", "pgm"),
        ("convert-im6.q16 BITS -monochrome BMP3:OUT.bmp", "bmp"),
        ("convert-im6.q16 BITS OUT.gif", "gif"),
        ("convert-im6.q16 BITS -type bilevel OUT.psd", "psd"),
        ("convert-im6.q16 BITS -type grayscale OUT.psd", "psd"),
    ] {
        run(line, &[("BITS", &bits), ("OUT", &out)]);
        let found = look(&out.with_extension(ending));
        let difference = difference(picture(&found).unwrap(), picture(&reference).unwrap());
        assert!(difference < 0.1, "{line}: {difference:.2} away");
    }
}

#[test]
fn jpeg_xl_in_bands_is_the_same_picture() {
    let Some(pictures) = pictures("bands of JPEG XL", &["vips", "convert-im6.q16"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let (_, base) = base(&pictures, directory.path());
    let reference = look(&base);
    for kind in ["Q=90", "lossless"] {
        let out = directory.path().join("out.jxl");
        run(&format!("vips copy BASE OUT[{kind}]"), &[("BASE", &base), ("OUT", &out)]);
        // Enough for a band of 256 rows, and not for 465.
        let limits = Limits { max_memory: 24 << 20, ..Limits::default() };
        let found = measure(&File::open(&out).unwrap(), &limits, &mut |_| {}).unwrap();
        let difference = difference(picture(&found).unwrap(), picture(&reference).unwrap());
        assert!(difference < 3.0, "{kind}: {difference:.2} away");
    }
}

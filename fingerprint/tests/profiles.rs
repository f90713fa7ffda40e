//! Copies in linear light with a colour profile that says so: they look like the picture and are recognised.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails where it cannot go on")]

mod making;

use making::{base, difference, index, look, picture, pictures, run};
use vitrine_fingerprint::Kind;

/// The colours of sRGB in linear light, as a profile (ICC.1:2001-04): a header, a table of tags, and what they hold.
fn linear() -> Vec<u8> {
    let point =
        |x: u32, y: u32, z: u32| [b"XYZ \0\0\0\0".as_slice(), &[x, y, z].map(u32::to_be_bytes).concat()].concat();
    let curve = b"curv\0\0\0\0\0\0\0\0".to_vec();
    let tags = [
        (b"wtpt", point(0xf6d6, 0x10000, 0xd32d)),
        (b"rXYZ", point(0x6fa2, 0x38f5, 0x0390)),
        (b"gXYZ", point(0x6299, 0xb785, 0x18da)),
        (b"bXYZ", point(0x24a0, 0x0f84, 0xb6cf)),
        (b"rTRC", curve.clone()),
        (b"gTRC", curve.clone()),
        (b"bTRC", curve),
    ];
    let (mut table, mut data) = ((tags.len() as u32).to_be_bytes().to_vec(), Vec::new());
    for (name, held) in tags {
        let at = (128 + 4 + 7 * 12 + data.len()) as u32;
        table.extend([name.as_slice(), &at.to_be_bytes(), &(held.len() as u32).to_be_bytes()].concat());
        data.extend(held);
    }
    let size = ((128 + table.len() + data.len()) as u32).to_be_bytes();
    let kind = b"\0\0\0\0\x02\x40\0\0mntrRGB XYZ \x07\xe4\0\x01\0\x01\0\0\0\0\0\0acsp";
    let light = [0, 0, 0xf6, 0xd6, 0, 1, 0, 0, 0, 0, 0xd3, 0x2d];
    [&size[..], kind, &[0; 28], &light, &[0; 48], &table, &data].concat()
}

#[test]
fn a_linear_copy_is_brought_to_the_usual_curve() {
    let Some(pictures) = pictures("colour profiles", &["vips", "convert-im6.q16", "avifenc", "heif-enc"]) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let (master, base) = base(&pictures, directory.path());
    let path = |name: &str| directory.path().join(name);
    let (profile, png) = (path("linear.icc"), path("linear.png"));
    std::fs::write(&profile, linear()).unwrap();
    let index = index(&master);
    let reference = look(&base);
    for (line, name) in [
        ("vips icc_transform BASE LINEAR PROFILE --input-profile srgb", "linear.png"),
        ("vips copy LINEAR OUT[Q=90]", "out.jpg"),
        ("vips copy LINEAR OUT[Q=90]", "out.webp"),
        ("vips copy LINEAR OUT[compression=lzw]", "out.tif"),
        ("avifenc -s 8 --min 10 --max 20 LINEAR OUT", "out.avif"),
        ("heif-enc -q 85 LINEAR -o OUT", "out.heic"),
    ] {
        let out = path(name);
        run(line, &[("BASE", &base), ("LINEAR", &png), ("PROFILE", &profile), ("OUT", &out)]);
        let found = look(&out);
        let difference = difference(picture(&found).unwrap(), picture(&reference).unwrap());
        assert!(difference < 6.0, "{name}: {difference:.2} away");
        let matches = index.find(&found).unwrap();
        assert!(matches!(matches.as_slice(), [only] if only.kind == Kind::Derivative), "{name}: {}", matches.len());
    }
}

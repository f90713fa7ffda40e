//! Real pictures, changed by real tools: every copy is recognised, and nothing else is. Needs
//! `../../shared/pictures`, `vips` and ImageMagick; says so and passes where they are not there.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::ffi::OsStr;
use std::fs::{File, read_dir};
use std::path::{Path, PathBuf};
use std::process::Command;

use vitrine_fingerprint::{Content, Entry, Index, Kind, Limits, Measurement, measure};

fn look(path: &Path) -> Measurement {
    measure(&File::open(path).unwrap(), &Limits::default(), &mut |_| {}).unwrap()
}

fn list(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn entry(path: &Path, measurement: Measurement) -> Entry {
    Entry::new(path, "masters", measurement)
}

/// The pictures, if they and the tools are there.
fn pictures(test: &str) -> Option<PathBuf> {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/pictures");
    if !pictures.join("masters").is_dir() {
        println!("skipped: {test}: {} is not there", pictures.display());
        return None;
    }
    for tool in ["vips", "convert-im6.q16"] {
        if Command::new(tool).arg("--version").output().is_err() {
            println!("skipped: {test}: {tool} is not installed");
            return None;
        }
    }
    Some(pictures)
}

fn run(tool: &str, arguments: &[&OsStr]) {
    let output = Command::new(tool).args(arguments).output().unwrap();
    assert!(output.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// One change: the tool, its words (`IN` and `OUT` stand for the files), the name that the copy gets.
const CHANGES: [(&str, &str, &str); 17] = [
    ("vips", "resize IN OUT[Q=90] 0.9", "90_percent.jpg"),
    ("vips", "thumbnail IN OUT[Q=85] 1000 --height 1000 --size down", "1000.jpg"),
    ("vips", "thumbnail IN OUT[Q=85] 300 --height 300 --size down", "300.jpg"),
    ("vips", "copy IN OUT[Q=20]", "q20.jpg"),
    ("vips", "copy IN OUT[Q=60]", "q60.webp"),
    ("vips", "copy IN OUT", "copy.png"),
    ("vips", "copy IN OUT[compression=lzw,predictor=horizontal]", "lzw.tif"),
    ("vips", "copy IN OUT[compression=deflate,tile,tile-width=256,tile-height=256]", "deflate_tiled.tif"),
    ("vips", "copy IN OUT[compression=jpeg,Q=85,tile,bigtiff]", "jpeg_tiled_big.tif"),
    ("vips", "copy IN OUT[Q=50]", "lossy.jp2"),
    ("vips", "colourspace IN OUT[Q=85] b-w", "grey.jpg"),
    ("vips", "gamma IN OUT[Q=85] --exponent 1.2", "gamma.jpg"),
    ("vips", "rot IN OUT[Q=85] d90", "rotated.jpg"),
    ("vips", "flip IN OUT[Q=85] horizontal", "mirrored.jpg"),
    ("convert-im6.q16", "IN -depth 16 -compress zip OUT", "deep.tif"),
    ("convert-im6.q16", "IN -colorspace CMYK -compress lzw OUT", "cmyk.tif"),
    ("convert-im6.q16", "IN -resize 800x800> -type palette -compress lzw OUT", "palette.tif"),
];

#[test]
fn changed_copies_are_recognised_and_others_are_not() {
    let Some(pictures) = pictures("recognition") else { return };
    let index = Index::in_memory().unwrap();
    let masters = list(&pictures.join("masters"));
    for path in &masters {
        index.insert(&entry(path, look(path))).unwrap();
    }

    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base.ppm");
    // Every sixth master keeps the test short; the whole set is `tests/benches/recognition/run`.
    let mut faults = Vec::new();
    for master in masters.iter().step_by(6) {
        let words = ["-colorspace", "sRGB", "-resize", "1600x1600>"].map(OsStr::new);
        run("convert-im6.q16", &[&[master.as_os_str()], words.as_slice(), &[base.as_os_str()]].concat());
        for (tool, words, name) in CHANGES {
            let copy = dir.path().join(name);
            let fill = |word: &str| word.replace("IN", base.to_str().unwrap()).replace("OUT", copy.to_str().unwrap());
            let words: Vec<String> = words.split(' ').map(fill).collect();
            run(tool, &words.iter().map(OsStr::new).collect::<Vec<_>>());
            let measurement = look(&copy);
            let matches = index.find(&measurement).unwrap();
            let expected = matches.first().is_some_and(|best| {
                best.master.path == *master && best.kind == Kind::Derivative && best.scale <= 1.001
            });
            if !expected || matches.len() != 1 {
                faults.push(format!("{name} of {}: {matches:?}", master.display()));
            }
            let Content::Picture(picture) = measurement.content else { continue };
            assert_eq!(picture.bit_depth, if name == "deep.tif" { 16 } else { 8 }, "{name}");
        }
    }
    for other in list(&pictures.join("others")).iter().step_by(3) {
        let matches = index.find(&look(other)).unwrap();
        if !matches.is_empty() {
            faults.push(format!("{}: {matches:?}", other.display()));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

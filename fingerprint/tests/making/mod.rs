//! Pictures for the tests of formats: real ones, changed by real encoders, and how alike two of them are.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "a test fails where it cannot go on")]

use std::fs::{File, read_dir};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use vitrine_fingerprint::{Content, Entry, Index, Limits, Measurement, Picture, Unscanned, measure};

/// What `path` is.
pub(crate) fn look(path: &Path) -> Measurement {
    measure(&File::open(path).unwrap(), &Limits::default(), &mut |_| {}).unwrap()
}

/// What a file of these bytes is.
pub(crate) fn content_within(bytes: &[u8], limits: &Limits) -> Content {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    measure(&file, limits, &mut |_| {}).unwrap().content
}

pub(crate) fn content(bytes: &[u8]) -> Content {
    content_within(bytes, &Limits::default())
}

pub(crate) fn unscanned(content: Content) -> Unscanned {
    match content {
        Content::Unscanned(unscanned) => unscanned,
        Content::Picture(picture) => panic!("not unscanned: {} by {}", picture.width, picture.height),
        _ => panic!("not unscanned, but no picture at all"),
    }
}

/// The pictures, if they and the tools are there.
pub(crate) fn pictures(test: &str, tools: &[&str]) -> Option<PathBuf> {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/pictures");
    if !pictures.join("masters").is_dir() {
        println!("skipped: {test}: {} is not there", pictures.display());
        return None;
    }
    for tool in tools {
        if Command::new(tool).arg("--version").output().is_err() {
            println!("skipped: {test}: {tool} is not installed");
            return None;
        }
    }
    Some(pictures)
}

/// Runs a line of words; those that name no option may stand for files.
pub(crate) fn run(line: &str, files: &[(&str, &Path)]) {
    try_run(line, files).unwrap();
}

/// The same; what the tool says where it fails.
pub(crate) fn try_run(line: &str, files: &[(&str, &Path)]) -> Result<(), String> {
    let fill = |word: &str| {
        files.iter().fold(word.to_owned(), |word, (name, path)| word.replace(name, path.to_str().unwrap()))
    };
    let words: Vec<String> = line.split(' ').map(fill).collect();
    let output = Command::new(&words[0]).args(&words[1..]).output().unwrap();
    let message = || format!("{line}: {}", String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(()) } else { Err(message()) }
}

/// A colourful master in a size that keeps the tests short, as PNG.
pub(crate) fn base(pictures: &Path, directory: &Path) -> (PathBuf, PathBuf) {
    let masters = read_dir(pictures.join("masters")).unwrap().map(|entry| entry.unwrap().path());
    let master = masters.filter(|path| path.to_str().unwrap().contains("H318")).min().unwrap();
    let base = directory.join("base.png");
    run(
        "convert-im6.q16 MASTER -colorspace sRGB -resize 700x700 +profile * -strip BASE",
        &[("MASTER", &master), ("BASE", &base)],
    );
    (master, base)
}

pub(crate) fn index(master: &Path) -> Index {
    let index = Index::in_memory().unwrap();
    index.insert(&Entry::new(master, "masters", look(master))).unwrap();
    index
}

pub(crate) fn picture(measurement: &Measurement) -> Result<&Picture, String> {
    match &measurement.content {
        Content::Picture(picture) => Ok(picture),
        Content::Unscanned(unscanned) => Err(unscanned.reason.to_string()),
        _ => Err("no picture at all".to_owned()),
    }
}

/// How far two pictures are from each other on average: thumbnails, 0 to 255.
pub(crate) fn difference(a: &Picture, b: &Picture) -> f64 {
    let decode =
        |picture: &Picture| turbojpeg::decompress(&picture.thumbnail, turbojpeg::PixelFormat::RGB).unwrap().pixels;
    let (a, b) = (decode(a), decode(b));
    if a.len() != b.len() {
        return 255.0;
    }
    a.iter().zip(&b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

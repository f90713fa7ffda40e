//! Local features beside the index: a part of a master is found when they come from memory, from files, and after
//! those files were damaged.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use vitrine_fingerprint::{Content, Digest, Entry, Index, Kind, Limits, Measurement, Problem, measure};

/// A picture full of corners that depend on `seed`; `crop` cuts (left, top, width, height) out of it.
fn drawing(seed: u32, side: u32, crop: (u32, u32, u32, u32)) -> Measurement {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut random = |below: u32| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state % below
    };
    let mut pixels = vec![200u8; (side * side) as usize];
    for _ in 0..400 {
        let (x, y, w, h, grey) = (random(side), random(side), 4 + random(50), 4 + random(50), random(256) as u8);
        for row in y..(y + h).min(side) {
            pixels[(row * side + x) as usize..(row * side + (x + w).min(side)) as usize].fill(grey);
        }
    }
    let (left, top, width, height) = crop;
    let rows = (top..top + height).flat_map(|y| &pixels[(y * side + left) as usize..][..width as usize]);
    let part: Vec<u8> = rows.copied().collect();
    let mut file = tempfile::tempfile().unwrap();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(&part).unwrap();
    file.flush().unwrap();
    measure(&file, &Limits::default(), &mut |_| {}).unwrap()
}

fn entry(path: &str, measurement: Measurement) -> Entry {
    Entry { device: 1, inode: 1, ..Entry::new(path, "masters", measurement) }
}

/// The kind, coverage and scale by which the part is found, and nothing else is.
fn ask(index: &Index, part: &Measurement) -> (Kind, f64, f64) {
    let found = index.find(part).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    let found = &found[0];
    assert_eq!(found.master.path, Path::new("/masters/A7.tif"));
    (found.kind, found.coverage, found.scale)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_part_is_found_from_memory_from_files_and_after_damage() {
    let room = tempfile::tempdir().unwrap();
    let (path, dir) = (room.path().join("index.db"), room.path().join("index.db-postings"));
    let part = drawing(7, 900, (300, 150, 450, 450));
    assert!(matches!(&part.content, Content::Picture(picture) if picture.fingerprint.is_recognisable()));

    let index = Index::open(&path).unwrap();
    index.insert(&entry("/masters/A7.tif", drawing(7, 900, (0, 0, 900, 900)))).unwrap();
    let (kind, coverage, scale) = ask(&index, &part);
    assert_eq!(kind, Kind::Fragment);
    assert!((coverage - 0.25).abs() < 0.03 && (scale - 1.0).abs() < 0.02, "{coverage} {scale}");
    assert!(!dir.exists(), "one master needs no file");

    // As many as go to a file: small, so that the test is quick.
    let small = drawing(8, 120, (0, 0, 120, 120));
    let many = |range: std::ops::Range<u32>| {
        let fill = |number: u32| {
            let digest = Digest::of(&number.to_le_bytes());
            entry(&format!("/masters/B{number}.tif"), Measurement { digest, ..small.clone() })
        };
        range.map(fill).collect::<Vec<_>>()
    };
    index.insert_all(&many(0..2000)).unwrap();
    ask(&index, &part);
    index.insert_all(&many(2000..2100)).unwrap();
    assert_eq!(files(&dir).len(), 1);
    ask(&index, &part);
    index.insert_all(&many(2100..4300)).unwrap();
    assert_eq!(files(&dir).len(), 1, "two of one size become one");
    ask(&index, &part);
    drop(index);

    let stray = dir.join("99.segment");
    fs::write(&stray, "left of a crash").unwrap();
    ask(&Index::open_read_only(&path).unwrap(), &part);
    let index = Index::open(&path).unwrap();
    assert!(!stray.exists() && index.verify().unwrap().is_empty());
    ask(&index, &part);
    drop(index);

    // A byte of a posting: still opened, and told of by `verify`.
    let [file] = files(&dir).try_into().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() - 1000;
    bytes[at] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let index = Index::open(&path).unwrap();
    assert_eq!(index.verify().unwrap(), [Problem::Segment { path: file.clone() }]);
    drop(index);

    // Cut short, and gone: made again from the rows.
    OpenOptions::new().write(true).open(&file).unwrap().set_len(5000).unwrap();
    ask(&Index::open(&path).unwrap(), &part);
    files(&dir).iter().for_each(|file| fs::remove_file(file).unwrap());
    let index = Index::open(&path).unwrap();
    ask(&index, &part);
    assert!(index.verify().unwrap().is_empty());
}

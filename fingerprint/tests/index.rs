//! The index: what goes in comes out, survives, and is not believed when it is damaged.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use vitrine_fingerprint::{Content, Entry, Index, IndexError, Kind, Limits, Measurement, measure};

/// A picture of rectangles whose places depend on `seed`, as a PNG.
/// All bits but one: the last number stands for what is no file.
const DEVICE: u64 = u64::MAX - 1;

fn drawing(seed: u32, side: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut random = |below: u32| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state % below
    };
    let mut cells = vec![230u8; 64 * 64];
    for _ in 0..60 {
        let (x, y, w, h, grey) = (random(60), random(60), 1 + random(12), 1 + random(12), random(200) as u8);
        for row in y..(y + h).min(64) {
            for column in x..(x + w).min(64) {
                cells[(row * 64 + column) as usize] = grey;
            }
        }
    }
    let pixel = |index: u32| cells[((index / side * 64 / side) * 64 + index % side * 64 / side) as usize];
    let pixels: Vec<u8> = (0..side * side).map(pixel).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    bytes
}

fn measured(bytes: &[u8]) -> Measurement {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    measure(&file, &Limits::default(), &mut |_| {}).unwrap()
}

fn entry(path: impl AsRef<Path>, inode: u64, measurement: Measurement) -> Entry {
    let object = Some("A1".to_owned());
    Entry { object, device: DEVICE, inode, mtime_ns: -5, ..Entry::new(path.as_ref(), "masters", measurement) }
}

fn paths(index: &Index, dir: &str) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let mut visit = |path: &Path, _: &_| {
        paths.push(path.to_owned());
        ControlFlow::Continue(())
    };
    index.each_below(Path::new(dir), &mut visit).unwrap();
    paths
}

#[test]
fn a_master_is_found_by_path_inode_bytes_and_looks_also_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("masters.db");
    // A name that is not UTF-8.
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(b"/srv/\xff\xfe/scan\n1.png"));
    let master = measured(&drawing(7, 600));
    let id = {
        let index = Index::open(&file).unwrap();
        let entries: Vec<Entry> =
            (100..140).map(|n| entry(format!("/srv/{n}"), n.into(), measured(&drawing(n, 300)))).collect();
        index.insert_all(&entries).unwrap();
        index.insert(&entry(&path, 42, master.clone())).unwrap()
    };
    for index in [Index::open(&file).unwrap(), Index::open_read_only(&file).unwrap()] {
        let known = index.get(&path).unwrap().unwrap();
        assert_eq!((known.id, known.inode, known.device, known.mtime_ns), (id, 42, DEVICE, -5));
        assert_eq!(index.at_inode(DEVICE, 42), Some(id));
        let exact = index.find(&master).unwrap();
        assert_eq!((exact.len(), exact[0].kind, exact[0].score), (1, Kind::Exact, 1.0));
        assert_eq!(exact[0].master.path, path);
        let derivative = index.find(&measured(&drawing(7, 300))).unwrap();
        assert_eq!((derivative.len(), derivative[0].kind, derivative[0].master.id), (1, Kind::Derivative, id));
        assert!((derivative[0].scale - 0.5).abs() < 0.01, "{}", derivative[0].scale);
        assert!(index.thumbnail(id).unwrap().unwrap().starts_with(b"\xff\xd8"));
        assert!(index.find(&measured(&drawing(999, 300))).unwrap().is_empty());
        let stats = index.stats().unwrap();
        assert_eq!((stats.masters, stats.pictures, stats.collections["masters"]), (41, 41, 41));
        assert_eq!(index.verify().unwrap(), []);
    }
}

#[test]
fn renames_and_removals_follow_directories() {
    let index = Index::in_memory().unwrap();
    let names = ["/s/a", "/s/a/1", "/s/a/2/3", "/s/ab", "/s/b", "/s/b/1"];
    let insert = |(name, inode): (&&str, u64)| index.insert(&entry(name, inode, measured(&drawing(1, 64)))).unwrap();
    let ids: Vec<i64> = names.iter().zip(1..).map(insert).collect();
    assert_eq!(paths(&index, "/s/a"), [Path::new("/s/a/1"), Path::new("/s/a/2/3")]);
    // The master at /s/b/1 is overwritten by the one that moves there.
    assert_eq!(index.rename(Path::new("/s/a"), Path::new("/s/b")).unwrap(), 3);
    assert_eq!(paths(&index, "/"), ["/s/ab", "/s/b", "/s/b/1", "/s/b/2/3"].map(PathBuf::from));
    assert_eq!(index.get(Path::new("/s/b/1")).unwrap().unwrap().id, ids[1]);
    assert_eq!(index.at_inode(DEVICE, 6), None);
    assert_eq!(index.remove_below(Path::new("/s/b/")).unwrap(), 2);
    assert!(index.remove(Path::new("/s/b")).unwrap());
    assert!(!index.remove(Path::new("/s/b")).unwrap());
    assert_eq!((index.len(), paths(&index, "/s")), (1, vec![PathBuf::from("/s/ab")]));
    assert_eq!(index.verify().unwrap(), []);
}

#[test]
fn a_file_measured_again_keeps_its_id() {
    let index = Index::in_memory().unwrap();
    let first = index.insert(&entry("/s/1", 1, measured(&drawing(1, 64)))).unwrap();
    let changed = measured(&drawing(2, 64));
    assert_eq!(index.insert(&entry("/s/1", 2, changed.clone())).unwrap(), first);
    assert_eq!((index.at_inode(DEVICE, 1), index.at_inode(DEVICE, 2)), (None, Some(first)));
    assert!(index.find(&measured(&drawing(1, 64))).unwrap().is_empty());
    assert_eq!(index.find(&changed).unwrap().len(), 1);
}

#[test]
fn a_blank_picture_matches_nothing_but_itself() {
    let blank = |side: u32| {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, side, side);
        encoder.set_color(png::ColorType::Grayscale);
        // Paper: nearly white, with a slow gradient and a little noise.
        let paper = |i: u32| (225 + i / side * 10 / side + i.wrapping_mul(2_654_435_761) % 3) as u8;
        let pixels: Vec<u8> = (0..side * side).map(paper).collect();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        bytes
    };
    let index = Index::in_memory().unwrap();
    index.insert(&entry("/s/blank", 1, measured(&blank(500)))).unwrap();
    index.insert(&entry("/s/1", 2, measured(&drawing(1, 500)))).unwrap();
    assert!(matches!(&measured(&blank(500)).content, Content::Picture(p) if !p.fingerprint.is_recognisable()));
    assert_eq!(index.find(&measured(&blank(500))).unwrap().len(), 1);
    assert_eq!(index.find(&measured(&blank(400))).unwrap(), []);
}

#[test]
fn damage_is_found_and_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("masters.db");
    {
        let index = Index::open(&file).unwrap();
        let entries: Vec<Entry> =
            (1..30).map(|n| entry(format!("/s/{n}"), n.into(), measured(&drawing(n, 64)))).collect();
        index.insert_all(&entries).unwrap();
    }
    let sound = fs::read(&file).unwrap();
    // A name inside a row: SQLite cannot see that, the checksum can, as soon as the row is read.
    let at = sound.windows(7).rposition(|bytes| bytes == b"masters").unwrap();
    let mut bytes = sound.clone();
    bytes[at] ^= 0x20;
    fs::write(&file, &bytes).unwrap();
    let index = Index::open(&file).unwrap();
    let refused = |error: IndexError| {
        assert!(matches!(error, IndexError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("masters.db"), "{error}");
    };
    let mut nothing = |_: &Path, _: &_| ControlFlow::Continue(());
    refused(index.each_below(Path::new("/"), &mut nothing).unwrap_err());
    drop(index);
    refused(Index::open(&file).err().unwrap());
    refused(Index::open_read_only(&file).err().unwrap());

    // A key, which lies in memory: the first byte of an inode number.
    let key = [DEVICE.to_le_bytes(), 29u64.to_le_bytes()].concat();
    let at = sound.windows(16).rposition(|bytes| bytes == key).unwrap();
    let mut bytes = sound.clone();
    bytes[at + 8] ^= 1;
    fs::write(&file, &bytes).unwrap();
    refused(Index::open(&file).err().unwrap());

    // A picture in the wide table: opening does not read it, verifying does.
    let at = sound.windows(3).rposition(|bytes| bytes == b"\xff\xd8\xff").unwrap();
    let mut bytes = sound.clone();
    bytes[at + 200] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let problems = Index::open(&file).unwrap().verify().unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");

    // Pages of zeros in the middle, as a bad disk leaves them.
    fs::write(&file, &sound).unwrap();
    let mut disk = File::options().write(true).open(&file).unwrap();
    disk.seek(SeekFrom::Start(4096)).unwrap();
    disk.write_all(&vec![0; sound.len() / 2]).unwrap();
    match Index::open(&file) {
        Err(error) => assert!(error.to_string().contains("masters.db"), "{error}"),
        Ok(index) => assert!(!index.verify().unwrap().is_empty()),
    }
    fs::write(&file, b"Dear diary, this is no index at all. ".repeat(300)).unwrap();
    assert!(matches!(Index::open(&file), Err(IndexError::NotAnIndex { .. })));
    assert!(Index::open_read_only(&dir.path().join("nowhere.db")).is_err());
}

#[test]
fn readers_do_not_wait_for_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(&dir.path().join("masters.db")).unwrap();
    let query = measured(&drawing(3, 64));
    index.insert(&entry("/s/3", 3, query.clone())).unwrap();
    let entries: Vec<Entry> = (10..400).map(|n| entry(format!("/s/{n}"), n, query.clone())).collect();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| index.insert_all(&entries).unwrap());
        for _ in 0..50 {
            assert!(!index.find(&query).unwrap().is_empty());
            assert!(index.get(Path::new("/s/3")).unwrap().is_some());
        }
        assert_eq!(writer.join().unwrap().len(), 390);
    });
    assert_eq!(index.len(), 391);
}

/// Bytes that no two seeds have in common, and no two places of one.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed) << 32 | 0x9e37_79b9;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn copies_of_a_master_do_not_switch_its_parts_off_and_what_many_masters_share_says_nothing() {
    let index = Index::in_memory().unwrap();
    let shared = noise(1, 600_000);
    for number in 0..17 {
        index.insert(&entry(format!("/m/copy{number}"), number, measured(&noise(2, 600_000)))).unwrap();
        let other = [shared.as_slice(), &noise(100 + number as u32, 100_000)].concat();
        index.insert(&entry(format!("/m/other{number}"), 100 + number, measured(&other))).unwrap();
    }
    let piece = measured(&noise(2, 600_000)[99_999..499_999]);
    let found = index.find(&piece).unwrap();
    assert_eq!(found.len(), 17);
    assert!(found.iter().all(|found| found.kind == Kind::Fragment), "{found:?}");
    assert_eq!(index.find(&measured(&shared[99_999..499_999])).unwrap(), []);
}

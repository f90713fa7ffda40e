//! A writer that is killed at any moment leaves an index that opens, has its checksums, and has all that was
//! acknowledged.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use vitrine_fingerprint::{Digest, Entry, Index, Limits, Measurement, measure};

/// Tells the writer where the index lies.
const PLACE: &str = "VITRINE_TEST_INDEX";
/// Masters that the writer inserts at once: a file of postings is written at every eighth time.
const BATCH: usize = 300;

/// A small picture with some corners.
fn picture(directory: &Path) -> Measurement {
    let path = directory.join("picture.png");
    let pixels: Vec<u8> = (0..120 * 120).map(|at| ((at % 120 / 9 * 37) ^ (at / 120 / 11 * 59)) as u8).collect();
    let mut encoder = png::Encoder::new(File::create(&path).unwrap(), 120, 120);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    measure(&File::open(&path).unwrap(), &Limits::default(), &mut |_| {}).unwrap()
}

fn entry(number: usize, measurement: &Measurement) -> Entry {
    let measurement = Measurement { digest: Digest::of(&number.to_le_bytes()), ..measurement.clone() };
    let path = format!("/masters/{number}.png");
    Entry { device: 1, inode: number as u64, ..Entry::new(path, "masters", measurement) }
}

/// Not a test by itself: what the test starts and kills. Says how many masters are in the index whenever it has
/// registered more.
#[test]
#[ignore = "writes until it is killed"]
fn writer() {
    let Some(place) = env::var_os(PLACE).map(PathBuf::from) else { return };
    let measurement = picture(place.parent().unwrap());
    let index = Index::open(&place).unwrap();
    let mut next = index.len();
    loop {
        let entries: Vec<Entry> = (next..next + BATCH).map(|number| entry(number, &measurement)).collect();
        index.insert_all(&entries).unwrap();
        next += BATCH;
        println!("registered {next}");
    }
}

fn start(place: &Path) -> Child {
    let mut writer = Command::new(env::current_exe().unwrap());
    writer.args(["--exact", "writer", "--ignored", "--nocapture"]).env(PLACE, place);
    writer.stdout(Stdio::piped()).spawn().unwrap()
}

/// The files of postings.
fn files(place: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(place.with_extension("db-postings")).into_iter().flatten();
    listed.map(|file| file.unwrap().path()).collect()
}

#[test]
fn nothing_acknowledged_is_lost_when_the_writer_is_killed() {
    let room = tempfile::tempdir().unwrap();
    let place = room.path().join("index.db");
    // After so many batches; or, with none, as soon as the writer has begun a file of postings.
    for batches in [Some(1), None, Some(2), None, Some(9), None] {
        let before = files(&place);
        let mut child = start(&place);
        let mut acknowledged = 0;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut told = lines.filter_map(|line| line.strip_prefix("registered ")?.parse::<usize>().ok());
        if let Some(batches) = batches {
            acknowledged = told.by_ref().take(batches).last().unwrap();
        } else {
            while files(&place).iter().all(|file| before.contains(file)) {
                assert!(child.try_wait().unwrap().is_none(), "the writer has ended by itself");
                std::hint::spin_loop();
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = told.last().unwrap_or(acknowledged);

        let index = Index::open(&place).unwrap();
        assert_eq!(index.verify().unwrap(), []);
        let count = index.len();
        assert!(count >= acknowledged && count.is_multiple_of(BATCH), "{count} of {acknowledged}");
        assert_eq!(index.stats().unwrap().masters, count as u64);
        let mut listed = 0;
        let mut visit = |_: &Path, _: &_| {
            listed += 1;
            ControlFlow::Continue(())
        };
        index.each_below(Path::new("/"), &mut visit).unwrap();
        assert_eq!(listed, count);
        let last = (count - 1) as u64;
        assert_eq!(
            index.at_inode(1, last),
            index.get(Path::new(&format!("/masters/{last}.png"))).unwrap().map(|k| k.id)
        );
        drop(index);
        let named = files(&place);
        assert!(named.len() <= 2, "what the writer has left is gone: {named:?}");
    }
}

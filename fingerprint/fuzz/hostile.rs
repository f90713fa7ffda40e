//! What all targets share: limits that are soon reached, and what counts as a fault.
//!
//! A panic in the code of somebody else's decoder is no fault of this project as long as it is caught: the product is
//! built to unwind, and a file whose decoder panics is one that was not seen whole. libFuzzer's Rust half aborts at
//! every panic, caught or not, so [`begin`] puts another hook in its place: a panic in this project's own source
//! aborts at once, one of a dependency is remembered, and aborts, with what it said, only if it escapes.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::abort;
use std::time::{Duration, Instant};

use vitrine_fingerprint::{Entry, Inside, Limits, MeasureError, Measurement};

/// Members that are looked at.
const MEMBERS: u64 = 200;
/// How long may be looked into one file. What is under way then ends by itself: one picture, or one step of a reader.
const TIME: Duration = Duration::from_secs(2);

thread_local! {
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Limits that a small file reaches.
#[must_use]
pub fn limits() -> Limits {
    Limits {
        max_bytes: 4 << 20,
        max_pixels: 4 << 20,
        max_memory: 64 << 20,
        keep_bytes: 4 << 20,
        max_scans: 20,
        max_depth: 4,
        max_members: MEMBERS,
        max_unpacked: 16 << 20,
        max_ratio: 200,
        cells: 800,
        max_time: TIME,
    }
}

/// Decides what a panic is, before the first input.
pub fn begin() {
    panic::set_hook(Box::new(|info| {
        let ours = info.location().is_none_or(|at| {
            let file = at.file();
            // Dependencies lie in a registry, and the standard library in /rustc.
            !file.contains("/registry/") && !file.starts_with("/rustc/")
        });
        if ours {
            eprintln!("{info}");
            abort();
        }
        SAID.with_borrow_mut(|said| *said = info.to_string());
    }));
}

/// Runs what must not panic.
pub fn contained<T>(run: impl FnOnce() -> T) -> T {
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        eprintln!("a panic escaped: {}", SAID.take());
        abort();
    })
}

/// A file of these bytes.
#[must_use]
pub fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).and_then(|()| file.rewind()).expect("room for a small file");
    file
}

/// Measures these bytes and checks everything that is promised of any.
pub fn measured(bytes: &[u8]) -> (Measurement, Vec<Inside>) {
    let (file, limits, mut inside) = (file(bytes), limits(), Vec::new());
    let began = Instant::now();
    let measured = contained(|| vitrine_fingerprint::measure(&file, &limits, &mut |found| inside.push(found)));
    let took = began.elapsed();
    let measurement = match measured {
        Ok(measurement) => measurement,
        Err(MeasureError::Read(error)) => panic!("a sound file cannot be read: {error}"),
        Err(other) => panic!("a file that nobody else has: {other}"),
    };
    assert_eq!(measurement.digest.as_bytes(), blake3::hash(bytes).as_bytes());
    assert_eq!(measurement.bytes, bytes.len() as u64);
    let first = inside.remove(0);
    assert!(first.path.is_empty() && first.measurement.parts == measurement.parts);
    // One more may be told of: the one at which the budget ends; and one that says so for each depth.
    let most = MEMBERS + 2 + u64::from(limits.max_depth);
    assert!(inside.len() as u64 <= most, "{} members, {MEMBERS} are allowed", inside.len());
    let unpacked: u64 = inside.iter().map(|inside| inside.measurement.bytes).sum();
    let allowed = (u64::from(limits.max_depth) + 1) * (limits.max_unpacked + (2 << 20));
    assert!(unpacked <= allowed, "{unpacked} bytes unpacked, {allowed} are allowed");
    assert!(took < 4 * TIME, "it took {took:?}, {TIME:?} are allowed");
    for found in &inside {
        assert!(found.path.chars().all(|letter| !letter.is_control()), "{:?} cannot be printed", found.path);
    }
    travels(&measurement);
    inside.iter().for_each(|inside| travels(&inside.measurement));
    (measurement, inside)
}

/// What the process that measures says must be understood by the one that asked.
fn travels(measurement: &Measurement) {
    let text = serde_json::to_string(measurement).expect("a measurement is JSON");
    let back: Measurement = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(serde_json::to_string(&back).expect("a measurement is JSON"), text);
}

/// Bytes with changes: each is a place (three bytes, little endian), a length and so many bytes that lie there instead;
/// a length of 255 cuts the bytes off there.
#[must_use]
pub fn patched(sound: &[u8], mut changes: &[u8]) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    while let [a, b, c, length, rest @ ..] = changes {
        let at = u32::from_le_bytes([*a, *b, *c, 0]) as usize % bytes.len().max(1);
        if *length == u8::MAX {
            bytes.truncate(at);
            changes = rest;
            continue;
        }
        let (new, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes.iter_mut().skip(at).zip(new).for_each(|(byte, new)| *byte = *new);
        changes = rest;
    }
    bytes
}

/// A master of these looks.
#[must_use]
pub fn master(path: &str, measurement: Measurement) -> Entry {
    Entry { device: 1, inode: 1, ..Entry::new(path, "masters", measurement) }
}

/// A grey picture full of corners that depend on `seed`, as a PGM file.
#[must_use]
pub fn drawing(seed: u32, side: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut random = |below: u32| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state % below
    };
    let mut bytes = format!("P5 {side} {side} 255\n").into_bytes();
    let header = bytes.len();
    bytes.resize(header + (side * side) as usize, 200);
    for _ in 0..side / 2 {
        let (x, y, w, h, grey) = (random(side), random(side), 4 + random(50), 4 + random(50), random(256) as u8);
        for row in y..(y + h).min(side) {
            bytes[header + (row * side + x) as usize..header + (row * side + (x + w).min(side)) as usize].fill(grey);
        }
    }
    bytes
}

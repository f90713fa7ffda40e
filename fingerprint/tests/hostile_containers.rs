//! Containers that were made to hurt: each ends soon and within its limits, and says why it was not seen whole.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::io::Write;
use std::time::{Duration, Instant};

use vitrine_fingerprint::{Content, Inside, Limits, Measurement, Opaque, measure};

fn look(bytes: &[u8], limits: &Limits) -> (Measurement, Vec<Inside>) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let mut inside = Vec::new();
    (measure(&file, limits, &mut |found| inside.push(found)).unwrap(), inside)
}

#[test]
fn directories_of_a_disc_that_lie_in_each_other_end_in_time() {
    const SECTOR: usize = 2048;
    let sectors = 1024u32;
    // Each sector begins a directory that goes on to the end of the disc.
    let record = |start: u32| {
        let mut record = vec![34, 0];
        record.extend_from_slice(&start.to_le_bytes());
        record.extend_from_slice(&[0; 4]);
        record.extend_from_slice(&(sectors * SECTOR as u32).to_le_bytes());
        record.resize(25, 0);
        record.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 1, b'd']);
        record
    };
    let mut disc = vec![0; 16 * SECTOR];
    disc.extend_from_slice(b"\x01CD001\x01");
    disc.resize(16 * SECTOR + 156, 0);
    disc.extend_from_slice(&record(18));
    disc.resize(18 * SECTOR, 0);
    let mut start = (18..sectors).cycle();
    while disc.len() < sectors as usize * SECTOR {
        (0..SECTOR / 34).for_each(|_| disc.extend_from_slice(&record(start.next().unwrap())));
        disc.resize(disc.len().next_multiple_of(SECTOR), 0);
    }
    let limits = Limits { max_time: Duration::from_secs(1), ..Limits::default() };
    let began = Instant::now();
    let (measurement, _) = look(&disc, &limits);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(matches!(measurement.content, Content::Opaque(Opaque::TooSlow(1))), "{:?}", measurement.content);
}

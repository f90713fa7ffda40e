//! The rows of a large picture, unpacked by one thread while another one looks at them.

use std::sync::mpsc::sync_channel;
use std::{mem, panic, thread};

use super::{Reading, Row};
use crate::decode::Failure;
use crate::measure::{Limits, Size};

/// Pictures of fewer pixels are done before a thread is worth it.
const LARGE: u64 = 4_000_000;
/// Bytes of rows that are handed over at once; the last row goes beyond.
const BATCH: u64 = 256 << 10;
/// So many batches are there at most: one that is filled, two that wait, and one that is looked at.
const BATCHES: usize = 4;
/// Bytes beside those of its samples that a row takes in memory.
const LINE: u64 = 96;
/// They take such a part of the memory that a decoder may hold, or are not read ahead.
const SHARE: u64 = 8;

struct Line {
    left: u32,
    y: u32,
    planes: Vec<Vec<u8>>,
}

/// The memory that it takes where rows have so many bytes in all planes, if the picture is large enough and there is so
/// much.
pub(super) fn memory(size: Size, row: u64, limits: &Limits) -> Option<u64> {
    let memory = BATCHES as u64 * (BATCH + row);
    let pixels = u64::from(size.width) * u64::from(size.height);
    (pixels >= LARGE && memory <= limits.max_memory / SHARE).then_some(memory)
}

/// Calls `row` for every row, as [`Reading::rows`] does.
pub(super) fn rows(reading: &mut Reading<'_, '_>, row: Row<'_>) -> Result<(), Failure> {
    let little = reading.little;
    let borrowed = &mut *reading;
    let read = thread::scope(|scope| {
        let (full, batches) = sync_channel::<Vec<Line>>(BATCHES - 2);
        let unpack = move || {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            // Nobody takes what is sent if whoever looks at it panicked.
            let unpacked = borrowed.rows(&mut |left, y, planes, _| {
                bytes += planes.iter().map(|plane| plane.len() as u64 + LINE).sum::<u64>();
                batch.push(Line { left, y, planes: planes.to_vec() });
                if bytes >= BATCH {
                    bytes = 0;
                    let _ = full.send(mem::take(&mut batch));
                }
            });
            let _ = full.send(batch);
            unpacked
        };
        let unpacking = thread::Builder::new().spawn_scoped(scope, unpack).ok()?;
        for line in batches.into_iter().flatten() {
            row(line.left, line.y, &line.planes, little);
        }
        Some(unpacking.join().unwrap_or_else(|payload| panic::resume_unwind(payload)))
    });
    // Without a thread it takes longer.
    read.unwrap_or_else(|| reading.rows(row))
}

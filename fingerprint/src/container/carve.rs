//! Pictures in the midst of other bytes: previews in metadata and in the raw files of cameras, pictures in documents
//! of a format that is not opened here.

use memchr::memmem;

use super::budget::Budget;
use super::walk::Walk;
use super::{PREVIEW_NAME, join};
use crate::decode::markers::{EOI, SOI, SOS, segments};
use crate::decode::{Source, jpeg};

/// Bytes that are searched at once. A picture that lies across is seen in two pieces.
const WINDOW: u64 = 64 << 20;
/// Shorter sides are those of icons.
const SMALLEST: u32 = 64;

impl Walk<'_> {
    /// Looks for pictures and for text that stands for bytes in a file of an unknown kind.
    pub(super) fn unknown(&mut self, path: &str, source: Source<'_>, depth: u32) {
        let Some(depth) = self.deeper_or_told(path, depth) else { return };
        for start in (0..source.size()).step_by(WINDOW as usize) {
            if self.budget.check().is_err() {
                return; // Whoever asked sees it, too.
            }
            let window = source.peek(start, WINDOW as usize);
            self.carve(path, &window, depth);
            self.encoded(path, &window, depth);
        }
    }

    /// Looks at every picture that begins somewhere in `bytes`.
    pub(super) fn carve(&mut self, path: &str, bytes: &[u8], depth: u32) {
        let mut from = 0;
        while let Some((start, length)) = next(bytes, from, &self.budget) {
            let name = format!("{PREVIEW_NAME}{start}");
            if self.bytes(join(path, name.as_bytes()), &bytes[start..start + length], depth).is_err() {
                return;
            }
            from = start + length;
        }
    }
}

/// The first picture from `from` on: where it begins, and how long it is. None, too, where the budget is spent.
fn next(bytes: &[u8], from: usize, budget: &Budget) -> Option<(usize, usize)> {
    let rest = bytes.get(from..)?;
    let jpeg = memmem::find_iter(rest, b"\xff\xd8\xff")
        .take_while(|_| budget.check().is_ok())
        .find_map(|at| Some((from + at, jpeg_length(&rest[at..])?)));
    budget.check().ok()?;
    let before = jpeg.map_or(rest.len(), |(start, _)| start - from);
    let png = memmem::find(&rest[..before], b"\x89PNG\r\n\x1a\n").map(|at| (from + at, png_length(&rest[at..])));
    png.or(jpeg)
}

/// How long the JPEG is that `bytes` begin with, if that is one: with a frame of some size and a scan.
fn jpeg_length(bytes: &[u8]) -> Option<usize> {
    let frame = jpeg::frame(bytes).ok()?;
    if frame.size.width.max(frame.size.height) < SMALLEST {
        return None;
    }
    let (mut frames, mut scans, mut end) = (0, 0, 0);
    for segment in segments(bytes).map_while(Result::ok) {
        end = segment.range.end;
        match segment.marker {
            SOS => scans += 1,
            // Another picture begins here, or something that is made to look like thousands.
            SOI => return (scans > 0).then_some(segment.range.start),
            0xc0..=0xcf if !matches!(segment.marker, 0xc4 | 0xc8 | 0xcc) => {
                frames += 1;
                if frames > 1 {
                    return None;
                }
            }
            EOI => return (scans > 0).then_some(end),
            _ => {}
        }
    }
    (scans > 0).then_some(end)
}

fn png_length(bytes: &[u8]) -> usize {
    memmem::find(bytes, b"IEND").map_or(bytes.len(), |at| (at + 8).min(bytes.len()))
}

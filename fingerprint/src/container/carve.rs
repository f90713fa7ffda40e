//! Pictures and archives in the midst of other bytes: previews in metadata and in the raw files of cameras, pictures in
//! documents of a format that is not opened here, and whatever somebody has put where nobody looks.

use std::io::Read;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use memchr::memmem;

use super::budget::Budget;
use super::hidden::{boxes_end, png_end};
use super::walk::Walk;
use super::{Container, HEAD, PREVIEW_NAME, archive, join, stream};
use crate::decode::markers::{EOI, SOI, SOS, segments};
use crate::decode::{self, Extent, Format, Source, jpeg};
use crate::measure::Limits;

/// Bytes that are searched at once. A picture that lies across is seen in two pieces.
const WINDOW: u64 = 64 << 20;
/// Shorter sides are those of icons.
const SMALLEST: u32 = 64;
/// So much must come out of compressed data before it counts as such, in bytes.
const UNPACKED: u64 = 512;

/// What is looked for, and how far behind the first byte of the file it stands.
const MARKS: [(&[u8], usize); 23] = [
    (b"\xff\xd8\xff", 0),
    (b"\x89PNG\r\n\x1a\n", 0),
    (b"WEBP", 8),
    (b"jP  \r\n\x87\n", 4),
    (b"\xff\x4f\xff\x51", 0),
    (b"II*\0", 0),
    (b"MM\0*", 0),
    (b"II+\0\x08\0", 0),
    (b"MM\0+\0\x08", 0),
    (b"GIF87a", 0),
    (b"GIF89a", 0),
    (b"8BPS\0\x01", 0),
    (b"8BPS\0\x02", 0),
    (b"JXL \r\n\x87\n", 4),
    (b"ftyp", 4),
    (b"PK\x03\x04", 0),
    (b"%PDF-", 0),
    (b"7z\xbc\xaf\x27\x1c", 0),
    (b"ustar", 257),
    (b"\x1f\x8b\x08", 0),
    (b"\x31\x41\x59\x26\x53\x59", 4),
    (b"\xfd7zXZ\0", 0),
    (b"\x28\xb5\x2f\xfd", 0),
];

/// All of them at once. So few and short ones can always be built.
static SEARCH: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| AhoCorasick::new(MARKS.map(|(mark, _)| mark)).ok());

impl Walk<'_> {
    /// Looks for pictures, archives and text that stands for bytes in a file of an unknown kind.
    pub(super) fn unknown(&mut self, path: &str, source: Source<'_>, depth: u32) {
        let Some(depth) = self.deeper_or_told(path, depth) else { return };
        self.search(path, source, 0, depth);
    }

    /// The same in a part that begins at byte `base`.
    pub(super) fn search(&mut self, path: &str, source: Source<'_>, base: u64, depth: u32) {
        for start in (0..source.size()).step_by(WINDOW as usize) {
            if self.budget.check().is_err() {
                return; // Whoever asked sees it, too.
            }
            let window = source.peek(start, WINDOW as usize);
            self.carve(path, &window, base + start, depth);
            self.encoded(path, &window, base + start, depth);
        }
    }

    /// Looks at everything that begins somewhere in `bytes`, which lie at byte `base`.
    pub(super) fn carve(&mut self, path: &str, bytes: &[u8], base: u64, depth: u32) {
        let Some(search) = &*SEARCH else { return };
        let mut from = 0;
        for hit in search.find_iter(bytes) {
            if self.budget.check().is_err() {
                return; // Whoever asked sees it, too.
            }
            let start = hit.start().checked_sub(MARKS[hit.pattern().as_usize()].1);
            let Some(start) = start.filter(|start| *start >= from) else { continue };
            let rest = &bytes[start..];
            let name = join(path, format!("{PREVIEW_NAME}{}", base + start as u64).as_bytes());
            if let Some(container) = Container::of_stream(rest).filter(|container| *container != Container::Tar) {
                self.compressed(container, &name, rest, depth);
                from = start + 1;
            } else if let Some(length) = length(rest, self.limits, &self.budget) {
                let length = length.min(rest.len());
                if self.bytes(name, &rest[..length], depth).is_err() {
                    return;
                }
                from = start + length;
            }
        }
    }

    /// Looks at what may be compressed data, and is, if something comes out of it.
    fn compressed(&mut self, container: Container, path: &str, bytes: &[u8], depth: u32) {
        let is_sound = match (container, bytes) {
            // RFC 1952, 2.3: three flags are reserved, and few speeds and systems are named.
            (Container::Gzip, [_, _, _, flags, _, _, _, _, speed, system, ..]) => {
                flags & 0xe0 == 0 && matches!(speed, 0 | 2 | 4) && matches!(system, 0..=13 | 255)
            }
            (Container::Gzip, _) => false,
            _ => true,
        };
        let Ok(depth) = self.deeper(depth) else { return };
        let mut packed: &[u8] = bytes;
        let Ok(mut unpacked) = stream::Frames::new(container, &mut packed, self.limits) else { return };
        let mut head = Vec::new();
        if is_sound && unpacked.by_ref().take(UNPACKED).read_to_end(&mut head).is_ok() && !head.is_empty() {
            // Where the budget is spent the file it belongs to says so.
            let _ = self.member(join(path, b"content"), &mut head.chain(unpacked), 0, depth);
        }
    }
}

/// How long the picture or archive is that `bytes` begin with, if that is one.
fn length(bytes: &[u8], limits: &Limits, budget: &Budget) -> Option<usize> {
    let head = &bytes[..bytes.len().min(HEAD)];
    match Format::of(head) {
        Some(Format::Jpeg) => jpeg_length(bytes),
        Some(Format::Png) => {
            let side = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk::<4>()?));
            (side(16)?.max(side(20)?) >= SMALLEST).then(|| png_end(bytes))
        }
        Some(Format::WebP) => Some(u32::from_le_bytes(*bytes.get(4..)?.first_chunk::<4>()?) as usize + 8),
        Some(Format::Jp2 | Format::Jxl | Format::Avif | Format::Heif) => Some(boxes_end(bytes)),
        // No two bytes of coded data look like the marker of its end (ISO/IEC 15444-1, B.10.1).
        Some(Format::J2k) => Some(memmem::find(bytes, b"\xff\xd9").map_or(bytes.len(), |at| at + 2)),
        Some(Format::Tiff | Format::BigTiff | Format::Raw) if head.starts_with(b"II") || head.starts_with(b"MM") => {
            // Without strips it is EXIF, whose preview is found as what it is.
            let (mut end, mut has_pixels) = (0, false);
            decode::tiff_extents(Source::Memory(bytes), limits, &mut |start, length, extent| {
                end = end.max(start.saturating_add(length));
                has_pixels |= matches!(extent, Extent::Pixels | Extent::Packed);
                budget.goes_on()
            });
            has_pixels.then(|| usize::try_from(end).unwrap_or(usize::MAX))
        }
        Some(Format::Gif) => gif_length(bytes),
        // What lies behind it is searched with it.
        Some(Format::Psd | Format::Psb | Format::Raw) => Some(bytes.len()),
        Some(_) => None,
        None => match Container::of(head)? {
            Container::Zip => archive::local_length(bytes),
            Container::SevenZip => archive::seven_zip_end(head).map(|end| usize::try_from(end).unwrap_or(usize::MAX)),
            Container::Pdf => {
                let next = memmem::find(bytes.get(5..)?, b"%PDF-").map_or(bytes.len(), |at| at + 5);
                Some(memmem::rfind(&bytes[..next], b"%%EOF").map_or(next, |at| at + 5))
            }
            Container::Tar => Some(stream::tar_length(bytes)),
            _ => None,
        },
    }
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

/// How long the GIF is that `bytes` begin with, if it is larger than an icon: block by block (GIF89a, 12 to 27).
fn gif_length(bytes: &[u8]) -> Option<usize> {
    let side = |at: usize| bytes.get(at..)?.first_chunk::<2>().map(|side| u32::from(u16::from_le_bytes(*side)));
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    if side(6)?.max(side(8)?) < SMALLEST {
        return None;
    }
    let mut at = 13 + table(*bytes.get(10)?);
    loop {
        at += match bytes.get(at) {
            Some(0x21) => 2,
            Some(0x2c) => 11 + bytes.get(at + 9).map_or(0, |flags| table(*flags)),
            Some(0x3b) => return Some(at + 1),
            _ => return Some(at),
        };
        while let Some(length) = bytes.get(at) {
            at += 1 + usize::from(*length);
            if *length == 0 {
                break;
            }
        }
    }
}

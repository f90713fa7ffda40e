//! What a picture carries beside what everybody sees: previews in its metadata, further pages and layers, and
//! whatever lies behind its end.

use std::borrow::Cow;
use std::io::Read;
use std::ops::ControlFlow;

use flate2::read::ZlibDecoder;

use super::budget::Metered;
use super::leftover::{Accounts, PADDING};
use super::walk::Walk;
use super::{Container, join};
use crate::decode::markers::{EOI, segments};
use crate::decode::{self, Extent, Failure, Format, Source};
use crate::measure::{Content, Picture, Unscanned};

/// By so many bytes at its beginning a picture of any other format is known.
const MARKS: u64 = 12;
/// The header of a TIFF file, in bytes; that of a BigTIFF has twice as many.
const TIFF_HEADER: u64 = 8;

/// What the metadata is, piece by piece, and where the picture ends.
#[derive(Default)]
struct Anatomy<'a> {
    metadata: Vec<Cow<'a, [u8]>>,
    /// What the format itself needs, and may hold more than that.
    own: Vec<Cow<'a, [u8]>>,
    /// Metadata that is packed (RFC 1950).
    packed: Vec<&'a [u8]>,
    end: Option<usize>,
}

impl Walk<'_> {
    /// Looks at what the picture `source` hides.
    pub(super) fn hidden(&mut self, path: &str, format: Format, source: Source<'_>, depth: u32) {
        let Some(depth) = self.deeper_or_told(path, depth) else { return };
        decode::further(format, source, self.limits, &mut |name, decoded| {
            let content = match decoded.and_then(Picture::new) {
                Ok(picture) => Content::Picture(picture),
                Err(Failure { reason, size }) => Content::Unscanned(Unscanned { format, reason, size }),
            };
            match self.picture(join(path, name.as_bytes()), content) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()), // The picture it belongs to says so.
            }
        });
        let anatomy_of: fn(&[u8]) -> Anatomy<'_> = match format {
            Format::Jpeg => jpeg,
            Format::Png => png,
            Format::WebP => webp,
            Format::Jp2 => jp2,
            _ => {
                self.elsewhere(path, format, source, depth);
                return;
            }
        };
        let Ok(bytes) = source.bytes(self.limits) else {
            // Decoded from the disk piece by piece, and too large to be taken apart in memory.
            self.elsewhere(path, format, source, depth);
            return;
        };
        let anatomy = anatomy_of(&bytes);
        let metadata = anatomy.metadata.iter().filter(|piece| !piece.starts_with(b"ICC_PROFILE\0"));
        // Where the budget is spent the picture it belongs to says so.
        let _ = self.beside(path, "metadata", metadata.map(|piece| piece.len() as u64).sum());
        for piece in anatomy.metadata.iter().chain(&anatomy.own) {
            self.metadata(path, piece, depth);
        }
        for packed in anatomy.packed {
            let metered = Metered { inner: ZlibDecoder::new(packed), budget: self.budget.clone() };
            let mut piece = Vec::new();
            // What ends with an error is what there is.
            let _ = metered.take(self.limits.max_memory / 4).read_to_end(&mut piece);
            self.metadata(path, &piece, depth);
        }
        let behind = anatomy.end.and_then(|end| bytes.get(end..)).unwrap_or_default();
        if behind.len() > PADDING && behind.iter().any(|byte| *byte != behind[0]) {
            let name =
                if Container::of(behind).is_some() { "archive behind the picture" } else { "behind the picture" };
            // Where the budget is spent the picture it belongs to says so.
            let _ = self.bytes(join(path, name.as_bytes()), behind, depth);
        }
    }

    /// Looks at one piece of metadata.
    fn metadata(&mut self, path: &str, piece: &[u8], depth: u32) {
        if Format::of(piece).is_some() || Container::of(piece).is_some() {
            // Where the budget is spent the picture it belongs to says so.
            let _ = self.bytes(join(path, b"metadata"), piece, depth);
        } else {
            self.search(path, Source::Memory(piece), 0, depth);
        }
    }

    /// Where nobody tells metadata and end: whatever begins anywhere but in the strips of a TIFF, which may be pictures of
    /// their own.
    fn elsewhere(&mut self, path: &str, format: Format, source: Source<'_>, depth: u32) {
        if !matches!(format, Format::Tiff | Format::BigTiff) {
            self.search(path, source.part(MARKS, u64::MAX), MARKS, depth);
            return;
        }
        let mut accounts = Accounts::default();
        accounts.seen(0, TIFF_HEADER);
        let budget = &self.budget;
        decode::tiff_extents(source, self.limits, &mut |start, length, extent| {
            match extent {
                Extent::Pixels => accounts.seen(start, length),
                Extent::Packed | Extent::Directory => accounts.explained(start, length),
                Extent::Metadata => {}
            }
            budget.goes_on()
        });
        // Where the budget is spent the picture it belongs to says so.
        let _ = self.left_over(path, "beside the strips", source, accounts, depth);
    }
}

/// Application segments and comments: EXIF, MPF, Photoshop's resources, XMP. What is longer than one segment goes on in
/// the next of its kind.
fn jpeg(bytes: &[u8]) -> Anatomy<'_> {
    let mut anatomy = Anatomy::default();
    let mut last = None;
    for segment in segments(bytes).map_while(Result::ok) {
        let payload = bytes.get(segment.payload).unwrap_or_default();
        match segment.marker {
            0xe0..=0xef | 0xfe => match anatomy.metadata.last_mut() {
                Some(piece) if last == Some(segment.marker) => piece.to_mut().extend_from_slice(payload),
                _ => anatomy.metadata.push(Cow::Borrowed(payload)),
            },
            EOI => anatomy.end = Some(segment.range.end),
            _ => {}
        }
        last = Some(segment.marker);
    }
    anatomy
}

/// Adds `payload` to the piece before, where that is of the same kind: what is longer than one chunk goes on in the next.
fn put<'a>(pieces: &mut Vec<Cow<'a, [u8]>>, goes_on: bool, payload: &'a [u8]) {
    match pieces.last_mut() {
        Some(piece) if goes_on => piece.to_mut().extend_from_slice(payload),
        _ => pieces.push(Cow::Borrowed(payload)),
    }
}

/// All chunks (W3C PNG, 5.3; of text and profiles 11.3).
fn png(bytes: &[u8]) -> Anatomy<'_> {
    let mut anatomy = Anatomy::default();
    let (mut at, mut last): (usize, &[u8]) = (8, b"");
    while let Some(header) = bytes.get(at..at + 8) {
        let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let payload = at + 8..(at + 8).saturating_add(length).min(bytes.len());
        let kind = &header[4..8];
        at = payload.end.saturating_add(4);
        let payload = bytes.get(payload).unwrap_or_default();
        // Behind a name, and what else comes before the packed text.
        let fields = |count: usize| payload.splitn(count + 1, |byte| *byte == 0).nth(count);
        match kind {
            b"IEND" => {
                anatomy.end = Some(at);
                break;
            }
            b"IDAT" => put(&mut anatomy.own, last == kind, payload),
            b"fdAT" => put(&mut anatomy.own, last == kind, payload.get(4..).unwrap_or_default()),
            b"iCCP" => {
                anatomy.own.push(Cow::Borrowed(payload));
                anatomy.packed.extend(fields(1).and_then(|rest| rest.get(1..)));
            }
            _ => put(&mut anatomy.metadata, last == kind, payload),
        }
        match kind {
            b"zTXt" => anatomy.packed.extend(fields(1).and_then(|rest| rest.get(1..))),
            // Keyword, then flag and method, of which the flag is 1; language and translated keyword.
            b"iTXt" if fields(1).is_some_and(|rest| rest.first() == Some(&1)) => {
                let rest = fields(1).and_then(|rest| rest.get(2..)).unwrap_or_default();
                anatomy.packed.extend(rest.splitn(3, |byte| *byte == 0).nth(2));
            }
            _ => {}
        }
        last = kind;
    }
    anatomy
}

/// Where the PNG ends that `bytes` begin with.
pub(super) fn png_end(bytes: &[u8]) -> usize {
    png(bytes).end.unwrap_or(bytes.len())
}

/// All chunks but the pixels, which lie as they are in chunks of their own (RFC 9649, 2.4).
fn webp(bytes: &[u8]) -> Anatomy<'_> {
    let word = |at: usize| bytes.get(at..at + 4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    let end = word(4).map_or(bytes.len(), |size| (size as usize + 8).min(bytes.len()));
    let mut anatomy = Anatomy { end: Some(end), ..Anatomy::default() };
    let (mut at, mut last): (usize, &[u8]) = (12, b"");
    while let (true, Some(length)) = (at < end, word(at + 4)) {
        let payload = at + 8..(at + 8).saturating_add(length as usize).min(end);
        let kind = bytes.get(at..at + 4).unwrap_or_default();
        let bytes = bytes.get(payload.clone()).unwrap_or_default();
        match kind {
            b"VP8 " | b"VP8L" | b"VP8X" | b"ALPH" | b"ANIM" | b"ANMF" | b"ICCP" => {
                put(&mut anatomy.own, last == kind, bytes);
            }
            _ => put(&mut anatomy.metadata, last == kind, bytes),
        }
        (at, last) = (payload.end.saturating_add(payload.len() % 2), kind);
    }
    anatomy
}

/// All boxes but the coded picture (ISO/IEC 15444-1 annex I.4).
fn jp2(bytes: &[u8]) -> Anatomy<'_> {
    let mut anatomy = Anatomy { end: Some(bytes.len()), ..Anatomy::default() };
    let mut at = 0;
    while let Some((kind, payload)) = next_box(bytes, at) {
        at = payload.end;
        match kind {
            b"jp2c" | b"jP  " | b"ftyp" => {}
            b"jp2h" => anatomy.own.push(Cow::Borrowed(&bytes[payload])),
            kind if kind.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') => {
                anatomy.metadata.push(Cow::Borrowed(&bytes[payload]));
            }
            _ => {
                anatomy.end = Some(at);
                break;
            }
        }
    }
    anatomy
}

/// The kind of the box that begins at byte `at`, and where what it holds lies.
fn next_box(bytes: &[u8], at: usize) -> Option<(&[u8], std::ops::Range<usize>)> {
    let header = bytes.get(at..at.checked_add(8)?)?;
    let long = bytes.get(at + 8..).and_then(|long| long.first_chunk::<8>()).map(|long| u64::from_be_bytes(*long));
    let length = match (u64::from(u32::from_be_bytes([header[0], header[1], header[2], header[3]])), long) {
        (0, _) => bytes.len() as u64, // Until the end.
        (1, Some(long)) => long,
        (length, _) => length,
    };
    let end = usize::try_from(length).unwrap_or(usize::MAX).max(8).saturating_add(at).min(bytes.len());
    Some((&header[4..8], at + 8..end))
}

/// Where the boxes end that `bytes` begin with: before what names itself by no four letters.
pub(super) fn boxes_end(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some((kind, payload)) = next_box(bytes, at) {
        if !kind.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
            break;
        }
        at = payload.end;
    }
    at
}

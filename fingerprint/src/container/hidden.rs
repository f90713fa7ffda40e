//! What a picture carries beside what everybody sees: previews in its metadata, further pages and layers, and
//! whatever lies behind its end.

use std::borrow::Cow;
use std::ops::ControlFlow;

use super::walk::Walk;
use super::{Container, join};
use crate::decode::markers::{EOI, segments};
use crate::decode::{self, Failure, Format, Source};
use crate::measure::{Content, Picture, Unscanned};

/// So many bytes behind the end of a picture are padding.
const PADDING: usize = 64;

/// What the metadata is, piece by piece, and where the picture ends.
#[derive(Default)]
struct Anatomy<'a> {
    metadata: Vec<Cow<'a, [u8]>>,
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
        // Decoders that need all bytes refuse such a file before; the others keep metadata within their reach.
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
        let Ok(bytes) = source.bytes(self.limits) else { return };
        let anatomy = anatomy_of(&bytes);
        let metadata = anatomy.metadata.iter().filter(|piece| !piece.starts_with(b"ICC_PROFILE\0"));
        // Where the budget is spent the picture it belongs to says so.
        let _ = self.beside(path, "metadata", metadata.map(|piece| piece.len() as u64).sum());
        for piece in &anatomy.metadata {
            let piece: &[u8] = piece;
            if Format::of(piece).is_some() || Container::of(piece).is_some() {
                let _ = self.bytes(join(path, b"metadata"), piece, depth);
            } else {
                self.carve(path, piece, depth);
                self.encoded(path, piece, depth);
            }
        }
        let behind = anatomy.end.and_then(|end| bytes.get(end..)).unwrap_or_default();
        if behind.len() > PADDING && behind.iter().any(|byte| *byte != behind[0]) {
            let name =
                if Container::of(behind).is_some() { "archive behind the picture" } else { "behind the picture" };
            // Where the budget is spent the picture it belongs to says so.
            let _ = self.bytes(join(path, name.as_bytes()), behind, depth);
        }
    }
}

impl Walk<'_> {
    /// Formats whose end nobody tells here: an archive at the end, and pictures anywhere but in the strips of a TIFF, which
    /// may be pictures of their own.
    fn elsewhere(&mut self, path: &str, format: Format, source: Source<'_>, depth: u32) {
        if Container::of_source(&[], source).is_some() {
            let opened = self.zip(path, source, depth);
            if let Err(why) = opened {
                // Where the budget is spent the picture it belongs to says so.
                let _ = self.picture(join(path, b"archive behind the picture"), Content::Opaque(why));
            }
        }
        if !matches!(format, Format::Tiff | Format::BigTiff) {
            self.unknown(path, source, depth);
        }
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

/// All chunks but the picture's own (W3C PNG, 5.3).
fn png(bytes: &[u8]) -> Anatomy<'_> {
    let mut anatomy = Anatomy::default();
    let mut at = 8;
    while let Some(header) = bytes.get(at..at + 8) {
        let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let payload = at + 8..(at + 8).saturating_add(length).min(bytes.len());
        let kind = &header[4..8];
        at = payload.end.saturating_add(4);
        if kind == b"IEND" {
            anatomy.end = Some(at);
            break;
        }
        if kind != b"IDAT" && kind != b"fdAT" && kind != b"iCCP" {
            anatomy.metadata.push(Cow::Borrowed(bytes.get(payload).unwrap_or_default()));
        }
    }
    anatomy
}

/// All chunks but the picture's own (RFC 9649, 2.4).
fn webp(bytes: &[u8]) -> Anatomy<'_> {
    let word = |at: usize| bytes.get(at..at + 4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    let end = word(4).map_or(bytes.len(), |size| (size as usize + 8).min(bytes.len()));
    let mut anatomy = Anatomy { metadata: Vec::new(), end: Some(end) };
    let mut at = 12;
    while let (true, Some(length)) = (at < end, word(at + 4)) {
        let payload = at + 8..(at + 8).saturating_add(length as usize).min(end);
        if matches!(bytes.get(at..at + 4), Some(b"EXIF" | b"XMP ")) {
            anatomy.metadata.push(Cow::Borrowed(bytes.get(payload.clone()).unwrap_or_default()));
        }
        at = payload.end.saturating_add(payload.len() % 2);
    }
    anatomy
}

/// All boxes but those of the picture (ISO/IEC 15444-1 annex I.4).
fn jp2(bytes: &[u8]) -> Anatomy<'_> {
    let mut anatomy = Anatomy { metadata: Vec::new(), end: Some(bytes.len()) };
    let mut at = 0;
    while let Some(header) = bytes.get(at..at + 8) {
        let length = u64::from(u32::from_be_bytes([header[0], header[1], header[2], header[3]]));
        let long =
            bytes.get(at + 8..at + 16).and_then(|long| long.first_chunk::<8>()).map(|long| u64::from_be_bytes(*long));
        let length = match (length, long) {
            (0, _) => bytes.len() as u64, // Until the end.
            (1, Some(long)) => long,
            (length, _) => length,
        };
        let end = usize::try_from(length).unwrap_or(usize::MAX).max(8).saturating_add(at).min(bytes.len());
        match &header[4..8] {
            b"jp2c" | b"jP  " | b"ftyp" | b"jp2h" => {}
            kind if kind.iter().all(u8::is_ascii) => {
                anatomy.metadata.push(Cow::Borrowed(bytes.get(at + 8..end).unwrap_or_default()));
            }
            _ => {
                anatomy.end = Some(at);
                break;
            }
        }
        at = end;
    }
    anatomy
}

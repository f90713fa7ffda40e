//! Boxes, of which ISO base media files are made (ISO/IEC 14496-12, 4.2): AVIF, HEIC, and the raw files of Canon's
//! newer cameras.

use super::{Format, Source};

/// Most boxes of a file that are stepped over, on one level.
const BOXES: usize = 4096;

/// The format of a file by its brands (4.3), if it is a picture.
pub(super) fn media(bytes: &[u8]) -> Option<Format> {
    let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    if bytes.get(4..8)? != b"ftyp" || !(16..=4096).contains(&length) {
        return None;
    }
    // The second word is the version of the first.
    let words = bytes.get(8..length.min(bytes.len()))?.chunks_exact(4).enumerate();
    let brands: Vec<&[u8]> = words.filter(|(index, _)| *index != 1).map(|(_, brand)| brand).collect();
    let coded = brands.iter().find_map(|brand| match *brand {
        b"avif" | b"avis" => Some(Format::Avif),
        b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" => Some(Format::Heif),
        _ => None,
    });
    // Pictures of HEIF, however they are coded.
    coded.or_else(|| brands.iter().any(|brand| matches!(*brand, b"mif1" | b"mif2" | b"msf1")).then_some(Format::Heif))
}

/// A box of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) kind: [u8; 4],
    /// Where its contents lie.
    pub(super) start: u64,
    pub(super) end: u64,
}

/// The boxes that follow each other from `start` to `end`. Bounded: every step goes forward.
pub(super) fn places(source: Source<'_>, start: u64, end: u64) -> Vec<Place> {
    let (mut at, end) = (start, end.min(source.size()));
    let mut places = Vec::new();
    while at < end && places.len() < BOXES {
        let Some((kind, header, length)) = header(&source.peek(at, 16)) else { break };
        let stop = length.map_or(end, |length| at.saturating_add(length).min(end));
        places.push(Place { kind, start: (at + header).min(stop), end: stop });
        at = stop;
    }
    places
}

/// The boxes in `bytes`, each with its contents.
pub(super) fn children(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (kind, header, length) = header(rest)?;
        let end = length.map_or(rest.len(), |length| usize::try_from(length).unwrap_or(usize::MAX).min(rest.len()));
        let contents = rest.get(header as usize..end)?;
        rest = &rest[end..];
        Some((kind, contents))
    })
}

/// The contents of the first such box in `bytes`.
pub(super) fn child<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    children(bytes).find(|(found, _)| found == kind).map(|(_, contents)| contents)
}

/// What a box is called, how long its header is, and how long all of it is: at least as long as its header; nothing
/// where it goes on to the end.
fn header(bytes: &[u8]) -> Option<([u8; 4], u64, Option<u64>)> {
    let mut fields = Fields(bytes);
    let (length, kind) = (fields.number(4)?, fields.take(4)?.try_into().ok()?);
    match length {
        0 => Some((kind, 8, None)),
        1 => fields.number(8).filter(|length| *length >= 16).map(|length| (kind, 16, Some(length))),
        _ => Some((kind, 8, Some(length))).filter(|_| length >= 8),
    }
}

/// Reads the fields of a box, one after another.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// An unsigned number of so many bytes, at most 8; 0 where it has none.
    pub(super) fn number(&mut self, bytes: usize) -> Option<u64> {
        Some(self.take(bytes)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// The version and the flags of a full box.
    pub(super) fn version(&mut self) -> Option<(u8, u64)> {
        let version = self.number(1)?;
        Some((version as u8, self.number(3)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_follow_each_other_whatever_their_lengths_say() {
        let long = [b"\0\0\0\x01long".as_slice(), &17u64.to_be_bytes(), b"x"].concat();
        let bytes = [b"\0\0\0\x0aftypab".as_slice(), &long, b"\0\0\0\0lastabc"].concat();
        let found: Vec<_> = children(&bytes).collect();
        assert_eq!(found, [(*b"ftyp", b"ab".as_slice()), (*b"long", b"x"), (*b"last", b"abc")]);
        let places = places(Source::Memory(&bytes), 0, u64::MAX);
        let found: Vec<_> = places.iter().map(|p| (p.kind, &bytes[p.start as usize..p.end as usize])).collect();
        assert_eq!(found, children(&bytes).collect::<Vec<_>>());
    }

    #[test]
    fn a_box_that_is_shorter_than_its_header_is_the_last() {
        for length in 1..8u32 {
            let bytes = [&length.to_be_bytes()[..], b"loop", &[0; 24]].concat();
            assert_eq!(children(&bytes).count(), 0);
            assert_eq!(places(Source::Memory(&bytes), 0, u64::MAX), []);
        }
    }

    #[test]
    fn a_box_ends_with_what_holds_it() {
        let bytes = b"\xff\xff\xff\xffhugeabc";
        assert_eq!(children(bytes).collect::<Vec<_>>(), [(*b"huge", b"abc".as_slice())]);
        assert_eq!(places(Source::Memory(bytes), 0, 9), [Place { kind: *b"huge", start: 8, end: 9 }]);
    }
}

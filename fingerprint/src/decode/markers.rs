//! The marker segments of a JPEG (ISO/IEC 10918-1 annex B), from its first byte to its end.

use std::ops::Range;

use memchr::memchr;

use crate::measure::Reason;

/// Start of an image.
pub(crate) const SOI: u8 = 0xd8;
/// Start of a scan; its segment ends behind the coded data that follows.
pub(crate) const SOS: u8 = 0xda;
/// End of the image.
pub(crate) const EOI: u8 = 0xd9;

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The second byte of its marker.
    pub(crate) marker: u8,
    /// All of it, its marker and the coded data of a scan included.
    pub(crate) range: Range<usize>,
    /// What it carries, without its marker and length; empty for a marker that stands alone.
    pub(crate) payload: Range<usize>,
}

/// All segments of the JPEG that `bytes` begin with, until its end or the first mistake. Bounded: every step goes
/// forward.
pub(crate) fn segments(bytes: &[u8]) -> impl Iterator<Item = Result<Segment, Reason>> + '_ {
    let mut next = Some(2usize);
    std::iter::from_fn(move || {
        let segment = segment(bytes, next?);
        next = match &segment {
            Ok(segment) if segment.marker != EOI => Some(segment.range.end),
            _ => None,
        };
        Some(segment)
    })
}

fn segment(bytes: &[u8], start: usize) -> Result<Segment, Reason> {
    let truncated = || Reason::Truncated("it ends within its headers".to_owned());
    let mut at = start;
    let marker = loop {
        let marker = *bytes.get(at + 1).ok_or_else(truncated)?;
        if bytes.get(at) != Some(&0xff) {
            return Err(Reason::Damaged(format!("no marker at byte {at}")));
        }
        if marker != 0xff {
            break marker; // Any number of 0xff may stand before it (B.1.1.2).
        }
        at += 1;
    };
    if matches!(marker, 0x01 | 0xd0..=EOI) {
        return Ok(Segment { marker, range: start..at + 2, payload: at + 2..at + 2 });
    }
    let length = bytes.get(at + 2..at + 4).ok_or_else(truncated)?;
    let length = (usize::from(length[0]) << 8 | usize::from(length[1])).max(2);
    let payload = at + 4..at + 2 + length;
    if payload.end > bytes.len() {
        return Err(truncated());
    }
    let end = if marker == SOS { coded_end(bytes, payload.end) } else { payload.end };
    Ok(Segment { marker, range: start..end, payload })
}

/// Where the coded data from `start` on ends: at the next marker that is neither a stuffed byte nor a restart.
fn coded_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(found) = memchr(0xff, bytes.get(at..).unwrap_or_default()) {
        at += found;
        match bytes.get(at + 1) {
            Some(0x00 | 0xd0..=0xd7) => at += 2,
            Some(0xff) => at += 1,
            _ => return at,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_go_from_marker_to_marker() {
        let bytes = b"\xff\xd8\xff\xe0\0\x04ab\xff\xda\0\x03c\x01\xff\0\x02\xff\xd0\x03\xff\xff\xd9behind";
        let found: Vec<Segment> = segments(bytes).map(Result::unwrap).collect();
        let markers: Vec<(u8, &[u8])> = found.iter().map(|s| (s.marker, &bytes[s.payload.clone()])).collect();
        assert_eq!(markers, [(0xe0, b"ab".as_slice()), (SOS, b"c"), (EOI, b"")]);
        assert_eq!(&bytes[found[2].range.end..], b"behind");
        assert!(found.windows(2).all(|pair| pair[0].range.end == pair[1].range.start));
    }

    #[test]
    fn what_ends_too_early_is_told() {
        for end in 2..6 {
            let last = segments(&b"\xff\xd8\xff\xe0\0\x04ab"[..end]).last();
            assert!(matches!(last, Some(Err(Reason::Truncated(_)))), "{end}");
        }
        assert!(matches!(segments(b"\xff\xd8xx").last(), Some(Err(Reason::Damaged(_)))));
    }
}

//! Pictures that are known by their first bytes and not decoded here: no decoder that is free, kept and safe to
//! build was found for AVIF and HEIC, and camera raw data is of as many kinds as there are cameras.

use super::{Failure, Format, Reduced, Source};
use crate::measure::{Limits, Reason, Size};

/// Most bytes in which the size is looked for.
const HEAD: u64 = 256 * 1024;

/// Camera raw files that are no TIFF by their first bytes (those that are one are read as such).
pub(super) fn is_raw(bytes: &[u8]) -> bool {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    // Fujifilm RAF; Olympus ORF (three kinds); Panasonic RW2; Sigma X3F; Minolta MRW; Canon CRW.
    starts(b"FUJIFILMCCD-RAW ")
        || starts(b"IIRO\x08\0\0\0")
        || starts(b"IIRS\x08\0\0\0")
        || starts(b"MMOR\0\0\0\x08")
        || starts(b"IIU\0")
        || starts(b"FOVb")
        || starts(b"\0MRM")
        || starts(b"II\x1a\0\0\0HEAPCCDR")
        // Phase One IIQ: a TIFF whose directory knows the small preview only.
        || matches!(bytes.get(8..12), Some(b"IIII" | b"MMMM"))
            && (starts(b"II*\0") || starts(b"MM\0*"))
}

pub(super) fn decode(format: Format, source: Source<'_>, limits: &Limits) -> Result<(Size, Reduced), Failure> {
    let reason = Reason::Unsupported(format!("{format} is known by its first bytes only"));
    let head = source.head(HEAD, limits)?;
    Err(match extent(&head) {
        Some(size) => reason.at(size),
        None => reason.into(),
    })
}

/// The largest size that the properties of an AVIF or HEIC file name (`ispe`, ISO/IEC 23008-12, 6.5.3): its
/// tiles have smaller ones.
fn extent(head: &[u8]) -> Option<Size> {
    let places = head.windows(4).enumerate().filter(|(_, window)| *window == b"ispe");
    let sizes = places.filter_map(|(at, _)| {
        let word = |from: usize| Some(u32::from_be_bytes(head.get(from..from + 4)?.try_into().ok()?));
        let (width, height) = (word(at + 8)?, word(at + 12)?);
        // The box is 20 bytes long, the flags are none.
        let is_box = at >= 4 && word(at - 4) == Some(20) && word(at + 4) == Some(0);
        is_box.then_some(Size { width, height, bit_depth: 8 })
    });
    sizes.max_by_key(|size| u64::from(size.width) * u64::from(size.height))
}

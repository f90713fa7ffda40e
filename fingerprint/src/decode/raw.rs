//! Raw files of cameras in formats of their own (others are TIFF files, and read as such). Of as many kinds as there
//! are cameras; what the sensor saw is not decoded, but every camera writes what it looks like, too: the largest JPEG
//! of the file stands for it, in the size that the sensor has.

mod sensor;

use memchr::memmem;

use super::{Failure, Reduced, Source, admit, jpeg};
use crate::measure::{Limits, Reason, Size};

/// In how much of a file previews are looked for, and how much of it at once.
const REACH: u64 = 1 << 30;
const WINDOW: u64 = 16 << 20;
/// In how many bytes of a JPEG its size is looked for, and how many of them are looked at.
const HEAD: usize = 256 * 1024;
const CANDIDATES: usize = 256;
/// Longest preview, in bytes.
const PREVIEW: u64 = 64 << 20;

/// Camera raw files that are no TIFF by their first bytes (those that are one are read as such).
pub(super) fn is_raw(bytes: &[u8]) -> bool {
    Kind::of(bytes).is_some()
}

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Fujifilm RAF.
    Fujifilm,
    /// Olympus ORF: a TIFF by another name.
    Olympus,
    /// Panasonic RW2: a TIFF by another name, with other tags.
    Panasonic,
    /// Sigma X3F.
    Sigma,
    /// Minolta MRW.
    Minolta,
    /// Canon CRW.
    CanonCrw,
    /// Canon CR3.
    CanonCr3,
    /// Phase One IIQ: a TIFF whose directory knows the small preview only.
    PhaseOne,
}

impl Kind {
    fn of(bytes: &[u8]) -> Option<Kind> {
        let starts = |magic: &[u8]| bytes.starts_with(magic);
        if starts(b"FUJIFILMCCD-RAW ") {
            Some(Kind::Fujifilm)
        } else if starts(b"IIRO\x08\0\0\0") || starts(b"IIRS\x08\0\0\0") || starts(b"MMOR\0\0\0\x08") {
            Some(Kind::Olympus)
        } else if starts(b"IIU\0") {
            Some(Kind::Panasonic)
        } else if starts(b"FOVb") {
            Some(Kind::Sigma)
        } else if starts(b"\0MRM") {
            Some(Kind::Minolta)
        } else if starts(b"II\x1a\0\0\0HEAPCCDR") {
            Some(Kind::CanonCrw)
        } else if bytes.get(4..8) == Some(b"ftyp".as_slice()) && bytes.get(8..12) == Some(b"crx ".as_slice()) {
            Some(Kind::CanonCr3)
        } else if matches!(bytes.get(8..12), Some(b"IIII" | b"MMMM")) && (starts(b"II*\0") || starts(b"MM\0*")) {
            Some(Kind::PhaseOne)
        } else {
            None
        }
    }
}

pub(super) fn decode(source: Source<'_>, limits: &Limits) -> Result<(Size, Reduced), Failure> {
    let kind = Kind::of(&source.peek(0, 16));
    let sensor = kind.and_then(|kind| sensor::size(kind, source, limits));
    let Some(sensor) = sensor else {
        let message = "a camera's raw file whose size is not known; its previews are looked at by themselves";
        return Err(Reason::Unsupported(message.to_owned()).into());
    };
    admit(sensor, limits)?;
    let Some((at, preview)) = largest(source) else {
        return Err(Reason::Unsupported("a camera's raw file without a preview".to_owned()).at(sensor));
    };
    let (_, reduced) = jpeg::decode(source.part(at, PREVIEW), limits).map_err(|failure| failure.reason.at(sensor))?;
    Ok((stands_for(preview, sensor), reduced))
}

/// The size of what the sensor saw, on its side if the preview is; of the preview, where that is larger.
pub(super) fn stands_for(preview: Size, sensor: Size) -> Size {
    let is_upright = |size: Size| size.height > size.width;
    if area(preview) > area(sensor) {
        Size { bit_depth: sensor.bit_depth, ..preview }
    } else if is_upright(preview) == is_upright(sensor) {
        sensor
    } else {
        Size { width: sensor.height, height: sensor.width, ..sensor }
    }
}

fn area(size: Size) -> u64 {
    u64::from(size.width) * u64::from(size.height)
}

/// Where the largest picture begins that is not what the sensor saw (some cameras compress that as lossless JPEG), and
/// its size.
fn largest(source: Source<'_>) -> Option<(u64, Size)> {
    let (mut best, mut left) = (None::<(u64, Size)>, CANDIDATES);
    for start in (0..source.size().min(REACH)).step_by(WINDOW as usize) {
        // A little more, for what begins at its end.
        let window = source.peek(start, WINDOW as usize + 2);
        for at in memmem::find_iter(&window, b"\xff\xd8\xff") {
            let Some(fewer) = left.checked_sub(1) else { return best };
            left = fewer;
            let at = start + at as u64;
            let Ok(frame) = jpeg::frame(&source.peek(at, HEAD)) else { continue };
            if frame.is_preview() && best.is_none_or(|(_, size)| area(frame.size) > area(size)) {
                best = Some((at, frame.size));
            }
        }
    }
    best
}

//! What a file says of its pixels beside them: which side is up, and what its colours mean.

use std::io::BufReader;

use crate::decode::markers::segments;
use crate::decode::{Format, Source, tiff};
use crate::measure::Limits;

/// What an APP2 segment with a part of a profile begins with (ICC.1:2022 annex B.4).
const PROFILE: &[u8] = b"ICC_PROFILE\0";
/// What an APP1 segment with EXIF begins with.
const EXIF: &[u8] = b"Exif\0\0";
/// Largest profile that is taken over. Those for RGB have some kilobytes; what may hold more may hold a picture.
const MOST: usize = 64 * 1024 - 1024;

/// What was found; nothing where the file does not say, or not so that it can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// 1 to 8, as TIFF 6.0 numbers it.
    pub(super) orientation: u16,
    /// A profile for red, green and blue.
    pub(super) profile: Option<Vec<u8>>,
}

/// Looks for them where the format keeps them.
pub(super) fn of(format: Format, source: Source<'_>, limits: &Limits) -> Marks {
    let (orientation, profile) = match format {
        Format::Jpeg => of_jpeg(source, limits),
        Format::Tiff | Format::BigTiff => tiff::marks(source, limits).unwrap_or_default(),
        Format::Png => {
            let decoder = png::Decoder::new(BufReader::new(source.reader()));
            match decoder.read_info() {
                Ok(reader) => {
                    let info = reader.info();
                    let exif = info.exif_metadata.as_deref().unwrap_or_default();
                    (of_exif(exif, limits), info.icc_profile.as_deref().unwrap_or_default().to_vec())
                }
                Err(_) => Default::default(),
            }
        }
        _ => Default::default(),
    };
    // The header says which colours it is for (ICC.1:2022, 7.2.6), and how long it is.
    let is_rgb = profile.get(16..20) == Some(b"RGB ") && profile.get(36..40) == Some(b"acsp");
    Marks { orientation, profile: Some(profile).filter(|profile| is_rgb && profile.len() <= MOST) }
}

fn of_jpeg(source: Source<'_>, limits: &Limits) -> (u16, Vec<u8>) {
    let Ok(bytes) = source.bytes(limits) else { return Default::default() };
    let (mut orientation, mut parts) = (0, Vec::new());
    for segment in segments(&bytes).map_while(Result::ok) {
        let payload = bytes.get(segment.payload).unwrap_or_default();
        match segment.marker {
            0xe1 if orientation == 0 => {
                orientation = payload.strip_prefix(EXIF).map_or(0, |exif| of_exif(exif, limits));
            }
            0xe2 => parts.extend(payload.strip_prefix(PROFILE).filter(|part| part.len() > 2)),
            _ => {}
        }
    }
    parts.sort_by_key(|part| part[0]);
    (orientation, parts.iter().flat_map(|part| &part[2..]).copied().collect())
}

/// EXIF is a TIFF file without a picture of its own.
fn of_exif(exif: &[u8], limits: &Limits) -> u16 {
    tiff::marks(Source::Memory(exif), limits).map_or(0, |(orientation, _)| orientation)
}

/// A JPEG with a profile, which fits into one segment, behind its first marker.
pub(super) fn with_profile(jpeg: Vec<u8>, profile: Option<&[u8]>) -> Vec<u8> {
    let Some(profile) = profile else { return jpeg };
    let length = 2 + PROFILE.len() + 2 + profile.len();
    let Ok(length) = u16::try_from(length) else { return jpeg };
    // Behind JFIF's segment, which has to be the first.
    let behind = segments(&jpeg).next().and_then(Result::ok).filter(|first| first.marker == 0xe0);
    let at = behind.map_or(2, |first| first.range.end);
    let (head, tail) = jpeg.split_at(at);
    [head, &[0xff, 0xe2], &length.to_be_bytes(), PROFILE, &[1, 1], profile, tail].concat()
}

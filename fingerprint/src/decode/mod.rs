//! From bytes to a small picture: each format's decoder scales, or hands over rows and tiles that are
//! averaged as they come, so that memory does not grow with the picture.

mod bmp;
mod boxes;
mod canvas;
mod gif;
mod hdr;
mod heif;
pub(crate) mod jpeg;
mod jpeg2000;
mod jxl;
mod light;
pub(crate) mod markers;
mod openexr;
mod packbits;
mod pixel_digest;
mod pixels;
mod png;
mod pnm;
mod predictor;
mod profile;
mod psd;
mod raw;
mod reduce;
pub(crate) mod samples;
mod source;
#[cfg(test)]
mod tests;
pub(crate) mod tiff;
mod webp;

pub(crate) use pixels::Layout;
pub(crate) use reduce::{Reduced, Reducer, scale};
pub(crate) use source::Source;
pub(crate) use tiff::{Extent, extents as tiff_extents};

use std::fmt;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use crate::measure::{Limits, Reason, Size};

/// Picture formats that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// TIFF 6.0.
    Tiff,
    /// TIFF with 64-bit offsets.
    BigTiff,
    /// JPEG (ISO/IEC 10918-1).
    Jpeg,
    /// PNG (W3C).
    Png,
    /// WebP (RFC 9649).
    WebP,
    /// JPEG 2000 in a JP2 file (ISO/IEC 15444-1 annex I).
    Jp2,
    /// A bare JPEG 2000 codestream.
    J2k,
    /// GIF (GIF87a and GIF89a).
    Gif,
    /// BMP of Windows and OS/2.
    Bmp,
    /// PBM, PGM, PPM, PAM and PFM (Netpbm).
    Pnm,
    /// A Photoshop document.
    Psd,
    /// A large Photoshop document.
    Psb,
    /// JPEG XL (ISO/IEC 18181).
    Jxl,
    /// OpenEXR.
    Exr,
    /// Radiance RGBE.
    Hdr,
    /// AVIF: HEIF with AV1.
    Avif,
    /// HEIC: HEIF (ISO/IEC 23008-12) with HEVC.
    Heif,
    /// The raw data of a camera in a file of its own kind (others are TIFF files); its largest preview is decoded.
    Raw,
    /// Samples without a format of their own, in a document.
    Bare,
}

impl Format {
    /// The format that the first bytes of a file show; its name is never looked at.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Format> {
        const JP2: &[u8] = b"\0\0\0\x0cjP  \r\n\x87\n";
        let starts = |magic: &[u8]| bytes.starts_with(magic);
        if raw::is_raw(bytes) {
            Some(Format::Raw)
        } else if starts(b"II*\0") || starts(b"MM\0*") {
            Some(Format::Tiff)
        } else if starts(b"II+\0") || starts(b"MM\0+") {
            Some(Format::BigTiff)
        } else if starts(b"\xff\xd8\xff") {
            Some(Format::Jpeg)
        } else if starts(b"\x89PNG\r\n\x1a\n") {
            Some(Format::Png)
        } else if starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP".as_slice()) {
            Some(Format::WebP)
        } else if starts(JP2) {
            Some(Format::Jp2)
        } else if starts(b"\xff\x4f\xff\x51") {
            Some(Format::J2k)
        } else if starts(b"GIF87a") || starts(b"GIF89a") {
            Some(Format::Gif)
        } else if starts(b"8BPS\0\x01") {
            Some(Format::Psd)
        } else if starts(b"8BPS\0\x02") {
            Some(Format::Psb)
        } else if starts(b"\xff\x0a") || starts(b"\0\0\0\x0cJXL \r\n\x87\n") {
            Some(Format::Jxl)
        } else if starts(b"\x76\x2f\x31\x01") {
            Some(Format::Exr)
        } else if starts(b"#?RADIANCE\n") || starts(b"#?RGBE\n") {
            Some(Format::Hdr)
        } else if let Some(format) = boxes::media(bytes) {
            Some(format)
        } else if bmp::is_bmp(bytes) {
            Some(Format::Bmp)
        } else if pnm::is_pnm(bytes) {
            Some(Format::Pnm)
        } else {
            None
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Tiff => "TIFF",
            Format::BigTiff => "BigTIFF",
            Format::Jpeg => "JPEG",
            Format::Png => "PNG",
            Format::WebP => "WebP",
            Format::Jp2 => "JPEG 2000 (JP2)",
            Format::J2k => "JPEG 2000 (codestream)",
            Format::Gif => "GIF",
            Format::Bmp => "BMP",
            Format::Pnm => "PNM",
            Format::Psd => "PSD",
            Format::Psb => "PSB",
            Format::Jxl => "JPEG XL",
            Format::Exr => "OpenEXR",
            Format::Hdr => "Radiance HDR",
            Format::Avif => "AVIF",
            Format::Heif => "HEIC",
            Format::Raw => "camera raw",
            Format::Bare => "bare samples",
        })
    }
}

/// A picture, decoded and reduced.
pub(crate) struct Decoded {
    pub(crate) format: Format,
    pub(crate) size: Size,
    pub(crate) reduced: Reduced,
}

/// A picture that was not decoded, and what is known of it nevertheless.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) size: Option<Size>,
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Failure {
        Failure { reason, size: None }
    }
}

impl Reason {
    fn at(self, size: Size) -> Failure {
        Failure { reason: self, size: Some(size) }
    }
}

/// Shorter pictures that a format lays beside the first one are not looked at: icons, not pictures.
const LEAST_SIDE: u32 = 64;

/// The pictures beside the first one may together have so many times the pixels that one may have: enough for a
/// volume of some hundred pages, and an end for directories that all point to one strip.
const FURTHER: u64 = 8;

/// How many pixels may still be decoded of the pictures that lie beside the first one.
struct Budget {
    pixels: u64,
    /// A picture with more is refused, and costs nothing.
    single: u64,
}

impl Budget {
    fn new(limits: &Limits) -> Budget {
        Budget { pixels: limits.max_pixels.saturating_mul(FURTHER), single: limits.max_pixels }
    }

    /// Takes what a picture of this size costs. Where that is too much, one call of `each` says so.
    fn spend(&mut self, size: Size, each: Each<'_>) -> ControlFlow<()> {
        let pixels = u64::from(size.width) * u64::from(size.height);
        match self.pixels.checked_sub(if pixels > self.single { 0 } else { pixels }) {
            Some(left) => {
                self.pixels = left;
                ControlFlow::Continue(())
            }
            None => {
                let message = "the pictures beside the first one have more pixels than are looked at";
                let _ = each("further pictures".to_owned(), Err(Reason::Unsupported(message.to_owned()).at(size)));
                ControlFlow::Break(())
            }
        }
    }
}

/// What takes the pictures that lie beside the first one, each with a name for people.
pub(crate) type Each<'e> = &'e mut dyn FnMut(String, Result<Decoded, Failure>) -> ControlFlow<()>;

/// Calls `each` for the pictures that the format itself lays beside the main one, which [`decode`] reads:
/// pages, sub-directories and pyramid levels of a TIFF, frames of an animation, layers of a PSD. Pictures whose
/// longer side is below 64 pixels are left out. Where there are too many to look at, one call says so; what is
/// wrong with the file as a whole, [`decode`] says.
pub(crate) fn further(format: Format, source: Source<'_>, limits: &Limits, each: Each<'_>) {
    let mut budget = Budget::new(limits);
    let mut stopped = false;
    let mut watched = |name: String, result: Result<Decoded, Failure>| {
        let flow = each(name, result);
        stopped |= flow.is_break();
        flow
    };
    let outcome = guarded(|| {
        match format {
            Format::Tiff | Format::BigTiff => tiff::further(format, source, limits, &mut budget, &mut watched)?,
            Format::Png => png::further(source, limits, &mut budget, &mut watched)?,
            Format::WebP => webp::further(source, limits, &mut budget, &mut watched)?,
            Format::Gif => gif::further(source, limits, &mut budget, &mut watched)?,
            Format::Psd | Format::Psb => psd::further(format, source, limits, &mut budget, &mut watched)?,
            Format::Jxl => jxl::further(source, limits, &mut budget, &mut watched)?,
            Format::Avif | Format::Heif => heif::further(format, source, limits, &mut budget, &mut watched)?,
            Format::Jpeg | Format::Jp2 | Format::J2k | Format::Bmp | Format::Pnm => {}
            Format::Exr | Format::Hdr | Format::Raw | Format::Bare => {}
        }
        Ok(())
    });
    if let Err(failure) = outcome
        && !stopped
    {
        let _ = each("further pictures".to_owned(), Err(failure));
    }
}

/// Hands on one further picture, unless it is too small.
fn report(each: Each<'_>, format: Format, name: String, found: Result<(Size, Reduced), Failure>) -> ControlFlow<()> {
    let size = match &found {
        Ok((size, _)) => Some(*size),
        Err(failure) => failure.size,
    };
    if size.is_some_and(|size| size.width.max(size.height) < LEAST_SIDE) {
        return ControlFlow::Continue(());
    }
    each(name, found.map(|(size, reduced)| Decoded { format, size, reduced }))
}

/// Runs a decoder. One that panics is a reason like any other.
fn guarded<T>(decoding: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(decoding)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Reason::DecoderFailed(message.unwrap_or_else(|| "it panicked".to_owned())).into())
    })
}

/// Decodes and reduces one picture. A decoder that panics is a reason like any other.
pub(crate) fn decode(format: Format, source: Source<'_>, limits: &Limits) -> Result<Decoded, Failure> {
    let (size, mut reduced) = guarded(|| match format {
        Format::Tiff | Format::BigTiff => tiff::decode(source, limits),
        Format::Jpeg => jpeg::decode(source, limits),
        Format::Png => png::decode(source, limits),
        Format::WebP => webp::decode(source, limits),
        Format::Jp2 | Format::J2k => jpeg2000::decode(source, limits),
        Format::Gif => gif::decode(source, limits),
        Format::Bmp => bmp::decode(source, limits),
        Format::Pnm => pnm::decode(source, limits),
        Format::Psd | Format::Psb => psd::decode(source, limits),
        Format::Jxl => jxl::decode(source, limits),
        Format::Exr => openexr::decode(source, limits),
        Format::Hdr => hdr::decode(source, limits),
        Format::Avif | Format::Heif => heif::decode(source, limits),
        Format::Raw => raw::decode(source, limits),
        Format::Bare => Err(Reason::Unsupported("bare samples are a part of a document".to_owned()).into()),
    })?;
    profile::apply(format, source, limits, &mut reduced);
    Ok(Decoded { format, size, reduced })
}

/// Checks a header before anything is allocated by it.
fn admit(size: Size, limits: &Limits) -> Result<(), Failure> {
    let pixels = u64::from(size.width) * u64::from(size.height);
    if pixels == 0 {
        return Err(Reason::Damaged("the header says that the picture has no pixels".to_owned()).at(size));
    }
    if pixels > limits.max_pixels {
        return Err(Reason::TooManyPixels { pixels, limit: limits.max_pixels }.at(size));
    }
    Ok(())
}

/// Checks how many bytes a decoder is going to hold.
fn afford(bytes: u64, size: Size, limits: &Limits) -> Result<(), Failure> {
    if bytes > limits.max_memory {
        return Err(Reason::TooMuchMemory { bytes, limit: limits.max_memory }.at(size));
    }
    Ok(())
}

//! From bytes to a small picture: each format's decoder scales, or hands over rows and tiles that are
//! averaged as they come, so that memory does not grow with the picture.

pub(crate) mod jpeg;
mod jpeg2000;
pub(crate) mod markers;
mod pixel_digest;
mod pixels;
mod png;
mod reduce;
pub(crate) mod samples;
mod source;
mod tiff;
mod webp;

pub(crate) use pixels::Layout;
pub(crate) use reduce::{Reduced, Reducer, scale};
pub(crate) use source::Source;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use crate::measure::{Limits, Reason, Size};

/// Picture formats that are decoded.
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
    /// Samples without a format of their own, in a document.
    Bare,
}

impl Format {
    /// The format that the first bytes of a file show; its name is never looked at.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Format> {
        const JP2: &[u8] = b"\0\0\0\x0cjP  \r\n\x87\n";
        let starts = |magic: &[u8]| bytes.starts_with(magic);
        if starts(b"II*\0") || starts(b"MM\0*") {
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

/// Decodes and reduces one picture. A decoder that panics is a reason like any other.
pub(crate) fn decode(format: Format, source: Source<'_>, limits: &Limits) -> Result<Decoded, Failure> {
    let decoding = AssertUnwindSafe(|| match format {
        Format::Tiff | Format::BigTiff => tiff::decode(source, limits),
        Format::Jpeg => jpeg::decode(source, limits),
        Format::Png => png::decode(source, limits),
        Format::WebP => webp::decode(source, limits),
        Format::Jp2 | Format::J2k => jpeg2000::decode(source, limits),
        Format::Bare => Err(Reason::Unsupported("bare samples are a part of a document".to_owned()).into()),
    });
    let (size, reduced) = catch_unwind(decoding).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Reason::DecoderFailed(message.unwrap_or_else(|| "it panicked".to_owned())).into())
    })?;
    Ok(Decoded { format, size, reduced })
}

/// The pictures that the format itself lays beside the first one: pages, levels of a pyramid, layers, frames.
pub(crate) fn further(
    _format: Format,
    _source: Source<'_>,
    _limits: &Limits,
    _each: &mut dyn FnMut(String, Result<Decoded, Failure>) -> std::ops::ControlFlow<()>,
) {
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

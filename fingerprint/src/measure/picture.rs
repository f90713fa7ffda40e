//! A picture, measured.

use serde::{Deserialize, Serialize};

use crate::decode::{Decoded, Failure, Format, jpeg};
use crate::exact::Digest;
use crate::measure::Reason;
use crate::perceptual::Fingerprint;

/// Longest side of a thumbnail, in pixels.
const THUMBNAIL: u32 = 192;
/// Quality of a thumbnail, on libjpeg's scale of 1 to 100.
const QUALITY: i32 = 60;

/// A picture that was decoded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Picture {
    /// Its format.
    pub format: Format,
    /// Width in pixels, as stored (EXIF orientation is not applied, the turns of HEIF are).
    pub width: u32,
    /// Height in pixels, as stored.
    pub height: u32,
    /// Bits per channel in the file.
    pub bit_depth: u8,
    /// BLAKE3 of what makes its pixels, whatever the metadata: of all of them, row by row, and of the coded data
    /// where the format is decoded at a reduced size (JPEG, JPEG 2000); none where they come in another order.
    pub pixels: Option<Digest>,
    /// What it looks like, for [`Index::find`](crate::Index::find).
    pub fingerprint: Fingerprint,
    /// A JPEG whose longer side has at most 192 pixels; base64 where it is serialised.
    #[serde(with = "crate::perceptual::base64")]
    pub thumbnail: Vec<u8>,
    /// Which share of its area is there, 0.0 to 1.0: of a set of tiles some may be missing.
    #[serde(default = "all_of_it")]
    pub filled: f64,
}

fn all_of_it() -> f64 {
    1.0
}

impl Picture {
    /// Width times height, in millions of pixels.
    #[must_use]
    pub fn megapixels(&self) -> f64 {
        f64::from(self.width) * f64::from(self.height) / 1e6
    }

    pub(crate) fn new(decoded: Decoded) -> Result<Picture, Failure> {
        let Decoded { format, size, reduced } = decoded;
        let failed = |message| Failure { reason: Reason::DecoderFailed(message), size: Some(size) };
        let longest = f64::from(size.width.max(size.height));
        let shrink = (f64::from(THUMBNAIL) / longest).min(1.0);
        let side = |length: u32| ((f64::from(length) * shrink).round() as u32).max(1);
        let (width, height) = (side(size.width), side(size.height));
        let thumbnail = jpeg::encode(&reduced.resample(width, height), width, height, QUALITY).map_err(failed)?;
        let fingerprint = Fingerprint::of(&reduced, (size.width, size.height)).map_err(failed)?;
        Ok(Picture {
            format,
            width: size.width,
            height: size.height,
            bit_depth: size.bit_depth,
            pixels: reduced.pixels,
            fingerprint,
            thumbnail,
            filled: 1.0,
        })
    }
}

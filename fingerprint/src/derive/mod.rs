//! Making the derivative that a place may receive: one picture, smaller, upright, in its colours, and nothing beside it.
//!
//! A new file is written from pixels alone, so that no preview, layer, page, pyramid level or metadata of the original
//! can be in it. What is taken over is its colour profile, where that is one for red, green and blue.

mod marks;
mod turn;

use std::fs::File;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::decode::{self, Format, Source, jpeg};
use crate::measure::{Limits, Reason, Size};

/// Quality of a JPEG, on libjpeg's scale of 1 to 100; colours are not subsampled.
const QUALITY: i32 = 92;
/// The decoders leave so many times more pixels along a side than are wanted, where there are more: what is averaged
/// further than that is blurred, what is not is sharp.
const FINER: f64 = 1.5;
/// Most cells a side that are kept while decoding: between 25 and 100 million pixels, 15 bytes each.
const MOST_CELLS: u32 = 5000;
/// What the length of a side stays below its limit, because it is measured again with an error of about half a percent.
const MARGIN: f64 = 0.99;

/// How large a derivative may be. What is not stated is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Largest {
    /// Millions of pixels.
    pub megapixels: Option<f64>,
    /// Length over the length in the original.
    pub scale: Option<f64>,
}

/// The format of a derivative, of eight bits a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
}

/// A derivative.
#[derive(Clone, Debug)]
pub struct Derivative {
    /// Width in pixels, upright.
    pub width: u32,
    /// Height in pixels, upright.
    pub height: u32,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Why there is no derivative.
#[derive(Debug, thiserror::Error)]
pub enum DeriveError {
    /// The file is no picture of a known format.
    #[error("it is no picture of a known format; expected TIFF, JPEG, PNG, Photoshop, JPEG 2000 or the like")]
    NoPicture,
    /// The picture cannot be decoded.
    #[error("it cannot be decoded: {0}")]
    Undecodable(Reason),
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// The derivative cannot be made of the pixels.
    #[error("the smaller picture cannot be made: {0}")]
    Failed(String),
}

/// Makes a derivative of the first picture in `file`, never larger than `largest` and never larger than the original.
///
/// The pixels are averaged down to 1.5 times what is wanted where there are that many more, and then resampled with a
/// Lanczos filter of radius 3. Grey, CMYK and Lab become sRGB; an embedded profile for RGB is embedded again.
///
/// # Errors
/// There is no picture, or it is beyond `limits`.
pub fn derive(file: &File, largest: Largest, kind: Kind, limits: &Limits) -> Result<Derivative, DeriveError> {
    let source = Source::File { file, start: 0, size: file.metadata()?.len() };
    let format = Format::of(&source.peek(0, 64)).ok_or(DeriveError::NoPicture)?;
    let wanted = largest.megapixels.map_or(f64::INFINITY, |most| (most.max(0.0) * 1e6).sqrt() * FINER);
    let limits = Limits { cells: (wanted as u32).clamp(limits.cells, MOST_CELLS.max(limits.cells)), ..*limits };
    let undecodable = |failure: decode::Failure| DeriveError::Undecodable(failure.reason);
    let decoded = decode::decode(format, source, &limits).map_err(undecodable)?;
    let marks = marks::of(format, source, &limits);
    let (width, height) = target(decoded.size, largest);
    let reduced = decoded.reduced;
    let failed = |error: &dyn std::fmt::Display| DeriveError::Failed(error.to_string());

    let from = ImageRef::new(reduced.width as u32, reduced.height as u32, &reduced.rgb, PixelType::U8x3)
        .map_err(|error| failed(&error))?;
    let mut to = Image::new(width, height, PixelType::U8x3);
    // The last column and row may stand for less than others do.
    let (across, down) = (reduced.extent.0.min(reduced.width as f64), reduced.extent.1.min(reduced.height as f64));
    let options =
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3)).crop(0.0, 0.0, across, down);
    Resizer::new().resize(&from, &mut to, &options).map_err(|error| failed(&error))?;
    let (pixels, width, height) = turn::upright(to.into_vec(), width, height, marks.orientation);

    let bytes = match kind {
        Kind::Jpeg => jpeg::encode_full(&pixels, width, height, QUALITY)
            .map(|bytes| marks::with_profile(bytes, marks.profile.as_deref()))
            .map_err(|error| failed(&error))?,
        Kind::Png => png(&pixels, width, height, marks.profile).map_err(|error| failed(&error))?,
    };
    Ok(Derivative { width, height, bytes })
}

/// Width and height as stored that keep within every limit.
fn target(size: Size, largest: Largest) -> (u32, u32) {
    let (width, height) = (f64::from(size.width), f64::from(size.height));
    let by_pixels = largest.megapixels.map_or(1.0, |most| (most.max(0.0) * 1e6 / (width * height)).sqrt());
    let by_scale = largest.scale.map_or(1.0, |most| most * MARGIN);
    let factor = by_pixels.min(by_scale).clamp(0.0, 1.0);
    let side = |length: f64| ((length * factor).floor() as u32).max(1);
    (side(width), side(height))
}

fn png(rgb: &[u8], width: u32, height: u32, profile: Option<Vec<u8>>) -> Result<Vec<u8>, png::EncodingError> {
    let mut info = png::Info::with_size(width, height);
    info.color_type = png::ColorType::Rgb;
    info.bit_depth = png::BitDepth::Eight;
    info.icc_profile = profile.map(Into::into);
    let mut bytes = Vec::new();
    let mut writer = png::Encoder::with_info(&mut bytes, info)?.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;

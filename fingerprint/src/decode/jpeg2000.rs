//! JPEG 2000 through hayro-jpeg2000, which leaves out the resolution levels that nobody looks at.

use hayro_jpeg2000::{ColorSpace, DecodeError, DecodeSettings, DecoderContext, Image};
use memchr::memmem;

use super::{Failure, Layout, Reduced, Reducer, Source, admit, afford};
use crate::exact::Digest;
use crate::measure::{CELLS, Limits, Reason, Size};

/// The least resolution that is decoded, on each axis, in pixels.
const ENOUGH: u32 = 512;

pub(super) fn decode(source: Source<'_>, limits: &Limits) -> Result<(Size, Reduced), Failure> {
    let bytes = source.bytes(limits)?;
    let whole = Image::new(&bytes, &DecodeSettings::default()).map_err(classify)?;
    let size = Size { width: whole.width(), height: whole.height(), bit_depth: whole.original_bit_depth() };
    admit(size, limits)?;
    drop(whole);
    let longer = f64::from(size.width.max(size.height));
    let mut shrink = (f64::from(ENOUGH) / longer).min(1.0);
    if limits.cells > CELLS {
        let middle = (f64::from(size.width) * f64::from(size.height)).sqrt();
        shrink = shrink.max(f64::from(limits.cells) / middle).min(1.0);
    }
    let target = |length: u32| ((f64::from(length) * shrink).ceil() as u32).max(1);
    let settings =
        DecodeSettings { target_resolution: Some((target(size.width), target(size.height))), ..Default::default() };
    let failed = |error: DecodeError| classify(error).at(size);
    let image = Image::new(&bytes, &settings).map_err(failed)?;
    let (width, height) = (image.width(), image.height());
    let channels = u64::from(image.color_space().num_channels()) + u64::from(image.has_alpha());
    // Coefficients and samples, 32 bits each, and one more copy while colours are converted.
    afford(u64::from(width) * u64::from(height) * channels * 12, size, limits)?;
    let layout = layout(&image);
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(failed)?;
    let samples = decoded.data_u8();
    let layout = match decoded.components().len() {
        1 => Layout::Grey { samples: 1 },
        count if count == layout.samples() => layout,
        count => Layout::Grey { samples: count },
    };
    let mut reducer = Reducer::new(width, height, limits);
    let mut rgb = Vec::new();
    for (y, row) in (0u32..).zip(samples.chunks_exact((width as usize * layout.samples()).max(1))) {
        rgb.clear();
        layout.to_rgb(row, &mut rgb);
        reducer.add(0, y, 1, &rgb);
    }
    let mut reduced = reducer.finish();
    reduced.pixels = codestream(&bytes).map(Digest::of);
    Ok((size, reduced))
}

/// The coded picture without the boxes around it: from SOC and SIZ to the last EOC (ISO/IEC 15444-1 annex A).
fn codestream(bytes: &[u8]) -> Option<&[u8]> {
    let start = memmem::find(bytes, b"\xff\x4f\xff\x51")?;
    let end = memmem::rfind(bytes, b"\xff\xd9")? + 2;
    bytes.get(start..end)
}

fn layout(image: &Image<'_>) -> Layout {
    let alpha = image.has_alpha();
    match image.color_space() {
        ColorSpace::Gray => {
            if alpha {
                Layout::GreyAlpha
            } else {
                Layout::Grey { samples: 1 }
            }
        }
        ColorSpace::CMYK => Layout::Cmyk { samples: 4 + usize::from(alpha) },
        ColorSpace::RGB => rgb(3, alpha),
        ColorSpace::Icc { num_channels, .. } | ColorSpace::Unknown { num_channels } => match num_channels {
            3 => rgb(3, alpha),
            4 => Layout::Cmyk { samples: 4 + usize::from(alpha) },
            1 if alpha => Layout::GreyAlpha,
            more => Layout::Grey { samples: usize::from(*more) + usize::from(alpha) },
        },
    }
}

fn rgb(samples: usize, alpha: bool) -> Layout {
    if alpha { Layout::Rgba { samples: samples + 1 } } else { Layout::Rgb { samples } }
}

fn classify(error: DecodeError) -> Reason {
    Reason::Damaged(error.to_string())
}

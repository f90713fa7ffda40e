//! WebP, decoded whole: the format ends at 16,383 x 16,383 pixels.

use image_webp::{DecodingError, WebPDecoder};

use super::canvas::{goes_on, reduce};
use super::{Budget, Each, Failure, Format, Layout, Reduced, Source, admit, afford, report};
use crate::measure::{Limits, Reason, Size};

pub(super) fn decode(source: Source<'_>, limits: &Limits) -> Result<(Size, Reduced), Failure> {
    let mut decoder = WebPDecoder::new(source.reader()).map_err(classify)?;
    decoder.set_memory_limit(usize::try_from(limits.max_memory).unwrap_or(usize::MAX));
    let (width, height) = decoder.dimensions();
    let size = Size { width, height, bit_depth: 8 };
    admit(size, limits)?;
    let layout = if decoder.has_alpha() { Layout::Rgba { samples: 4 } } else { Layout::Rgb { samples: 3 } };
    let pixels = u64::from(width) * u64::from(height);
    // The picture, and the planes (VP8) or the colours (VP8L) that it is made from.
    afford(pixels * (layout.samples() as u64 + 4), size, limits)?;
    let length = decoder.output_buffer_size().ok_or_else(|| Reason::Damaged("it has no size".to_owned()).at(size))?;
    let mut buffer = vec![0; length];
    decoder.read_image(&mut buffer).map_err(|error| classify(error).at(size))?;
    Ok((size, reduce(&buffer, width as usize, &layout, limits)))
}

fn classify(error: DecodingError) -> Reason {
    match error {
        DecodingError::IoError(error) => Reason::Truncated(error.to_string()),
        DecodingError::UnsupportedFeature(feature) => Reason::Unsupported(feature),
        other => Reason::Damaged(other.to_string()),
    }
}

/// The frames of an animation after the first.
pub(super) fn further(source: Source<'_>, limits: &Limits, budget: &mut Budget, each: Each<'_>) -> Result<(), Failure> {
    let Ok(mut decoder) = WebPDecoder::new(source.reader()) else { return Ok(()) };
    if !decoder.is_animated() {
        return Ok(());
    }
    decoder.set_memory_limit(usize::try_from(limits.max_memory).unwrap_or(usize::MAX));
    let (width, height) = decoder.dimensions();
    let size = Size { width, height, bit_depth: 8 };
    admit(size, limits)?;
    let layout = if decoder.has_alpha() { Layout::Rgba { samples: 4 } } else { Layout::Rgb { samples: 3 } };
    let pixels = u64::from(width) * u64::from(height);
    // The picture that is handed out, the canvas behind it, and a frame with the planes that it is made from.
    afford(pixels * (layout.samples() as u64 + 4 + 8), size, limits)?;
    let length = decoder.output_buffer_size().ok_or_else(|| Reason::Damaged("it has no size".to_owned()).at(size))?;
    let mut buffer = vec![0; length];
    for number in 1..=u64::from(decoder.num_frames()) {
        if !goes_on(number, size, budget, each) {
            break;
        }
        let read = decoder.read_frame(&mut buffer).map_err(|error| classify(error).at(size));
        if number == 1 && read.is_ok() {
            continue;
        }
        let found = read.map(|_| (size, reduce(&buffer, width as usize, &layout, limits)));
        let failed = found.is_err();
        if report(each, Format::WebP, format!("frame {number}"), found).is_break() || failed {
            break;
        }
    }
    Ok(())
}

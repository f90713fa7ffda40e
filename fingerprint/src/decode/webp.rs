//! WebP, decoded whole: the format ends at 16,383 x 16,383 pixels.

use image_webp::{DecodingError, WebPDecoder};

use super::{Failure, Layout, Reduced, Reducer, Source, admit, afford};
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
    let mut reducer = Reducer::new(width, height);
    let mut rgb = Vec::new();
    for (y, row) in (0u32..).zip(buffer.chunks_exact(width as usize * layout.samples())) {
        rgb.clear();
        layout.to_rgb(row, &mut rgb);
        reducer.add(0, y, 1, &rgb);
    }
    Ok((size, reducer.finish()))
}

fn classify(error: DecodingError) -> Reason {
    match error {
        DecodingError::IoError(error) => Reason::Truncated(error.to_string()),
        DecodingError::UnsupportedFeature(feature) => Reason::Unsupported(feature),
        other => Reason::Damaged(other.to_string()),
    }
}

//! PNG, row by row (interlaced ones pass by pass).

use std::io::BufReader;

use png::{ColorType, Decoder, DecodingError, Limits as PngLimits, Transformations};

use super::{Failure, Layout, Reduced, Reducer, Source, admit};
use crate::measure::{Limits, Reason, Size};

/// Where the columns and then the rows of each Adam7 pass begin, and how far apart they are (W3C PNG, 8.2).
const ADAM7: [[u32; 4]; 7] =
    [[0, 8, 0, 8], [4, 8, 0, 8], [0, 4, 4, 8], [2, 4, 0, 4], [0, 2, 2, 4], [1, 2, 0, 2], [0, 1, 1, 2]];

pub(super) fn decode(source: Source<'_>, limits: &Limits) -> Result<(Size, Reduced), Failure> {
    let bytes = usize::try_from(limits.max_memory).unwrap_or(usize::MAX);
    let mut decoder = Decoder::new_with_limits(BufReader::new(source.reader()), PngLimits { bytes });
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let info = decoder.read_header_info().map_err(classify)?;
    let depth = if info.color_type == ColorType::Indexed { 8 } else { info.bit_depth as u8 };
    let size = Size { width: info.width, height: info.height, bit_depth: depth };
    admit(size, limits)?;
    let failed = |error: DecodingError| classify(error).at(size);
    let mut reader = decoder.read_info().map_err(failed)?;
    let layout = match reader.output_color_type().0 {
        ColorType::Grayscale | ColorType::Indexed => Layout::Grey { samples: 1 },
        ColorType::GrayscaleAlpha => Layout::GreyAlpha,
        ColorType::Rgb => Layout::Rgb { samples: 3 },
        ColorType::Rgba => Layout::Rgba { samples: 4 },
    };
    let mut reducer = Reducer::new(size.width, size.height);
    let mut rgb = Vec::new();
    let passes: &[[u32; 4]] = if reader.info().interlaced { &ADAM7 } else { &[[0, 1, 0, 1]] };
    // A pass without columns has no rows either.
    for &[left, stride, top, step] in passes.iter().filter(|[left, ..]| *left < size.width) {
        for y in (top..size.height).step_by(step as usize) {
            let Some(row) = reader.next_interlaced_row().map_err(failed)? else { break };
            rgb.clear();
            layout.to_rgb(row.data(), &mut rgb);
            reducer.add(left, y, stride, &rgb);
        }
    }
    Ok((size, reducer.finish()))
}

fn classify(error: DecodingError) -> Reason {
    match error {
        DecodingError::IoError(error) => Reason::Truncated(error.to_string()),
        DecodingError::LimitsExceeded => Reason::Unsupported("it needs more memory than allowed".to_owned()),
        other => Reason::Damaged(other.to_string()),
    }
}

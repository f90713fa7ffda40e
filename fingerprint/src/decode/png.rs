//! PNG, row by row (interlaced ones pass by pass).

use std::io::BufReader;

use png::{BlendOp, ColorType, Decoder, DecodingError, DisposeOp, Limits as PngLimits, Transformations};

use super::canvas::{Canvas, Disposal, Place, goes_on};
use super::{Budget, Each, Failure, Format, Layout, Reduced, Reducer, Source, admit, report};
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
    let mut reducer = Reducer::new(size.width, size.height, limits);
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

/// The frames of an animation (APNG, W3C PNG third edition) that are not the main picture.
pub(super) fn further(source: Source<'_>, limits: &Limits, budget: &mut Budget, each: Each<'_>) -> Result<(), Failure> {
    let bytes = usize::try_from(limits.max_memory).unwrap_or(usize::MAX);
    let mut decoder = Decoder::new_with_limits(BufReader::new(source.reader()), PngLimits { bytes });
    decoder.set_transformations(Transformations::EXPAND | Transformations::ALPHA | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let Ok(mut reader) = decoder.read_info() else { return Ok(()) };
    let info = reader.info();
    let Some(animation) = info.animation_control else { return Ok(()) };
    let size = Size { width: info.width, height: info.height, bit_depth: 8 };
    // The main picture may be the first frame, or stand apart.
    let apart = info.frame_control.is_none();
    let frames = u64::from(animation.num_frames) + u64::from(apart);
    if frames < 2 {
        return Ok(());
    }
    admit(size, limits)?;
    let samples = reader.output_color_type().0.samples();
    let mut canvas = Canvas::new(size, limits)?;
    let failed = |error: DecodingError| classify(error).at(size);
    let length = reader.output_buffer_size().ok_or_else(|| Reason::Damaged("it has no size".to_owned()).at(size))?;
    let mut buffer = vec![0; length];
    for number in 1..=frames {
        if !goes_on(number, size, budget, each) {
            break;
        }
        let drawn = reader.next_frame(&mut buffer).map_err(failed).map(|output| {
            let control = reader.info().frame_control.filter(|_| number > 1 || !apart);
            let Some(control) = control else { return };
            let place =
                Place { left: control.x_offset, top: control.y_offset, width: control.width, height: control.height };
            canvas.begin(
                place,
                match control.dispose_op {
                    DisposeOp::None => Disposal::Keep,
                    DisposeOp::Background => Disposal::Clear,
                    DisposeOp::Previous => Disposal::Restore,
                },
            );
            let rows = buffer.chunks_exact(output.line_size.max(1)).take(control.height as usize);
            for (y, row) in (control.y_offset..).zip(rows) {
                let rgba: Vec<u8> = match samples {
                    2 => row.chunks_exact(2).flat_map(|p| [p[0], p[0], p[0], p[1]]).collect(),
                    _ => row.to_vec(),
                };
                canvas.draw(control.x_offset, y, &rgba, control.blend_op == BlendOp::Over);
            }
        });
        if number == 1 && drawn.is_ok() {
            continue;
        }
        let found = drawn.map(|()| (size, canvas.reduce(limits)));
        let failed = found.is_err();
        if report(each, Format::Png, format!("frame {number}"), found).is_break() || failed {
            break;
        }
    }
    Ok(())
}

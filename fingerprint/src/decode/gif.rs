//! GIF (GIF89a specification of CompuServe), row by row; for the further frames of an animation, on a canvas.

use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, DisposalMethod, Frame, MemoryLimit};

use super::canvas::{Canvas, Disposal, Place, goes_on};
use super::source::Reader;
use super::{Budget, Each, Failure, Format, Reduced, Reducer, Source, admit, report};
use crate::measure::{Limits, Reason, Size};

/// First row and distance of the rows of each pass of an interlaced frame (GIF89a, appendix E).
const PASSES: [(u32, usize); 4] = [(0, 8), (4, 8), (2, 4), (1, 2)];

pub(super) fn decode(source: Source<'_>, limits: &Limits) -> Result<(Size, Reduced), Failure> {
    let mut decoder = open(source, limits)?;
    let (size, place, frame) = first(&mut decoder, limits)?;
    let mut reducer = Reducer::new(size.width, size.height, limits);
    let white = vec![255; size.width as usize * 3];
    for y in (0..place.top).chain(place.top + place.height..size.height) {
        reducer.add(0, y, 1, &white);
    }
    let mut rgb = white;
    rows(&mut decoder, &frame, |y, row| {
        let columns = rgb.chunks_exact_mut(3).skip(place.left as usize);
        for (pixel, colour) in columns.zip(row.chunks_exact(4)) {
            let opaque = colour[3] == 255;
            pixel.copy_from_slice(if opaque { &colour[..3] } else { &[255; 3] });
        }
        reducer.add(0, place.top + y, 1, &rgb);
    })
    .map_err(|reason| reason.at(size))?;
    Ok((size, reducer.finish()))
}

/// The frames after the first.
pub(super) fn further(source: Source<'_>, limits: &Limits, budget: &mut Budget, each: Each<'_>) -> Result<(), Failure> {
    let Ok(mut decoder) = open(source, limits) else { return Ok(()) };
    let Ok((size, mut place, mut frame)) = first(&mut decoder, limits) else { return Ok(()) };
    let mut canvas: Option<Canvas> = None;
    for number in 1u64.. {
        if number > 1 {
            match decoder.next_frame_info() {
                Ok(Some(next)) => (place, frame) = (place_of(next), header(next)),
                Ok(None) => break,
                Err(error) => return Err(classify(error).at(size)),
            }
            if !goes_on(number, size, budget, each) {
                break;
            }
        }
        // The first frame alone needs none.
        let canvas = match &mut canvas {
            Some(canvas) => canvas,
            none => none.insert(Canvas::new(size, limits)?),
        };
        canvas.begin(
            place,
            match frame.dispose {
                DisposalMethod::Background => Disposal::Clear,
                DisposalMethod::Previous => Disposal::Restore,
                DisposalMethod::Any | DisposalMethod::Keep => Disposal::Keep,
            },
        );
        let drawn = rows(&mut decoder, &frame, |y, row| canvas.draw(place.left, place.top + y, row, true));
        if number > 1 {
            let found = drawn.map(|()| (size, canvas.reduce(limits))).map_err(|reason| reason.at(size));
            let failed = found.is_err();
            if report(each, Format::Gif, format!("frame {number}"), found).is_break() || failed {
                break;
            }
        } else if drawn.is_err() {
            break;
        }
    }
    Ok(())
}

fn open<'a>(source: Source<'a>, limits: &Limits) -> Result<Decoder<Reader<'a>>, Failure> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    let memory = NonZeroU64::new(limits.max_memory).unwrap_or(NonZeroU64::MIN);
    options.set_memory_limit(MemoryLimit::Bytes(memory));
    Ok(options.read_info(source.reader()).map_err(classify)?)
}

/// What is kept of a frame's header.
fn header(frame: &Frame<'_>) -> Frame<'static> {
    Frame {
        width: frame.width,
        height: frame.height,
        interlaced: frame.interlaced,
        dispose: frame.dispose,
        ..Frame::default()
    }
}

fn place_of(frame: &Frame<'_>) -> Place {
    let [left, top, width, height] = [frame.left, frame.top, frame.width, frame.height].map(u32::from);
    Place { left, top, width, height }
}

/// The size of the canvas, and the header of the first frame. Viewers widen a canvas that is too small for it.
fn first(decoder: &mut Decoder<Reader<'_>>, limits: &Limits) -> Result<(Size, Place, Frame<'static>), Failure> {
    let screen = (u32::from(decoder.width()), u32::from(decoder.height()));
    let found = decoder.next_frame_info().map_err(classify)?;
    let frame = found.ok_or_else(|| Reason::Damaged("it holds no frame".to_owned()))?;
    let place = place_of(frame);
    let width = screen.0.max(place.left + place.width);
    let size = Size { width, height: screen.1.max(place.top + place.height), bit_depth: 8 };
    let frame = header(frame);
    admit(size, limits)?;
    Ok((size, place, frame))
}

/// Calls `take` with each row of the frame that comes next, in red, green, blue and opacity.
fn rows(decoder: &mut Decoder<Reader<'_>>, frame: &Frame<'_>, mut take: impl FnMut(u32, &[u8])) -> Result<(), Reason> {
    let height = u32::from(frame.height);
    let mut row = vec![0; usize::from(frame.width) * 4];
    let passes: &[(u32, usize)] = if frame.interlaced { &PASSES } else { &[(0, 1)] };
    for &(top, step) in passes {
        for y in (top..height).step_by(step) {
            if !row.is_empty() && !decoder.fill_buffer(&mut row).map_err(classify)? {
                return Err(Reason::Truncated("a frame ends before its last row".to_owned()));
            }
            take(y, &row);
        }
    }
    Ok(())
}

fn classify(error: DecodingError) -> Reason {
    match error {
        DecodingError::UnexpectedEof => Reason::Truncated("it ends before its last frame".to_owned()),
        DecodingError::Io(error) => Reason::Truncated(error.to_string()),
        DecodingError::MemoryLimit | DecodingError::OutOfMemory => {
            Reason::Unsupported("a frame needs more memory than allowed".to_owned())
        }
        other => Reason::Damaged(other.to_string()),
    }
}

//! JPEG XL (ISO/IEC 18181) through jxl-oxide, band by band: a band needs the groups that it touches.

use std::io::Read;

use jxl_oxide::{AllocTracker, CropInfo, InitializeResult, JxlImage, Render};

use super::canvas::goes_on;
use super::{Budget, Each, Failure, Format, Layout, Reduced, Reducer, Source, admit, report};
use crate::measure::{Limits, Reason, Size};

/// Bytes of a pixel while it is decoded: three planes of 32 bits, and as many for filters and colours.
const PIXEL: u64 = 3 * 4 * 4;
/// The side of a group, which is decoded whole.
const GROUP: u32 = 256;

pub(super) fn decode(source: Source<'_>, limits: &Limits) -> Result<(Size, Reduced), Failure> {
    let (mut image, size) = open(source, limits)?;
    let reduced = frame(&mut image, 0, size, limits).map_err(|reason| reason.at(size))?;
    Ok((size, reduced))
}

/// The frames of an animation after the first.
pub(super) fn further(source: Source<'_>, limits: &Limits, budget: &mut Budget, each: Each<'_>) -> Result<(), Failure> {
    let Ok((mut image, size)) = open(source, limits) else { return Ok(()) };
    for index in 1..image.num_loaded_keyframes() {
        if !goes_on(index as u64 + 1, size, budget, each) {
            break;
        }
        let found = frame(&mut image, index, size, limits).map(|reduced| (size, reduced));
        let found = found.map_err(|reason| reason.at(size));
        if report(each, Format::Jxl, format!("frame {}", index + 1), found).is_break() {
            break;
        }
    }
    Ok(())
}

/// Reads the header, checks it, and then the rest.
fn open(source: Source<'_>, limits: &Limits) -> Result<(JxlImage, Size), Failure> {
    let memory = usize::try_from(limits.max_memory).unwrap_or(usize::MAX);
    let mut waiting = JxlImage::builder().alloc_tracker(AllocTracker::with_limit(memory)).build_uninit();
    let mut reader = source.reader();
    let (mut buffer, mut held, mut read) = (vec![0; 64 * 1024], 0, 0u64);
    let mut more = |buffer: &mut [u8], held: &mut usize, most: usize| -> Result<bool, Reason> {
        let space = buffer.get_mut(*held..).unwrap_or_default();
        let most = most.min(space.len());
        let space = &mut space[..most];
        let got = reader.read(space).map_err(|error| Reason::Truncated(error.to_string()))?;
        *held += got;
        read += got as u64;
        // Groups are kept compressed until they are wanted.
        if read > limits.max_memory {
            return Err(Reason::TooMuchMemory { bytes: read, limit: limits.max_memory });
        }
        Ok(got > 0)
    };
    // Little by little, so that the size is known before a frame is looked at.
    let mut fed = 0;
    let mut image = loop {
        let step = fed / 8 + 1;
        fed += step;
        if !more(&mut buffer, &mut held, step)? {
            return Err(Reason::Truncated("it ends before its header does".to_owned()).into());
        }
        let taken = waiting.feed_bytes(&buffer[..held]).map_err(|error| classify(&*error))?;
        buffer.copy_within(taken..held, 0);
        held -= taken;
        match waiting.try_init().map_err(|error| classify(&*error))? {
            InitializeResult::NeedMoreData(more) => waiting = more,
            InitializeResult::Initialized(image) => break image,
        }
    };
    let bit_depth = u8::try_from(image.image_header().metadata.bit_depth.bits_per_sample()).unwrap_or(u8::MAX);
    let size = Size { width: image.width(), height: image.height(), bit_depth };
    admit(size, limits)?;
    loop {
        let taken = image.feed_bytes(&buffer[..held]).map_err(|error| classify(&*error).at(size))?;
        buffer.copy_within(taken..held, 0);
        held -= taken;
        if !more(&mut buffer, &mut held, usize::MAX).map_err(|reason| reason.at(size))? {
            break;
        }
    }
    if image.num_loaded_keyframes() == 0 {
        return Err(Reason::Truncated("it ends before its first frame does".to_owned()).at(size));
    }
    Ok((image, size))
}

fn frame(image: &mut JxlImage, index: usize, size: Size, limits: &Limits) -> Result<Reduced, Reason> {
    let rows = limits.max_memory / 2 / (u64::from(size.width) * PIXEL);
    let rows = u32::try_from(rows).unwrap_or(u32::MAX) / GROUP * GROUP;
    if rows == 0 {
        let bytes = u64::from(size.width) * u64::from(GROUP) * PIXEL * 2;
        return Err(Reason::TooMuchMemory { bytes, limit: limits.max_memory });
    }
    let mut reducer = Reducer::new(size.width, size.height, limits);
    for top in (0..size.height).step_by(rows as usize) {
        let height = rows.min(size.height - top);
        image.set_image_region(CropInfo { left: 0, top, width: size.width, height });
        let render = image.render_frame_cropped(index).map_err(|error| classify(&*error))?;
        add(&render, image.pixel_format().is_grayscale(), image.pixel_format().has_black(), top, &mut reducer);
    }
    Ok(reducer.finish())
}

fn add(render: &Render, grey: bool, black: bool, top: u32, reducer: &mut Reducer) {
    let mut stream = render.stream();
    let samples = stream.channels() as usize;
    let layout = match (grey, black, samples) {
        (true, _, 2) => Layout::GreyAlpha,
        (true, ..) => Layout::Grey { samples },
        // Ink is the less, the larger the sample.
        (false, true, 4) => Layout::InvertedCmyk,
        (false, false, 4) => Layout::Rgba { samples },
        _ => Layout::Rgb { samples },
    };
    let mut row = vec![0u8; stream.width() as usize * samples];
    let mut rgb = Vec::new();
    for y in top..top.saturating_add(stream.height()) {
        stream.write_to_buffer(&mut row);
        rgb.clear();
        layout.to_rgb(&row, &mut rgb);
        reducer.add(0, y, 1, &rgb);
    }
}

fn classify(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Reason {
    let message = error.to_string();
    if message.contains("end of file") || message.contains("unexpected eof") || message.contains("incomplete") {
        Reason::Truncated(message)
    } else if message.contains("memory") || message.contains("alloc") {
        Reason::Unsupported("it needs more memory than allowed".to_owned())
    } else {
        Reason::Damaged(message)
    }
}

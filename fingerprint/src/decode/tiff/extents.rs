//! Which bytes of a TIFF file its directories speak of.

use std::ops::ControlFlow;

use super::directory::File;
use super::image::{Image, Outline, interchange, outline};
use super::{LEAST_SIDE, Source, walk};
use crate::measure::Limits;

/// Entries whose values are structure: bits per sample, strips, tiles and their lengths, colours (TIFF 6.0), ICC profile.
const STRUCTURE: [u16; 7] = [258, 273, 279, 320, 324, 325, 34675];

/// What a stretch of bytes holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Pixels that are decoded: of plain ones nothing else, of JPEG all that the strip or tile has.
    Pixels,
    /// Strips and tiles that are packed otherwise, so that there may be something behind the pixels.
    Packed,
    /// Directories, the values by which pixels are found and read, and JPEG files that are found as such.
    Directory,
    /// Values of any other entry.
    Metadata,
}

/// Calls `each` with the first byte and the length of everything that the pictures of a TIFF file are made of. Nothing
/// is told where there is no picture, or after `each` has had enough.
pub(crate) fn extents(source: Source<'_>, limits: &Limits, each: &mut dyn FnMut(u64, u64, Extent) -> ControlFlow<()>) {
    let Ok(mut file) = File::open(source, limits) else { return };
    let size = source.size();
    walk(&mut file, &mut |file, _, offset, found| {
        let Ok(directory) = found else { return ControlFlow::Continue(()) };
        if let Ok(Some((start, length))) = interchange(file, &directory) {
            each(start, length.min(size.saturating_sub(start)), Extent::Directory)?;
        }
        let Ok(Some(Outline { size: pixels, mask, .. })) = outline(file, &directory) else {
            return ControlFlow::Continue(());
        };
        each(offset, file.bytes_of(&directory), Extent::Directory)?;
        for (tag, start, length) in directory.values() {
            each(start, length, if STRUCTURE.contains(&tag) { Extent::Directory } else { Extent::Metadata })?;
        }
        let Ok(image) = Image::of(file, &directory, limits) else { return ControlFlow::Continue(()) };
        let is_looked_at = !mask && pixels.width.max(pixels.height) >= LEAST_SIDE;
        let (across, down) = (pixels.width.div_ceil(image.chunk.0), pixels.height.div_ceil(image.chunk.1));
        let plain = image.compression == 1 && image.subsampling.is_none();
        let kind = match image.compression {
            _ if !is_looked_at => Extent::Packed,
            1 | 6 | 7 => Extent::Pixels,
            _ => Extent::Packed,
        };
        for (index, start) in image.offsets.iter().enumerate() {
            // The last strip is shorter, as no tile is.
            let is_last = across == 1 && index % down.max(1) as usize + 1 == down as usize;
            let rows = if is_last { pixels.height - (down - 1) * image.chunk.1 } else { image.chunk.1 };
            let needed = image.row_bytes().saturating_mul(rows.into());
            let stated = image.counts.get(index).copied().unwrap_or(needed);
            each(*start, if plain { stated.min(needed) } else { stated }, kind)?;
        }
        ControlFlow::Continue(())
    });
}

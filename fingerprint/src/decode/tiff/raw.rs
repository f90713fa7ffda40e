//! Uncompressed strips, read row by row: many programs write the whole picture as one strip, which must
//! not lie in memory at once.

use std::io::{Read, Seek, SeekFrom};

use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::{ByteOrder, Tag};
use tiff::{TiffError, TiffResult};

use super::Picture;
use super::directory::Patched;
use crate::measure::Size;

/// Offsets of the strips, if the picture is one whose rows can be read as they lie in the file: strips,
/// not compressed, all samples of a pixel together, unsigned, 8 or 16 bits.
pub(super) fn strips(decoder: &mut Decoder<Patched<'_>>, size: Size) -> TiffResult<Option<Vec<u64>>> {
    let mut is = |tag: Tag, wanted: u16| {
        let found = decoder.find_tag_unsigned_vec::<u16>(tag)?;
        Ok::<bool, TiffError>(found.is_none_or(|values| values.iter().all(|value| *value == wanted)))
    };
    let plain = is(Tag::Compression, 1)?
        && is(Tag::PlanarConfiguration, 1)?
        && is(Tag::SampleFormat, 1)?
        && is(Tag::Predictor, 1)?
        && matches!(size.bit_depth, 8 | 16);
    if plain { decoder.find_tag_unsigned_vec(Tag::StripOffsets) } else { Ok(None) }
}

/// Reads all rows, `rows` to a strip; `inverted` where 0 is white.
pub(super) fn read(
    decoder: &mut Decoder<Patched<'_>>,
    picture: &mut Picture,
    size: Size,
    samples: usize,
    offsets: &[u64],
    inverted: bool,
) -> TiffResult<()> {
    let rows = decoder.chunk_dimensions().1.clamp(1, size.height);
    let little = matches!(decoder.byte_order(), ByteOrder::LittleEndian);
    let mut row = vec![0u8; size.width as usize * samples * usize::from(size.bit_depth / 8)];
    for (strip, offset) in (0u32..).zip(offsets) {
        let top = strip.saturating_mul(rows);
        decoder.inner().seek(SeekFrom::Start(*offset))?;
        for y in top..top.saturating_add(rows).min(size.height) {
            decoder.inner().read_exact(&mut row)?;
            let mut line = if size.bit_depth == 16 {
                let word = |bytes: &[u8]| if little { bytes[1] } else { bytes[0] };
                row.chunks_exact(2).map(word).collect()
            } else {
                picture.samples(DecodingResult::U8(row.clone()), size.width)
            };
            if inverted {
                line.iter_mut().for_each(|sample| *sample = 255 - *sample);
            }
            picture.add(0, y, size.width, &line);
        }
    }
    Ok(())
}

//! TIFF and BigTIFF, strip by strip or tile by tile. The first picture of the file counts.

mod directory;
mod raw;

use std::io;

use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits as TiffLimits};
use tiff::tags::Tag;
use tiff::{TiffError, TiffResult};

use self::directory::{Interpretation, Patched};
use super::{Failure, Layout, Reduced, Reducer, Source, admit, afford};
use crate::measure::{Limits, Reason, Size};

/// Most bytes of one directory value: the offsets of four million tiles.
const DIRECTORY_VALUE: usize = 32 << 20;

pub(super) fn decode(source: Source<'_>, limits: &Limits) -> Result<(Size, Reduced), Failure> {
    let patched = Patched::new(source.reader()).map_err(|error| Reason::Truncated(error.to_string()))?;
    let interpretation = patched.interpretation();
    let half = usize::try_from(limits.max_memory / 2).unwrap_or(usize::MAX);
    let mut tiff_limits = TiffLimits::default();
    tiff_limits.decoding_buffer_size = half;
    tiff_limits.intermediate_buffer_size = half;
    tiff_limits.ifd_value_size = DIRECTORY_VALUE.min(half);
    let mut decoder = Decoder::new(patched).map_err(classify)?.with_limits(tiff_limits);

    let (width, height) = decoder.dimensions().map_err(classify)?;
    let colour = decoder.colortype().map_err(|error| {
        classify(error).at(Size { width, height, bit_depth: 8 }) // The depth of what is not known is a guess.
    })?;
    let size = Size { width, height, bit_depth: colour.bit_depth() };
    let failed = |error: TiffError| classify(error).at(size);
    admit(size, limits)?;
    let (layout, inverted) = layout(&mut decoder, colour, interpretation).map_err(failed)?;
    let mut picture = Picture { reducer: Reducer::new(width, height), layout, bits: size.bit_depth, ceiling: None };
    if let Some(offsets) = raw::strips(&mut decoder, size).map_err(failed)? {
        let samples = usize::from(colour.num_samples());
        afford(u64::from(width) * samples as u64 * 4, size, limits)?;
        let inverted = interpretation == Interpretation::WhiteIsZero;
        raw::read(&mut decoder, &mut picture, size, samples, &offsets, inverted).map_err(failed)?;
        return Ok((size, picture.reducer.finish()));
    }
    let (chunk_width, chunk_height) = decoder.chunk_dimensions();
    let (chunk_width, chunk_height) = (chunk_width.min(width.max(4096)), chunk_height.min(height.max(4096)));
    let chunk = u64::from(chunk_width) * u64::from(chunk_height) * u64::from(colour.num_samples().max(1));
    afford(chunk * u64::from(size.bit_depth).div_ceil(8) * 2, size, limits)?;

    let planes = if decoder.find_tag_unsigned::<u16>(Tag::PlanarConfiguration).map_err(failed)? == Some(2) {
        u32::from(colour.num_samples())
    } else {
        1
    };
    let across = width.div_ceil(chunk_width);
    let per_plane = across.checked_mul(height.div_ceil(chunk_height));
    let per_plane = per_plane.ok_or_else(|| Reason::Damaged("too many tiles".to_owned()).at(size))?;
    for index in 0..per_plane {
        let (left, top) = (index % across * chunk_width, index / across * chunk_height);
        let columns = decoder.chunk_data_dimensions(index).0;
        let mut samples = if planes == 1 {
            picture.samples(decoder.read_chunk(index).map_err(failed)?, columns)
        } else {
            let wanted = planes.min(picture.layout.samples() as u32);
            let mut parts = Vec::new();
            for plane in 0..wanted {
                let chunk = index.saturating_add(plane.saturating_mul(per_plane));
                parts.push(picture.samples(decoder.read_chunk(chunk).map_err(failed)?, columns));
            }
            interleave(&parts)
        };
        if inverted {
            samples.iter_mut().for_each(|sample| *sample = 255 - *sample);
        }
        picture.add(left, top, columns, &samples);
    }
    Ok((size, picture.reducer.finish()))
}

/// How the samples are to be read, and whether they are to be inverted first.
fn layout(
    decoder: &mut Decoder<Patched<'_>>,
    colour: ColorType,
    interpretation: Interpretation,
) -> TiffResult<(Layout, bool)> {
    let samples = usize::from(colour.num_samples());
    if interpretation == Interpretation::Palette {
        let map = decoder.get_tag_u16_vec(Tag::ColorMap)?;
        let third = map.len() / 3;
        let colours = (0..third).map(|i| [map[i], map[third + i], map[2 * third + i]].map(|c| (c >> 8) as u8));
        return Ok((Layout::Palette(colours.collect()), false));
    }
    Ok((
        match colour {
            ColorType::RGB(_) => Layout::Rgb { samples },
            ColorType::RGBA(_) => Layout::Rgba { samples },
            ColorType::CMYK(_) | ColorType::CMYKA(_) => Layout::Cmyk { samples },
            ColorType::YCbCr(_) => Layout::YCbCr,
            ColorType::Multiband { num_samples: 2, .. } if interpretation == Interpretation::Plain => Layout::GreyAlpha,
            // Also CIE L*a*b*, of which L* is the first sample.
            _ => Layout::Grey { samples },
        },
        // The decoder inverts "white is zero" itself, but not where a pixel has less than eight bits.
        interpretation == Interpretation::WhiteIsZero && colour.bit_depth() < 8,
    ))
}

struct Picture {
    reducer: Reducer,
    layout: Layout,
    bits: u8,
    /// The brightest value of floating-point samples, judged by the first chunk.
    ceiling: Option<f64>,
}

impl Picture {
    /// The samples of one chunk with eight bits each.
    fn samples(&mut self, chunk: DecodingResult, columns: u32) -> Vec<u8> {
        match chunk {
            DecodingResult::U8(samples) if self.bits < 8 => self.unpack(&samples, columns),
            DecodingResult::U8(samples) => samples,
            DecodingResult::U16(samples) => samples.into_iter().map(|s| (s >> 8) as u8).collect(),
            DecodingResult::U32(samples) => samples.into_iter().map(|s| (s >> 24) as u8).collect(),
            DecodingResult::U64(samples) => samples.into_iter().map(|s| (s >> 56) as u8).collect(),
            DecodingResult::I8(samples) => samples.into_iter().map(|s| (i16::from(s) + 128) as u8).collect(),
            DecodingResult::I16(samples) => samples.into_iter().map(|s| ((i32::from(s) + 32768) >> 8) as u8).collect(),
            DecodingResult::I32(samples) => samples.into_iter().map(|s| ((s >> 24) + 128) as u8).collect(),
            DecodingResult::I64(samples) => samples.into_iter().map(|s| ((s >> 56) + 128) as u8).collect(),
            DecodingResult::F16(samples) => self.floats(samples.into_iter().map(|s| f64::from(f32::from(s))).collect()),
            DecodingResult::F32(samples) => self.floats(samples.into_iter().map(f64::from).collect()),
            DecodingResult::F64(samples) => self.floats(samples),
        }
    }

    /// 1, 2 and 4 bits a sample; each row starts at a byte.
    fn unpack(&self, packed: &[u8], columns: u32) -> Vec<u8> {
        let bits = usize::from(self.bits.max(1));
        let largest = (1u16 << bits) - 1;
        let factor = if matches!(self.layout, Layout::Palette(_)) { 1 } else { 255 / largest };
        let across = columns as usize * self.layout.samples();
        let row_bytes = (across * bits).div_ceil(8).max(1);
        let mut samples = Vec::with_capacity(packed.len() * 8 / bits);
        for row in packed.chunks_exact(row_bytes) {
            samples.extend((0..across).map(|index| {
                let (byte, shift) = (index * bits / 8, 8 - bits - index * bits % 8);
                ((u16::from(row[byte]) >> shift & largest) * factor) as u8
            }));
        }
        samples
    }

    fn floats(&mut self, samples: Vec<f64>) -> Vec<u8> {
        let ceiling = *self.ceiling.get_or_insert_with(|| {
            let brightest = samples.iter().copied().filter(|sample| sample.is_finite()).fold(0.0, f64::max);
            [1.0, 255.0, 65535.0].into_iter().find(|&ceiling| brightest <= ceiling * 1.001).unwrap_or(brightest)
        });
        samples.into_iter().map(|sample| (sample / ceiling * 255.0 + 0.5).clamp(0.0, 255.0) as u8).collect()
    }

    fn add(&mut self, left: u32, top: u32, columns: u32, samples: &[u8]) {
        let mut rgb = Vec::new();
        for (y, row) in (top..).zip(samples.chunks_exact((columns as usize * self.layout.samples()).max(1))) {
            rgb.clear();
            self.layout.to_rgb(row, &mut rgb);
            self.reducer.add(left, y, 1, &rgb);
        }
    }
}

fn interleave(planes: &[Vec<u8>]) -> Vec<u8> {
    let length = planes.iter().map(Vec::len).min().unwrap_or(0);
    (0..length).flat_map(|index| planes.iter().map(move |plane| plane[index])).collect()
}

fn classify(error: TiffError) -> Reason {
    match error {
        TiffError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Reason::Truncated("it ends before its last strip or tile".to_owned())
        }
        TiffError::IoError(error) => Reason::Damaged(error.to_string()),
        TiffError::UnsupportedError(error) => Reason::Unsupported(error.to_string()),
        TiffError::LimitsExceeded => Reason::Unsupported("one strip or tile needs more memory than allowed".to_owned()),
        other => Reason::Damaged(other.to_string()),
    }
}

//! OpenEXR through the exr crate, block by block. The first part that has colours or luminance counts, at its
//! full resolution.

use exr::block::reader::ChunksReader;
use exr::block::{self, UncompressedBlock};
use exr::error::Error;
use exr::meta::BlockDescription;
use exr::meta::attribute::SampleType;
use exr::meta::header::Header;

use super::light::{Exposure, to_samples};
use super::pixels::half;
use super::{Failure, Layout, Reduced, Reducer, Source, admit, afford};
use crate::measure::{Limits, Reason, Size};

/// The part that is read, and which of its channels are its colours.
struct Part {
    index: usize,
    size: Size,
    /// Red, green and blue, or luminance: places in the list of channels.
    colours: Vec<usize>,
    types: Vec<SampleType>,
}

pub(super) fn decode(source: Source<'_>, limits: &Limits) -> Result<(Size, Reduced), Failure> {
    let part = part(source, limits)?;
    let size = part.size;
    let failed = |reason: Reason| reason.at(size);
    let mut exposure = Exposure::new();
    rows(source, &part, &mut |_, _, row| exposure.add(row)).map_err(failed)?;
    let white = exposure.white();
    let layout = if part.colours.len() == 3 { Layout::Rgb { samples: 3 } } else { Layout::Grey { samples: 1 } };
    let mut reducer = Reducer::new(size.width, size.height, limits);
    let (mut samples, mut rgb) = (Vec::new(), Vec::new());
    rows(source, &part, &mut |x, y, row| {
        samples.clear();
        to_samples(row, white, &mut samples);
        rgb.clear();
        layout.to_rgb(&samples, &mut rgb);
        reducer.add(x, y, 1, &rgb);
    })
    .map_err(failed)?;
    Ok((size, reducer.finish()))
}

fn part(source: Source<'_>, limits: &Limits) -> Result<Part, Failure> {
    let reader = block::read(source.reader(), false).map_err(classify)?;
    let headers = reader.headers();
    let found = headers.iter().enumerate().find_map(|(index, header)| Some((index, header, colours(header)?)));
    let Some((index, header, colours)) = found else {
        return Err(Reason::Unsupported("OpenEXR without red, green and blue or luminance".to_owned()).into());
    };
    let side = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let types: Vec<SampleType> = header.channels.list.iter().map(|channel| channel.sample_type).collect();
    let wide = colours.iter().any(|place| types.get(*place) != Some(&SampleType::F16));
    let (width, height) = (side(header.layer_size.0), side(header.layer_size.1));
    let size = Size { width, height, bit_depth: if wide { 32 } else { 16 } };
    admit(size, limits)?;
    if header.deep {
        return Err(Reason::Unsupported("OpenEXR with deep data".to_owned()).at(size));
    }
    if header.channels.list.iter().any(|channel| channel.sampling.0 != 1 || channel.sampling.1 != 1) {
        return Err(Reason::Unsupported("OpenEXR with subsampled channels".to_owned()).at(size));
    }
    let pixels = match header.blocks {
        BlockDescription::ScanLines => {
            u64::from(width) * (header.compression.scan_lines_per_block() as u64).min(u64::from(height))
        }
        BlockDescription::Tiles(tiles) => (tiles.tile_size.0 as u64).saturating_mul(tiles.tile_size.1 as u64),
    };
    // A block as it is stored, decompressed and being sorted; and where all blocks of the file lie.
    let block = pixels.saturating_mul(header.channels.bytes_per_pixel as u64).saturating_mul(4);
    let blocks: u64 = headers.iter().map(|header| header.chunk_count as u64).fold(0, u64::saturating_add);
    afford(block.saturating_add(blocks.saturating_mul(32)), size, limits)?;
    Ok(Part { index, size, colours, types })
}

/// Red, green and blue (or luminance) of a part, by the last word of their names.
fn colours(header: &Header) -> Option<Vec<usize>> {
    let names: Vec<String> = header.channels.list.iter().map(|channel| channel.name.to_string()).collect();
    let find = |wanted: &str| {
        let whole = names.iter().position(|name| name == wanted);
        whole.or_else(|| names.iter().position(|name| name.rsplit('.').next() == Some(wanted)))
    };
    match (find("R"), find("G"), find("B")) {
        (Some(red), Some(green), Some(blue)) => Some(vec![red, green, blue]),
        _ => find("Y").map(|luminance| vec![luminance]),
    }
}

/// Calls `take` with the first column, the number and the light of each row of each block.
fn rows(source: Source<'_>, part: &Part, take: &mut dyn FnMut(u32, u32, &[f32])) -> Result<(), Reason> {
    let reader = block::read(source.reader(), false).map_err(classify)?;
    let channels = reader.headers().get(part.index).map(|header| header.channels.clone());
    let channels = channels.ok_or_else(|| Reason::Damaged("its parts changed".to_owned()))?;
    let chunks = reader
        .filter_chunks(false, |_, tile, block| {
            block.layer == part.index && tile.level_index.0 == 0 && tile.level_index.1 == 0
        })
        .map_err(classify)?;
    let meta = chunks.meta_data().clone();
    let last = part.types.len().saturating_sub(1);
    let mut light = Vec::new();
    for chunk in chunks {
        let block = UncompressedBlock::decompress_chunk(chunk.map_err(classify)?, &meta, false).map_err(classify)?;
        for line in block.lines(&channels) {
            let (count, colours) = (line.location.sample_count, part.colours.len());
            light.resize(count * colours, 0.0);
            let kind = part.types.get(line.location.channel);
            // A channel may be several colours at once only where a file names one twice.
            for (place, _) in part.colours.iter().enumerate().filter(|(_, at)| **at == line.location.channel) {
                let to = light.iter_mut().skip(place).step_by(colours);
                match kind {
                    Some(SampleType::F16) => to.zip(line.value.chunks_exact(2)).for_each(|(to, b)| {
                        *to = half(u16::from_ne_bytes([b[0], b[1]])) as f32;
                    }),
                    Some(SampleType::F32) => to.zip(line.value.chunks_exact(4)).for_each(|(to, b)| {
                        *to = f32::from_ne_bytes([b[0], b[1], b[2], b[3]]);
                    }),
                    _ => to.zip(line.value.chunks_exact(4)).for_each(|(to, b)| {
                        *to = (f64::from(u32::from_ne_bytes([b[0], b[1], b[2], b[3]])) / f64::from(u32::MAX)) as f32;
                    }),
                }
            }
            if line.location.channel == last {
                take(line.location.position.0 as u32, line.location.position.1 as u32, &light);
            }
        }
    }
    Ok(())
}

fn classify(error: Error) -> Reason {
    match error {
        Error::NotSupported(message) => Reason::Unsupported(message.into_owned()),
        Error::Io(error) => Reason::Truncated(error.to_string()),
        Error::Invalid(message) if message.contains("end of file") => Reason::Truncated(message.into_owned()),
        other => Reason::Damaged(other.to_string()),
    }
}

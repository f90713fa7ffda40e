//! BMP, row by row, by "Bitmap Storage" of the Windows documentation. Opacity is left out, as most viewers do.

use std::io::{Read, Seek, SeekFrom};

use super::source::Reader;
use super::{Failure, Layout, Reduced, Reducer, Source, admit, afford};
use crate::measure::{Limits, Reason, Size};

/// The file header and the smallest header of the picture.
const LEAST: usize = 14 + 12;

struct Header {
    size: Size,
    top_down: bool,
    bits: u32,
    compression: u32,
    /// Where the rows begin.
    offset: u64,
    /// Where red, green and blue lie in a pixel of 16 or 32 bits.
    masks: [u32; 3],
    palette: Vec<[u8; 3]>,
}

/// Whether these first bytes are of a BMP: the two letters alone begin many a text.
pub(super) fn is_bmp(bytes: &[u8]) -> bool {
    let header = match word(bytes, 14) {
        Some(12) => bytes.get(22..26),
        Some(16 | 40 | 52 | 56 | 64 | 108 | 124) => bytes.get(26..30),
        _ => None,
    };
    bytes.starts_with(b"BM") && header.is_some_and(|h| h[..2] == [1, 0] && matches!(h[2], 0..=32) && h[3] == 0)
}

pub(super) fn decode(source: Source<'_>, limits: &Limits) -> Result<(Size, Reduced), Failure> {
    let mut reader = source.reader();
    let header = read_header(&mut reader)?;
    let size = header.size;
    admit(size, limits)?;
    let stride = (u64::from(size.width) * u64::from(header.bits)).div_ceil(32) * 4;
    afford(stride + u64::from(size.width) * 8, size, limits)?;
    reader.seek(SeekFrom::Start(header.offset)).map_err(|error| Reason::Damaged(error.to_string()).at(size))?;
    let mut reducer = Reducer::new(size.width, size.height, limits);
    let mut add = |row: u32, layout: &Layout, samples: &[u8], rgb: &mut Vec<u8>| {
        rgb.clear();
        layout.to_rgb(samples, rgb);
        reducer.add(0, if header.top_down { row } else { size.height - 1 - row }, 1, rgb);
    };
    let read = match header.compression {
        0 | 3 | 6 => plain(&mut reader, &header, stride as usize, &mut add),
        1 | 2 => runs(&mut reader, &header, &mut add),
        other => Err(Reason::Unsupported(format!("BMP with compression {other}"))),
    };
    read.map_err(|reason| reason.at(size))?;
    Ok((size, reducer.finish()))
}

type Add<'a> = &'a mut dyn FnMut(u32, &Layout, &[u8], &mut Vec<u8>);

fn plain(reader: &mut Reader<'_>, header: &Header, stride: usize, add: Add<'_>) -> Result<(), Reason> {
    let (mut row, mut samples, mut rgb) = (vec![0; stride], Vec::new(), Vec::new());
    let palette = Layout::Palette(header.palette.clone());
    for y in 0..header.size.height {
        reader.read_exact(&mut row).map_err(|_| truncated())?;
        samples.clear();
        let width = header.size.width as usize;
        let layout = match header.bits {
            bits @ (1 | 2 | 4 | 8) => {
                let (per_byte, mask) = (8 / bits, (1u16 << bits) - 1);
                samples.extend(row.iter().flat_map(|byte| {
                    (0..per_byte).map(move |place| (u16::from(*byte) >> (8 - bits - place * bits) & mask) as u8)
                }));
                samples.truncate(width);
                &palette
            }
            24 => {
                samples.extend(row.chunks_exact(3).take(width).flat_map(|p| [p[2], p[1], p[0]]));
                &Layout::Rgb { samples: 3 }
            }
            bits => {
                let bytes = bits as usize / 8;
                let value = |p: &[u8]| p.iter().rev().fold(0u32, |value, byte| value << 8 | u32::from(*byte));
                let pixels = row.chunks_exact(bytes).take(width).map(value);
                samples.extend(pixels.flat_map(|value| header.masks.map(|mask| masked(value, mask))));
                &Layout::Rgb { samples: 3 }
            }
        };
        add(y, layout, &samples, &mut rgb);
    }
    Ok(())
}

/// A channel that is a part of a pixel, with eight bits.
fn masked(value: u32, mask: u32) -> u8 {
    if mask == 0 {
        return 0;
    }
    let shift = mask.trailing_zeros();
    ((u64::from((value & mask) >> shift) * 255) / u64::from(mask >> shift)) as u8
}

/// Run lengths of 8 or 4 bits a pixel ("Bitmap Compression").
fn runs(reader: &mut Reader<'_>, header: &Header, add: Add<'_>) -> Result<(), Reason> {
    let (width, height) = (header.size.width as usize, header.size.height);
    let layout = Layout::Palette(header.palette.clone());
    let four = header.compression == 2;
    let (mut row, mut rgb) = (vec![0u8; width], Vec::new());
    let (mut x, mut y) = (0usize, 0u32);
    let mut pair = [0u8; 2];
    while y < height {
        reader.read_exact(&mut pair).map_err(|_| truncated())?;
        let nibble = |byte: u8, index: usize| {
            if !four {
                byte
            } else if index.is_multiple_of(2) {
                byte >> 4
            } else {
                byte & 15
            }
        };
        match pair {
            [0, 0] => {
                add(y, &layout, &row, &mut rgb);
                row.fill(0);
                (x, y) = (0, y + 1);
            }
            [0, 1] => break,
            [0, 2] => {
                reader.read_exact(&mut pair).map_err(|_| truncated())?;
                x += usize::from(pair[0]);
                for _ in 0..pair[1] {
                    if y < height {
                        add(y, &layout, &row, &mut rgb);
                        row.fill(0);
                        y += 1;
                    }
                }
            }
            [0, count] => {
                let bytes = if four { usize::from(count).div_ceil(2) } else { usize::from(count) };
                let mut literal = vec![0; bytes.next_multiple_of(2)];
                reader.read_exact(&mut literal).map_err(|_| truncated())?;
                for index in 0..usize::from(count) {
                    let byte = literal.get(if four { index / 2 } else { index }).copied().unwrap_or(0);
                    if let Some(pixel) = row.get_mut(x + index) {
                        *pixel = nibble(byte, index);
                    }
                }
                x += usize::from(count);
            }
            [count, value] => {
                for index in 0..usize::from(count) {
                    if let Some(pixel) = row.get_mut(x + index) {
                        *pixel = nibble(value, index);
                    }
                }
                x += usize::from(count);
            }
        }
    }
    while y < height {
        add(y, &layout, &row, &mut rgb);
        row.fill(0);
        y += 1;
    }
    Ok(())
}

fn read_header(reader: &mut Reader<'_>) -> Result<Header, Failure> {
    let mut bytes = Vec::new();
    // The largest header, and masks behind the usual one.
    (&mut *reader).take(14 + 124 + 16).read_to_end(&mut bytes).map_err(|error| Reason::Damaged(error.to_string()))?;
    let short = |at: usize| word(&bytes, at).map(|value| value & 0xffff);
    if bytes.len() < LEAST {
        return Err(truncated().into());
    }
    let of = |value: Option<u32>| value.ok_or_else(truncated);
    let length = of(word(&bytes, 14))?;
    let core = length == 12;
    let (width, height) =
        if core { (of(short(18))?, of(short(20))?) } else { (of(word(&bytes, 18))?, of(word(&bytes, 22))?) };
    let bits = of(if core { short(24) } else { short(28) })?;
    let compression = if core || length == 16 { 0 } else { of(word(&bytes, 30))? };
    let top_down = !core && (height as i32) < 0;
    let height = if core { height } else { (height as i32).unsigned_abs() };
    let depth = match bits {
        16 => 5,
        _ => 8,
    };
    let size = Size { width, height, bit_depth: depth };
    if !core && (width as i32) < 0 {
        return Err(Reason::Damaged("the width is negative".to_owned()).into());
    }
    let fits = match compression {
        1 => bits == 8,
        2 => bits == 4,
        3 | 6 => matches!(bits, 16 | 32),
        _ => matches!(bits, 1 | 2 | 4 | 8 | 16 | 24 | 32),
    };
    if !fits {
        return Err(Reason::Unsupported(format!("BMP with {bits} bits a pixel and compression {compression}")).at(size));
    }
    let masks = match (compression, bits) {
        (3 | 6, _) => [of(word(&bytes, 54))?, of(word(&bytes, 58))?, of(word(&bytes, 62))?],
        (_, 16) => [0x7c00, 0x3e0, 0x1f],
        _ => [0xff_0000, 0xff00, 0xff],
    };
    let behind = match (length, compression) {
        (40, 3) => 12,
        (40, 6) => 16,
        _ => 0,
    };
    let palette = if bits <= 8 {
        let used = if length >= 40 { of(word(&bytes, 46))? } else { 0 };
        let colours = if used == 0 || used > 256 { 1 << bits } else { used };
        let entry = if core { 3 } else { 4 };
        reader
            .seek(SeekFrom::Start(14 + u64::from(length) + behind))
            .map_err(|error| Reason::Damaged(error.to_string()))?;
        let mut table = Vec::new();
        let table_bytes = u64::from(colours) * entry;
        (&mut *reader).take(table_bytes).read_to_end(&mut table).map_err(|error| Reason::Damaged(error.to_string()))?;
        table.chunks_exact(entry as usize).map(|c| [c[2], c[1], c[0]]).collect()
    } else {
        Vec::new()
    };
    Ok(Header { size, top_down, bits, compression, offset: u64::from(of(word(&bytes, 10))?), masks, palette })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four: [u8; 4] = match bytes.get(at..at + 4) {
        Some(bytes) => bytes.try_into().ok()?,
        // The last field of the smallest header has two bytes.
        None => [*bytes.get(at)?, *bytes.get(at + 1)?, 0, 0],
    };
    Some(u32::from_le_bytes(four))
}

fn truncated() -> Reason {
    Reason::Truncated("it ends before its last row".to_owned())
}

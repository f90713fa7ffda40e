//! Radiance HDR, row by row, by "Radiance File Formats" (Ward, 1997): shared exponents, plain or in runs.

use std::io::{BufRead, Read};

use super::light::{Exposure, to_samples};
use super::source::Reader;
use super::{Failure, Layout, Reduced, Reducer, Source, admit, afford};
use crate::measure::{Limits, Reason, Size};

/// Longest line of the header, and most lines.
const LINE: u64 = 4096;
const LINES: usize = 1024;

pub(super) fn decode(source: Source<'_>, limits: &Limits) -> Result<(Size, Reduced), Failure> {
    let mut reader = source.reader();
    let (size, upwards) = header(&mut reader)?;
    admit(size, limits)?;
    afford(u64::from(size.width) * 24, size, limits)?;
    let mut exposure = Exposure::new();
    rows(&mut reader, size, &mut |_, row| exposure.add(row)).map_err(|reason| reason.at(size))?;
    let mut reader = source.reader();
    header(&mut reader)?;
    let white = exposure.white();
    let mut reducer = Reducer::new(size.width, size.height, limits);
    let (mut samples, mut rgb) = (Vec::new(), Vec::new());
    rows(&mut reader, size, &mut |y, row| {
        samples.clear();
        to_samples(row, white, &mut samples);
        rgb.clear();
        Layout::Rgb { samples: 3 }.to_rgb(&samples, &mut rgb);
        reducer.add(0, if upwards { size.height - 1 - y } else { y }, 1, &rgb);
    })
    .map_err(|reason| reason.at(size))?;
    Ok((size, reducer.finish()))
}

/// The size, and whether the rows go from the bottom up.
fn header(reader: &mut Reader<'_>) -> Result<(Size, bool), Reason> {
    for _ in 0..LINES {
        let line = line(reader)?;
        if let Some(format) = line.strip_prefix("FORMAT=")
            && format.trim() != "32-bit_rle_rgbe"
        {
            return Err(Reason::Unsupported(format!("Radiance with \"{}\"", format.trim())));
        }
        if line.is_empty() {
            return resolution(&self::line(reader)?);
        }
    }
    Err(Reason::Damaged("its header has no end".to_owned()))
}

fn resolution(line: &str) -> Result<(Size, bool), Reason> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    match words.as_slice() {
        [y @ ("-Y" | "+Y"), height, "+X", width] => {
            let number = |word: &str| word.parse().map_err(|_| Reason::Damaged(format!("a size of \"{line}\"")));
            Ok((Size { width: number(width)?, height: number(height)?, bit_depth: 32 }, *y == "+Y"))
        }
        [_, _, _, _] => Err(Reason::Unsupported(format!("Radiance with rows in the order \"{line}\""))),
        _ => Err(Reason::Damaged("its header names no size".to_owned())),
    }
}

fn line(reader: &mut Reader<'_>) -> Result<String, Reason> {
    let mut bytes = Vec::new();
    let read = reader.take(LINE).read_until(b'\n', &mut bytes);
    match (read, bytes.pop()) {
        (Ok(_), Some(b'\n')) => Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\r').to_owned()),
        (Ok(_), Some(_)) if bytes.len() as u64 + 1 == LINE => Err(Reason::Damaged("a line without an end".to_owned())),
        _ => Err(truncated()),
    }
}

/// Calls `take` with red, green and blue of each row.
fn rows(reader: &mut Reader<'_>, size: Size, take: &mut dyn FnMut(u32, &[f32])) -> Result<(), Reason> {
    let width = size.width as usize;
    let (mut rgbe, mut light) = (vec![0u8; width * 4], Vec::with_capacity(width * 3));
    for y in 0..size.height {
        row(reader, &mut rgbe)?;
        light.clear();
        for pixel in rgbe.chunks_exact(4) {
            // The value of a step of each colour; 128 is the exponent of 1, and a colour has 8 bits.
            let step = if pixel[3] == 0 { 0.0 } else { (f32::from(pixel[3]) - 136.0).exp2() };
            light.extend([0, 1, 2].map(|colour| f32::from(pixel[colour]) * step));
        }
        take(y, &light);
    }
    Ok(())
}

fn row(reader: &mut Reader<'_>, rgbe: &mut [u8]) -> Result<(), Reason> {
    let width = rgbe.len() / 4;
    let mut pixel = bytes::<4>(reader)?;
    let coded = pixel[0] == 2 && pixel[1] == 2 && usize::from(pixel[2]) << 8 | usize::from(pixel[3]) == width;
    if !coded || !(8..0x8000).contains(&width) {
        // Plain pixels; 1, 1, 1 and a count repeat the one before, the next count in higher bits.
        let (mut x, mut shift) = (0, 0);
        loop {
            if pixel[..3] == [1, 1, 1] && x > 0 {
                let run = usize::from(pixel[3]).checked_shl(shift).unwrap_or(0).min(width - x);
                rgbe.copy_within((x - 1) * 4..x * 4, x * 4);
                for index in 1..run.max(1) {
                    rgbe.copy_within((x - 1) * 4..x * 4, (x + index) * 4);
                }
                x += run;
                shift = (shift + 8).min(24);
            } else {
                rgbe[x * 4..x * 4 + 4].copy_from_slice(&pixel);
                (x, shift) = (x + 1, 0);
            }
            if x >= width {
                return Ok(());
            }
            pixel = bytes::<4>(reader)?;
        }
    }
    for colour in 0..4 {
        let mut x = 0;
        while x < width {
            let [count] = bytes::<1>(reader)?;
            let run = usize::from(if count > 128 { count - 128 } else { count });
            if run == 0 || x + run > width {
                return Err(Reason::Damaged(format!("a run of {run} in a row of {width} pixels")));
            }
            let mut value = 0;
            for index in 0..run {
                if index == 0 || count <= 128 {
                    [value] = bytes::<1>(reader)?;
                }
                rgbe[(x + index) * 4 + colour] = value;
            }
            x += run;
        }
    }
    Ok(())
}

fn bytes<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], Reason> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes).map_err(|_| truncated())?;
    Ok(bytes)
}

fn truncated() -> Reason {
    Reason::Truncated("it ends before its last row".to_owned())
}

//! Rows of a strip or tile, as they lie in the file -> samples of eight bits.

use super::super::{pixels::half, predictor};
use super::image::{Image, Kind, Meaning};
use crate::decode::Layout;
use crate::measure::Reason;

/// Which values are black and white. Samples of 8 and 16 unsigned bits fill their range; for the others it is
/// found by a pass over all of them, since programs write what they like (0 to 1, to 255, to 65,535).
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    least: f64,
    most: f64,
}

impl Range {
    pub(super) const NONE: Range = Range { least: f64::INFINITY, most: f64::NEG_INFINITY };

    /// Whether the samples of the picture must be looked at first.
    pub(super) fn is_needed(image: &Image) -> bool {
        image.kind != Kind::Unsigned || image.bits > 16
    }

    pub(super) fn widen(&mut self, values: &[f64]) {
        for value in values.iter().filter(|value| value.is_finite()) {
            self.least = self.least.min(*value);
            self.most = self.most.max(*value);
        }
    }

    /// Black and white: the narrowest usual range that has room for what was found.
    pub(super) fn usual(self, image: &Image) -> (f64, f64) {
        let full = 2f64.powi(image.bits as i32);
        let most = |usual: &[f64], last: f64| usual.iter().copied().find(|&u| self.most <= u * 1.001).unwrap_or(last);
        match image.kind {
            Kind::Unsigned => (0.0, most(&[255.0, 65535.0], full - 1.0)),
            Kind::Signed if self.least < 0.0 => (-full / 2.0, full / 2.0 - 1.0),
            Kind::Signed => (0.0, most(&[255.0, 32767.0, 65535.0], full / 2.0 - 1.0)),
            Kind::Float => (0.0, most(&[1.0, 255.0, 65535.0], self.most.max(f64::MIN_POSITIVE))),
        }
    }
}

/// Undoes the predictor in one row.
pub(super) fn undo_predictor(row: &mut [u8], image: &Image, little: bool) -> Result<(), Reason> {
    let (together, bits) = (image.together(), image.bits);
    match (image.predictor, bits) {
        (0 | 1, _) => {}
        (2, 8 | 16 | 32 | 64) => predictor::undo_horizontal(row, together, bits as usize / 8, little),
        (3, 16 | 32 | 64) if image.kind == Kind::Float => {
            predictor::undo_floating(row, together, bits as usize / 8, little);
        }
        (2 | 3, _) => {
            return Err(Reason::Unsupported(format!("predictor {} with samples of {bits} bits", image.predictor)));
        }
        (other, _) => return Err(Reason::Unsupported(format!("predictor {other}"))),
    }
    Ok(())
}

/// The numbers of a row, as they are.
pub(super) fn values(row: &[u8], image: &Image, little: bool, values: &mut Vec<f64>) {
    values.clear();
    if !image.bits.is_multiple_of(8) || image.bits == 24 {
        let across = image.chunk.0 as usize * image.together();
        values.extend((0..across).map(|index| f64::from(bits_at(row, index, image.bits))));
        return;
    }
    let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    let number = |b: &[u8]| if little { b.iter().rev().fold(0, join) } else { b.iter().fold(0, join) };
    let width = image.bits as usize / 8;
    values.extend(row.chunks_exact(width).map(number).map(|number| match (image.kind, image.bits) {
        (Kind::Unsigned, _) => number as f64,
        (Kind::Signed, 8) => f64::from(number as u8 as i8),
        (Kind::Signed, 16) => f64::from(number as u16 as i16),
        (Kind::Signed, 32) => f64::from(number as u32 as i32),
        (Kind::Signed, _) => number as i64 as f64,
        (Kind::Float, 16) => half(number as u16),
        (Kind::Float, 32) => f64::from(f32::from_bits(number as u32)),
        (Kind::Float, _) => f64::from_bits(number),
    }));
}

/// Sample `index` of a row of samples of `bits` bits, the highest bit first.
fn bits_at(row: &[u8], index: usize, bits: u32) -> u32 {
    let mut value = 0u64;
    let start = index * bits as usize;
    let end = start + bits as usize;
    for byte in start / 8..end.div_ceil(8) {
        value = value << 8 | u64::from(row.get(byte).copied().unwrap_or(0));
    }
    let value = value >> (end.div_ceil(8) * 8 - end);
    (value & ((1u64 << bits) - 1)) as u32
}

/// The samples of a row with eight bits each; `range` where [`Range::is_needed`].
pub(super) fn samples(row: &[u8], image: &Image, little: bool, range: Option<(f64, f64)>, samples: &mut Vec<u8>) {
    samples.clear();
    let across = image.chunk.0 as usize * image.together();
    match (range, image.bits) {
        (_, _) if image.kind == Kind::Float && matches!(image.layout, Layout::Lab { .. }) => {
            let mut numbers = Vec::new();
            values(row, image, little, &mut numbers);
            // L* from 0 to 100, a* and b* as they are.
            samples.extend(
                numbers
                    .chunks_exact(image.together())
                    .flat_map(|pixel| {
                        pixel.iter().enumerate().map(|(index, n)| if index == 0 { n * 2.55 } else { n + 128.0 })
                    })
                    .map(|number| (number + 0.5).clamp(0.0, 255.0) as u8),
            );
        }
        (Some((black, white)), _) => {
            let mut numbers = Vec::new();
            values(row, image, little, &mut numbers);
            let factor = 255.0 / (white - black).max(f64::MIN_POSITIVE);
            samples.extend(numbers.iter().map(|number| ((number - black) * factor + 0.5).clamp(0.0, 255.0) as u8));
        }
        (None, 8) => samples.extend_from_slice(row),
        (None, 16) => {
            let words = row.as_chunks::<2>().0.iter().copied();
            match little {
                true => samples.extend(words.map(|word| (u16::from_le_bytes(word) >> 8) as u8)),
                false => samples.extend(words.map(|word| (u16::from_be_bytes(word) >> 8) as u8)),
            }
        }
        (None, bits @ (1 | 2 | 4)) => {
            let (bits, largest) = (bits as usize, (1u8 << bits) - 1);
            let factor = if matches!(image.layout, Layout::Palette(_)) { 1 } else { 255 / largest };
            let shifts = (0..8 / bits).map(|place| 8 - bits - place * bits);
            samples.extend(row.iter().flat_map(|byte| shifts.clone().map(move |s| (byte >> s & largest) * factor)));
            samples.truncate(across);
        }
        (None, bits) => {
            let largest = (1u32 << bits.min(31)) - 1;
            let index = matches!(image.layout, Layout::Palette(_));
            samples.extend((0..across).map(|at| {
                let value = bits_at(row, at, bits);
                if index {
                    value.min(255) as u8
                } else {
                    ((u64::from(value) * 255 + u64::from(largest) / 2) / u64::from(largest)) as u8
                }
            }));
        }
    }
    match image.meaning {
        Meaning::Plain | Meaning::Premultiplied | Meaning::SignedLab => {}
        Meaning::WhiteIsZero => samples.iter_mut().for_each(|sample| *sample = 255 - *sample),
    }
}

/// What applies to whole pixels: signed colours, and colours that were multiplied by their opacity.
pub(super) fn settle(samples: &mut [u8], image: &Image) {
    let pixels = samples.chunks_exact_mut(image.layout.samples());
    match (image.meaning, &image.layout) {
        (Meaning::SignedLab, Layout::Lab { .. }) if image.kind == Kind::Unsigned => {
            pixels.for_each(|pixel| pixel[1..3].iter_mut().for_each(|colour| *colour = colour.wrapping_add(128)));
        }
        (Meaning::Premultiplied, layout) => {
            let colours = if *layout == Layout::GreyAlpha { 1 } else { 3 };
            pixels.for_each(|pixel| {
                let alpha = u32::from(pixel[colours]).max(1);
                pixel[..colours].iter_mut().for_each(|c| *c = (u32::from(*c) * 255 / alpha).min(255) as u8);
            });
        }
        _ => {}
    }
}

/// Rows of subsampled luminance and colour differences: each unit holds the luminance of `across` by `down`
/// pixels and one pair of differences (TIFF 6.0, section 21). Appends `down` rows of `columns` whole pixels.
pub(super) fn unfold(units: &[u8], (across, down): (u32, u32), columns: u32, rows: &mut [Vec<u8>]) {
    let luminances = (across * down) as usize;
    for (line, row) in (0..down as usize).zip(rows.iter_mut()) {
        row.clear();
        for unit in units.chunks_exact(luminances + 2) {
            let (cb, cr) = (unit[luminances], unit[luminances + 1]);
            for y in &unit[line * across as usize..(line + 1) * across as usize] {
                row.extend_from_slice(&[*y, cb, cr]);
            }
        }
        row.truncate(columns as usize * 3);
    }
}

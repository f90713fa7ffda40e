//! Bare samples: rows of a picture without a format of their own, as documents hold them.

use super::{Decoded, Failure, Format, Layout, Reducer, admit};
use crate::measure::{Limits, Reason, Size};

/// Reduces `data`, rows of `size` that each begin at a byte.
pub(crate) fn decode(size: Size, layout: &Layout, data: &[u8], limits: &Limits) -> Result<Decoded, Failure> {
    admit(size, limits)?;
    let bits = usize::from(size.bit_depth);
    if !matches!(bits, 1 | 2 | 4 | 8 | 16) {
        return Err(Reason::Unsupported(format!("samples of {bits} bits")).at(size));
    }
    let across = size.width as usize * layout.samples();
    let row = (across * bits).div_ceil(8);
    if data.len() < row {
        return Err(Reason::Truncated("it ends in the first row".to_owned()).at(size));
    }
    let mut reducer = Reducer::new(size.width, size.height, limits);
    let (mut samples, mut rgb) = (Vec::new(), Vec::new());
    for (y, row) in (0..size.height).zip(data.chunks_exact(row)) {
        samples.clear();
        unpack(row, bits, across, matches!(layout, Layout::Palette(_)), &mut samples);
        rgb.clear();
        layout.to_rgb(&samples, &mut rgb);
        reducer.add(0, y, 1, &rgb);
    }
    Ok(Decoded { format: Format::Bare, size, reduced: reducer.finish() })
}

/// Appends `count` samples of one row with eight bits each; `as_they_are`: indices, which are not brightened.
fn unpack(row: &[u8], bits: usize, count: usize, as_they_are: bool, samples: &mut Vec<u8>) {
    match bits {
        8 => samples.extend(row.iter().take(count)),
        16 => samples.extend(row.iter().step_by(2).take(count)),
        _ => {
            let largest = (1u16 << bits) - 1;
            let factor = if as_they_are { 1 } else { 255 / largest };
            samples.extend((0..count).map_while(|index| {
                let (at, shift) = (index * bits / 8, 8 - bits - index * bits % 8);
                Some(((u16::from(*row.get(at)?) >> shift & largest) * factor) as u8)
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_depth_is_unpacked() {
        let unpacked = |row: &[u8], bits, count, as_they_are| {
            let mut samples = Vec::new();
            unpack(row, bits, count, as_they_are, &mut samples);
            samples
        };
        assert_eq!(unpacked(&[0b1010_0000], 1, 3, false), [255, 0, 255]);
        assert_eq!(unpacked(&[0b0001_1011], 2, 4, true), [0, 1, 2, 3]);
        assert_eq!(unpacked(&[0xf0, 0x80], 4, 3, false), [255, 0, 136]);
        assert_eq!(unpacked(&[7, 8, 9], 8, 2, false), [7, 8]);
        assert_eq!(unpacked(&[7, 1, 8, 2], 16, 2, false), [7, 8]);
    }

    #[test]
    fn a_row_that_is_missing_is_told() {
        let size = Size { width: 100, height: 2, bit_depth: 8 };
        let layout = Layout::Grey { samples: 1 };
        let decoded = decode(size, &layout, &[0; 99], &Limits::default());
        assert!(matches!(decoded.map(drop), Err(Failure { reason: Reason::Truncated(_), .. })));
        assert!(decode(size, &layout, &[0; 100], &Limits::default()).is_ok());
    }
}

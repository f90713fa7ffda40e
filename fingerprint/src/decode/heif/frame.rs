//! What a video codec makes of a picture: planes of luminance and colour differences of 8 to 16 bits.

/// How luminance and colour differences become colours (ITU-T H.273, 8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Coding {
    /// MatrixCoefficients.
    pub(super) matrix: u16,
    /// VideoFullRangeFlag: black is 0 and white the largest number.
    pub(super) full: bool,
}

impl Coding {
    /// Where nothing is said (ISO/IEC 23000-22, 7.3.6.4).
    pub(super) const USUAL: Coding = Coding { matrix: 6, full: true };

    /// Of a property "colr" of the kind "nclx" (ISO/IEC 23008-12, 6.5.5).
    pub(super) fn of(body: &[u8]) -> Option<Coding> {
        let body = body.strip_prefix(b"nclx")?;
        Some(Coding { matrix: u16::from_be_bytes([*body.get(4)?, *body.get(5)?]), full: body.get(6)? & 0x80 != 0 })
    }
}

/// The samples of a plane, row by row.
pub(super) enum Samples {
    Bytes(Vec<u8>),
    /// Of two bytes each, the lower first.
    Words(Vec<u8>),
    Numbers(Vec<i32>),
}

pub(super) struct Plane {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) samples: Samples,
}

impl Plane {
    /// Row `y` as numbers; short where there is less than that.
    fn row(&self, y: usize, row: &mut Vec<f32>) {
        let (start, end) = (y * self.width, (y + 1) * self.width);
        row.clear();
        match &self.samples {
            Samples::Bytes(bytes) => {
                row.extend(bytes.get(start..end).unwrap_or_default().iter().map(|byte| f32::from(*byte)));
            }
            Samples::Words(bytes) => {
                let words = bytes.get(start * 2..end * 2).unwrap_or_default().chunks_exact(2);
                row.extend(words.map(|word| f32::from(u16::from_le_bytes([word[0], word[1]]))));
            }
            Samples::Numbers(numbers) => {
                row.extend(numbers.get(start..end).unwrap_or_default().iter().map(|number| *number as f32));
            }
        }
    }
}

/// One picture, or one tile of it.
pub(super) struct Frame {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) bit_depth: u8,
    /// Luminance alone, or with two colour differences, each of which may have half as many columns and rows.
    pub(super) planes: Vec<Plane>,
    pub(super) coding: Coding,
}

impl Frame {
    /// Calls `take` with every row of red, green and blue.
    pub(super) fn rows(&self, take: &mut dyn FnMut(u32, &mut [u8])) {
        let Some(luma) = self.planes.first() else { return };
        let colours = self.planes.get(1).zip(self.planes.get(2));
        let steps = f32::from(self.bit_depth.clamp(8, 16) - 8).exp2();
        let most = 256.0 * steps - 1.0;
        let Coding { matrix, full } = self.coding;
        let (black, white, reach) = if full { (0.0, most, most) } else { (16.0 * steps, 219.0 * steps, 224.0 * steps) };
        let (mut y_row, mut b_row, mut r_row, mut rgb) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for row in 0..self.height as usize {
            luma.row(row.min(luma.height.saturating_sub(1)), &mut y_row);
            rgb.clear();
            let Some((blue, red)) = colours else {
                rgb.extend(y_row.iter().flat_map(|y| [to_byte((y - black) / white); 3]));
                take(row as u32, &mut rgb);
                continue;
            };
            let down = usize::from(blue.height < luma.height);
            blue.row((row >> down).min(blue.height.saturating_sub(1)), &mut b_row);
            red.row((row >> down).min(red.height.saturating_sub(1)), &mut r_row);
            let across = usize::from(blue.width < luma.width);
            for (column, y) in y_row.iter().enumerate() {
                let at = column >> across;
                let (Some(b), Some(r)) = (b_row.get(at), r_row.get(at)) else { break };
                let y = (y - black) / white;
                let colour = if matrix == 0 {
                    // Green, blue and red themselves.
                    [(r - black) / white, y, (b - black) / white]
                } else {
                    colour(matrix, y, (b - 128.0 * steps) / reach, (r - 128.0 * steps) / reach)
                };
                rgb.extend(colour.map(to_byte));
            }
            take(row as u32, &mut rgb);
        }
    }
}

/// Red, green and blue, 0 to 1, of luminance and differences around 0 (H.273, 8.3, with the numbers of table 4).
fn colour(matrix: u16, y: f32, b: f32, r: f32) -> [f32; 3] {
    let (red, blue) = match matrix {
        1 => (0.2126, 0.0722),
        4 => (0.30, 0.11),
        7 => (0.212, 0.087),
        8 => return [y - b + r, y + b, y - b - r], // YCgCo
        9..=14 => (0.2627, 0.0593),
        _ => (0.299, 0.114),
    };
    let (r, b) = (y + 2.0 * (1.0 - red) * r, y + 2.0 * (1.0 - blue) * b);
    [r, (y - red * r - blue * b) / (1.0 - red - blue), b]
}

fn to_byte(sample: f32) -> u8 {
    (sample * 255.0 + 0.5).clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rgb(coding: Coding, bit_depth: u8, samples: [i32; 3]) -> Vec<u8> {
        let plane = |sample| Plane { width: 1, height: 1, samples: Samples::Numbers(vec![sample]) };
        let frame = Frame { width: 1, height: 1, bit_depth, planes: samples.map(plane).into(), coding };
        let mut found = Vec::new();
        frame.rows(&mut |_, rgb| found.extend_from_slice(rgb));
        found
    }

    #[test]
    fn every_coding_knows_white_and_black() {
        for matrix in [1, 4, 5, 6, 7, 8, 9] {
            for depth in [8, 10, 12] {
                let at = |eight: i32| eight << (depth - 8);
                let full = Coding { matrix, full: true };
                let video = Coding { matrix, full: false };
                assert_eq!(rgb(full, depth, [(1 << depth) - 1, at(128), at(128)]), [255; 3], "{matrix}, {depth}");
                assert_eq!(rgb(full, depth, [0, at(128), at(128)]), [0; 3]);
                assert_eq!(rgb(video, depth, [at(235), at(128), at(128)]), [255; 3]);
                assert_eq!(rgb(video, depth, [at(16), at(128), at(128)]), [0; 3]);
            }
        }
    }

    #[test]
    fn colours_are_as_in_the_recommendation() {
        // Red by BT.709 and BT.601 in video range (BT.709-6, 3.4; BT.601-7, 2.5.3).
        assert_eq!(rgb(Coding { matrix: 1, full: false }, 8, [63, 102, 240]), [255, 1, 0]);
        assert_eq!(rgb(Coding { matrix: 6, full: false }, 8, [81, 90, 240]), [254, 0, 0]);
        assert_eq!(rgb(Coding { matrix: 0, full: true }, 8, [2, 3, 1]), [1, 2, 3]);
        assert_eq!(Coding::of(b"nclx\0\x01\0\x0d\0\x09\x80"), Some(Coding { matrix: 9, full: true }));
        assert_eq!(Coding::of(b"prof\0\x01\0\x0d\0\x09\x80"), None);
    }
}

//! Averaging a picture down while it is decoded, in any order of rows, runs and tiles.

use super::pixel_digest::Pixels;
use crate::exact::Digest;
use crate::measure::Limits;

/// No side has fewer, unless the picture itself has: what the hash of the whole picture looks at, which
/// scales each side by itself.
const SIDE: u32 = 256;
/// No side has twice as many: a ribbon a pixel high must not cost much memory.
const LONGEST: u32 = 4096;

/// Adds up pixels into cells of `step_x` by `step_y` pixels each.
pub(crate) struct Reducer {
    pixels: Pixels,
    width: u32,
    height: u32,
    step_x: u32,
    step_y: u32,
    across: usize,
    /// Red, green and blue of each cell. A side of 2^32 pixels makes cells of 2^20 pixels at most where the
    /// other side is short, and a picture of 2^32 pixels cells of 2^14: 255 times that fits into 32 bits.
    sums: Vec<u32>,
}

impl Reducer {
    /// For a picture of `width` by `height` pixels, neither of them 0. It keeps at least as many cells as a square of
    /// the side `limits.cells`, unless the picture itself has fewer pixels, and less than four times as many.
    pub(crate) fn new(width: u32, height: u32, limits: &Limits) -> Reducer {
        let cells = limits.cells.max(1);
        let step = (u64::from(width) * u64::from(height)).isqrt() / u64::from(cells);
        let step = u32::try_from(step).unwrap_or(u32::MAX);
        let longest = LONGEST.max(cells.saturating_mul(4));
        let along = |length: u32| step.min(length / SIDE).max(length / longest).max(1);
        let (step_x, step_y) = (along(width), along(height));
        let (across, down) = (width.div_ceil(step_x) as usize, height.div_ceil(step_y) as usize);
        let pixels = Pixels::new(width, height);
        Reducer { pixels, width, height, step_x, step_y, across, sums: vec![0; across * down * 3] }
    }

    /// Adds pixels of row `y` from column `x` on, `stride` columns apart; what lies outside is left out.
    pub(crate) fn add(&mut self, x: u32, y: u32, stride: u32, rgb: &[u8]) {
        if y >= self.height || x >= self.width {
            return;
        }
        let start = (y / self.step_y) as usize * self.across * 3;
        let Some(row) = self.sums.get_mut(start..start + self.across * 3) else { return };
        let fits = ((self.width - x).div_ceil(stride.max(1))) as usize;
        let rgb = &rgb[..rgb.len().min(fits * 3)];
        self.pixels.add(x, y, stride, rgb);
        if stride == 1 && self.step_x == 1 {
            for (sum, &sample) in row[x as usize * 3..].iter_mut().zip(rgb) {
                *sum += u32::from(sample);
            }
        } else if stride == 1 {
            let mut rest = rgb;
            let mut column = x;
            while !rest.is_empty() {
                let cell = column / self.step_x;
                let pixels = (((cell + 1) * self.step_x - column) as usize).min(rest.len() / 3).max(1);
                let (run, tail) = rest.split_at((pixels * 3).min(rest.len()));
                let (mut red, mut green, mut blue) = (0u32, 0u32, 0u32);
                for pixel in run.chunks_exact(3) {
                    red += u32::from(pixel[0]);
                    green += u32::from(pixel[1]);
                    blue += u32::from(pixel[2]);
                }
                let at = cell as usize * 3;
                row[at] += red;
                row[at + 1] += green;
                row[at + 2] += blue;
                column += pixels as u32;
                rest = tail;
            }
        } else {
            for (index, pixel) in rgb.chunks_exact(3).enumerate() {
                let at = ((x as usize + index * stride as usize) / self.step_x as usize) * 3;
                for (sum, &sample) in row[at..].iter_mut().zip(pixel) {
                    *sum += u32::from(sample);
                }
            }
        }
    }

    /// The averages.
    pub(crate) fn finish(self) -> Reduced {
        let down = self.sums.len() / 3 / self.across;
        let mut rgb = Vec::with_capacity(self.sums.len());
        for (index, cell) in self.sums.chunks_exact(3).enumerate() {
            let (column, row) = ((index % self.across) as u32, (index / self.across) as u32);
            let columns = self.step_x.min(self.width - column * self.step_x);
            let rows = self.step_y.min(self.height - row * self.step_y);
            let count = columns * rows;
            rgb.extend(cell.iter().map(|&sum| ((sum + count / 2) / count).min(255) as u8));
        }
        Reduced {
            width: self.across,
            height: down,
            extent: (f64::from(self.width) / f64::from(self.step_x), f64::from(self.height) / f64::from(self.step_y)),
            rgb,
            pixels: self.pixels.finish(),
        }
    }
}

/// A small picture that stands for a large one. The two axes are scaled independently.
#[derive(Clone)]
pub(crate) struct Reduced {
    /// Cells across.
    pub(crate) width: usize,
    /// Cells down.
    pub(crate) height: usize,
    /// How many cells the picture really covers: the last column and row may be partial.
    pub(crate) extent: (f64, f64),
    /// Red, green, blue of each cell, 0 to 255.
    pub(crate) rgb: Vec<u8>,
    /// The digest of what makes the pixels, where it is known.
    pub(crate) pixels: Option<Digest>,
}

impl Reduced {
    /// Luminance of each cell, 0 to 255 (ITU-R BT.601, as in PDQ's reference implementation).
    pub(crate) fn luminance(&self) -> Vec<f32> {
        let luma = |p: &[u8]| 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
        self.rgb.chunks_exact(3).map(luma).collect()
    }

    /// The luminance on a grid of `width` by `height` cells, whatever the shape of the picture.
    pub(crate) fn grid(&self, width: usize, height: usize) -> Vec<f32> {
        scale::<1>(&self.luminance(), (self.width, self.height), self.extent, (width, height))
    }

    /// The picture in `width` by `height` pixels of red, green and blue.
    pub(crate) fn resample(&self, width: u32, height: u32) -> Vec<u8> {
        let samples: Vec<f32> = self.rgb.iter().map(|&sample| f32::from(sample)).collect();
        let target = (width as usize, height as usize);
        let scaled = scale::<3>(&samples, (self.width, self.height), self.extent, target);
        scaled.into_iter().map(|sample| (sample + 0.5).clamp(0.0, 255.0) as u8).collect()
    }
}

/// How much each source cell adds to one target cell: the first source cell and the weights from there on.
struct Weights {
    first: usize,
    weights: Vec<f32>,
}

/// Averages over the area of each target cell; where there are fewer source cells than target cells,
/// interpolates linearly.
fn weights(length: usize, extent: f64, target: usize) -> Vec<Weights> {
    let ratio = extent / target as f64;
    let last = length.saturating_sub(1);
    let cell = |index: usize| {
        if ratio >= 1.0 {
            let (from, to) = (index as f64 * ratio, (index + 1) as f64 * ratio);
            let first = (from as usize).min(last);
            let end = (to.ceil() as usize).clamp(first + 1, length);
            let overlap = |source: usize| (to.min((source + 1) as f64) - from.max(source as f64)).max(0.0);
            let raw: Vec<f64> = (first..end).map(overlap).collect();
            let sum = raw.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            Weights { first, weights: raw.iter().map(|weight| (weight / sum) as f32).collect() }
        } else {
            let centre = ((index as f64 + 0.5) * ratio - 0.5).clamp(0.0, last as f64);
            let first = centre as usize;
            let part = (centre - first as f64) as f32;
            if first == last {
                Weights { first, weights: vec![1.0] }
            } else {
                Weights { first, weights: vec![1.0 - part, part] }
            }
        }
    };
    (0..target).map(cell).collect()
}

/// Scales interleaved `samples`, so many for each cell, of `from` cells, of which `extent` are covered, to `to` cells.
pub(crate) fn scale<const SAMPLES: usize>(
    samples: &[f32],
    from: (usize, usize),
    extent: (f64, f64),
    (width, height): (usize, usize),
) -> Vec<f32> {
    let columns = weights(from.0, extent.0, width);
    let rows = weights(from.1, extent.1, height);
    let mut narrow = vec![0f32; from.1 * width * SAMPLES];
    let lines = narrow.as_chunks_mut::<SAMPLES>().0.chunks_exact_mut(width);
    for (from, to) in samples.as_chunks::<SAMPLES>().0.chunks_exact(from.0).zip(lines) {
        for (to, Weights { first, weights }) in to.iter_mut().zip(&columns) {
            for (cell, weight) in from[*first..].iter().zip(weights) {
                to.iter_mut().zip(cell).for_each(|(sum, sample)| *sum += sample * weight);
            }
        }
    }
    let mut scaled = vec![0f32; height * width * SAMPLES];
    for (to, row) in scaled.chunks_exact_mut(width * SAMPLES).zip(&rows) {
        let from = narrow[row.first * width * SAMPLES..].chunks_exact(width * SAMPLES);
        for (line, weight) in from.zip(&row.weights) {
            for (sum, sample) in to.iter_mut().zip(line) {
                *sum += sample * weight;
            }
        }
    }
    scaled
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ramp from black to white, left to right.
    fn ramp(width: u32, height: u32) -> Reducer {
        let mut reducer = Reducer::new(width, height, &Limits::default());
        let row: Vec<u8> = (0..width).flat_map(|x| [(x * 255 / (width - 1)) as u8; 3]).collect();
        (0..height).for_each(|y| reducer.add(0, y, 1, &row));
        reducer
    }

    #[test]
    fn averages_are_the_same_whether_rows_or_tiles_arrive() {
        let (width, height) = (1501, 1207);
        let pixel = |x: u32, y: u32| [(x % 256) as u8, (y % 256) as u8, ((x * y) % 256) as u8];
        let run = |x: u32, y: u32, n: u32| (x..x + n).flat_map(|x| pixel(x, y)).collect::<Vec<u8>>();
        let mut rows = Reducer::new(width, height, &Limits::default());
        (0..height).for_each(|y| rows.add(0, y, 1, &run(0, y, width)));
        let mut tiles = Reducer::new(width, height, &Limits::default());
        for top in (0..height).step_by(256) {
            for left in (0..width).step_by(256) {
                // Tiles at the edges reach beyond the picture, as TIFF's do.
                (top..top + 256).for_each(|y| tiles.add(left, y, 1, &run(left, y, 256)));
            }
        }
        let mut interlaced = Reducer::new(width, height, &Limits::default());
        for y in 0..height {
            let every_second = |x0: u32| (x0..width).step_by(2).flat_map(|x| pixel(x, y)).collect::<Vec<u8>>();
            interlaced.add(0, y, 2, &every_second(0));
            interlaced.add(1, y, 2, &every_second(1));
        }
        let expected = rows.finish();
        assert_eq!(tiles.finish().rgb, expected.rgb);
        assert_eq!(interlaced.finish().rgb, expected.rgb);
    }

    #[test]
    fn one_picture_in_two_sizes_has_one_grid() {
        let large = ramp(3001, 1999).finish().grid(64, 64);
        let small = ramp(157, 101).finish().grid(64, 64);
        assert!(large.iter().zip(&small).all(|(a, b)| (a - b).abs() < 1.0));
    }

    #[test]
    fn a_single_pixel_is_a_picture() {
        let mut reducer = Reducer::new(1, 1, &Limits::default());
        reducer.add(0, 0, 1, &[10, 20, 30]);
        assert_eq!(reducer.finish().resample(2, 2), [10, 20, 30].repeat(4));
    }

    #[test]
    fn the_brightest_cell_does_not_overflow() {
        let mut reducer = Reducer::new(1, 4_000_000, &Limits::default());
        (0..4_000_000).for_each(|y| reducer.add(0, y, 1, &[255; 3]));
        assert!(reducer.finish().rgb.iter().all(|&sample| sample == 255));
    }
}

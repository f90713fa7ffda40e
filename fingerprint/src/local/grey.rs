//! Grey pictures: brought to one size, scaled, sampled and summed up.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::decode::jpeg::encode_grey;
use crate::decode::{Reduced, scale};

/// Longest side of a picture that is kept, in pixels.
const LONGEST: usize = 8192;
/// Most pixels of it: twice those of the largest one, which has as many as a square of 640.
const LARGEST: usize = 2 * 640 * 640;

/// A grey picture, 0 to 255, row by row. Pixel (x, y) covers the square from (x, y) to (x + 1, y + 1).
#[derive(Clone, Debug)]
pub(crate) struct Grey {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<f32>,
}

impl Grey {
    pub(crate) fn new(width: usize, height: usize, pixels: Vec<f32>) -> Grey {
        debug_assert_eq!(width * height, pixels.len());
        Grey { width, height, pixels }
    }

    /// The luminance of a picture of `size` pixels, in square pixels again and as many of them as a square of
    /// `side` has; never enlarged.
    pub(crate) fn of(reduced: &Reduced, size: (u32, u32), side: f64) -> Grey {
        let (width, height) = fit((f64::from(size.0), f64::from(size.1)), side);
        Grey::new(width, height, reduced.grid(width, height))
    }

    /// As many pixels as a square of `side` has, in the same shape; never enlarged.
    pub(crate) fn fitted(&self, side: f64) -> Grey {
        let (width, height) = fit((self.width as f64, self.height as f64), side);
        self.scaled(width, height)
    }

    /// Averaged over areas where it shrinks, interpolated linearly where it grows.
    pub(crate) fn scaled(&self, width: usize, height: usize) -> Grey {
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let from = (self.width, self.height);
        let extent = (self.width as f64, self.height as f64);
        Grey::new(width, height, scale::<1>(&self.pixels, from, extent, (width, height)))
    }

    /// Mirrored left to right.
    pub(crate) fn mirrored(&self) -> Grey {
        let pixels = self.pixels.chunks_exact(self.width).flat_map(|row| row.iter().rev().copied()).collect();
        Grey::new(self.width, self.height, pixels)
    }

    /// A grey JPEG of at most `limit` bytes, as good as that allows; an error only from the encoder.
    pub(crate) fn to_jpeg(&self, limit: usize) -> Result<Vec<u8>, String> {
        let pixels: Vec<u8> = self.pixels.iter().map(|level| (level + 0.5).clamp(0.0, 255.0) as u8).collect();
        let mut jpeg = Vec::new();
        for quality in [85, 75, 60, 45, 30, 15, 5] {
            jpeg = encode_grey(&pixels, self.width, self.height, quality)?;
            if jpeg.len() <= limit {
                break;
            }
        }
        Ok(jpeg)
    }

    /// Reads what [`Grey::to_jpeg`] has written, by a decoder that is safe against anything; none for what it has not.
    pub(crate) fn from_jpeg(bytes: &[u8]) -> Option<Grey> {
        let options = DecoderOptions::default()
            .jpeg_set_out_colorspace(ColorSpace::Luma)
            .set_max_width(LONGEST)
            .set_max_height(LONGEST);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
        // What it says comes from the process that is trusted in nothing: a few bytes may promise much.
        decoder.decode_headers().ok()?;
        let (width, height) = decoder.dimensions().filter(|(width, height)| width * height <= LARGEST)?;
        let pixels = decoder.decode().ok()?;
        let sound = width > 0 && height > 0 && pixels.len() == width * height;
        sound.then(|| Grey::new(width, height, pixels.into_iter().map(f32::from).collect()))
    }

    /// The level at a point, interpolated; none outside.
    pub(crate) fn at(&self, x: f32, y: f32) -> Option<f32> {
        let (x, y) = (x - 0.5, y - 0.5);
        if !(x >= 0.0 && y >= 0.0 && x < (self.width - 1) as f32 && y < (self.height - 1) as f32) {
            return None;
        }
        let (left, top) = (x as usize, y as usize);
        let (right, below) = (x - left as f32, y - top as f32);
        let row = &self.pixels[top * self.width + left..];
        let (a, b, c, d) = (row[0], row[1], row[self.width], row[self.width + 1]);
        let upper = a + (b - a) * right;
        let lower = c + (d - c) * right;
        Some(upper + (lower - upper) * below)
    }

    /// The mean of the square of `2 * radius + 1` pixels around each pixel, as far as it lies inside.
    pub(crate) fn blurred(&self, radius: usize) -> Grey {
        let (width, height) = (self.width, self.height);
        let count = |at: usize, length: usize| {
            let (first, last) = window(at, length, radius);
            (last - first) as f32
        };
        // Loop by loop over one row: but for the running sum, each is one that the compiler does many pixels at a time.
        let counts: Vec<f32> = (0..width).map(|x| count(x, width)).collect();
        let mut rows = vec![0f32; self.pixels.len()];
        let mut changes = vec![0f32; width];
        for (row, smooth) in self.pixels.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
            changes.fill(0.0);
            changes.iter_mut().zip(row.iter().skip(radius)).for_each(|(change, enters)| *change = *enters);
            changes.iter_mut().skip(radius + 1).zip(row).for_each(|(change, leaves)| *change -= leaves);
            let mut sum: f32 = row.iter().take(radius).sum();
            for (smooth, change) in smooth.iter_mut().zip(&changes) {
                sum += change;
                *smooth = sum;
            }
            smooth.iter_mut().zip(&counts).for_each(|(smooth, count)| *smooth /= count);
        }
        let nothing = vec![0f32; width];
        let row = |y: Option<usize>| y.and_then(|y| rows.get(y * width..(y + 1) * width)).unwrap_or(&nothing);
        let mut sums = vec![0f32; width];
        (0..radius).for_each(|y| sums.iter_mut().zip(row(Some(y))).for_each(|(sum, level)| *sum += level));
        let mut both = vec![0f32; self.pixels.len()];
        for (y, both) in both.chunks_exact_mut(width).enumerate() {
            let share = 1.0 / count(y, height);
            let changes = row(Some(y + radius)).iter().zip(row(y.checked_sub(radius + 1)));
            for ((both, sum), (enters, leaves)) in both.iter_mut().zip(&mut sums).zip(changes) {
                *sum = *sum + enters - leaves;
                *both = *sum * share;
            }
        }
        Grey::new(width, height, both)
    }

    /// Sums for [`Integral::mean`], of levels rounded to integers.
    pub(crate) fn integral(&self) -> Integral {
        let across = self.width + 1;
        let mut sums = vec![0u32; across * (self.height + 1)];
        for (y, row) in self.pixels.chunks_exact(self.width).enumerate() {
            let (above, here) = sums[y * across..(y + 2) * across].split_at_mut(across);
            let mut sum = 0;
            for (x, level) in row.iter().enumerate() {
                sum += level.round().clamp(0.0, 255.0) as u32;
                here[x + 1] = above[x + 1] + sum;
            }
        }
        Integral { width: self.width as i32, height: self.height as i32, sums }
    }
}

/// As many pixels as a square of `side` has, none enlarged, at least one.
fn fit(size: (f64, f64), side: f64) -> (usize, usize) {
    let shrink = (side / (size.0 * size.1).sqrt()).min(1.0);
    let length = |length: f64| ((length * shrink).round() as usize).max(1);
    (length(size.0), length(size.1))
}

/// What lies within `radius` of `at` on a line, and the end behind it.
fn window(at: usize, length: usize, radius: usize) -> (usize, usize) {
    (at.saturating_sub(radius), (at + radius + 1).min(length))
}

/// The sum of all pixels above and left of each corner between pixels.
pub(crate) struct Integral {
    width: i32,
    height: i32,
    sums: Vec<u32>,
}

impl Integral {
    /// The mean of the square of `2 * radius + 1` pixels around (x, y), as far as it lies inside; of the
    /// nearest pixels where nothing of it does.
    #[inline]
    pub(crate) fn mean(&self, (x, y): (i32, i32), radius: i32) -> f32 {
        let left = (x - radius).clamp(0, self.width - 1);
        let top = (y - radius).clamp(0, self.height - 1);
        let right = (x + radius + 1).clamp(left + 1, self.width);
        let bottom = (y + radius + 1).clamp(top + 1, self.height);
        let corner = |x: i32, y: i32| self.sums[(y * (self.width + 1) + x) as usize];
        let sum = corner(right, bottom) + corner(left, top) - corner(right, top) - corner(left, bottom);
        sum as f32 / ((right - left) * (bottom - top)) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blurring_is_the_mean_of_what_lies_around() {
        for (width, height) in [(40, 23), (9, 31), (3, 2), (1, 1)] {
            let levels = (0..width * height).map(|at| (at * at % 251) as f32);
            let picture = Grey::new(width, height, levels.collect());
            for radius in [1, 2, 8] {
                let blurred = picture.blurred(radius);
                for (at, level) in blurred.pixels.iter().enumerate() {
                    let around = |at: usize, length: usize| at.saturating_sub(radius)..(at + radius + 1).min(length);
                    let (columns, rows) = (around(at % width, width), around(at / width, height));
                    let count = (columns.len() * rows.len()) as f32;
                    let there = rows.flat_map(|y| columns.clone().map(move |x| y * width + x));
                    let mean = there.map(|at| picture.pixels[at]).sum::<f32>() / count;
                    assert!((level - mean).abs() < 0.01, "{level}, not {mean}, at {at} of {width} x {height}");
                }
            }
        }
    }

    #[test]
    fn a_few_bytes_that_promise_much_are_no_picture() {
        let mut jpeg = Grey::new(64, 48, vec![128.0; 64 * 48]).to_jpeg(1 << 20).unwrap();
        assert!(Grey::from_jpeg(&jpeg).is_some());
        // Height and width follow the length and the depth of the frame header (ITU-T T.81, B.2.2).
        let at = jpeg.windows(2).position(|marker| marker == b"\xff\xc0").unwrap() + 5;
        jpeg[at..at + 4].copy_from_slice(&[0x20, 0, 0x20, 0]);
        assert!(Grey::from_jpeg(&jpeg).is_none());
    }
}

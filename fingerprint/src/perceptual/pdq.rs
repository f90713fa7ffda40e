//! PDQ, the perceptual hash of 256 bits: "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing
//! Algorithm", Meta, 2019, <https://github.com/facebook/ThreatExchange/tree/main/pdq>. A tent filter brings
//! the luminance to 64 x 64, a cosine transform keeps the frequencies 1 to 16 of each axis, and each bit
//! says whether one of them lies above their median. Written after the paper; tested against the hashes of
//! the reference implementation.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Orientation;

/// The picture is brought to this many cells a side.
const SIDE: usize = 64;
/// Frequencies kept on each axis.
const KEPT: usize = 16;
/// Two passes of a box filter make the tent.
const PASSES: usize = 2;

/// 256 bits; the one with all bits clear stands for "none" and is never the hash of a picture, because
/// half of the frequencies lie above their median unless nearly all are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash(pub(crate) [u64; 4]);

impl Hash {
    pub(crate) const NONE: Hash = Hash([0; 4]);

    /// Bits that differ, 0 to 256.
    #[cfg(test)]
    pub(super) fn distance(&self, other: &Hash) -> u32 {
        self.0.iter().zip(&other.0).map(|(a, b)| (a ^ b).count_ones()).sum()
    }

    /// Bit 0 is the lowest bit of the last byte, as in PDQ's hexadecimal form.
    pub(crate) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.0.iter().rev()) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Hash {
        let mut words = [0; 4];
        for (word, chunk) in words.iter_mut().rev().zip(bytes.chunks_exact(8)) {
            *word = chunk.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
        }
        Hash(words)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        super::base64::serialize(&self.to_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let bytes = super::base64::deserialize(deserializer)?;
        let length = bytes.len();
        let wrong = |_| serde::de::Error::custom(format!("a hash has 32 bytes, not {length}"));
        bytes.try_into().map(|bytes| Hash::from_bytes(&bytes)).map_err(wrong)
    }
}

/// The frequencies 1 to 16 of both axes, row by row.
#[derive(Clone)]
pub(super) struct Spectrum([f32; KEPT * KEPT]);

impl Spectrum {
    /// Of a picture of `width` by `height` cells.
    pub(super) fn of(luminance: &[f32], width: usize, height: usize) -> Spectrum {
        Spectrum(transform(&shrink(luminance, width, height)))
    }

    /// The spectrum of the picture turned or mirrored: turning swaps the axes, and mirroring an axis
    /// changes the sign of its odd frequencies.
    pub(super) fn oriented(&self, orientation: Orientation) -> Spectrum {
        let mut turned = [0f32; KEPT * KEPT];
        for (index, value) in turned.iter_mut().enumerate() {
            let (row, column) = (index / KEPT, index % KEPT);
            let from = if orientation.transpose { column * KEPT + row } else { index };
            // The frequency of index 0 is 1.
            let odd = (orientation.mirror_x && column % 2 == 0) != (orientation.mirror_y && row % 2 == 0);
            *value = if odd { -self.0[from] } else { self.0[from] };
        }
        Spectrum(turned)
    }

    pub(super) fn hash(&self) -> Hash {
        let mut sorted = self.0;
        sorted.sort_unstable_by(f32::total_cmp);
        let median = sorted[sorted.len() / 2 - 1];
        let mut words = [0u64; 4];
        for (index, _) in self.0.iter().enumerate().filter(|(_, value)| **value > median) {
            words[index / 64] |= 1 << (index % 64);
        }
        Hash(words)
    }
}

/// Tent filter and decimation to 64 x 64.
fn shrink(luminance: &[f32], width: usize, height: usize) -> Vec<f32> {
    let mut cells = luminance.to_vec();
    if (width, height) != (SIDE, SIDE) {
        for _ in 0..PASSES {
            cells = smooth_rows(&cells, width, window(width));
            cells = smooth_columns(&cells, width, height, window(height));
        }
    }
    let centre = |index: usize, length: usize| (2 * index + 1) * length / (2 * SIDE);
    (0..SIDE * SIDE).map(|i| cells[centre(i / SIDE, height) * width + centre(i % SIDE, width)]).collect()
}

/// Half a target cell, because there are two passes; rounded up.
fn window(length: usize) -> usize {
    length.div_ceil(2 * SIDE)
}

/// Cells before and after the centre that a window of `window` cells reaches.
fn reach(window: usize) -> (usize, usize) {
    let after = window / 2;
    (window - 1 - after, after)
}

fn smooth_rows(cells: &[f32], width: usize, window: usize) -> Vec<f32> {
    let (before, after) = reach(window);
    let mut smoothed = Vec::with_capacity(cells.len());
    for row in cells.chunks_exact(width) {
        let mut sum: f32 = row.iter().take(after).sum();
        for x in 0..width {
            sum += row.get(x + after).unwrap_or(&0.0);
            if x > before {
                sum -= row[x - before - 1];
            }
            let count = (x + after).min(width - 1) + 1 - x.saturating_sub(before);
            smoothed.push(sum / count as f32);
        }
    }
    smoothed
}

fn smooth_columns(cells: &[f32], width: usize, height: usize, window: usize) -> Vec<f32> {
    let (before, after) = reach(window);
    let row = |y: usize| &cells[y * width..(y + 1) * width];
    let mut sums = vec![0f32; width];
    let mut smoothed = Vec::with_capacity(cells.len());
    for y in 0..after.min(height) {
        sums.iter_mut().zip(row(y)).for_each(|(sum, cell)| *sum += cell);
    }
    for y in 0..height {
        if y + after < height {
            sums.iter_mut().zip(row(y + after)).for_each(|(sum, cell)| *sum += cell);
        }
        if y > before {
            sums.iter_mut().zip(row(y - before - 1)).for_each(|(sum, cell)| *sum -= cell);
        }
        let count = (y + after).min(height - 1) + 1 - y.saturating_sub(before);
        smoothed.extend(sums.iter().map(|sum| sum / count as f32));
    }
    smoothed
}

/// D A D', with the rows 1 to 16 of the orthonormal cosine transform as D.
fn transform(cells: &[f32]) -> [f32; KEPT * KEPT] {
    let factor = (2.0 / SIDE as f64).sqrt();
    let step = std::f64::consts::PI / (2 * SIDE) as f64;
    let cosine = |frequency: usize, x: usize| (factor * (step * (frequency * (2 * x + 1)) as f64).cos()) as f32;
    let basis: Vec<f32> = (0..KEPT * SIDE).map(|i| cosine(i / SIDE + 1, i % SIDE)).collect();
    let mut half = [0f32; KEPT * SIDE];
    for (waves, sums) in basis.chunks_exact(SIDE).zip(half.chunks_exact_mut(SIDE)) {
        for (wave, row) in waves.iter().zip(cells.chunks_exact(SIDE)) {
            sums.iter_mut().zip(row).for_each(|(sum, cell)| *sum += wave * cell);
        }
    }
    let mut spectrum = [0f32; KEPT * KEPT];
    for (row, out) in half.chunks_exact(SIDE).zip(spectrum.chunks_exact_mut(KEPT)) {
        for (waves, sum) in basis.chunks_exact(SIDE).zip(out) {
            *sum = row.iter().zip(waves).map(|(cell, wave)| cell * wave).sum();
        }
    }
    spectrum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture drawn by integer arithmetic, so that any program can draw the same one.
    fn luminance(width: usize, height: usize) -> Vec<f32> {
        let cell = |index: usize| {
            let (x, y) = (index % width, index / width);
            let red = (x * x / 50 + y * 3 + x * y / 97) % 256;
            let green = (x * 2 + y * y / 40) % 256;
            let blue = (x / 23 + y / 31) % 2 * 180 + 30;
            0.299 * red as f32 + 0.587 * green as f32 + 0.114 * blue as f32
        };
        (0..width * height).map(cell).collect()
    }

    fn parse(hex: &str) -> Hash {
        let byte = |index: usize| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap();
        Hash::from_bytes(&std::array::from_fn(byte))
    }

    /// Made from the same pictures by Meta's C++ implementation (its Python binding `pdqhash` 0.2.8).
    const REFERENCE: [(usize, usize, &str); 4] = [
        (300, 200, "7eb0e48fc1f0cb0f9e5a1ea53c8e2db0c9e58f2f305fe3d87610e2f046b0e2a0"),
        (517, 389, "ff2aff0aaa7faa7f82ffaefffff8a18035803d803d803d003d003f003f003f00"),
        (64, 64, "4aa895f36b5cd4a2295d96a36d48ba95456a92d76929d7546bad94d26d256b28"),
        (640, 480, "29ff2bffabfffbfffb800200d600b600fe80f602fc80f482f408bc82fc2af482"),
    ];

    #[test]
    fn hashes_are_those_of_the_reference_implementation() {
        for (width, height, reference) in REFERENCE {
            let hash = Spectrum::of(&luminance(width, height), width, height).hash();
            // Sums in another order may move a frequency that lies on the median.
            let distance = hash.distance(&parse(reference));
            assert!(distance <= 2, "{width}x{height}: {distance} bits from the reference");
        }
    }

    #[test]
    fn turning_the_spectrum_is_turning_the_picture() {
        let (width, height) = (300, 200);
        let spectrum = Spectrum::of(&luminance(width, height), width, height);
        // The reference's hashes for quarter turn, half turn and the mirrored picture.
        let turned = [
            (true, false, true, "38d50f60c33c71d517c030b59c5fce2f6797d44ba58756c15a70a91f5a60a91f"),
            (false, true, true, "7be5ce2594a561a5cb0fb40fe9db875abeb025a5650a49723f45485a73e5680a"),
            (false, true, false, "236531da94a59e5ac30f4bf0699a78a59cb0da5a650ab68d2345b7a503e597f5"),
        ];
        for (transpose, mirror_x, mirror_y, reference) in turned {
            let orientation = Orientation { transpose, mirror_x, mirror_y };
            let distance = spectrum.oriented(orientation).hash().distance(&parse(reference));
            assert!(distance <= 2, "{orientation:?}: {distance} bits from the reference");
        }
    }

    #[test]
    fn a_hash_survives_its_bytes() {
        let hash = parse(REFERENCE[0].2);
        assert_eq!(Hash::from_bytes(&hash.to_bytes()), hash);
        assert_eq!(hash.distance(&Hash::NONE), hash.0.iter().map(|word| word.count_ones()).sum::<u32>());
    }
}

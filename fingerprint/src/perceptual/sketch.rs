//! The small picture that a fingerprint carries, and the comparison of two by their pixels.
//!
//! A hash of 256 bits cannot tell two pages of one manuscript apart, nor two scrolls on the same paper.
//! Their pixels can: slow changes of brightness are taken away, and what is left (strokes, edges, seals) is
//! correlated block by block. Blocks count by how much is on them in either picture, so that writing that
//! only one of the two has speaks against them, and empty paper says nothing.

use serde::{Deserialize, Serialize};

use super::Orientation;
use crate::decode::Reduced;

/// Cells a side.
pub(crate) const SIDE: usize = 128;
/// Cells a side of a block.
const BLOCK: usize = 16;
/// Structure wider than twice this many cells is taken away.
const RADIUS: usize = 8;
/// A block has something on it if its cells spread by this many grey levels (of 255).
const DETAIL: f32 = 1.5;
/// So many blocks must have something on them.
const BLOCKS: usize = 3;
/// Two blocks agree above this correlation.
const AGREES: f32 = 0.7;

/// Two pictures are one from this share of agreeing blocks and this correlation on. Measured on 33 pictures,
/// 36 changes each: down to 300 pixels 0.89 and 0.94 at least; between different pictures, pages of one
/// manuscript among them, 0.62 and 0.78 at most, and 0.44 and 0.62 but for one manuscript.
const SHARE: f32 = 0.75;
const CORRELATION: f32 = 0.8;

/// A picture in 128 x 128 cells of luminance, whatever its shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sketch {
    /// Grey levels (of 255) between the darkest and the brightest cell.
    range: f32,
    /// Row by row; 0 is the darkest cell, 255 the brightest.
    #[serde(with = "super::base64")]
    cells: Vec<u8>,
}

impl Sketch {
    pub(super) fn of(reduced: &Reduced) -> Sketch {
        let grid = reduced.grid(SIDE, SIDE);
        let (low, high) = grid.iter().fold((f32::MAX, f32::MIN), |(low, high), &g| (low.min(g), high.max(g)));
        let range = (high - low).max(1.0);
        let cells = grid.iter().map(|level| ((level - low) / range * 255.0 + 0.5) as u8).collect();
        Sketch { range, cells }
    }

    /// As it is stored: the range, then the cells.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.range.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.cells);
        bytes
    }

    /// None if that is no sketch.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Sketch> {
        let (range, cells) = bytes.split_first_chunk::<4>()?;
        let range = f32::from_le_bytes(*range);
        (cells.len() == SIDE * SIDE && range.is_finite()).then(|| Sketch { range, cells: cells.to_vec() })
    }

    /// What is on it, turned or mirrored.
    pub(crate) fn detail(&self, orientation: Orientation) -> Detail {
        let level = |x: usize, y: usize| {
            let (x, y) = orientation.origin(x, y, SIDE);
            f32::from(self.cells.get(y * SIDE + x).copied().unwrap_or(0)) * self.range / 255.0
        };
        let mut cells: Vec<f32> = (0..SIDE * SIDE).map(|index| level(index % SIDE, index / SIDE)).collect();
        let smooth = blur(&blur(&cells));
        cells.iter_mut().zip(&smooth).for_each(|(cell, smooth)| *cell -= smooth);
        Detail { cells }
    }
}

/// Averages along each row and transposes, so that twice is both axes.
fn blur(cells: &[f32]) -> Vec<f32> {
    let mut blurred = vec![0f32; cells.len()];
    for (y, row) in cells.chunks_exact(SIDE).enumerate() {
        let mut sum: f32 = row.iter().take(RADIUS).sum();
        for x in 0..SIDE {
            sum += row.get(x + RADIUS).unwrap_or(&0.0);
            if x > RADIUS {
                sum -= row[x - RADIUS - 1];
            }
            let count = (x + RADIUS).min(SIDE - 1) + 1 - x.saturating_sub(RADIUS);
            blurred[x * SIDE + y] = sum / count as f32;
        }
    }
    blurred
}

/// A sketch without its slow changes of brightness.
pub(crate) struct Detail {
    cells: Vec<f32>,
}

/// How far two pictures are the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Agreement {
    /// Share of the blocks that agree, each counted by what is on it, 0 to 1.
    pub(crate) share: f32,
    /// Correlation of all that is on them, -1 to 1.
    pub(crate) correlation: f32,
    /// Blocks that have something on them.
    pub(crate) blocks: usize,
}

impl Detail {
    /// Sums over one block: of both, of their squares, of their product.
    fn block(&self, other: &Detail, bx: usize, by: usize) -> (f32, f32, f32) {
        let mut sums = [0f32; 5];
        for y in by * BLOCK..(by + 1) * BLOCK {
            let row = y * SIDE + bx * BLOCK..y * SIDE + (bx + 1) * BLOCK;
            for (a, b) in self.cells[row.clone()].iter().zip(&other.cells[row]) {
                for (sum, value) in sums.iter_mut().zip([*a, *b, a * a, b * b, a * b]) {
                    *sum += value;
                }
            }
        }
        let count = (BLOCK * BLOCK) as f32;
        let [a, b, aa, bb, ab] = sums.map(|sum| sum / count);
        ((aa - a * a).max(0.0), (bb - b * b).max(0.0), ab - a * b)
    }

    /// Whether enough is on it that it could be told from another.
    pub(crate) fn is_recognisable(&self) -> bool {
        let blocks = SIDE / BLOCK;
        let detailed = |index: &usize| self.block(self, index % blocks, index / blocks).0.sqrt() >= DETAIL;
        (0..blocks * blocks).filter(detailed).count() >= BLOCKS
    }

    /// Compares two of the same orientation.
    pub(crate) fn agreement(&self, other: &Detail) -> Agreement {
        let blocks = SIDE / BLOCK;
        let (mut weight, mut agreed, mut detailed) = (0f32, 0f32, 0);
        let (mut aa, mut bb, mut ab) = (0f32, 0f32, 0f32);
        for index in 0..blocks * blocks {
            let (a, b, product) = self.block(other, index % blocks, index / blocks);
            let spread = a.max(b).sqrt();
            if spread < DETAIL {
                continue;
            }
            detailed += 1;
            weight += spread;
            if product >= AGREES * (a * b).sqrt() && product > 0.0 {
                agreed += spread;
            }
            aa += a;
            bb += b;
            ab += product;
        }
        if weight == 0.0 {
            return Agreement { share: 0.0, correlation: 0.0, blocks: 0 };
        }
        let correlation = ab / (aa * bb).sqrt().max(f32::MIN_POSITIVE);
        Agreement { share: agreed / weight, correlation, blocks: detailed }
    }
}

impl Agreement {
    /// Whether the two pictures are one, and how certainly (0 to 1); none if they are not.
    pub(crate) fn score(self) -> Option<f64> {
        let same = self.blocks >= BLOCKS && self.share >= SHARE && self.correlation >= CORRELATION;
        same.then(|| f64::from(self.share.min(self.correlation).clamp(0.0, 1.0)))
    }
}

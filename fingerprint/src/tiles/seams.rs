//! Whether pictures that lie side by side go on in each other: what tells tiles from a series.

use std::collections::HashMap;

use crate::decode::{Reduced, scale};

/// Levels that are kept of an edge.
const SAMPLES: usize = 32;
/// Mean variance of the edges (in squared grey levels) below which they say nothing: paper, borders, night.
const FLAT: f64 = 25.0;
/// What is left of the variance where one goes on in the other, at most. Measured: 0.01 to 0.04 of the tiles of a
/// painting and of a page, above 1 of series; 0.6 of tiles that overlap by 8 pixels, which this does not tell.
const GOES_ON: f64 = 0.35;
/// The same of one tile alone: less is known of it.
const FITS: f64 = 0.6;

/// What the edges of a picture look like.
#[derive(Clone, Debug)]
pub(super) struct Edges {
    /// Left, right, upper, lower; grey levels.
    sides: [[u8; SAMPLES]; 4],
    /// There is nothing to be seen on the picture.
    is_flat: bool,
}

impl Edges {
    pub(super) fn of(reduced: &Reduced) -> Edges {
        let grey = reduced.luminance();
        let (width, height) = (reduced.width, reduced.height);
        let column = |x: usize| grey.iter().skip(x).step_by(width).copied().collect::<Vec<f32>>();
        let row = |y: usize| grey.iter().skip(y * width).take(width).copied().collect::<Vec<f32>>();
        let side = |levels: Vec<f32>| -> [u8; SAMPLES] {
            let length = levels.len();
            let scaled = scale::<1>(&levels, (length, 1), (length as f64, 1.0), (SAMPLES, 1));
            std::array::from_fn(|at| scaled.get(at).map_or(0, |level| (level + 0.5).clamp(0.0, 255.0) as u8))
        };
        let count = grey.len().max(1) as f64;
        let mean = grey.iter().map(|level| f64::from(*level)).sum::<f64>() / count;
        let variance = grey.iter().map(|level| (f64::from(*level) - mean).powi(2)).sum::<f64>() / count;
        let sides = [column(0), column(width - 1), row(0), row(height - 1)].map(side);
        Edges { sides, is_flat: variance < FLAT }
    }
}

/// What is summed up along seams: squared differences across them, and variance along them.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    across: f64,
    along: f64,
    samples: f64,
}

impl Sum {
    fn add(&mut self, one: &[u8; SAMPLES], other: &[u8; SAMPLES]) {
        // Around the mean of each edge: frames and grounds of one level are what many pictures share.
        let mean = |edge: &[u8; SAMPLES]| edge.iter().map(|level| f64::from(*level)).sum::<f64>() / SAMPLES as f64;
        let (here, there) = (mean(one), mean(other));
        for (a, b) in one.iter().zip(other) {
            let (a, b) = (f64::from(*a), f64::from(*b));
            self.across += (a - b).powi(2);
            self.along += (a - here).powi(2) + (b - there).powi(2);
            self.samples += 2.0;
        }
    }

    /// What is left of the variance; none where the edges say nothing.
    fn left(&self) -> Option<f64> {
        (self.samples > 0.0 && self.along / self.samples >= FLAT).then(|| self.across / self.along)
    }
}

/// What the seams of an arrangement say.
#[derive(Clone, Debug)]
pub(super) struct Seams {
    /// What is left of the variance across all seams, 0 to about 1; none where the edges say nothing.
    pub(super) left: Option<f64>,
    /// Of each tile whether it fits its neighbours, or shows nothing; none where it has no neighbours.
    pub(super) fits: Vec<Option<bool>>,
}

impl Seams {
    /// Of tiles that lie in these cells, column and row; no two of them in one.
    pub(super) fn of(tiles: &[&Edges], cells: &[(u32, u32)]) -> Seams {
        let at: HashMap<(u32, u32), usize> = cells.iter().enumerate().map(|(index, cell)| (*cell, index)).collect();
        let mut all = Sum::default();
        let mut each = vec![Sum::default(); tiles.len()];
        for (index, (column, row)) in cells.iter().enumerate() {
            for (cell, here, there) in [((column + 1, *row), 1, 0), ((*column, row + 1), 3, 2)] {
                let Some(&next) = at.get(&cell) else { continue };
                let (one, other) = (&tiles[index].sides[here], &tiles[next].sides[there]);
                all.add(one, other);
                each[index].add(one, other);
                each[next].add(one, other);
            }
        }
        let fits = |(sum, tile): (&Sum, &&Edges)| match sum.samples > 0.0 {
            true => Some(tile.is_flat || sum.left().is_some_and(|left| left <= FITS)),
            false => tile.is_flat.then_some(true),
        };
        let fits = each.iter().zip(tiles).map(fits);
        Seams { left: all.left(), fits: fits.collect() }
    }

    /// Whether this is one picture that was cut.
    pub(super) fn go_on(&self) -> bool {
        self.left.is_some_and(|left| left <= GOES_ON)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part of a landscape of slopes.
    fn part(left: usize, top: usize, seed: usize) -> Edges {
        let (width, height) = (64, 64);
        let wave = |x: f64, y: f64| 128.0 + 60.0 * (x / 9.0 + 2.0 * (y / 11.0).sin() + seed as f64 * 1.7).sin();
        let level = |x: usize, y: usize| wave(x as f64, y as f64);
        let pixels = (0..width * height).map(|at| level(left + at % width, top + at / width) as u8);
        let rgb = pixels.flat_map(|level| [level; 3]).collect();
        Edges::of(&Reduced { width, height, extent: (64.0, 64.0), rgb, pixels: None })
    }

    fn seams(parts: &[Edges]) -> Seams {
        let cells: Vec<(u32, u32)> = (0..parts.len() as u32).map(|at| (at % 3, at / 3)).collect();
        Seams::of(&parts.iter().collect::<Vec<_>>(), &cells)
    }

    #[test]
    fn what_was_cut_goes_on_and_a_series_does_not() {
        let mut cut: Vec<Edges> = (0..9).map(|at| part(at % 3 * 64, at / 3 * 64, 0)).collect();
        assert!(seams(&cut).go_on());
        assert_eq!(seams(&cut).fits, [Some(true); 9]);
        let series: Vec<Edges> = (0..9).map(|at| part(at * at * 1237, at * at * 971, at)).collect();
        assert!(!seams(&series).go_on());
        // One that is something else does not fit, and hides among the others from nobody.
        cut[0] = part(999, 777, 5);
        assert_eq!(seams(&cut).fits[0], Some(false), "{:?}", seams(&cut));
    }

    #[test]
    fn blank_edges_say_nothing() {
        let blank = Reduced { width: 9, height: 9, extent: (9.0, 9.0), rgb: vec![250; 243], pixels: None };
        let blank = seams(&vec![Edges::of(&blank); 6]);
        assert!(!blank.go_on() && blank.left.is_none());
        assert_eq!(seams(&[part(0, 0, 0)]).fits, [None]);
    }
}

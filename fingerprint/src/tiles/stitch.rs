//! One small picture from many tiles. Each was reduced when it was read, so that a gigapixel costs as little memory
//! as a snapshot.

use std::collections::HashMap;

use super::place::Arrangement;
use crate::decode::{Reduced, scale};

/// The stitched picture has about as many pixels as a square of this side, or fewer.
const CANVAS: f64 = 1000.0;
/// No side has fewer, unless the tiles have: what the hash of the whole picture looks at.
const LEAST: f64 = 256.0;

/// A tile that is to be stitched.
pub(super) struct Piece<'a> {
    /// Column and row.
    pub(super) cell: (u32, u32),
    /// Width and height in pixels, as it was read.
    pub(super) size: (u32, u32),
    pub(super) reduced: &'a Reduced,
}

/// How the tiles of a set divide one axis, in pixels.
struct Axis {
    count: u32,
    /// From one tile to the next.
    pitch: u32,
    /// By how much each tile reaches over its neighbours.
    overlap: u32,
    /// Of the last one, without what overlaps.
    last: u32,
    /// Pixels of the stitched picture for each pitch.
    cells: u32,
}

impl Axis {
    /// From index and length of every tile. The first one of a Deep Zoom overlaps on one side, the others on two.
    fn of(count: u32, tiles: &[(u32, u32)]) -> Axis {
        let common = |keep: &dyn Fn(u32) -> bool| {
            let mut counts: HashMap<u32, u32> = HashMap::new();
            for (_, length) in tiles.iter().filter(|(index, _)| keep(*index)) {
                *counts.entry(*length).or_default() += 1;
            }
            counts.into_iter().max_by_key(|(length, count)| (*count, *length)).map(|(length, _)| length)
        };
        let first = common(&|index| index == 0 && count > 1);
        let inner = common(&|index| index > 0 && index + 1 < count);
        let last = common(&|index| index + 1 == count).unwrap_or(1).max(1);
        let overlap = match (first, inner) {
            // More than half of it would be no overlap but a first tile of another size.
            (Some(first), Some(inner)) if first < inner && (inner - first) * 3 < inner => inner - first,
            _ => 0,
        };
        let pitch = match inner {
            Some(inner) => inner - 2 * overlap,
            None => first.unwrap_or(last),
        };
        let last = if count > 1 { last.saturating_sub(overlap).max(1) } else { last };
        Axis { count, pitch: pitch.max(1), overlap, last, cells: 1 }
    }

    /// Of the whole picture.
    fn length(&self) -> u64 {
        u64::from(self.count - 1) * u64::from(self.pitch) + u64::from(self.last)
    }

    /// With so many pixels of the stitched picture for each of the whole one, at least, and none enlarged.
    fn scaled(mut self, shrink: f64) -> Axis {
        let shrink = shrink.max(LEAST / self.length() as f64).min(1.0);
        self.cells = ((f64::from(self.pitch) * shrink).round() as u32).clamp(1, self.pitch);
        self
    }

    /// How many pixels of the stitched picture the last tile covers.
    fn rest(&self) -> f64 {
        f64::from(self.last) * f64::from(self.cells) / f64::from(self.pitch)
    }

    /// Where a tile begins in the stitched picture, how many pixels it has there and how many of them it covers.
    fn place(&self, index: u32) -> (usize, usize, f64) {
        let covered = if index + 1 == self.count { self.rest() } else { f64::from(self.cells) };
        ((index * self.cells) as usize, (covered.ceil() as usize).max(1), covered)
    }

    /// Which cells of a reduced tile of `length` pixels are its own, from where and how many.
    fn own(&self, index: u32, length: u32, cells: usize) -> (usize, usize) {
        let part = |pixels: u32| (f64::from(pixels) * cells as f64 / f64::from(length.max(1))).round() as usize;
        let before = if index > 0 { part(self.overlap) } else { 0 };
        let behind = if index + 1 < self.count { part(self.overlap) } else { 0 };
        if before + behind < cells { (before, cells - before - behind) } else { (0, cells) }
    }
}

/// Lays the tiles side by side: width and height in pixels, as far as 32 bits tell them, and what it looks like. Where
/// a tile is missing it is grey.
pub(super) fn stitch(arrangement: &Arrangement, pieces: &[Piece<'_>]) -> Option<((u32, u32), Reduced)> {
    let along = |part: fn(&(u32, u32)) -> u32| -> Vec<(u32, u32)> {
        pieces.iter().map(|piece| (part(&piece.cell), part(&piece.size))).collect()
    };
    let across = Axis::of(arrangement.columns.max(1), &along(|pair| pair.0));
    let down = Axis::of(arrangement.rows.max(1), &along(|pair| pair.1));
    let size = (u32::try_from(across.length()).ok()?, u32::try_from(down.length()).ok()?);
    let shrink = CANVAS / (f64::from(size.0) * f64::from(size.1)).sqrt();
    let (across, down) = (across.scaled(shrink), down.scaled(shrink));
    let end = |axis: &Axis| {
        let (start, cells, covered) = axis.place(axis.count - 1);
        (start + cells, start as f64 + covered)
    };
    let ((width, covered_x), (height, covered_y)) = (end(&across), end(&down));
    let mut rgb = vec![128u8; width * height * 3];
    for piece in pieces {
        let (left, columns, covered_columns) = across.place(piece.cell.0);
        let (top, rows, covered_rows) = down.place(piece.cell.1);
        let Reduced { width: from_width, height: from_height, rgb: from, .. } = piece.reduced;
        let (x, own_width) = across.own(piece.cell.0, piece.size.0, *from_width);
        let (y, own_height) = down.own(piece.cell.1, piece.size.1, *from_height);
        let rows_of = from.chunks_exact(from_width * 3).skip(y).take(own_height);
        let samples: Vec<f32> =
            rows_of.flat_map(|row| &row[x * 3..(x + own_width) * 3]).map(|sample| f32::from(*sample)).collect();
        // What lies behind the edge in the last cell of all is not covered by anything.
        let extent =
            (own_width as f64 * columns as f64 / covered_columns, own_height as f64 * rows as f64 / covered_rows);
        let scaled = scale::<3>(&samples, (own_width, own_height), extent, (columns, rows));
        for (row, line) in scaled.chunks_exact(columns * 3).enumerate() {
            let start = ((top + row) * width + left) * 3;
            let Some(to) = rgb.get_mut(start..start + columns * 3) else { continue };
            to.iter_mut().zip(line).for_each(|(to, level)| *to = (level + 0.5).clamp(0.0, 255.0) as u8);
        }
    }
    Some((size, Reduced { width, height, extent: (covered_x, covered_y), rgb, pixels: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(width: usize, height: usize, level: u8) -> Reduced {
        let extent = (width as f64, height as f64);
        Reduced { width, height, extent, rgb: vec![level; width * height * 3], pixels: None }
    }

    #[test]
    fn tiles_that_overlap_count_once() {
        // Three by two tiles of 254 that overlap by one pixel: 600 by 300 pixels.
        let (widths, heights) = ([255, 256, 93], [255, 47]);
        let cells: Vec<(u32, u32)> = (0..6).map(|index| (index % 3, index / 3)).collect();
        let tiles: Vec<Reduced> = cells
            .iter()
            .map(|(column, row)| tile(widths[*column as usize], heights[*row as usize], (column * 50 + row * 20) as u8))
            .collect();
        let arrangement = Arrangement { cells: cells.iter().copied().enumerate().collect(), columns: 3, rows: 2 };
        let piece =
            |(cell, reduced): (&(u32, u32), &'_ Reduced)| (*cell, (reduced.width as u32, reduced.height as u32));
        let pieces: Vec<Piece<'_>> = cells
            .iter()
            .zip(&tiles)
            .map(|(cell, reduced)| {
                let (cell, size) = piece((cell, reduced));
                Piece { cell, size, reduced }
            })
            .collect();
        let ((width, _), stitched) = stitch(&arrangement, &pieces).unwrap();
        assert_eq!((width, stitched.width), (600, 600));
        let level = |x: usize, y: usize| stitched.rgb[(y * stitched.width + x) * 3];
        assert_eq!((level(253, 5), level(254, 5), level(508, 5), level(599, 290)), (0, 50, 100, 120));
    }

    #[test]
    fn a_gigapixel_is_small_and_what_is_missing_is_grey() {
        let reduced = tile(8, 8, 200);
        let cells: Vec<(u32, u32)> = (0..128 * 128).map(|index| (index % 128, index / 128)).skip(1).collect();
        let pieces: Vec<Piece<'_>> =
            cells.iter().map(|cell| Piece { cell: *cell, size: (256, 256), reduced: &reduced }).collect();
        let arrangement = Arrangement { cells: cells.iter().copied().enumerate().collect(), columns: 128, rows: 128 };
        let (size, stitched) = stitch(&arrangement, &pieces).unwrap();
        assert_eq!(size, (32_768, 32_768));
        assert!(stitched.width * stitched.height <= 1_200_000, "{} by {}", stitched.width, stitched.height);
        assert_eq!((stitched.rgb[0], stitched.rgb[stitched.rgb.len() - 1]), (128, 200));
    }
}

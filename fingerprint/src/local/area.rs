//! Parts of a picture's area that add up, however they overlap and in whatever order they come.
//!
//! A raster, and not the union of polygons: its size and its cost are the same after a million odd slivers, which
//! somebody may well make on purpose, while a polygon grows with every one of them and needs clipping that
//! survives corners which nearly meet. Where a tile lies is found to a part of a percent: the cells of a raster round
//! that away, so that neighbours meet, while polygons leave slivers between them and never add up to the whole.
//! What it costs is fineness: an edge counts to half a cell, 0.4 % of a side.

/// Cells of a side.
const SIDE: usize = 128;
/// Cells in all.
const CELLS: u32 = (SIDE * SIDE) as u32;

/// A part of the area of a picture, in 128 by 128 cells.
#[derive(Clone, PartialEq, Eq)]
pub struct Area {
    /// One row a number, its leftmost cell the lowest bit.
    rows: Box<[u128; SIDE]>,
}

impl Area {
    /// Bytes of [`Area::to_bytes`].
    pub const BYTES: usize = SIDE * SIDE / 8;

    /// Nothing of it.
    #[must_use]
    pub fn none() -> Area {
        Area { rows: Box::new([0; SIDE]) }
    }

    /// All of it.
    #[must_use]
    pub fn whole() -> Area {
        Area { rows: Box::new([u128::MAX; SIDE]) }
    }

    /// The cells whose centres lie in a polygon, given by its corners in the unit square (what sticks out counts
    /// nothing). A place that is not known may be any: without three corners that are numbers it is all of the area.
    ///
    /// Polygons that share an edge share no cell, and leave none between them. What is too thin to hold the centre of
    /// a cell has the cells that it passes through, so that nothing counts nothing.
    #[must_use]
    pub fn of(corners: &[(f64, f64)]) -> Area {
        let is_number = |corner: &(f64, f64)| corner.0.is_finite() && corner.1.is_finite();
        if corners.len() < 3 || !corners.iter().all(is_number) {
            return Area::whole();
        }
        let mut area = Area::none();
        area.fill(corners, |area, row, column| area.rows[row] |= column);
        if area == Area::none() {
            // Lower than a row.
            let turned: Vec<_> = corners.iter().map(|corner| (corner.1, corner.0)).collect();
            area.fill(&turned, |area, column, rows| {
                let cells = area.rows.iter_mut().enumerate().filter(|(row, _)| rows >> row & 1 == 1);
                cells.for_each(|(_, cells)| *cells |= 1 << column);
            });
        }
        if area == Area::none() {
            // Smaller than a cell.
            let sum = corners.iter().fold((0.0, 0.0), |sum, corner| (sum.0 + corner.0, sum.1 + corner.1));
            let [x, y] = [sum.0, sum.1].map(|sum| sum / corners.len() as f64);
            if [x, y].iter().all(|at| (0.0..=1.0).contains(at)) {
                let [column, row] = [x, y].map(|at| ((at * SIDE as f64) as usize).min(SIDE - 1));
                area.rows[row] |= 1 << column;
            }
        }
        area
    }

    /// Fills a polygon row by row, by the even-odd rule. `set` gets the row and the cells of it.
    fn fill(&mut self, corners: &[(f64, f64)], set: impl Fn(&mut Area, usize, u128)) {
        let cells = |length: f64| length.clamp(0.0, 1.0) * SIDE as f64;
        for row in 0..SIDE {
            let middle = (row as f64 + 0.5) / SIDE as f64;
            let after = corners.iter().cycle().skip(1);
            let crossing = |(from, to): (&(f64, f64), &(f64, f64))| {
                // An edge has its upper end and not its lower one, so that a corner is crossed once.
                let crosses = (from.1 <= middle) != (to.1 <= middle);
                crosses.then(|| from.0 + (to.0 - from.0) * ((middle - from.1) / (to.1 - from.1)))
            };
            let mut crossings: Vec<f64> = corners.iter().zip(after).filter_map(crossing).collect();
            crossings.sort_by(f64::total_cmp);
            for pair in crossings.as_chunks::<2>().0 {
                let [start, end] = pair.map(cells);
                let [first, last] = [start, end].map(|edge| (edge - 0.5).ceil().max(0.0) as usize);
                let (first, last) = match first < last {
                    true => (first, last.min(SIDE)),
                    // Outside, or narrower than a cell.
                    false if end <= 0.0 || start >= SIDE as f64 => continue,
                    false => {
                        let column = (((start + end) / 2.0) as usize).min(SIDE - 1);
                        (column, column + 1)
                    }
                };
                let count = (last - first) as u32;
                set(self, row, u128::MAX.checked_shr(128 - count).unwrap_or(0) << first);
            }
        }
    }

    /// Adds another part of the same picture; what is in both counts once.
    pub fn add(&mut self, other: &Area) {
        self.rows.iter_mut().zip(other.rows.iter()).for_each(|(mine, others)| *mine |= others);
    }

    /// Which share of the whole it is, 0.0 to 1.0.
    #[must_use]
    pub fn share(&self) -> f64 {
        let cells: u32 = self.rows.iter().map(|row| row.count_ones()).sum();
        f64::from(cells) / f64::from(CELLS)
    }

    /// One bit a cell, row after row, the lowest bit of each byte first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.rows.iter().flat_map(|row| row.to_le_bytes()).collect()
    }

    /// What [`Area::to_bytes`] has made; none of bytes of another length.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Area> {
        let (rows, rest) = bytes.as_chunks::<{ SIDE / 8 }>();
        let rows: Box<[u128]> = rows.iter().map(|row| u128::from_le_bytes(*row)).collect();
        rest.is_empty().then_some(rows)?.try_into().ok().map(|rows| Area { rows })
    }
}

impl std::fmt::Debug for Area {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Area({:.2} %)", self.share() * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rectangle(left: f64, top: f64, right: f64, bottom: f64) -> [(f64, f64); 4] {
        [(left, top), (right, top), (right, bottom), (left, bottom)]
    }

    /// The sixteenths of a picture, each out of its place by so much.
    fn tiles(out: f64) -> Vec<Area> {
        let numbers = (0..16).map(|number| (f64::from(number % 4) / 4.0, f64::from(number / 4) / 4.0, number));
        let tile = |(x, y, number)| {
            let (dx, dy) = if number % 3 == 0 { (out, -out) } else { (-out, out) };
            Area::of(&rectangle(x + dx, y + dy, x + 0.25 + dx, y + 0.25 - dy))
        };
        numbers.map(tile).collect()
    }

    fn sum<'a>(parts: impl IntoIterator<Item = &'a Area>) -> f64 {
        let mut sum = Area::none();
        parts.into_iter().for_each(|part| sum.add(part));
        sum.share()
    }

    #[test]
    fn sixteen_tiles_are_the_whole_and_one_sent_again_is_one() {
        let tiles = tiles(0.0);
        assert!((sum(&tiles) - 1.0).abs() < f64::EPSILON, "{}", sum(&tiles));
        assert!((sum(&tiles[..4]) - 0.25).abs() < f64::EPSILON);
        assert!((sum(std::iter::repeat_n(&tiles[5], 16)) - 1.0 / 16.0).abs() < f64::EPSILON);
    }

    #[test]
    fn what_alignment_cannot_tell_is_rounded_away() {
        assert!((sum(&tiles(0.003)) - 1.0).abs() < 0.01, "{}", sum(&tiles(0.003)));
        assert!((sum(&tiles(0.003)[..4]) - 0.25).abs() < 0.01);
    }

    #[test]
    fn a_turned_square_has_its_area() {
        let diamond = Area::of(&[(0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5)]);
        assert!((diamond.share() - 0.5).abs() < 0.01, "{}", diamond.share());
        // Either way round.
        assert_eq!(diamond, Area::of(&[(0.0, 0.5), (0.5, 1.0), (1.0, 0.5), (0.5, 0.0)]));
    }

    #[test]
    fn neighbours_along_a_slope_share_no_cell_and_leave_none() {
        let (above, below) =
            (Area::of(&[(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]), Area::of(&[(1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]));
        assert!((sum([&above, &below]) - 1.0).abs() < f64::EPSILON);
        assert!((above.share() + below.share() - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_hundred_strips_add_up_though_each_is_thinner_than_a_cell() {
        let upright: Vec<_> = (0..300).map(|at| f64::from(at) / 300.0).collect();
        let strips = |strip: fn(f64) -> [(f64, f64); 4]| upright.iter().map(|at| Area::of(&strip(*at))).collect();
        let columns: Vec<Area> = strips(|at| rectangle(at, 0.0, at + 1.0 / 300.0, 1.0));
        let rows: Vec<Area> = strips(|at| rectangle(0.0, at, 1.0, at + 1.0 / 300.0));
        for strips in [columns, rows] {
            assert!(strips.iter().all(|strip| strip.share() > 0.0));
            assert!((sum(&strips) - 1.0).abs() < f64::EPSILON);
        }
        assert!(Area::of(&rectangle(0.501, 0.501, 0.5011, 0.5011)).share() > 0.0, "not even a crumb is free");
    }

    #[test]
    fn what_is_no_place_may_be_any() {
        for nowhere in [vec![], vec![(0.1, 0.1), (0.2, 0.2)], vec![(0.0, 0.0), (f64::NAN, 0.0), (1.0, 1.0)]] {
            assert_eq!(Area::of(&nowhere), Area::whole());
        }
        let outside = Area::of(&rectangle(-9e300, -1.0, 9e300, 0.5));
        assert!((outside.share() - 0.5).abs() < 0.01, "{outside:?}");
        assert_eq!(Area::of(&rectangle(2.0, 2.0, 3.0, 3.0)), Area::none());
        assert_eq!(Area::of(&rectangle(-2.0, 0.0, -1.0, 1.0)), Area::none());
    }

    #[test]
    fn bytes_come_back_as_they_went() {
        let part = Area::of(&[(0.1, 0.2), (0.9, 0.3), (0.4, 0.8)]);
        assert_eq!(part.to_bytes().len(), Area::BYTES);
        assert_eq!(Area::from_bytes(&part.to_bytes()), Some(part));
        assert_eq!(Area::from_bytes(&[0; 2047]), None);
        assert_eq!(Area::from_bytes(&[0; 2064]), None);
    }
}

//! Where the tiles of a set lie, by their names and sizes: every arrangement that is possible.

use std::collections::HashSet;

use super::name::Place;

/// Most arrangements that are tried of one set.
const TRIED: usize = 64;
/// Most cells of a set, and how many of them may be empty for each tile.
const CELLS: u64 = 1 << 18;
const EMPTY: u64 = 32;
/// Most columns, and most rows.
const SIDE: u32 = 1 << 14;

/// A tile as far as it says where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) place: Place,
    /// Width and height in pixels.
    pub(super) size: (u32, u32),
}

/// One way in which tiles may lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrangement {
    /// Which tiles, by their number, and in which column and row, from 0; no two in one cell.
    pub(super) cells: Vec<(usize, (u32, u32))>,
    pub(super) columns: u32,
    pub(super) rows: u32,
}

impl Arrangement {
    /// Leaves out what comes second into a cell. None if there would be more cells than tiles can account for.
    fn new(cells: impl Iterator<Item = (usize, (u32, u32))>) -> Option<Arrangement> {
        let mut taken = HashSet::new();
        let mut cells: Vec<(usize, (u32, u32))> = cells.filter(|(_, cell)| taken.insert(*cell)).collect();
        let first = cells
            .iter()
            .fold((u32::MAX, u32::MAX), |first, (_, (column, row))| (first.0.min(*column), first.1.min(*row)));
        let (mut columns, mut rows) = (0, 0);
        for (_, (column, row)) in &mut cells {
            *column -= first.0;
            *row -= first.1;
            columns = columns.max(column.saturating_add(1));
            rows = rows.max(row.saturating_add(1));
        }
        let area = u64::from(columns) * u64::from(rows);
        let is_bounded = columns <= SIDE && rows <= SIDE && area <= CELLS && area <= EMPTY * cells.len() as u64;
        is_bounded.then_some(Arrangement { cells, columns, rows })
    }
}

/// All ways in which these tiles may lie, at most 64.
pub(super) fn arrangements(tiles: &[Placed]) -> Vec<Arrangement> {
    let arranged = |cell: &dyn Fn(Place) -> Option<(u32, u32)>| {
        let cells = tiles.iter().enumerate().filter_map(|(index, tile)| Some((index, cell(tile.place)?)));
        Arrangement::new(cells)
    };
    match tiles.first().map(|tile| tile.place) {
        None => Vec::new(),
        Some(Place::Cell { .. }) => Vec::from_iter(arranged(&|place| match place {
            Place::Cell { column, row } => Some((column, row)),
            _ => None,
        })),
        Some(Place::Region { .. }) => {
            let widths = tiles.iter().filter_map(|tile| match tile.place {
                Place::Region { width, .. } => Some(width),
                _ => None,
            });
            let pitch = widths.max().unwrap_or(1).max(1);
            Vec::from_iter(arranged(&|place| match place {
                Place::Region { x, y, .. } => Some((x / pitch, y / pitch)),
                _ => None,
            }))
        }
        Some(Place::Pair(..)) => {
            let pairs = tiles.iter().map(|tile| match tile.place {
                Place::Pair(first, second) => (first, second),
                _ => (0, 0),
            });
            let (first, second): (Vec<u32>, Vec<u32>) = pairs.unzip();
            let (first, second) = (Steps::of(&first), Steps::of(&second));
            let by_row = arranged(&|place| match place {
                Place::Pair(row, column) => Some((second.rank(column), first.rank(row))),
                _ => None,
            });
            let by_column = arranged(&|place| match place {
                Place::Pair(column, row) => Some((first.rank(column), second.rank(row))),
                _ => None,
            });
            by_row.into_iter().chain(by_column).collect()
        }
        Some(Place::Number(_)) => numbered(tiles),
    }
}

/// Numbers that may be pixels: they are counted in steps of their greatest common divisor.
struct Steps {
    first: u32,
    step: u32,
}

impl Steps {
    fn of(numbers: &[u32]) -> Steps {
        let first = numbers.iter().copied().min().unwrap_or(0);
        let step = numbers.iter().fold(0, |step, number| divisor(step, number - first));
        Steps { first, step: step.max(1) }
    }

    fn rank(&self, number: u32) -> u32 {
        number.saturating_sub(self.first) / self.step
    }
}

fn divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Tiles that are numbered row by row, or column by column. Where the last column is narrower, or the last row lower,
/// that says how many there are; else it is a divisor of their number.
fn numbered(tiles: &[Placed]) -> Vec<Arrangement> {
    let number = |tile: &Placed| match tile.place {
        Place::Number(number) => number,
        _ => 0,
    };
    let numbers: Vec<u32> = tiles.iter().map(number).collect();
    let first = numbers.iter().copied().min().unwrap_or(0);
    let count = numbers.iter().map(|number| number - first).max().unwrap_or(0).saturating_add(1);
    let mut found = Vec::new();
    for by_row in [true, false] {
        // Along a line that is full the last one may be shorter.
        let length = |tile: &Placed| if by_row { tile.size.0 } else { tile.size.1 };
        let longest = tiles.iter().map(length).max().unwrap_or(0);
        let short = tiles.iter().filter(|tile| length(tile) < longest).map(|tile| number(tile) - first);
        let ends = short.fold(0, |ends, index| divisor(ends, index.saturating_add(1)));
        let lines: Vec<u32> = match ends {
            0 => {
                let root = count.isqrt();
                let divisors = (1..=root).filter(|line| count.is_multiple_of(*line));
                divisors.flat_map(|line| [line, count / line]).collect()
            }
            // A gap may make them seem to be fewer lines than there are.
            line => vec![line],
        };
        for line in lines.into_iter().filter(|line| *line > 0).take(TRIED / 2) {
            let cell = |index: u32| if by_row { (index % line, index / line) } else { (index / line, index % line) };
            found.extend(Arrangement::new(numbers.iter().map(|number| cell(number - first)).enumerate()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiles(count: u32, place: impl Fn(u32) -> Place, size: impl Fn(u32) -> (u32, u32)) -> Vec<Placed> {
        (0..count).map(|index| Placed { place: place(index), size: size(index) }).collect()
    }

    fn shapes(tiles: &[Placed]) -> Vec<(u32, u32)> {
        arrangements(tiles).iter().map(|found| (found.columns, found.rows)).collect()
    }

    #[test]
    fn a_narrow_last_column_says_how_many_there_are() {
        let size = |index| (if index % 7 == 6 { 100 } else { 256 }, 256);
        assert_eq!(shapes(&tiles(35, Place::Number, size))[0], (7, 5));
    }

    #[test]
    fn equal_tiles_may_lie_in_a_few_ways() {
        let found = shapes(&tiles(12, |index| Place::Number(index + 1), |_| (256, 256)));
        assert!(found.contains(&(4, 3)) && found.contains(&(3, 4)) && found.len() <= TRIED, "{found:?}");
        assert!(shapes(&tiles(5040, Place::Number, |_| (256, 256))).len() <= TRIED);
    }

    #[test]
    fn pairs_may_be_pixels_and_either_way_round() {
        let place = |index: u32| Place::Pair(index / 4 * 256, index % 4 * 256);
        assert_eq!(shapes(&tiles(12, place, |_| (256, 256))), [(4, 3), (3, 4)]);
    }

    #[test]
    fn hostile_numbers_make_no_huge_sets() {
        let far = |index: u32| Place::Cell { column: index * 99_999_999, row: index * 88_888_888 };
        assert_eq!(shapes(&tiles(9, far, |_| (256, 256))), []);
        let far = |index: u32| Place::Number(if index == 8 { 999_999_999 } else { index });
        let found = shapes(&tiles(9, far, |_| (256, 256)));
        assert!(found.iter().all(|(columns, rows)| columns * rows <= 9 * EMPTY as u32), "{found:?}");
        assert_eq!(shapes(&tiles(9, |_| Place::Cell { column: 3, row: 4 }, |_| (1, 1))), [(1, 1)]);
        assert_eq!(shapes(&[]), []);
    }

    #[test]
    fn what_is_missing_leaves_its_cell_empty() {
        let mut some = tiles(16, |index| Place::Cell { column: index % 4, row: index / 4 }, |_| (256, 256));
        some.remove(5);
        let found = arrangements(&some);
        assert_eq!((found[0].columns, found[0].rows, found[0].cells.len()), (4, 4, 15));
    }
}

//! The digest of all pixels of a picture, whether they come by rows, by strips or by tiles.

use std::collections::BTreeMap;

use crate::exact::Digest;

/// Most rows that are begun and not complete: the height of a row of tiles.
const OPEN: usize = 8192;

/// Digests each row, and then the digests of all rows in their order.
pub(super) struct Pixels {
    width: u32,
    height: u32,
    /// How many rows are complete, from the top.
    complete: u32,
    hasher: blake3::Hasher,
    /// How far each row has come that is not complete, or comes before one above it.
    open: BTreeMap<u32, (u32, blake3::Hasher)>,
    /// Pixels came in another order: nothing can be said.
    lost: bool,
}

impl Pixels {
    pub(super) fn new(width: u32, height: u32) -> Pixels {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&width.to_le_bytes()).update(&height.to_le_bytes());
        Pixels { width, height, complete: 0, hasher, open: BTreeMap::new(), lost: false }
    }

    /// Adds a run of red, green and blue in row `y` from column `x` on.
    pub(super) fn add(&mut self, x: u32, y: u32, stride: u32, rgb: &[u8]) {
        if self.lost {
            return;
        }
        let count = (rgb.len() / 3) as u32;
        if y == self.complete && x == 0 && stride == 1 && count == self.width {
            self.hasher.update(blake3::hash(rgb).as_bytes());
            self.complete += 1;
        } else {
            let (next, hasher) = self.open.entry(y).or_insert_with(|| (0, blake3::Hasher::new()));
            if stride != 1 || *next != x || y < self.complete {
                self.lost = true;
                self.open = BTreeMap::new();
                return;
            }
            hasher.update(rgb);
            *next += count;
        }
        while let Some(row) = self.open.first_entry()
            && *row.key() == self.complete
            && row.get().0 == self.width
        {
            self.hasher.update(row.remove().1.finalize().as_bytes());
            self.complete += 1;
        }
        self.lost |= self.open.len() > OPEN;
    }

    /// The digest, if every pixel came once and in a known order.
    pub(super) fn finish(self) -> Option<Digest> {
        let whole = !self.lost && self.complete == self.height;
        whole.then(|| (*self.hasher.finalize().as_bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(x: u32, y: u32, count: u32) -> Vec<u8> {
        (x..x + count).flat_map(|x| [x as u8, y as u8, (x * y) as u8]).collect()
    }

    #[test]
    fn rows_and_tiles_have_one_digest() {
        let mut rows = Pixels::new(100, 70);
        (0..70).for_each(|y| rows.add(0, y, 1, &run(0, y, 100)));
        let mut tiles = Pixels::new(100, 70);
        for top in (0..70).step_by(32) {
            for left in (0..100).step_by(32) {
                (top..(top + 32).min(70)).for_each(|y| tiles.add(left, y, 1, &run(left, y, 32.min(100 - left))));
            }
        }
        let digest = rows.finish();
        assert!(digest.is_some());
        assert_eq!(tiles.finish(), digest);
    }

    #[test]
    fn what_is_missing_or_mixed_has_none() {
        let mut part = Pixels::new(10, 10);
        (0..9).for_each(|y| part.add(0, y, 1, &run(0, y, 10)));
        assert_eq!(part.finish(), None);
        let mut interlaced = Pixels::new(10, 1);
        interlaced.add(0, 0, 2, &run(0, 0, 5));
        interlaced.add(1, 0, 2, &run(0, 0, 5));
        assert_eq!(interlaced.finish(), None);
    }
}

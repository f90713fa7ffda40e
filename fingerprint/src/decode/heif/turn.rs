//! How a picture is turned and mirrored before it is shown.

use crate::decode::Reducer;

/// Rows become columns, then columns or rows are reversed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    swap: bool,
    reverse_x: bool,
    reverse_y: bool,
}

impl Turn {
    /// And then as a property says: "irot" by quarters against the clock, "imir" with its top or its left side first
    /// (ISO/IEC 23008-12, 6.5.10 and 6.5.12).
    pub(super) fn then(self, kind: &[u8; 4], body: &[u8]) -> Turn {
        let Turn { swap, reverse_x, reverse_y } = self;
        match (kind, body) {
            (b"irot", [angle, ..]) => {
                let quarter =
                    |turn: Turn, _| Turn { swap: !turn.swap, reverse_x: turn.reverse_y, reverse_y: !turn.reverse_x };
                (0..angle & 3).fold(self, quarter)
            }
            (b"imir", [mode, ..]) if mode & 1 == 0 => Turn { swap, reverse_x, reverse_y: !reverse_y },
            (b"imir", [_, ..]) => Turn { swap, reverse_x: !reverse_x, reverse_y },
            _ => self,
        }
    }

    /// Width and height of what is shown, of a picture that is stored so wide and high.
    pub(super) fn shown(self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.swap { (height, width) } else { (width, height) }
    }

    /// Adds a run of pixels of the stored row `y`, from its column `x` on, to the picture that is shown, which is as
    /// wide and high as `shown` says. The run lies within it.
    pub(super) fn add(self, reducer: &mut Reducer, shown: (u32, u32), (x, y): (u32, u32), rgb: &mut [u8]) {
        let count = (rgb.len() / 3) as u32;
        let reverse = |reversed: bool, at: u32, length: u32, whole: u32| {
            if reversed { whole.saturating_sub(at.saturating_add(length)) } else { at }
        };
        if !self.swap {
            if self.reverse_x {
                rgb.reverse();
                rgb.chunks_exact_mut(3).for_each(<[u8]>::reverse);
            }
            let (left, top) = (reverse(self.reverse_x, x, count, shown.0), reverse(self.reverse_y, y, 1, shown.1));
            reducer.add(left, top, 1, rgb);
            return;
        }
        let column = reverse(self.reverse_x, y, 1, shown.0);
        for (row, pixel) in (x..).zip(rgb.chunks_exact(3)) {
            reducer.add(column, reverse(self.reverse_y, row, 1, shown.1), 1, pixel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The picture `abc / def`, shown.
    fn shown(properties: &[(&[u8; 4], u8)]) -> Vec<String> {
        let turn = properties.iter().fold(Turn::default(), |turn, (kind, value)| turn.then(kind, &[*value]));
        let (width, height) = turn.shown((3, 2));
        let mut reducer = Reducer::new(width, height, &crate::Limits::default());
        for (y, row) in (0u32..).zip([b"abc", b"def"]) {
            let mut rgb: Vec<u8> = row.iter().flat_map(|pixel| [*pixel; 3]).collect();
            turn.add(&mut reducer, (width, height), (0, y), &mut rgb);
        }
        let pixels: Vec<u8> = reducer.finish().rgb.chunks(3).map(|pixel| pixel[0]).collect();
        pixels.chunks(width as usize).map(|row| String::from_utf8_lossy(row).into_owned()).collect()
    }

    #[test]
    fn turns_follow_each_other() {
        assert_eq!(shown(&[]), ["abc", "def"]);
        assert_eq!(shown(&[(b"irot", 1)]), ["cf", "be", "ad"]);
        assert_eq!(shown(&[(b"irot", 2)]), ["fed", "cba"]);
        assert_eq!(shown(&[(b"irot", 3)]), ["da", "eb", "fc"]);
        assert_eq!(shown(&[(b"imir", 0)]), ["def", "abc"]);
        assert_eq!(shown(&[(b"imir", 1)]), ["cba", "fed"]);
        assert_eq!(shown(&[(b"irot", 1), (b"imir", 1)]), ["fc", "eb", "da"]);
        assert_eq!(shown(&[(b"imir", 1), (b"irot", 1)]), ["ad", "be", "cf"]);
    }
}

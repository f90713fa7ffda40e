//! The eight ways in which a picture can be turned and mirrored by quarter turns.

/// First transposed (rows become columns), then mirrored left to right, then top to bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orientation {
    pub(crate) transpose: bool,
    pub(crate) mirror_x: bool,
    pub(crate) mirror_y: bool,
}

impl Orientation {
    /// As it lies.
    pub(crate) const UPRIGHT: Orientation = Orientation { transpose: false, mirror_x: false, mirror_y: false };

    /// All eight, upright first.
    pub(crate) const ALL: [Orientation; 8] = {
        let mut all = [Orientation::UPRIGHT; 8];
        let mut index = 0;
        while index < 8 {
            all[index] = Orientation { transpose: index & 1 != 0, mirror_x: index & 2 != 0, mirror_y: index & 4 != 0 };
            index += 1;
        }
        all
    };

    /// Where cell (`x`, `y`) of the oriented square grid of `side` cells comes from.
    pub(crate) fn origin(self, x: usize, y: usize, side: usize) -> (usize, usize) {
        let x = if self.mirror_x { side - 1 - x } else { x };
        let y = if self.mirror_y { side - 1 - y } else { y };
        if self.transpose { (y, x) } else { (x, y) }
    }
}

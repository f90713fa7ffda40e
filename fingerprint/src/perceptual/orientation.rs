//! The eight ways in which a picture can be turned and mirrored by quarter turns.

use crate::local::Transform;

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

    /// From the unit square of the picture as it lies to that of the oriented one.
    pub(crate) fn transform(self) -> Transform {
        let (flip_x, flip_y) = (f64::from(u8::from(self.mirror_x)), f64::from(u8::from(self.mirror_y)));
        let (x, y) = (1.0 - 2.0 * flip_x, 1.0 - 2.0 * flip_y);
        if self.transpose {
            Transform([0.0, x, flip_x, y, 0.0, flip_y, 0.0, 0.0, 1.0])
        } else {
            Transform([x, 0.0, flip_x, 0.0, y, flip_y, 0.0, 0.0, 1.0])
        }
    }

    /// Whether the oriented picture is a mirror image.
    pub(crate) fn is_mirrored(self) -> bool {
        self.transpose ^ self.mirror_x ^ self.mirror_y
    }
}

//! The local features of one picture: corners on a pyramid, each with the descriptor of what lies around it.

use super::corners::{corners, direction};
use super::grey::Grey;
use super::teblid::{Descriptor, PATCH, describe};

/// Each level of the pyramid is smaller than the last by this factor a side.
pub(super) const STEP: f32 = 1.3;
/// Levels at most: the last one is smaller by 1.3^9, a factor of 10.6.
const LEVELS: u8 = 10;
/// Features of a query, and of a master: the first of a query's.
pub(crate) const QUERY: usize = 1200;
pub(crate) const MASTER: usize = 640;
/// A level has a share of a master's features that falls with this power of its length.
const FINER: f32 = 1.2;
/// Levels with a shorter side are left out.
const SHORTEST: f32 = 40.0;
/// The side of a described patch, in pixels of its level.
const SIZE: f32 = PATCH * 1.15;

/// One feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Feature {
    /// Where it lies, from 0 to 65535 over the width of the picture.
    pub(crate) x: u16,
    /// Where it lies, from 0 to 65535 over the height of the picture.
    pub(crate) y: u16,
    /// The level of the pyramid that it was found on.
    pub(crate) level: u8,
    /// Its direction, 256 to a turn.
    pub(crate) angle: u8,
    /// What lies around it.
    pub(crate) descriptor: Descriptor,
}

impl Feature {
    /// Bytes of one feature as it is stored.
    pub(crate) const BYTES: usize = 38;

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.x.to_le_bytes());
        bytes.extend_from_slice(&self.y.to_le_bytes());
        bytes.extend_from_slice(&[self.level, self.angle]);
        self.descriptor.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    }

    pub(crate) fn read(bytes: &[u8; Feature::BYTES]) -> Feature {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]));
        Feature {
            x: u16::from_le_bytes([bytes[0], bytes[1]]),
            y: u16::from_le_bytes([bytes[2], bytes[3]]),
            level: bytes[4].min(LEVELS - 1),
            angle: bytes[5],
            descriptor: std::array::from_fn(|index| word(6 + 8 * index)),
        }
    }

    /// The same feature where the picture is mirrored left to right and it looks like `descriptor`.
    pub(crate) fn mirrored(&self, descriptor: Descriptor) -> Feature {
        Feature { x: u16::MAX - self.x, angle: 128u8.wrapping_sub(self.angle), descriptor, ..*self }
    }
}

/// Features of a picture, and what each looks like in a mirror. The first [`MASTER`] are those that an index
/// keeps, spread over the levels by their area's root, so that parts of a picture and small copies both find
/// enough of them; the rest are spread evenly, because a query may show a master at any scale.
pub(crate) fn features(picture: &Grey) -> (Vec<Feature>, Vec<Descriptor>) {
    let shorter = picture.width.min(picture.height) as f32;
    let levels = (0..LEVELS).take_while(|&level| level == 0 || shorter / STEP.powi(i32::from(level)) >= SHORTEST);
    let shares: Vec<f32> = levels.map(|level| STEP.powi(-i32::from(level))).collect();
    let whole: f32 = shares.iter().map(|share| share.powf(FINER)).sum();
    let even = (QUERY - MASTER) / shares.len();
    let (mut kept, mut rest) = (Vec::new(), Vec::new());
    for (level, share) in (0u8..).zip(&shares) {
        let quota = (MASTER as f32 * share.powf(FINER) / whole).max(1.0);
        let side = |length: usize| ((length as f32 * share).round() as usize).max(1);
        let small = picture.scaled(side(picture.width), side(picture.height));
        let integral = small.integral();
        let count = quota.ceil() as usize + even;
        for (rank, corner) in corners(&small, count).into_iter().enumerate() {
            let (cos, sin) = direction(&small, corner);
            let at = (corner.x as f32, corner.y as f32);
            let part = |at: f32, length: usize| ((at + 0.5) / length as f32 * 65535.0) as u16;
            let feature = Feature {
                x: part(at.0, small.width),
                y: part(at.1, small.height),
                level,
                angle: (sin.atan2(cos) / std::f32::consts::TAU * 256.0).round().rem_euclid(256.0) as u8,
                descriptor: describe(&integral, at, (cos, sin), SIZE, false),
            };
            let mirrored = describe(&integral, at, (cos, sin), SIZE, true);
            // By how far a level has used up its share: any number of the first ones is spread well.
            let place = (rank as f32 + 0.5) / quota;
            if place < 1.0 { &mut kept } else { &mut rest }.push((place, feature, mirrored));
        }
    }
    kept.sort_by(|a, b| a.0.total_cmp(&b.0));
    rest.sort_by(|a, b| a.0.total_cmp(&b.0));
    kept.into_iter().chain(rest).take(QUERY).map(|(_, feature, mirrored)| (feature, mirrored)).unzip()
}

//! What a whole picture looks like: a hash that finds candidates, and a small picture that proves them.

pub(crate) mod base64;
mod orientation;
mod pdq;
mod sketch;

pub(crate) use orientation::Orientation;
pub(crate) use pdq::Hash;
pub(crate) use sketch::Sketch;

use serde::{Deserialize, Serialize};

use crate::decode::Reduced;

/// What a picture looks like. Opaque: only [`Index`](crate::Index) compares it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// In each of the eight orientations, [`Orientation::ALL`].
    hashes: Box<[Hash; 8]>,
    sketch: Sketch,
}

impl Fingerprint {
    pub(crate) fn of(reduced: &Reduced) -> Fingerprint {
        let spectrum = pdq::Spectrum::of(&reduced.luminance(), reduced.width, reduced.height);
        let hashes = Box::new(Orientation::ALL.map(|orientation| spectrum.oriented(orientation).hash()));
        Fingerprint { hashes, sketch: Sketch::of(reduced) }
    }

    /// Whether there is anything on the picture by which it could be known again.
    #[must_use]
    pub fn is_recognisable(&self) -> bool {
        self.sketch.detail(Orientation::UPRIGHT).is_recognisable()
    }

    /// The hash of the picture as it lies.
    pub(crate) fn hash(&self) -> Hash {
        self.hashes[0]
    }

    /// The nearest of the eight orientations, and its distance.
    pub(crate) fn distances<'a>(&'a self, other: &'a Hash) -> impl Iterator<Item = (Orientation, u32)> + 'a {
        Orientation::ALL
            .into_iter()
            .zip(self.hashes.iter())
            .map(move |(orientation, hash)| (orientation, hash.distance(other)))
    }

    pub(crate) fn sketch(&self) -> &Sketch {
        &self.sketch
    }
}

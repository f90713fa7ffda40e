//! What a picture looks like: a hash of the whole, and local features with a small picture that prove it.

pub(crate) mod base64;
mod folded;
mod orientation;
mod pdq;

pub(crate) use folded::{Folded, FoldedHashes, Sought};
pub(crate) use orientation::Orientation;
pub(crate) use pdq::Hash;

use serde::{Deserialize, Serialize};

use crate::decode::Reduced;
use crate::local::Local;

/// What a picture looks like. Opaque: only [`Index`](crate::Index) compares it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// In each of the eight orientations, [`Orientation::ALL`].
    hashes: Box<[Hash; 8]>,
    local: Local,
}

impl Fingerprint {
    /// Of a picture of `size` pixels. An error only from the encoder of the small picture.
    pub(crate) fn of(reduced: &Reduced, size: (u32, u32)) -> Result<Fingerprint, String> {
        let spectrum = pdq::Spectrum::of(&reduced.luminance(), reduced.width, reduced.height);
        let hashes = Box::new(Orientation::ALL.map(|orientation| spectrum.oriented(orientation).hash()));
        Ok(Fingerprint { hashes, local: Local::of(reduced, size)? })
    }

    /// Whether there is anything on the picture by which it could be known again.
    #[must_use]
    pub fn is_recognisable(&self) -> bool {
        self.local.is_recognisable()
    }

    /// The hash of the picture as it lies.
    pub(crate) fn hash(&self) -> Hash {
        self.hashes[0]
    }

    /// What hashes within `limit` bits are compared with.
    pub(crate) fn sought(&self, limit: u32) -> Sought {
        Sought::new(&self.hashes, limit)
    }

    pub(crate) fn local(&self) -> &Local {
        &self.local
    }
}

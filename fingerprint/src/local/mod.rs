//! Local features, geometry and pixels: what finds a part of a picture, framed, turned or photographed.
//!
//! A picture is brought to one size and described by corners on a pyramid ([`features`]). Few bits of each
//! descriptor lead to masters with features like it ([`Postings`]); the positions of those that match give the
//! transform ([`fits`]); and the pixels of both small pictures, one laid on the other, decide ([`compare`]).

mod agreement;
mod align;
mod area;
mod corners;
mod cover;
mod features;
mod fit;
mod grey;
mod postings;
mod region;
mod segment;
mod teblid;
mod transform;

pub(crate) use agreement::{Agreement, chance};
pub use area::Area;
pub(crate) use features::Feature;
pub(crate) use grey::Grey;
pub(crate) use postings::Postings;
pub(crate) use region::{Coverage, UNIT, contains};
pub(crate) use segment::Segment;
pub(crate) use transform::Transform;

use serde::{Deserialize, Serialize};

use crate::decode::Reduced;
use crate::perceptual::base64;
use agreement::is_recognisable;
use features::{MASTER, QUERY, features};
use fit::Side;
use teblid::Descriptor;

/// Features are looked for on a picture with as many pixels as a square of this side has.
const CANVAS: f64 = 800.0;
/// The small pictures that are compared: their pixels as a square's side, and their size in bytes.
const QUERY_PICTURE: (f64, usize) = (640.0, 96 << 10);
const MASTER_PICTURE: (f64, usize) = (384.0, 14 << 10);
/// Longest side of a canvas.
const LONGEST: u32 = 1 << 16;

/// What a picture carries for this layer, as a query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Plain", into = "Plain")]
pub(crate) struct Local {
    /// The canvas on which the features lie.
    size: (u32, u32),
    features: Vec<Feature>,
    /// What the features look like in a mirror.
    mirrored: Vec<Descriptor>,
    /// A grey JPEG.
    picture: Vec<u8>,
    recognisable: bool,
}

/// [`Local`] as it is serialised.
#[derive(Clone, Serialize, Deserialize)]
struct Plain {
    size: (u32, u32),
    #[serde(with = "base64")]
    features: Vec<u8>,
    #[serde(with = "base64")]
    mirrored: Vec<u8>,
    #[serde(with = "base64")]
    picture: Vec<u8>,
    recognisable: bool,
}

impl From<Local> for Plain {
    fn from(local: Local) -> Plain {
        let mut features = Vec::new();
        local.features.iter().for_each(|feature| feature.write(&mut features));
        let mirrored = local.mirrored.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
        Plain { size: local.size, features, mirrored, picture: local.picture, recognisable: local.recognisable }
    }
}

impl TryFrom<Plain> for Local {
    type Error = String;

    fn try_from(plain: Plain) -> Result<Local, String> {
        let features = features_from(&plain.features);
        let (words, odd) = plain.mirrored.as_chunks::<8>();
        let (mirrored, rest) = words.as_chunks::<4>();
        let mirrored: Vec<Descriptor> = mirrored.iter().map(|words| words.map(u64::from_le_bytes)).collect();
        let sized = (1..=LONGEST).contains(&plain.size.0) && (1..=LONGEST).contains(&plain.size.1);
        let whole = odd.is_empty() && rest.is_empty() && features.len() * Feature::BYTES == plain.features.len();
        if !sized || !whole || features.len() > QUERY || mirrored.len() != features.len() {
            return Err(format!("no local features of a picture: {} of {:?}", features.len(), plain.size));
        }
        let Plain { size, picture, recognisable, .. } = plain;
        Ok(Local { size, features, mirrored, picture, recognisable })
    }
}

fn features_from(bytes: &[u8]) -> Vec<Feature> {
    bytes.as_chunks::<{ Feature::BYTES }>().0.iter().map(Feature::read).collect()
}

impl Local {
    /// Of a picture of `size` pixels. An error only from the encoder.
    pub(crate) fn of(reduced: &Reduced, size: (u32, u32)) -> Result<Local, String> {
        let canvas = Grey::of(reduced, size, CANVAS);
        let (features, mirrored) = features(&canvas);
        let picture = canvas.fitted(QUERY_PICTURE.0).to_jpeg(QUERY_PICTURE.1)?;
        let size = (canvas.width as u32, canvas.height as u32);
        Ok(Local { size, features, mirrored, picture, recognisable: is_recognisable(&canvas) })
    }

    /// Whether there is anything on the picture by which it could be known again.
    pub(crate) fn is_recognisable(&self) -> bool {
        self.recognisable
    }

    /// The part that the index keeps of a master: features and small picture, as
    /// [`Features::read`] and [`Grey::from_jpeg`] take them.
    /// None if the small picture cannot be read.
    pub(crate) fn for_master(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut features = Vec::new();
        for side in [self.size.0, self.size.1] {
            features.extend_from_slice(&side.to_le_bytes());
        }
        self.features_of_master().iter().for_each(|feature| feature.write(&mut features));
        let picture = Grey::from_jpeg(&self.picture)?.fitted(MASTER_PICTURE.0).to_jpeg(MASTER_PICTURE.1).ok()?;
        Some((features, picture))
    }

    /// The features that [`Local::for_master`] keeps.
    pub(crate) fn features_of_master(&self) -> &[Feature] {
        &self.features[..self.features.len().min(MASTER)]
    }

    /// As it lies, and mirrored left to right. None if its small picture cannot be read.
    pub(crate) fn views(&self) -> Option<[(Features, Grey); 2]> {
        let picture = Grey::from_jpeg(&self.picture)?;
        let size = (self.size.0 as usize, self.size.1 as usize);
        let mirrored =
            self.features.iter().zip(&self.mirrored).map(|(feature, like)| feature.mirrored(*like)).collect();
        let mirror = picture.mirrored();
        Some([
            (Features { size, features: self.features.clone() }, picture),
            (Features { size, features: mirrored }, mirror),
        ])
    }
}

/// Whether this is what [`Local::for_master`] writes of features, whole.
pub(crate) fn is_of_master(bytes: &[u8]) -> bool {
    let packed = bytes.len().saturating_sub(8);
    packed.is_multiple_of(Feature::BYTES) && packed / Feature::BYTES <= MASTER && Features::read(bytes).is_some()
}

/// The features of a picture.
pub(crate) struct Features {
    /// Of the canvas on which they lie.
    size: (usize, usize),
    pub(crate) features: Vec<Feature>,
}

impl Features {
    /// What [`Local::for_master`] has written; none for what it has not.
    pub(crate) fn read(bytes: &[u8]) -> Option<Features> {
        let size = bytes.first_chunk::<8>()?;
        let side = |at: usize| u32::from_le_bytes(std::array::from_fn(|index| size[at + index]));
        let (width, height) = (side(0), side(4));
        let sized = (1..=LONGEST).contains(&width) && (1..=LONGEST).contains(&height);
        let features = features_from(&bytes[8..]);
        sized.then_some(Features { size: (width as usize, height as usize), features })
    }

    /// Transforms of this picture's unit square to that of `master` that their features agree on, with the
    /// number of features; the best first.
    pub(crate) fn fits(&self, master: &Features) -> Vec<(usize, Transform)> {
        let size = |features: &Features| (features.size.0 as f64, features.size.1 as f64);
        let (here, there) = (size(self), size(master));
        let unit = |fit: fit::Fit| {
            let transform = Transform::scale(here.0, here.1).then(&fit.transform);
            (fit.inliers, transform.then(&Transform::scale(1.0 / there.0, 1.0 / there.1)))
        };
        let query = Side { features: &self.features, size: self.size };
        let master = Side { features: &master.features, size: master.size };
        fit::fits(query, master).into_iter().map(unit).collect()
    }
}

/// Compares two small pictures where `transform` lays the unit square of `query` on that of `master`; so does the
/// transform of the agreement.
pub(crate) fn compare(query: &Grey, master: &Grey, transform: &Transform) -> Option<Agreement> {
    let pixels = |picture: &Grey| Transform::scale(picture.width as f64, picture.height as f64);
    let (here, there) = (pixels(query), pixels(master));
    let placed = here.inverse()?.then(transform).then(&there);
    let found = agreement::compare(query, master, &placed)?;
    Some(Agreement { transform: here.then(&found.transform).then(&there.inverse()?), ..found })
}

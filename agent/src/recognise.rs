//! What a file shows, and everything inside it: looked up in the index as it is read.

use std::fs::File;
use std::sync::Arc;

use vitrine_fingerprint::{Content, Index, IndexError, Inside, Kind, Match, Measurement, PREVIEW_NAME};
use vitrine_policy::Policy;
use vitrine_policy::facts::{Measure, Tier};

use crate::config::MeasureLimits;
use crate::measure::{MeasureFailed, measure};

/// A preview whose longer side has no more pixels may show too little to be recognised; whoever is recognised around it
/// speaks for it.
const PREVIEW: u32 = 320;
/// So many of them are those of a camera and a program; more may be tiles of something larger.
const MOST_PREVIEWS: usize = 4;
/// The largest thumbnail that is kept, in bytes, and of how many sightings at most.
const THUMBNAIL: usize = 64 << 10;
const THUMBNAILS: usize = 100;
/// The longest place that is told, in bytes.
const PLACE: usize = 2 << 10;
/// So many bytes more than the pixels of its pictures would take, a file may hold anything.
const BESIDE: u64 = 1 << 20;
/// So many places that could not be looked into are told by name.
const TOLD: usize = 4;

/// The file itself, or something inside that was made from masters.
pub(crate) struct Sighting {
    /// Where inside the file; empty: the file itself.
    pub(crate) place: String,
    /// Megapixels and bits per channel of the picture, where they are known.
    size: Option<(f64, u8)>,
    /// A small JPEG of the picture.
    pub(crate) thumbnail: Option<Vec<u8>>,
    /// The masters, the most certain first.
    pub(crate) matches: Vec<Match>,
}

/// A file, and what it shows.
pub(crate) struct Recognition {
    pub(crate) measured: Result<Measurement, MeasureFailed>,
    /// Where masters are seen, the highest tier being anywhere among them.
    pub(crate) sightings: Vec<Sighting>,
    /// What could not be looked into: where, and why. The first of them.
    hidden: Vec<String>,
    more_hidden: usize,
    /// Bytes that the pixels of all recognised pictures would take, four channels each.
    pixels: u64,
    previews: usize,
    /// Something in it is neither a picture that was recognised nor a container.
    is_mixed: bool,
    /// The index could not be asked.
    pub(crate) failed: Option<IndexError>,
}

impl Sighting {
    /// What is looked up for one measurement.
    ///
    /// # Errors
    /// The index cannot be read.
    pub(crate) fn of(index: &Index, place: String, measurement: &Measurement) -> Result<Sighting, IndexError> {
        let mut matches = index.find(measurement)?;
        if !place.is_empty() {
            matches.iter_mut().for_each(|found| found.kind = Kind::Embedded);
        }
        let size = measurement.content.size().map(|size| (size.megapixels(), size.bit_depth));
        let thumbnail = match &measurement.content {
            Content::Picture(picture) if picture.thumbnail.len() <= THUMBNAIL => Some(picture.thumbnail.clone()),
            _ => None,
        };
        Ok(Sighting { place, size, thumbnail, matches })
    }

    /// Whether it lies in the metadata of a picture.
    fn is_preview(&self) -> bool {
        self.place.rsplit(" > ").next().is_some_and(|name| name.starts_with(PREVIEW_NAME))
    }

    /// How the file measures as far as it was made from this master; none where only its bytes are known.
    pub(crate) fn measure_of(&self, found: Option<&Match>) -> Option<Measure> {
        let (megapixels, bit_depth) = self.size?;
        Some(Measure { megapixels, scale: found.map(|found| found.scale), bit_depth })
    }

    /// The tier as far as it was made from this master. What cannot be measured counts as the master, and so do bytes
    /// of it, wherever they lie.
    pub(crate) fn tier_of(&self, policy: &Policy, found: &Match) -> Tier {
        let is_seen = !found.region.is_empty();
        self.measure_of(Some(found))
            .filter(|_| is_seen)
            .map_or_else(|| policy.master_tier(), |measure| policy.tier_of(&measure))
    }

    /// The highest tier of all its masters: a picture may show several, each at a scale of its own.
    pub(crate) fn tier(&self, policy: &Policy) -> Option<Tier> {
        self.matches.iter().map(|found| self.tier_of(policy, found)).max()
    }
}

impl Recognition {
    /// The sighting with the highest tier, the first one among equals.
    pub(crate) fn highest(&self, policy: &Policy) -> Option<(&Sighting, Tier)> {
        let rated = self.sightings.iter().filter_map(|sighting| Some((sighting, sighting.tier(policy)?)));
        rated.reduce(|best, next| if next.1 > best.1 { next } else { best })
    }

    /// Whether all that is in the file are pictures that were recognised.
    pub(crate) fn is_known_whole(&self) -> bool {
        let holds_no_more = |measurement: &Measurement| measurement.bytes <= self.pixels.saturating_add(BESIDE);
        let is_explained = self.measured.as_ref().is_ok_and(holds_no_more);
        is_explained && !self.is_mixed && self.hidden.is_empty() && self.failed.is_none()
    }

    /// What could not be looked into, in words; none if there is nothing.
    pub(crate) fn hidden(&self) -> Option<String> {
        let more = if self.more_hidden > 0 { format!("; and {} more", self.more_hidden) } else { String::new() };
        (!self.hidden.is_empty()).then(|| self.hidden.join("; ") + &more)
    }

    fn add(&mut self, index: &Index, mut place: String, measurement: &Measurement) {
        place.truncate(place.floor_char_boundary(PLACE));
        if let Some(why) = measurement.content.unseen() {
            let told = if place.is_empty() { why } else { format!("{place}: {why}") };
            if self.hidden.len() < TOLD { self.hidden.push(told) } else { self.more_hidden += 1 }
        }
        let sighting = match Sighting::of(index, place, measurement) {
            Ok(sighting) => sighting,
            Err(error) => {
                self.failed = Some(error);
                return;
            }
        };
        if !sighting.matches.is_empty() {
            if let Some(size) = measurement.content.size() {
                let bytes = u64::from(size.width) * u64::from(size.height) * 4 * u64::from(size.bit_depth.div_ceil(8));
                self.pixels = self.pixels.saturating_add(bytes);
            }
            let thumbnail = sighting.thumbnail.filter(|_| self.sightings.len() < THUMBNAILS);
            self.sightings.push(Sighting { thumbnail, ..sighting });
            return;
        }
        self.is_mixed |= match &measurement.content {
            Content::Picture(picture) if picture.width.max(picture.height) <= PREVIEW && sighting.is_preview() => {
                self.previews += 1;
                self.previews > MOST_PREVIEWS
            }
            Content::Picture(_) => true,
            Content::Container(_) | Content::Tile(_) => false,
            Content::Unscanned(_) | Content::Opaque(_) | Content::Other => true,
        };
    }
}

/// Reads a file and looks up what it is and everything inside, which `also` sees as well.
pub(crate) async fn recognise(
    file: File,
    limits: &MeasureLimits,
    index: &Arc<Index>,
    also: &mut (dyn FnMut(&Inside) + Send),
) -> Recognition {
    let mut seen = Recognition {
        measured: Err(MeasureFailed::Changed),
        sightings: Vec::new(),
        hidden: Vec::new(),
        more_hidden: 0,
        pixels: 0,
        previews: 0,
        is_mixed: false,
        failed: None,
    };
    let mut add = |inside: Inside| {
        also(&inside);
        seen.add(index, inside.path, &inside.measurement);
    };
    let measured = measure(file, limits, &mut add).await;
    if let Ok(measurement) = &measured {
        tokio::task::block_in_place(|| seen.add(index, String::new(), measurement));
    }
    // The file itself comes first.
    seen.sightings.sort_by_key(|sighting| !sighting.place.is_empty());
    Recognition { measured, ..seen }
}

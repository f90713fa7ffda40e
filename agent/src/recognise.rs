//! What a file shows, and everything inside it: looked up in the index as it is read.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use vitrine_fingerprint::{Content, Digest, Index, IndexError, Inside, Kind, Match, Measurement, PREVIEW_NAME};
use vitrine_policy::Policy;
use vitrine_policy::facts::{Measure, Tier};

use crate::config::MeasureLimits;
use vitrine_worker::{MeasureFailed, measure};

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
/// A picture may carry so many bytes that show nothing (a blank gain map, mask or depth map, what a telephone appends), if
/// each of them has fewer pixels than the picture, which was recognised. So much may be hidden in them: a quarter of what
/// metadata may have before it is told, and less than a scan takes that is worth protecting.
const TRIFLES: u64 = 64 << 10;
const MOST_TRIFLES: usize = 16;
/// So many things are remembered that were looked up.
const LOOKED_UP: usize = 1024;
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

/// Something small beside a picture that shows nothing.
struct Trifle {
    /// The place of the picture.
    beside: String,
    bytes: u64,
    pixels: u64,
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
    /// The masters of what was looked up, by the digest of its bytes: the same file may lie there many times.
    looked_up: HashMap<Digest, Vec<Match>>,
    /// What may be a trifle, until the picture that it belongs to is known.
    trifles: Vec<Trifle>,
    /// Bytes of those that are.
    trifling: u64,
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
        Ok(Sighting::with(index.find(measurement)?, place, measurement))
    }

    fn with(mut matches: Vec<Match>, place: String, measurement: &Measurement) -> Sighting {
        if !place.is_empty() {
            matches.iter_mut().for_each(|found| found.kind = Kind::Embedded);
        }
        let size = measurement.content.size().map(|size| (size.megapixels(), size.bit_depth));
        let thumbnail = match &measurement.content {
            Content::Picture(picture) if picture.thumbnail.len() <= THUMBNAIL => Some(picture.thumbnail.clone()),
            _ => None,
        };
        Sighting { place, size, thumbnail, matches }
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

impl Trifle {
    /// What is at `place`, if it shows nothing.
    fn of(place: &str, measurement: &Measurement) -> Option<Trifle> {
        if place.is_empty() {
            return None;
        }
        let (beside, _) = place.rsplit_once(" > ").unwrap_or_default();
        let (bytes, pixels) = match &measurement.content {
            Content::Picture(picture) if !picture.fingerprint.is_recognisable() => match measurement.bytes {
                // A page or layer without bytes of its own.
                0 => (size_of_pixels(&measurement.content), area(&measurement.content)),
                bytes => (bytes, area(&measurement.content)),
            },
            // What has no bytes stands for too many of them.
            Content::Other if measurement.bytes > 0 => (measurement.bytes, 0),
            _ => return None,
        };
        (bytes <= TRIFLES).then(|| Trifle { beside: beside.to_owned(), bytes, pixels })
    }
}

/// Pixels of a picture; 0 where that is not known.
fn area(content: &Content) -> u64 {
    content.size().map_or(0, |size| u64::from(size.width) * u64::from(size.height))
}

/// Bytes that the pixels of a picture would take, four channels each.
fn size_of_pixels(content: &Content) -> u64 {
    area(content) * 4 * content.size().map_or(0, |size| u64::from(size.bit_depth.div_ceil(8)))
}

impl Recognition {
    fn new() -> Recognition {
        Recognition {
            measured: Err(MeasureFailed::Changed),
            sightings: Vec::new(),
            hidden: Vec::new(),
            more_hidden: 0,
            pixels: 0,
            previews: 0,
            looked_up: HashMap::new(),
            trifles: Vec::new(),
            trifling: 0,
            is_mixed: false,
            failed: None,
        }
    }

    /// The sighting with the highest tier, the first one among equals.
    pub(crate) fn highest(&self, policy: &Policy) -> Option<(&Sighting, Tier)> {
        let rated = self.sightings.iter().filter_map(|sighting| Some((sighting, sighting.tier(policy)?)));
        rated.reduce(|best, next| if next.1 > best.1 { next } else { best })
    }

    /// Whether all that is in the file are pictures that were recognised.
    pub(crate) fn is_known_whole(&self) -> bool {
        let holds_no_more = |measurement: &Measurement| measurement.bytes <= self.pixels.saturating_add(BESIDE);
        let is_explained = self.measured.as_ref().is_ok_and(holds_no_more);
        let has_trifles_only = self.trifles.is_empty() && self.trifling <= TRIFLES;
        is_explained && has_trifles_only && !self.is_mixed && self.hidden.is_empty() && self.failed.is_none()
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
        let known = self.looked_up.get(&measurement.digest).filter(|_| measurement.bytes > 0).cloned();
        let matches = match known.map_or_else(|| index.find(measurement), Ok) {
            Ok(matches) => matches,
            Err(error) => {
                self.failed = Some(error);
                return;
            }
        };
        if measurement.bytes > 0 && self.looked_up.len() < LOOKED_UP {
            self.looked_up.insert(measurement.digest, matches.clone());
        }
        let sighting = Sighting::with(matches, place, measurement);
        if !sighting.matches.is_empty() {
            self.pixels = self.pixels.saturating_add(size_of_pixels(&measurement.content));
            let (place, pixels) = (&sighting.place, area(&measurement.content));
            let belongs = |trifle: &mut Trifle| trifle.beside == *place && trifle.pixels < pixels;
            self.trifling += self.trifles.extract_if(.., belongs).map(|trifle| trifle.bytes).sum::<u64>();
            let thumbnail = sighting.thumbnail.filter(|_| self.sightings.len() < THUMBNAILS);
            self.sightings.push(Sighting { thumbnail, ..sighting });
            return;
        }
        self.is_mixed |= match &measurement.content {
            Content::Picture(picture) if picture.width.max(picture.height) <= PREVIEW && sighting.is_preview() => {
                self.previews += 1;
                self.previews > MOST_PREVIEWS
            }
            Content::Container(_) | Content::Tile(_) => false,
            Content::Picture(_) | Content::Unscanned(_) | Content::Opaque(_) | Content::Other => {
                let trifle = Trifle::of(&sighting.place, measurement).filter(|_| self.trifles.len() < MOST_TRIFLES);
                let is_none = trifle.is_none();
                self.trifles.extend(trifle);
                is_none
            }
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
    let mut seen = Recognition::new();
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use vitrine_fingerprint::{Entry, Limits};

    fn measured(bytes: &[u8]) -> Measurement {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        vitrine_fingerprint::measure(&file, &Limits::default(), &mut |_| {}).unwrap()
    }

    /// A grey picture of so many pixels a side.
    fn picture(side: u32, grey: impl Fn(u32, u32) -> u8) -> Measurement {
        let pixels = (0..side * side).map(|at| grey(at % side * 600 / side, at / side * 600 / side));
        measured(&format!("P5 {side} {side} 255\n").into_bytes().into_iter().chain(pixels).collect::<Vec<u8>>())
    }

    /// Rectangles whose places nobody could guess.
    fn drawing(x: u32, y: u32) -> u8 {
        let cell = (x / 31 * 7919 + y / 43 * 104_729 + x / 97 * y / 61 * 31) % 251;
        if (x / 11 + y / 17).is_multiple_of(5) { (cell / 2) as u8 } else { cell as u8 }
    }

    /// An index that knows a master, and a small copy of it.
    fn with_a_copy() -> (Index, Measurement) {
        let index = Index::in_memory().unwrap();
        let master = picture(600, drawing);
        let entry = Entry { device: 1, inode: 1, ..Entry::new("/m/a.pgm", "masters", master) };
        index.insert(&entry).unwrap();
        (index, picture(400, drawing))
    }

    /// The copy with these things inside.
    fn seen((index, small): &(Index, Measurement), inside: &[(&str, &Measurement)]) -> Recognition {
        let mut seen = Recognition::new();
        inside.iter().for_each(|(place, measurement)| seen.add(index, (*place).to_owned(), measurement));
        seen.add(index, String::new(), small);
        seen.measured = Ok(small.clone());
        assert_eq!(seen.sightings.len(), 1);
        seen
    }

    #[test]
    fn a_picture_stays_known_whole_with_a_little_beside_it_that_shows_nothing() {
        let (gain_map, larger) = (picture(100, |_, _| 128), picture(401, |_, _| 128));
        let other = picture(100, |x, y| drawing(y * 7 % 600, x));
        let (trailer, long) = (measured(&[7; 25_000]), measured(&[7; 70_000]));
        let behind = "behind the picture";
        let copy = with_a_copy();
        let seen = |inside: &[(&str, &Measurement)]| seen(&copy, inside);
        assert!(seen(&[]).is_known_whole());
        assert!(seen(&[(behind, &gain_map)]).is_known_whole());
        assert!(seen(&[(behind, &gain_map), ("metadata", &trailer)]).is_known_whole());
        assert!(!seen(&[(behind, &larger)]).is_known_whole(), "more pixels than the picture");
        assert!(!seen(&[(behind, &other)]).is_known_whole(), "it shows something");
        assert!(!seen(&[(behind, &long)]).is_known_whole(), "too many bytes");
        assert!(!seen(&[(behind, &trailer), ("a", &trailer), ("b", &trailer)]).is_known_whole(), "too many together");
        assert!(!seen(&[("notes.txt > x", &trailer)]).is_known_whole(), "beside nothing that was recognised");
        assert!(!seen(&[("beside the strips", &Measurement { bytes: 0, ..trailer })]).is_known_whole());
    }
}

//! The further pictures in a master: pages of a book in one file, pictures of a PDF, layers.

use crate::container::Inside;
use crate::exact::Parts;
use crate::measure::{Content, Measurement, Size};

use super::{Entry, Index, IndexError};

/// Most pictures of one master by which it is recognised, beside its own.
pub(super) const MOST: usize = 256;
/// What has fewer pixels than these, or than this share of the largest picture, is a thumbnail or an ornament.
const LEAST: f64 = 0.25e6;
const SHARE: f64 = 1.0 / 16.0;
/// What has at most this share of the pixels of the largest picture may be a preview of another one.
const PREVIEW: f64 = 0.5;
/// What shows a part of another picture at more than this scale shows more of it than that does.
const FINER: f64 = 1.1;

/// Gathers them while a master is measured.
#[derive(Debug, Default)]
pub struct Pages {
    found: Vec<(f64, Measurement)>,
    dropped: u64,
}

impl Pages {
    /// Takes what is inside the master.
    pub fn take(&mut self, inside: Inside) {
        let Content::Picture(picture) = &inside.measurement.content else { return };
        let pixels = picture.megapixels() * 1e6;
        if inside.path.is_empty() || pixels < LEAST || !picture.fingerprint.is_recognisable() {
            return;
        }
        if self.found.len() < MOST {
            self.found.push((pixels, inside.measurement));
        } else {
            self.dropped += 1;
        }
    }

    /// How many pictures there were beyond those that can be kept.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Those by which the master, of which `whole` is known, shall be recognised, too. A preview of another picture
    /// is none of them: a copy of its size would pass for one in full size.
    ///
    /// # Errors
    /// Out of memory.
    pub fn of(self, whole: &Measurement) -> Result<Vec<Measurement>, IndexError> {
        let own = whole.content.size().as_ref().map_or(0.0, Size::megapixels) * 1e6;
        let largest = self.found.iter().fold(own, |largest, (pixels, _)| largest.max(*pixels));
        let mut found = self.found;
        found.retain(|(pixels, _)| *pixels >= largest * SHARE);
        found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let is_preview = |pixels: f64| pixels <= largest * PREVIEW;
        if !found.iter().any(|(pixels, _)| is_preview(*pixels)) {
            return Ok(found.into_iter().map(|(_, page)| page).collect());
        }
        let known = Index::in_memory()?;
        let mut number = 0;
        let mut learn = |measurement: &Measurement| {
            number += 1;
            // Bytes of each page are bytes of the whole, too.
            let measurement = Measurement { parts: Parts::default(), ..measurement.clone() };
            known.insert(&Entry::new(number.to_string(), "", measurement))
        };
        learn(whole)?;
        let mut pages = Vec::new();
        for (pixels, page) in found {
            if is_preview(pixels) && known.find(&page)?.iter().any(|found| found.scale <= FINER) {
                continue;
            }
            learn(&page)?;
            pages.push(page);
        }
        Ok(pages)
    }
}

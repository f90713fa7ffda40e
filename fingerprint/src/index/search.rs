//! From what a picture looks like to the masters it was made from: candidates by the hash of the whole and by
//! local features, decided by pixels.

use std::collections::HashSet;

use super::lookup::{Candidate, Lookup};
use super::store::{Looks, Store};
use super::{IndexError, Kind, Master, Match};
use crate::local::{Agreement, Coverage, Features, Grey, Transform, chance, compare, contains};
use crate::measure::Picture;
use crate::perceptual::Fingerprint;

/// Hashes of one picture differ in fewer bits than this, of 256. Generous: two unrelated hashes come this
/// near once in 100,000 pairs, and every candidate is verified by its pixels.
const NEAR: u32 = 92;
/// Unrelated hashes come this near once in a thousand million pairs: what lies farther off and is compared with a picture
/// that is explained already would be chance, and among very many masters there is always some of it.
const CHANCE: u32 = 80;
/// Most candidates by the hash that are compared, nearest first.
const WHOLE: usize = 8;
/// Most candidates by their features that are fitted, and most fits that are compared; those with the most
/// votes and features in agreement first.
const FITTED: usize = 40;
const COMPARED: usize = 16;
/// So many times as many candidates are tried where of some there is no picture to compare with.
const TRIES: usize = 4;
/// Of two masters found at one place of a picture, the second one counts only with this share of the evidence
/// of the first, and if no more than so many times as much (and this much) is missing from its correlation: pages
/// of one book share their lines and scrolls their paper, but one picture is only one of them.
const RIVAL: f64 = 0.6;
const MISSING: (f64, f64) = (1.5, 0.02);
/// A place of the query is taken by a master that agrees with this share of the blocks there.
const TAKEN: f64 = 0.6;
/// A query whose area is explained by this share, with no more than this share of its blocks that contradict, needs
/// no further search.
const EXPLAINED: f64 = 0.9;
const DISSENT: f64 = 0.02;

/// From this share of the master on it is the whole master, give or take what alignment cannot tell.
const WHOLE_SHARE: f64 = 0.97;
/// From this share of the picture on it is the picture, and what is around it a frame.
const PLACED_SHARE: f64 = 0.5;

/// A master, and how the query lies on it.
pub(super) struct Found {
    pub(super) id: i64,
    evidence: f64,
    correlation: f64,
    dissent: f64,
    /// What it explains, in the query's unit square.
    held: Vec<((f64, f64), bool)>,
    /// From the unit square of the query to that of the master.
    transform: Transform,
    coverage: Coverage,
}

/// What comparisons said, as in [`Searched`].
type Said = Vec<(i64, f64, f64)>;

/// What a search for the masters of one picture has come upon.
#[derive(Default)]
pub(super) struct Searched {
    /// All masters that the picture shows, the most certain first.
    pub(super) found: Vec<Found>,
    /// What each comparison by pixels said, of matches and of all others: id of the master, evidence, correlation.
    pub(super) compared: Said,
}

/// Looks for all masters that the picture shows.
pub(super) fn search(store: &Store, lookup: &Lookup, fingerprint: &Fingerprint) -> Result<Searched, IndexError> {
    let mut searched = Searched::default();
    if !fingerprint.is_recognisable() {
        return Ok(searched);
    }
    let Some([upright, mirrored]) = fingerprint.local().views() else { return Ok(searched) };
    let mirror = Transform([-1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    let views = [View::new(upright, Transform::scale(1.0, 1.0)), View::new(mirrored, mirror)];
    let said = &mut searched.compared;

    let mut found = Vec::new();
    let mut nearest = lookup.near(fingerprint, NEAR);
    nearest.sort_by_key(|candidate| candidate.distance);
    let explained =
        |found: &[Found]| found.iter().any(|found| found.coverage.query >= EXPLAINED && found.dissent <= DISSENT);
    let (mut tried, mut compared) = (HashSet::new(), 0);
    for Candidate { id, orientation, distance } in nearest {
        if compared >= WHOLE || tried.len() >= TRIES * WHOLE || distance > CHANCE && explained(&found) {
            break;
        }
        if !tried.insert(id) {
            continue;
        }
        let Some(master) = small_picture(store, id)? else { continue };
        compared += 1;
        let view = &views[usize::from(orientation.is_mirrored())];
        let start = view.to_view.then(&orientation.transform());
        found.extend(view.look((id, &master), &start, said));
    }
    let [upright, mirrored] = &views;
    if !explained(&found) {
        found.extend(by_features(store, lookup, upright, said)?);
    }
    if found.is_empty() {
        found.extend(by_features(store, lookup, mirrored, said)?);
    }
    searched.found = decide(found);
    Ok(searched)
}

/// The query, as it lies or mirrored.
struct View {
    features: Features,
    picture: Grey,
    /// From the unit square of the query to that of the view, and as much back: both mirror or do not.
    to_view: Transform,
}

impl View {
    fn new((features, picture): (Features, Grey), to_view: Transform) -> View {
        View { features, picture, to_view }
    }

    /// Compares with a master, and notes down what that said.
    fn look(&self, (id, master): (i64, &Grey), transform: &Transform, said: &mut Said) -> Option<Found> {
        let agreement = compare(&self.picture, master, transform)?;
        said.push((id, agreement.evidence, agreement.correlation));
        Found::new(id, agreement, &self.to_view)
    }
}

/// What is compared of a master; none where it has no looks.
fn small_picture(store: &Store, id: i64) -> Result<Option<Grey>, IndexError> {
    Ok(Grey::from_jpeg(&store.looks(id, Looks::Picture)?))
}

fn by_features(store: &Store, lookup: &Lookup, view: &View, said: &mut Said) -> Result<Vec<Found>, IndexError> {
    let mut fits = Vec::new();
    let votes = lookup.postings.votes(&view.features.features, lookup.len(), FITTED);
    for (id, _) in votes.map_err(|source| store.segments_failed(source))? {
        let Some(master) = Features::read(&store.looks(i64::from(id), Looks::Features)?) else { continue };
        let of_master = view.features.fits(&master).into_iter();
        fits.extend(of_master.map(|(inliers, transform)| (inliers, transform, i64::from(id))));
    }
    fits.sort_by_key(|(inliers, _, _)| std::cmp::Reverse(*inliers));
    let mut found: Vec<(usize, Found)> = Vec::new();
    let (mut tried, mut compared) = (0, 0);
    for (inliers, transform, id) in fits {
        let Some(coverage) = Coverage::of(&view.to_view.then(&transform)) else { continue };
        let beaten =
            |(better, found): &(usize, Found)| found.id == id || inliers * 2 < *better && found.takes(&coverage);
        if compared >= COMPARED || tried >= TRIES * COMPARED || found.iter().any(beaten) {
            continue;
        }
        tried += 1;
        let Some(master) = small_picture(store, id)? else { continue };
        compared += 1;
        found.extend(view.look((id, &master), &transform, said).map(|found| (inliers, found)));
    }
    Ok(found.into_iter().map(|(_, found)| found).collect())
}

/// Leaves out what only looks like something better found at the same place.
fn decide(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by(|a, b| b.evidence.total_cmp(&a.evidence).then(a.id.cmp(&b.id)));
    let mut kept: Vec<Found> = Vec::new();
    for found in found {
        let beaten = kept.iter().any(|better| {
            let rival = found.evidence >= RIVAL * better.evidence
                && 1.0 - found.correlation <= MISSING.0 * (1.0 - better.correlation) + MISSING.1;
            found.id == better.id || !rival && better.takes(&found.coverage)
        });
        if !beaten {
            kept.push(found);
        }
    }
    kept
}

impl Found {
    /// Whether this master explains what the query shows at the place of `other`.
    fn takes(&self, other: &Coverage) -> bool {
        let there = self.held.iter().filter(|(point, _)| contains(&other.place, *point));
        let (count, agreeing) = there.fold((0, 0), |(count, held), (_, agrees)| (count + 1, held + i32::from(*agrees)));
        // Where there is nothing to see, it is enough to lie there.
        let corners = other.place.len().max(1) as f64;
        let sum = other.place.iter().fold((0.0, 0.0), |sum, corner| (sum.0 + corner.0, sum.1 + corner.1));
        let lies_there = contains(&self.coverage.place, (sum.0 / corners, sum.1 / corners));
        lies_there && f64::from(agreeing) >= TAKEN * f64::from(count)
    }

    /// None if the agreement is no match.
    fn new(id: i64, agreement: Agreement, to_view: &Transform) -> Option<Found> {
        if !agreement.is_match() {
            return None;
        }
        let Agreement { evidence, correlation, transform, dissent, held } = agreement;
        let transform = to_view.then(&transform);
        let held = held.into_iter().map(|(point, agrees)| (to_view.apply(point), agrees)).collect();
        Some(Found { id, evidence, correlation, dissent, held, transform, coverage: Coverage::of(&transform)? })
    }

    pub(super) fn into_match(self, master: Master, picture: &Picture) -> Match {
        let Coverage { region, master: covered, query, .. } = self.coverage;
        let kind = match (covered >= WHOLE_SHARE, query >= PLACED_SHARE) {
            (true, true) => Kind::Derivative,
            (true, false) => Kind::Embedded,
            (false, _) => Kind::Fragment,
        };
        // Lengths in the picture over lengths in the master, in the middle of what both show.
        let corners = region.len().max(1) as f64;
        let sum = region.iter().fold((0.0, 0.0), |sum, corner| (sum.0 + corner.0, sum.1 + corner.1));
        let middle = (sum.0 / corners, sum.1 / corners);
        let pixels = |width: u32, height: u32| f64::from(width) * f64::from(height);
        let ratio = pixels(picture.width, picture.height) / pixels(master.width, master.height).max(1.0);
        let growth = self.transform.inverse().map_or(1.0, |inverse| inverse.growth(middle).abs());
        let score = 1.0 - chance(self.evidence, self.correlation);
        let coverage = covered * picture.filled.clamp(0.0, 1.0);
        Match { master, kind, scale: (ratio * growth).sqrt(), coverage, region, score }
    }
}

//! From features that look alike to the one transform that most of them agree on.

use super::features::{Feature, STEP};
use super::teblid::distance;
use super::transform::{Pair, Transform};

/// Two descriptors in more different bits than this do not match.
const ALIKE: u32 = 80;
/// Most matches that are looked at, best first.
const MATCHES: usize = 400;
/// Most of them that are tried as the one that the others agree with.
const SEEDS: usize = 150;
/// Fewer matches that agree are chance.
const FEWEST: usize = 5;
/// Fits that are returned at most.
const FITS: usize = 3;

/// A transform from the query's canvas to the master's, and how many features agree on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fit {
    pub(crate) transform: Transform,
    pub(crate) inliers: usize,
}

/// Features that look alike.
#[derive(Clone, Copy)]
struct Likeness {
    distance: u32,
    master: usize,
    from: (f64, f64),
    to: (f64, f64),
    /// Rotation and scaling of this feature alone, as a complex number.
    turn: (f64, f64),
    /// Size of a pixel of the level that the master's feature lies on, on the master's canvas.
    grain: f64,
}

/// A picture's features and the size of its canvas.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) features: &'a [Feature],
    pub(crate) size: (usize, usize),
}

impl Side<'_> {
    fn place(&self, feature: &Feature) -> (f64, f64) {
        let part = |at: u16, length: usize| (f64::from(at) + 0.5) / 65536.0 * length as f64;
        (part(feature.x, self.size.0), part(feature.y, self.size.1))
    }
}

/// Transforms that bring features of the query onto features of the master, the best first.
pub(crate) fn fits(query: Side<'_>, master: Side<'_>) -> Vec<Fit> {
    let mut likenesses: Vec<Likeness> =
        query.features.iter().filter_map(|feature| alike(&query, feature, &master)).collect();
    likenesses.sort_by_key(|likeness| likeness.distance);
    likenesses.truncate(MATCHES);
    let mut fits = Vec::new();
    while fits.len() < FITS && likenesses.len() >= FEWEST {
        let seeds = likenesses.iter().take(SEEDS);
        let best = seeds.map(|seed| (consensus(seed, &likenesses), seed)).max_by_key(|(votes, _)| *votes);
        let Some((votes, seed)) = best else { break };
        if votes < FEWEST {
            break;
        }
        let agreeing: Vec<Likeness> = likenesses.iter().filter(|other| agrees(seed, other)).copied().collect();
        let fit = refine(&agreeing, &likenesses);
        let seed = *seed;
        match fit {
            Some(fit) => {
                let tolerance = 3.0;
                likenesses.retain(|other| !agrees(&seed, other) && error(&fit.transform, other) > tolerance);
                fits.push(fit);
            }
            None => likenesses.retain(|other| !agrees(&seed, other)),
        }
    }
    fits.sort_by_key(|fit| std::cmp::Reverse(fit.inliers));
    fits
}

fn alike(query: &Side<'_>, feature: &Feature, master: &Side<'_>) -> Option<Likeness> {
    let mut best = (ALIKE + 1, usize::MAX);
    for (index, other) in master.features.iter().enumerate() {
        let distance = distance(&feature.descriptor, &other.descriptor);
        if distance < best.0 {
            best = (distance, index);
        }
    }
    let other = master.features.get(best.1)?;
    let grain = f64::from(STEP).powi(i32::from(other.level));
    let growth = grain / f64::from(STEP).powi(i32::from(feature.level));
    let angle = f64::from(other.angle.wrapping_sub(feature.angle)) / 256.0 * std::f64::consts::TAU;
    Some(Likeness {
        distance: best.0,
        master: best.1,
        from: query.place(feature),
        to: master.place(other),
        turn: (growth * angle.cos(), growth * angle.sin()),
        grain,
    })
}

/// Whether two likenesses may come from one similarity. One feature alone tells rotation and scale only
/// roughly, so that the tolerance grows with the distance between the two.
fn agrees(seed: &Likeness, other: &Likeness) -> bool {
    let (a, b) = seed.turn;
    // The quotient of both turns: within 25 degrees and a factor of 1.5 of 1.
    let norm = a * a + b * b;
    let (along, across) = (other.turn.0 * a + other.turn.1 * b, other.turn.1 * a - other.turn.0 * b);
    let growth = (along * along + across * across) / (norm * norm);
    if along <= 0.0 || across * across > 0.23 * along * along || !(1.0 / 2.25..=2.25).contains(&growth) {
        return false;
    }
    let (x, y) = (other.from.0 - seed.from.0, other.from.1 - seed.from.1);
    let (u, v) = (other.to.0 - seed.to.0, other.to.1 - seed.to.1);
    let predicted = (a * x - b * y, b * x + a * y);
    let tolerance = 3.0 * (seed.grain + other.grain) + 0.15 * length(predicted);
    length((predicted.0 - u, predicted.1 - v)) <= tolerance
}

/// Without the care of `hypot` for numbers that overflow: coordinates do not.
fn length((x, y): (f64, f64)) -> f64 {
    (x * x + y * y).sqrt()
}

/// How many features of the master agree with `seed`.
fn consensus(seed: &Likeness, likenesses: &[Likeness]) -> usize {
    let mut masters: Vec<usize> =
        likenesses.iter().filter(|other| agrees(seed, other)).map(|other| other.master).collect();
    masters.sort_unstable();
    masters.dedup();
    masters.len()
}

fn error(transform: &Transform, likeness: &Likeness) -> f64 {
    let to = transform.apply(likeness.from);
    length((to.0 - likeness.to.0, to.1 - likeness.to.1)) / likeness.grain
}

/// From the similarity of a few to the homography of all that follow it.
fn refine(agreeing: &[Likeness], all: &[Likeness]) -> Option<Fit> {
    let pairs = |likenesses: &[Likeness]| -> Vec<Pair> {
        let pair = |l: &Likeness| Pair { from: l.from, to: l.to, weight: 1.0 / (l.grain * l.grain) };
        likenesses.iter().map(pair).collect()
    };
    let mut transform = Transform::fit_similarity(&pairs(agreeing))?;
    let mut inliers = Vec::new();
    for (step, tolerance) in [12.0, 8.0, 5.0, 4.0, 3.0, 3.0].into_iter().enumerate() {
        inliers = all.iter().filter(|likeness| error(&transform, likeness) <= tolerance).copied().collect();
        let pairs = pairs(&inliers);
        let refined = match (step, inliers.len()) {
            (_, ..FEWEST) => return None,
            (0, _) | (_, ..7) => Transform::fit_similarity(&pairs),
            (1 | 2, _) | (_, ..14) => Transform::fit_affine(&pairs),
            _ => Transform::fit_homography(&pairs),
        };
        transform = refined?;
    }
    let mut masters: Vec<usize> = inliers.iter().map(|likeness| likeness.master).collect();
    masters.sort_unstable();
    masters.dedup();
    (masters.len() >= FEWEST).then_some(Fit { transform, inliers: masters.len() })
}

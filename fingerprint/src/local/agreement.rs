//! Whether two pictures show the same, pixel by pixel, where a transform lays one on the other.

use super::align::{Overlay, align};
use super::cover::{covered, median};
use super::grey::Grey;
use super::transform::Transform;

/// Pixels a side of a block.
const BLOCK: usize = 16;
/// Rounds of alignment at half the size, and at full size.
const COARSE: usize = 8;
const FINE: usize = 5;
/// A picture of this size must have so many blocks that count.
const RECOGNISED: f64 = 256.0;
const ENOUGH: usize = 3;
/// A block must overlap by this share, and by this one where something lies over the picture.
const OVERLAP: f64 = 0.6;
const OPEN: f64 = 0.35;

/// Longest over shortest side that a square may become.
const SQUEEZE: f64 = 1.8;
/// Blocks whose detail has a variance (in squared grey levels) below the first say nothing: they are paper, canvas
/// or noise, which many pictures share. From the second on they count fully.
const FAINT: f64 = 30.0;
const CLEAR: f64 = 100.0;
/// Below this variance is nothing but noise.
const NOISE: f64 = 5.0;
/// Blocks with less than this share of the detail of the strongest ones count less: on a scroll the writing
/// speaks, not the ground.
const GROUND: f64 = 0.1;
/// A block of the query with so many times the detail of the master's has something added.
const ADDED: f64 = 2.0;
/// How strongly a block with this correlation speaks for the same picture, in steps between which is interpolated.
/// Measured: blocks of true matches lie above 0.8, those of false ones spread around 0.2.
const SPEAKS: [(f64, f64); 6] = [(0.0, -2.0), (0.3, -1.5), (0.55, 0.0), (0.75, 1.0), (0.9, 2.0), (1.0, 2.2)];

/// A block with this weight, of 1, shows what a place of the query is.
const COUNTS: f64 = 0.25;
/// What correlates less at half the size is not looked at in full.
const HOPELESS: f64 = 0.2;
/// Blocks below this correlation do not agree at all.
const DISSENTS: f64 = 0.3;

/// The correlation that a match has with this evidence, in steps between which is interpolated: the edge of a page on
/// a dark table looks like that of another one, but not quite. With less evidence nothing is a match; with very much, most of
/// the picture agrees, and something lies over it.
const MATCHES: [(f64, f64); 6] =
    [(8.0, 0.95), (14.0, 0.91), (24.0, 0.895), (45.0, 0.76), (OVERLAID, 0.76), (OVERLAID, 0.5)];
const OVERLAID: f64 = 100.0;
/// How near comparisons with wrong masters come: this share of them misses no more than so many times the correlation that a
/// match may miss, and the share falls with this power of what is missed. Measured, and the power by the estimator of Hill, "A
/// simple general approach to inference about the tail of a distribution", Annals of Statistics 1975; LIMITS.md has the figures.
const WRONG: (f64, f64, f64) = (0.0134, 2.5, 2.0);
/// What lies open where something lies over the picture must say more: writing on the same paper is left out, too.
/// Measured, the detail of all of it correlates by 0.8 and more in true matches, and by less than 0.73 in most others.
const UNCOVERED: (f64, f64) = (30.0, 0.83);
const OPEN_DETAIL: f64 = 0.75;

/// What a comparison by pixels found.
#[derive(Clone, Debug)]
pub(crate) struct Agreement {
    /// From the query to the master, in pixels of the compared pictures, moved until they fit best.
    pub(crate) transform: Transform,
    /// What all blocks together say: the more of them agree and the better, the higher; below 0 they contradict.
    pub(crate) evidence: f64,
    /// Correlation of what is on the blocks that count, -1 to 1.
    pub(crate) correlation: f64,
    /// Share of the blocks that count which do not agree at all, 0 to 1.
    pub(crate) dissent: f64,
    /// The blocks that count: where they lie in the query's unit square, and whether they agree.
    pub(crate) held: Vec<((f64, f64), bool)>,
}

/// One block that both pictures have: the variances of its detail, and their covariance.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// Its middle, in pixels of the master.
    middle: (f64, f64),
    master: f64,
    query: f64,
    both: f64,
}

/// Compares `query` with `master`, to which `transform` brings it to within a few pixels.
pub(crate) fn compare(query: &Grey, master: &Grey, transform: &Transform) -> Option<Agreement> {
    let inverse = transform.inverse()?;
    let centre = centre(query, master, &inverse)?;
    let growth = inverse.growth(centre);
    if !(1e-3..1e3).contains(&growth) || !is_plain(&inverse, centre) {
        return None;
    }
    // Both are brought to the coarser of the two scales.
    let density = growth.sqrt();
    let (here, there) = (density.min(1.0), (1.0 / density).min(1.0));
    let (small_master, to_small_master) = shrink(master, here);
    let (small_query, to_small_query) = shrink(query, there);
    let start = to_small_master.inverse()?.then(&inverse).then(&to_small_query);

    let (coarse_master, to_coarse_master) = shrink(&small_master, 0.5);
    let (coarse_query, to_coarse_query) = shrink(&small_query, 0.5);
    let coarse = to_coarse_master.inverse()?.then(&start).then(&to_coarse_query);
    let start = match align(&coarse_master, &coarse_query, coarse, COARSE, false) {
        Some((overlay, _)) if overlay.correlation < HOPELESS => return None,
        Some((_, coarse)) => to_coarse_master.then(&coarse).then(&to_coarse_query.inverse()?),
        None => start,
    };
    let (overlay, fit) = align(&small_master, &small_query, start, FINE, true)?;
    if !is_plain(&fit, to_small_master.apply(centre)) {
        return None;
    }
    let transform = to_small_master.then(&fit).then(&to_small_query.inverse()?).inverse()?;
    let there = |middle: (f64, f64)| {
        let (x, y) = fit.apply(middle);
        (x / small_query.width as f64, y / small_query.height as f64)
    };
    let found = blocks(&overlay, OVERLAP);
    let mut weight = weigh(&found);
    if !weight.is_match() {
        let covered = covered(&overlay, typical_gain(&found));
        let open = Overlay::without(&covered, &small_master, &small_query, &fit);
        let open = open.filter(|open| open.correlation >= OPEN_DETAIL).map(|open| weigh(&blocks(&open, OPEN)));
        if let Some(open) = open.filter(|open| open.evidence >= UNCOVERED.0 && open.correlation >= UNCOVERED.1) {
            weight = weight.but_for(open);
        }
    }
    let Weight { evidence, correlation, dissent, held } = weight;
    let held = held.into_iter().map(|(middle, agrees)| (there(middle), agrees)).collect();
    Some(Agreement { transform, evidence, correlation, dissent, held })
}

/// The middle of the part of the master that the query shows.
fn centre(query: &Grey, master: &Grey, inverse: &Transform) -> Option<(f64, f64)> {
    const GRID: usize = 24;
    let (mut x_sum, mut y_sum, mut count) = (0.0, 0.0, 0.0);
    for index in 0..GRID * GRID {
        let part = |at: usize, length: usize| (at as f64 + 0.5) / GRID as f64 * length as f64;
        let place = (part(index % GRID, master.width), part(index / GRID, master.height));
        let (u, v) = inverse.apply(place);
        if inverse.growth(place) > 0.0 && query.at(u as f32, v as f32).is_some() {
            x_sum += place.0;
            y_sum += place.1;
            count += 1.0;
        }
    }
    (count > 0.0).then(|| (x_sum / count, y_sum / count))
}

/// Whether nothing is squeezed by more than half in one direction, as no photograph of a picture is.
fn is_plain(transform: &Transform, at: (f64, f64)) -> bool {
    let step = 1.0;
    let (centre, right, below) =
        (transform.apply(at), transform.apply((at.0 + step, at.1)), transform.apply((at.0, at.1 + step)));
    let (a, b, c, d) = (right.0 - centre.0, below.0 - centre.0, right.1 - centre.1, below.1 - centre.1);
    // Singular values of the derivative: their sum of squares and product.
    let (squares, product) = (a * a + b * b + c * c + d * d, a * d - b * c);
    product > 0.0 && squares <= (SQUEEZE + 1.0 / SQUEEZE) * product
}

/// The picture smaller by `factor`, and the transform that did it.
fn shrink(picture: &Grey, factor: f64) -> (Grey, Transform) {
    let side = |length: usize| ((length as f64 * factor).round() as usize).max(1);
    let small = picture.scaled(side(picture.width), side(picture.height));
    let ratio = |small: usize, large: usize| small as f64 / large as f64;
    let transform = Transform::scale(ratio(small.width, picture.width), ratio(small.height, picture.height));
    (small, transform)
}

impl Agreement {
    /// Whether the two pictures show the same.
    pub(crate) fn is_match(&self) -> bool {
        is_match(self.evidence, self.correlation)
    }
}

fn is_match(evidence: f64, correlation: f64) -> bool {
    evidence >= MATCHES[0].0 && correlation >= between(&MATCHES, evidence)
}

/// The probability that a comparison with a master that the picture does not show agrees as well as this match.
pub(crate) fn chance(evidence: f64, correlation: f64) -> f64 {
    let (share, reach, power) = WRONG;
    let missing = (1.0 - correlation).max(0.0) / (1.0 - between(&MATCHES, evidence));
    share * (missing / reach).min(1.0).powf(power)
}

/// What blocks say together, as in [`Agreement`].
#[derive(Clone, Debug, Default)]
struct Weight {
    evidence: f64,
    correlation: f64,
    dissent: f64,
    held: Vec<((f64, f64), bool)>,
}

impl Weight {
    fn is_match(&self) -> bool {
        is_match(self.evidence, self.correlation)
    }

    /// What is said by what lies open; what is under something still contradicts.
    fn but_for(self, open: Weight) -> Weight {
        let mut held = open.held;
        let is_open = |middle| held.iter().any(|(other, _)| *other == middle);
        let under: Vec<_> =
            self.held.iter().filter(|(middle, _)| !is_open(*middle)).map(|(middle, _)| (*middle, false)).collect();
        held.extend(under);
        Weight { dissent: self.dissent, held, ..open }
    }
}

/// Strength of the master's detail over that of the query's, as it is in most blocks.
fn typical_gain(blocks: &[Block]) -> f64 {
    let both = blocks.iter().filter(|block| block.master.min(block.query) > NOISE);
    median(both.map(|block| (block.master / block.query).sqrt()).collect()).unwrap_or(1.0)
}

fn weigh(blocks: &[Block]) -> Weight {
    let sum = |value: fn(&Block) -> f64| blocks.iter().map(value).sum::<f64>();
    let (masters, queries) = (sum(|block| block.master), sum(|block| block.query));
    if masters <= 0.0 || queries <= 0.0 {
        return Weight::default();
    }
    // A copy may be paler or harder than its master, within limits.
    let gain = (masters / queries).sqrt().clamp(0.4, 2.5);
    let strength = |block: &Block| block.master.max(block.query * gain * gain);
    let mut strengths: Vec<f64> = blocks.iter().map(strength).collect();
    strengths.sort_unstable_by(|a, b| b.total_cmp(a));
    let strongest = &strengths[..(blocks.len() / 50).max(3).min(blocks.len())];
    let strongest = strongest.iter().sum::<f64>() / strongest.len() as f64;
    let (mut evidence, mut agreed, mut all, mut weights, mut dissent) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let mut held = Vec::new();
    for block in blocks {
        let strength = strength(block);
        let clear = ((strength - FAINT) / (CLEAR - FAINT)).clamp(0.0, 1.0);
        let weight = clear * (strength / (GROUND * strongest)).min(1.0);
        let both = block.both * gain;
        let correlation = both / strength.max(f64::MIN_POSITIVE);
        let speaks = between(&SPEAKS, correlation);
        // What only the query has may be a watermark, or a hand in front of it.
        let added = speaks < 0.0 && block.query * gain * gain > ADDED * block.master;
        evidence += weight * if added { speaks / 2.0 } else { speaks };
        weights += weight;
        if weight >= COUNTS {
            held.push((block.middle, speaks > 0.0));
        }
        dissent += if correlation < DISSENTS { weight } else { 0.0 };
        agreed += weight * both;
        all += weight * strength;
    }
    let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    Weight { evidence, correlation: share(agreed, all), dissent: share(dissent, weights), held }
}

/// What a table of steps says at `at`, between two of them and beyond the last.
fn between(steps: &[(f64, f64)], at: f64) -> f64 {
    let after = steps.iter().position(|(step, _)| *step > at).unwrap_or(steps.len());
    match (after.checked_sub(1).map(|before| steps[before]), steps.get(after)) {
        (Some((from, low)), Some((to, high))) => low + (high - low) * (at - from) / (to - from),
        (Some((_, value)), None) | (None, Some(&(_, value))) => value,
        (None, None) => 0.0,
    }
}

/// Whether enough is on a picture, of its own, that it could be told from another: by the rule by which
/// blocks count when it is compared.
pub(crate) fn is_recognisable(picture: &Grey) -> bool {
    let small = picture.fitted(RECOGNISED);
    Overlay::new(&small, &small, &Transform::scale(1.0, 1.0)).is_some_and(|overlay| {
        blocks(&overlay, OVERLAP).iter().filter(|block| block.master >= (FAINT + CLEAR) / 2.0).count() >= ENOUGH
    })
}

fn blocks(overlay: &Overlay, share: f64) -> Vec<Block> {
    let mut blocks = Vec::new();
    for top in (0..overlay.height).step_by(BLOCK) {
        for left in (0..overlay.width).step_by(BLOCK) {
            let mut sums = [0f64; 5];
            let mut count = 0.0;
            for y in top..(top + BLOCK).min(overlay.height) {
                for at in y * overlay.width + left..y * overlay.width + (left + BLOCK).min(overlay.width) {
                    let (m, q) = (f64::from(overlay.master[at]), f64::from(overlay.query[at]));
                    count += f64::from(overlay.mask[at]);
                    sums.iter_mut().zip([m, q, m * m, q * q, m * q]).for_each(|(sum, value)| *sum += value);
                }
            }
            if count < share * (BLOCK * BLOCK) as f64 {
                continue;
            }
            let [m, q, mm, qq, mq] = sums.map(|sum| sum / count);
            let middle = ((left + BLOCK / 2) as f64, (top + BLOCK / 2) as f64);
            blocks.push(Block {
                middle,
                master: (mm - m * m).max(0.0),
                query: (qq - q * q).max(0.0),
                both: mq - m * q,
            });
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agrees_better_is_less_likely_by_chance() {
        let matches = [(9.0, 0.96), (30.0, 0.9), (60.0, 0.85), (99.0, 0.77), (150.0, 0.6)];
        for (evidence, correlation) in matches {
            assert!(is_match(evidence, correlation), "{evidence} {correlation}");
            let [worse, as_it_is, better] = [-0.1, 0.0, 0.03].map(|more| chance(evidence, correlation + more));
            assert!(better < as_it_is && as_it_is <= worse && worse <= WRONG.0, "{better} {as_it_is} {worse}");
        }
        assert_eq!(chance(500.0, 1.0), 0.0);
        assert!(!is_match(99.0, 0.7) && !is_match(7.9, 1.0) && is_match(100.0, 0.5));
    }
}

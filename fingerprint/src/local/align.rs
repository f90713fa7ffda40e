//! Moves a transform until the pixels of two pictures lie on each other: Gauss-Newton on the difference of
//! their detail (Lucas and Kanade, IJCAI 1981; Baker and Matthews, "Lucas-Kanade 20 years on", IJCV 2004).

use super::grey::Grey;
use super::transform::{Transform, accumulate, solve};

/// Structure wider than twice this many pixels is taken away: light and shade say nothing.
const RADIUS: usize = 8;
/// The outermost pixels of the query are left out, and this share of the master's sides: there a frame around the
/// query shows where the transform is not yet exact.
const MARGIN: usize = 2;
const EDGE: f64 = 0.03;
/// Pixels that a round looks at, about.
const SAMPLES: usize = 12_000;
/// Fewer pixels in common say nothing.
const FEWEST: usize = 200;
/// A transform has settled when no corner moves by more than this many pixels.
const SETTLED: f64 = 0.05;

/// The detail of two pictures, one laid on the other: what is left without slow changes, 0 where one of
/// them ends.
pub(super) struct Overlay {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) master: Vec<f32>,
    pub(super) query: Vec<f32>,
    /// 1 where both are, else 0.
    pub(super) mask: Vec<f32>,
    /// Correlation of the detail, -1 to 1.
    pub(super) correlation: f64,
    /// Strength of the master's detail over that of the query's.
    gain: f64,
}

impl Overlay {
    /// `transform` leads from the master to the query. None if they have hardly anything in common.
    pub(super) fn new(master: &Grey, query: &Grey, transform: &Transform) -> Option<Overlay> {
        Overlay::without(&[], master, query, transform)
    }

    /// The same without the pixels of the master that are true in `covered`.
    pub(super) fn without(covered: &[bool], master: &Grey, query: &Grey, transform: &Transform) -> Option<Overlay> {
        let (width, height) = (master.width, master.height);
        let (mut mask, mut warped) = (vec![0f32; width * height], vec![0f32; width * height]);
        let edge = MARGIN as f32 + 0.5;
        let inside = |u: f32, v: f32| {
            u >= edge && v >= edge && u <= query.width as f32 - edge && v <= query.height as f32 - edge
        };
        let margin = MARGIN.max((EDGE * ((width * height) as f64).sqrt()) as usize);
        for y in margin..height.saturating_sub(margin) {
            for x in margin..width.saturating_sub(margin) {
                let (u, v) = transform.apply((x as f64 + 0.5, y as f64 + 0.5));
                let (u, v) = (u as f32, v as f32);
                if inside(u, v)
                    && !covered.get(y * width + x).is_some_and(|covered| *covered)
                    && let Some(level) = query.at(u, v)
                {
                    mask[y * width + x] = 1.0;
                    warped[y * width + x] = level;
                }
            }
        }
        let masked =
            |levels: &[f32]| levels.iter().zip(&mask).map(|(level, inside)| level * inside).collect::<Vec<f32>>();
        let blur = |levels: Vec<f32>| Grey::new(width, height, levels).blurred(RADIUS).pixels;
        let shares = blur(mask.clone());
        let detail = |levels: &[f32]| -> Vec<f32> {
            let smooth = blur(masked(levels));
            let rest = |((level, smooth), (inside, share)): ((&f32, &f32), (&f32, &f32))| {
                if *inside > 0.0 { level - smooth / share.max(1e-6) } else { 0.0 }
            };
            levels.iter().zip(&smooth).zip(mask.iter().zip(&shares)).map(rest).collect()
        };
        let (master, query) = (detail(&master.pixels), detail(&warped));
        // Side by side: each sum waits for the one before it.
        let (mut mm, mut qq, mut mq) = (0.0, 0.0, 0.0);
        for (master, query) in master.iter().zip(&query) {
            mm += f64::from(master * master);
            qq += f64::from(query * query);
            mq += f64::from(master * query);
        }
        let count = mask.iter().filter(|inside| **inside > 0.0).count();
        let correlation = mq / (mm * qq).sqrt().max(f64::MIN_POSITIVE);
        let enough = count >= FEWEST && mm > 0.0 && qq > 0.0;
        enough.then(|| Overlay { width, height, master, query, mask, correlation, gain: (mm / qq).sqrt() })
    }
}

/// The overlay that fits best, and its transform, from one that is off by a few pixels. `bend` also moves what
/// makes parallels meet.
pub(super) fn align(
    master: &Grey,
    query: &Grey,
    start: Transform,
    rounds: usize,
    bend: bool,
) -> Option<(Overlay, Transform)> {
    let half = (master.width as f64 / 2.0, master.height as f64 / 2.0);
    let unit = Transform([half.0, 0.0, half.0, 0.0, half.1, half.1, 0.0, 0.0, 1.0]);
    let back = unit.inverse()?;
    let mut best = (Overlay::new(master, query, &start)?, start);
    let mut current = start;
    for _ in 0..rounds {
        let overlay = if current == best.1 { None } else { Overlay::new(master, query, &current) };
        if let Some(overlay) = overlay {
            if overlay.correlation <= best.0.correlation {
                break;
            }
            best = (overlay, current);
        } else if current != best.1 {
            break;
        }
        let Some(change) = step(&best.0, half, bend) else { break };
        let corners = [(0.0, 0.0), (2.0 * half.0, 0.0), (0.0, 2.0 * half.1), (2.0 * half.0, 2.0 * half.1)];
        let next = back.then(&change).then(&unit).then(&current);
        let moved = |corner: &(f64, f64)| {
            let (a, b) = (current.apply(*corner), next.apply(*corner));
            (a.0 - b.0).hypot(a.1 - b.1)
        };
        if corners.iter().map(moved).fold(0.0, f64::max) < SETTLED {
            break;
        }
        current = next;
    }
    Some(best)
}

/// One round of Gauss-Newton: a change near the identity, in coordinates from -1 to 1 over the master, which comes
/// before the transform. Pixels that differ a lot (a watermark, a finger) count little.
fn step(overlay: &Overlay, half: (f64, f64), bend: bool) -> Option<Transform> {
    let (width, height) = (overlay.width, overlay.height);
    let stride = ((width * height) as f64 / SAMPLES as f64).sqrt().ceil().max(1.0) as usize;
    let rest = |at: usize| f64::from(overlay.master[at]) - overlay.gain * f64::from(overlay.query[at]);
    let each = || {
        let places = (1..height - 1).step_by(stride).flat_map(|y| (1..width - 1).step_by(stride).map(move |x| (x, y)));
        places.filter(|(x, y)| {
            let at = y * width + x;
            [at - 1, at, at + 1, at - width, at + width].iter().all(|&at| overlay.mask[at] > 0.0)
        })
    };
    let (mut squares, mut count) = (0.0, 0.0);
    for (x, y) in each() {
        squares += rest(y * width + x).powi(2);
        count += 1.0;
    }
    let typical = (squares / f64::max(count, 1.0)).max(1e-3);
    let (mut left, mut right) = ([[0.0; 8]; 8], [0.0; 8]);
    for (x, y) in each() {
        let at = y * width + x;
        let slope =
            |after: usize, before: usize| f64::from(overlay.query[after] - overlay.query[before]) * 0.5 * overlay.gain;
        let (dx, dy) = (slope(at + 1, at - 1) * half.0, slope(at + width, at - width) * half.1);
        let (x, y) = ((x as f64 + 0.5) / half.0 - 1.0, (y as f64 + 0.5) / half.1 - 1.0);
        let along = if bend { -(dx * x + dy * y) } else { 0.0 };
        let row = [dx * x, dx * y, dx, dy * x, dy * y, dy, along * x, along * y];
        let rest = rest(at);
        accumulate(&mut left, &mut right, &row, rest, 1.0 / (1.0 + rest * rest / typical));
    }
    for (index, row) in left.iter_mut().enumerate() {
        row[index] += row[index] * 1e-3 + 1e-6;
    }
    let [a, b, c, d, e, f, g, h] = solve(left, right)?;
    Some(Transform([1.0 + a, b, c, d, 1.0 + e, f, g, h, 1.0]))
}

//! What lies over a picture: the letters of a watermark, a stamp, a hand that holds the page.

use super::align::Overlay;
use super::grey::Grey;

/// Pixels lie under something where they differ by more than so many times the median difference. Pixels of a
/// true match that is not covered differ like noise, nearly all of them by less than this.
const FAR: f64 = 4.0;
/// What is around a covered pixel is covered too, where this share of its nine neighbours is.
const SPREAD: f32 = 0.2;

/// The pixels of the overlay on which something lies that only the query has: the few in which the two differ far
/// more than they mostly do. What only the master has is not under anything: it is missing. `gain` is the strength of
/// the master's detail over that of the query's.
pub(super) fn covered(overlay: &Overlay, gain: f64) -> Vec<bool> {
    let pairs =
        || {
            overlay.master.iter().zip(&overlay.query).zip(&overlay.mask).map(|((master, query), inside)| {
                (*inside > 0.0).then(|| (f64::from(*master), gain * f64::from(*query)))
            })
        };
    let differences = pairs().flatten().map(|(master, query)| (master - query).abs());
    let limit = FAR * median(differences.collect()).unwrap_or(0.0);
    let is_added = |(master, query): (f64, f64)| (master - query).abs() > limit && query.abs() > master.abs();
    let added = pairs().map(|pair| f32::from(pair.is_some_and(is_added)));
    let added = Grey::new(overlay.width, overlay.height, added.collect());
    added.blurred(1).pixels.into_iter().map(|share| share > SPREAD).collect()
}

/// None of nothing.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::super::transform::Transform;
    use super::*;

    const SIDE: usize = 96;

    /// Whether a pixel lies under one of three bars.
    fn is_under(at: usize) -> bool {
        at / SIDE % 30 < 4
    }

    fn texture(with_bars: bool) -> Grey {
        let level = |at: usize| {
            let (x, y) = ((at % SIDE) as f32, (at / SIDE) as f32);
            let noise = (at as u32).wrapping_mul(2_654_435_761) >> 27;
            90.0 + 25.0 * (x / 3.0).sin() * (y / 4.0).cos()
                + noise as f32 / 8.0
                + if with_bars && is_under(at) { 110.0 } else { 0.0 }
        };
        Grey::new(SIDE, SIDE, (0..SIDE * SIDE).map(level).collect())
    }

    /// Shares of what is under the bars, and of all else, that are found to be covered.
    fn shares(master: &Grey, query: &Grey) -> (f64, f64) {
        let overlay = Overlay::new(master, query, &Transform::scale(1.0, 1.0)).unwrap();
        let covered = covered(&overlay, 1.0);
        let share = |under: bool| {
            let of = (0..covered.len()).filter(|at| overlay.mask[*at] > 0.0 && is_under(*at) == under);
            of.clone().filter(|at| covered[*at]).count() as f64 / of.count() as f64
        };
        (share(true), share(false))
    }

    #[test]
    fn what_the_query_adds_covers_and_what_it_lacks_does_not() {
        let (plain, barred) = (texture(false), texture(true));
        let (under, beside) = shares(&plain, &barred);
        assert!(under > 0.8 && beside < 0.2, "{under} {beside}");
        let (under, _) = shares(&barred, &plain);
        assert!(under < 0.1, "{under}");
    }
}

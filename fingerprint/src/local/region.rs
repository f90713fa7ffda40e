//! Which part of one picture lies on another.

use super::transform::Transform;

/// The corners of a whole picture.
pub(crate) const UNIT: [(f64, f64); 4] = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)];

/// The unit square, transformed and cut off at the unit square (Sutherland and Hodgman, "Reentrant polygon
/// clipping", CACM 1974).
pub(crate) fn polygon(transform: &Transform) -> Vec<(f64, f64)> {
    let mut corners: Vec<(f64, f64)> = UNIT.iter().map(|corner| transform.apply(*corner)).collect();
    // How far inside each of the four edges a point lies.
    let edges: [fn((f64, f64)) -> f64; 4] = [|p| p.0, |p| 1.0 - p.0, |p| p.1, |p| 1.0 - p.1];
    for inside in edges {
        let mut kept = Vec::new();
        for (index, &end) in corners.iter().enumerate() {
            let start = corners[(index + corners.len() - 1) % corners.len()];
            let (from, to) = (inside(start), inside(end));
            if (from < 0.0) != (to < 0.0) {
                let part = from / (from - to);
                kept.push((start.0 + (end.0 - start.0) * part, start.1 + (end.1 - start.1) * part));
            }
            if to >= 0.0 {
                kept.push(end);
            }
        }
        corners = kept;
    }
    corners
}

/// The area of a polygon.
pub(crate) fn area(corners: &[(f64, f64)]) -> f64 {
    let after = corners.iter().cycle().skip(1);
    corners.iter().zip(after).map(|(a, b)| a.0 * b.1 - b.0 * a.1).sum::<f64>().abs() / 2.0
}

/// How much of each picture lies on the other.
#[derive(Clone, Debug)]
pub(crate) struct Coverage {
    /// The part of the master that the query shows, in its unit square.
    pub(crate) region: Vec<(f64, f64)>,
    /// Its share of the master's area, 0 to 1.
    pub(crate) master: f64,
    /// The part of the query that shows the master, in its unit square.
    pub(crate) place: Vec<(f64, f64)>,
    /// Its share of the query's area, 0 to 1.
    pub(crate) query: f64,
}

impl Coverage {
    /// Of a transform from the query's unit square to the master's.
    pub(crate) fn of(transform: &Transform) -> Option<Coverage> {
        let (region, place) = (polygon(transform), polygon(&transform.inverse()?));
        let (master, query) = (area(&region).min(1.0), area(&place).min(1.0));
        (master.is_finite() && query.is_finite()).then_some(Coverage { region, master, place, query })
    }
}

/// Whether a point lies in a convex polygon.
pub(crate) fn contains(corners: &[(f64, f64)], point: (f64, f64)) -> bool {
    let after = corners.iter().cycle().skip(1);
    let side = |(a, b): (&(f64, f64), &(f64, f64))| (b.0 - a.0) * (point.1 - a.1) - (b.1 - a.1) * (point.0 - a.0);
    let mut sides = corners.iter().zip(after).map(side);
    corners.len() >= 3 && (sides.clone().all(|side| side >= 0.0) || sides.all(|side| side <= 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_is_a_quarter() {
        // The query is the lower right quarter of the master.
        let coverage = Coverage::of(&Transform([0.5, 0.0, 0.5, 0.0, 0.5, 0.5, 0.0, 0.0, 1.0])).unwrap();
        assert!((coverage.master - 0.25).abs() < 1e-9 && (coverage.query - 1.0).abs() < 1e-9);
        // A frame of a tenth around the whole master.
        let coverage = Coverage::of(&Transform([1.25, 0.0, -0.125, 0.0, 1.25, -0.125, 0.0, 0.0, 1.0])).unwrap();
        assert!((coverage.master - 1.0).abs() < 1e-9 && (coverage.query - 0.64).abs() < 1e-9);
    }

    #[test]
    fn a_turned_square_is_cut_to_an_octagon() {
        let (sin, cos) = std::f64::consts::FRAC_PI_4.sin_cos();
        let turn =
            Transform([cos, -sin, 0.5 - 0.5 * cos + 0.5 * sin, sin, cos, 0.5 - 0.5 * sin - 0.5 * cos, 0.0, 0.0, 1.0]);
        let corners = polygon(&turn);
        assert_eq!(corners.len(), 8);
        assert!((area(&corners) - (2.0 * 2f64.sqrt() - 2.0)).abs() < 1e-9);
    }

    #[test]
    fn a_point_lies_inside_or_outside() {
        let coverage = Coverage::of(&Transform([2.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0])).unwrap();
        assert!(contains(&coverage.place, (0.4, 0.9)) && !contains(&coverage.place, (0.6, 0.5)));
    }
}

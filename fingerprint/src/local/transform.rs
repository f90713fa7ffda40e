//! Projective transforms of the plane, and the least-squares fits of one to pairs of points.

/// A homography, row by row: (x, y) goes to ((ax + by + c) / w, (dx + ey + f) / w) with w = gx + hy + i.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Transform(pub(crate) [f64; 9]);

/// A point here, the point there, and how much the pair counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) from: (f64, f64),
    pub(crate) to: (f64, f64),
    pub(crate) weight: f64,
}

impl Transform {
    pub(crate) const fn scale(x: f64, y: f64) -> Transform {
        Transform([x, 0.0, 0.0, 0.0, y, 0.0, 0.0, 0.0, 1.0])
    }

    /// Turned and scaled by the complex number `a + bi`, then moved.
    pub(crate) const fn similarity(a: f64, b: f64, move_x: f64, move_y: f64) -> Transform {
        Transform([a, -b, move_x, b, a, move_y, 0.0, 0.0, 1.0])
    }

    pub(crate) fn apply(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let [a, b, c, d, e, f, g, h, i] = self.0;
        let w = g * x + h * y + i;
        ((a * x + b * y + c) / w, (d * x + e * y + f) / w)
    }

    /// First `self`, then `next`.
    pub(crate) fn then(&self, next: &Transform) -> Transform {
        Transform(std::array::from_fn(|index| {
            let (row, column) = (index / 3, index % 3);
            (0..3).map(|k| next.0[row * 3 + k] * self.0[k * 3 + column]).sum()
        }))
    }

    /// The way back; none if there is none.
    pub(crate) fn inverse(&self) -> Option<Transform> {
        let [a, b, c, d, e, f, g, h, i] = self.0;
        let minors = [e * i - f * h, c * h - b * i, b * f - c * e];
        let determinant = a * minors[0] + d * minors[1] + g * minors[2];
        let adjugate = [
            minors[0],
            minors[1],
            minors[2],
            f * g - d * i,
            a * i - c * g,
            c * d - a * f,
            d * h - e * g,
            b * g - a * h,
            a * e - b * d,
        ];
        let inverse = Transform(adjugate.map(|minor| minor / determinant));
        inverse.0.iter().all(|value| value.is_finite()).then_some(inverse)
    }

    /// How much areas grow at a point; negative where the plane is turned over or beyond the horizon.
    pub(crate) fn growth(&self, (x, y): (f64, f64)) -> f64 {
        let [a, b, c, d, e, f, g, h, i] = self.0;
        let w = g * x + h * y + i;
        let determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
        determinant / (w * w * w)
    }

    /// The similarity that maps the pairs best; none for fewer than two different points.
    pub(crate) fn fit_similarity(pairs: &[Pair]) -> Option<Transform> {
        let (from, to) = centres(pairs)?;
        let (mut a, mut b, mut spread) = (0.0, 0.0, 0.0);
        for pair in pairs {
            let (x, y) = (pair.from.0 - from.0, pair.from.1 - from.1);
            let (u, v) = (pair.to.0 - to.0, pair.to.1 - to.1);
            a += pair.weight * (x * u + y * v);
            b += pair.weight * (x * v - y * u);
            spread += pair.weight * (x * x + y * y);
        }
        if spread <= f64::EPSILON {
            return None;
        }
        let (a, b) = (a / spread, b / spread);
        Some(Transform::similarity(a, b, to.0 - a * from.0 + b * from.1, to.1 - b * from.0 - a * from.1))
    }

    /// The affine transform that maps the pairs best; none if they lie on a line.
    pub(crate) fn fit_affine(pairs: &[Pair]) -> Option<Transform> {
        let (from, _) = centres(pairs)?;
        let (mut left, mut x_right, mut y_right) = ([[0.0; 3]; 3], [0.0; 3], [0.0; 3]);
        for pair in pairs {
            let row = [pair.from.0 - from.0, pair.from.1 - from.1, 1.0];
            accumulate(&mut left, &mut x_right, &row, pair.to.0, pair.weight);
            row.iter().zip(&mut y_right).for_each(|(value, sum)| *sum += pair.weight * value * pair.to.1);
        }
        let ([a, b, c], [d, e, f]) = (solve(left, x_right)?, solve(left, y_right)?);
        let centre = Transform([1.0, 0.0, -from.0, 0.0, 1.0, -from.1, 0.0, 0.0, 1.0]);
        Some(centre.then(&Transform([a, b, c, d, e, f, 0.0, 0.0, 1.0])))
    }

    /// The homography that maps the pairs best (direct linear transform on centred, scaled points; Hartley,
    /// "In defense of the eight-point algorithm", PAMI 1997); none if too many of them lie on a line.
    pub(crate) fn fit_homography(pairs: &[Pair]) -> Option<Transform> {
        let (from, to) = centres(pairs)?;
        let reach = |point: fn(&Pair) -> (f64, f64), centre: (f64, f64)| {
            let sum: f64 = pairs.iter().map(|pair| (point(pair).0 - centre.0).hypot(point(pair).1 - centre.1)).sum();
            (sum / pairs.len() as f64).max(f64::EPSILON)
        };
        let (from_reach, to_reach) = (reach(|pair| pair.from, from), reach(|pair| pair.to, to));
        let (mut left, mut right) = ([[0.0; 8]; 8], [0.0; 8]);
        for pair in pairs {
            let (x, y) = ((pair.from.0 - from.0) / from_reach, (pair.from.1 - from.1) / from_reach);
            let (u, v) = ((pair.to.0 - to.0) / to_reach, (pair.to.1 - to.1) / to_reach);
            let rows = [[x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y], [0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y]];
            accumulate(&mut left, &mut right, &rows[0], u, pair.weight);
            accumulate(&mut left, &mut right, &rows[1], v, pair.weight);
        }
        let [a, b, c, d, e, f, g, h] = solve(left, right)?;
        let centre = Transform::similarity(1.0 / from_reach, 0.0, -from.0 / from_reach, -from.1 / from_reach);
        let back = Transform::similarity(to_reach, 0.0, to.0, to.1);
        Some(centre.then(&Transform([a, b, c, d, e, f, g, h, 1.0])).then(&back))
    }
}

/// The weighted centres of both sides.
fn centres(pairs: &[Pair]) -> Option<((f64, f64), (f64, f64))> {
    let weight: f64 = pairs.iter().map(|pair| pair.weight).sum();
    let mean = |value: fn(&Pair) -> f64| pairs.iter().map(|pair| value(pair) * pair.weight).sum::<f64>() / weight;
    (weight > 0.0).then(|| {
        ((mean(|pair| pair.from.0), mean(|pair| pair.from.1)), (mean(|pair| pair.to.0), mean(|pair| pair.to.1)))
    })
}

/// Adds one weighted equation, `row` times the unknowns is `value`, to the normal equations.
pub(super) fn accumulate<const N: usize>(
    left: &mut [[f64; N]; N],
    right: &mut [f64; N],
    row: &[f64; N],
    value: f64,
    weight: f64,
) {
    for (i, sums) in left.iter_mut().enumerate() {
        let factor = weight * row[i];
        sums.iter_mut().zip(row).for_each(|(sum, other)| *sum += factor * other);
        right[i] += factor * value;
    }
}

/// Gaussian elimination with partial pivoting; none if the equations do not determine the unknowns.
pub(super) fn solve<const N: usize>(mut left: [[f64; N]; N], mut right: [f64; N]) -> Option<[f64; N]> {
    for column in 0..N {
        let pivot = (column..N).max_by(|&a, &b| left[a][column].abs().total_cmp(&left[b][column].abs()))?;
        if !left[pivot][column].is_finite() || left[pivot][column].abs() < 1e-12 {
            return None;
        }
        left.swap(column, pivot);
        right.swap(column, pivot);
        let (above, below) = left.split_at_mut(column + 1);
        for (row, below) in below.iter_mut().enumerate() {
            let factor = below[column] / above[column][column];
            below.iter_mut().zip(&above[column]).skip(column).for_each(|(value, pivot)| *value -= factor * pivot);
            right[column + 1 + row] -= factor * right[column];
        }
    }
    let mut solution = [0.0; N];
    for row in (0..N).rev() {
        let rest: f64 = (row + 1..N).map(|k| left[row][k] * solution[k]).sum();
        solution[row] = (right[row] - rest) / left[row][row];
    }
    Some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUE: Transform = Transform([1.2, -0.3, 40.0, 0.25, 0.9, -12.0, 2e-4, -1e-4, 1.0]);

    fn pairs(transform: &Transform) -> Vec<Pair> {
        let point = |index: u32| (f64::from(index * 37 % 101) * 5.0, f64::from(index * 53 % 89) * 4.0);
        (0..40).map(|index| Pair { from: point(index), to: transform.apply(point(index)), weight: 1.0 }).collect()
    }

    fn worst(transform: &Transform, pairs: &[Pair]) -> f64 {
        let error = |pair: &Pair| {
            let found = transform.apply(pair.from);
            (found.0 - pair.to.0).hypot(found.1 - pair.to.1)
        };
        pairs.iter().map(error).fold(0.0, f64::max)
    }

    #[test]
    fn fits_find_the_transform_that_made_the_pairs() {
        let made = pairs(&TRUE);
        assert!(worst(&Transform::fit_homography(&made).unwrap(), &made) < 1e-6);
        let affine = Transform([1.2, -0.3, 40.0, 0.25, 0.9, -12.0, 0.0, 0.0, 1.0]);
        let made = pairs(&affine);
        assert!(worst(&Transform::fit_affine(&made).unwrap(), &made) < 1e-6);
        let made = pairs(&Transform::similarity(0.4, -0.7, 3.0, 5.0));
        assert!(worst(&Transform::fit_similarity(&made).unwrap(), &made) < 1e-6);
    }

    #[test]
    fn points_on_a_line_determine_no_plane() {
        let pair = |at: f64| Pair { from: (at, 2.0 * at), to: (at, at), weight: 1.0 };
        let line: Vec<Pair> = (0..9).map(|at| pair(f64::from(at))).collect();
        assert_eq!(Transform::fit_affine(&line), None);
        assert_eq!(Transform::fit_homography(&line), None);
        assert_eq!(Transform::fit_similarity(&line[..1]), None);
    }

    #[test]
    fn there_and_back_is_nowhere() {
        let back = TRUE.inverse().unwrap();
        let (x, y) = TRUE.then(&back).apply((123.0, 45.0));
        assert!((x - 123.0).abs() < 1e-9 && (y - 45.0).abs() < 1e-9);
        let (step, at) = (1e-4, (123.0, 45.0));
        let (a, b, c) = (TRUE.apply(at), TRUE.apply((at.0 + step, at.1)), TRUE.apply((at.0, at.1 + step)));
        let area = ((b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0)) / (step * step);
        assert!((TRUE.growth(at) - area).abs() < 1e-3);
    }
}

//! Corners: the points of a picture that are found again on its copies.

use super::grey::Grey;

/// Pixels that the window of the structure tensor reaches from its centre.
const WINDOW: usize = 2;
/// Corners closer to the edge than this many pixels are left out: copies rarely share their edges.
const MARGIN: usize = 8;
/// A level is divided into so many parts a side, among which the corners are spread.
const PARTS: usize = 8;
/// Pixels that the disc reaches by whose centre of mass a corner is directed (Rublee et al., "ORB: an
/// efficient alternative to SIFT or SURF", ICCV 2011).
const DISC: i32 = 15;
/// Weaker corners than this smaller eigenvalue, in squared grey levels a pixel, are noise of the encoder.
const WEAKEST: f32 = 2.0;
/// Weaker corners than this share of the strongest are the paper, not what is on it: many pictures share it.
const SHARE: f32 = 0.02;
/// So many make the strongest.
const STRONGEST: usize = 20;

/// A corner in one level of a pyramid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Corner {
    pub(super) x: usize,
    pub(super) y: usize,
    strength: f32,
}

/// The strongest corners, spread over the picture; at most `count`, best first.
pub(super) fn corners(picture: &Grey, count: usize) -> Vec<Corner> {
    let (width, height) = (picture.width, picture.height);
    if width <= 2 * MARGIN + 2 || height <= 2 * MARGIN + 2 {
        return Vec::new();
    }
    let strengths = strengths(picture);
    let mut found = Vec::new();
    for y in MARGIN..height - MARGIN {
        for x in MARGIN..width - MARGIN {
            let at = y * width + x;
            let strength = strengths[at];
            if strength < WEAKEST {
                continue;
            }
            let row = |y: usize| &strengths[y * width + x - 1..y * width + x + 2];
            let before = row(y - 1).iter().all(|other| *other < strength) && strengths[at - 1] < strength;
            if before && row(y + 1).iter().all(|other| *other <= strength) && strengths[at + 1] <= strength {
                found.push(Corner { x, y, strength });
            }
        }
    }
    spread(found, width, height, count)
}

/// First the best of each part of the picture, then of all that is left.
fn spread(mut found: Vec<Corner>, width: usize, height: usize, count: usize) -> Vec<Corner> {
    found.sort_unstable_by(|a, b| b.strength.total_cmp(&a.strength).then((a.y, a.x).cmp(&(b.y, b.x))));
    let strongest = &found[..found.len().min(STRONGEST)];
    let typical = strongest.iter().map(|corner| corner.strength).sum::<f32>() / strongest.len().max(1) as f32;
    found.retain(|corner| corner.strength >= SHARE * typical);
    let share = count.div_ceil(PARTS * PARTS).max(1);
    let mut taken = [0; PARTS * PARTS];
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for corner in found {
        let part = corner.y * PARTS / height * PARTS + corner.x * PARTS / width;
        taken[part] += 1;
        if taken[part] <= share {
            first.push(corner);
        } else {
            rest.push(corner);
        }
    }
    first.extend(rest);
    first.truncate(count);
    first
}

/// The smaller eigenvalue of the structure tensor at each pixel (Shi and Tomasi, "Good features to track",
/// CVPR 1994).
fn strengths(picture: &Grey) -> Vec<f32> {
    let (width, height) = (picture.width, picture.height);
    let mut tensor = [vec![0f32; width * height], vec![0f32; width * height], vec![0f32; width * height]];
    for y in 1..height - 1 {
        let row = |y: usize| &picture.pixels[y * width..(y + 1) * width];
        let (above, here, below) = (row(y - 1), row(y), row(y + 1));
        let [xx, xy, yy] = &mut tensor;
        let line = y * width..(y + 1) * width;
        let (xx, xy, yy) = (&mut xx[line.clone()], &mut xy[line.clone()], &mut yy[line]);
        for x in 1..width - 1 {
            let (dx, dy) = ((here[x + 1] - here[x - 1]) * 0.5, (below[x] - above[x]) * 0.5);
            xx[x] = dx * dx;
            xy[x] = dx * dy;
            yy[x] = dy * dy;
        }
    }
    let [xx, xy, yy] = tensor.map(|part| Grey::new(width, height, part).blurred(WINDOW).pixels);
    let smaller = |((a, b), c): ((&f32, &f32), &f32)| {
        let (half, difference) = ((a + c) * 0.5, (a - c) * 0.5);
        half - (difference * difference + b * b).sqrt()
    };
    xx.iter().zip(&xy).zip(&yy).map(smaller).collect()
}

/// The direction of a corner, a unit vector: from it to the centre of mass of the disc around it.
pub(super) fn direction(picture: &Grey, corner: Corner) -> (f32, f32) {
    let (width, height) = (picture.width as i32, picture.height as i32);
    let (cx, cy) = (corner.x as i32, corner.y as i32);
    let (mut x_moment, mut y_moment) = (0f32, 0f32);
    for dy in -DISC..=DISC {
        let reach = f64::from(DISC * DISC - dy * dy).sqrt() as i32;
        let row = (cy + dy).clamp(0, height - 1) * width;
        let (mut sum, mut along) = (0f32, 0f32);
        for dx in -reach..=reach {
            let level = picture.pixels[(row + (cx + dx).clamp(0, width - 1)) as usize];
            sum += level;
            along += level * dx as f32;
        }
        x_moment += along;
        y_moment += sum * dy as f32;
    }
    let length = x_moment.hypot(y_moment);
    if length > 0.0 { (x_moment / length, y_moment / length) } else { (1.0, 0.0) }
}

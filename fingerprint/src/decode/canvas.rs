//! What the frames of an animation are drawn on, one over the other.

use super::{Budget, Each, Failure, Layout, Reduced, Reducer, afford};
use crate::measure::{Limits, Reason, Size};

/// Most frames of an animation that are looked at.
pub(super) const FRAMES: u64 = 4096;

/// Where a frame lies on the canvas.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// What becomes of a frame before the next one is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disposal {
    Keep,
    Clear,
    Restore,
}

pub(super) struct Canvas {
    width: usize,
    height: usize,
    rgba: Vec<u8>,
    /// What is to be done before the next frame: the part to clear, or the picture as it was.
    clear: Option<Place>,
    restore: Option<Vec<u8>>,
}

impl Canvas {
    /// An empty canvas, if two of its size can be held.
    pub(super) fn new(size: Size, limits: &Limits) -> Result<Canvas, Failure> {
        let bytes = u64::from(size.width) * u64::from(size.height) * 4;
        afford(bytes * 3, size, limits)?;
        let (width, height) = (size.width as usize, size.height as usize);
        Ok(Canvas { width, height, rgba: vec![0; width * height * 4], clear: None, restore: None })
    }

    /// Prepares for a frame that is to be treated so afterwards.
    pub(super) fn begin(&mut self, place: Place, disposal: Disposal) {
        if let Some(rgba) = self.restore.take() {
            self.rgba = rgba;
        }
        if let Some(place) = self.clear.take() {
            for y in place.top..place.top.saturating_add(place.height) {
                if let Some(row) = self.row(place.left, y, place.width) {
                    row.fill(0);
                }
            }
        }
        self.clear = (disposal == Disposal::Clear).then_some(place);
        self.restore = (disposal == Disposal::Restore).then(|| self.rgba.clone());
    }

    fn row(&mut self, left: u32, y: u32, width: u32) -> Option<&mut [u8]> {
        let (left, y) = (left as usize, y as usize);
        if left >= self.width || y >= self.height {
            return None;
        }
        let right = left.saturating_add(width as usize).min(self.width);
        self.rgba.get_mut((y * self.width + left) * 4..(y * self.width + right) * 4)
    }

    /// Draws a row of red, green, blue and opacity, over what is there or instead of it.
    pub(super) fn draw(&mut self, left: u32, y: u32, rgba: &[u8], over: bool) {
        let Some(row) = self.row(left, y, (rgba.len() / 4) as u32) else { return };
        for (to, from) in row.chunks_exact_mut(4).zip(rgba.chunks_exact(4)) {
            match (over, from[3]) {
                (false, _) | (true, 255) => to.copy_from_slice(from),
                (true, 0) => {}
                (true, alpha) => {
                    let (alpha, below) = (u32::from(alpha), u32::from(to[3]));
                    let rest = below * (255 - alpha) / 255;
                    let whole = (alpha + rest).max(1);
                    for channel in 0..3 {
                        let sum = u32::from(from[channel]) * alpha + u32::from(to[channel]) * rest;
                        to[channel] = (sum / whole).min(255) as u8;
                    }
                    to[3] = whole.min(255) as u8;
                }
            }
        }
    }

    /// The picture as it is now, on white.
    pub(super) fn reduce(&self, limits: &Limits) -> Reduced {
        reduce(&self.rgba, self.width, &Layout::Rgba { samples: 4 }, limits)
    }
}

/// Reduces a whole picture whose rows follow each other.
pub(super) fn reduce(samples: &[u8], width: usize, layout: &Layout, limits: &Limits) -> Reduced {
    let row = (width * layout.samples()).max(1);
    let mut reducer = Reducer::new(width as u32, (samples.len() / row) as u32, limits);
    let mut rgb = Vec::new();
    for (y, row) in (0u32..).zip(samples.chunks_exact(row)) {
        rgb.clear();
        layout.to_rgb(row, &mut rgb);
        reducer.add(0, y, 1, &rgb);
    }
    reducer.finish()
}

/// Whether frame `number` is still looked at; where it is not, one call of `each` says so.
pub(super) fn goes_on(number: u64, size: Size, budget: &mut Budget, each: Each<'_>) -> bool {
    if number <= FRAMES {
        return budget.spend(size, each).is_continue();
    }
    let reason = Reason::Unsupported(format!("the animation has more than {FRAMES} frames"));
    let _ = each("further frames".to_owned(), Err(reason.at(size)));
    false
}

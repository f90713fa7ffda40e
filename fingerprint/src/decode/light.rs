//! Pictures of light without an upper end (OpenEXR, Radiance): which light is white.

use super::pixels::from_linear;

/// Counts how bright the samples are, in halves of a power of 2.
pub(super) struct Exposure {
    counts: [u64; Exposure::STEPS],
}

impl Exposure {
    const STEPS: usize = 128;
    /// The step of 1.0.
    const ONE: i32 = 64;
    /// The share of samples that may be brighter than white: lamps and reflections.
    const BEYOND: u64 = 100;

    pub(super) fn new() -> Exposure {
        Exposure { counts: [0; Exposure::STEPS] }
    }

    pub(super) fn add(&mut self, samples: &[f32]) {
        for sample in samples.iter().filter(|sample| sample.is_finite() && **sample > 0.0) {
            let step = (sample.log2() * 2.0).ceil() as i32 + Exposure::ONE;
            if let Some(count) = self.counts.get_mut(step.clamp(0, Exposure::STEPS as i32 - 1) as usize) {
                *count += 1;
            }
        }
    }

    /// The light that is white: 1, or what all but a hundredth of the samples reach.
    pub(super) fn white(&self) -> f32 {
        let mut left = self.counts.iter().sum::<u64>() / Exposure::BEYOND;
        for (step, count) in self.counts.iter().enumerate().rev() {
            if *count > left {
                return ((step as i32 - Exposure::ONE) as f32 / 2.0).exp2().max(1.0);
            }
            left -= count;
        }
        1.0
    }
}

/// Appends the samples with eight bits, on the curve of sRGB.
pub(super) fn to_samples(light: &[f32], white: f32, samples: &mut Vec<u8>) {
    samples.extend(light.iter().map(|light| from_linear(light / white)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lamps_do_not_make_the_room_dark() {
        let mut exposure = Exposure::new();
        exposure.add(&[0.5; 995]);
        exposure.add(&[5000.0; 5]);
        assert_eq!(exposure.white(), 1.0);
        exposure.add(&[30.0; 500]);
        assert!((30.0..45.0).contains(&exposure.white()), "{}", exposure.white());
    }
}

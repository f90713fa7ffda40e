//! Samples of every kind of picture -> red, green and blue, eight bits each.

/// How the samples of one pixel are to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One sample, 0 is black; further samples are ignored (`samples` in all).
    Grey {
        /// Samples a pixel.
        samples: usize,
    },
    /// Grey and opacity.
    GreyAlpha,
    /// Red, green, blue; further samples are ignored.
    Rgb {
        /// Samples a pixel.
        samples: usize,
    },
    /// Red, green, blue, opacity, and further samples that are ignored.
    Rgba {
        /// Samples a pixel.
        samples: usize,
    },
    /// Cyan, magenta, yellow, black; 0 is no ink. Further samples are ignored.
    Cmyk {
        /// Samples a pixel.
        samples: usize,
    },
    /// The same with 255 as no ink, as Adobe's JPEG files have it.
    InvertedCmyk,
    /// Luminance and two colour differences (JFIF: ITU-R BT.601, full range).
    YCbCr,
    /// CIE L*a*b* (D50): L* from 0 to 100 as 0 to 255, a* and b* with 128 as none. Further samples are ignored.
    Lab {
        /// Samples a pixel.
        samples: usize,
    },
    /// An index into colours.
    Palette(Vec<[u8; 3]>),
}

impl Layout {
    /// Samples of one pixel.
    pub(crate) fn samples(&self) -> usize {
        match self {
            Layout::Grey { samples }
            | Layout::Rgb { samples }
            | Layout::Rgba { samples }
            | Layout::Lab { samples }
            | Layout::Cmyk { samples } => (*samples).max(1),
            Layout::GreyAlpha => 2,
            Layout::InvertedCmyk => 4,
            Layout::YCbCr => 3,
            Layout::Palette(_) => 1,
        }
    }

    /// Appends red, green and blue of each whole pixel in `samples`. What is not opaque lies on white.
    pub(crate) fn to_rgb(&self, samples: &[u8], rgb: &mut Vec<u8>) {
        let pixels = samples.chunks_exact(self.samples());
        rgb.reserve(pixels.len() * 3);
        match self {
            Layout::Grey { .. } => pixels.for_each(|p| rgb.extend_from_slice(&[p[0]; 3])),
            Layout::GreyAlpha => pixels.for_each(|p| rgb.extend_from_slice(&[over_white(p[0], p[1]); 3])),
            Layout::Rgb { samples: 3 } => rgb.extend_from_slice(&samples[..pixels.len() * 3]),
            Layout::Rgb { .. } => pixels.for_each(|p| rgb.extend_from_slice(&p[..3.min(p.len())])),
            Layout::Rgba { .. } => {
                pixels.for_each(|p| rgb.extend_from_slice(&[0, 1, 2].map(|channel| over_white(p[channel], p[3]))));
            }
            Layout::Cmyk { .. } => {
                pixels.for_each(|p| rgb.extend_from_slice(&[0, 1, 2].map(|ink| product(255 - p[ink], 255 - p[3]))));
            }
            Layout::InvertedCmyk => {
                pixels.for_each(|p| rgb.extend_from_slice(&[0, 1, 2].map(|ink| product(p[ink], p[3]))));
            }
            Layout::YCbCr => pixels.for_each(|p| rgb.extend_from_slice(&from_ycbcr(p[0], p[1], p[2]))),
            Layout::Lab { .. } => pixels.for_each(|p| rgb.extend_from_slice(&from_lab(p[0], p[1], p[2]))),
            Layout::Palette(colours) => {
                pixels.for_each(|p| rgb.extend_from_slice(colours.get(usize::from(p[0])).unwrap_or(&[0; 3])));
            }
        }
    }
}

fn product(a: u8, b: u8) -> u8 {
    ((u32::from(a) * u32::from(b) + 127) / 255) as u8
}

fn over_white(sample: u8, alpha: u8) -> u8 {
    255 - product(255 - sample, alpha)
}

fn from_ycbcr(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb]
        .map(|sample| (sample + 0.5).clamp(0.0, 255.0) as u8)
}

/// By CIE 15 and, for D50 to sRGB, the adapted matrix of the ICC profile "sRGB v4" (IEC 61966-2-1 colours).
fn from_lab(l: u8, a: u8, b: u8) -> [u8; 3] {
    let middle = (f32::from(l) / 2.55 + 16.0) / 116.0;
    let linear = |t: f32| if t > 6.0 / 29.0 { t * t * t } else { (t - 4.0 / 29.0) * 108.0 / 841.0 };
    let x = 0.9642 * linear(middle + (f32::from(a) - 128.0) / 500.0);
    let y = linear(middle);
    let z = 0.8249 * linear(middle - (f32::from(b) - 128.0) / 200.0);
    [
        3.134_19 * x - 1.617_21 * y - 0.490_69 * z,
        -0.978_75 * x + 1.916_13 * y + 0.033_45 * z,
        0.071_96 * x - 0.228_99 * y + 1.405_39 * z,
    ]
    .map(from_linear)
}

/// Linear light, 0 to 1, to the curve of sRGB (IEC 61966-2-1).
pub(super) fn from_linear(light: f32) -> u8 {
    let curved = if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
    (curved * 255.0 + 0.5).clamp(0.0, 255.0) as u8
}

/// IEEE 754 binary16.
pub(super) fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rgb(layout: &Layout, samples: &[u8]) -> Vec<u8> {
        let mut rgb = Vec::new();
        layout.to_rgb(samples, &mut rgb);
        rgb
    }

    #[test]
    fn every_layout_knows_white_and_black() {
        assert_eq!(rgb(&Layout::Grey { samples: 1 }, &[255, 0]), [255, 255, 255, 0, 0, 0]);
        assert_eq!(rgb(&Layout::GreyAlpha, &[0, 0, 0, 255]), [255, 255, 255, 0, 0, 0]);
        assert_eq!(rgb(&Layout::Rgb { samples: 4 }, &[1, 2, 3, 9]), [1, 2, 3]);
        assert_eq!(rgb(&Layout::Rgba { samples: 4 }, &[0, 0, 0, 0, 1, 2, 3, 255]), [255, 255, 255, 1, 2, 3]);
        assert_eq!(rgb(&Layout::Cmyk { samples: 4 }, &[0, 0, 0, 0, 0, 0, 0, 255]), [255, 255, 255, 0, 0, 0]);
        assert_eq!(rgb(&Layout::InvertedCmyk, &[255, 255, 255, 255, 9, 9, 9, 0]), [255, 255, 255, 0, 0, 0]);
        assert_eq!(rgb(&Layout::YCbCr, &[255, 128, 128, 0, 128, 128]), [255, 255, 255, 0, 0, 0]);
        assert_eq!(rgb(&Layout::Lab { samples: 3 }, &[255, 128, 128, 0, 128, 128]), [255, 255, 255, 0, 0, 0]);
        assert_eq!(rgb(&Layout::Palette(vec![[1, 2, 3]]), &[0, 7]), [1, 2, 3, 0, 0, 0]);
    }
}

//! Colour profiles (ICC.1:2022), where they change what is recognised. That is not the colours themselves: copies in
//! ProPhoto, Wide Gamut, with red and green exchanged, and in CMYK are recognised as they are. It is the curve from
//! numbers to light: of linear copies, which are darker than all others, one in seven was missed, and a third of
//! their crops. So greys are looked at alone, and only where the curve is far from the usual one.

use std::io::BufReader;

use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

use super::markers::{SOS, segments};
use super::{Format, Reduced, Source, guarded, heif, tiff};
use crate::measure::Limits;

/// Longest profile that is read, in bytes; those of printers have 2 MB.
const LONGEST: usize = 4 << 20;
/// Greys that are moved by fewer steps of 255 are left: gamma 1.8 moves them by 20, linear light by 70.
const FAR: u8 = 40;

/// Brings `reduced`, which was decoded from `source`, to the usual curve.
pub(super) fn apply(format: Format, source: Source<'_>, limits: &Limits, reduced: &mut Reduced) {
    // A profile that cannot be read is as good as none.
    let curve = guarded(|| Ok(find(format, source, limits).and_then(|profile| curve(&profile))));
    if let Ok(Some(curve)) = curve {
        reduced.rgb.iter_mut().for_each(|sample| *sample = curve[usize::from(*sample)]);
    }
}

/// The profile of the main picture. JPEG XL and JPEG 2000 are decoded with theirs.
fn find(format: Format, source: Source<'_>, limits: &Limits) -> Option<Vec<u8>> {
    let profile = match format {
        Format::Jpeg => jpeg(&source.peek(0, LONGEST + 65_536)),
        Format::Png => {
            let decoder =
                png::Decoder::new_with_limits(BufReader::new(source.reader()), png::Limits { bytes: LONGEST });
            decoder.read_info().ok()?.info().icc_profile.as_ref().map(|profile| profile.to_vec())
        }
        Format::WebP => {
            let mut decoder = image_webp::WebPDecoder::new(source.reader()).ok()?;
            decoder.set_memory_limit(LONGEST);
            decoder.icc_profile().ok()?
        }
        Format::Tiff | Format::BigTiff => tiff::profile(source, limits),
        Format::Avif | Format::Heif => heif::profile(source, limits),
        _ => None,
    };
    profile.filter(|profile| !profile.is_empty() && profile.len() <= LONGEST)
}

/// Application segments of the kind 2, one after another (ICC.1:2022, B.4).
fn jpeg(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut profile = Vec::new();
    for segment in segments(bytes).map_while(Result::ok).take_while(|segment| segment.marker != SOS) {
        let payload = bytes.get(segment.payload)?;
        if segment.marker == 0xe2
            && let Some(piece) = payload.strip_prefix(b"ICC_PROFILE\0")
        {
            profile.extend_from_slice(piece.get(2..)?);
        }
    }
    Some(profile)
}

/// What becomes of each grey from black to white, if that is far from what it was.
fn curve(profile: &[u8]) -> Option<[u8; 256]> {
    let profile = ColorProfile::new_from_slice(profile).ok()?;
    let (layout, samples) = match profile.color_space {
        DataColorSpace::Rgb => (Layout::Rgb, 3),
        DataColorSpace::Gray => (Layout::Gray, 1),
        _ => return None,
    };
    let usual = ColorProfile::new_srgb();
    let transform = profile.create_transform_8bit(layout, &usual, Layout::Rgb, TransformOptions::default()).ok()?;
    let greys: Vec<u8> = (0..=255).flat_map(|grey| std::iter::repeat_n(grey, samples)).collect();
    let mut colours = [0; 3 * 256];
    transform.transform(&greys, &mut colours).ok()?;
    let mut curve = [0; 256];
    for (to, colour) in curve.iter_mut().zip(colours.chunks_exact(3)) {
        *to = colour[1];
    }
    let is_far = (0..=255u8).zip(curve).any(|(from, to)| to.abs_diff(from) >= FAR);
    is_far.then_some(curve)
}

#[cfg(test)]
mod tests {
    use moxcms::ToneReprCurve;

    use super::*;

    fn profile(gamma: f32) -> Vec<u8> {
        let mut profile = ColorProfile::new_srgb();
        let curve = Some(ToneReprCurve::Parametric(vec![gamma]));
        (profile.red_trc, profile.green_trc, profile.blue_trc) = (curve.clone(), curve.clone(), curve);
        profile.cicp = None;
        profile.encode().unwrap()
    }

    #[test]
    fn usual_curves_are_left_and_linear_light_is_not() {
        for gamma in [1.8, 2.2, 2.4] {
            assert_eq!(curve(&profile(gamma)), None, "gamma {gamma}");
        }
        let linear = curve(&profile(1.0)).unwrap();
        // IEC 61966-2-1: half of the light is 188 of 255.
        assert!((187..=189).contains(&linear[128]) && linear[0] == 0 && linear[255] == 255, "{linear:?}");
    }

    #[test]
    fn what_is_no_profile_changes_nothing() {
        let sound = profile(1.0);
        assert_eq!(curve(b"no profile"), None);
        for at in 0..sound.len() {
            let _ = curve(&sound[..at]);
            let mut bytes = sound.clone();
            bytes[at] ^= 0xff;
            let _ = guarded(|| Ok(curve(&bytes)));
        }
    }
}

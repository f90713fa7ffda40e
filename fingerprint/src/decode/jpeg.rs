//! JPEG through libjpeg-turbo, which decodes at 1/2, 1/4 or 1/8 of the size in the DCT domain.

use turbojpeg::{Colorspace, Compressor, Decompressor, Image, PixelFormat, ScalingFactor, Subsamp};

use super::markers::{EOI, SOS, Segment, segments};
use super::{Failure, Layout, Reduced, Reducer, Source, admit, afford};
use crate::exact::Digest;
use crate::measure::{Limits, Reason, Size};

/// What the frame header (SOFn, ISO/IEC 10918-1 B.2.2) says.
pub(crate) struct Frame {
    pub(crate) size: Size,
    pub(super) components: u8,
    /// Holds the coefficients of the whole picture while it is decoded.
    buffered: bool,
    lossless: bool,
    /// A small picture and what larger ones differ from it by.
    hierarchical: bool,
}

impl Frame {
    /// Whether a camera shows it: what its sensor saw has more bits, or is lossless.
    pub(super) fn is_preview(&self) -> bool {
        self.size.bit_depth == 8 && !self.lossless && matches!(self.components, 1 | 3)
    }

    /// The size of what a sensor saw and a camera has put into a lossless JPEG: two or four columns of it are
    /// components of one (dcraw, `lossless_jpeg_load_raw`); three are colours.
    pub(super) fn sensor(&self) -> Option<Size> {
        let columns = if self.components == 3 { 1 } else { u32::from(self.components) };
        self.lossless.then_some(Size { width: self.size.width.saturating_mul(columns), ..self.size })
    }
}

/// Finds the first frame header. Bounded: it steps over segments by their lengths.
pub(crate) fn frame(bytes: &[u8]) -> Result<Frame, Reason> {
    for segment in segments(bytes) {
        let Segment { marker, payload, .. } = segment?;
        match marker {
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let header = bytes.get(payload).filter(|header| header.len() >= 6);
                let header = header.ok_or_else(|| Reason::Damaged("its frame header is too short".to_owned()))?;
                let word = |high: usize| u32::from(header[high]) << 8 | u32::from(header[high + 1]);
                return Ok(Frame {
                    size: Size { width: word(3), height: word(1), bit_depth: header[0] },
                    components: header[5],
                    buffered: matches!(marker, 0xc2 | 0xc6 | 0xca | 0xce),
                    lossless: matches!(marker, 0xc3 | 0xc7 | 0xcb | 0xcf),
                    hierarchical: matches!(marker, 0xc5..=0xc7 | 0xcd..=0xcf),
                });
            }
            SOS | EOI => return Err(Reason::Damaged("no frame header before the picture data".to_owned())),
            _ => {}
        }
    }
    Err(Reason::Truncated("it ends before the frame header".to_owned()))
}

/// The digest of what makes the pixels: everything but comments and the data of applications, of which Adobe's
/// APP14 says how colours are coded.
fn coded(bytes: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for segment in segments(bytes).map_while(Result::ok) {
        if !matches!(segment.marker, 0xe0..=0xed | 0xef | 0xfe) {
            hasher.update(bytes.get(segment.range).unwrap_or_default());
        }
    }
    (*hasher.finalize().as_bytes()).into()
}

pub(super) fn decode(source: Source<'_>, limits: &Limits) -> Result<(Size, Reduced), Failure> {
    let bytes = source.bytes(limits)?;
    let frame = frame(&bytes)?;
    let size = frame.size;
    admit(size, limits)?;
    if frame.hierarchical {
        return Err(Reason::Unsupported("hierarchical JPEG".to_owned()).at(size));
    }
    // libjpeg-turbo could, by functions that its safe interface has not.
    if size.bit_depth != 8 {
        let kind = if frame.lossless { "lossless JPEG" } else { "JPEG" };
        return Err(Reason::Unsupported(format!("{kind} with {} bits per channel", size.bit_depth)).at(size));
    }
    let denominator = if frame.lossless { 1 } else { denominator(size, limits) };
    let scaled = |length: u32| length.div_ceil(denominator);
    let pixels = u64::from(size.width) * u64::from(size.height);
    let output = u64::from(scaled(size.width)) * u64::from(scaled(size.height)) * 4;
    let coefficients = if frame.buffered { pixels * u64::from(frame.components) * 2 } else { 0 };
    afford(output + coefficients, size, limits)?;

    let failed = |error: turbojpeg::Error| classify(error).at(size);
    let mut decompressor = Decompressor::new().map_err(failed)?;
    decompressor.set_scan_limit(limits.max_scans).map_err(failed)?;
    let header = decompressor.read_header(&bytes).map_err(failed)?;
    decompressor.set_scaling_factor(ScalingFactor::new(1, denominator as usize)).map_err(failed)?;
    let (format, layout) = match header.colorspace {
        Colorspace::CMYK | Colorspace::YCCK => (PixelFormat::CMYK, Layout::InvertedCmyk),
        _ => (PixelFormat::RGB, Layout::Rgb { samples: 3 }),
    };
    let (width, height) = (scaled(size.width) as usize, scaled(size.height) as usize);
    let pitch = width * format.size();
    let mut image = Image { pixels: vec![128; pitch * height], width, pitch, height, format };
    match decompressor.decompress(&bytes, image.as_deref_mut()) {
        Ok(()) => {}
        // What could be decoded of a damaged file is in the buffer, and may well be recognised.
        Err(turbojpeg::Error::TurboJpegError(message)) if is_warning(&message) => {}
        Err(error) => return Err(failed(error)),
    }
    let mut reducer = Reducer::new(width as u32, height as u32, limits);
    let mut rgb = Vec::new();
    for (y, row) in (0u32..).zip(image.pixels.chunks_exact(pitch)) {
        rgb.clear();
        layout.to_rgb(row, &mut rgb);
        reducer.add(0, y, 1, &rgb);
    }
    let mut reduced = reducer.finish();
    // The last column and row of a scaled picture stand for less than `denominator` pixels.
    let part = |length: u32| f64::from(length) / f64::from(denominator) / f64::from(scaled(length));
    reduced.extent.0 *= part(size.width);
    reduced.extent.1 *= part(size.height);
    reduced.pixels = Some(coded(&bytes));
    Ok((size, reduced))
}

/// What the components of a JPEG mean, where its surroundings say so and not the file itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transform {
    /// As they are.
    None,
    /// Luminance and colour differences, to be converted to red, green and blue.
    YCbCr,
}

/// The samples of a JPEG whose tables may lie apart (`tables`: a JPEG without a picture; nothing where they do
/// not), those of a pixel together.
pub(super) fn raw(tables: &[u8], bytes: &[u8], transform: Transform, limits: &Limits) -> Result<Vec<u8>, Reason> {
    let body = bytes.strip_prefix(&[0xff, 0xd8]).ok_or_else(|| Reason::Damaged("it is no JPEG".to_owned()))?;
    let tables = tables.strip_prefix(&[0xff, 0xd8]).unwrap_or_default();
    let tables = tables.strip_suffix(&[0xff, 0xd9]).unwrap_or(tables);
    // Adobe's marker (TIFF Technical Note 2 forbids none) is what libjpeg goes by.
    let adobe = [b"\xff\xd8\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00", &[transform as u8][..]].concat();
    let whole = [&adobe, tables, body].concat();
    let frame = frame(&whole)?;
    let Size { width, height, bit_depth } = frame.size;
    if bit_depth != 8 {
        return Err(Reason::Unsupported(format!("JPEG with {bit_depth} bits per channel")));
    }
    let format = match frame.components {
        1 => PixelFormat::GRAY,
        3 => PixelFormat::RGB,
        4 => PixelFormat::CMYK,
        other => return Err(Reason::Unsupported(format!("JPEG with {other} components"))),
    };
    let pixels = u64::from(width) * u64::from(height);
    let coefficients = if frame.buffered { u64::from(frame.components) * 2 } else { 0 };
    let memory = pixels * (format.size() as u64 + coefficients);
    if pixels == 0 || memory > limits.max_memory / 2 {
        return Err(Reason::TooMuchMemory { bytes: memory, limit: limits.max_memory / 2 });
    }
    let mut decompressor = Decompressor::new().map_err(classify)?;
    decompressor.set_scan_limit(limits.max_scans).map_err(classify)?;
    decompressor.read_header(&whole).map_err(classify)?;
    let pitch = width as usize * format.size();
    let (across, down) = (width as usize, height as usize);
    let mut image = Image { pixels: vec![128; pitch * down], width: across, pitch, height: down, format };
    decompressor.decompress(&whole, image.as_deref_mut()).map_err(classify)?;
    Ok(image.pixels)
}

/// The strongest scaling that leaves enough to look at.
fn denominator(size: Size, limits: &Limits) -> u32 {
    let side = u64::from(limits.cells);
    let pixels = |by: u32| u64::from(size.width / by) * u64::from(size.height / by);
    [8, 4, 2].into_iter().find(|&by| pixels(by) >= side * side).unwrap_or(1)
}

fn is_warning(message: &str) -> bool {
    // The warnings of libjpeg's jerror.h about data that it has decoded all the same.
    ["Premature end of JPEG file", "Corrupt JPEG data", "Inconsistent progression sequence", "Invalid SOS parameters"]
        .iter()
        .any(|warning| message.contains(warning))
}

fn classify(error: turbojpeg::Error) -> Reason {
    match error {
        turbojpeg::Error::TurboJpegError(message) if message.contains("Unsupported") => Reason::Unsupported(message),
        turbojpeg::Error::TurboJpegError(message) => Reason::Damaged(message),
        other => Reason::DecoderFailed(other.to_string()),
    }
}

/// A JPEG of `width` by `height` pixels of red, green and blue; `quality` on libjpeg's scale of 1 to 100.
///
/// # Errors
/// The encoder's message.
pub(crate) fn encode(rgb: &[u8], width: u32, height: u32, quality: i32) -> Result<Vec<u8>, String> {
    let (width, height) = (width as usize, height as usize);
    compress(rgb, width, height, PixelFormat::RGB, Subsamp::Sub2x2, quality)
}

/// The same with all of its colours.
///
/// # Errors
/// The encoder's message.
pub(crate) fn encode_full(rgb: &[u8], width: u32, height: u32, quality: i32) -> Result<Vec<u8>, String> {
    compress(rgb, width as usize, height as usize, PixelFormat::RGB, Subsamp::None, quality)
}

/// The same of grey pixels.
///
/// # Errors
/// The encoder's message.
pub(crate) fn encode_grey(grey: &[u8], width: usize, height: usize, quality: i32) -> Result<Vec<u8>, String> {
    compress(grey, width, height, PixelFormat::GRAY, Subsamp::Gray, quality)
}

fn compress(
    pixels: &[u8],
    width: usize,
    height: usize,
    format: PixelFormat,
    subsampling: Subsamp,
    quality: i32,
) -> Result<Vec<u8>, String> {
    let pitch = width * format.size();
    if pixels.len() < pitch * height {
        return Err("too few pixels".to_owned());
    }
    let image = Image { pixels, width, pitch, height, format };
    let compress = || {
        let mut compressor = Compressor::new()?;
        compressor.set_quality(quality)?;
        compressor.set_subsamp(subsampling)?;
        compressor.compress_to_vec(image)
    };
    compress().map_err(|error: turbojpeg::Error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32) -> Vec<u8> {
        let pixel = |index: u32| {
            let (x, y) = (index % width, index / width);
            [(x * 255 / width) as u8, (y * 255 / height) as u8, if (x / 16 + y / 16) % 2 == 0 { 40 } else { 200 }]
        };
        (0..width * height).flat_map(pixel).collect()
    }

    #[test]
    fn a_picture_is_scaled_and_keeps_its_size() {
        let bytes = encode(&picture(2050, 1501), 2050, 1501, 90).unwrap();
        let (size, reduced) = decode(Source::Memory(&bytes), &Limits::default()).unwrap();
        assert_eq!(size, Size { width: 2050, height: 1501, bit_depth: 8 });
        assert!(reduced.width == 1025 && reduced.extent.0 <= reduced.width as f64);
    }

    #[test]
    fn what_a_truncated_file_still_shows_is_kept() {
        let bytes = encode(&picture(800, 600), 800, 600, 90).unwrap();
        assert!(decode(Source::Memory(&bytes[..bytes.len() * 3 / 4]), &Limits::default()).is_ok());
        let reason = decode(Source::Memory(&bytes[..100]), &Limits::default()).err().unwrap().reason;
        assert!(matches!(reason, Reason::Truncated(_)), "{reason}");
    }

    #[test]
    fn a_huge_header_is_refused_before_anything_is_allocated() {
        let mut bytes = encode(&picture(64, 64), 64, 64, 90).unwrap();
        let at = bytes.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        bytes[at + 5..at + 9].copy_from_slice(&[0xff; 4]);
        let failure = decode(Source::Memory(&bytes), &Limits::default()).err().unwrap();
        assert_eq!(failure.size, Some(Size { width: 65535, height: 65535, bit_depth: 8 }));
        assert!(matches!(failure.reason, Reason::TooManyPixels { .. }));
    }
}

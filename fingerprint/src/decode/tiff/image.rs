//! What one directory says of its picture: everything that must be known before the first strip is read.

use super::directory::{Directory, File};
use crate::decode::{Failure, Layout, admit};
use crate::measure::{Limits, Reason, Size};

// Tags of TIFF 6.0; 330 of TIFF Technical Note 1, 339 of section 19, 347 of TIFF Technical Note 2.
const NEW_SUBFILE_TYPE: u16 = 254;
const IMAGE_WIDTH: u16 = 256;
const IMAGE_LENGTH: u16 = 257;
const BITS_PER_SAMPLE: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const STRIP_OFFSETS: u16 = 273;
const SAMPLES_PER_PIXEL: u16 = 277;
const ROWS_PER_STRIP: u16 = 278;
const STRIP_BYTE_COUNTS: u16 = 279;
const PLANAR_CONFIGURATION: u16 = 284;
const T4_OPTIONS: u16 = 292;
const PREDICTOR: u16 = 317;
const COLOR_MAP: u16 = 320;
const TILE_WIDTH: u16 = 322;
const TILE_LENGTH: u16 = 323;
const TILE_OFFSETS: u16 = 324;
const TILE_BYTE_COUNTS: u16 = 325;
pub(super) const SUB_IFDS: u16 = 330;
const INK_SET: u16 = 332;
const EXTRA_SAMPLES: u16 = 338;
const SAMPLE_FORMAT: u16 = 339;
const JPEG_TABLES: u16 = 347;
const JPEG_INTERCHANGE: u16 = 513;
const JPEG_INTERCHANGE_LENGTH: u16 = 514;
const YCBCR_SUBSAMPLING: u16 = 530;

/// Most samples of one pixel: an unmixed multispectral scan has some dozens.
const SAMPLES: u64 = 256;

/// What the numbers of a sample are (SampleFormat, TIFF 6.0, section 19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unsigned,
    Signed,
    Float,
}

/// What the samples of a pixel mean, beyond what [`Layout`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Plain,
    WhiteIsZero,
    /// a* and b* are signed (photometric interpretation 8).
    SignedLab,
    /// The colours were multiplied by the opacity.
    Premultiplied,
}

/// One picture of the file.
pub(super) struct Image {
    pub(super) size: Size,
    pub(super) compression: u64,
    pub(super) layout: Layout,
    pub(super) meaning: Meaning,
    pub(super) kind: Kind,
    pub(super) samples: usize,
    pub(super) photometric: u64,
    /// Bits of a sample; [`Size::bit_depth`] says 8 for a palette.
    pub(super) bits: u32,
    pub(super) predictor: u64,
    /// Every sample of a pixel lies in a strip or tile of its own.
    pub(super) planar: bool,
    pub(super) chunk: (u32, u32),
    pub(super) offsets: Vec<u64>,
    /// Bytes of each strip or tile; empty where the file does not say.
    pub(super) counts: Vec<u64>,
    /// Bits of a byte are in reverse order.
    pub(super) reversed: bool,
    pub(super) fax_options: u64,
    pub(super) jpeg_tables: Vec<u8>,
    /// One pair of colour differences for so many columns and rows.
    pub(super) subsampling: Option<(u32, u32)>,
}

/// What is asked of a directory before it is worth reading further.
pub(super) struct Outline {
    pub(super) size: Size,
    /// What is decoded for it: a tile may be larger than the picture.
    pub(super) cost: Size,
    /// A reduced version of another picture of this file.
    pub(super) reduced: bool,
    /// A transparency mask of another picture of this file: one bit a pixel, not whatever calls itself one.
    pub(super) mask: bool,
}

/// The size and role of a directory; nothing where it holds no picture.
pub(super) fn outline(file: &mut File<'_>, directory: &Directory) -> Result<Option<Outline>, Reason> {
    let (Some(width), Some(height)) = (file.value(directory, IMAGE_WIDTH)?, file.value(directory, IMAGE_LENGTH)?)
    else {
        return Ok(None);
    };
    let side = |length: u64| {
        u32::try_from(length).map_err(|_| Reason::Damaged(format!("a picture of {width} by {height} pixels")))
    };
    let bits = file.value(directory, BITS_PER_SAMPLE)?.unwrap_or(1);
    let palette = file.value(directory, PHOTOMETRIC)? == Some(3);
    let bit_depth = if palette { 8 } else { u8::try_from(bits).unwrap_or(u8::MAX) };
    let role = file.value(directory, NEW_SUBFILE_TYPE)?.unwrap_or(0);
    let size = Size { width: side(width)?, height: side(height)?, bit_depth };
    let tile = |tag: u16, file: &mut File<'_>| {
        Ok::<u32, Reason>(u32::try_from(file.value(directory, tag)?.unwrap_or(0)).unwrap_or(u32::MAX))
    };
    let (across, down) = (tile(TILE_WIDTH, file)?, tile(TILE_LENGTH, file)?);
    let cost = Size { width: size.width.max(across), height: size.height.max(down), bit_depth };
    Ok(Some(Outline { size, cost, reduced: role & 1 != 0, mask: role & 4 != 0 && size.bit_depth == 1 }))
}

/// Whether the directory holds the raw data of a camera's sensor (DNG 1.7: colour filter array, or linear).
pub(super) fn is_sensor(file: &mut File<'_>, directory: &Directory) -> bool {
    matches!(file.value(directory, PHOTOMETRIC), Ok(Some(32803 | 34892)))
}

/// Whether the picture of a directory is likely to be decoded, by the kind of its samples and their compression.
pub(super) fn is_likely(file: &mut File<'_>, directory: &Directory) -> bool {
    let meant = matches!(file.value(directory, PHOTOMETRIC), Ok(Some(0..=9)));
    meant && matches!(file.value(directory, COMPRESSION), Ok(found) if super::stream::is_known(found.unwrap_or(1)))
}

/// A whole JPEG file that a directory points to, as cameras store previews (JPEGInterchangeFormat, or the only
/// strip of "old-style" JPEG): offset and length.
pub(super) fn interchange(file: &mut File<'_>, directory: &Directory) -> Result<Option<(u64, u64)>, Reason> {
    if let Some(offset) = file.value(directory, JPEG_INTERCHANGE)? {
        let length = file.value(directory, JPEG_INTERCHANGE_LENGTH)?;
        return Ok(Some((offset, length.unwrap_or(u64::MAX))));
    }
    if file.value(directory, COMPRESSION)? == Some(6) {
        let offsets = file.numbers(directory, STRIP_OFFSETS, 2)?;
        let counts = file.numbers(directory, STRIP_BYTE_COUNTS, 2)?;
        if let ([offset], [count]) = (offsets.as_slice(), counts.as_slice()) {
            return Ok(Some((*offset, *count)));
        }
    }
    Ok(None)
}

impl Image {
    /// Reads what the directory says, and refuses what is beyond `limits` or not read here.
    pub(super) fn of(file: &mut File<'_>, directory: &Directory, limits: &Limits) -> Result<Image, Failure> {
        let outline = outline(file, directory)?;
        let Some(Outline { size, .. }) = outline else {
            return Err(Reason::Damaged("its directory names no width or height".to_owned()).into());
        };
        admit(size, limits)?;
        Image::detailed(file, directory, size).map_err(|reason| reason.at(size))
    }

    fn detailed(file: &mut File<'_>, directory: &Directory, size: Size) -> Result<Image, Reason> {
        let mut value = |tag: u16, default: u64| Ok::<u64, Reason>(file.value(directory, tag)?.unwrap_or(default));
        let photometric = value(PHOTOMETRIC, u64::MAX)?;
        let compression = value(COMPRESSION, 1)?;
        let samples = value(SAMPLES_PER_PIXEL, 1)?;
        let planar = value(PLANAR_CONFIGURATION, 1)? == 2 && samples > 1;
        let predictor = value(PREDICTOR, 1)?;
        let reversed = value(FILL_ORDER, 1)? == 2;
        let fax_options = value(T4_OPTIONS, 0)?;
        let rows = value(ROWS_PER_STRIP, u64::MAX)?.min(u64::from(size.height));
        let tile = (value(TILE_WIDTH, 0)?, value(TILE_LENGTH, 0)?);
        if samples == 0 || samples > SAMPLES {
            return Err(Reason::Unsupported(format!("{samples} samples a pixel")));
        }
        let bits = one(&file.numbers(directory, BITS_PER_SAMPLE, samples)?, 1, "bits per sample")?;
        let kind = match one(&file.numbers(directory, SAMPLE_FORMAT, samples)?, 1, "sample formats")? {
            1 | 4 => Kind::Unsigned,
            2 => Kind::Signed,
            3 => Kind::Float,
            other => return Err(Reason::Unsupported(format!("samples of format {other}"))),
        };
        let bits = match (kind, bits) {
            (Kind::Float, 16 | 32 | 64) | (Kind::Signed, 8 | 16 | 32 | 64) | (Kind::Unsigned, 1..=32 | 64) => {
                bits as u32
            }
            _ => return Err(Reason::Unsupported(format!("samples of {bits} bits"))),
        };
        let tiled = tile.0 > 0;
        let (offset_tag, count_tag) =
            if tiled { (TILE_OFFSETS, TILE_BYTE_COUNTS) } else { (STRIP_OFFSETS, STRIP_BYTE_COUNTS) };
        let chunk = if tiled { chunk(tile, size)? } else { (size.width, rows.max(1) as u32) };
        let per_plane = u64::from(size.width.div_ceil(chunk.0)) * u64::from(size.height.div_ceil(chunk.1));
        let wanted = per_plane * if planar { samples } else { 1 };
        let mut offsets = file.numbers(directory, offset_tag, wanted)?;
        if offsets.is_empty() && tiled {
            offsets = file.numbers(directory, STRIP_OFFSETS, wanted)?;
        }
        let counts = file.numbers(directory, count_tag, wanted)?;
        if (offsets.len() as u64) < wanted || (!counts.is_empty() && (counts.len() as u64) < wanted) {
            return Err(Reason::Damaged(format!("it names {} of {wanted} strips or tiles", offsets.len())));
        }
        let extra = file.numbers(directory, EXTRA_SAMPLES, samples)?;
        let (layout, meaning) = layout(file, directory, (photometric, samples, bits), planar, &extra)?;
        if matches!(layout, Layout::Lab { .. })
            && !matches!((kind, bits, planar), (Kind::Unsigned, 8 | 16, _) | (Kind::Float, _, false))
        {
            return Err(Reason::Unsupported(format!(
                "CIE L*a*b* with samples of {bits} bits, or signed, or of floating point in planes"
            )));
        }
        // The decoder of JPEG converts them, where they lie together.
        let layout =
            if (photometric, compression, planar) == (6, 7, false) { Layout::Rgb { samples: 3 } } else { layout };
        let subsampling = match (photometric, compression) {
            (6, 7 | 50001) | (0..=5 | 7.., _) => None,
            (6, _) => match file.numbers(directory, YCBCR_SUBSAMPLING, 2)?.as_slice() {
                [] => Some((2, 2)),
                [1, 1] => None,
                [across @ (1 | 2 | 4), down @ (1 | 2 | 4)] => Some((*across as u32, *down as u32)),
                _ => return Err(Reason::Unsupported("this subsampling of colour differences".to_owned())),
            },
        };
        if subsampling.is_some() && (planar || bits != 8 || samples != 3) {
            return Err(Reason::Unsupported(
                "subsampled colour differences in planes or of more than 8 bits".to_owned(),
            ));
        }
        let jpeg_tables = file.bytes(directory, JPEG_TABLES)?;
        let samples = samples as usize;
        Ok(Image {
            size,
            compression,
            layout,
            meaning,
            kind,
            samples,
            photometric,
            bits,
            predictor,
            planar,
            chunk,
            offsets,
            counts,
            reversed,
            fax_options,
            jpeg_tables,
            subsampling,
        })
    }

    /// Samples of a pixel that lie together.
    pub(super) fn together(&self) -> usize {
        if self.planar { 1 } else { self.samples }
    }

    /// Bytes of one row of a strip or tile.
    pub(super) fn row_bytes(&self) -> u64 {
        (u64::from(self.chunk.0) * self.together() as u64 * u64::from(self.bits)).div_ceil(8)
    }
}

/// Width and height of a tile: not much larger than the picture, or rows of nothing would be read for hours.
fn chunk((width, height): (u64, u64), size: Size) -> Result<(u32, u32), Reason> {
    let fits = |tile: u64, side: u32| tile > 0 && tile <= u64::from(side).saturating_mul(2).max(8192);
    if fits(width, size.width) && fits(height, size.height) {
        Ok((width.min(u64::from(u32::MAX)) as u32, height.min(u64::from(u32::MAX)) as u32))
    } else {
        Err(Reason::Damaged(format!("its tiles have {width} by {height} pixels")))
    }
}

/// The one value that all samples have.
fn one(values: &[u64], default: u64, what: &str) -> Result<u64, Reason> {
    let first = values.first().copied().unwrap_or(default);
    if values.iter().all(|value| *value == first) {
        Ok(first)
    } else {
        Err(Reason::Unsupported(format!("different {what} in one pixel: {values:?}")))
    }
}

fn layout(
    file: &mut File<'_>,
    directory: &Directory,
    (photometric, count, bits): (u64, u64, u32),
    planar: bool,
    extra: &[u64],
) -> Result<(Layout, Meaning), Reason> {
    // Of planes, only those are read that have a colour.
    let samples = |least: u64| if planar { least.min(count) as usize } else { count as usize };
    let needs = |least: u64, layout: &dyn Fn(usize) -> Layout| {
        if count >= least {
            Ok(layout(samples(least)))
        } else {
            Err(Reason::Damaged(format!("{count} samples a pixel for photometric interpretation {photometric}")))
        }
    };
    // ExtraSamples: 1 is opacity that the colours were multiplied by, 2 is opacity beside them.
    let opaque = match extra.first() {
        Some(1 | 2) => true,
        // Some programs write RGB with opacity and do not say so.
        None => photometric == 2 && count == 4,
        Some(_) => false,
    };
    let mut meaning = Meaning::Plain;
    let layout = match photometric {
        0 => {
            meaning = Meaning::WhiteIsZero;
            Layout::Grey { samples: samples(1) }
        }
        1 if count == 2 && opaque => Layout::GreyAlpha,
        1 | 4 => Layout::Grey { samples: samples(1) },
        2 if count >= 4 && opaque => Layout::Rgba { samples: samples(4) },
        2 => needs(3, &|samples| Layout::Rgb { samples })?,
        3 => {
            if bits > 8 || count > 1 {
                return Err(Reason::Unsupported(format!("a palette with {count} indices of {bits} bits")));
            }
            Layout::Palette(palette(&file.numbers(directory, COLOR_MAP, 3 << bits)?))
        }
        5 if file.value(directory, INK_SET)? == Some(2) => {
            return Err(Reason::Unsupported(format!("{count} inks that are not cyan, magenta, yellow and black")));
        }
        5 => needs(4, &|samples| Layout::Cmyk { samples })?,
        6 => {
            if count != 3 {
                return Err(Reason::Unsupported(format!("{count} samples a pixel of luminance and colour")));
            }
            Layout::YCbCr
        }
        8 | 9 => {
            if photometric == 8 {
                meaning = Meaning::SignedLab;
            }
            // L* alone is how libtiff writes grey pictures of this kind.
            if count < 3 { Layout::Grey { samples: samples(1) } } else { Layout::Lab { samples: samples(3) } }
        }
        32803 => return Err(Reason::Unsupported("the raw data of a camera's sensor (colour filter array)".to_owned())),
        34892 => return Err(Reason::Unsupported("linear raw data of a camera".to_owned())),
        32844 | 32845 => return Err(Reason::Unsupported("the logarithmic encodings LogL and LogLuv".to_owned())),
        u64::MAX => return Err(Reason::Damaged("its directory names no photometric interpretation".to_owned())),
        other => return Err(Reason::Unsupported(format!("photometric interpretation {other}"))),
    };
    if opaque && extra.first() == Some(&1) && matches!(layout, Layout::GreyAlpha | Layout::Rgba { .. }) {
        meaning = Meaning::Premultiplied;
    }
    Ok((layout, meaning))
}

fn palette(map: &[u64]) -> Vec<[u8; 3]> {
    let third = map.len() / 3;
    // Some programs write a colour map of 8 bits in words of 16.
    let shift = if map.iter().all(|&value| value < 256) { 0 } else { 8 };
    let (reds, rest) = map.split_at(third);
    let (greens, blues) = rest.split_at(third);
    reds.iter()
        .zip(greens)
        .zip(blues)
        .map(|((&red, &green), &blue)| [red, green, blue].map(|c| (c >> shift) as u8))
        .collect()
}

//! HEVC (ITU-T H.265) through heic-decoder, one coded picture at a time: it gets each in a file of its own, so that
//! the tiles of a grid never are in memory together, and it starts no threads.

use heic_decoder::{DecodeOptions, DecodedImage, HeifError, decode_with, probe};

use super::frame::{Coding, Frame, Plane, Samples};
use crate::decode::{Failure, admit, afford};
use crate::measure::{Limits, Reason, Size};

/// A picture that is not decoded yet.
pub(super) struct Coded {
    pub(super) size: Size,
    chroma: u32,
    /// The HEIF file of this picture alone.
    file: Vec<u8>,
}

impl Coded {
    /// Reads the headers in the property "hvcC" (ISO/IEC 14496-15, 8.3.3).
    pub(super) fn of(data: &[u8], config: Option<&[u8]>) -> Result<Coded, Failure> {
        let config = config.ok_or_else(|| Reason::Damaged("it has no property \"hvcC\"".to_owned()))?;
        let file = alone(data, config);
        let found = probe(&file).map_err(classify)?;
        let side = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let bit_depth = u8::try_from(found.bit_depth_luma).unwrap_or(u8::MAX);
        let size = Size { width: side(found.coded_width), height: side(found.coded_height), bit_depth };
        Ok(Coded { size, chroma: found.chroma_format_idc, file })
    }

    pub(super) fn decode(&self, limits: &Limits) -> Result<Frame, Failure> {
        let size = self.size;
        admit(size, limits)?;
        // Samples of 32 bits, as they are decoded and as they are cropped; the coded data in three versions.
        let halves = [2, 3, 4, 6].get(self.chroma as usize).copied().unwrap_or(6);
        let pixels = u64::from(size.width) * u64::from(size.height);
        afford(pixels * (halves * 4 + 4) + self.file.len() as u64 * 3, size, limits)?;
        let whole = decode_with(&self.file, &DecodeOptions { apply_transforms: false });
        let DecodedImage { width, height, bit_depth_luma, color_info, y, cb, cr, cb_width, cb_height, .. } =
            whole.map_err(|error| classify(error).at(size))?;
        let coding = match color_info {
            Some(info) if info.matrix_coefficients == 2 => Coding { full: info.full_range, ..Coding::USUAL },
            Some(info) => Coding { matrix: info.matrix_coefficients, full: info.full_range },
            None => Coding::USUAL,
        };
        let plane = |width, height, numbers| Plane { width, height, samples: Samples::Numbers(numbers) };
        let mut planes = vec![plane(width, height, y)];
        if self.chroma != 0 {
            planes.extend([plane(cb_width, cb_height, cb), plane(cb_width, cb_height, cr)]);
        }
        let bit_depth = u8::try_from(bit_depth_luma).unwrap_or(u8::MAX);
        Ok(Frame { width: width as u32, height: height as u32, bit_depth, planes, coding })
    }
}

/// A HEIF file whose only item is this picture (ISO/IEC 23008-12, 10.2).
fn alone(data: &[u8], config: &[u8]) -> Vec<u8> {
    let full = [0u8; 4];
    let ftyp = boxed(b"ftyp", &[b"heic\0\0\0\0mif1heic"]);
    let length = (data.len() as u32).to_be_bytes();
    let meta = |offset: u32| {
        let infe = boxed(b"infe", &[&[2, 0, 0, 0, 0, 1, 0, 0], b"hvc1\0"]);
        let ipma = boxed(b"ipma", &[&full, &[0, 0, 0, 1, 0, 1, 1, 0x81]]);
        let iprp = boxed(b"iprp", &[&boxed(b"ipco", &[&boxed(b"hvcC", &[config])]), &ipma]);
        let iloc = boxed(b"iloc", &[&full, &[0x44, 0, 0, 1, 0, 1, 0, 0, 0, 1], &offset.to_be_bytes(), &length]);
        let hdlr = boxed(b"hdlr", &[&full, b"\0\0\0\0pict", &[0; 13]]);
        let pitm = boxed(b"pitm", &[&full, &[0, 1]]);
        boxed(b"meta", &[&full, &hdlr, &pitm, &iloc, &boxed(b"iinf", &[&full, &[0, 1], &infe]), &iprp])
    };
    let offset = ftyp.len() + meta(0).len() + 8;
    [ftyp, meta(offset as u32), boxed(b"mdat", &[data])].concat()
}

fn boxed(kind: &[u8; 4], contents: &[&[u8]]) -> Vec<u8> {
    let contents = contents.concat();
    [&(contents.len() as u32 + 8).to_be_bytes()[..], kind, &contents].concat()
}

fn classify(error: HeifError) -> Reason {
    match error {
        HeifError::Truncated { .. } => Reason::Truncated("its coded data ends too early".to_owned()),
        HeifError::Unsupported(what) => Reason::Unsupported(format!("HEVC: {what}")),
        HeifError::LimitExceeded(what) => Reason::Unsupported(format!("HEVC beyond what is decoded: {what}")),
        error => Reason::Damaged(error.to_string()),
    }
}

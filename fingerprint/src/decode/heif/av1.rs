//! AV1 (AOMedia, "AV1 Bitstream & Decoding Process Specification") through oxideav-av1, as AVIF has it: one picture,
//! or layers of one.

use oxideav_av1::decoder::{SpecDecodeSession, SpecFrame};
use oxideav_av1::{Error, ObuIter, ObuType, SequenceHeader, parse_sequence_header};

use super::frame::{Coding, Frame, Plane, Samples};
use crate::decode::{Failure, admit, afford};
use crate::measure::{Limits, Reason, Size};

/// Bytes of a pixel while it is decoded: three planes of 32 bits, which are kept with 16, and what is said of blocks.
const PIXEL: u64 = 18;
/// Most layers, each of which is a picture (6.10.5 knows four spatial layers).
const LAYERS: u64 = 4;

/// A picture that is not decoded yet.
pub(super) struct Coded {
    pub(super) size: Size,
    header: SequenceHeader,
    layers: u64,
    data: Vec<u8>,
}

impl Coded {
    /// Reads the headers of `data`; those of the property "av1C" where it has none ("AV1 Codec ISO Media File Format
    /// Binding", 2.3).
    pub(super) fn of(data: Vec<u8>, config: Option<&[u8]>) -> Result<Coded, Failure> {
        let (mut found, layers) = headers(&data)?;
        let config = config.and_then(|config| config.get(4..)).unwrap_or_default();
        let data = if found.is_none() {
            found = headers(config)?.0;
            [config, &data].concat()
        } else {
            data
        };
        let header = found.ok_or_else(|| Reason::Damaged("it has no sequence header".to_owned()))?;
        let side = |less_one: u32| less_one.saturating_add(1);
        let (width, height) = (side(header.max_frame_width_minus_1), side(header.max_frame_height_minus_1));
        let size = Size { width, height, bit_depth: header.color_config.bit_depth };
        if layers > LAYERS {
            return Err(Reason::Unsupported(format!("{layers} pictures in one item")).at(size));
        }
        Ok(Coded { size, header, layers, data })
    }

    pub(super) fn decode(&self, limits: &Limits) -> Result<Frame, Failure> {
        let Coded { size, header, layers, data } = self;
        admit(*size, limits)?;
        let pixels = u64::from(size.width) * u64::from(size.height);
        afford(pixels * (PIXEL + layers.saturating_sub(1) * 6), *size, limits)?;
        let mut session = SpecDecodeSession::new();
        session.set_max_picture_size(u32::try_from(pixels).unwrap_or(u32::MAX));
        let frames = session.decode_temporal_unit(data).map_err(|error| classify(&error).at(*size))?;
        let frame = frames.into_iter().max_by_key(|frame| u64::from(frame.width) * u64::from(frame.height));
        let frame = frame.ok_or_else(|| Reason::Truncated("it ends before its picture does".to_owned()).at(*size))?;
        let colours = &header.color_config;
        let coding = match colours.matrix_coefficients {
            2 => Coding { full: colours.color_range, ..Coding::USUAL },
            matrix => Coding { matrix: u16::from(matrix), full: colours.color_range },
        };
        let SpecFrame { width, height, planes, plane_dims, bit_depth } = frame;
        let plane = |(bytes, (width, height)): (Vec<u8>, (u32, u32))| Plane {
            width: width as usize,
            height: height as usize,
            samples: if bit_depth == 8 { Samples::Bytes(bytes) } else { Samples::Words(bytes) },
        };
        Ok(Frame { width, height, bit_depth, planes: planes.into_iter().zip(plane_dims).map(plane).collect(), coding })
    }
}

/// The sequence header, if there is one, and how many pictures are shown.
fn headers(data: &[u8]) -> Result<(Option<SequenceHeader>, u64), Reason> {
    let (mut found, mut pictures) = (None, 0);
    for unit in ObuIter::new(data) {
        let unit = unit.map_err(|error| classify(&error))?;
        match unit.obu_type {
            ObuType::SequenceHeader if found.is_none() => {
                found = Some(parse_sequence_header(unit.payload).map_err(|error| classify(&error))?);
            }
            ObuType::Frame | ObuType::FrameHeader => pictures += 1,
            _ => {}
        }
    }
    Ok((found, pictures))
}

fn classify(error: &Error) -> Reason {
    let message = error.to_string();
    let message = message.strip_prefix("oxideav-av1: ").unwrap_or(&message).to_owned();
    match error {
        Error::UnexpectedEnd => Reason::Truncated(message),
        Error::PictureSizeExceedsLimit => Reason::Damaged("a picture is larger than its sequence says".to_owned()),
        _ => Reason::Damaged(message),
    }
}

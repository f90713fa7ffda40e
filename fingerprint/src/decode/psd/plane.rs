//! The rows of channels, each of which lies in the file by itself.

use std::io::{Read, Seek, SeekFrom, Take};

use flate2::bufread::ZlibDecoder;

use super::super::packbits::PackBits;
use super::super::pixels::from_linear;
use super::super::predictor;
use super::super::source::{Reader, Source};
use crate::measure::Reason;

/// What one sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    Bit,
    Byte,
    /// 16 bits, the high byte first.
    Word,
    /// IEEE 754 binary32, the high byte first.
    Float,
}

impl Depth {
    /// Bytes of one row of one channel.
    pub(super) fn row_bytes(self, width: u32) -> u64 {
        match self {
            Depth::Bit => u64::from(width).div_ceil(8),
            Depth::Byte => u64::from(width),
            Depth::Word => u64::from(width) * 2,
            Depth::Float => u64::from(width) * 4,
        }
    }
}

/// How the rows of a channel are compressed.
pub(super) enum Coding {
    Raw,
    /// PackBits, with the length of each row.
    Packed(Vec<u32>),
    /// One zlib stream; the samples may be differences.
    Deflated {
        differences: bool,
    },
}

/// Where a channel lies.
pub(super) struct Plane {
    coding: Coding,
    offset: u64,
    length: u64,
}

impl Plane {
    pub(super) fn new(coding: Coding, offset: u64, length: u64) -> Plane {
        Plane { coding, offset, length }
    }
}

/// The lengths of the packed rows of one channel, `width` bytes each.
pub(super) fn lengths(reader: &mut Reader<'_>, offset: u64, rows: u32, width: usize) -> Result<Vec<u32>, Reason> {
    let truncated = || Reason::Truncated("it ends within the lengths of its rows".to_owned());
    reader.seek(SeekFrom::Start(offset)).map_err(|error| Reason::Damaged(error.to_string()))?;
    let mut bytes = Vec::new();
    let wanted = u64::from(rows) * width as u64;
    let got = reader.take(wanted).read_to_end(&mut bytes).map_err(|_| truncated())?;
    if (got as u64) < wanted {
        return Err(truncated());
    }
    Ok(bytes.chunks_exact(width).map(|b| b.iter().fold(0, |value, byte| value << 8 | u32::from(*byte))).collect())
}

/// A channel that is being read.
enum Stream<'a> {
    Raw(Reader<'a>),
    Packed(Reader<'a>, std::vec::IntoIter<u32>),
    Deflated(Box<ZlibDecoder<Take<Reader<'a>>>>, bool),
}

/// Reads the rows of several channels at the same pace.
pub(super) struct Rows<'a> {
    streams: Vec<Stream<'a>>,
    width: usize,
    depth: Depth,
    row: Vec<u8>,
    packed: Vec<u8>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(
        source: Source<'a>,
        planes: Vec<Plane>,
        (width, height): (u32, u32),
        depth: Depth,
    ) -> Result<Rows<'a>, Reason> {
        let mut streams = Vec::new();
        for Plane { coding, offset, length } in planes {
            let mut reader = source.reader();
            reader.seek(SeekFrom::Start(offset)).map_err(|error| Reason::Damaged(error.to_string()))?;
            streams.push(match coding {
                Coding::Raw => Stream::Raw(reader),
                Coding::Packed(lengths) if lengths.len() < height as usize => {
                    return Err(Reason::Damaged("too few lengths of rows".to_owned()));
                }
                Coding::Packed(lengths) => Stream::Packed(reader, lengths.into_iter()),
                Coding::Deflated { differences } => {
                    Stream::Deflated(Box::new(ZlibDecoder::new(reader.take(length))), differences)
                }
            });
        }
        let row = vec![0; usize::try_from(depth.row_bytes(width)).unwrap_or(0)];
        Ok(Rows { streams, width: width as usize, depth, row, packed: Vec::new() })
    }

    /// The samples of the next row, eight bits each, those of a pixel together. Floating-point numbers are taken
    /// for `light`, or as they are.
    pub(super) fn next(&mut self, light: bool, samples: &mut Vec<u8>) -> Result<(), Reason> {
        let count = self.streams.len();
        samples.clear();
        samples.resize(self.width * count, 0);
        for (channel, stream) in self.streams.iter_mut().enumerate() {
            read(stream, &mut self.row, &mut self.packed, self.depth)?;
            let pixels = samples.iter_mut().skip(channel).step_by(count);
            match self.depth {
                Depth::Byte => pixels.zip(&self.row).for_each(|(to, from)| *to = *from),
                Depth::Word => pixels.zip(self.row.chunks_exact(2)).for_each(|(to, from)| *to = from[0]),
                Depth::Bit => pixels.enumerate().for_each(|(x, to)| {
                    *to = self.row.get(x / 8).map_or(0, |byte| (byte >> (7 - x % 8) & 1) * 255);
                }),
                Depth::Float => pixels.zip(self.row.chunks_exact(4)).for_each(|(to, b)| {
                    let value = f32::from_be_bytes([b[0], b[1], b[2], b[3]]);
                    *to = if light { from_linear(value) } else { (value * 255.0 + 0.5).clamp(0.0, 255.0) as u8 };
                }),
            }
        }
        Ok(())
    }
}

fn read(stream: &mut Stream<'_>, row: &mut [u8], packed: &mut Vec<u8>, depth: Depth) -> Result<(), Reason> {
    let truncated = |_| Reason::Truncated("it ends before its last row".to_owned());
    match stream {
        Stream::Raw(reader) => reader.read_exact(row).map_err(truncated),
        Stream::Packed(reader, lengths) => {
            let length = lengths.next().unwrap_or(0) as usize;
            // The worst that a packer makes of a row, with room for one that is careless.
            if length > row.len() * 2 + 128 {
                return Err(Reason::Damaged(format!("a row of {} bytes that is packed in {length}", row.len())));
            }
            packed.clear();
            packed.resize(length, 0);
            reader.read_exact(packed).map_err(truncated)?;
            PackBits::new(packed.as_slice())
                .read_exact(row)
                .map_err(|_| Reason::Damaged("a packed row ends too early".to_owned()))
        }
        Stream::Deflated(reader, differences) => {
            reader.read_exact(row).map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => truncated(error),
                _ => Reason::Damaged(error.to_string()),
            })?;
            match (*differences, depth) {
                (false, _) | (_, Depth::Bit) => {}
                (true, Depth::Byte) => predictor::undo_horizontal(row, 1, 1, false),
                (true, Depth::Word) => predictor::undo_horizontal(row, 1, 2, false),
                (true, Depth::Float) => predictor::undo_floating(row, 1, 4, false),
            }
            Ok(())
        }
    }
}

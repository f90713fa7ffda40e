//! PSD and PSB, by Adobe's "Photoshop File Formats Specification" (November 2019), row by row. The composite is
//! the main picture; the layers lie beside it.

mod layers;
mod plane;

use std::io::{Read, Seek, SeekFrom};

use self::plane::{Coding, Depth, Plane, Rows};
use super::source::Reader;
use super::{Budget, Each, Failure, Format, Layout, Reduced, Reducer, Source, admit, afford};
use crate::measure::{Limits, Reason, Size};

/// Number of the resource "Version Info", which says whether there is a composite.
const VERSION_INFO: u16 = 1057;
/// Most resources that are looked through.
const RESOURCES: usize = 4096;

/// What the channels mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Bitmap,
    Grey,
    Indexed,
    Rgb,
    Cmyk,
    Lab,
}

/// The parts of the file in front of the picture.
struct Document<'a> {
    source: Source<'a>,
    reader: Reader<'a>,
    /// A large document (PSB): lengths of 64 bits.
    large: bool,
    size: Size,
    depth: Depth,
    mode: Mode,
    channels: u16,
    palette: Vec<[u8; 3]>,
    has_composite: bool,
    /// Where layers and masks begin, and how long they are.
    layers: (u64, u64),
    /// Where the composite begins.
    composite: u64,
}

pub(super) fn decode(source: Source<'_>, limits: &Limits) -> Result<(Size, Reduced), Failure> {
    let mut document = Document::open(source, limits)?;
    let size = document.size;
    let failed = |reason: Reason| reason.at(size);
    if !document.has_composite {
        let message = "a Photoshop document that was saved without its composite; it has its layers only";
        return Err(failed(Reason::Unsupported(message.to_owned())));
    }
    let layout = document.layout();
    let needed = layout.samples();
    if usize::from(document.channels) < needed {
        return Err(failed(Reason::Damaged(format!("{} channels for {:?}", document.channels, document.mode))));
    }
    let counts = if document.large { 4 } else { 2 };
    // The lengths of packed rows; rows, samples and colours.
    let rows = u64::from(size.height) * needed as u64 * 4 + u64::from(size.width) * 16 * needed as u64;
    afford(rows, size, limits)?;
    let planes = document.planes(needed, counts).map_err(failed)?;
    document.reduce(planes, size, &layout, limits).map(|reduced| (size, reduced)).map_err(failed)
}

/// The layers that have pixels.
pub(super) fn further(
    format: Format,
    source: Source<'_>,
    limits: &Limits,
    budget: &mut Budget,
    each: Each<'_>,
) -> Result<(), Failure> {
    let Ok(document) = Document::open(source, limits) else { return Ok(()) };
    layers::further(document, format, limits, budget, each)
}

impl<'a> Document<'a> {
    fn open(source: Source<'a>, limits: &Limits) -> Result<Document<'a>, Failure> {
        let mut reader = source.reader();
        let header = bytes::<26>(&mut reader)?;
        let word = |at: usize| u32::from(header[at]) << 8 | u32::from(header[at + 1]);
        let (height, width) = (word(14) << 16 | word(16), word(18) << 16 | word(20));
        let large = word(4) == 2;
        let depth = match word(22) {
            1 => Depth::Bit,
            8 => Depth::Byte,
            16 => Depth::Word,
            32 => Depth::Float,
            other => return Err(Reason::Damaged(format!("channels of {other} bits")).into()),
        };
        let size = Size { width, height, bit_depth: word(22) as u8 };
        admit(size, limits)?;
        let failed = |reason: Reason| reason.at(size);
        let mode = match word(24) {
            0 => Mode::Bitmap,
            // Duotone is grey with inks that only Photoshop knows.
            1 | 8 => Mode::Grey,
            2 => Mode::Indexed,
            3 => Mode::Rgb,
            4 => Mode::Cmyk,
            9 => Mode::Lab,
            7 => return Err(failed(Reason::Unsupported("a Photoshop document in multichannel mode".to_owned()))),
            other => return Err(failed(Reason::Damaged(format!("colour mode {other}")))),
        };
        if (mode == Mode::Bitmap) != (depth == Depth::Bit) || (mode == Mode::Indexed && depth != Depth::Byte) {
            return Err(failed(Reason::Damaged(format!("{mode:?} with channels of {} bits", size.bit_depth))));
        }
        let colours = u64::from(u32::from_be_bytes(bytes(&mut reader)?));
        let mut palette = Vec::new();
        if mode == Mode::Indexed {
            let table = bytes::<768>(&mut reader).map_err(failed)?;
            palette = (0..256).map(|index| [table[index], table[256 + index], table[512 + index]]).collect();
        }
        let resources = 26 + 4 + colours;
        let length = u64::from(u32::from_be_bytes(at(&mut reader, resources).map_err(failed)?));
        let has_composite = has_composite(&mut reader, resources + 4, length);
        let layers = resources + 4 + length;
        let (start, length) = if large {
            (layers + 8, u64::from_be_bytes(at(&mut reader, layers).map_err(failed)?))
        } else {
            (layers + 4, u64::from(u32::from_be_bytes(at(&mut reader, layers).map_err(failed)?)))
        };
        let composite = start.saturating_add(length);
        let channels = word(12) as u16;
        let layers = (start, length);
        Ok(Document { source, reader, large, size, depth, mode, channels, palette, has_composite, layers, composite })
    }

    fn layout(&self) -> Layout {
        match self.mode {
            Mode::Bitmap | Mode::Grey => Layout::Grey { samples: 1 },
            Mode::Indexed => Layout::Palette(self.palette.clone()),
            Mode::Rgb => Layout::Rgb { samples: 3 },
            Mode::Cmyk => Layout::InvertedCmyk,
            Mode::Lab => Layout::Lab { samples: 3 },
        }
    }

    /// Samples of floating point are light, not brightness.
    fn is_light(&self) -> bool {
        matches!(self.mode, Mode::Grey | Mode::Rgb)
    }

    /// Reads these planes row by row, and reduces what they show.
    fn reduce(&self, planes: Vec<Plane>, size: Size, layout: &Layout, limits: &Limits) -> Result<Reduced, Reason> {
        let mut rows = Rows::new(self.source, planes, (size.width, size.height), self.depth)?;
        let mut reducer = Reducer::new(size.width, size.height, limits);
        let (mut samples, mut rgb) = (Vec::new(), Vec::new());
        for y in 0..size.height {
            rows.next(self.is_light(), &mut samples)?;
            self.settle(&mut samples);
            rgb.clear();
            layout.to_rgb(&samples, &mut rgb);
            reducer.add(0, y, 1, &rgb);
        }
        Ok(reducer.finish())
    }

    /// What the samples of eight bits still lack.
    fn settle(&self, samples: &mut [u8]) {
        if self.mode == Mode::Bitmap {
            samples.iter_mut().for_each(|sample| *sample = 255 - *sample); // 1 is black.
        }
    }

    /// Where the first `needed` channels of the composite lie.
    fn planes(&mut self, needed: usize, counts: usize) -> Result<Vec<Plane>, Reason> {
        let coding = u16::from_be_bytes(at(&mut self.reader, self.composite)?);
        let height = u64::from(self.size.height);
        let start = self.composite.saturating_add(2);
        let row = self.depth.row_bytes(self.size.width);
        match coding {
            0 => Ok((0..needed as u64)
                .map(|channel| Plane::new(Coding::Raw, start.saturating_add(channel * height * row), u64::MAX))
                .collect()),
            1 => {
                let table = height * u64::from(self.channels) * counts as u64;
                let mut offset = start.saturating_add(table);
                let mut planes = Vec::new();
                for channel in 0..needed as u64 {
                    let counted = start.saturating_add(channel * height * counts as u64);
                    let lengths = plane::lengths(&mut self.reader, counted, self.size.height, counts)?;
                    let whole = lengths.iter().map(|length| u64::from(*length)).sum::<u64>();
                    planes.push(Plane::new(Coding::Packed(lengths), offset, whole));
                    offset = offset.saturating_add(whole);
                }
                Ok(planes)
            }
            other => Err(Reason::Unsupported(format!("a Photoshop composite with compression {other}"))),
        }
    }
}

/// Whether the document has a composite, by its "Version Info"; it has where that is left out.
fn has_composite(reader: &mut Reader<'_>, start: u64, length: u64) -> bool {
    let mut offset = start;
    for _ in 0..RESOURCES {
        let Ok(head) = at::<7>(reader, offset) else { return true };
        if offset >= start.saturating_add(length) || !head.starts_with(b"8B") && !head.starts_with(b"MeSa") {
            return true;
        }
        // The name has its length in front and is padded to an even number of bytes.
        let name = (u64::from(head[6]) + 1).next_multiple_of(2);
        let Ok(size) = at::<4>(reader, offset + 6 + name) else { return true };
        let data = offset + 6 + name + 4;
        if u16::from_be_bytes([head[4], head[5]]) == VERSION_INFO {
            return at::<5>(reader, data).map_or(true, |info| info[4] != 0);
        }
        offset = data + u64::from(u32::from_be_bytes(size)).next_multiple_of(2);
    }
    true
}

/// The next bytes.
fn bytes<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], Reason> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes).map_err(|_| Reason::Truncated("it ends before its picture".to_owned()))?;
    Ok(bytes)
}

/// The bytes at `offset`.
fn at<const N: usize>(reader: &mut Reader<'_>, offset: u64) -> Result<[u8; N], Reason> {
    reader.seek(SeekFrom::Start(offset)).map_err(|error| Reason::Damaged(error.to_string()))?;
    bytes(reader)
}

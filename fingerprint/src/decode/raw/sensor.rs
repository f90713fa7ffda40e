//! How large the sensor's picture is. The makers say nothing; ExifTool's tables of tags and dcraw's source do.

use super::Kind;
use crate::decode::boxes::{Fields, child, children, places};
use crate::decode::{Source, tiff};
use crate::measure::{Limits, Size};

/// Bits of a sample where the file does not say: no sensor has fewer.
const BITS: u8 = 12;
/// Longest description that is looked at.
const HEAD: usize = 256 * 1024;

/// The size of the sensor's picture, without the columns and rows that see no light where the file tells them apart.
pub(super) fn size(kind: Kind, source: Source<'_>, limits: &Limits) -> Option<Size> {
    match kind {
        Kind::Fujifilm => fujifilm(source),
        Kind::Olympus => tagged(source, limits, [0x100, 0x101], 0x102),
        Kind::Panasonic => {
            // The borders of what is shown, and the whole sensor.
            let borders = tagged(source, limits, [7, 6], 10).zip(tagged(source, limits, [5, 4], 10));
            let shown = borders.and_then(|(end, start)| {
                let side = |end: u32, start: u32| end.checked_sub(start).filter(|side| *side > 0);
                Some(Size { width: side(end.width, start.width)?, height: side(end.height, start.height)?, ..end })
            });
            shown.or_else(|| tagged(source, limits, [2, 3], 10))
        }
        Kind::Sigma => pair(&source.peek(28, 8), true, 4),
        Kind::Minolta => {
            // The first block, "PRD": height and width of the sensor, behind a version of 8 bytes.
            let block = source.peek(8, 24);
            let size = pair(block.get(16..)?, false, 2).filter(|_| block.starts_with(b"\0PRD"))?;
            Some(Size { width: size.height, height: size.width, ..size })
        }
        Kind::CanonCr3 => canon(source),
        Kind::PhaseOne => phase_one(source),
        Kind::CanonCrw => None,
    }
}

fn number(bytes: &[u8], little: bool) -> u32 {
    let join = |value: u32, byte: &u8| value << 8 | u32::from(*byte);
    if little { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) }
}

/// Two numbers of so many bytes each.
fn pair(bytes: &[u8], little: bool, length: usize) -> Option<Size> {
    let (width, height) = (bytes.get(..length)?, bytes.get(length..length * 2)?);
    Some(Size { width: number(width, little), height: number(height, little), bit_depth: BITS })
}

/// By tags of the first directory: width, height, and bits of a sample.
fn tagged(source: Source<'_>, limits: &Limits, sides: [u16; 2], bits: u16) -> Option<Size> {
    let [width, height, bits] = tiff::numbers(source, [sides[0], sides[1], bits], limits);
    let side = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
    let bit_depth = bits.and_then(|bits| u8::try_from(bits).ok()).filter(|bits| (BITS..=16).contains(bits));
    Some(Size { width: side(width)?, height: side(height)?, bit_depth: bit_depth.unwrap_or(BITS) })
}

/// The records whose place is told at byte 92: a tag, a length, and height and width.
fn fujifilm(source: Source<'_>) -> Option<Size> {
    let places = source.peek(92, 8);
    let (start, length) = (number(places.get(..4)?, false), number(places.get(4..)?, false));
    let records = source.peek(u64::from(start), HEAD.min(length as usize));
    let mut fields = Fields(&records);
    let mut found = [None; 2];
    for _ in 0..fields.number(4)? {
        let Some((tag, length)) = fields.number(2).zip(fields.number(2)) else { break };
        let length = length as usize;
        let size = fields.take(length).and_then(|record| pair(record, false, 2));
        match tag {
            0x111 => found[0] = size, // What is shown.
            0x100 => found[1] = size, // All of it.
            _ => {}
        }
    }
    let size = found.into_iter().flatten().next()?;
    Some(Size { width: size.height, height: size.width, ..size })
}

/// The largest track: an entry "CRAW" of its sample table is a visual sample entry (ISO/IEC 14496-12, 12.1.3).
fn canon(source: Source<'_>) -> Option<Size> {
    let moov = places(source, 0, source.size()).into_iter().find(|place| &place.kind == b"moov")?;
    let length = usize::try_from(moov.end - moov.start).unwrap_or(usize::MAX).min(16 << 20);
    let moov = source.peek(moov.start, length);
    let tracks = children(&moov).filter(|(kind, _)| kind == b"trak").filter_map(|(_, track)| {
        let table =
            [b"mdia", b"minf", b"stbl", b"stsd"].into_iter().try_fold(track, |inside, kind| child(inside, kind));
        let entry = child(table?.get(8..)?, b"CRAW")?;
        pair(entry.get(24..)?, false, 2)
    });
    tracks.max_by_key(|size| u64::from(size.width) * u64::from(size.height))
}

/// The directory whose place is told at byte 16, counted from byte 8: tags of 16 bytes.
fn phase_one(source: Source<'_>) -> Option<Size> {
    let header = source.peek(8, 12);
    let little = header.starts_with(b"II");
    let start = u64::from(number(header.get(8..)?, little)) + 8;
    let directory = source.peek(start, HEAD);
    let count = number(directory.get(..4)?, little) as usize;
    let (mut whole, mut shown) = ([None; 2], [None; 2]);
    for entry in directory.get(8..)?.chunks_exact(16).take(count) {
        let value = Some(number(&entry[12..], little));
        match number(&entry[..4], little) {
            0x108 => whole[0] = value,
            0x109 => whole[1] = value,
            0x10c => shown[0] = value,
            0x10d => shown[1] = value,
            _ => {}
        }
    }
    let size = |sides: [Option<u32>; 2]| Some(Size { width: sides[0]?, height: sides[1]?, bit_depth: BITS });
    size(shown).or_else(|| size(whole))
}

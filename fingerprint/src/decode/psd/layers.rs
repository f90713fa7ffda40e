//! The layers of a document ("Layer and Mask Information Section").

use std::io::{Seek, SeekFrom};

use super::super::source::Reader;
use super::super::{Budget, LEAST_SIDE, guarded, report};
use super::plane::{Coding, Plane, lengths};
use super::{Document, Each, Failure, Format, Layout, Limits, Mode, Reason, Reduced, Size, at, bytes};
use super::{admit, afford};

/// Most layers that are looked at.
const LAYERS: usize = 4096;
/// Most blocks of additional information that are looked through for layers of 16 and 32 bits.
const BLOCKS: usize = 4096;
/// Additional information whose length has 64 bits in a PSB ("Additional Layer Information").
const LONG: [&[u8; 4]; 13] = [
    b"LMsk", b"Lr16", b"Lr32", b"Layr", b"Mt16", b"Mt32", b"Mtrn", b"Alph", b"FMsk", b"lnk2", b"FEid", b"FXid", b"PxSD",
];

/// One layer: its size and where its channels are, by their numbers.
struct Layer {
    width: u32,
    height: u32,
    channels: Vec<(i16, u64)>,
}

pub(super) fn further(
    mut document: Document<'_>,
    format: Format,
    limits: &Limits,
    budget: &mut Budget,
    each: Each<'_>,
) -> Result<(), Failure> {
    let Some(start) = find(&mut document)? else { return Ok(()) };
    let (layers, mut data, whole) = records(&mut document, start)?;
    for (number, layer) in (1usize..).zip(layers) {
        let (mut planes, mut offset) = (Vec::new(), data);
        for (channel, length) in &layer.channels {
            planes.push((*channel, offset, *length));
            offset = offset.saturating_add(*length);
        }
        data = offset;
        if layer.width.max(layer.height) < LEAST_SIDE || layer.width.min(layer.height) == 0 {
            continue;
        }
        let size = Size { width: layer.width, height: layer.height, bit_depth: document.size.bit_depth };
        if budget.spend(size, each).is_break() {
            return Ok(());
        }
        let found = guarded(|| decode(&mut document, &layer, &planes, limits));
        if report(each, format, format!("layer {number}"), found).is_break() {
            return Ok(());
        }
    }
    if whole > LAYERS {
        let reason = Reason::Unsupported(format!("the document has {whole} layers; {LAYERS} are looked at"));
        let _ = each("further layers".to_owned(), Err(reason.at(document.size)));
    }
    Ok(())
}

/// Where the number of layers stands: in the section itself, or, for layers of 16 and 32 bits, in the additional
/// information behind it.
fn find(document: &mut Document<'_>) -> Result<Option<u64>, Reason> {
    let (start, length) = document.layers;
    let end = start.saturating_add(length);
    if length < 4 {
        return Ok(None);
    }
    let reader = &mut document.reader;
    let (mut offset, info) = long(reader, start, document.large)?;
    if info > 0 {
        return Ok(Some(offset));
    }
    // The global mask, then blocks.
    let Ok(mask) = at::<4>(reader, offset) else { return Ok(None) };
    offset = offset.saturating_add(4 + u64::from(u32::from_be_bytes(mask)));
    for _ in 0..BLOCKS {
        if offset.saturating_add(12) > end {
            break;
        }
        let head = at::<8>(reader, offset)?;
        let key = [head[4], head[5], head[6], head[7]];
        if !matches!(&head[..4], b"8BIM" | b"8B64") {
            break;
        }
        let (data, length) = long(reader, offset + 8, document.large && LONG.contains(&&key))?;
        if matches!(&key, b"Lr16" | b"Lr32" | b"Layr") && length > 0 {
            return Ok(Some(data));
        }
        offset = data.saturating_add(length).saturating_add(3) / 4 * 4;
    }
    Ok(None)
}

/// A length of 32 or 64 bits at `offset`, and where what it measures begins.
fn long(reader: &mut Reader<'_>, offset: u64, large: bool) -> Result<(u64, u64), Reason> {
    if large {
        Ok((offset + 8, u64::from_be_bytes(at(reader, offset)?)))
    } else {
        Ok((offset + 4, u64::from(u32::from_be_bytes(at(reader, offset)?))))
    }
}

/// The layers, where the pixels of the first of them begin, and how many layers the document has.
fn records(document: &mut Document<'_>, start: u64) -> Result<(Vec<Layer>, u64, usize), Reason> {
    let large = document.large;
    let reader = &mut document.reader;
    let count = usize::from(i16::from_be_bytes(at(reader, start)?).unsigned_abs());
    let mut layers = Vec::new();
    for _ in 0..count {
        let rectangle: [u8; 16] = bytes(reader)?;
        let side = |index: usize| {
            let four = [0, 1, 2, 3].map(|byte| rectangle[index * 4 + byte]);
            i64::from(i32::from_be_bytes(four))
        };
        let (height, width) = (side(2) - side(0), side(3) - side(1));
        let channels = u16::from_be_bytes(bytes(reader)?);
        if channels > 64 {
            return Err(Reason::Damaged(format!("a layer with {channels} channels")));
        }
        let mut found = Vec::new();
        for _ in 0..channels {
            let channel = i16::from_be_bytes(bytes(reader)?);
            let length =
                if large { u64::from_be_bytes(bytes(reader)?) } else { u64::from(u32::from_be_bytes(bytes(reader)?)) };
            found.push((channel, length));
        }
        // Signature, blend mode, opacity, clipping, flags and a filler; then names and masks.
        let rest: [u8; 16] = bytes(reader)?;
        let extra = u32::from_be_bytes([rest[12], rest[13], rest[14], rest[15]]);
        reader.seek(SeekFrom::Current(i64::from(extra))).map_err(|error| Reason::Damaged(error.to_string()))?;
        let side = |length: i64| u32::try_from(length).unwrap_or(0);
        layers.push(Layer { width: side(width), height: side(height), channels: found });
    }
    let data = reader.stream_position().map_err(|error| Reason::Damaged(error.to_string()))?;
    layers.truncate(LAYERS);
    Ok((layers, data, count))
}

/// Decodes a layer from its channels: number, where it begins, length.
fn decode(
    document: &mut Document<'_>,
    layer: &Layer,
    channels: &[(i16, u64, u64)],
    limits: &Limits,
) -> Result<(Size, Reduced), Failure> {
    let size = Size { width: layer.width, height: layer.height, bit_depth: document.size.bit_depth };
    admit(size, limits)?;
    let failed = |reason: Reason| reason.at(size);
    // Opacity is the channel of number -1.
    let opacity = channels.iter().any(|(channel, ..)| *channel == -1);
    let (layout, numbers): (Layout, &[i16]) = match (document.mode, opacity) {
        (Mode::Rgb, true) => (Layout::Rgba { samples: 4 }, &[0, 1, 2, -1]),
        (Mode::Grey, true) => (Layout::GreyAlpha, &[0, -1]),
        (Mode::Cmyk, _) => (Layout::InvertedCmyk, &[0, 1, 2, 3]),
        (Mode::Rgb | Mode::Lab, _) => (document.layout(), &[0, 1, 2]),
        _ => (document.layout(), &[0]),
    };
    let row = document.depth.row_bytes(size.width);
    afford(numbers.len() as u64 * (u64::from(size.height) * 4 + row * 8), size, limits)?;
    let mut planes = Vec::new();
    for number in numbers {
        let channel = channels.iter().find(|(channel, ..)| channel == number);
        let (_, offset, length) = channel.ok_or_else(|| failed(Reason::Damaged(format!("no channel {number}"))))?;
        planes.push(plane(document, *offset, *length, size.height).map_err(failed)?);
    }
    document.reduce(planes, size, &layout, limits).map(|reduced| (size, reduced)).map_err(failed)
}

fn plane(document: &mut Document<'_>, offset: u64, length: u64, rows: u32) -> Result<Plane, Reason> {
    let counts = if document.large { 4usize } else { 2 };
    let coding = u16::from_be_bytes(at(&mut document.reader, offset)?);
    let data = offset.saturating_add(2);
    let length = length.saturating_sub(2);
    Ok(match coding {
        0 => Plane::new(Coding::Raw, data, length),
        1 => {
            let table = u64::from(rows) * counts as u64;
            let lengths = lengths(&mut document.reader, data, rows, counts)?;
            Plane::new(Coding::Packed(lengths), data.saturating_add(table), length.saturating_sub(table))
        }
        2 | 3 => Plane::new(Coding::Deflated { differences: coding == 3 }, data, length),
        other => return Err(Reason::Damaged(format!("a layer with compression {other}"))),
    })
}

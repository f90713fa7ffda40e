//! Streams of a document that would be unpacked to more than there is memory for. The reader of documents unpacks
//! each as a whole and knows no limit, so that what it is going to unpack is measured before, and thrown away.
//!
//! What is measured is all that [`Walk::pdf`](super::walk::Walk) asks for. Object and cross-reference streams are
//! unpacked by the reader on its own account; of them those are measured that are not encrypted and say plainly what
//! they are. What is left is at most what DEFLATE can make of the file, and bounded by the limit of the process.

use std::borrow::Cow;
use std::io::{self, Read};

use flate2::read::{DeflateDecoder, ZlibDecoder};
use hayro_syntax::Filter;
use memchr::memmem;
use weezl::decode::Decoder;
use weezl::{BitOrder, LzwStatus};

/// DEFLATE makes at most so many bytes of one (zlib's "Maximum Expansion Factor").
const DEFLATE: u64 = 1032;
/// How often a stream may be packed in itself.
const NESTED: u32 = 4;
/// A dictionary lies within so many bytes before its stream.
const DICTIONARY: usize = 1024;

/// Whether `data`, unpacked by `filters` one after the other, is ever more than `limit` bytes. Of pictures the last
/// filter counts as far as the size stands in the data: CCITT's stands in the dictionary.
pub(super) fn is_bomb(data: &[u8], filters: &[Filter], limit: u64) -> bool {
    match filters {
        [] => false,
        [Filter::FlateDecode] if data.len() as u64 <= limit / DEFLATE => false,
        [before @ .., last] if is_picture(*last) => unpacked(data, before, limit).is_none_or(|data| match last {
            Filter::Jbig2Decode => jbig2_pixels(&data).is_some_and(|pixels| pixels > limit / 4),
            _ => false,
        }),
        _ => unpacked(data, filters, limit).is_none(),
    }
}

/// What `filters` make of `data`; none if that is ever more than `limit` bytes, or one of them makes a picture.
pub(super) fn unpacked<'a>(data: &'a [u8], filters: &[Filter], limit: u64) -> Option<Cow<'a, [u8]>> {
    filters.iter().try_fold(Cow::Borrowed(data), |data, filter| {
        Some(Cow::Owned(match filter {
            Filter::FlateDecode => inflated(&data, limit)?,
            Filter::LzwDecode => from_lzw(&data, limit)?,
            Filter::RunLengthDecode => from_runs(&data, limit)?,
            Filter::AsciiHexDecode => from_hex(&data),
            Filter::Ascii85Decode => from_ascii85(&data),
            Filter::Crypt => return Some(data),
            Filter::CcittFaxDecode | Filter::Jbig2Decode | Filter::DctDecode | Filter::JpxDecode => return None,
        }))
    })
}

pub(super) fn is_picture(filter: Filter) -> bool {
    matches!(filter, Filter::CcittFaxDecode | Filter::Jbig2Decode | Filter::DctDecode | Filter::JpxDecode)
}

/// How many pixels a page has at most (ITU-T T.88, 7.2 and 7.4.8); none where no segment says it.
fn jbig2_pixels(mut data: &[u8]) -> Option<u64> {
    const PAGE: u8 = 48;
    loop {
        let (number, flags) = (word(data, 0)?, *data.get(4)?);
        // Up to four segments that it refers to are counted in three bits; of more the count has four bytes.
        let (references, counted) = match *data.get(5)? >> 5 {
            few @ 0..=4 => (usize::from(few), 6),
            _ => {
                let many = (word(data, 5)? & 0x1fff_ffff) as usize;
                (many, 9 + (many + 1).div_ceil(8))
            }
        };
        let bytes = if number <= 256 {
            1
        } else if number <= 65536 {
            2
        } else {
            4
        };
        let association = if flags & 0x40 == 0 { 1 } else { 4 };
        let at = counted + references * bytes + association;
        let (length, payload) = (word(data, at)?, data.get(at + 4..)?);
        if flags & 0x3f == PAGE {
            // A height that is not known yet is the greatest.
            return Some(u64::from(word(payload, 0)?) * u64::from(word(payload, 4)?.min(u16::MAX.into())));
        }
        data = payload.get(length as usize..)?;
    }
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk::<4>().map(|word| u32::from_be_bytes(*word))
}

/// Whether the object and cross-reference streams in the file `bytes`, and those that are packed twice, are one together.
pub(super) fn has_bomb(bytes: &[u8], limit: u64) -> bool {
    let mut left = Some(limit);
    memmem::find_iter(bytes, b"stream").any(|at| {
        let dictionary = &bytes[at.saturating_sub(DICTIONARY)..at];
        let dictionary = &dictionary[memmem::rfind(dictionary, b"obj").unwrap_or(0)..];
        let data = bytes[at + b"stream".len()..].trim_ascii_start();
        let loaded = [b"ObjStm".as_slice(), b"XRef"].iter().any(|kind| memmem::find(dictionary, kind).is_some());
        if is_zlib(data) && (loaded || is_nested(data)) {
            left = left.and_then(|left| left.checked_sub(nested(data, left, NESTED)?));
        }
        left.is_none()
    })
}

/// RFC 1950, 2.2: a window of up to 32 KiB, and a check that makes both bytes a multiple of 31.
fn is_zlib(data: &[u8]) -> bool {
    matches!(data, [method, flags, ..] if method & 0x8f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0)
}

fn is_nested(data: &[u8]) -> bool {
    let mut head = [0; 2];
    ZlibDecoder::new(data).read_exact(&mut head).is_ok() && is_zlib(&head)
}

/// How many bytes it makes in all; none if that is more than `limit`, or it is packed more than `depth` times.
fn nested(data: &[u8], limit: u64, depth: u32) -> Option<u64> {
    let depth = depth.checked_sub(1)?;
    if !is_nested(data) {
        let mut made = ZlibDecoder::new(data).take(limit + 1);
        // What ends with an error is what there is.
        let _ = io::copy(&mut made, &mut io::sink());
        return (limit + 1).checked_sub(made.limit()).filter(|made| *made <= limit);
    }
    let inner = inflated(data, limit)?;
    let made = inner.len() as u64;
    Some(made + nested(&inner, limit - made, depth)?)
}

/// What is inflated as far as it goes; none if that is more than `limit` bytes.
fn inflated(data: &[u8], limit: u64) -> Option<Vec<u8>> {
    let mut inner = Vec::new();
    // What ends with an error is what there is.
    let _ = match is_zlib(data) {
        true => ZlibDecoder::new(data).take(limit + 1).read_to_end(&mut inner),
        false => DeflateDecoder::new(data).take(limit + 1).read_to_end(&mut inner),
    };
    (inner.len() as u64 <= limit).then_some(inner)
}

/// ISO 32000-1, 7.4.4. Which of both kinds it is stands in the parameters: both are tried.
fn from_lzw(data: &[u8], limit: u64) -> Option<Vec<u8>> {
    let early = decoded(Decoder::with_tiff_size_switch(BitOrder::Msb, 8), data, limit)?;
    let late = decoded(Decoder::new(BitOrder::Msb, 8), data, limit)?;
    Some(if early.len() < late.len() { late } else { early })
}

fn decoded(mut decoder: Decoder, mut data: &[u8], limit: u64) -> Option<Vec<u8>> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let step = decoder.decode_bytes(data, &mut buffer);
        bytes.extend_from_slice(&buffer[..step.consumed_out]);
        data = &data[step.consumed_in..];
        if bytes.len() as u64 > limit {
            return None;
        }
        if !matches!(step.status, Ok(LzwStatus::Ok)) {
            return Some(bytes);
        }
    }
}

/// ISO 32000-1, 7.4.5.
fn from_runs(mut data: &[u8], limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        data = match data {
            [length @ 0..=127, rest @ ..] => {
                let (run, rest) = rest.split_at(rest.len().min(usize::from(*length) + 1));
                bytes.extend_from_slice(run);
                rest
            }
            [length @ 129..=255, byte, rest @ ..] => {
                bytes.resize(bytes.len() + 257 - usize::from(*length), *byte);
                rest
            }
            // 128 is the end.
            _ => return Some(bytes),
        };
        if bytes.len() as u64 > limit {
            return None;
        }
    }
}

/// ISO 32000-1, 7.4.2.
fn from_hex(data: &[u8]) -> Vec<u8> {
    let digits = data.iter().take_while(|byte| **byte != b'>').filter_map(|byte| char::from(*byte).to_digit(16));
    let digits: Vec<u8> = digits.map(|digit| digit as u8).collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect()
}

/// ISO 32000-1, 7.4.3.
fn from_ascii85(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut group: Vec<u8> = Vec::with_capacity(5);
    for byte in data.iter().take_while(|byte| **byte != b'~') {
        match byte {
            b'z' if group.is_empty() => bytes.extend_from_slice(&[0; 4]),
            b'!'..=b'u' => group.push(byte - b'!'),
            _ => {}
        }
        if group.len() == 5 {
            let word = group.iter().fold(0u32, |word, digit| word.wrapping_mul(85).wrapping_add(u32::from(*digit)));
            bytes.extend_from_slice(&word.to_be_bytes());
            group.clear();
        }
    }
    if group.len() > 1 {
        let kept = group.len() - 1;
        group.resize(5, 84);
        let word = group.iter().fold(0u32, |word, digit| word.wrapping_mul(85).wrapping_add(u32::from(*digit)));
        bytes.extend_from_slice(&word.to_be_bytes()[..kept]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn what_is_unpacked_is_measured_whatever_the_filters() {
        use Filter::{Ascii85Decode, AsciiHexDecode, DctDecode, FlateDecode, Jbig2Decode, LzwDecode, RunLengthDecode};
        let once = deflated(&vec![0; 1 << 20]);
        let twice = deflated(&once);
        let hex: Vec<u8> = once.iter().flat_map(|byte| format!("{byte:02x} ").into_bytes()).chain(*b">").collect();
        let lzw = weezl::encode::Encoder::with_tiff_size_switch(BitOrder::Msb, 8).encode(&vec![0; 1 << 20]).unwrap();
        let runs = [129, 7].repeat((1 << 20) / 128);
        for (data, filters) in [
            (&lzw, [LzwDecode].as_slice()),
            (&deflated(&lzw), &[FlateDecode, LzwDecode]),
            (&runs, &[RunLengthDecode]),
            (&once, &[FlateDecode]),
            (&twice, &[FlateDecode, FlateDecode]),
            (&once, &[FlateDecode, DctDecode]),
            (&hex, &[AsciiHexDecode, FlateDecode]),
        ] {
            assert!(!is_bomb(data, filters, 1 << 20), "{filters:?}");
            assert!(is_bomb(data, filters, (1 << 20) - 1), "{filters:?}");
        }
        assert!(!is_bomb(&[7; 1000], &[], 10));
        assert!(is_bomb(&once, &[DctDecode, FlateDecode], u64::MAX), "nothing is made of pixels");
        let page = |side: u16| {
            let side = [0, 0, side.to_be_bytes()[0], side.to_be_bytes()[1]];
            [&[0, 0, 0, 0, 48, 0, 1, 0, 0, 0, 19], side.as_slice(), &side, &[0; 11]].concat()
        };
        assert!(is_bomb(&page(u16::MAX), &[Jbig2Decode], 1 << 30) && !is_bomb(&page(5000), &[Jbig2Decode], 1 << 30));
        // "Man " and "sure", of the article that everybody knows.
        assert_eq!(from_ascii85(b"9jqo^ F*2M7~>"), b"Man sure");
        assert!(!is_bomb(b"9jqo^~>", &[Ascii85Decode, FlateDecode], 1 << 20));
    }

    #[test]
    fn object_streams_are_measured_before_they_are_read() {
        let once = deflated(&vec![0; 1 << 20]);
        let object = |kind: &str, data: &[u8]| [format!("1 0 obj<</Type/{kind}>>stream\r\n").as_bytes(), data].concat();
        assert!(has_bomb(&object("ObjStm", &once), 1 << 19));
        assert!(has_bomb(&object("XRef", &once), 1 << 19));
        assert!(has_bomb(&object("Anything", &deflated(&once)), 1 << 19));
        assert!(!has_bomb(&object("Anything", &once), 1 << 19), "it is measured when it is asked for");
        assert!(!has_bomb(&object("ObjStm", &once), 1 << 20));
    }
}

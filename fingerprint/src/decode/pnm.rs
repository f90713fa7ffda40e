//! PBM, PGM, PPM, PAM (Netpbm's P1 to P7) and PFM, row by row.

use std::io::{self, BufRead, Cursor, Read};

use super::{Failure, Layout, Reduced, Reducer, Source, admit, afford};
use crate::measure::{Limits, Reason, Size};

/// Most bytes of a header; comments may fill it.
const HEADER: u64 = 64 * 1024;

/// How the samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// Digits; those of a bitmap need nothing between them.
    Text,
    /// One bit a pixel, 1 for black.
    Bits,
    /// One or two bytes, the high one first.
    Bytes,
    /// IEEE 754 binary32; the last row comes first.
    Floats { little: bool },
}

struct Header {
    width: u32,
    height: u32,
    coding: Coding,
    layout: Layout,
    /// Largest value of a sample.
    most: u32,
    /// 1 is black.
    inverted: bool,
}

/// Whether these first bytes are such a header: two letters and a blank begin many a text.
pub(super) fn is_pnm(bytes: &[u8]) -> bool {
    let start = bytes.get(..bytes.len().min(HEADER as usize)).unwrap_or_default();
    matches!(start, [b'P', b'1'..=b'7' | b'F' | b'f', white, ..] if white.is_ascii_whitespace() || *white == b'#')
        && header(&mut Cursor::new(start)).is_ok()
}

pub(super) fn decode(source: Source<'_>, limits: &Limits) -> Result<(Size, Reduced), Failure> {
    let mut reader = source.reader();
    let head = header(&mut reader)?;
    let depth = match (head.coding, head.most) {
        (Coding::Floats { .. }, _) => 32,
        (_, 1) => 1,
        (_, 2..=255) => 8,
        _ => 16,
    };
    let size = Size { width: head.width, height: head.height, bit_depth: depth };
    admit(size, limits)?;
    afford(u64::from(size.width) * (head.layout.samples() as u64 * 6 + 3), size, limits)?;
    let failed = |reason: Reason| reason.at(size);
    let mut ceiling = 1.0;
    if let Coding::Floats { .. } = head.coding {
        // Programs write 0 to 1, to 255, or light without an end.
        let mut brightest = 0f32;
        rows(&mut reader, &head, &mut |_, row| {
            for sample in row.chunks_exact(4).map(|b| float(b, head.coding)).filter(|sample| sample.is_finite()) {
                brightest = brightest.max(sample);
            }
        })
        .map_err(failed)?;
        ceiling = [1.0, 255.0, 65535.0].into_iter().find(|c| brightest <= c * 1.001).unwrap_or(brightest);
        reader = source.reader();
        header(&mut reader)?;
    }
    let mut reducer = Reducer::new(size.width, size.height, limits);
    let (mut samples, mut rgb) = (Vec::new(), Vec::new());
    rows(&mut reader, &head, &mut |y, row| {
        samples.clear();
        let scaled = |value: u32| ((value.min(head.most) * 255 + head.most / 2) / head.most) as u8;
        match head.coding {
            Coding::Bits => {
                samples.extend(row.iter().flat_map(|byte| (0..8).map(move |bit| (byte >> (7 - bit) & 1) * 255)));
                samples.truncate(size.width as usize);
            }
            Coding::Floats { .. } => samples.extend(
                row.chunks_exact(4).map(|b| (float(b, head.coding) / ceiling * 255.0 + 0.5).clamp(0.0, 255.0) as u8),
            ),
            _ if head.most > 255 => {
                let value = |b: &[u8]| u32::from(b[0]) << 8 | u32::from(b[1]);
                samples.extend(row.chunks_exact(2).map(value).map(scaled));
            }
            _ => samples.extend(row.iter().map(|byte| scaled(u32::from(*byte)))),
        }
        if head.inverted {
            samples.iter_mut().for_each(|sample| *sample = 255 - *sample);
        }
        rgb.clear();
        head.layout.to_rgb(&samples, &mut rgb);
        reducer.add(0, if matches!(head.coding, Coding::Floats { .. }) { size.height - 1 - y } else { y }, 1, &rgb);
    })
    .map_err(failed)?;
    Ok((size, reducer.finish()))
}

fn float(bytes: &[u8], coding: Coding) -> f32 {
    let four = [bytes[0], bytes[1], bytes[2], bytes[3]];
    if coding == (Coding::Floats { little: true }) { f32::from_le_bytes(four) } else { f32::from_be_bytes(four) }
}

/// Calls `take` with the bytes of each row, as a file of the binary kind has them.
fn rows(reader: &mut impl BufRead, head: &Header, take: &mut dyn FnMut(u32, &[u8])) -> Result<(), Reason> {
    let samples = head.width as usize * head.layout.samples();
    let wide = if head.most > 255 { 2 } else { 1 };
    let bytes = match head.coding {
        Coding::Bits => samples.div_ceil(8),
        Coding::Floats { .. } => samples * 4,
        Coding::Bytes | Coding::Text => samples * wide,
    };
    let mut row = vec![0; bytes];
    for y in 0..head.height {
        if head.coding == Coding::Text {
            for sample in row.chunks_exact_mut(wide) {
                let value = if head.most == 1 && head.inverted { digit(reader)? } else { number(reader)? };
                sample.copy_from_slice(&value.min(65535).to_be_bytes()[4 - wide..]);
            }
        } else {
            reader.read_exact(&mut row).map_err(|error| read_failed(&error))?;
        }
        take(y, &row);
    }
    Ok(())
}

fn header(reader: &mut impl BufRead) -> Result<Header, Reason> {
    let mut reader = Read::take(&mut *reader, HEADER);
    let reader = &mut reader;
    let mut magic = [0; 2];
    reader.read_exact(&mut magic).map_err(|error| read_failed(&error))?;
    if magic == *b"P7" {
        return pam(reader);
    }
    let (width, height) = (number(reader)?, number(reader)?);
    let grey = Layout::Grey { samples: 1 };
    let colour = Layout::Rgb { samples: 3 };
    let (coding, layout) = match magic[1] {
        b'1' => (Coding::Text, grey),
        b'2' => (Coding::Text, grey),
        b'3' => (Coding::Text, colour),
        b'4' => (Coding::Bits, grey),
        b'5' => (Coding::Bytes, grey),
        b'6' => (Coding::Bytes, colour),
        kind => {
            let scale = word(reader)?;
            let scale: f32 = scale.parse().map_err(|_| Reason::Damaged(format!("a scale of \"{scale}\"")))?;
            let coding = Coding::Floats { little: scale < 0.0 };
            (coding, if kind == b'F' { colour } else { grey })
        }
    };
    let inverted = matches!(magic[1], b'1' | b'4');
    let most = if inverted || matches!(coding, Coding::Floats { .. }) { 1 } else { number(reader)? };
    check(Header { width, height, coding, layout, most, inverted })
}

/// The header of P7: words and values, one pair a line.
fn pam(reader: &mut impl BufRead) -> Result<Header, Reason> {
    let (mut width, mut height, mut depth, mut most, mut kind) = (0, 0, 0, 0, String::new());
    loop {
        match word(reader)?.as_str() {
            "WIDTH" => width = number(reader)?,
            "HEIGHT" => height = number(reader)?,
            "DEPTH" => depth = number(reader)?,
            "MAXVAL" => most = number(reader)?,
            "TUPLTYPE" => kind = word(reader)?,
            "ENDHDR" => break,
            other => return Err(Reason::Damaged(format!("a header with \"{other}\""))),
        }
    }
    if depth == 0 || depth > 64 {
        return Err(Reason::Unsupported(format!("PAM with {depth} samples a pixel")));
    }
    let samples = depth as usize;
    let alpha = kind.ends_with("_ALPHA");
    let layout = match (kind.trim_end_matches("_ALPHA"), samples) {
        ("CMYK", 4..) => Layout::Cmyk { samples },
        ("GRAYSCALE" | "BLACKANDWHITE", 2) if alpha => Layout::GreyAlpha,
        ("RGB", 4..) if alpha => Layout::Rgba { samples },
        ("GRAYSCALE" | "BLACKANDWHITE", _) | (_, 1 | 2) => Layout::Grey { samples },
        _ => Layout::Rgb { samples },
    };
    check(Header { width, height, coding: Coding::Bytes, layout, most, inverted: false })
}

fn check(header: Header) -> Result<Header, Reason> {
    if header.most == 0 || header.most > 65535 {
        return Err(Reason::Damaged(format!("a largest sample of {}", header.most)));
    }
    Ok(header)
}

/// The next word; what stands behind `#` is a comment. One blank behind it is consumed, no more: the samples
/// begin there.
fn word(reader: &mut impl BufRead) -> Result<String, Reason> {
    let mut word = String::new();
    loop {
        let Some(byte) = byte(reader)? else {
            let truncated = || Reason::Truncated("it ends before its last sample".to_owned());
            return if word.is_empty() { Err(truncated()) } else { Ok(word) };
        };
        match byte {
            b'#' => while byte_of_line(reader)? {},
            _ if byte.is_ascii_whitespace() && word.is_empty() => {}
            _ if byte.is_ascii_whitespace() => return Ok(word),
            _ if byte.is_ascii_graphic() && word.len() < 32 => word.push(char::from(byte)),
            _ => return Err(Reason::Damaged("letters where a number is due".to_owned())),
        }
    }
}

fn byte_of_line(reader: &mut impl BufRead) -> Result<bool, Reason> {
    Ok(!matches!(byte(reader)?, None | Some(b'\n' | b'\r')))
}

fn byte(reader: &mut impl BufRead) -> Result<Option<u8>, Reason> {
    let found = reader.fill_buf().map_err(|error| read_failed(&error))?.first().copied();
    reader.consume(usize::from(found.is_some()));
    Ok(found)
}

fn number(reader: &mut impl BufRead) -> Result<u32, Reason> {
    let word = word(reader)?;
    word.parse().map_err(|_| Reason::Damaged(format!("\"{word}\" where a number is due")))
}

/// One digit of a bitmap in text.
fn digit(reader: &mut impl BufRead) -> Result<u32, Reason> {
    loop {
        match byte(reader)? {
            Some(b'0') => return Ok(0),
            Some(b'1') => return Ok(1),
            Some(b'#') => while byte_of_line(reader)? {},
            Some(blank) if blank.is_ascii_whitespace() => {}
            Some(_) => return Err(Reason::Damaged("a bitmap with other digits than 0 and 1".to_owned())),
            None => return Err(Reason::Truncated("it ends before its last sample".to_owned())),
        }
    }
}

fn read_failed(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Reason::Truncated("it ends before its last row".to_owned()),
        _ => Reason::Damaged(error.to_string()),
    }
}

//! Bytes that travel as text: base64 (RFC 4648, both alphabets) and hexadecimal digits in e-mail and mailboxes (RFC 2045),
//! web pages, scripts, JSON and XML, also where every character takes two bytes.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::join;
use super::walk::{BESIDE, Walk};

/// Shorter runs are words, keys and hashes.
const SHORTEST: usize = 2048;

/// Forgives what a truncated run lacks at its end.
const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How a symbol is written where its own letter may not stand: JSON (RFC 8259, 7), URLs (RFC 3986, 2.1).
const ESCAPED: [(&[u8], u8); 7] = [
    (b"\\/", b'/'),
    (b"\\u002f", b'/'),
    (b"\\u002b", b'+'),
    (b"%2F", b'/'),
    (b"%2f", b'/'),
    (b"%2B", b'+'),
    (b"%2b", b'+'),
];
/// How the end of a line is written: as it is, in JSON, in XML, in a URL, and where quoted-printable only breaks its own
/// line (RFC 2045, 6.7, rule 5).
const LINE_ENDS: [&[u8]; 11] =
    [b"\r\n", b"\n", b"\\r\\n", b"\\n", b"&#xA;", b"&#10;", b"&#xD;&#xA;", b"%0D%0A", b"%0A", b"=\r\n", b"=\n"];

impl Walk<'_> {
    /// Looks at what every long run of symbols in `bytes` stands for, which lie at byte `base`.
    pub(super) fn encoded(&mut self, path: &str, bytes: &[u8], base: u64, depth: u32) {
        self.runs(path, bytes, base, depth);
        let mut at = 0;
        while let Some((start, text)) = narrowed(bytes, at) {
            self.runs(path, &text, base + start as u64, depth);
            at = start + text.len() * 2;
        }
    }

    fn runs(&mut self, path: &str, bytes: &[u8], base: u64, depth: u32) {
        let mut at = 0;
        while let Some(run) = run(bytes, at) {
            let place = base + run.start as u64;
            let looked = match run.symbols.iter().all(u8::is_ascii_hexdigit) {
                true => self.hexadecimal(path, place, &run.symbols, depth),
                false => self.base64(path, place, &run.symbols, depth),
            };
            if looked.is_err() {
                return; // Whoever asked sees it, too.
            }
            at = run.end;
        }
    }

    fn hexadecimal(&mut self, path: &str, place: u64, digits: &[u8], depth: u32) -> Result<(), super::Opaque> {
        let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or_default() as u8;
        let decoded: Vec<u8> = digits.as_chunks::<2>().0.iter().map(|[a, b]| digit(*a) << 4 | digit(*b)).collect();
        self.budget.unpack(decoded.len())?;
        self.bytes(join(path, format!("hexadecimal at byte {place}").as_bytes()), &decoded, depth)
    }

    /// A run may begin in the midst of four symbols: a word before it, or a line break that was taken for padding. All
    /// four ways of reading it are searched; what is long enough for parts of a master is looked at as a file in each.
    fn base64(&mut self, path: &str, place: u64, symbols: &[u8], depth: u32) -> Result<(), super::Opaque> {
        let name = join(path, format!("base64 at byte {place}").as_bytes());
        for phase in 0..4 {
            let symbols = &symbols[phase..];
            let Ok(decoded) = FORGIVING.decode(&symbols[..symbols.len() / 4 * 4]) else { continue };
            if phase == 0 || decoded.len() as u64 > BESIDE {
                self.bytes(name.clone(), &decoded, depth)?;
            } else {
                self.budget.unpack(decoded.len())?;
                self.carve(&name, &decoded, 0, depth);
            }
        }
        self.budget.check()
    }
}

/// A long run of symbols.
#[derive(Debug, PartialEq)]
struct Run {
    /// Where it begins, and where what comes behind it.
    start: usize,
    end: usize,
    /// In the standard alphabet.
    symbols: Vec<u8>,
}

/// The symbol that `bytes` begin with, and how many of them it takes.
fn symbol(bytes: &[u8]) -> Option<(u8, usize)> {
    match bytes.first()? {
        byte if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/') => Some((*byte, 1)),
        b'-' => Some((b'+', 1)),
        b'_' => Some((b'/', 1)),
        b'\\' | b'%' => {
            let escaped = ESCAPED.iter().find(|(escaped, _)| bytes.starts_with(escaped));
            escaped.map(|(escaped, symbol)| (*symbol, escaped.len()))
        }
        _ => None,
    }
}

/// How many bytes a line end takes that `bytes` begin with, and what stands at the beginning of the next line before its
/// first symbol: it is indented, or quoted in an answer. None if there is no symbol.
fn line_end(bytes: &[u8]) -> Option<usize> {
    if !matches!(bytes.first()?, b'\r' | b'\n' | b'\\' | b'&' | b'%' | b'=') {
        return None;
    }
    let end = LINE_ENDS.iter().find(|end| bytes.starts_with(end))?.len();
    let margin = bytes[end..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'>')).count();
    symbol(&bytes[end + margin..]).map(|_| end + margin)
}

/// The next run that is long enough: symbols, and line ends between them. It ends at the first other byte, at padding, and
/// at an empty line.
fn run(bytes: &[u8], from: usize) -> Option<Run> {
    // Up to `seen` there is nothing between it and `start` that no run contains.
    let (mut start, mut seen) = (from, from);
    while let Some(window) = bytes.get(start.max(seen)..start + SHORTEST) {
        // The last such byte within the length of the shortest run: no run goes over it.
        if let Some(last) = window.iter().rposition(|byte| !IN_RUNS[usize::from(*byte)]) {
            start = start.max(seen) + last + 1;
            continue;
        }
        seen = start + SHORTEST;
        let Some(first) = bytes[start..].iter().position(|byte| symbol(&[*byte]).is_some()) else { break };
        start += first;
        let (mut end, mut symbols) = (start, Vec::new());
        loop {
            if let Some((symbol, length)) = symbol(&bytes[end..]) {
                symbols.push(symbol);
                end += length;
            } else if let Some(length) = line_end(&bytes[end..]) {
                end += length;
            } else {
                break;
            }
        }
        if symbols.len() >= SHORTEST {
            return Some(Run { start, end, symbols });
        }
        start = end + 1;
    }
    None
}

/// The bytes of which runs are made: symbols, [`ESCAPED`] or not, and what lines end and begin with.
const IN_RUNS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        let letter = byte as u8;
        table[byte] = letter.is_ascii_alphanumeric()
            || matches!(letter, b'+' | b'/' | b'-' | b'_' | b'\\' | b'%')
            || matches!(letter, b'\r' | b'\n' | b'&' | b'#' | b';' | b'=' | b' ' | b'\t' | b'>');
        byte += 1;
    }
    table
};

/// The next long stretch of ASCII that is written with a zero behind or before every letter (UTF-16), as ASCII.
fn narrowed(bytes: &[u8], from: usize) -> Option<(usize, Vec<u8>)> {
    let mut start = from;
    while let Some([.., a, b]) = bytes.get(start..start + 2 * SHORTEST) {
        // Of two bytes in the midst of a stretch one is zero: none goes over others.
        if !matches!((a, b), (1..=127, 0) | (0, 1..=127)) {
            start += 2 * SHORTEST - 1;
            continue;
        }
        let pairs = bytes[start..].as_chunks::<2>().0;
        let length = pairs.iter().take_while(|[letter, zero]| *zero == 0 && matches!(letter, 1..=127)).count();
        if length >= SHORTEST {
            return Some((start, pairs[..length].iter().map(|[letter, _]| *letter).collect()));
        }
        start += 2 * length + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_with_its_text() {
        let block = "QUJD".repeat(19);
        let body = format!("{block}\r\n").repeat(40);
        let mail = format!("Content-Transfer-Encoding: base64\r\n\r\n{body}QQ==\r\n\r\n--next");
        let run = run(mail.as_bytes(), 0).unwrap();
        assert_eq!((run.start, run.end - run.start), (37, body.len() + 2));
        assert_eq!(super::run(mail.as_bytes(), run.end), None);
    }

    #[test]
    fn prose_is_no_run() {
        assert_eq!(run("Nobody writes words without spaces between them.\n".repeat(1000).as_bytes(), 0), None);
    }

    #[test]
    fn a_symbol_is_one_however_it_is_written() {
        let block = "QU/+".repeat(19);
        let lines = vec![block; 40];
        let plain: Vec<u8> = lines.concat().into_bytes();
        let ways = [
            lines.join("\n"),
            lines.join("=\r\n"),
            lines.join("\n> > "),
            lines.join("&#xA;"),
            lines.join("\\r\\n").replace('/', "\\/"),
            lines.concat().replace('/', "_").replace('+', "-"),
            lines.join("%0D%0A").replace('/', "%2F").replace('+', "%2b"),
        ];
        for text in ways {
            assert_eq!(run(text.as_bytes(), 0).map(|run| run.symbols), Some(plain.clone()), "{}", &text[..200]);
        }
    }

    #[test]
    fn a_run_is_found_wherever_it_lies() {
        let text = "QUJD".repeat(SHORTEST / 4);
        // Bytes that no run contains, such that runs are made of, and letters of two bytes.
        for ground in [&b"\x80"[..], b"ab> ", b"a\0", b"\0a"] {
            for before in (0..3 * SHORTEST).step_by(211) {
                let ground: Vec<u8> = ground.iter().copied().cycle().take(before).chain(*b"\x80\x80").collect();
                let bytes = [&ground, text.as_bytes(), b"\x80"].concat();
                let found = run(&bytes, 0).map(|run| (run.start, run.symbols.len()));
                assert_eq!(found, Some((ground.len(), text.len())), "behind {before} bytes");
                let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
                let bytes = [b"\x80".repeat(before).as_slice(), &wide].concat();
                assert_eq!(narrowed(&bytes, 0), Some((before, text.clone().into_bytes())));
            }
        }
    }

    #[test]
    fn text_of_two_bytes_a_letter_is_narrowed() {
        let text = "QUJD".repeat(600);
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(narrowed(&[b"\xff\xfe".as_slice(), &little].concat(), 0), Some((2, text.clone().into_bytes())));
        let (start, found) = narrowed(&big, 0).unwrap();
        assert_eq!((start, found.as_slice()), (1, &text.as_bytes()[..2399]));
        assert_eq!(narrowed(&[0; 9999], 0), None);
    }
}

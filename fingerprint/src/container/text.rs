//! Bytes that travel as text: base64 (RFC 4648) in e-mail and mailboxes (RFC 2045), web pages, scripts and JSON.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::join;
use super::walk::Walk;

/// Shorter runs are words, keys and hashes.
const SHORTEST: usize = 2048;

/// Forgives what a truncated run lacks at its end.
const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Walk<'_> {
    /// Looks at what every long run of base64 in `bytes` stands for, which lie at byte `base`.
    pub(super) fn encoded(&mut self, path: &str, bytes: &[u8], base: u64, depth: u32) {
        let mut at = 0;
        while let Some(run) = run(bytes, at) {
            let mut symbols: Vec<u8> = bytes[run.clone()].iter().copied().filter(|byte| is_symbol(*byte)).collect();
            symbols.truncate(symbols.len() / 4 * 4);
            if let Ok(decoded) = FORGIVING.decode(&symbols) {
                let name = format!("base64 at byte {}", base + run.start as u64);
                if self.bytes(join(path, name.as_bytes()), &decoded, depth).is_err() {
                    return; // Whoever asked sees it, too.
                }
            }
            at = run.end;
        }
    }
}

fn is_symbol(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

/// The next run that is long enough: symbols, and between them line ends, also as JSON writes them. It ends
/// at the first other byte, at padding, and at an empty line.
fn run(bytes: &[u8], from: usize) -> Option<std::ops::Range<usize>> {
    let mut start = from;
    while start < bytes.len() {
        start += bytes[start..].iter().position(|byte| is_symbol(*byte))?;
        let (mut end, mut symbols) = (start, 0);
        while end < bytes.len() {
            end += match bytes[end..] {
                [byte, ..] if is_symbol(byte) => {
                    symbols += 1;
                    1
                }
                [b'\r', b'\n', byte, ..] if is_symbol(byte) => 2,
                [b'\n', byte, ..] if is_symbol(byte) => 1,
                [b'\\', b'n', byte, ..] if is_symbol(byte) => 2,
                _ => break,
            };
        }
        if symbols >= SHORTEST {
            return Some(start..end);
        }
        start = end + 1;
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
        assert_eq!((run.start, run.len()), (37, body.len() + 2));
        assert_eq!(super::run(mail.as_bytes(), run.end), None);
    }

    #[test]
    fn prose_is_no_run() {
        assert_eq!(run("Nobody writes words without spaces between them.\n".repeat(1000).as_bytes(), 0), None);
    }
}

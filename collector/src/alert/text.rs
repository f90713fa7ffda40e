//! Text from workstations is hostile until it has passed here: an agent can be forged, and file names
//! are bytes that somebody chose.

/// `text` on one line of at most `longest` characters, in which nothing moves a terminal's cursor, ends
/// a header line or turns the direction of writing (Unicode Technical Report 36): such characters stand
/// as `\u{NNNN}`. What the agent wrote out already stays as it is.
#[must_use]
pub fn line(text: &str, longest: usize) -> String {
    let mut safe = String::with_capacity(text.len().min(longest));
    for (position, character) in text.chars().enumerate() {
        if position == longest {
            safe.push('…');
            break;
        }
        if moves(character) {
            safe.extend(character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Whether a character moves a terminal's cursor or turns the direction of writing.
pub(crate) fn moves(character: char) -> bool {
    character.is_control()
        || matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{061c}')
}

/// Whether this is a BLAKE3 digest as it is written everywhere: 64 lower-case hexadecimal digits.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_line_stays_a_line() {
        assert_eq!(line("a\r\nBcc: x\u{1b}[2J\u{202e}gpj", 100), "a\\u{d}\\u{a}Bcc: x\\u{1b}[2J\\u{202e}gpj");
        assert_eq!(line("abcdef", 3), "abc…");
        assert_eq!(line("寒食帖_\\xff.tif", 100), "寒食帖_\\xff.tif");
    }
}

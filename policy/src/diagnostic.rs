//! Mistakes in a policy file, shown so that the person who edits it sees where and how to mend them.

use std::fmt;
use std::ops::Range;

use serde::Serialize;
use unicode_width::UnicodeWidthChar;

/// How many mistakes are shown; the rest is counted.
pub const SHOWN: usize = 100;
/// Widest excerpt of a line, in terminal columns.
const WIDTH: usize = 100;
/// Columns of the excerpt kept before the carets where the line must be cut.
const BEFORE: usize = 40;
/// What stands before every line of an excerpt.
const INDENT: &str = "    ";

/// One mistake, ready to be shown. All texts are safe to print on a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Line in the file, from 1.
    pub line: usize,
    /// Character in the line (not byte, not terminal column), from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// The line, cut around the mistake where it is long.
    pub excerpt: String,
    /// Carets that stand under the mistake when printed below [`Diagnostic::excerpt`].
    pub carets: String,
    /// What would be right.
    pub expected: Option<String>,
    /// The valid name nearest to the one that was written.
    pub suggestion: Option<String>,
}

/// Every mistake of one policy file, in the order of the file. Its `Display` is what people read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diagnostics {
    /// Name of the file, as it was given.
    pub file: String,
    /// The mistakes, at most [`SHOWN`].
    pub mistakes: Vec<Diagnostic>,
    /// How many more there are.
    pub more: usize,
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.mistakes {
            writeln!(out, "{}:{}:{}: {}", self.file, mistake.line, mistake.column, mistake.message)?;
            writeln!(out, "{INDENT}{}", mistake.excerpt)?;
            writeln!(out, "{INDENT}{}", mistake.carets)?;
            if let Some(expected) = &mistake.expected {
                writeln!(out, "{INDENT}expected: {expected}")?;
            }
            if let Some(suggestion) = &mistake.suggestion {
                writeln!(out, "{INDENT}did you mean `{suggestion}`?")?;
            }
        }
        match self.more {
            0 => Ok(()),
            1 => writeln!(out, "{}: 1 more mistake is not shown", self.file),
            more => writeln!(out, "{}: {more} more mistakes are not shown", self.file),
        }
    }
}

/// One mistake as the reader finds it.
#[derive(Clone, Debug)]
pub(crate) struct Mistake {
    span: Range<usize>,
    message: String,
    expected: Option<String>,
    suggestion: Option<String>,
    syntax: bool,
}

impl Mistake {
    pub(crate) fn at(span: &Range<usize>, message: impl Into<String>) -> Mistake {
        Mistake { span: span.clone(), message: message.into(), expected: None, suggestion: None, syntax: false }
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Mistake {
        self.expected = Some(expected.into());
        self
    }

    /// The file is no TOML there, so that nothing else said of the place counts.
    pub(crate) fn of_syntax(mut self) -> Mistake {
        self.syntax = true;
        self
    }

    pub(crate) fn suggest(mut self, suggestion: Option<&str>) -> Mistake {
        self.suggestion = suggestion.map(str::to_owned);
        self
    }
}

/// Collects mistakes; nothing stops at the first.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    found: Vec<Mistake>,
}

impl Mistakes {
    pub(crate) fn add(&mut self, mistake: Mistake) {
        self.found.push(mistake);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The candidate nearest to `name`, where one is near. Nothing is sought once there are more mistakes
    /// than are shown, so that a hostile file costs no more than an honest one.
    pub(crate) fn nearest<'c>(&self, name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
        if self.found.len() > SHOWN || name.len() > 64 {
            return None;
        }
        let lower = name.to_lowercase();
        let allowed = (name.chars().count() / 3).max(1);
        candidates
            .into_iter()
            .filter(|candidate| candidate.len() <= 128)
            .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
            .filter(|(distance, _)| *distance <= allowed)
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, candidate)| candidate)
    }

    /// The mistakes of `text`, in its order; what broken syntax entails at the same place is left out.
    pub(crate) fn report(mut self, file: &str, text: &str) -> Diagnostics {
        self.found.sort_by_key(|mistake| (mistake.span.start, !mistake.syntax));
        self.found.dedup_by(|later, first| {
            later.span.start == first.span.start && (first.syntax || later.message == first.message)
        });
        let more = self.found.len().saturating_sub(SHOWN);
        let mistakes = self.found.iter().take(SHOWN).map(|mistake| show(mistake, text)).collect();
        Diagnostics { file: safe(file), mistakes, more }
    }
}

fn show(mistake: &Mistake, text: &str) -> Diagnostic {
    let start = floor(text, mistake.span.start);
    let end = floor(text, mistake.span.end).max(start);
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line = text[line_start..].split('\n').next().unwrap_or_default().trim_end_matches('\r');
    let at = (start - line_start).min(line.len());
    let to = (end - line_start).min(line.len());
    let (excerpt, carets) = excerpt(line, at, to);
    Diagnostic {
        line: text[..line_start].bytes().filter(|byte| *byte == b'\n').count() + 1,
        column: line[..at].chars().count() + 1,
        message: safe(&mistake.message),
        excerpt,
        carets,
        expected: mistake.expected.as_deref().map(safe),
        suggestion: mistake.suggestion.as_deref().map(safe),
    }
}

/// The nearest character boundary at or before `index`.
fn floor(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// The line as it is shown, and the carets below its bytes `at..to`.
fn excerpt(line: &str, at: usize, to: usize) -> (String, String) {
    let head: Vec<(String, usize)> = line[..at].chars().rev().take(WIDTH).map(cell).collect();
    let mut cut_before = line[..at].chars().nth(WIDTH).is_some();
    // A short line is shown whole; before the carets of a long one stand at most `BEFORE` columns.
    let rest: usize = line[at..].chars().take(WIDTH).map(|character| cell(character).1).sum();
    let head_width: usize = head.iter().map(|(_, width)| width).sum();
    let room = if cut_before || head_width + rest > WIDTH { BEFORE.max(WIDTH.saturating_sub(rest)) } else { WIDTH };

    let mut shown: Vec<&str> = Vec::new();
    let mut column = 0;
    for (text, width) in &head {
        if column + width > room {
            cut_before = true;
            break;
        }
        column += width;
        shown.push(text);
    }
    let mut excerpt = String::new();
    if cut_before {
        excerpt.push('…');
        column += 1;
    }
    excerpt.extend(shown.into_iter().rev());

    let mut carets = " ".repeat(column);
    let mut marked = 0;
    for (offset, character) in line[at..].char_indices() {
        let (text, width) = cell(character);
        if column + width > WIDTH {
            excerpt.push('…');
            break;
        }
        excerpt.push_str(&text);
        column += width;
        if at + offset < to {
            marked += width;
        }
    }
    carets.push_str(&"^".repeat(marked.max(1)));
    (excerpt, carets)
}

/// One character as it is printed, and how many columns it takes.
fn cell(character: char) -> (String, usize) {
    if character == '\t' {
        return ("    ".to_owned(), 4);
    }
    match character.width() {
        Some(width @ 1..) if !hides(character) => (character.to_string(), width),
        _ => {
            let escaped = character.escape_unicode().to_string();
            let width = escaped.len();
            (escaped, width)
        }
    }
}

/// Characters with a width that a terminal may not show, or that change the direction of the text.
fn hides(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    )
}

/// Text without anything that a terminal would obey instead of show.
fn safe(text: &str) -> String {
    text.chars().map(|character| cell(character).0).collect()
}

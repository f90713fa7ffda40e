//! `vitrine why`: what was refused to the user, why, and what to do instead.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use vitrine_policy::record::{last_part, printable};

use super::FOUND;
use crate::desk::texts::{Texts, Word, plain};
use crate::desk::{Answer, Request, Told, client};

/// Asks for the last attempt.
const LAST: &str = "last";
/// How many attempts of one file are shown, the latest last.
const SHOWN: usize = 5;
/// Longest text on one line, in characters.
const LINE: usize = 4096;

/// Prints what was refused with `about` (a file, or `last`). 1: something was. With `all`, to everybody.
pub(crate) fn run(state: &Path, about: &Path, all: bool, json: bool) -> anyhow::Result<ExitCode> {
    let mut told = Vec::new();
    for answer in client::ask(state, &Request::Why { all })? {
        if let Answer::Told(one) = answer? {
            told.push(one);
        }
    }
    let is_last = about.as_os_str() == LAST;
    let name = printable(std::path::absolute(about)?.as_os_str().as_bytes());
    if !is_last {
        told.retain(|one| is_about(one, &name));
    }
    let shown = if is_last && !all { 1 } else { SHOWN.max(if all { told.len() } else { 0 }) };
    let told = &told[told.len().saturating_sub(shown)..];
    let mut out = io::stdout().lock();
    if json {
        told.iter().try_for_each(|one| writeln!(out, "{}", serde_json::to_string(one)?))?;
    } else if told.is_empty() {
        let texts = Texts::of_user();
        let file = [("file", Word::Text(name.as_str()))];
        writeln!(out, "{}", if is_last { texts.say("none", &[]) } else { texts.say("none-of-file", &file) })?;
    } else {
        let texts = Texts::of_user();
        let described: Vec<_> = told.iter().map(|one| describe(&texts, one)).collect();
        writeln!(out, "{}", described.join("\n\n"))?;
    }
    Ok(if told.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

/// Whether an attempt has to do with a file: it moved, or it is its master, or what was written.
pub(crate) fn is_about(told: &Told, name: &str) -> bool {
    [Some(&told.file), told.master.as_ref(), told.target.as_ref()].into_iter().flatten().any(|path| path == name)
}

fn describe(texts: &Texts, told: &Told) -> String {
    let sentences = texts.tell(told);
    let mut lines = vec![format!("{}  {}", time(told.time), sentences.title)];
    let mut row = |label: &str, text: &str| {
        let label = texts.say(label, &[]);
        // Wide letters take two places.
        let gap = 12_usize.saturating_sub(unicode_width::UnicodeWidthStr::width(label.as_str())).max(1);
        lines.push(format!("  {label}{}{}", " ".repeat(gap), plain(text, LINE)));
    };
    row("label-why", &sentences.why);
    sentences.instead.iter().for_each(|text| row("label-do", text));
    row("label-file", &told.file);
    if let Some(master) = told.master.as_ref().filter(|master| **master != told.file) {
        row("label-master", master);
    }
    if let Some(program) = &told.program {
        row("label-program", last_part(program));
    }
    if let Some(target) = &told.target {
        row("label-target", target);
    }
    row("label-record", &told.explanation);
    row("label-id", &told.id);
    lines.join("\n")
}

/// In the time of this machine.
fn time(milliseconds: i64) -> String {
    let Ok(time) = jiff::Timestamp::from_millisecond(milliseconds) else { return milliseconds.to_string() };
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

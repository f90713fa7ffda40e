//! `vitrine events`: what was recorded on this workstation, delivered or not.

use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use vitrine_policy::record::{Event, Record, Severity};

use crate::spool::{self, Entry, SpoolError};

/// Records read at a time.
const CHUNK: usize = 1000;
/// How often `--follow` looks again.
const LOOK: Duration = Duration::from_millis(250);

/// Prints the records behind the number `since`, oldest first, and with `follow` those that come, until
/// interrupted. The number is the first word of a line, and `unmapped.position` in JSON: unlike the sequence
/// number, a record has it before it is sent.
pub(crate) fn run(state: &Path, follow: bool, json: bool, since: Option<u64>) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut after = since.unwrap_or(0);
    let mut spool = inode(state);
    let mut said = false;
    loop {
        match print(&mut out, state, &mut after, json) {
            Ok(()) => {}
            Err(Failed::Print(error)) => return Err(error.into()),
            Err(Failed::Read(SpoolError::Absent { path })) if follow => {
                if !std::mem::replace(&mut said, true) {
                    eprintln!("vitrine: nothing is recorded at {} yet; waiting", path.display());
                }
            }
            Err(Failed::Read(error)) => return Err(error.into()),
        }
        if !follow {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(LOOK);
        let now = inode(state);
        if spool != now {
            // The agent set a damaged spool aside: the numbers begin anew.
            if spool.is_some() && now.is_some() {
                after = 0;
            }
            spool = now.or(spool);
        }
    }
}

enum Failed {
    Read(SpoolError),
    Print(io::Error),
}

fn inode(state: &Path) -> Option<u64> {
    std::fs::metadata(spool::database(state)).ok().map(|metadata| metadata.ino())
}

/// Prints what is there behind `after`.
fn print(out: &mut impl Write, state: &Path, after: &mut u64, json: bool) -> Result<(), Failed> {
    loop {
        let entries = spool::read(state, *after, CHUNK).map_err(Failed::Read)?;
        let Some(last) = entries.last() else { return Ok(()) };
        *after = last.position;
        for entry in &entries {
            let line = if json { to_json(entry) } else { describe(entry) };
            writeln!(out, "{line}").map_err(Failed::Print)?;
        }
        out.flush().map_err(Failed::Print)?;
    }
}

fn to_json(entry: &Entry) -> String {
    let mut ocsf = entry.record.to_ocsf();
    ocsf["unmapped"]["position"] = entry.position.into();
    ocsf["unmapped"]["delivered"] = entry.delivered.into();
    ocsf.to_string()
}

fn describe(Entry { position, record, .. }: &Entry) -> String {
    let (title, explanation) = match &record.event {
        Event::Transfer(transfer) => {
            let times = if transfer.attempts > 1 { format!(" ({} times)", transfer.attempts) } else { String::new() };
            (format!("{}{times}", transfer.title()), transfer.explanation.clone())
        }
        Event::Notice(notice) => {
            let about = notice.subject.as_ref().map(|subject| format!(" {subject}")).unwrap_or_default();
            let times = if notice.count > 1 { format!(" ({} times)", notice.count) } else { String::new() };
            (format!("{}{about}{times}", notice.code), notice.message.clone())
        }
    };
    let line = format!("{position} {} {:<8} {title}: {explanation}", time(record), severity(record));
    // Names of programs come from others: nothing of them reaches the terminal as a command.
    line.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// In the time of this machine.
fn time(record: &Record) -> String {
    let Ok(time) = jiff::Timestamp::from_millisecond(record.time) else { return record.time.to_string() };
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn severity(record: &Record) -> &'static str {
    match record.event.severity() {
        Severity::Informational => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SpoolLimits;
    use crate::fail::Failure;
    use crate::spool::Spool;
    use vitrine_policy::record::Host;

    fn world() -> (tempfile::TempDir, Spool) {
        let state = tempfile::tempdir().unwrap();
        let agent = Spool::agent_id(state.path()).unwrap();
        let host = Host { agent, name: "scan-01".into(), agent_version: "0".into() };
        let spool = Spool::open(state.path(), host, SpoolLimits::default()).unwrap();
        spool.push(Failure::Started.notice(Some(b"\x1b[2J"), "it began"));
        spool.push(Failure::Vanished.notice(Some(b"/b"), "a second\x1b[31m one"));
        assert!(spool.flush(Duration::from_secs(30)));
        (state, spool)
    }

    fn printed(state: &Path, after: u64, json: bool) -> String {
        let mut out = Vec::new();
        let mut after = after;
        assert!(print(&mut out, state, &mut after, json).is_ok());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_running_agents_records_are_read_as_lines_and_as_ocsf() {
        let (state, _spool) = world();
        let text = printed(state.path(), 0, false);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("1 20") && lines[0].contains("info     started"), "{text}");
        assert!(!text.contains('\x1b'), "no escape sequence reaches the terminal");
        let json: serde_json::Value = serde_json::from_str(printed(state.path(), 1, true).trim()).unwrap();
        assert_eq!(json["unmapped"]["position"], 2);
        assert_eq!(json["unmapped"]["delivered"], false);
        assert!(Record::from_ocsf(&json.to_string()).is_ok());
    }

    #[test]
    fn a_spool_that_is_not_there_is_named() {
        let state = tempfile::tempdir().unwrap();
        let error = run(state.path(), false, false, None).unwrap_err().to_string();
        assert!(error.contains("spool.db") && error.contains("systemctl start vitrine"), "{error}");
    }
}

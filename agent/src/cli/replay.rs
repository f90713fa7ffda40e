//! `vitrine policy replay`: what a policy would have refused of that which was recorded.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::{Span, Timestamp, Zoned, tz::TimeZone};
use serde::Serialize;
use vitrine_policy::record::{Event, MAX_BYTES, Record};
use vitrine_policy::replay::{Count, Outcome, Replay, Report};
use vitrine_policy::{Diagnostics, Policy};

use super::Place;
use super::index::{misuse, shown};
use super::policy::{complain, counted};
use crate::policy_file::{self, PolicyFile};
use crate::spool;

/// Records read at a time.
const CHUNK: usize = 1000;

/// Which records are judged anew, and by which policy.
#[derive(Args)]
pub(crate) struct Again {
    #[command(flatten)]
    place: Place,
    /// Only what was recorded in the time just past (`14d`, `36h`, `2w`).
    #[arg(long, value_name = "TIME")]
    since: Option<Span>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Records, one OCSF event a line; `-` is standard input. Without it, those of this workstation.
    #[arg(value_name = "FILE")]
    records: Option<PathBuf>,
}

/// Which policy judges.
#[derive(Serialize)]
struct Judge {
    policy: String,
    digest: String,
    serial: Option<u32>,
}

/// What was read.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Heard {
    transfers: u64,
    /// Lines that are no records.
    unreadable: u64,
    /// Milliseconds since 1970 of the first and the last transfer.
    first: Option<i64>,
    last: Option<i64>,
}

/// All that is told.
#[derive(Serialize)]
struct Told {
    judge: Judge,
    records: Heard,
    #[serde(flatten)]
    report: Report,
}

/// Runs the command.
///
/// # Errors
/// The records cannot be read, or standard output cannot be written.
pub(crate) fn run(again: &Again, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let config = match again.place.read() {
        Ok(config) => config,
        Err(error) => return misuse(error),
    };
    let since = match again.since.map(|span| Zoned::now().checked_sub(span)).transpose() {
        Ok(since) => since.map_or(i64::MIN, |since| since.timestamp().as_millisecond()),
        Err(error) => return misuse(format_args!("--since: {error}; expected a time like 14d")),
    };
    let (judge, policy) = match policy(again.place.policy.as_deref(), &policy_file::place(&config), &config.state) {
        Ok((judge, Ok(policy))) => (judge, policy),
        Ok((_, Err(mistakes))) => return complain(&mistakes, again.json, out),
        Err(error) => return misuse(error),
    };
    let mut replay = Replay::new(policy, judge.digest.clone());
    let mut heard = Heard::default();
    match &again.records {
        None => of_the_spool(&config.state, since, &mut heard, &mut replay)?,
        Some(file) if file.as_os_str() == "-" => of_lines(io::stdin().lock(), since, &mut heard, &mut replay)?,
        Some(file) => match File::open(file) {
            Ok(lines) => of_lines(BufReader::new(lines), since, &mut heard, &mut replay)?,
            Err(error) => return misuse(format_args!("cannot read the records {}: {error}", shown(file))),
        },
    }
    let told = Told { judge, records: heard, report: replay.report() };
    if again.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&told)?)?;
    } else {
        told.print(out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The policy that is named; without one, that in force, or else the file of the settings.
fn policy(named: Option<&Path>, settings: &Path, state: &Path) -> Result<(Judge, Result<Policy, Diagnostics>), String> {
    let of = |policy, digest, read: &Result<Policy, Diagnostics>| {
        let serial = read.as_ref().ok().and_then(|policy| policy.serial);
        Judge { policy, digest, serial }
    };
    if let Some(good) = policy_file::last_good(state).filter(|_| named.is_none()) {
        let read = Ok(good.policy);
        return Ok((of("the policy in force".to_owned(), good.digest, &read), read));
    }
    let file = named.unwrap_or(settings);
    let PolicyFile { policy, digest, .. } = policy_file::read(file)?;
    Ok((of(shown(file), digest, &policy), policy))
}

fn of_the_spool(state: &Path, since: i64, heard: &mut Heard, replay: &mut Replay) -> Result<(), spool::SpoolError> {
    let mut after = 0;
    loop {
        let entries = spool::read(state, after, CHUNK)?;
        let Some(last) = entries.last() else { return Ok(()) };
        after = last.position;
        entries.iter().for_each(|entry| hear(&entry.record, since, heard, replay));
    }
}

/// Reads line by line; one that is too long to be a record is passed over, however long it is.
fn of_lines(mut lines: impl BufRead, since: i64, heard: &mut Heard, replay: &mut Replay) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.by_ref().take(MAX_BYTES as u64 + 2).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') && line.len() > MAX_BYTES {
            lines.skip_until(b'\n')?;
        }
        let text = line.trim_ascii();
        match std::str::from_utf8(text).ok().and_then(|text| Record::from_ocsf(text).ok()) {
            Some(record) => hear(&record, since, heard, replay),
            None if text.is_empty() => {}
            None => heard.unreadable += 1,
        }
    }
}

fn hear(record: &Record, since: i64, heard: &mut Heard, replay: &mut Replay) {
    let Event::Transfer(transfer) = &record.event else { return };
    if record.time < since {
        return;
    }
    heard.transfers += 1;
    heard.first = Some(heard.first.map_or(record.time, |first| first.min(record.time)));
    heard.last = heard.last.max(Some(record.time));
    replay.add(transfer);
}

impl Told {
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let Told { judge, records, report } = self;
        let serial = judge.serial.map_or_else(String::new, |serial| format!(", serial {serial}"));
        let period = match (records.first, records.last) {
            (Some(first), Some(last)) => format!(" of {} to {}", day(first), day(last)),
            _ => String::new(),
        };
        let heard = counted_many(records.transfers, "transfer");
        writeln!(out, "{heard}{period}, judged by {}{serial}, as in `enforce`:", judge.policy)?;
        for (outcome, count) in &report.outcomes {
            writeln!(out, "  {:<8} {}  {}", outcome.word(), described(*count), meaning(*outcome))?;
        }
        for (gap, transfers) in &report.gaps {
            writeln!(out, "  not judged: {} {}", counted_many(*transfers, "transfer"), gap.reason())?;
        }
        if records.unreadable > 0 {
            writeln!(out, "  not read: {} that are no records", counted_many(records.unreadable, "line"))?;
        }
        self.changes(out)?;
        if !report.groups.is_empty() {
            let all = if report.is_full { "more than ".to_owned() } else { String::new() };
            writeln!(out, "\nThe commonest of {all}{}:", counted(report.all_groups, "group"))?;
        }
        for group in &report.groups {
            let line = format!(
                "  {:>7}  {:<7}  {}  {}  {} -> {}",
                group.transfers,
                group.outcome.word(),
                group.user,
                group.program,
                group.tier,
                group.destination
            );
            // Names come from others: nothing of them reaches the terminal as a command.
            writeln!(out, "{}", line.replace(char::is_control, "\u{fffd}"))?;
        }
        for suggestion in &report.suggestions {
            write!(out, "\n{}", suggestion.toml)?;
        }
        Ok(())
    }

    fn changes(&self, out: &mut impl Write) -> io::Result<()> {
        let refused = |outcome| matches!(outcome, Outcome::Block | Outcome::Justify);
        let of = |then: bool, now: bool| -> u64 {
            let changes = self.report.changes.iter();
            changes
                .filter(|change| change.went_through == then && refused(change.outcome) != now)
                .map(|change| change.transfers)
                .sum()
        };
        writeln!(out, "\nAgainst what was recorded:")?;
        writeln!(out, "  {:>7}  went through, and would be refused", of(true, false))?;
        writeln!(out, "  {:>7}  were refused, and would go through", of(false, true))?;
        writeln!(out, "  {:>7}  end as they did", of(true, true) + of(false, false))
    }
}

fn described(count: Count) -> String {
    let users = counted(count.users, "user");
    format!("{:>7} by {users} with {}", count.transfers, counted(count.programs, "program"))
}

fn counted_many(count: u64, what: &str) -> String {
    counted(usize::try_from(count).unwrap_or(usize::MAX), what)
}

fn meaning(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Block => "(refused)",
        Outcome::Justify => "(refused until the user gives a reason)",
        Outcome::Report => "(allowed, and security staff are told)",
        Outcome::Allow => "(allowed)",
    }
}

/// The day of this machine.
fn day(milliseconds: i64) -> String {
    let time = Timestamp::from_millisecond(milliseconds).map(|time| time.to_zoned(TimeZone::system()).date());
    time.map_or_else(|_| milliseconds.to_string(), |day| day.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_record_is_counted_however_long_it_is() {
        let mut replay = Replay::new(Policy::fallback(), String::new());
        let mut heard = Heard::default();
        let long = "x".repeat(5 * MAX_BYTES);
        let lines = format!("{{}}\n\n{long}\nno record\n\u{1b}");
        of_lines(lines.as_bytes(), i64::MIN, &mut heard, &mut replay).unwrap();
        assert_eq!(heard, Heard { unreadable: 4, ..Heard::default() });
    }

    #[test]
    fn the_named_policy_is_taken_before_that_in_force_and_that_before_the_file_of_the_settings() {
        let lab = tempfile::tempdir().unwrap();
        let write = |name: &str, serial: u32| {
            let path = lab.path().join(name);
            let text = format!(
                "version = 1\nserial = {serial}\nmode = \"audit\"\n[[tier]]\nname = \"web\"\nmax-megapixels = 2\n\
                 [elsewhere]\nceiling = \"none\"\n"
            );
            std::fs::write(&path, text).unwrap();
            path
        };
        let settings = write("policy.toml", 1);
        let serial =
            |named: Option<&Path>| policy(named, &settings, lab.path()).map(|(judge, _)| judge.serial).unwrap();
        assert_eq!(serial(None), Some(1));
        write("policy.good.toml", 2);
        assert_eq!(serial(None), Some(2));
        assert_eq!(serial(Some(&write("edited.toml", 3))), Some(3));
        assert!(policy(Some(Path::new("/nowhere")), &settings, lab.path()).is_err());
    }
}

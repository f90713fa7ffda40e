//! `vitrine status`: what the running agent guards, and what it does not. The agent writes it down every few
//! seconds, so that asking needs no socket and no privilege.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::FOUND;

/// Where it is written, below the state directory.
pub(crate) const FILE: &str = "status.json";

/// What the agent says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Its process.
    pub(crate) pid: u32,
    /// When it was started (RFC 3339).
    pub(crate) started: String,
    /// The guard in force.
    pub(crate) guard: String,
    /// Why this one, in a sentence.
    pub(crate) why: String,
    /// `audit` or `enforce`.
    pub(crate) mode: String,
    /// The policy file.
    pub(crate) policy: String,
    /// Where it is from: `file` or `collector`.
    #[serde(default)]
    pub(crate) policy_source: String,
    /// What the policy in force is called, where it has a name.
    #[serde(default)]
    pub(crate) policy_name: Option<String>,
    /// Serial of the policy in force, where it has one.
    #[serde(default)]
    pub(crate) policy_serial: Option<u32>,
    /// BLAKE3 of the policy in force.
    pub(crate) policy_digest: String,
    /// Why the file as it is now is not in force.
    pub(crate) policy_error: Option<String>,
    /// What is guarded, one line each.
    pub(crate) guarded: Vec<String>,
    /// What this guard cannot see, one line each.
    pub(crate) not_covered: Vec<String>,
    /// Masters in the index.
    pub(crate) masters: u64,
    /// Files that wait to be looked at.
    pub(crate) pending: u64,
    /// In how many seconds none of them waits any more, as far as that can be told.
    #[serde(default)]
    pub(crate) seconds_left: Option<u64>,
    /// Whether the collections were scanned once since the start.
    pub(crate) scanned: bool,
    /// Written files that wait to be measured.
    pub(crate) measuring: usize,
    /// Files whose label is known.
    pub(crate) labelled: usize,
    /// What root is kept from, in a sentence.
    #[serde(default)]
    pub(crate) shield: String,
    /// The maintenance that is open, in a sentence.
    #[serde(default)]
    pub(crate) maintenance: Option<String>,
    /// Records that wait for the collector.
    pub(crate) spool_depth: u64,
    /// The highest sequence number given.
    pub(crate) last_sequence: u64,
    /// Reasons that wait for a second person's approval.
    #[serde(default)]
    pub(crate) approvals: usize,
    /// The collector's address.
    pub(crate) collector: Option<String>,
    /// How it stands with the collector, in a sentence.
    pub(crate) collector_contact: String,
    /// Counters that are not zero.
    pub(crate) counters: Vec<(String, u64)>,
}

/// Writes it for whoever asks, whole or not at all. It is for the moment: after a crash there is an older
/// one, or none.
pub(crate) fn write(state: &Path, status: &Status) -> io::Result<()> {
    // The crate's own errors name another file each time.
    let mut file = tempfile::NamedTempFile::new_in(state).map_err(|error| io::Error::from(error.kind()))?;
    file.as_file_mut().write_all(&serde_json::to_vec_pretty(status)?)?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.persist(state.join(FILE))?;
    Ok(())
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
    #[error("cannot read {path}: {source}; run this as root, or give the directory that is `state` in agent.toml")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "{path} cannot be understood ({source}); is the agent of another version? Restart it: `systemctl restart vitrine`"
    )]
    Malformed { path: PathBuf, source: serde_json::Error },
}

/// What the agent wrote last; none if it never ran here. It may be from an agent that is gone.
pub(crate) fn read(state: &Path) -> Result<Option<Status>, StatusError> {
    let path = state.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StatusError::Unreadable { path, source }),
    };
    serde_json::from_slice(&text).map(Some).map_err(|source| StatusError::Malformed { path, source })
}

impl Status {
    /// Whether the agent that wrote it lives. Process ids are used again, so it must be the same program.
    pub(crate) fn is_alive(&self) -> bool {
        let (own, its) = (program("self"), program(&self.pid.to_string()));
        its.is_some() && own == its
    }
}

/// The name of a process that has not ended, from `/proc/PID/stat` (proc_pid_stat(5)).
fn program(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(") ")?;
    let has_ended = tail.starts_with(['Z', 'X', 'x']);
    let (_, name) = head.split_once(" (")?;
    Some(name.to_owned()).filter(|_| !has_ended)
}

/// Prints it. 1: the agent is not running.
pub(crate) fn run(state: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let status = read(state)?;
    let mut out = io::stdout().lock();
    match status {
        Some(status) if status.is_alive() => {
            let text = if json { to_json(true, Some(&status))? } else { describe(&status) };
            writeln!(out, "{text}")?;
            Ok(ExitCode::SUCCESS)
        }
        gone => {
            let text = if json { to_json(false, gone.as_ref())? } else { not_running(state, gone.as_ref()) };
            writeln!(out, "{text}")?;
            Ok(ExitCode::from(FOUND))
        }
    }
}

fn to_json(running: bool, status: Option<&Status>) -> serde_json::Result<String> {
    let mut json = serde_json::to_value(status.cloned().unwrap_or_default())?;
    if status.is_none() {
        json = serde_json::json!({});
    }
    json["running"] = running.into();
    serde_json::to_string_pretty(&json)
}

fn not_running(state: &Path, last: Option<&Status>) -> String {
    let earlier = match last {
        Some(status) => format!("It last ran as process {}, started at {}.", status.pid, status.started),
        None => format!("It has never run with its state in {}.", state.display()),
    };
    format!(
        "The agent is not running: nothing is guarded now. {earlier}\n\
         Start it with `systemctl start vitrine`, or try it with `vitrine run`; `journalctl -u vitrine` tells why it ended."
    )
}

fn describe(status: &Status) -> String {
    let mut lines = vec![format!("The agent is running (process {}, since {}).", status.pid, status.started)];
    let mut row = |name: &str, text: String| {
        for (nth, text) in text.lines().enumerate() {
            lines.push(format!("  {:<12}{text}", if nth == 0 { name } else { "" }));
        }
    };
    row("guard", format!("{}: {}", status.guard, status.why));
    let means = match status.mode.as_str() {
        "audit" => "audit: nothing is blocked, records say what would have been",
        "enforce" => "enforce: the policy is the answer",
        other => other,
    };
    row("mode", means.to_owned());
    let digest = status.policy_digest.get(..16).unwrap_or(&status.policy_digest);
    let serial = status.policy_serial.map_or_else(String::new, |serial| format!("serial {serial}, "));
    let given = if status.policy_source == "collector" { ", given by the collector" } else { "" };
    let name = status.policy_name.as_ref().map_or_else(String::new, |name| format!("“{name}”, "));
    row("policy", format!("{name}{} ({serial}BLAKE3 {digest}…){given}", status.policy));
    if let Some(error) = &status.policy_error {
        row("", format!("NOT in force as it is now:\n{error}"));
    }
    let scan = if status.scanned { "" } else { "; the first scan is under way" };
    let left = match status.seconds_left {
        Some(seconds @ 120..) => format!(", for about {} minutes more", seconds.div_ceil(60)),
        _ => String::new(),
    };
    row("masters", format!("{} indexed, {} files wait to be looked at{left}{scan}", status.masters, status.pending));
    row("labels", format!("{} files", status.labelled));
    row("guarded", if status.guarded.is_empty() { "nothing".into() } else { status.guarded.join("\n") });
    if !status.not_covered.is_empty() {
        row("NOT covered", status.not_covered.join("\n"));
    }
    if status.approvals > 0 {
        row("approvals", format!("{} reasons wait for a second person's approval", status.approvals));
    }
    if !status.shield.is_empty() {
        row("shield", status.shield.clone());
    }
    if let Some(open) = &status.maintenance {
        row("maintenance", open.clone());
    }
    match &status.collector {
        Some(url) => row("collector", format!("{url}: {}", status.collector_contact)),
        None => row("collector", "none: records stay on this machine".into()),
    }
    row(
        "records",
        format!("{} wait to be sent; the last one numbered is {}", status.spool_depth, status.last_sequence),
    );
    for (nth, (code, count)) in status.counters.iter().enumerate() {
        row(if nth == 0 { "counted" } else { "" }, format!("{code} {count}"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Status {
        let status =
            Status { pid: std::process::id(), guard: "gate".into(), mode: "audit".into(), ..Status::default() };
        Status { guarded: vec!["/srv/scans".into()], policy_digest: "ab".repeat(32), ..status }
    }

    #[test]
    fn what_is_written_is_read_by_anybody() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(read(state.path()).unwrap(), None);
        write(state.path(), &own()).unwrap();
        assert_eq!(read(state.path()).unwrap(), Some(own()));
        let mode = fs::metadata(state.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_process_that_ended_or_is_another_program_is_no_agent() {
        assert!(own().is_alive());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let other = Status { pid: child.id(), ..own() };
        assert!(!other.is_alive());
        child.kill().unwrap();
        assert!(!other.is_alive(), "a zombie does not live");
        child.wait().unwrap();
        assert!(!other.is_alive());
    }

    #[test]
    fn it_reads_as_sentences() {
        let text = describe(&Status {
            policy_error: Some("p.toml:3:1: no".into()),
            policy_name: Some("scans".into()),
            ..own()
        });
        assert!(text.contains("  policy      “scans”, "), "{text}");
        assert!(
            text.contains("audit: nothing is blocked") && text.contains("NOT in force") && text.contains("/srv/scans")
        );
        assert!(not_running(Path::new("/x"), None).contains("never run with its state in /x"));
        assert!(to_json(false, None).unwrap().contains("\"running\": false"));
    }

    #[test]
    fn damage_is_told_with_the_file() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join(FILE), "{").unwrap();
        assert!(read(state.path()).unwrap_err().to_string().contains("status.json"));
    }
}

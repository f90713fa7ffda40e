//! The record that an agent sends to the collector: one JSON object a line, shaped as an event of the
//! Open Cybersecurity Schema Framework (<https://schema.ocsf.io>), so that any SIEM can read it. What
//! OCSF has no attribute for, and all that the collector itself works with, lies typed in
//! `unmapped.vitrine`.

mod ocsf;
mod place;
pub mod seal;

use serde::{Deserialize, Serialize};

use crate::decision::{Mode, Rule, Verdict};
use crate::facts::{Justification, Measure, Origin};
pub(crate) use place::path;
pub use place::{Mount, Place};

/// Version of the `vitrine` object of a record.
pub const VERSION: u16 = 1;
/// Version of OCSF that the records are shaped after.
pub const OCSF: &str = "1.5.0";
/// Longest record that is read or written, in bytes of JSON.
pub const MAX_BYTES: usize = 64 * 1024;

/// One event, as it is spooled, sent and stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`VERSION`].
    pub version: u16,
    /// A UUID of its own, made with the record.
    pub id: String,
    /// Position in the agent's stream, contiguous from 1; 0 until the spool has assigned it.
    pub sequence: u64,
    /// Milliseconds since 1970 by the workstation's clock.
    pub time: i64,
    /// Where it happened.
    pub host: Host,
    /// What happened.
    pub event: Event,
    /// Proof that it is the record that was spooled; none of agents that do not seal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<seal::Seal>,
}

/// The workstation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The agent's UUID, made at its first start.
    pub agent: String,
    /// The host name.
    pub name: String,
    /// Version of the agent.
    pub agent_version: String,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// Labelled data was moved, or a master opened, or somebody tried.
    Transfer(Box<Transfer>),
    /// The agent tells of itself.
    Notice(Notice),
}

/// What was done to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// A master or labelled file was opened.
    Open,
    /// A file at the destination was opened for writing, or written.
    Write,
    /// A file was renamed into the destination.
    Rename,
    /// A hard link was made in the destination.
    Link,
    /// A file was found at the destination.
    Arrive,
    /// A host was connected to.
    Connect,
    /// Bytes were to be sent.
    Send,
}

/// How the attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disposition {
    /// It went through.
    Allowed,
    /// It was refused before the first byte.
    Blocked,
    /// It was done and undone at once (rename, link).
    Undone,
    /// It arrived and was taken away from the destination.
    Quarantined,
    /// It would have been refused in `enforce`.
    WouldBlock,
    /// It should have been refused or taken back, and that failed.
    Failed,
}

/// One attempt to move labelled data, or to open a master of a vault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// What was done.
    pub operation: Operation,
    /// What the policy says.
    pub verdict: Verdict,
    /// How it ended.
    pub disposition: Disposition,
    /// The rule that decided.
    pub rule: Rule,
    /// The decision in sentences.
    pub explanation: String,
    /// Mode in force.
    pub mode: Mode,
    /// The policy in force: BLAKE3 of its text, 64 hexadecimal digits.
    pub policy: String,
    /// The guard that saw it: `flow`, `gate` or `watch`.
    pub guard: String,
    /// The process that acted and its parents, nearest first; empty where nobody can know (`watch`).
    pub processes: Vec<Process>,
    /// The user that acted, where that is known.
    pub user: Option<User>,
    /// The file whose bytes were to move.
    pub file: File,
    /// Masters it was made from.
    pub masters: Vec<Master>,
    /// Name of its tier.
    pub tier: String,
    /// Whether the tier was measured or inherited.
    pub origin: Origin,
    /// What was measured, where it was.
    pub measure: Option<Measure>,
    /// Where to; none where a master was opened.
    pub destination: Option<Destination>,
    /// How many system calls this record stands for.
    pub attempts: u32,
    /// The user's word by which it was allowed; none where none was needed or given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<Box<Justification>>,
    /// How grave the policy says that it is where this is refused; none where it says nothing, and of what is allowed.
    /// Collectors that do not know the field refuse a record that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

/// One process of a lineage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Name of the `[[program]]` entry, else the last part of the executable's path.
    pub name: String,
    /// Path of the executable.
    pub path: String,
    /// The command line, cut at 1,024 bytes.
    pub command_line: String,
}

/// A user of the workstation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Numeric id.
    pub uid: u32,
    /// Login name.
    pub name: String,
    /// Number of the login session that the kernel's audit gave it; none outside of any.
    #[serde(default)]
    pub session: Option<u32>,
}

/// A file, with its evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Path, printable (see [`printable`]).
    pub path: String,
    /// BLAKE3 of the content, where it was read; 64 hexadecimal digits.
    pub digest: Option<String>,
    /// Size in bytes, where it is known.
    pub bytes: Option<u64>,
    /// BLAKE3 of its thumbnail, sent once as evidence.
    pub thumbnail: Option<String>,
}

/// A master that a file was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Master {
    /// Path, printable.
    pub path: String,
    /// Collection that it lies in.
    pub collection: String,
    /// The object that it shows, where the policy can tell from its name.
    pub object: Option<String>,
    /// BLAKE3 of its thumbnail, sent once as evidence.
    pub thumbnail: Option<String>,
    /// How it was recognised (`exact`, `derivative`, ...) and how well (1.0: certain); none if inherited.
    pub recognised: Option<Recognised>,
    /// Share of its area that has gone to the destination so far above the scale that is public, 0.0 to 1.0, with the
    /// file of this record (what it would be, where that was taken back); none where nobody counted.
    #[serde(default)]
    pub sent: Option<f64>,
}

/// How a file was recognised as made from a master.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recognised {
    /// `exact`, `derivative`, `fragment` or `embedded`.
    pub kind: String,
    /// Length in the file over length in the master.
    pub scale: f64,
    /// Share of the master's area, 0.0 to 1.0.
    pub coverage: f64,
    /// 1.0: certain.
    pub score: f64,
    /// Where inside the file, from the outermost container or picture to the innermost; none: the file itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<String>,
}

/// Where it was to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// Name in the policy, or `elsewhere`.
    pub name: String,
    /// Path, or `host:port`, printable.
    pub target: String,
    /// Highest tier that may go there: a tier's name, or `none`.
    pub ceiling: String,
    /// Bytes of the file that had arrived when the record was made, where somebody looked.
    pub bytes_arrived: Option<u64>,
    /// Distinct objects sent there on this day, with those of this record; none where nobody counted.
    #[serde(default)]
    pub objects_today: Option<u32>,
    /// What the policy looks at beside the target; none in records of agents that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// What the agent tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// What kind of thing happened, in `kebab-case`; stable, for filters.
    pub code: String,
    /// Which part of OCSF it belongs to.
    pub class: NoticeClass,
    /// How bad it is.
    pub severity: Severity,
    /// One sentence to the person who must mend it.
    pub message: String,
    /// The thing that it is about, where there is one; printable.
    pub subject: Option<String>,
    /// How many such events this record stands for.
    pub count: u64,
}

/// Code of the notice that the agent has started.
pub const STARTED: &str = "started";
/// Code of the notice that the agent was ended, and its workstation goes on.
pub const STOPPED: &str = "stopped";
/// Code of the notice that the agent ends because the workstation is being switched off: nobody need miss it.
pub const SHUTDOWN: &str = "shutdown";

/// Which part of OCSF a notice belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeClass {
    /// 6002 Application Lifecycle: start, stop, degraded operation, losses.
    Lifecycle,
    /// 5002 Device Config State: policy loaded, refused, changed.
    Policy,
    /// 2004 Detection Finding: somebody tampered.
    Tamper,
}

/// OCSF's severities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// 1.
    Informational = 1,
    /// 2.
    Low = 2,
    /// 3.
    Medium = 3,
    /// 4.
    High = 4,
    /// 5.
    Critical = 5,
}

impl Severity {
    /// That of a refused transfer of which the policy says nothing.
    pub const REFUSED: Severity = Severity::High;

    /// One step less: that of what `enforce` would have refused. Nothing is less than low.
    fn in_audit(self) -> Severity {
        match self {
            Severity::Critical => Severity::High,
            Severity::High => Severity::Medium,
            Severity::Medium | Severity::Low => Severity::Low,
            Severity::Informational => Severity::Informational,
        }
    }
}

/// Why a line is not a record.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Longer than [`MAX_BYTES`].
    #[error("a record has {0} bytes; at most {MAX_BYTES} are read")]
    TooLong(usize),
    /// No JSON object with `unmapped.vitrine`, or one with other fields.
    #[error("not a Vitrine record: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Of a version that this program does not know.
    #[error("a record of version {0}; this program reads version {VERSION}: update it")]
    Version(u16),
}

impl Event {
    /// How bad it is: the class by which a full spool gives way, lowest first. The policy says it of what is refused
    /// alone; what should have been and went through is critical, whatever it says.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Event::Notice(notice) => notice.severity,
            Event::Transfer(transfer) => match transfer.disposition {
                Disposition::Failed => Severity::Critical,
                Disposition::Blocked | Disposition::Undone | Disposition::Quarantined => transfer.refused(),
                Disposition::WouldBlock => transfer.refused().in_audit(),
                Disposition::Allowed if transfer.verdict == Verdict::Allow => Severity::Informational,
                // Somebody may want to read the reason soon.
                Disposition::Allowed if transfer.verdict == Verdict::AllowJustified => Severity::Medium,
                Disposition::Allowed => Severity::Low,
            },
        }
    }
}

impl Transfer {
    /// How grave it is that this was refused.
    fn refused(&self) -> Severity {
        self.severity.unwrap_or(Severity::REFUSED)
    }

    /// One line for a list or a subject: program, file, destination and outcome.
    #[must_use]
    pub fn title(&self) -> String {
        let program = self.processes.first().map_or("a program", |process| process.name.as_str());
        let file = last_part(&self.file.path);
        let outcome = match self.disposition {
            Disposition::Allowed if self.verdict == Verdict::AllowJustified => "was allowed for a reason",
            Disposition::Allowed => "was allowed",
            Disposition::Blocked => "was refused",
            Disposition::Undone => "was undone",
            Disposition::Quarantined => "was quarantined",
            Disposition::WouldBlock => "would have been refused",
            Disposition::Failed => "could not be taken back",
        };
        match &self.destination {
            Some(to) => format!("{program}: {file} ({}) to {} {outcome}", self.tier, to.name),
            None => format!("{program}: opening {file} ({}) {outcome}", self.tier),
        }
    }
}

/// The part of a printable path behind its last slash.
#[must_use]
pub fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Bytes of a file name as text that is safe to show: what is not UTF-8, controls, and characters that
/// change the direction of text (Unicode Technical Report 36) stand as `\xNN` or `\u{NNNN}`, a backslash
/// as `\\`, so that two names never look the same.
#[must_use]
pub fn printable(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '\u{200e}'
                | '\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{2028}'
                | '\u{2029}'
                | '\u{feff}' => {
                    text.extend(character.escape_unicode());
                }
                control if control.is_control() => text.extend(control.escape_unicode()),
                plain => text.push(plain),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// The bytes whose [`printable`] form this is; none where it is that of no bytes.
#[must_use]
pub fn unprintable(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|letter: char| letter == '\\' || letter.is_control()) {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escaped = rest[at..].strip_prefix('\\')?;
        rest = if let Some(behind) = escaped.strip_prefix('\\') {
            bytes.push(b'\\');
            behind
        } else if let Some(behind) = escaped.strip_prefix('x') {
            bytes.push(u8::from_str_radix(behind.get(..2)?, 16).ok()?);
            &behind[2..]
        } else {
            let (code, behind) = escaped.strip_prefix("u{")?.split_once('}')?;
            let character = char::from_u32(u32::from_str_radix(code, 16).ok()?)?;
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            behind
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

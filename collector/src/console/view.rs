//! What the page shows of an alert, ready to print. The templates escape it for HTML.

use std::collections::HashSet;

use vitrine_policy::facts::Origin;
use vitrine_policy::record::{Event, Process, Record, Transfer, last_part};

use super::words;
use crate::alert::text::line;
use crate::alert::{Alert, Kind};
use crate::store::object_key;

/// Longest text from a record, in characters.
const TEXT: usize = 1200;
/// Destinations named before the details.
const DESTINATIONS: usize = 3;

pub(super) struct AlertView {
    pub(super) id: i64,
    pub(super) severity: &'static str,
    pub(super) state: &'static str,
    pub(super) title: String,
    pub(super) host: String,
    pub(super) user: Option<String>,
    pub(super) program: Option<String>,
    pub(super) is_transfer: bool,
    pub(super) master: Picture,
    pub(super) copy: Picture,
    pub(super) tier: Option<String>,
    pub(super) measure: Option<String>,
    pub(super) decision: Option<&'static str>,
    pub(super) went_through: bool,
    pub(super) destinations: Vec<String>,
    pub(super) more_destinations: usize,
    pub(super) masters: Vec<String>,
    pub(super) attempts: u64,
    pub(super) first: Time,
    pub(super) last: Time,
    pub(super) explanation: String,
    pub(super) records: Vec<RecordView>,
    pub(super) unshown: u64,
}

pub(super) struct Picture {
    pub(super) name: String,
    pub(super) digest: Option<String>,
    /// Key of the object that it shows.
    pub(super) object: Option<String>,
}

pub(super) struct Time {
    pub(super) words: String,
    pub(super) machine: String,
}

pub(super) struct RecordView {
    pub(super) time: Time,
    pub(super) title: String,
    pub(super) rows: Vec<(&'static str, String)>,
    pub(super) lineage: Vec<ProcessView>,
}

pub(super) struct ProcessView {
    pub(super) pid: i32,
    pub(super) name: String,
    pub(super) path: String,
    pub(super) command_line: String,
}

impl AlertView {
    /// `kept`: digests of the thumbnails that have arrived.
    pub(super) fn new(alert: &Alert, records: &[Record], kept: &HashSet<String>) -> AlertView {
        let lead = records.first().and_then(|record| match &record.event {
            Event::Transfer(transfer) => Some(transfer.as_ref()),
            Event::Notice(_) => None,
        });
        let arrived = |digest: &Option<String>| digest.clone().filter(|digest| kept.contains(digest));
        AlertView {
            id: alert.id,
            severity: words::severity(alert.severity),
            state: alert.state.name(),
            title: alert.title.clone(),
            host: alert.host.clone(),
            user: alert.user.clone(),
            program: alert.program.clone(),
            is_transfer: alert.kind == Kind::Transfer,
            master: Picture {
                name: lead.and_then(|lead| lead.masters.first()).map_or(String::new(), |master| short(&master.path)),
                digest: arrived(&alert.evidence.master),
                object: lead
                    .and_then(|lead| lead.masters.first())
                    .map(|master| hex::encode(object_key(&master.collection, &master.path))),
            },
            copy: Picture {
                name: lead.map_or(String::new(), |lead| short(&lead.file.path)),
                digest: arrived(&alert.evidence.copy),
                object: None,
            },
            tier: alert.tier.clone(),
            measure: alert.measure.as_ref().map(words::measure),
            decision: alert.disposition.map(words::disposition),
            went_through: alert.disposition.is_some_and(words::went_through),
            destinations: alert.destinations.iter().take(DESTINATIONS).cloned().collect(),
            more_destinations: alert.destinations.len().saturating_sub(DESTINATIONS),
            masters: alert.masters.clone(),
            attempts: alert.attempts,
            first: Time::new(alert.first_seen),
            last: Time::new(alert.last_seen),
            explanation: alert.explanation.clone(),
            records: records.iter().map(RecordView::new).collect(),
            unshown: alert.records.saturating_sub(records.len() as u64),
        }
    }
}

fn short(path: &str) -> String {
    line(last_part(path), TEXT)
}

impl Time {
    pub(super) fn new(milliseconds: i64) -> Time {
        Time { words: words::time(milliseconds), machine: words::machine_time(milliseconds) }
    }
}

impl RecordView {
    fn new(record: &Record) -> RecordView {
        let (title, rows, lineage) = match &record.event {
            Event::Transfer(transfer) => {
                (transfer.title(), rows(transfer), transfer.processes.iter().map(ProcessView::new).collect())
            }
            Event::Notice(notice) => {
                let rows = notice.subject.iter().map(|subject| ("About", line(subject, TEXT))).collect();
                (format!("{}: {}", notice.code, notice.message), rows, Vec::new())
            }
        };
        RecordView { time: Time::new(record.time), title: line(&title, TEXT), rows, lineage }
    }
}

fn rows(transfer: &Transfer) -> Vec<(&'static str, String)> {
    let mut rows = vec![("File", line(&transfer.file.path, TEXT))];
    if let Some(bytes) = transfer.file.bytes {
        rows.push(("Size", format!("{bytes} bytes")));
    }
    for master in &transfer.masters {
        let how = master.recognised.as_ref().map_or(String::new(), |found| {
            let inside = found.inside.as_ref().map_or(String::new(), |place| format!(" in {}", line(place, TEXT)));
            format!(
                " ({}{inside}, certainty {:.2} %, {:.0} % of its area)",
                line(&found.kind, 40),
                found.score * 100.0,
                found.coverage * 100.0
            )
        });
        rows.push((
            "Master",
            format!("{}{how}, collection {}", line(&master.path, TEXT), line(&master.collection, TEXT)),
        ));
        if let (Some(sent), Some(to)) = (master.sent, &transfer.destination) {
            let (sent, to) = (sent * 100.0, line(&to.name, TEXT));
            rows.push(("Sent so far", format!("{sent:.1} % of its area to {to}, with this file")));
        }
    }
    let origin = match transfer.origin {
        Origin::Measured => "measured",
        Origin::Inherited => "inherited from the process",
    };
    let measure = transfer.measure.as_ref().map_or(String::new(), |found| format!(", {}", words::measure(found)));
    rows.push(("Tier", format!("{}, {origin}{measure}", line(&transfer.tier, TEXT))));
    if let Some(to) = &transfer.destination {
        rows.push((
            "Destination",
            format!(
                "{}: {}, may receive up to {}",
                line(&to.name, TEXT),
                line(&to.target, TEXT),
                line(&to.ceiling, TEXT)
            ),
        ));
        if let Some(bytes) = to.bytes_arrived {
            rows.push(("Arrived", format!("{bytes} bytes")));
        }
    }
    rows.push(("Guard", line(&transfer.guard, TEXT)));
    rows.push(("Policy", line(&transfer.policy, TEXT)));
    rows
}

impl ProcessView {
    fn new(process: &Process) -> ProcessView {
        ProcessView {
            pid: process.pid,
            name: line(&process.name, TEXT),
            path: line(&process.path, TEXT),
            command_line: line(&process.command_line, TEXT),
        }
    }
}

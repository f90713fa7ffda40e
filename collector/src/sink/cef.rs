//! A record in `ArcSight`'s Common Event Format, version 0 (<https://www.microfocus.com/documentation/arcsight/>, "CEF
//! Implementation Standard"). File names are bytes that somebody chose: nothing in them ends a field.

use std::fmt::Write;

use vitrine_policy::decision::Verdict;
use vitrine_policy::record::{Disposition, Event, Record, Severity, last_part};

use crate::alert::text::line;

/// Longest value, in characters, as the format's dictionary says of most of its keys.
const VALUE: usize = 1023;
/// Longest part of the header, in characters.
const HEADER: usize = 128;

/// The record on one line.
pub(super) fn cef(record: &Record) -> String {
    let severity = match record.event.severity() {
        Severity::Informational => 1,
        Severity::Low => 3,
        Severity::Medium => 5,
        Severity::High => 8,
        Severity::Critical => 10,
    };
    let (class, name) = match &record.event {
        Event::Transfer(transfer) => ("transfer", transfer.title()),
        Event::Notice(notice) => (notice.code.as_str(), notice.message.clone()),
    };
    let mut text = format!(
        "CEF:0|Vitrine|Vitrine|{}|{}|{}|{severity}|",
        header(&record.host.agent_version),
        header(class),
        header(&name)
    );
    let mut extension = Extension { text: &mut text, first: true };
    extension.add("rt", &record.time.to_string());
    extension.add("dvchost", &record.host.name);
    extension.add("deviceExternalId", &record.host.agent);
    extension.add("externalId", &record.sequence.to_string());
    match &record.event {
        Event::Transfer(transfer) => {
            extension.add("cat", "transfer");
            extension.add("act", act(transfer.disposition));
            extension.add("outcome", if transfer.verdict == Verdict::Allow { "success" } else { "failure" });
            extension.add("cnt", &transfer.attempts.max(1).to_string());
            if let Some(user) = &transfer.user {
                extension.add("suser", &user.name);
                extension.add("suid", &user.uid.to_string());
            }
            if let Some(process) = transfer.processes.first() {
                extension.add("sproc", &process.path);
                extension.add("spid", &process.pid.to_string());
            }
            extension.add("fname", last_part(&transfer.file.path));
            extension.add("filePath", &transfer.file.path);
            if let Some(bytes) = transfer.file.bytes {
                extension.add("fsize", &bytes.to_string());
            }
            if let Some(digest) = &transfer.file.digest {
                extension.add("fileHash", digest);
            }
            extension.labelled(1, "tier", &transfer.tier);
            if let Some(to) = &transfer.destination {
                extension.labelled(2, "destination", &to.name);
                extension.labelled(3, "target", &to.target);
            }
            if let Some(master) = transfer.masters.first() {
                extension.labelled(4, "master", &master.path);
            }
            extension.add("msg", &transfer.explanation);
        }
        Event::Notice(notice) => {
            extension.add("cat", "notice");
            extension.add("cnt", &notice.count.max(1).to_string());
            if let Some(subject) = &notice.subject {
                extension.labelled(1, "subject", subject);
            }
            extension.add("msg", &notice.message);
        }
    }
    text
}

fn act(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Allowed => "allowed",
        Disposition::Blocked => "blocked",
        Disposition::Undone => "undone",
        Disposition::Quarantined => "quarantined",
        Disposition::WouldBlock => "would-block",
        Disposition::Failed => "failed",
    }
}

fn header(text: &str) -> String {
    line(text, HEADER).replace('\\', "\\\\").replace('|', "\\|")
}

struct Extension<'a> {
    text: &'a mut String,
    first: bool,
}

impl Extension<'_> {
    fn add(&mut self, key: &str, value: &str) {
        let value = line(value, VALUE).replace('\\', "\\\\").replace('=', "\\=");
        let space = if self.first { "" } else { " " };
        self.first = false;
        // Writing into a String cannot fail.
        let _ = write!(self.text, "{space}{key}={value}");
    }

    fn labelled(&mut self, number: u8, label: &str, value: &str) {
        self.add(&format!("cs{number}Label"), label);
        self.add(&format!("cs{number}"), value);
    }
}

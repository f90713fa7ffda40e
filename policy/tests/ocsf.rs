//! Records as other programs see them: every kind of event, checked against the schemas of OCSF.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use vitrine_policy::decision::{Mode, Rule, Verdict};
use vitrine_policy::facts::{Justification, Measure, Origin};
use vitrine_policy::record::{
    Destination, Disposition, Event, File, Host, Master, Notice, NoticeClass, Operation, Process, Record, STARTED,
    STOPPED, Severity, Transfer, User, VERSION,
};

fn record(sequence: u64, event: Event) -> Record {
    Record {
        version: VERSION,
        id: "0198c0de-0000-7000-8000-00000000000a".into(),
        sequence,
        time: 1_795_348_800_000,
        host: Host {
            agent: "0198c0de-0000-7000-8000-000000000001".into(),
            name: "scan-07".into(),
            agent_version: "0.1.0".into(),
        },
        event,
        seal: None,
    }
}

fn full() -> Transfer {
    let process = |pid, name: &str| Process {
        pid,
        name: name.into(),
        path: format!("/usr/bin/{name}"),
        command_line: format!("{name} K2B_0012.tif"),
    };
    Transfer {
        operation: Operation::Write,
        verdict: Verdict::Block,
        disposition: Disposition::Blocked,
        rule: Rule::Ceiling { destination: "courier disk".into() },
        explanation: "The file is of tier master, and courier disk may receive up to licensed.".into(),
        mode: Mode::Enforce,
        policy: "5f".repeat(32),
        guard: "gate".into(),
        processes: vec![process(4112, "cp"), process(4080, "bash")],
        user: Some(User { uid: 1004, name: "wen".into(), session: Some(3) }),
        file: File {
            path: "/srv/scans/masters/K2B_0012.tif".into(),
            digest: Some("ab".repeat(32)),
            bytes: Some(84_112_004),
            thumbnail: Some("cd".repeat(32)),
        },
        masters: vec![Master {
            path: "/srv/scans/masters/K2B_0012.tif".into(),
            collection: "masters".into(),
            object: Some("K2B".into()),
            thumbnail: None,
            recognised: None,
            sent: Some(0.25),
        }],
        tier: "master".into(),
        origin: Origin::Measured,
        measure: Some(Measure { megapixels: 28.0, scale: Some(1.0), bit_depth: 16 }),
        destination: Some(Destination {
            name: "courier disk".into(),
            target: "/media/courier/K2B_0012.tif".into(),
            ceiling: "licensed".into(),
            bytes_arrived: Some(0),
            objects_today: None,
            place: None,
        }),
        attempts: 3,
        justification: None,
        severity: None,
    }
}

/// As little as can be known: the watch guard saw a file, and nothing of who made it.
fn bare() -> Transfer {
    Transfer {
        processes: Vec::new(),
        user: None,
        file: File { path: "/media/usb/x".into(), digest: None, bytes: None, thumbnail: None },
        masters: Vec::new(),
        measure: None,
        destination: None,
        attempts: 1,
        ..full()
    }
}

fn every_kind() -> Vec<Record> {
    let dispositions = [
        Disposition::Allowed,
        Disposition::Blocked,
        Disposition::Undone,
        Disposition::Quarantined,
        Disposition::WouldBlock,
        Disposition::Failed,
    ];
    let mut events = Vec::new();
    for disposition in dispositions {
        for transfer in [full(), bare()] {
            events.push(Event::Transfer(Box::new(Transfer { disposition, ..transfer })));
        }
    }
    events.push(Event::Transfer(Box::new(Transfer {
        verdict: Verdict::Allow,
        disposition: Disposition::Allowed,
        ..full()
    })));
    events.push(Event::Transfer(Box::new(Transfer {
        verdict: Verdict::AllowJustified,
        disposition: Disposition::Allowed,
        rule: Rule::Justify { destination: "courier disk".into() },
        justification: Some(Box::new(Justification {
            id: "0198c0de-0000-7000-8000-00000000000b".into(),
            reason: "Loan 14 to the lender\u{2019}s own workshop".into(),
            approved_by: Some("ines".into()),
        })),
        ..full()
    })));
    for class in [NoticeClass::Lifecycle, NoticeClass::Policy, NoticeClass::Tamper] {
        for severity in [Severity::Informational, Severity::Low, Severity::Medium, Severity::High, Severity::Critical] {
            for (code, subject) in
                [(STARTED, None), (STOPPED, None), ("spool-full", Some("/var/lib/vitrine".to_owned()))]
            {
                let message = "The agent tells of itself.".to_owned();
                events.push(Event::Notice(Notice { code: code.into(), class, severity, message, subject, count: 2 }));
            }
        }
    }
    (1..).zip(events).map(|(sequence, event)| record(sequence, event)).collect()
}

#[test]
fn every_kind_of_record_is_valid_ocsf() {
    let lines: String = every_kind().iter().map(|record| format!("{}\n", record.to_ocsf())).collect();
    // Python with ocsf-json-schema and jsonschema, made by tests/run.
    let Some(python) = std::env::var_os("VITRINE_OCSF_PYTHON") else {
        println!("skipped: VITRINE_OCSF_PYTHON names no Python with ocsf-json-schema");
        return;
    };
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/ocsf/check");
    let mut child =
        Command::new(python).arg(check).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python");
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}

//! One test per invariant, and one per way in which the spool can be damaged.

use vitrine_policy::decision::{Mode, Rule, Verdict};
use vitrine_policy::facts::Origin;
use vitrine_policy::record::*;

use super::store::stamp;

pub(super) fn host() -> Host {
    Host { agent: uuid::Uuid::from_u128(7).to_string(), name: "scan-01".into(), agent_version: "0.1.0".into() }
}

pub(super) fn notice(code: &str, subject: Option<&str>) -> Event {
    Event::Notice(Notice {
        code: code.into(),
        class: NoticeClass::Lifecycle,
        severity: Severity::Informational,
        message: "a sentence".into(),
        subject: subject.map(Into::into),
        count: 1,
    })
}

pub(super) fn record(event: Event) -> Record {
    stamp(&host(), event)
}

/// A refused copy of a master: severity high.
pub(super) fn transfer() -> Transfer {
    let file = File { path: "/srv/scans/K2A_1.tif".into(), digest: None, bytes: Some(1), thumbnail: None };
    let master = Master {
        path: file.path.clone(),
        collection: "masters".into(),
        object: None,
        thumbnail: None,
        recognised: None,
    };
    Transfer {
        operation: Operation::Write,
        verdict: Verdict::Block,
        disposition: Disposition::Blocked,
        rule: Rule::Ceiling { destination: "elsewhere".into() },
        explanation: "no".into(),
        mode: Mode::Enforce,
        policy: "0".repeat(64),
        guard: "gate".into(),
        processes: Vec::new(),
        user: None,
        file,
        masters: vec![master],
        tier: "master".into(),
        origin: Origin::Measured,
        measure: None,
        destination: None,
        attempts: 1,
    }
}

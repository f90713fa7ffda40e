//! Who attempts what: the facts of a judgement, and what is put on record of it.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use vitrine_policy::Trust;
use vitrine_policy::decision::{Answer, Decision};
use vitrine_policy::facts::{Attempt, Destination, Facts, History, Program};
use vitrine_policy::record::{self, Disposition, Operation};

use super::verdict::GUARD;
use crate::identify::label::Known;
use crate::identify::process::{Login, Process};
use crate::justification::Window;
use crate::recorder::{Seen, disposition};
use crate::workstation::Snapshot;

/// Who acts, as far as the judgement needs it.
pub(super) struct Who {
    pub(super) process: Process,
    pub(super) program: Program,
    pub(super) trust: Trust,
}

pub(super) fn who(snapshot: &Snapshot, tid: i32) -> Option<Who> {
    Process::of_thread(tid).map(|process| who_of(snapshot, process))
}

/// A process whose executable cannot be told is a program that nobody named.
pub(super) fn who_of(snapshot: &Snapshot, process: Process) -> Who {
    let path = record::printable(process.executable().unwrap_or_default().as_os_str().as_bytes());
    let (named, trust) = match snapshot.programs.of(process) {
        Some((name, trust)) => (Some(name.to_owned()), trust),
        None => (None, Trust::None),
    };
    Who { process, program: Program { named, path }, trust }
}

fn lineage(snapshot: &Snapshot, process: Process) -> Vec<record::Process> {
    let name = |process: &Process| snapshot.programs.of(*process).map(|(name, _)| name.to_owned());
    process.lineage().iter().map(|process| process.describe(name(process).as_deref())).collect()
}

/// How much of a master goes there is known only when it has been measured; so is which of the taint's objects it shows,
/// but how many there will be at the least is known before (`objects_today`).
pub(super) fn transfer(
    who: &Who,
    known: &Known,
    destination: Destination,
    objects_today: Option<u32>,
    window: Option<&Window>,
) -> Facts {
    let justification = window.map(|window| Box::new(window.given.clone()));
    let history = History { justification, objects_today, ..History::default() };
    let attempt = Attempt::Transfer { label: known.label(), destination, history };
    Facts { program: who.program.clone(), attempt }
}

pub(super) fn seen(
    snapshot: &Arc<Snapshot>,
    who: &Who,
    operation: Operation,
    facts: Facts,
    decision: Decision,
    known: Arc<Known>,
) -> Seen {
    Seen {
        operation,
        guard: GUARD,
        disposition: disposition(&decision, Disposition::Blocked),
        bytes_arrived: (decision.answer() == Answer::Deny).then_some(0),
        sent: Vec::new(),
        facts,
        decision,
        processes: lineage(snapshot, who.process),
        login: Some(Login::new(who.process.uid, who.process.audit_session())),
        known,
        snapshot: snapshot.clone(),
        remark: None,
    }
}

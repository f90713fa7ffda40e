//! Judging anew what was recorded: the transfers of an audit period, under the policy that is to be enforced.
//!
//! The facts are put together from the record and judged by [`judge`](fn@crate::judge), as the agent did when it saw
//! them. What a record does not hold is not guessed: such a transfer is counted as a [`Gap`].

mod suggestion;
mod tally;

use crate::decision::{Rule, Verdict};
use crate::facts::{Attempt, Facts, History, Justification, Label, Program};
use crate::judge::judge;
use crate::policy::{Policy, ProgramEntry};
use crate::record::{Operation, Process, Transfer, last_part, path};

use serde::Serialize;

pub use suggestion::Suggestion;
pub use tally::{Change, Count, Group, Replay, Report};

/// Why a recorded transfer cannot be judged anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gap {
    /// The record tells neither the mount nor the address: an older agent wrote it.
    Place,
    /// Its masters lie in no collection of the policy, which would not have labelled it.
    Unprotected,
    /// The policy limits what adds up at the destination, and that was counted for another one or not at all.
    History,
    /// A text in it is not in the form in which records hold paths.
    Malformed,
}

impl Gap {
    /// What is missing, as a clause.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Gap::Place => "recorded by an agent that kept neither the mount nor the address",
            Gap::Unprotected => "of masters that lie in no collection of this policy",
            Gap::History => "to a destination with a limit, what adds up there being counted for another or not at all",
            Gap::Malformed => "with a path that is not in the form of records",
        }
    }
}

/// What becomes of a recorded transfer under the policy in `enforce`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Refused.
    Block,
    /// Refused until the user gives a reason.
    Justify,
    /// Allowed, and security staff are told.
    Report,
    /// Allowed.
    Allow,
}

impl Outcome {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Block => "block",
            Outcome::Justify => "justify",
            Outcome::Report => "report",
            Outcome::Allow => "allow",
        }
    }
}

/// One recorded transfer, judged anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The facts, as far as the record holds them.
    pub facts: Facts,
    /// What becomes of it.
    pub outcome: Outcome,
    /// The rule that decides.
    pub rule: Rule,
}

/// Judges a recorded transfer by `policy`, whose text has this BLAKE3 (64 hexadecimal digits): what was recorded
/// under the very same text needs no second thought about programs, tiers and counts.
///
/// # Errors
/// The record does not hold enough of it.
pub fn rejudge(policy: &Policy, digest: &str, transfer: &Transfer) -> Result<Judged, Gap> {
    let is_same = transfer.policy == digest;
    let attempt = attempt(policy, is_same, transfer)?;
    let facts = Facts { program: program(policy, is_same, transfer)?, attempt };
    let decision = judge(policy, &facts);
    let outcome = match (decision.verdict, &decision.rule) {
        (Verdict::Block, Rule::Justify { .. }) => Outcome::Justify,
        (Verdict::Block, _) => Outcome::Block,
        (Verdict::Report | Verdict::AllowJustified, _) => Outcome::Report,
        (Verdict::Allow, _) => Outcome::Allow,
    };
    if outcome < Outcome::Allow || is_same || counts_hold(policy, transfer, &facts) {
        return Ok(Judged { facts, outcome, rule: decision.rule });
    }
    Err(Gap::History)
}

/// Whether what was counted for the recorded destination is what the policy limits at this one.
fn counts_hold(policy: &Policy, transfer: &Transfer, facts: &Facts) -> bool {
    let Attempt::Transfer { destination, history, .. } = &facts.attempt else { return true };
    let Some(entry) = policy.destination_of(destination) else { return true };
    let is_limited = entry.max_coverage.is_some() || entry.max_objects_per_day.is_some();
    let is_counted = history.objects_today.is_some() && transfer.operation == Operation::Arrive;
    let is_there = transfer.destination.as_ref().is_some_and(|recorded| recorded.name == entry.name);
    !is_limited || (is_there && is_counted)
}

fn attempt(policy: &Policy, is_same: bool, transfer: &Transfer) -> Result<Attempt, Gap> {
    let masters = transfer.masters.iter().map(|master| master.path.clone()).collect();
    let tier = match is_same {
        true => policy.tier_named(&transfer.tier).ok_or(Gap::Malformed)?,
        false => policy.tier_again(&transfer.tier, transfer.measure.as_ref()),
    };
    let label = Label { tier, origin: transfer.origin, masters };
    let Some(recorded) = &transfer.destination else {
        let file = path(&transfer.file.path).ok_or(Gap::Malformed)?;
        let named = match &transfer.rule {
            Rule::Vault { collection, .. } | Rule::OpenCollection { collection } => policy.collection(collection),
            _ => None,
        };
        let collection = policy.collection_of(&file).or(named).ok_or(Gap::Unprotected)?;
        return Ok(Attempt::Open { collection: collection.name.clone(), label });
    };
    let place = recorded.place.as_ref().ok_or(Gap::Place)?;
    let destination = place.destination(&recorded.target).ok_or(Gap::Malformed)?;
    if !is_same && !transfer.masters.is_empty() {
        let protected = transfer.masters.iter().filter_map(|master| path(&master.path));
        protected.into_iter().find(|master| policy.collection_of(master).is_some()).ok_or(Gap::Unprotected)?;
    }
    let justification = (transfer.verdict == Verdict::AllowJustified)
        .then(|| transfer.justification.clone().unwrap_or_else(|| Justification::of("on record")));
    let coverage = transfer.masters.iter().filter_map(|master| master.sent).reduce(f64::max);
    let history = History { justification, objects_today: recorded.objects_today, coverage };
    Ok(Attempt::Transfer { label, destination, history })
}

/// The program as the policy names it: by its executable, and under the same text only where it was proved then.
fn program(policy: &Policy, is_same: bool, transfer: &Transfer) -> Result<Program, Gap> {
    let Some(process) = transfer.processes.first() else { return Ok(Program::default()) };
    let executable = path(&process.path).ok_or(Gap::Malformed)?;
    // Under the same text, a vault that stayed shut to a program that it names did not trust that process.
    let is_untrusted = is_same && matches!(transfer.rule, Rule::Vault { named: false, .. });
    let is_it = |entry: &&ProgramEntry| match is_same {
        true => entry.name == process.name && (entry.path == executable || is_proved(process)),
        false => entry.path == executable || (entry.name == process.name && is_proved(process)),
    };
    let named = policy.programs.iter().find(is_it).filter(|_| !is_untrusted);
    Ok(Program { named: named.map(|entry| entry.name.clone()), path: process.path.clone() })
}

/// Whether the agent gave the process a name of its policy: any other is called as its executable is.
fn is_proved(process: &Process) -> bool {
    process.name != last_part(&process.path)
}

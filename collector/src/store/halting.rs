//! Halts a rollout whose workstations refuse far more than they did before.
//!
//! The rule: of the workstations that have the rollout's version in force by it, the share of refused among judged
//! transfers under that version, within a window after each of them acknowledged it, is set against the share under
//! whatever they had in the seven days before. The rollout halts where the new share is more than `factor` times the old
//! one, and at least `refused` transfers more were refused than the old share would have made of as many. Where the
//! rollout has reached more than one workstation, at most half of that number counts of each, so that none halts it
//! alone. A transfer counts by the policy that its record names, in the minute in which it came in, as often as it was
//! tried, but at most ten times. What `audit` would have refused counts as refused under both.

use std::collections::BTreeMap;
use std::sync::Arc;

use vitrine_policy::decision::Verdict;
use vitrine_policy::record::{Event, Record};

use super::alerts::Groups;
use super::audit::Actor;
use super::rollouts::{self, Rollout, RolloutState};
use super::sql::{Connection, ToSql, params};
use super::{Store, StoreError, now};
use crate::alert::{Alert, text};
use crate::config::Policies;

const MINUTE: i64 = 60_000;
/// How long before a workstation acknowledged a version its share counts, in minutes.
const BEFORE: i64 = 7 * 24 * 60;
/// How long counts are kept, in minutes: longer than a window and the time before it.
const KEPT: i64 = 60 * 24 * 60;
/// How often one transfer counts, however often it was tried.
const TRIED: u32 = 10;
/// Policies that one batch may count for; the records of an agent name one or two.
const POLICIES: usize = 16;

/// How many transfers were judged, and how many of these refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) judged: u64,
    pub(super) refused: u64,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.judged = self.judged.saturating_add(other.judged);
        self.refused = self.refused.saturating_add(other.refused);
    }

    #[allow(clippy::cast_precision_loss)] // a share of billions need not be exact
    fn share(self) -> f64 {
        if self.judged == 0 { 0.0 } else { self.refused as f64 / self.judged as f64 }
    }
}

/// Whether so many more are refused than before that a rollout has to halt.
#[allow(clippy::cast_precision_loss)] // a share of billions need not be exact
fn jumps(limits: &Policies, before: Tally, after: Tally) -> bool {
    let (refused, expected) = (after.refused as f64, before.share() * after.judged as f64);
    refused > limits.halt_factor * expected && refused - expected >= f64::from(limits.halt_refused)
}

/// How many refused transfers count of each of so many workstations towards the number that it takes to halt.
fn most_of_each(limits: &Policies, workstations: usize) -> u64 {
    if workstations > 1 { limits.halt_refused.div_ceil(2).into() } else { u64::MAX }
}

/// What one batch of records counts for, by the policy that judged.
#[derive(Default)]
pub(super) struct Judged(BTreeMap<String, Tally>);

impl Judged {
    pub(super) fn saw(&mut self, record: &Record) {
        let Event::Transfer(transfer) = &record.event else { return };
        let is_known = self.0.contains_key(&transfer.policy);
        if !text::is_digest(&transfer.policy) || (!is_known && self.0.len() >= POLICIES) {
            return;
        }
        let judged = u64::from(transfer.attempts.clamp(1, TRIED));
        let refused = if transfer.verdict == Verdict::Block { judged } else { 0 };
        self.0.entry(transfer.policy.clone()).or_default().add(Tally { judged, refused });
    }

    pub(super) fn write(self, connection: &Connection, agent: i64, received: i64) -> Result<(), StoreError> {
        let minute = received / MINUTE;
        for (policy, Tally { judged, refused }) in self.0 {
            connection
                .prepare_cached(
                    "INSERT INTO judged (agent, policy, minute, judged, refused) VALUES (?, ?, ?, ?, ?)
                     ON CONFLICT (agent, policy, minute) DO UPDATE
                     SET judged = judged.judged + excluded.judged, refused = judged.refused + excluded.refused",
                )?
                .execute(params![agent, policy, minute, judged, refused])?;
            connection.prepare_cached("DELETE FROM judged WHERE minute < ?")?.execute([minute - KEPT])?;
        }
        Ok(())
    }
}

/// A rollout that has to halt, and why.
struct Jump {
    rollout: i64,
    before: Tally,
    after: Tally,
}

impl Store {
    /// Halts the rollouts whose workstations refuse far more than before, and raises an alert about each.
    pub(crate) async fn halt_rollouts(&self, limits: &Policies) -> Result<(), StoreError> {
        let limits = limits.clone();
        let jumps = self.read(move |connection| found(connection, &limits)).await?;
        if jumps.is_empty() {
            return Ok(());
        }
        let rules = Arc::clone(&self.rules);
        let armed = self
            .write(move |connection| {
                let mut groups = Groups::default();
                for jump in jumps {
                    halt(connection, &jump, &mut groups)?;
                }
                groups.write(connection, &rules)
            })
            .await?;
        if armed {
            self.armed.notify_waiters();
        }
        Ok(())
    }
}

fn found(connection: &Connection, limits: &Policies) -> Result<Vec<Jump>, StoreError> {
    let running = rollouts::running(connection)?;
    if running.is_empty() {
        return Ok(Vec::new());
    }
    let mut jumps = Vec::new();
    let shares = rollouts::shares(connection)?;
    for rollout in running {
        let on_it = || shares.iter().filter(|share| share.rollout == Some(rollout.number) && share.has == share.shall);
        let most = most_of_each(limits, on_it().count());
        let (mut after, mut counted) = (Tally::default(), 0_u64);
        for share in on_it() {
            let tally = since(connection, &rollout, &share.agent, limits)?;
            counted = counted.saturating_add(tally.refused.min(most));
            after.add(tally);
        }
        // Before that nothing halts, and looking back is dear.
        if counted < u64::from(limits.halt_refused) {
            continue;
        }
        let mut before = Tally::default();
        for share in on_it() {
            before.add(until(connection, &rollout, &share.agent)?);
        }
        if self::jumps(limits, before, after) {
            jumps.push(Jump { rollout: rollout.number, before, after });
        }
    }
    Ok(jumps)
}

/// What an agent has judged by the version of a rollout.
fn since(connection: &Connection, rollout: &Rollout, agent: &str, limits: &Policies) -> Result<Tally, StoreError> {
    tally(
        connection,
        "SELECT CAST(coalesce(sum(judged.judged), 0) AS BIGINT), CAST(coalesce(sum(refused), 0) AS BIGINT)
         FROM judged JOIN agents ON agents.number = judged.agent JOIN policies ON policies.number = agents.policy
         WHERE agents.id = ?1 AND policies.number = ?2 AND judged.policy = digest
           AND minute BETWEEN ?3 AND policy_since / 60000 + ?4",
        params![agent, rollout.policy, rollout.watched / MINUTE, i64::from(limits.halt_hours) * 60],
    )
}

/// What it has judged by others in the time before.
fn until(connection: &Connection, rollout: &Rollout, agent: &str) -> Result<Tally, StoreError> {
    tally(
        connection,
        "SELECT CAST(coalesce(sum(judged.judged), 0) AS BIGINT), CAST(coalesce(sum(refused), 0) AS BIGINT)
         FROM judged JOIN agents ON agents.number = judged.agent JOIN policies ON policies.number = agents.policy
         WHERE agents.id = ?1 AND policies.number = ?2 AND judged.policy <> digest
           AND minute BETWEEN policy_since / 60000 - ?3 AND policy_since / 60000",
        params![agent, rollout.policy, BEFORE],
    )
}

fn tally(connection: &Connection, query: &str, values: &[&dyn ToSql]) -> Result<Tally, StoreError> {
    let mut query = connection.prepare_cached(query)?;
    Ok(query.query_row(values, |row| Ok(Tally { judged: row.get(0)?, refused: row.get(1)? }))?)
}

fn halt(connection: &Connection, jump: &Jump, groups: &mut Groups) -> Result<(), StoreError> {
    let (before, after) = (jump.before, jump.after);
    // Somebody may have halted it meanwhile.
    let Some(mut rollout) = rollouts::running(connection)?.into_iter().find(|rollout| rollout.number == jump.rollout)
    else {
        return Ok(());
    };
    rollout.state = RolloutState::Halted;
    rollout.reason = format!(
        "halted by itself: {} of {} transfers were refused ({:.1} %), and {} of {} before ({:.1} %)",
        after.refused,
        after.judged,
        after.share() * 100.0,
        before.refused,
        before.judged,
        before.share() * 100.0
    );
    rollouts::change(connection, &Actor::Collector, &rollout)?;
    let version = rollout.policy;
    groups.raise(connection, Alert::halted(rollout.number, version, &rollout.group, &rollout.reason, now()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_factor_and_a_number_to_halt() {
        let limits = Policies::default();
        let tally = |refused, judged| Tally { judged, refused };
        for (before, after, expected) in [
            (tally(0, 0), tally(9, 9), false),
            (tally(0, 0), tally(10, 10), true),
            (tally(0, 1000), tally(10, 1000), true),
            // Three times as many are not more than three times as many.
            (tally(10, 100), tally(30, 100), false),
            (tally(10, 100), tally(31, 100), true),
            // A tenth of 14 would have been refused before: 1.4, and 10.6 more were.
            (tally(10, 100), tally(12, 14), true),
            (tally(10, 100), tally(11, 14), false),
            (tally(50, 100), tally(100, 100), false),
            (tally(0, 100), tally(0, 100_000), false),
        ] {
            assert_eq!(jumps(&limits, before, after), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn of_several_workstations_none_halts_alone() {
        for (refused, workstations, expected) in [(10, 1, u64::MAX), (10, 2, 5), (10, 900, 5), (2, 2, 1), (51, 3, 26)] {
            let limits = Policies { halt_refused: refused, ..Policies::default() };
            assert_eq!(most_of_each(&limits, workstations), expected, "{refused} of {workstations}");
        }
    }
}

//! Checks the seals of records, in the order in which they come: what was changed, put in, reordered or removed
//! in an agent's spool is told. See [`vitrine_policy::record::seal`] for promise and limits.

use std::collections::HashMap;

use vitrine_policy::record::seal::{Key, MAX_STEPS, Seal};
use vitrine_policy::record::{Event, Record};

use super::StoreError;
use super::sql::{self, Connection, Optional, Row, params};
use crate::heartbeat::FirstKey;

/// Runs of one agent whose keys are kept; records of later ones come unproved.
const MAX_EPOCHS: u64 = 10_000;
/// What one run may have dropped, at most: all of them together can still be added up.
const MAX_DROPPED: u64 = 1 << 40;
/// Code of the notice that a full spool dropped records. It is sent ahead of what it tells of.
const FULL: &str = "spool-full";

/// Keeps the first key of a run of the agent, once.
pub(super) fn register(connection: &Connection, agent: i64, first: &FirstKey) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO epochs (agent, epoch, key) SELECT ?1, ?2, ?3
             WHERE (SELECT count(*) FROM epochs WHERE agent = ?1) < ?4
             ON CONFLICT (agent, epoch) DO NOTHING",
        )?
        .execute(params![agent, first.epoch, first.key, MAX_EPOCHS])?;
    Ok(())
}

/// A run of the agent, as far as its records have come.
struct Epoch {
    number: i64,
    key: Key,
    next: u64,
    dropped: u64,
    /// Numbers that did not come in their turn.
    missing: u64,
    /// Of these, numbers that may come: notices that were sent ahead.
    ahead: u64,
    /// Records that are not as they were sealed.
    changed: u64,
}

/// The seals of one agent's records, over one batch: each run is read and written once.
pub(super) struct Seals {
    agent: i64,
    /// How many keys may still be derived: an agent's numbers cost no more than that.
    steps: u64,
    read: Vec<Epoch>,
    /// Where in `read` a run lies, by its name; without a name the newest.
    known: HashMap<Option<String>, Option<usize>>,
    /// Of all runs together; none before the first record that needs it.
    sum: Option<Sum>,
}

/// What is counted over all runs of an agent. A later run may have dropped records of an earlier one.
struct Sum {
    changed: i64,
    missing: i64,
    /// Of the missing, those that may be: dropped, or sent ahead.
    excused: i64,
    /// What was told already.
    told: i64,
    is_new: bool,
}

impl Seals {
    /// Those of this agent.
    pub(super) fn of(agent: i64) -> Seals {
        Seals { agent, steps: MAX_STEPS, read: Vec::new(), known: HashMap::new(), sum: None }
    }

    /// Takes note of a new record. Whether it shows that records were tampered with, this one or some before it.
    pub(super) fn check(&mut self, connection: &Connection, record: &Record) -> Result<bool, StoreError> {
        let name = record.seal.as_ref().map(|seal| seal.epoch.clone());
        let at = match self.known.get(&name) {
            Some(at) => *at,
            None => {
                let at = self.find(connection, name.as_deref())?;
                self.known.insert(name, at);
                at
            }
        };
        // An agent that never sealed, or one that ended before it could hand its key over.
        let Some(epoch) = at.and_then(|at| self.read.get_mut(at)) else { return Ok(false) };
        let sum = match &mut self.sum {
            Some(sum) => sum,
            none => none.insert(sum(connection, self.agent)?),
        };
        let before = epoch.counts();
        epoch.take(record, &mut self.steps);
        let after = epoch.counts();
        sum.changed += after.0 - before.0;
        sum.missing += after.1 - before.1;
        sum.excused += after.2 - before.2;
        let excess = sum.changed.saturating_add((sum.missing - sum.excused).max(0));
        if excess <= sum.told {
            return Ok(false);
        }
        (sum.told, sum.is_new) = (excess, true);
        Ok(true)
    }

    fn find(&mut self, connection: &Connection, name: Option<&str>) -> Result<Option<usize>, StoreError> {
        let found = match name {
            Some(name) => find(connection, self.agent, name)?,
            None => newest(connection, self.agent)?,
        };
        let Some(found) = found else { return Ok(None) };
        let at = self.read.iter().position(|known| known.number == found.number);
        Ok(Some(at.unwrap_or_else(|| {
            self.read.push(found);
            self.read.len() - 1
        })))
    }

    /// Writes what was noted.
    pub(super) fn write(self, connection: &Connection) -> Result<(), StoreError> {
        for epoch in self.read {
            connection
                .prepare_cached(
                    "UPDATE epochs SET key = ?, next = ?, dropped = ?, missing = ?, ahead = ?, changed = ? WHERE number = ?",
                )?
                .execute(params![
                    epoch.key.bytes(),
                    epoch.next,
                    epoch.dropped,
                    epoch.missing,
                    epoch.ahead,
                    epoch.changed,
                    epoch.number
                ])?;
        }
        if let Some(sum) = self.sum.filter(|sum| sum.is_new) {
            connection
                .prepare_cached("UPDATE agents SET tampered = ? WHERE number = ?")?
                .execute([sum.told, self.agent])?;
        }
        Ok(())
    }
}

fn sum(connection: &Connection, agent: i64) -> Result<Sum, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT CAST(sum(changed) AS BIGINT), CAST(sum(missing) AS BIGINT), CAST(sum(dropped) + sum(ahead) AS BIGINT),
                (SELECT tampered FROM agents WHERE agents.number = ?1)
         FROM epochs WHERE agent = ?1",
    )?;
    Ok(query.query_row([agent], |row| {
        Ok(Sum { changed: row.get(0)?, missing: row.get(1)?, excused: row.get(2)?, told: row.get(3)?, is_new: false })
    })?)
}

impl Epoch {
    /// Changed, missing, and excused.
    fn counts(&self) -> (i64, i64, i64) {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        (number(self.changed), number(self.missing), number(self.dropped.saturating_add(self.ahead)))
    }

    fn take(&mut self, record: &Record, steps: &mut u64) {
        let Some(key) = record.seal.as_ref().and_then(|seal| self.key_of(seal, record, steps)) else {
            self.changed += 1;
            return;
        };
        let Some(seal) = &record.seal else { return };
        self.dropped = self.dropped.max(seal.dropped.min(MAX_DROPPED));
        let is_full = matches!(&record.event, Event::Notice(notice) if notice.code == FULL);
        if is_full && seal.number > self.next {
            self.ahead += 1;
            return;
        }
        self.missing = self.missing.saturating_add(seal.number - self.next);
        self.next = seal.number + 1;
        self.key = key;
        self.key.advance();
    }

    /// The key that proves the record; none where there is no such key any more, or yet, or it does not.
    fn key_of(&self, seal: &Seal, record: &Record, steps: &mut u64) -> Option<Key> {
        let far = seal.number.checked_sub(self.next)?;
        *steps = steps.checked_sub(far)?;
        let mut key = self.key.clone();
        (0..far).for_each(|_| key.advance());
        key.proves(record).then_some(key)
    }
}

const COLUMNS: &str = "SELECT number, key, next, dropped, missing, ahead, changed FROM epochs WHERE agent = ?1";

fn find(connection: &Connection, agent: i64, epoch: &str) -> Result<Option<Epoch>, StoreError> {
    let mut query = connection.prepare_cached(&format!("{COLUMNS} AND epoch = ?2"))?;
    Ok(query.query_row(params![agent, epoch], read).optional()?)
}

fn newest(connection: &Connection, agent: i64) -> Result<Option<Epoch>, StoreError> {
    let mut query = connection.prepare_cached(&format!("{COLUMNS} ORDER BY number DESC LIMIT 1"))?;
    Ok(query.query_row(params![agent], read).optional()?)
}

fn read(row: &Row<'_>) -> sql::Result<Epoch> {
    Ok(Epoch {
        number: row.get(0)?,
        key: Key::new(row.get(1)?),
        next: row.get(2)?,
        dropped: row.get(3)?,
        missing: row.get(4)?,
        ahead: row.get(5)?,
        changed: row.get(6)?,
    })
}

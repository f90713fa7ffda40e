//! Checks the seals of records, in the order in which they come: what was changed, put in, reordered or removed
//! in an agent's spool is told. See [`vitrine_policy::record::seal`] for promise and limits.

use rusqlite::{Connection, OptionalExtension, params};
use vitrine_policy::record::seal::{Key, Seal};
use vitrine_policy::record::{Event, Record};

use super::StoreError;
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

/// Takes note of a new record. Whether it shows that records were tampered with, this one or some before it. `steps` is
/// how many keys may still be derived for the batch that it came in: an agent's numbers cost no more than that.
pub(super) fn check(connection: &Connection, agent: i64, record: &Record, steps: &mut u64) -> Result<bool, StoreError> {
    let known = match &record.seal {
        Some(seal) => find(connection, agent, &seal.epoch)?,
        None => newest(connection, agent)?,
    };
    // An agent that never sealed, or one that ended before it could hand its key over.
    let Some(mut epoch) = known else { return Ok(false) };
    epoch.take(record, steps);
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
    // A later run may have dropped records of an earlier one: all of them are counted together.
    let told = connection
        .prepare_cached(
            "UPDATE agents SET tampered = excess FROM
             (SELECT sum(changed) + max(0, sum(missing) - sum(dropped) - sum(ahead)) AS excess
              FROM epochs WHERE agent = ?1)
             WHERE agents.number = ?1 AND excess > tampered",
        )?
        .execute([agent])?;
    Ok(told > 0)
}

impl Epoch {
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

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Epoch> {
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

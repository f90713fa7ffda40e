//! Seals each record as it joins the queue; see [`vitrine_policy::record::seal`] for promise and limits.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use vitrine_policy::record::seal::Key;
pub(super) use vitrine_policy::record::seal::Seal;

/// What the collector needs to check an epoch.
#[derive(Clone, Debug)]
pub(crate) struct Handover {
    pub(crate) epoch: String,
    /// K₀ in hexadecimal.
    pub(crate) key: String,
}

/// The key of the next record. It is in memory alone.
#[derive(Clone)]
pub(super) struct Sealer {
    epoch: String,
    key: Key,
    number: u64,
    dropped: u64,
    pub(super) handover: Option<Handover>,
}

impl Sealer {
    /// A new epoch.
    pub(super) fn new() -> Sealer {
        let mut bytes = [0; 32];
        // 122 random bits each, from the kernel; more than any search reaches.
        for half in bytes.chunks_exact_mut(16) {
            half.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        }
        let epoch = uuid::Uuid::new_v4().simple().to_string();
        let handover = Some(Handover { epoch: epoch.clone(), key: hex::encode(bytes) });
        Sealer { epoch, key: Key::new(bytes), number: 0, dropped: 0, handover }
    }

    fn advance(&mut self) {
        self.key.advance();
        self.number += 1;
    }

    /// So many sealed records are given up.
    pub(super) fn drop(&mut self, records: u64) {
        self.dropped += records;
    }

    /// A transaction failed as it was committed: whether its records are there is not known. Their numbers are not
    /// used again.
    pub(super) fn unsure(&mut self, after: &Sealer) {
        let given = after.number - self.number;
        *self = Sealer { dropped: after.dropped + given, ..after.clone() };
    }

    /// A record joins the queue, sealed. How many joined: 1, or 0 where it is there already.
    pub(super) fn add(&mut self, step: &Transaction<'_>, id: &str, severity: u8, body: &str) -> rusqlite::Result<u64> {
        let seal = self.key.seal(&self.epoch, self.number, self.dropped, body);
        let added = insert(step, id, severity, body, None, Some(&seal))?;
        if added > 0 {
            self.advance();
        }
        Ok(added)
    }

    /// What is held back under this id joins the queue.
    pub(super) fn release(&mut self, step: &Transaction<'_>, id: &str) -> rusqlite::Result<u64> {
        let held: Option<(u8, String)> = step
            .prepare_cached("SELECT severity, body FROM held WHERE id = ?")?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((severity, body)) = held else { return Ok(0) };
        step.prepare_cached("DELETE FROM held WHERE id = ?")?.execute([id])?;
        self.add(step, id, severity, &body)
    }
}

/// Puts a record into the queue as it is.
pub(super) fn insert(
    step: &Transaction<'_>,
    id: &str,
    severity: u8,
    body: &str,
    sequence: Option<u64>,
    seal: Option<&Seal>,
) -> rusqlite::Result<u64> {
    let added = step
        .prepare_cached(
            "INSERT OR IGNORE INTO record (id, sequence, severity, body, epoch, seal_number, seal_dropped, tag)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            id,
            sequence,
            severity,
            body,
            seal.map(|seal| &seal.epoch),
            seal.map(|seal| seal.number),
            seal.map(|seal| seal.dropped),
            seal.map(|seal| &seal.tag)
        ])?;
    Ok(added as u64)
}

/// The seal in four columns from `first` on; none where one is missing.
pub(super) fn read(row: &Row<'_>, first: usize) -> Option<Seal> {
    Some(Seal {
        epoch: row.get(first).ok()?,
        number: row.get(first + 1).ok()?,
        dropped: row.get(first + 2).ok()?,
        tag: row.get(first + 3).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_draws_its_own_key_and_says_it_once_asked() {
        let (one, other) = (Sealer::new(), Sealer::new());
        let first = one.handover.expect("a first key");
        assert_eq!((first.epoch.len(), first.key.len()), (32, 64));
        assert_eq!(first.epoch, one.epoch);
        assert_eq!(first.key, hex::encode(one.key.bytes()));
        assert_ne!(first.key, other.handover.expect("a first key").key);
    }

    #[test]
    fn numbers_of_a_transaction_whose_fate_is_unknown_are_given_up() {
        let mut sealer = Sealer::new();
        let mut after = sealer.clone();
        (0..3).for_each(|_| after.advance());
        after.drop(5);
        sealer.unsure(&after);
        assert_eq!((sealer.number, sealer.dropped), (3, 8), "three that may be there, and five that may be gone");
        assert_eq!(sealer.key.bytes(), after.key.bytes());
    }
}

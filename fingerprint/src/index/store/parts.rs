//! The parts of masters, by which pieces of them are found in other files.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, params};

use super::super::IndexError;
use super::Store;
use crate::exact::Parts;

/// What more masters than this have in common says nothing about any of them. Copies of one file are one master.
const COMMON: usize = 16;
/// Most copies that are told apart from others.
const COPIES: usize = 256;

/// What a file has of one master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Share {
    /// How many parts.
    pub(in super::super) parts: u64,
    /// How many bytes they have together.
    pub(in super::super) bytes: u64,
}

/// Those of a file's parts that are evidence, as they are kept.
pub(super) fn evidence(parts: &Parts) -> Vec<i64> {
    // SQLite's integers are signed; the bits stay.
    parts.0.iter().filter(|part| !part.common).map(|part| part.hash as i64).collect()
}

/// Keeps the parts of the master `id` instead of what is known of it.
pub(super) fn put(connection: &Connection, id: i64, hashes: &[i64]) -> rusqlite::Result<()> {
    forget(connection, id)?;
    if hashes.is_empty() {
        return Ok(());
    }
    let packed: Vec<u8> = hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
    connection.prepare_cached("INSERT INTO parts (id, hashes) VALUES (?1, ?2)")?.execute(params![id, packed])?;
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO part (hash, id) VALUES (?1, ?2)")?;
    hashes.iter().try_for_each(|hash| insert.execute(params![hash, id]).map(drop))
}

/// Forgets the parts of the master `id`.
pub(super) fn forget(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    let mut select = connection.prepare_cached("SELECT hashes FROM parts WHERE id = ?1")?;
    let Some(packed) = select.query_row([id], |row| row.get::<_, Vec<u8>>(0)).optional()? else { return Ok(()) };
    let mut delete = connection.prepare_cached("DELETE FROM part WHERE hash = ?1 AND id = ?2")?;
    for hash in packed.as_chunks::<8>().0 {
        delete.execute(params![i64::from_le_bytes(*hash), id])?;
    }
    connection.prepare_cached("DELETE FROM parts WHERE id = ?1")?.execute([id]).map(drop)
}

impl Store {
    /// The masters that have some of `parts`, and how much of it.
    pub(in super::super) fn with_parts(&self, parts: &Parts) -> Result<BTreeMap<i64, Share>, IndexError> {
        let mut shares = BTreeMap::new();
        if parts.0.is_empty() {
            return Ok(shares);
        }
        self.read(|connection| {
            let sql = format!("SELECT id FROM part WHERE hash = ?1 LIMIT {COPIES}");
            let mut select = connection.prepare_cached(&sql)?;
            let mut digest = connection.prepare_cached("SELECT digest FROM master WHERE id = ?1")?;
            let mut files: HashMap<i64, Vec<u8>> = HashMap::new();
            let mut seen = HashSet::new();
            for part in parts.0.iter().filter(|part| seen.insert(part.hash)) {
                let ids: Vec<i64> =
                    select.query_map([part.hash as i64], |row| row.get(0))?.collect::<Result<_, _>>()?;
                if ids.len() > COMMON {
                    let mut different = HashSet::new();
                    for id in &ids {
                        let file = match files.entry(*id) {
                            Entry::Occupied(known) => known.into_mut(),
                            Entry::Vacant(new) => new.insert(digest.query_row([id], |row| row.get(0))?),
                        };
                        different.insert(file.clone());
                    }
                    if different.len() > COMMON {
                        continue;
                    }
                }
                for id in &ids {
                    let share: &mut Share = shares.entry(*id).or_default();
                    share.parts += 1;
                    share.bytes += u64::from(part.length);
                }
            }
            Ok(())
        })?;
        Ok(shares)
    }
}

//! The keys of all masters, packed into few rows, so that the index opens without reading what else is known of them.
//!
//! They are written in the same transaction as the masters that they belong to.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::IndexError;
use super::super::lookup::{Block, Key};
use super::row::sum;
use super::{Store, damaged};

/// Keeps keys, or forgets those of masters that are gone.
pub(super) fn change(connection: &Connection, keys: &[(u32, Option<Key>)]) -> rusqlite::Result<()> {
    let mut blocks: BTreeMap<u32, Vec<(usize, Option<Key>)>> = BTreeMap::new();
    for (id, key) in keys {
        let (number, place) = Block::of(*id);
        blocks.entry(number).or_default().push((place, *key));
    }
    for (number, keys) in blocks {
        let mut select = connection.prepare_cached("SELECT block, keys, checksum FROM keys WHERE block = ?1")?;
        let mut block = select.query_row([number], read).optional()?.map_or(Block::NONE, |(_, block)| block);
        keys.into_iter().for_each(|(place, key)| block.set(place, key));
        if block.is_empty() {
            connection.prepare_cached("DELETE FROM keys WHERE block = ?1")?.execute([number])?;
        } else {
            let bytes = block.to_bytes();
            let sql = "INSERT OR REPLACE INTO keys (block, keys, checksum) VALUES (?1, ?2, ?3)";
            connection.prepare_cached(sql)?.execute(params![number, bytes, checksum(number, &bytes)])?;
        }
    }
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<(u32, Block)> {
    let (number, bytes, found) = (row.get(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Vec<u8>>(2)?);
    let block = Block::from_bytes(&bytes).filter(|_| found == checksum(number, &bytes));
    let last = Block::of(u32::MAX).0;
    match block {
        Some(block) if number <= last => Ok((number, block)),
        _ => Err(damaged(format!("block {number} of the keys does not have its checksum"))),
    }
}

fn checksum(number: u32, bytes: &[u8]) -> [u8; 8] {
    sum([Some(&number.to_le_bytes()), Some(bytes)])
}

/// All of them, by their numbers; refuses those of which one is damaged.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<BTreeMap<u32, Box<Block>>> {
    let mut select = connection.prepare("SELECT block, keys, checksum FROM keys ORDER BY block")?;
    let blocks = select.query_map([], |row| read(row).map(|(number, block)| (number, Box::new(block))))?;
    blocks.collect()
}

impl Store {
    /// The keys of all masters, in blocks by their numbers; refuses the index if one of them is damaged.
    pub(in super::super) fn keys(&self) -> Result<BTreeMap<u32, Box<Block>>, IndexError> {
        self.read(all)
    }
}

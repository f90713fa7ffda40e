//! ISO 9660 images of discs (ECMA-119).

use std::collections::HashSet;

use super::leftover::Accounts;
use super::walk::Walk;
use super::{Opaque, join};
use crate::decode::Source;

/// A logical sector, in bytes.
const SECTOR: u64 = 2048;
/// Where the primary volume descriptor lies, in sectors.
const DESCRIPTOR: u64 = 16;
/// Most bytes of one directory.
const DIRECTORY: u64 = 16 << 20;

/// A directory record, as far as it matters (ECMA-119 9.1).
struct Record<'a> {
    start: u64,
    size: u64,
    is_directory: bool,
    /// One byte 0 or 1: the directory itself and the one above it.
    name: &'a [u8],
}

impl Walk<'_> {
    pub(super) fn iso(&mut self, path: &str, source: Source<'_>, depth: u32) -> Result<(), Opaque> {
        let descriptor = source.peek(DESCRIPTOR * SECTOR, SECTOR as usize);
        let root = descriptor.get(156..190).and_then(record);
        let root = root.ok_or_else(|| Opaque::Damaged("it has no root directory".to_owned()))?;
        let mut accounts = Accounts::default();
        // Directories of a hostile image may lie within each other.
        let mut seen = HashSet::from([root.start]);
        let mut waiting = vec![(path.to_owned(), root.start, root.size)];
        while let Some((path, start, size)) = waiting.pop() {
            let bytes = source.peek(start, size.min(DIRECTORY) as usize);
            accounts.explained(start, bytes.len() as u64);
            let mut at = 0;
            while at < bytes.len() {
                // Most of the records may be of nothing new, and there may be millions of them.
                self.budget.check()?;
                let length = usize::from(bytes[at]);
                if length == 0 {
                    at = (at / SECTOR as usize + 1) * SECTOR as usize; // No record crosses a sector.
                    continue;
                }
                let record = bytes.get(at..at + length).and_then(record);
                at += length;
                let Some(record) = record.filter(|record| !matches!(record.name, [0 | 1])) else { continue };
                let name = join(&path, record.name.split(|byte| *byte == b';').next().unwrap_or_default());
                if !record.is_directory {
                    accounts.seen(record.start, record.size);
                    self.lying(name, source.part(record.start, record.size), depth)?;
                } else if seen.insert(record.start) {
                    self.budget.member()?;
                    waiting.push((name, record.start, record.size));
                }
            }
        }
        self.left_over(path, "between the files", source, accounts, depth)
    }
}

fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let word = |at: usize| bytes.get(at..)?.first_chunk::<4>().map(|word| u64::from(u32::from_le_bytes(*word)));
    let length = usize::from(*bytes.get(32)?);
    Some(Record {
        // Behind the extended attributes, whose length is in sectors as well.
        start: (word(2)? + u64::from(*bytes.get(1)?)) * SECTOR,
        size: word(10)?,
        is_directory: bytes.get(25)? & 2 != 0,
        name: bytes.get(33..33 + length)?,
    })
}

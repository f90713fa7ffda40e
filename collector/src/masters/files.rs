//! Who has which master: one row for each file of each workstation, in a database beside the index.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use serde::Serialize;

use super::Told;

/// Masters of one workstation, and bytes of their portraits as they are sent.
const MOST: u64 = 2_000_000;
const MOST_BYTES: u64 = 128 << 30;
/// Files that a trace tells of one portrait.
const HOLDERS: u32 = 100;
/// And of them of one workstation, so that none hides the others.
const HOLDERS_OF_AGENT: u32 = 5;
/// How long one process waits for another's lock.
const BUSY: Duration = Duration::from_secs(10);
/// Of the tables below.
const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE epoch (epoch TEXT NOT NULL) STRICT;
    INSERT INTO epoch VALUES (lower(hex(randomblob(16))));
    CREATE TABLE agent (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        masters INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE file (
        agent INTEGER NOT NULL REFERENCES agent,
        path TEXT NOT NULL,
        collection TEXT NOT NULL,
        object TEXT,
        portrait BLOB NOT NULL,
        bytes INTEGER NOT NULL,
        PRIMARY KEY (agent, path)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX holders ON file (portrait);
";

/// A file of a workstation that is a master.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Holder {
    /// The collection, as the policy names it.
    pub collection: String,
    /// Its path there, printable.
    pub path: String,
    /// The object that it shows, where the policy can tell.
    pub object: Option<String>,
    /// The id of the agent.
    pub agent: String,
}

/// How many masters there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Files of all workstations.
    pub masters: u64,
    /// Workstations that have sent some.
    pub agents: u64,
}

/// Lines that are not kept, and why.
type Refused = Vec<(usize, String)>;
/// Portraits that nobody has any more.
type Left = BTreeSet<[u8; 32]>;

pub(super) struct Files(Connection);

impl Files {
    pub(super) fn open(path: &Path) -> rusqlite::Result<Files> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let mut files = Files(connection);
        let tx = files.0.transaction()?;
        let version: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            tx.execute_batch(TABLES)?;
            tx.pragma_update(None, "user_version", VERSION)?;
        } else if version != VERSION {
            let what = format!("version {version} instead of {VERSION}");
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB),
                Some(what),
            ));
        }
        tx.commit()?;
        Ok(files)
    }

    pub(super) fn open_read_only(path: &Path) -> rusqlite::Result<Files> {
        // SQLite's shared memory beside a log is written by readers, too.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(Files(connection))
    }

    pub(super) fn epoch(&self) -> rusqlite::Result<String> {
        self.0.query_row("SELECT epoch FROM epoch", [], |row| row.get(0))
    }

    pub(super) fn count(&self) -> rusqlite::Result<Count> {
        let sql = "SELECT coalesce(sum(masters), 0), count(*) FROM agent WHERE masters > 0";
        self.0.query_row(sql, [], |row| Ok(Count { masters: row.get(0)?, agents: row.get(1)? }))
    }

    /// Every portrait that somebody has, in the order of their bytes.
    pub(super) fn portraits(&self) -> rusqlite::Result<Vec<[u8; 32]>> {
        self.0
            .prepare("SELECT DISTINCT portrait FROM file ORDER BY portrait")?
            .query_map([], |row| row.get(0))?
            .collect()
    }

    pub(super) fn holders(&self, portrait: &[u8; 32]) -> rusqlite::Result<Vec<Holder>> {
        // From agent to agent by the index, so that one with very many files costs no more than any other.
        let mut query = self.0.prepare_cached(
            "WITH RECURSIVE one (number) AS (
                 SELECT min(agent) FROM file WHERE portrait = ?1
                 UNION ALL
                 SELECT (SELECT min(agent) FROM file WHERE portrait = ?1 AND agent > one.number) FROM one
                 WHERE one.number IS NOT NULL LIMIT ?3
             )
             SELECT collection, path, object, id FROM one
             CROSS JOIN agent ON agent.number = one.number CROSS JOIN file ON file.agent = one.number
             WHERE path IN (
                 SELECT path FROM file AS own WHERE own.portrait = ?1 AND own.agent = one.number ORDER BY path LIMIT ?2
             )
             ORDER BY collection, path, id LIMIT ?3",
        )?;
        let holder = |row: &rusqlite::Row<'_>| {
            Ok(Holder { collection: row.get(0)?, path: row.get(1)?, object: row.get(2)?, agent: row.get(3)? })
        };
        query.query_map(params![portrait, HOLDERS_OF_AGENT, HOLDERS], holder)?.collect()
    }

    /// All that an agent tells of its own masters, or nothing.
    pub(super) fn take(&mut self, agent: &str, told: &[(usize, Told)]) -> rusqlite::Result<(Refused, Left)> {
        let tx = self.0.transaction()?;
        tx.execute("INSERT INTO agent (id, masters, bytes) VALUES (?, 0, 0) ON CONFLICT DO NOTHING", [agent])?;
        let (number, mut masters, mut bytes): (i64, u64, u64) =
            tx.query_row("SELECT number, masters, bytes FROM agent WHERE id = ?", [agent], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        let (mut refused, mut loose) = (Refused::new(), Left::new());
        for (line, told) in told {
            let path = match told {
                Told::Has { path, .. } | Told::Gone { path } => path,
            };
            let before: Option<([u8; 32], u64)> = tx
                .prepare_cached("SELECT portrait, bytes FROM file WHERE agent = ? AND path = ?")?
                .query_row(params![number, path], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let free = before.map_or((0, 0), |(_, bytes)| (1, bytes));
            let Told::Has { collection, object, digest, bytes: size, .. } = told else {
                tx.prepare_cached("DELETE FROM file WHERE agent = ? AND path = ?")?.execute(params![number, path])?;
                loose.extend(before.map(|(portrait, _)| portrait));
                (masters, bytes) = (masters.saturating_sub(free.0), bytes.saturating_sub(free.1));
                continue;
            };
            let size = *size as u64;
            let more = (masters.saturating_sub(free.0) + 1, bytes.saturating_sub(free.1) + size);
            if more.0 > MOST || more.1 > MOST_BYTES {
                let limit = format!("at most {MOST} masters and {} GiB of one workstation are kept", MOST_BYTES >> 30);
                refused.push((*line, limit));
                loose.insert(*digest);
                continue;
            }
            (masters, bytes) = more;
            tx.prepare_cached("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?)")?
                .execute(params![number, path, collection, object, digest, size])?;
            loose.extend(before.map(|(portrait, _)| portrait));
        }
        tx.execute("UPDATE agent SET masters = ?, bytes = ? WHERE number = ?", params![masters, bytes, number])?;
        let mut left = Left::new();
        for portrait in loose {
            let sql = "SELECT 1 FROM file WHERE portrait = ? LIMIT 1";
            if !tx.prepare_cached(sql)?.exists([portrait])? {
                left.insert(portrait);
            }
        }
        tx.commit()?;
        Ok((refused, left))
    }
}

/// Whether another attempt would meet the same.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

//! The tables of the spool, and whether a file holds them.

use rusqlite::{Connection, ErrorCode, OptionalExtension};

/// Marks a SQLite file as a Vitrine spool: "Vtsp".
const APPLICATION: i64 = 0x5674_7370;
/// Version of the tables.
pub(super) const VERSION: i64 = 1;
/// Files up to this size are checked in full when they are opened; larger ones would hold up the start, and
/// what is wrong in them shows when it is read.
const CHECKED: u64 = 256 << 20;
/// SQLite takes a shorter file for an empty database (sqlite.org/fileformat2.html, 1.3.2).
const SMALLEST_PAGE: u64 = 512;

const TABLES: &str = "
    CREATE TABLE record (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        sequence INTEGER UNIQUE,
        severity INTEGER NOT NULL,
        acked INTEGER NOT NULL DEFAULT 0,
        body TEXT NOT NULL,
        epoch TEXT,
        seal_number INTEGER,
        seal_dropped INTEGER,
        tag TEXT
    ) STRICT;
    CREATE INDEX record_numbered ON record (sequence) WHERE acked = 0 AND sequence IS NOT NULL;
    CREATE INDEX record_waiting ON record (position) WHERE sequence IS NULL;
    CREATE INDEX record_droppable ON record (severity, position) WHERE sequence IS NULL;
    CREATE INDEX record_acked ON record (position) WHERE acked = 1;
    CREATE TABLE held (id TEXT PRIMARY KEY, severity INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
    CREATE TABLE evidence (number INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, jpeg BLOB) STRICT;
    CREATE INDEX evidence_waiting ON evidence (number) WHERE jpeg IS NOT NULL;
    CREATE INDEX evidence_sent ON evidence (number) WHERE jpeg IS NULL;
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
";

/// What a file turned out to be.
pub(super) enum Found {
    /// A spool, perhaps just made.
    Spool,
    /// Not a readable spool; in words.
    Corrupt(String),
    /// Of this later version.
    Newer(i64),
}

/// Sets the connection up; makes the tables where there are none.
pub(super) fn prepare(connection: &mut Connection, bytes: u64) -> rusqlite::Result<Found> {
    if (1..SMALLEST_PAGE).contains(&bytes) {
        return Ok(Found::Corrupt(format!("of the file, {bytes} bytes are left")));
    }
    match tables(connection, bytes) {
        Err(error) if is_corrupt(&error) => Ok(Found::Corrupt(error.to_string())),
        other => other,
    }
}

fn tables(connection: &mut Connection, bytes: u64) -> rusqlite::Result<Found> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 && version == 0 {
        let step = connection.transaction()?;
        step.execute_batch(TABLES)?;
        step.pragma_update(None, "application_id", APPLICATION)?;
        step.pragma_update(None, "user_version", VERSION)?;
        step.commit()?;
        return Ok(Found::Spool);
    }
    if application != APPLICATION || version < 1 {
        return Ok(Found::Corrupt("it is a database of something else".into()));
    }
    if version > VERSION {
        return Ok(Found::Newer(version));
    }
    if bytes <= CHECKED {
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Ok(Found::Corrupt(verdict));
        }
    }
    Ok(Found::Spool)
}

/// Whether SQLite says that the file itself is damaged, not that the disk is full or the like. A table or
/// column that is missing (`Unknown`: SQLITE_ERROR) counts, because all statements here are fixed.
pub(crate) fn is_corrupt(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, message) => match failure.code {
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => true,
            ErrorCode::Unknown => message.as_ref().is_some_and(|message| message.starts_with("no such ")),
            _ => false,
        },
        rusqlite::Error::SqlInputError { msg, .. } => msg.starts_with("no such "),
        _ => false,
    }
}

/// A number kept under a name; 0 where there is none.
pub(super) fn number(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let found = connection.prepare_cached("SELECT value FROM meta WHERE name = ?")?.query_row([name], |row| row.get(0));
    Ok(found.optional()?.unwrap_or(0))
}

/// Keeps a number under a name.
pub(super) fn set_number(connection: &Connection, name: &str, value: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2")?
        .execute((name, value))?;
    Ok(())
}

//! Reading the spool from another process, without disturbing the agent: `vitrine events`.

use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use rusqlite::{Connection, ErrorCode, OpenFlags, Params};
use vitrine_policy::record::Record;

use super::{SpoolError, place};

/// A record as it lies in the spool.
pub(crate) struct Entry {
    /// Its place in the spool, rising. Not the sequence number, which comes with the first sending.
    pub(crate) position: u64,
    /// Whether the collector has it.
    pub(crate) delivered: bool,
    /// The record; its sequence number is 0 until it is first sent.
    pub(crate) record: Record,
}

/// The records behind the position `after`, oldest first, at most `limit`. Those that cannot be read are left out.
pub(crate) fn read(state: &Path, after: u64, limit: usize) -> Result<Vec<Entry>, SpoolError> {
    let path = place::database(state);
    let oldest = "SELECT position, sequence, acked, body FROM record WHERE position > ? ORDER BY position LIMIT ?";
    select(&open(&path)?, oldest, (after, limit)).map_err(|source| SpoolError::Database { path, source })
}

/// The latest records, newest first, at most `limit`. Those that cannot be read are left out.
pub(crate) fn read_newest(state: &Path, limit: usize) -> Result<Vec<Entry>, SpoolError> {
    let path = place::database(state);
    let newest = "SELECT position, sequence, acked, body FROM record ORDER BY position DESC LIMIT ?";
    select(&open(&path)?, newest, (limit,)).map_err(|source| SpoolError::Database { path, source })
}

fn select(connection: &Connection, what: &str, parameters: impl Params) -> rusqlite::Result<Vec<Entry>> {
    let mut select = connection.prepare(what)?;
    let mut rows = select.query(parameters)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let sequence: Option<u64> = row.get(1)?;
        if let Ok(record) = serde_json::from_str::<Record>(row.get_ref(3)?.as_str()?) {
            let record = Record { sequence: sequence.unwrap_or(0), ..record };
            entries.push(Entry { position: row.get(0)?, delivered: row.get(2)?, record });
        }
    }
    Ok(entries)
}

/// Opens for reading only.
pub(super) fn open(path: &Path) -> Result<Connection, SpoolError> {
    // Asked and not tried: to close a file takes away the locks that SQLite holds on it for this process (fcntl(2)), and
    // whoever closes the database next would then remove the log that the agent goes on writing.
    match faccessat(AT_FDCWD, path, AccessFlags::R_OK, AtFlags::AT_EACCESS) {
        Ok(()) => {}
        Err(Errno::ENOENT) => return Err(SpoolError::Absent { path: path.into() }),
        Err(source) => return Err(SpoolError::Place { path: path.into(), source: source.into() }),
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    });
    match opened {
        // A spool that is closed has no log, and whoever may not write its directory cannot make one.
        Err(error)
            if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) && !place::beside(path, "-wal").exists() =>
        {
            let uri = format!("file:{}?immutable=1", percent(path));
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
        }
        other => other,
    }
    .map_err(|source| SpoolError::Database { path: path.into(), source })
}

/// A path as SQLite's URI file names want it.
fn percent(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let write = |byte: &u8| if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") };
    path.as_os_str().as_bytes().iter().map(write).collect()
}

/// The id of the agent that wrote the newest readable record.
pub(super) fn writer_of(state: &Path) -> Option<String> {
    let connection = open(&place::database(state)).ok()?;
    let mut select = connection.prepare("SELECT body FROM record ORDER BY position DESC LIMIT 10").ok()?;
    let bodies = select.query_map([], |row| row.get::<_, String>(0)).ok()?;
    let agent = |body: String| Some(serde_json::from_str::<Record>(&body).ok()?.host.agent);
    bodies.flatten().find_map(agent).filter(|id| uuid::Uuid::parse_str(id).is_ok())
}

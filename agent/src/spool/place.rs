//! The files of the spool: the database, the lock, and what must survive the loss of the database: the
//! agent's id and the last sequence number.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::SpoolError;

const DATABASE: &str = "spool.db";
const LOCK: &str = "spool.lock";
const AGENT: &str = "agent-id";
const SEQUENCE: &str = "last-sequence";

/// The directory of a spool, held by this process alone.
pub(super) struct Place {
    directory: PathBuf,
    sequence: File,
    _lock: File,
}

impl Place {
    /// Makes the directory if need be, and holds it until dropped.
    pub(super) fn lock(state: &Path) -> Result<Place, SpoolError> {
        let failed = |source| SpoolError::Place { path: state.into(), source };
        fs::create_dir_all(state).map_err(failed)?;
        let lock = own(&state.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            // For whoever comes second. On a full disk it is not said.
            Ok(()) => drop(lock.set_len(0).and_then(|()| writeln!(&lock, "{}", std::process::id()))),
            Err(TryLockError::WouldBlock) => {
                return Err(SpoolError::InUse { path: state.into(), holder: holder(&lock) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let sequence = own(&state.join(SEQUENCE)).map_err(failed)?;
        own(&database(state)).map_err(failed)?; // SQLite gives its helper files the same mode
        Ok(Place { directory: state.into(), sequence, _lock: lock })
    }

    /// The database.
    pub(super) fn database(&self) -> PathBuf {
        database(&self.directory)
    }

    /// The directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The last sequence number that may have been sent; 0 where that is not known.
    pub(super) fn last_sequence(&mut self) -> u64 {
        let mut text = String::new();
        // Where it cannot be read, the database alone tells.
        let _ = io::Seek::rewind(&mut self.sequence);
        let _ = (&self.sequence).take(64).read_to_string(&mut text);
        text.trim().parse().unwrap_or(0)
    }

    /// Keeps it, durable on return. Written in place, so that a full disk cannot refuse it.
    pub(super) fn keep_sequence(&self, last: u64) -> Result<(), SpoolError> {
        self.sequence
            .write_all_at(format!("{last:020}\n").as_bytes(), 0)
            .and_then(|()| self.sequence.sync_data())
            .map_err(|source| SpoolError::Place { path: self.directory.join(SEQUENCE), source })
    }

    /// Renames the database and its log; the new name.
    pub(super) fn set_aside(&self) -> Result<PathBuf, SpoolError> {
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S.%3fZ").to_string();
        let from = self.database();
        let mut to = self.directory.join(format!("{DATABASE}.corrupt-{time}"));
        for again in 1.. {
            if !to.exists() {
                break;
            }
            to = self.directory.join(format!("{DATABASE}.corrupt-{time}-{again}"));
        }
        let failed = |source| SpoolError::Place { path: from.clone(), source };
        absent_is_fine(fs::rename(&from, &to)).map_err(failed)?;
        absent_is_fine(fs::rename(beside(&from, "-wal"), beside(&to, "-wal"))).map_err(failed)?;
        absent_is_fine(fs::remove_file(beside(&from, "-shm"))).map_err(failed)?; // only an index of the log
        own(&from).map_err(failed)?;
        Ok(to)
    }
}

/// Who holds the lock, as far as that is written in it.
fn holder(lock: &File) -> String {
    let mut text = String::new();
    let _ = lock.take(64).read_to_string(&mut text);
    text.trim()
        .parse::<u32>()
        .map_or_else(|_| "another agent".to_owned(), |process| format!("another agent (process {process})"))
}

/// The lock of a spool, as whoever has it left it.
pub(crate) fn lock(state: &Path) -> io::Result<File> {
    File::open(state.join(LOCK))
}

/// The database in `state`.
pub(crate) fn database(state: &Path) -> PathBuf {
    state.join(DATABASE)
}

/// The helper file of SQLite that lies beside a database.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Opens for reading and writing, made with mode 0600.
fn own(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn absent_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Reads the agent's id, or makes one.
pub(super) fn agent_id(state: &Path) -> Result<String, SpoolError> {
    let path = state.join(AGENT);
    let failed = |source| SpoolError::Place { path: path.clone(), source };
    fs::create_dir_all(state).map_err(failed)?;
    match fs::read(&path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            if let Ok(id) = text.trim().parse::<Uuid>() {
                return Ok(id.to_string());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(failed(source)),
    }
    // The file is lost or was damaged: the records that are still here tell who wrote them.
    let id = super::read::writer_of(state).unwrap_or_else(|| Uuid::new_v4().to_string());
    let mut file = tempfile::NamedTempFile::new_in(state).map_err(failed)?; // mode 0600
    writeln!(file, "{id}").map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&path).map_err(|error| failed(error.error))?;
    File::open(state).and_then(|directory| directory.sync_all()).map_err(failed)?;
    Ok(id)
}

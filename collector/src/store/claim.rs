//! The data directory: private, used by one server at a time, and checked after an unclean stop.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use super::sqlite::connect;
use super::{DATABASE, FILE, StoreError};

/// The right of one server to a data directory, held by a file lock that ends with the process.
#[derive(Debug)]
pub struct Claim {
    file: File,
}

const RUNNING: &[u8] = b"running\n";

impl Claim {
    /// Takes the directory. Where the last server did not stop cleanly, the database is checked first.
    ///
    /// # Errors
    /// Another server holds the directory, it cannot be used, or the check found damage.
    pub fn take(directory: &Path) -> Result<Claim, StoreError> {
        make_private(directory)?;
        let path = directory.join("server.lock");
        let failed = |error| StoreError::File { path: path.clone(), error: Arc::new(error) };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(directory.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut mark = Vec::new();
        file.read_to_end(&mut mark).map_err(failed)?;
        if !mark.is_empty() && directory.join(FILE).exists() && !directory.join(DATABASE).exists() {
            tracing::warn!("the last server did not stop cleanly: checking the database");
            check(&directory.join(FILE))?;
        }
        let mut claim = Claim { file };
        claim.mark(RUNNING).map_err(failed)?;
        Ok(claim)
    }

    /// Notes that the server stopped cleanly.
    pub fn release(mut self) {
        if let Err(error) = self.mark(b"") {
            tracing::warn!(%error, "the clean stop could not be noted; the next start checks the database");
        }
    }

    fn mark(&mut self, text: &[u8]) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(text)?;
        self.file.sync_all()
    }
}

/// Reads every page of a database.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    let connection = connect(path)?;
    let finding: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if finding == "ok" { Ok(()) } else { Err(StoreError::Damaged(finding)) }
}

/// Makes the directory for nobody else to read; one that is there already keeps its mode.
pub(super) fn make_private(directory: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| StoreError::File { path: directory.to_owned(), error: Arc::new(error) })
}

/// Writes a file that nobody else may read, whole or not at all.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), StoreError> {
    let partial = path.with_extension("partial");
    let write = || {
        let _ = std::fs::remove_file(&partial);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&partial, path)
    };
    write().map_err(|error| StoreError::File { path: path.to_owned(), error: Arc::new(error) })
}

/// Makes the database for nobody else to read; SQLite gives its log the same mode.
pub(super) fn make_private_file(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::File { path: path.to_owned(), error: Arc::new(error) }),
    }
}

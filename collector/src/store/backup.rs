//! A copy of the database while it is in use.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::audit::{Actor, Kind};
use super::sqlite::connect;
use super::{Store, StoreError, claim};

impl Store {
    /// Writes the database as it is at one moment into a new file, and checks that. Agents and the console go on in
    /// the meantime; the write-ahead log grows by what they write. The file is there whole or not at all. The
    /// audit log tells of it, also in the copy.
    ///
    /// # Errors
    /// The file is there already or cannot be written, or what was written is damaged.
    pub async fn back_up(&self, to: &Path) -> Result<(), StoreError> {
        if self.database.is_shared() {
            return self.database.back_up(to); // which says by what it is copied
        }
        let to = to.to_owned();
        self.record(Actor::command_line(), Kind::Backup, to.display().to_string(), "begun".into()).await?;
        let database = Arc::clone(&self.database);
        self.blocking(move || database.back_up(&to)).await
    }
}

/// Writes a database of SQLite into a new file.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let failed = |path: &Path, error| StoreError::File { path: path.to_owned(), error: Arc::new(error) };
    if to.try_exists().map_err(|error| failed(to, error))? {
        return Err(failed(to, std::io::ErrorKind::AlreadyExists.into()));
    }
    let mut partial = to.to_owned().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    // SQLite fills an empty file and refuses any other: what is left of an earlier attempt goes.
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(&partial, error)),
        _ => claim::make_private_file(&partial)?,
    }
    let name = partial.to_str().ok_or_else(|| failed(&partial, std::io::ErrorKind::InvalidFilename.into()))?;
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let done = connect(from)?
        .execute("VACUUM INTO ?", [name])
        .map_err(StoreError::from)
        .and_then(|_| claim::check(&partial))
        .and_then(|()| {
            File::open(&partial)
                .and_then(|file| file.sync_all())
                .and_then(|()| std::fs::rename(&partial, to))
                .and_then(|()| File::open(directory)?.sync_all())
                .map_err(|error| failed(to, error))
        });
    if done.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    done
}

//! The agent's own databases, which nobody here opens but SQLite: to close any other descriptor of such a file takes away
//! the locks that SQLite holds on it for this process (fcntl(2), "Advisory record locking"). Whoever opens the database
//! next would believe that nobody has it, and cut off the memory that the agent shares with its readers (SIGBUS).

use std::fs::{self, DirEntry, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;

use crate::identify::FileId;

/// Their directory, held: it may get another name, or something be mounted over it.
static STATE: OnceLock<File> = OnceLock::new();

/// Where they lie, told before the first one is opened. Programs that are not the agent tell nothing.
///
/// # Errors
/// The directory cannot be opened.
pub(crate) fn lie_in(state: &Path) -> io::Result<()> {
    let _ = STATE.set(File::open(state)?);
    Ok(())
}

/// Whether a file is one of them, or one of SQLite's beside it, by whatever name it was found; also where that cannot be
/// found out.
pub(crate) fn has(file: FileId) -> bool {
    let Some(state) = STATE.get() else { return false };
    if state.metadata().is_ok_and(|directory| directory.dev() != file.device) {
        return false;
    }
    let Ok(entries) = fs::read_dir(format!("/proc/self/fd/{}", state.as_raw_fd())) else { return true };
    let is_database = |entry: &DirEntry| entry.file_name().as_bytes().windows(3).any(|part| part == b".db");
    let databases = entries.flatten().filter(is_database);
    databases.filter_map(|entry| entry.metadata().ok()).any(|metadata| FileId::from(&metadata) == file)
}

/// Opens what somebody else has named, as [`vitrine_worker::open_regular`] does.
///
/// # Errors
/// Also where it is one of the agent's own databases.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let held = File::options().read(true).custom_flags(flags).open(path)?;
    if has(FileId::from(&held.metadata()?)) {
        let why = "it is one of the agent's own databases, which are not looked into";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    // This very file, whatever has its name by now.
    vitrine_worker::reopen_regular(&held).map_err(|error| match error.kind() {
        // The file is there.
        io::ErrorKind::NotFound => io::Error::other(format!("it cannot be opened by its name in /proc: {error}")),
        _ => error,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn its_own_databases_are_opened_by_no_name_and_everything_else_is() {
        let state = tempfile::tempdir().expect("a directory");
        let path = |name: &str| state.path().join(name);
        for name in ["spool.db", "spool.db-shm", "index.db-wal", "labels.json"] {
            fs::write(path(name), name).expect("a file");
        }
        fs::create_dir(path("work")).expect("a directory");
        fs::hard_link(path("spool.db-shm"), path("work/scan.tif")).expect("a link");
        std::os::unix::fs::symlink(path("labels.json"), path("work/link")).expect("a link");
        assert!(open_regular(&path("spool.db")).is_ok(), "nobody has said where the databases lie");
        lie_in(state.path()).expect("a directory");
        for name in ["spool.db", "spool.db-shm", "index.db-wal", "work/scan.tif"] {
            let error = open_regular(&path(name)).expect_err(name);
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{name}: {error}");
        }
        let mut text = String::new();
        open_regular(&path("labels.json")).expect("no database").read_to_string(&mut text).expect("text");
        assert_eq!(text, "labels.json");
        for name in ["work/link", "work", "nothing"] {
            assert!(open_regular(&path(name)).is_err(), "{name}");
        }
    }
}

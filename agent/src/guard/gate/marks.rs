//! Which file systems are marked, and with what.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::fail::Failure;
use crate::identify::destination::Guarded;
use crate::sys::fanotify::{self, Entry, FAN_PRE_ACCESS, Group};
use crate::workstation::Workstation;

/// What is asked of every guarded file system.
const CONTENT: u64 = libc::FAN_OPEN_PERM | libc::FAN_CLOSE_WRITE;
/// What its directories report by name.
const NAMES: u64 = libc::FAN_RENAME | libc::FAN_CREATE | libc::FAN_DELETE | libc::FAN_CLOSE_WRITE | libc::FAN_ONDIR;

/// The two groups and what they mark.
pub(crate) struct Marks {
    group: Group,
    names: Group,
    pre_access: bool,
    marked: Mutex<HashMap<u64, Marked>>,
}

/// One marked file system.
struct Marked {
    path: PathBuf,
    whole: bool,
    pre_access: bool,
    /// Its id, where what the kernel names by handle can be opened. No descriptor of it is kept: a disk that
    /// is in use cannot be unmounted.
    id: Option<[u8; 8]>,
}

impl Marks {
    /// Two groups that mark nothing yet.
    pub(crate) fn new(group: Group, names: Group, pre_access: bool) -> Marks {
        Marks { group, names, pre_access, marked: Mutex::default() }
    }

    /// The group whose events wait for an answer.
    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    /// The group of named directory events.
    pub(crate) fn names(&self) -> &Group {
        &self.names
    }

    /// Marks what has to be guarded now and is not, forgets what is gone, and says what could not be marked.
    pub(crate) fn update(&self, workstation: &Workstation) {
        let wanted = workstation.snapshot().destinations.guarded();
        let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<u64> =
            marked.keys().filter(|device| wanted.iter().all(|one| one.device != **device)).copied().collect();
        for device in gone {
            if let Some(old) = marked.remove(&device) {
                // The mark went with the file system, if that was unmounted.
                let _ = self.group.unmark_filesystem(&old.path, CONTENT | FAN_PRE_ACCESS);
                let _ = self.names.unmark_filesystem(&old.path, NAMES);
            }
        }
        for one in wanted {
            if marked.get(&one.device).is_some_and(|known| known.whole == one.whole) {
                continue;
            }
            match self.mark(&one) {
                Ok(done) => {
                    marked.insert(one.device, done);
                }
                Err(error) => {
                    let what = format!("the file system at {} cannot be guarded: {error}", one.path.display());
                    workstation.spool.push(Failure::MarkFailed.notice(Some(one.path.as_os_str().as_bytes()), what));
                }
            }
        }
    }

    fn mark(&self, wanted: &Guarded) -> io::Result<Marked> {
        self.group.mark_filesystem(&wanted.path, CONTENT)?;
        // Every read and write is asked for where all of the file system is a destination; elsewhere the
        // cost would fall on everybody's work.
        let pre_access =
            self.pre_access && wanted.whole && self.group.mark_filesystem(&wanted.path, FAN_PRE_ACCESS).is_ok();
        // FAT and some network file systems cannot be named by handle: renames on them are not seen.
        let named = self.names.mark_filesystem(&wanted.path, NAMES);
        let id = named.and_then(|()| fanotify::fsid(&wanted.path));
        Ok(Marked { path: wanted.path.clone(), whole: wanted.whole, pre_access, id: id.ok() })
    }

    /// The path of a directory entry that the kernel names by handle.
    pub(crate) fn path(&self, entry: &Entry) -> Option<PathBuf> {
        let marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        let found = marked.values().find(|marked| marked.id == Some(entry.fsid))?;
        entry.path(File::open(&found.path).ok()?.as_fd()).ok()
    }

    /// For people: what is guarded, and how.
    pub(crate) fn describe(&self) -> Vec<String> {
        let marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines: Vec<String> = marked
            .values()
            .map(|marked| {
                let what = if marked.pre_access { "opens, reads and writes" } else { "opens" };
                let named = if marked.id.is_some() { "renames and links" } else { "no renames or links" };
                format!("{}: {what}, {named}", marked.path.display())
            })
            .collect();
        lines.sort();
        lines
    }

    /// For people: what is not seen on this machine now.
    pub(crate) fn not_covered(&self) -> Vec<String> {
        let marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = vec!["network destinations: this guard sees files only".to_owned()];
        lines.extend(marked.values().filter(|marked| marked.id.is_none()).map(|marked| {
            format!("{}: renames and hard links (its file system cannot be named by handle)", marked.path.display())
        }));
        lines
    }
}

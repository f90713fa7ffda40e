//! Which file systems are marked, and with what.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::fail::Failure;
use crate::identify::destination::Guarded;
use crate::sys::fanotify::{self, Entry, FAN_PRE_ACCESS, Group, Located};
use crate::sys::stat::Stat;
use crate::workstation::Workstation;

/// What is asked of every guarded file system.
const CONTENT: u64 = libc::FAN_OPEN_PERM | libc::FAN_CLOSE_WRITE;
/// What its directories report by name.
const NAMES: u64 = libc::FAN_RENAME | libc::FAN_CREATE | libc::FAN_DELETE | libc::FAN_ONDIR;

/// The groups and what they mark.
pub(crate) struct Marks {
    /// For the workstation's own disks and those plugged into it.
    local: Group,
    /// For file systems behind which a server or a daemon stands. Reading their events may wait for it, and
    /// it may wait for an event of ours: so they have a thread of their own.
    remote: Group,
    names: Group,
    pre_access: bool,
    marked: Mutex<HashMap<u64, Marked>>,
    /// File systems that could not be marked, and of which that was told.
    failed: Mutex<HashSet<u64>>,
    /// A directory on each file system that events name just now.
    roots: Mutex<HashMap<[u8; 8], File>>,
}

/// One marked file system.
struct Marked {
    path: PathBuf,
    remote: bool,
    pre_access: bool,
    /// Its id, where what the kernel names by handle can be opened.
    id: Option<[u8; 8]>,
}

impl Marks {
    /// Two groups that mark nothing yet.
    pub(crate) fn new(local: Group, remote: Group, names: Group, pre_access: bool) -> Marks {
        Marks {
            local,
            remote,
            names,
            pre_access,
            marked: Mutex::default(),
            failed: Mutex::default(),
            roots: Mutex::default(),
        }
    }

    /// The group of disks, or of what lies behind a server or a daemon.
    pub(crate) fn group(&self, remote: bool) -> &Group {
        if remote { &self.remote } else { &self.local }
    }

    /// No more opens of this file, until it is modified.
    pub(crate) fn ignore(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.local.ignore(file)
    }

    /// Everything is asked for again.
    pub(crate) fn stop_ignoring(&self) -> io::Result<()> {
        self.local.stop_ignoring()
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
                // Where something else lies at its place now, the mark went with the file system.
                if Stat::named(&old.path).is_ok_and(|stat| stat.file.device == device) {
                    let _ = self.group(old.remote).unmark_filesystem(&old.path, CONTENT);
                    let _ = self.group(old.remote).unmark_filesystem(&old.path, FAN_PRE_ACCESS);
                    let _ = self.names.unmark_filesystem(&old.path, NAMES);
                }
            }
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        for one in wanted {
            // A mark that is there already is set again: the file system may be another under the same number.
            match self.mark(&one) {
                Ok(done) => {
                    failed.remove(&one.device);
                    marked.insert(one.device, done);
                }
                Err(error) if failed.insert(one.device) => {
                    let what = format!("the file system at {} cannot be guarded: {error}", one.path.display());
                    workstation.spool.push(Failure::MarkFailed.notice(Some(one.path.as_os_str().as_bytes()), what));
                }
                Err(_) => {}
            }
        }
    }

    fn mark(&self, wanted: &Guarded) -> io::Result<Marked> {
        let group = self.group(wanted.remote);
        group.mark_filesystem(&wanted.path, CONTENT)?;
        // Every read and write is asked for where all of the file system is a destination; elsewhere the
        // cost would fall on everybody's work.
        let pre_access = self.pre_access && wanted.whole && group.mark_filesystem(&wanted.path, FAN_PRE_ACCESS).is_ok();
        // FAT and some network file systems cannot be named by handle: renames on them are not seen.
        let named = self.names.mark_filesystem(&wanted.path, NAMES);
        let id = named.and_then(|()| fanotify::fsid(&wanted.path));
        Ok(Marked { path: wanted.path.clone(), remote: wanted.remote, pre_access, id: id.ok() })
    }

    /// Where a directory entry is that the kernel names by handle.
    pub(crate) fn locate(&self, entry: &Entry) -> Option<Located> {
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = roots.get(&entry.fsid) {
            return entry.locate(root.as_fd()).ok();
        }
        let marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        let path = marked.values().find(|marked| marked.id == Some(entry.fsid))?.path.clone();
        drop(marked);
        let root = roots.entry(entry.fsid).or_insert(File::open(path).ok()?);
        entry.locate(root.as_fd()).ok()
    }

    /// Lets go of all directories after a batch of events: a disk that is in use cannot be unmounted.
    pub(crate) fn rest(&self) {
        self.roots.lock().unwrap_or_else(PoisonError::into_inner).clear();
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

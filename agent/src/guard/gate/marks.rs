//! What is marked, and with what.
//!
//! Every open of a whole file system is asked about only while somebody carries a label, where it is a
//! destination, and where its files cannot be followed by name. Otherwise ("at rest") the kernel asks about
//! the labelled files alone, each of which has a mark of its own ([`super::pins`]).

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::fail::Failure;
use crate::identify::destination::Guarded;
use crate::sys::fanotify::{self, Entry, FAN_PRE_ACCESS, Group, Located};
use crate::sys::stat::Stat;
use crate::workstation::Workstation;

/// What every guarded file system tells, and what is asked of it.
const WRITTEN: u64 = libc::FAN_CLOSE_WRITE;
const ASKED: u64 = libc::FAN_OPEN_PERM;
/// What its directories report by name.
const NAMES: u64 = libc::FAN_RENAME | libc::FAN_CREATE | libc::FAN_DELETE | libc::FAN_ONDIR;

/// The groups and what they mark.
pub(crate) struct Marks {
    /// For the workstation's own disks and those plugged into it.
    local: Group,
    /// For file systems behind which a server or a daemon stands. Reading their events may wait for it, and
    /// it may wait for an event of ours: so they have a thread of their own.
    remote: Group,
    /// Named events, apart for the same reason.
    names: ByGroup<Group>,
    pre_access: bool,
    marked: Mutex<HashMap<u64, Marked>>,
    /// File systems that could not be marked, and of which that was told.
    failed: Mutex<HashSet<u64>>,
    /// A directory on each file system that events name just now.
    roots: ByGroup<Mutex<HashMap<[u8; 8], File>>>,
    /// How often everybody was asked for, by whatever made it necessary.
    alarms: AtomicU64,
    /// How often a file system was found that has lost the marks of its files, or never had any.
    anew: AtomicU64,
}

/// One for what lies here, and one for what lies behind a server or a daemon.
struct ByGroup<T> {
    local: T,
    remote: T,
}

impl<T> ByGroup<T> {
    fn of(&self, remote: bool) -> &T {
        if remote { &self.remote } else { &self.local }
    }
}

/// One marked file system.
struct Marked {
    path: PathBuf,
    remote: bool,
    pre_access: bool,
    /// Its id, where what the kernel names by handle can be opened.
    id: Option<[u8; 8]>,
    /// Whether it may be at rest.
    may_rest: bool,
    /// Whether only its labelled files are asked about.
    rests: bool,
}

impl Marks {
    /// Groups that mark nothing yet, for permission events.
    ///
    /// # Errors
    /// The kernel gives no groups for named events.
    pub(crate) fn new(local: Group, remote: Group, pre_access: bool) -> io::Result<Marks> {
        Ok(Marks {
            local,
            remote,
            names: ByGroup { local: Group::names()?, remote: Group::names()? },
            pre_access,
            marked: Mutex::default(),
            failed: Mutex::default(),
            roots: ByGroup { local: Mutex::default(), remote: Mutex::default() },
            alarms: AtomicU64::new(0),
            anew: AtomicU64::new(0),
        })
    }

    /// The group of disks, or of what lies behind a server or a daemon.
    pub(crate) fn group(&self, remote: bool) -> &Group {
        if remote { &self.remote } else { &self.local }
    }

    /// Every open is asked about from now on. To be called before anybody gets what he could carry away.
    ///
    /// # Errors
    /// A file system could not be marked: what is written there is not seen in time.
    pub(crate) fn ask_everybody(&self) -> io::Result<()> {
        self.alarms.fetch_add(1, Ordering::SeqCst);
        let mut result = Ok(());
        for marked in self.marked.lock().unwrap_or_else(PoisonError::into_inner).values_mut() {
            if marked.rests {
                match self.local.mark_filesystem(&marked.path, ASKED) {
                    Ok(()) => marked.rests = false,
                    Err(error) => result = Err(error),
                }
            }
        }
        result
    }

    /// How often [`Marks::ask_everybody`] was called.
    pub(crate) fn alarms(&self) -> u64 {
        self.alarms.load(Ordering::SeqCst)
    }

    /// Only labelled files are asked about, where that is enough, unless somebody asked for everybody since
    /// `alarms` was read.
    pub(crate) fn rest(&self, alarms: u64) {
        let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        for marked in marked.values_mut().filter(|marked| marked.may_rest && !marked.rests) {
            if self.alarms() == alarms {
                marked.rests = self.local.unmark_filesystem(&marked.path, ASKED).is_ok();
            }
        }
    }

    /// Whether any file system is at rest.
    pub(crate) fn rests(&self) -> bool {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner).values().any(|marked| marked.rests)
    }

    /// The numbers of the file systems that may be at rest.
    pub(crate) fn may_rest(&self) -> HashSet<u64> {
        let marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        marked.iter().filter(|(_, marked)| marked.may_rest).map(|(device, _)| *device).collect()
    }

    /// How often all labelled files have to be marked by themselves from the start.
    pub(crate) fn anew(&self) -> u64 {
        self.anew.load(Ordering::SeqCst)
    }

    /// Something was missed: all labelled files have to be marked by themselves from the start.
    pub(crate) fn start_anew(&self) -> io::Result<()> {
        self.anew.fetch_add(1, Ordering::SeqCst);
        self.ask_everybody()
    }

    /// One file is asked about by itself, until it is deleted.
    pub(crate) fn pin(&self, path: &Path) -> io::Result<()> {
        self.local.mark_inode(path, ASKED)
    }

    /// Each file directly in a directory is asked about.
    pub(crate) fn pin_children(&self, directory: &Path) -> io::Result<()> {
        self.local.mark_inode(directory, ASKED | libc::FAN_EVENT_ON_CHILD)
    }

    /// The same of an open file on `device` that a link of `/proc` leads to, or else its path. One on a file
    /// system that never rests needs nothing, nor does one that is gone.
    pub(crate) fn pin_open(&self, device: u64, link: &Path, path: &Path) -> io::Result<()> {
        if !self.may_rest().contains(&device) {
            return Ok(());
        }
        match self.local.mark_open(link, ASKED).or_else(|_| self.pin(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// The group of named directory events.
    pub(crate) fn names(&self, remote: bool) -> &Group {
        self.names.of(remote)
    }

    /// Marks what has to be guarded now and is not, forgets what is gone, and says what could not be marked: of the
    /// file servers, or of all else. A server that is away lets its caller wait until it is back.
    pub(crate) fn update(&self, workstation: &Workstation, remote: bool) {
        let mut wanted = workstation.snapshot().destinations.guarded();
        wanted.retain(|one| one.remote == remote);
        let gone: Vec<(u64, Marked)> = {
            let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
            let is_gone =
                |device: &u64, old: &mut Marked| old.remote == remote && wanted.iter().all(|one| one.device != *device);
            marked.extract_if(is_gone).collect()
        };
        for (device, old) in gone {
            // Where something else lies at its place now, the mark went with the file system.
            if Stat::named(&old.path).is_ok_and(|stat| stat.file.device == device) {
                let _ = self.group(old.remote).unmark_filesystem(&old.path, WRITTEN | ASKED);
                let _ = self.group(old.remote).unmark_filesystem(&old.path, FAN_PRE_ACCESS);
                let _ = self.names(old.remote).unmark_filesystem(&old.path, NAMES);
            }
        }
        self.leave_alone(&workstation.config.state);
        for one in wanted {
            // A mark that is there already is set again: the file system may be another under the same number.
            let result = self.mark(&one);
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(()) => drop(failed.remove(&one.device)),
                Err(error) if failed.insert(one.device) => {
                    let what = format!("the file system at {} cannot be guarded: {error}", one.path.display());
                    workstation.spool.push(Failure::MarkFailed.notice(Some(one.path.as_os_str().as_bytes()), what));
                }
                Err(_) => {}
            }
        }
    }

    /// The agent's own databases lie in `state`. An event hands us a descriptor of the file, and closing it would drop
    /// the locks of this process on it (fcntl(2)): another process might then take away a log that is in use.
    /// Where others may write, everybody's files are asked about all the same.
    fn leave_alone(&self, state: &Path) {
        let is_ours = |metadata: std::fs::Metadata| metadata.uid() == 0 && metadata.mode() & 0o022 == 0;
        if !std::fs::metadata(state).is_ok_and(is_ours) {
            return;
        }
        for group in [&self.local, &self.remote] {
            // Kernels before 6.0 cannot, and a directory on an unguarded disk needs nothing.
            let _ = group.ignore_children(state, ASKED | WRITTEN);
            let _ = group.ignore_children(state, FAN_PRE_ACCESS);
        }
    }

    /// Marks one file system. What is asked of a server that is away waits for it, so no lock is held that an
    /// answer needs.
    fn mark(&self, wanted: &Guarded) -> io::Result<()> {
        let group = self.group(wanted.remote);
        let before = {
            let marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
            marked.get(&wanted.device).map(|marked| marked.rests)
        };
        // A file system that was mounted anew has no mark, and its files have none.
        let is_known = before.is_some() && group.has_filesystem_mark(&wanted.path);
        let rested = is_known && before == Some(true);
        group.mark_filesystem(&wanted.path, if rested { WRITTEN } else { WRITTEN | ASKED })?;
        // Every read and write is asked for where all of the file system is a destination; elsewhere the
        // cost would fall on everybody's work.
        let pre_access = self.pre_access && wanted.whole && group.mark_filesystem(&wanted.path, FAN_PRE_ACCESS).is_ok();
        // FAT and some network file systems cannot be named by handle: renames on them are not seen.
        let named = self.names(wanted.remote).mark_filesystem(&wanted.path, NAMES);
        let id = named.and_then(|()| fanotify::fsid(&wanted.path)).ok();
        // btrfs tells of its files under another number than of its mount.
        let is_plain = || Stat::named(&wanted.path).is_ok_and(|stat| stat.file.device == wanted.device);
        let may_rest = !wanted.whole && !wanted.remote && id.is_some() && is_plain();
        let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        // Meanwhile everybody may have been asked for, or it may have been let rest: then it is asked about again.
        let rests_now = marked.get(&wanted.device).is_some_and(|marked| marked.rests);
        let rests = rested && may_rest && rests_now;
        if !rests && (rested || rests_now) {
            group.mark_filesystem(&wanted.path, ASKED)?;
        }
        let one = Marked { path: wanted.path.clone(), remote: wanted.remote, pre_access, id, may_rest, rests };
        marked.insert(wanted.device, one);
        if may_rest && !is_known {
            self.anew.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Where a directory entry is that the kernel names by handle; behind a server it waits for that.
    pub(crate) fn locate(&self, entry: &Entry, remote: bool) -> Option<Located> {
        let mut roots = self.roots.of(remote).lock().unwrap_or_else(PoisonError::into_inner);
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
    pub(crate) fn let_go(&self, remote: bool) {
        self.roots.of(remote).lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// For people: what is guarded, and how.
    pub(crate) fn describe(&self) -> Vec<String> {
        let marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines: Vec<String> = marked
            .values()
            .map(|marked| {
                let what = match marked {
                    Marked { rests: true, .. } => "opens of labelled files (nobody carries one now)",
                    Marked { pre_access: true, .. } => "opens, reads and writes",
                    Marked { .. } => "opens",
                };
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

//! Labelled files, each asked about by itself: enough while nobody carries a label, because then only who
//! opens one of them can get something to carry. A file system at rest costs the others nothing.
//!
//! A mark on an inode finds the file under every name and hard link, and holds it in memory: about 1.2 KB of
//! the kernel's for each labelled file. What is a master only because of where it lies, and not yet read, is
//! found by a mark on its directory.

use std::collections::HashSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use vitrine_policy::Policy;

use super::marks::Marks;
use super::verdict::Gate;
use crate::collection::{self, Progress};
use crate::fail::Failure;
use crate::identify::label::Labelled;
use crate::sys::stat::Stat;
use crate::workstation::Workstation;

/// How often is looked whether the file systems can be at rest, while they are not.
const TICK: Duration = Duration::from_millis(50);
/// How many files and directories are pinned; where there are as many, nothing is ever at rest.
const MAX_PINNED: usize = 500_000;

/// What tells the thread that pins of what it cannot see.
#[derive(Default)]
pub(super) struct Pins {
    /// Whether directories have come or moved in a collection.
    directories_changed: AtomicBool,
}

impl Pins {
    /// The directories of the collections have changed.
    pub(super) fn look_again(&self) {
        self.directories_changed.store(true, Ordering::SeqCst);
    }

    /// Pins what gets a label, and lets the file systems rest when nobody carries one, until told to stop.
    pub(super) fn follow(
        &self,
        workstation: &Workstation,
        marks: &Marks,
        gate: &Mutex<Gate>,
        progress: &Progress,
        stop: &AtomicBool,
    ) {
        let labelled = workstation.labels.follow();
        let mut pinning = Pinning { workstation, marks, labelled, state: State::new() };
        while !stop.load(Ordering::Relaxed) {
            pinning.wait();
            let (alarms, anew) = (marks.alarms(), marks.anew());
            let digest = workstation.snapshot().digest.clone();
            let changed = self.directories_changed.swap(false, Ordering::SeqCst);
            let is_anew = anew != pinning.state.anew;
            if is_anew {
                pinning.everything(anew);
            }
            if is_anew || changed || digest != pinning.state.digest {
                pinning.directories(digest);
            }
            pinning.files();
            if !progress.is_complete.load(Ordering::Relaxed) || !pinning.is_enough() {
                continue;
            }
            let gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
            let is_current = !self.directories_changed.load(Ordering::SeqCst) && pinning.is_current();
            // A label that came meanwhile is pinned in the next round; none comes while the gate is held but
            // those of files that nobody could open before.
            if gate.nobody_carries() && is_current && pinning.is_idle() {
                marks.rest(alarms);
            }
        }
    }
}

/// The thread's own knowledge.
struct Pinning<'a> {
    workstation: &'a Workstation,
    marks: &'a Marks,
    labelled: Receiver<Labelled>,
    state: State,
}

/// What is pinned.
struct State {
    /// The policy whose directories are.
    digest: String,
    /// The number of the last start.
    anew: u64,
    /// On which file systems.
    may_rest: HashSet<u64>,
    files: usize,
    directories: usize,
    /// Whether each labelled file was found.
    is_complete: bool,
}

impl State {
    fn new() -> State {
        let (digest, may_rest) = (String::new(), HashSet::new());
        State { digest, anew: 0, may_rest, files: 0, directories: 0, is_complete: true }
    }
}

impl Pinning<'_> {
    /// Waits for a while, or at rest for the next label: whatever else matters asks for everybody first.
    fn wait(&mut self) {
        if !self.marks.rests() {
            std::thread::sleep(TICK);
        } else if let Ok(labelled) = self.labelled.recv_timeout(super::IDLE) {
            self.file(&labelled);
        }
    }

    fn is_enough(&self) -> bool {
        self.state.is_complete && self.state.files + self.state.directories < MAX_PINNED
    }

    /// Whether all is pinned under the policy in force, on the file systems that are there.
    fn is_current(&self) -> bool {
        self.state.digest == self.workstation.snapshot().digest && self.state.anew == self.marks.anew()
    }

    /// Whether there is nothing left to pin.
    fn is_idle(&mut self) -> bool {
        match self.labelled.try_recv() {
            Ok(labelled) => {
                self.file(&labelled);
                false
            }
            Err(_) => true,
        }
    }

    /// Pins all labelled files there are.
    fn everything(&mut self, anew: u64) {
        let may_rest = self.marks.may_rest();
        self.state = State { anew, may_rest, ..State::new() };
        for labelled in self.workstation.labels.all() {
            self.file(&labelled);
        }
    }

    /// Pins all directories of the collections.
    fn directories(&mut self, digest: String) {
        let snapshot = self.workstation.snapshot();
        let rests = |directory: &PathBuf| {
            Stat::named(directory).is_ok_and(|stat| self.state.may_rest.contains(&stat.file.device))
        };
        let directories: Vec<PathBuf> = directories(&snapshot.policy).into_iter().filter(rests).collect();
        for directory in &directories {
            self.check(directory, self.marks.pin_children(directory));
        }
        self.state.directories = directories.len();
        self.state.digest = digest;
    }

    fn files(&mut self) {
        while let Ok(labelled) = self.labelled.try_recv() {
            self.file(&labelled);
        }
    }

    /// A file that is gone, or has another name of which is told by then, needs none; nor does one on a file
    /// system that never rests.
    fn file(&mut self, (file, path): &Labelled) {
        if self.state.may_rest.contains(&file.device) {
            self.state.files += 1;
            self.check(path, self.marks.pin(path));
        }
    }

    fn check(&mut self, path: &Path, pinned: io::Result<()>) {
        if let Err(error) = pinned
            && error.kind() != io::ErrorKind::NotFound
            && std::mem::replace(&mut self.state.is_complete, false)
        {
            let what =
                format!("{} cannot be marked by itself, so that every open is asked about: {error}", path.display());
            self.workstation.spool.push(Failure::MarkFailed.notice(Some(path.as_os_str().as_bytes()), what));
        }
    }
}

/// All directories in which masters may lie now.
fn directories(policy: &Policy) -> Vec<PathBuf> {
    let roots = policy.collections.iter().flat_map(|collection| collection.roots()).flat_map(collection::existing);
    let mut found: HashSet<PathBuf> = HashSet::new();
    let mut left: Vec<PathBuf> = roots.collect();
    while let Some(directory) = left.pop().filter(|_| found.len() < MAX_PINNED) {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(entry.path());
            }
        }
        found.insert(directory);
    }
    found.into_iter().collect()
}

//! Labelled files, each asked about by itself: enough while nobody carries a label, because then only who
//! opens one of them can get something to carry. A file system at rest costs the others nothing.
//!
//! A mark on an inode finds the file under every name and hard link, and holds it in memory: about 1.3 KB of
//! the kernel's for each labelled file. What is a master only because of where it lies, and not yet read, is
//! found by a mark on its directory.

use std::collections::HashSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use vitrine_policy::Policy;

use super::marks::Marks;
use super::verdict::Gate;
use crate::collection::{self, Progress};
use crate::fail::Failure;
use crate::identify::label::Labelled;
use crate::identify::process;
use crate::sys::stat::Stat;
use crate::workstation::Workstation;

/// How often is looked whether the file systems can be at rest.
const TICK: Duration = Duration::from_millis(50);
/// How many files and directories are pinned; where there are more, nothing is ever at rest.
const MAX_PINNED: usize = 500_000;

/// What tells the thread that pins of what it cannot see.
#[derive(Default)]
pub(super) struct Pins {
    /// Whether directories have come or moved in a collection.
    directories_changed: AtomicBool,
    /// Whether a file system was mounted anew, which frees its files of their marks.
    remounted: AtomicBool,
}

impl Pins {
    /// The directories of the collections have changed.
    pub(super) fn look_again(&self) {
        self.directories_changed.store(true, Ordering::SeqCst);
    }

    /// What was mounted has changed.
    pub(super) fn start_anew(&self) {
        self.remounted.store(true, Ordering::SeqCst);
    }

    /// Whether all that was told of has been seen to.
    fn is_current(&self) -> bool {
        !self.directories_changed.load(Ordering::SeqCst) && !self.remounted.load(Ordering::SeqCst)
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
        let mut pinning = Pinning { workstation, marks, labelled, digest: None, pinned: 0, is_complete: true };
        pinning.everything();
        let mut pause = TICK;
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(pause);
            pause = TICK.max(drain(gate) * 10);
            if self.remounted.swap(false, Ordering::SeqCst) {
                pinning.everything();
                pinning.digest = None;
            }
            if self.directories_changed.swap(false, Ordering::SeqCst) {
                pinning.digest = None;
            }
            if !pinning.is_of(&workstation.snapshot().digest) && marks.ask_everybody().is_err() {
                crate::fail::count(Failure::MarkFailed, 1);
            }
            let alarms = marks.alarms();
            pinning.directories();
            pinning.files();
            if !progress.is_complete.load(Ordering::Relaxed) || !pinning.is_enough() {
                continue;
            }
            let gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
            // A label that came meanwhile is pinned in the next round; none comes while the gate is held but
            // those of files that nobody could open before.
            let is_current = self.is_current() && pinning.is_of(&workstation.snapshot().digest);
            if gate.nobody_carries() && is_current && pinning.is_idle() {
                marks.rest(alarms);
            }
        }
    }
}

/// Takes the label from pipes that have nothing in them any more. Not under the gate's lock, because a pipe may
/// be held for ever by whoever fills it. How long that took.
fn drain(gate: &Mutex<Gate>) -> Duration {
    let begun = Instant::now();
    let lingering = gate.lock().unwrap_or_else(PoisonError::into_inner).taints.lingering();
    for (pipe, since) in lingering {
        if process::is_drained(pipe) {
            gate.lock().unwrap_or_else(PoisonError::into_inner).taints.forget(pipe, since);
        }
    }
    begun.elapsed()
}

/// The thread's own knowledge.
struct Pinning<'a> {
    workstation: &'a Workstation,
    marks: &'a Marks,
    labelled: Receiver<Labelled>,
    /// The policy whose directories are pinned.
    digest: Option<String>,
    pinned: usize,
    /// Whether each labelled file was found.
    is_complete: bool,
}

impl Pinning<'_> {
    fn is_enough(&self) -> bool {
        self.is_complete && self.pinned <= MAX_PINNED
    }

    /// Whether the directories of a policy are pinned.
    fn is_of(&self, digest: &str) -> bool {
        self.digest.as_deref() == Some(digest)
    }

    /// Whether there is nothing left to pin.
    fn is_idle(&mut self) -> bool {
        match self.labelled.try_recv() {
            Ok((_, path)) => {
                self.file(&path);
                false
            }
            Err(_) => true,
        }
    }

    fn everything(&mut self) {
        let may_rest = self.marks.may_rest();
        for (file, path) in self.workstation.labels.all() {
            // What lies elsewhere than it is said to lie keeps its file system from resting.
            if may_rest.contains(&file.device) && Stat::named(&path).is_ok_and(|stat| stat.file != file) {
                self.is_complete = false;
            }
            self.file(&path);
        }
    }

    fn files(&mut self) {
        while let Ok((_, path)) = self.labelled.try_recv() {
            self.file(&path);
        }
    }

    /// A file that is gone, or has another name of which is told by then, needs none.
    fn file(&mut self, path: &Path) {
        self.pinned += 1;
        self.check(path, self.marks.pin(path));
    }

    fn check(&mut self, path: &Path, pinned: io::Result<()>) {
        if let Err(error) = pinned
            && error.kind() != io::ErrorKind::NotFound
            && std::mem::replace(&mut self.is_complete, false)
        {
            let what =
                format!("{} cannot be marked by itself, so that every open is asked about: {error}", path.display());
            self.workstation.spool.push(Failure::MarkFailed.notice(Some(path.as_os_str().as_bytes()), what));
        }
    }

    fn directories(&mut self) {
        let snapshot = self.workstation.snapshot();
        if self.digest.as_ref() == Some(&snapshot.digest) {
            return;
        }
        for directory in directories(&snapshot.policy) {
            self.pinned += 1;
            self.check(&directory, self.marks.pin_children(&directory));
        }
        self.digest = Some(snapshot.digest.clone());
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

/// The mounts of file systems whose files are pinned: what changes here may have freed them.
pub(super) fn mounts(devices: &HashSet<u64>) -> io::Result<Vec<Vec<u8>>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    let of_interest = |line: &&[u8]| {
        let number = line.split(|byte| *byte == b' ').nth(2).and_then(|number| std::str::from_utf8(number).ok());
        let parts = number.and_then(|number| number.split_once(':'));
        let device = parts.and_then(|(major, minor)| Some(libc::makedev(major.parse().ok()?, minor.parse().ok()?)));
        device.is_some_and(|device| devices.contains(&device))
    };
    Ok(table.split(|byte| *byte == b'\n').filter(of_interest).map(<[u8]>::to_vec).collect())
}

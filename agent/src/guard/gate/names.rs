//! Renames and hard links, which fanotify reports only after they are done: what brings a labelled file
//! into a destination below its tier is undone at once and recorded.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vitrine_policy::decision::Answer;
use vitrine_policy::facts::{Attempt, Destination, Facts, History, Program};
use vitrine_policy::judge;
use vitrine_policy::record::{self, Disposition, Operation};

use super::marks::Marks;
use super::verdict::GUARD;
use crate::fail::Failure;
use crate::identify::label::Known;
use crate::identify::process::Process;
use crate::quarantine;
use crate::recorder::{Seen, disposition};
use crate::sys::fanotify::{Buffer, Named};
use crate::sys::stat::Stat;
use crate::workstation::{Snapshot, Workstation};

/// How many entries of a renamed directory are looked at.
const MAX_ENTRIES: usize = 1_000_000;

/// Follows the named events until told to stop.
pub(super) fn follow(workstation: &Arc<Workstation>, marks: &Marks, stop: &AtomicBool) {
    let mut buffer = Buffer::new();
    while !stop.load(Ordering::Relaxed) {
        match marks.names().read(&mut buffer) {
            Ok(length) => buffer.named(length).iter().for_each(|event| one(workstation, marks, event)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                super::wait(marks.names(), Duration::from_millis(200));
            }
            Err(_) => {}
        }
    }
}

fn one(workstation: &Arc<Workstation>, marks: &Marks, event: &Named) {
    if event.mask & libc::FAN_Q_OVERFLOW != 0 {
        let what = "named events were lost because the kernel's queue was full";
        workstation.spool.push(Failure::QueueOverflow.notice(None, what));
        return;
    }
    let Some(path) = event.entry.as_ref().and_then(|entry| marks.path(entry)) else { return };
    let old = event.old.as_ref().and_then(|entry| marks.path(entry));
    let snapshot = workstation.snapshot();
    for path in [Some(&path), old.as_ref()].into_iter().flatten() {
        let concerned =
            |collection: &vitrine_policy::Collection| collection.covers(path) || collection.covers_dir(path);
        if snapshot.policy.collections.iter().any(concerned) {
            workstation.touch(path);
        }
    }
    if event.mask & (libc::FAN_RENAME | libc::FAN_CREATE) != 0 && !crate::identify::process::is_own(event.pid) {
        Moved { workstation, snapshot: &snapshot, event, path: &path, old: old.as_deref() }.judge();
    }
}

/// Something that has a new name.
struct Moved<'a> {
    workstation: &'a Workstation,
    snapshot: &'a Arc<Snapshot>,
    event: &'a Named,
    path: &'a Path,
    old: Option<&'a Path>,
}

impl Moved<'_> {
    fn judge(&self) {
        let Ok(stat) = Stat::named(self.path) else { return };
        let Some(destination) = self.snapshot.destinations.of(self.path, Some(stat.file.device)) else { return };
        let labelled = if stat.is_directory() {
            labelled_below(self.workstation, self.snapshot, self.path)
        } else if stat.is_regular() && (self.old.is_some() || stat.links > 1) {
            self.label(&stat)
        } else {
            return;
        };
        let Some(known) = labelled else { return };
        // Within one destination nothing goes anywhere.
        let from = self.old.and_then(|old| self.snapshot.destinations.of(old, Some(stat.file.device)));
        let entry = |destination: &Destination| {
            self.snapshot.policy.destination_of(destination).map(|entry| entry.name.clone())
        };
        if from.is_some_and(|from| entry(&from).is_some() && entry(&from) == entry(&destination)) {
            return;
        }
        let process = Process::of_thread(self.event.pid);
        let named = process.and_then(|process| self.snapshot.programs.of(process).map(|(name, _)| name.to_owned()));
        let lineage: Vec<record::Process> = process
            .map(|process| process.lineage().iter().map(|process| process.describe(None)).collect())
            .unwrap_or_default();
        let program = Program { named, path: lineage.first().map(|process| process.path.clone()).unwrap_or_default() };
        let facts = Facts {
            program,
            attempt: Attempt::Transfer { label: known.label(), destination, history: History::default() },
        };
        let decision = judge(&self.snapshot.policy, &facts);
        let mut end = disposition(&decision, Disposition::Undone);
        let mut remark = None;
        if decision.answer() == Answer::Deny {
            match self.undo(&stat) {
                Ok(()) => {}
                Err(error) => {
                    end = Disposition::Failed;
                    let what = format!("{} could not be taken back: {error}", self.path.display());
                    remark = Some(format!("{what}."));
                    let subject = Some(self.path.as_os_str().as_bytes());
                    self.workstation.spool.push(Failure::UndoFailed.notice(subject, what));
                }
            }
        }
        self.workstation.recorder.record(Seen {
            operation: if self.old.is_some() { Operation::Rename } else { Operation::Link },
            guard: GUARD,
            facts,
            bytes_arrived: (end == Disposition::Undone).then_some(0),
            decision,
            disposition: end,
            uid: process.map(|process| process.uid),
            processes: lineage,
            known,
            snapshot: self.snapshot.clone(),
            remark,
        });
    }

    /// The label of the file, or that which its old name gave it.
    fn label(&self, stat: &Stat) -> Option<Arc<Known>> {
        let labels = &self.workstation.labels;
        labels.of(&self.snapshot.policy, stat, self.path).or_else(|| labels.of(&self.snapshot.policy, stat, self.old?))
    }

    fn undo(&self, stat: &Stat) -> Result<(), quarantine::QuarantineError> {
        match self.old {
            Some(old) => {
                if !Stat::named(self.path).is_ok_and(|now| now.file == stat.file) {
                    return Err(quarantine::QuarantineError::Replaced);
                }
                let flags = nix::fcntl::RenameFlags::RENAME_NOREPLACE;
                nix::fcntl::renameat2(nix::fcntl::AT_FDCWD, self.path, nix::fcntl::AT_FDCWD, old, flags)
                    .map_err(io::Error::from)?;
                Ok(())
            }
            None => quarantine::unlink(self.path, stat),
        }
    }
}

/// The highest label of all that lies in a directory.
fn labelled_below(workstation: &Workstation, snapshot: &Snapshot, directory: &Path) -> Option<Arc<Known>> {
    let mut directories: Vec<PathBuf> = vec![directory.to_owned()];
    let mut highest: Option<Arc<Known>> = None;
    let mut left = MAX_ENTRIES;
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten().take(left) {
            left -= 1;
            let path = entry.path();
            let Ok(stat) = Stat::named(&path) else { continue };
            if stat.is_directory() {
                directories.push(path);
            } else if let Some(known) = workstation.labels.of(&snapshot.policy, &stat, &path)
                && highest.as_ref().is_none_or(|highest| highest.tier < known.tier)
            {
                highest = Some(known);
            }
        }
    }
    highest
}

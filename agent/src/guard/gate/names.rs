//! Renames and hard links, which fanotify reports only after they are done: what brings a labelled file
//! into a destination below its tier is undone at once and recorded.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vitrine_policy::decision::{Answer, Verdict};
use vitrine_policy::facts::{Attempt, Destination, Facts, History, Label};
use vitrine_policy::judge;
use vitrine_policy::record::{Disposition, Operation};

use super::marks::Marks;
use super::pins::Pins;
use super::verdict::GUARD;
use crate::collection;
use crate::fail::{self, Failure};
use crate::identify::label::Known;
use crate::identify::recent::Recent;
use crate::inspect::{Actor, Arrival};
use crate::justification::Window;
use crate::quarantine::{self, QuarantineError};
use crate::recorder::{Seen, disposition};
use crate::sys::fanotify::{Buffer, Located, Named};
use crate::sys::stat::Stat;
use crate::workstation::{Snapshot, Workstation};

/// How many entries of a renamed directory are looked at.
const MAX_ENTRIES: usize = 1_000_000;

/// Follows the named events of one group.
pub(super) struct Following {
    pub(super) workstation: Arc<Workstation>,
    pub(super) marks: Arc<Marks>,
    pub(super) pins: Arc<Pins>,
    pub(super) recent: Arc<Recent>,
    pub(super) remote: bool,
}

impl Following {
    /// Until told to stop.
    pub(super) fn run(&self, stop: &AtomicBool) {
        let names = self.marks.names(self.remote);
        let mut buffer = Buffer::new();
        while !stop.load(Ordering::Relaxed) {
            match names.read(&mut buffer) {
                Ok(length) => {
                    buffer.named(length).iter().for_each(|event| one(self, event));
                    self.marks.let_go(self.remote);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    super::wait(names, super::IDLE);
                }
                Err(_) => {}
            }
        }
    }
}

fn one(following: &Following, event: &Named) {
    let Following { workstation, marks, pins, recent, remote } = following;
    if event.mask & libc::FAN_Q_OVERFLOW != 0 {
        let what = "named events were lost because the kernel's queue was full";
        workstation.spool.push(Failure::QueueOverflow.notice(None, what));
        pins.look_again();
        if marks.start_anew().is_err() {
            fail::count(Failure::MarkFailed, 1);
        }
        return;
    }
    let Some(new) = event.entry.as_ref().and_then(|entry| marks.locate(entry, *remote)) else { return };
    let old = event.old.as_ref().and_then(|entry| marks.locate(entry, *remote));
    let snapshot = workstation.snapshot();
    let is_collection = |path: &Path| {
        let mut collections = snapshot.policy.collections.iter();
        collections.any(|collection| collection.covers(path) || collection.covers_dir(path))
    };
    let named = event.mask & (libc::FAN_RENAME | libc::FAN_CREATE) != 0;
    if named && event.mask & libc::FAN_ONDIR != 0 && collection::leads_to_masters(&snapshot.policy, &new.path) {
        // Its files are masters before anybody has looked into it.
        pins.look_again();
        if let Err(error) = marks.ask_everybody() {
            workstation.spool.push(Failure::MarkFailed.notice(Some(new.path.as_os_str().as_bytes()), error));
        }
    }
    if named {
        let moved = Moved { workstation, recent, snapshot: &snapshot, event, new: &new, old: old.as_ref() };
        moved.keep_labels();
        if event.pid.unsigned_abs() != std::process::id() {
            moved.judge();
        }
    }
    for entry in [Some(&new), old.as_ref()].into_iter().flatten().filter(|entry| is_collection(&entry.path)) {
        workstation.touch(&entry.path);
    }
}

/// Something that has a new name.
struct Moved<'a> {
    workstation: &'a Workstation,
    recent: &'a Recent,
    snapshot: &'a Arc<Snapshot>,
    event: &'a Named,
    new: &'a Located,
    old: Option<&'a Located>,
}

impl Moved<'_> {
    /// A master that leaves its collection stays what it is, though nobody registers it there any more.
    fn keep_labels(&self) {
        let policy = &self.snapshot.policy;
        let labels = &self.workstation.labels;
        each_below(self.new, |stat, path| {
            if policy.collection_of(path).is_none() && labels.is_master(stat) {
                let master = labels.registration(stat).map(|master| master.path);
                let known = Known::master(master.as_deref().unwrap_or(path), policy.master_tier());
                labels.set(stat, Arc::new(known));
            }
            labels.moved(stat, path);
        });
    }

    fn judge(&self) {
        let path = &self.new.path;
        let Ok(stat) = Stat::located(self.new) else { return };
        let Some(destination) = self.snapshot.destinations.of(path, Some(stat.file.device)) else { return };
        let mut highest: Option<(Arc<Known>, Label)> = None;
        each_below(self.new, |stat, path| {
            let Some(known) = self.label(stat, path) else { return };
            let label = known.label();
            highest = Some(match highest.take() {
                Some((highest, all)) if highest.tier >= known.tier => (highest, all.join(&label)),
                Some((_, all)) => (known, all.join(&label)),
                None => (known, label),
            });
        });
        let Some((known, label)) = highest else { return };
        // Within one destination nothing goes anywhere.
        let from = self.old.and_then(|old| self.snapshot.destinations.of(&old.path, Some(stat.file.device)));
        let entry = |to: &Destination| self.snapshot.policy.destination_of(to).map(|entry| entry.name.clone());
        if from.is_some_and(|from| entry(&from).is_some() && entry(&from) == entry(&destination)) {
            return;
        }
        let actor = self.recent.actor(self.snapshot, self.event.pid);
        let program = actor.as_ref().map(|actor| actor.program.clone()).unwrap_or_default();
        let objects_today = self.workstation.history.objects_at_least(&self.snapshot.policy, &destination, &known);
        let windows = self.windows(actor.as_ref(), &destination);
        let justification = windows.first().map(|(_, window)| Box::new(window.given.clone()));
        let history = History { justification, objects_today, ..History::default() };
        // The severity is that of all that a directory brings there, the record tells of one file.
        let attempt = Attempt::Transfer { label, destination, history };
        let facts = Facts { program, attempt };
        let decision = judge(&self.snapshot.policy, &facts);
        if decision.verdict == Verdict::AllowJustified {
            windows.iter().for_each(|(stat, window)| self.workstation.windows.let_in(stat, window));
        }
        // A file that was just made there has been judged when it was opened.
        let is_made_here = self.old.is_none() && stat.links <= 1;
        if is_made_here && (stat.size == 0 || decision.answer() == Answer::Allow) {
            return;
        }
        if decision.answer() == Answer::Allow {
            self.measure(actor.as_ref());
        }
        let mut end = disposition(&decision, Disposition::Undone);
        let mut remark = None;
        if decision.answer() == Answer::Deny
            && let Err(error) = self.undo(&stat)
        {
            end = Disposition::Failed;
            let what = format!("{} could not be taken back: {error}", path.display());
            remark = Some(format!("{what}."));
            self.workstation.spool.push(Failure::UndoFailed.notice(Some(path.as_os_str().as_bytes()), what));
        }
        self.workstation.recorder.record(Seen {
            operation: if self.old.is_some() { Operation::Rename } else { Operation::Link },
            guard: GUARD,
            facts,
            bytes_arrived: (end == Disposition::Undone).then_some(0),
            sent: Vec::new(),
            decision,
            disposition: end,
            login: actor.as_ref().map(|actor| actor.login),
            processes: actor.map(|actor| actor.processes).unwrap_or_default(),
            known,
            snapshot: self.snapshot.clone(),
            remark,
        });
    }

    /// The window of each labelled file that it brings there; none where one of them has none.
    fn windows(&self, actor: Option<&Actor>, destination: &Destination) -> Vec<(Stat, Arc<Window>)> {
        let policy = &self.snapshot.policy;
        let (mut windows, mut are_all) = (Vec::new(), true);
        if policy.destination_of(destination).is_none_or(|entry| entry.justify.is_none()) {
            return windows;
        }
        let uid = actor.map(|actor| actor.login.uid);
        each_below(self.new, |stat, path| {
            let Some(known) = self.label(stat, path) else { return };
            match self.workstation.windows.of(policy, uid, &known, destination) {
                Some(window) => windows.push((*stat, window)),
                None => are_all = false,
            }
        });
        if are_all { windows } else { Vec::new() }
    }

    /// Nobody closes what only got another name: how much of its masters it brings there is found out all the same.
    fn measure(&self, actor: Option<&Actor>) {
        each_below(self.new, |stat, path| {
            let destination = self.snapshot.destinations.of(path, Some(stat.file.device));
            let is_in_collection = self.snapshot.policy.collection_of(path).is_some();
            if destination.is_some() && !is_in_collection && self.label(stat, path).is_some() {
                let (path, actor) = (path.to_owned(), actor.cloned());
                self.workstation.arrived(Arrival { path, file: None, destination, guard: GUARD, actor });
            }
        });
    }

    /// The label of a file, or that which its old name gave it.
    fn label(&self, stat: &Stat, path: &Path) -> Option<Arc<Known>> {
        let labels = &self.workstation.labels;
        let by_old_name = || {
            let below = path.strip_prefix(&self.new.path).ok()?;
            let old = self
                .old
                .map(|old| if below.as_os_str().is_empty() { old.path.clone() } else { old.path.join(below) })?;
            labels.of(&self.snapshot.policy, stat, &old)
        };
        by_old_name().or_else(|| labels.of(&self.snapshot.policy, stat, path))
    }

    fn undo(&self, stat: &Stat) -> Result<(), QuarantineError> {
        match self.old {
            Some(old) => {
                quarantine::expect(self.new, stat)?;
                Ok(self.new.rename_to(old)?)
            }
            None => quarantine::unlink(self.new, stat),
        }
    }
}

/// Shows `visit` the entry if it is a regular file, or all regular files below it.
fn each_below(entry: &Located, mut visit: impl FnMut(&Stat, &Path)) {
    let Ok(stat) = Stat::located(entry) else { return };
    if stat.is_regular() {
        visit(&stat, &entry.path);
    }
    let mut directories: Vec<PathBuf> = Vec::new();
    if stat.is_directory() {
        directories.push(entry.path.clone());
    }
    let mut left = MAX_ENTRIES;
    while let Some(next) = directories.pop() {
        for found in fs::read_dir(&next).into_iter().flatten().flatten().take(left) {
            left -= 1;
            let path = found.path();
            match Stat::named(&path) {
                Ok(stat) if stat.is_directory() => directories.push(path),
                Ok(stat) if stat.is_regular() => visit(&stat, &path),
                _ => {}
            }
        }
    }
}

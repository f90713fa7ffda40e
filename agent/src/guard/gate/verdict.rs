//! What the gate answers. Each answer comes from memory and `/proc` alone, within the deadline; when time
//! runs out, what is known by then decides.

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use vitrine_policy::decision::{Answer, Decision, Mode, Verdict};
use vitrine_policy::facts::{Attempt, Destination, Facts, Program};
use vitrine_policy::record::Operation;
use vitrine_policy::{Trust, judge};

use crate::fail::{self, Failure};
use crate::guard::gate::attempt::{Who, seen, transfer, who, who_of};
use crate::guard::gate::holders::holds_labelled;
use crate::guard::gate::{leftover, marks::Marks};
use crate::identify::label::Known;
use crate::identify::pipes::Reach;
use crate::identify::process::{self, Access, Process};
use crate::identify::recent::Recent;
use crate::identify::taint::{Carried, Taints};
use crate::inspect::Arrival;
use crate::recorder::Seen;
use crate::sys::fanotify::{Event, FAN_PRE_ACCESS};
use crate::sys::stat::Stat;
use crate::workstation::{Snapshot, Workstation};

/// Name of this guard in records.
pub(super) const GUARD: &str = "gate";

/// The gate's own knowledge. One thread has it.
pub(super) struct Gate {
    pub(super) workstation: Arc<Workstation>,
    pub(super) marks: Arc<Marks>,
    pub(super) taints: Taints,
    /// Files that refused creations left behind, removed by a thread that may wait.
    leftovers: SyncSender<PathBuf>,
    recent: Arc<Recent>,
    /// The policy by which processes were looked through.
    pub(super) digest: String,
    /// Processes that nobody has looked at since, whether they hold a labelled file.
    pub(super) unseen: HashSet<i32>,
    /// Whether a labelled file could not be marked by itself: nothing may rest then.
    cannot_rest: bool,
    /// When somebody was tainted last, and when pipes are followed next.
    pub(super) tainted: Option<Instant>,
    pub(super) spread: Instant,
}

/// One event as it was judged.
pub(super) struct Judged {
    pub(super) allow: bool,
    seen: Vec<Seen>,
    /// A file that a refused creation may have left behind.
    leftover: Option<PathBuf>,
    /// What could not be found out in time.
    late: Option<Late>,
}

/// Why an answer was given without all that it should rest on.
struct Late {
    failure: Failure,
    path: PathBuf,
    what: &'static str,
}

impl Judged {
    fn allowed() -> Judged {
        Judged { allow: true, seen: Vec::new(), leftover: None, late: None }
    }
}

/// What a process, its children and the readers of its pipes hold open for writing.
enum Held {
    /// Nothing that may not receive the label, but maybe what may for a reason that was given.
    Nothing(Vec<(Facts, Decision)>),
    /// A destination below the label.
    Lower(Box<(Facts, Decision)>),
    /// It could not be looked through in time.
    Unknown,
}

impl Gate {
    /// A gate that knows of no tainted process yet.
    pub(super) fn new(workstation: Arc<Workstation>, marks: Arc<Marks>, recent: Arc<Recent>) -> Gate {
        let digest = workstation.snapshot().digest.clone();
        Gate {
            workstation,
            marks,
            taints: Taints::default(),
            leftovers: leftover::remover(),
            recent,
            digest,
            unseen: HashSet::new(),
            cannot_rest: false,
            tainted: None,
            spread: Instant::now(),
        }
    }

    /// When the answer to what is asked now has to be given.
    fn deadline(&self) -> Instant {
        Instant::now() + self.workstation.config.deadline()
    }

    /// Judges an event that a system call waits for.
    pub(super) fn judge(&mut self, event: &Event) -> Judged {
        let deadline = self.deadline();
        let snapshot = self.workstation.snapshot();
        let (Some(file), Some(path)) = (&event.file, event.path()) else { return Judged::allowed() };
        let Ok(stat) = Stat::of(file.as_fd()) else { return Judged::allowed() };
        if event.mask & FAN_PRE_ACCESS != 0 {
            // Reading and writing is asked for at destinations only, and matters only while somebody carries
            // something.
            if self.nobody_may_carry() {
                return Judged::allowed();
            }
            let access = Access::of_copy(event.tid, stat.file).unwrap_or_else(|| Access::of_use(event.tid));
            return if access.writes {
                self.write(&snapshot, event, &stat, &path, access, deadline)
            } else {
                Judged::allowed()
            };
        }
        let known = self.workstation.labels.of(&snapshot.policy, &stat, &path);
        if known.is_none() && self.nobody_may_carry() {
            return Judged::allowed();
        }
        if process::is_own(event.tid) {
            return Judged::allowed();
        }
        let access = Access::of_open(event.tid);
        let mut judged = match known {
            Some(known) if access.reads => self.read(&snapshot, event.tid, &stat, &path, &known, deadline),
            _ => Judged::allowed(),
        };
        if judged.allow && access.writes {
            let write = self.write(&snapshot, event, &stat, &path, access, deadline);
            judged.seen.extend(write.seen);
            judged.allow = write.allow;
            judged.leftover = write.leftover;
            judged.late = judged.late.or(write.late);
        }
        judged
    }

    /// The answer where the judgement itself failed: from what is known of the path alone. A vault stays shut,
    /// and nothing is written to a destination while anybody carries a label.
    pub(super) fn by_path(&self, event: &Event) -> Judged {
        let snapshot = self.workstation.snapshot();
        let path = event.path().unwrap_or_default();
        let is_vault = || snapshot.policy.collection_of(&path).is_some_and(|collection| collection.opened_by.is_some());
        let may_leave = || !self.nobody_may_carry() && snapshot.destinations.of(&path, None).is_some();
        let refuse = snapshot.policy.mode == Mode::Enforce && (is_vault() || may_leave());
        let what = "a fault of the gate: only the path was judged";
        Judged {
            allow: !refuse,
            late: Some(Late { failure: Failure::DeadlineMissed, path, what }),
            ..Judged::allowed()
        }
    }

    /// Somebody opens a labelled file so that he can read it.
    fn read(
        &mut self,
        snapshot: &Arc<Snapshot>,
        tid: i32,
        stat: &Stat,
        path: &Path,
        known: &Arc<Known>,
        deadline: Instant,
    ) -> Judged {
        let Some(who) = who(snapshot, tid) else { return Judged::allowed() };
        let mut judged = Judged::allowed();
        // A hard link of a master lies elsewhere, and is that master still.
        let registered = self.workstation.labels.registration(stat);
        let linked = || snapshot.policy.collection(&registered.as_ref()?.collection);
        let collection = snapshot.policy.collection_of(path).or_else(linked);
        if let Some(collection) = collection {
            let facts = Facts {
                program: who.program.clone(),
                attempt: Attempt::Open { collection: collection.name.clone(), label: known.label() },
            };
            let mut decision = judge(&snapshot.policy, &facts);
            if decision.verdict < Verdict::Block && collection.opened_by.is_some() && !who.process.is_untouched() {
                // Somebody else's code runs in the named program, so it is not the named program.
                let unnamed = Facts { program: Program { named: None, ..who.program.clone() }, ..facts.clone() };
                decision = judge(&snapshot.policy, &unnamed);
            }
            judged.allow = decision.answer() == Answer::Allow;
            if decision.is_notable() {
                judged.seen.push(seen(snapshot, &who, Operation::Open, facts, decision, known.clone()));
            }
            if !judged.allow {
                return judged;
            }
        }
        if who.trust == Trust::Exempt {
            return judged;
        }
        let reach = Reach::of(who.process, deadline);
        match self.holds_lower_destination(snapshot, &who, known, &reach, deadline) {
            Held::Nothing(justified) => {
                let seen = |(facts, decision)| seen(snapshot, &who, Operation::Open, facts, decision, known.clone());
                judged.seen.extend(justified.into_iter().map(seen));
            }
            Held::Lower(lower) => {
                let (facts, decision) = *lower;
                judged.allow = decision.answer() == Answer::Allow;
                judged.seen.push(seen(snapshot, &who, Operation::Open, facts, decision, known.clone()));
            }
            Held::Unknown => {
                // It is taken for a place that nobody named.
                let hidden = format!("/proc/{}/fd", who.process.id.pid).into();
                let facts = transfer(&who, known, Destination::Path { path: hidden, mount: None }, None, None);
                let decision = judge(&snapshot.policy, &facts);
                judged.allow = decision.answer() == Answer::Allow;
                let what = "what the process and the readers of its pipes hold open could not be looked through";
                judged.late = Some(Late { failure: Failure::TaintIncomplete, path: path.to_owned(), what });
                if decision.is_notable() {
                    judged.seen.push(seen(snapshot, &who, Operation::Open, facts, decision, known.clone()));
                }
            }
        }
        if judged.allow {
            self.taint(who.process, known, who.trust, reach);
        }
        judged
    }

    /// From now on every file that somebody writes may matter.
    pub(super) fn taint(&mut self, process: Process, known: &Known, trust: Trust, reach: Reach) {
        if self.taints.is_empty() && self.marks.ask_everybody().is_err() {
            fail::count(Failure::MarkFailed, 1);
        }
        if reach.has_pipes() {
            self.tainted = Some(Instant::now());
        }
        let (workstation, snapshot) = (self.workstation.clone(), self.workstation.snapshot());
        self.taints.add(process, known, trust, reach, |process| holds_labelled(&workstation, &snapshot, process));
    }

    /// Whether no process carries anything, and nothing keeps the file systems from resting.
    pub(super) fn nobody_carries(&self) -> bool {
        self.nobody_may_carry() && !self.cannot_rest
    }

    /// Whether the process, a descendant or a reader of its pipes holds a destination open for writing that
    /// may not receive `known`. What it holds on the workstation inherits the label.
    fn holds_lower_destination(
        &mut self,
        snapshot: &Snapshot,
        who: &Who,
        known: &Arc<Known>,
        reach: &Reach,
        deadline: Instant,
    ) -> Held {
        let mut others = reach.readers.clone();
        let mut parents = vec![who.process.id.pid];
        while let Some(parent) = parents.pop() {
            if Instant::now() > deadline {
                return Held::Unknown;
            }
            for child in process::children(parent) {
                if others.len() < 256 && !others.contains(&child) {
                    others.push(child);
                    parents.push(child);
                }
            }
        }
        let workstation = self.workstation.clone();
        let windows = &workstation.windows;
        let mut justified = Vec::new();
        // What is refused; what is let through for a reason is noted.
        let mut refused = |path: &Path, stat: Option<&Stat>| {
            let (destination, _) = snapshot.destinations.ceiling_of(path)?;
            let window = windows.of(&snapshot.policy, Some(who.process.uid), known, &destination);
            let facts = transfer(who, known, destination, None, window.as_deref());
            let decision = judge(&snapshot.policy, &facts);
            match decision.verdict {
                Verdict::Block => return Some((facts, decision)),
                Verdict::AllowJustified => {
                    stat.zip(window.as_ref()).into_iter().for_each(|(stat, window)| windows.let_in(stat, window));
                    justified.push((facts, decision));
                }
                Verdict::Allow | Verdict::Report => {}
            }
            None
        };
        for process in std::iter::once(who.process).chain(others.into_iter().filter_map(Process::of_thread)) {
            if Instant::now() > deadline {
                return Held::Unknown;
            }
            let reads_along = process.id == who.process.id || reach.readers.contains(&process.id.pid);
            let mut count = 0;
            for descriptor in process.descriptors() {
                count += 1;
                if Instant::now() > deadline || reach.is_partial || count >= process::MAX_DESCRIPTORS {
                    return Held::Unknown;
                }
                if !descriptor.target.is_absolute() || !descriptor.ways().writes {
                    continue;
                }
                let Some(stat) = descriptor.stat().filter(Stat::is_regular) else { continue };
                let path = descriptor.target.clone();
                if snapshot.destinations.of(&path, Some(stat.file.device)).is_some()
                    && let Some(lower) = refused(&path, Some(&stat))
                {
                    return Held::Lower(Box::new(lower));
                }
                if reads_along {
                    self.inherit(&stat, &path, &descriptor.link(), known);
                }
            }
            if let Some(lower) = process.shared_mappings().into_iter().find_map(|path| refused(&path, None)) {
                return Held::Lower(Box::new(lower));
            }
        }
        Held::Nothing(justified)
    }

    /// Somebody opens a file so that he can write it, or writes it.
    fn write(
        &mut self,
        snapshot: &Arc<Snapshot>,
        event: &Event,
        stat: &Stat,
        path: &Path,
        access: Access,
        deadline: Instant,
    ) -> Judged {
        let mut judged = Judged::allowed();
        let Some(process) = Process::of_thread(event.tid) else { return judged };
        self.look_at(process);
        let holds = |process| holds_labelled(&self.workstation, snapshot, process);
        let taint = match self.taints.of(process, deadline, holds) {
            Carried::Nothing => return judged,
            Carried::Label(taint) => taint,
            Carried::Unknown(highest) => {
                let what = "what the process carries could not be found out in time";
                judged.late = Some(Late { failure: Failure::TaintIncomplete, path: path.to_owned(), what });
                highest
            }
        };
        let Some(destination) = snapshot.destinations.of(path, Some(stat.file.device)) else {
            self.inherit(stat, path, &event.link(), &taint);
            return judged;
        };
        let who = who_of(snapshot, process);
        let least = self.workstation.history.objects_at_least(&snapshot.policy, &destination, &taint);
        let windows = &self.workstation.windows;
        let mut window = windows.of(&snapshot.policy, Some(process.uid), &taint, &destination);
        if window.is_none() && event.mask & FAN_PRE_ACCESS != 0 {
            // It was opened for a reason: what is under way when the time is over goes on.
            window = windows.through(&snapshot.policy, stat, &taint, &destination, std::iter::empty());
        }
        let facts = transfer(&who, &taint, destination, least, window.as_deref());
        let decision = judge(&snapshot.policy, &facts);
        judged.allow = decision.answer() == Answer::Allow;
        if let (Verdict::AllowJustified, Some(window)) = (decision.verdict, &window) {
            windows.let_in(stat, window);
        }
        if judged.allow {
            self.inherit(stat, path, &event.link(), &taint);
        } else if access.creates && stat.size == 0 {
            judged.leftover = Some(path.to_owned());
        }
        judged.seen.push(seen(snapshot, &who, Operation::Write, facts, decision, taint));
        judged
    }

    /// A file that a tainted process may write has its label until it is measured, beside the one that it has: what
    /// was in it before may still be, whoever opens it and however.
    fn inherit(&mut self, stat: &Stat, path: &Path, link: &Path, known: &Arc<Known>) {
        let labels = &self.workstation.labels;
        if !labels.is_master(stat) {
            let before = labels.of(&self.workstation.snapshot().policy, stat, path);
            let joined = before.map_or_else(|| known.inherited(path), |before| known.after(&before).inherited(path));
            labels.set(stat, Arc::new(joined));
            self.cannot_rest |= self.marks.pin_open(stat.file.device, link, path).is_err();
        }
    }

    /// What follows once the kernel has its answer.
    pub(super) fn after(&mut self, judged: Judged, answered: io::Result<()>) {
        if let Some(Late { failure, path, what }) = judged.late {
            self.workstation.spool.push(failure.notice(Some(path.as_os_str().as_bytes()), what));
        }
        if let Err(error) = answered {
            let what = format!("the kernel did not take an answer: {error}");
            self.workstation.spool.push(Failure::DeadlineMissed.notice(None, what));
        }
        for seen in judged.seen {
            self.workstation.recorder.record(seen);
        }
        if let Some(path) = judged.leftover {
            // Where there is no room nobody loses more than the sight of an empty file.
            let _ = self.leftovers.try_send(path);
        }
    }

    /// A file that was written has been closed.
    pub(super) fn written(&mut self, event: Event) {
        let link = event.link();
        let (Some(path), Some(file)) = (event.path(), event.file) else { return };
        let snapshot = self.workstation.snapshot();
        let Ok(stat) = Stat::of(file.as_fd()) else { return };
        if snapshot.policy.collection_of(&path).is_some() {
            self.workstation.touch(&path);
            return;
        }
        let destination = snapshot.destinations.of(&path, Some(stat.file.device));
        // It may have been opened before its writer was tainted, and closed after.
        let writer = Process::of_thread(event.tid).filter(|_| !self.nobody_may_carry());
        let is_labelled = self.workstation.labels.of(&snapshot.policy, &stat, &path).is_some();
        // A copier has closed by now what it copied; a label there is tells what that was.
        let holds = |process| !is_labelled || holds_labelled(&self.workstation, &snapshot, process);
        let deadline = self.deadline();
        match writer.map_or(Carried::Nothing, |writer| self.taints.of(writer, deadline, holds)) {
            Carried::Label(taint) | Carried::Unknown(taint) => self.inherit(&stat, &path, &link, &taint),
            Carried::Nothing if destination.is_none() && !is_labelled => return,
            Carried::Nothing => {}
        }
        if process::is_own(event.tid) {
            return;
        }
        let actor = self.recent.actor(&snapshot, event.tid);
        self.workstation.arrived(Arrival { path, file: Some(file), destination, guard: GUARD, actor });
    }

    /// The kernel's queue was full, which an unlimited queue should never be: what passed was not judged.
    pub(super) fn overflowed(&self) {
        let what = "the kernel let accesses through unjudged because its queue of events was full";
        self.workstation.spool.push(Failure::QueueOverflow.notice(None, what));
    }
}

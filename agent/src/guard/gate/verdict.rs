//! What the gate answers. Each answer comes from memory and `/proc` alone, within the deadline; when time
//! runs out, what is known by then decides.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use vitrine_policy::decision::{Answer, Decision};
use vitrine_policy::facts::{Attempt, Destination, Facts, History, Program};
use vitrine_policy::record::{self, Disposition, Operation};
use vitrine_policy::{Trust, judge};

use crate::fail::{self, Failure};
use crate::guard::gate::marks::Marks;
use crate::identify::label::Known;
use crate::identify::process::{self, Access, Process};
use crate::identify::recent::Recent;
use crate::identify::taint::{Reach, Taints};
use crate::inspect::Arrival;
use crate::recorder::{Seen, disposition};
use crate::sys::fanotify::{Event, FAN_PRE_ACCESS, Located};
use crate::sys::stat::Stat;
use crate::workstation::{Snapshot, Workstation};

/// Name of this guard in records.
pub(super) const GUARD: &str = "gate";
/// A refused creation leaves an empty file; it is removed only if it is as young as this, in nanoseconds.
const LEFTOVER: i64 = 5_000_000_000;

/// How long a pipeline may take until all of its programs run.
const STARTING: Duration = Duration::from_millis(500);
/// How often its pipes are followed meanwhile.
const OFTEN: Duration = Duration::from_millis(50);
/// How long the gate waits for events otherwise.
const IDLE: Duration = Duration::from_millis(200);

/// The gate's own knowledge. One thread has it.
pub(super) struct Gate {
    workstation: Arc<Workstation>,
    marks: Arc<Marks>,
    taints: Taints,
    /// Whether inodes are ignored now; only while nobody is tainted.
    ignoring: bool,
    /// Files that refused creations left behind, removed by a thread that may wait.
    leftovers: SyncSender<PathBuf>,
    recent: Arc<Recent>,
    /// The policy by which inodes are ignored.
    digest: String,
    /// When somebody was tainted last, and when pipes are followed next.
    tainted: Option<Instant>,
    spread: Instant,
}

/// One event as it was judged.
pub(super) struct Judged {
    pub(super) allow: bool,
    seen: Vec<Seen>,
    /// A file that a refused creation may have left behind.
    leftover: Option<PathBuf>,
    /// A file that everybody may open as he likes from now on.
    ignore: bool,
}

impl Judged {
    fn allowed() -> Judged {
        Judged { allow: true, seen: Vec::new(), leftover: None, ignore: false }
    }
}

/// Who acts, as far as the judgement needs it.
struct Who {
    process: Process,
    program: Program,
    trust: Trust,
}

impl Gate {
    /// A gate that knows of no tainted process yet.
    pub(super) fn new(workstation: Arc<Workstation>, marks: Arc<Marks>, recent: Arc<Recent>) -> Gate {
        let digest = workstation.snapshot().digest.clone();
        let (leftovers, left) = sync_channel::<PathBuf>(1024);
        std::thread::spawn(move || left.iter().for_each(|path| remove_leftover(&path)));
        Gate {
            workstation,
            marks,
            taints: Taints::default(),
            ignoring: false,
            leftovers,
            recent,
            digest,
            tainted: None,
            spread: Instant::now(),
        }
    }

    /// Judges an event that a system call waits for.
    pub(super) fn judge(&mut self, event: &Event) -> Judged {
        let snapshot = self.workstation.snapshot();
        let (Some(file), Some(path)) = (&event.file, event.path()) else { return Judged::allowed() };
        let Ok(stat) = Stat::of(file.as_fd()) else { return Judged::allowed() };
        let uses = event.mask & FAN_PRE_ACCESS != 0;
        if uses {
            // Reading and writing is asked for at destinations only, and matters only while somebody carries
            // something.
            if self.taints.is_empty() {
                return Judged::allowed();
            }
            let access = Access::of_copy(event.tid, stat.file).unwrap_or_else(|| Access::of_use(event.tid));
            return if access.writes {
                self.write(&snapshot, event.tid, &stat, &path, access)
            } else {
                Judged::allowed()
            };
        }
        let known = self.workstation.labels.of(&snapshot.policy, &stat, &path);
        if known.is_none() && self.taints.is_empty() {
            // An empty file is about to be written, which would end the ignoring at once.
            let ignore = stat.size > 0 && snapshot.destinations.of(&path, Some(stat.file.device)).is_none();
            return Judged { ignore, ..Judged::allowed() };
        }
        if process::is_own(event.tid) {
            return Judged::allowed();
        }
        let access = Access::of_open(event.tid);
        let mut judged = match known {
            Some(known) if access.reads => self.read(&snapshot, event.tid, &stat, &path, &known),
            _ => Judged::allowed(),
        };
        if judged.allow && access.writes {
            let write = self.write(&snapshot, event.tid, &stat, &path, access);
            judged.seen.extend(write.seen);
            judged.allow = write.allow;
            judged.leftover = write.leftover;
        }
        judged
    }

    /// Somebody opens a labelled file so that he can read it.
    fn read(&mut self, snapshot: &Arc<Snapshot>, tid: i32, stat: &Stat, path: &Path, known: &Arc<Known>) -> Judged {
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
            if decision.verdict < vitrine_policy::decision::Verdict::Block
                && collection.opened_by.is_some()
                && !who.process.is_untouched()
            {
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
        let deadline = Instant::now() + self.workstation.config.deadline() / 2;
        let reach = Reach::of(who.process, deadline);
        if let Some((facts, decision)) = self.holds_lower_destination(snapshot, &who, known, &reach, deadline) {
            judged.allow = decision.answer() == Answer::Allow;
            judged.seen.push(seen(snapshot, &who, Operation::Open, facts, decision, known.clone()));
            if !judged.allow {
                return judged;
            }
        }
        if self.taints.is_empty() && self.ignoring {
            // From now on every file that somebody writes may matter.
            self.ignoring = self.marks.stop_ignoring().is_err();
        }
        if reach.has_pipes() {
            self.tainted = Some(Instant::now());
        }
        self.taints.add(who.process, known, who.trust, reach);
        judged
    }

    /// Whether the process, a descendant or a reader of its pipes holds a destination open for writing that
    /// may not receive `known`. What it holds on the workstation inherits the label.
    fn holds_lower_destination(
        &self,
        snapshot: &Snapshot,
        who: &Who,
        known: &Arc<Known>,
        reach: &Reach,
        deadline: Instant,
    ) -> Option<(Facts, Decision)> {
        let mut others = reach.readers.clone();
        let mut parents = vec![who.process.id.pid];
        while let Some(parent) = parents.pop() {
            for child in process::children(parent) {
                if others.len() < 256 && !others.contains(&child) {
                    others.push(child);
                    parents.push(child);
                }
            }
        }
        let refused = |path: PathBuf| {
            let (destination, ceiling) = snapshot.destinations.ceiling_of(&path)?;
            let facts = transfer(who, known, destination);
            let decision = judge(&snapshot.policy, &facts);
            (!ceiling.admits(known.tier) && decision.is_notable()).then_some((facts, decision))
        };
        for process in std::iter::once(who.process).chain(others.into_iter().filter_map(Process::of_thread)) {
            let reads_along = process.id == who.process.id || reach.readers.contains(&process.id.pid);
            let mut count = 0;
            for descriptor in process.descriptors() {
                if Instant::now() > deadline || reach.is_partial {
                    fail::count(Failure::TaintIncomplete, 1);
                    return None;
                }
                count += 1;
                if !descriptor.target.is_absolute() || !descriptor.ways().writes {
                    continue;
                }
                let Some(stat) = descriptor.stat().filter(Stat::is_regular) else { continue };
                let path = descriptor.target.clone();
                if snapshot.destinations.of(&path, Some(stat.file.device)).is_some() {
                    if let Some(refused) = refused(path) {
                        return Some(refused);
                    }
                } else if reads_along {
                    self.inherit(&stat, &path, known);
                }
            }
            if count >= process::MAX_DESCRIPTORS {
                // Nobody needs that many; what hides behind them is taken for a place that nobody named.
                let hidden = Destination::Path { path: format!("/proc/{}/fd", process.id.pid).into(), mount: None };
                let facts = transfer(who, known, hidden);
                let decision = judge(&snapshot.policy, &facts);
                if decision.is_notable() {
                    return Some((facts, decision));
                }
            }
            if let Some(refused) = process.shared_mappings().into_iter().find_map(refused) {
                return Some(refused);
            }
        }
        None
    }

    /// Somebody opens a file so that he can write it, or writes it.
    fn write(&mut self, snapshot: &Arc<Snapshot>, tid: i32, stat: &Stat, path: &Path, access: Access) -> Judged {
        let mut judged = Judged::allowed();
        let Some(process) = Process::of_thread(tid) else { return judged };
        let labels = &self.workstation.labels;
        let holds_labelled = |process: Process| {
            let mut files = process.descriptors().filter(|descriptor| descriptor.target.is_absolute());
            files.any(|descriptor| {
                descriptor.stat().is_some_and(|stat| labels.of(&snapshot.policy, &stat, &descriptor.target).is_some())
            })
        };
        let Some(taint) = self.taints.of(process, holds_labelled) else { return judged };
        let Some(destination) = snapshot.destinations.of(path, Some(stat.file.device)) else {
            self.inherit(stat, path, &taint);
            return judged;
        };
        let who = who_of(snapshot, process);
        let facts = transfer(&who, &taint, destination);
        let decision = judge(&snapshot.policy, &facts);
        judged.allow = decision.answer() == Answer::Allow;
        if judged.allow {
            self.inherit(stat, path, &taint);
        } else if access.creates && stat.size == 0 {
            judged.leftover = Some(path.to_owned());
        }
        judged.seen.push(seen(snapshot, &who, Operation::Write, facts, decision, taint));
        judged
    }

    /// A file that a tainted process may write has its label until it is measured.
    fn inherit(&self, stat: &Stat, path: &Path, known: &Arc<Known>) {
        if !self.workstation.labels.is_master(stat) {
            self.workstation.labels.set(stat, Arc::new(known.inherited(path)));
        }
    }

    /// What follows once the kernel has its answer.
    pub(super) fn after(&mut self, judged: Judged, file: BorrowedFd<'_>) {
        if judged.ignore {
            self.ignoring |= self.marks.ignore(file).is_ok();
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
        let (Some(path), Some(file)) = (event.path(), event.file) else { return };
        let snapshot = self.workstation.snapshot();
        let Ok(stat) = Stat::of(file.as_fd()) else { return };
        if snapshot.policy.collection_of(&path).is_some() {
            self.workstation.touch(&path);
            return;
        }
        let destination = snapshot.destinations.of(&path, Some(stat.file.device));
        if destination.is_none() && self.workstation.labels.of(&snapshot.policy, &stat, &path).is_none() {
            // Opened before its writer was tainted, closed after.
            let writer = Process::of_thread(event.tid).filter(|_| !self.taints.is_empty());
            match writer.and_then(|writer| self.taints.of(writer, |_| true)) {
                Some(taint) => self.inherit(&stat, &path, &taint),
                None => return,
            }
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

    /// Follows the pipes of a pipeline that is just being started. How long nobody need look again.
    pub(super) fn keep_up(&mut self) -> Duration {
        let Some(since) = self.tainted.filter(|since| since.elapsed() < STARTING) else { return IDLE };
        let now = Instant::now();
        if now > self.spread && since.elapsed() > OFTEN {
            self.taints.spread();
            // A tenth of the time at most, on a machine with however many processes.
            self.spread = now + OFTEN.max(now.elapsed() * 10);
        }
        OFTEN
    }

    /// Takes leave of dead processes. Where another policy is in force, nothing is ignored any more, and who
    /// holds what is now labelled is tainted.
    pub(super) fn sweep(&mut self, ticks: u64) {
        let digest = self.workstation.snapshot().digest.clone();
        if digest != self.digest {
            self.digest = digest;
            self.ignoring = self.marks.stop_ignoring().is_err();
            self.taint_those_who_hold_labelled_files();
        }
        if !self.taints.is_empty() {
            self.taints.spread();
            self.taints.sweep(ticks);
        }
    }

    /// Processes that had a labelled file open before the marks were set (one only mapped is not seen).
    pub(super) fn taint_those_who_hold_labelled_files(&mut self) {
        let snapshot = self.workstation.snapshot();
        for pid in process::all() {
            let Some(process) = Process::of_thread(pid).filter(|process| !process::is_own(process.id.pid)) else {
                continue;
            };
            let held =
                process.descriptors().filter(|descriptor| descriptor.target.is_absolute()).find_map(|descriptor| {
                    let stat = descriptor.stat().filter(Stat::is_regular)?;
                    self.workstation
                        .labels
                        .of(&snapshot.policy, &stat, &descriptor.target)
                        .filter(|_| descriptor.ways().reads)
                });
            let trust = snapshot.programs.of(process).map_or(Trust::None, |(_, trust)| trust);
            if let Some(known) = held.filter(|_| trust != Trust::Exempt) {
                self.taints.add(process, &known, trust, Reach::default());
            }
        }
    }
}

fn who(snapshot: &Snapshot, tid: i32) -> Option<Who> {
    Process::of_thread(tid).map(|process| who_of(snapshot, process))
}

/// A process whose executable cannot be told is a program that nobody named.
fn who_of(snapshot: &Snapshot, process: Process) -> Who {
    let path = record::printable(process.executable().unwrap_or_default().as_os_str().as_bytes());
    let (named, trust) = match snapshot.programs.of(process) {
        Some((name, trust)) => (Some(name.to_owned()), trust),
        None => (None, Trust::None),
    };
    Who { process, program: Program { named, path }, trust }
}

fn lineage(snapshot: &Snapshot, process: Process) -> Vec<record::Process> {
    let name = |process: &Process| snapshot.programs.of(*process).map(|(name, _)| name.to_owned());
    process.lineage().iter().map(|process| process.describe(name(process).as_deref())).collect()
}

fn transfer(who: &Who, known: &Known, destination: Destination) -> Facts {
    let attempt = Attempt::Transfer { label: known.label(), destination, history: History::default() };
    Facts { program: who.program.clone(), attempt }
}

fn seen(
    snapshot: &Arc<Snapshot>,
    who: &Who,
    operation: Operation,
    facts: Facts,
    decision: Decision,
    known: Arc<Known>,
) -> Seen {
    Seen {
        operation,
        guard: GUARD,
        disposition: disposition(&decision, Disposition::Blocked),
        bytes_arrived: (decision.answer() == Answer::Deny).then_some(0),
        facts,
        decision,
        processes: lineage(snapshot, who.process),
        uid: Some(who.process.uid),
        known,
        snapshot: snapshot.clone(),
        remark: None,
    }
}

/// Removes the empty file that a refused creation leaves behind: still empty, just made, and nobody else's.
fn remove_leftover(path: &Path) {
    let now = jiff::Timestamp::now().as_nanosecond();
    let young = |stat: &Stat| stat.born.is_some_and(|born| (now - i128::from(born)).abs() < i128::from(LEFTOVER));
    let Ok(entry) = Located::of(path) else { return };
    if Stat::located(&entry).is_ok_and(|stat| stat.is_regular() && stat.size == 0 && stat.links == 1 && young(&stat)) {
        // It is gone, or somebody else's, where this fails.
        let _ = entry.unlink();
    }
}

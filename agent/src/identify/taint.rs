//! Which processes carry a label: those that open a labelled file, their children, and those that hold
//! the reading end of their pipes (with the copies that these make of themselves, but not the other
//! programs that they start). Known to one thread alone, so it needs no lock.
//!
//! User space sees a process only when it asks for something, so this is thinner than the kernel's own
//! view: sockets between processes that are not parent and child, and shared memory made before the
//! reading, are not followed (README, known limits).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vitrine_policy::Trust;

use super::FileId;
use super::label::Known;
use super::process::{self, Process, ProcessId, Ways};
use crate::fail::{self, Failure};

/// How long the taint of a process that has ended counts for its orphans and for pipes that it wrote.
const AFTER_DEATH: Duration = Duration::from_secs(60);
/// How long what was seen of the pipes of all processes is believed.
const SOON: Duration = Duration::from_millis(100);
/// How many processes are looked at when a pipe is followed.
const MAX_PROCESSES: usize = 4096;

/// The taint of one process.
struct Taint {
    known: Arc<Known>,
    uid: u32,
    session: Option<u32>,
    /// Only while it holds a labelled file open.
    copier: bool,
    /// Whether it opened a labelled file itself, and not only a pipe of somebody who did.
    opened: bool,
    /// Clock ticks since boot when it was last seen alive.
    seen: u64,
    died: Option<Instant>,
}

/// All tainted processes, and the pipes that they write.
#[derive(Default)]
pub(crate) struct Taints {
    processes: HashMap<ProcessId, Taint>,
    pipes: HashMap<FileId, (Arc<Known>, Instant)>,
    /// Processes that read pipes and were found to read nothing tainted, and when.
    clean: HashMap<ProcessId, Instant>,
}

impl Taints {
    /// Whether nobody carries anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.pipes.is_empty()
    }

    /// A process has opened `known`. Everybody who reads what it writes, over any number of pipes, carries
    /// it as well.
    pub(crate) fn add(&mut self, process: Process, known: &Known, trust: Trust, reach: Reach) {
        let joined = match self.processes.get(&process.id) {
            Some(earlier) => known.after(&earlier.known),
            None => known.clone(),
        };
        let joined = Arc::new(joined);
        let taint = Taint {
            known: joined.clone(),
            uid: process.uid,
            session: process.audit_session(),
            copier: trust == Trust::Copier,
            opened: true,
            seen: process.id.start,
            died: None,
        };
        self.processes.insert(process.id, taint);
        for reader in reach.readers {
            if let Some(reader) = Process::of_thread(reader) {
                let earlier = self.processes.get(&reader.id);
                let known = earlier.map_or_else(|| joined.clone(), |earlier| Arc::new(joined.after(&earlier.known)));
                let opened = earlier.is_some_and(|earlier| earlier.opened);
                let session = reader.audit_session();
                let seen = reader.id.start;
                let taint = Taint { known, uid: reader.uid, session, copier: false, opened, seen, died: None };
                self.processes.insert(reader.id, taint);
            }
        }
        let now = Instant::now();
        self.pipes.extend(reach.pipes.into_iter().map(|pipe| (pipe, (joined.clone(), now))));
    }

    /// What a process carries: its own, an ancestor's, that of a pipe which it reads, or that of a process
    /// of the same user and login whose orphan it is.
    pub(crate) fn of(&mut self, process: Process, holds_labelled: impl Fn(Process) -> bool) -> Option<Arc<Known>> {
        if self.is_empty() {
            return None;
        }
        let mut lineage = process.lineage();
        for (generation, ancestor) in lineage.iter().enumerate() {
            if let Some(taint) = self.processes.get(&ancestor.id) {
                // Who only holds the end of a pipe (a shell that waits for its job, a job server) hands its
                // children nothing, unless they are copies of itself and have its memory.
                if !taint.opened
                    && lineage[..generation].iter().any(|child| child.executable() != ancestor.executable())
                {
                    continue;
                }
                if taint.copier && !holds_labelled(*ancestor) {
                    self.processes.remove(&ancestor.id);
                    continue;
                }
                return Some(taint.known.clone());
            }
        }
        let read: Vec<FileId> = pipes(process, |ways| ways.reads).collect();
        if !read.is_empty() {
            let direct = |taints: &Taints| Some(read.iter().find_map(|pipe| taints.pipes.get(pipe))?.0.clone());
            let known = direct(self).or_else(|| {
                self.look_at_pipes();
                direct(self).or_else(|| self.upstream(process, &read))
            });
            if let Some(known) = known {
                // The next question finds it at once.
                let now = Instant::now();
                self.pipes.extend(read.into_iter().map(|pipe| (pipe, (known.clone(), now))));
                return Some(known);
            }
        }
        // A user's own service manager adopts the orphans of his session (systemd(1), `--user`).
        let adopter = |process: &Process| process.executable().is_some_and(|path| path.ends_with("systemd"));
        if lineage.len() > 1 && lineage.last().is_some_and(adopter) {
            lineage.pop();
        }
        let oldest = lineage.last()?;
        let session = oldest.audit_session();
        let parent = |taint: &&Taint| {
            taint.died.is_some()
                && taint.opened
                && taint.uid == oldest.uid
                && taint.session == session
                && oldest.id.start <= taint.seen
        };
        let orphan =
            self.processes.iter().filter(|(id, _)| oldest.id.start >= id.start).map(|(_, taint)| taint).find(parent);
        orphan.map(|taint| taint.known.clone())
    }

    /// What comes down to a process over several pipes: a shell starts the first program of a pipeline before
    /// the next ones, so that these may not have been there when the first one read.
    fn upstream(&mut self, process: Process, read: &[FileId]) -> Option<Arc<Known>> {
        if self.clean.get(&process.id).is_some_and(|since| since.elapsed() < SOON) {
            return None;
        }
        let deadline = Instant::now() + SOON / 2;
        let mut others: Vec<Ends> = Vec::new();
        for pid in process::all().take(MAX_PROCESSES) {
            if Instant::now() > deadline {
                fail::count(Failure::TaintIncomplete, 1);
                break;
            }
            others.extend(ends(pid));
        }
        let mut pipes: HashSet<FileId> = read.iter().copied().collect();
        loop {
            let next = others.iter().position(|other| other.writes.iter().any(|pipe| pipes.contains(pipe)));
            let Some(next) = next.map(|next| others.swap_remove(next)) else { break };
            let carried = self.processes.get(&next.id).map(|taint| taint.known.clone());
            let known = carried.or_else(|| next.reads.iter().find_map(|pipe| Some(self.pipes.get(pipe)?.0.clone())));
            if let Some(known) = known.filter(|_| next.id != process.id) {
                return Some(known);
            }
            pipes.extend(next.reads);
        }
        self.clean.retain(|_, since| since.elapsed() < SOON);
        self.clean.insert(process.id, Instant::now());
        None
    }

    /// Who reads a tainted pipe by now, and writes another, taints that one too: it may be gone when somebody
    /// asks.
    pub(crate) fn spread(&mut self) {
        if self.pipes.is_empty() {
            return;
        }
        let now = Instant::now();
        for other in process::all().take(MAX_PROCESSES).filter_map(ends) {
            let known = other.reads.iter().find_map(|pipe| Some(self.pipes.get(pipe)?.0.clone()));
            if let Some(known) = known {
                self.pipes.extend(other.writes.into_iter().map(|pipe| (pipe, (known.clone(), now))));
            }
        }
    }

    /// Remembers the pipes that tainted processes write: they may have made them after they were tainted.
    fn look_at_pipes(&mut self) {
        let now = Instant::now();
        let living = self.processes.iter().filter(|(_, taint)| taint.died.is_none());
        let known: Vec<_> = living.take(MAX_PROCESSES).map(|(id, taint)| (id.pid, taint.known.clone())).collect();
        for (pid, known) in known {
            let Some(process) = Process::of_thread(pid) else { continue };
            self.pipes.extend(pipes(process, |ways| ways.writes).map(|pipe| (pipe, (known.clone(), now))));
        }
    }

    /// Takes leave of the dead. To be called about once a second; `ticks` is the time since boot in clock
    /// ticks.
    pub(crate) fn sweep(&mut self, ticks: u64) {
        let now = Instant::now();
        for (id, taint) in &mut self.processes {
            if taint.died.is_none() {
                if process::is_alive(*id) {
                    taint.seen = ticks;
                } else {
                    taint.seen = ticks;
                    taint.died = Some(now);
                }
            }
        }
        self.processes.retain(|_, taint| taint.died.is_none_or(|died| died.elapsed() < AFTER_DEATH));
        let living = self.processes.values().any(|taint| taint.died.is_none());
        self.pipes.retain(|_, (_, since)| living || since.elapsed() < AFTER_DEATH);
    }
}

/// Who reads what a process writes, over any number of pipes.
#[derive(Default)]
pub(crate) struct Reach {
    pub(crate) readers: Vec<i32>,
    pipes: HashSet<FileId>,
    /// Whether time ran out before everybody was looked at.
    pub(crate) is_partial: bool,
}

impl Reach {
    /// Whether the process writes any pipe at all.
    pub(crate) fn has_pipes(&self) -> bool {
        !self.pipes.is_empty()
    }

    /// Looks at the pipes of all processes, until `deadline`.
    pub(crate) fn of(process: Process, deadline: Instant) -> Reach {
        let mut reach = Reach { pipes: pipes(process, |ways| ways.writes).collect(), ..Reach::default() };
        if reach.pipes.is_empty() {
            return reach;
        }
        let mut others = Vec::new();
        for pid in process::all().filter(|pid| *pid != process.id.pid).take(MAX_PROCESSES) {
            if Instant::now() > deadline {
                reach.is_partial = true;
                break;
            }
            others.extend(ends(pid));
        }
        loop {
            let is_next = |other: &&Ends| {
                !reach.readers.contains(&other.pid) && other.reads.iter().any(|pipe| reach.pipes.contains(pipe))
            };
            let Some(next) = others.iter().find(is_next) else { return reach };
            reach.readers.push(next.pid);
            reach.pipes.extend(&next.writes);
        }
    }
}

/// The pipes of a process that it holds in a certain way.
fn pipes(process: Process, held: impl Fn(Ways) -> bool) -> impl Iterator<Item = FileId> {
    let pipes = process.descriptors().filter_map(|descriptor| Some((descriptor.pipe()?, descriptor)));
    pipes.filter(move |(_, descriptor)| held(descriptor.ways())).map(|(pipe, _)| pipe)
}

/// The pipes that a process reads and writes.
struct Ends {
    pid: i32,
    id: ProcessId,
    reads: Vec<FileId>,
    writes: Vec<FileId>,
}

fn ends(pid: i32) -> Option<Ends> {
    let process = Process::of_thread(pid)?;
    let mut ends = Ends { pid, id: process.id, reads: Vec::new(), writes: Vec::new() };
    for descriptor in process.descriptors() {
        let Some(pipe) = descriptor.pipe() else { continue };
        let ways = descriptor.ways();
        if ways.reads {
            ends.reads.push(pipe);
        }
        if ways.writes {
            ends.writes.push(pipe);
        }
    }
    (!ends.reads.is_empty() || !ends.writes.is_empty()).then_some(ends)
}

/// Clock ticks since boot, as `/proc` counts them (USER_HZ, 100 a second on every Linux).
pub(crate) fn ticks() -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    Duration::from_secs_f64(seconds.max(0.0)).as_millis().div_euclid(10).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

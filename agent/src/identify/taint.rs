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
use super::pipes::{Reach, all_ends, pipes_of};
use super::process::{self, Process, ProcessId};
use crate::fail::{self, Failure};

/// How long the taint of a process that has ended counts for its orphans and for pipes that it wrote.
const AFTER_DEATH: Duration = Duration::from_secs(60);
/// A process without a parent that started at most so many clock ticks ago may still have one that is about to
/// end, and is waited for so long.
const YOUNG: u64 = 100;
const ABOUT_TO_END: Duration = Duration::from_millis(50);
/// How long everybody together may be waited for within [`SELDOM`]: whoever asks meanwhile waits as well.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long what was seen of the pipes of all processes is believed.
const SOON: Duration = Duration::from_millis(100);
/// How often all processes are looked through while somebody is tainted and nobody ends.
const SELDOM: Duration = Duration::from_secs(1);
/// How long it may take to look through them; a gate that is at work for two seconds gives up.
const LONG: Duration = Duration::from_millis(500);
/// How many tainted processes are looked at for new pipes.
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
    /// How often its orphans were looked for since it has ended.
    searched: u8,
}

/// A process that is taken for what an ended one left behind.
struct Orphan {
    taint: Taint,
    /// Until when: it may be somebody else's.
    until: Instant,
}

/// What was spent of [`PATIENCE`].
#[derive(Default)]
struct Waited {
    since: Option<Instant>,
    spent: Duration,
}

impl Waited {
    /// Whether there is anything left at `now`.
    fn may(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= SELDOM) {
            *self = Waited { since: Some(now), spent: Duration::ZERO };
        }
        self.spent < PATIENCE
    }
}

impl Taint {
    fn new(known: Arc<Known>, process: &Process, session: Option<u32>, copier: bool, opened: bool) -> Taint {
        let (uid, seen) = (process.uid, process.id.start);
        Taint { known, uid, session, copier, opened, seen, died: None, searched: 0 }
    }

    /// Whether `orphan`, which has no living parent of its own, may be a child that the process `id` leaves
    /// behind when it ends: of the same user and login, and started during its life.
    fn may_have_left(&self, id: ProcessId, orphan: &Process, session: Option<u32>) -> bool {
        self.opened
            && self.uid == orphan.uid
            && self.session == session
            && (id.start..=self.seen).contains(&orphan.id.start)
    }
}

/// What a process carries.
pub(crate) enum Carried {
    Nothing,
    Label(Arc<Known>),
    /// It could not be found out in time; the highest label that anybody carries.
    Unknown(Arc<Known>),
}

/// All tainted processes, and the pipes that they write.
#[derive(Default)]
pub(crate) struct Taints {
    processes: HashMap<ProcessId, Taint>,
    orphans: HashMap<ProcessId, Orphan>,
    pipes: HashMap<FileId, (Arc<Known>, Instant)>,
    /// Processes that read pipes and were found to read nothing tainted, and when.
    clean: HashMap<ProcessId, Instant>,
    /// Processes that were found to come from nobody who is tainted, while so many labels had been given. Who
    /// their ancestors are does not change, nor what these read before.
    innocent: HashMap<ProcessId, u64>,
    given: u64,
    /// When all processes were looked through last.
    looked: Option<Instant>,
    waited: Waited,
}

impl Taints {
    /// Whether nobody carries anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.orphans.is_empty() && self.pipes.is_empty()
    }

    /// A process has opened `known`, and carries that beside what it comes from, for as long as it lives. Everybody who
    /// reads what it writes, over any number of pipes, carries it as well.
    pub(crate) fn add(
        &mut self,
        process: Process,
        known: &Known,
        trust: Trust,
        reach: Reach,
        holds_labelled: impl Fn(Process) -> bool,
    ) {
        let (_, earlier) = self.lineage(process, holds_labelled);
        let joined = Arc::new(earlier.map_or_else(|| known.clone(), |earlier| known.after(&earlier)));
        self.given += 1;
        let copier = trust == Trust::Copier;
        self.processes.insert(process.id, Taint::new(joined.clone(), &process, process.audit_session(), copier, true));
        for reader in reach.readers {
            if let Some(reader) = Process::of_thread(reader) {
                let earlier = self.processes.get(&reader.id);
                let known = earlier.map_or_else(|| joined.clone(), |earlier| Arc::new(joined.after(&earlier.known)));
                let opened = earlier.is_some_and(|earlier| earlier.opened);
                let taint = Taint::new(known, &reader, reader.audit_session(), false, opened);
                self.processes.insert(reader.id, taint);
            }
        }
        reach.pipes.into_iter().for_each(|pipe| self.stain(pipe, &joined));
    }

    /// A pipe carries `known`, beside what it carries already.
    fn stain(&mut self, pipe: FileId, known: &Arc<Known>) {
        let earlier = self.pipes.remove(&pipe).map(|(earlier, _)| earlier);
        if let Some(known) = joined(earlier, Some(known.clone())) {
            self.pipes.insert(pipe, (known, Instant::now()));
        }
    }

    /// What the pipes among these carry that are known to carry anything.
    fn in_pipes(&self, pipes: &[FileId]) -> Option<Arc<Known>> {
        pipes
            .iter()
            .filter_map(|pipe| Some(self.pipes.get(pipe)?.0.clone()))
            .fold(None, |all, one| joined(all, Some(one)))
    }

    /// What a process carries, all of it together: its own, its ancestors', that of pipes which it reads, or that of a
    /// process of the same user and login whose orphan it is.
    /// What `deadline` leaves no time for is [`Carried::Unknown`].
    pub(crate) fn of(
        &mut self,
        process: Process,
        deadline: Instant,
        holds_labelled: impl Fn(Process) -> bool,
    ) -> Carried {
        if self.is_empty() {
            return Carried::Nothing;
        }
        if self.innocent.get(&process.id) != Some(&self.given) {
            match self.inherited_by(process, holds_labelled) {
                Carried::Label(known) => {
                    let read: Vec<FileId> = pipes_of(process, |ways| ways.reads).collect();
                    return joined(Some(known), self.in_pipes(&read)).map_or(Carried::Nothing, Carried::Label);
                }
                Carried::Unknown(known) => return Carried::Unknown(known),
                Carried::Nothing => {}
            }
            if self.innocent.len() >= MAX_PROCESSES {
                self.innocent.clear();
            }
            self.innocent.insert(process.id, self.given);
        }
        let read: Vec<FileId> = pipes_of(process, |ways| ways.reads).collect();
        if !read.is_empty() {
            let mut carried = self.in_pipes(&read).map_or(Carried::Nothing, Carried::Label);
            if matches!(carried, Carried::Nothing) {
                self.look_at_pipes();
                carried = match self.in_pipes(&read) {
                    Some(known) => Carried::Label(known),
                    None => self.upstream(process, &read, deadline),
                };
            }
            match carried {
                Carried::Label(known) => {
                    // The next question finds it at once.
                    read.into_iter().for_each(|pipe| self.stain(pipe, &known));
                    return Carried::Label(known);
                }
                Carried::Unknown(highest) => return Carried::Unknown(highest),
                Carried::Nothing => {}
            }
        }
        Carried::Nothing
    }

    /// A process and its ancestors, and what all of them carry together.
    fn lineage(
        &mut self,
        process: Process,
        holds_labelled: impl Fn(Process) -> bool,
    ) -> (Vec<Process>, Option<Arc<Known>>) {
        let lineage = process.lineage();
        let mut carried = None;
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
                carried = joined(carried, Some(taint.known.clone()));
            }
        }
        (lineage, carried)
    }

    /// What a process has from those that it comes from: its ancestors, or else those that have ended and whose orphan
    /// it may be.
    fn inherited_by(&mut self, process: Process, holds_labelled: impl Fn(Process) -> bool) -> Carried {
        let (mut lineage, mut carried) = self.lineage(process, &holds_labelled);
        for orphan in lineage.iter().filter_map(|process| self.orphans.get(&process.id)) {
            carried = joined(carried, Some(orphan.taint.known.clone()));
        }
        if let Some(known) = carried {
            return Carried::Label(known);
        }
        if lineage.len() > 1 && lineage.last().is_some_and(|process| adopts(process.id.pid)) {
            lineage.pop();
        }
        let Some(oldest) = lineage.last() else { return Carried::Nothing };
        let (session, since) = (oldest.audit_session(), Instant::now());
        loop {
            let round = Instant::now();
            // It may have ended a moment ago, and nobody has looked since.
            self.find_the_dead();
            let left = |(id, dead): &(ProcessId, &Taint)| dead.may_have_left(*id, oldest, session);
            if let Some(known) = together(self.ended().map(|(id, dead, _)| (id, dead)).filter(left)) {
                return Carried::Label(known);
            }
            let may_wait = self.waited.may(round);
            let holds = |id: ProcessId| Process::of_thread(id.pid).is_some_and(&holds_labelled);
            let readers = self.all().filter(|(id, taint)| *id != oldest.id && (!taint.copier || holds(*id)));
            let readers: Vec<_> = readers.filter(left).collect();
            // Or it is about to end, as one does that forks twice only to get rid of its child.
            let is_young = ticks().saturating_sub(oldest.id.start) <= YOUNG;
            if !is_young || readers.is_empty() || since.elapsed() >= ABOUT_TO_END {
                // Who goes on may have left one by another that has ended, which is a copy of it, then.
                let Some(program) = oldest.executable_stat().map(|stat| stat.file) else { return Carried::Nothing };
                let is_copied = |(id, _): &(ProcessId, &Taint)| {
                    let reader = Process::of_thread(id.pid).filter(|reader| reader.id == *id);
                    reader.and_then(Process::executable_stat).is_some_and(|stat| stat.file == program)
                };
                return together(readers.into_iter().filter(is_copied)).map_or(Carried::Nothing, Carried::Label);
            }
            if !may_wait {
                // Somebody starts more of them than can be waited for.
                return together(readers.into_iter()).map_or(Carried::Nothing, Carried::Unknown);
            }
            std::thread::sleep(Duration::from_millis(2));
            self.waited.spent += round.elapsed();
        }
    }

    /// What anybody carries, all of it together.
    fn highest(&self) -> Option<Arc<Known>> {
        let orphans = self.orphans.values().map(|orphan| &orphan.taint);
        let carried = self.processes.values().chain(orphans).map(|taint| &taint.known);
        let all = carried.chain(self.pipes.values().map(|(known, _)| known));
        all.fold(None, |all, one| joined(all, Some(one.clone())))
    }

    /// What comes down to a process over several pipes: a shell starts the first program of a pipeline before
    /// the next ones, so that these may not have been there when the first one read.
    fn upstream(&mut self, process: Process, read: &[FileId], deadline: Instant) -> Carried {
        if self.clean.get(&process.id).is_some_and(|since| since.elapsed() < SOON) {
            return Carried::Nothing;
        }
        let Some(mut others) = all_ends(deadline) else {
            return self.highest().map_or(Carried::Nothing, Carried::Unknown);
        };
        let mut pipes: HashSet<FileId> = read.iter().copied().collect();
        let mut carried = None;
        loop {
            let next = others.iter().position(|other| other.writes.iter().any(|pipe| pipes.contains(pipe)));
            let Some(next) = next.map(|next| others.swap_remove(next)) else { break };
            if next.id != process.id {
                carried = joined(carried, self.processes.get(&next.id).map(|taint| taint.known.clone()));
                carried = joined(carried, self.in_pipes(&next.reads));
            }
            pipes.extend(next.reads);
        }
        if let Some(known) = carried {
            return Carried::Label(known);
        }
        self.clean.retain(|_, since| since.elapsed() < SOON);
        self.clean.insert(process.id, Instant::now());
        Carried::Nothing
    }

    /// Remembers the pipes that tainted processes write: they may have made them after they were tainted.
    fn look_at_pipes(&mut self) {
        let living = self.processes.iter().filter(|(_, taint)| taint.died.is_none());
        let known: Vec<_> = living.take(MAX_PROCESSES).map(|(id, taint)| (id.pid, taint.known.clone())).collect();
        for (pid, known) in known {
            let Some(process) = Process::of_thread(pid) else { continue };
            pipes_of(process, |ways| ways.writes).for_each(|pipe| self.stain(pipe, &known));
        }
    }

    /// Takes leave of processes that have ended and whose orphans were looked for, and of pipes that nobody holds any more. Who
    /// reads a tainted pipe by now, and writes another, taints that one too: it may be gone when somebody asks.
    /// Looks through all processes with `thoroughly`, after an end, and once a second.
    pub(crate) fn sweep(&mut self, thoroughly: bool) {
        let now = Instant::now();
        let has_dead = self.find_the_dead();
        self.processes.retain(|_, taint| taint.died.is_none_or(|died| died.elapsed() < AFTER_DEATH));
        self.orphans.retain(|_, orphan| now < orphan.until);
        let living = self.processes.values().any(|taint| taint.died.is_none());
        self.pipes.retain(|_, (_, since)| living || since.elapsed() < AFTER_DEATH);
        let is_due = self.looked.is_none_or(|looked| looked.elapsed() > SELDOM);
        if self.is_empty() || !(thoroughly || has_dead || is_due) {
            return;
        }
        self.looked = Some(now);
        // Half of what is held would end labels that still matter.
        let deadline = now + LONG;
        let Some(others) = all_ends(deadline) else { return fail::count(Failure::TaintIncomplete, 1) };
        let mut held = HashSet::new();
        for other in others {
            if let Some(known) = self.in_pipes(&other.reads) {
                other.writes.iter().for_each(|pipe| self.stain(*pipe, &known));
            }
            held.extend(other.reads.into_iter().chain(other.writes));
        }
        self.pipes.retain(|pipe, _| held.contains(pipe));
        if has_dead {
            self.find_orphans(deadline);
        }
    }

    /// Whether any tainted process has ended by now.
    fn find_the_dead(&mut self) -> bool {
        let now = Instant::now();
        for (id, taint) in self.all_mut() {
            if taint.died.is_none() && !process::is_alive(*id) {
                taint.died = Some(now);
            }
        }
        self.may_have_left_until_now();
        self.ended().next().is_some()
    }

    /// It may have made children until just now, and one of these others, before it ended.
    fn may_have_left_until_now(&mut self) {
        let now = ticks();
        self.all_mut().for_each(|(_, taint)| taint.seen = now);
    }

    fn all(&self) -> impl Iterator<Item = (ProcessId, &Taint)> {
        let orphans = self.orphans.iter().map(|(id, orphan)| (*id, &orphan.taint));
        self.processes.iter().map(|(id, taint)| (*id, taint)).chain(orphans)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = (&ProcessId, &mut Taint)> {
        let orphans = self.orphans.iter_mut().map(|(id, orphan)| (id, &mut orphan.taint));
        self.processes.iter_mut().chain(orphans)
    }

    /// Those that have ended, and until when who is taken for their orphan counts.
    fn ended(&self) -> impl Iterator<Item = (ProcessId, &Taint, Instant)> {
        let processes = self.processes.iter().map(|(id, taint)| (id, taint, None));
        let orphans = self.orphans.iter().map(|(id, orphan)| (id, &orphan.taint, Some(orphan.until)));
        processes.chain(orphans).filter_map(|(id, taint, until)| {
            let died = taint.died?;
            Some((*id, taint, until.unwrap_or(died + AFTER_DEATH)))
        })
    }

    /// Whoever may have been left behind by one that has ended carries what that carried, for a while, and who has ended is
    /// forgotten. Orphans are looked for twice, because one look may miss a process that starts another and ends meanwhile.
    fn find_orphans(&mut self, deadline: Instant) {
        let top = |process: &Process| process.parent <= 1 || adopts(process.parent);
        let living = |process: &Process| process::is_alive(process.id);
        let mut is_late = false;
        let all = process::all().take_while(|_| {
            is_late = Instant::now() > deadline;
            !is_late
        });
        let orphans: Vec<_> = all.filter_map(Process::of_thread).filter(top).filter(living).collect();
        // What was made while they were looked through was made by then.
        self.may_have_left_until_now();
        let given = self.given;
        for orphan in orphans.iter().filter(|orphan| self.innocent.get(&orphan.id) != Some(&given)).collect::<Vec<_>>()
        {
            is_late |= Instant::now() > deadline;
            if is_late {
                break;
            }
            let session = orphan.audit_session();
            let (mut left, mut latest) = (None, None);
            for (id, dead, until) in self.ended() {
                if id != orphan.id && dead.may_have_left(id, orphan, session) {
                    left = joined(left, Some(dead.known.clone()));
                    latest = latest.max(Some(until));
                }
            }
            let (Some(known), Some(until)) = (left, latest) else { continue };
            if let Some(before) = self.orphans.get_mut(&orphan.id) {
                before.taint.known = known.after(&before.taint.known).into();
                before.until = before.until.max(until);
                continue;
            }
            self.given += 1;
            self.orphans.insert(orphan.id, Orphan { taint: Taint::new(known, orphan, session, false, true), until });
        }
        if is_late {
            // Not all were looked at: that is no look.
            return fail::count(Failure::TaintIncomplete, 1);
        }
        self.all_mut().for_each(|(_, taint)| taint.searched += u8::from(taint.died.is_some()));
        self.processes.retain(|_, taint| taint.searched < 2);
        self.orphans.retain(|_, orphan| orphan.taint.searched < 2);
    }
}

/// What all of these carry together.
fn together<'a>(taints: impl Iterator<Item = (ProcessId, &'a Taint)>) -> Option<Arc<Known>> {
    taints.fold(None, |all, (_, taint)| joined(all, Some(taint.known.clone())))
}

/// Both labels together; the second one is the later one.
fn joined(earlier: Option<Arc<Known>>, later: Option<Arc<Known>>) -> Option<Arc<Known>> {
    match (earlier, later) {
        (Some(earlier), Some(later)) if !Arc::ptr_eq(&earlier, &later) => Some(Arc::new(later.after(&earlier))),
        (earlier, later) => later.or(earlier),
    }
}

/// A user's own service manager adopts the orphans of his session (systemd(1), `--user`).
fn adopts(pid: i32) -> bool {
    Process::of_thread(pid).and_then(Process::executable).is_some_and(|path| path.ends_with("systemd"))
}

/// Clock ticks since boot, as `/proc` counts them (USER_HZ, 100 a second on every Linux).
fn ticks() -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    Duration::from_secs_f64(seconds.max(0.0)).as_millis().div_euclid(10).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

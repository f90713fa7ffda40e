//! Who holds a labelled file though nobody saw him open it, and keeping up with pipes and with the dead.

use std::time::{Duration, Instant};

use vitrine_policy::Trust;

use super::verdict::Gate;
use crate::fail::{self, Failure};
use crate::identify::pipes::Reach;
use crate::identify::process::{self, Process};
use crate::sys::stat::Stat;
use crate::workstation::{Snapshot, Workstation};

/// How long a pipeline may take until all of its programs run.
const STARTING: Duration = Duration::from_millis(500);
/// How often its pipes are followed meanwhile.
const OFTEN: Duration = Duration::from_millis(50);
/// How long processes are looked at before somebody who waits for an answer has his turn.
const A_TURN: Duration = Duration::from_millis(20);
/// And how long they are left alone then, so that the other threads have the gate for what they need of it.
const BETWEEN: Duration = Duration::from_millis(1);

impl Gate {
    /// Takes leave of the dead, follows the pipes of a pipeline that is just being started, and looks at some of those
    /// whom nobody has looked at. How long nobody need look again.
    pub(super) fn keep_up(&mut self) -> Duration {
        if self.nobody_may_carry() {
            return super::IDLE;
        }
        if self.marks.rests() && self.marks.ask_everybody().is_err() {
            fail::count(Failure::MarkFailed, 1);
        }
        let now = Instant::now();
        while let Some(&pid) = self.unseen.iter().next().filter(|_| now.elapsed() < A_TURN) {
            match Process::of_thread(pid) {
                Some(process) if process.id.pid == pid => self.look_at(process),
                _ => drop(self.unseen.remove(&pid)),
            }
        }
        if !self.unseen.is_empty() {
            return BETWEEN;
        }
        if self.taints.is_empty() {
            return super::IDLE;
        }
        if now > self.spread {
            let starting = self.tainted.is_some_and(|since| since.elapsed() < STARTING);
            self.taints.sweep(starting);
            // A tenth of the time at most, on a machine with however many processes.
            self.spread = now + OFTEN.max(now.elapsed() * 10);
        }
        OFTEN
    }

    /// Whether no process carries anything, and everybody was looked at.
    pub(super) fn nobody_may_carry(&self) -> bool {
        self.taints.is_empty() && self.unseen.is_empty()
    }

    /// Where another policy is in force, who holds what is now labelled is tainted.
    pub(super) fn follow_policy(&mut self) {
        let digest = self.workstation.snapshot().digest.clone();
        if digest != self.digest {
            self.digest = digest;
            self.look_at_everybody();
        }
    }

    /// Has everybody looked at, one by one in the time between answers: processes may have had a labelled file open
    /// before the marks were set (one only mapped is not seen). However many there are and whatever they hold, nobody
    /// waits for it; who writes to a destination before his turn is looked at then.
    pub(super) fn look_at_everybody(&mut self) {
        self.unseen = process::all().filter(|pid| !process::is_own(*pid)).collect();
    }

    /// Taints a process that nobody has looked at if it holds a labelled file.
    pub(super) fn look_at(&mut self, process: Process) {
        if !self.unseen.remove(&process.id.pid) {
            return;
        }
        let snapshot = self.workstation.snapshot();
        let mut files = process.descriptors().filter(|descriptor| descriptor.target.is_absolute());
        let held = files.find_map(|descriptor| {
            let stat = descriptor.stat().filter(Stat::is_regular)?;
            let known = self.workstation.labels.of(&snapshot.policy, &stat, &descriptor.target);
            known.filter(|_| descriptor.ways().reads)
        });
        let trust = snapshot.programs.of(process).map_or(Trust::None, |(_, trust)| trust);
        if let Some(known) = held.filter(|_| trust != Trust::Exempt) {
            self.taint(process, &known, trust, Reach::default());
        }
    }
}

/// Whether a process holds any labelled file open.
pub(super) fn holds_labelled(workstation: &Workstation, snapshot: &Snapshot, process: Process) -> bool {
    let mut files = process.descriptors().filter(|descriptor| descriptor.target.is_absolute());
    files.any(|descriptor| {
        let stat = descriptor.stat();
        stat.is_some_and(|stat| workstation.labels.of(&snapshot.policy, &stat, &descriptor.target).is_some())
    })
}

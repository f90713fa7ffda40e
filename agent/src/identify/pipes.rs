//! Pipes between processes: who holds which end, and who reads what another one writes.

use std::collections::HashSet;
use std::time::Instant;

use super::FileId;
use super::process::{self, Process, ProcessId, Ways};

/// Who reads what a process writes, over any number of pipes.
#[derive(Default)]
pub(crate) struct Reach {
    pub(crate) readers: Vec<i32>,
    pub(super) pipes: HashSet<FileId>,
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
        let mut reach = Reach { pipes: pipes_of(process, |ways| ways.writes).collect(), ..Reach::default() };
        if reach.pipes.is_empty() {
            return reach;
        }
        let Some(others) = all_ends(deadline) else {
            reach.is_partial = true;
            return reach;
        };
        loop {
            let is_next = |other: &&Ends| {
                other.id != process.id
                    && !reach.readers.contains(&other.id.pid)
                    && other.reads.iter().any(|pipe| reach.pipes.contains(pipe))
            };
            let Some(next) = others.iter().find(is_next) else { return reach };
            reach.readers.push(next.id.pid);
            reach.pipes.extend(&next.writes);
        }
    }
}

/// The pipes of a process that it holds in a certain way.
pub(super) fn pipes_of(process: Process, held: impl Fn(Ways) -> bool) -> impl Iterator<Item = FileId> {
    process::pipes(process.tid()).filter(move |(_, ways)| held(*ways)).map(|(pipe, _)| pipe)
}

/// The pipes that a process reads and writes.
pub(super) struct Ends {
    pub(super) id: ProcessId,
    pub(super) reads: Vec<FileId>,
    pub(super) writes: Vec<FileId>,
}

/// The pipes of all processes; none where there are more than can be looked through until `deadline`.
pub(super) fn all_ends(deadline: Instant) -> Option<Vec<Ends>> {
    let mut is_late = false;
    let found = ends_of(process::all().take_while(|_| {
        is_late = Instant::now() > deadline;
        !is_late
    }));
    (!is_late).then_some(found)
}

fn ends_of(processes: impl Iterator<Item = i32>) -> Vec<Ends> {
    let ends = |pid: i32| {
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for (pipe, ways) in process::pipes(pid) {
            if ways.reads {
                reads.push(pipe);
            }
            if ways.writes {
                writes.push(pipe);
            }
        }
        // Most processes hold none.
        let some = !reads.is_empty() || !writes.is_empty();
        let start = some.then(|| process::start_of(pid)).flatten()?;
        Some(Ends { id: ProcessId { pid, start }, reads, writes })
    };
    processes.filter_map(ends).collect()
}

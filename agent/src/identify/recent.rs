//! Who acted, also when it has ended already: `mv` lives for a millisecond, and its rename is told of
//! afterwards.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use vitrine_policy::facts::Program;
use vitrine_policy::record;

use super::process::{Login, Process};
use crate::inspect::Actor;
use crate::sys::connector::Connector;
use crate::sys::stat::Stat;
use crate::workstation::Snapshot;

/// How many processes are remembered.
const MAX_REMEMBERED: usize = 4096;
/// How many ancestors are told.
const MAX_ANCESTORS: usize = 32;

/// The programs that were started last.
#[derive(Default)]
pub(crate) struct Recent {
    started: Mutex<Started>,
}

#[derive(Default)]
struct Started {
    by_pid: HashMap<i32, Arc<Short>>,
    order: VecDeque<i32>,
}

/// What is remembered of a process.
struct Short {
    parent: i32,
    login: Login,
    executable: Option<Stat>,
    description: record::Process,
}

impl Short {
    /// As it is now; none where it has ended and shows no executable any more.
    fn of(pid: i32) -> Option<Short> {
        let process = Process::of_thread(pid)?;
        process.executable()?;
        Some(Short::from(process))
    }

    /// What is left of one that has ended and that its parent has not yet taken leave of: its short name.
    fn of_dead(pid: i32) -> Option<Short> {
        let mut short = Short::from(Process::of_thread(pid)?);
        let name = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
        short.description.name = record::printable(name.trim_ascii_end());
        Some(short)
    }

    fn from(process: Process) -> Short {
        Short {
            parent: process.parent,
            login: Login::new(process.uid, process.audit_session()),
            executable: process.executable_stat(),
            description: process.describe(None),
        }
    }
}

impl Recent {
    /// Remembers, in a thread of its own, every program that is started from now on. Where the kernel does
    /// not tell (no `CAP_NET_ADMIN`, no `CONFIG_PROC_EVENTS`), only living processes are known.
    pub(crate) fn follow() -> (Arc<Recent>, io::Result<()>) {
        let recent = Arc::new(Recent::default());
        let followed = Connector::subscribe().and_then(|connector| {
            let recent = Arc::downgrade(&recent);
            let run = move || {
                crate::sys::hurry();
                while let Some(recent) = recent.upgrade() {
                    match connector.next_program() {
                        Ok(Some(pid)) => recent.remember(pid),
                        Ok(None) => {}
                        Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                        Err(_) => return,
                    }
                }
            };
            std::thread::Builder::new().name("recent".into()).spawn(run).map(drop)
        });
        (recent, followed)
    }

    fn remember(&self, pid: i32) {
        let Some(short) = Short::of(pid).or_else(|| Short::of_dead(pid)) else { return };
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if started.by_pid.insert(pid, Arc::new(short)).is_none() {
            started.order.push_back(pid);
        }
        if started.order.len() > MAX_REMEMBERED
            && let Some(oldest) = started.order.pop_front()
        {
            started.by_pid.remove(&oldest);
        }
    }

    fn look(&self, pid: i32) -> Option<Arc<Short>> {
        if let Some(living) = Short::of(pid) {
            return Some(Arc::new(living));
        }
        let remembered = self.started.lock().unwrap_or_else(PoisonError::into_inner).by_pid.get(&pid).cloned();
        remembered.or_else(|| Short::of_dead(pid).map(Arc::new))
    }

    /// Who a process is, or was, with its ancestors.
    pub(crate) fn actor(&self, snapshot: &Snapshot, pid: i32) -> Option<Actor> {
        let first = self.look(pid)?;
        let named = |short: &Short| {
            let program = snapshot.programs.of_executable(&short.executable?);
            program.map(|(name, _)| name.to_owned())
        };
        let program = Program { named: named(&first), path: first.description.path.clone() };
        let login = first.login;
        let mut processes = Vec::new();
        let mut next = Some(first);
        while let Some(short) = next.take().filter(|_| processes.len() < MAX_ANCESTORS) {
            let name = named(&short).unwrap_or_else(|| short.description.name.clone());
            processes.push(record::Process { name, ..short.description.clone() });
            next = if short.parent > 1 { self.look(short.parent) } else { None };
        }
        Some(Actor { program, processes, login })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_has_ended_is_remembered() {
        let recent = Recent::default();
        let mut child = std::process::Command::new("sleep").arg("30").spawn().expect("a process");
        let pid = i32::try_from(child.id()).expect("a pid");
        // It may not have its command line yet; the kernel tells of a program when it has.
        while Short::of(pid).expect("the process").description.command_line.is_empty() {
            std::thread::yield_now();
        }
        recent.remember(pid);
        let _ = child.kill();
        let _ = child.wait();
        assert!(Short::of(pid).is_none());
        assert_eq!(recent.look(pid).expect("remembered").description.command_line, "sleep 30");
    }
}

//! The `gate` guard: fanotify permission events on the file systems of collections and destinations.
//!
//! One thread reads the events in the order in which the kernel made them and answers each from what is in
//! memory and in `/proc`; it opens no file of a guarded file system, writes no log and waits for no other
//! thread. A second thread ends the process if the first one hangs: the kernel then frees every waiting
//! system call at once, and the service manager starts the agent again.

mod marks;
mod names;
mod verdict;

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::fail::{self, Failure};
use crate::identify::process::is_own;
use crate::identify::taint;
use crate::sys::fanotify::{Buffer, Event, Group};
use crate::workstation::Workstation;
use marks::Marks;
use verdict::Gate;

/// After this long on one event the process gives up. Far above the deadline, within which a healthy
/// thread answers whatever it has to read.
const HUNG: Duration = Duration::from_secs(2);
/// How often the dead are swept, and the marks looked after.
const TICK: Duration = Duration::from_secs(1);
/// The exit status of a guard that gave up (EX_SOFTWARE of sysexits.h).
const GAVE_UP: i32 = 70;

/// A running gate. Dropping it frees all waiting system calls.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
    /// What it guards, and what it cannot.
    pub(crate) marks: Arc<Marks>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Marks the file systems, taints the processes that hold labelled files already, and starts to answer.
/// It enforces when this returns.
///
/// # Errors
/// The kernel gives no group, or cannot mark any of the file systems.
pub(crate) fn start(workstation: &Arc<Workstation>) -> io::Result<Running> {
    let (group, pre_access) = Group::permission()?;
    let names = Group::names()?;
    let marks = Arc::new(Marks::new(group, names, pre_access));
    marks.update(workstation);
    let stop = Arc::new(AtomicBool::new(false));
    let busy = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();

    let mut gate = Gate::new(workstation.clone(), marks.clone());
    let answering = {
        let (marks, stop, busy) = (marks.clone(), stop.clone(), busy.clone());
        move || answer(&mut gate, &marks, &stop, &busy, begun)
    };
    let watching = {
        let stop = stop.clone();
        move || give_up_if_hung(&stop, &busy, begun)
    };
    let following = {
        let (workstation, marks, stop) = (workstation.clone(), marks.clone(), stop.clone());
        move || names::follow(&workstation, &marks, &stop)
    };
    let thread = |name: &str, run: Box<dyn FnOnce() + Send>| std::thread::Builder::new().name(name.into()).spawn(run);
    let threads = vec![
        thread("gate", Box::new(answering))?,
        thread("gate-watchdog", Box::new(watching))?,
        thread("gate-names", Box::new(following))?,
    ];
    Ok(Running { stop, threads, marks })
}

fn answer(gate: &mut Gate, marks: &Marks, stop: &AtomicBool, busy: &AtomicU64, begun: Instant) {
    gate.taint_those_who_hold_labelled_files();
    let mut buffer = Buffer::new();
    let mut ticked = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if ticked.elapsed() > TICK {
            gate.sweep(taint::ticks());
            ticked = Instant::now();
        }
        let length = match marks.group().read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait(marks.group(), Duration::from_millis(200));
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The kernel could not open one file for us (ENXIO, ETXTBSY ...): it denied that access itself.
            Err(_) => {
                fail::count(Failure::MarkFailed, 1);
                std::thread::yield_now();
                continue;
            }
        };
        for event in buffer.events(length) {
            let since = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
            busy.store(since, Ordering::Relaxed);
            handle(gate, marks, event);
            busy.store(0, Ordering::Relaxed);
        }
    }
}

/// Judges one event and answers it; what has to be read or written for the record comes after the answer.
fn handle(gate: &mut Gate, marks: &Marks, event: Event) {
    let Some(file) = &event.file else {
        gate.overflowed();
        return;
    };
    if !event.waits() {
        gate.written(event);
        return;
    }
    if is_own(event.tid) {
        let _ = marks.group().answer(file.as_fd(), true);
        return;
    }
    // A panic is a mistake of ours, and nobody may wait for it.
    let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| gate.judge(&event)));
    let allow = judged.as_ref().map_or(true, |judged| judged.allow);
    if marks.group().answer(file.as_fd(), allow).is_err() {
        fail::count(Failure::DeadlineMissed, 1);
    }
    match judged {
        Ok(judged) => gate.after(judged),
        Err(_) => fail::count(Failure::DeadlineMissed, 1),
    }
}

fn wait(group: &Group, longest: Duration) {
    let mut ready = [PollFd::new(group.as_fd(), PollFlags::POLLIN)];
    let _ = poll(&mut ready, PollTimeout::try_from(longest).unwrap_or(PollTimeout::ZERO));
}

fn give_up_if_hung(stop: &AtomicBool, busy: &AtomicU64, begun: Instant) {
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(250));
        let since = busy.load(Ordering::Relaxed);
        if since > 0 && begun.elapsed().saturating_sub(Duration::from_millis(since)) > HUNG {
            // Nothing that could wait for a guarded file may run here any more: no log, no destructor. The
            // exit status tells the service manager.
            crate::sys::exit_now(GAVE_UP);
        }
    }
}

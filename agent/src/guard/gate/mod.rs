//! The `gate` guard: fanotify permission events on the file systems of collections and destinations.
//!
//! One thread reads the events in the order in which the kernel made them and answers each from what is in
//! memory and in `/proc`; it opens no file of a guarded file system, writes no log and waits for nobody. A
//! second one does the same for network and FUSE file systems, because taking an event of theirs may wait
//! for a server; so may following what gets another name there, and marking them, which others do. One more
//! ends the process if the first one hangs: the kernel then frees every waiting system call at once, and the
//! service manager starts the agent again.

mod attempt;
mod holders;
mod leftover;
mod marks;
mod names;
mod pins;
mod verdict;

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::collection::Progress;
use crate::fail::{self, Failure};
use crate::identify::recent::Recent;
use crate::sys::fanotify::{Buffer, Event, Group};
use crate::workstation::Workstation;
use marks::Marks;
use pins::Pins;
use verdict::Gate;

/// After this long on one event the process gives up. Far above the deadline, within which a healthy
/// thread answers whatever it has to read.
const HUNG: Duration = Duration::from_secs(2);
/// How often is looked whether another policy is in force.
const TICK: Duration = Duration::from_secs(1);
/// How long each thread waits for whatever it waits for, before it looks whether it shall end.
const IDLE: Duration = Duration::from_millis(500);
/// After what time file servers that could not be marked are tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// How long the start waits for file servers: one that is away is guarded once it is back.
const SERVERS: Duration = Duration::from_secs(2);
/// The exit status of a guard that gave up (EX_SOFTWARE of sysexits.h).
const GAVE_UP: i32 = 70;

/// A running gate. Dropping it frees all waiting system calls.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    /// Those that wait for no server: their end is waited for.
    threads: Vec<JoinHandle<()>>,
    /// What it guards, and what it cannot.
    pub(crate) marks: Arc<Marks>,
    /// Sees to the file servers.
    servers: Thread,
}

impl Running {
    /// Mounts have come or gone, or others are wanted. File servers are seen to by a thread of their own, because one
    /// that is away lets wait who asks.
    pub(crate) fn update(&self, workstation: &Workstation) {
        self.servers.unpark();
        self.marks.update(workstation, false);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        // A thread that waits for a server may wait where no signal reaches it: then the groups outlive the process.
        self.marks.group(false).release();
        let (marks, (done, ended)) = (self.marks.clone(), mpsc::channel());
        let remote = thread("gate-release", move || {
            marks.group(true).release();
            let _ = done.send(());
        });
        if remote.is_ok() {
            let _ = ended.recv_timeout(IDLE);
        }
    }
}

/// Marks the file systems, taints the processes that hold labelled files already, and starts to answer.
/// It enforces what could be marked when this returns; what could not is on record.
///
/// # Errors
/// The kernel gives no group, or no thread can be made.
pub(crate) fn start(workstation: &Arc<Workstation>, progress: Arc<Progress>) -> io::Result<Running> {
    let (local, pre_access) = Group::permission()?;
    let (remote, _) = Group::permission()?;
    let marks = Arc::new(Marks::new(local, remote, pre_access)?);
    let (recent, followed) = Recent::follow();
    if let Err(error) = followed {
        let what = format!("who renamed or closed a file and ended at once may stay unknown ({error})");
        workstation.spool.push(Failure::GuardDegraded.notice(None, what));
    }
    marks.update(workstation, false);
    let stop = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let gate = Arc::new(Mutex::new(Gate::new(workstation.clone(), marks.clone(), recent.clone())));
    let mut threads = Vec::new();
    for (name, remote) in [("gate", false), ("gate-remote", true)] {
        let busy = Arc::new(AtomicU64::new(0));
        let answering = Answering { gate: gate.clone(), marks: marks.clone(), remote, busy: busy.clone(), begun };
        let stopped = stop.clone();
        let answering = thread(name, move || answering.run(&stopped))?;
        // A server that is away may hold up what is asked of its own files, and nothing else.
        if !remote {
            threads.push(answering);
            let stopped = stop.clone();
            threads.push(thread("gate-watchdog", move || give_up_if_hung(&stopped, &busy, begun))?);
        }
    }
    let pins = Arc::new(Pins::default());
    for (name, remote) in [("gate-names", false), ("gate-names-remote", true)] {
        let (workstation, marks, pins) = (workstation.clone(), marks.clone(), pins.clone());
        let following = names::Following { workstation, marks, pins, recent: recent.clone(), remote };
        let stopped = stop.clone();
        let following = thread(name, move || following.run(&stopped))?;
        if !remote {
            threads.push(following);
        }
    }
    let pinning = {
        let (workstation, marks, stop) = (workstation.clone(), marks.clone(), stop.clone());
        move || pins.follow(&workstation, &marks, &gate, &progress, &stop)
    };
    // A collection may lie behind a server, too: nobody waits for the end of this one either.
    thread("gate-pins", pinning)?;
    let (first, done) = mpsc::channel();
    let serving = {
        let (workstation, marks, stop) = (workstation.clone(), marks.clone(), stop.clone());
        move || follow_servers(&workstation, &marks, &stop, &first)
    };
    // Nobody waits for its end: a server may be away.
    let servers = thread("gate-servers", serving)?.thread().clone();
    let plugging = {
        let (workstation, marks, stop) = (workstation.clone(), marks.clone(), stop.clone());
        let servers = servers.clone();
        move || follow_mounts(&workstation, &marks, &servers, &stop)
    };
    threads.push(thread("gate-mounts", plugging)?);
    let _ = done.recv_timeout(SERVERS);
    Ok(Running { stop, threads, marks, servers })
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // A panic is a mistake of ours, and nobody may wait for it.
    let run = move || {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
            crate::sys::exit_now(GAVE_UP);
        }
    };
    std::thread::Builder::new().name(name.into()).spawn(run)
}

/// One thread that answers the events of one group.
struct Answering {
    gate: Arc<Mutex<Gate>>,
    marks: Arc<Marks>,
    remote: bool,
    /// Since when it is at work, in milliseconds after `begun`; 0 while it waits for events.
    busy: Arc<AtomicU64>,
    begun: Instant,
}

impl Answering {
    fn run(&self, stop: &AtomicBool) {
        let group = self.marks.group(self.remote);
        if !self.remote {
            self.work(|gate| gate.look_at_everybody());
        }
        let mut buffer = Buffer::new();
        let mut ticked = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            if !self.remote && ticked.elapsed() > TICK {
                self.work(Gate::follow_policy);
                ticked = Instant::now();
            }
            // One of the two keeps up for both: they would take the gate from each other, and one might not get it in time.
            let patience = if self.remote { IDLE } else { self.work(Gate::keep_up) };
            if !wait(group, patience) {
                continue;
            }
            self.is_busy();
            let events = group.read(&mut buffer).map(|length| buffer.events(length));
            self.busy.store(0, Ordering::Relaxed);
            match events {
                Ok(events) => events.into_iter().for_each(|event| self.handle(event)),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                // The kernel could not open one file for us (ENXIO, ETXTBSY, EMFILE ...): it denied that access
                // itself.
                Err(_) => {
                    fail::count(Failure::MarkFailed, 1);
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    fn is_busy(&self) {
        let since = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        self.busy.store(since, Ordering::Relaxed);
    }

    fn work<T>(&self, work: impl FnOnce(&mut Gate) -> T) -> T {
        self.is_busy();
        let done = work(&mut self.gate.lock().unwrap_or_else(PoisonError::into_inner));
        self.busy.store(0, Ordering::Relaxed);
        done
    }

    /// Judges one event and answers it; what has to be read or written for the record comes after the
    /// answer.
    fn handle(&self, event: Event) {
        let group = self.marks.group(self.remote);
        let Some(file) = &event.file else {
            self.work(|gate| gate.overflowed());
            return;
        };
        if !event.waits() {
            self.work(|gate| gate.written(event));
            return;
        }
        let judge = std::panic::AssertUnwindSafe(|| self.work(|gate| gate.judge(&event)));
        // A fault of ours: what is known of the path decides.
        let judged = std::panic::catch_unwind(judge).unwrap_or_else(|_| self.work(|gate| gate.by_path(&event)));
        let answered = group.answer(file.as_fd(), judged.allow);
        self.work(|gate| gate.after(judged, answered));
    }
}

/// Marks what is mounted, as soon as it is (poll(2) of `/proc/self/mountinfo`, proc_pid_mountinfo(5)).
fn follow_mounts(workstation: &Workstation, marks: &Marks, servers: &Thread, stop: &AtomicBool) {
    let Ok(table) = std::fs::File::open("/proc/self/mountinfo") else { return };
    while !stop.load(Ordering::Relaxed) {
        let mut changed = [PollFd::new(table.as_fd(), PollFlags::POLLPRI)];
        if poll(&mut changed, PollTimeout::try_from(IDLE).unwrap_or(PollTimeout::ZERO)).is_ok_and(|changed| changed > 0)
        {
            workstation.refresh();
            servers.unpark();
            marks.update(workstation, false);
        }
    }
}

/// Marks file servers as they are mounted or named, and tries again those that could not be; `first` hears when that
/// was done once.
fn follow_servers(workstation: &Workstation, marks: &Marks, stop: &AtomicBool, first: &mpsc::Sender<()>) {
    let mut seen = None;
    let mut tried = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let now = workstation.snapshot().destinations.clone();
        if tried.elapsed() > AGAIN || seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &now)) {
            marks.update(workstation, true);
            let _ = first.send(());
            (seen, tried) = (Some(now), Instant::now());
        }
        std::thread::park_timeout(IDLE);
    }
}

/// Waits for events of a group; whether there are any.
fn wait(group: &Group, longest: Duration) -> bool {
    let mut ready = [PollFd::new(group.as_fd(), PollFlags::POLLIN)];
    poll(&mut ready, PollTimeout::try_from(longest).unwrap_or(PollTimeout::ZERO)).is_ok_and(|ready| ready > 0)
}

fn give_up_if_hung(stop: &AtomicBool, busy: &AtomicU64, begun: Instant) {
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(IDLE);
        let since = busy.load(Ordering::Relaxed);
        if since > 0 && begun.elapsed().saturating_sub(Duration::from_millis(since)) > HUNG {
            // Nothing that could wait for a guarded file may run here any more: no log, no destructor. The
            // exit status tells the service manager.
            crate::sys::exit_now(GAVE_UP);
        }
    }
}

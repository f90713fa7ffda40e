//! The `flow` guard: BPF LSM programs carry labels through processes, pipes, sockets, shared memory and files,
//! and refuse the first byte towards a destination below the label (`agent/bpf/`).
//!
//! The kernel's side answers from its own maps and never waits for the agent. The agent keeps these maps as
//! the policy, the index, the mounts and the programs want them ([`mirror`]), and makes records of what the
//! kernel's side tells ([`report`]).

mod decode;
mod kernel;
mod mirror;
mod network;
mod pins;
mod place;
mod record;
mod report;
mod shield;

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::fail::Failure;
use crate::identify::label::Labelled;
use crate::workstation::Workstation;
use kernel::Kernel;
use mirror::Mirror;
use network::Addresses;
use pins::{Claim, Pinned};
pub(crate) use pins::{clear_what_is_left, detach};
use record::counter;
use report::Reporter;
use shield::Shield;

/// Name of this guard in records.
const GUARD: &str = "flow";
/// How long the thread waits for events before it looks for what else there is to do.
const IDLE: Duration = Duration::from_millis(50);
/// How often everything is mirrored, though nothing seems to have changed: directories come and go.
const MIRROR: Duration = Duration::from_secs(1);
/// How often host names are looked up.
const NAMES: Duration = Duration::from_secs(60);
/// How often is looked which processes that shared something have ended.
const SWEEP: Duration = Duration::from_secs(60);
/// How many labels are set at once.
const BATCH: usize = 1024;

/// A running guard. Dropping it ends the agent's threads; what is in the kernel goes on.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    lost: Arc<AtomicBool>,
    _claim: Claim,
}

impl Running {
    /// Whether the agent hears nothing of the kernel any more.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Whether the kernel takes the programs. Nothing is attached.
///
/// # Errors
/// Why it does not, in a sentence.
pub(crate) fn probe() -> io::Result<()> {
    Kernel::probe()
}

/// Loads the programs, fills their maps, attaches them and taints those who hold labelled files already. It
/// enforces when this returns.
///
/// # Errors
/// The kernel takes no LSM programs, or does not ask them.
pub(crate) fn start(workstation: &Arc<Workstation>) -> io::Result<Running> {
    let began = Instant::now();
    let claim = Claim::stake()?;
    let (kernel, programs) = Kernel::load(workstation.index.len() as u64, &claim)?;
    let loaded = began.elapsed();
    let mut shield = Shield::take_over(&kernel, workstation)?;
    kernel.keep_hold(true)?;
    let mut mirror = Mirror::new(&kernel);
    let snapshot = workstation.snapshot();
    let names = Arc::new(Mutex::new(network::names(&snapshot.policy)));
    // First when the agent was started, then its number: until both are there it is nobody.
    shield.update(&kernel, workstation)?;
    mirror.update(&kernel, &snapshot)?;
    mirror.labelled(&kernel, workstation, &workstation.labels.all())?;
    let filled = began.elapsed();
    let pinned = programs.attach(&kernel)?;
    if !kernel.is_asked() {
        pins::clear(&claim)?;
        return Err(io::Error::other(
            "the kernel loads LSM programs and does not ask them: put `bpf` into its list (lsm=…,bpf on its command line)",
        ));
    }
    kernel.keep_hold(false)?;
    kernel.look_at_the_living()?;
    let took = [loaded, filled - loaded, began.elapsed() - filled].map(|part| part.as_millis());
    tracing::info!("the guard in the kernel took {took:?} ms to load, fill and attach");
    // Only one can follow: where this guard cannot start, it is the next one.
    let labelled = workstation.labels.follow();
    let (stop, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (found, addresses) = sync_channel(1);
    let resolving = {
        let (names, stop) = (names.clone(), stop.clone());
        move || {
            let mut before = Addresses::new();
            let mut looked: Option<(Instant, BTreeSet<String>)> = None;
            while !stop.load(Ordering::Relaxed) {
                let wanted = names.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if looked.as_ref().is_none_or(|(since, last)| since.elapsed() > NAMES || *last != wanted) {
                    before = network::resolve(&wanted, &before);
                    looked = Some((Instant::now(), wanted));
                    // A receiver that is busy gets the next one.
                    let _ = found.try_send(before.clone());
                }
                std::thread::sleep(IDLE * 4);
            }
        }
    };
    let following = {
        let (workstation, stop, lost) = (workstation.clone(), stop.clone(), lost.clone());
        let flow = Flow { kernel, pinned, lost, mirror, shield, workstation, labelled, addresses, names, told: None };
        move || flow.follow(&stop)
    };
    let thread = |name: &str, run: Box<dyn FnOnce() + Send>| std::thread::Builder::new().name(name.into()).spawn(run);
    let threads = vec![thread("flow", Box::new(following))?, thread("flow-names", Box::new(resolving))?];
    Ok(Running { stop, threads, lost, _claim: claim })
}

/// Something that the kernel's side counts because it can do no better.
struct Loss {
    counter: counter::Type,
    recorded: counter::Type,
    failure: Failure,
    what: &'static str,
}

const LOSSES: [Loss; 4] = [
    Loss {
        counter: counter::COUNTER_UNTOLD,
        recorded: counter::COUNTER_UNTOLD_RECORDED,
        failure: Failure::Untold,
        what: "attempts could not be told of: they came too fast",
    },
    Loss {
        counter: counter::COUNTER_UNMEASURED,
        recorded: counter::COUNTER_UNMEASURED_RECORDED,
        failure: Failure::Unscanned,
        what: "files that were written, or came to a destination, could not be told of: they came too fast",
    },
    Loss {
        counter: counter::COUNTER_FULL,
        recorded: counter::COUNTER_FULL_RECORDED,
        failure: Failure::TaintIncomplete,
        what: "labels found no room in the kernel",
    },
    Loss {
        counter: counter::COUNTER_CROWDED,
        recorded: counter::COUNTER_CROWDED_RECORDED,
        failure: Failure::TaintIncomplete,
        what: "pieces of memory are shared beyond those that are followed of one process",
    },
];

/// What the thread of the guard knows.
struct Flow {
    kernel: Kernel,
    pinned: Pinned,
    lost: Arc<AtomicBool>,
    mirror: Mirror,
    shield: Shield,
    workstation: Arc<Workstation>,
    labelled: Receiver<Labelled>,
    addresses: Receiver<Addresses>,
    names: Arc<Mutex<BTreeSet<String>>>,
    told: Option<String>,
}

impl Flow {
    fn follow(mut self, stop: &AtomicBool) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let events = {
            let told = told.clone();
            self.kernel.events(move |bytes| {
                told.lock().unwrap_or_else(PoisonError::into_inner).extend(decode::decode(bytes));
            })
        };
        let events = match events {
            Ok(events) => events,
            Err(error) => {
                self.workstation.spool.push(Failure::GuardLost.notice(None, error));
                return self.lost.store(true, Ordering::Relaxed);
            }
        };
        // What was labelled between the first look and the following.
        let set = self.mirror.labelled(&self.kernel, &self.workstation, &self.workstation.labels.all());
        self.check(set);
        let mut reporter = Reporter::new(self.workstation.clone());
        let mut mirrored: Option<(Instant, usize)> = None;
        let mut swept = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            kernel::poll(&events, IDLE);
            let batch = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
            self.workstation.told.store(batch.len(), Ordering::Relaxed);
            batch.iter().for_each(|told| reporter.tell(told));
            reporter.measure();
            self.workstation.told.store(0, Ordering::Relaxed);
            self.labels();
            if self.shield.is_behind(&self.workstation) {
                let updated = self.shield.update(&self.kernel, &self.workstation);
                self.check(updated);
            }
            if let Ok(addresses) = self.addresses.try_recv()
                && addresses != *self.mirror.addresses()
            {
                self.mirror.resolved(addresses);
                mirrored = None;
            }
            if swept.elapsed() > SWEEP {
                swept = Instant::now();
                let forgotten = self.kernel.forget_the_dead();
                self.check(forgotten);
            }
            let snapshot = self.workstation.snapshot();
            let current = Arc::as_ptr(&snapshot).addr();
            if mirrored.is_none_or(|(since, last)| since.elapsed() > MIRROR || last != current) {
                mirrored = Some((Instant::now(), current));
                *self.names.lock().unwrap_or_else(PoisonError::into_inner) = network::names(&snapshot.policy);
                let updated = self.mirror.update(&self.kernel, &snapshot);
                self.check(updated);
                let updated = self.shield.update(&self.kernel, &self.workstation);
                self.check(updated);
                self.keep_pinned();
                self.record_losses();
            }
        }
        // The program that an update has just put in the place of this one is the next agent.
        let updated = self.shield.update(&self.kernel, &self.workstation);
        self.check(updated);
    }

    /// Sets the labels that have changed since.
    fn labels(&mut self) {
        loop {
            let files: Vec<Labelled> = self.labelled.try_iter().take(BATCH).collect();
            if files.is_empty() {
                return;
            }
            let set = self.mirror.labelled(&self.kernel, &self.workstation, &files);
            self.check(set);
        }
    }

    /// Tells what could not be done, once as long as it is the same.
    fn check(&mut self, result: io::Result<()>) {
        let Err(error) = result else { return };
        let what = format!("the kernel's side of the guard could not be told everything: {error}");
        if self.told.as_ref() != Some(&what) {
            self.workstation.spool.push(Failure::MarkFailed.notice(None, &what));
            self.told = Some(what);
        }
    }

    /// Without its names the guard would end with the agent.
    fn keep_pinned(&mut self) {
        match self.pinned.keep() {
            Ok(0) => {}
            Ok(lost) => {
                let what = format!("{lost} pins of the guard in the kernel were removed, and have been made again");
                self.workstation.spool.push(Failure::GuardTouched.notice(None, what));
            }
            Err(error) => self.check(Err(error)),
        }
    }

    /// Records what the kernel's side could not tell or keep, also while no agent was there.
    fn record_losses(&mut self) {
        for loss in &LOSSES {
            let now = self.kernel.counter(loss.counter);
            let new = now.saturating_sub(self.kernel.counter(loss.recorded));
            if new > 0 {
                self.workstation.spool.push(loss.failure.notice(None, format_args!("{new} {}", loss.what)));
                let kept = self.kernel.set_counter(loss.recorded, now);
                self.check(kept);
            }
        }
    }
}

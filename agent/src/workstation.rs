//! What the agent knows of this workstation, shared by all that judge and record.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::mpsc::UnboundedSender;
use vitrine_fingerprint::Index;
use vitrine_policy::Policy;

use crate::approval::Approvals;
use crate::config::Config;
use crate::desk::Desk;
use crate::fail::Failure;
use crate::history::{self, History};
use crate::identify::destination::Destinations;
use crate::identify::label::Labels;
use crate::identify::program::Programs;
use crate::inspect::Arrival;
use crate::justification::Windows;
use crate::maintenance::Maintenance;
use crate::recorder::Recorder;
use crate::spool::Spool;
use crate::tiles::Tiles;

/// How many files that wait to be looked at are kept open.
const MAX_OPEN_ARRIVALS: usize = 1024;
/// How many wait at all: some 100 MB, with who wrote them.
const MAX_ARRIVALS: usize = 65_536;

/// Everything that one judgement needs, as it stood at one moment.
pub(crate) struct Snapshot {
    pub(crate) policy: Arc<Policy>,
    /// BLAKE3 of the policy's text, in hexadecimal.
    pub(crate) digest: String,
    pub(crate) destinations: Arc<Destinations>,
    pub(crate) programs: Arc<Programs>,
}

/// The workstation.
pub(crate) struct Workstation {
    pub(crate) config: Config,
    pub(crate) index: Arc<Index>,
    pub(crate) labels: Labels,
    pub(crate) history: History,
    pub(crate) spool: Spool,
    pub(crate) recorder: Recorder,
    /// Tiles that have reached a destination.
    pub(crate) tiles: Tiles,
    pub(crate) desk: Arc<Desk>,
    /// Where reasons hold that were given.
    pub(crate) windows: Windows,
    /// What a second person was asked.
    pub(crate) approvals: Arc<Approvals>,
    /// When root may touch what is the agent's.
    pub(crate) maintenance: Maintenance,
    /// What root is kept from, in a sentence.
    shield: RwLock<String>,
    arrivals: UnboundedSender<Arrival>,
    /// How many of them wait.
    waiting: AtomicUsize,
    /// What the guard has been told by the kernel and has not dealt with.
    pub(crate) told: AtomicUsize,
    /// Paths in collections at which something happened.
    pub(crate) touched: UnboundedSender<PathBuf>,
    current: RwLock<Arc<Snapshot>>,
    /// Held by whoever makes the next snapshot of the last one, so that none is lost.
    next: Mutex<()>,
}

impl Workstation {
    /// Puts the parts together.
    pub(crate) fn new(
        config: Config,
        index: Arc<Index>,
        spool: Spool,
        first: Snapshot,
        arrivals: UnboundedSender<Arrival>,
        touched: UnboundedSender<PathBuf>,
    ) -> Arc<Workstation> {
        let report = {
            let spool = spool.clone();
            Arc::new(move |event| spool.push(event))
        };
        let desk = Desk::new();
        let (approvals, lost) = Approvals::open(&config.state);
        if let Some(why) = lost {
            spool.push(Failure::ApprovalFailed.notice(None, why));
        }
        let maintenance = Maintenance::read(&config);
        Arc::new(Workstation {
            history: History::open(config.state.join(history::FILE), report),
            config,
            labels: Labels::new(index.clone()),
            tiles: Tiles::default(),
            recorder: Recorder::start(spool.clone(), index.clone(), desk.clone()),
            desk,
            windows: Windows::default(),
            approvals: Arc::new(approvals),
            maintenance,
            shield: RwLock::new("off: this guard has none".to_owned()),
            index,
            spool,
            arrivals,
            waiting: AtomicUsize::new(0),
            told: AtomicUsize::new(0),
            touched,
            current: RwLock::new(Arc::new(first)),
            next: Mutex::default(),
        })
    }

    /// The policy, destinations and programs in force.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What root is kept from, in a sentence.
    pub(crate) fn shield(&self) -> String {
        self.shield.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It is this from now on.
    pub(crate) fn set_shield(&self, told: String) {
        *self.shield.write().unwrap_or_else(PoisonError::into_inner) = told;
    }

    /// Another policy is in force from now on.
    pub(crate) fn adopt(&self, next: Snapshot) {
        let _next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.snapshot();
        self.labels.translate(&before.policy, &next.policy);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    /// Reads the mounts, and the programs if one of them was replaced. Whether anything changed hands.
    pub(crate) fn refresh(&self) {
        let _next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.snapshot();
        let destinations = match Destinations::read(now.policy.clone()) {
            Ok(destinations) => Arc::new(destinations),
            Err(error) => {
                self.spool.push(Failure::MarkFailed.notice(Some(b"/proc/self/mountinfo"), error));
                now.destinations.clone()
            }
        };
        let programs = if now.programs.is_stale() {
            let (programs, events) = Programs::pin(&now.policy, &now.programs);
            events.into_iter().for_each(|event| self.spool.push(event));
            Arc::new(programs)
        } else {
            now.programs.clone()
        };
        let next = Snapshot { policy: now.policy.clone(), digest: now.digest.clone(), destinations, programs };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    /// A file was written where somebody has to look. Only so many are kept open until then; a disk could not
    /// be unmounted, and the kernel's own descriptors would run out.
    pub(crate) fn arrived(&self, mut arrival: Arrival) {
        if arrival.destination.is_some() {
            self.tiles.arrived(&arrival.path, arrival.guard, arrival.actor.as_ref());
        }
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        if waiting >= MAX_ARRIVALS {
            self.looked_at();
            let what = format_args!(
                "{} was written, and nobody looks at it: {MAX_ARRIVALS} files that were written before wait for that",
                arrival.path.display()
            );
            self.spool.push(Failure::QueueOverflow.notice(None, what));
            return;
        }
        if waiting > MAX_OPEN_ARRIVALS {
            arrival.file = None;
        }
        // The receiver is gone only when the agent stops.
        let _ = self.arrivals.send(arrival);
    }

    /// How many of them wait, or are being read, and what may turn out to be one.
    pub(crate) fn measuring(&self) -> usize {
        self.waiting.load(Ordering::Relaxed) + self.told.load(Ordering::Relaxed)
    }

    /// One of them was looked at.
    pub(crate) fn looked_at(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Something happened to a file of a collection.
    pub(crate) fn touch(&self, path: &Path) {
        // The receiver is gone only when the agent stops.
        let _ = self.touched.send(path.to_owned());
    }
}

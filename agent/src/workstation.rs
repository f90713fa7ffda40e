//! What the agent knows of this workstation, shared by all that judge and record.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::mpsc::UnboundedSender;
use vitrine_fingerprint::Index;
use vitrine_policy::Policy;

use crate::config::Config;
use crate::fail::Failure;
use crate::identify::destination::Destinations;
use crate::identify::label::Labels;
use crate::identify::program::Programs;
use crate::inspect::Arrival;
use crate::recorder::Recorder;
use crate::spool::Spool;

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
    pub(crate) spool: Spool,
    pub(crate) recorder: Recorder,
    /// Files that were written where somebody has to look.
    pub(crate) arrivals: UnboundedSender<Arrival>,
    /// Paths in collections at which something happened.
    pub(crate) touched: UnboundedSender<PathBuf>,
    current: RwLock<Arc<Snapshot>>,
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
        Arc::new(Workstation {
            config,
            labels: Labels::new(index.clone()),
            recorder: Recorder::start(spool.clone(), index.clone()),
            index,
            spool,
            arrivals,
            touched,
            current: RwLock::new(Arc::new(first)),
        })
    }

    /// The policy, destinations and programs in force.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another policy is in force from now on.
    pub(crate) fn adopt(&self, next: Snapshot) {
        let before = self.snapshot();
        self.labels.translate(&before.policy, &next.policy);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    /// Reads the mounts, and the programs if one of them was replaced. Whether anything changed hands.
    pub(crate) fn refresh(&self) {
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

    /// Something happened to a file of a collection.
    pub(crate) fn touch(&self, path: &Path) {
        // The receiver is gone only when the agent stops.
        let _ = self.touched.send(path.to_owned());
    }
}

/// Reads a policy file, runs its own tests, and says what is wrong in one text.
pub(crate) fn read_policy(path: &Path) -> Result<(Policy, String), String> {
    let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let name = vitrine_policy::record::printable(path.as_os_str().as_bytes());
    let digest = blake3::hash(&text).to_hex().to_string();
    let text = String::from_utf8(text).map_err(|error| format!("{name}: {error}; expected UTF-8"))?;
    let policy = Policy::parse(&name, &text).map_err(|mistakes| mistakes.to_string())?;
    let failed: Vec<_> = policy.run_tests().into_iter().filter(|test| !test.passed).collect();
    match failed.first() {
        None => Ok((policy, digest)),
        Some(first) => Err(format!(
            "{name}:{}:1: {} of its [[test]] cases failed, the first: {}",
            first.line,
            failed.len(),
            first.explanation
        )),
    }
}

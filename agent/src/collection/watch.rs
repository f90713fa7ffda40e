//! Hears of changes through `notify`, and writes them on the agenda.
//!
//! Every directory is watched by itself, not recursively: whoever reads a directory has watched it before,
//! so that what appears in it is either listed or heard of, and a subtree that is made faster than it can be
//! watched is still found whole.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, CreateKind, Event, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;
use vitrine_policy::Policy;

use super::agenda::Agenda;
use super::place::{is_in, is_on_the_way};

/// How long nothing must happen to a file before it is read, where nobody said that it is complete.
pub(super) const QUIET: Duration = Duration::from_millis(200);

/// The watcher.
pub(super) struct Watch {
    watcher: Mutex<RecommendedWatcher>,
}

impl Watch {
    /// Starts to listen; nothing is watched yet.
    pub(super) fn new(agenda: Arc<Agenda>, policy: watch::Receiver<Arc<Policy>>) -> notify::Result<Watch> {
        let watcher = notify::recommended_watcher(move |heard| hear(&agenda, &policy, heard))?;
        Ok(Watch { watcher: Mutex::new(watcher) })
    }

    /// Watches one directory, not what lies deeper. One that is watched already stays so.
    pub(super) fn add(&self, directory: &Path) -> notify::Result<()> {
        // A panic in the watcher's own code must not end the keeping.
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        watcher.watch(directory, RecursiveMode::NonRecursive)
    }
}

fn hear(agenda: &Agenda, policy: &watch::Receiver<Arc<Policy>>, heard: notify::Result<Event>) {
    let Ok(event) = heard else { return agenda.lost() };
    if event.need_rescan() {
        return agenda.lost();
    }
    let (quiet, is_file) = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => (Duration::ZERO, true),
        // Opened, read, or given to somebody else: the content is as it was.
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => return,
        EventKind::Modify(ModifyKind::Data(_)) | EventKind::Create(CreateKind::File) => (QUIET, true),
        EventKind::Create(CreateKind::Folder) => (Duration::ZERO, false),
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => {
            let concerned = policy.borrow();
            if let [from, to] = event.paths.as_slice()
                && event.paths.iter().any(|path| concerns(&concerned, path, false))
            {
                agenda.renamed(from.clone(), to.clone());
            }
            return;
        }
        _ => (QUIET, false),
    };
    let policy = policy.borrow();
    for path in event.paths.iter().filter(|path| concerns(&policy, path, is_file)) {
        agenda.touch(path, quiet);
    }
}

/// Whether it matters to a collection what happened to `path`.
pub(super) fn concerns(policy: &Policy, path: &Path, is_file: bool) -> bool {
    if is_file {
        return policy.collection_of(path).is_some();
    }
    is_in(policy, path) || is_on_the_way(policy, path)
}

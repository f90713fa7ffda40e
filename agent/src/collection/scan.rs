//! Walks through the collections: what is new or changed goes on the agenda, what vanished to the clerk.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, watch};
use vitrine_fingerprint::Index;
use vitrine_policy::Policy;

use super::agenda::Agenda;
use super::clerk::Chore;
use super::file::{added, is_absence, is_same};
use super::place::{self, is_in, is_on_the_way};
use super::watch::Watch;
use super::{OnChange, Progress, Report};
use crate::fail::Failure;
use crate::identify::mount;

/// What is to be walked through.
pub(super) enum Walk {
    /// All collections.
    Everything,
    /// One directory and all below it.
    Below(PathBuf),
}

/// Walks in a thread of its own, one walk after the other.
pub(super) struct Scanner {
    pub(super) index: Arc<Index>,
    pub(super) agenda: Arc<Agenda>,
    pub(super) policy: watch::Receiver<Arc<Policy>>,
    pub(super) watch: Option<Watch>,
    pub(super) clerk: mpsc::Sender<Chore>,
    pub(super) report: Report,
    pub(super) on_change: OnChange,
    /// Raised while a walk through everything waits: one is enough.
    pub(super) everything_waits: Arc<AtomicBool>,
    pub(super) progress: Arc<Progress>,
    /// Whether it was recorded during this walk that a directory cannot be watched.
    pub(super) told_unwatched: bool,
}

impl Scanner {
    /// Walks until nobody asks any more.
    pub(super) fn run(mut self, mut walks: mpsc::Receiver<Walk>) {
        while let Some(walk) = walks.blocking_recv() {
            let policy = self.policy.borrow().clone();
            match walk {
                Walk::Below(directory) => self.below(&policy, directory),
                Walk::Everything => {
                    self.everything_waits.store(false, Ordering::SeqCst);
                    self.everything(&policy);
                }
            }
            if self.agenda.is_closed() {
                break;
            }
        }
    }

    fn everything(&mut self, policy: &Policy) {
        self.told_unwatched = false;
        let servers = mount::servers();
        let is_there = |path: &Path| servers.iter().any(|point| path.starts_with(point));
        // A server that is away holds up the scan of what lies behind it, and of nothing else.
        for remote in [false, true] {
            let find = || place::find(policy, |root| is_there(root.fixed()) == remote);
            for way in &find().ways {
                self.listen(way);
            }
            // What appeared on the way between the look and the watch is found by a second look.
            for root in find().roots {
                self.below(policy, root);
            }
            self.missing(policy, &|path| is_there(path) == remote);
        }
        self.progress.is_complete.store(true, Ordering::Relaxed);
    }

    /// Goes through a directory and all below it; of a directory on the way to a collection, along that way.
    fn below(&mut self, policy: &Policy, directory: PathBuf) {
        let mut todo = vec![directory];
        while let Some(directory) = todo.pop() {
            let inside = is_in(policy, &directory);
            if !inside && !is_on_the_way(policy, &directory) {
                continue;
            }
            // First the watch, then the list: see `watch`.
            self.listen(&directory);
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if is_absence(&error) => {
                    self.agenda.touch(&directory, std::time::Duration::ZERO);
                    continue;
                }
                Err(error) => {
                    let what = format!("a directory of masters cannot be listed: {error}; let the agent read it");
                    (self.report)(Failure::Unscanned.notice(Some(directory.as_os_str().as_bytes()), what));
                    continue;
                }
            };
            for entry in entries.flatten() {
                let Ok(kind) = entry.file_type() else { continue };
                if kind.is_dir() {
                    todo.push(entry.path());
                } else if kind.is_file() && inside && !self.meet(policy, &entry) {
                    return;
                }
            }
        }
    }

    /// Puts a file that is not known as it is on the agenda. False once the keeper has ended.
    fn meet(&self, policy: &Policy, entry: &fs::DirEntry) -> bool {
        let path = entry.path();
        if policy.collection_of(&path).is_none() {
            return true;
        }
        if let (Ok(metadata), Ok(Some(known))) = (entry.metadata(), self.index.get(&path))
            && is_same(&known, &metadata)
        {
            if !self.progress.is_complete.load(Ordering::Relaxed) {
                (self.on_change)(added(path, &metadata));
            }
            return true;
        }
        self.agenda.found(&path)
    }

    fn listen(&mut self, directory: &Path) {
        let Some(watch) = &self.watch else { return };
        let Err(error) = watch.add(directory) else { return };
        let vanished = matches!(&error.kind, notify::ErrorKind::PathNotFound)
            || matches!(&error.kind, notify::ErrorKind::Io(error) if is_absence(error));
        if vanished || self.told_unwatched {
            return;
        }
        self.told_unwatched = true;
        let what = format!(
            "directories of masters cannot be watched ({error}); their files are found by a scan every ten minutes. \
             Raise the limit: sysctl fs.inotify.max_user_watches=1048576"
        );
        (self.report)(Failure::WatchOverflow.notice(Some(directory.as_os_str().as_bytes()), what));
    }

    /// Has those of the `concerned` masters removed that are gone or belong to no collection any more. Where the whole file system is
    /// gone with them, as when a disk is not mounted, they stay known.
    fn missing(&self, policy: &Policy, concerned: &dyn Fn(&Path) -> bool) {
        // Listed first and looked at later: the index must not wait for a slow disk.
        let mut masters = Vec::new();
        let listed = self.index.each_below(Path::new("/"), &mut |path, known| {
            if concerned(path) {
                masters.push((path.to_owned(), known.device));
            }
            ControlFlow::Continue(())
        });
        if let Err(error) = listed {
            return (self.report)(Failure::IndexFailed.notice(None, error));
        }
        for (path, device) in masters {
            let wanted = policy.collection_of(&path).is_some();
            let gone = match fs::symlink_metadata(&path) {
                Ok(metadata) => !metadata.is_file(),
                Err(error) => is_absence(&error) && is_mounted(&path, device),
            };
            if (gone || !wanted) && self.clerk.blocking_send(Chore::Gone { path, wanted }).is_err() {
                return;
            }
        }
    }
}

/// Whether the file system is there on which the master lay: that of its nearest directory that is there.
fn is_mounted(path: &Path, device: u64) -> bool {
    let nearest = path.ancestors().skip(1).find_map(|directory| fs::metadata(directory).ok());
    nearest.is_some_and(|nearest| nearest.dev() == device)
}

//! Writes to the index, one chore after the other, so that a rename is never overtaken by a removal.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use vitrine_fingerprint::{Entry, Index};
use vitrine_policy::Policy;

use super::agenda::Agenda;
use super::file::{added, is_absence, may_rename};
use super::{Change, OnChange, Progress, Report};
use crate::fail::Failure;

/// When masters that could not be written are looked for again.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// What is to be written.
pub(super) enum Chore {
    /// These are masters.
    Insert(Vec<Entry>),
    /// Nothing is there any more, or nothing that is still `wanted`.
    Gone { path: PathBuf, wanted: bool },
    /// A file or directory was renamed.
    Renamed { from: PathBuf, to: PathBuf },
}

/// Writes in a thread of its own.
pub(super) struct Clerk {
    pub(super) index: Arc<Index>,
    pub(super) agenda: Arc<Agenda>,
    pub(super) policy: watch::Receiver<Arc<Policy>>,
    pub(super) report: Report,
    pub(super) on_change: OnChange,
    pub(super) progress: Arc<Progress>,
}

impl Clerk {
    /// Writes until nobody brings anything any more.
    pub(super) fn run(self, mut chores: mpsc::Receiver<Chore>) {
        self.count();
        while let Some(chore) = chores.blocking_recv() {
            match chore {
                Chore::Insert(entries) => self.insert(&entries),
                Chore::Gone { path, wanted } => self.gone(&path, wanted),
                Chore::Renamed { from, to } => self.renamed(&from, &to),
            }
            self.count();
        }
    }

    fn count(&self) {
        self.progress.masters.store(self.index.len() as u64, Ordering::Relaxed);
    }

    fn insert(&self, entries: &[Entry]) {
        if let Err(error) = self.index.insert_all(entries) {
            let what = format!("{} masters could not be written to the index: {error}", entries.len());
            (self.report)(Failure::IndexFailed.notice(None, what));
            self.agenda.scan_in(AFTER_FAILURE);
            return;
        }
        self.progress.done.fetch_add(entries.len() as u64, Ordering::Relaxed);
        for entry in entries {
            (self.on_change)(Change::Added { path: entry.path.clone(), device: entry.device, inode: entry.inode });
        }
    }

    fn gone(&self, path: &Path, wanted: bool) {
        let now = fs::symlink_metadata(path);
        // It may be back; then it is on the agenda too.
        if wanted && now.as_ref().is_ok_and(|metadata| metadata.is_file() || metadata.is_dir()) {
            return;
        }
        if wanted && now.is_err_and(|error| !is_absence(&error)) {
            return;
        }
        self.remove(path);
    }

    fn remove(&self, path: &Path) {
        let removed = match (self.index.remove(path), self.index.remove_below(path)) {
            (Ok(one), Ok(below)) => usize::from(one) + below,
            (Err(error), _) | (_, Err(error)) => {
                (self.report)(Failure::IndexFailed.notice(Some(path.as_os_str().as_bytes()), error));
                return;
            }
        };
        if removed > 0 {
            let what = format!("{removed} registered masters are no longer there");
            (self.report)(Failure::Vanished.notice(Some(path.as_os_str().as_bytes()), what));
            (self.on_change)(Change::Removed { path: path.to_owned() });
        }
    }

    /// Masters that only got another name keep their measurement; everything else is looked at anew.
    fn renamed(&self, from: &Path, to: &Path) {
        let policy = self.policy.borrow().clone();
        let mut todo = vec![to.to_owned()];
        while let Some(path) = todo.pop() {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_dir() {
                todo.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
                continue;
            }
            let old = match path.strip_prefix(to) {
                Ok(rest) if rest.as_os_str().is_empty() => from.to_owned(),
                Ok(rest) => from.join(rest),
                Err(_) => continue,
            };
            let may = |known| may_rename(&policy, &old, &path, &known, &metadata);
            if !self.index.get(&old).is_ok_and(|known| known.is_some_and(may)) {
                continue;
            }
            match self.index.rename(&old, &path) {
                Ok(_) => {
                    (self.on_change)(Change::Renamed { from: old.clone(), to: path.clone() });
                    (self.on_change)(Change::Removed { path: old });
                    (self.on_change)(added(path, &metadata));
                }
                Err(error) => (self.report)(Failure::IndexFailed.notice(Some(path.as_os_str().as_bytes()), error)),
            }
        }
        // What is left at either name is looked at: another collection's file, or a directory to be watched.
        self.agenda.touch(to, Duration::ZERO);
        self.agenda.touch(from, Duration::ZERO);
    }
}

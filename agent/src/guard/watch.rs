//! The `watch` guard: no root, no kernel that asks. It sees what reached a destination after the fact,
//! reports it and, in `enforce`, takes it back. It cannot know who did it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecursiveMode, Watcher};

use crate::fail::Failure;
use crate::inspect::Arrival;
use crate::workstation::Workstation;

/// Name of this guard in records.
const GUARD: &str = "watch";
/// A file that was made but not closed is looked at after this long without change.
const QUIET: Duration = Duration::from_millis(300);
/// How often directories that should be watched and are not are looked for.
const RETRY: Duration = Duration::from_secs(2);

/// A running watch. It ends when this is dropped.
pub(crate) struct Running {
    watched: HashSet<PathBuf>,
    watcher: notify::RecommendedWatcher,
    workstation: Arc<Workstation>,
    events: Receiver<notify::Result<notify::Event>>,
    /// Paths that wait for quiet.
    due: HashMap<PathBuf, Instant>,
    since: SystemTime,
}

/// Starts to watch, in a thread of its own that ends when `stopped` says so.
///
/// # Errors
/// The operating system offers no way to watch directories.
pub(crate) fn start(
    workstation: &Arc<Workstation>,
    stopped: impl Fn() -> bool + Send + 'static,
) -> notify::Result<std::thread::JoinHandle<()>> {
    let (sender, events) = channel();
    let watcher = notify::recommended_watcher(sender)?;
    let mut running = Running {
        watched: HashSet::new(),
        watcher,
        workstation: workstation.clone(),
        events,
        due: HashMap::new(),
        since: SystemTime::now(),
    };
    running.update();
    Ok(std::thread::spawn(move || running.run(&stopped)))
}

impl Running {
    fn run(&mut self, stopped: &dyn Fn() -> bool) {
        let mut updated = Instant::now();
        while !stopped() {
            match self.events.recv_timeout(Duration::from_millis(100)) {
                Ok(Ok(event)) => self.one(event),
                Ok(Err(error)) => self.lost(&error.to_string()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            let (ready, waiting) = self.due.drain().partition(|(_, due)| *due <= now);
            self.due = waiting;
            let ready: HashMap<PathBuf, Instant> = ready;
            ready.into_keys().for_each(|path| self.arrived(path));
            if updated.elapsed() > RETRY {
                self.update();
                updated = Instant::now();
            }
        }
    }

    fn one(&mut self, event: notify::Event) {
        if event.need_rescan() {
            return self.lost("events were lost");
        }
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                for path in event.paths {
                    self.due.remove(&path);
                    self.arrived(path);
                }
            }
            EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Data(_) | ModifyKind::Any) => {
                let due = Instant::now() + QUIET;
                for path in event.paths {
                    if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
                        // What was made in it before it was watched raised no event.
                        self.scan(&path, SystemTime::UNIX_EPOCH);
                    } else {
                        self.due.insert(path, due);
                    }
                }
            }
            _ => {}
        }
    }

    /// Watches destinations that have appeared.
    fn update(&mut self) {
        let destinations = self.workstation.snapshot().destinations.clone();
        self.watched.retain(|path| path.exists());
        for path in destinations.directories() {
            if self.watched.contains(&path) || !path.is_dir() {
                continue;
            }
            match self.watcher.watch(&path, RecursiveMode::Recursive) {
                Ok(()) => {
                    self.scan(&path, self.since);
                    self.watched.insert(path);
                }
                Err(error) => {
                    let what = format!("{} cannot be watched: {error}", path.display());
                    self.workstation.spool.push(Failure::MarkFailed.notice(None, what));
                }
            }
        }
    }

    fn lost(&mut self, what: &str) {
        let notice = Failure::WatchOverflow.notice(None, format_args!("the watch of the destinations: {what}"));
        self.workstation.spool.push(notice);
        let watched: Vec<_> = self.watched.iter().cloned().collect();
        watched.iter().for_each(|path| self.scan(path, self.since));
    }

    /// Looks at all files below a directory that were changed after `since`.
    fn scan(&mut self, directory: &Path, since: SystemTime) {
        let mut directories = vec![directory.to_owned()];
        let due = Instant::now() + QUIET;
        while let Some(next) = directories.pop() {
            for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    directories.push(entry.path());
                } else if metadata.is_file()
                    && metadata.created().or(metadata.modified()).is_ok_and(|time| time >= since)
                {
                    self.due.insert(entry.path(), due);
                }
            }
        }
    }

    fn arrived(&self, path: PathBuf) {
        if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0) {
            return;
        }
        let destination = self.workstation.snapshot().destinations.of(&path, None);
        if destination.is_some() {
            self.workstation.arrived(Arrival { path, file: None, destination, guard: GUARD, actor: None });
        }
    }
}

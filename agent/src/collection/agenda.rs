//! The paths that want to be looked at, each once, and not before it is quiet.
//!
//! Everything that notices a change (the watcher, a scan, the guard) writes here, and the keeper alone takes
//! out. It never holds more than [`MOST`] paths: a scan waits for room, and what events bring beyond it is
//! replaced by one scan of everything.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Most paths that wait at a time; some 10 MiB.
const MOST: usize = 32_768;
/// A scan leaves so much room to events.
const MOST_OF_A_SCAN: usize = MOST / 2;
/// Most renames that wait at a time; beyond it files are measured again instead of renamed.
const MOST_RENAMES: usize = 4_096;

/// See the module.
#[derive(Default)]
pub(super) struct Agenda {
    inner: Mutex<Inner>,
    room: Condvar,
    /// Something was added.
    pub(super) news: Notify,
}

#[derive(Default)]
struct Inner {
    /// When each is due; the number keeps apart what is due at the same time.
    due: BTreeMap<(Instant, u64), Arc<Path>>,
    places: HashMap<Arc<Path>, Place>,
    renames: VecDeque<(PathBuf, PathBuf)>,
    number: u64,
    lost: bool,
    scan_at: Option<Instant>,
    closed: bool,
}

struct Place {
    at: (Instant, u64),
    tries: u8,
}

/// One path taken out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) path: PathBuf,
    /// How often it was tried before.
    pub(super) tries: u8,
}

impl Inner {
    fn put(&mut self, path: &Path, when: Instant, tries: u8) {
        self.number += 1;
        let at = (when, self.number);
        let path: Arc<Path> = match self.places.remove_entry(path) {
            Some((path, place)) => {
                self.due.remove(&place.at);
                path
            }
            None => path.into(),
        };
        self.due.insert(at, path.clone());
        self.places.insert(path, Place { at, tries });
    }
}

impl Agenda {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here can panic half way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened to `path`: it is due once nothing more happens for `quiet`.
    pub(super) fn touch(&self, path: &Path, quiet: Duration) {
        let mut inner = self.lock();
        let tries = inner.places.get(path).map(|place| place.tries);
        if tries.is_none() && inner.places.len() >= MOST {
            inner.lost = true;
        } else {
            inner.put(path, Instant::now() + quiet, tries.unwrap_or(0));
        }
        drop(inner);
        self.news.notify_one();
    }

    /// `path` could not be looked at and is tried again after `pause`.
    pub(super) fn again(&self, path: &Path, tries: u8, pause: Duration) {
        self.lock().put(path, Instant::now() + pause, tries);
        self.news.notify_one();
    }

    /// A scan found `path`. Waits for room; false once nobody takes anything out any more.
    pub(super) fn found(&self, path: &Path) -> bool {
        let mut inner = self.lock();
        while inner.places.len() >= MOST_OF_A_SCAN && !inner.closed {
            inner = self.room.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if inner.closed {
            return false;
        }
        // What an event has put there is not quiet yet.
        if !inner.places.contains_key(path) {
            inner.put(path, Instant::now(), 0);
        }
        drop(inner);
        self.news.notify_one();
        true
    }

    /// Something was renamed.
    pub(super) fn renamed(&self, from: PathBuf, to: PathBuf) {
        let mut inner = self.lock();
        if inner.renames.len() >= MOST_RENAMES {
            inner.lost = true;
        } else {
            inner.renames.push_back((from, to));
        }
        drop(inner);
        self.news.notify_one();
    }

    /// Something happened that nobody can name.
    pub(super) fn lost(&self) {
        self.lock().lost = true;
        self.news.notify_one();
    }

    /// Whether something was lost since the last call.
    pub(super) fn take_lost(&self) -> bool {
        std::mem::take(&mut self.lock().lost)
    }

    /// Everything is to be scanned after `pause`.
    pub(super) fn scan_in(&self, pause: Duration) {
        self.lock().scan_at.get_or_insert(Instant::now() + pause);
        self.news.notify_one();
    }

    /// Whether a scan that was asked for is due.
    pub(super) fn take_scan(&self) -> bool {
        self.lock().scan_at.take_if(|when| *when <= Instant::now()).is_some()
    }

    /// The oldest rename.
    pub(super) fn take_rename(&self) -> Option<(PathBuf, PathBuf)> {
        self.lock().renames.pop_front()
    }

    /// The first path that is due.
    pub(super) fn take(&self) -> Option<Due> {
        let mut inner = self.lock();
        let first = inner.due.first_entry()?;
        if first.key().0 > Instant::now() {
            return None;
        }
        let path = first.remove();
        let tries = inner.places.remove(&path).map_or(0, |place| place.tries);
        if inner.places.len() < MOST_OF_A_SCAN {
            self.room.notify_all();
        }
        Some(Due { path: path.to_path_buf(), tries })
    }

    /// When the first path is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.lock().due.first_key_value().map(|((when, _), _)| *when)
    }

    /// When a scan that was asked for is due.
    pub(super) fn next_scan(&self) -> Option<Instant> {
        self.lock().scan_at
    }

    /// How many paths wait.
    pub(super) fn len(&self) -> usize {
        self.lock().places.len()
    }

    /// Nobody takes anything out any more: scans that wait for room end.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.room.notify_all();
    }

    /// Whether [`Agenda::close`] was called.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;
    const LATER: Duration = Duration::from_secs(3600);

    fn due(path: &str, tries: u8) -> Option<Due> {
        Some(Due { path: path.into(), tries })
    }

    #[test]
    fn a_path_waits_once_and_until_it_is_quiet() {
        let agenda = Agenda::default();
        agenda.touch(Path::new("/a"), NOW);
        agenda.touch(Path::new("/a"), LATER);
        assert_eq!((agenda.len(), agenda.take()), (1, None));
        agenda.touch(Path::new("/a"), NOW);
        assert_eq!((agenda.take(), agenda.take()), (due("/a", 0), None));
    }

    #[test]
    fn a_scan_does_not_hurry_what_is_being_written() {
        let agenda = Agenda::default();
        agenda.touch(Path::new("/a"), LATER);
        assert!(agenda.found(Path::new("/a")));
        assert_eq!(agenda.take(), None);
    }

    #[test]
    fn tries_are_counted_across_events() {
        let agenda = Agenda::default();
        agenda.again(Path::new("/a"), 3, LATER);
        agenda.touch(Path::new("/a"), NOW);
        assert_eq!(agenda.take(), due("/a", 3));
    }

    #[test]
    fn more_events_than_fit_become_one_scan() {
        let agenda = Agenda::default();
        for number in 0..=MOST {
            agenda.touch(Path::new(&format!("/{number}")), LATER);
        }
        assert_eq!((agenda.len(), agenda.take_lost(), agenda.take_lost()), (MOST, true, false));
    }

    #[test]
    fn a_scan_waits_for_room_and_ends_with_the_keeper() {
        let agenda = Arc::new(Agenda::default());
        let scan = std::thread::spawn({
            let agenda = agenda.clone();
            move || (0..MOST).map(|number| agenda.found(Path::new(&format!("/{number}")))).filter(|put| *put).count()
        });
        while agenda.len() < MOST_OF_A_SCAN {
            std::thread::yield_now();
        }
        assert!(agenda.take().is_some());
        while agenda.len() < MOST_OF_A_SCAN {
            std::thread::yield_now();
        }
        agenda.close();
        assert_eq!(scan.join().unwrap(), MOST_OF_A_SCAN + 1);
    }
}

//! How far the taking in of masters is, and how long it will last.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How far the work is, for `vitrine status`.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Masters in the index.
    pub(crate) masters: AtomicU64,
    /// Paths that wait to be looked at, and files that are being read.
    pub(crate) pending: AtomicU64,
    /// Files measured since the start.
    pub(crate) done: AtomicU64,
    /// Files that could not be taken in since the start.
    pub(crate) failed: AtomicU64,
    /// Whether everything was scanned once.
    pub(crate) is_complete: AtomicBool,
    /// Since when there is something to be done, and how many files had been measured by then.
    busy: Mutex<Option<(Instant, u64)>>,
}

impl Progress {
    /// So many paths wait now.
    pub(super) fn waits(&self, pending: u64) {
        self.pending.store(pending, Ordering::Relaxed);
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        match pending {
            0 => *busy = None,
            _ => drop(busy.get_or_insert_with(|| (Instant::now(), self.done.load(Ordering::Relaxed)))),
        }
    }

    /// In how many seconds nothing waits any more, if it goes on as it did since there was something; none where there
    /// is nothing, or nothing to tell it from.
    pub(crate) fn seconds_left(&self) -> Option<u64> {
        let (since, before) = (*self.busy.lock().unwrap_or_else(PoisonError::into_inner))?;
        let done = self.done.load(Ordering::Relaxed).checked_sub(before).filter(|done| *done > 0)?;
        Some(estimate(since.elapsed(), done, self.pending.load(Ordering::Relaxed)))
    }
}

/// How many seconds `pending` files take if `done` took `elapsed`.
fn estimate(elapsed: Duration, done: u64, pending: u64) -> u64 {
    (elapsed.as_secs_f64() / done.max(1) as f64 * pending as f64).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_what_was_done() {
        assert_eq!(estimate(Duration::from_secs(30), 10, 100), 300);
        assert_eq!(estimate(Duration::from_secs(30), 0, 1), 30);
    }

    #[test]
    fn nothing_is_said_where_there_is_nothing_to_tell_it_from() {
        let progress = Progress::default();
        assert_eq!(progress.seconds_left(), None);
        progress.waits(5);
        assert_eq!(progress.seconds_left(), None);
        progress.done.store(1, Ordering::Relaxed);
        assert!(progress.seconds_left().is_some());
        progress.waits(0);
        assert_eq!(progress.seconds_left(), None);
    }
}

//! What the handles and the writing thread share: the queue in memory, and the store behind a lock that
//! whoever records never takes.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nix::time::{ClockId, clock_gettime};
use vitrine_policy::record::{Event, Host, Record, Severity};

use super::SpoolError;
use super::schema::is_corrupt;
use super::store::{Store, stamp};
use crate::fail::{self, Failure};

/// Items that wait in memory at most.
pub(super) const CAPACITY: usize = 65_536;
/// From here on, what is below [`Severity::High`] is dropped: the rest is kept free for the others.
pub(super) const RESERVED_FROM: usize = CAPACITY / 4 * 3;
/// Pictures that wait in memory at most, in bytes.
const PICTURE_BYTES: usize = 64 << 20;
/// Digests of pictures that are remembered, so that they do not go through the queue again.
const REMEMBERED: usize = 16_384;
/// A jump of the clock by more than this is recorded, in milliseconds.
const JUMP: i64 = 60_000;

/// One thing to write.
pub(super) enum Item {
    Record(Box<Record>),
    Picture { digest: String, jpeg: Vec<u8> },
}

/// What waits in memory.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) items: VecDeque<Item>,
    /// How many of them the writing thread took and could not write yet.
    pub(super) in_hand: usize,
    /// Bytes of pictures, in the queue and in hand.
    pub(super) picture_bytes: usize,
    /// Items ever taken over, and how many of these are on the disk.
    pub(super) pushed: u64,
    pub(super) committed: u64,
    /// Items dropped and not yet told of.
    pub(super) dropped: u64,
    pub(super) closing: bool,
    /// Pictures that are in the queue or on the disk.
    known: HashSet<String>,
    /// The wall clock minus the time since boot, at the last push.
    offset: Option<i64>,
}

/// What the handles and the writing thread share.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// Something is there to be written, or the spool closes.
    pub(super) wake: Condvar,
    /// Something was written.
    done: Condvar,
    store: Mutex<Store>,
    host: Host,
    depth: AtomicU64,
    last_sequence: AtomicU64,
    /// For the task that uploads.
    pub(super) more: tokio::sync::Notify,
}

impl Shared {
    pub(super) fn new(store: Store, host: Host) -> Shared {
        Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            done: Condvar::new(),
            depth: store.depth.into(),
            last_sequence: store.last_sequence.into(),
            store: Mutex::new(store),
            host,
            more: tokio::sync::Notify::new(),
        }
    }

    /// The queue. Every holder leaves it consistent, so a panic of another changes nothing.
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, event: Event) {
        let record = stamp(&self.host, event);
        let mut queue = self.queue();
        let now = record.time - since_boot();
        if let Some(jump) = jumped(queue.offset.replace(now), now) {
            let what = format_args!(
                "the clock was set by {} seconds; times of records before and after do not compare. Check who set \
                 it, and whether time synchronisation runs",
                jump / 1000
            );
            let event = Failure::ClockJumped.notice(None, what);
            queue.admit(stamp(&self.host, event));
        }
        queue.admit(record);
        self.wake.notify_one();
    }

    pub(super) fn push_evidence(&self, digest: &str, jpeg: Vec<u8>) {
        let mut queue = self.queue();
        if queue.known.contains(digest) {
            return;
        }
        let waiting = queue.items.len() + queue.in_hand;
        if waiting >= RESERVED_FROM || queue.picture_bytes + jpeg.len() > PICTURE_BYTES {
            queue.lose();
        } else {
            if queue.known.len() >= REMEMBERED {
                queue.known.clear();
            }
            queue.known.insert(digest.to_owned());
            queue.picture_bytes += jpeg.len();
            queue.pushed += 1;
            queue.items.push_back(Item::Picture { digest: digest.to_owned(), jpeg });
        }
        self.wake.notify_one();
    }

    /// Waits until all that was pushed before is written, at most until `end`.
    pub(super) fn flush(&self, end: Instant) -> bool {
        let mut queue = self.queue();
        let pushed = queue.pushed;
        while queue.committed < pushed {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            queue = self.done.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// No more is pushed.
    pub(super) fn close(&self) {
        self.queue().closing = true;
        self.wake.notify_all();
    }

    /// `taken` items, with pictures of so many bytes, are on the disk.
    pub(super) fn written(&self, taken: usize, picture_bytes: usize) {
        let mut queue = self.queue();
        queue.in_hand -= taken;
        queue.picture_bytes -= picture_bytes;
        queue.committed += taken as u64;
        drop(queue);
        self.done.notify_all();
        self.more.notify_one();
    }

    /// Does something with the database. One that turns out to be corrupt is set aside; the error is
    /// returned, and the next call finds the new one.
    pub(super) fn with_store<T>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, SpoolError>,
    ) -> Result<T, SpoolError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = work(&mut store);
        let mut finding = None;
        if let Err(SpoolError::Database { source, .. }) = &outcome
            && is_corrupt(source)
        {
            finding = Some(store.start_anew(&source.to_string())?);
            self.queue().known.clear(); // what was on the disk may be lost
        }
        self.depth.store(store.depth, Ordering::Relaxed);
        self.last_sequence.store(store.last_sequence, Ordering::Relaxed);
        drop(store);
        if let Some(finding) = finding {
            self.push(finding.notice());
        }
        outcome
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    pub(super) fn depth(&self) -> u64 {
        self.depth.load(Ordering::Relaxed)
    }

    pub(super) fn last_sequence(&self) -> u64 {
        self.last_sequence.load(Ordering::Relaxed)
    }
}

impl Queue {
    /// Takes a record over, unless the queue is full for its severity.
    fn admit(&mut self, record: Record) {
        let waiting = self.items.len() + self.in_hand;
        let room = if record.event.severity() < Severity::High { RESERVED_FROM } else { CAPACITY };
        if waiting >= room {
            self.lose();
        } else {
            self.pushed += 1;
            self.items.push_back(Item::Record(Box::new(record)));
        }
    }

    fn lose(&mut self) {
        self.dropped += 1;
        fail::count(Failure::SpoolFull, 1);
    }
}

/// Milliseconds since boot. `CLOCK_BOOTTIME` goes on while the machine sleeps, so waking up is no jump.
fn since_boot() -> i64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| time.tv_sec() * 1000 + time.tv_nsec() / 1_000_000)
}

/// By how many milliseconds the wall clock was set, where that is more than [`JUMP`].
fn jumped(before: Option<i64>, now: i64) -> Option<i64> {
    before.map(|before| now - before).filter(|jump| jump.abs() > JUMP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_by_more_than_a_minute_has_jumped_once() {
        assert_eq!(jumped(None, 5), None);
        assert_eq!(jumped(Some(0), 60_000), None);
        assert_eq!(jumped(Some(0), 60_001), Some(60_001));
        assert_eq!(jumped(Some(0), -3_600_000), Some(-3_600_000));
        assert_eq!(jumped(Some(-3_600_000), -3_600_000), None);
    }

    #[test]
    fn the_clock_of_the_boot_goes_on() {
        assert!(since_boot() > 0);
    }
}

//! The one thread that writes: it takes what has gathered and commits it as one transaction.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use vitrine_policy::record::Event;

use super::coalesce::Coalescer;
use super::queue::{Item, Shared};
use super::store::{Change, told};
use crate::fail::{self, Failure};

/// Items of one transaction.
const GROUP: usize = 4096;
/// First and longest pause after a write that failed.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Runs until the last handle is dropped.
pub(super) fn run(shared: &Shared) {
    let mut coalescer = Coalescer::default();
    loop {
        let (items, dropped, closing) = next(shared, coalescer.due());
        let taken = items.len();
        let mut changes = Vec::with_capacity(taken);
        let mut picture_bytes = 0;
        let now = Instant::now();
        for item in items {
            match item {
                Item::Record(record) => coalescer.take(*record, now, &mut changes),
                Item::Picture { digest, jpeg } => {
                    picture_bytes += jpeg.len();
                    changes.push(Change::Evidence { digest, jpeg });
                }
            }
        }
        coalescer.settle(now, &mut changes);
        if !changes.is_empty() && !write(shared, &changes) {
            tracing::error!("{taken} records could not be written before the agent ended; see the error above");
            return;
        }
        if taken > 0 || !changes.is_empty() {
            shared.written(taken, picture_bytes);
        }
        if dropped > 0 {
            let what = format!("{dropped} records or pictures came faster than the disk takes them, and were dropped");
            shared.push(Event::Notice(told(Failure::SpoolFull, &what, dropped)));
        } else if closing && taken == 0 {
            return;
        }
    }
}

/// Waits for something to do: what gathered, how many were dropped, and whether the spool closes.
fn next(shared: &Shared, due: Option<Instant>) -> (Vec<Item>, u64, bool) {
    let mut queue = shared.queue();
    loop {
        let now = Instant::now();
        let left = due.map(|due| due.saturating_duration_since(now));
        if !queue.items.is_empty() || queue.dropped > 0 || queue.closing || left.is_some_and(|left| left.is_zero()) {
            let group = queue.items.len().min(GROUP);
            let items: Vec<Item> = queue.items.drain(..group).collect();
            queue.in_hand += group;
            // Told of once there is room for the record that tells.
            let dropped = if group > 0 || queue.items.is_empty() { std::mem::take(&mut queue.dropped) } else { 0 };
            return (items, dropped, queue.closing);
        }
        queue = match left {
            Some(left) => shared.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
            None => shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

/// Writes until it succeeds; gives up only where the spool closes.
fn write(shared: &Shared, changes: &[Change]) -> bool {
    let began = Instant::now();
    let mut pause = PAUSE.0;
    let mut attempts = 0_u64;
    loop {
        let outcome = shared.with_store(|store| store.write(changes).map_err(|error| store.failed(error)));
        let Err(error) = outcome else { break };
        attempts += 1;
        fail::count(Failure::SpoolFailed, 1);
        if attempts == 1 {
            tracing::error!("{error}; records wait in memory until it can be written");
        }
        if wait(shared, pause) {
            let last = shared.with_store(|store| store.write(changes).map_err(|error| store.failed(error)));
            return last.inspect_err(|error| tracing::error!("{error}")).is_ok();
        }
        pause = (pause * 2).min(PAUSE.1);
    }
    if attempts > 0 {
        let what = format!(
            "the spool could not be written for {:.1} seconds; nothing of it is lost, records waited in memory. Check \
             the free space of its disk",
            began.elapsed().as_secs_f64()
        );
        shared.push(Event::Notice(told(Failure::SpoolFailed, &what, attempts)));
    }
    true
}

/// Pauses. Whether the spool closes.
fn wait(shared: &Shared, pause: Duration) -> bool {
    let end = Instant::now() + pause;
    let mut queue = shared.queue();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if queue.closing || left.is_zero() {
            return queue.closing;
        }
        queue = shared.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

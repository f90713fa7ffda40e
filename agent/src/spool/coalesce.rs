//! Identical notices become one record with a count. The first goes at once; those that follow within the
//! window are held back on the disk, as one record whose count rises, until the window is over.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use vitrine_policy::record::{Event, Record};

use super::store::Change;

/// Notices with the same code and subject within this time are one.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// Kinds of notices that are told apart at a time; those beyond it are recorded one by one.
const MAX_KINDS: usize = 4096;

type Kind = (String, Option<String>);

/// One kind of notice that came lately.
struct Lately {
    until: Instant,
    held: Option<Record>,
    changed: bool,
}

/// What came lately.
#[derive(Default)]
pub(super) struct Coalescer {
    kinds: HashMap<Kind, Lately>,
}

impl Coalescer {
    /// Takes a record that came at `now`.
    pub(super) fn take(&mut self, record: Record, now: Instant, changes: &mut Vec<Change>) {
        let Event::Notice(notice) = &record.event else {
            changes.push(Change::Add(record));
            return;
        };
        let kind = (notice.code.clone(), notice.subject.clone());
        match self.kinds.get_mut(&kind) {
            None => {
                if self.kinds.len() < MAX_KINDS {
                    self.kinds.insert(kind, Lately { until: now + WINDOW, held: None, changed: false });
                }
                changes.push(Change::Add(record));
            }
            Some(lately) => {
                lately.changed = true;
                match &mut lately.held {
                    None => lately.held = Some(record),
                    Some(held) => {
                        if let (Event::Notice(held), Event::Notice(newest)) = (&mut held.event, record.event) {
                            held.count = held.count.saturating_add(newest.count);
                            held.message = newest.message;
                        }
                    }
                }
            }
        }
    }

    /// Says what is held back, once all records of a group were taken, and lets go what is due.
    pub(super) fn settle(&mut self, now: Instant, changes: &mut Vec<Change>) {
        self.kinds.retain(|_, lately| {
            if let Some(held) = lately.held.as_ref().filter(|_| lately.changed) {
                changes.push(Change::Hold(held.clone()));
                lately.changed = false;
            }
            if now < lately.until {
                return true;
            }
            lately.until = now + WINDOW;
            match lately.held.take() {
                Some(held) => {
                    changes.push(Change::Release(held.id));
                    true
                }
                None => false,
            }
        });
    }

    /// When something that is held back is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.kinds.values().filter(|lately| lately.held.is_some()).map(|lately| lately.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{notice, record};
    use super::*;

    fn count(changes: &[Change]) -> Vec<String> {
        let told = |change: &Change| match change {
            Change::Add(record) | Change::Hold(record) => match &record.event {
                Event::Notice(notice) => {
                    format!("{} {}", if matches!(change, Change::Add(_)) { "add" } else { "hold" }, notice.count)
                }
                Event::Transfer(_) => "transfer".into(),
            },
            Change::Release(_) => "release".into(),
            Change::Evidence { .. } => "evidence".into(),
        };
        changes.iter().map(told).collect()
    }

    #[test]
    fn the_first_goes_at_once_and_the_rest_as_one_when_the_window_is_over() {
        let mut coalescer = Coalescer::default();
        let start = Instant::now();
        let mut changes = Vec::new();
        for _ in 0..5 {
            coalescer.take(record(notice("vanished", Some("/a"))), start, &mut changes);
        }
        coalescer.settle(start, &mut changes);
        assert_eq!(count(&changes), ["add 1", "hold 4"]);
        assert_eq!(coalescer.due(), Some(start + WINDOW));
        changes.clear();
        coalescer.settle(start + WINDOW, &mut changes);
        assert_eq!(count(&changes), ["release"]);
        changes.clear();
        coalescer.settle(start + WINDOW * 2, &mut changes);
        assert!(changes.is_empty() && coalescer.kinds.is_empty() && coalescer.due().is_none());
    }

    #[test]
    fn another_subject_or_code_is_another_notice() {
        let mut coalescer = Coalescer::default();
        let mut changes = Vec::new();
        for (code, subject) in [("vanished", Some("/a")), ("vanished", Some("/b")), ("vanished", None), ("x", None)] {
            coalescer.take(record(notice(code, subject)), Instant::now(), &mut changes);
        }
        coalescer.settle(Instant::now(), &mut changes);
        assert_eq!(count(&changes), ["add 1", "add 1", "add 1", "add 1"]);
    }
}

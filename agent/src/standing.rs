//! What is in force, as one record at the start and whenever it changes: what the agent guarded with, by which policy and
//! what it did not cover can be read there for every moment. The figures of the moment stand beside it; they alone make no
//! record.

use std::time::{Duration, Instant};

use vitrine_policy::record::Event;

use crate::cli::status::Status;
use crate::fail::Failure;

/// Least time between two records. It doubles, to the longest one, with each that follows as soon as it may: whoever mounts
/// and unmounts all the time makes a record an hour.
const APART: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(3600);

/// What was told.
#[derive(Default)]
pub(crate) struct Standing {
    told: Option<(String, Instant)>,
    apart: Option<Duration>,
}

impl Standing {
    /// The record, where there is something new to tell.
    pub(crate) fn tell(&mut self, status: &Status, now: Instant) -> Option<Event> {
        let what = sentence(status);
        let apart = self.apart.unwrap_or(APART);
        let is_due = |(before, since): &(String, Instant)| *before != what && now.duration_since(*since) >= apart;
        if !self.told.as_ref().is_none_or(is_due) {
            return None;
        }
        let is_calm = self.told.as_ref().is_none_or(|(_, since)| now.duration_since(*since) > 2 * apart);
        self.apart = Some(if is_calm { APART } else { LONGEST.min(2 * apart) });
        let event = Failure::Standing.notice(None, format!("{what}. {}", figures(status)));
        self.told = Some((what, now));
        Some(event)
    }
}

fn sentence(status: &Status) -> String {
    let Status { guard, mode, policy, policy_digest, .. } = status;
    let name = status.policy_name.as_ref().map_or_else(String::new, |name| format!(" “{name}”"));
    let serial = status.policy_serial.map_or_else(String::new, |serial| format!(" of serial {serial}"));
    let by = match policy_digest.is_empty() {
        true => format!("without a policy, because {policy} cannot be used"),
        false => format!("by the policy{name}{serial} (BLAKE3 {policy_digest}, {policy})"),
    };
    let not_covered = match status.not_covered.as_slice() {
        [] => "nothing that it knows of".to_owned(),
        lines => lines.join("; "),
    };
    format!("the agent guards with {guard}, in mode {mode}, {by}; not covered on this machine: {not_covered}")
}

fn figures(status: &Status) -> String {
    let Status { masters, pending, spool_depth, last_sequence, collector_contact, .. } = status;
    let collector = match &status.collector {
        Some(url) => format!("the collector {url}: {collector_contact}"),
        None => "there is no collector".to_owned(),
    };
    format!(
        "Of masters {masters} are indexed, and {pending} files wait to be looked at; {spool_depth} records wait to be sent, the \
         last one numbered is {last_sequence}; {collector}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_at_first_and_when_it_changes_and_not_more_often_than_it_may() {
        let status = |mode: &str, masters| Status {
            guard: "gate".into(),
            mode: mode.into(),
            policy_name: Some("scans".into()),
            policy_serial: Some(7),
            policy_digest: "ab".into(),
            not_covered: vec!["the network".into(), "renames".into()],
            masters,
            spool_depth: 12,
            collector: Some("https://vitrine.museum.example".into()),
            collector_contact: "never heard".into(),
            ..Status::default()
        };
        let (mut standing, start) = (Standing::default(), Instant::now());
        let Some(Event::Notice(notice)) = standing.tell(&status("audit", 3), start) else { panic!("nothing is told") };
        let figures = ["3 are indexed", "12 records wait", "vitrine.museum.example: never heard"];
        for part in ["gate", "audit", "“scans”", "serial 7", "the network; renames"].into_iter().chain(figures) {
            assert!(notice.message.contains(part), "{part} is not in {}", notice.message);
        }
        assert!(standing.tell(&status("audit", 9), start + APART).is_none(), "masters are no standing");
        assert!(standing.tell(&status("enforce", 9), start + APART / 2).is_none());
        assert!(standing.tell(&status("enforce", 9), start + APART).is_some());
        assert!(standing.tell(&status("enforce", 9), start + 3 * APART).is_none());
        // What changes all the time is told more and more seldom, and at once again after a rest.
        assert!(standing.tell(&status("audit", 9), start + 2 * APART).is_none());
        assert!(standing.tell(&status("audit", 9), start + 3 * APART).is_some());
        assert!(standing.tell(&status("enforce", 9), start + 5 * APART).is_none());
        assert!(standing.tell(&status("enforce", 9), start + 99 * APART).is_some());
        assert!(standing.tell(&status("audit", 9), start + 100 * APART).is_some());
    }
}

//! How it stands with the collector.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

/// How it stands with the collector, for `vitrine status`.
#[derive(Debug, Default)]
pub(crate) struct Contact(Mutex<Standing>);

#[derive(Debug, Default)]
pub(super) struct Standing {
    pub(super) reached: Option<Timestamp>,
    pub(super) trouble: Option<String>,
    pub(super) policy_refused: Option<String>,
}

impl Contact {
    /// Why the policy that the collector gives is not in force.
    pub(crate) fn policy_refused(&self) -> Option<String> {
        self.standing().policy_refused.clone()
    }

    /// One sentence.
    pub(crate) fn describe(&self) -> String {
        let standing = self.standing();
        let reached = standing.reached.map(|time| time.strftime("%Y-%m-%d %H:%M:%S UTC"));
        match (&standing.trouble, reached) {
            (None, None) => "not tried yet".into(),
            (None, Some(reached)) => format!("reached at {reached}"),
            (Some(why), Some(reached)) => format!("not reached since {reached}: {why}"),
            (Some(why), None) => format!("never reached since the agent started: {why}"),
        }
    }

    pub(super) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

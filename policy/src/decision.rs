//! What a judgement says, and with which rule.

use serde::{Deserialize, Serialize};

use crate::facts::Ceiling;

/// Whether the policy's answers are given or only recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing is blocked; records say what would have been.
    Audit,
    /// The verdict is the answer.
    Enforce,
}

/// What the policy says of an attempt, whatever the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Allowed.
    Allow,
    /// Allowed because the user gave a reason, which is recorded.
    AllowJustified,
    /// Allowed, and security staff are told.
    Report,
    /// Refused.
    Block,
}

/// What the kernel (or the quarantine) is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Let it happen.
    Allow,
    /// Refuse it, or take it back.
    Deny,
}

/// The rule that decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Rule {
    /// The collection names no programs: anybody may read it.
    OpenCollection {
        /// The collection.
        collection: String,
    },
    /// The collection is a vault.
    Vault {
        /// The collection.
        collection: String,
        /// Whether the program is one of those that the vault names.
        named: bool,
    },
    /// The program is trusted to move anything anywhere.
    Exempt {
        /// Name of the program.
        program: String,
    },
    /// A named destination's ceiling, or `elsewhere`'s.
    Ceiling {
        /// Name of the destination; `elsewhere` where none matched.
        destination: String,
    },
    /// The destination wants a reason, and none was given.
    Justify {
        /// Name of the destination.
        destination: String,
    },
    /// More objects in a day than the destination may receive.
    ObjectsPerDay {
        /// Name of the destination.
        destination: String,
    },
    /// More of one master's area than the destination may receive.
    Coverage {
        /// Name of the destination.
        destination: String,
    },
}

/// The outcome of one judgement. It must be used: whoever holds it owes the kernel an answer and the
/// collector a record.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What the policy says.
    pub verdict: Verdict,
    /// The rule that decided.
    pub rule: Rule,
    /// The ceiling in force, where the attempt was a transfer.
    pub ceiling: Option<Ceiling>,
    /// The mode in which it was made.
    pub mode: Mode,
}

impl Decision {
    /// The answer that follows: the only place where the mode counts.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match (self.mode, self.verdict) {
            (Mode::Enforce, Verdict::Block) => Answer::Deny,
            _ => Answer::Allow,
        }
    }

    /// Whether security staff should hear of it. Quiet only what is plainly allowed.
    #[must_use]
    pub fn is_notable(&self) -> bool {
        self.verdict != Verdict::Allow
    }
}

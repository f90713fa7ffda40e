//! What an alert turned out to be.

use serde::{Deserialize, Serialize};

/// `verdict_id` of a finding: the numbers and captions of OCSF 1.5.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nobody knows.
    Unknown = 0,
    /// Nothing happened that the policy is against.
    FalsePositive = 1,
    /// It happened as told.
    TruePositive = 2,
    /// It does not matter.
    Disregard = 3,
    /// It looks bad and is not proved.
    Suspicious = 4,
    /// It happened, and was meant well.
    Benign = 5,
    /// Somebody tried the alarm.
    Test = 6,
    /// Too little is known.
    InsufficientData = 7,
    /// A hole that has to be mended.
    SecurityRisk = 8,
    /// Others look after it.
    ManagedExternally = 9,
    /// Another alert tells of the same.
    Duplicate = 10,
}

impl Verdict {
    /// All of them, those that are chosen most often first.
    pub const ALL: [Verdict; 11] = [
        Verdict::TruePositive,
        Verdict::FalsePositive,
        Verdict::Benign,
        Verdict::Suspicious,
        Verdict::SecurityRisk,
        Verdict::Test,
        Verdict::Duplicate,
        Verdict::Disregard,
        Verdict::InsufficientData,
        Verdict::ManagedExternally,
        Verdict::Unknown,
    ];

    /// The verdict of a number of OCSF.
    #[must_use]
    pub fn of(id: u8) -> Option<Verdict> {
        Verdict::ALL.into_iter().find(|verdict| verdict.id() == id)
    }

    /// Its number in OCSF.
    #[must_use]
    pub fn id(self) -> u8 {
        self as u8
    }

    /// Its caption in OCSF, as it stands in a sentence.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Unknown => "unknown",
            Verdict::FalsePositive => "false positive",
            Verdict::TruePositive => "true positive",
            Verdict::Disregard => "disregard",
            Verdict::Suspicious => "suspicious",
            Verdict::Benign => "benign",
            Verdict::Test => "test",
            Verdict::InsufficientData => "insufficient data",
            Verdict::SecurityRisk => "security risk",
            Verdict::ManagedExternally => "managed externally",
            Verdict::Duplicate => "duplicate",
        }
    }
}

//! Every failure, decided once: what happens to the operation under way, what is recorded, which counter
//! rises. Nothing else in the agent invents a reaction of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use vitrine_policy::record::{Event, Notice, NoticeClass, SHUTDOWN, STARTED, STOPPED, Severity, printable};
use vitrine_worker::MeasureFailed;

/// Everything that can go wrong, or that the agent tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub(crate) enum Failure {
    Started,
    Shutdown,
    Stopped,
    SettingsRefused,
    SettingsNotKept,
    SettingsChanged,
    Standing,
    StateFailed,
    PolicyLoaded,
    PolicyRefused,
    PolicyMissing,
    PolicyNotKept,
    GuardDegraded,
    GuardLost,
    GuardTouched,
    MarkFailed,
    DeadlineMissed,
    QueueOverflow,
    Untold,
    Unscanned,
    Vanished,
    WorkerFailed,
    QuarantineFailed,
    UndoFailed,
    TaintIncomplete,
    IndexFailed,
    IndexSetAside,
    HistoryFailed,
    HistorySetAside,
    HistoryFull,
    WatchOverflow,
    SpoolFull,
    SpoolFailed,
    RecordRejected,
    CollectorAway,
    CollectorRefused,
    DeskClosed,
    Justified,
    ApprovalAsked,
    ApprovalDenied,
    ApprovalExpired,
    ApprovalFailed,
    MaintenanceOpened,
    MaintenanceEnded,
    MaintenanceRefused,
    AgentTouched,
    ClockJumped,
    ProgramChanged,
    ProgramMissing,
    InstallationChanged,
    ServiceDisabled,
}

/// One row of the table.
pub(crate) struct Row {
    /// Stable name of the record and of the counter.
    pub(crate) code: &'static str,
    /// Which part of OCSF the record belongs to.
    pub(crate) class: NoticeClass,
    /// How bad it is.
    pub(crate) severity: Severity,
    /// What happens to the operation under way.
    pub(crate) operation: &'static str,
}

impl From<&MeasureFailed> for Failure {
    fn from(failed: &MeasureFailed) -> Failure {
        match failed {
            MeasureFailed::Unreadable(_) | MeasureFailed::Changed => Failure::Unscanned,
            MeasureFailed::NotStarted(_)
            | MeasureFailed::TooSlow(_)
            | MeasureFailed::Crashed(_)
            | MeasureFailed::Nonsense(_) => Failure::WorkerFailed,
        }
    }
}

impl Failure {
    /// All of them, in the order of their counters.
    pub(crate) const ALL: [Failure; 51] = [
        Failure::Started,
        Failure::Shutdown,
        Failure::Stopped,
        Failure::SettingsRefused,
        Failure::SettingsNotKept,
        Failure::SettingsChanged,
        Failure::Standing,
        Failure::StateFailed,
        Failure::PolicyLoaded,
        Failure::PolicyRefused,
        Failure::PolicyMissing,
        Failure::PolicyNotKept,
        Failure::GuardDegraded,
        Failure::GuardLost,
        Failure::GuardTouched,
        Failure::MarkFailed,
        Failure::DeadlineMissed,
        Failure::QueueOverflow,
        Failure::Untold,
        Failure::Unscanned,
        Failure::Vanished,
        Failure::WorkerFailed,
        Failure::QuarantineFailed,
        Failure::UndoFailed,
        Failure::TaintIncomplete,
        Failure::IndexFailed,
        Failure::IndexSetAside,
        Failure::HistoryFailed,
        Failure::HistorySetAside,
        Failure::HistoryFull,
        Failure::WatchOverflow,
        Failure::SpoolFull,
        Failure::SpoolFailed,
        Failure::RecordRejected,
        Failure::CollectorAway,
        Failure::CollectorRefused,
        Failure::DeskClosed,
        Failure::Justified,
        Failure::ApprovalAsked,
        Failure::ApprovalDenied,
        Failure::ApprovalExpired,
        Failure::ApprovalFailed,
        Failure::MaintenanceOpened,
        Failure::MaintenanceEnded,
        Failure::MaintenanceRefused,
        Failure::AgentTouched,
        Failure::ClockJumped,
        Failure::ProgramChanged,
        Failure::ProgramMissing,
        Failure::InstallationChanged,
        Failure::ServiceDisabled,
    ];

    /// The row of the table.
    #[rustfmt::skip] // a table reads in rows
    pub(crate) fn row(self) -> Row {
        use NoticeClass::{Lifecycle, Policy, Tamper};
        use Severity::{Critical, High, Informational, Low, Medium};
        let (code, class, severity, operation) = match self {
            Failure::Started          => (STARTED,             Lifecycle, Informational, "none"),
            Failure::Shutdown         => (SHUTDOWN,            Lifecycle, Informational, "waiting system calls are freed"),
            Failure::Stopped          => (STOPPED,             Lifecycle, Medium,        "waiting system calls are freed"),
            Failure::SettingsRefused  => ("settings-refused",  Policy,    Critical,      "the last settings that could be used hold, else the defaults"),
            Failure::SettingsNotKept  => ("settings-not-kept", Policy,    High,          "these settings hold; the next start may know only the ones before"),
            Failure::SettingsChanged  => ("settings-changed",  Policy,    Low,           "they count once the agent is started after that"),
            Failure::Standing         => ("standing",          Lifecycle, Informational, "none"),
            Failure::StateFailed      => ("state-failed",      Lifecycle, High,          "it guards by what it knows; what it should know after a restart may be lost"),
            Failure::PolicyLoaded     => ("policy-loaded",     Policy,    Informational, "judged by the new policy from now on"),
            Failure::PolicyRefused    => ("policy-refused",    Policy,    High,          "judged by the last good policy"),
            Failure::PolicyMissing    => ("policy-missing",    Policy,    Critical,      "nothing is blocked until a policy can be read"),
            Failure::PolicyNotKept    => ("policy-not-kept",   Policy,    High,          "judged by the new policy; the next start may know only the one before"),
            Failure::GuardDegraded    => ("guard-degraded",    Lifecycle, High,          "the next weaker guard takes over"),
            Failure::GuardLost        => ("guard-lost",        Tamper,    Critical,      "the agent ends, and whoever starts it again starts the guard"),
            Failure::GuardTouched     => ("guard-touched",     Tamper,    High,          "it goes on"),
            Failure::MarkFailed       => ("mark-failed",       Lifecycle, High,          "that file system is not guarded"),
            Failure::DeadlineMissed   => ("deadline-missed",   Lifecycle, Medium,        "what is known of the path decides"),
            Failure::QueueOverflow    => ("queue-overflow",    Lifecycle, High,          "the kernel allowed it, and nobody judged it"),
            Failure::Untold           => ("untold",            Lifecycle, High,          "each was answered as the policy says"),
            Failure::Unscanned        => ("unscanned",         Lifecycle, Medium,        "the inherited label stands"),
            Failure::Vanished         => ("vanished",          Lifecycle, Informational, "nothing is left to judge"),
            Failure::WorkerFailed     => ("worker-failed",     Lifecycle, Medium,        "the inherited label stands"),
            Failure::QuarantineFailed => ("quarantine-failed", Lifecycle, Critical,      "the file stays where it is"),
            Failure::UndoFailed       => ("undo-failed",       Lifecycle, Critical,      "the file stays where it is"),
            Failure::TaintIncomplete  => ("taint-incomplete",  Lifecycle, Medium,        "what was not seen in time counts as a place that nobody named"),
            Failure::IndexFailed      => ("index-failed",      Lifecycle, High,          "masters are told by their path alone"),
            Failure::IndexSetAside    => ("index-set-aside",   Lifecycle, High,          "masters are told by their path until they are read again"),
            Failure::HistoryFailed    => ("history-failed",    Lifecycle, High,          "what goes out counts in memory until it can be written; what was written counts once it can be read"),
            Failure::HistorySetAside  => ("history-set-aside", Lifecycle, High,          "areas count from nothing again, objects from the next start"),
            Failure::HistoryFull      => ("history-full",      Lifecycle, High,          "what went there longest ago counts no more"),
            Failure::WatchOverflow    => ("watch-overflow",    Lifecycle, Low,           "the directories are scanned again"),
            Failure::SpoolFull        => ("spool-full",        Lifecycle, High,          "the oldest records of the lowest class go"),
            Failure::SpoolFailed      => ("spool-failed",      Lifecycle, Critical,      "records wait in memory, then are counted"),
            Failure::RecordRejected   => ("record-rejected",   Lifecycle, Medium,        "the collector keeps it apart; the next ones go on"),
            Failure::CollectorAway    => ("collector-away",    Lifecycle, Low,           "records wait in the spool"),
            Failure::CollectorRefused => ("collector-refused", Lifecycle, High,          "records wait in the spool"),
            Failure::DeskClosed       => ("desk-closed",       Lifecycle, Low,           "it is answered and recorded as ever; nobody is told why"),
            Failure::Justified        => ("justified",         Policy,    Low,           "until then it is let through, and recorded with this reason"),
            Failure::ApprovalAsked    => ("approval-asked",    Policy,    Low,           "it is refused until somebody approves it"),
            Failure::ApprovalDenied   => ("approval-denied",   Policy,    Low,           "it is refused as before"),
            Failure::ApprovalExpired  => ("approval-expired",  Policy,    Low,           "it is refused as before"),
            Failure::ApprovalFailed   => ("approval-failed",   Lifecycle, Medium,        "it is refused as before"),
            Failure::MaintenanceOpened  => ("maintenance-opened",  Policy, Medium,        "until then root may touch what is the agent's"),
            Failure::MaintenanceEnded   => ("maintenance-ended",   Policy, Informational, "what is the agent's is kept from root again"),
            Failure::MaintenanceRefused => ("maintenance-refused", Tamper, High,          "nothing is opened by it"),
            Failure::AgentTouched     => ("agent-touched",     Tamper,    High,          "none"),
            Failure::ClockJumped      => ("clock-jumped",      Tamper,    Medium,        "none"),
            Failure::ProgramChanged   => ("program-changed",   Tamper,    Medium,        "the new executable counts as the program"),
            Failure::ProgramMissing   => ("program-missing",   Policy,    Medium,        "nobody is taken for that program"),
            Failure::InstallationChanged => ("installation-changed", Tamper, Low,        "it counts from the next start of the service"),
            Failure::ServiceDisabled  => ("service-disabled",  Tamper,    High,          "the agent guards until the workstation goes off"),
        };
        Row { code, class, severity, operation }
    }

    /// Raises the counter and makes the record.
    pub(crate) fn notice(self, subject: Option<&[u8]>, what: impl std::fmt::Display) -> Event {
        count(self, 1);
        let row = self.row();
        Event::Notice(Notice {
            code: row.code.to_owned(),
            class: row.class,
            severity: row.severity,
            message: match row.operation {
                "none" => what.to_string(),
                operation => format!("{what} (what follows: {operation})"),
            },
            subject: subject.map(printable),
            count: 1,
        })
    }
}

static COUNTERS: [AtomicU64; Failure::ALL.len()] = [const { AtomicU64::new(0) }; Failure::ALL.len()];

/// Raises a counter without a record, where a record would be too much or cannot be made.
pub(crate) fn count(failure: Failure, by: u64) {
    COUNTERS[failure as usize].fetch_add(by, Ordering::Relaxed);
}

/// How often a failure was counted.
pub(crate) fn counter(failure: Failure) -> u64 {
    COUNTERS[failure as usize].load(Ordering::Relaxed)
}

/// All counters that are not zero, by code.
pub(crate) fn counters() -> Vec<(&'static str, u64)> {
    let read = |failure: Failure| (failure.row().code, counter(failure));
    Failure::ALL.into_iter().map(read).filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_a_row_and_a_counter_of_its_own() {
        for (position, failure) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, position);
        }
        let mut codes: Vec<_> = Failure::ALL.into_iter().map(|failure| failure.row().code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Failure::ALL.len());
    }
}

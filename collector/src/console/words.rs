//! What people read: decisions, severities, tiers and times in words.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use vitrine_policy::decision::Mode;
use vitrine_policy::facts::Measure;
use vitrine_policy::record::{Disposition, Severity};

use crate::alert::Alert;

/// How an attempt ended.
pub(crate) fn disposition(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Allowed => "went through",
        Disposition::Blocked => "refused before the first byte",
        Disposition::Undone => "done and undone at once",
        Disposition::Quarantined => "arrived and was taken away",
        Disposition::WouldBlock => "went through: audit only, would be refused",
        Disposition::Failed => "went through: could not be taken back",
    }
}

/// Whether what was to go somewhere is there.
pub(crate) fn went_through(disposition: Disposition) -> bool {
    matches!(disposition, Disposition::Allowed | Disposition::WouldBlock | Disposition::Failed)
}

pub(crate) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Informational => "informational",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

pub(crate) fn measure(measure: &Measure) -> String {
    let depth = format!("{:.1} megapixels, {} bit", measure.megapixels, measure.bit_depth);
    match measure.scale {
        Some(scale) => format!("{:.0} % of the master, {depth}", scale * 100.0),
        None => depth,
    }
}

pub(crate) fn tier(alert: &Alert) -> String {
    match (&alert.tier, &alert.measure) {
        (None, _) => String::new(),
        (Some(tier), None) => tier.clone(),
        (Some(tier), Some(found)) => format!("{tier} ({})", measure(found)),
    }
}

pub(crate) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Audit => "audit",
        Mode::Enforce => "enforce",
    }
}

/// How long ago something was, in the largest unit that fits.
pub(crate) fn ago(milliseconds: i64) -> String {
    match milliseconds / 1000 {
        seconds if seconds < 60 => format!("{} s ago", seconds.max(0)),
        seconds if seconds < 3600 => format!("{} min ago", seconds / 60),
        seconds if seconds < 48 * 3600 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86400),
    }
}

/// By how much a clock is ahead or behind: to a tenth of a second, from a minute on to a minute.
pub(crate) fn skew(milliseconds: i64) -> String {
    let sign = if milliseconds < 0 { '−' } else { '+' };
    let tenths = (milliseconds.saturating_add(50)).div_euclid(100).unsigned_abs();
    match tenths {
        0 => "exact".into(),
        tenths if tenths < 600 => format!("{sign}{}.{} s", tenths / 10, tenths % 10),
        tenths if tenths < 36_000 => format!("{sign}{} min", tenths / 600),
        tenths => format!("{sign}{} h {} min", tenths / 36_000, tenths / 600 % 60),
    }
}

/// The time where the collector stands.
pub(crate) fn time(milliseconds: i64) -> String {
    match Timestamp::from_millisecond(milliseconds) {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
        Err(_) => format!("{milliseconds} ms"),
    }
}

/// The same for machines (HTML's `datetime`).
pub(crate) fn machine_time(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds).map(|time| time.to_string()).unwrap_or_default()
}

/// How a picture came from a master.
pub(crate) fn kind(kind: vitrine_fingerprint::Kind) -> &'static str {
    match kind {
        vitrine_fingerprint::Kind::Exact => "the master itself",
        vitrine_fingerprint::Kind::Derivative => "the whole picture",
        vitrine_fingerprint::Kind::Fragment => "a part of it",
        vitrine_fingerprint::Kind::Embedded => "the whole picture, within another one",
    }
}

//! What a message says, in words that every way out can carry. Everything that comes from workstations has passed
//! [`crate::alert::text::line`].

use crate::alert::{Alert, State};
use crate::console::words;
use crate::store::{Letter, Occasion};

/// Masters and destinations that a message names.
const NAMED: usize = 5;
/// Alerts that a message has a line for.
const LINES: usize = 20;

/// One line for a subject: how bad, what for, which.
pub(crate) fn headline(letter: &Letter) -> String {
    let what = match letter.event {
        Occasion::Created => "",
        Occasion::Worsened => "worse: ",
        Occasion::Repeated => "still open: ",
        Occasion::Escalated => "nobody has answered: ",
        Occasion::Digest => "digest: ",
        Occasion::Test => "test: ",
    };
    let Some(worst) = letter.alerts.first() else {
        return "[Vitrine]".into();
    };
    let (severity, title) = (words::severity(worst.severity), &worst.title);
    match letter.count() {
        1 => format!("[Vitrine] {severity} {what}{title}"),
        count => format!("[Vitrine] {severity} {what}{count} alerts, the worst: {title}"),
    }
}

/// What is known of the alert; of several, a row for each.
pub(super) fn rows(letter: &Letter) -> Vec<(&'static str, String)> {
    if let [alert] = letter.alerts.as_slice()
        && letter.more == 0
    {
        return of_one(alert);
    }
    let mut rows: Vec<_> = letter
        .alerts
        .iter()
        .take(LINES)
        .map(|alert| {
            let user = alert.user.as_ref().map_or(String::new(), |user| format!(", {user}"));
            let (title, host, attempts) = (&alert.title, &alert.host, alert.attempts);
            let times = if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
            let state = if alert.state == State::Open { "" } else { alert.state.name() };
            let state = if state.is_empty() { String::new() } else { format!(", {state}") };
            (words::severity(alert.severity), format!("{title}; {host}{user}, {times}, alert {}{state}", alert.id))
        })
        .collect();
    let unnamed = letter.count().saturating_sub(rows.len() as u64);
    if unnamed > 0 {
        rows.push(("and", format!("{unnamed} more in the list of alerts")));
    }
    rows
}

pub(super) fn of_one(alert: &Alert) -> Vec<(&'static str, String)> {
    let several = |all: &[String]| {
        let more = all.len().saturating_sub(NAMED);
        let named = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        if more == 0 { named } else { format!("{named} and {more} more") }
    };
    let mut rows = vec![
        ("Workstation", alert.host.clone()),
        ("User", alert.user.clone().unwrap_or_default()),
        ("Program", alert.program.clone().unwrap_or_default()),
        ("Tier", words::tier(alert)),
        ("Decision", alert.disposition.map_or("", words::disposition).to_owned()),
        ("Attempts", alert.attempts.to_string()),
        ("Masters", several(&alert.masters)),
        ("Destinations", several(&alert.destinations)),
        ("Why", alert.explanation.clone()),
        ("Alert", alert.id.to_string()),
    ];
    rows.retain(|(_, value)| !value.is_empty());
    rows
}

//! Alerts to a syslog server: one message for each, as JSON.

use std::path::Path;

use serde_json::json;

use super::SendError;
use crate::alert::Alert;
use crate::alert::text::line;
use crate::config::{ConfigError, SyslogServer};
use crate::sink::json_line;
use crate::sink::syslog::{Head, LONGEST};
use crate::store::Letter;

/// Names of each kind, and characters of the explanation, that stay in a message that would be too long with all of them.
const NAMED: usize = 5;
const EXPLANATION: usize = 1_000;
/// Characters of the title that stay where that is still too long.
const TITLE: usize = 100;

pub(super) struct Syslog {
    target: String,
    server: crate::sink::syslog::Syslog,
}

impl Syslog {
    pub(super) fn new(entry: &str, config: &SyslogServer, data: &Path) -> Result<Syslog, ConfigError> {
        let server = crate::sink::syslog::Syslog::new(entry, config, data)?;
        Ok(Syslog { target: format!("syslog to {}", config.server), server })
    }

    pub(super) fn target(&self) -> String {
        self.target.clone()
    }

    pub(super) async fn send(&self, letter: &Letter) -> Result<String, SendError> {
        let messages: Vec<String> = letter.alerts.iter().map(|alert| message(letter, alert)).collect();
        self.server.deliver(messages.iter().map(String::as_str)).await?;
        Ok("read, and the connection closed".into())
    }
}

fn message(letter: &Letter, alert: &Alert) -> String {
    let text = |alert: &Alert| json_line(&json!({"event": letter.event, "route": letter.route, "alert": alert}));
    let mut said = text(alert);
    if said.len() > LONGEST {
        let mut short = alert.clone();
        for names in [&mut short.masters, &mut short.destinations, &mut short.destination_names, &mut short.collections]
        {
            names.truncate(NAMED);
        }
        short.explanation = line(&short.explanation, EXPLANATION);
        said = text(&short);
    }
    if said.len() > LONGEST {
        let Alert { id, severity, kind, host, .. } = alert;
        let title = line(&alert.title, TITLE);
        said = json_line(&json!({
            "event": letter.event,
            "route": letter.route,
            "alert": {"id": id, "severity": severity, "kind": kind, "host": host, "title": title},
            "cut": true,
        }));
    }
    let head = Head { severity: alert.severity, time: alert.changed, host: &alert.host, what: "alert" };
    head.before(env!("CARGO_PKG_VERSION"), &said)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{LONGEST, message};
    use crate::alert::Alert;
    use crate::alert::text::line;
    use crate::store::{Letter, Occasion};

    /// What a server reads of an alert in which every name is this.
    fn read(name: &str) -> Value {
        let mut alert = Alert::test("siem", "ines", 0);
        (alert.id, alert.title) = (7, name.into());
        (alert.user, alert.program) = (Some(name.into()), Some(name.into()));
        let names: Vec<String> = (10..42).map(|n| format!("{n}{name}")).collect();
        (alert.masters, alert.destinations) = (names.clone(), names.clone());
        (alert.destination_names, alert.collections) = (names.clone(), names);
        alert.explanation = name.repeat(4);
        let letter = Letter { event: Occasion::Created, route: "siem".into(), alerts: vec![alert], more: 0 };
        let text = message(&letter, &letter.alerts[0]);
        let (_, json) = text.split_once("] ").unwrap();
        assert!(json.len() <= LONGEST, "{}", json.len());
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_alert_that_is_too_long_is_cut_and_still_read() {
        let all = read("K2B_0012.tif");
        assert_eq!(all["alert"]["masters"].as_array().unwrap().len(), 32);
        let some = read(&line(&"寒".repeat(300), 300));
        for names in ["masters", "destinations", "destination_names", "collections"] {
            assert_eq!(some["alert"][names].as_array().unwrap().len(), 5, "{names}");
        }
        assert_eq!(some["alert"]["explanation"].as_str().unwrap().chars().count(), 1_001);
        assert!(some.get("cut").is_none());
        let least = read(&line(&"\u{202e}".repeat(300), 300));
        assert_eq!((&least["cut"], &least["alert"]["id"]), (&true.into(), &7.into()));
        assert_eq!(least["alert"]["title"].as_str().unwrap().chars().count(), 101);
        assert_eq!(least["alert"].as_object().unwrap().len(), 5);
    }
}

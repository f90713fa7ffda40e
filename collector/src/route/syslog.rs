//! Alerts to a syslog server: one message for each, as JSON.

use std::path::Path;

use serde_json::json;

use super::SendError;
use crate::alert::Alert;
use crate::config::{ConfigError, SyslogServer};
use crate::sink::json_line;
use crate::sink::syslog::{Head, LONGEST};
use crate::store::Letter;

/// Names that stay in a message that would be too long with all of them.
const NAMED: usize = 5;

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
        short.masters.truncate(NAMED);
        short.destinations.truncate(NAMED);
        said = text(&short);
    }
    let head = Head { severity: alert.severity, time: alert.changed, host: &alert.host, what: "alert" };
    head.before(env!("CARGO_PKG_VERSION"), &said)
}

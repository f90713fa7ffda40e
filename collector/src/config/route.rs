//! `[[route]]`: who is told of which alerts, by what way, and when.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use vitrine_policy::record::Severity;

use super::SyslogServer;

/// One `[[route]]`. Of `webhook`, `email` and `syslog` it has one. What is not named matches every alert.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Route {
    /// Name of the route: what waits to be sent goes by it.
    pub name: String,
    /// Least severity.
    pub severity: Option<Severity>,
    /// Highest severity.
    pub up_to: Option<Severity>,
    /// Collections, by name.
    #[serde(default)]
    pub collections: Vec<String>,
    /// Workstations, as patterns (`scan-*`).
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Destinations, by name; `elsewhere` is all that the policy does not name.
    #[serde(default)]
    pub destinations: Vec<String>,
    /// How long a message waits for more of its group; none: 5 s.
    pub group_wait: Option<Span>,
    /// Least time between two messages about one group, unless it got worse; none: 5 minutes.
    pub group_interval: Option<Span>,
    /// After what time an alert is told of again while it is open; none: never.
    pub repeat: Option<Span>,
    /// Tells of an alert, once, if nobody has answered for it after so long; none: as soon as it comes.
    pub escalate_after: Option<Span>,
    /// Tells of all alerts of so long in one message; none: of each as it comes.
    pub digest: Option<Span>,
    /// POST to an address.
    pub webhook: Option<Webhook>,
    /// Mail.
    pub email: Option<Email>,
    /// A syslog server.
    pub syslog: Option<SyslogServer>,
}

/// A time from a second to a month, as `30s`, `15m` or `24h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(i64);

impl Span {
    /// The longest, in milliseconds.
    const LONGEST: i64 = 31 * 24 * 3600 * 1000;

    /// In milliseconds.
    #[must_use]
    pub fn milliseconds(self) -> i64 {
        self.0
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Span, String> {
        let found = jiff::SignedDuration::from_str(&text).ok().and_then(|span| i64::try_from(span.as_millis()).ok());
        found.filter(|span| (0..=Span::LONGEST).contains(span)).map(Span).ok_or_else(|| {
            format!("{text:?} is no time: expected one as \"30s\", \"15m\" or \"24h\", at most \"744h\"")
        })
    }
}

/// `[route.webhook]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Webhook {
    /// `https://` anywhere, `http://` only to this machine.
    pub url: String,
    /// What the receiver expects.
    #[serde(default)]
    pub shape: AlertShape,
    /// File with the secret that signs, or PagerDuty's integration key; relative to the data directory.
    pub secret_file: Option<PathBuf>,
}

/// `shape = ` of `[route.webhook]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertShape {
    /// The alert as the API gives it, signed.
    #[default]
    Vitrine,
    /// A message in a Slack channel.
    Slack,
    /// A message in a Mattermost channel.
    Mattermost,
    /// A message in a Microsoft Teams channel.
    Teams,
    /// An event of `PagerDuty`'s Events API v2.
    Pagerduty,
    /// An alert of Prometheus' Alertmanager.
    Alertmanager,
}

/// `[route.email]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Email {
    /// `host` or `host:port`.
    pub server: String,
    /// Sender.
    pub from: String,
    /// Receivers.
    pub to: Vec<String>,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: MailTls,
    /// PEM file with the only authorities that may vouch for the server; relative to the data directory.
    pub ca_file: Option<PathBuf>,
    /// Login name, where the server wants one.
    pub username: Option<String>,
    /// File with the password; relative to the data directory.
    pub password_file: Option<PathBuf>,
}

/// `tls = ` of `[route.email]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailTls {
    /// TLS from the first byte (port 465).
    #[default]
    Always,
    /// STARTTLS, and nothing without it (port 587).
    Starttls,
    /// In clear, only to this machine (port 25).
    None,
}

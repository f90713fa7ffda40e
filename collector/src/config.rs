//! `collector.toml` in the data directory: the ways out, of which there is none until the file says so, what is kept
//! for how long, and what is asked of users.

mod console;
mod route;
mod sink;

use std::collections::HashSet;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use vitrine_policy::record::Severity;
use vitrine_worker::MeasureLimits;

use crate::store::Retention;
pub use console::{Console, Oidc, Roles};
pub use route::{AlertShape, Email, MailTls, Route, Span, Webhook};
pub use sink::{Class, File, Filter, Http, Message, Nats, Shape, Sink, Syslog, SyslogServer, Transport};

/// Name of the file in the data directory.
pub const FILE: &str = "collector.toml";

/// Longest name of a route or sink, in bytes.
const NAME: usize = 40;
/// Shortest secret that signs webhooks, in bytes.
const SHORTEST_SECRET: usize = 16;

/// The file as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Who is told of alerts.
    #[serde(default, rename = "route")]
    pub routes: Vec<Route>,
    /// Where every record goes.
    #[serde(default, rename = "sink")]
    pub sinks: Vec<Sink>,
    /// What is kept for how long.
    pub retention: Option<Keep>,
    /// What is asked of policies, and when a rollout halts by itself.
    #[serde(default)]
    pub policy: Policies,
    /// What is asked of the console's users.
    #[serde(default)]
    pub console: Console,
    /// Limits of the reading of a picture that is traced.
    #[serde(default)]
    pub measure: MeasureLimits,
}

/// `[policy]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Policies {
    /// The minisign public key that policies must be signed with, in base64 or as the path of a `.pub` file, relative to
    /// the data directory; none: whatever is added is given to the agents, and they alone decide.
    pub public_key: Option<String>,
    /// A rollout halts where the share of refused transfers is more than so many times what it was.
    pub halt_factor: f64,
    /// And at least so many transfers more are refused than before.
    pub halt_refused: u32,
    /// Within so many hours after a workstation acknowledged the version.
    pub halt_hours: u32,
}

impl Default for Policies {
    fn default() -> Policies {
        Policies { public_key: None, halt_factor: 3.0, halt_refused: 10, halt_hours: 24 }
    }
}

/// `[retention]`: days; what is not named is kept for ever.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Keep {
    /// Records of what was allowed and of everyday events.
    pub informational_days: Option<NonZeroU16>,
    /// Records of low severity: what was allowed for a reason that was given.
    pub low_days: Option<NonZeroU16>,
    /// Records of medium severity: what `enforce` would have refused.
    pub medium_days: Option<NonZeroU16>,
    /// Records of high severity: what was refused or taken back.
    pub high_days: Option<NonZeroU16>,
    /// Records of critical severity: what could not be taken back.
    pub critical_days: Option<NonZeroU16>,
    /// Thumbnails of masters and copies.
    pub evidence_days: Option<NonZeroU16>,
    /// Lines that were no records, and messages that went out.
    pub remains_days: Option<NonZeroU16>,
}

impl Keep {
    /// The same in the words of the store.
    #[must_use]
    pub fn retention(&self) -> Retention {
        let age = |days: Option<NonZeroU16>| days.map(|days| i64::from(days.get()) * 24 * 3600 * 1000);
        let severities = [
            (Severity::Informational, self.informational_days),
            (Severity::Low, self.low_days),
            (Severity::Medium, self.medium_days),
            (Severity::High, self.high_days),
            (Severity::Critical, self.critical_days),
        ];
        Retention {
            severities: severities.into_iter().filter_map(|(severity, days)| Some((severity, age(days)?))).collect(),
            evidence: age(self.evidence_days),
            remains: age(self.remains_days),
        }
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{}: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is not TOML, or has keys that mean nothing.
    #[error("{}: {error}", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser says, with line and column.
        error: Box<toml::de::Error>,
    },
    /// A value cannot be used.
    #[error("{}: {reason}", .path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected.
        reason: String,
    },
}

impl Config {
    /// Reads the file of a data directory; none is an empty one.
    ///
    /// # Errors
    /// The file cannot be read, or says something that has no meaning.
    pub fn read(data: &Path) -> Result<Config, ConfigError> {
        let path = data.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Config::default()),
            Err(error) => return Err(ConfigError::Read { path, error }),
        };
        let config: Config =
            toml::from_str(&text).map_err(|error| ConfigError::Parse { path, error: Box::new(error) })?;
        let Policies { halt_factor, halt_refused, halt_hours, .. } = config.policy;
        if !(halt_factor >= 1.0 && halt_refused > 0 && (1..=720).contains(&halt_hours)) {
            return Err(mistake(
                data,
                "[policy]: expected halt-factor of at least 1.0, halt-refused of at least 1, halt-hours of 1 to 720",
            ));
        }
        Ok(config)
    }
}

/// Reads a secret from a file of its own; a line break at its end does not belong to it.
pub(crate) fn secret(data: &Path, file: &Path, strong: bool) -> Result<String, ConfigError> {
    let path = data.join(file);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return Err(ConfigError::Read { path, error }),
    };
    let secret = text.trim_end_matches(['\r', '\n']).to_owned();
    if strong && secret.len() < SHORTEST_SECRET {
        let reason = format!("a secret of {} bytes: make one of at least {SHORTEST_SECRET}", secret.len());
        return Err(ConfigError::Value { path, reason });
    }
    Ok(secret)
}

/// Reads the certificates of a file, of which there must be one at least.
pub(crate) fn certificates(data: &Path, file: &Path) -> Result<Vec<reqwest::Certificate>, ConfigError> {
    let path = data.join(file);
    let pem = std::fs::read(&path).map_err(|error| ConfigError::Read { path: path.clone(), error })?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(ConfigError::Value { path, reason: "holds no certificate: PEM is expected".into() }),
    }
}

/// A mistake in a value of the file.
pub(crate) fn mistake(data: &Path, reason: impl Into<String>) -> ConfigError {
    ConfigError::Value { path: data.join(FILE), reason: reason.into() }
}

/// Checks the name of an entry, and that no other of its kind has it.
pub(crate) fn check_name<'n>(
    kind: &str,
    name: &'n str,
    names: &mut HashSet<&'n str>,
    data: &Path,
) -> Result<(), ConfigError> {
    let proper = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > NAME || !name.bytes().all(proper) {
        return Err(mistake(data, format!("{kind} name = {name:?}: expected 1 to {NAME} of a-z, 0-9 and -")));
    }
    if !names.insert(name) {
        return Err(mistake(data, format!("two {kind} are named {name:?}: each needs a name of its own")));
    }
    Ok(())
}

/// Whether a name or address means this machine.
pub(crate) fn is_this_machine(host: &str) -> bool {
    host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

//! The agent's own settings: `agent.toml`. What may go where is not here but in the policy.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
pub(crate) use vitrine_worker::MeasureLimits;

/// Where IT edits the settings on an installed system.
pub(crate) const FILE: &str = "/etc/vitrine/agent.toml";

/// The settings, every one with a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    /// The policy file.
    pub(crate) policy: PathBuf,
    /// The minisign public key that policies must be signed with, in base64 or as the path of a `.pub` file; none:
    /// they need no signature.
    pub(crate) policy_key: Option<String>,
    /// The directory of index, spool and quarantine.
    pub(crate) state: PathBuf,
    /// The guard to use; `auto` takes the best that this machine has.
    pub(crate) guard: GuardChoice,
    /// Longest time that a system call waits for an answer, in milliseconds.
    pub(crate) deadline_ms: u64,
    /// Where records go; none: they stay in the spool.
    pub(crate) collector: Option<Collector>,
    /// Limits of the spool.
    pub(crate) spool: SpoolLimits,
    /// Limits of the reading of one file.
    pub(crate) measure: MeasureLimits,
}

/// Which guard to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GuardChoice {
    /// The best that this machine has.
    Auto,
    /// BPF LSM programs in the kernel (root).
    Flow,
    /// fanotify permission events (root).
    Gate,
    /// Report and quarantine (no root).
    Watch,
}

/// The collector that records go to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Collector {
    /// Its address: `https://…`, or `http://` on this machine only.
    pub(crate) url: String,
    /// File with the agent's token, readable by nobody else. Where the collector gives certificates, it is needed once.
    pub(crate) token_file: PathBuf,
    /// Certificate authority to trust instead of the system's, in PEM.
    pub(crate) ca_file: Option<PathBuf>,
    /// SHA-256 of the collector's own certificate authority, to be trusted instead.
    pub(crate) ca_fingerprint: Option<String>,
    /// Whether the policy comes from there, once it gives one.
    #[serde(default)]
    pub(crate) policy: bool,
    /// Seconds between two heartbeats.
    #[serde(default = "heartbeat")]
    pub(crate) heartbeat_seconds: u64,
    /// Whether it gets what masters are recognised by, to trace pictures to them.
    #[serde(default = "masters")]
    pub(crate) masters: bool,
}

/// Limits of the spool.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SpoolLimits {
    /// Records that wait for the collector; above it the oldest of the lowest class go.
    pub(crate) max_records: u64,
    /// Records that stay readable for `vitrine events` after the collector has them.
    pub(crate) keep_sent: u64,
}

fn heartbeat() -> u64 {
    30
}

fn masters() -> bool {
    true
}

impl Default for Config {
    fn default() -> Self {
        Config {
            policy: "/etc/vitrine/policy.toml".into(),
            policy_key: None,
            state: default_state(),
            guard: GuardChoice::Auto,
            deadline_ms: 100,
            collector: None,
            spool: SpoolLimits::default(),
            measure: MeasureLimits::default(),
        }
    }
}

impl Default for SpoolLimits {
    fn default() -> Self {
        SpoolLimits { max_records: 500_000, keep_sent: 10_000 }
    }
}

/// `/var/lib/vitrine` for root, the user's own state directory for others (XDG Base Directory).
pub(crate) fn default_state() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return "/var/lib/vitrine".into();
    }
    let own = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    own.or(home).unwrap_or_else(|| "/tmp".into()).join("vitrine")
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// Not readable.
    #[error("cannot read the settings {path}: {source}; give another file with --config")]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// Not understood.
    #[error("the settings {path} cannot be used: {message}")]
    Invalid { path: PathBuf, message: String },
}

impl Config {
    /// Reads `path`; where it is the default file and absent, the defaults hold.
    pub(crate) fn read(path: &Path) -> Result<Config, ConfigError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && path == Path::new(FILE) => String::new(),
            Err(source) => return Err(ConfigError::Unreadable { path: path.into(), source }),
        };
        let config: Config = toml::from_str(&text)
            .map_err(|error| ConfigError::Invalid { path: path.into(), message: error.to_string() })?;
        let invalid = |message: &str| Err(ConfigError::Invalid { path: path.into(), message: message.into() });
        if !(10..=5_000).contains(&config.deadline_ms) {
            return invalid("deadline-ms: expected 10 to 5000 milliseconds");
        }
        if !config.measure.is_sound() {
            return invalid("[measure]: expected parallel and seconds of at least 1, memory-mib of at least 64");
        }
        if let Some(collector) = &config.collector
            && collector.policy
            && config.policy_key.is_none()
            && !(collector.ca_fingerprint.is_some() && collector.url.starts_with("https://"))
        {
            return invalid(
                "[collector]: policy = true would take a policy from whoever answers at that address; expected \
                 policy-key, or url = \"https://…\" with ca-fingerprint",
            );
        }
        Ok(config)
    }

    /// Longest time that a system call waits for an answer.
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const INSTALLED: &str = include_str!("../../packaging/etc/agent.toml");

    /// The text with what is commented out, and not prose, in force.
    fn uncommented(text: &str) -> String {
        let is_setting =
            |line: &&str| line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        let line = |line| str::strip_prefix(line, "#").filter(is_setting).unwrap_or(line);
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The keys of a table, as the parser names them when it meets another.
    fn keys(table: &str) -> BTreeSet<String> {
        let text = format!("{table}\nno-such-key = 1\n");
        let error = toml::from_str::<Config>(&text).unwrap_err().to_string();
        let expected = error.split("expected one of ").nth(1).or(error.split("expected ").nth(1)).unwrap();
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_installed_settings_show_every_key_with_a_comment_and_its_default() {
        let (installed, text): (Config, _) = (toml::from_str(INSTALLED).unwrap(), uncommented(INSTALLED));
        assert!(installed.collector.is_none() && installed.policy_key.is_none());
        let shown: Config = toml::from_str(&text).unwrap();
        let default = Config { state: "/var/lib/vitrine".into(), ..Config::default() };
        let plain = |config: &Config| format!("{:?}", Config { collector: None, policy_key: None, ..config.clone() });
        assert_eq!(plain(&shown), plain(&default));
        let collector = shown.collector.as_ref().unwrap();
        assert_eq!((collector.heartbeat_seconds, collector.masters), (heartbeat(), masters()));

        for table in ["", "[collector]", "[spool]", "[measure]"] {
            let (mut current, mut before, mut commented) = ("", "", BTreeSet::new());
            for line in text.lines() {
                if line.starts_with('[') {
                    current = line;
                    commented.extend(table.is_empty().then(|| line.trim_matches(['[', ']']).to_owned()));
                } else if let Some((key, _)) =
                    line.split_once(" = ").filter(|_| current == table && before.starts_with("# "))
                {
                    commented.insert(key.to_owned());
                }
                before = line;
            }
            let missing: Vec<_> = keys(table).difference(&commented).cloned().collect();
            assert!(missing.is_empty(), "{table} lacks a comment and a line for {missing:?}");
        }
    }

    #[test]
    fn a_policy_is_taken_from_a_collector_that_is_known_or_with_a_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.toml");
        let read = |first: &str, url: &str, last: &str| {
            let text = format!("{first}\n[collector]\nurl = \"{url}\"\ntoken-file = \"t\"\npolicy = true\n{last}");
            fs::write(&path, text).unwrap();
            Config::read(&path).map_err(|error| error.to_string())
        };
        let (key, print) = ("policy-key = \"museum.pub\"", "ca-fingerprint = \"sha256:00\"");
        assert!(read(key, "http://127.0.0.1", "").is_ok());
        assert!(read("", "https://collector.example", print).is_ok());
        for (url, last) in [("https://collector.example", ""), ("http://127.0.0.1", print)] {
            assert!(
                read("", url, last).unwrap_err().contains("policy = true would take a policy from whoever"),
                "{url}"
            );
        }
    }
}

//! The agent's own settings: `agent.toml`. What may go where is not here but in the policy.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use vitrine_policy::record::Event;
pub(crate) use vitrine_worker::MeasureLimits;

use crate::fail::Failure;
use crate::policy_file;
use crate::stand_in::StandIn;

/// Where IT edits the settings on an installed system.
pub(crate) const FILE: &str = "/etc/vitrine/agent.toml";

/// The last settings that could be used, below the state directory that the defaults name.
const GOOD: &str = "agent.good.toml";

/// The state directory of an agent that runs as root.
const OF_ROOT: &str = "/var/lib/vitrine";

/// The settings, every one with a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    /// Where these settings lie; nowhere, where they were made in another way.
    #[serde(skip)]
    pub(crate) file: PathBuf,
    /// What the state directory stands in for, where another one was named and cannot be written.
    #[serde(skip)]
    pub(crate) stands_in: Option<StandIn>,
    /// The policy file.
    pub(crate) policy: PathBuf,
    /// The minisign public key that policies must be signed with, in base64 or as the path of a `.pub` file; none:
    /// they need no signature.
    pub(crate) policy_key: Option<String>,
    /// The minisign public key that maintenance tokens must be signed with, as `policy_key`; none: that one.
    pub(crate) maintenance_key: Option<String>,
    /// Whether root is kept from what is the agent's.
    pub(crate) shield: Shield,
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

/// Whether root is kept from the agent's processes, files and maps, but for maintenance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shield {
    /// Root may do all.
    Off,
    /// So he may, and records say what would have been refused.
    Audit,
    /// The kernel refuses, and records say what.
    Enforce,
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
            stands_in: None,
            file: PathBuf::new(),
            policy: "/etc/vitrine/policy.toml".into(),
            policy_key: None,
            maintenance_key: None,
            shield: Shield::Off,
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
        return OF_ROOT.into();
    }
    let own = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    own.or(home).unwrap_or_else(|| "/tmp".into()).join("vitrine")
}

/// Where the last settings that could be used lie for whoever asks an agent: root's, else one's own. Those of a file that
/// somebody named are nowhere.
fn kept(path: &Path) -> Option<PathBuf> {
    let of_root = Path::new(OF_ROOT).join(GOOD);
    let kept = || if of_root.exists() { of_root } else { default_state().join(GOOD) };
    (path == Path::new(FILE)).then(kept)
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
    /// Reads `path`; where it is the default file and was always absent or empty, the defaults hold.
    pub(crate) fn read(path: &Path) -> Result<Config, ConfigError> {
        Config::parse(path, &Config::text(path, kept(path).as_deref())?)
    }

    /// The settings of the agent that somebody asks. Where those of [`FILE`] cannot be used, it is what that agent takes
    /// instead, and one sentence says so.
    ///
    /// # Errors
    /// Another file than [`FILE`] cannot be used.
    pub(crate) fn to_ask_with(path: &Path) -> Result<(Config, Option<String>), ConfigError> {
        match kept(path) {
            Some(kept) => Ok(Config::asked(path, &kept)),
            None => Config::read(path).map(|config| (config, None)),
        }
    }

    fn asked(path: &Path, kept: &Path) -> (Config, Option<String>) {
        match Config::trusted(path, Some(kept)) {
            Ok((config, _)) => (config, None),
            Err(error) => {
                let (config, what) = Config::instead(&error, kept);
                (config, Some(what))
            }
        }
    }

    /// The settings to run with. Where those of [`FILE`] cannot be used, the last that could be, else the defaults: a
    /// slip in them must not leave the workstation unguarded. With them what there is to record. A file that somebody
    /// named must be right.
    ///
    /// # Errors
    /// Another file than [`FILE`] cannot be used.
    pub(crate) fn to_run_with(path: &Path) -> Result<(Config, Vec<Event>), ConfigError> {
        if path == Path::new(FILE) {
            return Ok(Config::installed(path, &default_state().join(GOOD)));
        }
        Config::trusted(path, None).map(|(config, _)| (config, Vec::new()))
    }

    /// The settings of `path`, which are kept as `kept`, or what is kept there.
    fn installed(path: &Path, kept: &Path) -> (Config, Vec<Event>) {
        match Config::trusted(path, Some(kept)) {
            Ok((config, text)) => {
                let keep = || {
                    fs::create_dir_all(kept.parent().unwrap_or(kept))?;
                    policy_file::write_durably(kept, text.as_bytes())?;
                    // They hold no secret, and users ask the agent with them.
                    fs::set_permissions(kept, fs::Permissions::from_mode(0o644))
                };
                let record = keep().err().map(|error: std::io::Error| {
                    let what = format!("the settings cannot be kept for the next start: {error}");
                    Failure::SettingsNotKept.notice(Some(kept.as_os_str().as_bytes()), what)
                });
                (config, record.into_iter().collect())
            }
            Err(error) => {
                let (instead, what) = Config::instead(&error, kept);
                let what = format!("{what}: mend it, then `systemctl restart vitrine`");
                let refused = Failure::SettingsRefused.notice(Some(path.as_os_str().as_bytes()), what);
                (instead, vec![refused])
            }
        }
    }

    /// What holds for settings that cannot be used, and one sentence that says so.
    fn instead(error: &ConfigError, kept: &Path) -> (Config, String) {
        let earlier = Config::text(kept, None).and_then(|text| Config::parse(kept, &text)).ok();
        let which = if earlier.is_some() { "the last ones that could be used" } else { "the defaults" };
        (earlier.unwrap_or_default(), format!("{error}; {which} hold"))
    }

    /// Settings that nobody but their owner writes, and their text.
    fn trusted(path: &Path, kept: Option<&Path>) -> Result<(Config, String), ConfigError> {
        policy_file::no_others_write(path)?;
        let text = Config::text(path, kept)?;
        Config::parse(path, &text).map(|config| (config, text))
    }

    /// The text of a file. Where others are `kept` of it, it need not be there; but if something is in those, something
    /// must be in it: a power cut during an edit leaves nothing.
    fn text(path: &Path, kept: Option<&Path>) -> Result<String, ConfigError> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && kept.is_some() => String::new(),
            read => read.map_err(|source| ConfigError::Unreadable { path: path.into(), source })?,
        };
        let is_blank = |text: &str| text.trim().is_empty();
        if is_blank(&text) && kept.is_some_and(|kept| fs::read_to_string(kept).is_ok_and(|text| !is_blank(&text))) {
            let message =
                "the file is empty or missing, and was not before; for the defaults a comment in it is enough";
            return Err(ConfigError::Invalid { path: path.into(), message: message.to_owned() });
        }
        Ok(text)
    }

    fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        let config: Config = toml::from_str(text)
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
        if config.shield == Shield::Enforce && config.maintenance_key().is_none() {
            return invalid(
                "shield = \"enforce\" without a key would let nobody open maintenance; expected maintenance-key or policy-key",
            );
        }
        Ok(config)
    }

    /// The key that maintenance tokens must be signed with.
    pub(crate) fn maintenance_key(&self) -> Option<&str> {
        self.maintenance_key.as_deref().or(self.policy_key.as_deref())
    }

    /// The state directory that was named.
    pub(crate) fn named_state(&self) -> &Path {
        self.stands_in.as_ref().map_or(&self.state, |stands_in| &stands_in.state)
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
    fn settings_that_cannot_be_used_leave_the_last_good_ones_in_force_and_are_named() {
        let room = tempfile::tempdir().unwrap();
        let (file, kept) = (room.path().join("agent.toml"), room.path().join(GOOD));
        let text_of = |notices: &[Event]| serde_json::to_string(notices).unwrap();
        let write = |text: &str| fs::write(&file, text).unwrap();

        write("deadline-ms = ");
        let (config, notices) = Config::installed(&file, &kept);
        assert!(config.deadline_ms == 100 && text_of(&notices).contains("the defaults hold"));
        write("deadline-ms = 200\n");
        let (config, notices) = Config::installed(&file, &kept);
        assert!(config.deadline_ms == 200 && notices.is_empty());
        for slip in ["deadline-ms = 300\nno-such-key = 1\n", "deadline-ms = \"fast\"\n", "deadline-ms = 3\n", "dead\0"]
        {
            write(slip);
            let (config, notices) = Config::installed(&file, &kept);
            let told = text_of(&notices);
            assert_eq!(config.deadline_ms, 200, "{slip}");
            assert!(told.contains("settings-refused") && told.contains("agent.toml"), "{told}");
        }
        for blank in [Some(""), Some(" \n\t\n"), None] {
            match blank {
                Some(text) => write(text),
                None => fs::remove_file(&file).unwrap(),
            }
            for _ in 0..2 {
                let (config, notices) = Config::installed(&file, &kept);
                let told = text_of(&notices);
                assert_eq!(config.deadline_ms, 200, "{blank:?}");
                assert!(told.contains("settings-refused") && told.contains("is empty or missing"), "{told}");
            }
        }
        write("deadline-ms = 300\n");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        let (config, notices) = Config::installed(&file, &kept);
        assert!(config.deadline_ms == 200 && text_of(&notices).contains("chmod go-w"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let (config, notices) = Config::installed(&file, &file.join(GOOD));
        assert!(config.deadline_ms == 300 && text_of(&notices).contains("settings-not-kept"));
        assert!(Config::to_run_with(&room.path().join("missing.toml")).is_err(), "a file that was named must be there");
    }

    #[test]
    fn settings_that_were_always_blank_are_the_defaults_and_a_comment_makes_them_so_again() {
        let room = tempfile::tempdir().unwrap();
        let (file, kept) = (room.path().join("agent.toml"), room.path().join(GOOD));
        for text in [None, Some(""), Some("deadline-ms = 200\n"), Some("# the defaults\n")] {
            if let Some(text) = text {
                fs::write(&file, text).unwrap();
            }
            let (config, notices) = Config::installed(&file, &kept);
            let expected = if text.is_some_and(|text| text.contains("200")) { 200 } else { 100 };
            assert!(config.deadline_ms == expected && notices.is_empty(), "{text:?}: {notices:?}");
        }
    }

    #[test]
    fn whoever_asks_the_agent_has_the_settings_that_it_runs_with() {
        let room = tempfile::tempdir().unwrap();
        let (file, kept) = (room.path().join("agent.toml"), room.path().join(GOOD));
        fs::write(&file, "state = \"/srv/vitrine\"\n").unwrap();
        Config::installed(&file, &kept);
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o644, "users read it");
        for slip in ["state = ", "no-such-key = 1\n", ""] {
            fs::write(&file, slip).unwrap();
            let ((asked, told), (run, _)) = (Config::asked(&file, &kept), Config::installed(&file, &kept));
            assert_eq!((&asked.state, asked.state.as_path()), (&run.state, Path::new("/srv/vitrine")), "{slip}");
            assert!(told.unwrap().contains("the last ones that could be used hold"));
        }
        assert!(Config::to_ask_with(&room.path().join("missing.toml")).is_err(), "a file that was named must be there");
    }

    #[test]
    fn the_installed_settings_show_every_key_with_a_comment_and_its_default() {
        let (installed, text): (Config, _) = (toml::from_str(INSTALLED).unwrap(), uncommented(INSTALLED));
        assert!(installed.collector.is_none() && installed.maintenance_key().is_none());
        let shown: Config = toml::from_str(&text).unwrap();
        let default = Config { state: "/var/lib/vitrine".into(), ..Config::default() };
        let keyless = |config: &Config| Config { policy_key: None, maintenance_key: None, ..config.clone() };
        let plain = |config: &Config| format!("{:?}", Config { collector: None, ..keyless(config) });
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

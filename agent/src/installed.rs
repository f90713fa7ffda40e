//! What decides that there is an agent tomorrow, too: its executable, and what the service manager was told of it. Whoever
//! is root may change them; it is recorded while the agent runs, and at its next start.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vitrine_policy::record::Event;

use crate::fail::Failure;
use crate::policy_file::write_durably;
use crate::sys::stat::Stat;
use crate::workstation::Workstation;

/// Where it is kept what was there at the last look, below the state directory.
const FILE: &str = "installed.json";
/// Bytes of it.
const LONGEST: u64 = 1 << 20;
/// Time between two looks.
pub(crate) const LOOK: Duration = Duration::from_secs(30);
/// How long the service manager may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest file that is read, in bytes.
const LARGEST: u64 = 1 << 30;
/// The state of a unit that starts with the workstation (systemctl(1), is-enabled). What is enabled until the next start
/// alone, or has nothing that enables it, does not.
const STARTS: &str = "enabled";
/// So often the service manager may leave a question without an answer before that is told.
const UNANSWERED: u32 = 4;

/// What was there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Installed {
    /// The executable, the unit and its drop-ins, and the BLAKE3 of each; none where it cannot be read.
    files: BTreeMap<PathBuf, Option<String>>,
    /// The service that this process is the main one of, and whether it starts with the workstation.
    service: Option<Service>,
    /// BLAKE3 of the settings, empty where there are none; none where an older agent has looked.
    #[serde(default)]
    settings: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Service {
    name: String,
    /// As `systemctl is-enabled` says.
    state: String,
}

impl Service {
    fn starts(&self) -> bool {
        self.state == STARTS
    }
}

/// Looks at what is installed, now and then.
pub(crate) struct Watch {
    workstation: Arc<Workstation>,
    executable: PathBuf,
    /// Whether the shield tells what becomes of the executable.
    is_shielded: bool,
    /// What was read of which file, and when it had changed.
    read: BTreeMap<PathBuf, (Stat, String)>,
    last: Option<Installed>,
    /// How often in a row the service manager did not answer.
    unanswered: u32,
    has_looked: bool,
}

impl Watch {
    pub(crate) fn new(workstation: Arc<Workstation>, is_shielded: bool) -> Watch {
        Watch {
            executable: std::env::current_exe().unwrap_or_default(),
            is_shielded,
            read: BTreeMap::new(),
            last: kept(&workstation.config.state),
            unanswered: 0,
            has_looked: false,
            workstation,
        }
    }

    /// Looks once, and records what has changed since the last time.
    pub(crate) async fn look(&mut self) {
        let answer = asked(std::process::id()).await;
        let is_answered = answer.is_some();
        let (service, mut paths) = match answer {
            Some((service, files)) => (Some(service), files),
            // Nothing is said of what nobody could be asked for.
            None => {
                let last = self.last.clone().unwrap_or_default();
                (last.service, last.files.into_keys().collect())
            }
        };
        self.missed(is_answered, service.as_ref());
        paths.push(self.executable.clone());
        let mut read = std::mem::take(&mut self.read);
        let known = self.last.as_ref().map(|last| last.files.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
        let settings = self.workstation.config.file.clone();
        let read_settings = settings.clone();
        let digests = tokio::task::spawn_blocking(move || {
            // One that is gone is told of once, and then not asked for again.
            paths.extend(known.into_iter().filter(|path| !path.exists()));
            let files: BTreeMap<_, _> =
                paths.into_iter().map(|path| (path.clone(), digest(&path, &mut read))).collect();
            let settings = Some(digest(&read_settings, &mut read).unwrap_or_default());
            (files, settings, read)
        });
        let Ok((files, digest_of_settings, read)) = digests.await else { return };
        self.read = read;
        let now = Installed { files, service, settings: digest_of_settings };
        let edited = self.last.as_ref().and_then(|last| edited(last, &now, &settings));
        // Who knows more of it has told what becomes of the executable while the agent runs.
        let is_told = self.is_shielded || self.workstation.snapshot().programs.names(&self.executable);
        let told = Some(self.executable.as_path()).filter(|_| is_told && self.has_looked);
        for event in changes(self.last.as_ref(), &now, told).into_iter().chain(edited) {
            self.workstation.spool.push(event);
        }
        self.has_looked = true;
        let now = Installed { files: now.files.into_iter().filter(|(_, digest)| digest.is_some()).collect(), ..now };
        if self.last.as_ref() != Some(&now) {
            keep(&self.workstation.config.state, &now);
            self.last = Some(now);
        }
    }

    /// Tells once where the service is known and nobody says any more how it stands with it.
    fn missed(&mut self, is_answered: bool, service: Option<&Service>) {
        let Some(service) = service.filter(|_| !is_answered) else {
            self.unanswered = 0;
            return;
        };
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered == UNANSWERED {
            let name = &service.name;
            let what = format!(
                "nobody says any more whether {name} starts with the workstation: see `systemctl status {name}`"
            );
            self.workstation.spool.push(Failure::ServiceDisabled.notice(Some(name.as_bytes()), what));
        }
    }
}

/// What is to be recorded, but of what was `told` by another. Where nothing was known there is nothing to compare with,
/// but a service that does not start with the workstation.
fn changes(before: Option<&Installed>, now: &Installed, told: Option<&Path>) -> Vec<Event> {
    let mut events = Vec::new();
    let empty = Installed::default();
    let (known, before) = (before.is_some(), before.unwrap_or(&empty));
    let subject = |path: &Path| path.as_os_str().as_bytes().to_owned();
    for (path, digest) in &now.files {
        let what = match (before.files.get(path), digest) {
            (Some(Some(earlier)), Some(digest)) if earlier != digest && told == Some(path.as_path()) => continue,
            (Some(Some(earlier)), Some(digest)) if earlier != digest => format!("was replaced, BLAKE3 {digest}"),
            (Some(Some(_)), None) => "was removed, or cannot be read".to_owned(),
            (None, Some(_)) if known => "is new".to_owned(),
            _ => continue,
        };
        let what = format!("{} {what}; if nobody installed anything, look into it", path.display());
        events.push(Failure::InstallationChanged.notice(Some(&subject(path)), what));
    }
    for path in before.files.keys().filter(|path| !now.files.contains_key(*path)) {
        let what =
            format!("{} no longer belongs to the service; if nobody installed anything, look into it", path.display());
        events.push(Failure::InstallationChanged.notice(Some(&subject(path)), what));
    }
    if let Some(service) = &now.service {
        let earlier = before.service.as_ref();
        let Service { name, state } = service;
        if !service.starts() && earlier.is_none_or(|earlier| earlier.state != *state) {
            let what = format!(
                "{name} is {state}: it does not start with the workstation; `systemctl enable {name}` mends that"
            );
            events.push(Failure::ServiceDisabled.notice(Some(name.as_bytes()), what));
        } else if service.starts() && earlier.is_some_and(|earlier| !earlier.starts()) {
            let what = format!("{name} is {state}: it starts with the workstation again");
            events.push(Failure::InstallationChanged.notice(Some(name.as_bytes()), what));
        }
    }
    events
}

/// What is to be recorded of the settings, also of an edit while no agent ran.
fn edited(before: &Installed, now: &Installed, settings: &Path) -> Option<Event> {
    let earlier = before.settings.as_ref().filter(|_| before.settings != now.settings)?;
    let what = match now.settings.as_deref() {
        Some("") | None => format!("were removed, or cannot be read; their BLAKE3 was {earlier}"),
        Some(digest) if earlier.is_empty() => format!("are there, with the BLAKE3 {digest}; before there were none"),
        Some(digest) => format!("were edited: their BLAKE3 was {earlier} and is {digest}"),
    };
    let what = format!("the settings {} {what}; if nobody who may has done it, look into it", settings.display());
    Some(Failure::SettingsChanged.notice(Some(settings.as_os_str().as_bytes()), what))
}

/// The service that the process is the main one of, its unit and drop-ins; none where there is none, or nobody answers.
async fn asked(process: u32) -> Option<(Service, Vec<PathBuf>)> {
    let name = service(&std::fs::read_to_string("/proc/self/cgroup").ok()?)?.to_owned();
    let mut asked = tokio::process::Command::new("/usr/bin/systemctl");
    asked.args(["show", "--property=MainPID,FragmentPath,DropInPaths,UnitFileState", "--", &name]);
    asked.kill_on_drop(true).stdin(Stdio::null()).stderr(Stdio::null());
    let answer = tokio::time::timeout(PATIENCE, asked.output()).await.ok()?.ok()?;
    told(&String::from_utf8_lossy(&answer.stdout), name, process)
}

/// The innermost service in the lines of `/proc/PID/cgroup` (cgroups(7)).
fn service(lines: &str) -> Option<&str> {
    let names = lines
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2)?.rsplit('/').find(|name| name.ends_with(".service")));
    names.reduce(|_, last| last)
}

/// What `systemctl show` says.
fn told(answer: &str, name: String, process: u32) -> Option<(Service, Vec<PathBuf>)> {
    let value = |key: &str| answer.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    if value("MainPID")?.parse() != Ok(process) {
        return None;
    }
    let state = value("UnitFileState").filter(|state| !state.is_empty()).unwrap_or("not installed").to_owned();
    let files = value("FragmentPath").into_iter().chain(value("DropInPaths").unwrap_or_default().split(' '));
    Some((Service { name, state }, files.filter(|path| !path.is_empty()).map(PathBuf::from).collect()))
}

/// The digest of a file, read anew if it was changed.
fn digest(path: &Path, read: &mut BTreeMap<PathBuf, (Stat, String)>) -> Option<String> {
    let stat = Stat::at(path).ok()?;
    if let Some((earlier, digest)) = read.get(path)
        && *earlier == stat
    {
        return Some(digest.clone());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).ok()?.take(LARGEST)).ok()?;
    let digest = hasher.finalize().to_hex().to_string();
    read.insert(path.to_owned(), (stat, digest.clone()));
    Some(digest)
}

fn kept(state: &Path) -> Option<Installed> {
    let mut text = Vec::new();
    File::open(state.join(FILE)).ok()?.take(LONGEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// What cannot be kept is compared with nothing at the next start.
fn keep(state: &Path, installed: &Installed) {
    let written = serde_json::to_vec(installed).map_err(io::Error::other);
    if let Err(error) = written.and_then(|text| write_durably(&state.join(FILE), &text)) {
        tracing::warn!("what is installed cannot be kept for the next start: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(files: &[(&str, &str)], state: &str) -> Installed {
        let service = Service { name: "vitrine.service".to_owned(), state: state.to_owned() };
        let files = files.iter().map(|(path, digest)| (PathBuf::from(path), Some((*digest).to_owned())));
        Installed { files: files.collect(), service: Some(service), settings: None }
    }

    fn codes(before: Option<&Installed>, now: &Installed) -> Vec<(String, String)> {
        let told = changes(before, now, None).into_iter().map(|event| match event {
            Event::Notice(notice) => (notice.code, notice.subject.unwrap_or_default()),
            Event::Transfer(_) => unreachable!(),
        });
        told.collect()
    }

    #[test]
    fn what_is_the_same_is_not_told() {
        let now = installed(&[("/usr/bin/vitrine", "aa"), ("/lib/vitrine.service", "bb")], "enabled");
        assert_eq!(codes(None, &now), []);
        assert_eq!(codes(Some(&now), &now), []);
        let disabled = installed(&[], "disabled");
        assert_eq!(codes(Some(&disabled), &disabled), []);
    }

    #[test]
    fn every_change_is_told() {
        let before = installed(
            &[("/usr/bin/vitrine", "aa"), ("/lib/vitrine.service", "bb"), ("/etc/old.conf", "cc")],
            "enabled",
        );
        let mut now = installed(&[("/usr/bin/vitrine", "dd"), ("/etc/new.conf", "ee")], "masked");
        now.files.insert("/lib/vitrine.service".into(), None);
        let expected = [
            ("installation-changed", "/etc/new.conf"),
            ("installation-changed", "/lib/vitrine.service"),
            ("installation-changed", "/usr/bin/vitrine"),
            ("installation-changed", "/etc/old.conf"),
            ("service-disabled", "vitrine.service"),
        ];
        assert_eq!(codes(Some(&before), &now), expected.map(|(code, subject)| (code.to_owned(), subject.to_owned())));
        let told = changes(Some(&before), &now, Some(Path::new("/usr/bin/vitrine")));
        assert_eq!(told.len(), expected.len() - 1, "what another has told: {told:?}");
        assert_eq!(codes(None, &now), [("service-disabled".to_owned(), "vitrine.service".to_owned())]);
        let mended = installed(&[("/usr/bin/vitrine", "dd"), ("/etc/new.conf", "ee")], "enabled");
        let told = codes(Some(&now), &mended);
        assert!(told.contains(&("installation-changed".to_owned(), "vitrine.service".to_owned())), "{told:?}");
    }

    #[test]
    fn an_edit_of_the_settings_is_told_and_their_first_sight_is_not() {
        let with =
            |settings: Option<&str>| Installed { settings: settings.map(str::to_owned), ..installed(&[], "enabled") };
        let told = |before, now| edited(&with(before), &with(now), Path::new("/etc/vitrine/agent.toml"));
        assert!(told(None, Some("aa")).is_none() && told(Some("aa"), Some("aa")).is_none());
        assert!(told(Some(""), Some("aa")).is_some(), "they are there again");
        for now in [Some("bb"), Some("")] {
            let Some(Event::Notice(notice)) = told(Some("aa"), now) else { panic!("{now:?} is not told") };
            assert_eq!(
                (notice.code.as_str(), notice.subject.as_deref()),
                ("settings-changed", Some("/etc/vitrine/agent.toml"))
            );
            assert!(notice.message.contains("BLAKE3 was aa"), "{}", notice.message);
        }
    }

    #[test]
    fn the_service_manager_is_understood() {
        assert_eq!(service("12:pids:/x\n1:name=systemd:/system.slice/vitrine.service\n"), Some("vitrine.service"));
        assert_eq!(service("0::/system.slice/system-lab.slice/vitrine@2.service/worker\n"), Some("vitrine@2.service"));
        assert_eq!(service("0::/user.slice/user-1000.slice/session-2.scope\n"), None);
        let answer = "MainPID=42\nFragmentPath=/lib/systemd/system/v.service\nDropInPaths=/etc/a.conf /etc/b.conf\nUnitFileState=enabled\n";
        let (service, files) = told(answer, "v.service".to_owned(), 42).unwrap();
        assert!(service.starts());
        assert_eq!(files, ["/lib/systemd/system/v.service", "/etc/a.conf", "/etc/b.conf"].map(PathBuf::from));
        assert_eq!(told(answer, "v.service".to_owned(), 43), None);
        let (gone, files) =
            told("MainPID=42\nFragmentPath=\nDropInPaths=\nUnitFileState=\n", "v.service".to_owned(), 42).unwrap();
        assert_eq!((gone.starts(), gone.state.as_str(), files.len()), (false, "not installed", 0));
    }

    #[tokio::test]
    async fn a_replaced_file_is_read_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (path, mut read) = (directory.path().join("unit"), BTreeMap::new());
        std::fs::write(&path, "one").unwrap();
        let first = digest(&path, &mut read);
        assert_eq!((first.is_some(), &digest(&path, &mut read)), (true, &first));
        std::fs::write(&path, "two").unwrap();
        assert_ne!(digest(&path, &mut read), first);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(digest(&path, &mut read), None);
        let kept_one = installed(&[("/a", "b")], "enabled");
        keep(directory.path(), &kept_one);
        assert_eq!(kept(directory.path()), Some(kept_one));
    }
}

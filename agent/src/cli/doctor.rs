//! `vitrine doctor`: everything that protection depends on, in one line each.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, Uid, access};
use serde::Serialize;

use super::index::shown;
use super::{CANNOT_RUN, FOUND};
use crate::config::{Collector, Config, GuardChoice};
use crate::guard::flow;
use crate::policy_file;
use crate::sys::fanotify::Group;

/// Longest time that the collector may take to be reached.
const PATIENCE: Duration = Duration::from_secs(2);
/// Position of CAP_SYS_ADMIN in the sets of capabilities(7).
const CAP_SYS_ADMIN: u32 = 21;
/// Fewer watched directories than this are soon too few.
const FEW_WATCHES: u64 = 65_536;
/// Below so much free space, in bytes, records and index may not fit; below a sixteenth of it they do not.
const LITTLE_SPACE: u64 = 1 << 30;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Pass,
    Warn,
    Fail,
}

/// One prerequisite.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    /// What was found and what that means for protection.
    meaning: String,
    /// The command that mends it.
    mend: Option<String>,
}

fn pass(name: &'static str, meaning: impl Into<String>) -> Check {
    Check { name, state: State::Pass, meaning: meaning.into(), mend: None }
}

fn warn(name: &'static str, meaning: impl Into<String>, mend: impl Into<String>) -> Check {
    Check { name, state: State::Warn, meaning: meaning.into(), mend: Some(mend.into()) }
}

fn fail(name: &'static str, meaning: impl Into<String>, mend: impl Into<String>) -> Check {
    Check { name, state: State::Fail, meaning: meaning.into(), mend: Some(mend.into()) }
}

/// Checks everything and tells of it. The status is 0 where nothing fails (warnings are what could be better),
/// 1 where something fails, and 3 where no guard at all can run on this machine.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn run(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let (mut checks, can_run) = guards(config.guard);
    checks.push(policy(&config.policy));
    checks.push(signature(config));
    checks.push(state(&config.state));
    checks.push(collector(config.collector.as_ref()));
    tell(&checks, json, &mut io::stdout().lock())?;
    Ok(if !can_run {
        ExitCode::from(CANNOT_RUN)
    } else if checks.iter().any(|check| check.state == State::Fail) {
        ExitCode::from(FOUND)
    } else {
        ExitCode::SUCCESS
    })
}

fn tell(checks: &[Check], json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(checks)?)?;
        return Ok(());
    }
    for check in checks {
        let state = match check.state {
            State::Pass => "pass",
            State::Warn => "warn",
            State::Fail => "FAIL",
        };
        let mend = check.mend.as_ref().map_or_else(String::new, |mend| format!(" Mend it: {mend}"));
        writeln!(out, "{state}  {:<20} {}.{mend}", check.name, check.meaning)?;
    }
    Ok(())
}

/// What the kernel offers, and whether any guard can run.
fn guards(wanted: GuardChoice) -> (Vec<Check>, bool) {
    let watches = number("/proc/sys/fs/inotify/max_user_watches");
    let gate = Group::permission();
    let can_run = gate.is_ok() || watches.is_some_and(|watches| watches > 0);
    let (asked, before_reads) = match gate {
        Ok((_, before_reads)) => (
            pass(
                "fanotify",
                "the kernel asks before a file is opened: copies are refused before the first byte (guard `gate`)",
            ),
            before_reads,
        ),
        Err(error) => {
            let meaning = format!(
                "the kernel does not let this process answer file accesses ({error}): copies are reported and taken back, not refused (guard `watch`)"
            );
            let mend = "sudo vitrine run, on a kernel with CONFIG_FANOTIFY_ACCESS_PERMISSIONS=y (grep FANOTIFY /boot/config-$(uname -r))";
            let check = if wanted == GuardChoice::Gate { fail } else { warn };
            (check("fanotify", meaning, mend), false)
        }
    };
    let pre_access = if before_reads {
        pass("FAN_PRE_ACCESS", "the kernel asks before each read and write too, on file systems that support it")
    } else {
        warn(
            "FAN_PRE_ACCESS",
            "not asked before each read and write: copies are judged when files are opened and closed",
            "run as root on Linux 6.14 or later (Debian 12: apt install -t bookworm-backports linux-image-amd64)",
        )
    };
    (vec![kernel(), privileges(), asked, pre_access, bpf(wanted), inotify(watches)], can_run)
}

fn kernel() -> Check {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    match version(release) {
        // FAN_REPORT_DFID_NAME (fanotify_init(2)).
        Some(version) if version >= (5, 9) => {
            pass("kernel", format!("Linux {release}: renames are reported with their names"))
        }
        Some(_) => warn(
            "kernel",
            format!(
                "Linux {release}: too old to report renames with their names; they are found by watching directories"
            ),
            "install Linux 5.9 or later (Debian 12 has 6.1: apt full-upgrade)",
        ),
        None => warn(
            "kernel",
            format!("the version `{release}` is not understood"),
            "uname -r should begin with two numbers",
        ),
    }
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn privileges() -> Check {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = capabilities.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    if capabilities & (1 << CAP_SYS_ADMIN) != 0 {
        return pass("privileges", "CAP_SYS_ADMIN is there: file accesses can be answered");
    }
    warn(
        "privileges",
        format!(
            "user {} has no CAP_SYS_ADMIN: only the guard `watch` can run, which refuses nothing",
            Uid::effective()
        ),
        "sudo vitrine doctor",
    )
}

/// Whether the guard in the kernel can run: the programs are loaded, and the list of modules tells whether they
/// would be asked.
fn bpf(wanted: GuardChoice) -> Check {
    let name = "BPF LSM";
    let check = if wanted == GuardChoice::Flow { fail } else { warn };
    let list = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let list = list.trim();
    let is_listed = list.is_empty() || list.split(',').any(|module| module == "bpf");
    match flow::probe() {
        Ok(()) if is_listed => {
            pass(name, "the kernel takes the programs that refuse the first byte (guard `flow`)")
        }
        Ok(()) => check(
            name,
            format!("the kernel takes the programs of the guard `flow` and would not ask them: its security modules are {list}"),
            format!("add lsm={list},bpf to GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub and reboot"),
        ),
        Err(error) => check(
            name,
            format!("no guard in the kernel ({error}): the guard `gate` does without"),
            "sudo vitrine doctor, on a kernel with CONFIG_BPF_LSM=y and CONFIG_DEBUG_INFO_BTF=y (Debian 12's have both)".to_owned(),
        ),
    }
}

fn inotify(watches: Option<u64>) -> Check {
    let name = "inotify";
    let mend =
        "echo fs.inotify.max_user_watches=1048576 | sudo tee /etc/sysctl.d/60-vitrine.conf && sudo sysctl --system";
    match watches {
        Some(watches) if watches >= FEW_WATCHES => pass(name, format!("up to {watches} directories can be watched")),
        Some(watches) => warn(
            name,
            format!("only {watches} directories can be watched: new masters in others are found within ten minutes"),
            mend,
        ),
        None => fail(name, "directories cannot be watched: new masters are found within ten minutes", mend),
    }
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn policy(path: &Path) -> Check {
    let name = "policy";
    let file = shown(path);
    match policy_file::read(path).map(|read| read.policy) {
        Err(error) => {
            let meaning = format!("{error}: nothing is blocked");
            return fail(name, meaning, format!("write one; vitrine policy check {file}"));
        }
        Ok(Err(mistakes)) => {
            let count = mistakes.mistakes.len() + mistakes.more;
            let meaning = format!("{file} has {count} mistake(s): the last good policy stays in force, or none");
            return fail(name, meaning, format!("vitrine policy check {file}"));
        }
        Ok(Ok(_)) => {}
    }
    // Who may write the file, or replace it in its directory, decides what is protected.
    for place in [Some(path), path.parent()].into_iter().flatten() {
        let Ok(metadata) = fs::metadata(place) else { continue };
        let sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
        if metadata.mode() & 0o022 != 0 && !sticky {
            let meaning =
                format!("{} can be written by others than its owner: they decide what is protected", shown(place));
            return fail(name, meaning, format!("sudo chmod go-w '{}'", shown(place)));
        }
        if metadata.uid() != 0 && Uid::effective().is_root() && !metadata.is_dir() {
            let meaning = format!(
                "{} belongs to user {}, not to root: that user decides what is protected",
                shown(place),
                metadata.uid()
            );
            return warn(name, meaning, format!("sudo chown root: '{}'", shown(place)));
        }
    }
    pass(name, format!("{file} has no mistake, and nobody but its owner can write it"))
}

fn signature(config: &Config) -> Check {
    let name = "policy signature";
    if config.policy_key.is_none() {
        let meaning = "no key is pinned: whoever becomes root can put another policy in force";
        let mend = "vitrine policy keygen --out museum, then policy-key = \"…\" in /etc/vitrine/agent.toml";
        return warn(name, meaning, mend);
    }
    match policy_file::read_trusted(config) {
        Ok(_) => pass(name, format!("{} is signed with the pinned key, and no older one", shown(&config.policy))),
        Err(why) => {
            let meaning = format!("{}: the last good policy stays in force, or none", why.replace('\n', " "));
            let mend = format!("vitrine policy sign '{}' --key SECRET-KEY", shown(&config.policy));
            fail(name, meaning, mend)
        }
    }
}

fn state(directory: &Path) -> Check {
    let name = "state";
    let shown = shown(directory);
    let mend = format!("sudo install -d -m 755 '{shown}', or give another one with --state");
    let Some(nearest) = directory.ancestors().find(|directory| directory.exists()) else {
        return fail(name, format!("{shown} has no directory above it"), mend);
    };
    if !nearest.is_dir() || access(nearest, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        return fail(
            name,
            format!("{shown} cannot be written: the agent cannot keep records and index, and does not start"),
            mend,
        );
    }
    let space = match statvfs(nearest) {
        Ok(file_system) => file_system.blocks_available().saturating_mul(file_system.fragment_size()),
        Err(error) => return warn(name, format!("the free space of {shown} is not known ({error})"), mend),
    };
    let mib = space / 1024 / 1024;
    let mend = format!("df -h '{shown}'; remove what is not needed there");
    if space < LITTLE_SPACE / 16 {
        fail(name, format!("{shown} has {mib} MiB free: records and fingerprints do not fit"), mend)
    } else if space < LITTLE_SPACE {
        warn(name, format!("{shown} has {mib} MiB free: records of a long time offline may not fit"), mend)
    } else {
        pass(name, format!("{shown} can be written and has {mib} MiB free"))
    }
}

fn collector(collector: Option<&Collector>) -> Check {
    let name = "collector";
    let Some(collector) = collector else {
        return warn(
            name,
            "none is set: records stay on this workstation, and nobody is told",
            "set `url` and `token-file` in [collector] of /etc/vitrine/agent.toml",
        );
    };
    let url = &collector.url;
    let Some((host, port)) = authority(url) else {
        return fail(
            name,
            format!("`{url}` is no address"),
            "write it as https://host:port in [collector] of agent.toml",
        );
    };
    let mend = format!("curl -v '{url}'; start the collector, or open the firewall towards {host}:{port}");
    if let Err(error) = fs::File::open(&collector.token_file) {
        let file = shown(&collector.token_file);
        let meaning = format!("the token {file} cannot be read ({error}): the collector takes no records from here");
        return fail(name, meaning, format!("vitrine-collector token on the collector, its output to {file}"));
    }
    match reach(host, port) {
        Ok(()) => pass(name, format!("{host}:{port} can be reached")),
        Err(error) => fail(
            name,
            format!("{host}:{port} cannot be reached ({error}): records wait here, and nobody is told"),
            mend,
        ),
    }
}

/// Host and port of an address.
fn authority(url: &str) -> Option<(&str, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let default = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, default),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then_some((host, port))
}

/// Connects, within [`PATIENCE`] whatever the name server does.
fn reach(host: &str, port: u16) -> io::Result<()> {
    let (tell, told) = mpsc::channel();
    let host = host.to_owned();
    std::thread::spawn(move || {
        let connected = (host.as_str(), port).to_socket_addrs().and_then(|addresses| {
            let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
            for address in addresses {
                match TcpStream::connect_timeout(&address, PATIENCE) {
                    Ok(_) => return Ok(()),
                    Err(error) => last = error,
                }
            }
            Err(last)
        });
        let _ = tell.send(connected); // nobody waits any more
    });
    let late = |_| Err(io::Error::new(ErrorKind::TimedOut, format!("no answer within {} s", PATIENCE.as_secs())));
    told.recv_timeout(PATIENCE).unwrap_or_else(late)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;

    const GOOD: &str = "version = 1\nmode = \"audit\"\n[elsewhere]\nceiling = \"none\"\n";

    #[test]
    fn a_policy_is_looked_at_with_the_eyes_of_an_intruder() {
        let lab = tempfile::tempdir().unwrap();
        let file = lab.path().join("policy.toml");
        assert_eq!(policy(&file).state, State::Fail);
        fs::write(&file, "mode = 1").unwrap();
        assert!(policy(&file).mend.unwrap().starts_with("vitrine policy check "));
        fs::write(&file, GOOD).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(policy(&file).state, State::Pass);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(policy(&file).mend.unwrap().starts_with("sudo chmod go-w"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(lab.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(policy(&file).state, State::Fail);
    }

    #[test]
    fn the_state_directory_need_not_be_there_yet() {
        let lab = tempfile::tempdir().unwrap();
        assert_ne!(state(&lab.path().join("not/yet")).state, State::Fail);
        fs::write(lab.path().join("file"), "").unwrap();
        assert_eq!(state(&lab.path().join("file")).state, State::Fail);
    }

    #[test]
    fn a_collector_is_reached_or_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let token = tempfile::NamedTempFile::new().unwrap();
        let at = |url: String| Collector {
            url,
            token_file: token.path().into(),
            ca_file: None,
            ca_fingerprint: None,
            heartbeat_seconds: 30,
        };
        assert_eq!(collector(Some(&at(format!("http://127.0.0.1:{port}/")))).state, State::Pass);
        drop(listener);
        assert_eq!(collector(Some(&at(format!("http://127.0.0.1:{port}/")))).state, State::Fail);
        assert_eq!(collector(Some(&at("ftp://somewhere".to_owned()))).state, State::Fail);
        assert_eq!(collector(None).state, State::Warn);
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        assert_eq!(authority("https://dlp.example.org/path"), Some(("dlp.example.org", 443)));
        assert_eq!(authority("http://[::1]:8080"), Some(("::1", 8080)));
        assert_eq!(authority("https://[2001:db8::1]"), Some(("2001:db8::1", 443)));
        assert_eq!([authority("dlp.example.org"), authority("https://:1"), authority("https://a:b")], [None; 3]);
    }

    #[test]
    fn a_release_has_a_version() {
        assert_eq!(version("6.1.0-28-amd64"), Some((6, 1)));
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn every_check_says_what_it_means_in_one_line() {
        let (checks, _) = guards(GuardChoice::Auto);
        for check in &checks {
            assert!(!check.meaning.contains('\n') && check.mend.is_some() == (check.state != State::Pass), "{check:?}");
        }
        let mut out = Vec::new();
        tell(&checks, false, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), checks.len());
    }
}

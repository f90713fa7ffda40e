//! `vitrine doctor`: everything that protection depends on, in one line each.

mod collection;
mod collector;
mod kernel;
mod policy;
mod running;
mod state;

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use nix::unistd::Uid;
use serde::Serialize;

use super::index::shown;
use super::{CANNOT_RUN, FOUND, Place};
use crate::config::{self, Config, GuardChoice};
use crate::policy_file;

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
pub(super) fn run(place: &Place, json: bool) -> anyhow::Result<ExitCode> {
    let (checks, can_run) = match place.read_strictly() {
        Ok(config) => all(&place.config, &config),
        Err(error) => {
            let (mut checks, can_run) = kernel::checks(GuardChoice::Auto);
            let meaning = format!(
                "{}: an agent that starts now takes the last ones that could be used instead",
                error.to_string().replace('\n', " ")
            );
            checks.push(fail("settings", meaning, format!("sudoedit '{}'", shown(&place.config))));
            (checks, can_run)
        }
    };
    tell(&checks, json, &mut io::stdout().lock())?;
    Ok(if !can_run {
        ExitCode::from(CANNOT_RUN)
    } else if checks.iter().any(|check| check.state == State::Fail) {
        ExitCode::from(FOUND)
    } else {
        ExitCode::SUCCESS
    })
}

fn all(settings: &Path, config: &Config) -> (Vec<Check>, bool) {
    let (mut checks, can_run) = kernel::checks(config.guard);
    checks.push(self::settings(settings));
    checks.extend([
        policy::file(&policy_file::place(config)),
        policy::signature(config),
        collection::inotify(&config.policy),
    ]);
    let in_use = crate::stand_in::in_use(config.state.clone());
    checks.extend([state::directory(&config.state), state::spool(&in_use, config.spool)]);
    checks.extend([state::quarantine(&in_use), running::worker(&config.measure)]);
    checks.extend([running::service(), running::agent(&in_use), running::desk(&in_use)]);
    checks.extend(collector::checks(config.collector.as_ref(), &in_use));
    (checks, can_run)
}

/// Who may write the settings decides which policy is in force, and who hears of it.
fn settings(path: &Path) -> Check {
    let name = "settings";
    if !path.exists() && path == Path::new(config::FILE) {
        return pass(name, format!("{} is not there: the defaults hold", shown(path)));
    }
    written_by_others(name, path, "which policy is in force")
        .unwrap_or_else(|| pass(name, format!("{} is understood, and nobody but its owner can write it", shown(path))))
}

/// What is wrong with who may write a file, or replace it in its directory, and so `decides` something.
fn written_by_others(name: &'static str, path: &Path, decides: &str) -> Option<Check> {
    for place in [Some(path), path.parent()].into_iter().flatten() {
        let Ok(metadata) = std::fs::metadata(place) else { continue };
        let shown = shown(place);
        let sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
        if metadata.mode() & 0o022 != 0 && !sticky {
            let meaning = format!("{shown} can be written by others than its owner: they decide {decides}");
            return Some(fail(name, meaning, format!("sudo chmod go-w '{shown}'")));
        }
        if metadata.uid() != 0 && Uid::effective().is_root() {
            let meaning =
                format!("{shown} belongs to user {}, not to root: that user decides {decides}", metadata.uid());
            return Some(warn(name, meaning, format!("sudo chown root: '{shown}'")));
        }
    }
    None
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn settings_that_others_write_or_own_are_told() {
        let lab = tempfile::tempdir().unwrap();
        let file = lab.path().join("agent.toml");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(settings(&file).state, State::Pass);
        fs::set_permissions(&file, Permissions::from_mode(0o664)).unwrap();
        assert!(settings(&file).mend.unwrap().starts_with("sudo chmod go-w"));
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(lab.path(), Permissions::from_mode(0o777)).unwrap();
        assert_eq!(settings(&file).state, State::Fail);
        fs::set_permissions(lab.path(), Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(settings(&file).state, State::Pass, "a sticky directory lets nobody replace it");
        if Uid::effective().is_root() {
            std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
            let check = settings(&file);
            assert_eq!((check.state, check.mend.unwrap().starts_with("sudo chown root:")), (State::Warn, true));
        }
    }

    #[test]
    fn every_check_says_what_it_means_in_one_line() {
        let lab = tempfile::tempdir().unwrap();
        let config = Config { state: lab.path().into(), policy: lab.path().join("policy.toml"), ..Config::default() };
        let (checks, _) = all(&lab.path().join("agent.toml"), &config);
        for check in &checks {
            let is_one_line = !check.meaning.contains('\n') && !check.meaning.ends_with('.');
            assert!(is_one_line && check.mend.is_some() == (check.state != State::Pass), "{check:?}");
        }
        let mut out = Vec::new();
        tell(&checks, false, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), checks.len());
        assert!(checks.iter().any(|check| check.name == "policy" && check.state == State::Fail));
    }
}

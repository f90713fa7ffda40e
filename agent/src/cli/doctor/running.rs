//! What runs: the service, the agent, its socket, and the processes that read pictures.

use std::io::{Seek, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use super::super::status;
use super::{Check, fail, pass, warn};
use crate::config::MeasureLimits;
use crate::desk;
use vitrine_worker::{MeasureFailed, measure};

/// Where systemd says that it runs (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
const UNIT: &str = "vitrine.service";

/// Whether the agent starts with the machine, and again whatever happens.
pub(super) fn service() -> Check {
    if !Path::new(BOOTED).exists() {
        let meaning = "systemd does not run here: an agent that ends is not started again";
        return warn("service", meaning, "start `vitrine run` from another service manager, which starts it again");
    }
    let mut show = Command::new("systemctl");
    show.args(["show", "--property=LoadState,ActiveState,UnitFileState", UNIT]).stdin(Stdio::null());
    match show.output() {
        Ok(shown) => unit(&String::from_utf8_lossy(&shown.stdout)),
        Err(error) => {
            warn("service", format!("systemctl cannot be asked ({error})"), format!("systemctl status {UNIT}"))
        }
    }
}

/// By what systemctl(1) shows of the unit.
fn unit(shown: &str) -> Check {
    let name = "service";
    let property = |key: &str| {
        let of = |line: &&str| line.strip_prefix(key).is_some_and(|rest| rest.starts_with('='));
        shown.lines().find(of).and_then(|line| line.split_once('=')).map_or("", |(_, value)| value)
    };
    let (load, active, enabled) = (property("LoadState"), property("ActiveState"), property("UnitFileState"));
    if load != "loaded" {
        let meaning = format!("there is no {UNIT} that can be used: an agent that ends is not started again");
        return warn(name, meaning, "sudo apt-get install --reinstall vitrine-agent");
    }
    if active != "active" {
        let meaning = format!("{UNIT} is {active}: nothing is guarded by it");
        return fail(name, meaning, format!("sudo systemctl enable --now {UNIT}; journalctl -u {UNIT}"));
    }
    if !enabled.starts_with("enabled") {
        let meaning = format!("{UNIT} runs and is {enabled}: after the next start of the machine nothing is guarded");
        return fail(name, meaning, format!("sudo systemctl enable {UNIT}"));
    }
    pass(name, format!("{UNIT} runs, and starts with the machine"))
}

/// Whether an agent guards now, by the policy that is in the file.
pub(super) fn agent(state: &Path) -> Check {
    let name = "agent";
    let start = format!("sudo systemctl start {UNIT}");
    let status = match status::read(state) {
        Ok(Some(status)) => status,
        Ok(None) => return fail(name, "no agent has run with this state directory: nothing is guarded", start),
        Err(error) => return fail(name, error.to_string(), format!("sudo systemctl restart {UNIT}")),
    };
    if !status.is_alive() {
        return fail(name, "the agent has ended: nothing is guarded but what the kernel goes on to refuse", start);
    }
    if let Some(why) = &status.policy_error {
        let meaning =
            format!("the policy file is not in force: {}", why.trim().trim_end_matches('.').replace('\n', " "));
        return fail(name, meaning, format!("vitrine policy check '{}'", status.policy));
    }
    let guard = &status.guard;
    if status.mode == "audit" {
        let meaning = format!("the guard `{guard}` runs in audit: nothing is refused");
        let mend = format!("vitrine policy replay --since 14d; then mode = \"enforce\" in {}", status.policy);
        return warn(name, meaning, mend);
    }
    pass(name, format!("the guard `{guard}` runs in {}", status.mode))
}

/// Whether staff can ask what was refused, and why.
pub(super) fn desk(state: &Path) -> Check {
    let name = "desk socket";
    let socket = desk::socket(state);
    match UnixStream::connect(&socket) {
        Ok(_) => pass(name, format!("{} answers: `vitrine why`, notifications and reasons work", socket.display())),
        Err(error) => warn(
            name,
            format!("{} does not answer ({error}): staff are not told why, and cannot give reasons", socket.display()),
            format!("sudo systemctl restart {UNIT}"),
        ),
    }
}

/// Whether a process without rights can be started that reads a file within its limits.
pub(super) fn worker(limits: &MeasureLimits) -> Check {
    let written = tempfile::tempfile().and_then(|mut file| {
        file.write_all(b"to be read by a worker")?;
        file.rewind()?;
        Ok((file, tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?))
    });
    let read = match written {
        Ok((file, runtime)) => runtime.block_on(measure(file, limits, &mut drop)).map(drop),
        Err(error) => Err(MeasureFailed::NotStarted(error.to_string())),
    };
    judged(read, limits)
}

fn judged(answer: Result<(), MeasureFailed>, limits: &MeasureLimits) -> Check {
    let name = "worker";
    let (mib, seconds) = (limits.memory_mib, limits.seconds);
    match answer {
        Ok(()) => pass(name, format!("files are read by a process without rights, within {mib} MiB and {seconds} s")),
        Err(error) => {
            let meaning = "no process can read pictures: nothing is recognised, and files keep what they inherited";
            let mend = "vitrine fingerprint /etc/hostname; ulimit -u; raise memory-mib in [measure] of agent.toml";
            fail(name, format!("{meaning} ({})", error.to_string().replace('\n', " ")), mend)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::cli::status::Status;

    #[test]
    fn a_unit_is_missing_stopped_disabled_or_right() {
        let state = |load: &str, active: &str, enabled: &str| {
            let check = unit(&format!("LoadState={load}\nActiveState={active}\nUnitFileState={enabled}\n"));
            (check.state, check.mend.unwrap_or_default())
        };
        assert_eq!(state("loaded", "active", "enabled"), (State::Pass, String::new()));
        assert_eq!(state("not-found", "inactive", "").0, State::Warn);
        let (failed, mend) = state("loaded", "failed", "enabled");
        assert!(failed == State::Fail && mend.starts_with("sudo systemctl enable --now vitrine.service"));
        let (disabled, mend) = state("loaded", "active", "disabled");
        assert!(disabled == State::Fail && mend == "sudo systemctl enable vitrine.service");
        assert_eq!(unit("").state, State::Warn);
    }

    #[test]
    fn an_agent_never_ran_has_ended_or_runs() {
        let lab = tempfile::tempdir().unwrap();
        let check = agent(lab.path());
        assert!(check.state == State::Fail && check.mend.unwrap().starts_with("sudo systemctl start"));
        let own = Status { pid: std::process::id(), guard: "gate".into(), ..Status::default() };
        let written = |status: Status| {
            status::write(lab.path(), &status).unwrap();
            agent(lab.path())
        };
        assert_eq!(written(Status { pid: u32::MAX, ..own.clone() }).state, State::Fail);
        assert_eq!(written(Status { mode: "enforce".into(), ..own.clone() }).state, State::Pass);
        let audit = written(Status { mode: "audit".into(), ..own.clone() });
        assert!(audit.state == State::Warn && audit.mend.unwrap().starts_with("vitrine policy replay"));
        let mistaken = written(Status { policy_error: Some("a mistake\nin it".into()), ..own });
        assert!(mistaken.state == State::Fail && mistaken.mend.unwrap().starts_with("vitrine policy check"));
        std::fs::write(lab.path().join("status.json"), "{").unwrap();
        assert_eq!(agent(lab.path()).state, State::Fail);
    }

    #[test]
    fn a_socket_answers_or_not() {
        let lab = tempfile::tempdir().unwrap();
        assert_eq!(desk(lab.path()).state, State::Warn);
        let _listener = std::os::unix::net::UnixListener::bind(desk::socket(lab.path())).unwrap();
        assert_eq!(desk(lab.path()).state, State::Pass);
    }

    #[test]
    fn a_worker_that_does_not_answer_is_told_in_one_line() {
        let check = judged(Err(MeasureFailed::Crashed("signal: 9".into())), &MeasureLimits::default());
        assert!(check.state == State::Fail && check.meaning.contains("signal: 9") && !check.meaning.contains('\n'));
    }
}

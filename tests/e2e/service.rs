//! What an installed service stands, and what it says of itself.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vitrine_policy::record::{Event, STOPPED};

use crate::world::{World, binary, picture, wait_until};

/// Files of the burst, and how long the agent may take for them. Ten thousand took programs that were built for tests 146
/// seconds, on two cores with much else to do.
const BURST: usize = 3_000;
const BURST_TIME: Duration = Duration::from_secs(200);

/// The notices of this code that say so.
fn notices(world: &World, code: &str, saying: &str) -> Vec<String> {
    let notices = world.records().into_iter().filter_map(|record| match record.event {
        Event::Notice(notice) if notice.code == code && notice.message.contains(saying) => Some(notice.message),
        _ => None,
    });
    notices.collect()
}

fn noticed(world: &World, code: &str, saying: &str) -> String {
    wait_until(&format!("notice {code} of {saying}"), || notices(world, code, saying).pop())
}

/// Ends the agent as the service manager does.
pub(crate) fn stop(world: &mut World) {
    let mut agent = world.agent.take().expect("an agent");
    kill(Pid::from_raw(agent.id().try_into().expect("a process id")), Signal::SIGTERM).expect("a signal");
    let ended = wait_until("end of the agent", || agent.try_wait().expect("the agent"));
    assert!(ended.success(), "{ended}: {}", world.log());
}

/// Waits until the agent is there and enforces, whatever else it has to do.
pub(crate) fn enforces(world: &World) {
    wait_until("agent that enforces", || (world.status()?["mode"] == "enforce").then_some(()));
}

pub(crate) fn copy_is_refused(world: &World, master: &str) {
    let done = world.sh(&format!("cp {master} usb/"));
    assert!(!done.succeeded && !done.hung, "{}", done.text);
    assert_eq!(world.bytes_in("usb"), 0);
}

#[test]
fn a_second_agent_with_the_same_state_says_whose_it_is_and_the_first_goes_on() {
    let Some(world) = World::builder().build() else { return };
    let first = world.agent.as_ref().expect("an agent").id();
    let second = world.vitrine(&["run"]);
    let told = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(3), "{told}");
    for part in [&format!("process {first}"), &world.path("state").display().to_string(), "systemctl stop vitrine"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert_eq!(world.status().expect("a status")["pid"], first);
    copy_is_refused(&world, "ws/masters/KP1_0001.jpg");
}

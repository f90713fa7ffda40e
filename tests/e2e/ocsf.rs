//! Records of a running agent, against the schema that the Open Cybersecurity Schema Framework publishes.

use std::io::Write;
use std::process::{Command, Stdio};

use vitrine_policy::record::{Disposition, Operation};

use crate::world::{World, is_refused, wait_until};

/// What a day brings that is on record: a copy refused, one let through in audit, a link, a policy that was edited well
/// and badly, a program that was replaced, an agent that was killed.
fn lived_through() -> Option<World> {
    let mut world = World::builder().build()?;
    assert!(!world.sh("cp ws/masters/KP1_0001.jpg usb/").succeeded);
    world.recorded("the copy", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb"));
    world.sh("ln ws/masters/KP2_0001.jpg ws/sync/held-in-place.jpg; sync");
    world.recorded("the link", |transfer| transfer.operation == Operation::Link);
    world.set_policy("audit", "");
    world.noticed("policy-loaded");
    world.sh("cp ws/masters/KP1_0001.jpg usb/audited.jpg");
    world.recorded("the copy in audit", |transfer| transfer.disposition == Disposition::WouldBlock);
    world.set_policy("enforce", "[[destination]]\nnaem = \"oops\"\n");
    world.noticed("policy-refused");
    world.sh("cp /bin/true tool");
    let tool = world.path("tool");
    world.set_policy("enforce", &format!("[[program]]\nname = \"tool\"\npath = \"{}\"\n", tool.display()));
    wait_until("the policy with the tool", || (world.status()?["mode"] == "enforce").then_some(()));
    world.sh("cp /bin/false new && mv new tool");
    world.noticed("program-changed");
    world.kill_agent();
    world.start();
    Some(world)
}

#[test]
fn what_an_agent_tells_is_valid_ocsf() {
    let Some(python) = std::env::var_os("VITRINE_OCSF_PYTHON") else {
        println!("skipped: VITRINE_OCSF_PYTHON names no Python with ocsf-json-schema");
        return;
    };
    let Some(world) = lived_through() else { return };
    let told = world.vitrine(&["events", "--json"]).stdout;
    let check = concat!(env!("CARGO_MANIFEST_DIR"), "/ocsf/check");
    let mut child =
        Command::new(python).arg(check).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python");
    child.stdin.take().expect("a pipe").write_all(&told).expect("the records");
    let done = child.wait_with_output().expect("python");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}");
    // Data security finding, application life cycle, device configuration state, detection finding.
    for class in [2006, 6002, 5002, 2004] {
        assert!(said.contains(&format!("of class {class}")), "{said}");
    }
    eprintln!("{said}");
}

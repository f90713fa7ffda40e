//! What was recorded in audit tells what enforce will refuse.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use vitrine_policy::decision::Verdict;
use vitrine_policy::record::{Disposition, Operation, Transfer};

use crate::world::{World, binary, is_refused, wait_until};

fn replay(world: &World, arguments: &[&str], input: Stdio) -> Output {
    let mut command = Command::new(binary("vitrine"));
    command.args(["policy", "replay", "--config"]).arg(world.path("etc/agent.toml")).args(arguments);
    command.stdin(input).output().expect("vitrine policy replay")
}

fn replayed(world: &World, arguments: &[&str]) -> Value {
    let output = replay(world, &[&["--json"], arguments].concat(), Stdio::null());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn is_copy(transfer: &Transfer) -> bool {
    transfer.operation == Operation::Write
        && transfer.destination.as_ref().is_some_and(|to| to.target.ends_with("/usb/copy.jpg"))
}

#[test]
fn what_was_recorded_in_audit_tells_what_enforce_refuses() {
    let Some(world) = World::builder().audit().build() else { return };
    let copy = "cp ws/masters/KP1_0001.jpg usb/copy.jpg";
    assert!(world.sh(copy).succeeded);
    assert!(world.sh("cp ws/masters/KP2_0001.jpg share/web/; cat ws/vault/V1_0001.jpg > /dev/null").succeeded);
    let in_audit = world.recorded("the copy", is_copy);
    world.recorded("the copy to the website", |transfer| {
        transfer.disposition == Disposition::WouldBlock
            && transfer.destination.as_ref().is_some_and(|to| to.name == "website")
    });
    world.recorded("the opening of the vault", |transfer| transfer.destination.is_none());
    // What is measured on close comes behind; when nothing waits any more, the record is complete.
    wait_until("measured copies", || (world.status()?["measuring"] == 0).then_some(()));

    let blocked = |transfer: &&Transfer| transfer.verdict == Verdict::Block;
    let (would_block, told) = wait_until("replay of all that is on record", || {
        let would_block = world.transfers().iter().filter(blocked).count();
        let told = replayed(&world, &["--since", "1d"]);
        (told["records"]["transfers"] == world.transfers().len()).then_some((would_block, told))
    });
    assert!(would_block >= 3);
    assert_eq!(told["outcomes"]["block"]["transfers"], would_block, "{told:#}");
    assert_eq!(told["gaps"].as_object().map(serde_json::Map::len), Some(0), "{told:#}");
    assert_eq!(replayed(&world, &["--since", "0s"])["records"]["transfers"], 0);
    let text = String::from_utf8(replay(&world, &[], Stdio::null()).stdout).expect("text");
    assert!(text.contains("went through, and would be refused") && text.contains("opening of vault"), "{text}");

    // From an export, as it comes from another machine.
    fs::write(world.path("export.ndjson"), world.vitrine(&["events", "--json"]).stdout).expect("an export");
    let export = fs::File::open(world.path("export.ndjson")).expect("the export");
    let piped: Value = serde_json::from_slice(&replay(&world, &["--json", "-"], export.into()).stdout).expect("JSON");
    assert_eq!(piped["outcomes"], told["outcomes"]);

    // An edited policy, on trial.
    let root = world.root.display();
    let more = format!("[[destination]]\nname = \"stick\"\nmounts = [\"{root}/usb\"]\nceiling = \"master\"\n");
    let edited = fs::read_to_string(world.path("etc/policy.toml")).expect("the policy") + &more;
    fs::write(world.path("edited.toml"), edited).expect("the edited policy");
    let file = world.path("edited.toml");
    let trial = replayed(&world, &["--policy", file.to_str().expect("a path")]);
    let refused = |told: &Value| told["outcomes"]["block"]["transfers"].as_u64().expect("a number");
    assert!(refused(&trial) < refused(&told) && refused(&trial) > 0, "{trial:#}");
    fs::write(&file, "version = 1\nmoed = 1\n").expect("the edited policy");
    assert_eq!(replay(&world, &["--policy", file.to_str().expect("a path")], Stdio::null()).status.code(), Some(1));

    // And now in earnest.
    world.set_policy("enforce", "");
    wait_until("policy in enforce", || (world.status()?["mode"] == "enforce").then_some(()));
    fs::remove_file(world.path("usb/copy.jpg")).expect("the copy");
    assert!(!world.sh(copy).succeeded);
    assert!(!world.sh("cat ws/vault/V1_0001.jpg > /dev/null").succeeded);
    let enforced = world.recorded("the refusal", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb/copy.jpg"));
    assert_eq!((enforced.rule, enforced.verdict), (in_audit.rule, in_audit.verdict));

    // With the edited policy, the copy that the trial allowed goes through.
    world.set_policy("enforce", &more);
    wait_until("edited policy", || world.sh(copy).succeeded.then_some(()));
}

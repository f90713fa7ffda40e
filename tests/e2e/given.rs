//! The policy that the collector gives: in force within a heartbeat, refused as a local one is, and kept without it.

use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::signed::{policy, put, refusals};
use crate::world::{World, binary, wait_until};

/// 27 of 100 come before it, and 77.
const EARLY: &str = "0198c0de-0000-7000-8000-000000000005";
const LATE: &str = "0198c0de-0000-7000-8000-000000000007";
/// Lets masters onto the USB disk.
const LENIENT: &str = "[[destination]]\nname = \"courier\"\nmounts = [\"{root}/usb\"]\nceiling = \"master\"\n";

/// A workstation with a signed policy of serial 1 that asks the collector for its own.
fn start(mut world: World) -> World {
    for key in ["own", "other"] {
        policy(&world, &format!("keygen --out etc/{key} --unencrypted"));
    }
    put(&world, 1, "audit", Some("own"));
    world.extra_config = format!("policy-key = \"{}\"\n", world.path("etc/own.pub").display());
    fs::write(world.path("state/agent-id"), EARLY).expect("an identity");
    ask_for_policies(&world);
    world.run();
    world
}

fn ask_for_policies(world: &World) {
    world.configure();
    let settings = world.path("etc/agent.toml");
    // The section of the collector is the last one.
    let text = fs::read_to_string(&settings).expect("the settings") + "policy = true\n";
    fs::write(settings, text).expect("the settings");
}

fn text(world: &World, serial: u32, mode: &str, extra: &str) -> String {
    let text = world.policy(mode, &extra.replace("{root}", &world.root.display().to_string()));
    text.replacen("version = 1\n", &format!("version = 1\nserial = {serial}\n"), 1)
}

/// Runs `vitrine-collector policy …`; gives what it prints.
fn collector(world: &World, arguments: &[&str]) -> String {
    let done = world.collector(&[&["policy"], arguments].concat());
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// Adds a policy, signed by this key or not at all, and gives it to so many; gives the number of the rollout.
fn roll_out(world: &World, text: &str, key: Option<&str>, percentage: &str) -> String {
    let file = world.path("etc/new.toml");
    fs::write(&file, text).expect("the policy");
    let (file, signature) = (file.display().to_string(), world.path("etc/new.toml.minisig").display().to_string());
    let version = match key {
        Some(key) => {
            policy(world, &format!("sign etc/new.toml --key etc/{key}.key"));
            collector(world, &["add", &file, "--signature", &signature])
        }
        None => collector(world, &["add", &file]),
    };
    collector(world, &["roll-out", "--version", &version, "--percentage", percentage])
}

fn listed(world: &World) -> Value {
    serde_json::from_str(&collector(world, &["list", "--json"])).expect("JSON")
}

fn in_force(status: &Value) -> Option<(u64, &str)> {
    Some((status["policy_serial"].as_u64()?, status["policy_source"].as_str()?))
}

fn comes_in_force(world: &World, serial: u64) {
    wait_until(&format!("policy of serial {serial} from the collector"), || {
        (in_force(&world.status()?)? == (serial, "collector")).then_some(())
    });
}

#[test]
fn a_signed_policy_of_the_collector_is_in_force_until_the_next_good_one() {
    let Some(world) = World::builder().with_collector().not_started().build() else { return };
    let mut world = start(world);
    assert_eq!(in_force(&world.status().expect("a status")), Some((1, "file")));
    assert!(world.sh("cp ws/masters/KP1_0001.jpg usb/before.jpg").succeeded);

    roll_out(&world, &text(&world, 2, "enforce", ""), Some("own"), "100");
    comes_in_force(&world, 2);
    assert!(!world.sh("cp ws/masters/KP1_0001.jpg usb/after.jpg").succeeded);
    wait_until("acknowledgement", || {
        let version = &listed(&world)["versions"][0];
        (version["acknowledged"] == 1 && version["wanted"] == 1).then_some(())
    });

    let mut known = refusals(&world);
    let mut is_refused = |what: &str, text: &str, key: Option<&str>, words: &str| {
        roll_out(&world, text, key, "100");
        wait_until(what, || world.status()?["policy_error"].as_str().filter(|told| told.contains(words)).map(drop));
        known += 1;
        wait_until(&format!("record of {what}"), || (refusals(&world) == known).then_some(()));
        assert_eq!(in_force(&world.status().expect("a status")), Some((2, "collector")), "{what}");
    };
    is_refused("an unsigned policy", &text(&world, 3, "audit", ""), None, "is not signed with the key");
    is_refused("a policy signed with another key", &text(&world, 4, "audit", ""), Some("other"), "is not signed with");
    is_refused(
        "an older policy",
        &text(&world, 1, "audit", "# old"),
        Some("own"),
        "it has serial 1, and 2 was in force",
    );

    // Nobody is there to ask, and the agent is started anew: what the collector gave last stays.
    world.pause_collector(true);
    world.kill_agent();
    world.run();
    assert_eq!(in_force(&world.status().expect("a status")), Some((2, "collector")));
    assert!(!world.sh("cp ws/masters/KP1_0001.jpg usb/after.jpg").succeeded);
    // The local file counts no more, however new.
    put(&world, 9, "audit", Some("own"));
    world.pause_collector(false);
    roll_out(&world, &text(&world, 5, "audit", ""), Some("own"), "100");
    comes_in_force(&world, 5);
    assert!(world.status().expect("a status")["policy_error"].is_null());
    assert!(world.sh("cp ws/masters/KP1_0001.jpg usb/again.jpg").succeeded);
}

/// A second agent on the same files, with a state directory, an identity and a token of its own.
struct Second<'a> {
    world: &'a World,
    process: Child,
}

impl<'a> Second<'a> {
    fn start(world: &'a World) -> Second<'a> {
        fs::create_dir(world.path("second")).expect("a directory");
        fs::write(world.path("second/agent-id"), LATE).expect("an identity");
        fs::write(world.path("etc/second.token"), world.collector_token("agent")).expect("a token");
        fs::set_permissions(world.path("etc/second.token"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .expect("a token");
        let settings = fs::read_to_string(world.path("etc/agent.toml")).expect("the settings");
        let place = |name: &str| world.path(name).display().to_string();
        let settings = settings
            .replace(&place("state"), &place("second"))
            .replace(&place("etc/token"), &place("etc/second.token"));
        fs::write(world.path("etc/second.toml"), settings).expect("the settings");
        let mut agent = Command::new(binary("vitrine"));
        agent.args(["run", "--config"]).arg(world.path("etc/second.toml")).stdin(Stdio::null());
        let log = fs::File::create(world.path("second.log")).expect("a log");
        agent.stdout(log.try_clone().expect("a log")).stderr(log);
        let second = Second { world, process: agent.spawn().expect("an agent") };
        second.has(1, "file");
        second
    }

    fn status(&self) -> Option<Value> {
        let mut command = Command::new(binary("vitrine"));
        command.args(["status", "--json", "--config"]).arg(self.world.path("etc/second.toml"));
        serde_json::from_slice(&command.output().expect("vitrine").stdout).ok()
    }

    fn has(&self, serial: u64, source: &str) {
        wait_until(&format!("policy of serial {serial} of the second agent"), || {
            (in_force(&self.status()?)? == (serial, source)).then_some(())
        });
    }

    /// Waits until it has spoken with the collector twice more.
    fn has_asked_again(&self) {
        for _ in 0..2 {
            let contact = || Some(self.status()?["collector_contact"].as_str()?.to_owned());
            let before = contact();
            wait_until("another heartbeat", || {
                contact().filter(|now| now.starts_with("reached") && Some(now) != before.as_ref())
            });
        }
    }
}

impl Drop for Second<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn half_of_the_workstations_are_exactly_those_that_come_first() {
    let Some(world) = World::builder().watching().with_collector().not_started().build() else { return };
    let world = start(world);
    let second = Second::start(&world);
    let rollout = roll_out(&world, &text(&world, 2, "enforce", ""), Some("own"), "50");
    comes_in_force(&world, 2);
    second.has_asked_again();
    second.has(1, "file");
    assert_eq!(listed(&world)["rollouts"][0]["agents"], serde_json::json!([EARLY]));
    collector(&world, &["raise", "--rollout", &rollout, "--percentage", "100"]);
    second.has(2, "collector");
}

#[test]
fn a_rollout_halts_when_far_more_is_refused_than_before() {
    let Some(world) = World::builder().with_collector().not_started().build() else { return };
    let world = start(world);
    roll_out(&world, &text(&world, 2, "enforce", LENIENT), Some("own"), "100");
    comes_in_force(&world, 2);
    for nth in 0..3 {
        assert!(world.sh(&format!("cp ws/masters/KP1_0001.jpg usb/{nth}.jpg")).succeeded);
    }
    let rollout = roll_out(&world, &text(&world, 3, "enforce", ""), Some("own"), "50");
    comes_in_force(&world, 3);
    for nth in 0..12 {
        assert!(!world.sh(&format!("cp ws/masters/KP1_0001.jpg usb/more-{nth}.jpg")).succeeded);
    }
    let alert = wait_until("alert about the rollout", || {
        world.alerts().into_iter().find(|alert| alert["code"] == "rollout-halted")
    });
    assert!(alert["title"].as_str().expect("a title").contains(&format!("rollout {rollout} of policy version 2")));
    let found = listed(&world)["rollouts"][0].clone();
    assert_eq!((&found["state"], &found["agents"]), (&"halted".into(), &serde_json::json!([EARLY])));
    assert_eq!(in_force(&world.status().expect("a status")), Some((3, "collector")));
}

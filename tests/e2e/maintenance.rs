//! Maintenance: issued at the centre, taken on the workstation, recorded at its beginning and its end.

use std::process::Output;

use serde_json::Value;

use crate::signed::policy;
use crate::world::{World, wait_until};

const REASON: &str = "new disk, ticket 214";

/// A workstation whose agent trusts a key, with a collector that has heard of it.
fn world() -> Option<World> {
    let mut world = World::builder().watching().with_collector().not_started().build()?;
    for key in ["own", "other"] {
        policy(&world, &format!("keygen --out etc/{key} --unencrypted"));
    }
    world.extra_config = format!("maintenance-key = \"{}\"\n", world.path("etc/own.pub").display());
    world.start();
    wait_until("heartbeat at the collector", || issue(&world, "own", &["--host", &agent(&world)]).ok().map(drop));
    Some(world)
}

fn agent(world: &World) -> String {
    std::fs::read_to_string(world.path("state/agent-id")).expect("an identity").trim().to_owned()
}

/// Has the collector issue a token for an hour; what it says if it does not.
fn issue(world: &World, key: &str, whom: &[&str]) -> Result<String, String> {
    let key = world.path(&format!("etc/{key}.key")).display().to_string();
    let fixed = ["maintenance", "issue", "--key", &key, "--minutes", "60", "--reason", REASON];
    let done = world.collector(&[&fixed, whom].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
}

fn maintenance(world: &World, arguments: &[&str]) -> Output {
    let state = world.path("state").display().to_string();
    world.vitrine(&[&["maintenance", "--state", &state], arguments].concat())
}

#[test]
fn a_token_of_the_centre_opens_maintenance_and_both_ends_are_on_record() {
    let Some(world) = world() else { return };
    assert_eq!(maintenance(&world, &[]).status.code(), Some(1), "none is open");
    assert_eq!(maintenance(&world, &["--end"]).status.code(), Some(1));
    let token = issue(&world, "own", &["--host", &agent(&world)]).expect("a token");
    let opened = maintenance(&world, &[&token, "--json"]);
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    let stands: Value = serde_json::from_slice(&opened.stdout).expect("JSON");
    let left = stands["open"][1].as_i64().expect("seconds");
    assert!((3500..=3600).contains(&left) && stands["open"][0]["reason"] == REASON, "{stands}");
    assert!(world.noticed("maintenance-opened").contains(REASON));
    wait_until("maintenance in the status", || {
        world.status()?["maintenance"].as_str().filter(|told| told.contains(REASON)).map(drop)
    });
    assert!(maintenance(&world, &["--end"]).status.success());
    assert!(world.noticed("maintenance-ended").contains("ended by"));
    let again = maintenance(&world, &[&token]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("has opened maintenance before"));
}

#[test]
fn a_token_of_another_key_or_agent_is_refused_and_recorded_and_others_than_root_are_not_heard() {
    let Some(world) = world() else { return };
    let forged = issue(&world, "other", &["--all"]).expect("a token");
    let refused = maintenance(&world, &[&forged]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not signed with the key"));
    assert!(world.noticed("maintenance-refused").contains("is not signed with the key"));
    let is_it = |alert: &Value| alert["code"] == "maintenance-refused";
    wait_until("alert of the refused token", || world.alerts().iter().any(is_it).then_some(()));
    assert_eq!(maintenance(&world, &[&"x".repeat(100_000)]).status.code(), Some(1));
    assert!(world.status().expect("a status")["maintenance"].is_null());
    let token = issue(&world, "own", &["--all"]).expect("a token");
    if nix::unistd::geteuid().is_root() {
        let command = format!(
            "{} maintenance --state {} {token}",
            crate::world::binary("vitrine").display(),
            world.path("state").display()
        );
        let done = world.sh_as(&command, Some(65_534));
        assert!(!done.succeeded && done.text.contains("only root"), "{}", done.text);
    }
    assert!(maintenance(&world, &[&token]).status.success());
}

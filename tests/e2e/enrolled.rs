//! Agent and collector know each other: by a fingerprint, a token and a certificate.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use crate::world::{World, wait_until};

fn contact(world: &World, what: &str) -> String {
    let mut last = String::new();
    let found = catch_unwind(AssertUnwindSafe(|| {
        wait_until(what, || {
            world.status()?["collector_contact"].as_str()?.clone_into(&mut last);
            Some(last.clone()).filter(|text| text.contains(what))
        })
    }));
    found.unwrap_or_else(|_| {
        let collector = fs::read_to_string(world.path("collector.log")).unwrap_or_default();
        panic!("expected {what:?}, last seen: {last}\nthe agent:\n{}\nthe collector:\n{collector}", world.log())
    })
}

fn identity(world: &World) -> Value {
    serde_json::from_slice(&fs::read(world.path("state/identity.json")).expect("an identity")).expect("JSON")
}

#[test]
fn a_certificate_outlives_the_token_and_renews_itself() {
    let Some(mut world) = World::builder().watching().with_collector().build() else { return };
    contact(&world, "reached at");
    fs::remove_file(world.path("etc/token")).expect("the token");
    world.kill_agent();
    // As if two thirds of its life had passed.
    let mut aged = identity(&world);
    let old = aged["certificate"]["pem"].clone();
    let day = 24 * 3600 * 1000;
    aged["certificate"]["issued"] = (aged["certificate"]["issued"].as_i64().expect("a time") - 200 * day).into();
    fs::write(world.path("state/identity.json"), aged.to_string()).expect("the identity");
    world.start();
    contact(&world, "reached at");
    let new = identity(&world);
    assert_ne!(new["certificate"]["pem"], old);
    assert_eq!(new["key"], aged["key"]);
    let listed = world.collector(&["agent", "list"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout).matches("valid until").count(), 2);
}

#[test]
fn a_revoked_agent_is_not_heard_until_it_gets_a_new_token() {
    let Some(world) = World::builder().watching().with_collector().build() else { return };
    contact(&world, "reached at");
    let listed: Value = serde_json::from_slice(&world.collector(&["agent", "list", "--json"]).stdout).expect("JSON");
    let agent = listed["certificates"][0]["agent"].as_str().expect("an agent").to_owned();
    assert!(world.collector(&["agent", "revoke", "--agent", &agent]).status.success());
    // Its journal keeps what its status says for a moment only.
    wait_until("word of the refusal", || world.log().contains("as many agents as it was made for").then_some(()));
    world.give_token();
    contact(&world, "reached at");
}

#[test]
fn a_collector_of_another_authority_gets_nothing() {
    let Some(mut world) = World::builder().watching().with_collector().not_started().build() else { return };
    world.configure();
    let settings = fs::read_to_string(world.path("etc/agent.toml")).expect("the settings");
    let (start, rest) = settings.split_once("sha256:").expect("a fingerprint");
    let (own, rest) = rest.split_at(64);
    let wrong = format!("{start}sha256:{}{rest}", own.chars().rev().collect::<String>());
    fs::write(world.path("etc/agent.toml"), wrong).expect("the settings");
    world.run();
    contact(&world, "not of the authority that collector.ca-fingerprint names");
    assert_eq!(String::from_utf8_lossy(&world.collector(&["agent", "list"]).stdout), "");
}

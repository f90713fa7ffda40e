//! Signed policies: what has no good signature or an older serial changes nothing, and a record says so.

use std::fs;

use vitrine_policy::record::Event;

use crate::world::{World, binary, wait_until};

/// Runs `vitrine policy …`.
pub(crate) fn policy(world: &World, arguments: &str) {
    let done = world.sh(&format!("{} policy {arguments}", binary("vitrine").display()));
    assert!(done.succeeded, "{arguments}: {}", done.text);
}

/// Puts a policy of this serial in the place of the one before, with a signature by this key or without one.
pub(crate) fn put(world: &World, serial: u32, mode: &str, key: Option<&str>) {
    let text = world.policy(mode, "").replacen("version = 1\n", &format!("version = 1\nserial = {serial}\n"), 1);
    fs::write(world.path("etc/next.toml"), text).expect("the policy");
    let (signature, place) = (world.path("etc/next.toml.minisig"), world.path("etc/policy.toml.minisig"));
    match key {
        Some(key) => policy(world, &format!("sign etc/next.toml --key etc/{key}.key")),
        None => drop(fs::remove_file(&place)),
    }
    fs::rename(world.path("etc/next.toml"), world.path("etc/policy.toml")).expect("the policy");
    if key.is_some() {
        fs::rename(signature, place).expect("the signature");
    }
}

/// Refusals on record.
pub(crate) fn refusals(world: &World) -> u64 {
    let refused = |event: &Event| match event {
        Event::Notice(notice) if notice.code == "policy-refused" => notice.count,
        _ => 0,
    };
    world.records().iter().map(|record| refused(&record.event)).sum()
}

#[test]
fn a_policy_is_taken_with_a_good_signature_and_a_higher_serial_alone() {
    let Some(mut world) = World::builder().watching().not_started().build() else { return };
    for key in ["own", "other"] {
        policy(&world, &format!("keygen --out etc/{key} --unencrypted"));
    }
    put(&world, 3, "enforce", Some("own"));
    world.extra_config = format!("policy-key = \"{}\"\n", world.path("etc/own.pub").display());
    world.start();
    let in_force = |world: &World| {
        let status = world.status()?;
        Some((status["policy_serial"].as_u64()?, status["mode"].as_str()?.to_owned()))
    };
    assert_eq!(in_force(&world), Some((3, "enforce".to_owned())));

    let mut known = 0;
    let mut is_refused = |world: &World, what: &str, words: &str| {
        wait_until(what, || world.status()?["policy_error"].as_str().filter(|told| told.contains(words)).map(drop));
        assert_eq!(in_force(world), Some((3, "enforce".to_owned())), "{what}");
        known += 1;
        wait_until(&format!("record of {what}"), || (refusals(world) >= known).then_some(()));
    };
    let verify = |key: &str| {
        let command = format!("policy verify etc/policy.toml --public-key etc/{key}.pub; echo status $?");
        world.sh(&format!("{} {command}", binary("vitrine").display())).text
    };
    let good = verify("own");
    assert!(good.contains("signed with this key") && good.contains("status 0"), "{good}");
    let foreign = verify("other");
    assert!(foreign.contains("not signed with the key that is expected") && foreign.contains("status 1"), "{foreign}");
    put(&world, 4, "audit", None);
    is_refused(&world, "an unsigned policy", "No such file");
    let unsigned = verify("own");
    assert!(unsigned.contains("policy.toml.minisig") && unsigned.contains("status 1"), "{unsigned}");
    put(&world, 5, "audit", Some("other"));
    is_refused(&world, "a policy signed with another key", "key");
    put(&world, 2, "audit", Some("own"));
    is_refused(&world, "an older policy", "it has serial 2, and 3 was in force before");
    // A good signature, and another text behind it.
    let signed = world.path("etc/policy.toml.minisig");
    let copied = fs::read(&signed).expect("a signature");
    put(&world, 6, "audit", None);
    fs::write(&signed, copied).expect("the signature");
    let edited = verify("own");
    assert!(edited.contains("not signed with the key that is expected") && edited.contains("status 1"), "{edited}");
    is_refused(&world, "a policy with the signature of another", "not signed with the key that is expected");
    put(&world, 3, "audit", Some("own"));
    is_refused(&world, "another policy of the same serial", "another text");

    put(&world, 7, "audit", Some("own"));
    wait_until("signed policy", || (in_force(&world)? == (7, "audit".to_owned())).then_some(()));
    assert!(world.status().expect("a status")["policy_error"].is_null());
    // One that is refused at the start leaves the last good one in force, too.
    world.kill_agent();
    put(&world, 8, "enforce", Some("other"));
    world.start();
    assert_eq!(in_force(&world), Some((7, "audit".to_owned())));
    put(&world, 9, "enforce", Some("own"));
    wait_until("the next policy", || (in_force(&world)? == (9, "enforce".to_owned())).then_some(()));
    assert!(world.sh("cp ws/masters/KP1_0001.jpg usb/").succeeded);
    wait_until("disk without the copy", || (!world.path("usb/KP1_0001.jpg").exists()).then_some(()));
}

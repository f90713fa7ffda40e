//! Rollouts halt by themselves where far more is refused than before, and only there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use serde_json::{Value, json};
use vitrine_collector::store::Role;
use vitrine_policy::decision::Verdict;
use vitrine_policy::record::{Disposition, Event, Record};
use world::{AGENT, World, good, lines, record, transfer, until};

fn policy(serial: u32) -> String {
    format!("version = 1\nserial = {serial}\nmode = \"audit\"\n[elsewhere]\nceiling = \"none\"\n")
}

fn run(world: &World, arguments: &[&str]) -> String {
    let (code, out, told) = world.run(&[&["policy"], arguments].concat());
    assert_eq!(code, 0, "{arguments:?}: {told}");
    out.trim().to_owned()
}

fn rollout(world: &World) -> Value {
    let all: Value = serde_json::from_str(&run(world, &["list", "--json"])).unwrap();
    all["rollouts"][0].clone()
}

fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// A transfer that a policy allowed or refused, so many times.
fn judged(sequence: u64, policy: &str, refused: bool, attempts: u32) -> Record {
    let mut transfer = transfer();
    transfer.policy = digest(policy);
    transfer.attempts = attempts;
    if !refused {
        (transfer.verdict, transfer.disposition) = (Verdict::Allow, Disposition::Allowed);
    }
    record(sequence, world::NOON, Event::Transfer(Box::new(transfer)))
}

/// The same of another workstation, sent with its token.
async fn send(world: &World, token: &str, agent: &str, mut records: Vec<Record>) {
    records.iter_mut().for_each(|record| record.host.agent = agent.into());
    let request = world.client.post(world.url("/v1/records")).bearer_auth(token);
    good(request.body(lines(&records)).send().await.unwrap()).await;
}

async fn beat(world: &World, token: &str, agent: &str, policy: &str) {
    let heartbeat = json!({
        "agent": agent, "host": "scan-07", "guard": "gate", "mode": "enforce", "spool_depth": 0, "last_sequence": 0,
        "policy": digest(policy), "takes_policies": true,
    });
    let request = world.client.post(world.url("/v1/heartbeat")).bearer_auth(token);
    good(request.json(&heartbeat).send().await.unwrap()).await;
}

/// A workstation that has refused 2 of 20 under version 1, and has version 2 in force now; its collector.
async fn world() -> World {
    let world = World::new().await;
    for serial in [1, 2] {
        let file = world.directory.path().join("new.toml");
        std::fs::write(&file, policy(serial)).unwrap();
        run(&world, &["add", file.to_str().unwrap()]);
    }
    beat(&world, &world.agent, AGENT, &policy(1)).await;
    world
        .send(&[judged(1, &policy(1), false, 9), judged(2, &policy(1), false, 9), judged(3, &policy(1), true, 2)])
        .await;
    run(&world, &["roll-out", "--version", "2"]);
    beat(&world, &world.agent, AGENT, &policy(2)).await;
    world
}

async fn halted(world: &World) -> Option<Value> {
    world.alerts().await.into_iter().find(|alert| alert["code"] == "rollout-halted")
}

#[tokio::test]
async fn a_rollout_halts_where_the_share_of_refused_jumps() {
    let world = world().await;
    assert_eq!(rollout(&world)["state"], "running");
    // 12 of 20 where 2 of 20 were refused before: six times as many, and ten more.
    world
        .send(&[judged(4, &policy(2), false, 8), judged(5, &policy(2), true, 6), judged(6, &policy(2), true, 6)])
        .await;
    let alert = until("the halt is told of", async || halted(&world).await).await;
    assert_eq!(
        (&alert["severity"], &alert["kind"], &alert["host"]),
        (&json!("high"), &json!("rollout"), &json!("all"))
    );
    assert_eq!(alert["title"], "rollout 1 of policy version 2 to all was halted");
    let told = alert["explanation"].as_str().unwrap();
    assert!(told.contains("12 of 20 transfers were refused (60.0 %), and 2 of 20 before (10.0 %)"), "{told}");
    let found = rollout(&world);
    assert_eq!((&found["state"], &found["changed_by"]), (&json!("halted"), &json!("the collector")));
    assert_eq!(found["agents"], json!([AGENT]), "who has the version keeps it");

    // Another workstation does not get it.
    let token = world::token(world.directory.path(), "other", Role::Agent).await;
    beat(&world, &token, "other", &policy(1)).await;
    let asked = world.client.get(world.url("/v1/policy")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(asked.status(), reqwest::StatusCode::NO_CONTENT);

    // What was refused until it was resumed counts no more.
    run(&world, &["resume", "--rollout", "1"]);
    let asked = world.client.get(world.url("/v1/policy")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(good(asked).await["policy"], policy(2));
    another_halts(&world).await;
    assert_eq!(rollouts_halted(&world), [2]);
    let (_, log, _) = world.run(&["audit", "export"]);
    assert!(log.contains("\"origin\":\"collector\"") && log.contains("halted by itself"), "{log}");
}

#[tokio::test]
async fn a_rollout_goes_on_where_as_much_is_refused_as_before_or_by_other_policies() {
    let world = world().await;
    // As before; three times as many, but only four more; and many by the version before, which came late.
    let allowed = (4..13).map(|sequence| judged(sequence, &policy(2), false, 10));
    world.send(&allowed.chain([judged(13, &policy(2), true, 10)]).collect::<Vec<_>>()).await;
    world.send(&(14..19).map(|sequence| judged(sequence, &policy(1), true, 10)).collect::<Vec<_>>()).await;
    another_halts(&world).await;
    assert_eq!(rollouts_halted(&world), [2]);
}

#[tokio::test]
async fn one_record_does_not_keep_a_rollout_from_halting() {
    let world = world().await;
    let allowed = judged(4, &policy(2), false, 1_000_000);
    world.send(&[allowed, judged(5, &policy(2), true, 10), judged(6, &policy(2), true, 10)]).await;
    let alert = until("the halt is told of", async || halted(&world).await).await;
    let told = alert["explanation"].as_str().unwrap();
    assert!(told.contains("20 of 30 transfers were refused"), "{told}");
}

#[tokio::test]
async fn one_workstation_of_several_does_not_halt_a_rollout() {
    let world = world().await;
    let token = world::token(world.directory.path(), "other", Role::Agent).await;
    beat(&world, &token, "other", &policy(2)).await;
    world.send(&(4..14).map(|sequence| judged(sequence, &policy(2), true, 10)).collect::<Vec<_>>()).await;
    another_halts(&world).await;
    assert_eq!(rollouts_halted(&world), [2]);
    send(&world, &token, "other", vec![judged(1, &policy(2), true, 5)]).await;
    until("it halts", async || rollouts_halted(&world).contains(&1).then_some(())).await;
}

fn rollouts_halted(world: &World) -> Vec<i64> {
    let all: Value = serde_json::from_str(&run(world, &["list", "--json"])).unwrap();
    let rollouts = all["rollouts"].as_array().unwrap();
    let halted = rollouts.iter().filter(|rollout| rollout["state"] == "halted");
    halted.map(|rollout| rollout["number"].as_i64().unwrap()).collect()
}

/// So that there has been time to look at all rollouts: one of a group of its own, which has to halt.
async fn another_halts(world: &World) {
    let agent = "the-last";
    let token = world::token(world.directory.path(), agent, Role::Agent).await;
    run(world, &["group", "--name", "last", agent]);
    let file = world.directory.path().join("new.toml");
    std::fs::write(&file, policy(7)).unwrap();
    run(world, &["add", file.to_str().unwrap()]);
    run(world, &["roll-out", "--version", "3", "--group", "last"]);
    beat(world, &token, agent, &policy(7)).await;
    send(world, &token, agent, vec![judged(1, &policy(7), true, 10)]).await;
    until("another rollout halts", async || rollouts_halted(world).contains(&2).then_some(())).await;
}

//! Agents that are not heard of: who is missed, who is not, and how the alert ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use serde_json::{Value, json};
use vitrine_collector::store::Role;
use vitrine_policy::record::{Event, Notice, NoticeClass, SHUTDOWN, STARTED, Severity};
use world::{AGENT, NOON, World, blocked, good, record, until};

async fn beat(world: &World, seconds: Option<u64>) {
    let heartbeat = json!({
        "agent": AGENT, "host": "scan-07", "guard": "flow", "mode": "enforce", "spool_depth": 0,
        "last_sequence": 0, "heartbeat_seconds": seconds, "time": 1_000_000,
    });
    let request = world.client.post(world.url("/v1/heartbeat")).bearer_auth(&world.agent);
    good(request.json(&heartbeat).send().await.unwrap()).await;
}

fn life(sequence: u64, code: &str) -> vitrine_policy::record::Record {
    let notice = Notice {
        code: code.into(),
        class: NoticeClass::Lifecycle,
        severity: Severity::Informational,
        message: "The agent tells of itself.".into(),
        subject: None,
        count: 1,
    };
    record(sequence, NOON, Event::Notice(notice))
}

async fn silent(world: &World) -> Option<Value> {
    of("scan-07", world).await
}

async fn of(host: &str, world: &World) -> Option<Value> {
    world.alerts().await.into_iter().find(|alert| alert["code"] == "agent-silent" && alert["host"] == host)
}

/// So that there has been time to miss everybody.
async fn another_goes_silent(world: &World) {
    let other = world::token(world.directory.path(), "other", Role::Agent).await;
    let heartbeat = json!({
        "agent": "other", "host": "scan-08", "guard": "gate", "mode": "audit", "spool_depth": 0,
        "last_sequence": 0, "heartbeat_seconds": 1,
    });
    let request = world.client.post(world.url("/v1/heartbeat")).bearer_auth(other);
    good(request.json(&heartbeat).send().await.unwrap()).await;
    until("the other's silence", async || of("scan-08", world).await).await;
}

async fn host(world: &World) -> Value {
    let request = world.client.get(world.url("/v1/hosts")).bearer_auth(&world.reader);
    good(request.send().await.unwrap()).await["hosts"][0].clone()
}

#[tokio::test]
async fn an_agent_that_misses_two_heartbeats_is_missed_until_it_is_heard_again() {
    let world = World::new().await;
    let session = world.set_up().await;
    let last = std::time::Instant::now();
    beat(&world, Some(1)).await;
    let alert = until("the silence is told of", async || silent(&world).await).await;
    // Two heartbeats, a second until somebody looks, and what a machine at work takes for both.
    let after = last.elapsed().as_secs_f64();
    assert!((2.0..15.0).contains(&after), "{after} s");
    assert_eq!((&alert["state"], &alert["severity"]), (&json!("open"), &json!("high")));
    assert_eq!(alert["title"], "scan-07 is silent");
    assert!(alert["explanation"].as_str().unwrap().contains("every 1 s"), "{alert}");
    assert_eq!(host(&world).await["silent"], alert["id"]);
    let page = world.page("/hosts?q=SCAN", &session).await;
    assert!(page.contains("1 silent") && page.contains("scan-07"), "{page}");

    // Records are as good as a heartbeat.
    world.send(&[blocked(1)]).await;
    let alert = silent(&world).await.unwrap();
    assert_eq!(alert["state"], "resolved");
    assert!(alert["explanation"].as_str().unwrap().contains("heard again"), "{alert}");
    assert_eq!(host(&world).await["silent"], Value::Null);
    // It is missed again, by an alert of its own.
    until("the next silence", async || silent(&world).await.filter(|next| next["id"] != alert["id"])).await;
}

#[tokio::test]
async fn nobody_misses_a_workstation_that_was_switched_off() {
    let world = World::new().await;
    beat(&world, Some(1)).await;
    world.send(&[life(1, STARTED), life(2, SHUTDOWN)]).await;
    assert_eq!(host(&world).await["off"], true);
    another_goes_silent(&world).await;
    assert!(of("scan-07", &world).await.is_none());

    world.send(&[life(3, STARTED)]).await;
    until("silence after the next start", async || of("scan-07", &world).await).await;
}

#[tokio::test]
async fn a_record_that_comes_late_switches_nobody_off() {
    let world = World::new().await;
    beat(&world, Some(1)).await;
    world.send(&[life(1, STARTED), life(3, STARTED)]).await;
    world.send(&[life(2, SHUTDOWN)]).await;
    assert_eq!(host(&world).await["off"], false);
    until("silence", async || of("scan-07", &world).await).await;
}

#[tokio::test]
async fn an_agent_that_does_not_say_how_often_it_speaks_is_not_missed() {
    let world = World::new().await;
    beat(&world, None).await;
    assert_eq!(host(&world).await["heartbeat"]["guard"], "flow");
    another_goes_silent(&world).await;
    assert!(of("scan-07", &world).await.is_none());
}

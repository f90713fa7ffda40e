//! What is told late, and once: escalations and digests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "world/hook.rs"]
mod hook;
mod world;

use hook::{Hook, world_with};
use vitrine_collector::server::{Settings, start};
use vitrine_policy::record::{Disposition, Event, Record};
use world::{NOON, World, record, until};

fn attempt(sequence: u64, user: &str, disposition: Disposition) -> Record {
    let mut transfer = world::transfer();
    transfer.user.as_mut().unwrap().name = user.into();
    transfer.disposition = disposition;
    record(sequence, NOON + i64::try_from(sequence).unwrap() * 1000, Event::Transfer(Box::new(transfer)))
}

#[tokio::test]
async fn what_nobody_answers_is_escalated_once() {
    let (desk, head) = (Hook::start(0).await, Hook::start(0).await);
    let late = head.route("head", "severity = \"high\"\nescalate-after = \"4s\"").replace("group-wait = \"0s\"\n", "");
    let world = world_with(&[desk.route("desk", ""), late].concat(), 10).await;
    let session = world.set_up().await;
    world
        .send(&[
            attempt(1, "wen", Disposition::Blocked),
            attempt(2, "mei", Disposition::Blocked),
            attempt(3, "lin", Disposition::WouldBlock),
        ])
        .await;
    // Somebody answers for the first in time, once the desk knows of it: what is answered for before is not told.
    desk.wait_for(3).await;
    world.post(&session, "/triage", &[("step", "acknowledge"), ("id", "1")]).await;
    head.wait_for(1).await;
    assert_eq!(head.told(), [("alert.escalated".to_owned(), vec![2])]);
    // It goes on, and gets worse: that is told once more to nobody but the desk.
    world.send(&[attempt(4, "mei", Disposition::Failed), attempt(5, "fan", Disposition::Blocked)]).await;
    head.wait_for(2).await;
    assert_eq!(head.told()[1], ("alert.escalated".to_owned(), vec![4]));
    // Opened again, the first is not answered in time either.
    world.post(&session, "/triage", &[("step", "reopen"), ("id", "1")]).await;
    head.wait_for(3).await;
    assert_eq!(head.told()[2], ("alert.escalated".to_owned(), vec![1]));
}

#[tokio::test]
async fn an_escalation_waits_through_a_restart() {
    let head = Hook::start(0).await;
    let config = head.route("head", "escalate-after = \"1h\"").replace("group-wait = \"0s\"\n", "");
    let world = world_with(&config, 10).await;
    // The same user to the same destination, with another program: that can still be answered in time.
    let mut other = world::transfer();
    other.processes[0].name = "rsync".into();
    let other = record(2, NOON + 2000, Event::Transfer(Box::new(other)));
    world.send(&[attempt(1, "wen", Disposition::Blocked), other]).await;
    let World { directory, running, .. } = world;
    running.stop().await;
    let database = directory.by_hand();
    let bundles = "SELECT count(*), count(DISTINCT bundle) FROM routed WHERE occasion = 'alert.escalated'";
    assert_eq!(database.row(bundles), ["2", "1"]);
    let earlier = "UPDATE routed SET since = since - 3600000, due = due - 3600000 WHERE alert = 1";
    assert_eq!(database.execute(earlier), 1);
    let running = start(Settings::new(directory.path().to_owned(), ([127, 0, 0, 1], 0).into())).await.unwrap();
    head.wait_for(1).await;
    assert_eq!(head.told(), [("alert.escalated".to_owned(), vec![1])]);
    running.stop().await;
}

#[tokio::test]
async fn a_digest_is_one_message_however_much_there_was() {
    let hook = Hook::start(0).await;
    let config = hook.route("week", "up-to = \"medium\"\ndigest = \"24h\"").replace("group-wait = \"0s\"\n", "");
    let world = world_with(&config, 10).await;
    let session = world.set_up().await;
    let many: Vec<_> = (1..=60).map(|n| attempt(n, &format!("user{n}"), Disposition::WouldBlock)).collect();
    world.send(&many).await;
    world.send(&[attempt(61, "wen", Disposition::Blocked)]).await;
    world.post(&session, "/triage", &[("step", "acknowledge"), ("id", "60")]).await;
    world.send(&[attempt(62, "mei", Disposition::WouldBlock)]).await;
    // While nobody looks, so that nothing is told between this and the last alert.
    let World { directory, running, .. } = world;
    running.stop().await;
    let database = directory.by_hand();
    // The day of the first of them is over.
    assert_eq!(database.execute("UPDATE routed SET due = since WHERE alert = 1"), 1);
    let running = start(Settings::new(directory.path().to_owned(), ([127, 0, 0, 1], 0).into())).await.unwrap();
    hook.wait_for(1).await;
    let letter = hook.letters().remove(0);
    assert_eq!((&letter["event"], &letter["more"]), (&"digest".into(), &11.into()));
    let alerts = letter["alerts"].as_array().unwrap();
    assert_eq!(alerts.len(), 50);
    let answered = alerts.iter().find(|alert| alert["id"] == 60).unwrap();
    assert_eq!(answered["state"], "acknowledged");
    assert!(alerts.iter().all(|alert| alert["severity"] == "medium"));
    let left = "SELECT count(*) FROM routed WHERE due IS NOT NULL";
    let left = async || (database.number(left) == 0).then_some(());
    until("nothing waits any more", left).await;
    assert_eq!(hook.count(), 1);
    running.stop().await;
}

#[tokio::test]
async fn what_waits_when_a_route_begins_to_tell_by_digests_goes_with_the_first() {
    let hook = Hook::start(0).await;
    let world = world_with(&hook.route("desk", "").replace("\"0s\"", "\"1h\""), 10).await;
    world.send(&[attempt(1, "wen", Disposition::Blocked), attempt(2, "mei", Disposition::Blocked)]).await;
    let World { directory, running, .. } = world;
    running.stop().await;
    let config = hook.route("desk", "digest = \"24h\"").replace("group-wait = \"0s\"\n", "");
    std::fs::write(directory.path().join("collector.toml"), config).unwrap();
    let database = directory.by_hand();
    // The hour is over.
    assert_eq!(database.execute("UPDATE routed SET due = since WHERE bundle <> ''"), 2);
    let running = start(Settings::new(directory.path().to_owned(), ([127, 0, 0, 1], 0).into())).await.unwrap();
    hook.wait_for(1).await;
    assert_eq!(hook.told(), [("digest".to_owned(), vec![2, 1])]);
    let left = "SELECT count(*) FROM routed WHERE due IS NOT NULL";
    assert_eq!(database.number(left), 0);
    running.stop().await;
}

//! What is kept, for how long, and its copy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use std::process::Command;

use vitrine_collector::config::Config;
use vitrine_collector::store::{AlertFilter, Removed, Retention, Store};
use vitrine_policy::record::Severity;
use world::{AGENT, NOON, World, blocked, csrf, notice, only_on_sqlite, record};

const DAY: i64 = 24 * 3600 * 1000;

fn in_days(days: i64) -> i64 {
    jiff::Timestamp::now().as_millisecond() + days * DAY
}

async fn acknowledge(world: &World, id: i64) {
    let session = world.set_up().await;
    let csrf = csrf(&world.page("/", &session).await);
    let id = id.to_string();
    let form = [
        ("csrf", csrf.as_str()),
        ("step", "acknowledge"),
        ("verdict", ""),
        ("id", &id),
        ("note", "a mistake"),
        ("back", "/"),
    ];
    let request = world.client.post(world.url("/triage")).header("cookie", session).form(&form);
    assert_eq!(request.send().await.unwrap().status(), 303);
}

#[tokio::test]
async fn what_is_old_goes_by_its_severity_and_what_is_open_stays() {
    let world = World::new().await;
    // 1,200 everyday notices, and refused copies, of which the later ones are an alert of their own.
    let everyday: Vec<_> = (1..=1200).map(|n| record(n, NOON, notice(Severity::Informational))).collect();
    for batch in everyday.chunks(400) {
        world.send(batch).await;
    }
    let mut later = [blocked(1202), blocked(1203)];
    later.iter_mut().for_each(|record| record.time += 30 * 60_000);
    world.send(&[blocked(1201), later[0].clone(), later[1].clone()]).await;
    let alerts = world.alerts().await;
    assert_eq!(alerts.len(), 2);
    acknowledge(&world, alerts[1]["id"].as_i64().unwrap()).await;
    let store = world.store().await;
    let retention = Retention {
        severities: vec![(Severity::Informational, 30 * DAY), (Severity::High, 60 * DAY)],
        evidence: Some(30 * DAY),
        remains: Some(30 * DAY),
    };
    assert_eq!(store.remove_old(&retention, in_days(29)).await.unwrap(), Removed::default());
    let removed = store.remove_old(&retention, in_days(31)).await.unwrap();
    assert_eq!(removed, Removed { records: 1200, ..Removed::default() });
    let removed = store.remove_old(&retention, in_days(61)).await.unwrap();
    assert_eq!((removed.records, removed.alerts), (1, 1));
    assert_eq!(store.sequences(AGENT).await.unwrap(), [1202, 1203]);
    let left = store.alerts(AlertFilter { open: false, since: 0, limit: 10, skip: 0 }).await.unwrap();
    assert_eq!(left.len(), 1);
    // What was removed was not lost: nobody is told of a gap, and the next records follow.
    assert_eq!(world.send(&[blocked(1204)]).await, 1204);
    assert!(world.alerts().await.iter().all(|alert| alert["code"] != "records-lost"));
}

#[test]
fn a_retention_of_no_days_or_of_an_unknown_class_is_a_mistake() {
    let directory = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        std::fs::write(directory.path().join("collector.toml"), text).unwrap();
        Config::read(directory.path())
    };
    let good = read("[retention]\nhigh-days = 2\nremains-days = 1\n").unwrap().retention.unwrap().retention();
    assert_eq!(good.severities, [(Severity::High, 2 * DAY)]);
    assert_eq!((good.evidence, good.remains), (None, Some(DAY)));
    assert!(read("[retention]\nhigh-days = 0\n").unwrap_err().to_string().contains("high-days = 0"));
    assert!(read("[retention]\nmasters-days = 9\n").unwrap_err().to_string().contains("masters-days"));
}

#[tokio::test]
async fn a_backup_is_whole_while_records_come_in() {
    if !only_on_sqlite("a_backup_is_whole_while_records_come_in") {
        return;
    }
    let world = World::new().await;
    let mut sent = 0;
    for _ in 0..8 {
        sent = world.send(&(sent + 1..=sent + 50).map(blocked).collect::<Vec<_>>()).await;
    }
    let room = tempfile::tempdir().unwrap();
    let data = world.directory.path().to_owned();
    let to = room.path().join("copy.db");
    let back_up = || {
        let mut command = Command::new(world::binary());
        command.args(["backup", "--data"]).arg(&data).arg("--to").arg(&to);
        command
    };
    let mut running = back_up().spawn().unwrap();
    while running.try_wait().unwrap().is_none() {
        sent = world.send(&(sent + 1..=sent + 50).map(blocked).collect::<Vec<_>>()).await;
    }
    assert!(running.wait().unwrap().success());
    // A second one does not take the place of the first.
    let output = back_up().output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("copy.db"), "{output:?}");

    let restored = tempfile::tempdir().unwrap();
    std::fs::copy(&to, restored.path().join("collector.db")).unwrap();
    let kept = Store::open_existing(restored.path()).unwrap().sequences(AGENT).await.unwrap();
    let count = kept.len() as u64;
    assert!((400..=sent).contains(&count), "{count} of {sent}");
    assert!(kept.into_iter().eq(1..=count), "no holes");
    assert!(!room.path().join("copy.db.partial").exists());
}

//! Records that were changed, removed, put in or reordered before they were sent are found; honest ones are not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use serde_json::{Value, json};
use vitrine_policy::record::seal::Key;
use vitrine_policy::record::{Event, Record, Severity};
use world::{AGENT, NOON, World, good, notice, record};

/// What an agent does in one run.
struct Run {
    epoch: String,
    key: Key,
    number: u64,
    dropped: u64,
}

impl Run {
    async fn begin(world: &World, nth: u8) -> Run {
        let run = Run::offline(nth);
        let heartbeat = json!({"agent": AGENT, "host": "scan-07", "guard": "gate", "mode": "enforce", "spool_depth": 0,
            "last_sequence": 0, "seal": {"epoch": run.epoch, "key": hex::encode(run.key.bytes())}});
        let request = world.client.post(world.url("/v1/heartbeat")).bearer_auth(&world.agent).json(&heartbeat);
        good(request.send().await.unwrap()).await;
        run
    }

    fn offline(nth: u8) -> Run {
        Run { epoch: hex::encode([nth; 16]), key: Key::new([nth; 32]), number: 0, dropped: 0 }
    }

    fn seal(&mut self, mut record: Record) -> Record {
        let sequence = std::mem::take(&mut record.sequence);
        let body = serde_json::to_string(&record).unwrap();
        record.seal = Some(self.key.seal(&self.epoch, self.number, self.dropped, &body));
        self.key.advance();
        self.number += 1;
        Record { sequence, ..record }
    }

    fn records(&mut self, sequences: impl IntoIterator<Item = u64>) -> Vec<Record> {
        sequences.into_iter().map(|sequence| self.seal(record(sequence, NOON, notice(Severity::Low)))).collect()
    }
}

#[tokio::test]
async fn a_first_key_that_is_none_is_refused_by_name() {
    let world = World::new().await;
    for (seal, expected) in [
        (json!({"epoch": "0".repeat(32), "key": "f".repeat(63)}), "seal.key is not of 64 hexadecimal digits"),
        (json!({"epoch": "run 1", "key": "f".repeat(64)}), "seal.epoch is not of 32 hexadecimal digits"),
    ] {
        let heartbeat = json!({"agent": AGENT, "host": "scan-07", "guard": "gate", "mode": "enforce", "spool_depth": 0,
            "last_sequence": 0, "seal": seal});
        let request = world.client.post(world.url("/v1/heartbeat")).bearer_auth(&world.agent).json(&heartbeat);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 400);
        let text = answer.text().await.unwrap();
        assert!(text.contains(expected), "{text}");
    }
}

/// As the uploader numbers what it finds in the spool.
fn numbered(records: impl IntoIterator<Item = Record>) -> Vec<Record> {
    records.into_iter().zip(1..).map(|(record, sequence)| Record { sequence, ..record }).collect()
}

async fn alerts(world: &World) -> Vec<Value> {
    world.alerts().await.into_iter().filter(|alert| alert["kind"] == "tampering").collect()
}

async fn found(records: impl FnOnce(Vec<Record>) -> Vec<Record>) -> Vec<Value> {
    let world = World::new().await;
    let sealed = Run::begin(&world, 1).await.records(1..=6);
    world.send(&numbered(records(sealed))).await;
    alerts(&world).await
}

fn edit(record: &mut Record) {
    if let Event::Notice(notice) = &mut record.event {
        notice.message = "Nothing happened.".into();
    }
}

#[tokio::test]
async fn what_was_done_to_the_spool_is_found_once_and_named() {
    let edited = found(|mut records| {
        edit(&mut records[2]);
        records
    });
    let removed = found(|mut records| {
        records.remove(2);
        records
    });
    let reordered = found(|mut records| {
        records.swap(2, 3);
        records
    });
    let inserted = found(|mut records| {
        records.insert(2, Record { id: "forged".into(), ..record(0, NOON, notice(Severity::Low)) });
        records
    });
    let copied = found(|mut records| {
        records.insert(3, Record { id: "forged".into(), ..records[2].clone() });
        records
    });
    let expected = [(2, 4), (2, 3), (2, 4), (2, 3), (3, 4)];
    let all = [edited.await, removed.await, reordered.await, inserted.await, copied.await];
    for (alerts, (from, to)) in all.into_iter().zip(expected) {
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        let title = format!("records of scan-07 were changed or removed between {from} and {to}");
        assert_eq!((&alerts[0]["title"], &alerts[0]["severity"]), (&json!(title), &json!("critical")));
    }
}

#[tokio::test]
async fn retries_restarts_and_agents_without_a_key_are_no_tampering() {
    let world = World::new().await;
    world.send(&[record(1, NOON, notice(Severity::Low))]).await;
    world.send(&Run::offline(1).records(2..=3)).await;
    let mut run = Run::begin(&world, 2).await;
    let batch = run.records(4..=7);
    world.send(&batch).await;
    world.send(&batch).await;
    let mut again = Run::begin(&world, 3).await;
    world.send(&again.records(8..=9)).await;
    world.send(&[world::blocked(10)].map(|record| again.seal(record))).await;
    assert_eq!(alerts(&world).await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_a_full_spool_dropped_is_no_tampering_and_what_is_removed_beside_it_is() {
    let world = World::new().await;
    let mut run = Run::begin(&world, 1).await;
    let mut records = run.records(1..=6);
    let mut full = record(0, NOON, notice(Severity::Low));
    if let Event::Notice(notice) = &mut full.event {
        notice.code = "spool-full".into();
    }
    run.dropped = 2;
    let full = run.seal(full);
    records.drain(2..4);
    records.insert(0, full);
    world.send(&numbered(records)).await;
    assert_eq!(alerts(&world).await, Vec::<Value>::new());
    run.records([0]); // removed by somebody else
    world.send(&run.records([6])).await;
    assert_eq!(alerts(&world).await.len(), 1);
}

#[tokio::test]
async fn numbers_far_ahead_cost_a_batch_no_more_than_one_of_them() {
    let world = World::new().await;
    let mut run = Run::begin(&world, 1).await;
    let far = |mut record: Record| {
        record.seal.as_mut().unwrap().number += 1_000_000;
        record
    };
    let records: Vec<Record> = run.records(1..=400).into_iter().map(far).collect();
    let start = std::time::Instant::now();
    world.send(&records).await;
    // One takes a tenth of a second or two, all of them a minute.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    assert_eq!(alerts(&world).await.len(), 1);
}

#[tokio::test]
async fn a_run_that_claims_to_have_dropped_everything_stops_nobody() {
    let world = World::new().await;
    for nth in 1..=3 {
        let mut run = Run::begin(&world, nth).await;
        run.dropped = u64::MAX >> (nth - 1);
        assert_eq!(world.send(&run.records([u64::from(nth)])).await, u64::from(nth));
    }
}

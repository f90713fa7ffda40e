//! Records, evidence and heartbeats over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use reqwest::StatusCode;
use serde_json::json;
use vitrine_collector::rate::Rate;
use vitrine_collector::store::Role;
use vitrine_policy::decision::{Rule, Verdict};
use vitrine_policy::record::{Disposition, Event, Severity};
use world::{AGENT, NOON, World, blocked, good, lines, notice, record, refused, token};

#[tokio::test]
async fn a_batch_is_committed_once_however_often_it_comes() {
    let world = World::new().await;
    let batch = [blocked(1), blocked(2), blocked(3)];
    assert_eq!(world.send(&batch).await, 3);
    assert_eq!(world.send(&batch).await, 3);
    assert_eq!(world.send(&[blocked(3), blocked(4)]).await, 4);
    let store = world.store().await;
    assert_eq!(store.sequences(AGENT).await.unwrap(), [1, 2, 3, 4]);
    let alerts = world.alerts().await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0]["attempts"], 4);
}

#[tokio::test]
async fn zstd_is_read() {
    let world = World::new().await;
    let body = zstd::encode_all(&lines(&[blocked(1), blocked(2)])[..], 3).unwrap();
    let request = world.client.post(world.url("/v1/records")).bearer_auth(&world.agent);
    let response = request.header("content-encoding", "zstd").body(body).send().await.unwrap();
    assert_eq!(good(response).await, json!({"committed": 2, "rejected": []}));
}

#[tokio::test]
async fn a_gap_raises_an_alert_and_late_records_end_it() {
    let world = World::new().await;
    world.send(&[record(1, NOON, notice(Severity::Low)), record(5, NOON, notice(Severity::Low))]).await;
    let alerts = world.alerts().await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0]["title"], "3 records lost on scan-07");
    world.send(&[record(3, NOON, notice(Severity::Low))]).await;
    assert_eq!(world.alerts().await[0]["title"], "2 records lost on scan-07");
    world.send(&[record(2, NOON, notice(Severity::Low)), record(4, NOON, notice(Severity::Low))]).await;
    let alerts = world.alerts().await;
    assert_eq!((alerts.len(), &alerts[0]["state"]), (1, &json!("resolved")));
    assert_eq!(world.store().await.sequences(AGENT).await.unwrap(), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn poison_lines_are_laid_aside_and_block_nothing() {
    let world = World::new().await;
    let mut text = lines(&[blocked(1)]);
    text.extend(b"not json\n{\"metadata\":{\"sequence\":2}}\n\xff\xfe\n");
    text.extend(format!("{{\"unmapped\":{{\"vitrine\":\"{}\"}}}}\n", "x".repeat(70_000)).into_bytes());
    text.extend(b"{\"metadata\":{\"sequence\":9000000000000}}\n");
    text.extend(lines(&[blocked(3)]));
    text.extend(b"{\"metadata\":{\"sequence\":4}}");
    let answer = good(world.send_lines(text.clone()).await).await;
    // 4 is laid aside for good, so that the agent may forget it; the absurd number acknowledges nothing.
    assert_eq!(answer["committed"], 4);
    let rejected: Vec<_> = answer["rejected"].as_array().unwrap().iter().map(|one| one["line"].clone()).collect();
    assert_eq!(rejected, [2, 3, 4, 5, 6, 8]);
    good(world.send_lines(text).await).await;
    let store = world.store().await;
    assert_eq!(store.dead_letters(0, 100).await.unwrap().len(), 6, "a repeated dead letter is kept once");
    assert_eq!(store.sequences(AGENT).await.unwrap(), [1, 3]);
    let letters = store.dead_letters(0, 100).await.unwrap();
    assert!(letters.iter().all(|letter| letter.agent == AGENT && letter.host.is_some() && !letter.reason.is_empty()));
    assert!(letters.iter().any(|letter| letter.line == "not json"), "{letters:?}");
    let earlier = store.dead_letters(letters[1].number, 2).await.unwrap();
    assert_eq!([earlier[0].number, earlier[1].number], [letters[2].number, letters[3].number]);
    assert!(world.alerts().await.iter().all(|alert| alert["kind"] != "lost"), "laid aside is not lost");
}

#[tokio::test]
async fn a_time_that_no_calendar_has_is_laid_aside() {
    let world = World::new().await;
    world.send(&[blocked(1)]).await;
    let (mut before, mut after) = (blocked(2), blocked(3));
    (before.time, after.time) = (-1, i64::MAX);
    let answer = good(world.send_lines(lines(&[before, after, blocked(4)])).await).await;
    assert_eq!(answer["committed"], 4);
    let reasons = answer["rejected"].to_string();
    assert!(reasons.contains("-1 is no time") && answer["rejected"].as_array().unwrap().len() == 2, "{reasons}");
}

#[tokio::test]
async fn another_record_under_a_known_number_is_not_swallowed() {
    let world = World::new().await;
    world.send(&[blocked(1)]).await;
    let mut other = blocked(1);
    other.id = "another".into();
    let answer = good(world.send_lines(lines(&[other, blocked(2)])).await).await;
    assert_eq!(answer["committed"], 2);
    assert!(answer["rejected"][0]["reason"].as_str().unwrap().contains("stored already, with another id"));
    assert_eq!(world.store().await.dead_letters(0, 100).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_too_large_is_refused_whole() {
    let world = World::new().await;
    let bomb = zstd::encode_all(&vec![b' '; 256 << 20][..], 19).unwrap();
    let request = world.client.post(world.url("/v1/records")).bearer_auth(&world.agent);
    let response = request.header("content-encoding", "zstd").body(bomb).send().await.unwrap();
    assert_eq!(refused(response, StatusCode::PAYLOAD_TOO_LARGE).await, "more than 32 MiB unpacked");

    let many: Vec<_> = (1..=501).map(|number| record(number, NOON, notice(Severity::Low))).collect();
    let response = world.send_lines(lines(&many)).await;
    assert_eq!(refused(response, StatusCode::PAYLOAD_TOO_LARGE).await, "more than 500 records");

    let response = world.send_lines(vec![b'x'; (1 << 20) + 1]).await;
    refused(response, StatusCode::PAYLOAD_TOO_LARGE).await;

    let request = world.client.post(world.url("/v1/records")).bearer_auth(&world.agent);
    let response = request.header("content-encoding", "zstd").body("no zstd").send().await.unwrap();
    refused(response, StatusCode::BAD_REQUEST).await;
    let request = world.client.post(world.url("/v1/records")).bearer_auth(&world.agent);
    let response = request.header("content-encoding", "gzip").body("x").send().await.unwrap();
    refused(response, StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
    assert!(world.store().await.sequences(AGENT).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_token_opens_only_its_own_door() {
    let world = World::new().await;
    let send = async |token: &str, record| {
        let request = world.client.post(world.url("/v1/records")).bearer_auth(token);
        request.body(lines(&[record])).send().await.unwrap()
    };
    let response = world.client.post(world.url("/v1/records")).body("{}").send().await.unwrap();
    refused(response, StatusCode::UNAUTHORIZED).await;
    refused(send("vitrine_agent_0000", blocked(1)).await, StatusCode::UNAUTHORIZED).await;
    refused(send(&world.reader, blocked(1)).await, StatusCode::FORBIDDEN).await;
    let response = world.client.get(world.url("/v1/alerts")).bearer_auth(&world.agent).send().await.unwrap();
    refused(response, StatusCode::FORBIDDEN).await;

    world.send(&[blocked(1)]).await;
    let mut forged = blocked(2);
    forged.host.agent = "another-agent".into();
    refused(send(&world.agent, forged.clone()).await, StatusCode::FORBIDDEN).await;
    let mut mixed = lines(&[blocked(2)]);
    mixed.extend(lines(&[forged]));
    refused(world.send_lines(mixed).await, StatusCode::FORBIDDEN).await;

    let second = token(world.directory.path(), "second", Role::Agent).await;
    let error = refused(send(&second, blocked(2)).await, StatusCode::FORBIDDEN).await;
    assert!(error.contains("belongs to token \"agent\""), "{error}");
    let store = world.store().await;
    assert_eq!(store.sequences(AGENT).await.unwrap(), [1]);
    assert!(store.revoke_token("agent".into()).await.unwrap());
    refused(send(&world.agent, blocked(2)).await, StatusCode::UNAUTHORIZED).await;
    assert_eq!(good(send(&second, blocked(2)).await).await["committed"], 2);
}

#[tokio::test]
async fn an_agent_that_storms_is_slowed() {
    let world = World::with(|settings| settings.limits.agent = Rate { per_second: 0.01, burst: 2.0 }).await;
    world.send(&[blocked(1)]).await;
    world.send(&[blocked(2)]).await;
    let response = world.send_lines(lines(&[blocked(3)])).await;
    assert_eq!(response.headers()["retry-after"], "1");
    refused(response, StatusCode::TOO_MANY_REQUESTS).await;
}

#[tokio::test]
async fn evidence_is_what_its_name_says() {
    let world = World::new().await;
    let jpeg = world::jpeg();
    let digest = blake3::hash(&jpeg).to_hex().to_string();
    let put = async |digest: &str, body: Vec<u8>| {
        let request = world.client.put(world.url(&format!("/v1/evidence/{digest}"))).bearer_auth(&world.agent);
        request.body(body).send().await.unwrap()
    };
    let head = async || {
        let request = world.client.head(world.url(&format!("/v1/evidence/{digest}"))).bearer_auth(&world.agent);
        request.send().await.unwrap().status()
    };
    assert_eq!(head().await, StatusCode::NOT_FOUND);
    assert_eq!(put(&digest, jpeg.clone()).await.status(), StatusCode::CREATED);
    assert_eq!(put(&digest, jpeg.clone()).await.status(), StatusCode::OK);
    assert_eq!(head().await, StatusCode::OK);
    refused(put(&"0".repeat(64), jpeg.clone()).await, StatusCode::BAD_REQUEST).await;
    refused(put("..%2f..%2fetc", jpeg.clone()).await, StatusCode::BAD_REQUEST).await;
    let html = b"<script>alert(1)</script>".to_vec();
    let html_digest = blake3::hash(&html).to_hex().to_string();
    refused(put(&html_digest, html).await, StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
    refused(put(&digest, vec![0xff; (64 << 10) + 1]).await, StatusCode::PAYLOAD_TOO_LARGE).await;

    let url = world.url(&format!("/v1/evidence/{digest}"));
    let response = world.client.get(&url).bearer_auth(&world.reader).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "image/jpeg");
    assert_eq!(response.bytes().await.unwrap(), jpeg);
    refused(world.client.get(&url).send().await.unwrap(), StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn heartbeats_tell_of_every_host() {
    let world = World::new().await;
    let session = world.set_up().await;
    world.send(&[record(1, NOON, notice(Severity::Low)), record(5, NOON, notice(Severity::Low))]).await;
    let beat = json!({"agent": AGENT, "host": "scan-07", "agent_version": "0.1.0", "guard": "gate",
        "mode": "enforce", "policy": "5f", "policy_serial": 12, "spool_depth": 31, "last_sequence": 7,
        "index": {"version": 9, "masters": 41_212}, "from_the_future": true});
    let request = world.client.post(world.url("/v1/heartbeat")).bearer_auth(&world.agent);
    let answer = good(request.json(&beat).send().await.unwrap()).await;
    assert_eq!(answer["committed"], 5);
    let request = world.client.post(world.url("/v1/heartbeat")).bearer_auth(&world.agent);
    refused(request.body("{}").send().await.unwrap(), StatusCode::BAD_REQUEST).await;
    let hosts = good(world.client.get(world.url("/v1/hosts")).bearer_auth(&world.reader).send().await.unwrap()).await;
    assert_eq!(hosts["hosts"][0]["heartbeat"]["spool_depth"], 31);
    assert_eq!(hosts["hosts"][0]["host"], "scan-07");
    // The page has of it whatever somebody has to see: guard, mode, policy, agent, index, what waits and what is lost.
    let page = world.page("/hosts", &session).await;
    let row = page.split("<tbody>").nth(1).and_then(|rows| rows.split("</tr>").next()).unwrap();
    for cell in ["scan-07", "gate", "enforce", "5f", "12", "0.1.0", ">31</td>", ">3</b>"] {
        assert!(row.contains(cell), "{cell}: {row}");
    }
    assert!(row.contains("41212 masters, version 9"), "{row}");
}

#[tokio::test]
async fn alerts_gather_a_quarter_of_an_hour_of_one_user_and_program() {
    let world = World::new().await;
    let with = |sequence, minute: i64, change: &dyn Fn(&mut vitrine_policy::record::Transfer)| {
        let mut transfer = world::transfer();
        change(&mut transfer);
        record(sequence, NOON + minute * 60_000, Event::Transfer(Box::new(transfer)))
    };
    world
        .send(&[
            with(1, 0, &|_| {}),
            with(2, 14, &|transfer| {
                transfer.disposition = Disposition::Failed;
                transfer.attempts = 5;
                transfer.masters[0].path = "/srv/scans/masters/K2B_0013.tif".into();
            }),
            with(3, 16, &|_| {}),
            with(4, 1, &|transfer| transfer.user = None),
            with(5, 1, &|transfer| transfer.processes[0].name = "rsync".into()),
            with(6, 2, &|transfer| transfer.disposition = Disposition::Allowed),
            record(7, NOON, notice(Severity::Medium)),
            record(8, NOON, notice(Severity::Critical)),
        ])
        .await;
    let alerts = world.alerts().await;
    assert_eq!(alerts.len(), 5);
    let first = alerts.iter().find(|alert| alert["id"] == 1).unwrap();
    assert_eq!((&first["attempts"], &first["records"], &first["severity"]), (&json!(6), &json!(2), &json!("critical")));
    assert_eq!(first["disposition"], "failed");
    assert_eq!(first["masters"].as_array().unwrap().len(), 2);
    assert_eq!(first["last_seen"].as_i64().unwrap() - first["first_seen"].as_i64().unwrap(), 14 * 60_000);
    let request = world.client.get(world.url("/v1/alerts?since=3&limit=1")).bearer_auth(&world.reader);
    let since = good(request.send().await.unwrap()).await;
    assert_eq!(since["alerts"].as_array().unwrap().len(), 1);
    let request = world.client.get(world.url("/v1/alerts?sinse=3")).bearer_auth(&world.reader);
    refused(request.send().await.unwrap(), StatusCode::BAD_REQUEST).await;
}

#[tokio::test]
async fn what_was_allowed_for_a_reason_is_an_alert_apart_from_what_was_refused() {
    let world = World::new().await;
    let mut transfer = world::transfer();
    transfer.verdict = Verdict::AllowJustified;
    transfer.disposition = Disposition::Allowed;
    transfer.rule = Rule::Justify { destination: "courier disk".into() };
    transfer.explanation = "The reason given: \u{201c}loan 14 to Leiden\u{201d}.".into();
    let justified = |sequence| record(sequence, NOON, Event::Transfer(Box::new(transfer.clone())));
    world.send(&[blocked(1), justified(2), blocked(3), justified(4)]).await;
    let alerts = world.alerts().await;
    assert_eq!(alerts.len(), 2, "{alerts:?}");
    let one = alerts.iter().find(|alert| alert["code"] == "justified").expect("the alert");
    assert_eq!(
        (&one["records"], &one["severity"], &one["disposition"]),
        (&json!(2), &json!("medium"), &json!("allowed"))
    );
    assert_eq!(one["title"], "cp: K2B_0012.tif (master) to courier disk was allowed for a reason");
    assert!(one["explanation"].as_str().expect("a text").contains("loan 14 to Leiden"));
}

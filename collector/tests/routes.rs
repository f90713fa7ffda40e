//! The ways out of alerts, to real receivers: a signed webhook that fails first.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "world/hook.rs"]
mod hook;
mod world;

use std::time::Duration;

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use hook::{Hook, SECRET, world_with};
use serde_json::Value;
use sha2::Sha256;
use vitrine_collector::server::{Settings, StartError, start};
use vitrine_policy::record::{Disposition, Event};
use world::{Data, Hand, NOON, World, blocked, record, until};

fn check_signature(headers: &HeaderMap, body: &[u8]) {
    let header = headers["vitrine-signature"].to_str().unwrap();
    let (time, signature) = header.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.verify_slice(&hex::decode(signature).unwrap()).unwrap();
}

#[tokio::test]
async fn the_webhook_is_signed_and_tried_until_it_is_taken() {
    let hook = Hook::start(2).await;
    let world = world_with(&hook.route("desk", ""), 10).await;
    world.send(&[blocked(1)]).await;
    world.send(&[blocked(2)]).await;
    hook.wait_for(3).await;
    // The same alert, now worse: one more message. More of the same: none.
    let mut worse = world::transfer();
    worse.disposition = Disposition::Failed;
    world.send(&[record(3, NOON + 240_000, Event::Transfer(Box::new(worse)))]).await;
    world.send(&[blocked(4)]).await;
    hook.wait_for(4).await;
    let received = hook.received();
    assert_eq!(received.len(), 4);
    let mut events = Vec::new();
    for (headers, body) in &received {
        check_signature(headers, body);
        let letter: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(letter["alerts"][0]["id"], 1);
        events.push(letter["event"].as_str().unwrap().to_owned());
    }
    assert_eq!(events, ["alert.created", "alert.created", "alert.created", "alert.worsened"]);
    assert_eq!(received[0].0["vitrine-message"], received[2].0["vitrine-message"], "a retry is the same message");
}

#[tokio::test]
async fn a_webhook_speaks_as_its_receiver_does() {
    for (shape, secret, pointer, expected) in [
        ("slack", "", "/text", "*Vitrine* `high cp: K2B_0012.tif (master) to courier disk was refused`"),
        ("teams", "", "/attachments/0/content/body/0/inlines/0/text", "[Vitrine] high cp: K2B_0012.tif"),
        ("pagerduty", "secret-file = \"hook.secret\"", "/routing_key", SECRET),
        ("alertmanager", "", "/0/labels/alertname", "vitrine-transfer"),
    ] {
        let hook = Hook::start(1).await;
        let route = format!("[[route]]\nname = \"desk\"\ngroup-wait = \"0s\"\n[route.webhook]\nurl = {:?}", hook.url);
        let world = world_with(&format!("{route}\nshape = \"{shape}\"\n{secret}\n"), 10).await;
        world.send(&[blocked(1)]).await;
        hook.wait_for(2).await;
        let (headers, body) = hook.received()[1].clone();
        assert_eq!(headers["content-type"], "application/json");
        assert!(!headers.contains_key("vitrine-signature"));
        let body: Value = serde_json::from_slice(&body).unwrap();
        let found = body.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{body}"));
        assert!(found.starts_with(expected), "{found}");
    }
}

#[tokio::test]
async fn what_nobody_takes_is_given_up_and_blocks_nothing() {
    let hook = Hook::start(2).await;
    let world = world_with(&hook.route("desk", "group-interval = \"0s\""), 2).await;
    world.send(&[blocked(1)]).await;
    hook.wait_for(2).await;
    let mut other = world::transfer();
    other.processes[0].name = "rsync".into();
    world.send(&[record(2, NOON, Event::Transfer(Box::new(other)))]).await;
    hook.wait_for(3).await;
    assert_eq!(hook.letters()[2]["alerts"][0]["program"], "rsync");
}

#[tokio::test]
async fn what_was_taken_is_not_sent_again_while_that_cannot_be_noted() {
    let (hook, other) = (Hook::start(0).await, Hook::start(0).await);
    let world = world_with(&[hook.route("desk", ""), other.route("other", "repeat = \"1s\"")].concat(), 10).await;
    let database = world.directory.by_hand();
    let (refuse, again) = match &database {
        Hand::Sqlite(_) => (
            "CREATE TRIGGER refuse BEFORE UPDATE ON outbox WHEN old.route = 'desk' BEGIN
                 SELECT RAISE(ABORT, 'not now');
             END",
            "DROP TRIGGER refuse",
        ),
        Hand::Postgres(_) => (
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not now''; END';
             CREATE TRIGGER refuse BEFORE UPDATE ON outbox FOR EACH ROW WHEN (old.route = 'desk')
                 EXECUTE FUNCTION refuse()",
            "DROP TRIGGER refuse ON outbox",
        ),
    };
    database.run(refuse).unwrap();
    world.send(&[blocked(1)]).await;
    hook.wait_for(1).await;
    // The other route shows that there was time to send it again.
    other.wait_for(4).await;
    database.run(again).unwrap();
    let state = "SELECT state FROM outbox WHERE route = 'desk'";
    let noted = || database.row(state) == ["delivered"];
    until("it is noted", async || noted().then_some(())).await;
    assert_eq!(hook.count(), 1);
}

#[tokio::test]
async fn messages_outlive_a_restart() {
    let hook = Hook::start(0).await;
    let directory = Data::new();
    std::fs::write(directory.path().join("hook.secret"), SECRET).unwrap();
    let config = |url: &str| {
        let text = hook.route("desk", "").replace(&hook.url, url);
        std::fs::write(directory.path().join("collector.toml"), text).unwrap();
    };
    config("http://127.0.0.1:9/nobody-is-there");
    let data = directory.path().to_owned();
    let world = World::with(|settings| {
        settings.data.clone_from(&data);
        settings.pace.first_retry = Duration::from_millis(200);
    });
    let world = world.await;
    world.send(&[blocked(1)]).await;
    world.running.stop().await;
    config(&hook.url);
    let running = start(Settings::new(data, ([127, 0, 0, 1], 0).into())).await.unwrap();
    hook.wait_for(1).await;
    running.stop().await;
}

#[tokio::test]
async fn a_mistake_in_the_configuration_is_pointed_at() {
    let hook = "[[route]]\nname = \"desk\"\n[route.webhook]\nurl = \"https://a.example\"\n";
    let mail = "[[route]]\nname = \"staff\"\n[route.email]\nserver = \"mail.example\"\n";
    let slack = |more: &str| {
        format!("{hook}shape = \"slack\"\n").replace("[route.webhook]", &format!("{more}\n[route.webhook]"))
    };
    let cases = [
        (hook.to_owned(), "[[route]] \"desk\": secret-file is missing"),
        (format!("{hook}shape = \"pagerduty\""), "PagerDuty's integration key"),
        (format!("{hook}shape = \"slack\"\nsecret-file = \"hook.secret\""), "vitrine and pagerduty"),
        (format!("{hook}shape = \"irc\""), "unknown variant `irc`"),
        (format!("{hook}secret-file = \"hook.secret\"").replace("https", "http"), "must begin with https://"),
        (format!("{hook}secret-file = \"short\""), "at least 16"),
        ("[webhok]\n".into(), "unknown field `webhok`"),
        (format!("{mail}from = \"a@b.example\"\nto = []"), "name at least one receiver"),
        (format!("{mail}from = \"nobody\"\nto = [\"a@b.example\"]"), "\"nobody\" is no address"),
        (
            format!("{mail}from = \"a@b.example\"\nto = [\"a@b.example\"]\ntls = \"none\"")
                .replace(".example\"\nfrom", ".example:25\"\nfrom"),
            "goes only to this machine",
        ),
        ("[[route]]\nname = \"desk\"\n".into(), "expected one of [route.webhook]"),
        (format!("{}\n{}", slack(""), slack("")), "two [[route]] are named \"desk\""),
        (slack("severity = \"high\"\nup-to = \"low\""), "no alert fits"),
        (slack("severity = \"worst\""), "unknown variant `worst`"),
        (slack("hosts = [\"scan-[\"]"), "hosts: error parsing glob 'scan-['"),
        (slack("group-wait = \"soon\""), "\"soon\" is no time"),
        (slack("group-wait = \"-5s\""), "\"-5s\" is no time"),
        (slack("group-wait = \"10000h\""), "at most \"744h\""),
        (slack("repeat = \"10ms\""), "repeat is shorter than 1s"),
        (slack("").replace("\"desk\"", "\"the desk\""), "of a-z, 0-9 and -"),
        (slack("escalate-after = \"30m\"\nrepeat = \"4h\""), "exclude each other"),
        (slack("escalate-after = \"30m\"\ndigest = \"24h\""), "exclude each other"),
        (slack("digest = \"0s\""), "digest is shorter than 1s"),
    ];
    for (config, expected) in cases {
        let directory = Data::new();
        std::fs::write(directory.path().join("collector.toml"), &config).unwrap();
        std::fs::write(directory.path().join("hook.secret"), SECRET).unwrap();
        std::fs::write(directory.path().join("short"), "short\n").unwrap();
        let settings = Settings::new(directory.path().to_owned(), ([127, 0, 0, 1], 0).into());
        match start(settings).await {
            Err(StartError::Config(error)) => assert!(error.to_string().contains(expected), "{error}"),
            Err(other) => panic!("{config}: {other}"),
            Ok(_) => panic!("{config}: started"),
        }
    }
}

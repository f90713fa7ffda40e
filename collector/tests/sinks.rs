//! The ways out, to real receivers: a signed webhook that fails first, and mail to a real SMTP server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use vitrine_collector::server::{Settings, StartError, start};
use vitrine_policy::record::{Disposition, Event};
use world::{NOON, World, blocked, record, until};

const SECRET: &str = "a secret of the webhook's own";

type Received = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A receiver that answers 500 to the first `failures` posts.
async fn receiver(failures: usize) -> (String, Received) {
    let received = Received::default();
    let kept = Arc::clone(&received);
    let app = Router::new().route(
        "/hook",
        post(async move |headers: HeaderMap, body: Bytes| {
            let mut kept = kept.lock().unwrap();
            kept.push((headers, body));
            if kept.len() <= failures { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::NO_CONTENT }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, received)
}

async fn world_with(config: &str, attempts: u32) -> World {
    World::with(|settings| {
        std::fs::write(settings.data.join("collector.toml"), config).unwrap();
        std::fs::write(settings.data.join("hook.secret"), format!("{SECRET}\n")).unwrap();
        settings.pace.first_retry = Duration::from_millis(10);
        settings.pace.attempts = attempts;
    })
    .await
}

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
    let (url, received) = receiver(2).await;
    let world = world_with(&format!("[webhook]\nurl = \"{url}\"\nsecret-file = \"hook.secret\"\n"), 10).await;
    world.send(&[blocked(1)]).await;
    world.send(&[blocked(2)]).await;
    let count = || received.lock().unwrap().len();
    until("the third attempt", async || (count() == 3).then_some(())).await;
    // The same alert, now worse: one more message. More of the same: none.
    let mut worse = world::transfer();
    worse.disposition = Disposition::Failed;
    world.send(&[record(3, NOON + 240_000, Event::Transfer(Box::new(worse)))]).await;
    world.send(&[blocked(4)]).await;
    until("the message about the worse alert", async || (count() >= 4).then_some(())).await;
    let received = received.lock().unwrap().clone();
    assert_eq!(received.len(), 4);
    let mut events = Vec::new();
    for (headers, body) in &received {
        check_signature(headers, body);
        let letter: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(letter["alert"]["id"], 1);
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
        let (url, received) = receiver(1).await;
        let world = world_with(&format!("[webhook]\nurl = \"{url}\"\nshape = \"{shape}\"\n{secret}\n"), 10).await;
        world.send(&[blocked(1)]).await;
        until("the second attempt", async || (received.lock().unwrap().len() == 2).then_some(())).await;
        let (headers, body) = received.lock().unwrap()[1].clone();
        assert_eq!(headers["content-type"], "application/json");
        assert!(!headers.contains_key("vitrine-signature"));
        let body: Value = serde_json::from_slice(&body).unwrap();
        let found = body.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{body}"));
        assert!(found.starts_with(expected), "{found}");
    }
}

#[tokio::test]
async fn what_nobody_takes_is_given_up_and_blocks_nothing() {
    let (url, received) = receiver(2).await;
    let world = world_with(&format!("[webhook]\nurl = \"{url}\"\nsecret-file = \"hook.secret\"\n"), 2).await;
    world.send(&[blocked(1)]).await;
    until("the message was given up", async || (received.lock().unwrap().len() == 2).then_some(())).await;
    let mut other = world::transfer();
    other.processes[0].name = "rsync".into();
    world.send(&[record(2, NOON, Event::Transfer(Box::new(other)))]).await;
    until("the next message", async || (received.lock().unwrap().len() == 3).then_some(())).await;
    let last = received.lock().unwrap()[2].1.clone();
    assert_eq!(serde_json::from_slice::<Value>(&last).unwrap()["alert"]["program"], "rsync");
}

#[tokio::test]
async fn messages_outlive_a_restart() {
    let (url, received) = receiver(0).await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("hook.secret"), SECRET).unwrap();
    let config = |url: &str| {
        let text = format!("[webhook]\nurl = \"{url}\"\nsecret-file = \"hook.secret\"\n");
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
    config(&url);
    let running = start(Settings::new(data, ([127, 0, 0, 1], 0).into())).await.unwrap();
    until("the message", async || (!received.lock().unwrap().is_empty()).then_some(())).await;
    running.stop().await;
}

#[tokio::test]
async fn a_mistake_in_the_configuration_is_pointed_at() {
    let cases = [
        ("[webhook]\nurl = \"https://a.example\"\n", "secret-file is missing"),
        ("[webhook]\nurl = \"https://a.example\"\nshape = \"pagerduty\"", "PagerDuty's integration key"),
        (
            "[webhook]\nurl = \"https://a.example\"\nshape = \"slack\"\nsecret-file = \"hook.secret\"",
            "vitrine and pagerduty",
        ),
        ("[webhook]\nurl = \"https://a.example\"\nshape = \"irc\"", "unknown variant `irc`"),
        ("[webhook]\nurl = \"http://a.example\"\nsecret-file = \"hook.secret\"", "must begin with https://"),
        ("[webhook]\nurl = \"https://a.example\"\nsecret-file = \"short\"", "at least 16"),
        ("[webhok]\n", "unknown field `webhok`"),
        ("[email]\nserver = \"mail.example\"\nfrom = \"a@b.example\"\nto = []", "name at least one receiver"),
        ("[email]\nserver = \"mail.example\"\nfrom = \"nobody\"\nto = [\"a@b.example\"]", "\"nobody\" is no address"),
        (
            "[email]\nserver = \"mail.example:25\"\nfrom = \"a@b.example\"\nto = [\"a@b.example\"]\ntls = \"none\"",
            "goes only to this machine",
        ),
    ];
    for (config, expected) in cases {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("collector.toml"), config).unwrap();
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

struct Smtp {
    child: Child,
    port: u16,
}

impl Smtp {
    /// Debian's `python3-aiosmtpd`, printing each message as JSON on a line.
    fn start() -> Option<Smtp> {
        let script = include_str!("smtp.py");
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take()?);
        out.read_line(&mut line).ok()?;
        child.stdout = Some(out.into_inner());
        match line.trim().parse() {
            Ok(port) => Some(Smtp { child, port }),
            Err(_) => {
                let _ = child.wait();
                None
            }
        }
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_arrives_and_file_names_forge_no_header() {
    let Some(mut smtp) = Smtp::start() else {
        println!("skipped: mail_arrives_and_file_names_forge_no_header (needs python3-aiosmtpd)");
        return;
    };
    let config = format!(
        "[email]\nserver = \"127.0.0.1:{}\"\nfrom = \"Vitrine <vitrine@museum.example>\"\n\
         to = [\"security@museum.example\"]\ntls = \"none\"\n",
        smtp.port
    );
    let world = world_with(&config, 10).await;
    let mut transfer = world::transfer();
    transfer.file.path = "/srv/寒食帖\r\nBcc: eve@evil.example\r\n\r\n.\r\nMAIL FROM:<x>.tif".into();
    world.send(&[record(1, NOON, Event::Transfer(Box::new(transfer)))]).await;
    let out = smtp.child.stdout.take().unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).map(|_| line)
    });
    let line = tokio::time::timeout(Duration::from_secs(20), reading).await.expect("a mail in time").unwrap().unwrap();
    let mail: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(mail["to"], serde_json::json!(["security@museum.example"]));
    assert_eq!(mail["headers"]["Bcc"], Value::Null);
    let subject = mail["headers"]["Subject"].as_str().unwrap();
    assert!(subject.starts_with("[Vitrine] high cp: ") && subject.contains("\\u{d}\\u{a}Bcc"), "{subject}");
    let text = mail["text"].as_str().unwrap();
    assert!(text.contains("refused before the first byte") && text.contains("scan-07"), "{text}");
}

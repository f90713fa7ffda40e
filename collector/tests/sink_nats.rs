//! Records into a stream of a real nats-server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "world/nats.rs"]
mod nats;
mod world;

use std::time::Duration;

use async_nats::jetstream::stream::DiscardPolicy;
use nats::{ADMIN, Nats};
use vitrine_collector::server::{Settings, start};
use vitrine_policy::record::{Event, Record};
use world::{AGENT, World, blocked, state, until};

/// Of a user, from NATS' own documentation.
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
const PASSWORD: &str = "username = \"vitrine\"\npassword-file = \"nats.password\"";

async fn world_with(nats: &Nats, sink: &str) -> World {
    World::with(|settings| {
        let server = nats.address();
        let config = format!("[[sink]]\nkind = \"nats\"\nname = \"stream\"\nserver = \"{server}\"\n{sink}\n");
        std::fs::write(settings.data.join("collector.toml"), config).unwrap();
        for (file, secret) in
            [("password", "let me in"), ("wrong", "let them in"), ("token", "a token"), ("nkey", SEED)]
        {
            std::fs::write(settings.data.join(format!("nats.{file}")), format!("{secret}\n")).unwrap();
        }
        settings.pace.first_retry = Duration::from_millis(20);
        settings.pace.longest_retry = Duration::from_millis(200);
    })
    .await
}

/// A server that lets the administrator in, and `vitrine` by a password.
fn users(more: &str) -> String {
    format!("authorization {{ users: [ {ADMIN}, {{ user: vitrine, password: \"let me in\", {more} }} ] }}")
}

fn clear(more: &str) -> String {
    format!("transport = \"tcp\"\n{PASSWORD}\n{more}")
}

/// What a sink complains of, of which nothing went.
async fn complaint(world: &World) -> String {
    world.send(&[blocked(1)]).await;
    let state = state(world, "it has failed", |state| state.failures >= 2).await;
    assert_eq!((state.delivered, state.behind), (0, 1), "{state:?}");
    state.error.unwrap()
}

fn skipped(test: &str) {
    println!("skipped: {test} (needs nats-server)");
}

#[tokio::test]
async fn a_record_is_stored_as_it_is_and_once() {
    let Some(nats) = Nats::start(&users("")).await else {
        return skipped("a_record_is_stored_as_it_is_and_once");
    };
    nats.stream(|_| {}).await;
    let world = world_with(&nats, &clear("subject = \"vitrine.tokyo.records\"\nstream = \"VITRINE\"")).await;
    let mut records: Vec<Record> = (1..=40).map(blocked).collect();
    if let Event::Transfer(transfer) = &mut records[6].event {
        transfer.file.path = "/srv/a\nPUB x 1\r\n\u{0}\u{1b}[2J\u{202e}fdp寒.tif".into();
    }
    world.send(&records).await;
    state(&world, "they are delivered", |state| state.delivered == 40 && state.behind == 0).await;
    let expected: Vec<_> = records
        .iter()
        .map(|record| {
            let subject = "vitrine.tokyo.records";
            (format!("{subject}/{AGENT}-{}", record.sequence), subject.to_owned(), record.clone())
        })
        .collect();
    assert_eq!(nats.messages().await, expected);

    // As if the collector had ended before it noted how far it had come.
    let data = world.directory.path().to_owned();
    let World { running, directory, .. } = world;
    running.stop().await;
    assert_eq!(directory.by_hand().execute("UPDATE sinks SET position = 0, delivered = 0"), 1);
    let running = start(Settings::new(data.clone(), ([127, 0, 0, 1], 0).into())).await.unwrap();
    let store = vitrine_collector::store::Store::open_existing(&data).unwrap();
    until("all went again", async || (store.sinks().await.unwrap()[0].delivered == 40).then_some(())).await;
    assert_eq!(nats.messages().await, expected, "and none is there twice");
    store.close().await;
    running.stop().await;
}

#[tokio::test]
async fn two_sinks_into_one_stream_pass_for_doubles_of_nothing() {
    let Some(nats) = Nats::start(&users("")).await else {
        return skipped("two_sinks_into_one_stream_pass_for_doubles_of_nothing");
    };
    nats.stream(|_| {}).await;
    let other = format!(
        "[[sink]]\nkind = \"nats\"\nname = \"other\"\nserver = \"{}\"\n{}",
        nats.address(),
        clear("subject = \"vitrine.other\"")
    );
    let world = world_with(&nats, &clear(&format!("subject = \"vitrine.one\"\n{other}"))).await;
    world.send(&(1..=20).map(blocked).collect::<Vec<_>>()).await;
    let store = world.store().await;
    until("both are done", async || {
        store.sinks().await.unwrap().iter().all(|state| state.delivered == 20).then_some(())
    })
    .await;
    let messages = nats.messages().await;
    for subject in ["vitrine.one", "vitrine.other"] {
        assert_eq!(messages.iter().filter(|message| message.1 == subject).count(), 20, "{subject}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_loses_and_doubles_nothing() {
    let Some(mut nats) = Nats::start(&users("")).await else {
        return skipped("a_server_that_is_killed_loses_and_doubles_nothing");
    };
    nats.stream(|_| {}).await;
    let world = world_with(&nats, &clear("")).await;
    let mut sent = 0;
    let mut send = async || {
        world.send(&(sent + 1..=sent + 300).map(blocked).collect::<Vec<_>>()).await;
        sent += 300;
        sent
    };
    for _ in 0..4 {
        // Killed while they go, and gone while more come.
        let before = nats.count().await;
        for _ in 0..3 {
            send().await;
        }
        until("some went", async || (nats.count().await > before).then_some(())).await;
        nats.kill();
        let all = send().await;
        let down = state(&world, "it is missed", |state| state.failures >= 2).await;
        assert!(down.error.unwrap().contains(&nats.address()));
        nats.resume().await;
        state(&world, "all are delivered", |state| state.delivered == all && state.error.is_none()).await;
    }
    let sequences: Vec<_> = nats.messages().await.iter().map(|(.., record)| record.sequence).collect();
    assert_eq!(sequences, (1..=4800).collect::<Vec<_>>());
}

#[tokio::test]
async fn each_way_to_show_who_one_is() {
    for (server, sink) in [
        (users(""), PASSWORD),
        (format!("authorization {{ users: [ {ADMIN}, {{ nkey: {PUBLIC} }} ] }}"), "nkey-file = \"nats.nkey\""),
    ] {
        let Some(nats) = Nats::start(&server).await else {
            return skipped("each_way_to_show_who_one_is");
        };
        nats.stream(|_| {}).await;
        let world = world_with(&nats, &format!("transport = \"tcp\"\n{sink}")).await;
        world.send(&[blocked(1)]).await;
        state(&world, "it is delivered", |state| state.delivered == 1).await;
    }
    // With a token there is nobody else: no stream, but who is not let in does not hear of that.
    let nats = Nats::start("authorization { token: \"a token\" }").await.unwrap();
    let world = world_with(&nats, "transport = \"tcp\"\ntoken-file = \"nats.token\"").await;
    assert!(complaint(&world).await.contains("no stream of"));
}

#[tokio::test]
async fn who_is_not_let_in_is_told_so() {
    let Some(nats) = Nats::start(&users("permissions: { publish: { deny: \"vitrine.>\" } }")).await else {
        return skipped("who_is_not_let_in_is_told_so");
    };
    nats.stream(|_| {}).await;
    for sink in ["", "username = \"vitrine\"\npassword-file = \"nats.wrong\"", "nkey-file = \"nats.nkey\""] {
        let error = complaint(&world_with(&nats, &format!("transport = \"tcp\"\n{sink}")).await).await;
        let expected = format!("no connection to {}: authorization violation", nats.address());
        assert!(error.starts_with(&expected) && error.contains("check username, password-file"), "{error}");
        assert!(!error.contains("let them in"), "{error}");
    }
    // Whoever may connect and not publish gets no answer, but a complaint.
    let world = world_with(&nats, &clear("")).await;
    world.send(&[blocked(1)]).await;
    let state = state(&world, "it has failed", |state| state.failures >= 1).await;
    let error = state.error.unwrap();
    assert!(error.contains("did not acknowledge a record within 10 s: "), "{error}");
    assert!(error.to_lowercase().contains("permissions violation for publish to \"vitrine.records\""), "{error}");
    assert!(nats.messages().await.is_empty());
}

#[tokio::test]
async fn without_a_stream_that_takes_them_records_wait() {
    let Some(nats) = Nats::start(&users("")).await else {
        return skipped("without_a_stream_that_takes_them_records_wait");
    };
    let world = world_with(&nats, &clear("")).await;
    let error = complaint(&world).await;
    let expected = format!("no stream of {} takes the subject vitrine.records: make one", nats.address());
    assert!(error.starts_with(&expected), "{error}");
    nats.stream(|config| {
        (config.max_messages, config.discard) = (2, DiscardPolicy::New);
    })
    .await;
    state(&world, "it went", |state| state.delivered == 1 && state.error.is_none()).await;
    // A stream that is full keeps what it has.
    world.send(&[blocked(2), blocked(3)]).await;
    let full = state(&world, "it is full", |state| state.failures >= 2).await;
    assert!(full.error.unwrap().contains("maximum messages exceeded"));
    nats.stream(|config| config.max_messages = -1).await;
    state(&world, "there is room", |state| state.delivered == 3).await;
    assert_eq!(nats.messages().await.len(), 3);

    let other = world_with(&nats, &clear("stream = \"ANOTHER\"")).await;
    assert!(complaint(&other).await.contains("expected stream does not match"));
}

#[tokio::test]
async fn a_record_that_is_too_large_for_the_server_is_laid_aside() {
    let Some(nats) = Nats::start(&format!("max_payload: 40000\n{}", users(""))).await else {
        return skipped("a_record_that_is_too_large_for_the_server_is_laid_aside");
    };
    nats.stream(|config| config.max_message_size = 15_000).await;
    let world = world_with(&nats, &clear("")).await;
    let long = |sequence, length| {
        let mut record = blocked(sequence);
        if let Event::Transfer(transfer) = &mut record.event {
            transfer.explanation = "x".repeat(length);
        }
        record
    };
    world.send(&[blocked(1), long(2, 15_000), long(3, 5_000), blocked(4)]).await;
    state(&world, "the others went", |state| state.delivered == 2 && state.refused == 2).await;
    let sequences: Vec<_> = nats.messages().await.iter().map(|(.., record)| record.sequence).collect();
    assert_eq!(sequences, [1, 4]);
    let (code, said, _) = world.run(&["sinks", "--refused", "stream"]);
    assert_eq!((code, said.matches("the server takes no message of this size").count()), (1, 2), "{said}");
    assert!(said.contains("limit of 40000") && said.contains("message size exceeds maximum"), "{said}");
}

#[tokio::test]
async fn over_tls_both_sides_are_who_they_should_be() {
    let tls = "tls { cert_file: \"{directory}/server.pem\", key_file: \"{directory}/server.key\", \
               ca_file: \"{directory}/ca.pem\", verify: true }";
    let Some(nats) = Nats::start(&format!("{tls}\n{}", users(""))).await else {
        return skipped("over_tls_both_sides_are_who_they_should_be");
    };
    nats.stream(|_| {}).await;
    let sink = |authority: &str, own: bool| {
        let path = |name: &str| nats.path(name).display().to_string();
        let own =
            own.then(|| format!("certificate-file = {:?}\nkey-file = {:?}", path("client.pem"), path("client.key")));
        format!("{PASSWORD}\nca-file = {:?}\n{}", path(&format!("{authority}.pem")), own.unwrap_or_default())
    };
    let world = world_with(&nats, &sink("ca", true)).await;
    world.send(&[blocked(1)]).await;
    state(&world, "it is delivered", |state| state.delivered == 1).await;
    let error = complaint(&world_with(&nats, &sink("other", true)).await).await;
    assert!(error.contains("invalid peer certificate"), "{error}");
    let error = complaint(&world_with(&nats, &sink("ca", false)).await).await;
    assert!(error.starts_with(&format!("no connection to {}: ", nats.address())), "{error}");
    assert_eq!(nats.messages().await.len(), 1);
}

#[tokio::test]
async fn a_server_without_tls_hears_no_password() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            let info = "INFO {\"server_id\":\"x\",\"version\":\"2.9.10\",\"max_payload\":1048576,\"headers\":true}\r\n";
            stream.write_all(info.as_bytes()).await.unwrap();
            let mut bytes = vec![0; 4096];
            let length = stream.read(&mut bytes).await.unwrap();
            bytes.truncate(length);
            told.send(bytes).unwrap();
        }
    });
    let world = World::with(|settings| {
        let config = format!("[[sink]]\nkind = \"nats\"\nname = \"stream\"\nserver = \"{address}\"\n{PASSWORD}\n");
        std::fs::write(settings.data.join("collector.toml"), config).unwrap();
        std::fs::write(settings.data.join("nats.password"), "let me in").unwrap();
        settings.pace.first_retry = Duration::from_millis(20);
    })
    .await;
    assert!(complaint(&world).await.contains("no connection to"));
    let first = heard.recv().await.unwrap();
    assert_eq!(first[0], 22, "a handshake of TLS (RFC 8446, 5.1)");
    assert!(!String::from_utf8_lossy(&first).contains("CONNECT"));
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_named() {
    for (sink, error) in [
        ("server = \"nats.museum.example\"", "host:port is expected, as nats.museum.example:4222"),
        ("server = \"nats://nats.museum.example:4222\"", "host:port is expected"),
        ("server = \"root:secret@nats.museum.example:4222\"", "host:port is expected"),
        ("server = \"nats.museum.example:4222\"\ntransport = \"tcp\"", "goes only to this machine"),
        ("server = \"localhost:4222\"\nsubject = \"vitrine.>\"", "without * and >"),
        ("server = \"localhost:4222\"\nsubject = \"a b\"", "words of printable ASCII"),
        ("server = \"localhost:4222\"\nsubject = \"a..b\"", "words of printable ASCII"),
        ("server = \"localhost:4222\"\nsubject = \"$JS.API\"", "words of printable ASCII"),
        ("server = \"localhost:4222\"\nstream = \"a.b\"", "the name of a stream"),
        ("server = \"localhost:4222\"\nusername = \"a\"", "expected username and password-file, or one of"),
        ("server = \"localhost:4222\"\ntoken-file = \"a\"\nnkey-file = \"b\"", "expected username and password-file"),
        ("server = \"localhost:4222\"\ncredentials-file = \"collector.toml\"", "no credentials"),
        ("server = \"localhost:4222\"\ntoken-file = \"missing\"", "missing"),
        ("server = \"localhost:4222\"\nca-file = \"collector.toml\"", "holds no certificate"),
        ("server = \"localhost:4222\"\npasword-file = \"x\"", "unknown field `pasword-file`"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let config = format!("[[sink]]\nkind = \"nats\"\nname = \"stream\"\n{sink}\n");
        std::fs::write(directory.path().join("collector.toml"), config).unwrap();
        let settings = Settings::new(directory.path().to_owned(), ([127, 0, 0, 1], 0).into());
        let said = start(settings).await.err().unwrap().to_string();
        assert!(said.contains(error) && said.contains("collector.toml") || said.contains("missing"), "{error}: {said}");
    }
}

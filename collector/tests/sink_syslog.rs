//! Records to a real rsyslog, over TLS and in clear, as JSON and as CEF.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "world/rsyslog.rs"]
mod rsyslog;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use rsyslog::{Guard, Rsyslog};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use vitrine_policy::record::{Event, Record, Severity, printable};
use world::{NOON, World, blocked, notice, record, state};

async fn world_with(sink: &str) -> World {
    World::with(|settings| {
        let config = format!("[[sink]]\nkind = \"syslog\"\nname = \"siem\"\n{sink}\n");
        std::fs::write(settings.data.join("collector.toml"), config).unwrap();
        settings.pace.first_retry = Duration::from_millis(20);
        settings.pace.longest_retry = Duration::from_millis(200);
    })
    .await
}

fn tls(rsyslog: &Rsyslog, authority: &str, client: &str) -> String {
    let path = |name: String| rsyslog.path(&name).display().to_string();
    format!(
        "server = \"127.0.0.1:{}\"\nca-file = {:?}\ncertificate-file = {:?}\nkey-file = {:?}",
        rsyslog.port,
        path(format!("{authority}.pem")),
        path(format!("{client}.pem")),
        path(format!("{client}.key"))
    )
}

fn skipped(test: &str) {
    println!("skipped: {test} (needs rsyslog and rsyslog-gnutls)");
}

/// What a forged agent can send, and what an honest one makes of a name that is no text.
fn hostile() -> Vec<Record> {
    let names = [
        "/srv/a\n<0>1 - evil evil - - - forged.tif".to_owned(),
        "/srv/]|=\\\"] [origin ip=\"6.6.6.6\"] cs1=public|8|act=allowed.tif".to_owned(),
        "/srv/\u{0}\u{7}\u{1b}[2J\u{7f}\u{85}\u{2028}\u{202e}fdp.tif".to_owned(),
        printable(b"/srv/\xff\xfe\xe5\xaf\x92\\=.tif"),
        format!("/srv/{}.tif", "寒".repeat(2_000)),
    ];
    (1..)
        .zip(names)
        .map(|(sequence, name)| {
            let mut record = blocked(sequence);
            record.host.name = "scan 07]\n寒".into();
            record.host.agent_version = "0.1\"]\\".into();
            if let Event::Transfer(transfer) = &mut record.event {
                transfer.file.path = name;
            }
            record
        })
        .collect()
}

#[tokio::test]
async fn json_over_tls_is_the_record_whatever_files_are_called() {
    let Some(rsyslog) = Rsyslog::start(Guard::Tls).await else {
        return skipped("json_over_tls_is_the_record_whatever_files_are_called");
    };
    let world = world_with(&tls(&rsyslog, "ca", "client")).await;
    let mut records = hostile();
    records.push(record(6, NOON + 7, notice(Severity::Critical)));
    world.send(&records).await;
    let messages = rsyslog.wait_for(6).await;
    state(&world, "they are delivered", |state| state.delivered == 6).await;
    assert_eq!(rsyslog.messages().len(), 6, "none was split or made up");
    for (message, record) in messages.iter().zip(&records) {
        let found = Record::from_ocsf(message["message"].as_str().unwrap().trim_start()).unwrap();
        assert_eq!(found, *record);
        assert_eq!(message["app"], "vitrine");
    }
    // Facility 13, severity 3, and in the words that a header may hold.
    assert_eq!((&messages[0]["pri"], &messages[0]["id"]), (&"107".into(), &"transfer".into()));
    assert_eq!(messages[0]["host"], "scan?07]??");
    assert_eq!(messages[0]["data"], r#"[origin software="Vitrine" swVersion="0.1\"\]\\"]"#);
    assert_eq!((&messages[5]["pri"], &messages[5]["id"]), (&"106".into(), &"policy-refused".into()));
    assert_eq!(messages[5]["time"], "2026-11-22T12:00:00.007Z");
}

/// The header and the fields of a CEF message, as the format's own rules take them apart.
fn parse_cef(text: &str) -> (Vec<String>, BTreeMap<String, String>) {
    let (mut header, mut part, mut characters) = (Vec::new(), String::new(), text.chars());
    while header.len() < 7 {
        match characters.next().expect("a whole header") {
            '\\' => part.push(characters.next().unwrap()),
            '|' => header.push(std::mem::take(&mut part)),
            plain => part.push(plain),
        }
    }
    let extension: Vec<char> = characters.collect();
    let mut fields = BTreeMap::new();
    let (mut key, mut value, mut position) = (String::new(), String::new(), 0);
    while position < extension.len() {
        match extension[position] {
            '\\' => {
                position += 1;
                value.push(extension[position]);
            }
            '=' => {
                // The word before it is the next key.
                let (before, word) = value.rsplit_once(' ').unwrap_or(("", &value));
                let (before, word) = (before.to_owned(), word.to_owned());
                if !key.is_empty() {
                    assert_eq!(fields.insert(key, before), None);
                }
                (key, value) = (word, String::new());
            }
            plain => value.push(plain),
        }
        position += 1;
    }
    fields.insert(key, value);
    (header, fields)
}

#[tokio::test]
async fn nothing_in_a_name_ends_a_field_of_cef() {
    let Some(rsyslog) = Rsyslog::start(Guard::Open).await else {
        return skipped("nothing_in_a_name_ends_a_field_of_cef");
    };
    let sink = format!("server = \"127.0.0.1:{}\"\ntransport = \"tcp\"\nmessage = \"cef\"", rsyslog.port);
    let world = world_with(&sink).await;
    let mut records = hostile();
    records.push(record(6, NOON, notice(Severity::Critical)));
    world.send(&records).await;
    let messages = rsyslog.wait_for(6).await;
    state(&world, "they are delivered", |state| state.delivered == 6).await;
    assert_eq!(rsyslog.messages().len(), 6);
    let paths = [
        "/srv/a\\u{a}<0>1 - evil evil - - - forged.tif",
        "/srv/]|=\\\"] [origin ip=\"6.6.6.6\"] cs1=public|8|act=allowed.tif",
        "/srv/\\u{0}\\u{7}\\u{1b}[2J\\u{7f}\\u{85}\\u{2028}\\u{202e}fdp.tif",
        "/srv/\\xff\\xfe寒\\\\=.tif",
        &format!("/srv/{}…", "寒".repeat(1018)),
    ];
    for (message, path) in messages.iter().zip(paths) {
        let text = message["message"].as_str().unwrap().trim_start();
        let (header, fields) = parse_cef(text);
        assert_eq!(header[..3], ["CEF:0", "Vitrine", "Vitrine"]);
        assert_eq!((&*header[4], &*header[6]), ("transfer", "8"), "{text}");
        assert_eq!(fields["filePath"], path);
        assert_eq!(fields["act"], "blocked");
        assert_eq!((&*fields["cs1Label"], &*fields["cs1"]), ("tier", "master"));
        assert_eq!(fields["dvchost"], "scan 07]\\u{a}寒");
        assert_eq!((&*fields["suser"], &*fields["sproc"], &*fields["cnt"]), ("wen", "/usr/bin/cp", "1"));
        assert!(fields["msg"].ends_with("may receive up to licensed."));
        assert_eq!(fields.len(), 25, "{fields:?}");
    }
    let (header, fields) = parse_cef(messages[5]["message"].as_str().unwrap().trim_start());
    assert_eq!(header[4..], ["policy-refused", "The policy cannot be read.", "10"]);
    assert_eq!(fields["msg"], "The policy cannot be read.");
}

#[tokio::test]
async fn what_is_too_long_for_a_receiver_goes_as_cef_and_spoils_nothing_behind_it() {
    let Some(rsyslog) = Rsyslog::start(Guard::Open).await else {
        return skipped("what_is_too_long_for_a_receiver_goes_as_cef_and_spoils_nothing_behind_it");
    };
    let sink = format!("server = \"127.0.0.1:{}\"\ntransport = \"tcp\"\nmessage = \"json\"", rsyslog.port);
    let world = world_with(&sink).await;
    let mut long = blocked(1);
    if let Event::Transfer(transfer) = &mut long.event {
        transfer.explanation = "\u{7f}".repeat(15_000);
    }
    let behind = blocked(2);
    world.send(&[long, behind.clone()]).await;
    let messages = rsyslog.wait_for(2).await;
    let text = |place: usize| messages[place]["message"].as_str().unwrap().trim_start();
    let (header, fields) = parse_cef(text(0));
    assert_eq!((&*header[4], &*fields["externalId"]), ("transfer", "1"));
    assert!(text(0).len() < 64 << 10);
    assert_eq!(Record::from_ocsf(text(1)).unwrap(), behind);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_down_gets_everything_in_order() {
    let Some(mut rsyslog) = Rsyslog::start(Guard::Tls).await else {
        return skipped("a_server_that_was_down_gets_everything_in_order");
    };
    let world = world_with(&tls(&rsyslog, "ca", "client")).await;
    let send = async |first: u64| world.send(&(first..first + 300).map(blocked).collect::<Vec<_>>()).await;
    send(1).await;
    rsyslog.wait_for(300).await;
    state(&world, "the first are delivered", |state| state.delivered == 300).await;
    rsyslog.end();
    send(301).await;
    send(601).await;
    let down = state(&world, "it is missed", |state| state.failures >= 3).await;
    assert!(down.error.unwrap().contains(&format!("no connection to 127.0.0.1:{}", rsyslog.port)));
    assert_eq!((down.behind, down.delivered), (600, 300));
    rsyslog.resume().await;
    state(&world, "all are delivered", |state| state.delivered == 900 && state.error.is_none()).await;
    let messages = rsyslog.wait_for(900).await;
    let sequence = |message: &Value| Record::from_ocsf(message["message"].as_str().unwrap().trim()).unwrap().sequence;
    assert_eq!(messages.iter().map(sequence).collect::<Vec<_>>(), (1..=900).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_is_not_trusted_gets_nothing_and_nothing_counts_as_delivered() {
    let Some(rsyslog) = Rsyslog::start(Guard::Tls).await else {
        return skipped("who_is_not_trusted_gets_nothing_and_nothing_counts_as_delivered");
    };
    // A server of another authority; and a server that does not want this client: it hangs up, or resets.
    for (authority, client, expected) in
        [("other", "client", "invalid peer certificate"), ("ca", "stranger", "records did not reach")]
    {
        let world = world_with(&tls(&rsyslog, authority, client)).await;
        world.send(&[blocked(1)]).await;
        let state = state(&world, "it has failed", |state| state.failures >= 3).await;
        let error = state.error.unwrap();
        assert!(error.contains(expected) && error.contains("127.0.0.1"), "{error}");
        assert_eq!((state.delivered, state.behind), (0, 1), "{error}");
    }
    assert!(rsyslog.messages().is_empty());
}

#[tokio::test]
async fn a_server_that_hangs_up_first_has_received_nothing() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        // It says at once that it is done, and reads on without complaint: no reset tells of what it threw away.
        while let Ok((mut stream, _)) = server.accept().await {
            stream.shutdown().await.unwrap();
            tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
        }
    });
    let world = world_with(&format!("server = \"{address}\"\ntransport = \"tcp\"")).await;
    world.send(&[blocked(1)]).await;
    let state = state(&world, "it has failed", |state| state.failures >= 3).await;
    assert!(state.error.unwrap().contains("closed the connection at once"));
    assert_eq!((state.delivered, state.behind), (0, 1));
}

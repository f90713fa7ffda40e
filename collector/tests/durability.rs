//! Nothing that was acknowledged is lost: kill -9 under load, a full disk, a clean stop.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::StatusCode;
use vitrine_collector::store::{Role, Store, StoreError};
use vitrine_policy::record::{Record, Severity};
use world::{
    AGENT, Data, NOON, Server, World, blocked, client, good, lines, notice, only_on_sqlite, record, refused, token,
    until,
};

fn batch(agent: &str, first: u64, count: u64) -> Vec<Record> {
    (first..first + count)
        .map(|sequence| {
            let mut record = blocked(sequence);
            record.host.agent = agent.into();
            record
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_under_load_loses_nothing_acknowledged() {
    let directory = Data::new();
    let mut agents = Vec::new();
    for number in 0..4 {
        let name = format!("agent-{number}");
        agents.push((token(directory.path(), &name, Role::Agent).await, name, Arc::new(AtomicU64::new(0))));
    }
    for round in 1..=50 {
        let mut server = Server::start(directory.path());
        let senders: Vec<_> = agents
            .iter()
            .map(|(token, agent, acknowledged)| {
                let (token, agent, acknowledged) = (token.clone(), agent.clone(), Arc::clone(acknowledged));
                let (client, url) = (client(), format!("{}/v1/records", server.url));
                tokio::spawn(async move {
                    loop {
                        let first = acknowledged.load(Ordering::SeqCst) + 1;
                        let body = zstd::encode_all(&lines(&batch(&agent, first, 20))[..], 1).unwrap();
                        let request = client.post(&url).bearer_auth(&token).header("content-encoding", "zstd");
                        match request.body(body).send().await {
                            Ok(response) if response.status() == StatusCode::OK => {
                                // The answer may still be cut off by the kill.
                                let Ok(answer) = response.json::<serde_json::Value>().await else { return };
                                acknowledged.store(answer["committed"].as_u64().unwrap(), Ordering::SeqCst);
                            }
                            Ok(response) if response.status() == StatusCode::TOO_MANY_REQUESTS => {}
                            Ok(response) => panic!("{}", response.status()),
                            Err(_) => return,
                        }
                    }
                })
            })
            .collect();
        until("some batches were acknowledged", async || {
            agents.iter().all(|(_, _, acknowledged)| acknowledged.load(Ordering::SeqCst) >= round * 100).then_some(())
        })
        .await;
        server.child.kill().unwrap(); // SIGKILL
        server.child.wait().unwrap();
        for sender in senders {
            sender.await.unwrap();
        }
    }
    let server = Server::start(directory.path());
    assert_eq!(reqwest::get(format!("{}/healthz", server.url)).await.unwrap().status(), StatusCode::OK);
    let store = Store::open_existing(directory.path()).unwrap();
    for (_, agent, acknowledged) in &agents {
        let kept = store.sequences(agent).await.unwrap();
        let acknowledged = acknowledged.load(Ordering::SeqCst);
        assert!(acknowledged >= 5000);
        assert!(kept.len() as u64 >= acknowledged, "{agent}: {} kept, {acknowledged} acknowledged", kept.len());
        assert!(kept.iter().copied().eq(1..=kept.len() as u64), "{agent}: no holes");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_forgets_nothing() {
    if !only_on_sqlite("a_full_disk_refuses_and_forgets_nothing") {
        return;
    }
    let mount = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=3m", "vitrine-test"])
        .arg(mount.path())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        println!("skipped: a_full_disk_refuses_and_forgets_nothing (mounting a tmpfs needs root)");
        return;
    }
    struct Unmount<'a>(&'a Path);
    impl Drop for Unmount<'_> {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(self.0).status();
        }
    }
    let _unmount = Unmount(mount.path());
    let data = mount.path().join("data");
    let world = World::with(|settings| settings.data.clone_from(&data)).await;
    let send = async |first| {
        let request = world.client.post(world.url("/v1/records")).bearer_auth(&world.agent);
        request.body(lines(&batch(AGENT, first, 50))).send().await.unwrap()
    };
    let mut acknowledged = 0;
    let refusal = loop {
        let response = send(acknowledged + 1).await;
        if response.status() != StatusCode::OK {
            break response;
        }
        acknowledged = good(response).await["committed"].as_u64().unwrap();
    };
    assert!(acknowledged > 0);
    assert!(refusal.headers().contains_key("retry-after"));
    let error = refused(refusal, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(error.contains("no room"), "{error}");
    let grown = Command::new("mount").args(["-o", "remount,size=64m"]).arg(mount.path()).status().unwrap();
    assert!(grown.success());
    let committed = good(send(acknowledged + 1).await).await["committed"].as_u64().unwrap();
    assert_eq!(committed, acknowledged + 50);
    let kept = Store::open_existing(&data).unwrap().sequences(AGENT).await.unwrap();
    assert!(kept.into_iter().eq(1..=committed));
    world.running.stop().await;
}

#[tokio::test]
async fn a_damaged_database_is_found_after_an_unclean_stop() {
    if !only_on_sqlite("a_damaged_database_is_found_after_an_unclean_stop") {
        return;
    }
    let world = World::new().await;
    for first in 0..8 {
        world.send(&batch(AGENT, first * 50 + 1, 50)).await;
    }
    let directory = world.directory;
    world.running.stop().await;
    // As if the process had died, and the disk had lied.
    std::fs::write(directory.path().join("server.lock"), "running\n").unwrap();
    let file = directory.path().join("collector.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0x5a);
    std::fs::write(&file, bytes).unwrap();
    let output = Command::new(world::binary())
        .args(["serve", "--no-tls", "--listen", "127.0.0.1:0", "--data"])
        .arg(directory.path())
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("damaged"), "{output:?}");
}

#[tokio::test]
async fn the_command_line_says_what_it_found() {
    let world = World::new().await;
    let run = |arguments: &[&str]| {
        let output = Command::new(world::binary())
            .args(arguments)
            .arg("--data")
            .arg(world.directory.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert_eq!(run(&["alerts"]), (0, String::new(), String::new()));
    world.send(&[blocked(1), record(2, NOON, notice(Severity::Low))]).await;
    let (code, json, _) = run(&["alerts", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["alerts"][0]["program"]), (1, &serde_json::json!("cp")));
    assert!(run(&["token", "list"]).1.contains(AGENT));
    let (code, _, error) = run(&["token", "create", "--name", "agent"]);
    assert_eq!(code, 2);
    assert!(error.contains("revoke it first"), "{error}");
    assert_eq!(run(&["token", "revoke", "--name", "agent"]).0, 0);
    assert_eq!(run(&["token", "revoke", "--name", "agent"]).0, 2);
    let (code, _, error) = run(&["serve", "--no-tls", "--listen", "0.0.0.0:0"]);
    assert_eq!(code, 2);
    assert!(error.contains("in clear: leave --no-tls out"), "{error}");
    let (code, _, error) = run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, 3);
    assert!(error.contains("another vitrine-collector serves from"), "{error}");
    assert_eq!(run(&["serve"]).0, 2);
    let missing = Store::open_existing(Path::new("/nonexistent"));
    assert!(matches!(missing, Err(StoreError::Missing(_))));
}

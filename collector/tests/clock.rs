//! The collector's own clock is off, by an hour or by a month, and is mended while it serves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use vitrine_collector::store::Role;
use world::{AGENT, Data, PASSWORD, Server, blocked, client, cookie, csrf, good, lines, token, until};

/// A library that adds the seconds in the file that OFF names to the time of day, and to no other clock.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *now)
{
    int result = syscall(SYS_clock_gettime, id, now);
    if (result == 0 && id == CLOCK_REALTIME) {
        long seconds = 0;
        FILE *file = fopen(getenv("OFF"), "r");
        if (file) {
            if (fscanf(file, "%ld", &seconds) != 1)
                abort();
            fclose(file);
        }
        now->tv_sec += seconds;
    }
    return result;
}
"#;
const HOUR: i64 = 3600;

/// A collector whose clock can be set.
struct Lab {
    data: Data,
    server: Server,
    client: Client,
    agent: String,
    reader: String,
}

/// A collector's program whose time of day is off by what the file OFF says.
fn off_clock(room: &Path) -> Command {
    let library = room.join("clock.so");
    fs::write(room.join("clock.c"), CLOCK).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(room.join("clock.c"));
    assert!(compiler.status().unwrap().success());
    let mut command = Command::new(world::binary());
    command.env("LD_PRELOAD", library).env("OFF", room.join("off"));
    command
}

/// Sets that clock; it is read all the time, so never while it is half written.
fn set(room: &Path, seconds: i64) {
    fs::write(room.join("new"), seconds.to_string()).unwrap();
    fs::rename(room.join("new"), room.join("off")).unwrap();
}

impl Lab {
    async fn new(room: &Path) -> Lab {
        let data = Data::new();
        let agent = token(data.path(), "agent", Role::Agent).await;
        let reader = token(data.path(), "reader", Role::Reader).await;
        let mut command = off_clock(room);
        command.args(["serve", "--no-tls", "--listen", "127.0.0.1:0", "--data"]).arg(data.path());
        Lab { data, server: Server::of(&mut command), client: client(), agent, reader }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url)
    }

    async fn send(&self, sequence: u64) -> u64 {
        let body = lines(&[blocked(sequence)]);
        let request = self.client.post(self.url("/v1/records")).bearer_auth(&self.agent).body(body);
        good(request.send().await.unwrap()).await["committed"].as_u64().unwrap()
    }

    async fn beat(&self, token: &str, agent: &str, seconds: u64) {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let heartbeat = json!({
            "agent": agent, "host": agent, "guard": "flow", "mode": "enforce", "spool_depth": 0,
            "last_sequence": 0, "heartbeat_seconds": seconds, "time": u64::try_from(time).unwrap(),
        });
        let request = self.client.post(self.url("/v1/heartbeat")).bearer_auth(token).json(&heartbeat);
        good(request.send().await.unwrap()).await;
    }

    async fn read(&self, path: &str) -> Value {
        good(self.client.get(self.url(path)).bearer_auth(&self.reader).send().await.unwrap()).await
    }

    /// Who is missed.
    async fn silent(&self) -> Vec<Value> {
        let alerts = self.read("/v1/alerts").await["alerts"].as_array().unwrap().clone();
        let open = alerts.into_iter().filter(|alert| alert["code"] == "agent-silent" && alert["state"] == "open");
        open.map(|alert| alert["host"].clone()).collect()
    }

    /// Seconds by which a workstation's clock is ahead of the collector's.
    async fn skew(&self) -> i64 {
        let hosts = self.read("/v1/hosts").await["hosts"].as_array().unwrap().clone();
        let ours = hosts.iter().find(|host| host["agent"] == AGENT).unwrap();
        (ours["skew"].as_i64().unwrap() + 500).div_euclid(1000)
    }

    /// So that there was time to miss everybody.
    async fn another_goes_silent(&self, name: &str) {
        let token = token(self.data.path(), name, Role::Agent).await;
        self.beat(&token, name, 1).await;
        until("the other's silence", async || self.silent().await.contains(&name.into()).then_some(())).await;
    }

    async fn page(&self, session: &str, path: &str) -> (StatusCode, String) {
        let response = self.client.get(self.url(path)).header("cookie", session).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    /// Sets the console up, and silences an alert for eight hours; gives the session.
    async fn silences(&mut self) -> String {
        let setup = self.server.setup();
        let form = [("token", setup.as_str()), ("name", "ines"), ("password", PASSWORD), ("repeated", PASSWORD)];
        let session = cookie(&self.client.post(self.url("/setup")).form(&form).send().await.unwrap());
        let hidden = csrf(&self.page(&session, "/account").await.1);
        let form = [("csrf", hidden.as_str()), ("host", "*"), ("user", "wen"), ("hours", "8"), ("reason", "moving")];
        let request = self.client.post(self.url("/silences")).header("cookie", &session);
        let answer = request.header("sec-fetch-site", "same-origin").form(&form).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        session
    }
}

#[tokio::test]
async fn a_clock_that_was_an_hour_late_and_one_that_was_an_hour_early_lose_nothing_and_cry_no_wolf() {
    let room = tempfile::tempdir().unwrap();
    let mut lab = Lab::new(room.path()).await;
    let agent = lab.agent.clone();
    lab.beat(&agent, AGENT, 60).await;
    let session = lab.silences().await;
    for (number, (off, skew)) in [(HOUR, -HOUR), (0, 0), (-HOUR, HOUR), (0, 0)].into_iter().enumerate() {
        set(room.path(), off);
        // An agent that was heard a moment ago is not missed for the hour that nobody lived through.
        lab.another_goes_silent(&format!("other-{number}")).await;
        assert!(!lab.silent().await.contains(&AGENT.into()), "off by {off} s");
        let sequence = number as u64 + 1;
        assert_eq!(lab.send(sequence).await, sequence);
        lab.beat(&agent, AGENT, 60).await;
        assert!((lab.skew().await - skew).abs() <= 2, "{} s, off by {off} s", lab.skew().await);
        let (status, page) = lab.page(&session, "/silences").await;
        assert!(status == StatusCode::OK && page.contains("moving"), "off by {off} s: {status}");
        let (_, page) = lab.page(&session, "/hosts").await;
        let shown = ["+1 h 0 min", "+59 min", "−1 h 0 min", "−59 min"].iter().any(|words| page.contains(words));
        assert!(shown || skew == 0, "the page of the workstations, off by {off} s: {page}");
    }
    // Who is missing while the clock is right is missed.
    lab.beat(&agent, AGENT, 1).await;
    until("the silence", async || lab.silent().await.contains(&AGENT.into()).then_some(())).await;
}

#[tokio::test]
async fn a_certificate_is_worth_nothing_once_its_time_is_over() {
    let (room, data) = (tempfile::tempdir().unwrap(), Data::new());
    let token = token(data.path(), "agent", Role::Agent).await;
    let mut command = off_clock(room.path());
    let server = Server::of(command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.path()));
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Whoever answers is trusted: the collector's own certificate is of another time, too.
    let trusting = || Client::builder().no_proxy().tls_danger_accept_invalid_certs(true);
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::new(vec![AGENT.into()]).unwrap().serialize_request(&key).unwrap().pem().unwrap();
    let request = trusting().build().unwrap().post(format!("{}/v1/enroll", server.url)).bearer_auth(&token);
    let enrolled = good(request.json(&json!({"agent": AGENT, "csr": csr})).send().await.unwrap()).await;
    let both = format!("{}{}", key.serialize_pem(), enrolled["certificate"].as_str().unwrap());
    let send = async |sequence| {
        let client = trusting().identity(reqwest::Identity::from_pem(both.as_bytes()).unwrap()).build().unwrap();
        client.post(format!("{}/v1/records", server.url)).body(lines(&[blocked(sequence)])).send().await
    };
    assert_eq!(good(send(1).await.unwrap()).await["committed"], 1);
    set(room.path(), 366 * 24 * HOUR);
    let late = send(2).await;
    let refused = match &late {
        Ok(answer) => answer.status() == StatusCode::UNAUTHORIZED,
        Err(error) => format!("{error:?}").contains("CertificateExpired"),
    };
    assert!(refused, "{late:?}");
    set(room.path(), 0);
    assert_eq!(good(send(2).await.unwrap()).await["committed"], 2);
}

#[tokio::test]
async fn a_collector_that_was_started_in_another_month_is_trusted_once_its_clock_is_mended() {
    let (room, data) = (tempfile::tempdir().unwrap(), Data::new());
    let start = || {
        let mut command = off_clock(room.path());
        Server::of(command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.path()))
    };
    // Its authority is of today.
    drop(start());
    let authority = fs::read(data.path().join("authority.pem")).unwrap();
    set(room.path(), 31 * 24 * HOUR);
    let server = start();
    set(room.path(), 0);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = reqwest::Certificate::from_pem(&authority).unwrap();
    let client = Client::builder().no_proxy().tls_certs_only([authority]).build().unwrap();
    let answer = client.get(format!("{}/healthz", server.url)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

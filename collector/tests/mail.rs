//! Alerts by mail, to a real SMTP server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "world/hook.rs"]
mod hook;
mod world;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use hook::world_with;
use serde_json::Value;
use vitrine_policy::record::Event;
use world::certificates::make_certificates;
use world::{NOON, World, blocked, record, until};

/// Debian's `python3-aiosmtpd`, printing each message as JSON on a line.
struct Smtp {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
    port: u16,
}

impl Smtp {
    /// Speaks as `how` says: `none`, `always` or `starttls`, with the server's certificate of `certificates`. None, with a
    /// word why, where it is not installed.
    fn start(how: &str, certificates: &Path) -> Option<Smtp> {
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", include_str!("smtp.py"), how])
            .current_dir(certificates)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut out = BufReader::new(child.stdout.take()?);
        let mut line = String::new();
        out.read_line(&mut line).ok()?;
        match line.trim().parse() {
            Ok(port) => Some(Smtp { child, out: Some(out), port }),
            Err(_) => {
                let _ = child.wait();
                println!("skipped: it needs python3-aiosmtpd");
                None
            }
        }
    }

    /// A route to it.
    fn route(&self, more: &str) -> String {
        format!(
            "[[route]]\nname = \"staff\"\ngroup-wait = \"0s\"\n[route.email]\nserver = \"127.0.0.1:{}\"\n\
             from = \"Vitrine <vitrine@museum.example>\"\nto = [\"security@museum.example\"]\n{more}",
            self.port
        )
    }

    /// The next message that arrives.
    async fn message(&mut self) -> Value {
        let mut out = self.out.take().unwrap();
        let reading = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            out.read_line(&mut line).map(|_| (line, out))
        });
        let (line, out) =
            tokio::time::timeout(Duration::from_secs(20), reading).await.expect("a mail").unwrap().unwrap();
        self.out = Some(out);
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the console says of the message, once it was tried.
async fn tried(world: &World) -> String {
    let session = world.set_up().await;
    until("message that was tried", async || {
        let page = world.page("/notifications", &session).await;
        page.contains("<b class=\"bad\">dead</b>").then_some(page)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_arrives_and_file_names_forge_no_header() {
    let directory = tempfile::tempdir().unwrap();
    let Some(mut smtp) = Smtp::start("none", directory.path()) else { return };
    let world = world_with(&smtp.route("tls = \"none\"\n"), 10).await;
    let mut transfer = world::transfer();
    transfer.file.path = "/srv/寒食帖\r\nBcc: eve@evil.example\r\n\r\n.\r\nMAIL FROM:<x>.tif".into();
    world.send(&[record(1, NOON, Event::Transfer(Box::new(transfer)))]).await;
    let mail = smtp.message().await;
    assert_eq!(mail["to"], serde_json::json!(["security@museum.example"]));
    assert_eq!(mail["headers"]["Bcc"], Value::Null);
    let subject = mail["headers"]["Subject"].as_str().unwrap();
    assert!(subject.starts_with("[Vitrine] high cp: ") && subject.contains("\\u{d}\\u{a}Bcc"), "{subject}");
    let text = mail["text"].as_str().unwrap();
    assert!(text.contains("refused before the first byte") && text.contains("scan-07"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_over_tls_to_whom_the_authority_vouches_for_alone() {
    let directory = tempfile::tempdir().unwrap();
    make_certificates(directory.path());
    for how in ["always", "starttls"] {
        let Some(mut smtp) = Smtp::start(how, directory.path()) else { return };
        let authority = |name: &str| {
            smtp.route(&format!("tls = \"{how}\"\nca-file = \"{}\"\n", directory.path().join(name).display()))
        };
        let (right, wrong) = (authority("ca.pem"), authority("other.pem"));
        // Of the system's authorities none knows it either.
        for config in [wrong, smtp.route(&format!("tls = \"{how}\"\n"))] {
            let world = world_with(&config, 1).await;
            world.send(&[blocked(1)]).await;
            let said = tried(&world).await;
            assert!(said.contains("certificate"), "{how}: {said}");
        }
        let world = world_with(&right, 1).await;
        world.send(&[blocked(1)]).await;
        let mail = smtp.message().await;
        assert!(mail["tls"].as_bool().unwrap() && mail["to"][0] == "security@museum.example", "{mail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_mail_goes_in_clear_where_the_server_offers_no_tls() {
    let directory = tempfile::tempdir().unwrap();
    let Some(smtp) = Smtp::start("none", directory.path()) else { return };
    let world = world_with(&smtp.route("tls = \"starttls\"\n"), 1).await;
    world.send(&[blocked(1)]).await;
    let said = tried(&world).await;
    assert!(said.contains("STARTTLS"), "{said}");
}

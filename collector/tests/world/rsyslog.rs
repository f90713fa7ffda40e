//! Debian's rsyslog as a receiver of its own, with certificates made for it.

#![allow(dead_code, unreachable_pub)] // each test uses a part of it

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::world::certificates::make_certificates;
use super::world::until;

const PROGRAM: &str = "/usr/sbin/rsyslogd";

/// How its port is guarded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// In clear.
    Open,
    /// TLS, and only for who shows a certificate for `collector.example`.
    Tls,
}

pub struct Rsyslog {
    directory: tempfile::TempDir,
    guard: Guard,
    child: Option<Child>,
    pub port: u16,
}

impl Rsyslog {
    /// None where it is not installed.
    pub async fn start(guard: Guard) -> Option<Rsyslog> {
        let driver = Path::new("/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so");
        if !Path::new(PROGRAM).exists() || !driver.exists() {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        make_certificates(directory.path());
        let mut rsyslog = Rsyslog { directory, guard, child: None, port: 0 };
        rsyslog.resume().await;
        Some(rsyslog)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts it again on the port that it had.
    pub async fn resume(&mut self) {
        let directory = self.directory.path().display();
        let tls = match self.guard {
            Guard::Open => String::new(),
            Guard::Tls => "StreamDriver.Name=\"gtls\" StreamDriver.Mode=\"1\" \
                           StreamDriver.AuthMode=\"x509/name\" PermittedPeer=[\"collector.example\"]"
                .into(),
        };
        let config = format!(
            r#"global(workDirectory="{directory}" maxMessageSize="256k"
       defaultNetstreamDriverCAFile="{directory}/ca.pem"
       defaultNetstreamDriverCertFile="{directory}/server.pem"
       defaultNetstreamDriverKeyFile="{directory}/server.key")
module(load="imtcp" {tls})
template(name="fields" type="list") {{
  constant(value="{{") property(outname="pri" name="pri" format="jsonf")
  constant(value=",") property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  constant(value=",") property(outname="host" name="hostname" format="jsonf")
  constant(value=",") property(outname="app" name="app-name" format="jsonf")
  constant(value=",") property(outname="id" name="msgid" format="jsonf")
  constant(value=",") property(outname="data" name="structured-data" format="jsonf")
  constant(value=",") property(outname="message" name="msg" format="jsonf")
  constant(value="}}\n")
}}
ruleset(name="all") {{ action(type="omfile" file="{directory}/out" template="fields") }}
input(type="imtcp" address="127.0.0.1" port="{}" listenPortFileName="{directory}/port" ruleset="all")
"#,
            self.port
        );
        std::fs::write(self.path("rsyslog.conf"), config).unwrap();
        let _ = std::fs::remove_file(self.path("port"));
        let child = Command::new(PROGRAM)
            .args(["-n", "-f"])
            .arg(self.path("rsyslog.conf"))
            .arg("-i")
            .arg(self.path("pid"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.path("journal")).unwrap())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let (port, file) = (self.port, self.path("port"));
        self.port = until("rsyslog listens", async || match port {
            0 => std::fs::read_to_string(&file).ok()?.trim().parse().ok(),
            // It says the port only when it was free to choose one.
            port => std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(|_| port),
        })
        .await;
    }

    /// Ends it as the system would; it writes down what it has.
    pub fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let id = child.id().to_string();
            let _ = Command::new("/bin/kill").args(["-TERM", &id]).status();
            for _ in 0..500 {
                if child.try_wait().unwrap().is_some() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The messages that it has written down.
    pub fn messages(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("out")).unwrap_or_default();
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// Waits for so many messages.
    pub async fn wait_for(&self, count: usize) -> Vec<Value> {
        until(&format!("rsyslog has {count} messages"), async || {
            let messages = self.messages();
            (messages.len() >= count).then_some(messages)
        })
        .await
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        self.end();
    }
}

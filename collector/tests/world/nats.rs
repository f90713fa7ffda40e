//! Debian's nats-server as a receiver of its own, with JetStream.

#![allow(dead_code, unreachable_pub)] // each test uses a part of it

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use async_nats::ConnectOptions;
use async_nats::jetstream::{self, Context, stream};
use vitrine_policy::record::Record;

use super::world::certificates::make_certificates;
use super::world::until;

const PROGRAM: &str = "/usr/sbin/nats-server";
/// A user of the administrator's own beside whom a test lets in.
pub const ADMIN: &str = r#"{ user: "root", password: "of the tests" }"#;

pub struct Nats {
    directory: tempfile::TempDir,
    config: String,
    child: Option<Child>,
    pub port: u16,
}

impl Nats {
    /// One with this in its configuration (`{users}` behind the administrator, `{directory}` is where certificates are);
    /// none where it is not installed.
    pub async fn start(config: &str) -> Option<Nats> {
        if !Path::new(PROGRAM).exists() {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        make_certificates(directory.path());
        let config = config.replace("{directory}", &directory.path().display().to_string());
        let mut nats = Nats { directory, config, child: None, port: 0 };
        nats.resume().await;
        Some(nats)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it again on the port that it had.
    pub async fn resume(&mut self) {
        if self.port == 0 {
            self.port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        }
        let config = format!(
            "host: 127.0.0.1\nport: {}\nno_sys_acc: true\njetstream {{ store_dir: {:?} }}\n{}\n",
            self.port,
            self.path("store"),
            self.config
        );
        std::fs::write(self.path("nats.conf"), config).unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(self.path("nats.conf")).stdout(Stdio::null());
        let child = command.stderr(std::fs::File::create(self.path("journal")).unwrap()).spawn().unwrap();
        self.child = Some(child);
        until("nats-server listens", async || {
            let said = std::fs::read_to_string(self.path("journal")).unwrap();
            said.contains("Server is ready").then_some(())
        })
        .await;
    }

    /// As a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// JetStream as its administrator has it.
    pub async fn admin(&self) -> Context {
        let mut options = ConnectOptions::new().user_and_password("root".into(), "of the tests".into());
        if self.config.contains("tls {") {
            options = options
                .require_tls(true)
                .add_root_certificates(self.path("ca.pem"))
                .add_client_certificate(self.path("client.pem"), self.path("client.key"));
        }
        jetstream::new(options.connect(self.address()).await.unwrap())
    }

    /// A stream for `vitrine.>`, with these changes.
    pub async fn stream(&self, change: impl FnOnce(&mut stream::Config)) {
        let mut config =
            stream::Config { name: "VITRINE".into(), subjects: vec!["vitrine.>".into()], ..Default::default() };
        change(&mut config);
        let admin = self.admin().await;
        if admin.update_stream(&config).await.is_err() {
            admin.create_stream(config).await.unwrap();
        }
    }

    /// How many messages are stored.
    pub async fn count(&self) -> u64 {
        let mut stream = self.admin().await.get_stream("VITRINE").await.unwrap();
        stream.info().await.unwrap().state.messages
    }

    /// The id, subject and record of each message that is stored, in their order.
    pub async fn messages(&self) -> Vec<(String, String, Record)> {
        let mut stream = self.admin().await.get_stream("VITRINE").await.unwrap();
        let last = stream.info().await.unwrap().state.last_sequence;
        let mut found = Vec::new();
        for sequence in 1..=last {
            let message = stream.get_raw_message(sequence).await.unwrap();
            let id = message.headers.get("Nats-Msg-Id").unwrap().to_string();
            let record = Record::from_ocsf(std::str::from_utf8(&message.payload).unwrap()).unwrap();
            found.push((id, message.subject.to_string(), record));
        }
        found
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

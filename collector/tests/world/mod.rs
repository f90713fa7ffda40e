//! A collector to test against: the real server on a real socket, with records as agents send them.

#![allow(dead_code, unreachable_pub, unused_imports)] // each test uses a part of it

pub mod certificates;
pub mod cluster;
mod data;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

pub use data::{Data, Hand, done, is_postgres, only_on_sqlite, programs, psql};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use vitrine_collector::server::{Running, Settings, start};
use vitrine_collector::store::{Role, SinkState, Store, Worth};
use vitrine_policy::decision::{Mode, Rule, Verdict};
use vitrine_policy::facts::{Measure, Origin};
use vitrine_policy::record::{
    Destination, Disposition, Event, File, Host, Master, Notice, NoticeClass, Operation, Process, Record, Severity,
    Transfer, User, VERSION,
};

pub const NOON: i64 = 1_795_348_800_000;
pub const AGENT: &str = "0198c0de-0000-7000-8000-000000000001";

pub struct World {
    pub directory: Data,
    pub running: Running,
    pub client: Client,
    pub agent: String,
    pub reader: String,
}

impl World {
    pub async fn new() -> World {
        World::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Settings)) -> World {
        let directory = Data::new();
        let mut settings = Settings::new(directory.path().to_owned(), SocketAddr::from(([127, 0, 0, 1], 0)));
        change(&mut settings);
        let agent = token(&settings.data, "agent", Role::Agent).await;
        let reader = token(&settings.data, "reader", Role::Reader).await;
        let running = start(settings).await.unwrap();
        World { directory, running, client: client(), agent, reader }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.running.url)
    }

    /// Sends lines with the world's agent token.
    pub async fn send_lines(&self, lines: impl Into<Vec<u8>>) -> Response {
        let request = self.client.post(self.url("/v1/records")).bearer_auth(&self.agent);
        request.body(lines.into()).send().await.unwrap()
    }

    /// Sends records, which must be taken; gives the committed number.
    pub async fn send(&self, records: &[Record]) -> u64 {
        let answer: Value = good(self.send_lines(lines(records)).await).await;
        assert_eq!(answer["rejected"], serde_json::json!([]));
        answer["committed"].as_u64().unwrap()
    }

    pub async fn alerts(&self) -> Vec<Value> {
        let request = self.client.get(self.url("/v1/alerts")).bearer_auth(&self.reader);
        let answer = good(request.send().await.unwrap()).await;
        answer["alerts"].as_array().unwrap().clone()
    }

    pub async fn store(&self) -> Store {
        Store::open_existing(self.directory.path()).unwrap()
    }

    /// Sets the console up; gives the cookie of the first session.
    pub async fn set_up(&self) -> String {
        let token = self.running.setup.clone().unwrap();
        let form = [("token", token.as_str()), ("name", "ines"), ("password", PASSWORD), ("repeated", PASSWORD)];
        let response = self.client.post(self.url("/setup")).form(&form).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        cookie(&response)
    }

    /// Posts a form as a page of this session would, with its hidden token.
    pub async fn post(&self, session: &str, path: &str, form: &[(&str, &str)]) -> Response {
        let csrf = csrf(&self.page("/account", session).await);
        let form = [form, &[("csrf", csrf.as_str())]].concat();
        let request = self.client.post(self.url(path)).header("cookie", session);
        request.header("sec-fetch-site", "same-origin").form(&form).send().await.unwrap()
    }

    /// Adds a user; gives the path at which he chooses his password.
    pub async fn invite(&self, admin: &str, name: &str, role: &str) -> String {
        let response = self.post(admin, "/users", &[("name", name), ("role", role)]).await;
        assert_eq!(response.status(), StatusCode::OK);
        invitation(&response.text().await.unwrap())
    }

    /// Chooses the password at the path of an invitation.
    pub async fn join(&self, path: &str) -> Response {
        let (_, token) = path.split_once('=').unwrap();
        let form = [("token", token), ("password", PASSWORD), ("repeated", PASSWORD)];
        self.client.post(self.url("/join")).form(&form).send().await.unwrap()
    }

    /// Adds a user who has chosen his password; gives the cookie of his session.
    pub async fn user(&self, admin: &str, name: &str, role: &str) -> String {
        cookie(&self.join(&self.invite(admin, name, role).await).await)
    }

    pub async fn log_in(&self, name: &str, password: &str) -> Response {
        let form = [("name", name), ("password", password)];
        self.client.post(self.url("/login")).form(&form).send().await.unwrap()
    }

    /// Runs the program on this world's data; gives exit code and both outputs.
    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(binary());
        let output = command.args(arguments).arg("--data").arg(self.directory.path()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    pub async fn page(&self, path: &str, cookie: &str) -> String {
        let response = self.client.get(self.url(path)).header("cookie", cookie).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.text().await.unwrap()
    }
}

pub const PASSWORD: &str = "a lantern over the scroll";

/// The cookie that an answer sets, as it is sent back.
pub fn cookie(response: &Response) -> String {
    let header = response.headers()["set-cookie"].to_str().unwrap();
    header.split(';').next().unwrap().to_owned()
}

/// The path of the invitation on the page of users.
pub fn invitation(page: &str) -> String {
    let (_, after) = page.split_once("/join?token=").unwrap();
    format!("/join?token={}", after.split('<').next().unwrap())
}

/// The hidden token in a page's forms.
pub fn csrf(page: &str) -> String {
    let (_, after) = page.split_once("name=\"csrf\" value=\"").unwrap();
    after.split('"').next().unwrap().to_owned()
}

pub fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

pub async fn token(directory: &Path, name: &str, role: Role) -> String {
    let store = Store::open(directory).unwrap();
    let (_, secret) = store.create_token(name.into(), role, Worth::ONE).await.unwrap();
    store.close().await;
    secret
}

pub async fn good(response: Response) -> Value {
    let status = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Checks a refusal's status and shape; gives its error.
pub async fn refused(response: Response, status: StatusCode) -> String {
    let found = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(found, status, "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    assert!(body["expected"].is_string());
    body["error"].as_str().unwrap().to_owned()
}

pub fn lines(records: &[Record]) -> Vec<u8> {
    records.iter().fold(Vec::new(), |mut text, record| {
        text.extend(record.to_ocsf().to_string().into_bytes());
        text.push(b'\n');
        text
    })
}

/// Waits until something holds, for at most 20 seconds.
pub async fn until<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the first sink is as it should be, and says how it is.
pub async fn state(world: &World, what: &str, check: impl Fn(&SinkState) -> bool) -> SinkState {
    let store = world.store().await;
    until(what, async || {
        let state = store.sinks().await.unwrap().remove(0);
        check(&state).then_some(state)
    })
    .await
}

/// A refused copy of a master to a USB disk, one minute after another.
pub fn blocked(sequence: u64) -> Record {
    let minute = i64::try_from(sequence).unwrap() * 60_000;
    record(sequence, NOON + minute, Event::Transfer(Box::new(transfer())))
}

pub fn record(sequence: u64, time: i64, event: Event) -> Record {
    Record {
        version: VERSION,
        id: uuid::Uuid::from_u64_pair(7, sequence).to_string(),
        sequence,
        time,
        host: Host { agent: AGENT.into(), name: "scan-07".into(), agent_version: "0.1.0".into() },
        event,
        seal: None,
    }
}

pub fn notice(severity: Severity) -> Event {
    Event::Notice(Notice {
        code: "policy-refused".into(),
        class: NoticeClass::Policy,
        severity,
        message: "The policy cannot be read.".into(),
        subject: None,
        count: 1,
    })
}

pub fn transfer() -> Transfer {
    let process = |pid, name: &str, path: &str, command: &str| Process {
        pid,
        name: name.into(),
        path: path.into(),
        command_line: command.into(),
    };
    Transfer {
        operation: Operation::Write,
        verdict: Verdict::Block,
        disposition: Disposition::Blocked,
        rule: Rule::Ceiling { destination: "courier disk".into() },
        explanation: "The file is of tier master, and courier disk may receive up to licensed.".into(),
        mode: Mode::Enforce,
        policy: "5f".repeat(32),
        guard: "gate".into(),
        processes: vec![
            process(4112, "cp", "/usr/bin/cp", "cp K2B_0012.tif /media/courier/"),
            process(4080, "bash", "/usr/bin/bash", "-bash"),
        ],
        user: Some(User { uid: 1004, name: "wen".into(), session: Some(3) }),
        file: File {
            path: "/srv/scans/masters/K2B_0012.tif".into(),
            digest: Some("ab".repeat(32)),
            bytes: Some(84_112_004),
            thumbnail: None,
        },
        masters: vec![Master {
            path: "/srv/scans/masters/K2B_0012.tif".into(),
            collection: "masters".into(),
            object: Some("K2B".into()),
            thumbnail: None,
            recognised: None,
            sent: None,
        }],
        tier: "master".into(),
        origin: Origin::Measured,
        measure: Some(Measure { megapixels: 28.0, scale: Some(1.0), bit_depth: 16 }),
        destination: Some(Destination {
            name: "courier disk".into(),
            target: "/media/courier/K2B_0012.tif".into(),
            ceiling: "licensed".into(),
            bytes_arrived: Some(0),
            objects_today: None,
            place: None,
        }),
        attempts: 1,
        justification: None,
        severity: None,
    }
}

/// A small real JPEG: two grey pixels by two.
pub fn jpeg() -> Vec<u8> {
    const DATA: &str = include_str!("jpeg.hex");
    hex::decode(DATA.split_whitespace().collect::<String>()).unwrap()
}

pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_vitrine-collector"))
}

/// The program itself, to be killed.
pub struct Server {
    pub child: Child,
    pub url: String,
    said: BufReader<ChildStdout>,
}

impl Server {
    pub fn start(data: &Path) -> Server {
        Server::start_at(data, "127.0.0.1:0")
    }

    pub fn start_at(data: &Path, address: &str) -> Server {
        Server::of(Command::new(binary()).args(["serve", "--no-tls", "--listen", address, "--data"]).arg(data))
    }

    pub fn of(command: &mut Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Server { child, url, said }
    }

    /// The set-up token, while there is no user.
    pub fn setup(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.strip_prefix("set-up token: ").and_then(|rest| rest.split(' ').next()).unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

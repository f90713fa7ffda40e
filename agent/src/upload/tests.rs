//! Uploads against a real server that misbehaves on purpose: each request gets the next of its answers.

mod approval;
mod masters;
mod policy;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vitrine_policy::record::{Event, Host, Record};

use super::*;
use crate::config::SpoolLimits;

/// Nothing here takes as long on any machine.
const LONG: Duration = Duration::from_secs(60);
const TOKEN: &str = "vtr_secret";

/// How the server answers one request.
#[derive(Clone, Copy)]
enum Answer {
    Status(u16, &'static str, &'static str),
    /// Hangs up without a word.
    HangUp,
    /// Says nothing for ever.
    Silence,
    /// Never stops talking.
    Endless,
    /// Stores, but hangs up before it says so.
    StoreAndHangUp,
    /// Says that it has records that it was not sent.
    Boast,
    /// Lays the first record aside.
    LayAside,
}

/// What the server was sent.
#[derive(Default)]
struct Heard {
    /// Method and path of each request.
    requests: Vec<String>,
    /// The batches, as the server stored them.
    batches: Vec<Vec<Record>>,
    heartbeats: Vec<serde_json::Value>,
    pictures: usize,
    /// The paths of masters.
    masters: Vec<String>,
    answers: VecDeque<Answer>,
    /// What is answered whenever a request holds a text: method, path, entity tag, and the lines of masters.
    always: Vec<(&'static str, Answer)>,
    /// Largest body that is taken.
    limit: usize,
}

/// A collector that has the worst of days.
struct Server {
    url: String,
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(answers: impl IntoIterator<Item = Answer>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Server::listen(listener, answers)
    }

    fn listen(listener: TcpListener, answers: impl IntoIterator<Item = Answer>) -> Server {
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let answers = answers.into_iter().collect();
        let heard = Arc::new(Mutex::new(Heard { answers, limit: usize::MAX, ..Heard::default() }));
        let shared = heard.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Server { url, heard, task }
    }

    fn heard<T>(&self, ask: impl FnOnce(&Heard) -> T) -> T {
        ask(&self.heard.lock().unwrap())
    }

    fn always(&self, text: &'static str, answer: Answer) {
        self.heard.lock().unwrap().always.push((text, answer));
    }

    /// Every sequence number that was stored, in the order of arrival.
    fn sequences(&self) -> Vec<u64> {
        self.heard(|heard| heard.batches.iter().flatten().map(|record| record.sequence).collect())
    }
}

async fn serve(stream: tokio::net::TcpStream, heard: Arc<Mutex<Heard>>) -> Option<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if read.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_ascii_lowercase());
        }
        let header = |name: &str| head.iter().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let mut body = vec![0; header("content-length:").unwrap_or("0").parse().unwrap()];
        read.read_exact(&mut body).await.ok()?;
        assert_eq!(header("authorization:"), Some(&*format!("bearer {TOKEN}")));
        answer(&head[0], header("if-none-match:").unwrap_or_default(), &body, &mut write, &heard).await?;
    }
}

async fn answer(request: &str, tag: &str, body: &[u8], write: &mut OwnedWriteHalf, heard: &Mutex<Heard>) -> Option<()> {
    let request = request.strip_suffix(" http/1.1").unwrap().to_owned();
    let planned = {
        let mut heard = heard.lock().unwrap();
        heard.requests.push(request.clone());
        let whole = format!("{request} {tag} {}", paths(&request, body).join(" "));
        let always = heard.always.iter().find(|(text, _)| whole.contains(text)).map(|(_, answer)| *answer);
        let too_large = (body.len() > heard.limit).then_some(Answer::Status(413, "", "{}"));
        too_large.or(always).or_else(|| heard.answers.pop_front())
    };
    let (status, headers, text) = match planned {
        Some(Answer::HangUp) => return None,
        Some(Answer::Silence) => std::future::pending().await,
        Some(Answer::Endless) => {
            write.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
            loop {
                write.write_all(&[b'x'; 8192]).await.ok()?;
            }
        }
        Some(Answer::Status(status, headers, text)) => (status, headers, text.to_owned()),
        Some(Answer::StoreAndHangUp) => {
            store(&request, body, heard);
            return None;
        }
        Some(Answer::Boast) => (200, "", r#"{"committed":4711,"rejected":[]}"#.to_owned()),
        Some(Answer::LayAside) => {
            let committed = store(&request, body, heard);
            (200, "", format!(r#"{{"committed":{committed},"rejected":[{{"line":1,"reason":"odd"}}]}}"#))
        }
        None => {
            let committed = store(&request, body, heard);
            (200, "", format!(r#"{{"committed":{committed},"rejected":[],"masters":"one","epoch":"one"}}"#))
        }
    };
    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n{text}", text.len());
    write.write_all(answer.as_bytes()).await.ok()
}

/// The paths of the masters in a request.
fn paths(request: &str, body: &[u8]) -> Vec<String> {
    if request != "post /v1/masters" {
        return Vec::new();
    }
    let text = String::from_utf8(zstd::stream::decode_all(body).unwrap()).unwrap();
    let line = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["path"].as_str().unwrap().to_owned();
    text.lines().map(line).collect()
}

/// Keeps what was sent; the highest sequence number in it.
fn store(request: &str, body: &[u8], heard: &Mutex<Heard>) -> u64 {
    let mut heard = heard.lock().unwrap();
    if let Some(digest) = request.strip_prefix("put /v1/evidence/") {
        assert_eq!(blake3::hash(body).to_hex().as_str(), digest);
        heard.pictures += 1;
        return 0;
    }
    if request == "post /v1/heartbeat" {
        heard.heartbeats.push(serde_json::from_slice(body).unwrap());
        return 0;
    }
    if request == "post /v1/masters" {
        heard.masters.extend(paths(request, body));
        return 0;
    }
    assert_eq!(request, "post /v1/records");
    let text = zstd::stream::decode_all(body).unwrap();
    let lines = str::from_utf8(&text).unwrap().lines();
    let batch: Vec<Record> = lines.map(|line| Record::from_ocsf(line).unwrap()).collect();
    let last = batch.last().unwrap().sequence;
    heard.batches.push(batch);
    last
}

/// A workstation with a spool that uploads to one address.
struct World {
    spool: Spool,
    contact: Arc<Contact>,
    stop: watch::Sender<bool>,
    uploading: Option<JoinHandle<()>>,
    collector: config::Collector,
    pace: Pace,
    take: Option<Take>,
    masters: Option<Handing>,
    asking: Option<Asking>,
    directory: tempfile::TempDir,
}

impl World {
    fn new(url: &str) -> World {
        let directory = tempfile::tempdir().unwrap();
        let host =
            Host { agent: uuid::Uuid::from_u128(1).to_string(), name: "scan-01".into(), agent_version: "0".into() };
        let token_file = directory.path().join("token");
        std::fs::write(&token_file, TOKEN).unwrap();
        exposed(&token_file, 0o600);
        World {
            spool: Spool::open(directory.path(), host, SpoolLimits::default()).unwrap(),
            contact: Arc::default(),
            stop: watch::channel(false).0,
            uploading: None,
            collector: config::Collector {
                url: url.into(),
                token_file,
                ca_file: None,
                ca_fingerprint: None,
                policy: false,
                heartbeat_seconds: 3600,
                masters: true,
            },
            pace: Pace {
                connect: Duration::from_secs(5),
                request: Duration::from_millis(300),
                first: Duration::from_millis(5),
                longest: Duration::from_millis(1000),
                heartbeat: Duration::from_secs(3600),
                answers: Duration::from_millis(20),
            },
            take: None,
            masters: None,
            asking: None,
            directory,
        }
    }

    fn with(self, records: usize) -> World {
        for nth in 0..records {
            self.spool.push(Failure::Vanished.notice(Some(format!("/{nth}").as_bytes()), "gone"));
        }
        assert!(self.spool.flush(LONG));
        self
    }

    fn upload(mut self) -> World {
        let heartbeat = || Heartbeat {
            guard: "watch".into(),
            mode: "audit".into(),
            policy: "0".repeat(64),
            policy_serial: None,
            policy_source: "file",
            masters: 3,
            counters: vec![("vanished".into(), 1)],
        };
        let run = run_at(
            self.pace,
            self.spool.clone(),
            Setup {
                collector: self.collector.clone(),
                identity: self.directory.path().join("identity.json"),
                take: self.take.take(),
                masters: self.masters.take(),
                asking: self.asking.take(),
            },
            heartbeat,
            self.contact.clone(),
            self.stop.subscribe(),
        );
        self.uploading = Some(tokio::spawn(run));
        self
    }

    /// Waits until the collector has everything.
    async fn delivered(&self) {
        eventually(|| self.spool.flush(Duration::ZERO) && self.spool.depth() == 0).await;
    }

    /// How many records with this code there are, sent or not, whose message holds `text`.
    fn told(&self, code: &str, text: &str) -> usize {
        assert!(self.spool.flush(LONG));
        let all = crate::spool::read(self.directory.path(), 0, 100_000).unwrap();
        let is = |record: &Record| match &record.event {
            Event::Notice(notice) => notice.code == code && notice.message.contains(text),
            Event::Transfer(_) => false,
        };
        all.iter().filter(|entry| is(&entry.record)).count()
    }
}

fn exposed(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

async fn eventually(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "it never came true");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn pictures_and_records_arrive_once_and_in_order() {
    let server = Server::start([]).await;
    let world = World::new(&server.url).with(1200);
    world.spool.evidence(vec![1; 100]);
    world.spool.evidence(vec![2; 100]);
    let world = world.with(0).upload();
    world.delivered().await;
    assert_eq!(server.sequences(), (1..=1200).collect::<Vec<_>>());
    server.heard(|heard| {
        assert_eq!(heard.pictures, 2);
        assert_eq!(heard.requests[0], "post /v1/heartbeat");
        assert!(heard.requests[1..3].iter().all(|request| request.starts_with("put ")), "{:?}", heard.requests);
        assert!(heard.batches.iter().all(|batch| batch.len() <= MAX_RECORDS));
    });
    world.spool.push(Failure::Started.notice(None, "one more, which wakes it"));
    eventually(|| server.sequences().len() == 1201).await;
    assert!(world.contact.describe().starts_with("reached at "));
}

#[tokio::test]
async fn a_collector_that_fails_in_every_way_gets_all_records_in_the_end() {
    let rubbish = ["", "<html>", "{}", "[1]", r#"{"committed":-1}"#].map(|text| Answer::Status(200, "", text));
    let failing = [500, 502, 503].map(|status| Answer::Status(status, "", "oops"));
    let other = [Answer::HangUp, Answer::Silence, Answer::Endless, Answer::Boast];
    // The heartbeat comes first, and what it answers is not read.
    let good = [Answer::Status(200, "", "{}")];
    let answers = good.into_iter().chain(rubbish).chain(failing).chain(other);
    let server = Server::start(answers).await;
    let world = World::new(&server.url).with(20).upload();
    eventually(|| server.sequences().len() >= 20 && server.heard(|heard| heard.answers.is_empty())).await;
    world.delivered().await;
    eventually(|| world.told("collector-away", "takes records again") == 1).await;
    world.delivered().await;
    assert_eq!(world.told("collector-away", "does not take records"), 1, "one outage is told once");
    let sequences = server.sequences();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>(), "nothing twice, nothing missing");
}

#[tokio::test]
async fn what_was_stored_without_an_answer_is_sent_again_the_same() {
    let server = Server::start([Answer::Status(200, "", "{}"), Answer::StoreAndHangUp]).await;
    let world = World::new(&server.url).with(5).upload();
    world.delivered().await;
    server.heard(|heard| {
        assert!(heard.batches.len() >= 2);
        assert_eq!(heard.batches[0], heard.batches[1][..5], "so that the collector can tell that it has them");
    });
}

#[tokio::test]
async fn a_collector_that_comes_later_gets_what_waited() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let world = World::new(&format!("http://{address}")).with(3).upload();
    eventually(|| world.told("collector-away", "refused") == 1).await;
    assert!(world.contact.describe().starts_with("never reached"), "{}", world.contact.describe());
    let server = Server::listen(TcpListener::bind(address).await.unwrap(), []);
    eventually(|| server.sequences().len() >= 5).await;
    world.delivered().await;
}

#[tokio::test]
async fn retry_after_is_honoured_up_to_a_limit() {
    let busy = r#"{"error":"too many","expected":"fewer"}"#;
    let answers =
        [Answer::Status(429, "Retry-After: 1\r\n", busy), Answer::Status(503, "Retry-After: 86400\r\n", busy)];
    let server = Server::start(answers).await;
    let began = Instant::now();
    let world = World::new(&server.url).with(1).upload();
    world.delivered().await;
    assert!(began.elapsed() >= Duration::from_millis(2000), "{:?}", began.elapsed());
    assert_eq!(world.told("collector-away", "too many; expected fewer"), 1);
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_halved_until_it_fits() {
    let server = Server::start([]).await;
    server.heard.lock().unwrap().limit = 2000;
    let world = World::new(&server.url).with(300).upload();
    world.delivered().await;
    assert_eq!(server.sequences(), (1..=300).collect::<Vec<_>>());
    assert_eq!(world.told("collector-refused", ""), 0, "nobody has to do anything");
}

#[tokio::test]
async fn a_refusal_is_told_once_with_what_to_do_and_a_new_token_is_read() {
    let refused = r#"{"error":"no such token","expected":"a token"}"#;
    let server = Server::start([401, 401, 401].map(|status| Answer::Status(status, "", refused))).await;
    let world = World::new(&server.url).with(1).upload();
    world.delivered().await;
    eventually(|| world.told("collector-refused", "takes records again") == 1).await;
    assert_eq!(world.told("collector-refused", "no such token; expected a token. The token is not known there"), 1);
}

#[tokio::test]
async fn without_a_private_token_nothing_is_sent_until_that_is_mended() {
    let server = Server::start([]).await;
    let world = World::new(&server.url).with(1);
    exposed(&world.collector.token_file, 0o644);
    let world = world.upload();
    eventually(|| world.told("collector-refused", "mode 0644") == 1).await;
    assert!(server.heard(|heard| heard.requests.is_empty()));
    exposed(&world.collector.token_file, 0o600);
    world.delivered().await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Server::start([]).await;
    let location: &'static str = format!("Location: {}\r\n", elsewhere.url).leak();
    let server = Server::start([Answer::Status(308, location, "")]).await;
    let world = World::new(&server.url).with(1).upload();
    world.delivered().await;
    assert!(elsewhere.heard(|heard| heard.requests.is_empty()), "the token goes nowhere else");
    assert_eq!(world.told("collector-refused", "Redirects are not followed"), 1);
}

#[tokio::test]
async fn what_the_collector_lays_aside_is_told_and_the_rest_goes_on() {
    let server = Server::start([Answer::Status(200, "", "{}"), Answer::LayAside]).await;
    let world = World::new(&server.url).with(3).upload();
    eventually(|| world.told("record-rejected", "record 1 aside: odd") == 1).await;
    world.delivered().await;
    // Telling of a rejected telling would never end.
    server.heard.lock().unwrap().answers.push_back(Answer::LayAside);
    world.spool.push(Failure::RecordRejected.notice(Some(b"x"), "a telling"));
    eventually(|| server.heard(|heard| heard.answers.is_empty())).await;
    world.delivered().await;
    assert_eq!(world.told("record-rejected", "odd"), 1);
}

#[tokio::test]
async fn a_picture_that_is_refused_hinders_nothing() {
    let refusals = [413, 415, 400].map(|status| Answer::Status(status, "", "{}"));
    let server = Server::start([Answer::Status(200, "", "{}")].into_iter().chain(refusals)).await;
    let world = World::new(&server.url);
    (0..4).for_each(|nth| drop(world.spool.evidence(vec![nth; 100])));
    let world = world.with(1).upload();
    eventually(|| !server.sequences().is_empty()).await;
    assert_eq!(server.heard(|heard| heard.pictures), 1);
    eventually(|| world.told("record-rejected", "does not take a picture") == 3).await;
}

#[tokio::test]
async fn heartbeats_say_how_it_stands() {
    let server = Server::start([]).await;
    let mut world = World::new(&server.url).with(2);
    world.pace.heartbeat = Duration::from_secs(1);
    let world = world.upload();
    eventually(|| server.heard(|heard| heard.heartbeats.len() >= 2)).await;
    let beat = server.heard(|heard| heard.heartbeats.last().unwrap().clone());
    assert_eq!(beat["agent"], world.spool.host().agent);
    assert_eq!((&beat["guard"], &beat["mode"]), (&"watch".into(), &"audit".into()));
    assert_eq!((&beat["spool_depth"], &beat["last_sequence"]), (&0.into(), &2.into()));
    assert_eq!(beat["counters"]["vanished"], 1);
}

#[tokio::test]
async fn at_the_end_it_delivers_what_is_left() {
    let server = Server::start([]).await;
    let mut world = World::new(&server.url).upload();
    eventually(|| server.heard(|heard| !heard.heartbeats.is_empty())).await;
    world.spool.push(Failure::Stopped.notice(None, "told to stop"));
    assert!(world.spool.flush(LONG));
    world.stop.send(true).unwrap();
    world.uploading.take().unwrap().await.unwrap();
    assert_eq!(server.sequences(), [1]);
}

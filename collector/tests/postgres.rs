//! Records in PostgreSQL: several collectors on one database, servers that are away, and a primary that is killed.
//! `tests/postgres` runs all other tests of the collector there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "world/hook.rs"]
mod hook;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hook::{Hook, SECRET};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use vitrine_collector::store::{Retention, Role, Store};
use vitrine_policy::record::{Record, Severity};
use world::cluster::{Cluster, data_of};
use world::{AGENT, Hand, Server, blocked, client, good, lines, refused, token, until};

fn batch(agent: &str, first: u64, count: u64) -> Vec<Record> {
    let of = |sequence| {
        let mut record = blocked(sequence);
        record.host.agent = agent.into();
        record
    };
    (first..first + count).map(of).collect()
}

/// Sends records of an agent until somebody stops it, from the number on that was acknowledged last; what is not taken
/// it sends again, as an agent does.
fn send_on(
    urls: Vec<String>,
    token: String,
    agent: String,
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let client = client();
        for url in urls.iter().cycle().take_while(|_| !stop.load(Ordering::SeqCst)) {
            let first = acknowledged.load(Ordering::SeqCst) + 1;
            let request = client.post(format!("{url}/v1/records")).bearer_auth(&token);
            match request.body(lines(&batch(&agent, first, 20))).send().await {
                Ok(response) if response.status() == StatusCode::OK => {
                    let Ok(answer) = response.json::<Value>().await else { continue };
                    acknowledged.store(answer["committed"].as_u64().unwrap(), Ordering::SeqCst);
                }
                Ok(response) => {
                    let status = response.status();
                    assert!([StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&status));
                    assert!(response.headers().contains_key("retry-after"));
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    })
}

/// A plain balancer of connections: each goes to the next collector that takes it.
async fn balancer(collectors: &[&Server]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let addresses = collectors.iter().map(|server| server.url.strip_prefix("http://").unwrap().to_owned());
    let mut addresses: Vec<String> = addresses.collect();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            addresses.rotate_left(1);
            let order = addresses.clone();
            tokio::spawn(async move {
                for address in order {
                    if let Ok(mut collector) = TcpStream::connect(address).await {
                        return tokio::io::copy_bidirectional(&mut client, &mut collector).await.map(drop);
                    }
                }
                Ok(())
            });
        }
    });
    url
}

struct Sender {
    agent: String,
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

async fn senders(data: &Path, urls: &[String], count: u64) -> Vec<Sender> {
    let mut senders = Vec::new();
    for number in 0..count {
        let agent = format!("agent-{number}");
        let token = token(data, &agent, Role::Agent).await;
        let acknowledged = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let task = send_on(urls.to_vec(), token, agent.clone(), Arc::clone(&acknowledged), Arc::clone(&stop));
        senders.push(Sender { agent, acknowledged, stop, task });
    }
    senders
}

async fn until_each_has(senders: &[Sender], count: u64) {
    let all = || senders.iter().all(|sender| sender.acknowledged.load(Ordering::SeqCst) >= count);
    until(&format!("each has {count} records acknowledged"), async || all().then_some(())).await;
}

/// That everything acknowledged is there, and nothing is missing between.
async fn nothing_is_lost(store: &Store, senders: Vec<Sender>) -> u64 {
    let mut count = 0;
    for sender in senders {
        sender.stop.store(true, Ordering::SeqCst);
        sender.task.await.unwrap();
        let kept = store.sequences(&sender.agent).await.unwrap();
        let acknowledged = sender.acknowledged.load(Ordering::SeqCst);
        assert!(kept.len() as u64 >= acknowledged, "{}: {} of {acknowledged}", sender.agent, kept.len());
        assert!(kept.iter().copied().eq(1..=kept.len() as u64), "{}: no holes", sender.agent);
        count += kept.len() as u64;
    }
    count
}

fn serve(data: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(world::binary());
    command.args(["serve", "--no-tls", "--listen", "127.0.0.1:0", "--data"]).arg(data).args(more).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_primary_loses_nothing_acknowledged() {
    let Some(primary) = Cluster::start("a_killed_primary_loses_nothing_acknowledged") else { return };
    primary.database("vitrine");
    let standby = primary.standby();
    let url = format!(
        "postgresql://vitrine@127.0.0.1:{},127.0.0.1:{}/vitrine?target_session_attrs=read-write",
        primary.port, standby.port
    );
    let data = data_of(&url);
    let server = Server::start(data.path());
    let senders = senders(data.path(), std::slice::from_ref(&server.url), 4).await;
    until_each_has(&senders, 200).await;
    primary.kill();
    let before: Vec<u64> = senders.iter().map(|sender| sender.acknowledged.load(Ordering::SeqCst)).collect();
    let refused = async || {
        let answer = reqwest::get(format!("{}/healthz", server.url)).await.unwrap();
        (answer.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    };
    until("the collector says that it is without a database", refused).await;
    let promoted = Instant::now();
    standby.promote();
    let most = before.iter().max().unwrap();
    until_each_has(&senders, most + 200).await;
    println!("records were taken again {:?} after the promotion began", promoted.elapsed());
    let store = Store::open_existing(data.path()).unwrap();
    let count = nothing_is_lost(&store, senders).await;
    assert!(count >= 4 * (most + 200));
    assert!(store.verify_audit(None).await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_collectors_loses_nothing_acknowledged() {
    let Some(cluster) = Cluster::start("kill_9_of_collectors_loses_nothing_acknowledged") else { return };
    let data = data_of(&cluster.database("vitrine"));
    let mut server = Server::start(data.path());
    // The address of each further one is another.
    let senders = senders(data.path(), std::slice::from_ref(&server.url), 4).await;
    for round in 1..=3 {
        until_each_has(&senders, round * 100).await;
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        let address = server.url.strip_prefix("http://").unwrap().to_owned();
        drop(server);
        server = Server::start_at(data.path(), &address);
    }
    until_each_has(&senders, 400).await;
    let store = Store::open_existing(data.path()).unwrap();
    nothing_is_lost(&store, senders).await;
}

/// How often each record stands in the file sinks of these directories.
fn sunk(directories: &[&Path]) -> BTreeMap<(String, u64), usize> {
    let mut found = BTreeMap::new();
    for directory in directories {
        let text = std::fs::read_to_string(directory.join("all.ndjson")).unwrap_or_default();
        for line in text.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let agent = record["device"]["uid"].as_str().unwrap().to_owned();
            *found.entry((agent, record["metadata"]["sequence"].as_u64().unwrap())).or_default() += 1;
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn two_collectors_share_one_database() {
    let Some(cluster) = Cluster::start("two_collectors_share_one_database") else { return };
    let url = cluster.database("vitrine");
    let hook = Hook::start(0).await;
    let sink = "[[sink]]\nkind = \"file\"\nname = \"all\"\npath = \"all.ndjson\"\n";
    let directory = || {
        let data = data_of(&url);
        std::fs::write(data.path().join("collector.toml"), hook.route("desk", "group-interval = \"5s\"") + sink)
            .unwrap();
        std::fs::write(data.path().join("hook.secret"), SECRET).unwrap();
        data
    };
    let (one, other) = (directory(), directory());
    let (mut first, second) = (Server::start(one.path()), Server::start(other.path()));
    let between = balancer(&[&first, &second]).await;
    let urls = [first.url.clone(), second.url.clone(), between.clone()];
    // Each batch of an agent goes to one collector, the other, and to whichever the balancer chooses.
    let senders = senders(one.path(), &urls, 6).await;
    until_each_has(&senders, 300).await;
    let store = Store::open_existing(one.path()).unwrap();
    let count = nothing_is_lost(&store, senders).await;
    let all = |expected: u64| {
        let found = sunk(&[one.path(), other.path()]);
        (found.len() as u64 == expected).then_some(found)
    };
    let found = until("the sinks have every record", async || all(count)).await;
    assert!(found.values().all(|times| *times == 1), "each came once");

    // Every alert is told of once, by whichever collector.
    let alerts = Hand::of(one.path()).number("SELECT count(*) FROM alerts");
    let told = || hook.told().into_iter().flat_map(|(_, alerts)| alerts).collect::<Vec<_>>();
    let all_told = async || (told().len() as i64 >= alerts).then_some(());
    until("every alert was told of", all_told).await;
    assert_eq!(told().iter().collect::<BTreeSet<_>>().len(), told().len());

    // Whoever is left does the jobs of the one that is killed.
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let token = token(other.path(), "late", Role::Agent).await;
    let request = client().post(format!("{between}/v1/records")).bearer_auth(&token);
    good(request.body(lines(&batch("late", 1, 3))).send().await.unwrap()).await;
    until("the sinks have the late ones, too", async || all(count + 3)).await;
    until("they were told of", async || (told().len() as i64 > alerts).then_some(())).await;
    assert!(store.verify_audit(None).await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_committed_late_passes_no_sink() {
    let Some(cluster) = Cluster::start("a_record_that_is_committed_late_passes_no_sink") else { return };
    let data = data_of(&cluster.database("vitrine"));
    let sink = "[[sink]]\nkind = \"file\"\nname = \"all\"\npath = \"all.ndjson\"\n";
    std::fs::write(data.path().join("collector.toml"), sink).unwrap();
    let server = Server::start(data.path());
    let token = token(data.path(), "agent", Role::Agent).await;
    let send = async |records: &[Record]| {
        let request = client().post(format!("{}/v1/records", server.url)).bearer_auth(&token);
        good(request.body(lines(records)).send().await.unwrap()).await
    };
    send(&batch(AGENT, 1, 1)).await;
    let sequences = || sunk(&[data.path()]).into_keys().map(|(_, sequence)| sequence).collect::<Vec<_>>();
    until("the first one is there", async || (sequences() == [1]).then_some(())).await;

    // Another collector has taken a number for record 1000, and is not done.
    let url = std::fs::read_to_string(data.path().join("database")).unwrap();
    let (slow, connection) = tokio_postgres::connect(url.trim(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let mut record = blocked(1000);
    record.host.agent = "slow".into();
    slow.batch_execute("BEGIN; SELECT pg_advisory_xact_lock_shared(last_value) FROM records_number").await.unwrap();
    let insert = "INSERT INTO records (number, agent, sequence, id, time, received, severity, body)
                  VALUES (nextval('records_number'), 99, 1000, 'slow', 0, 0, 1, $1)";
    slow.execute(insert, &[&serde_json::to_vec(&record).unwrap()]).await.unwrap();
    send(&batch(AGENT, 2, 5)).await;
    let state = Store::open_existing(data.path()).unwrap();
    until("the sink has looked for more", async || {
        let behind = state.sinks().await.unwrap()[0].behind;
        (behind == 5).then_some(())
    })
    .await;
    assert_eq!(sequences(), [1]);
    slow.batch_execute("COMMIT").await.unwrap();
    until("all are there", async || (sequences() == [1, 2, 3, 4, 5, 6, 1000]).then_some(())).await;
    let text = std::fs::read_to_string(data.path().join("all.ndjson")).unwrap();
    assert!(text.lines().nth(1).unwrap().contains("\"sequence\":1000"), "in the order of their numbers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_said_and_waited_for() {
    let Some(cluster) = Cluster::start("a_database_that_is_away_is_said_and_waited_for") else { return };
    let data = data_of(&cluster.database("vitrine"));
    let server = Server::start(data.path());
    let token = token(data.path(), "agent", Role::Agent).await;
    let send = async |first| {
        let request = client().post(format!("{}/v1/records", server.url)).bearer_auth(&token);
        request.body(lines(&batch(AGENT, first, 10))).send().await.unwrap()
    };
    assert_eq!(good(send(1).await).await["committed"], 10);
    cluster.stop();
    let answer = send(11).await;
    assert!(answer.headers().contains_key("retry-after"));
    let error = refused(answer, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(error.contains("cannot reach its database"), "{error}");

    // One that starts meanwhile says so and ends; the service manager starts it again.
    let other = data_of(&format!("postgresql://vitrine:hidden@127.0.0.1:{}/vitrine", cluster.port));
    let output = serve(other.path(), &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("database cannot be reached") && said.contains("refused"), "{said}");
    assert!(!said.contains("hidden"), "{said}");

    cluster.go();
    let taken = async || (send(11).await.status() == StatusCode::OK).then_some(());
    until("records are taken again", taken).await;
    let kept = Store::open_existing(data.path()).unwrap().sequences(AGENT).await.unwrap();
    assert!(kept.into_iter().eq(1..=20));
}

#[tokio::test]
async fn the_command_line_says_what_a_database_is() {
    let data = tempfile::tempdir().unwrap();
    for url in ["sqlite://x", "postgresql:///", "postgresql://a@b/c?colour=blue"] {
        let output = serve(data.path(), &["--database", url]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("expected postgresql://"), "{said}");
        assert!(!data.path().join("database").exists(), "it is not noted");
    }
    let Some(cluster) = Cluster::start("the_command_line_says_what_a_database_is") else { return };
    let url = cluster.database("vitrine");
    let mut command = Command::new(world::binary());
    command.args(["serve", "--no-tls", "--listen", "127.0.0.1:0", "--database", &url, "--data"]).arg(data.path());
    let server = Server::of(&mut command);
    // What is noted there serves every other command.
    let noted = data.path().join("database");
    assert_eq!(std::fs::read_to_string(&noted).unwrap().trim(), url);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&noted).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    token(data.path(), "agent", Role::Agent).await;
    assert!(!data.path().join("collector.db").exists());
    assert_eq!(Hand::of(data.path()).number("SELECT count(*) FROM tokens"), 1);
    let copy = Command::new(world::binary())
        .args(["backup", "--to", "/nowhere/copy.db", "--data"])
        .arg(data.path())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&copy.stderr).contains("pg_dump"), "{copy:?}");
    drop(server);

    // Agents know one authority: another collector has to have it.
    let starts = |data: &Path| {
        let mut command = Command::new(world::binary());
        command.args(["serve", "--listen", "127.0.0.1:0", "--database", &url, "--data"]).arg(data);
        command
    };
    drop(Server::of(&mut starts(data.path())));
    let other = tempfile::tempdir().unwrap();
    let output = starts(other.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(3) && said.contains("copy authority.pem"), "{said}");
    std::fs::copy(data.path().join("authority.pem"), other.path().join("authority.pem")).unwrap();
    drop(Server::of(&mut starts(other.path())));
}

#[tokio::test]
async fn days_are_made_ahead_and_dropped_as_a_whole() {
    let Some(cluster) = Cluster::start("days_are_made_ahead_and_dropped_as_a_whole") else { return };
    let data = data_of(&cluster.database("vitrine"));
    let store = Store::open(data.path()).unwrap();
    let hand = Hand::of(data.path());
    let days = || hand.number("SELECT count(*) FROM pg_inherits WHERE inhparent = 'records'::regclass");
    assert_eq!(days(), 8, "today and a week");
    // A day of long ago, with records of which a list of masters knows, and another one whose alert is open.
    for day in [10_000_i64, 10_001] {
        let (first, after) = (day << 36, (day + 1) << 36);
        for table in ["records", "record_text"] {
            let make =
                format!("CREATE TABLE {table}_{day} PARTITION OF {table} FOR VALUES FROM ({first}) TO ({after})");
            hand.run(&make).unwrap();
        }
        hand.run(&format!(
            "INSERT INTO records (number, agent, sequence, id, time, received, severity, alert, body)
             SELECT {first} + i, 1, i, 'x', 0, {day} * CAST(86400000 AS BIGINT), 1 + i % 5, CASE WHEN {day} = 10001 THEN 1 END, '{{}}'
             FROM generate_series(1, 2500) AS i"
        ))
        .unwrap();
    }
    hand.run(&format!(
        "INSERT INTO objects VALUES (1, 'key', 'masters', '/a.tif', NULL, 0, 0, 0, 0, 0, 0, 0, NULL);
         INSERT INTO object_records SELECT number, 1 FROM records WHERE number < {};
         INSERT INTO alerts (agent, \"user\", program, code, state, severity, first_seen, last_seen, changed, body)
         VALUES ('a', 'u', 'p', 'c', 'open', 1, 0, 0, 0, '');
         UPDATE summed SET upto = {}",
        10_001_i64 << 36,
        10_002_i64 << 36
    ))
    .unwrap();
    let all = [Severity::Informational, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
    let age = 24 * 3600 * 1000;
    let now = 10_100 * age;
    let some = Retention { severities: vec![(all[0], age)], ..Retention::default() };
    assert_eq!(store.remove_old(&some, now).await.unwrap().records, 500, "one of five severities");
    assert_eq!(days(), 10);
    let retention = Retention { severities: all.map(|severity| (severity, age)).to_vec(), ..Retention::default() };
    let removed = store.remove_old(&retention, now).await.unwrap();
    assert_eq!((removed.records, days()), (2000, 9));
    assert_eq!(hand.number("SELECT count(*) FROM records"), 2500, "those of the open alert");
    assert_eq!(hand.number("SELECT count(*) FROM objects"), 0, "which no record tells of any more");
    store.close().await;
}

//! Records to files, and what is true of every sink: nothing is lost silently, and none holds up another.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use vitrine_collector::server::{Settings, StartError, start};
use vitrine_collector::store::{Retention, Role, Store};
use vitrine_policy::record::{Record, Severity};
use world::{AGENT, Data, NOON, Server, World, blocked, client, good, lines, notice, record, token, until};

async fn world_with(config: &str) -> World {
    World::with(|settings| {
        std::fs::write(settings.data.join("collector.toml"), config).unwrap();
        settings.pace.first_retry = Duration::from_millis(20);
        settings.pace.longest_retry = Duration::from_millis(100);
    })
    .await
}

/// The sequence numbers in a file, each of whose lines must be a whole record; the last one may be being written.
fn sequences(file: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let read = |line| Record::from_ocsf(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    whole.lines().map(|line| read(line).sequence).collect()
}

#[tokio::test]
async fn every_record_arrives_in_order_and_filters_hold() {
    let config = "
        [[sink]]\nkind = \"file\"\nname = \"all\"\npath = \"all.ndjson\"
        [[sink]]\nkind = \"file\"\nname = \"moves\"\npath = \"moves.ndjson\"\nclasses = [\"transfer\"]
        [[sink]]\nkind = \"file\"\nname = \"grave\"\npath = \"grave.ndjson\"\nseverity = \"critical\"";
    let world = world_with(config).await;
    for first in [1, 301, 601] {
        let batch: Vec<Record> = (first..first + 300)
            .map(|n| if n % 3 == 0 { record(n, NOON, notice(Severity::High)) } else { blocked(n) })
            .collect();
        world.send(&batch).await;
    }
    world.send(&[record(901, NOON, notice(Severity::Critical))]).await;
    let file = |name: &str| sequences(&world.directory.path().join(name));
    until("the records are there", async || (file("all.ndjson").len() >= 901).then_some(())).await;
    assert_eq!(file("all.ndjson"), (1..=901).collect::<Vec<_>>());
    until("so are the transfers", async || (file("moves.ndjson").len() >= 600).then_some(())).await;
    assert_eq!(file("moves.ndjson"), (1..=900).filter(|n| n % 3 != 0).collect::<Vec<_>>());
    until("so is the critical one", async || (!file("grave.ndjson").is_empty()).then_some(())).await;
    assert_eq!(file("grave.ndjson"), [901]);

    // The same in the console, the API and the command line.
    until("the sinks are up to date", async || {
        let (code, out, _) = world.run(&["sinks"]);
        (code == 0 && out.matches("up to date").count() == 3).then_some(())
    })
    .await;
    let request = world.client.get(world.url("/v1/sinks")).bearer_auth(&world.reader);
    let answer = good(request.send().await.unwrap()).await;
    assert_eq!(answer["sinks"][0]["name"], "all");
    assert_eq!(answer["sinks"][0]["delivered"], 901);
    assert_eq!(answer["sinks"][0]["behind"], 0);
    let session = world.set_up().await;
    let page = world.page("/sinks", &session).await;
    assert!(page.contains("moves.ndjson") && page.contains("up to date") && page.contains(">600<"), "{page}");
    let stranger = world.client.get(world.url("/sinks")).send().await.unwrap();
    assert_ne!(stranger.status(), 200);
    let agent = world.client.get(world.url("/v1/sinks")).bearer_auth(&world.agent).send().await.unwrap();
    assert_eq!(agent.status(), 403);
}

#[tokio::test]
async fn a_sink_goes_on_where_it_was_after_a_restart() {
    let config = "[[sink]]\nkind = \"file\"\nname = \"all\"\npath = \"all.ndjson\"";
    let world = world_with(config).await;
    world.send(&[blocked(1), blocked(2)]).await;
    let file = world.directory.path().join("all.ndjson");
    until("they are there", async || (world.run(&["sinks"]).1.contains("2 delivered")).then_some(())).await;
    let data = world.directory.path().to_owned();
    world.running.stop().await;
    // While it is not named nothing goes to it, and nothing is lost.
    std::fs::write(data.join("collector.toml"), "").unwrap();
    let running = start(Settings::new(data.clone(), ([127, 0, 0, 1], 0).into())).await.unwrap();
    let send = async |url: &str, records: &[Record]| {
        let request = world.client.post(format!("{url}/v1/records")).bearer_auth(&world.agent);
        good(request.body(lines(records)).send().await.unwrap()).await;
    };
    send(&running.url, &[blocked(3)]).await;
    running.stop().await;
    std::fs::write(data.join("collector.toml"), config).unwrap();
    let running = start(Settings::new(data.clone(), ([127, 0, 0, 1], 0).into())).await.unwrap();
    send(&running.url, &[blocked(4)]).await;
    until("all of them", async || (sequences(&file).len() >= 4).then_some(())).await;
    assert_eq!(sequences(&file), [1, 2, 3, 4]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_leaves_no_half_line_and_no_hole() {
    let directory = Data::new();
    let config = "[[sink]]\nkind = \"file\"\nname = \"all\"\npath = \"all.ndjson\"\nmax-bytes = 1000000\nfiles = 1000";
    std::fs::write(directory.path().join("collector.toml"), config).unwrap();
    let token = token(directory.path(), "agent", Role::Agent).await;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let file = directory.path().join("all.ndjson");
    for round in 1..=6 {
        let mut server = Server::start(directory.path());
        let (client, url) = (client(), format!("{}/v1/records", server.url));
        let (token, last) = (token.clone(), Arc::clone(&acknowledged));
        let sender = tokio::spawn(async move {
            loop {
                let first = last.load(Ordering::SeqCst) + 1;
                let batch: Vec<_> = (first..first + 10).map(blocked).collect();
                match client.post(&url).bearer_auth(&token).body(lines(&batch)).send().await {
                    Ok(response) if response.status() == 200 => last.store(first + 9, Ordering::SeqCst),
                    Ok(response) if response.status() == 429 => tokio::time::sleep(Duration::from_millis(50)).await,
                    Ok(response) => panic!("{}", response.status()),
                    Err(_) => return,
                }
            }
        });
        until("the sink is in the midst of it", async || {
            let sent = acknowledged.load(Ordering::SeqCst);
            let grows = std::fs::metadata(&file).is_ok_and(|file| file.len() > 10_000);
            (sent >= round * 150 && grows).then_some(())
        })
        .await;
        server.child.kill().unwrap(); // SIGKILL
        server.child.wait().unwrap();
        sender.await.unwrap();
        // What a power cut leaves: the beginning of a line.
        let torn = lines(&[blocked(1_000_000)]);
        let mut end = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
        end.write_all(&torn[..200 * usize::try_from(round).unwrap()]).unwrap();
    }
    let server = Server::start(directory.path());
    let store = Store::open_existing(directory.path()).unwrap();
    let kept = store.sequences(AGENT).await.unwrap();
    assert!(kept.len() as u64 >= acknowledged.load(Ordering::SeqCst) && kept.len() >= 900);
    until("the sink has caught up", async || {
        let state = store.sinks().await.unwrap().remove(0);
        (state.behind == 0 && state.error.is_none()).then_some(())
    })
    .await;
    drop(server);
    let mut found = Vec::new();
    for number in (1..1000).rev() {
        found.extend(sequences(&directory.path().join(format!("all.ndjson.{number}"))));
    }
    found.extend(sequences(&file));
    assert!(std::fs::read(&file).unwrap().ends_with(b"\n"));
    assert!(directory.path().join("all.ndjson.1").exists(), "the file was not begun again");
    // What was under way comes again; without that each comes once, and in order.
    let repeated = found.len() - kept.len();
    assert!(repeated <= 6 * 500, "{repeated} came again");
    let mut times: HashMap<u64, usize> = HashMap::new();
    let first: Vec<u64> = found
        .into_iter()
        .filter(|sequence| {
            let times = times.entry(*sequence).or_default();
            *times += 1;
            *times == 1
        })
        .collect();
    assert_eq!(first, kept);
}

#[tokio::test]
async fn what_retention_removes_first_is_counted_and_what_comes_later_arrives() {
    let config = "[[sink]]\nkind = \"file\"\nname = \"gone\"\npath = \"missing/all.ndjson\"\nclasses = [\"policy\"]";
    // Time enough between two attempts for records to be removed while none is on its way.
    let world = World::with(|settings| {
        std::fs::write(settings.data.join("collector.toml"), config).unwrap();
        settings.pace.first_retry = Duration::from_secs(6);
    })
    .await;
    world
        .send(&(1..=1200).take(400).map(|n| record(n, NOON, notice(Severity::Informational))).collect::<Vec<_>>())
        .await;
    let store = world.store().await;
    let state = until("the sink has failed", async || {
        let state = store.sinks().await.unwrap().remove(0);
        (state.failures >= 1 && state.behind == 400).then_some(state)
    })
    .await;
    assert!(state.error.as_ref().unwrap().contains("missing/all.ndjson cannot be written"), "{state:?}");
    assert_eq!((state.behind, state.lost, state.delivered), (400, 0, 0));
    let (code, out, _) = world.run(&["sinks"]);
    assert!(code == 1 && out.contains("failing") && out.contains("400 records and"), "{out}");

    let session = world.set_up().await;
    let page = world.page("/sinks", &session).await;
    assert!(page.contains("1 failing</span>") && page.contains("missing/all.ndjson cannot be written"), "{page}");

    let retention = Retention { severities: vec![(Severity::Informational, 0)], ..Retention::default() };
    let later = jiff::Timestamp::now().as_millisecond() + 1000;
    assert_eq!(store.remove_old(&retention, later).await.unwrap().records, 400);
    std::fs::create_dir(world.directory.path().join("missing")).unwrap();
    world.send(&[record(401, NOON, notice(Severity::Informational))]).await;
    let file = world.directory.path().join("missing/all.ndjson");
    until("the next one arrived", async || (!sequences(&file).is_empty()).then_some(())).await;
    assert_eq!(sequences(&file), [401]);
    let state = until("it counts", async || {
        let state = store.sinks().await.unwrap().remove(0);
        (state.delivered == 1).then_some(state)
    })
    .await;
    assert_eq!((state.behind, state.lost, state.error), (0, 400, None));
    assert_eq!(world.run(&["sinks"]).0, 1, "losses are told");
    let page = world.page("/sinks", &session).await;
    assert!(page.contains("<b class=\"bad\">400</b>") && !page.contains("failing</span>"), "{page}");

    // Everything is removed after it was delivered: no loss, and the next record is not taken for an old one.
    assert_eq!(store.remove_old(&retention, later + 60_000).await.unwrap().records, 1);
    world.send(&[record(402, NOON, notice(Severity::Informational))]).await;
    until("the one after that", async || (sequences(&file) == [401, 402]).then_some(())).await;
    assert_eq!(store.sinks().await.unwrap()[0].lost, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_dead_or_slow_holds_up_nobody() {
    // One server that takes connections and never reads; one address where nobody is.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = format!(
        "[[sink]]\nkind = \"syslog\"\nname = \"slow\"\nserver = \"{0}\"\ntransport = \"tcp\"
         [[sink]]\nkind = \"http\"\nname = \"slower\"\nurl = \"http://{0}\"\nshape = \"ndjson\"
         [[sink]]\nkind = \"http\"\nname = \"dead\"\nurl = \"http://127.0.0.1:9/\"\nshape = \"json\"
         [[sink]]\nkind = \"file\"\nname = \"well\"\npath = \"all.ndjson\"",
        silent.local_addr().unwrap()
    );
    let world = world_with(&config).await;
    let file = world.directory.path().join("all.ndjson");
    for first in (1..=2000).step_by(100) {
        let began = Instant::now();
        world.send(&(first..first + 100).map(blocked).collect::<Vec<_>>()).await;
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    until("the sink that is well has all", async || (sequences(&file).len() == 2000).then_some(())).await;
    let store = world.store().await;
    let states = until("the dead one has failed", async || {
        let states = store.sinks().await.unwrap();
        (states[0].failures >= 2).then_some(states)
    })
    .await;
    let names: Vec<_> = states.iter().map(|state| (state.name.as_str(), state.delivered)).collect();
    assert_eq!(names, [("dead", 0), ("slow", 0), ("slower", 0), ("well", 2000)]);
    assert_eq!(states[1].behind, 2000);
    // Nor do they hold up the end.
    let began = Instant::now();
    world.running.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_mistake_in_a_sink_is_pointed_at() {
    let cases = [
        ("kind = \"file\"\nname = \"A b\"\npath = \"x\"", "expected 1 to 40 of a-z"),
        ("kind = \"file\"\nname = \"a\"\npath = \"x\"\nmax-bytes = 10", "is below 65536"),
        ("kind = \"file\"\nname = \"a\"\npath = \"x\"\npaths = 1", "unknown field `paths`"),
        ("kind = \"file\"\nname = \"a\"\npath = \"x\"\nclasses = [\"all\"]", "unknown variant `all`"),
        ("kind = \"file\"\nname = \"a\"\npath = \"x\"\nseverity = \"bad\"", "unknown variant `bad`"),
        ("kind = \"kafka\"\nname = \"a\"", "unknown variant `kafka`"),
        (
            "kind = \"file\"\nname = \"a\"\npath = \"x\"\n[[sink]]\nkind = \"file\"\nname = \"a\"\npath = \"y\"",
            "two [[sink]]",
        ),
        (
            "kind = \"file\"\nname = \"a\"\npath = \"x\"\n[[sink]]\nkind = \"file\"\nname = \"b\"\npath = \"x\"",
            "write to x",
        ),
        ("kind = \"http\"\nname = \"a\"\nshape = \"json\"\nurl = \"http://a.example/\"", "must begin with https://"),
        ("kind = \"http\"\nname = \"a\"\nshape = \"json\"\nurl = \"https://u:p@a.example/\"", "url holds a password"),
        (
            "kind = \"http\"\nname = \"a\"\nshape = \"json\"\nurl = \"https://a/\"\nindex = \"x\"",
            "elasticsearch and splunk",
        ),
        ("kind = \"http\"\nname = \"a\"\nshape = \"json\"\nurl = \"https://a/\"\nusername = \"x\"", "together"),
        (
            "kind = \"http\"\nname = \"a\"\nshape = \"json\"\nurl = \"https://a/\"\ntoken-file = \"none\"",
            "none: No such file",
        ),
        (
            "kind = \"http\"\nname = \"a\"\nshape = \"json\"\nurl = \"https://a/\"\nca-file = \"empty\"",
            "holds no certificate",
        ),
        ("kind = \"syslog\"\nname = \"a\"\nserver = \"a.example\"", "host:port is expected"),
        (
            "kind = \"syslog\"\nname = \"a\"\nserver = \"a.example:514\"\ntransport = \"tcp\"",
            "goes only to this machine",
        ),
        ("kind = \"syslog\"\nname = \"a\"\nserver = \"a.example:6514\"\nca-file = \"empty\"", "holds no certificate"),
        ("kind = \"syslog\"\nname = \"a\"\nserver = \"a.example:6514\"\nkey-file = \"empty\"", "go together"),
    ];
    for (config, expected) in cases {
        let directory = Data::new();
        std::fs::write(directory.path().join("collector.toml"), format!("[[sink]]\n{config}\n")).unwrap();
        std::fs::write(directory.path().join("empty"), "").unwrap();
        let settings = Settings::new(directory.path().to_owned(), ([127, 0, 0, 1], 0).into());
        match start(settings).await {
            Err(StartError::Config(error)) => assert!(error.to_string().contains(expected), "{config}: {error}"),
            Err(other) => panic!("{config}: {other}"),
            Ok(_) => panic!("{config}: started"),
        }
    }
}

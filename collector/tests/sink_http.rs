//! Records over HTTP, to a real server: `golden/` holds the exact requests that Elasticsearch, Splunk and others get;
//! `UPDATE_GOLDEN=1` writes them anew, to be read before they are committed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use vitrine_collector::store::Retention;
use vitrine_collector::tls::Tls;
use vitrine_policy::record::{Record, Severity};
use world::{NOON, World, blocked, notice, record, state};

#[derive(Clone, Debug)]
struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
}

type Received = Arc<Mutex<Vec<Request>>>;

/// A server that answers as `answer` says of the request and its number, from 0.
async fn receiver<A>(answer: A) -> (String, Received)
where
    A: Fn(usize, &Request) -> Response + Clone + Send + Sync + 'static,
{
    let received = Received::default();
    let kept = Arc::clone(&received);
    let app = Router::new().fallback(async move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
        let request = Request { method, uri, headers, body: String::from_utf8(body.to_vec()).unwrap() };
        let mut kept = kept.lock().unwrap();
        let response = answer(kept.len(), &request);
        kept.push(request);
        response
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, received)
}

async fn world_with(sink: &str) -> World {
    World::with(|settings| {
        let config = format!("[[sink]]\nkind = \"http\"\nname = \"siem\"\n{sink}\n");
        std::fs::write(settings.data.join("collector.toml"), config).unwrap();
        std::fs::write(settings.data.join("siem.token"), "tok-7f3a\n").unwrap();
        settings.pace.first_retry = Duration::from_millis(20);
        settings.pace.longest_retry = Duration::from_millis(100);
    })
    .await
}

/// What Elasticsearch says of a bulk request: a status for each document, by its sequence number.
fn bulk(request: &Request, status: impl Fn(u64) -> u16) -> Response {
    let documents = request.body.lines().skip(1).step_by(2);
    let items: Vec<Value> = documents
        .map(|line| {
            let document: Value = serde_json::from_str(line).unwrap();
            let status = status(document["metadata"]["sequence"].as_u64().unwrap());
            match status {
                201 => json!({"create": {"status": 201}}),
                409 => json!({"create": {"status": 409, "error": {"type": "version_conflict_engine_exception"}}}),
                429 => json!({"create": {"status": 429, "error": {
                    "type": "es_rejected_execution_exception", "reason": "rejected execution"}}}),
                _ => json!({"create": {"status": status, "error": {
                    "type": "document_parsing_exception", "reason": "[1:2] failed to parse field [file.name]"}}}),
            }
        })
        .collect();
    axum::Json(json!({"items": items})).into_response()
}

fn check_golden(name: &str, request: &Request) {
    let mut text = format!("{} {}\n", request.method, request.uri);
    for header in [header::CONTENT_TYPE, header::AUTHORIZATION] {
        if let Some(value) = request.headers.get(&header) {
            text.push_str(&format!("{header}: {}\n", value.to_str().unwrap()));
        }
    }
    text.push_str(&format!("\n{}\n", request.body));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "{}: UPDATE_GOLDEN=1 writes it anew", path.display());
}

/// One of each, with names that somebody chose with care.
fn two() -> [Record; 2] {
    let mut refused = blocked(1);
    if let vitrine_policy::record::Event::Transfer(transfer) = &mut refused.event {
        transfer.file.path = "/srv/a\"\n{\"create\":{}}\n\u{202e}fdp.寒食帖\u{7f}.tif".into();
    }
    [refused, record(2, NOON + 1234, notice(Severity::High))]
}

#[tokio::test]
async fn each_shape_is_as_its_server_expects() {
    let cases = [
        ("elasticsearch", "token-file = \"siem.token\"\nindex = \"vitrine-dlp\"", "elasticsearch.http"),
        ("splunk-hec", "token-file = \"siem.token\"\nindex = \"dlp\"", "splunk-hec.http"),
        ("json", "username = \"vitrine\"\npassword-file = \"siem.token\"", "json.http"),
        ("ndjson", "token-file = \"siem.token\"", "ndjson.http"),
    ];
    for (shape, more, golden) in cases {
        let (url, received) = receiver(|_, request| match request.uri.path() {
            "/base/_bulk" => bulk(request, |_| 201),
            _ => axum::Json(json!({"text": "Success", "code": 0})).into_response(),
        })
        .await;
        let world = world_with(&format!("shape = \"{shape}\"\nurl = \"{url}/base/\"\n{more}")).await;
        world.send(&two()).await;
        let state = state(&world, "both are there", |state| state.delivered == 2).await;
        assert_eq!(state.target, url, "a path can hold a secret");
        let received = received.lock().unwrap().clone();
        assert_eq!(received.len(), 1);
        check_golden(golden, &received[0]);
        // Whatever a file is called, the lines are as many as they should be, and each is JSON.
        let lines: Vec<Value> = received[0].body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            lines.len(),
            match shape {
                "elasticsearch" => 4,
                "json" => 1,
                _ => 2,
            }
        );
    }
}

#[tokio::test]
async fn what_elasticsearch_refuses_is_laid_aside_and_blocks_nothing() {
    let (url, received) =
        receiver(|_, request| bulk(request, |sequence| if sequence % 10 == 3 { 400 } else { 201 })).await;
    let world = world_with(&format!("shape = \"elasticsearch\"\nurl = \"{url}\"")).await;
    world.send(&(1..=30).map(blocked).collect::<Vec<_>>()).await;
    world.send(&[blocked(31)]).await;
    let state = state(&world, "all were tried", |state| state.delivered == 28).await;
    assert_eq!((state.refused, state.behind, state.error), (3, 0, None));
    let refused = world.store().await.refused("siem".into(), 10).await.unwrap().unwrap();
    let sequences: Vec<Value> = refused
        .iter()
        .map(|refused| serde_json::from_str::<Value>(&refused.body).unwrap()["metadata"]["sequence"].clone())
        .collect();
    assert_eq!(sequences, [23, 13, 3]);
    assert!(refused[0].reason.contains("failed to parse field [file.name]"), "{}", refused[0].reason);
    let (code, out, _) = world.run(&["sinks", "--refused", "siem", "--limit", "2"]);
    assert!(code == 1 && out.matches("document_parsing_exception").count() == 2, "{out}");
    assert_eq!(world.run(&["sinks", "--refused", "nobody"]).0, 2);
    assert!(received.lock().unwrap().len() <= 3, "nothing was sent again");
}

#[tokio::test]
async fn what_elasticsearch_has_no_room_for_comes_again_under_the_same_id() {
    let (url, received) = receiver(|number, request| match number {
        // A part was taken, and for the rest there was no room.
        0 => bulk(request, |sequence| if sequence > 5 { 429 } else { 201 }),
        _ => bulk(request, |sequence| if sequence > 5 { 201 } else { 409 }),
    })
    .await;
    let world = world_with(&format!("shape = \"elasticsearch\"\nurl = \"{url}\"")).await;
    world.send(&(1..=10).map(blocked).collect::<Vec<_>>()).await;
    let state = state(&world, "all are there", |state| state.delivered == 10).await;
    assert_eq!((state.refused, state.failures), (0, 0));
    let received = received.lock().unwrap().clone();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].body, received[1].body);
}

#[tokio::test]
async fn one_record_that_a_server_cannot_read_holds_up_no_other() {
    for (shape, status) in [("ndjson", 400), ("splunk-hec", 400), ("json", 413), ("elasticsearch", 413)] {
        let (url, received) = receiver(move |_, request| {
            if request.body.contains("\"sequence\":77,") {
                return (StatusCode::from_u16(status).unwrap(), "no, not this one").into_response();
            }
            if request.uri.path().ends_with("/_bulk") { bulk(request, |_| 201) } else { "{}".into_response() }
        })
        .await;
        let world = world_with(&format!("shape = \"{shape}\"\nurl = \"{url}\"")).await;
        world.send(&(1..=200).map(blocked).collect::<Vec<_>>()).await;
        let state = state(&world, "all but one are there", |state| state.delivered == 199).await;
        assert_eq!((state.refused, state.behind), (1, 0), "{shape}");
        let refused = world.store().await.refused("siem".into(), 10).await.unwrap().unwrap();
        assert!(refused[0].reason.contains(&format!("{status}: no, not this one")), "{}", refused[0].reason);
        // Halves of halves: not one request for each record.
        assert!(received.lock().unwrap().len() < 20);
    }
}

#[tokio::test]
async fn a_server_that_refuses_everything_is_asked_again_before_records_are_laid_aside() {
    let (url, received) =
        receiver(|number, _| if number < 9 { StatusCode::BAD_REQUEST.into_response() } else { "{}".into_response() })
            .await;
    let world = world_with(&format!("shape = \"ndjson\"\nurl = \"{url}\"")).await;
    world.send(&[blocked(1), blocked(2)]).await;
    let state = state(&world, "both are there", |state| state.delivered == 2).await;
    assert_eq!(state.refused, 0);
    assert_eq!(received.lock().unwrap().len(), 10);
}

#[tokio::test]
async fn a_server_that_was_away_gets_everything_in_order() {
    for trouble in [401, 404, 429, 500, 503] {
        let (url, received) = receiver(move |number, request| {
            if number < 4 {
                return (StatusCode::from_u16(trouble).unwrap(), "come back").into_response();
            }
            // Enough of a receiver to see what it is given.
            assert!(!request.body.is_empty());
            StatusCode::NO_CONTENT.into_response()
        })
        .await;
        let world = world_with(&format!("shape = \"ndjson\"\nurl = \"{url}\"")).await;
        for first in (1..=600).step_by(200) {
            world.send(&(first..first + 200).map(blocked).collect::<Vec<_>>()).await;
        }
        state(&world, "all are there", |state| state.delivered == 600 && state.error.is_none()).await;
        let mut times: HashMap<u64, u32> = HashMap::new();
        let mut taken = Vec::new();
        for (number, request) in received.lock().unwrap().iter().enumerate() {
            for line in request.body.lines() {
                let sequence = Record::from_ocsf(line).unwrap().sequence;
                *times.entry(sequence).or_default() += 1;
                if number >= 4 {
                    taken.push(sequence);
                }
            }
        }
        assert_eq!(taken, (1..=600).collect::<Vec<_>>(), "{trouble}: each once, in order");
        assert!(times[&1] > 1);
    }
}

#[tokio::test]
async fn a_server_that_talks_without_end_is_cut_off() {
    let (url, _) = receiver(|_, _| "x".repeat(5 << 20).into_response()).await;
    let world = world_with(&format!("shape = \"ndjson\"\nurl = \"{url}\"")).await;
    world.send(&[blocked(1)]).await;
    let state = state(&world, "it has failed", |state| state.failures > 0).await;
    assert_eq!(state.error.as_deref(), Some("the answer has more than 4 MiB"));
    assert_eq!(state.delivered, 0);
}

#[tokio::test]
async fn an_answer_that_is_not_elasticsearchs_is_no_receipt() {
    let (url, _) = receiver(|_, _| "<html>Welcome to the proxy</html>".into_response()).await;
    let world = world_with(&format!("shape = \"elasticsearch\"\nurl = \"{url}\"")).await;
    world.send(&[blocked(1)]).await;
    let state = state(&world, "it has failed", |state| state.failures > 0).await;
    assert!(state.error.unwrap().contains("check that url is Elasticsearch's"));
    assert_eq!((state.delivered, state.behind), (0, 1));
}

#[tokio::test]
async fn a_server_is_trusted_by_the_authority_that_is_named_and_by_no_other() {
    let server = World::with(|settings| settings.tls = Tls::Own).await;
    let authority = server.directory.path().join("authority.pem");
    let sink = format!("shape = \"ndjson\"\nurl = \"{}/v1/records\"", server.running.url);
    for (more, expected) in [
        (format!("ca-file = {authority:?}"), "the receiver answered 401"),
        (String::new(), "invalid peer certificate: UnknownIssuer"),
    ] {
        let world = world_with(&format!("{sink}\n{more}")).await;
        world.send(&[blocked(1)]).await;
        let error = state(&world, "it has failed", |state| state.failures > 0).await.error.unwrap();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_on_its_way_and_arrives_is_not_lost() {
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let may_go = Arc::new(Mutex::new(may_go));
    let (url, _) = receiver(move |_, _| {
        begun.send(()).unwrap();
        may_go.lock().unwrap().recv().unwrap();
        "{}".into_response()
    })
    .await;
    let world = world_with(&format!("shape = \"ndjson\"\nurl = \"{url}\"")).await;
    world.send(&[record(1, NOON, notice(Severity::Informational))]).await;
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
    let store = world.store().await;
    let retention = Retention { severities: vec![(Severity::Informational, 0)], ..Retention::default() };
    let later = jiff::Timestamp::now().as_millisecond() + 1000;
    assert_eq!(store.remove_old(&retention, later).await.unwrap().records, 1);
    assert_eq!(store.sinks().await.unwrap()[0].lost, 1);
    go.send(()).unwrap();
    let state = state(&world, "it has arrived", |state| state.delivered == 1).await;
    assert_eq!((state.lost, state.behind), (0, 0));
}

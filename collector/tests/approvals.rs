//! Approvals: who asks, who answers, who learns of it, and all others, who do not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use std::net::SocketAddr;

use reqwest::StatusCode;
use serde_json::Value;
use vitrine_collector::server::{Settings, start};
use vitrine_collector::store::{Retention, Role};
use vitrine_policy::approval::{Answer, Asked, Asker, Master, Request, State};
use world::{AGENT, NOON, World, client, csrf, good, is_postgres, refused, token};

const OTHER: &str = "0198c0de-0000-7000-8000-000000000002";

type Change = fn(&mut Request);

fn request(number: u8) -> Request {
    Request {
        agent: AGENT.into(),
        id: format!("{number:032x}"),
        user: Some(Asker { uid: 1004, name: "wen".into() }),
        file: "/home/wen/out/K2B_0012.jpg".into(),
        digest: Some("ab".repeat(32)),
        thumbnail: None,
        masters: vec![Master {
            path: "/srv/scans/masters/K2B_0012.tif".into(),
            collection: "masters".into(),
            content: Some("cd".repeat(32)),
            thumbnail: None,
        }],
        tier: "licensed".into(),
        destination: "courier disk".into(),
        target: "/media/courier/K2B_0012.jpg".into(),
        reason: "loan 14, agreed with the registrar".into(),
        window: 900_000,
        asked: NOON,
        lasts: 86_400,
    }
}

/// Sends a request with a token; gives the answer.
async fn send(world: &World, token: &str, request: &Request, left: u64) -> reqwest::Response {
    let address = world.url(&format!("/v1/approvals/{}", request.id));
    let asked = Asked { request: request.clone(), left };
    world.client.put(address).bearer_auth(token).json(&asked).send().await.unwrap()
}

async fn asked(world: &World, request: &Request) -> Answer {
    serde_json::from_value(good(send(world, &world.agent, request, 3600).await).await).unwrap()
}

async fn fetch(world: &World, token: &str, id: &str) -> reqwest::Response {
    world.client.get(world.url(&format!("/v1/approvals/{id}"))).bearer_auth(token).send().await.unwrap()
}

async fn stands(world: &World, request: &Request) -> Answer {
    serde_json::from_value(good(fetch(world, &world.agent, &request.id).await).await).unwrap()
}

async fn answer(world: &World, session: &str, number: &str, step: &str, note: &str) -> reqwest::Response {
    world.post(session, "/approvals", &[("number", number), ("step", step), ("note", note)]).await
}

#[tokio::test]
async fn an_analyst_answers_and_the_agent_learns_of_it_by_whom() {
    let world = World::new().await;
    let admin = world.set_up().await;
    let anna = world.user(&admin, "anna", "analyst").await;
    let (first, second) = (request(1), request(2));
    let waits = asked(&world, &first).await;
    assert_eq!((waits.state, &waits.fingerprint), (State::Pending, &first.fingerprint().unwrap()));
    assert_eq!(asked(&world, &first).await, waits, "what was lost on the way can be asked again");
    asked(&world, &second).await;
    assert_eq!(stands(&world, &first).await.state, State::Pending);

    let alerts = async || {
        let mut alerts = world.alerts().await;
        alerts.retain(|alert| alert["code"] == "approval-wanted");
        alerts
    };
    let raised = alerts().await;
    assert_eq!(raised.len(), 2);
    assert_eq!(
        (&raised[0]["severity"], &raised[0]["state"], &raised[0]["user"]),
        (&"medium".into(), &"open".into(), &"wen".into())
    );
    assert!(raised.iter().any(|alert| alert["explanation"].as_str().unwrap().contains("answer request 1 on the page")));

    let page = world.page("/approvals", &anna).await;
    for text in [
        "Approvals <b>2</b>",
        "wen asks that K2B_0012.jpg may go to courier disk",
        "“loan 14, agreed with the registrar”",
        "/srv/scans/masters/K2B_0012.tif",
        "15 minutes",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert_eq!(world.run(&["approvals"]).0, 1, "somebody waits");
    assert_eq!(answer(&world, &anna, "1", "approve", "by courier only").await.status(), StatusCode::SEE_OTHER);
    assert_eq!(answer(&world, &anna, "2", "deny", "").await.status(), StatusCode::SEE_OTHER);
    let (yes, no) = (stands(&world, &first).await, stands(&world, &second).await);
    assert_eq!((yes.state, yes.by.as_deref(), yes.note.as_str()), (State::Approved, Some("anna"), "by courier only"));
    assert_eq!((no.state, no.by.as_deref(), no.note.as_str()), (State::Denied, Some("anna"), ""));
    assert_eq!((&yes.id, &yes.fingerprint), (&first.id, &waits.fingerprint));

    let over = alerts().await;
    assert!(over.iter().all(|alert| alert["state"] == "resolved"), "{over:?}");
    assert!(over.iter().any(|alert| alert["explanation"] == "anna approved it."), "{over:?}");

    // Once, and whoever comes second is told.
    for step in ["approve", "deny"] {
        let second = answer(&world, &admin, "1", step, "").await;
        assert_eq!(second.status(), StatusCode::CONFLICT);
        assert!(second.text().await.unwrap().contains("Request 1: this request was answered already"));
    }
    assert_eq!(stands(&world, &first).await, yes);
    let page = world.page("/approvals", &anna).await;
    assert!(page.contains("Nobody waits for an approval") && page.contains("the workstation knows since"), "{page}");
    let log = world.page("/audit?kind=approval", &admin).await;
    for text in ["approval 1", "approved: wen on ", "note: by courier only", "denied: wen on "] {
        assert!(log.contains(text), "{text}: {log}");
    }
    assert!(world.run(&["audit", "export"]).1.contains(&waits.fingerprint), "what was shown is on record");
    let (code, listed, _) = world.run(&["approvals", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (code, &listed["over"][0]["state"], &listed["over"][1]["answered_by"]),
        (0, &"denied".into(), &"anna".into())
    );
    assert_eq!(world.run(&["audit", "verify"]).0, 0);
}

#[tokio::test]
async fn another_agent_learns_nothing_and_changes_nothing() {
    let world = World::new().await;
    let admin = world.set_up().await;
    let other = token(world.directory.path(), "other", Role::Agent).await;
    let own = request(1);
    asked(&world, &own).await;
    // It speaks for itself, and then it is known as itself.
    let its = Request { agent: OTHER.into(), ..request(1) };
    good(send(&world, &other, &its, 3600).await).await;
    assert_eq!(answer(&world, &admin, "1", "approve", "").await.status(), StatusCode::SEE_OTHER);

    let theirs: Answer = serde_json::from_value(good(fetch(&world, &other, &own.id).await).await).unwrap();
    assert_eq!(theirs.state, State::Pending, "the same id is another request");
    assert_ne!(theirs.fingerprint, own.fingerprint().unwrap());
    let forged = send(&world, &other, &own, 3600).await;
    assert!(refused(forged, StatusCode::FORBIDDEN).await.contains("belongs to agent"));
    let third = token(world.directory.path(), "third", Role::Agent).await;
    for stranger in [&third, &other] {
        refused(fetch(&world, stranger, &request(3).id).await, StatusCode::NOT_FOUND).await;
    }
    refused(fetch(&world, &third, &own.id).await, StatusCode::NOT_FOUND).await;
    refused(fetch(&world, &world.reader, &own.id).await, StatusCode::FORBIDDEN).await;
    refused(fetch(&world, "nonsense", &own.id).await, StatusCode::UNAUTHORIZED).await;
    // Nor does it itself make another request of one that was answered.
    let changed = Request { destination: "archive".into(), ..request(1) };
    refused(send(&world, &world.agent, &changed, 3600).await, StatusCode::CONFLICT).await;
    assert_eq!(stands(&world, &own).await.state, State::Approved);
}

#[tokio::test]
async fn who_may_not_answer_does_not() {
    let world = World::new().await;
    let admin = world.set_up().await;
    let own = request(1);
    asked(&world, &own).await;
    let viewer = world.user(&admin, "vera", "viewer").await;
    assert_eq!(answer(&world, &viewer, "1", "approve", "").await.status(), StatusCode::FORBIDDEN);
    let page = world.page("/approvals", &viewer).await;
    assert!(page.contains("for analysts") && !page.contains("value=\"approve\""), "{page}");
    // The user who asks, in whatever spelling of his name.
    for name in ["wen", "Wen@museum.example"] {
        let wen = world.user(&admin, name, "analyst").await;
        let said = answer(&world, &wen, "1", "approve", "").await;
        assert_eq!(said.status(), StatusCode::CONFLICT);
        assert!(said.text().await.unwrap().contains("you asked for this yourself"));
        assert!(!world.page("/approvals", &wen).await.contains("value=\"approve\""));
    }
    // A form of another site, of another session, or of nobody.
    let token = csrf(&world.page("/account", &admin).await);
    let others = csrf(&world.page("/account", &viewer).await);
    let form = |csrf: &str| [("number", "1".to_owned()), ("step", "approve".to_owned()), ("csrf", csrf.to_owned())];
    let post = || world.client.post(world.url("/approvals"));
    let cross = post().header("cookie", &admin).header("sec-fetch-site", "cross-site").form(&form(&token));
    assert_eq!(cross.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let cross = post().header("cookie", &admin).header("origin", "https://evil.example").form(&form(&token));
    assert_eq!(cross.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    for csrf in [&others, "", "x"] {
        let foreign = post().header("cookie", &admin).header("sec-fetch-site", "same-origin").form(&form(csrf));
        assert_eq!(foreign.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    }
    assert_eq!(post().form(&form(&token)).send().await.unwrap().status(), StatusCode::SEE_OTHER, "to the log-in");
    assert_eq!(
        post().bearer_auth(&world.agent).form(&form(&token)).send().await.unwrap().headers()["location"],
        "/login"
    );
    assert_eq!(answer(&world, &admin, "1", "maybe", "").await.status(), StatusCode::BAD_REQUEST);
    for number in ["2", "-1", "9223372036854775807"] {
        assert_eq!(answer(&world, &admin, number, "approve", "").await.status(), StatusCode::CONFLICT, "{number}");
    }
    assert_eq!(stands(&world, &own).await.state, State::Pending);
}

#[tokio::test]
async fn what_is_late_is_no_answer() {
    let world = World::new().await;
    let admin = world.set_up().await;
    let [unanswered, unfetched, short] = [1, 2, 3].map(request);
    asked(&world, &unanswered).await;
    asked(&world, &unfetched).await;
    assert_eq!(answer(&world, &admin, "2", "approve", "").await.status(), StatusCode::SEE_OTHER);
    let database = world.directory.by_hand();
    assert_eq!(database.execute("UPDATE approvals SET expires = 1"), 2);
    assert_eq!(stands(&world, &unanswered).await.state, State::Expired);
    let late = stands(&world, &unfetched).await;
    assert_eq!((late.state, late.by), (State::Expired, None), "approved, but the workstation was not there");
    let said = answer(&world, &admin, "1", "approve", "").await;
    assert_eq!(said.status(), StatusCode::CONFLICT);
    assert!(said.text().await.unwrap().contains("its time is over"));
    let page = world.page("/approvals", &admin).await;
    assert!(page.contains("not answered in time") && page.contains("has not fetched it"), "{page}");
    // No longer than the agent has left, whatever it was asked for.
    good(send(&world, &world.agent, &short, 1).await).await;
    world::until("its time is over", async || (stands(&world, &short).await.state == State::Expired).then_some(()))
        .await;

    // What is over goes with the remains.
    let store = world.store().await;
    let retention = Retention { remains: Some(1000), ..Retention::default() };
    let removed = store.remove_old(&retention, NOON * 2).await.unwrap();
    assert_eq!(removed.remains, 3);
    assert_eq!(fetch(&world, &world.agent, &short.id).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_flood_is_refused_and_takes_nothing_from_others() {
    let world = World::new().await;
    let admin = world.set_up().await;
    for number in 1..=16 {
        asked(&world, &request(number)).await;
    }
    let flood = send(&world, &world.agent, &request(17), 3600).await;
    assert_eq!(flood.headers()["retry-after"], "60");
    assert!(refused(flood, StatusCode::TOO_MANY_REQUESTS).await.contains("16 requests of this agent wait"));
    asked(&world, &request(16)).await;
    let other = token(world.directory.path(), "other", Role::Agent).await;
    good(send(&world, &other, &Request { agent: OTHER.into(), ..request(1) }, 3600).await).await;
    assert_eq!(answer(&world, &admin, "1", "deny", "").await.status(), StatusCode::SEE_OTHER);
    asked(&world, &request(17)).await;
    let database = world.directory.by_hand();
    database.execute(&format!("UPDATE approvals SET state = 'denied' WHERE agent = '{AGENT}'"));
    let mut taken = 17;
    let why = loop {
        let response = send(&world, &world.agent, &request(taken + 1), 3600).await;
        if response.status() != StatusCode::OK {
            break refused(response, StatusCode::TOO_MANY_REQUESTS).await;
        }
        taken += 1;
        database.execute("UPDATE approvals SET state = 'denied'");
    };
    assert_eq!(taken, 60);
    assert!(why.contains("60 times within an hour"), "{why}");
}

#[tokio::test]
async fn hostile_requests_are_refused_by_name_and_hostile_text_is_only_shown() {
    let world = World::new().await;
    let admin = world.set_up().await;
    let changes: [(Change, &str); 6] = [
        (|bad| bad.masters.clear(), "0 masters"),
        (|bad| bad.reason = "x".repeat(501), "`reason` has 501 characters"),
        (|bad| bad.lasts = u64::MAX, "`lasts`"),
        (|bad| bad.window = 0, "`window`"),
        (|bad| bad.digest = Some("../../etc/passwd".into()), "a digest is none"),
        (|bad| bad.user.as_mut().unwrap().name = "x".repeat(301), "`user`"),
    ];
    for (change, expected) in changes {
        let mut bad = request(1);
        change(&mut bad);
        let why = refused(send(&world, &world.agent, &bad, 3600).await, StatusCode::BAD_REQUEST).await;
        assert!(why.contains(expected), "{why}");
    }
    let put = |id: &str, body: String| {
        world.client.put(world.url(&format!("/v1/approvals/{id}"))).bearer_auth(&world.agent).body(body).send()
    };
    let id = request(1).id;
    for body in ["", "[]", "{\"left\":1}", "{\"request\":{},\"left\":1}"] {
        assert_eq!(put(&id, body.into()).await.unwrap().status(), StatusCode::BAD_REQUEST, "{body}");
    }
    assert_eq!(put(&id, "x".repeat(40_000)).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    let other = serde_json::to_string(&Asked { request: request(2), left: 1 }).unwrap();
    assert_eq!(put(&id, other).await.unwrap().status(), StatusCode::BAD_REQUEST, "the address is of another");
    assert!(world.page("/approvals", &admin).await.contains("Nobody waits"));

    let script = "<script>alert(1)</script>\u{202e}\u{0}\u{1b}[2J\"'><img src=x onerror=y>";
    let mut hostile = request(1);
    hostile.user.as_mut().unwrap().name = script.into();
    for text in
        [&mut hostile.file, &mut hostile.destination, &mut hostile.target, &mut hostile.tier, &mut hostile.reason]
    {
        *text = script.into();
    }
    (hostile.masters[0].path, hostile.masters[0].collection) = (script.into(), script.into());
    asked(&world, &hostile).await;
    let is_plain = |page: &str| {
        !page.contains("<script>alert")
            && !page.contains("<img src=x")
            && !page.contains(['\u{202e}', '\u{0}', '\u{1b}'])
    };
    let page = world.page("/approvals", &admin).await;
    assert!(page.contains("&#60;script&#62;alert(1)") || page.contains("&lt;script&gt;alert(1)"), "{page}");
    assert!(is_plain(&page), "{page}");
    assert_eq!(answer(&world, &admin, "1", "deny", script).await.status(), StatusCode::SEE_OTHER);
    for path in ["/approvals", "/audit?kind=approval"] {
        assert!(is_plain(&world.page(path, &admin).await), "{path}");
    }
    assert!(!world.run(&["approvals"]).1.contains(['\u{202e}', '\u{0}', '\u{1b}']));
}

#[tokio::test]
async fn pictures_are_shown_once_they_have_arrived_and_to_analysts_alone() {
    let world = World::new().await;
    let admin = world.set_up().await;
    let digest = blake3::hash(&world::jpeg()).to_hex().to_string();
    let mut own = request(1);
    (own.thumbnail, own.masters[0].thumbnail) = (Some(digest.clone()), Some("0".repeat(64)));
    asked(&world, &own).await;
    let picture = format!("/v1/evidence/{digest}");
    assert!(!world.page("/approvals", &admin).await.contains(&picture));
    let put = world.client.put(world.url(&picture)).bearer_auth(&world.agent).body(world::jpeg());
    assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);
    let page = world.page("/approvals", &admin).await;
    assert!(page.contains(&picture) && page.contains("no picture") && !page.contains(&"0".repeat(64)), "{page}");
    let viewer = world.user(&admin, "vera", "viewer").await;
    assert!(!world.page("/approvals", &viewer).await.contains(&picture));
}

#[tokio::test]
async fn another_collector_of_the_same_database_goes_on_with_it() {
    let world = World::new().await;
    let admin = world.set_up().await;
    let own = request(1);
    asked(&world, &own).await;
    let second = tempfile::tempdir().unwrap();
    let (data, World { directory, running, client: own_client, agent, reader }) = if is_postgres() {
        std::fs::copy(world.directory.path().join("database"), second.path().join("database")).unwrap();
        (second.path().to_owned(), world)
    } else {
        // SQLite is one collector's: it is started anew.
        (world.directory.path().to_owned(), world)
    };
    let first = if is_postgres() {
        Some(running)
    } else {
        running.stop().await;
        None
    };
    let running = start(Settings::new(data, SocketAddr::from(([127, 0, 0, 1], 0)))).await.unwrap();
    let other = World { directory, running, client: client(), agent, reader };
    assert_eq!(stands(&other, &own).await.state, State::Pending);
    assert_eq!(answer(&other, &admin, "1", "approve", "").await.status(), StatusCode::SEE_OTHER);
    let url = first.as_ref().map_or(other.running.url.clone(), |first| first.url.clone());
    let request = own_client.get(format!("{url}/v1/approvals/{}", own.id)).bearer_auth(&other.agent);
    let answer: Answer = serde_json::from_value(good(request.send().await.unwrap()).await).unwrap();
    assert_eq!((answer.state, answer.by.as_deref()), (State::Approved, Some("ines")));
    if let Some(first) = first {
        first.stop().await;
    }
}

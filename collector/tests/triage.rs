//! The list of alerts and the page of one: filters, pages, steps, history, views and files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use reqwest::StatusCode;
use vitrine_policy::record::{Event, Record};
use world::{NOON, World, csrf, record, refused};

/// An attempt of a user of its own, so that it is an alert of its own.
fn attempt(sequence: u64, user: &str, to: &str) -> Record {
    let mut transfer = world::transfer();
    transfer.user.as_mut().unwrap().name = user.into();
    let destination = transfer.destination.as_mut().unwrap();
    (destination.name, destination.target) = (to.into(), "/mnt/x.tif".into());
    record(sequence, NOON + i64::try_from(sequence).unwrap() * 1000, Event::Transfer(Box::new(transfer)))
}

/// Posts a form as the page would; gives status and place.
async fn post(world: &World, session: &str, path: &str, form: &[(&str, &str)]) -> (StatusCode, String) {
    let token = csrf(&world.page("/", session).await);
    let mut form = form.to_vec();
    form.push(("csrf", &token));
    let request = world.client.post(world.url(path)).header("cookie", session).form(&form);
    let response = request.send().await.unwrap();
    let place = response.headers().get("location").map_or("", |place| place.to_str().unwrap());
    (response.status(), place.to_owned())
}

/// Numbers of the alerts on a page of the list, as they stand there.
fn numbers(page: &str) -> Vec<u64> {
    page.split("href=\"/alerts/").skip(1).map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn an_alert_is_acknowledged_closed_and_reopened_and_all_of_it_is_told() {
    let world = World::new().await;
    let session = world.set_up().await;
    world.send(&[attempt(1, "wen", "courier disk"), attempt(2, "mei", "website")]).await;
    let page = world.page("/alerts/1", &session).await;
    for text in ["Nobody has answered for it yet", "Process lineage", "href=\"/alerts/2\"", "this alert", "Acknowledge"]
    {
        assert!(page.contains(text), "{text}");
    }
    let step = async |step: &str, verdict: &str| {
        let form =
            [("step", step), ("verdict", verdict), ("id", "1"), ("note", "asked <b>wen</b>"), ("back", "/alerts/1")];
        post(&world, &session, "/triage", &form).await
    };
    assert_eq!(step("acknowledge", "").await, (StatusCode::SEE_OTHER, "/alerts/1".into()));
    assert_eq!(step("close", "").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(step("close", "11").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(step("close", "5").await.0, StatusCode::SEE_OTHER);
    let alert = world.alerts().await.into_iter().find(|alert| alert["id"] == 1).unwrap();
    assert_eq!((&alert["state"], &alert["closed"]["verdict"]), (&"closed".into(), &"benign".into()));
    assert_eq!(step("reopen", "").await.0, StatusCode::SEE_OTHER);
    let page = world.page("/alerts/1", &session).await;
    for text in ["acknowledged it", "closed it: benign", "reopened it", "<b>ines</b>"] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("<b>wen</b>"));
    let none = world.client.get(world.url("/alerts/99")).header("cookie", &session).send().await.unwrap();
    refused(none, StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn many_are_closed_at_once() {
    let world = World::new().await;
    let session = world.set_up().await;
    world.send(&[attempt(1, "wen", "a"), attempt(2, "mei", "a"), attempt(3, "lin", "a")]).await;
    let form = [("step", "close"), ("verdict", "6"), ("id", "1"), ("id", "3"), ("id", "77"), ("back", "/?state=open")];
    assert_eq!(post(&world, &session, "/triage", &form).await, (StatusCode::SEE_OTHER, "/?state=open".into()));
    assert_eq!(numbers(&world.page("/?state=closed", &session).await), [3, 1]);
    assert_eq!(numbers(&world.page("/", &session).await), [2]);
    assert_eq!(post(&world, &session, "/triage", &[("step", "acknowledge")]).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn filters_stand_in_the_address() {
    let world = World::new().await;
    let session = world.set_up().await;
    world
        .send(&[attempt(1, "wen", "courier disk"), attempt(2, "mei", "web server"), attempt(3, "lin", "archive")])
        .await;
    let since = yesterday();
    for (filter, expected) in [
        ("state=all", &[3, 2, 1][..]),
        ("user=mei", &[2]),
        ("host=scan-07", &[3, 2, 1]),
        ("host=scan-08", &[]),
        ("severity=high", &[3, 2, 1]),
        ("severity=critical", &[]),
        ("to=courier", &[1]),
        ("q=K2B+archi", &[3]),
        ("q=%22OR%22+NEAR%28+%2A+%5E", &[]),
        ("q=%27%3B+DROP+TABLE+alerts%3B--", &[]),
        ("q=%00%22", &[]),
        ("q=%22+%2A%22", &[3, 2, 1]),
        ("state=nonsense&severity=nonsense&before=x&from=never", &[3, 2, 1]),
        ("until=2020-01-01", &[]),
        ("from=2999-01-01", &[]),
    ] {
        let page = world.page(&format!("/?{filter}"), &session).await;
        let found = numbers(&page);
        assert_eq!(found, expected, "{filter}");
    }
    let page = world.page(&format!("/?from={since}&until=2999-01-01"), &session).await;
    assert_eq!(numbers(&page), [3, 2, 1]);
}

/// The day before today, so that no midnight comes between.
fn yesterday() -> String {
    let output = std::process::Command::new("date").args(["-d", "yesterday", "+%F"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn pages_follow_each_other_without_a_gap() {
    let world = World::new().await;
    let session = world.set_up().await;
    let records: Vec<_> = (1..=120).map(|number| attempt(number, &format!("user{number}"), "a")).collect();
    world.send(&records).await;
    let first = world.page("/", &session).await;
    assert_eq!(numbers(&first), (71..=120).rev().collect::<Vec<_>>());
    assert!(!first.contains("rel=\"prev\"") && first.contains("before=71\" rel=\"next\""));
    assert_eq!(numbers(&world.page("/?before=71", &session).await), (21..=70).rev().collect::<Vec<_>>());
    let last = world.page("/?before=21", &session).await;
    assert_eq!(numbers(&last), (1..=20).rev().collect::<Vec<_>>());
    assert!(!last.contains("rel=\"next\""));
    assert_eq!(numbers(&world.page("/?after=20", &session).await), (21..=70).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn files_hold_the_filtered_list_and_no_formula() {
    let world = World::new().await;
    let session = world.set_up().await;
    world.send(&[attempt(1, "=cmd|'/c calc'!A1", "a"), attempt(2, "mei", "a")]).await;
    let get = async |path: &str| world.client.get(world.url(path)).header("cookie", &session).send().await.unwrap();
    let csv = get("/alerts.csv?state=all").await;
    assert!(csv.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
    let text = csv.text().await.unwrap();
    assert_eq!(text.lines().count(), 3);
    assert!(text.contains("\"'=cmd|'/c calc'!A1\"") && !text.contains("\"=cmd"), "{text}");
    let json = get("/alerts.json?user=mei").await.json::<serde_json::Value>().await.unwrap();
    assert_eq!(json["alerts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_filter_is_kept_under_a_name() {
    let world = World::new().await;
    let session = world.set_up().await;
    let keep = [("step", "keep"), ("name", "Night <shift>"), ("query", "state=open&severity=high")];
    let (status, place) = post(&world, &session, "/views", &keep).await;
    assert_eq!((status, place.as_str()), (StatusCode::SEE_OTHER, "/?state=open&severity=high"));
    let page = world.page("/", &session).await;
    assert!(page.contains("Night &#60;shift&#62;") || page.contains("Night &lt;shift&gt;"));
    let hostile = [("step", "keep"), ("name", "x"), ("query", "a\r\nSet-Cookie: b=c")];
    assert_eq!(post(&world, &session, "/views", &hostile).await.0, StatusCode::BAD_REQUEST);
    let forget = [("step", "forget"), ("name", "Night <shift>"), ("query", "")];
    assert_eq!(post(&world, &session, "/views", &forget).await.0, StatusCode::SEE_OTHER);
    assert!(!world.page("/", &session).await.contains("Night"));
}

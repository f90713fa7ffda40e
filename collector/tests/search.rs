//! Search over everything, and what a workstation told around an alert.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use std::time::Instant;

use reqwest::StatusCode;
use vitrine_policy::record::{Event, Record, Severity};
use world::{NOON, World, is_postgres, notice, record, until};

const KINDS: [&str; 5] = ["objects", "hosts", "users", "alerts", "records"];

fn copy(number: u64, user: &str, file: &str, master: &str) -> Record {
    let mut transfer = world::transfer();
    transfer.user.as_mut().unwrap().name = user.into();
    transfer.file.path = file.into();
    transfer.masters[0].path = master.into();
    record(number, NOON, Event::Transfer(Box::new(transfer)))
}

fn address(path: &str, pairs: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("{path}?{query}")
}

/// Which kinds a page has found.
fn kinds(page: &str) -> Vec<&'static str> {
    KINDS.into_iter().filter(|kind| page.contains(&format!("<h3 id=\"{kind}\">"))).collect()
}

/// Waits until the search knows of a text.
async fn known(world: &World, session: &str, text: &str) {
    let path = format!("/search?q={text}");
    until(text, async || world.page(&path, session).await.contains("<h3 id=\"records\">").then_some(())).await;
}

#[tokio::test]
async fn everything_that_fits_stands_under_its_kind() {
    let world = World::new().await;
    let session = world.set_up().await;
    let mut quiet = copy(2, "Mei", "/home/mei/out/寒食帖_web.jpg", "/m/寒食帖.tif");
    quiet.host.name = "Scan-07".into();
    let mut told = record(3, NOON, notice(Severity::Low));
    let Event::Notice(told_of) = &mut told.event else { panic!() };
    told_of.subject = Some("/etc/vitrine/policy.toml".into());
    world.send(&[copy(1, "wen", "/home/wen/out/K2B_0012.tif", "/m/K2B_0012.tif"), quiet, told]).await;
    known(&world, &session, "policy.toml").await;
    for (query, expected) in [
        ("K2B_0012", &["objects", "alerts", "records"][..]),
        ("k2b", &["objects", "alerts", "records"]),
        ("0012.tif", &["objects", "alerts", "records"]),
        ("wen", &["users", "records"]),
        ("WEN", &["users", "records"]),
        ("mei", &["users", "records"]),
        ("%E5%AF%92%E9%A3%9F", &["objects", "alerts", "records"]),
        ("scan-07", &["hosts", "records"]),
        ("AN-0", &["hosts"]),
        ("courier+wen", &["users", "records"]),
        ("cou", &["alerts", "records"]),
        ("policy-refused", &["records"]),
        ("policy.toml", &["records"]),
        ("wen+nothing", &["users"]),
        ("nothing", &[]),
        ("", &[]),
    ] {
        let page = world.page(&format!("/search?q={query}"), &session).await;
        assert_eq!(kinds(&page), expected, "{query}");
    }
    let page = world.page("/search?q=wen", &session).await;
    for text in [
        "href=\"/?state=all&#38;user=wen\"",
        "href=\"/alerts/1\"",
        "id=\"search\" name=\"q\" type=\"search\" value=\"wen\"",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
}

#[tokio::test]
async fn a_search_is_words_and_never_syntax() {
    let world = World::new().await;
    let session = world.set_up().await;
    world.send(&[copy(1, "wen", "/home/wen/out/x.tif", "/m/x.tif")]).await;
    known(&world, &session, "wen").await;
    let hostile = [
        "\"",
        "\"\"",
        "*",
        "text:wen",
        "wen OR mei",
        "NEAR(wen x)",
        "wen NOT x",
        "^wen",
        "{text}:wen",
        "-wen",
        "a\u{0}b",
        "%",
        "'; DROP TABLE records; --",
        "\u{202e}wen",
        "<script>alert(1)</script>",
        "wen\" OR \"x",
        "\\",
        "[",
        "((((((((((",
        "_",
    ];
    for query in hostile {
        let address = address("/search", &[("q", query)]);
        let response = world.client.get(world.url(&address)).header("cookie", &session).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{query}");
        let page = response.text().await.unwrap();
        assert!(!page.contains("<script>") && !page.contains('\u{202e}') && !page.contains('\u{0}'), "{query}");
        for filter in ["q", "to", "collection", "outcome", "from", "before"] {
            world.page(&self::address("/objects", &[(filter, query)]), &session).await;
        }
    }
    assert_eq!(kinds(&world.page("/search?q=wen", &session).await), ["users", "records"]);
    assert_eq!(kinds(&world.page("/search?q=wen+OR+mei", &session).await), ["users"], "OR is a word");
    world.page("/search?q=a&q=b&q=%ff%fe", &session).await;
}

#[tokio::test]
async fn a_search_shows_so_many_and_ends_in_time() {
    let world = World::new().await;
    let session = world.set_up().await;
    let records: Vec<_> = (1..=400)
        .map(|n| copy(n, &format!("user{n}"), &format!("/out/scan{n}.tif"), &format!("/masters/scan{n}.tif")))
        .collect();
    for batch in records.chunks(200) {
        world.send(batch).await;
    }
    known(&world, &session, "scan400").await;
    let page = world.page("/search?q=scan", &session).await;
    assert_eq!(page.matches("<a href=\"/objects/").count(), 10);
    assert_eq!(page.split_once("<h3 id=\"records\">").unwrap().1.matches("<th scope=\"row\">").count(), 25);
    // A beginning of more words than are tried says so; a whole word does not.
    assert!(page.contains("a whole word finds") || is_postgres());
    assert!(!world.page("/search?q=scan400", &session).await.contains("a whole word finds"));
    let users = world.page("/search?q=user", &session).await;
    assert_eq!(users.matches("<a href=\"/?state=all&#38;user=user").count(), 10);
    // The newest come first, and whole words before what they begin.
    let (_, found) = page.split_once("<h3 id=\"records\">").unwrap();
    assert!(found.find("scan400.tif").unwrap() < found.find("scan399.tif").unwrap());
    let begun = Instant::now();
    let many = "a ".repeat(5000);
    world.page(&address("/search", &[("q", &many)]), &session).await;
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_alert_stands_in_what_its_workstation_told_around_it() {
    let world = World::new().await;
    let session = world.set_up().await;
    let minute = 60_000;
    let at = |number: u64, minutes: i64, code: &str| {
        let mut told = record(number, NOON + minutes * minute, notice(Severity::Low));
        let Event::Notice(notice) = &mut told.event else { panic!() };
        notice.code = code.into();
        told
    };
    let mut refused = copy(3, "wen", "/out/x.tif", "/m/x.tif");
    refused.time = NOON;
    world
        .send(&[
            at(1, -16, "long-before"),
            at(2, -14, "shortly-before"),
            refused,
            at(4, 14, "shortly-after"),
            at(5, 16, "long-after"),
        ])
        .await;
    let page = world.page("/alerts/1", &session).await;
    let (_, around) = page.split_once("id=\"around\"").unwrap();
    let place = |text: &str| around.find(text).unwrap_or_else(|| panic!("{text} in {around}"));
    assert!(place("shortly-before") < place("this alert") && place("this alert") < place("shortly-after"));
    assert!(!around.contains("long-before") && !around.contains("long-after"));
    // However much the workstation tells, the alert stands in it.
    let many: Vec<_> =
        (6..=255).map(|n| at(n, -10, "chatter")).chain((256..=505).map(|n| at(n, 10, "chatter"))).collect();
    world.send(&many).await;
    let page = world.page("/alerts/1", &session).await;
    let (_, around) = page.split_once("id=\"around\"").unwrap();
    assert_eq!(around.matches("chatter").count(), 199);
    assert!(around.contains("this alert") && around.contains("There are more records"));
}

#[tokio::test]
async fn every_script_is_a_file_of_this_server() {
    let world = World::new().await;
    let session = world.set_up().await;
    let page = world.page("/hosts", &session).await;
    assert_eq!(page.matches("<script").count(), 2);
    for file in ["htmx.js", "keys.js"] {
        assert!(page.contains(&format!("<script src=\"/assets/{file}\" defer></script>")));
        let script = world.client.get(world.url(&format!("/assets/{file}"))).send().await.unwrap();
        assert_eq!(script.headers()["content-type"], "text/javascript; charset=utf-8");
        let policy = script.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
    }
}

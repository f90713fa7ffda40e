//! Masters that something happened to: their list, what went where, their files, and who may see them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use reqwest::StatusCode;
use vitrine_collector::store::Retention;
use vitrine_policy::decision::Verdict;
use vitrine_policy::record::{Disposition, Event, Master, Operation, Recognised, Record, Severity, Transfer};
use world::{NOON, World, is_postgres, record, refused, until};

fn master(path: &str) -> Master {
    let collection = "masters".into();
    Master { path: path.into(), collection, object: None, thumbnail: None, recognised: None, sent: None }
}

fn happened(number: u64, transfer: Transfer) -> Record {
    record(number, NOON + i64::try_from(number).unwrap() * 1000, Event::Transfer(Box::new(transfer)))
}

fn refused_copy(number: u64, path: &str) -> Record {
    let mut transfer = world::transfer();
    transfer.masters = vec![master(path)];
    happened(number, transfer)
}

fn allowed(path: &str, to: &str, sent: Option<f64>, recognised: Option<(f64, f64)>) -> Transfer {
    let mut transfer = world::transfer();
    (transfer.verdict, transfer.disposition) = (Verdict::Allow, Disposition::Allowed);
    transfer.destination.as_mut().unwrap().name = to.into();
    let kind = "derivative".into();
    let recognised = recognised.map(|(coverage, scale)| Recognised { kind, scale, coverage, score: 0.9, inside: None });
    transfer.masters = vec![Master { sent, recognised, ..master(path) }];
    transfer
}

/// Keys of the objects on a page, in its order.
fn keys(page: &str) -> Vec<String> {
    page.split("<a href=\"/objects/").skip(1).map(|part| part.split('"').next().unwrap().to_owned()).collect()
}

/// Names of the masters on a page of the list, in its order.
fn names(page: &str) -> Vec<String> {
    let names = page.split("<a href=\"/objects/").skip(1).map(|part| part.split_once('>').unwrap().1);
    names.map(|part| part.split('<').next().unwrap().to_owned()).collect()
}

/// A page once it holds a text: lists follow the records within a second.
async fn page_with(world: &World, session: &str, path: &str, text: &str) -> String {
    until(text, async || Some(world.page(path, session).await).filter(|page| page.contains(text))).await
}

#[tokio::test]
async fn everything_that_happened_to_a_master_is_on_its_page() {
    let world = World::new().await;
    let session = world.set_up().await;
    let mut open = world::transfer();
    (open.operation, open.disposition, open.destination) = (Operation::Open, Disposition::Allowed, None);
    open.masters = vec![Master { object: Some("K2B".into()), ..master("/m/a.tif") }];
    let mut taken_back = allowed("/m/a.tif", "website", Some(0.9), Some((0.5, 1.0)));
    taken_back.disposition = Disposition::Quarantined;
    world
        .send(&[
            happened(1, open),
            happened(2, allowed("/m/a.tif", "website", Some(0.25), Some((0.25, 1.0)))),
            happened(3, allowed("/m/a.tif", "website", Some(0.41), Some((0.2, 0.9)))),
            happened(4, taken_back),
            happened(5, allowed("/m/a.tif", "archive", None, Some((1.0, 0.3)))),
            happened(6, allowed("/m/a.tif", "host", None, None)),
            refused_copy(7, "/m/b.tif"),
        ])
        .await;
    let list = page_with(&world, &session, "/objects", "b.tif").await;
    assert_eq!(names(&list).len(), 2);
    let a = keys(&list)[names(&list).iter().position(|name| name == "a.tif").unwrap()].clone();
    let page = world.page(&format!("/objects/{a}"), &session).await;
    let (alert, _) = page.split_once("/alerts/").unwrap().1.split_once('"').unwrap();
    let alert = world.page(&format!("/alerts/{alert}"), &session).await;
    // The latest of its records leads the alert.
    let b = keys(&list)[names(&list).iter().position(|name| name == "b.tif").unwrap()].clone();
    assert!(alert.contains(&format!("<a href=\"/objects/{b}\">b.tif</a>")), "the alert leads to the object");
    // What was taken back is not there, and what is no larger than public is told by its size alone.
    for text in [
        "41.0 %<small>as the workstation counted",
        "value=\"0.41\"",
        "25 % at scale 1.00",
        "none counted",
        "100 % at scale 0.30",
        "unknown<small>what went there was not measured",
        "90.0 % would be there",
        "41.0 % there with it",
        "arrived and was taken away",
        "opened",
        "<dt>Object</dt><dd>K2B</dd>",
        "<dt>Went through</dt><dd>4</dd>",
        "<dt>Refused or taken back</dt><dd>1</dd>",
        "<dt>Opened</dt><dd>1</dd>",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
    assert_eq!(page.matches("<th scope=\"row\"><time").count(), 6);
    let order: Vec<_> = ["12:00:06", "12:00:05", "12:00:04", "12:00:03", "12:00:02", "12:00:01"]
        .iter()
        .map(|time| page.split_once("id=\"history\"").unwrap().1.find(&format!("T{time}Z")).unwrap())
        .collect();
    assert!(order.is_sorted(), "the newest comes first");
}

#[tokio::test]
async fn two_workstations_count_for_themselves() {
    let world = World::new().await;
    let session = world.set_up().await;
    world.send(&[happened(1, allowed("/m/a.tif", "website", Some(0.3), None))]).await;
    let token = world::token(world.directory.path(), "second", vitrine_collector::store::Role::Agent).await;
    let mut other = happened(1, allowed("/m/a.tif", "website", Some(0.2), None));
    other.host.agent = "0198c0de-0000-7000-8000-000000000002".into();
    let request = world.client.post(world.url("/v1/records")).bearer_auth(token).body(world::lines(&[other]));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    let list = page_with(&world, &session, "/objects", "<td class=\"number\">2</td>").await;
    let page = world.page(&format!("/objects/{}", keys(&list)[0]), &session).await;
    for text in ["at least 30.0 %", "of 2 workstations counted; 50.0 % if their parts do not overlap"] {
        assert!(page.contains(text), "{text} in {page}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_a_gap() {
    let world = World::new().await;
    let session = world.set_up().await;
    let records: Vec<_> = (1..=120).map(|n| refused_copy(n, &format!("/m/scan{n:03}.tif"))).collect();
    world.send(&records).await;
    let first = page_with(&world, &session, "/objects", "scan120.tif").await;
    let beside = |page: &str, rel: &str| {
        let (before, _) = page.split_once(&format!("\" rel=\"{rel}\"")).unwrap();
        before.rsplit_once("href=\"").unwrap().1.replace("&#38;", "&").replace("&amp;", "&")
    };
    let expected = |from: u64, to: u64| (from..=to).rev().map(|n| format!("scan{n:03}.tif")).collect::<Vec<_>>();
    assert!(!first.contains("rel=\"prev\""));
    assert_eq!(names(&first), expected(71, 120));
    let second = world.page(&beside(&first, "next"), &session).await;
    assert_eq!(names(&second), expected(21, 70));
    let last = world.page(&beside(&second, "next"), &session).await;
    assert_eq!(names(&last), expected(1, 20));
    assert!(!last.contains("rel=\"next\""));
    assert_eq!(names(&world.page(&beside(&last, "prev"), &session).await), expected(21, 70));
    // By text, too, where the order is another.
    let found = world.page("/objects?q=tif", &session).await;
    assert_eq!(names(&found), expected(71, 120));
    let second = world.page(&beside(&found, "next"), &session).await;
    assert_eq!(names(&second), expected(21, 70));
    assert_eq!(names(&world.page(&beside(&second, "prev"), &session).await), expected(71, 120));

    // A master's own history.
    let records: Vec<_> = (121..=240).map(|n| refused_copy(n, "/m/scan001.tif")).collect();
    world.send(&records).await;
    let list = page_with(&world, &session, "/objects?q=scan001", "<td class=\"number\">121</td>").await;
    let address = format!("/objects/{}", keys(&list)[0]);
    let mut sizes = Vec::new();
    let mut next = Some(address.clone());
    while let Some(path) = next {
        let page = world.page(&path, &session).await;
        sizes.push(page.matches("<th scope=\"row\"><time").count());
        next = page.contains("rel=\"next\"").then(|| beside(&page, "next"));
    }
    assert_eq!(sizes, [50, 50, 21]);
    for nonsense in ["?before=x", "?before=-1", "?before=99999999999999999999"] {
        world.page(&format!("{address}{nonsense}"), &session).await;
    }
}

#[tokio::test]
async fn filters_stand_in_the_address() {
    let world = World::new().await;
    let session = world.set_up().await;
    let mut album = allowed("/albums/c.tif", "archive", None, None);
    album.masters[0].collection = "albums & <maps>".into();
    let mut elsewhere = world::transfer();
    elsewhere.destination.as_mut().unwrap().name = "elsewhere".into();
    elsewhere.destination.as_mut().unwrap().place =
        Some(vitrine_policy::record::Place::Host { name: None, address: None, port: 22 });
    elsewhere.destination.as_mut().unwrap().target = "198.51.100.7:22".into();
    elsewhere.masters = vec![master("/m/d.tif")];
    world
        .send(&[
            refused_copy(1, "/m/a.tif"),
            happened(2, allowed("/m/b.tif", "website", None, None)),
            happened(3, album),
            happened(4, elsewhere),
        ])
        .await;
    page_with(&world, &session, "/objects", "d.tif").await;
    for (filter, expected) in [
        ("", &["d.tif", "c.tif", "b.tif", "a.tif"][..]),
        ("outcome=went", &["c.tif", "b.tif"]),
        ("outcome=refused", &["d.tif", "a.tif"]),
        ("collection=albums+%26+%3Cmaps%3E", &["c.tif"]),
        ("to=website", &["b.tif"]),
        ("to=website&outcome=refused", &[]),
        ("to=courier+disk&outcome=refused", &["a.tif"]),
        ("to=elsewhere%3A+host+198.51.100.7%3A22", &["d.tif"]),
        ("q=tif&to=archive", &["c.tif"]),
        ("q=albums+c", &["c.tif"]),
        ("q=%22+OR+path%3A*", &[]),
        ("q=a%27%3B+DROP+TABLE+objects%3B--", &[]),
        ("until=2020-01-01", &[]),
        ("from=2020-01-01&collection=masters", &["d.tif", "b.tif", "a.tif"]),
        ("outcome=nonsense&before=x.y&after=1&from=never", &["d.tif", "c.tif", "b.tif", "a.tif"]),
    ] {
        let page = world.page(&format!("/objects?{filter}"), &session).await;
        assert_eq!(names(&page), expected, "{filter}");
    }
}

#[tokio::test]
async fn hostile_names_are_text_in_pages_files_and_addresses() {
    let world = World::new().await;
    let session = world.set_up().await;
    let hostile = "/m/../%2e%2e/\"><script>alert(1)</script>\r\n\u{202e}\u{0}?#&'; DROP TABLE objects; --";
    let formula = "=cmd|'/c calc'!A1";
    let mut transfer = allowed(hostile, "<b>website</b>", Some(f64::from_bits(0x3fe0_0000_0000_0000)), None);
    transfer.masters[0].collection = "<i>masters".into();
    transfer.user.as_mut().unwrap().name = formula.into();
    let long = format!("/m/{}.tif", "x/".repeat(4000));
    world.send(&[happened(1, transfer), refused_copy(2, formula), refused_copy(3, &long)]).await;
    let list = page_with(&world, &session, "/objects", "=cmd").await;
    let all: Vec<_> = keys(&list);
    assert_eq!(all.len(), 3);
    let mut pages = list;
    for key in &all {
        assert!(key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
        pages += &world.page(&format!("/objects/{key}"), &session).await;
    }
    for markup in ["<script>", "<b>website", "<i>masters", "\u{202e}", "\u{0}", "onerror=", "style="] {
        assert!(!pages.contains(markup), "{markup:?}");
    }
    assert!(pages.contains("\\u{202e}") && pages.contains("DROP TABLE"));
    let get = async |path: &str| world.client.get(world.url(path)).header("cookie", &session).send().await.unwrap();
    let csv = get("/objects.csv").await;
    assert!(csv.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
    let text = csv.text().await.unwrap();
    assert_eq!(text.matches("\r\n").count(), 4);
    assert!(text.contains("\"'=cmd") && !text.contains("\"=cmd"), "{text}");
    let json: serde_json::Value = get("/objects.json?q=calc").await.json().await.unwrap();
    assert_eq!((json["objects"].as_array().unwrap().len(), &json["objects"][0]["path"]), (1, &formula.into()));
    for key in &all {
        let text = get(&format!("/objects/{key}/history.csv")).await.text().await.unwrap();
        assert!(text.lines().count() == 2 && !text.contains("\"=cmd"), "{text}");
        let json: serde_json::Value = get(&format!("/objects/{key}/history.json")).await.json().await.unwrap();
        assert_eq!(json["history"].as_array().unwrap().len(), 1);
    }
    // Whatever else stands in the address is no object.
    let longer = format!("{}0", all[0]);
    for key in ["%2e%2e%2f", "1", "' OR 1=1 --", &"0".repeat(32), &longer, "%00", "zz"] {
        for page in ["", "/history.csv", "/history.json"] {
            let response = get(&format!("/objects/{key}{page}")).await;
            assert_eq!(refused(response, StatusCode::NOT_FOUND).await, "no such object", "{key}{page}");
        }
    }
}

#[tokio::test]
async fn names_too_long_for_an_index_stop_no_list() {
    let world = World::new().await;
    let session = world.set_up().await;
    // Of three bytes each, and no two alike, so that nothing can be packed.
    let name: String =
        (0..1200u32).filter_map(|at| char::from_u32(0x4e00 + at.wrapping_mul(2_654_435_761) % 20_000)).collect();
    let mut transfer = allowed("/m/K1_0001.tif", &name, Some(0.5), None);
    transfer.masters[0].collection = name.clone();
    transfer.user.as_mut().unwrap().name = name;
    world.send(&[happened(1, transfer), refused_copy(2, "/m/K2_0001.tif")]).await;
    page_with(&world, &session, "/objects", "K2_0001.tif").await;
    page_with(&world, &session, "/objects", "K1_0001.tif").await;
}

#[tokio::test]
async fn viewers_see_lists_and_analysts_pictures_and_files() {
    let world = World::new().await;
    let ines = world.set_up().await;
    let digest = blake3::hash(&world::jpeg()).to_hex().to_string();
    let mut transfer = world::transfer();
    transfer.masters[0].thumbnail = Some(digest.clone());
    world.send(&[happened(1, transfer)]).await;
    let request = world.client.put(world.url(&format!("/v1/evidence/{digest}"))).bearer_auth(&world.agent);
    request.body(world::jpeg()).send().await.unwrap();
    let key = keys(&page_with(&world, &ines, "/objects", "K2B_0012.tif").await)[0].clone();
    let (viewer, analyst) = (world.user(&ines, "vera", "viewer").await, world.user(&ines, "anna", "analyst").await);
    let object = format!("/objects/{key}");
    let files = ["/objects.csv", "/objects.json", &format!("{object}/history.csv"), &format!("{object}/history.json")];
    let get = async |path: &str, cookie: &str| {
        world.client.get(world.url(path)).header("cookie", cookie).send().await.unwrap()
    };
    for path in ["/objects", &object, "/search?q=K2B"] {
        world.page(path, &viewer).await;
        let stranger = world.client.get(world.url(path)).send().await.unwrap();
        assert_eq!(stranger.headers()["location"], "/login");
    }
    for path in files {
        let error = refused(get(path, &viewer).await, StatusCode::FORBIDDEN).await;
        assert_eq!(error, "vera has the role viewer", "{path}");
        assert_eq!(get(path, &analyst).await.status(), StatusCode::OK, "{path}");
        assert_eq!(world.client.get(world.url(path)).send().await.unwrap().headers()["location"], "/login");
    }
    let seen = world.page(&object, &viewer).await;
    assert!(seen.contains("for analysts") && !seen.contains("/v1/evidence/") && !seen.contains("history.csv"));
    let seen = world.page(&object, &analyst).await;
    assert!(seen.contains(&format!("<img src=\"/v1/evidence/{digest}\"")) && seen.contains("history.csv"));
    get(&format!("/v1/evidence/{digest}"), &analyst).await;
    let audit = world.page("/audit", &ines).await;
    for text in ["objects.csv", "history.json", "looked at"] {
        assert!(audit.contains(text), "{text}");
    }
}

#[tokio::test]
async fn an_object_goes_with_the_last_of_its_records_and_later_ones_are_summed_up() {
    let world = World::new().await;
    let session = world.set_up().await;
    world.send(&[refused_copy(1, "/m/a.tif"), happened(2, allowed("/m/b.tif", "website", Some(0.5), None))]).await;
    page_with(&world, &session, "/objects", "b.tif").await;
    let store = world.store().await;
    let later = jiff::Timestamp::now().as_millisecond() + 60_000;
    let everyday = Retention { severities: vec![(Severity::Informational, 0)], ..Retention::default() };
    assert_eq!(store.remove_old(&everyday, later).await.unwrap().records, 1);
    assert_eq!(names(&world.page("/objects", &session).await), ["a.tif"]);
    assert!(!world.page("/search?q=website", &session).await.contains("<h3 id=\"records\">"));
    // The highest number went: the next one is higher still.
    world.send(&[refused_copy(3, "/m/c.tif")]).await;
    page_with(&world, &session, "/objects", "c.tif").await;
    assert_eq!(names(&world.page("/objects", &session).await), ["c.tif", "a.tif"]);
}

#[tokio::test]
async fn what_comes_twice_counts_once() {
    let world = World::new().await;
    let session = world.set_up().await;
    for _ in 0..3 {
        world.send(&[refused_copy(1, "/m/a.tif")]).await;
    }
    world.send(&[refused_copy(2, "/m/b.tif")]).await;
    let page = page_with(&world, &session, "/objects", "b.tif").await;
    assert_eq!(page.matches("<td class=\"number\">1</td>").count(), 2, "{page}");
}

#[tokio::test]
async fn records_of_before_there_were_lists_are_summed_up() {
    let world = World::new().await;
    let session = world.set_up().await;
    world.send(&[refused_copy(1, "/m/a.tif"), refused_copy(2, "/m/b.tif")]).await;
    page_with(&world, &session, "/objects", "b.tif").await;
    let World { directory, running, client, agent, reader } = world;
    running.stop().await;
    let database = directory.by_hand();
    database.run("DELETE FROM object_records; DELETE FROM accounts; UPDATE summed SET upto = 0").unwrap();
    let texts = match is_postgres() {
        true => "DELETE FROM record_text",
        false => "INSERT INTO record_text (record_text) VALUES ('delete-all')",
    };
    database.run(texts).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM objects"), 0);
    drop(database);
    let settings = vitrine_collector::server::Settings::new(directory.path().to_owned(), ([127, 0, 0, 1], 0).into());
    let running = vitrine_collector::server::start(settings).await.unwrap();
    let world = World { directory, running, client, agent, reader };
    let page = page_with(&world, &session, "/objects", "b.tif").await;
    assert_eq!(names(&page), ["b.tif", "a.tif"]);
    assert!(world.page("/search?q=wen", &session).await.contains("2 refused"));
}

#[tokio::test]
async fn a_hundred_destinations_are_told_and_that_there_are_more() {
    let world = World::new().await;
    let session = world.set_up().await;
    let to = |n: u64| happened(n, allowed("/m/a.tif", &format!("place {n:03}"), None, None));
    world.send(&(1..=101).map(to).collect::<Vec<_>>()).await;
    let list = page_with(&world, &session, "/objects", "<td class=\"number\">101</td>").await;
    assert!(list.contains("place 001, place 002, place 003, …"));
    let page = world.page(&format!("/objects/{}", keys(&list)[0]), &session).await;
    assert_eq!(page.matches("href=\"/objects?to=place").count(), 100);
    assert!(page.contains("more destinations than"));
    let csv = world.client.get(world.url("/objects.csv")).header("cookie", &session).send().await.unwrap();
    assert!(csv.text().await.unwrap().contains("place 100; …\""));
    assert_eq!(world.page("/objects", &session).await.matches("<option value=\"place").count(), 100);
}

//! The audit log: what stands in it, and that a change of it is found.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use reqwest::StatusCode;
use serde_json::Value;
use vitrine_policy::record::Event;
use world::{Hand, NOON, PASSWORD, World, cookie, is_postgres, record};

/// Origin, actor, kind, subject and detail of every entry, without where it came from.
fn entries(world: &World) -> Vec<[String; 5]> {
    let (code, text, error) = world.run(&["audit", "export"]);
    assert_eq!(code, 0, "{error}");
    let entry = |line: &str| {
        let entry: Value = serde_json::from_str(line).unwrap();
        ["origin", "actor", "kind", "subject", "detail"]
            .map(|name| entry[name].as_str().unwrap().replace(", from 127.0.0.1", "").replace("from 127.0.0.1", ""))
    };
    text.lines().map(entry).collect()
}

#[tokio::test]
async fn what_people_do_stands_in_it() {
    let world = World::new().await;
    let admin = world.set_up().await;
    let digest = blake3::hash(&world::jpeg()).to_hex().to_string();
    world.send(&[record(1, NOON, Event::Transfer(Box::new(world::transfer())))]).await;
    let request = world.client.put(world.url(&format!("/v1/evidence/{digest}"))).bearer_auth(&world.agent);
    request.body(world::jpeg()).send().await.unwrap();
    let before = entries(&world).len();

    let get = async |path: &str| world.client.get(world.url(path)).header("cookie", &admin).send().await.unwrap();
    get(&format!("/v1/evidence/{digest}")).await;
    let request = world.client.get(world.url(&format!("/v1/evidence/{digest}"))).bearer_auth(&world.reader);
    assert_eq!(request.send().await.unwrap().headers()["cache-control"], "no-store");
    get(&format!("/v1/evidence/{}", "0".repeat(64))).await;
    get("/alerts.csv?state=all&user=wen").await;
    world.post(&admin, "/triage", &[("id", "1"), ("id", "99"), ("step", "close"), ("verdict", "5")]).await;
    world.log_in("ines", "wrong").await;
    world.log_in("a password typed as a name", "wrong").await;
    cookie(&world.log_in("ines", PASSWORD).await);
    world.user(&admin, "mei", "viewer").await;
    world.post(&admin, "/users/step", &[("name", "mei"), ("step", "role"), ("role", "analyst")]).await;
    world.post(&admin, "/users/step", &[("name", "mei"), ("step", "disable")]).await;
    world.run(&["token", "create", "--name", "siem", "--role", "reader"]);
    world.run(&["token", "revoke", "--name", "siem"]);
    let to = world.directory.path().join("copy.db").display().to_string();
    assert_eq!(world.run(&["backup", "--to", &to]).0, if is_postgres() { 2 } else { 0 });
    world.post(&admin, "/logout", &[]).await;

    let found = entries(&world).split_off(before);
    let root = format!("uid {}", std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()));
    let mut expected = vec![
        ["user", "ines", "evidence", &digest, "looked at"],
        ["token", "reader", "evidence", &digest, "looked at"],
        ["user", "ines", "export", "alerts.csv", "state=all&user=wen"],
        ["user", "ines", "triage", "alert 1", "closed: benign"],
        ["user", "ines", "log-in-failed", "password", ""],
        ["stranger", "", "log-in-failed", "name", ", attempt 1 under a name that nobody has"],
        ["user", "ines", "log-in", "", "password"],
        ["user", "ines", "user", "mei", "added as viewer"],
        ["user", "mei", "user", "mei", "chose a password"],
        ["user", "mei", "log-in", "", "invitation"],
        ["user", "ines", "user", "mei", "made analyst of viewer"],
        ["user", "ines", "user", "mei", "disabled"],
        ["command line", &root, "token", "siem", "made, role reader, good for 1"],
        ["command line", &root, "token", "siem", "revoked"],
        ["command line", &root, "backup", &to, "begun"],
        ["user", "ines", "log-out", "", ""],
        ["command line", &root, "export", "audit export", ""],
    ];
    expected.retain(|entry| entry[2] != "backup" || !is_postgres());
    assert_eq!(found, expected);
    assert_eq!(world.run(&["audit", "verify"]).0, 0);
}

#[tokio::test]
async fn the_page_is_filtered_and_paged_and_the_file_is_recorded() {
    let world = World::new().await;
    let admin = world.set_up().await;
    for number in 0..60 {
        world.post(&admin, "/users", &[("name", &format!("user{number}")), ("role", "viewer")]).await;
        world.post(&admin, "/users/step", &[("name", &format!("user{number}")), ("step", "disable")]).await;
    }
    let page = world.page("/audit", &admin).await;
    assert_eq!(page.matches("<th scope=\"row\"").count(), 100);
    let (_, after) = page.split_once("<a href=\"/audit?").unwrap();
    let older = world.page(&format!("/audit?{}", after.split('"').next().unwrap()), &admin).await;
    assert!(older.contains("set the console up") && !older.contains("user59") && !older.contains("rel=\"next\""));
    let tokens = world.page("/audit?kind=token&before=x", &admin).await;
    assert!(tokens.contains("user59"), "what means nothing filters nothing");
    let tokens = world.page("/audit?kind=token", &admin).await;
    assert!(tokens.contains("made, role agent") && !tokens.contains("user59"));
    assert!(world.page("/audit?actor=eve", &admin).await.contains("No entry fits"));
    assert!(world.page("/audit?actor=ines&kind=nonsense", &admin).await.contains("user59"));

    let request = world.client.get(world.url("/audit.ndjson?kind=user")).header("cookie", &admin);
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["detail"]), (121, &"set the console up as admin".into()));
    let exports = world.page("/audit?kind=export", &admin).await;
    assert!(exports.contains("audit.ndjson") && exports.contains("kind=user"));
}

/// A world with some entries whose database somebody opens with other tools.
async fn tampered(change: &str) -> (World, Hand) {
    let world = World::new().await;
    let admin = world.set_up().await;
    world.invite(&admin, "mei", "viewer").await;
    world.invite(&admin, "lin", "viewer").await;
    let database = world.directory.by_hand();
    assert!(database.run(change).unwrap_err().contains("audit log are never"));
    let unguarded = match &database {
        Hand::Sqlite(_) => "DROP TRIGGER audit_changed; DROP TRIGGER audit_removed",
        Hand::Postgres(_) => "DROP TRIGGER audit_stays ON audit",
    };
    database.run(unguarded).unwrap();
    database.run(change).unwrap();
    (world, database)
}

#[tokio::test]
async fn an_entry_that_was_changed_is_named() {
    for column in
        ["at = at + 1", "actor = 'eve'", "origin = 'token'", "kind = 'triage'", "subject = 'x'", "detail = ''"]
    {
        let (world, _) = tampered(&format!("UPDATE audit SET {column} WHERE number = 3")).await;
        let (code, _, error) = world.run(&["audit", "verify"]);
        assert!(code == 1 && error.contains("entry 3 does not match"), "{column}: {error}");
    }
    // Text that moves from one field to the next is another entry.
    let moved = "UPDATE audit SET subject = '', detail = subject || detail WHERE number = 3";
    let (world, _) = tampered(moved).await;
    assert!(world.run(&["audit", "verify"]).2.contains("entry 3 does not match"));
    let (world, _) = tampered("DELETE FROM audit WHERE number = 2").await;
    assert!(world.run(&["audit", "verify"]).2.contains("entry 2 is missing"));
    let (world, _) = tampered("UPDATE audit SET hash = '' WHERE number = 4").await;
    assert!(world.run(&["audit", "verify"]).2.contains("entry 4 does not match"));
}

#[tokio::test]
async fn entries_cut_off_the_end_are_missed() {
    let (world, database) = tampered("DELETE FROM audit WHERE number > 4").await;
    let (code, _, error) = world.run(&["audit", "verify"]);
    assert!(code == 1 && error.contains("ends with entry 4, and its head tells of entry 6"), "{error}");

    // Whoever writes the head, too, is found by what was noted elsewhere, and by nothing else.
    let noted = database.row("SELECT number || ':' || hash FROM audit_head").remove(0);
    let cut = "UPDATE audit_head SET (number, hash) = (SELECT number, hash FROM audit WHERE number = 4)";
    database.run(cut).unwrap();
    let (code, head, _) = world.run(&["audit", "verify"]);
    assert!(code == 0 && head.starts_with("4:"), "{head}");
    let (code, _, error) = world.run(&["audit", "verify", "--noted", &noted]);
    assert!(code == 1 && error.contains("entry 6 is not the one whose hash was noted"), "{error}");
    assert_eq!(world.run(&["audit", "verify", "--noted", head.trim()]).0, 0);
    let (code, _, error) = world.run(&["audit", "verify", "--noted", "6:abc"]);
    assert!(code == 2 && error.contains("NUMBER:HASH"), "{error}");
    // The chain goes on from where it was noted.
    world.run(&["token", "create", "--name", "siem", "--role", "reader"]);
    assert_eq!(world.run(&["audit", "verify", "--noted", head.trim()]).0, 0);
}

#[tokio::test]
async fn whoever_cannot_be_recorded_gets_nothing() {
    let world = World::new().await;
    let admin = world.set_up().await;
    world.send(&[world::blocked(1)]).await;
    let database = world.directory.by_hand();
    let refuse = match &database {
        Hand::Sqlite(_) => "CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT RAISE (ABORT, 'no'); END",
        Hand::Postgres(_) => {
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END';
             CREATE TRIGGER refuse BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION refuse()"
        }
    };
    database.run(refuse).unwrap();
    let export = world.client.get(world.url("/alerts.csv")).header("cookie", &admin).send().await.unwrap();
    assert_eq!(export.status(), StatusCode::SERVICE_UNAVAILABLE);
    let triage = world.post(&admin, "/triage", &[("id", "1"), ("step", "acknowledge")]).await;
    assert_eq!(triage.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.alerts().await[0]["state"], "open");
    assert_eq!(world.log_in("ines", PASSWORD).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn whoever_tries_many_names_does_not_fill_the_disk() {
    let world = World::new().await;
    let admin = world.set_up().await;
    for number in 0..20 {
        world.log_in(&format!("name{number}"), "wrong").await;
    }
    let page = world.page("/audit?kind=log-in-failed", &admin).await;
    assert_eq!(page.matches("<th scope=\"row\"").count(), 5);
    assert!(page.contains("attempt 16 under") && !page.contains("name1"));
}

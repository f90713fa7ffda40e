//! How often the collector is asked for a policy.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::policy_file::{Given, NotTaken};

/// What was told of policies that are not taken and how often, also what the spool still holds back.
fn refusals(world: &World) -> Vec<(u64, String)> {
    assert!(world.spool.flush(LONG));
    let database = rusqlite::Connection::open(crate::spool::database(world.directory.path())).unwrap();
    let mut all = database.prepare("SELECT body FROM record UNION ALL SELECT body FROM held").unwrap();
    let bodies = all.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let told = |body: rusqlite::Result<String>| {
        let record: Record = serde_json::from_str(&body.unwrap()).unwrap();
        let Event::Notice(notice) = record.event else { return None };
        (notice.code == "policy-refused").then_some((notice.count, notice.message))
    };
    bodies.filter_map(told).collect()
}

#[tokio::test]
async fn a_policy_that_cannot_be_taken_now_is_asked_for_again_and_each_reason_told_once() {
    let server = Server::start([]).await;
    server.always("get /v1/policy \"one\"", Answer::Status(304, "", ""));
    let given = Answer::Status(200, "ETag: \"one\"\r\n", r#"{"policy":"version = 1","signature":null}"#);
    server.always("get /v1/policy", given);
    let mut world = World::new(&server.url);
    world.pace.request = LONG;
    world.pace.heartbeat = Duration::from_millis(20);
    let asked = Arc::new(AtomicUsize::new(0));
    let asking = asked.clone();
    let take: Take = Arc::new(move |_: &Given| match asking.fetch_add(1, Ordering::Relaxed) {
        0..=2 => Err(NotTaken::NotNow("no space is left".into())),
        3 => Err(NotTaken::NotNow("the disk can only be read".into())),
        _ => Ok(()),
    });
    world.take = Some(take);
    let world = world.upload();
    let asks = || server.heard(|heard| heard.requests.iter().filter(|request| *request == "get /v1/policy").count());
    eventually(|| asks() >= 7).await;
    assert_eq!(asked.load(Ordering::Relaxed), 5, "what was taken is not given again");
    let mut told = refusals(&world);
    told.sort_by_key(|(_, message)| message.contains("the disk can only be read"));
    assert!(matches!(&told[..], [(1, first), (1, _)] if first.contains("no space is left")), "{told:?}");
    assert_eq!(world.contact.policy_refused(), None);
}

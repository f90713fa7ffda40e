//! How long pages take over many records: `VITRINE_RECORDS=10000000 cargo test -p vitrine-collector --lib scale --
//! --ignored --nocapture` fills a database below `TMPDIR` and prints the times.

use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use vitrine_policy::record::Record;

use super::objects::object_key;
use super::{FILE, ObjectQuery, Outcome, Store, Turn};

const MASTERS: i64 = 400_000;
const AGENTS: i64 = 1_000;
const STEP: i64 = 500_000;
/// The longest that a search may take: what it is given, and what it looks through without a look at the clock.
const LONGEST: Duration = Duration::from_secs(3);
/// How often each question is asked.
const TIMES: u32 = 20;

const BODY: &str = r#"{"version":1,"id":"%d","sequence":%d,"time":%d,"host":{"agent":"%d","name":"scan-%d","agent_version":"0.1.0"},"event":{"kind":"transfer","operation":"write","verdict":"allow","disposition":"allowed","rule":{"kind":"ceiling","destination":"website"},"explanation":"","mode":"enforce","policy":"","guard":"gate","processes":[],"user":null,"file":{"path":"/home/user/out/%d_web.jpg","digest":null,"bytes":null,"thumbnail":null},"masters":[],"tier":"public","origin":"measured","measure":null,"destination":null,"attempts":1}}"#;

/// Fills the tables as [`Store::sum_up`] would.
fn fill(connection: &Connection, records: i64) {
    let numbers = "WITH RECURSIVE n (i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)";
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    let agents = "INSERT INTO agents (number, id, host, first_seen, last_seen) SELECT i, i, 'scan-' || i, 0, i FROM n";
    connection.execute(&format!("{numbers} {agents}"), [1, AGENTS]).unwrap();
    let step = connection.unchecked_transaction().unwrap();
    for number in 1..=MASTERS {
        let path = format!("/srv/scans/masters/{:03}/K2B_{number:06}.tif", number / 1000);
        let insert = "INSERT INTO objects VALUES (?1, ?2, 'masters', ?3, NULL, 0, ?1, ?1, ?4, 1, 1, 0, NULL)";
        let outcomes = if number % 1000 == 0 { 3 } else { 1 };
        let values = params![number, object_key("masters", &path), path, outcomes];
        step.prepare_cached(insert).unwrap().execute(values).unwrap();
        let insert = "INSERT INTO object_destinations VALUES (?1, ?2, 1, 0, 0.5, 0.5, ?1, ?1)";
        for destination in ["website", "archive"] {
            step.prepare_cached(insert).unwrap().execute(params![number, destination]).unwrap();
        }
    }
    step.commit().unwrap();
    for first in (1..=records).step_by(usize::try_from(STEP).unwrap()) {
        let last = (first + STEP - 1).min(records);
        let step = connection.unchecked_transaction().unwrap();
        let body = format!("printf('{BODY}', i, i / {AGENTS} + 1, i, 1 + i % {AGENTS}, 1 + i % {AGENTS}, i)");
        let object = format!("1 + i * 7919 % {MASTERS}");
        for insert in [
            format!(
                "INSERT INTO records (number, agent, sequence, id, time, received, severity, body)
                 SELECT i, 1 + i % {AGENTS}, i / {AGENTS} + 1, i, i, i, 1, {body} FROM n"
            ),
            format!("INSERT INTO object_records SELECT i, {object} FROM n"),
            format!(
                "INSERT INTO record_text (rowid, text) SELECT i, printf('scan-%d user%d rsync /home/user%d/out/%d_web.jpg
                 website /srv/web/upload/%d.jpg /srv/scans/masters/K2B_%06d.tif', 1 + i % {AGENTS}, i % 200, i % 200, i, i, {object})
                 FROM n"
            ),
        ] {
            step.execute(&format!("{numbers} {insert}"), [first, last]).unwrap();
        }
        step.execute("UPDATE summed SET upto = ?", [last]).unwrap();
        step.commit().unwrap();
    }
}

async fn asked<T>(what: &str, mut question: impl AsyncFnMut() -> T) -> T {
    let mut answer = question().await;
    let mut taken = Vec::new();
    for _ in 0..TIMES {
        let begun = Instant::now();
        answer = question().await;
        taken.push(begun.elapsed());
    }
    taken.sort();
    println!("{what}: {:?} ({:?} at most)", taken[TIMES as usize / 2], taken[TIMES as usize - 1]);
    assert!(taken[TIMES as usize / 2] < LONGEST, "{what}");
    answer
}

#[tokio::test]
#[ignore = "takes minutes and gigabytes"]
async fn pages_are_quick_over_many_records() {
    let records = std::env::var("VITRINE_RECORDS").map_or(100_000, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let begun = Instant::now();
    fill(&Connection::open(directory.path().join(FILE)).unwrap(), records);
    println!("{records} records of {MASTERS} masters in {:?}", begun.elapsed());
    let all = ObjectQuery::default();
    for (what, filter) in [
        ("all", all.clone()),
        ("refused", ObjectQuery { outcome: Some(Outcome::Refused), ..all.clone() }),
        ("a destination", ObjectQuery { destination: "archive".into(), ..all.clone() }),
        (
            "a collection and refused",
            ObjectQuery { collection: "masters".into(), outcome: Some(Outcome::Refused), ..all.clone() },
        ),
        ("a rare word", ObjectQuery { text: "K2B_000777".into(), ..all.clone() }),
        ("a word of all", ObjectQuery { text: "mas".into(), ..all }),
    ] {
        for (place, turn) in [("first", Turn::Newest), ("middle", Turn::Before(MASTERS / 2, MASTERS / 2))] {
            let page = asked(&format!("objects, {what}, {place} page"), async || {
                store.objects(filter.clone(), turn, 51).await.unwrap()
            })
            .await;
            assert!(!page.is_empty() || what == "a rare word");
        }
    }
    let number = MASTERS / 2;
    let key = object_key("masters", &format!("/srv/scans/masters/{:03}/K2B_{number:06}.tif", number / 1000));
    asked("one object", async || store.object(key).await.unwrap().unwrap()).await;
    asked("its history", async || store.happened(number, i64::MAX, 51, |record: &Record| record.time).await.unwrap())
        .await;
    asked("names for the filter", async || store.object_names().await.unwrap()).await;
    for text in ["777777_web", "user77", "K2B_000777", "web user7 scan-7", "mas", "nothing", "rsync website upl"] {
        let found = asked(&format!("search, {text}"), async || store.search(text.into()).await.unwrap()).await;
        println!("    {} records, {} objects, cut: {}", found.records.len(), found.masters.len(), found.is_cut);
    }
    store.close().await;
}

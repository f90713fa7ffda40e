//! Which route is told of what, with what else, and when.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "world/hook.rs"]
mod hook;
#[path = "world/rsyslog.rs"]
mod rsyslog;
mod world;

use hook::{Hook, world_with};
use rsyslog::{Guard, Rsyslog};
use serde_json::Value;
use vitrine_policy::record::{Disposition, Event, Record, Severity, Transfer};
use world::{Data, Hand, NOON, Server, World, client, lines, notice, record, until};

fn attempt(sequence: u64, change: impl FnOnce(&mut Transfer)) -> Record {
    let mut transfer = world::transfer();
    change(&mut transfer);
    record(sequence, NOON + i64::try_from(sequence).unwrap() * 1000, Event::Transfer(Box::new(transfer)))
}

fn by(sequence: u64, program: &str) -> Record {
    attempt(sequence, |transfer| transfer.processes[0].name = program.into())
}

fn told(event: &str, alerts: &[i64]) -> (String, Vec<i64>) {
    (event.into(), alerts.to_vec())
}

/// What a hook was told, in the order of alerts: what is due at the same time has none.
fn sorted(hook: &Hook) -> Vec<(String, Vec<i64>)> {
    let mut told = hook.told();
    told.sort();
    told
}

/// Changes the database as a change of the clock would have left it, while no collector runs.
fn by_hand(data: &std::path::Path, sql: &str) -> usize {
    Hand::of(data).execute(sql)
}

/// As [`World`], whose collector can be stopped and started again.
async fn again(world: World, hook_config: &str) -> World {
    let World { directory, running, client, agent, reader } = world;
    running.stop().await;
    std::fs::write(directory.path().join("collector.toml"), hook_config).unwrap();
    let settings = vitrine_collector::server::Settings::new(directory.path().to_owned(), ([127, 0, 0, 1], 0).into());
    let running = vitrine_collector::server::start(settings).await.unwrap();
    World { directory, running, client, agent, reader }
}

#[tokio::test]
async fn each_route_is_told_of_what_it_takes() {
    let hooks = [Hook::start(0).await, Hook::start(0).await, Hook::start(0).await, Hook::start(0).await];
    let config = [
        hooks[0].route("all", ""),
        hooks[1].route("worst", "severity = \"critical\""),
        hooks[2].route("website", "destinations = [\"website\"]\nup-to = \"high\""),
        hooks[3].route("albums", "collections = [\"albums\"]\nhosts = [\"desk-*\", \"scan-0?\"]"),
    ]
    .concat();
    let world = world_with(&config, 10).await;
    world.send(&[by(1, "cp")]).await;
    world.send(&[attempt(2, |transfer| transfer.destination.as_mut().unwrap().name = "website".into())]).await;
    let albums = |transfer: &mut Transfer| {
        transfer.masters[0].collection = "albums".into();
        transfer.user.as_mut().unwrap().name = "mei".into();
        transfer.disposition = Disposition::Failed;
    };
    world.send(&[attempt(3, albums)]).await;
    let mut elsewhere = attempt(4, |transfer| {
        albums(transfer);
        transfer.user.as_mut().unwrap().name = "lin".into();
    });
    elsewhere.host.name = "cellar".into();
    world.send(&[elsewhere]).await;
    world.send(&[record(5, NOON, notice(Severity::High))]).await;
    // The second record joined the first alert, and led a route there that had not been told of it.
    hooks[0].wait_for(4).await;
    assert_eq!(sorted(&hooks[0]), [1, 2, 3, 4].map(|alert| told("alert.created", &[alert])));
    hooks[1].wait_for(2).await;
    assert_eq!(sorted(&hooks[1]), [told("alert.created", &[2]), told("alert.created", &[3])]);
    hooks[2].wait_for(1).await;
    assert_eq!(hooks[2].told(), [told("alert.created", &[1])]);
    hooks[3].wait_for(1).await;
    assert_eq!(hooks[3].told(), [told("alert.created", &[2])]);
    assert_eq!(hooks[3].letters()[0]["route"], "albums");
}

#[tokio::test]
async fn an_alert_is_as_severe_as_the_policy_of_its_workstation_says() {
    let (all, worst) = (Hook::start(0).await, Hook::start(0).await);
    let world = world_with(&[all.route("all", ""), worst.route("worst", "severity = \"critical\"")].concat(), 10).await;
    let said = |number: u64, disposition: Disposition, severity: Option<Severity>| {
        attempt(number, |transfer| {
            transfer.user.as_mut().unwrap().name = format!("user{number}");
            (transfer.disposition, transfer.severity) = (disposition, severity);
        })
    };
    world
        .send(&[
            said(1, Disposition::Blocked, Some(Severity::Critical)),
            said(2, Disposition::Quarantined, Some(Severity::Medium)),
            // Of these two there is a record, and no alert.
            said(3, Disposition::Blocked, Some(Severity::Low)),
            said(4, Disposition::WouldBlock, Some(Severity::Medium)),
            said(5, Disposition::WouldBlock, Some(Severity::Critical)),
            said(6, Disposition::WouldBlock, None),
            said(7, Disposition::Undone, None),
        ])
        .await;
    all.wait_for(5).await;
    let alerts = world.alerts().await;
    let mut found: Vec<_> =
        alerts.iter().map(|alert| (alert["user"].as_str().unwrap(), alert["severity"].as_str().unwrap())).collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [("user1", "critical"), ("user2", "medium"), ("user5", "high"), ("user6", "medium"), ("user7", "high")]
    );
    worst.wait_for(1).await;
    assert_eq!(worst.told(), [told("alert.created", &[1])]);
}

#[tokio::test]
async fn what_one_user_tries_about_one_destination_is_one_message_at_a_time() {
    let hook = Hook::start(0).await;
    let world = world_with(&hook.route("desk", "group-interval = \"1h\""), 10).await;
    world
        .send(&[
            by(1, "cp"),
            by(2, "rsync"),
            attempt(3, |transfer| transfer.user.as_mut().unwrap().name = "mei".into()),
        ])
        .await;
    hook.wait_for(2).await;
    assert_eq!(sorted(&hook), [told("alert.created", &[2, 1]), told("alert.created", &[3])]);
    // A third program waits for the interval; what is worse does not.
    world.send(&[by(4, "tar")]).await;
    world.send(&[attempt(5, |transfer| transfer.disposition = Disposition::Failed)]).await;
    hook.wait_for(3).await;
    assert_eq!(hook.told()[2], told("alert.created", &[1, 4]));
    assert_eq!(hook.letters()[2]["alerts"][0]["severity"], "critical");
    world.send(&[by(6, "dd"), attempt(7, |transfer| transfer.user.as_mut().unwrap().name = "lin".into())]).await;
    hook.wait_for(4).await;
    assert_eq!(hook.told()[3], told("alert.created", &[6]), "dd waits");
    // An hour later; another alert shows that there was time to look.
    assert_eq!(by_hand(world.directory.path(), "UPDATE routed SET due = since WHERE due IS NOT NULL"), 1);
    world.send(&[attempt(8, |transfer| transfer.user.as_mut().unwrap().name = "fan".into())]).await;
    hook.wait_for(6).await;
    assert_eq!(sorted(&hook)[5], told("alert.created", &[7]));
    assert!(hook.told().contains(&told("alert.created", &[5])));
}

#[tokio::test]
async fn an_alert_is_told_of_again_until_somebody_answers() {
    let hook = Hook::start(0).await;
    let world = world_with(&hook.route("desk", "repeat = \"1s\""), 10).await;
    let session = world.set_up().await;
    world.send(&[by(1, "cp")]).await;
    hook.wait_for(3).await;
    assert_eq!(
        hook.told()[..3],
        [told("alert.created", &[1]), told("alert.repeated", &[1]), told("alert.repeated", &[1])]
    );
    let answered = world.post(&session, "/triage", &[("step", "acknowledge"), ("id", "1")]).await;
    assert!(answered.status().is_redirection());
    let before = hook.count();
    // Another alert is told of twice: there was time for the first.
    world.send(&[attempt(2, |transfer| transfer.user.as_mut().unwrap().name = "mei".into())]).await;
    let again = told("alert.repeated", &[2]);
    until("the other alert again", async || hook.told().contains(&again).then_some(())).await;
    let late = hook.told()[before..].iter().filter(|(_, alerts)| alerts.contains(&1)).count();
    assert!(late <= 1, "one may have been under way: {late}");
    // Opened again, it waits for an answer again.
    let before = hook.count();
    world.post(&session, "/triage", &[("step", "reopen"), ("id", "1")]).await;
    let again = |(event, alerts): &(String, Vec<i64>)| event == "alert.repeated" && alerts.contains(&1);
    until("the first alert again", async || hook.told()[before..].iter().any(again).then_some(())).await;
}

#[tokio::test]
async fn an_agent_that_names_many_users_is_told_of_in_a_few_messages() {
    let hook = Hook::start(0).await;
    let world = world_with(&hook.route("desk", "group-interval = \"1h\""), 10).await;
    let of = |number: u64| attempt(number, |transfer| transfer.user.as_mut().unwrap().name = format!("user{number}"));
    world.send(&(1..=30).map(of).collect::<Vec<_>>()).await;
    // Twenty by themselves, and the rest in one.
    hook.wait_for(21).await;
    assert!(hook.told().contains(&told("alert.created", &(21..=30).rev().collect::<Vec<_>>())), "{:?}", hook.told());
    // They were told of within the hour, and the next user waits with the rest.
    world.send(&[of(31)]).await;
    let bundles = "SELECT count(DISTINCT bundle), count(due) FROM routed";
    assert_eq!(world.directory.by_hand().row(bundles), ["21", "1"]);
}

#[tokio::test]
async fn what_an_agent_says_joins_nothing_that_the_collector_found() {
    let world = World::new().await;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let now = i64::try_from(now).unwrap();
    world.send(&[record(1, now, notice(Severity::Low)), record(3, now, notice(Severity::Low))]).await;
    let codes = ["records-lost", "records-tampered", "agent-silent", "rollout-halted", "justified"];
    let forged: Vec<Record> = (4..)
        .zip(codes)
        .map(|(sequence, code)| {
            let Event::Notice(mut said) = notice(Severity::Critical) else { panic!("a notice") };
            said.code = code.into();
            record(sequence, now, Event::Notice(said))
        })
        .collect();
    world.send(&forged).await;
    let alerts = world.alerts().await;
    assert_eq!(alerts.len(), 1 + codes.len());
    let lost = alerts.iter().find(|alert| alert["code"] == "records-lost").unwrap();
    assert_eq!((&lost["kind"], &lost["severity"], &lost["records"]), (&"lost".into(), &"high".into(), &0.into()));
    assert_eq!(lost["title"], "1 record lost on scan-07");
    for code in codes {
        let said = alerts.iter().find(|alert| alert["code"] == format!("agent: {code}")).expect(code);
        assert_eq!(said["kind"], "notice", "{said}");
    }
}

#[tokio::test]
async fn a_message_waits_for_its_group_through_the_end_of_the_collector() {
    let hook = Hook::start(0).await;
    let directory = Data::new();
    let data = directory.path();
    let config = hook.route("desk", "").replace("\"0s\"", "\"1h\"");
    std::fs::write(data.join("collector.toml"), config).unwrap();
    std::fs::write(data.join("hook.secret"), hook::SECRET).unwrap();
    let agent = world::token(data, "agent", vitrine_collector::store::Role::Agent).await;
    let mut server = Server::start(data);
    let send = async |url: &str, record: Record| {
        let request = client().post(format!("{url}/v1/records")).bearer_auth(&agent);
        assert!(request.body(lines(&[record])).send().await.unwrap().status().is_success());
    };
    send(&server.url, by(1, "cp")).await;
    send(&server.url, by(2, "rsync")).await;
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert_eq!(hook.count(), 0);
    // An hour later.
    assert_eq!(by_hand(data, "UPDATE routed SET due = since"), 2);
    let _server = Server::start(data);
    hook.wait_for(1).await;
    assert_eq!(hook.told(), [told("alert.created", &[2, 1])]);
}

#[tokio::test]
async fn a_clock_that_is_set_back_holds_nothing_up() {
    let hook = Hook::start(0).await;
    let config = hook.route("desk", "").replace("\"0s\"", "\"1h\"");
    let world = world_with(&config, 10).await;
    world.send(&[by(1, "cp")]).await;
    let data = world.directory.path().to_owned();
    // As if the clock had stood a day ahead when the alert came, of which all but 100 ms of the wait is over.
    let world = again(world, &config).await;
    world.running.stop().await;
    let changed = by_hand(&data, "UPDATE routed SET since = since + 86400000, due = since + 86400100");
    assert_eq!(changed, 1);
    let settings = vitrine_collector::server::Settings::new(data, ([127, 0, 0, 1], 0).into());
    let running = vitrine_collector::server::start(settings).await.unwrap();
    hook.wait_for(1).await;
    running.stop().await;
}

#[tokio::test]
async fn a_route_that_is_gone_is_told_nothing_more() {
    let (gone, other) = (Hook::start(usize::MAX).await, Hook::start(0).await);
    let world = world_with(&gone.route("gone", "repeat = \"1h\""), 1000).await;
    world.send(&[by(1, "cp")]).await;
    gone.wait_for(1).await;
    let world = again(world, &other.route("other", "")).await;
    world.send(&[attempt(2, |transfer| transfer.user.as_mut().unwrap().name = "mei".into())]).await;
    other.wait_for(1).await;
    assert_eq!(other.told(), [told("alert.created", &[2])]);
    world.running.stop().await;
    let left = world.directory.by_hand().row(
        "SELECT state, error, (SELECT count(*) FROM routed WHERE route = 'gone' AND due IS NOT NULL)
         FROM outbox WHERE route = 'gone'",
    );
    assert_eq!((left[0].as_str(), left[2].as_str()), ("dead", "0"));
    assert!(left[1].contains("no [[route]] of this name"), "{}", left[1]);
}

#[tokio::test]
async fn a_syslog_server_gets_a_line_for_each_alert() {
    let Some(rsyslog) = Rsyslog::start(Guard::Tls).await else {
        println!("skipped: a_syslog_server_gets_a_line_for_each_alert (needs rsyslog and rsyslog-gnutls)");
        return;
    };
    let path = |name: &str| rsyslog.path(name).display().to_string();
    let config = format!(
        "[[route]]\nname = \"siem\"\ngroup-wait = \"0s\"\n[route.syslog]\nserver = \"127.0.0.1:{}\"\n\
         ca-file = {:?}\ncertificate-file = {:?}\nkey-file = {:?}\n",
        rsyslog.port,
        path("ca.pem"),
        path("client.pem"),
        path("client.key")
    );
    let world = world_with(&config, 10).await;
    let hostile = "/srv/a\n<0>1 - evil evil - - - forged\u{202e}.tif";
    world.send(&[attempt(1, |transfer| transfer.file.path = hostile.into()), by(2, "rsync")]).await;
    let messages = rsyslog.wait_for(2).await;
    let found: Vec<Value> = messages
        .iter()
        .map(|message| serde_json::from_str(message["message"].as_str().unwrap().trim()).unwrap())
        .collect();
    assert_eq!(messages.len(), 2);
    assert_eq!(
        (&messages[0]["id"], &messages[0]["pri"], &messages[0]["host"]),
        (&"alert".into(), &"107".into(), &"scan-07".into())
    );
    assert_eq!(found[1]["alert"]["id"], 1);
    assert!(found[1]["alert"]["title"].as_str().unwrap().contains("\\u{a}<0>1 - evil"), "{}", found[1]);
}

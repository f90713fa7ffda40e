//! A destination that wants a second person's approval: asked for on the workstation, answered in the console.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use vitrine_policy::decision::Verdict;
use vitrine_policy::record::Operation;

use crate::desk::{ANNA, BEN, shared, vitrine_as};
use crate::justify::{justify, refused_id};
use crate::notify::session;
use crate::world::{Builder, World, wait_until};

/// Within which time the agent has to learn of an answer.
const PROMPTLY: Duration = Duration::from_secs(10);
const NAME: &str = "KP1_0001.jpg";

/// A world with a place that wants a reason which somebody has approved.
fn with_approval(builder: Builder, approval: &str) -> Option<World> {
    let mut world = shared(builder.not_started())?;
    fs::create_dir_all(world.path("share/courier")).expect("a directory");
    fs::set_permissions(world.path("share/courier"), fs::Permissions::from_mode(0o777)).expect("permissions");
    set_approval(&world, approval);
    world.start();
    Some(world)
}

fn set_approval(world: &World, approval: &str) {
    let path = world.path("share/courier");
    let place = format!(
        "[[destination]]\nname = \"courier\"\npaths = [\"{}\"]\nceiling = \"master\"\njustify = {{ minutes = 10, {approval} }}\n",
        path.display()
    );
    world.set_policy("enforce", &place);
}

fn copy(world: &World, uid: u32, name: &str) -> bool {
    world.sh_as(&format!("cp -f ws/masters/{name} share/courier/"), Some(uid)).succeeded
}

/// Lets a copy be refused; gives the ID of that.
fn refused(world: &World, uid: u32, name: &str) -> String {
    assert!(!copy(world, uid, name));
    refused_id(world, uid, &format!("ws/masters/{name}"), "courier")
}

/// What the user is told of the request, once it stands so.
fn stands(world: &World, uid: u32, state: &str) -> Value {
    wait_until(&format!("request that is {state}"), || {
        let said = vitrine_as(world, uid, "why --json");
        let told: Value = serde_json::from_str(said.lines().last()?).ok()?;
        (told["approval"]["state"] == state).then(|| told["approval"].clone())
    })
}

/// Somebody at the console, in a browser of his own.
struct Console<'a> {
    world: &'a World,
    cookie: String,
}

/// One request: prints the status, the cookie that is set, and the page.
const BROWSER: &str = r#"
import http.client, ssl, sys, urllib.parse
url, method, path, cookie, form = sys.argv[1:6]
host = urllib.parse.urlsplit(url).netloc
connection = http.client.HTTPSConnection(host, context=ssl._create_unverified_context(), timeout=20)
headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
connection.request(method, path, form, headers)
answer = connection.getresponse()
print(answer.status)
print((answer.getheader("Set-Cookie") or "").split(";")[0])
print(answer.read().decode())
"#;

impl<'a> Console<'a> {
    fn set_up(world: &'a World) -> Console<'a> {
        let log = fs::read_to_string(world.path("collector.log")).expect("the log");
        let token = log.split("set-up token: ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a token");
        let mut console = Console { world, cookie: String::new() };
        let password = "a+lantern+over+the+scroll";
        let form = format!("token={token}&name=ines&password={password}&repeated={password}");
        let (status, cookie, page) = console.ask("POST", "/setup", &form);
        assert_eq!(status, "303", "{page}");
        console.cookie = cookie;
        console
    }

    fn ask(&self, method: &str, path: &str, form: &str) -> (String, String, String) {
        let url = &self.world.collector.as_ref().expect("a collector").url;
        let done = Command::new("python3").args(["-c", BROWSER, url, method, path, &self.cookie, form]).output();
        let said = String::from_utf8_lossy(&done.expect("python3").stdout).into_owned();
        let mut parts = said.splitn(3, '\n').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        (next(), next(), next())
    }

    fn page(&self, path: &str) -> String {
        self.ask("GET", path, "").2
    }

    /// Answers the oldest request that waits.
    fn answer(&self, step: &str, note: &str) {
        let (number, csrf) = wait_until("request in the console", || {
            let page = self.page("/approvals");
            let value = |name: &str| {
                let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\""))?;
                Some(rest.split('"').next()?.to_owned())
            };
            value("number").zip(value("csrf"))
        });
        let form = format!("csrf={csrf}&number={number}&step={step}&note={note}");
        let (status, _, page) = self.ask("POST", "/approvals", &form);
        assert_eq!(status, "303", "{page}");
    }
}

#[test]
fn what_a_second_person_approves_goes_within_ten_seconds_for_the_asker_alone() {
    let Some(world) = with_approval(World::builder().with_collector(), "approval = true") else { return };
    let console = Console::set_up(&world);
    let id = refused(&world, ANNA, NAME);
    let why = vitrine_as(&world, ANNA, "why");
    assert!(why.contains("somebody else") && why.contains(&format!("vitrine justify {id} \"the reason\"")), "{why}");
    let begun = Instant::now();
    let said = justify(&world, ANNA, &id);
    assert!(begun.elapsed() < Duration::from_secs(5), "it comes back at once");
    assert!(said.contains("Somebody else has to approve that KP1_0001.jpg may go to courier for 10 minutes"), "{said}");
    assert!(said.contains("You are told on the desktop"), "{said}");
    assert!(!copy(&world, ANNA, NAME), "nothing is open yet");
    stands(&world, ANNA, "pending");
    assert!(vitrine_as(&world, ANNA, "why").contains("nobody has by"));
    assert!(justify(&world, ANNA, &id).contains("asked for already"));
    assert!(world.noticed("approval-asked").contains("loan 14"));
    wait_until("count in the status", || (world.status()?["approvals"] == 1).then_some(()));

    let page = wait_until("request with its pictures", || {
        Some(console.page("/approvals")).filter(|page| page.matches("/v1/evidence/").count() >= 2)
    });
    for text in [
        "daemon asks that KP1_0001.jpg may go to courier",
        "loan 14, agreed with the registrar",
        "ws/masters/KP1_0001.jpg",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    // The kernel's answers do not wait while the collector hangs.
    world.pause_collector(true);
    let begun = Instant::now();
    assert!(!copy(&world, ANNA, NAME) && begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    world.pause_collector(false);

    console.answer("approve", "by+courier+only");
    let begun = Instant::now();
    let told = stands(&world, ANNA, "approved");
    let took = begun.elapsed();
    eprintln!("from the answer to the window: {took:?}");
    assert!(took < PROMPTLY, "{took:?}");
    assert_eq!((&told["by"], &told["note"]), (&"ines".into(), &"by courier only".into()));
    let why = vitrine_as(&world, ANNA, "why");
    assert!(why.contains("ines approved it: try again, until") && why.contains("by courier only"), "{why}");
    assert!(!copy(&world, BEN, NAME), "another user");
    assert!(!copy(&world, ANNA, "KP2_0001.jpg"), "another file");
    assert!(!world.sh_as("cp ws/masters/KP1_0001.jpg usb/", Some(ANNA)).succeeded, "another place");
    assert!(copy(&world, ANNA, NAME));
    for operation in [Operation::Write, Operation::Arrive] {
        let gone = world.recorded("what went", |transfer| {
            transfer.verdict == Verdict::AllowJustified && transfer.operation == operation
        });
        let given = gone.justification.expect("the reason");
        assert_eq!((given.approved_by.as_deref(), Some(given.id.as_str())), (Some("ines"), told["id"].as_str()));
        assert!(gone.explanation.contains("Approved by ines."), "{}", gone.explanation);
    }
    assert!(world.noticed("justified").contains("ines approved that"));
    wait_until("word that the workstation knows", || {
        console.page("/approvals").contains("the workstation knows since").then_some(())
    });
    assert!(console.page("/audit?kind=approval").contains("approved: daemon on "));
}

#[test]
fn a_denial_is_on_the_desktop_and_an_approval_too() {
    let Some(world) = with_approval(World::builder().with_collector(), "approval = true") else { return };
    let console = Console::set_up(&world);
    let Some(anna) = session(&world, ANNA, "en_GB.UTF-8") else { return };
    let id = wait_until("first notification", || {
        let id = refused(&world, ANNA, NAME);
        anna.shown.recv_timeout(Duration::from_millis(500)).ok().map(|_| id)
    });
    let shown =
        |title: &str| wait_until(title, || anna.shown.recv_timeout(PROMPTLY).ok().filter(|shown| shown.title == title));
    assert!(justify(&world, ANNA, &id).contains("Somebody else has to approve"));
    console.answer("deny", "not+%3Cb%3Ethis%3C%2Fb%3E+one");
    stands(&world, ANNA, "denied");
    let denied = wait_until("denial", || {
        let shown = shown("KP1_0001.jpg may not go to courier");
        shown.body.contains("ines did not approve it").then_some(shown)
    });
    assert!(denied.body.contains("not &lt;b&gt;this&lt;/b&gt; one"), "{}", denied.body);
    assert!(!copy(&world, ANNA, NAME));
    assert!(world.noticed("approval-denied").contains("ines does not approve"));

    assert!(justify(&world, ANNA, &id).contains("Somebody else has to approve"), "it may be asked for again");
    console.answer("approve", "");
    let approved = shown("KP1_0001.jpg may go to courier");
    assert!(approved.body.contains("ines approved it: try again"), "{}", approved.body);
    assert!(copy(&world, ANNA, NAME));
}

#[test]
fn who_asks_while_the_collector_is_away_is_told_and_nothing_is_lost_by_a_crash() {
    let Some(world) = with_approval(World::builder().with_collector(), "approval = true") else { return };
    let mut world = world;
    let cookie = Console::set_up(&world).cookie;
    let id = refused(&world, ANNA, NAME);
    world.pause_collector(true);
    let said = justify(&world, ANNA, &id);
    assert!(said.contains("the collector has not got it yet"), "{said}");
    assert!(!copy(&world, ANNA, NAME));
    // Whoever ends in between: what was asked is asked.
    world.kill_agent();
    world.run();
    stands(&world, ANNA, "asking");
    assert!(vitrine_as(&world, ANNA, "why").contains("the collector has not got it yet"));
    world.pause_collector(false);
    stands(&world, ANNA, "pending");
    world.crash_collector();
    world.kill_agent();
    let console = Console { world: &world, cookie };
    console.answer("approve", "");
    world.run();
    stands(&world, ANNA, "approved");
    assert!(copy(&world, ANNA, NAME));
    // What was approved once is not approved for the next run.
    world.kill_agent();
    world.run();
    assert!(!copy(&world, ANNA, NAME));
    wait_until("request that is over", || {
        let why = vitrine_as(&world, ANNA, "why");
        (why.contains("somebody else decides") && !why.contains("try again, until")).then_some(())
    });
}

#[test]
fn a_request_that_nobody_answers_in_time_opens_nothing_and_nobody_has_no_collector() {
    let Some(world) = with_approval(World::builder().with_collector(), "approval = { hours = 0.002 }") else { return };
    let id = refused(&world, ANNA, NAME);
    assert!(justify(&world, ANNA, &id).contains("Somebody else has to approve"));
    stands(&world, ANNA, "expired");
    assert!(vitrine_as(&world, ANNA, "why").contains("Nobody answered in time"));
    let console = Console::set_up(&world);
    let (status, _, page) = console.ask("POST", "/approvals", &{
        let page = console.page("/account");
        let csrf = page.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form");
        format!("csrf={csrf}&number=1&step=approve&note=")
    });
    assert_eq!(status, "409", "{page}");
    assert!(!copy(&world, ANNA, NAME));
    assert!(world.noticed("approval-expired").contains("nobody answered in time"));
    drop(world);

    let Some(world) = with_approval(World::builder(), "approval = true") else { return };
    let id = refused(&world, ANNA, NAME);
    let said = justify(&world, ANNA, &id);
    assert!(said.contains("this agent has no collector that could ask one"), "{said}");
    assert!(!copy(&world, ANNA, NAME));
    // What was given without approval does not hold once the policy wants it.
    let digest = |world: &World| world.status().map(|status| status["policy_digest"].clone());
    let before = digest(&world);
    set_approval(&world, "approval = false");
    wait_until("policy without approval", || (digest(&world)? != *before.as_ref()?).then_some(()));
    let said = justify(&world, ANNA, &id);
    assert!(said.contains("may go to courier for 10 minutes"), "{said}");
    assert!(copy(&world, ANNA, NAME));
    set_approval(&world, "approval = true");
    wait_until("policy with approval", || (!copy(&world, ANNA, NAME)).then_some(()));
}

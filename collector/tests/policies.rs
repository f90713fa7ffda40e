//! Policies on their way to workstations: what is refused when it is added, who gets which version, and when none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use minisign::KeyPair;
use reqwest::StatusCode;
use serde_json::{Value, json};
use vitrine_collector::store::Role;
use world::{World, good};

fn policy(serial: u32, more: &str) -> String {
    format!("version = 1\nserial = {serial}\nmode = \"audit\"\n[elsewhere]\nceiling = \"none\"\n{more}")
}

/// Writes a policy, and adds it with more arguments; gives the exit code and both outputs.
fn add(world: &World, text: &str, arguments: &[&str]) -> (i32, String, String) {
    let file = world.directory.path().join("new.toml");
    std::fs::write(&file, text).unwrap();
    world.run(&[&["policy", "add", file.to_str().unwrap()], arguments].concat())
}

fn list(world: &World) -> Value {
    let (code, out, told) = world.run(&["policy", "list", "--json"]);
    assert_eq!(code, 0, "{told}");
    serde_json::from_str(&out).unwrap()
}

fn done((code, out, told): (i32, String, String)) -> String {
    assert_eq!(code, 0, "{told}");
    out.trim().to_owned()
}

struct Agent {
    id: &'static str,
    token: String,
}

impl Agent {
    async fn new(world: &World, id: &'static str) -> Agent {
        Agent { id, token: world::token(world.directory.path(), id, Role::Agent).await }
    }

    /// Says that it is there, on this host, with this policy in force.
    async fn beat(&self, world: &World, host: &str, policy: &str) {
        let heartbeat = json!({
            "agent": self.id, "host": host, "guard": "gate", "mode": "audit", "spool_depth": 0, "last_sequence": 0,
            "policy": blake3(policy), "takes_policies": true,
        });
        let request = world.client.post(world.url("/v1/heartbeat")).bearer_auth(&self.token);
        good(request.json(&heartbeat).send().await.unwrap()).await;
    }

    async fn ask(&self, world: &World, tag: &str) -> reqwest::Response {
        let request = world.client.get(world.url("/v1/policy")).bearer_auth(&self.token);
        request.header("if-none-match", tag).send().await.unwrap()
    }

    /// The text that it is given.
    async fn given(&self, world: &World) -> Option<String> {
        let answer = self.ask(world, "").await;
        if answer.status() == StatusCode::NO_CONTENT {
            return None;
        }
        Some(good(answer).await["policy"].as_str().unwrap().to_owned())
    }
}

fn blake3(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// Its place is 27 of 100.
const EARLY: &str = "0198c0de-0000-7000-8000-000000000005";
/// Its place is 77.
const LATE: &str = "0198c0de-0000-7000-8000-000000000007";

#[tokio::test]
async fn a_policy_with_a_mistake_or_a_failing_test_is_not_added() {
    let world = World::new().await;
    let (code, _, why) = add(&world, &policy(1, "").replace("audit", "audti"), &[]);
    assert_eq!(code, 1);
    assert!(why.contains("new.toml:3:8: ") && why.contains("^^^"), "{why}");
    let fails = "[[test]]\ntransfer = { tier = \"master\", to = \"/a\" }\nexpect = \"allow\"\n";
    let (code, _, why) = add(&world, &policy(1, fails), &[]);
    assert!(code == 1 && why.contains("new.toml:6:1: 1 of its [[test]] cases failed"), "{why}");
    assert_eq!(list(&world)["versions"], json!([]));

    assert_eq!(done(add(&world, &policy(1, ""), &["--note", "the first"])), "1");
    let (code, _, why) = add(&world, &policy(1, ""), &[]);
    assert!(code == 2 && why.contains("version 1 has this very text"), "{why}");
    let version = &list(&world)["versions"][0];
    assert_eq!(
        (&version["serial"], &version["signed"], &version["note"]),
        (&json!(1), &json!(false), &json!("the first"))
    );
    assert_eq!(version["digest"], blake3(&policy(1, "")));
}

#[tokio::test]
async fn with_a_public_key_only_what_is_signed_with_it_is_added() {
    let world = World::new().await;
    let pairs = [(); 2].map(|()| KeyPair::generate_unencrypted_keypair().unwrap());
    let path = |name: &str| world.directory.path().join(name);
    std::fs::write(path("museum.pub"), pairs[0].pk.to_box().unwrap().into_string()).unwrap();
    std::fs::write(path("collector.toml"), "[policy]\npublic-key = \"museum.pub\"\n").unwrap();
    let sign = |pair: &KeyPair, text: &str| {
        let signed = minisign::sign(None, &pair.sk, text.as_bytes(), None, None).unwrap();
        std::fs::write(path("new.minisig"), signed.to_string()).unwrap();
    };
    let signature = path("new.minisig").display().to_string();
    assert!(add(&world, &policy(1, ""), &[]).2.contains("there is no signature"));
    sign(&pairs[1], &policy(1, ""));
    assert!(add(&world, &policy(1, ""), &["--signature", &signature]).2.contains("is not signed with the key"));
    sign(&pairs[0], &policy(2, ""));
    assert!(add(&world, &policy(1, ""), &["--signature", &signature]).2.contains("is not signed with the key"));
    std::fs::write(path("new.minisig"), "no signature").unwrap();
    assert!(add(&world, &policy(1, ""), &["--signature", &signature]).2.contains("is none"));
    sign(&pairs[0], &policy(1, ""));
    assert_eq!(done(add(&world, &policy(1, ""), &["--signature", &signature])), "1");
}

#[tokio::test]
async fn each_agent_gets_the_version_of_the_newest_rollout_that_reaches_it() {
    let world = World::new().await;
    let (early, late) = (Agent::new(&world, EARLY).await, Agent::new(&world, LATE).await);
    // Nobody knows yet which agent a token is of.
    assert_eq!(early.ask(&world, "").await.status(), StatusCode::CONFLICT);
    early.beat(&world, "scan-01", "").await;
    late.beat(&world, "lab-02", "").await;
    for serial in 1..=3 {
        done(add(&world, &policy(serial, ""), &[]));
    }
    assert_eq!(early.given(&world).await, None, "nothing was rolled out");

    done(world.run(&["policy", "roll-out", "--version", "1"]));
    let answer = early.ask(&world, "").await;
    let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
    let given = good(answer).await;
    assert_eq!((&given["policy"], &given["signature"]), (&json!(policy(1, "")), &Value::Null));
    let answer = early.ask(&world, &format!("\"x\", {tag}")).await;
    assert_eq!((answer.status(), answer.headers()["etag"].to_str().unwrap()), (StatusCode::NOT_MODIFIED, &*tag));

    done(world.run(&["policy", "roll-out", "--version", "2", "--percentage", "50"]));
    assert_eq!(early.ask(&world, &tag).await.status(), StatusCode::OK);
    assert_eq!(early.given(&world).await, Some(policy(2, "")));
    assert_eq!(late.given(&world).await, Some(policy(1, "")));
    assert_eq!(list(&world)["rollouts"][0]["agents"], json!([EARLY]));

    // A group by host name, whatever the percentage of the others.
    done(world.run(&["policy", "group", "--name", "labs", "LAB-*", "no such host"]));
    done(world.run(&["policy", "roll-out", "--version", "3", "--group", "labs"]));
    assert_eq!(early.given(&world).await, Some(policy(2, "")));
    assert_eq!(late.given(&world).await, Some(policy(3, "")));

    // Acknowledged is what a heartbeat says to be in force.
    let acknowledged = |number: usize| {
        let version = list(&world)["versions"][3 - number].clone();
        (version["acknowledged"].as_u64().unwrap(), version["wanted"].as_u64().unwrap())
    };
    assert_eq!((acknowledged(2), acknowledged(3)), ((0, 1), (0, 1)));
    early.beat(&world, "scan-01", &policy(2, "")).await;
    assert_eq!((acknowledged(2), acknowledged(3)), ((1, 1), (0, 1)));
}

#[tokio::test]
async fn a_halted_rollout_goes_on_for_those_that_have_its_version() {
    let world = World::new().await;
    let (early, late) = (Agent::new(&world, EARLY).await, Agent::new(&world, LATE).await);
    for serial in 1..=2 {
        done(add(&world, &policy(serial, ""), &[]));
    }
    done(world.run(&["policy", "roll-out", "--version", "1"]));
    assert_eq!(done(world.run(&["policy", "roll-out", "--version", "2"])), "2");
    early.beat(&world, "scan-01", &policy(2, "")).await;
    late.beat(&world, "scan-02", &policy(1, "")).await;
    assert_eq!(late.given(&world).await, Some(policy(2, "")));
    done(world.run(&["policy", "halt", "--rollout", "2"]));
    assert_eq!(early.given(&world).await, Some(policy(2, "")));
    assert_eq!(late.given(&world).await, Some(policy(1, "")));
    done(world.run(&["policy", "resume", "--rollout", "2"]));
    assert_eq!(late.given(&world).await, Some(policy(2, "")));

    for (arguments, why) in [
        (&["policy", "raise", "--rollout", "2", "--percentage", "50"][..], "cannot go from 100 to 50 %"),
        (&["policy", "roll-out", "--version", "1", "--percentage", "0"], "cannot go from 0 to 0 %"),
        (&["policy", "roll-out", "--version", "9"], "no version 9"),
        (&["policy", "roll-out", "--version", "1", "--group", "x"], "no group \"x\""),
        (&["policy", "halt", "--rollout", "9"], "no rollout 9"),
        (&["policy", "group", "--name", "labs", "[z-a]"], "is no pattern of host names"),
    ] {
        let (code, _, told) = world.run(arguments);
        assert!(code == 2 && told.contains(why), "{arguments:?}: {code} {told}");
    }
    let (_, log, _) = world.run(&["audit", "export"]);
    let entries: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = entries.iter().filter(|entry| entry["kind"] == "policy").collect();
    assert_eq!(told.len(), 6, "{log}");
    assert_eq!((&told[4]["subject"], &told[4]["detail"]), (&json!("rollout 2"), &json!("halted")));
}

#[tokio::test]
async fn the_page_is_read_by_everybody_and_changed_by_policy_admins() {
    let world = World::new().await;
    let admin = world.set_up().await;
    let (viewer, minister) =
        (world.user(&admin, "vera", "viewer").await, world.user(&admin, "paul", "policy-admin").await);
    let first = policy(1, "# <b>").replace('\n', "\r\n");
    let added = |text: String| [("text", text), ("signature", String::new()), ("note", "for <i>loan</i> 14".into())];
    for (session, form) in [(&viewer, added(first.clone())), (&minister, added(policy(1, "x")))] {
        let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = world.post(session, "/policy", &form).await;
        let (status, page) = (answer.status(), answer.text().await.unwrap());
        if session == &viewer {
            assert_eq!(status, StatusCode::FORBIDDEN);
        } else {
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert!(page.contains("policy.toml:6:") && page.contains("Nothing was changed"), "{page}");
        }
    }
    let post = async |path: &str, form: &[(&str, &str)]| world.post(&minister, path, form).await;
    for text in [&first, &policy(2, "# & two")] {
        let answer = post("/policy", &[("text", text), ("note", "for <i>loan</i> 14")]).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    }
    let page = world.page("/policy", &viewer).await;
    assert!(page.contains("Version 2") && page.contains("loan") && !page.contains("<i>"), "{page}");
    assert!(!page.contains("<textarea"), "a viewer sees no form");
    // The line ends of a form are not those of the text.
    let text = world.page("/policy/1/policy.toml", &viewer).await;
    assert_eq!(text, policy(1, "# <b>"));
    let page = world.page("/policy/2", &viewer).await;
    assert!(page.contains("-serial = 1") && page.contains("+serial = 2") && page.contains("-# &#60;b&#62;"), "{page}");

    let group = [("name", "studio"), ("members", "scan-0?\r\nlab-*")];
    assert_eq!(post("/policy/groups", &group).await.status(), StatusCode::SEE_OTHER);
    let begun = [("version", "2"), ("group", "studio"), ("percentage", "25")];
    assert_eq!(post("/policy/rollouts", &begun).await.status(), StatusCode::SEE_OTHER);
    for (step, percentage, status) in [
        ("raise", "20", StatusCode::CONFLICT),
        ("raise", "50", StatusCode::SEE_OTHER),
        ("halt", "50", StatusCode::SEE_OTHER),
    ] {
        let form = [("rollout", "1"), ("step", step), ("percentage", percentage)];
        assert_eq!(post("/policy/rollouts/step", &form).await.status(), status, "{step} {percentage}");
    }
    let form = [("rollout", "1"), ("step", "resume")];
    assert_eq!(world.post(&viewer, "/policy/rollouts/step", &form).await.status(), StatusCode::FORBIDDEN);
    let found = &list(&world)["rollouts"][0];
    assert_eq!(
        (&found["state"], &found["percentage"], &found["changed_by"]),
        (&json!("halted"), &json!(50), &json!("paul"))
    );
    let page = world.page("/policy", &minister).await;
    assert!(page.contains("50 % of studio") && page.contains("Resume rollout 1"), "{page}");
}

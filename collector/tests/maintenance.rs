//! Maintenance tokens: who is issued which, and that the audit log has it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use minisign::KeyPair;
use minisign_verify::{PublicKey, Signature};
use serde_json::{Value, json};
use vitrine_collector::store::Role;
use vitrine_policy::maintenance::{COMMENT, Token, signed};
use world::{World, good};

const AGENT: &str = "0198c0de-0000-7000-8000-000000000007";
const REASON: &str = "new disk, ticket 214";

/// A collector that has heard of agents on workstations of these names.
async fn world(hosts: &[(&str, &'static str)]) -> World {
    let world = World::new().await;
    for (agent, host) in hosts {
        let token = world::token(world.directory.path(), agent, Role::Agent).await;
        let heartbeat = json!({
            "agent": agent, "host": host, "guard": "flow", "mode": "enforce", "spool_depth": 0, "last_sequence": 0,
        });
        let request = world.client.post(world.url("/v1/heartbeat")).bearer_auth(token);
        good(request.json(&heartbeat).send().await.unwrap()).await;
    }
    world
}

/// Makes a key; gives the path of the secret one, and the public one.
fn key(world: &World, password: Option<&str>) -> (String, PublicKey) {
    let keys = match password {
        Some(password) => KeyPair::generate_encrypted_keypair(Some(password.to_owned())),
        None => KeyPair::generate_unencrypted_keypair(),
    };
    let keys = keys.unwrap();
    let file = world.directory.path().join("museum.key");
    std::fs::write(&file, keys.sk.to_box(None).unwrap().into_string()).unwrap();
    (file.display().to_string(), PublicKey::from_base64(&keys.pk.to_base64()).unwrap())
}

fn issue(world: &World, key: &str, arguments: &[&str]) -> (i32, String, String) {
    world.run(&[&["maintenance", "issue", "--key", key], arguments].concat())
}

/// Subject and detail of what the audit log has of it.
fn audited(world: &World) -> Vec<(String, String)> {
    let (code, text, error) = world.run(&["audit", "export"]);
    assert_eq!(code, 0, "{error}");
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let is_it = |entry: &Value| entry["kind"] == "maintenance" && entry["origin"] == "command line";
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    entries.filter(is_it).map(|entry| (text(&entry, "subject"), text(&entry, "detail"))).collect()
}

#[tokio::test]
async fn a_token_says_for_whom_how_long_and_why_and_is_signed_as_one() {
    let world = world(&[(AGENT, "scan-07")]).await;
    let (secret, public) = key(&world, None);
    let (code, out, told) = issue(&world, &secret, &["--host", "scan-07", "--minutes", "60", "--reason", REASON]);
    assert_eq!(code, 0, "{told}");
    let token = Token::parse(&out).unwrap();
    let claims = token.claims().unwrap();
    assert_eq!((claims.agent.as_deref(), claims.reason.as_str()), (Some(AGENT), REASON));
    assert_eq!(claims.until - claims.from, 3600);
    assert!((jiff::Timestamp::now().as_second() - claims.from).abs() < 60);
    let signature = Signature::decode(&token.signature).unwrap();
    assert!(signature.trusted_comment().starts_with(COMMENT));
    public.verify(&signed(&token.claims), &signature, false).unwrap();
    assert!(public.verify(&token.claims, &signature, false).is_err(), "the claims alone are not signed");
    let all = ["--all", "--minutes", "1440", "--from", "", "--reason", "update of all workstations"];
    let from = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24)).to_string();
    let (code, out, told) = issue(&world, &secret, &all.map(|word| if word.is_empty() { from.as_str() } else { word }));
    assert_eq!(code, 0, "{told}");
    let later = Token::parse(&out).unwrap().claims().unwrap();
    assert!(later.agent.is_none() && later.until - later.from == 24 * 3600 && later.from > claims.from + 80_000);
    let audited = audited(&world);
    assert_eq!(audited.len(), 2, "{audited:?}");
    assert_eq!(audited[0].0, claims.id);
    assert!(
        audited[0].1.contains(&format!("issued for agent {AGENT} (scan-07), from ")) && audited[0].1.ends_with(REASON)
    );
    assert!(audited[1].1.starts_with("issued for all agents, from "), "{audited:?}");
    assert_eq!(world.run(&["audit", "verify"]).0, 0);
}

#[tokio::test]
async fn what_cannot_be_answered_for_is_not_issued_and_leaves_no_entry() {
    let other = "0198c0de-0000-7000-8000-000000000008";
    let world = world(&[(AGENT, "scan"), (other, "scan")]).await;
    let (secret, _) = key(&world, Some("three small words"));
    let password = world.directory.path().join("password");
    std::fs::write(&password, "another\n").unwrap();
    let password = password.to_str().unwrap().to_owned();
    let for_one = ["--password-file", &password, "--host", AGENT, "--minutes", "60"];
    let with = |more: &[&'static str]| issue(&world, &secret, &[&for_one[..], more].concat());
    let refused = |(code, out, told): (i32, String, String), why: &str| {
        assert!(code == 2 && out.is_empty() && told.contains(why), "{why}: {code} {out} {told}");
    };
    refused(with(&["--reason", REASON]), "museum.key cannot be used");
    std::fs::write(&password, "three small words\n").unwrap();
    refused(with(&["--reason", "short"]), "10 to 300 printable characters");
    refused(with(&[]), "--reason");
    refused(with(&["--reason", REASON, "--from", "2020-01-01T00:00:00Z"]), "within 30 days");
    refused(with(&["--reason", REASON, "--all"]), "cannot be used with");
    let mut too_long = for_one;
    too_long[5] = "1441";
    refused(issue(&world, &secret, &[&too_long[..], &["--reason", REASON]].concat()), "1441");
    let mut ambiguous = for_one;
    ambiguous[3] = "scan";
    refused(issue(&world, &secret, &[&ambiguous[..], &["--reason", REASON]].concat()), other);
    ambiguous[3] = "nobody";
    refused(issue(&world, &secret, &[&ambiguous[..], &["--reason", REASON]].concat()), "no agent was heard of");
    refused(issue(&world, "/nowhere.key", &[&for_one[..], &["--reason", REASON]].concat()), "/nowhere.key");
    assert_eq!(audited(&world), []);
    assert_eq!(with(&["--reason", REASON]).0, 0);
    assert_eq!(audited(&world).len(), 1);
}

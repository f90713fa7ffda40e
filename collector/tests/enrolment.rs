//! Agents become known: by a token they get a certificate, by the certificate they are heard.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use rcgen::{CertificateParams, KeyPair};
use reqwest::{Client, Response, StatusCode};
use serde_json::json;
use vitrine_collector::rate::Rate;
use vitrine_collector::store::{Role, Store, Worth};
use vitrine_collector::tls::Tls;
use world::{AGENT, World, blocked, good, lines, only_on_sqlite, refused};

async fn with_tls() -> World {
    World::with(|settings| settings.tls = Tls::Own).await
}

/// A client that trusts whoever answers (agents know better: see their own tests), with a certificate or without.
fn client(identity: Option<(&str, &KeyPair)>) -> Client {
    let mut builder = Client::builder().no_proxy().tls_danger_accept_invalid_certs(true);
    if let Some((certificate, key)) = identity {
        let both = format!("{}{certificate}", key.serialize_pem());
        builder = builder.identity(reqwest::Identity::from_pem(both.as_bytes()).unwrap());
    }
    builder.build().unwrap()
}

fn request(key: &KeyPair) -> String {
    CertificateParams::new(vec!["another.example".into()]).unwrap().serialize_request(key).unwrap().pem().unwrap()
}

async fn enrol(world: &World, client: &Client, token: Option<&str>, agent: &str, csr: &str) -> Response {
    let mut request = client.post(world.url("/v1/enroll")).json(&json!({"agent": agent, "csr": csr}));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    request.send().await.unwrap()
}

async fn certificate(response: Response) -> String {
    good(response).await["certificate"].as_str().unwrap().to_owned()
}

async fn send(world: &World, client: &Client, agent: &str, sequence: u64) -> Response {
    let mut record = blocked(sequence);
    record.host.agent = agent.into();
    client.post(world.url("/v1/records")).bearer_auth(&world.agent).body(lines(&[record])).send().await.unwrap()
}

async fn store(world: &World) -> Store {
    world.store().await
}

#[tokio::test]
async fn a_token_gives_one_agent_a_certificate_and_the_certificate_speaks_for_that_agent_alone() {
    let world = with_tls().await;
    assert!(world.running.url.starts_with("https://"));
    let (nobody, key) = (client(None), KeyPair::generate().unwrap());
    // A token alone says nothing where certificates are given.
    refused(send(&world, &nobody, AGENT, 1).await, StatusCode::UNAUTHORIZED).await;
    let pem = certificate(enrol(&world, &nobody, Some(&world.agent), AGENT, &request(&key)).await).await;
    let agent = client(Some((&pem, &key)));
    assert_eq!(good(send(&world, &agent, AGENT, 1).await).await["committed"], 1);
    let error = refused(send(&world, &agent, "somebody-else", 1).await, StatusCode::FORBIDDEN).await;
    assert!(error.contains("certificate belongs to agent"), "{error}");
    let error =
        refused(enrol(&world, &agent, None, "somebody-else", &request(&key)).await, StatusCode::FORBIDDEN).await;
    assert!(error.contains("certificate belongs to agent"), "{error}");

    // The token is used up, for this agent and for every other.
    let other = KeyPair::generate().unwrap();
    let again = enrol(&world, &nobody, Some(&world.agent), "second", &request(&other)).await;
    assert!(refused(again, StatusCode::FORBIDDEN).await.contains("as many agents as it was made for"));
    // Whoever has another token cannot become an agent that is there.
    let token = world::token(world.directory.path(), "stolen", Role::Agent).await;
    let forged = enrol(&world, &nobody, Some(&token), AGENT, &request(&other)).await;
    assert!(refused(forged, StatusCode::FORBIDDEN).await.contains("has a certificate already"));
    // An answer that was lost is given again, to the same key, and the first certificate is worth nothing then.
    let same = enrol(&world, &nobody, Some(&world.agent), AGENT, &request(&key)).await;
    let second = client(Some((&certificate(same).await, &key)));
    assert_eq!(good(send(&world, &second, AGENT, 2).await).await["committed"], 2);
    refused(send(&world, &agent, AGENT, 3).await, StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn a_certificate_renews_itself_and_a_revoked_one_does_nothing() {
    let world = with_tls().await;
    let (nobody, key) = (client(None), KeyPair::generate().unwrap());
    let pem = certificate(enrol(&world, &nobody, Some(&world.agent), AGENT, &request(&key)).await).await;
    let agent = client(Some((&pem, &key)));
    let renewed = certificate(enrol(&world, &agent, None, AGENT, &request(&key)).await).await;
    assert_ne!(renewed, pem);
    let agent = client(Some((&renewed, &key)));
    assert_eq!(good(send(&world, &agent, AGENT, 1).await).await["committed"], 1);
    assert_eq!(store(&world).await.revoke_agent(AGENT.into()).await.unwrap(), 2);
    let error = refused(send(&world, &agent, AGENT, 2).await, StatusCode::UNAUTHORIZED).await;
    assert!(error.contains("revoked certificate"), "{error}");
    refused(enrol(&world, &agent, None, AGENT, &request(&key)).await, StatusCode::UNAUTHORIZED).await;
    // Enrolled again by a new token, as IT wants it.
    let token = world::token(world.directory.path(), "new", Role::Agent).await;
    let pem = certificate(enrol(&world, &nobody, Some(&token), AGENT, &request(&key)).await).await;
    assert_eq!(good(send(&world, &client(Some((&pem, &key))), AGENT, 2).await).await["committed"], 2);
    let listed = store(&world).await.certificates().await.unwrap();
    assert_eq!(listed.iter().map(|one| one.revoked.is_some()).collect::<Vec<_>>(), [false, true, true]);
}

#[tokio::test]
async fn a_renewed_certificate_brings_no_new_allowance() {
    let world = World::with(|settings| {
        settings.tls = Tls::Own;
        settings.limits.agent = Rate { per_second: 0.01, burst: 4.0 };
    })
    .await;
    let (nobody, key) = (client(None), KeyPair::generate().unwrap());
    let pem = certificate(enrol(&world, &nobody, Some(&world.agent), AGENT, &request(&key)).await).await;
    let agent = client(Some((&pem, &key)));
    for sequence in 1..=2 {
        good(send(&world, &agent, AGENT, sequence).await).await;
    }
    let renewed = certificate(enrol(&world, &agent, None, AGENT, &request(&key)).await).await;
    let agent = client(Some((&renewed, &key)));
    good(send(&world, &agent, AGENT, 3).await).await;
    let error = refused(send(&world, &agent, AGENT, 4).await, StatusCode::TOO_MANY_REQUESTS).await;
    assert!(error.contains("too many requests of this agent"), "{error}");
}

#[tokio::test]
async fn an_expired_certificate_does_nothing() {
    if !only_on_sqlite("an_expired_certificate_does_nothing") {
        return; // the statement that asks is the same on both
    }
    let world = with_tls().await;
    let (nobody, key) = (client(None), KeyPair::generate().unwrap());
    let pem = certificate(enrol(&world, &nobody, Some(&world.agent), AGENT, &request(&key)).await).await;
    let agent = client(Some((&pem, &key)));
    good(send(&world, &agent, AGENT, 1).await).await;
    let database = rusqlite::Connection::open(world.directory.path().join("collector.db")).unwrap();
    assert_eq!(database.execute("UPDATE certificates SET expires = 1", []).unwrap(), 1);
    let error = refused(send(&world, &agent, AGENT, 2).await, StatusCode::UNAUTHORIZED).await;
    assert!(error.contains("certificate"), "{error}");
    refused(enrol(&world, &agent, None, AGENT, &request(&key)).await, StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn certificates_of_others_and_requests_that_are_none_are_refused() {
    let world = with_tls().await;
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec![AGENT.into()]).unwrap().self_signed(&key).unwrap().pem();
    let forged = client(Some((&own, &key))).get(world.url("/healthz")).send().await;
    assert!(forged.is_err(), "a certificate that the authority did not issue ends the handshake");
    let nobody = client(None);
    for csr in ["", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", &own] {
        let error =
            refused(enrol(&world, &nobody, Some(&world.agent), AGENT, csr).await, StatusCode::BAD_REQUEST).await;
        assert!(error.contains("signing request"), "{error}");
    }
    let bad = enrol(&world, &nobody, Some(&world.agent), "../x", &request(&key)).await;
    assert_eq!(refused(bad, StatusCode::BAD_REQUEST).await, "no proper agent id");
    let reader = enrol(&world, &nobody, Some(&world.reader), AGENT, &request(&key)).await;
    refused(reader, StatusCode::FORBIDDEN).await;
    refused(enrol(&world, &nobody, None, AGENT, &request(&key)).await, StatusCode::UNAUTHORIZED).await;
    // Nothing of that used the token up.
    certificate(enrol(&world, &nobody, Some(&world.agent), AGENT, &request(&key)).await).await;
}

#[tokio::test]
async fn a_token_for_many_enrols_so_many_and_ends_in_time() {
    let world = with_tls().await;
    let store = store(&world).await;
    let (_, many) = store.create_token("many".into(), Role::Agent, Worth { uses: 2, lasts: None }).await.unwrap();
    let (_, late) = store.create_token("late".into(), Role::Agent, Worth { uses: 2, lasts: Some(-1) }).await.unwrap();
    let nobody = client(None);
    let mut statuses = Vec::new();
    for number in 0..3 {
        let key = KeyPair::generate().unwrap();
        let agent = format!("agent-{number}");
        statuses.push(enrol(&world, &nobody, Some(&many), &agent, &request(&key)).await.status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 403]);
    let key = KeyPair::generate().unwrap();
    let error =
        refused(enrol(&world, &nobody, Some(&late), "agent-9", &request(&key)).await, StatusCode::FORBIDDEN).await;
    assert!(error.contains("expired"), "{error}");
}

#[tokio::test]
async fn a_collector_without_tls_leaves_agents_their_tokens() {
    let world = World::new().await;
    let key = KeyPair::generate().unwrap();
    let answer = good(enrol(&world, &client(None), Some(&world.agent), AGENT, &request(&key)).await).await;
    assert_eq!(answer["certificate"], serde_json::Value::Null);
    assert_eq!(world.send(&[blocked(1)]).await, 1);
}

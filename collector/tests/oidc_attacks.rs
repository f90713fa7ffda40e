//! Log-in by a provider: everybody who lies on the way, and a provider that is away.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "world/provider.rs"]
mod provider;
mod world;

use provider::{
    Provider, SECRET, audit, bring, bring_code, by_another, by_secret, inside, leave, log_in, outside, ready, unsigned,
    world_of,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use world::PASSWORD;

#[tokio::test]
async fn an_answer_counts_once_and_in_the_browser_that_asked() {
    let (world, admin, provider) = ready().await;
    let away = leave(&world).await;
    let token = provider.sign(&provider.claims(away.nonce()));
    let code = provider.grant(away.challenge(), &token);
    let state = away.asked["state"].clone();
    let eve = leave(&world).await;
    let never = "vitrine-away=".to_owned() + &"0".repeat(64);
    let forged = "0".repeat(64);
    for (cookies, state, what) in [
        (away.cookie.as_str(), forged.as_str(), "a forged state"),
        (&away.cookie, "", "none"),
        (&away.cookie, &eve.asked["state"], "the state of another browser"),
        (&eve.cookie, &state, "the cookie of another browser"),
        ("", &state, "no cookie"),
        (&never, &state, "a cookie that nobody gave"),
    ] {
        let error = outside(bring(&world, cookies, &[("code", &code), ("state", state)]).await, StatusCode::FORBIDDEN);
        assert!(error.await.contains("was not begun in this browser"), "{what}");
    }
    let other = [("code", code.as_str()), ("state", &state), ("iss", "https://other.example")];
    outside(bring(&world, &away.cookie, &other).await, StatusCode::FORBIDDEN).await;
    let twice = [("code", code.as_str()), ("state", &state), ("state", &state)];
    outside(bring(&world, &away.cookie, &twice).await, StatusCode::FORBIDDEN).await;

    // None of that has kept the one who asked from coming in.
    inside(bring_code(&world, &away, &code).await).await;
    let again = provider.grant(away.challenge(), &token);
    for code in [&code, &again] {
        let error = outside(bring_code(&world, &away, code).await, StatusCode::FORBIDDEN).await;
        assert!(error.contains("or is over: begin again"), "{error}");
    }
    // A code that was used up, in a log-in that is one's own.
    let error = outside(bring_code(&world, &eve, &code).await, StatusCode::FORBIDDEN).await;
    assert_eq!(error, "single sign-on did not log you in: invalid_grant.");
    // A code of somebody else's log-in: the verifier does not fit (PKCE).
    let (wen, eve) = (leave(&world).await, leave(&world).await);
    let stolen = provider.grant(wen.challenge(), &provider.sign(&provider.claims(eve.nonce())));
    let error = outside(bring_code(&world, &eve, &stolen).await, StatusCode::FORBIDDEN).await;
    assert!(error.contains("invalid_grant"), "{error}");
    assert_eq!(world.directory.by_hand().execute("UPDATE departures SET expires = 7"), 1);
    let code = provider.grant(wen.challenge(), &provider.sign(&provider.claims(wen.nonce())));
    outside(bring_code(&world, &wen, &code).await, StatusCode::FORBIDDEN).await;
    let log = audit(&world, &admin).await;
    assert!(log.contains("attempt 8: an answer of the provider to a log-in that did not begin"), "{log}");
    assert!(!log.contains("attempt 7") && log.contains("it refuses: invalid_grant"), "{log}");
    leave(&world).await;
    assert_eq!(world.directory.by_hand().number("SELECT count(*) FROM departures"), 1, "nothing is left over");
}

#[tokio::test]
async fn what_the_provider_says_of_a_user_is_checked() {
    let (world, admin, provider) = ready().await;
    let mut reasons = Vec::new();
    let mut refuse = async |why: &'static str, token: &dyn Fn(Value) -> String| {
        let away = leave(&world).await;
        let code = provider.grant(away.challenge(), &token(provider.claims(away.nonce())));
        let error = outside(bring_code(&world, &away, &code).await, StatusCode::FORBIDDEN).await;
        let expected = format!("What single sign-on says cannot be trusted: {why}");
        assert!(error.starts_with(&expected), "{error}\n{expected}");
        reasons.push(why);
    };
    let with = |key: &'static str, value: Value| {
        let provider = provider.clone();
        move |mut claims: Value| {
            claims[key] = value.clone();
            provider.sign(&claims)
        }
    };
    refuse("it belongs to another log-in", &with("nonce", json!("another"))).await;
    refuse("it belongs to another log-in", &with("nonce", Value::Null)).await;
    refuse("it is meant for another program", &with("aud", json!("webmail"))).await;
    refuse("it is meant for another program", &with("aud", json!(["vitrine", "webmail"]))).await;
    refuse("it names another issuer", &with("iss", json!("https://other.example"))).await;
    refuse("it has expired", &with("exp", json!(jiff::Timestamp::now().as_second() - 1))).await;
    refuse("its answer cannot be read", &with("exp", json!("never"))).await;
    refuse("the subject is empty", &with("sub", json!(""))).await;
    refuse("the subject is empty, or longer", &with("sub", json!("x".repeat(256)))).await;
    refuse("the access token belongs to another ID token", &with("at_hash", json!("c29tZXRoaW5nIGVsc2U"))).await;
    refuse("it is not signed with a key of the provider", &|claims| by_another(&claims)).await;
    refuse("it is not signed with a key of the provider", &|claims| unsigned(&claims)).await;
    refuse("it is not signed with a key of the provider", &|claims| by_secret(&claims, SECRET.as_bytes())).await;
    let public = provider.public_key();
    refuse("it is not signed with a key of the provider", &|claims| by_secret(&claims, &public)).await;
    refuse("its answer cannot be read", &|_| "no token".into()).await;
    let cut = |claims: Value| {
        let token = provider.sign(&claims);
        let (text, _) = token.rsplit_once('.').unwrap();
        format!("{text}.")
    };
    refuse("it is not signed with a key of the provider", &cut).await;

    let away = leave(&world).await;
    let code = provider.grant_answer(away.challenge(), json!({"access_token": "x", "token_type": "Bearer"}));
    let error = outside(bring_code(&world, &away, &code).await, StatusCode::FORBIDDEN).await;
    assert!(error.contains("there is no ID token"), "{error}");
    let away = leave(&world).await;
    let error = bring(&world, &away.cookie, &[("state", &away.asked["state"])]).await;
    assert!(outside(error, StatusCode::FORBIDDEN).await.contains("neither a code nor an error"));

    let log = audit(&world, &admin).await;
    for why in reasons {
        assert!(log.contains(&format!("cannot be trusted: {why}")), "{why}: {log}");
    }
    assert_eq!(world.directory.by_hand().number("SELECT count(*) FROM users"), 1, "nobody came in");
    inside(log_in(&world, &provider, json!({})).await).await;
}

#[tokio::test]
async fn while_the_provider_is_away_local_users_log_in() {
    let mut provider = Provider::start().await;
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    provider.url = format!("http://{gone}");
    let world = world_of(&provider, "").await;
    world.set_up().await;
    let response = world.client.get(world.url("/login/oidc")).send().await.unwrap();
    let error = outside(response, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(error.contains("does not work just now: try again in a moment, or log in with a user name"), "{error}");
    assert!(!error.contains("127.0.0.1"), "the journal has more, and strangers have not: {error}");
    assert_eq!(world.log_in("ines", PASSWORD).await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_provider_that_describes_itself_wrongly_is_none() {
    let url = |path: &str| format!("http://192.0.2.1/{path}");
    for (what, discovery, differs) in [
        ("another issuer", None, json!({"issuer": "https://other.example"})),
        ("an authorization endpoint in clear", None, json!({"authorization_endpoint": url("authorize")})),
        ("no web page", None, json!({"authorization_endpoint": "javascript:alert(1)"})),
        ("keys in clear", None, json!({"jwks_uri": url("jwks")})),
        ("too much", Some((StatusCode::OK, " ".repeat(2 << 20))), json!({})),
        ("elsewhere", Some((StatusCode::FOUND, String::new())), json!({})),
        ("nothing", Some((StatusCode::OK, "{}".into())), json!({})),
    ] {
        let provider = Provider::start().await;
        provider.change(|said| (said.discovery, said.differs) = (discovery, differs));
        let world = world_of(&provider, "").await;
        world.set_up().await;
        let response = world.client.get(world.url("/login/oidc")).send().await.unwrap();
        assert!(outside(response, StatusCode::SERVICE_UNAVAILABLE).await.contains("does not work just now"), "{what}");
        world.running.stop().await;
    }
    // An endpoint in clear that is needed later.
    let (world, _, provider) = ready().await;
    provider.change(|said| said.differs = json!({"token_endpoint": url("token")}));
    outside(log_in(&world, &provider, json!({})).await, StatusCode::SERVICE_UNAVAILABLE).await;
}

#[tokio::test]
async fn an_error_of_the_provider_is_text_and_is_shown_to_who_asked() {
    let (world, admin, _) = ready().await;
    let hostile = "<script>alert(1)</script>\u{202e}\r\nSet-Cookie: a=b".to_owned() + &"x".repeat(9_000);
    let away = leave(&world).await;
    let answer = [("error", "access_denied"), ("error_description", &hostile), ("state", &away.asked["state"])];
    let stranger = outside(bring(&world, "", &answer).await, StatusCode::FORBIDDEN).await;
    assert!(!stranger.contains("access_denied") && !stranger.contains("script"), "{stranger}");
    let error = outside(bring(&world, &away.cookie, &answer).await, StatusCode::FORBIDDEN).await;
    assert!(error.starts_with("single sign-on did not log you in: access_denied (\"&#60;script&#62;"), "{error}");
    assert!(error.len() < 600 && !error.contains('\u{202e}') && !error.contains('\n'), "{error}");
    for code in ["<b>", "", &"x".repeat(41)] {
        let away = leave(&world).await;
        let answer = [("error", code), ("state", &away.asked["state"])];
        let error = outside(bring(&world, &away.cookie, &answer).await, StatusCode::FORBIDDEN).await;
        assert_eq!(error, "single sign-on did not log you in: an unknown error.");
    }
    assert!(audit(&world, &admin).await.contains("it refuses: access_denied"));
    for number in 0..20 {
        let away = leave(&world).await;
        let said = format!("no {number}");
        let answer = [("error", "x"), ("error_description", said.as_str()), ("state", &away.asked["state"])];
        outside(bring(&world, &away.cookie, &answer).await, StatusCode::FORBIDDEN).await;
    }
    let log = audit(&world, &admin).await;
    assert_eq!(log.matches("it refuses: ").count(), 5, "whoever makes words up does not fill the disk: {log}");
}

#[tokio::test]
async fn a_log_in_leads_to_the_provider_and_nowhere_else() {
    let provider = Provider::start().await;
    let world = world_of(&provider, "").await;
    let to_login = async |path: &str, site: &str| {
        let request = world.client.get(world.url(path)).header("sec-fetch-site", site);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        response.headers()["location"].to_str().unwrap() == "/login"
    };
    assert!(to_login("/login/oidc", "same-origin").await, "nobody comes in before the console is set up");
    world.set_up().await;
    assert!(to_login("/login/oidc", "cross-site").await, "another site begins none");
    assert!(!to_login("/login/oidc", "none").await);
    for more in ["?next=https://evil.example", "?redirect_uri=https://evil.example", "?state=x&nonce=x"] {
        let response = world.client.get(world.url(&format!("/login/oidc{more}"))).send().await.unwrap();
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        assert!(location.starts_with(&format!("{}/authorize?", provider.url)), "{location}");
        assert!(!location.contains("evil") && !location.contains("state=x&"), "{location}");
    }
    let away = leave(&world).await;
    let code = provider.grant(away.challenge(), &provider.sign(&provider.claims(away.nonce())));
    let answer = [("code", code.as_str()), ("state", &away.asked["state"]), ("next", "https://evil.example")];
    inside(bring(&world, &away.cookie, &answer).await).await;
}

#[tokio::test]
async fn many_who_leave_keep_nobody_from_coming_back() {
    let (world, _, provider) = ready().await;
    let first = leave(&world).await;
    for _ in 0..100 {
        leave(&world).await;
    }
    let away = leave(&world).await;
    assert_eq!(world.directory.by_hand().number("SELECT count(*) FROM departures"), 100);
    for (away, status) in [(first, StatusCode::FORBIDDEN), (away, StatusCode::OK)] {
        let code = provider.grant(away.challenge(), &provider.sign(&provider.claims(away.nonce())));
        assert_eq!(bring_code(&world, &away, &code).await.status(), status);
    }
}

//! Log-in by a provider: who comes in, and with which role.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "world/provider.rs"]
mod provider;
mod world;

use provider::{Provider, audit, bring_code, cookies, inside, leave, log_in, outside, ready, world_of, write};
use reqwest::StatusCode;
use serde_json::{Value, json};
use vitrine_collector::server::Settings;
use world::{PASSWORD, World, refused, until};

#[tokio::test]
async fn who_has_a_role_at_the_provider_comes_in_with_it() {
    let provider = Provider::start().await;
    let world = World::with(|settings| {
        let config = provider.config("name = \"the museum's account\"\nscopes = [\"profile\", \"groups\"]");
        write(settings, &format!("[console]\nrequire-totp = true\n{config}"));
    })
    .await;
    world.set_up().await;
    let login = world.client.get(world.url("/login")).send().await.unwrap();
    let policy = login.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("form-action 'self';") && !policy.contains("127.0.0.1"), "{policy}");
    let login = login.text().await.unwrap();
    assert!(login.contains("<a href=\"/login/oidc\">Log in by the museum&#39;s account</a>"), "{login}");

    let away = leave(&world).await;
    assert_eq!(away.address.origin().ascii_serialization(), provider.url);
    let of = |key: &str| away.asked[key].as_str();
    assert_eq!(of("redirect_uri"), "https://vitrine.museum.example/login/oidc/back");
    assert_eq!((of("response_type"), of("code_challenge_method")), ("code", "S256"));
    assert_eq!((of("client_id"), of("scope")), ("vitrine", "openid profile groups"));
    let (_, secret) = away.cookie.split_once('=').unwrap();
    assert!(!away.address.as_str().contains(secret), "what only the browser holds stays there");

    let code = provider.grant(away.challenge(), &provider.sign(&provider.claims(away.nonce())));
    let session = inside(bring_code(&world, &away, &code).await).await;
    assert_ne!(session, away.cookie);
    let page = world.page("/", &session).await;
    assert!(page.contains(">wen<") && page.contains("alerts.csv"), "an analyst, without a second factor of ours");
    let account = world.page("/account", &session).await;
    assert!(account.contains("You log in by the museum&#39;s account"), "{account}");
    assert!(!account.contains("name=\"password\"") && !account.contains("authenticator"), "{account}");
    for (path, form) in [
        ("/account/totp", vec![]),
        ("/account/password", vec![("current", "x"), ("password", PASSWORD), ("repeated", PASSWORD)]),
    ] {
        let error = refused(world.post(&session, path, &form).await, StatusCode::CONFLICT).await;
        assert!(error.contains("wen logs in by a provider"), "{error}");
    }
    assert_eq!(world.log_in("wen", "").await.status(), StatusCode::FORBIDDEN, "there is no password");
    let other = inside(log_in(&world, &provider, json!({})).await).await;
    assert_ne!(other, session, "each log-in has a session of its own");
    let (_, list, _) = world.run(&["user", "list"]);
    assert!(list.contains("active    analyst       by a provider  wen"), "{list}");
    let users: Value = serde_json::from_str(&world.run(&["user", "list", "--json"]).1).unwrap();
    assert_eq!(users["users"].as_array().unwrap().len(), 2);
    let (_, log, _) = world.run(&["audit", "export"]);
    let added = format!("added as analyst by the provider: \\\"248289761001\\\" of {}", provider.url);
    assert!(log.contains(&added) && log.contains("provider, from 127.0.0.1"), "{log}");
    assert_eq!(world.run(&["audit", "verify"]).0, 0);
}

#[tokio::test]
async fn the_role_is_that_of_the_latest_log_in() {
    let (world, admin, provider) = ready().await;
    let session = inside(log_in(&world, &provider, json!({"groups": "vitrine-viewers"})).await).await;
    let status = async |session: &str, path: &str| {
        world.client.get(world.url(path)).header("cookie", session).send().await.unwrap().status()
    };
    assert_eq!(status(&session, "/alerts.csv").await, StatusCode::FORBIDDEN);
    let groups = json!({"groups": ["vitrine-viewers", 7, null, {"vitrine-admins": 1}, "vitrine-admins"]});
    let risen = inside(log_in(&world, &provider, groups).await).await;
    assert_eq!(status(&risen, "/users").await, StatusCode::OK, "of several roles the highest");
    let change = [("name", "wen"), ("step", "role"), ("role", "viewer")];
    let response = world.post(&admin, "/users/step", &change).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    assert!(response.text().await.unwrap().contains("the provider says what &#34;wen&#34; may do"));
    let last = [("name", "ines"), ("step", "disable")];
    let response = world.post(&risen, "/users/step", &last).await;
    assert!(response.text().await.unwrap().contains("is the last admin"), "nobody is locked out with the provider");

    inside(log_in(&world, &provider, json!({"groups": ["vitrine-viewers"]})).await).await;
    assert_eq!(status(&risen, "/users").await, StatusCode::FORBIDDEN, "in sessions of before, too");
    let log = audit(&world, &admin).await;
    assert!(log.contains("made admin of viewer by the provider") && log.contains("made viewer of admin"), "{log}");
}

#[tokio::test]
async fn a_new_key_of_the_provider_is_taken_up() {
    let (world, _, provider) = ready().await;
    for _ in 0..3 {
        inside(log_in(&world, &provider, json!({})).await).await;
    }
    assert_eq!(provider.change(|said| said.asked), 1, "keys are kept");
    provider.rotate();
    until("the new key is known", async || {
        let response = log_in(&world, &provider, json!({})).await;
        (response.status() == StatusCode::OK).then_some(())
    })
    .await;
    assert!(provider.change(|said| said.asked) <= 3);
}

#[tokio::test]
async fn who_has_no_role_or_no_name_stays_out() {
    let (world, admin, provider) = ready().await;
    let no_role = "wen has no role in this console by the claim groups: an admin of the provider gives one";
    let no_name = "the provider gives no user name in the claim preferred_username: expected 1 to 64 printable";
    for (differs, why) in [
        (json!({"groups": ["staff"]}), no_role),
        (json!({"groups": []}), no_role),
        (json!({"groups": null}), no_role),
        (json!({"groups": {"vitrine-admins": true}}), no_role),
        (json!({"groups": "vitrine-admins staff"}), no_role),
        (json!({"preferred_username": ""}), no_name),
        (json!({"preferred_username": "in\u{202e}se"}), no_name),
        (json!({"preferred_username": "x".repeat(65)}), no_name),
    ] {
        let error = outside(log_in(&world, &provider, differs).await, StatusCode::FORBIDDEN).await;
        assert!(error.contains(&format!("You are not let in: {why}")), "{error}");
    }
    let log = audit(&world, &admin).await;
    assert!(log.contains(&format!("attempt 1: {no_role}")) && log.contains("attempt 4"), "{log}");
    assert_eq!(world.directory.by_hand().number("SELECT count(*) FROM users"), 1);

    inside(log_in(&world, &provider, json!({})).await).await;
    world.post(&admin, "/users/step", &[("name", "wen"), ("step", "disable")]).await;
    let error = outside(log_in(&world, &provider, json!({})).await, StatusCode::FORBIDDEN).await;
    assert_eq!(error, "You are not let in: wen is disabled here: ask an admin of this console.");
}

#[tokio::test]
async fn a_user_is_known_by_issuer_and_subject_and_never_by_name() {
    let (world, admin, provider) = ready().await;
    // Whoever can choose a name at the provider does not get the user of that name.
    let as_ines = json!({"preferred_username": "ines", "email": "ines@museum.example", "email_verified": true});
    let error = outside(log_in(&world, &provider, as_ines.clone()).await, StatusCode::FORBIDDEN).await;
    assert!(error.contains("another user of this console is named \"ines\" already"), "{error}");
    let wen = inside(log_in(&world, &provider, json!({})).await).await;
    let other = json!({"sub": "another", "groups": ["vitrine-admins"]});
    let error = outside(log_in(&world, &provider, other).await, StatusCode::FORBIDDEN).await;
    assert!(error.contains("is named \"wen\" already"), "{error}");
    // And whoever is called otherwise there now is the same.
    let renamed = inside(log_in(&world, &provider, as_ines).await).await;
    assert!(world.page("/", &renamed).await.contains(">wen<") && world.page("/", &wen).await.contains(">wen<"));

    // An admin gives a user to the provider, who then has no password here.
    let mei = world.user(&admin, "mei", "viewer").await;
    let (code, _, said) = world.run(&["user", "link", "--name", "mei", "--subject", "248289761001"]);
    assert!(code == 2 && said.contains("is the user \"wen\" already"), "{said}");
    let (code, _, said) = world.run(&["user", "link", "--name", "ines", "--subject", "x"]);
    assert!(code == 2 && said.contains("is the last admin"), "{said}");
    // Whom the provider knows as somebody else than it did is given to it again.
    for subject in ["older", "another"] {
        assert_eq!(world.run(&["user", "link", "--name", "mei", "--subject", subject]).0, 0);
    }
    let ended = world.client.get(world.url("/")).header("cookie", &mei).send().await.unwrap();
    assert_eq!(ended.status(), StatusCode::SEE_OTHER);
    assert_eq!(world.log_in("mei", PASSWORD).await.status(), StatusCode::FORBIDDEN);
    let mei = inside(log_in(&world, &provider, json!({"sub": "another"})).await).await;
    assert!(world.page("/", &mei).await.contains(">mei<"));

    // And takes him back.
    let reset = world.post(&admin, "/users/step", &[("name", "mei"), ("step", "reset")]).await;
    let path = world::invitation(&reset.text().await.unwrap());
    assert_eq!(world.join(&path).await.status(), StatusCode::SEE_OTHER);
    let differs = json!({"sub": "another", "preferred_username": "mei"});
    outside(log_in(&world, &provider, differs).await, StatusCode::FORBIDDEN).await;
    assert!(audit(&world, &admin).await.contains("reset, and taken back from the provider"));
}

#[tokio::test]
async fn what_the_id_token_does_not_say_is_asked_for() {
    let provider = Provider::start().await;
    let more = "name-claim = \"email\"\nrole-claim = \"realm_access.roles\"";
    let world = world_of(&provider, more).await;
    world.set_up().await;
    let userinfo = json!({"sub": "248289761001", "realm_access": {"roles": ["vitrine-viewers"]}});
    provider.change(|said| said.userinfo = userinfo.clone());
    let session = inside(log_in(&world, &provider, json!({"email": "wen@museum.example"})).await).await;
    assert!(world.page("/account", &session).await.contains("wen@museum.example, viewer"));
    let mut of_another = userinfo;
    of_another["sub"] = json!("another");
    provider.change(|said| said.userinfo = of_another);
    let response = log_in(&world, &provider, json!({"email": "wen@museum.example"})).await;
    assert!(outside(response, StatusCode::FORBIDDEN).await.contains("it is of another user"));
}

#[tokio::test]
async fn another_collector_of_the_same_database_finishes_a_log_in() {
    let (world, _, provider) = ready().await;
    let away = leave(&world).await;
    let code = provider.grant(away.challenge(), &provider.sign(&provider.claims(away.nonce())));
    let World { directory, running, client, agent, reader } = world;
    // SQLite has one collector at a time.
    let (running, other) = if world::is_postgres() {
        let other = tempfile::tempdir().unwrap();
        std::fs::copy(directory.path().join("database"), other.path().join("database")).unwrap();
        (Some(running), Some(other))
    } else {
        running.stop().await;
        (None, None)
    };
    let data = other.as_ref().map_or(directory.path(), tempfile::TempDir::path).to_owned();
    let settings = Settings::new(data, ([127, 0, 0, 1], 0).into());
    write(&settings, &provider.config(""));
    let second = vitrine_collector::server::start(settings).await.unwrap();
    let world = World { directory, running: second, client, agent, reader };
    inside(bring_code(&world, &away, &code).await).await;
    if let Some(running) = running {
        running.stop().await;
    }
}

#[tokio::test]
async fn over_tls_the_cookie_is_of_this_host_alone() {
    let provider = Provider::start().await;
    let world = World::with(|settings| {
        write(settings, &provider.config(""));
        settings.tls = vitrine_collector::tls::Tls::Own;
    })
    .await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_danger_accept_invalid_certs(true)
        .build()
        .unwrap();
    let world = World { client, ..world };
    world.set_up().await;
    let response = world.client.get(world.url("/login/oidc")).send().await.unwrap();
    let cookie = cookies(&response).remove(0);
    assert!(cookie.starts_with("__Host-vitrine-away="), "{cookie}");
    for attribute in ["; HttpOnly", "; Secure", "; Path=/", "; SameSite=Lax", "; Max-Age=600"] {
        assert!(cookie.contains(attribute), "{attribute}: {cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_named() {
    let provider = Provider::start().await;
    let good = provider.config("");
    for (from, to, error) in [
        (
            provider.url.as_str(),
            "http://login.museum.example",
            "issuer = \"http://login.museum.example\": expected https",
        ),
        (&provider.url, "login.museum.example", "issuer = \"login.museum.example\""),
        (&provider.url, "https://login.museum.example/?a=b", "expected an address without ? and #"),
        ("museum.example\"", "museum.example/console\"", "expected the console's address alone"),
        ("https://vitrine", "http://vitrine", "console-url = \"http://vitrine.museum.example\": expected https"),
        ("client-id = \"vitrine\"", "client-id = \"\"", "expected a client-id"),
        ("oidc.secret", "missing.secret", "missing.secret"),
        ("client-secret-file", "client-secret", "unknown field `client-secret`"),
        ("admin = [\"vitrine-admins\"]", "root = [\"x\"]", "unknown field `root`"),
        ("[\"vitrine-", "[] # [\"", "lets nobody in"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings::new(directory.path().to_owned(), ([127, 0, 0, 1], 0).into());
        assert!(good.contains(from), "{from}");
        write(&settings, &good.replace(from, to));
        let said = vitrine_collector::server::start(settings).await.err().unwrap().to_string();
        assert!(said.contains(error), "{error}: {said}");
    }
}

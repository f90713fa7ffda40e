//! Users of the console: invitations, roles on every route, and what ends at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use reqwest::StatusCode;
use vitrine_policy::record::Event;
use world::{NOON, PASSWORD, World, cookie, csrf, invitation, record, refused};

const NEW: &str = "a scroll under the lantern";
const ROLES: [&str; 4] = ["viewer", "analyst", "policy-admin", "admin"];

#[tokio::test]
async fn an_invited_user_chooses_his_password_once() {
    let world = World::new().await;
    let admin = world.set_up().await;
    let path = world.invite(&admin, "mei", "analyst").await;
    let page = world.client.get(world.url(&path)).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Welcome, mei"));
    assert!(world.page("/users", &admin).await.contains("invited"));
    // Without a password there is nothing to log in with.
    for password in ["", "x", PASSWORD] {
        assert_eq!(world.log_in("mei", password).await.status(), StatusCode::FORBIDDEN);
    }
    let (_, token) = path.split_once('=').unwrap();
    let short = [("token", token), ("password", "short"), ("repeated", "short")];
    let response = world.client.post(world.url("/join")).form(&short).send().await.unwrap();
    assert!(response.text().await.unwrap().contains("at least 12 characters"));

    let joined = world.join(&path).await;
    assert_eq!(joined.status(), StatusCode::SEE_OTHER);
    assert!(world.page("/", &cookie(&joined)).await.contains("mei"));
    assert_eq!(world.log_in("mei", PASSWORD).await.status(), StatusCode::SEE_OTHER);
    let again = world.join(&path).await;
    assert_eq!(again.status(), StatusCode::FORBIDDEN);
    assert!(again.text().await.unwrap().contains("has been used"));
    for guess in ["/join", "/join?token=", "/join?token=00"] {
        let response = world.client.get(world.url(guess)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{guess}");
    }
    let twice = world.post(&admin, "/users", &[("name", "mei"), ("role", "viewer")]).await;
    assert_eq!(twice.status(), StatusCode::CONFLICT);
    assert!(twice.text().await.unwrap().contains("is there already"));
    for (name, role) in [("", "viewer"), ("a\u{202e}b", "viewer"), ("a\nb", "viewer"), ("lin", "root")] {
        let response = world.post(&admin, "/users", &[("name", name), ("role", role)]).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{name:?} {role}");
    }
}

#[tokio::test]
async fn every_route_asks_for_the_role_that_it_needs() {
    let world = World::new().await;
    let ines = world.set_up().await;
    let digest = blake3::hash(&world::jpeg()).to_hex().to_string();
    let mut transfer = world::transfer();
    transfer.file.thumbnail = Some(digest.clone());
    world.send(&[record(1, NOON, Event::Transfer(Box::new(transfer)))]).await;
    let request = world.client.put(world.url(&format!("/v1/evidence/{digest}"))).bearer_auth(&world.agent);
    request.body(world::jpeg()).send().await.unwrap();
    world.invite(&ines, "other", "viewer").await;

    let evidence = format!("/v1/evidence/{digest}");
    let reading = [
        ("/", 0),
        ("/hosts", 0),
        ("/alerts/1", 0),
        ("/account", 0),
        ("/v1/hosts", 0),
        ("/alerts.csv", 1),
        ("/alerts.json", 1),
        ("/v1/alerts", 1),
        (evidence.as_str(), 1),
        ("/users", 3),
        ("/audit", 3),
        ("/audit.ndjson", 3),
    ];
    let step = |step| vec![("name", "other"), ("step", step), ("role", "analyst")];
    let writing = [
        ("/views", vec![("step", "keep"), ("name", "mine"), ("query", "state=open")], 0),
        ("/triage", vec![("id", "1"), ("step", "acknowledge")], 1),
        ("/triage", vec![("id", "1"), ("step", "close"), ("verdict", "5")], 1),
        ("/triage", vec![("id", "1"), ("step", "reopen")], 1),
        ("/users", vec![("name", "x"), ("role", "root")], 3),
        ("/users/step", step("role"), 3),
        ("/users/step", step("disable"), 3),
        ("/users/step", step("enable"), 3),
        ("/users/step", step("reset"), 3),
        ("/account/totp", vec![], 0),
    ];
    for (rank, role) in ROLES.into_iter().enumerate() {
        let session = world.user(&ines, &format!("{role}-1"), role).await;
        for (path, least) in &reading {
            let response = world.client.get(world.url(path)).header("cookie", &session).send().await.unwrap();
            if rank >= *least {
                assert_eq!(response.status(), StatusCode::OK, "{role} {path}");
            } else {
                let error = refused(response, StatusCode::FORBIDDEN).await;
                assert_eq!(error, format!("{role}-1 has the role {role}"), "{path}");
            }
        }
        for (path, form, least) in &writing {
            let response = world.post(&session, path, form).await;
            if rank >= *least {
                assert_ne!(response.status(), StatusCode::FORBIDDEN, "{role} {path} {form:?}");
                assert!(!response.status().is_server_error());
            } else {
                let error = refused(response, StatusCode::FORBIDDEN).await;
                assert_eq!(error, format!("{role}-1 has the role {role}"), "{path}");
            }
        }
        let page = world.page("/", &session).await + &world.page("/alerts/1", &session).await;
        for (what, least) in [("/v1/evidence/", 1), ("value=\"acknowledge\"", 1), ("alerts.csv", 1), ("/users", 3)] {
            assert_eq!(page.contains(what), rank >= least, "{role} {what}");
        }
    }
    // Nobody but the sessions above has changed anything, and what they may not do was not done.
    for path in ["/users", "/users/step", "/triage", "/views", "/account/password", "/account/totp"] {
        let response = world.client.post(world.url(path)).form(&[("csrf", "")]).send().await.unwrap();
        assert_eq!(
            (response.status(), &response.headers()["location"]),
            (StatusCode::SEE_OTHER, &"/login".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn forms_of_users_are_bound_to_their_session() {
    let world = World::new().await;
    let admin = world.set_up().await;
    let other = world.user(&admin, "lin", "admin").await;
    let foreign = csrf(&world.page("/users", &other).await);
    let own = csrf(&world.page("/users", &admin).await);
    for (csrf, site) in [("guess", "same-origin"), (foreign.as_str(), "same-origin"), (own.as_str(), "cross-site")] {
        for (path, form) in [
            ("/users", vec![("name", "eve"), ("role", "admin")]),
            ("/users/step", vec![("name", "lin"), ("step", "disable")]),
            ("/users/step", vec![("name", "lin"), ("step", "reset")]),
            ("/account/password", vec![("current", PASSWORD), ("password", NEW), ("repeated", NEW)]),
            ("/account/totp", vec![]),
            ("/account/totp/confirm", vec![("code", "000000")]),
            ("/account/totp/remove", vec![("code", "000000")]),
            ("/logout", vec![]),
        ] {
            let form = [form, vec![("csrf", csrf)]].concat();
            let request = world.client.post(world.url(path)).header("cookie", &admin).header("sec-fetch-site", site);
            refused(request.form(&form).send().await.unwrap(), StatusCode::FORBIDDEN).await;
        }
    }
    for path in ["/join", "/login", "/login/code"] {
        let form = [("token", "x"), ("login", "x"), ("code", "x"), ("name", "x"), ("password", "x"), ("repeated", "x")];
        let request = world.client.post(world.url(path)).header("sec-fetch-site", "cross-site").form(&form);
        refused(request.send().await.unwrap(), StatusCode::FORBIDDEN).await;
    }
    let page = world.page("/users", &admin).await;
    assert_eq!(world.log_in("ines", PASSWORD).await.status(), StatusCode::SEE_OTHER);
    assert!(!page.contains("eve") && !page.contains("disabled") && !page.contains("invited"));
}

#[tokio::test]
async fn whoever_is_disabled_or_reset_is_out_at_once() {
    let world = World::new().await;
    let admin = world.set_up().await;
    let mei = world.user(&admin, "mei", "analyst").await;
    let step = async |step: &str, role: &str| {
        world.post(&admin, "/users/step", &[("name", "mei"), ("step", step), ("role", role)]).await
    };
    let status = async |session: &str, path: &str| {
        world.client.get(world.url(path)).header("cookie", session).send().await.unwrap().status()
    };
    assert_eq!(status(&mei, "/alerts.csv").await, StatusCode::OK);
    assert_eq!(step("role", "viewer").await.status(), StatusCode::SEE_OTHER);
    assert_eq!(status(&mei, "/alerts.csv").await, StatusCode::FORBIDDEN, "a role holds from the next request on");

    assert_eq!(step("disable", "").await.status(), StatusCode::SEE_OTHER);
    assert_eq!(status(&mei, "/").await, StatusCode::SEE_OTHER);
    assert_eq!(status(&mei, "/v1/hosts").await, StatusCode::UNAUTHORIZED);
    assert_eq!(world.log_in("mei", PASSWORD).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(step("enable", "").await.status(), StatusCode::SEE_OTHER);
    assert_eq!(status(&mei, "/").await, StatusCode::SEE_OTHER, "the session of before stays ended");
    let again = cookie(&world.log_in("mei", PASSWORD).await);

    let path = invitation(&step("reset", "").await.text().await.unwrap());
    assert_eq!(status(&again, "/").await, StatusCode::SEE_OTHER);
    assert_eq!(world.log_in("mei", PASSWORD).await.status(), StatusCode::FORBIDDEN);
    step("disable", "").await;
    assert_eq!(world.join(&path).await.status(), StatusCode::FORBIDDEN, "a disabled user cannot join");
    let unknown = world.post(&admin, "/users/step", &[("name", "nobody"), ("step", "disable")]).await;
    assert_eq!(unknown.status(), StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_new_password_asks_for_the_old_one_and_ends_other_sessions() {
    let world = World::new().await;
    let session = world.set_up().await;
    let other = cookie(&world.log_in("ines", PASSWORD).await);
    let change = async |current: &str, password: &str, repeated: &str| {
        let form = [("current", current), ("password", password), ("repeated", repeated)];
        world.post(&session, "/account/password", &form).await
    };
    for (current, password, repeated, why) in [
        ("wrong", NEW, NEW, "current password is wrong"),
        (PASSWORD, "short", "short", "at least 12 characters"),
        (PASSWORD, NEW, PASSWORD, "passwords differ"),
    ] {
        let response = change(current, password, repeated).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert!(response.text().await.unwrap().contains(why), "{why}");
    }
    assert_eq!(change(PASSWORD, NEW, NEW).await.status(), StatusCode::OK);
    assert!(world.page("/audit", &session).await.contains("changed the password"));
    let ended = world.client.get(world.url("/")).header("cookie", &other).send().await.unwrap();
    assert_eq!(ended.status(), StatusCode::SEE_OTHER);
    assert_eq!(world.log_in("ines", PASSWORD).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(world.log_in("ines", NEW).await.status(), StatusCode::SEE_OTHER);
    for _ in 0..4 {
        change("wrong", NEW, NEW).await;
    }
    assert_eq!(change(NEW, PASSWORD, PASSWORD).await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn the_last_admin_stays() {
    let world = World::new().await;
    let admin = world.set_up().await;
    let step = async |form: &[(&str, &str)]| world.post(&admin, "/users/step", form).await;
    // One who is invited has no password yet, and could look after nobody.
    world.invite(&admin, "lin", "admin").await;
    let demote = [("name", "ines"), ("step", "role"), ("role", "policy-admin")];
    for form in [&demote[..], &[("name", "ines"), ("step", "disable")], &[("name", "ines"), ("step", "reset")]] {
        let response = step(form).await;
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert!(response.text().await.unwrap().contains("is the last admin"));
    }
    let (code, _, error) = world.run(&["user", "disable", "--name", "ines"]);
    assert!(code == 2 && error.contains("is the last admin"), "{error}");
    world.user(&admin, "mei", "admin").await;
    assert_eq!(step(&demote).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(step(&[("name", "mei"), ("step", "disable")]).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn names_are_text_and_never_markup() {
    let world = World::new().await;
    let admin = world.set_up().await;
    let hostile = "\"><script>alert(1)</script><b onclick='x'>";
    let session = world.user(&admin, hostile, "admin").await;
    world.post(&admin, "/users/step", &[("name", hostile), ("step", "role"), ("role", "admin")]).await;
    let reset = world.post(&admin, "/users/step", &[("name", "no <i>one"), ("step", "reset")]).await;
    let mut pages = reset.text().await.unwrap();
    world.post(&session, "/account/totp", &[]).await;
    for path in ["/", "/users", "/audit", "/account"] {
        pages += &world.page(path, &session).await;
    }
    let invitation = world.invite(&admin, "<u>x", "viewer").await;
    pages += &world.client.get(world.url(&invitation)).send().await.unwrap().text().await.unwrap();
    for markup in ["<script>", "<b onclick", "<i>", "<u>", "style="] {
        assert!(!pages.contains(markup), "{markup}");
    }
    assert!(pages.contains("&#60;script&#62;") && pages.contains("otpauth://totp/"));
    // The same name works in forms as it stands on the page.
    let done = world.post(&admin, "/users/step", &[("name", hostile), ("step", "disable")]).await;
    assert_eq!(done.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn joining_never_takes_over_a_session_that_was_there() {
    let world = World::new().await;
    let admin = world.set_up().await;
    let path = world.invite(&admin, "mei", "viewer").await;
    let (_, token) = path.split_once('=').unwrap();
    let form = [("token", token), ("password", PASSWORD), ("repeated", PASSWORD)];
    let request = world.client.post(world.url("/join")).header("cookie", &admin).form(&form);
    let session = cookie(&request.send().await.unwrap());
    assert_ne!(session, admin);
    assert!(world.page("/", &session).await.contains(">mei<"));
    assert!(world.page("/", &admin).await.contains(">ines<"));
}

#[tokio::test]
async fn an_admin_who_is_locked_out_is_let_in_by_the_command_line() {
    let world = World::new().await;
    let session = world.set_up().await;
    let (code, token, hint) = world.run(&["user", "reset", "--name", "ines"]);
    assert!(code == 0 && hint.contains("/join?token="), "{hint}");
    let response = world.client.get(world.url("/")).header("cookie", &session).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let admin = cookie(&world.join(&format!("/join?token={}", token.trim())).await);
    assert!(world.page("/users", &admin).await.contains("ines"));

    let (code, token, _) = world.run(&["user", "add", "--name", "lin", "--role", "viewer"]);
    assert_eq!((code, world.join(&format!("/join?token={}", token.trim())).await.status().as_u16()), (0, 303));
    assert_eq!(world.run(&["user", "add", "--name", "lin", "--role", "viewer"]).0, 2);
    assert_eq!(world.run(&["user", "role", "--name", "lin", "--role", "analyst"]).0, 0);
    assert_eq!(world.run(&["user", "disable", "--name", "lin"]).0, 0);
    let (_, list, _) = world.run(&["user", "list"]);
    assert!(list.contains("disabled  analyst       password only  lin"), "{list}");
    assert_eq!(world.run(&["user", "enable", "--name", "lin"]).0, 0);
    let (_, json, _) = world.run(&["user", "list", "--json"]);
    let users: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&users["users"][1]["name"], &users["users"][1]["role"]), (&"lin".into(), &"analyst".into()));
    let (code, _, error) = world.run(&["user", "role", "--name", "nobody", "--role", "admin"]);
    assert!(code == 2 && error.contains("no user is named \"nobody\""), "{error}");
}

//! The console: set-up, login, forgery, injection, and what a stranger sees.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use std::net::SocketAddr;

use reqwest::StatusCode;
use vitrine_policy::record::Event;
use world::{NOON, PASSWORD, World, cookie, csrf, record, refused};

#[tokio::test]
async fn the_set_up_token_makes_one_user_and_no_more() {
    let world = World::new().await;
    let wrong = [("token", "guess"), ("name", "eve"), ("password", PASSWORD), ("repeated", PASSWORD)];
    let post =
        async |path: &str, form: &[(&str, &str)]| world.client.post(world.url(path)).form(form).send().await.unwrap();
    let response = post("/setup", &wrong).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(response.text().await.unwrap().contains("not the set-up token"));
    let token = world.running.setup.clone().unwrap();
    let short = [("token", token.as_str()), ("name", "eve"), ("password", "short"), ("repeated", "short")];
    assert!(post("/setup", &short).await.text().await.unwrap().contains("at least 12 characters"));

    let session = world.set_up().await;
    assert!(world.page("/", &session).await.contains("No alert is open"));
    let again = [("token", token.as_str()), ("name", "eve"), ("password", PASSWORD), ("repeated", PASSWORD)];
    assert_eq!(post("/setup", &again).await.headers()["location"], "/login");
    let eve = [("name", "eve"), ("password", PASSWORD)];
    assert_eq!(post("/login", &eve).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_restart_before_set_up_replaces_the_token() {
    let world = World::new().await;
    let first = world.running.setup.clone().unwrap();
    let directory = world.directory.path().to_owned();
    world.running.stop().await;
    let settings = vitrine_collector::server::Settings::new(directory, SocketAddr::from(([127, 0, 0, 1], 0)));
    let running = vitrine_collector::server::start(settings).await.unwrap();
    assert_ne!(running.setup.as_deref(), Some(first.as_str()));
    let form = [("token", first.as_str()), ("name", "ines"), ("password", PASSWORD), ("repeated", PASSWORD)];
    let response = world.client.post(format!("{}/setup", running.url)).form(&form).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    running.stop().await;
}

/// All addresses that can be read, as the server's own source names them, with something for what stands in braces.
fn addresses() -> Vec<String> {
    let routes = include_str!("../src/server.rs").split(".route(").skip(1);
    let readable = routes.filter(|route| route.split(".route(").next().is_some_and(|route| route.contains("get(")));
    let address = |route: &str| Some(route.trim_start().strip_prefix('"')?.split_once('"')?.0.to_owned());
    let digest = "0".repeat(64);
    let filled = |address: String| {
        ["{id}", "{number}", "{key}"]
            .iter()
            .fold(address, |address, name| address.replace(name, "1"))
            .replace("{digest}", &digest)
    };
    readable.filter_map(address).map(filled).collect()
}

#[tokio::test]
async fn a_stranger_sees_the_login_page_and_nothing_else() {
    let world = World::new().await;
    world.set_up().await;
    let (mut pages, mut answers) = (0, 0);
    for path in addresses().into_iter().chain(["/?state=all".to_owned(), "/trace".to_owned()]) {
        let response = world.client.get(world.url(&path)).send().await.unwrap();
        match path.as_str() {
            "/healthz" | "/login" => assert_eq!(response.status(), StatusCode::OK, "{path}"),
            // Without an invitation.
            "/join" => assert_eq!(response.status(), StatusCode::FORBIDDEN),
            path if path.starts_with("/assets/") => assert_eq!(response.status(), StatusCode::OK, "{path}"),
            path if path.starts_with("/v1/") => {
                refused(response, StatusCode::UNAUTHORIZED).await;
                answers += 1;
            }
            path => {
                let to = response.headers().get("location").map(|to| to.to_str().unwrap());
                assert_eq!((response.status(), to), (StatusCode::SEE_OTHER, Some("/login")), "{path}");
                pages += 1;
            }
        }
    }
    assert!(pages > 25 && answers > 4, "{pages} pages, {answers} answers");
    let forged = world.client.get(world.url("/")).header("cookie", "vitrine=0000").send().await.unwrap();
    assert_eq!(forged.status(), StatusCode::SEE_OTHER);
    for path in ["/nothing", "/assets/../collector.db", "/assets/%2e%2e/collector.db"] {
        refused(world.client.get(world.url(path)).send().await.unwrap(), StatusCode::NOT_FOUND).await;
    }
    let login = world.client.get(world.url("/login")).send().await.unwrap();
    let headers = login.headers();
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    assert!(!login.text().await.unwrap().contains("style="));
}

#[tokio::test]
async fn guessing_a_password_has_to_wait() {
    let world = World::new().await;
    world.set_up().await;
    let log_in = async |name: &str, password: &str| {
        let form = [("name", name), ("password", password)];
        world.client.post(world.url("/login")).form(&form).send().await.unwrap()
    };
    let response = log_in("ines", PASSWORD).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    for _ in 0..4 {
        assert_eq!(log_in("ines", "wrong").await.status(), StatusCode::FORBIDDEN);
    }
    let response = log_in("ines", PASSWORD).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(log_in("nobody", "wrong").await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn guessing_from_many_addresses_or_under_many_names_has_to_wait() {
    let world = World::new().await;
    world.set_up().await;
    let log_in = async |address: u8, name: &str, password: &str| {
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let client = client.local_address(std::net::IpAddr::from([127, 0, 1, address])).build().unwrap();
        client.post(world.url("/login")).form(&[("name", name), ("password", password)]).send().await.unwrap()
    };
    let refused = async |name: &dyn Fn(u8) -> String, address: &dyn Fn(u8) -> u8| {
        let mut looked_at = 0;
        for attempt in 0..22 {
            match log_in(address(attempt), &name(attempt), "wrong").await.status() {
                StatusCode::FORBIDDEN => looked_at += 1,
                status => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
            }
        }
        assert_eq!(looked_at, 21);
    };
    // Everybody else may still try, and nobody waits for long.
    refused(&|attempt| format!("name{attempt}"), &|_| 1).await;
    assert_eq!(log_in(2, "ines", PASSWORD).await.status(), StatusCode::SEE_OTHER);
    refused(&|_| "ines".into(), &|attempt| 10 + attempt).await;
    // She was there before, and is not kept out by what others did.
    assert_eq!(log_in(2, "ines", PASSWORD).await.status(), StatusCode::SEE_OTHER);
    refused(&|_| "ines".into(), &|attempt| 40 + attempt).await;
    let response = log_in(3, "ines", PASSWORD).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(wait <= 60, "{wait}");
}

#[tokio::test]
async fn guesses_at_the_same_time_wait_for_each_other() {
    let world = World::new().await;
    world.set_up().await;
    let mut guesses = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let request = world.client.post(world.url("/login")).form(&[("name", "ines"), ("password", "wrong")]);
        guesses.spawn(async { request.send().await.unwrap().status() });
    }
    let looked_at = guesses.join_all().await.into_iter().filter(|status| *status == StatusCode::FORBIDDEN).count();
    assert!(looked_at <= 6, "{looked_at} of 30 guesses were looked at");
}

#[tokio::test]
async fn forms_of_other_sites_and_sessions_do_nothing() {
    let world = World::new().await;
    let session = world.set_up().await;
    world.send(&[world::blocked(1)]).await;
    let page = world.page("/", &session).await;
    let token = csrf(&page);
    let post = async |csrf: &str, header: (&str, &str)| {
        let form =
            [("csrf", csrf), ("step", "acknowledge"), ("id", "1"), ("note", "seen"), ("back", "https://evil.example/")];
        let request = world.client.post(world.url("/triage")).header("cookie", &session);
        request.header(header.0, header.1).form(&form).send().await.unwrap()
    };
    refused(post("guess", ("x-none", "")).await, StatusCode::FORBIDDEN).await;
    refused(post(&token, ("sec-fetch-site", "cross-site")).await, StatusCode::FORBIDDEN).await;
    refused(post(&token, ("sec-fetch-site", "same-site")).await, StatusCode::FORBIDDEN).await;
    refused(post(&token, ("origin", "https://evil.example")).await, StatusCode::FORBIDDEN).await;
    assert_eq!(world.alerts().await[0]["state"], "open");
    let response = post(&token, ("sec-fetch-site", "same-origin")).await;
    assert_eq!((response.status(), &response.headers()["location"]), (StatusCode::SEE_OTHER, &"/".parse().unwrap()));
    let alert = &world.alerts().await[0];
    assert_eq!((&alert["acknowledged"]["by"], &alert["acknowledged"]["note"]), (&"ines".into(), &"seen".into()));

    // What comes after is a new alert: it must not hide behind the answered one.
    world.send(&[world::blocked(2)]).await;
    assert_eq!(world.alerts().await.len(), 2);

    let login = [("name", "ines"), ("password", PASSWORD)];
    let request = world.client.post(world.url("/login")).header("sec-fetch-site", "cross-site");
    refused(request.form(&login).send().await.unwrap(), StatusCode::FORBIDDEN).await;
    let request = world.client.post(world.url("/logout")).header("cookie", &session);
    let out = request.form(&[("csrf", token.as_str())]).send().await.unwrap();
    assert!(out.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    let after = world.client.get(world.url("/")).header("cookie", &session).send().await.unwrap();
    assert_eq!(after.status(), StatusCode::SEE_OTHER, "the session itself has ended");
}

#[tokio::test]
async fn a_login_never_takes_over_a_session_that_was_there() {
    let world = World::new().await;
    world.set_up().await;
    let form = [("name", "ines"), ("password", PASSWORD)];
    let request = world.client.post(world.url("/login")).header("cookie", "vitrine=chosen-by-eve");
    let response = request.form(&form).send().await.unwrap();
    let header = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(header.contains("HttpOnly") && header.contains("SameSite=Strict") && header.contains("Path=/"));
    assert!(!cookie(&response).contains("chosen-by-eve"));
    let fixed = world.client.get(world.url("/")).header("cookie", "vitrine=chosen-by-eve").send().await.unwrap();
    assert_eq!(fixed.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn file_names_are_text_and_never_markup() {
    let world = World::new().await;
    let session = world.set_up().await;
    let mut transfer = world::transfer();
    let hostile = "/srv/\"><script>alert(1)</script><img src=x onerror='alert(2)'>\r\nSet-Cookie: a=b\u{202e}fit.K2B";
    transfer.file.path = hostile.into();
    transfer.masters[0].path = hostile.into();
    transfer.masters[0].thumbnail = Some("\"><script>".into());
    transfer.explanation = "</p><script>alert(3)</script>{{ csrf }}".into();
    transfer.processes[0].command_line = "cp '<b onmouseover=alert(4)>' x".into();
    transfer.user.as_mut().unwrap().name = "<i>wen</i>".into();
    let mut hostile = record(1, NOON, Event::Transfer(Box::new(transfer)));
    hostile.host.name = "<h1>host</h1>\u{1b}[2J".into();
    world.send(&[hostile]).await;
    let page = world.page("/", &session).await + &world.page("/alerts/1", &session).await;
    for markup in ["<script>", "<img src=x", "<b onmouse", "<i>", "<h1>host", "\u{202e}", "\u{1b}", "{{ csrf }}</p><"] {
        assert!(!page.contains(markup), "{markup:?} in {page}");
    }
    assert!(page.contains("&#60;script&#62;") || page.contains("&lt;script&gt;"));
    assert!(page.contains("\\u{202e}"));
    let mut command = std::process::Command::new(world::binary());
    let output = command.arg("alerts").arg("--data").arg(world.directory.path()).output().unwrap();
    assert!(!output.stdout.contains(&0x1b));
}

#[tokio::test]
async fn pictures_stand_side_by_side_once_they_have_arrived() {
    let world = World::new().await;
    let session = world.set_up().await;
    let jpeg = world::jpeg();
    let digest = blake3::hash(&jpeg).to_hex().to_string();
    let mut transfer = world::transfer();
    transfer.file.thumbnail = Some(digest.clone());
    transfer.masters[0].thumbnail = Some(digest.clone());
    world.send(&[record(1, NOON, Event::Transfer(Box::new(transfer)))]).await;
    let page = world.page("/alerts/1", &session).await;
    assert!(page.contains("no picture") && !page.contains("<img"));
    let request = world.client.put(world.url(&format!("/v1/evidence/{digest}"))).bearer_auth(&world.agent);
    assert_eq!(request.body(jpeg.clone()).send().await.unwrap().status(), StatusCode::CREATED);
    let page = world.page("/alerts/1", &session).await;
    assert_eq!(page.matches(&format!("<img src=\"/v1/evidence/{digest}\"")).count(), 2);
    for text in
        ["refused before the first byte", "cp K2B_0012.tif /media/courier/", "/usr/bin/bash", "100 % of the master"]
    {
        assert!(page.contains(text), "{text}");
    }
    let url = world.url(&format!("/v1/evidence/{digest}"));
    let picture = world.client.get(url).header("cookie", &session).send().await.unwrap();
    assert_eq!(picture.bytes().await.unwrap(), jpeg);
}

#[tokio::test]
async fn tls_names_the_cookie_for_this_host_alone() {
    let certified = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = (files.path().join("chain.pem"), files.path().join("key.pem"));
    std::fs::write(&certificate, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let mut world = World::with(|settings| {
        settings.tls = vitrine_collector::tls::Tls::Files(certificate, key);
        settings.listen = SocketAddr::from(([0, 0, 0, 0], 0));
    })
    .await;
    world.running.url = format!("https://localhost:{}", world.running.address.port());
    let root = reqwest::Certificate::from_pem(certified.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    world.client = client.tls_certs_only([root]).build().unwrap();
    let session = world.set_up().await;
    assert!(session.starts_with("__Host-vitrine="), "{session}");
    assert!(world.page("/", &session).await.contains("No alert is open"));
    // Agents are known by certificates here, whoever has issued the collector's.
    let sent = world.send_lines(world::lines(&[world::blocked(1)])).await;
    assert_eq!(refused(sent, StatusCode::UNAUTHORIZED).await, "no certificate");
}

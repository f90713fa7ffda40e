//! The second factor: enrolment, log-in by a code, recovery codes, replay and guessing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::{Response, StatusCode};
use totp_rs::{Secret, Totp};
use world::{PASSWORD, World, cookie, csrf, is_postgres};

/// A user's authenticator.
struct Authenticator(Totp);

impl Authenticator {
    /// Takes up the secret that the page shows as text.
    fn of(page: &str) -> Authenticator {
        let (_, after) = page.split_once("<dt>Secret</dt><dd><code>").unwrap();
        let secret = after.split('<').next().unwrap().replace(' ', "");
        let secret = Secret::try_from_base32(secret).unwrap();
        Authenticator(totp_rs::Builder::new().with_secret(secret).with_account_name("x").build().unwrap())
    }

    /// The code so many steps from now.
    fn code(&self, steps: u64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.0.generate(now + 30 * steps).to_string()
    }
}

/// Takes a second factor up by the code of now; gives the authenticator and the recovery codes.
async fn enrol(world: &World, session: &str) -> (Authenticator, Vec<String>) {
    world.post(session, "/account/totp", &[]).await;
    let page = world.page("/account", session).await;
    let authenticator = Authenticator::of(&page);
    let response = world.post(session, "/account/totp/confirm", &[("code", &authenticator.code(0))]).await;
    assert_eq!(response.status(), StatusCode::OK);
    let page = response.text().await.unwrap();
    let codes = page.split("<li><code>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect();
    (authenticator, codes)
}

/// Gives the password; gives the secret of the form that asks for the code.
async fn password(world: &World) -> String {
    let response = world.log_in("ines", PASSWORD).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key("set-cookie"), "no session before the code");
    let page = response.text().await.unwrap();
    let (_, after) = page.split_once("name=\"login\" value=\"").unwrap();
    after.split('"').next().unwrap().to_owned()
}

async fn code(world: &World, login: &str, code: &str) -> Response {
    let form = [("login", login), ("code", code)];
    let request = world.client.post(world.url("/login/code")).header("cookie", "vitrine=chosen-by-eve");
    request.form(&form).send().await.unwrap()
}

#[tokio::test]
async fn a_code_is_asked_for_after_the_password_and_works_once() {
    let world = World::new().await;
    let session = world.set_up().await;
    world.post(&session, "/account/totp", &[]).await;
    let page = world.page("/account", &session).await;
    assert!(page.contains("otpauth://totp/Vitrine:ines?") && page.contains("<svg") && !page.contains("<?xml"));
    assert_eq!(page.matches("issuer=Vitrine").count(), 1);
    let wrong = world.post(&session, "/account/totp/confirm", &[("code", "not a code")]).await;
    assert_eq!(wrong.status(), StatusCode::FORBIDDEN);
    assert_eq!(world.log_in("ines", PASSWORD).await.status(), StatusCode::SEE_OTHER, "not yet confirmed");

    let authenticator = Authenticator::of(&page);
    let first = authenticator.code(0);
    let confirmed = world.post(&session, "/account/totp/confirm", &[("code", &first)]).await;
    assert_eq!(confirmed.status(), StatusCode::OK);
    let page = world.page("/account", &session).await;
    assert!(page.contains("Recovery codes left: 10") && !page.contains("otpauth:") && !page.contains("<svg"));
    assert!(world.page("/users", &session).await.contains("<td>yes</td>"));

    let login = password(&world).await;
    assert_eq!(code(&world, &login, &first).await.status(), StatusCode::FORBIDDEN, "a code of the enrolment again");
    let next = authenticator.code(1);
    let response = code(&world, &login, &format!("{} {}", &next[..3], &next[3..])).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let fresh = cookie(&response);
    assert!(!fresh.contains("chosen-by-eve") && fresh != session && !fresh.contains(&login));
    assert!(world.page("/", &fresh).await.contains("No alert is open"));

    let again = code(&world, &login, &authenticator.code(1)).await;
    assert_eq!(again.headers()["location"], "/login", "the first step is used up");
    let login = password(&world).await;
    assert_eq!(code(&world, &login, &next).await.status(), StatusCode::FORBIDDEN, "a code twice");
    // The secret of the form is no session, and a session no secret of the form.
    let forged = world.client.get(world.url("/")).header("cookie", format!("vitrine={login}")).send().await.unwrap();
    assert_eq!(forged.status(), StatusCode::SEE_OTHER);
    let (_, value) = fresh.split_once('=').unwrap();
    assert_eq!(code(&world, value, &next).await.headers()["location"], "/login");
}

#[tokio::test]
async fn a_recovery_code_works_once_and_is_kept_as_a_hash() {
    let world = World::new().await;
    let session = world.set_up().await;
    let (_, codes) = enrol(&world, &session).await;
    assert_eq!(codes.len(), 10);
    let login = password(&world).await;
    let response = code(&world, &login, &codes[3].to_uppercase()).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let session = cookie(&response);
    assert!(world.page("/account", &session).await.contains("Recovery codes left: 9"));
    let login = password(&world).await;
    assert_eq!(code(&world, &login, &codes[3]).await.status(), StatusCode::FORBIDDEN);
    assert!(world.page("/audit", &session).await.contains("password and recovery code"));

    let removed = world.post(&session, "/account/totp/remove", &[("code", &codes[4])]).await;
    assert_eq!(removed.status(), StatusCode::SEE_OTHER);
    assert_eq!(world.log_in("ines", PASSWORD).await.status(), StatusCode::SEE_OTHER);

    assert_eq!(world.directory.by_hand().number("SELECT count(*) FROM recovery_codes"), 0);
    if is_postgres() {
        return;
    }
    let bytes = std::fs::read(world.directory.path().join("collector.db-wal")).unwrap();
    let plain = codes[0].replace('-', "");
    assert!(!bytes.windows(plain.len()).any(|window| window == plain.as_bytes()));
}

#[tokio::test]
async fn guessing_a_code_has_to_wait_wherever_it_comes_from() {
    let world = World::new().await;
    let session = world.set_up().await;
    let (authenticator, codes) = enrol(&world, &session).await;
    let (one, other) = (password(&world).await, password(&world).await);
    for login in [&one, &other, &one, &other] {
        assert_eq!(code(&world, login, "abcdef").await.status(), StatusCode::FORBIDDEN);
    }
    let response = code(&world, &one, &authenticator.code(1)).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().contains_key("retry-after"));
    let removal = world.post(&session, "/account/totp/remove", &[("code", &codes[0])]).await;
    assert_eq!(removal.status(), StatusCode::TOO_MANY_REQUESTS, "giving it up is no way around");
    assert!(world.page("/audit?kind=log-in-failed", &session).await.contains("code"));
}

#[tokio::test]
async fn a_reset_takes_the_second_factor() {
    let world = World::new().await;
    let admin = world.set_up().await;
    enrol(&world, &admin).await;
    let (_, token, _) = world.run(&["user", "reset", "--name", "ines"]);
    let session = cookie(&world.join(&format!("/join?token={}", token.trim())).await);
    assert!(world.page("/account", &session).await.contains("Take up an authenticator"));
    assert_eq!(world.log_in("ines", PASSWORD).await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn where_it_is_required_nothing_else_is_reached_without_it() {
    let world = World::with(|settings| {
        std::fs::write(settings.data.join("collector.toml"), "[console]\nrequire-totp = true\n").unwrap();
    })
    .await;
    let session = world.set_up().await;
    for path in ["/", "/hosts", "/alerts.csv", "/users", "/audit"] {
        let response = world.client.get(world.url(path)).header("cookie", &session).send().await.unwrap();
        assert_eq!(response.headers()["location"], "/account", "{path}");
    }
    for path in ["/v1/alerts", "/v1/hosts", &format!("/v1/evidence/{}", "0".repeat(64))] {
        let response = world.client.get(world.url(path)).header("cookie", &session).send().await.unwrap();
        assert_eq!(world::refused(response, StatusCode::FORBIDDEN).await, "this user has no second factor");
    }
    let added = world.post(&session, "/users", &[("name", "eve"), ("role", "admin")]).await;
    assert_eq!(added.headers()["location"], "/account");
    enrol(&world, &session).await;
    assert!(!world.page("/users", &session).await.contains("eve"));
    assert!(!csrf(&world.page("/account", &session).await).is_empty());
}

//! A provider of OpenID Connect that says whatever a test wants it to: the real one (`tests/browser`) does not lie.

#![allow(dead_code, unreachable_pub)] // each test uses a part of it

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use reqwest::Url;
use serde_json::{Value, json};
use sha2::Digest as _;
use vitrine_collector::server::Settings;

use super::world::{World, cookie};

pub const CLIENT: &str = "vitrine";
pub const SECRET: &str = "the secret of this client";
const ACCESS: &str = "an-access-token";

/// What a code is good for, once.
struct Grant {
    challenge: String,
    answer: Value,
}

pub struct Said {
    key: KeyPair,
    grants: HashMap<String, Grant>,
    number: u64,
    /// Instead of what it would say of itself.
    pub discovery: Option<(StatusCode, String)>,
    /// Changes to what it says of itself.
    pub differs: Value,
    pub userinfo: Value,
    /// How often its keys were asked for.
    pub asked: u64,
}

#[derive(Clone)]
pub struct Provider {
    pub url: String,
    said: Arc<Mutex<Said>>,
}

fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()
}

fn jwk(key: &KeyPair) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "x": BASE64.encode(key.der_bytes())})
}

fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| BASE64.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = BASE64.encode(sign(text.as_bytes()));
    format!("{text}.{signature}")
}

/// By the key of somebody else.
pub fn by_another(claims: &Value) -> String {
    let key = key();
    signed(&json!({"alg": "EdDSA", "typ": "JWT"}), claims, |text| key.sign(text).unwrap())
}

/// By nobody.
pub fn unsigned(claims: &Value) -> String {
    signed(&json!({"alg": "none", "typ": "JWT"}), claims, |_| Vec::new())
}

/// By a secret that is no secret key of the provider.
pub fn by_secret(claims: &Value, secret: &[u8]) -> String {
    use hmac::{KeyInit as _, Mac as _};
    signed(&json!({"alg": "HS256", "typ": "JWT"}), claims, |text| {
        hmac::Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap().chain_update(text).finalize().into_bytes().to_vec()
    })
}

impl Provider {
    pub async fn start() -> Provider {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let said = Said {
            key: key(),
            grants: HashMap::new(),
            number: 0,
            discovery: None,
            differs: json!({}),
            userinfo: json!({}),
            asked: 0,
        };
        let provider = Provider { url, said: Arc::new(Mutex::new(said)) };
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        provider
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut Said) -> T) -> T {
        change(&mut self.said.lock().unwrap())
    }

    /// From now on it signs with another key.
    pub fn rotate(&self) {
        self.change(|said| said.key = key());
    }

    pub fn public_key(&self) -> Vec<u8> {
        self.change(|said| said.key.der_bytes().to_vec())
    }

    /// What an honest one says of `wen`, an analyst.
    pub fn claims(&self, nonce: &str) -> Value {
        let now = jiff::Timestamp::now().as_second();
        json!({
            "iss": self.url, "sub": "248289761001", "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce,
            "preferred_username": "wen", "groups": ["staff", "vitrine-analysts"],
        })
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "EdDSA", "typ": "JWT"});
        self.change(|said| signed(&header, claims, |text| said.key.sign(text).unwrap()))
    }

    /// A code for an ID token.
    pub fn grant(&self, challenge: &str, token: &str) -> String {
        let answer = json!({"access_token": ACCESS, "token_type": "Bearer", "expires_in": 60, "id_token": token});
        self.grant_answer(challenge, answer)
    }

    /// A code for whatever the token endpoint is to answer.
    pub fn grant_answer(&self, challenge: &str, answer: Value) -> String {
        self.change(|said| {
            said.number += 1;
            let code = format!("code-{}", said.number);
            said.grants.insert(code.clone(), Grant { challenge: challenge.into(), answer });
            code
        })
    }

    /// The entry of `collector.toml`; its secret is in `oidc.secret`.
    pub fn config(&self, more: &str) -> String {
        format!(
            "[console.oidc]\nissuer = \"{}\"\nclient-id = \"{CLIENT}\"\nclient-secret-file = \"oidc.secret\"\n\
             console-url = \"https://vitrine.museum.example\"\n{more}\n[console.oidc.roles]\n\
             viewer = [\"vitrine-viewers\"]\nanalyst = [\"vitrine-analysts\"]\nadmin = [\"vitrine-admins\"]\n",
            self.url
        )
    }
}

fn json_answer(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

async fn discovery(State(provider): State<Provider>) -> Response {
    let (instead, differs) = provider.change(|said| (said.discovery.clone(), said.differs.clone()));
    if let Some((status, body)) = instead {
        return (status, [(header::LOCATION, "/jwks")], body).into_response();
    }
    let url = &provider.url;
    let mut found = json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "userinfo_endpoint": format!("{url}/userinfo"),
        "jwks_uri": format!("{url}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA", "HS256", "none"],
    });
    for (key, value) in differs.as_object().unwrap() {
        found[key] = value.clone();
    }
    json_answer(&found)
}

async fn jwks(State(provider): State<Provider>) -> Response {
    json_answer(&provider.change(|said| {
        said.asked += 1;
        json!({"keys": [jwk(&said.key)]})
    }))
}

async fn token(State(provider): State<Provider>, headers: HeaderMap, body: String) -> Response {
    let refuse = |error: &str| {
        let mut response = json_answer(&json!({"error": error}));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response
    };
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{}", SECRET.replace(' ', "+"))));
    if headers.get(header::AUTHORIZATION).is_none_or(|found| *found != *basic) {
        return refuse("invalid_client");
    }
    let form: HashMap<String, String> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let Some(grant) = provider.change(|said| said.grants.remove(&form["code"])) else {
        return refuse("invalid_grant");
    };
    if BASE64.encode(sha2::Sha256::digest(form["code_verifier"].as_bytes())) != grant.challenge {
        return refuse("invalid_grant");
    }
    json_answer(&grant.answer)
}

async fn userinfo(State(provider): State<Provider>, headers: HeaderMap) -> Response {
    assert_eq!(headers[header::AUTHORIZATION], format!("Bearer {ACCESS}"));
    json_answer(&provider.change(|said| said.userinfo.clone()))
}

pub fn write(settings: &Settings, config: &str) {
    std::fs::write(settings.data.join("collector.toml"), config).unwrap();
    std::fs::write(settings.data.join("oidc.secret"), format!("{SECRET}\n")).unwrap();
}

pub async fn world_of(provider: &Provider, more: &str) -> World {
    World::with(|settings| write(settings, &provider.config(more))).await
}

/// A world that was set up, its admin's session, and its provider.
pub async fn ready() -> (World, String, Provider) {
    let provider = Provider::start().await;
    let world = world_of(&provider, "").await;
    let admin = world.set_up().await;
    (world, admin, provider)
}

/// A browser at the provider's door.
#[derive(Clone)]
pub struct Away {
    pub cookie: String,
    pub address: Url,
    pub asked: HashMap<String, String>,
}

impl Away {
    pub fn nonce(&self) -> &str {
        &self.asked["nonce"]
    }

    pub fn challenge(&self) -> &str {
        &self.asked["code_challenge"]
    }
}

pub async fn leave(world: &World) -> Away {
    let response = world.client.get(world.url("/login/oidc")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER, "{}", response.text().await.unwrap());
    let address: Url = response.headers()["location"].to_str().unwrap().parse().unwrap();
    let asked = address.query_pairs().into_owned().collect();
    Away { cookie: cookie(&response), address, asked }
}

/// Brings an answer of the provider back, with these cookies.
pub async fn bring(world: &World, cookies: &str, answer: &[(&str, &str)]) -> reqwest::Response {
    let url = Url::parse_with_params(&world.url("/login/oidc/back"), answer).unwrap();
    let request = world.client.get(url).header("cookie", cookies).header("sec-fetch-site", "cross-site");
    request.send().await.unwrap()
}

pub async fn bring_code(world: &World, away: &Away, code: &str) -> reqwest::Response {
    bring(world, &away.cookie, &[("code", code), ("state", &away.asked["state"])]).await
}

/// Logs in with claims that differ so from those of `wen`.
pub async fn log_in(world: &World, provider: &Provider, differs: Value) -> reqwest::Response {
    let away = leave(world).await;
    let mut claims = provider.claims(away.nonce());
    for (key, value) in differs.as_object().unwrap() {
        claims[key] = value.clone();
    }
    let code = provider.grant(away.challenge(), &provider.sign(&claims));
    bring_code(world, &away, &code).await
}

/// That somebody came in; gives the cookie of the session.
pub async fn inside(response: reqwest::Response) -> String {
    let (status, cookies) = (response.status(), cookies(&response));
    let text = response.text().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{text}");
    assert!(text.contains("url=/\"") && text.contains("You are logged in"), "{text}");
    assert!(cookies[0].contains("SameSite=Strict") && cookies[0].contains("HttpOnly"), "{cookies:?}");
    assert!(cookies[1].starts_with("vitrine-away=;") && cookies[1].contains("Max-Age=0"), "{cookies:?}");
    cookies[0].split(';').next().unwrap().to_owned()
}

pub fn cookies(response: &reqwest::Response) -> Vec<String> {
    response.headers().get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// That nobody came in, and what the page of the log-in says.
pub async fn outside(response: reqwest::Response, status: StatusCode) -> String {
    assert!(cookies(&response).is_empty(), "{:?}", cookies(&response));
    let found = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(found, status, "{text}");
    assert!(text.contains("name=\"password\""), "local users can still log in: {text}");
    let (_, error) = text.split_once("role=\"alert\">").unwrap_or_else(|| panic!("{text}"));
    let error = error.split("</p>").next().unwrap();
    error.replace("&#34;", "\"").replace("&#38;", "&").replace("&#39;", "'")
}

pub async fn audit(world: &World, admin: &str) -> String {
    world.page("/audit.ndjson", admin).await
}

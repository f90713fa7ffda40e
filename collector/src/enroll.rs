//! Who may speak: agents with the certificate that a token got them, readers with a token of theirs.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::console::session;
use crate::refusal::Refusal;
use crate::server::{Collector, Peer};
use crate::store::{Enrolment, Role, Sender, Session, Token};
use crate::tls::Issued;

/// Longest agent id.
const AGENT_ID: usize = 64;

/// A request of an agent, known by its certificate, within its rate. A collector without TLS knows agents by their
/// tokens.
pub(crate) struct Agent(pub(crate) Sender);

/// A request of somebody who may read.
pub(crate) enum Reader {
    /// By a reader's token, of this name.
    Token(String),
    /// In a session of the console.
    User(Session),
}

/// What an agent asks for.
#[derive(Deserialize)]
pub(crate) struct Request {
    agent: String,
    /// A certificate signing request (RFC 2986) in PEM, of which only the public key counts.
    csr: String,
}

/// What it gets.
#[derive(Serialize)]
pub(crate) struct Answer {
    /// The certificate in PEM; none if this collector speaks no TLS, and the token goes on to do.
    certificate: Option<String>,
    /// When it ends to be valid, in milliseconds since 1970.
    expires: Option<i64>,
}

/// Gives an agent a certificate for a token, or for the certificate that it has.
pub(crate) async fn enroll(
    State(collector): State<Arc<Collector>>,
    NewAgent(sender): NewAgent,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Answer>, Refusal> {
    let expected = "JSON with agent and csr, a certificate signing request in PEM with a P-256 key";
    let wrong = |error: String| Refusal::new(StatusCode::BAD_REQUEST, error, expected);
    let request: Request =
        serde_json::from_slice(&body?).map_err(|error| wrong(format!("not a request to enrol: {error}")))?;
    check_agent(&sender, &request.agent)?;
    if !collector.secure {
        return Ok(Json(Answer { certificate: None, expires: None }));
    }
    let issued = collector
        .authority
        .issue(&request.agent, &request.csr)
        .map_err(|error| wrong(format!("the signing request cannot be used: {error}")))?;
    let Issued { pem, digest, key, expires } = issued;
    let enrolment = Enrolment { agent: request.agent.clone(), digest: digest.to_vec(), key: key.to_vec(), expires };
    let renewed = sender.certificate.is_some();
    collector.store.enrol(sender, enrolment).await?;
    tracing::info!(agent = request.agent, renewed, "an agent was given a certificate");
    Ok(Json(Answer { certificate: Some(pem), expires: Some(expires) }))
}

/// A request of somebody who is an agent already, or has a token to become one.
pub(crate) struct NewAgent(Sender);

impl FromRequestParts<Arc<Collector>> for NewAgent {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, collector: &Arc<Collector>) -> Result<Self, Refusal> {
        let sender = match certified(parts, collector).await? {
            Some(sender) => sender,
            None => by_token(parts, collector).await?,
        };
        within_rate(sender, collector).map(NewAgent)
    }
}

impl FromRequestParts<Arc<Collector>> for Agent {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, collector: &Arc<Collector>) -> Result<Self, Refusal> {
        let sender = match certified(parts, collector).await? {
            Some(sender) => sender,
            None if collector.secure => {
                let error = "no certificate";
                let expected = "the certificate that POST /v1/enroll gives for a token";
                return Err(Refusal::new(StatusCode::UNAUTHORIZED, error, expected));
            }
            None => by_token(parts, collector).await?,
        };
        within_rate(sender, collector).map(Agent)
    }
}

fn within_rate(sender: Sender, collector: &Collector) -> Result<Sender, Refusal> {
    if collector.rates.admit(&sender) {
        return Ok(sender);
    }
    let error = "too many requests of this agent";
    Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, error, "fewer, fuller requests").retry_after(1))
}

/// Who showed a certificate in the handshake. One that was revoked, or that another database knows, is refused.
async fn certified(parts: &Parts, collector: &Collector) -> Result<Option<Sender>, Refusal> {
    let Some(Peer { certificate: Some(digest), .. }) = parts.extensions.get() else {
        return Ok(None);
    };
    match collector.store.certified(*digest).await? {
        Some(sender) => Ok(Some(sender)),
        None => {
            let error = "an unknown or revoked certificate";
            Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                error,
                "a certificate of this collector: enrol with a new token",
            ))
        }
    }
}

async fn by_token(parts: &Parts, collector: &Collector) -> Result<Sender, Refusal> {
    let token = token(parts, collector).await?;
    if token.role != Role::Agent {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "this token can only read", "a token of role agent"));
    }
    Ok(Sender { token: token.id, certificate: None, agent: token.agent })
}

impl FromRequestParts<Arc<Collector>> for Reader {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, collector: &Arc<Collector>) -> Result<Self, Refusal> {
        if !parts.headers.contains_key(header::AUTHORIZATION)
            && let Some(session) = session::of(parts, collector).await?
        {
            if session::lacks_factor(&session, collector) {
                let error = "this user has no second factor";
                return Err(Refusal::new(StatusCode::FORBIDDEN, error, "one to be taken up at /account"));
            }
            return Ok(Reader::User(session));
        }
        let token = token(parts, collector).await?;
        match token.role {
            Role::Reader => Ok(Reader::Token(token.name)),
            Role::Agent => {
                Err(Refusal::new(StatusCode::FORBIDDEN, "this token can only send", "a token of role reader"))
            }
        }
    }
}

async fn token(parts: &Parts, collector: &Collector) -> Result<Token, Refusal> {
    let unknown = |error| Refusal::new(StatusCode::UNAUTHORIZED, error, "Authorization: Bearer TOKEN");
    let secret = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .ok_or_else(|| unknown("no token"))?
        .1;
    collector.store.token(secret.trim()).await?.ok_or_else(|| unknown("an unknown or revoked token"))
}

/// Whether a token may speak for this agent, as far as that can be said before the store is asked.
pub(crate) fn check_agent(sender: &Sender, agent: &str) -> Result<(), Refusal> {
    let proper = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if agent.is_empty() || agent.len() > AGENT_ID || !agent.bytes().all(proper) {
        let expected = format!("an agent id of 1 to {AGENT_ID} letters, digits and dashes");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "no proper agent id", expected));
    }
    match &sender.agent {
        Some(own) if own != agent => {
            let what = if sender.certificate.is_some() { "certificate" } else { "token" };
            let error = format!("this {what} belongs to agent {own:?}, not to agent {agent:?}");
            Err(Refusal::new(StatusCode::FORBIDDEN, error, format!("a {what} of this agent's own")))
        }
        _ => Ok(()),
    }
}

//! Who may speak: bearer tokens, and the agent that each belongs to.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};

use crate::console::session;
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{Role, Token};

/// Longest agent id.
const AGENT_ID: usize = 64;

/// A request with an agent's token, within its rate.
pub(crate) struct AgentToken(pub(crate) Token);

/// A request of somebody who may read: a reader's token, or a session of the console.
pub(crate) struct Reader;

impl FromRequestParts<Arc<Collector>> for AgentToken {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, collector: &Arc<Collector>) -> Result<Self, Refusal> {
        let token = token(parts, collector).await?;
        if token.role != Role::Agent {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "this token can only read", "a token of role agent"));
        }
        if !collector.rates.admit(token.id) {
            let error = "too many requests of this agent";
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, error, "fewer, fuller requests").retry_after(1));
        }
        Ok(AgentToken(token))
    }
}

impl FromRequestParts<Arc<Collector>> for Reader {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, collector: &Arc<Collector>) -> Result<Self, Refusal> {
        if !parts.headers.contains_key(header::AUTHORIZATION) && session::of(parts, collector).await?.is_some() {
            return Ok(Reader);
        }
        match token(parts, collector).await?.role {
            Role::Reader => Ok(Reader),
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
pub(crate) fn check_agent(token: &Token, agent: &str) -> Result<(), Refusal> {
    let proper = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if agent.is_empty() || agent.len() > AGENT_ID || !agent.bytes().all(proper) {
        let expected = format!("an agent id of 1 to {AGENT_ID} letters, digits and dashes");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "no proper agent id", expected));
    }
    match &token.agent {
        Some(bound) if bound != agent => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            format!("this token belongs to agent {bound:?}, not to agent {agent:?}"),
            "a token of this agent's own",
        )),
        _ => Ok(()),
    }
}

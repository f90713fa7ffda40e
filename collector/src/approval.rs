//! Agents ask whether a second person approves, and what was answered; who answers does so in the console.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use vitrine_policy::approval::{Answer, Asked, MAX_BYTES};

use crate::enroll::{Agent, check_agent};
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::Unasked;

/// Bytes of a request for approval, with what stands around it.
pub(crate) const MAX: usize = MAX_BYTES + 1024;

/// Takes a request; one that was taken before is answered again.
pub(crate) async fn ask(
    State(collector): State<Arc<Collector>>,
    agent: Agent,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Answer>, Refusal> {
    let wrong = |error: String| {
        Refusal::new(StatusCode::BAD_REQUEST, error, "JSON with request and left, as an agent of this version sends it")
    };
    let asked: Asked =
        serde_json::from_slice(&body?).map_err(|error| wrong(format!("not a request for approval: {error}")))?;
    asked.request.check().map_err(|why| wrong(format!("not a request for approval: {why}")))?;
    if asked.request.id != id || asked.left == 0 {
        return Err(wrong(
            "not a request for approval: its id is not that of the address, or no time is left".to_owned(),
        ));
    }
    check_agent(&agent.0, &asked.request.agent)?;
    match collector.store.ask_approval(agent.0, asked).await? {
        Ok(answer) => Ok(Json(answer)),
        Err(Unasked::Other) => {
            let error = "there is another request of this id";
            Err(Refusal::new(StatusCode::CONFLICT, error, "an id that was never used"))
        }
        Err(Unasked::TooMany(error, seconds)) => {
            let expected = "the same request once others are answered or over";
            Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, error, expected).retry_after(seconds))
        }
    }
}

/// Says how it stands with a request of this very agent.
pub(crate) async fn give(
    State(collector): State<Arc<Collector>>,
    agent: Agent,
    Path(id): Path<String>,
) -> Result<Json<Answer>, Refusal> {
    let none = || Refusal::new(StatusCode::NOT_FOUND, "no such request of this agent", "the id of one that was taken");
    let agent = agent.0.agent.ok_or_else(none)?;
    collector.store.approval_of(agent, id).await?.map(Json).ok_or_else(none)
}

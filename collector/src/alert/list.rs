//! `GET /v1/alerts`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::console::session::check_role;
use crate::enroll::Reader;
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{Actor, AlertFilter, UserRole};

/// Alerts in one answer.
const MAX: u32 = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    limit: Option<u32>,
    since: Option<i64>,
    state: Option<StateFilter>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StateFilter {
    Open,
    All,
}

pub(crate) async fn list(
    State(collector): State<Arc<Collector>>,
    reader: Reader,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Value>, Refusal> {
    let Query(parameters) = parameters.map_err(|error| {
        Refusal::new(StatusCode::BAD_REQUEST, error.body_text(), "limit=1..1000, since=ID, state=open|all")
    })?;
    let filter = AlertFilter {
        open: parameters.state == Some(StateFilter::Open),
        since: parameters.since.unwrap_or(0),
        limit: parameters.limit.unwrap_or(100).clamp(1, MAX),
        skip: 0,
    };
    if let Reader::User(session) = reader {
        // By a browser this is one more file with the list.
        check_role(&session, UserRole::Analyst)?;
        let actor = Actor::User(session.user);
        collector.store.record_export(actor, "/v1/alerts", String::new()).await?;
    }
    Ok(Json(json!({"alerts": collector.store.alerts(filter).await?})))
}

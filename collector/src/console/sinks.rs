//! The page of sinks: how far each has come, and what keeps it.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::response::Html;
use serde_json::{Value, json};

use super::session::SignedIn;
use super::view::Time;
use super::{Bar, PageError, words};
use crate::enroll::Reader;
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{SinkState, now};

/// Seconds behind from which on it is shown as bad.
const LATE: u64 = 60;

#[derive(Template)]
#[template(path = "sinks.html")]
struct SinksPage {
    bar: Bar,
    sinks: Vec<SinkView>,
}

struct SinkView {
    state: SinkState,
    last: Option<Time>,
    waits: Option<String>,
    is_late: bool,
    retry: Option<Time>,
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    signed_in: SignedIn,
) -> Result<Html<String>, PageError> {
    let now = now();
    let view = |state: SinkState| SinkView {
        last: state.last.map(Time::new),
        waits: state.since.map(|since| words::ago(now.saturating_sub(since))),
        is_late: state.behind_seconds >= LATE,
        retry: state.retry.map(Time::new),
        state,
    };
    let sinks = collector.store.sinks().await?.into_iter().map(view).collect();
    super::page(&SinksPage { bar: Bar::new(&collector, signed_in, "sinks").await?, sinks })
}

pub(crate) async fn list(State(collector): State<Arc<Collector>>, _: Reader) -> Result<Json<Value>, Refusal> {
    Ok(Json(json!({"sinks": collector.store.sinks().await?})))
}

//! The list of masters, and what happened to one of them, as files.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use vitrine_policy::record::Record;

use super::export::{file, row};
use super::object::{Happened, key, none};
use super::objects::Filter;
use super::session::{Analyst, SignedIn};
use super::{PageError, words};
use crate::server::Collector;
use crate::store::{Actor, DESTINATIONS, Master, Turn};

/// Lines in one file.
const MOST: u32 = 10_000;

const CSV: &str = "text/csv; charset=utf-8";
const JSON: &str = "application/json";

const LIST: [&str; 10] =
    ["key", "path", "collection", "object", "went through", "refused", "opened", "first", "last", "destinations"];
const HISTORY: [&str; 15] = [
    "time",
    "host",
    "user",
    "program",
    "file",
    "destination",
    "target",
    "decision",
    "tier",
    "measure",
    "coverage",
    "scale",
    "sent",
    "attempts",
    "alert",
];

type Parameters = Result<Query<Filter>, QueryRejection>;
type Key = Result<Path<String>, PathRejection>;

pub(crate) async fn list_csv(
    State(collector): State<Arc<Collector>>,
    Analyst(signed_in): Analyst,
    parameters: Parameters,
) -> Result<Response, PageError> {
    let mut text = head(&LIST);
    for master in masters(&collector, signed_in, "objects.csv", parameters).await? {
        let cells = [
            hex::encode(master.key),
            master.path,
            master.collection,
            master.object.unwrap_or_default(),
            master.went.to_string(),
            master.refused.to_string(),
            master.opens.to_string(),
            words::machine_time(master.first_seen),
            words::machine_time(master.last_seen),
            master.destinations.join("; "),
        ];
        text.push_str(&row(cells.into_iter()));
    }
    Ok((file(CSV, "attachment; filename=\"objects.csv\""), text).into_response())
}

pub(crate) async fn list_json(
    State(collector): State<Arc<Collector>>,
    Analyst(signed_in): Analyst,
    parameters: Parameters,
) -> Result<Response, PageError> {
    let masters = masters(&collector, signed_in, "objects.json", parameters).await?;
    let objects: Vec<Value> = masters
        .into_iter()
        .map(|master| {
            json!({
                "key": hex::encode(master.key),
                "path": master.path,
                "collection": master.collection,
                "object": master.object,
                "went_through": master.went,
                "refused": master.refused,
                "opened": master.opens,
                "first": words::machine_time(master.first_seen),
                "last": words::machine_time(master.last_seen),
                "destinations": master.destinations,
            })
        })
        .collect();
    Ok((file(JSON, "attachment; filename=\"objects.json\""), Json(json!({"objects": objects}))).into_response())
}

pub(crate) async fn history_csv(
    State(collector): State<Arc<Collector>>,
    Analyst(signed_in): Analyst,
    path: Key,
) -> Result<Response, PageError> {
    let mut text = head(&HISTORY);
    let (_, history) = history(&collector, signed_in, "history.csv", path).await?;
    let number = |number: Option<f64>| number.map_or(String::new(), |number| format!("{number:.4}"));
    for (alert, what) in history {
        let cells = [
            what.time,
            what.host,
            what.user,
            what.program,
            what.file,
            what.destination,
            what.target,
            what.decision.into(),
            what.tier,
            what.measure,
            number(what.coverage),
            number(what.scale),
            number(what.sent),
            what.attempts.to_string(),
            alert.map_or(String::new(), |alert| alert.to_string()),
        ];
        text.push_str(&row(cells.into_iter()));
    }
    Ok((file(CSV, "attachment; filename=\"history.csv\""), text).into_response())
}

pub(crate) async fn history_json(
    State(collector): State<Arc<Collector>>,
    Analyst(signed_in): Analyst,
    path: Key,
) -> Result<Response, PageError> {
    let (master, history) = history(&collector, signed_in, "history.json", path).await?;
    let history: Vec<Value> = history
        .into_iter()
        .filter_map(|(alert, what)| {
            let mut what = serde_json::to_value(what).ok()?;
            what.as_object_mut()?.insert("alert".into(), json!(alert));
            Some(what)
        })
        .collect();
    let body = json!({"path": master.path, "collection": master.collection, "history": history});
    Ok((file(JSON, "attachment; filename=\"history.json\""), Json(body)).into_response())
}

fn head(names: &[&str]) -> String {
    row(names.iter().map(|name| (*name).to_owned()))
}

async fn masters(
    collector: &Collector,
    signed_in: SignedIn,
    file: &str,
    parameters: Parameters,
) -> Result<Vec<Master>, PageError> {
    let Query(filter) = parameters.unwrap_or_default();
    let filter = filter.bounded();
    let actor = Actor::User(signed_in.0.user);
    collector.store.record_export(actor, file, filter.address(&[])).await?;
    let mut found = collector.store.objects(filter.query(), Turn::Newest, MOST).await?;
    for master in found.iter_mut().filter(|master| master.destinations.len() > DESTINATIONS) {
        master.destinations.truncate(DESTINATIONS);
        master.destinations.push("…".into());
    }
    Ok(found)
}

async fn history(
    collector: &Collector,
    signed_in: SignedIn,
    file: &str,
    path: Key,
) -> Result<(Master, Vec<(Option<i64>, Happened)>), PageError> {
    let key = key(path)?;
    let (master, ..) = collector.store.object(key).await?.ok_or_else(none)?;
    let actor = Actor::User(signed_in.0.user);
    collector.store.record_export(actor, file, master.path.clone()).await?;
    let shown = move |record: &Record| Happened::new(record, key);
    let found = collector.store.happened(master.number, i64::MAX, MOST, shown).await?;
    Ok((master, found.into_iter().filter_map(|(_, alert, what)| Some((alert, what?))).collect()))
}

//! The page of the audit log, and the log as a file.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;

use super::session::Admin;
use super::view::Time;
use super::{Bar, PageError};
use crate::alert::text::line;
use crate::server::Collector;
use crate::store::{Actor, AuditEntry, AuditFilter, Kind, StoreError};

/// Entries on one page.
const PAGE: u32 = 100;
/// Entries in one file.
const MOST: u32 = 50_000;
/// Longest text of a filter and of an entry, in characters.
const TEXT: usize = 300;

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    bar: Bar,
    actor: String,
    kind: String,
    kinds: [Kind; 17],
    entries: Vec<EntryView>,
    older: Option<String>,
    /// The filter as it stands in the address.
    this: String,
}

struct EntryView {
    number: i64,
    at: Time,
    origin: String,
    actor: String,
    kind: String,
    subject: String,
    detail: String,
    hash: String,
}

impl EntryView {
    fn new(entry: &AuditEntry) -> EntryView {
        EntryView {
            number: entry.number,
            at: Time::new(entry.at),
            origin: entry.origin.clone(),
            actor: line(&entry.actor, TEXT),
            kind: entry.kind.clone(),
            subject: line(&entry.subject, TEXT),
            detail: line(&entry.detail, TEXT),
            hash: entry.hash.chars().take(12).collect(),
        }
    }
}

/// What the address of the page says. What is missing or means nothing filters nothing.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Parameters {
    actor: String,
    kind: String,
    before: Option<i64>,
    after: Option<i64>,
}

impl Parameters {
    fn filter(self, limit: u32) -> AuditFilter {
        let kind = Kind::ALL.iter().map(|kind| kind.name()).find(|name| *name == self.kind).unwrap_or_default();
        let actor = line(self.actor.trim(), TEXT);
        AuditFilter { actor, kind: kind.into(), before: self.before, after: self.after, limit }
    }
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    Admin(signed_in): Admin,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let Query(parameters) = parameters.unwrap_or_default();
    let filter = AuditFilter { after: None, ..parameters.filter(PAGE + 1) };
    let mut found = collector.store.audit(filter.clone()).await?;
    let more = found.len() > PAGE as usize;
    found.truncate(PAGE as usize);
    let older = found.last().filter(|_| more).map(|last| address(&filter, Some(last.number)));
    super::page(&AuditPage {
        bar: Bar::new(&collector, signed_in, "audit").await?,
        this: address(&filter, None),
        actor: filter.actor,
        kind: filter.kind,
        kinds: Kind::ALL,
        entries: found.iter().map(EntryView::new).collect(),
        older,
    })
}

/// The filter behind the `?` of an address.
fn address(filter: &AuditFilter, before: Option<i64>) -> String {
    let mut address = form_urlencoded::Serializer::new(String::new());
    for (name, value) in [("actor", &filter.actor), ("kind", &filter.kind)] {
        if !value.is_empty() {
            address.append_pair(name, value);
        }
    }
    if let Some(before) = before {
        address.append_pair("before", &before.to_string());
    }
    address.finish()
}

/// One entry a line, the oldest first, from behind the number in `after` on.
pub(crate) async fn ndjson(
    State(collector): State<Arc<Collector>>,
    Admin(signed_in): Admin,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, PageError> {
    let Query(parameters) = parameters.unwrap_or_default();
    let filter = AuditFilter { after: Some(parameters.after.unwrap_or(0)), ..parameters.filter(MOST) };
    let actor = Actor::User(signed_in.0.user);
    collector.store.record_export(actor, "audit.ndjson", address(&filter, None)).await?;
    let mut text = String::new();
    for entry in collector.store.audit(filter).await? {
        text.push_str(&serde_json::to_string(&entry).map_err(StoreError::from)?);
        text.push('\n');
    }
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"audit.ndjson\""),
    ];
    Ok((headers, text).into_response())
}

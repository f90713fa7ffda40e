//! The list of alerts: one line each, to be scanned, filtered and answered for in bulk.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Html;

use super::filter::{Filter, SEVERITIES, STATES};
use super::session::SignedIn;
use super::view::Time;
use super::{Bar, PageError, words};
use crate::alert::{Alert, Verdict};
use crate::server::Collector;
use crate::store::{Key, View};

/// Alerts on one page.
const PAGE: u32 = 50;

#[derive(Template)]
#[template(path = "alerts.html")]
struct ListPage {
    bar: Bar,
    filter: Filter,
    states: Vec<(String, &'static str)>,
    severities: Vec<&'static str>,
    verdicts: [Verdict; 11],
    views: Vec<View>,
    /// The filter as it stands in the address.
    this: String,
    follow: Option<String>,
    newer: Option<String>,
    older: Option<String>,
    alerts: Vec<Row>,
}

struct Row {
    id: i64,
    severity: &'static str,
    state: &'static str,
    verdict: Option<&'static str>,
    title: String,
    host: String,
    user: String,
    decision: &'static str,
    attempts: u64,
    time: Time,
    silenced: bool,
}

impl Row {
    fn new(alert: &Alert) -> Row {
        Row {
            id: alert.id,
            severity: words::severity(alert.severity),
            state: alert.state.name(),
            verdict: alert.closed.as_ref().map(|closed| closed.verdict.name()),
            title: alert.title.clone(),
            host: alert.host.clone(),
            user: alert.user.clone().unwrap_or_default(),
            decision: alert.disposition.map_or("", words::disposition),
            attempts: alert.attempts,
            time: Time::new(alert.last_seen),
            silenced: alert.silenced.is_some(),
        }
    }
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    signed_in: SignedIn,
    parameters: Result<Query<Filter>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let Query(filter) = parameters.unwrap_or_default();
    let filter = filter.bounded();
    let key = filter.key();
    let mut found = collector.store.list(filter.query(), key, PAGE + 1).await?;
    let more = found.len() > PAGE as usize;
    // The one too many stands at the end that the page does not begin with.
    match key {
        Key::After(_) if more => drop(found.remove(0)),
        _ => found.truncate(PAGE as usize),
    }
    let (is_newer, is_older) = match key {
        Key::Newest => (false, more),
        Key::Before(_) => (true, more),
        Key::After(_) => (more, true),
    };
    let beside = |there: bool, name: &str, alert: Option<&Alert>| {
        alert.filter(|_| there).map(|alert| filter.address(&[(name, &alert.id.to_string())]))
    };
    let views = collector.store.views(signed_in.0.user.clone()).await?;
    super::page(&ListPage {
        bar: Bar::new(&collector, signed_in, "alerts").await?,
        states: STATES
            .iter()
            .map(|state| (Filter::of_state(state.name()), state.name()))
            .chain([(Filter::of_state("all"), "all")])
            .collect(),
        severities: SEVERITIES.into_iter().map(words::severity).collect(),
        verdicts: Verdict::ALL,
        views,
        this: filter.address(&[]),
        follow: (!filter.follows()).then(|| filter.address(&[("follow", "1")])),
        newer: beside(is_newer, "after", found.first()),
        older: beside(is_older, "before", found.last()),
        alerts: found.iter().map(Row::new).collect(),
        filter,
    })
}

//! The page of workstations: who is there, what guards it, and what is wrong with it.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Html;
use serde::Deserialize;

use super::session::SignedIn;
use super::view::Time;
use super::{Bar, PageError, words};
use crate::alert::text::line;
use crate::heartbeat::{Heartbeat, Host};
use crate::server::Collector;
use crate::store::{HostFilter, now};

/// Workstations on one page.
const PAGE: u32 = 100;
/// Longest name to search for, in characters.
const NAME: usize = 100;
/// Longest text from an agent, in characters.
const TEXT: usize = 200;
/// A clock that is further off makes times of records hard to compare, in milliseconds.
const SKEW: i64 = 60_000;

#[derive(Template)]
#[template(path = "hosts.html")]
struct HostsPage {
    bar: Bar,
    query: String,
    newer: Option<String>,
    older: Option<String>,
    hosts: Vec<HostView>,
    /// Lines that were laid aside, of all of them.
    dead_letters: u64,
}

struct HostView {
    name: String,
    agent: String,
    silent: bool,
    off: bool,
    ago: String,
    last: Time,
    guard: String,
    mode: &'static str,
    policy: String,
    policy_short: String,
    policy_more: String,
    version: String,
    index: String,
    waiting: u64,
    lost: u64,
    skew: String,
    is_skewed: bool,
}

/// What the address of the page says.
#[derive(Default, Deserialize)]
pub(crate) struct Parameters {
    page: Option<u32>,
    q: Option<String>,
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    signed_in: SignedIn,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let Query(parameters) = parameters.unwrap_or_default();
    let number = parameters.page.unwrap_or(1).clamp(1, 100_000);
    let query = line(parameters.q.unwrap_or_default().trim(), NAME);
    let filter = HostFilter { name: query.clone(), limit: PAGE + 1, skip: (number - 1) * PAGE };
    let mut found = collector.store.hosts(filter).await?;
    let more = found.len() > PAGE as usize;
    found.truncate(PAGE as usize);
    let address = |page: u32| {
        let mut parameters = form_urlencoded::Serializer::for_suffix("/hosts?".to_owned(), "/hosts?".len());
        parameters.append_pair("q", &query).append_pair("page", &page.to_string());
        parameters.finish()
    };
    let now = now();
    super::page(&HostsPage {
        bar: Bar::new(&collector, signed_in, "hosts").await?,
        newer: (number > 1).then(|| address(number - 1)),
        older: more.then(|| address(number + 1)),
        query,
        dead_letters: collector.store.count_dead_letters().await?,
        hosts: found.iter().map(|host| HostView::new(host, now)).collect(),
    })
}

impl HostView {
    fn new(host: &Host, now: i64) -> HostView {
        let heartbeat: Option<Heartbeat> =
            host.heartbeat.as_ref().and_then(|heartbeat| serde_json::from_str(heartbeat.get()).ok());
        let said = |what: fn(&Heartbeat) -> &str| {
            heartbeat.as_ref().map_or(String::new(), |heartbeat| line(what(heartbeat), TEXT))
        };
        let policy = said(|heartbeat| heartbeat.policy.as_deref().unwrap_or_default());
        HostView {
            name: line(&host.host, TEXT),
            agent: host.agent.clone(),
            silent: host.silent.is_some(),
            off: host.off,
            ago: words::ago(now.saturating_sub(host.last_seen)),
            last: Time::new(host.last_seen),
            guard: said(|heartbeat| &heartbeat.guard),
            mode: heartbeat.as_ref().map_or("", |heartbeat| words::mode(heartbeat.mode)),
            policy_more: heartbeat.as_ref().map_or_else(String::new, |heartbeat| {
                let serial = heartbeat.policy_serial.map(|serial| format!("serial {serial}"));
                let source = heartbeat.policy_source.as_deref().filter(|source| *source == "collector");
                serial.into_iter().chain(source.map(|_| "from here".to_owned())).collect::<Vec<_>>().join(", ")
            }),
            policy_short: policy.chars().take(8).collect(),
            policy,
            version: said(|heartbeat| &heartbeat.agent_version),
            index: heartbeat
                .as_ref()
                .and_then(|heartbeat| heartbeat.index)
                .map_or_else(String::new, |index| format!("{} masters, version {}", index.masters, index.version)),
            waiting: heartbeat.as_ref().map_or(0, |heartbeat| heartbeat.spool_depth),
            lost: host.missing,
            skew: host.skew.map_or(String::new(), words::skew),
            is_skewed: host.skew.is_some_and(|skew| skew.abs() > SKEW),
        }
    }
}

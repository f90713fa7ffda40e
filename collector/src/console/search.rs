//! Search: one text, everything that it fits, each kind under a heading of its own.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Html;
use serde::Deserialize;
use vitrine_policy::record::{Event, Record};

use super::objects::MasterView;
use super::session::SignedIn;
use super::view::Time;
use super::{Bar, PageError, words};
use crate::alert::Alert;
use crate::alert::text::line;
use crate::server::Collector;
use crate::store::{Account, object_key};

/// Longest text to search for, in characters.
const QUERY: usize = 200;
/// Longest text of a record, in characters.
const TEXT: usize = 300;

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    bar: Bar,
    query: String,
    /// The text behind the `?` of a list's address.
    this: String,
    is_cut: bool,
    is_partial: bool,
    is_empty: bool,
    masters: Vec<MasterView>,
    hosts: Vec<HostView>,
    accounts: Vec<AccountView>,
    alerts: Vec<AlertView>,
    records: Vec<RecordView>,
}

struct HostView {
    name: String,
    address: String,
    last: Time,
}

struct AccountView {
    name: String,
    address: String,
    went: u64,
    refused: u64,
    last: Time,
}

struct AlertView {
    id: i64,
    severity: &'static str,
    state: &'static str,
    title: String,
    host: String,
    user: String,
    last: Time,
}

struct RecordView {
    time: Time,
    host: String,
    user: String,
    title: String,
    outcome: &'static str,
    /// Where more is told of it, and what that is.
    more: Option<(String, String)>,
}

/// What the address of the page says.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Parameters {
    q: String,
}

fn address(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

impl AccountView {
    fn new(account: &Account) -> AccountView {
        AccountView {
            name: account.name.clone(),
            address: address(&[("state", "all"), ("user", &account.name)]),
            went: account.went,
            refused: account.refused,
            last: Time::new(account.last_seen),
        }
    }
}

impl AlertView {
    fn new(alert: &Alert) -> AlertView {
        AlertView {
            id: alert.id,
            severity: words::severity(alert.severity),
            state: alert.state.name(),
            title: alert.title.clone(),
            host: alert.host.clone(),
            user: alert.user.clone().unwrap_or_default(),
            last: Time::new(alert.last_seen),
        }
    }
}

impl RecordView {
    fn new(alert: Option<i64>, record: &Record) -> RecordView {
        let (user, title, outcome, master) = match &record.event {
            Event::Transfer(transfer) => (
                transfer.user.as_ref().map_or(String::new(), |user| line(&user.name, TEXT)),
                line(&transfer.title(), TEXT),
                words::disposition(transfer.disposition),
                transfer.masters.first(),
            ),
            Event::Notice(notice) => {
                (String::new(), line(&format!("{}: {}", notice.code, notice.message), TEXT), "", None)
            }
        };
        let object = || {
            let master = master?;
            let key = hex::encode(object_key(&master.collection, &master.path));
            Some((format!("/objects/{key}"), "object".to_owned()))
        };
        RecordView {
            time: Time::new(record.time),
            host: line(&record.host.name, TEXT),
            user,
            title,
            outcome,
            more: alert.map(|alert| (format!("/alerts/{alert}"), format!("alert {alert}"))).or_else(object),
        }
    }
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    signed_in: SignedIn,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let Query(parameters) = parameters.unwrap_or_default();
    let query = line(parameters.q.trim(), QUERY);
    let found = collector.store.search(query.clone()).await?;
    let mut bar = Bar::new(&collector, signed_in, "search").await?;
    bar.query.clone_from(&query);
    super::page(&SearchPage {
        bar,
        this: address(&[("q", &query)]),
        is_cut: found.is_cut,
        is_partial: found.is_partial,
        is_empty: found.masters.is_empty()
            && found.hosts.is_empty()
            && found.accounts.is_empty()
            && found.alerts.is_empty()
            && found.records.is_empty(),
        masters: found.masters.iter().map(MasterView::new).collect(),
        hosts: found
            .hosts
            .iter()
            .map(|(name, last)| HostView {
                address: address(&[("q", name)]),
                name: line(name, TEXT),
                last: Time::new(*last),
            })
            .collect(),
        accounts: found.accounts.iter().map(AccountView::new).collect(),
        alerts: found.alerts.iter().map(AlertView::new).collect(),
        records: found.records.iter().map(|(alert, record)| RecordView::new(*alert, record)).collect(),
        query,
    })
}

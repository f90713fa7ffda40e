//! The page of one alert: both pictures, what was found, who did it from where, what the workstation told around it,
//! and what the staff have done with it.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Html;
use vitrine_policy::record::{Event, Record};

use super::session::SignedIn;
use super::view::{AlertView, Time};
use super::{Bar, PageError, silences, words};
use crate::alert::silence::Silence;
use crate::alert::text::line;
use crate::alert::{Alert, State as AlertState, Verdict, WINDOW};
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{Around, TriageEntry};

/// Records shown of the alert.
const RECORDS: u32 = 20;
/// Records shown of the time before it, and of the time from it on.
const AROUND: usize = 100;
/// Longest title of a record, in characters.
const TITLE: usize = 300;

#[derive(Template)]
#[template(path = "alert.html")]
struct AlertPage {
    bar: Bar,
    alert: AlertView,
    may_acknowledge: bool,
    may_close: bool,
    may_reopen: bool,
    verdicts: [Verdict; 11],
    history: Vec<HistoryView>,
    around: Vec<AroundView>,
    cut: bool,
    /// Number and reason of the silence that keeps it back.
    silenced: Option<(i64, String)>,
    /// Where others like it can be silenced.
    silence: String,
}

struct HistoryView {
    at: Time,
    user: String,
    what: String,
    note: String,
}

struct AroundView {
    time: Time,
    severity: &'static str,
    title: String,
    here: bool,
    alert: Option<i64>,
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    signed_in: SignedIn,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Html<String>, PageError> {
    let none = || Refusal::new(StatusCode::NOT_FOUND, "no such alert", "the number of an alert of the list");
    let Path(id) = id.map_err(|_| none())?;
    let Some((alert, records, kept)) = collector.store.alert(id, RECORDS).await? else {
        return Err(none().into());
    };
    let (from, until) = (alert.first_seen.saturating_sub(WINDOW), alert.last_seen.saturating_add(WINDOW));
    let at = records.first().map_or(alert.last_seen, |lead| lead.time).clamp(from, until.max(from)); // the clock may have been set back
    let (around, cut) = collector.store.around(alert.agent.clone(), (from, at, until), AROUND).await?;
    let history = collector.store.history(id).await?;
    let silenced = match alert.silenced {
        Some(number) => collector.store.silence_reason(number).await?.map(|reason| (number, reason)),
        None => None,
    };
    super::page(&AlertPage {
        silence: silences::like(&Silence::like(&alert)),
        silenced,
        bar: Bar::new(&collector, signed_in, "alerts").await?,
        may_acknowledge: alert.state == AlertState::Open,
        may_close: alert.state != AlertState::Closed,
        may_reopen: matches!(alert.state, AlertState::Acknowledged | AlertState::Closed),
        verdicts: Verdict::ALL,
        history: history.into_iter().map(HistoryView::new).collect(),
        cut,
        around: around.iter().map(|record| AroundView::new(record, &alert)).collect(),
        alert: AlertView::new(&alert, &records, &kept),
    })
}

impl HistoryView {
    fn new(entry: TriageEntry) -> HistoryView {
        let what = match entry.verdict {
            Some(verdict) => format!("{} it: {}", entry.step, verdict.name()),
            None => format!("{} it", entry.step),
        };
        HistoryView { at: Time::new(entry.at), user: entry.user, what, note: entry.note }
    }
}

impl AroundView {
    fn new((of, record): &Around, alert: &Alert) -> AroundView {
        AroundView {
            time: Time::new(record.time),
            severity: words::severity(record.event.severity()),
            title: line(&title(record), TITLE),
            here: *of == Some(alert.id),
            alert: of.filter(|of| *of != alert.id),
        }
    }
}

fn title(record: &Record) -> String {
    match &record.event {
        Event::Transfer(transfer) => transfer.title(),
        Event::Notice(notice) => format!("{}: {}", notice.code, notice.message),
    }
}

//! The page of one master: its picture, which share of it went where, and everything that ever happened to it.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Html;
use serde::{Deserialize, Serialize};
use vitrine_policy::record::{Disposition, Event, Record};

use super::objects::MasterView;
use super::session::SignedIn;
use super::view::Time;
use super::{Bar, PageError, words};
use crate::alert::text::line;
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{DESTINATIONS, ObjectKey, Whereto, destination, object_key};

/// Records on one page.
const PAGE: u32 = 50;
/// Longest text from a record, in characters.
const TEXT: usize = 400;

#[derive(Template)]
#[template(path = "object.html")]
struct ObjectPage {
    bar: Bar,
    master: MasterView,
    object: String,
    first: Time,
    opens: u64,
    thumbnail: Option<String>,
    places: Vec<PlaceView>,
    more_places: bool,
    history: Vec<HappenedView>,
    is_first: bool,
    older: Option<i64>,
}

struct PlaceView {
    name: String,
    list: String,
    share: Option<f64>,
    words: String,
    note: String,
    largest: String,
    went: u64,
    refused: u64,
    last: Time,
}

pub(super) struct HappenedView {
    pub(super) at: Time,
    pub(super) alert: Option<i64>,
    pub(super) what: Happened,
}

impl HappenedView {
    pub(super) fn new(alert: Option<i64>, what: Happened) -> HappenedView {
        HappenedView { at: Time::new(what.milliseconds), alert, what }
    }
}

/// One thing that happened to a master, every text on one line and bounded.
#[derive(Clone, Debug, Serialize)]
pub struct Happened {
    #[serde(skip)]
    pub(super) milliseconds: i64,
    /// When, by the workstation's clock.
    pub time: String,
    /// The workstation.
    pub host: String,
    /// Who did it.
    pub user: String,
    /// With which program.
    pub program: String,
    /// The file that was to go.
    pub file: String,
    /// Where to, as the policy names it; empty where it was only opened.
    pub destination: String,
    /// The path or host there.
    pub target: String,
    /// How it ended, in words.
    pub decision: &'static str,
    pub(super) went_through: bool,
    /// It went through, and the policy is against it.
    #[serde(skip)]
    pub(super) is_bad: bool,
    pub(super) tier: String,
    pub(super) measure: String,
    /// Share of the master's area that the file shows, and its scale.
    pub(super) coverage: Option<f64>,
    pub(super) scale: Option<f64>,
    /// Share that had gone there with it, as the workstation counted.
    pub(super) sent: Option<f64>,
    pub(super) attempts: u32,
}

impl Happened {
    pub(crate) fn new(record: &Record, key: ObjectKey) -> Option<Happened> {
        let Event::Transfer(transfer) = &record.event else {
            return None;
        };
        let master = transfer.masters.iter().find(|one| object_key(&one.collection, &one.path) == key);
        let found = master.and_then(|master| master.recognised.as_ref());
        let to = transfer.destination.as_ref();
        Some(Happened {
            milliseconds: record.time,
            time: words::machine_time(record.time),
            host: line(&record.host.name, TEXT),
            user: transfer.user.as_ref().map_or(String::new(), |user| line(&user.name, TEXT)),
            program: transfer.processes.first().map_or(String::new(), |process| line(&process.name, TEXT)),
            file: line(&transfer.file.path, TEXT),
            destination: to.map_or(String::new(), |to| line(&destination(to), TEXT)),
            target: to.map_or(String::new(), |to| line(&to.target, TEXT)),
            decision: match to {
                None if words::went_through(transfer.disposition) => "opened",
                _ => words::disposition(transfer.disposition),
            },
            went_through: to.is_some() && words::went_through(transfer.disposition),
            is_bad: words::went_through(transfer.disposition) && transfer.disposition != Disposition::Allowed,
            tier: line(&transfer.tier, TEXT),
            measure: transfer.measure.as_ref().map_or(String::new(), words::measure),
            coverage: found.map(|found| found.coverage),
            scale: found.map(|found| found.scale),
            sent: master.and_then(|master| master.sent),
            attempts: transfer.attempts,
        })
    }

    /// The tier's measure tells the scale.
    pub(super) fn coverage(&self) -> String {
        self.coverage.map_or(String::new(), |coverage| format!("{:.0} %", coverage * 100.0))
    }

    pub(super) fn sent(&self) -> Option<String> {
        let what = if self.went_through { "there with it" } else { "would be there" };
        self.sent.map(|sent| format!("{} {what}", percent(sent)))
    }
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// How much of a master's area a file shows, and how large.
pub(super) fn shown(coverage: f64, scale: f64) -> String {
    format!("{:.0} % at scale {scale:.2}", coverage * 100.0)
}

impl PlaceView {
    fn new(place: &Whereto) -> PlaceView {
        let (words, note) = match (place.sent, place.largest) {
            (Some((most, sum)), _) if place.counted > 1 => {
                let note = format!(
                    "the most that one of {} workstations counted; {} if their parts do not overlap",
                    place.counted,
                    percent(sum.min(1.0))
                );
                (format!("at least {}", percent(most)), note)
            }
            (Some((most, _)), _) => (percent(most), "as the workstation counted".into()),
            (None, _) if place.went == 0 => ("none".into(), String::new()),
            (None, Some(_)) => {
                ("none counted".into(), "no more than every destination may receive, or not counted".into())
            }
            (None, None) => ("unknown".into(), "what went there was not measured: up to the whole".into()),
        };
        let to = form_urlencoded::Serializer::new(String::new()).append_pair("to", &place.name).finish();
        PlaceView {
            name: place.name.clone(),
            list: to,
            share: place.sent.map(|(most, _)| most),
            words,
            note,
            largest: place.largest.map_or(String::new(), |(coverage, scale)| shown(coverage, scale)),
            went: place.went,
            refused: place.refused,
            last: Time::new(place.last_seen),
        }
    }
}

/// The key in an address.
pub(super) fn key(path: Result<Path<String>, PathRejection>) -> Result<ObjectKey, Refusal> {
    let mut key = ObjectKey::default();
    match path {
        Ok(Path(text)) if hex::decode_to_slice(&text, &mut key).is_ok() => Ok(key),
        _ => Err(none()),
    }
}

pub(super) fn none() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "no such object", "the address of an object of the list")
}

/// Where the page begins.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Parameters {
    before: Option<i64>,
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    signed_in: SignedIn,
    path: Result<Path<String>, PathRejection>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let key = key(path)?;
    let Query(Parameters { before }) = parameters.unwrap_or_default();
    let (master, places, is_kept) = collector.store.object(key).await?.ok_or_else(none)?;
    let shown = move |record: &Record| Happened::new(record, key);
    let mut found = collector.store.happened(master.number, before.unwrap_or(i64::MAX), PAGE + 1, shown).await?;
    let more = found.len() > PAGE as usize;
    found.truncate(PAGE as usize);
    super::page(&ObjectPage {
        bar: Bar::new(&collector, signed_in, "objects").await?,
        object: master.object.clone().unwrap_or_default(),
        first: Time::new(master.first_seen),
        opens: master.opens,
        thumbnail: master.thumbnail.clone().filter(|_| is_kept),
        more_places: places.len() > DESTINATIONS,
        places: places.iter().take(DESTINATIONS).map(PlaceView::new).collect(),
        is_first: before.is_none(),
        older: found.last().filter(|_| more).map(|(number, ..)| *number),
        history: found
            .into_iter()
            .filter_map(|(_, alert, what)| what.map(|what| HappenedView::new(alert, what)))
            .collect(),
        master: MasterView::new(&master),
    })
}

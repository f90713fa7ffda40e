//! The page of silences: which alerts nobody is told of, until when, and why; adding and ending them.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::session::{Analyst, SameOrigin, SignedIn, check_form};
use super::view::Time;
use super::{Bar, PageError};
use crate::alert::silence::Silence;
use crate::alert::text::line;
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{Silenced, StoreError};

/// The longest that a silence lasts, in hours.
const HOURS: i64 = 720;
/// Longest pattern and reason, in characters.
const PATTERN: usize = 400;
const REASON: usize = 500;
/// Silences shown that have ended.
const ENDED: u32 = 50;

#[derive(Template)]
#[template(path = "silences.html")]
struct SilencesPage {
    bar: Bar,
    error: Option<String>,
    form: Wanted,
    hours: i64,
    lasting: Vec<SilenceView>,
    ended: Vec<SilenceView>,
}

struct SilenceView {
    number: i64,
    patterns: Vec<(&'static str, String)>,
    reason: String,
    author: String,
    created: Time,
    until: Time,
    ended: Option<(Time, String)>,
    alerts: u64,
}

impl SilenceView {
    fn new(one: Silenced) -> SilenceView {
        let Silence { host, user, destination, master } = one.silence;
        let mut patterns =
            vec![("Workstation", host), ("User", user), ("Destination", destination), ("Master", master)];
        patterns.retain(|(_, pattern)| !pattern.is_empty());
        SilenceView {
            number: one.number,
            patterns,
            reason: one.reason,
            author: one.author,
            created: Time::new(one.created),
            until: Time::new(one.until),
            ended: one.ended.map(|(at, by)| (Time::new(at), by)),
            alerts: one.alerts,
        }
    }
}

/// What the form says, and the address that fills it in.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    csrf: String,
    host: String,
    user: String,
    destination: String,
    master: String,
    hours: String,
    reason: String,
}

impl Wanted {
    fn bounded(mut self) -> Wanted {
        for text in [&mut self.host, &mut self.user, &mut self.destination, &mut self.master] {
            *text = line(text.trim(), PATTERN);
        }
        self.reason = line(self.reason.trim(), REASON);
        self.hours = line(self.hours.trim(), 10);
        self
    }

    /// The silence and how long it lasts, in milliseconds, or what is missing.
    fn silence(&self) -> Result<(Silence, i64), String> {
        let silence = Silence {
            host: self.host.clone(),
            user: self.user.clone(),
            destination: self.destination.clone(),
            master: self.master.clone(),
        };
        silence.check()?;
        let hours = self.hours.parse::<i64>().ok().filter(|hours| (1..=HOURS).contains(hours));
        let hours = hours.ok_or_else(|| format!("Say after how many hours it ends: 1 to {HOURS}."))?;
        if self.reason.is_empty() {
            return Err("Give a reason: somebody will ask why nobody was told.".into());
        }
        Ok((silence, hours * 3_600_000))
    }
}

/// The address of the page with the form filled in for alerts like this one.
pub(super) fn like(silence: &Silence) -> String {
    let mut address = form_urlencoded::Serializer::new(String::new());
    for (name, value) in [
        ("host", &silence.host),
        ("user", &silence.user),
        ("destination", &silence.destination),
        ("master", &silence.master),
    ] {
        if !value.is_empty() {
            address.append_pair(name, value);
        }
    }
    format!("/silences?{}", address.finish())
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    signed_in: SignedIn,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let Query(wanted) = wanted.unwrap_or_default();
    show(&collector, signed_in, None, wanted.bounded()).await
}

async fn show(
    collector: &Collector,
    signed_in: SignedIn,
    error: Option<String>,
    form: Wanted,
) -> Result<Html<String>, PageError> {
    let (lasting, ended) = collector.store.silences(ENDED).await?;
    super::page(&SilencesPage {
        bar: Bar::new(collector, signed_in, "silences").await?,
        error,
        form,
        hours: HOURS,
        lasting: lasting.into_iter().map(SilenceView::new).collect(),
        ended: ended.into_iter().map(SilenceView::new).collect(),
    })
}

pub(crate) async fn add(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    Analyst(signed_in): Analyst,
    form: Result<Form<Wanted>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    check_form(&signed_in.0, &form.csrf)?;
    let form = form.bounded();
    let (status, error) = match form.silence() {
        Err(error) => (StatusCode::BAD_REQUEST, error),
        Ok((silence, lasts)) => {
            let by = signed_in.0.user.clone();
            match collector.store.add_silence(by, silence, form.reason.clone(), lasts).await {
                Ok(_) => return Ok(Redirect::to("/silences").into_response()),
                Err(StoreError::User(error)) => (StatusCode::CONFLICT, error),
                Err(error) => return Err(error.into()),
            }
        }
    };
    Ok((status, show(&collector, signed_in, Some(error), form).await?).into_response())
}

/// The button that ends a silence.
#[derive(Deserialize)]
pub(crate) struct Ended {
    csrf: String,
    number: i64,
}

pub(crate) async fn end(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    Analyst(signed_in): Analyst,
    form: Result<Form<Ended>, FormRejection>,
) -> Result<Redirect, PageError> {
    let Form(form) = form?;
    check_form(&signed_in.0, &form.csrf)?;
    if !collector.store.end_silence(signed_in.0.user, form.number).await? {
        let error = format!("silence {} does not last", form.number);
        return Err(Refusal::new(StatusCode::CONFLICT, error, "one of the list that has not ended").into());
    }
    Ok(Redirect::to("/silences"))
}

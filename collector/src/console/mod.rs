//! The console: pages that are rendered here and work without JavaScript.

pub(crate) mod hosts;
pub(crate) mod login;
pub(crate) mod session;
pub(crate) mod setup;
mod view;
pub(crate) mod words;

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::alert::text::line;
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{AlertFilter, HostCount, Session, StoreError};
use session::{SameOrigin, SignedIn};

/// Alerts on one page.
const PAGE: u32 = 30;
/// Records shown under one alert.
const RECORDS: u32 = 10;
/// Longest note, in characters.
const NOTE: usize = 1000;

/// A page, or why there is none.
#[derive(Debug)]
pub(crate) enum PageError {
    /// Something else than a page is the answer.
    Refusal(Refusal),
    /// The template failed.
    Render(askama::Error),
}

impl<E: Into<Refusal>> From<E> for PageError {
    fn from(error: E) -> PageError {
        PageError::Refusal(error.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        match self {
            PageError::Refusal(refusal) => refusal.into_response(),
            PageError::Render(error) => {
                tracing::error!(%error, "a page could not be rendered");
                Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be made", "tell the operator")
                    .into_response()
            }
        }
    }
}

pub(crate) fn page(template: &impl Template) -> Result<Html<String>, PageError> {
    template.render().map(Html).map_err(PageError::Render)
}

/// What stands above every page of somebody who has logged in.
pub(crate) struct Bar {
    user: String,
    csrf: String,
    page: &'static str,
    open: u64,
    hosts: HostCount,
}

impl Bar {
    pub(crate) async fn new(collector: &Collector, signed_in: SignedIn, page: &'static str) -> Result<Bar, StoreError> {
        let Session { user, csrf } = signed_in.0;
        let open = collector.store.open_alerts().await?;
        Ok(Bar { user, csrf, page, open, hosts: collector.store.count_hosts().await? })
    }
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    bar: Bar,
    all: bool,
    follow: bool,
    this: String,
    newer: Option<String>,
    older: Option<String>,
    alerts: Vec<view::AlertView>,
}

/// What the address of the page says.
#[derive(Deserialize)]
pub(crate) struct Parameters {
    page: Option<u32>,
    show: Option<String>,
    follow: Option<u8>,
}

/// The page at a place of the list.
fn address(all: bool, page: u32, follow: bool) -> String {
    let show = if all { "all" } else { "open" };
    let follow = if follow { "&follow=1" } else { "" };
    format!("/?show={show}&page={page}{follow}")
}

pub(crate) async fn alerts(
    State(collector): State<Arc<Collector>>,
    signed_in: SignedIn,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let Query(parameters) = parameters.unwrap_or(Query(Parameters { page: None, show: None, follow: None }));
    let number = parameters.page.unwrap_or(1).clamp(1, 100_000);
    let all = parameters.show.as_deref() == Some("all");
    let follow = parameters.follow == Some(1);
    let filter = AlertFilter { open: !all, since: 0, limit: PAGE + 1, skip: (number - 1) * PAGE };
    let mut found = collector.store.alerts_with_records(filter, RECORDS).await?;
    let more = found.len() > PAGE as usize;
    found.truncate(PAGE as usize);
    page(&AlertsPage {
        bar: Bar::new(&collector, signed_in, "alerts").await?,
        all,
        follow,
        this: address(all, number, follow),
        newer: (number > 1).then(|| address(all, number - 1, follow)),
        older: more.then(|| address(all, number + 1, follow)),
        alerts: found.iter().map(|(alert, records, kept)| view::AlertView::new(alert, records, kept)).collect(),
    })
}

/// The form under an alert.
#[derive(Deserialize)]
pub(crate) struct Acknowledge {
    csrf: String,
    note: String,
    back: String,
}

pub(crate) async fn acknowledge(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    signed_in: SignedIn,
    Path(id): Path<i64>,
    form: Result<Form<Acknowledge>, FormRejection>,
) -> Result<Redirect, PageError> {
    let Form(form) = form?;
    signed_in.check(&form.csrf)?;
    let note = line(form.note.trim(), NOTE);
    collector.store.acknowledge(id, signed_in.0.user, note).await?;
    // Only a place on this very page: an address given from outside would be an open redirect.
    let back = if form.back.starts_with("/?") { form.back } else { "/".into() };
    Ok(Redirect::to(&back))
}

pub(crate) async fn style_sheet() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=300")];
    (headers, include_str!("assets/console.css")).into_response()
}

impl From<FormRejection> for Refusal {
    fn from(rejection: FormRejection) -> Refusal {
        Refusal::new(rejection.status(), rejection.body_text(), "the form as the page shows it")
    }
}

impl From<&StoreError> for Refusal {
    fn from(error: &StoreError) -> Refusal {
        error.clone().into()
    }
}

//! The console: pages that are rendered here and work without JavaScript.

pub(crate) mod account;
pub(crate) mod alert;
pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod export;
mod filter;
pub(crate) mod hosts;
pub(crate) mod join;
pub(crate) mod letters;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod notifications;
pub(crate) mod object;
pub(crate) mod object_files;
pub(crate) mod objects;
pub(crate) mod oidc;
mod password;
pub(crate) mod policy;
pub(crate) mod policy_version;
pub(crate) mod search;
pub(crate) mod session;
pub(crate) mod setup;
pub(crate) mod silences;
pub(crate) mod sinks;
pub(crate) mod trace;
pub(crate) mod triage;
pub(crate) mod users;
mod view;
pub(crate) mod words;

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{HostCount, Session, SinkCount, StoreError, UserRole};
use session::SignedIn;

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
    is_analyst: bool,
    is_admin: bool,
    csrf: String,
    page: &'static str,
    open: u64,
    hosts: HostCount,
    sinks: SinkCount,
    silences: u64,
    /// Users who wait for an approval.
    approvals: u64,
    /// Messages that were given up.
    dead: u64,
    /// What is being searched for.
    query: String,
}

impl Bar {
    pub(crate) async fn new(collector: &Collector, signed_in: SignedIn, page: &'static str) -> Result<Bar, StoreError> {
        let Session { user, role, csrf, .. } = signed_in.0;
        let (is_analyst, is_admin) = (role >= UserRole::Analyst, role >= UserRole::Admin);
        let open = collector.store.open_alerts().await?;
        let (hosts, sinks) = (collector.store.count_hosts().await?, collector.store.count_sinks().await?);
        let silences = collector.store.count_silences().await?;
        let approvals = collector.store.count_approvals().await?;
        let dead = collector.store.count_dead().await?;
        let query = String::new();
        Ok(Bar { user, is_analyst, is_admin, csrf, page, open, hosts, sinks, silences, approvals, dead, query })
    }
}

pub(crate) async fn style_sheet() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=300")];
    (headers, include_str!("assets/console.css")).into_response()
}

pub(crate) async fn keys() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "max-age=300")];
    (headers, include_str!("assets/keys.js")).into_response()
}

/// htmx 4.0.1 as npm has it (`htmx.org`, Zero-Clause BSD), which the tests in the browser compare. What it would need `eval`
/// for, no page uses, and the policy of all pages refuses.
pub(crate) async fn htmx() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "max-age=300")];
    (headers, include_str!("assets/htmx.min.js")).into_response()
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

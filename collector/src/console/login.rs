//! Log-in, by password and where there is one by a code, and log-out. Failures make the next attempt wait.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Form, http::HeaderValue};
use serde::Deserialize;

use super::password::{self, Checked, LONGEST};
use super::session::{self, Known, SameOrigin};
use super::{PageError, page as render};
use crate::server::{Collector, Peer};
use crate::store::{Admission, Attempt, Code, StoreError};

#[derive(Template)]
#[template(path = "login.html")]
pub(super) struct LoginPage {
    awaits_setup: bool,
    error: Option<String>,
    name: String,
    /// What the provider is called, where there is one.
    provider: Option<String>,
}

impl LoginPage {
    pub(super) async fn new(collector: &Collector, error: Option<String>) -> Result<LoginPage, StoreError> {
        let awaits_setup = collector.store.awaits_setup().await?;
        let provider = collector.provider.as_ref().map(|provider| provider.name.clone());
        Ok(LoginPage { awaits_setup, error, name: String::new(), provider })
    }

    /// The page as an answer of this status.
    pub(super) fn answer(&self, status: StatusCode) -> Result<Response, PageError> {
        Ok((status, render(self)?).into_response())
    }
}

#[derive(Template)]
#[template(path = "code.html")]
struct CodePage {
    login: String,
    error: Option<String>,
}

/// The form of the page.
#[derive(Deserialize)]
pub(crate) struct Login {
    name: String,
    password: String,
}

/// The form of the second page.
#[derive(Deserialize)]
pub(crate) struct CodeForm {
    login: String,
    code: String,
}

pub(crate) async fn page(State(collector): State<Arc<Collector>>) -> Result<Response, PageError> {
    LoginPage::new(&collector, None).await?.answer(StatusCode::OK)
}

pub(crate) async fn log_in(
    State(collector): State<Arc<Collector>>,
    Extension(peer): Extension<Peer>,
    _: SameOrigin,
    form: Result<Form<Login>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(Login { name, password }) = form?;
    let page = |error: String| LoginPage {
        awaits_setup: false,
        error: Some(error),
        name: name.clone(),
        provider: collector.provider.as_ref().map(|provider| provider.name.clone()),
    };
    let wrong = || refused(&page("Wrong user name or password.".into()));
    if name.len() > LONGEST || password.len() > LONGEST {
        return wrong();
    }
    let attempt = Attempt { name: name.clone(), from: peer.address.ip().to_string() };
    match password::check(&collector, &attempt, password).await? {
        Checked::Right => {}
        Checked::Wrong => return wrong(),
        Checked::Wait(wait) => return must_wait(&page(waiting(wait)), wait),
    }
    match collector.store.log_in(attempt).await? {
        Admission::Session(secret) => Ok(signed_in(&collector, secret)),
        Admission::Pending(login) => Ok(render(&CodePage { login, error: None })?.into_response()),
        Admission::Refused => wrong(),
    }
}

pub(crate) async fn code(
    State(collector): State<Arc<Collector>>,
    Extension(peer): Extension<Peer>,
    _: SameOrigin,
    form: Result<Form<CodeForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(CodeForm { login, code }) = form?;
    let page = |error: String| CodePage { login: login.clone(), error: Some(error) };
    match collector.store.log_in_with_code(&login, code, peer.address.ip().to_string()).await? {
        Code::Right(secret) => Ok(signed_in(&collector, secret)),
        Code::Wrong => refused(&page(WRONG_CODE.into())),
        Code::Wait(wait) => must_wait(&page(waiting(wait)), wait),
        Code::Nothing => Ok(Redirect::to("/login").into_response()),
    }
}

/// What is said of a code that does not count.
pub(super) const WRONG_CODE: &str = "Wrong code. Each code works once: wait for the next one.";

pub(super) fn waiting(milliseconds: i64) -> String {
    format!("Too many failed attempts: wait {} seconds.", milliseconds / 1000 + 1)
}

pub(super) fn refused(page: &impl Template) -> Result<Response, PageError> {
    Ok((StatusCode::FORBIDDEN, render(page)?).into_response())
}

pub(super) fn must_wait(page: &impl Template, milliseconds: i64) -> Result<Response, PageError> {
    let mut response = (StatusCode::TOO_MANY_REQUESTS, render(page)?).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(milliseconds / 1000 + 1));
    Ok(response)
}

/// The answer that gives the browser its session and leads to the alerts.
pub(super) fn signed_in(collector: &Collector, secret: String) -> Response {
    ([(header::SET_COOKIE, session::cookie(collector.secure, secret))], Redirect::to("/")).into_response()
}

/// The form of the log-out button.
#[derive(Deserialize)]
pub(crate) struct Logout {
    csrf: String,
}

pub(crate) async fn log_out(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    known: Known,
    headers: HeaderMap,
    form: Result<Form<Logout>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    session::check_form(&known.0, &form.csrf)?;
    if let Some(secret) = session::secret(&headers, collector.secure) {
        collector.store.log_out(&secret, known.0.user).await?;
    }
    Ok(([(header::SET_COOKIE, session::no_cookie(collector.secure))], Redirect::to("/login")).into_response())
}

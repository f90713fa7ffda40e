//! Log-in by a provider: the way there, and the way back.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::login::LoginPage;
use super::{PageError, page as render, session};
use crate::provider::{self, Provider, ProviderError};
use crate::server::{Collector, Peer};

/// What a browser brings back from the provider.
#[derive(Default, Deserialize)]
pub(crate) struct Answer {
    state: Option<String>,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// From here the browser goes on by itself: the cookie of a session is not sent with what another site has led to, and
/// the provider is one.
#[derive(Template)]
#[template(path = "arrived.html")]
struct ArrivedPage;

/// A link leads here, and no form: a form's policy would have to name every place that the provider sends browsers to.
pub(crate) async fn leave(
    State(collector): State<Arc<Collector>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let elsewhere = headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    let Some(provider) = collector.provider.as_ref().filter(|_| !elsewhere) else {
        return Ok(Redirect::to("/login").into_response());
    };
    if collector.store.awaits_setup().await? {
        return Ok(Redirect::to("/login").into_response());
    }
    let secret = collector.store.depart(peer.address.ip().to_string()).await?;
    match provider.address(&secret).await {
        Ok(address) => {
            let cookie = session::departure(collector.secure, secret);
            Ok(([(header::SET_COOKIE, cookie)], Redirect::to(address.as_str())).into_response())
        }
        Err(error) => failed(&collector, provider, &error).await,
    }
}

pub(crate) async fn come_back(
    State(collector): State<Arc<Collector>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    answer: Result<Query<Answer>, QueryRejection>,
) -> Result<Response, PageError> {
    let Some(provider) = &collector.provider else {
        return Ok(Redirect::to("/login").into_response());
    };
    // What cannot be read is an answer to nobody.
    let answer = answer.map(|Query(answer)| answer).unwrap_or_default();
    let from = peer.address.ip().to_string();
    let secret = session::departed(&headers, collector.secure).unwrap_or_default();
    let is_for = provider.is_for(&secret, &answer.state.unwrap_or_default(), answer.iss.as_deref());
    if !is_for || !collector.store.arrive(&secret).await? {
        let why = "an answer of the provider to a log-in that did not begin in that browser, or is over".to_owned();
        collector.store.refused_by_provider("not begun".into(), false, why, from).await?;
        let error = "This log-in was not begun in this browser, took longer than ten minutes, or is over: begin again.";
        return LoginPage::new(&collector, Some(error.into())).await?.answer(StatusCode::FORBIDDEN);
    }
    let person = match (answer.code, answer.error) {
        (_, Some(error)) => Err(provider::answered(&error, answer.error_description.as_deref())),
        (Some(code), None) => provider.person(&secret, code).await,
        (None, None) => Err(ProviderError::Untrusted("it gives neither a code nor an error".into())),
    };
    let person = match person {
        Ok(person) => person,
        Err(error) => {
            let kind = match error {
                ProviderError::Away(_) => None,
                // Whoever comes chooses the words of a refusal, and his name.
                ProviderError::Refuses(_) => Some("refuses".into()),
                ProviderError::Nobody(_) => Some("nobody".into()),
                ProviderError::Untrusted(_) => Some(error.to_string()),
            };
            if let Some(kind) = kind {
                collector.store.refused_by_provider(kind, true, error.to_string(), from).await?;
            }
            return failed(&collector, provider, &error).await;
        }
    };
    match collector.store.log_in_by_provider(person, from).await? {
        Ok(secret) => {
            let cookies = [session::cookie(collector.secure, secret), session::no_departure(collector.secure)];
            let cookies = AppendHeaders(cookies.map(|cookie| (header::SET_COOKIE, cookie)));
            Ok((cookies, render(&ArrivedPage)?).into_response())
        }
        Err(why) => {
            let error = format!("You are not let in: {why}.");
            LoginPage::new(&collector, Some(error)).await?.answer(StatusCode::FORBIDDEN)
        }
    }
}

/// The page of the log-in with what went wrong: what the provider cannot answer for is told to the journal alone.
async fn failed(collector: &Collector, provider: &Provider, error: &ProviderError) -> Result<Response, PageError> {
    tracing::warn!(%error, "nobody was let in by the provider");
    let name = &provider.name;
    let (status, error) = match error {
        ProviderError::Away(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "The log-in by {name} does not work just now: try again in a moment, or log in with a user name and \
                 password of this console. The collector's journal says why."
            ),
        ),
        ProviderError::Refuses(why) => (StatusCode::FORBIDDEN, format!("{name} did not log you in: {why}.")),
        ProviderError::Untrusted(why) => (
            StatusCode::FORBIDDEN,
            format!("What {name} says cannot be trusted: {why}. Begin again; if it stays so, tell an admin."),
        ),
        ProviderError::Nobody(why) => (StatusCode::FORBIDDEN, format!("You are not let in: {why}.")),
    };
    LoginPage::new(collector, Some(error)).await?.answer(status)
}

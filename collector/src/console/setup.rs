//! Set-up: whoever holds the one-time token from the first start chooses the first user.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::login::{LONGEST, hash, signed_in};
use super::session::SameOrigin;
use super::{PageError, page as render};
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::StoreError;

/// Shortest password, in characters (NIST SP 800-63B asks for 8; nothing else is asked of it here).
const SHORTEST: usize = 12;

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage {
    token: String,
    name: String,
    error: Option<&'static str>,
}

/// What the printed address says.
#[derive(Deserialize)]
pub(crate) struct Parameters {
    token: Option<String>,
}

/// The form of the page.
#[derive(Deserialize)]
pub(crate) struct Setup {
    token: String,
    name: String,
    password: String,
    repeated: String,
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, PageError> {
    if !collector.store.awaits_setup().await? {
        return Ok(Redirect::to("/login").into_response());
    }
    let token = parameters.ok().and_then(|Query(parameters)| parameters.token).unwrap_or_default();
    Ok(render(&SetupPage { token, name: String::new(), error: None })?.into_response())
}

pub(crate) async fn set_up(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    form: Result<Form<Setup>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    if !collector.store.awaits_setup().await? {
        return Ok(Redirect::to("/login").into_response());
    }
    let name = form.name.trim().to_owned();
    let error = if name.is_empty() || name.len() > LONGEST || name.chars().any(char::is_control) {
        Some("Choose a user name.")
    } else if form.password.chars().count() < SHORTEST {
        Some("Choose a password of at least 12 characters.")
    } else if form.password.len() > LONGEST {
        Some("Choose a password of at most 256 bytes.")
    } else if form.password != form.repeated {
        Some("The two passwords differ.")
    } else if !collector.store.is_setup_token(form.token.trim()).await? {
        Some("This is not the set-up token that the collector printed at its last start.")
    } else {
        None
    };
    if error.is_some() {
        let page = SetupPage { token: form.token, name, error };
        return Ok((StatusCode::FORBIDDEN, render(&page)?).into_response());
    }
    let permit = collector.hashing.acquire().await.map_err(|_| StoreError::Closed)?;
    let hashed = tokio::task::spawn_blocking(move || hash(&form.password)).await.map_err(|_| StoreError::Closed)?;
    drop(permit);
    let hashed = hashed.map_err(|error| {
        tracing::error!(%error, "a password could not be hashed");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the password could not be kept", "the same form again")
    })?;
    if !collector.store.set_up(form.token.trim(), name.clone(), hashed).await? {
        return Ok(Redirect::to("/login").into_response());
    }
    let secret = collector.store.log_in(name, String::new()).await?;
    Ok(signed_in(&collector, secret))
}

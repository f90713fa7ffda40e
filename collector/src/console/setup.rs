//! Set-up: whoever holds the one-time token from the first start chooses the first user.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Extension, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::login::{refused, signed_in};
use super::password;
use super::session::SameOrigin;
use super::users::is_name;
use super::{PageError, page as render};
use crate::server::{Collector, Peer};

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage {
    token: String,
    name: String,
    error: Option<&'static str>,
}

/// What an address with a one-time token says.
#[derive(Deserialize)]
pub(crate) struct Parameters {
    token: Option<String>,
}

/// The token, or nothing, which is none.
pub(super) fn token_of(parameters: Result<Query<Parameters>, QueryRejection>) -> String {
    parameters.ok().and_then(|Query(parameters)| parameters.token).unwrap_or_default()
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
    let token = token_of(parameters);
    Ok(render(&SetupPage { token, name: String::new(), error: None })?.into_response())
}

pub(crate) async fn set_up(
    State(collector): State<Arc<Collector>>,
    Extension(peer): Extension<Peer>,
    _: SameOrigin,
    form: Result<Form<Setup>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    if !collector.store.awaits_setup().await? {
        return Ok(Redirect::to("/login").into_response());
    }
    let name = form.name.trim().to_owned();
    let error = if !is_name(&name) {
        Some("Choose a user name of at most 64 characters.")
    } else if let Some(mistake) = password::mistake(&form.password, &form.repeated) {
        Some(mistake)
    } else if !collector.store.is_setup_token(form.token.trim()).await? {
        Some("This is not the set-up token that the collector printed at its last start.")
    } else {
        None
    };
    if error.is_some() {
        return refused(&SetupPage { token: form.token, name, error });
    }
    let kept = password::keep(&collector, form.password).await?;
    let from = peer.address.ip().to_string();
    match collector.store.set_up(form.token.trim(), name, kept, from).await? {
        Some(secret) => Ok(signed_in(&collector, secret)),
        None => Ok(Redirect::to("/login").into_response()),
    }
}

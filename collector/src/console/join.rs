//! Whoever holds the one-time token that an admin handed out chooses the password of that user.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Extension, Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::login::{refused, signed_in};
use super::session::SameOrigin;
use super::setup::{Parameters, token_of};
use super::{PageError, page as render, password};
use crate::server::{Collector, Peer};

#[derive(Template)]
#[template(path = "join.html")]
struct JoinPage {
    token: String,
    /// Who is invited; nobody if the token is worth nothing.
    name: Option<String>,
    error: Option<&'static str>,
}

/// The form of the page.
#[derive(Deserialize)]
pub(crate) struct Join {
    token: String,
    password: String,
    repeated: String,
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, PageError> {
    let token = token_of(parameters);
    match collector.store.invited(&token).await? {
        Some(name) => Ok(render(&JoinPage { token, name: Some(name), error: None })?.into_response()),
        None => worthless(),
    }
}

pub(crate) async fn join(
    State(collector): State<Arc<Collector>>,
    Extension(peer): Extension<Peer>,
    _: SameOrigin,
    form: Result<Form<Join>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(Join { token, password, repeated }) = form?;
    let Some(name) = collector.store.invited(&token).await? else {
        return worthless();
    };
    if let Some(mistake) = password::mistake(&password, &repeated) {
        return refused(&JoinPage { token, name: Some(name), error: Some(mistake) });
    }
    let kept = password::keep(&collector, password).await?;
    match collector.store.join(&token, kept, peer.address.ip().to_string()).await? {
        Some(secret) => Ok(signed_in(&collector, secret)),
        None => worthless(),
    }
}

fn worthless() -> Result<Response, PageError> {
    refused(&JoinPage { token: String::new(), name: None, error: None })
}

//! Login and logout. The password is hashed with argon2id; failures make the next attempt wait.

use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Argon2, password_hash};
use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Form, http::HeaderValue};
use serde::Deserialize;

use super::session::{self, SameOrigin, SignedIn};
use super::{PageError, page as render};
use crate::server::{Collector, Peer};
use crate::store::StoreError;

/// Longest user name and password, in bytes.
pub(super) const LONGEST: usize = 256;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    awaits_setup: bool,
    error: Option<String>,
    name: String,
}

/// The form of the page.
#[derive(Deserialize)]
pub(crate) struct Login {
    name: String,
    password: String,
}

pub(crate) async fn page(State(collector): State<Arc<Collector>>) -> Result<Response, PageError> {
    let awaits_setup = collector.store.awaits_setup().await?;
    Ok(render(&LoginPage { awaits_setup, error: None, name: String::new() })?.into_response())
}

pub(crate) async fn log_in(
    State(collector): State<Arc<Collector>>,
    Extension(peer): Extension<Peer>,
    _: SameOrigin,
    form: Result<Form<Login>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(Login { name, password }) = form?;
    let again = |status: StatusCode, error: String| -> Result<Response, PageError> {
        let page = LoginPage { awaits_setup: false, error: Some(error), name: name.clone() };
        Ok((status, render(&page)?).into_response())
    };
    if name.len() > LONGEST || password.len() > LONGEST {
        return again(StatusCode::FORBIDDEN, "Wrong user name or password.".into());
    }
    let key = format!("{}|{name}", peer.address.ip());
    let wait = collector.store.login_wait(key.clone()).await?;
    if wait > 0 {
        let seconds = wait / 1000 + 1;
        let error = format!("Too many failed attempts: wait {seconds} seconds.");
        let mut response = again(StatusCode::TOO_MANY_REQUESTS, error)?;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        return Ok(response);
    }
    let kept = collector.store.password(name.clone()).await?;
    if !verify(&collector, kept, password).await? {
        collector.store.login_failed(key).await?;
        return again(StatusCode::FORBIDDEN, "Wrong user name or password.".into());
    }
    let secret = collector.store.log_in(name, key).await?;
    Ok(signed_in(&collector, secret))
}

/// The answer that gives the browser its session and leads to the alerts.
pub(super) fn signed_in(collector: &Collector, secret: String) -> Response {
    ([(header::SET_COOKIE, session::cookie(collector.secure, secret))], Redirect::to("/")).into_response()
}

/// The form of the logout button.
#[derive(Deserialize)]
pub(crate) struct Logout {
    csrf: String,
}

pub(crate) async fn log_out(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    signed_in: SignedIn,
    headers: HeaderMap,
    form: Result<Form<Logout>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    signed_in.check(&form.csrf)?;
    if let Some(secret) = session::secret(&headers, collector.secure) {
        collector.store.log_out(&secret).await?;
    }
    Ok(([(header::SET_COOKIE, session::no_cookie(collector.secure))], Redirect::to("/login")).into_response())
}

/// Whether the password is right. An unknown user costs the same time, so that names cannot be probed.
async fn verify(collector: &Collector, kept: Option<String>, password: String) -> Result<bool, StoreError> {
    let _permit = collector.hashing.acquire().await.map_err(|_| StoreError::Closed)?;
    let verifying = tokio::task::spawn_blocking(move || match kept {
        Some(kept) => PasswordHash::new(&kept)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()),
        None => {
            let _ = hash(&password);
            false
        }
    });
    verifying.await.map_err(|_| StoreError::Closed)
}

/// argon2id with the parameters of OWASP's Password Storage Cheat Sheet (19 MiB, 2 passes), which are the
/// library's defaults; PHC format.
pub(super) fn hash(password: &str) -> password_hash::Result<String> {
    let mut salt = [0_u8; 16];
    crate::store::fill(&mut salt);
    let salt = SaltString::encode_b64(&salt)?;
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt)?.to_string())
}

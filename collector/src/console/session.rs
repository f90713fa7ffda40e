//! Sessions: the cookie, who is logged in, and that a form comes from this console's own page.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use cookie::{Cookie, SameSite};

use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{Session, StoreError};

/// Over TLS the name itself makes the browser insist on `Secure`, on `Path=/` and on this very host
/// (RFC 6265bis, 4.1.3.2).
fn name(secure: bool) -> &'static str {
    if secure { "__Host-vitrine" } else { "vitrine" }
}

/// The header that gives the browser its session.
pub(crate) fn cookie(secure: bool, value: String) -> String {
    Cookie::build((name(secure), value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(secure)
        .to_string()
}

/// The header that takes it back.
pub(crate) fn no_cookie(secure: bool) -> String {
    format!("{}; Max-Age=0", cookie(secure, String::new()))
}

/// The secret in the request's session cookie.
pub(crate) fn secret(headers: &HeaderMap, secure: bool) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .find(|cookie| cookie.name() == name(secure))
        .map(|cookie| cookie.value().to_owned())
}

/// The session of a request.
pub(crate) async fn of(parts: &Parts, collector: &Collector) -> Result<Option<Session>, StoreError> {
    match secret(&parts.headers, collector.secure) {
        Some(secret) => collector.store.session(&secret).await,
        None => Ok(None),
    }
}

/// A request of somebody who is logged in; everybody else is sent to the login page.
pub(crate) struct SignedIn(pub(crate) Session);

impl SignedIn {
    /// Whether a form comes from a page of this session.
    pub(crate) fn check(&self, csrf: &str) -> Result<(), Refusal> {
        if self.0.signed(csrf) {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::FORBIDDEN, "the form is of another session", "the page loaded anew"))
    }
}

impl FromRequestParts<Arc<Collector>> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, collector: &Arc<Collector>) -> Result<Self, Response> {
        match of(parts, collector).await {
            Ok(Some(session)) => Ok(SignedIn(session)),
            Ok(None) => Err(Redirect::to("/login").into_response()),
            Err(error) => Err(Refusal::from(error).into_response()),
        }
    }
}

/// A request that no other site made: Fetch Metadata where the browser sends it, else the origin.
/// Programs that send neither hold no session that another site could use.
pub(crate) struct SameOrigin;

impl<S: Sync> FromRequestParts<S> for SameOrigin {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let text = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let same = match (text("sec-fetch-site"), text("origin")) {
            (Some(site), _) => site == "same-origin",
            (None, Some(origin)) => origin.split_once("://").map(|(_, host)| host) == text("host"),
            (None, None) => true,
        };
        if same {
            return Ok(SameOrigin);
        }
        Err(Refusal::new(StatusCode::FORBIDDEN, "the request comes from another site", "a form of this console"))
    }
}

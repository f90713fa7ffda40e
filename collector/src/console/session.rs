//! Sessions: the cookie, who is logged in, and that a form comes from this console's own page.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use cookie::{Cookie, SameSite};

use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{Session, StoreError, UserRole};

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

/// How long a browser keeps the cookie of its way to the provider.
const AWAY: cookie::time::Duration = cookie::time::Duration::minutes(10);

fn name_of_departure(secure: bool) -> &'static str {
    if secure { "__Host-vitrine-away" } else { "vitrine-away" }
}

/// The header by which a browser is known when it comes back from the provider, which is another site: `Strict` would
/// keep the cookie back then.
pub(crate) fn departure(secure: bool, value: String) -> String {
    Cookie::build((name_of_departure(secure), value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(secure)
        .max_age(AWAY)
        .to_string()
}

/// The header that takes it back.
pub(crate) fn no_departure(secure: bool) -> String {
    format!("{}; Max-Age=0", departure(secure, String::new()))
}

/// The secret of a browser that comes back.
pub(crate) fn departed(headers: &HeaderMap, secure: bool) -> Option<String> {
    value(headers, name_of_departure(secure))
}

/// The secret in the request's session cookie.
pub(crate) fn secret(headers: &HeaderMap, secure: bool) -> Option<String> {
    value(headers, name(secure))
}

fn value(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .find(|cookie| cookie.name() == name)
        .map(|cookie| cookie.value().to_owned())
}

/// The session of a request.
pub(crate) async fn of(parts: &Parts, collector: &Collector) -> Result<Option<Session>, StoreError> {
    match secret(&parts.headers, collector.secure) {
        Some(secret) => collector.store.session(&secret).await,
        None => Ok(None),
    }
}

/// A request of somebody who is logged in, and who may have to take up a second factor before anything else.
pub(crate) struct Known(pub(crate) Session);

/// A request of somebody who is logged in with all that is asked of him; everybody else is sent where he can do it.
pub(crate) struct SignedIn(pub(crate) Session);

/// A request of somebody who may answer for alerts, look at pictures and take files out.
pub(crate) struct Analyst(pub(crate) SignedIn);

/// A request of somebody who may look after the policy.
pub(crate) struct PolicyAdmin(pub(crate) SignedIn);

/// A request of somebody who may look after users and read the audit log.
pub(crate) struct Admin(pub(crate) SignedIn);

/// Whether a form comes from a page of this session.
pub(crate) fn check_form(session: &Session, csrf: &str) -> Result<(), Refusal> {
    if session.signed(csrf) {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, "the form is of another session", "the page loaded anew"))
}

/// Whether a role is enough.
pub(crate) fn check_role(session: &Session, least: UserRole) -> Result<(), Refusal> {
    if session.role >= least {
        return Ok(());
    }
    let error = format!("{} has the role {}", session.user, session.role.name());
    Err(Refusal::new(StatusCode::FORBIDDEN, error, format!("a user of the role {} or above", least.name())))
}

/// Whether a session lacks the second factor that this collector asks for. A provider asks for its own.
pub(crate) fn lacks_factor(session: &Session, collector: &Collector) -> bool {
    collector.require_totp && !session.second_factor && !session.by_provider
}

/// Whether a user's password and second factor are kept here.
pub(crate) fn check_own(session: &Session) -> Result<(), Refusal> {
    if !session.by_provider {
        return Ok(());
    }
    let error = format!("{} logs in by a provider, and has no password and second factor here", session.user);
    Err(Refusal::new(StatusCode::CONFLICT, error, "a change at the provider"))
}

impl FromRequestParts<Arc<Collector>> for Known {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, collector: &Arc<Collector>) -> Result<Self, Response> {
        match of(parts, collector).await {
            Ok(Some(session)) => Ok(Known(session)),
            Ok(None) => Err(Redirect::to("/login").into_response()),
            Err(error) => Err(Refusal::from(error).into_response()),
        }
    }
}

impl FromRequestParts<Arc<Collector>> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, collector: &Arc<Collector>) -> Result<Self, Response> {
        let Known(session) = Known::from_request_parts(parts, collector).await?;
        if lacks_factor(&session, collector) {
            return Err(Redirect::to("/account").into_response());
        }
        Ok(SignedIn(session))
    }
}

impl FromRequestParts<Arc<Collector>> for Analyst {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, collector: &Arc<Collector>) -> Result<Self, Response> {
        of_role(parts, collector, UserRole::Analyst).await.map(Analyst)
    }
}

impl FromRequestParts<Arc<Collector>> for PolicyAdmin {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, collector: &Arc<Collector>) -> Result<Self, Response> {
        of_role(parts, collector, UserRole::PolicyAdmin).await.map(PolicyAdmin)
    }
}

impl FromRequestParts<Arc<Collector>> for Admin {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, collector: &Arc<Collector>) -> Result<Self, Response> {
        of_role(parts, collector, UserRole::Admin).await.map(Admin)
    }
}

async fn of_role(parts: &mut Parts, collector: &Arc<Collector>, least: UserRole) -> Result<SignedIn, Response> {
    let signed_in = SignedIn::from_request_parts(parts, collector).await?;
    check_role(&signed_in.0, least).map_err(IntoResponse::into_response)?;
    Ok(signed_in)
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

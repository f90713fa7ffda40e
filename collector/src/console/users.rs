//! The page of users: who may do what, who has a second factor; adding, changing, disabling and resetting them.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::session::{Admin, SameOrigin, SignedIn, check_form};
use super::view::Time;
use super::{Bar, PageError, page as render};
use crate::alert::text::line;
use crate::config::is_this_machine;
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{Actor, StoreError, User, UserRole};

/// Longest name of a user, in characters.
const NAME: usize = 64;

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    bar: Bar,
    error: Option<String>,
    link: Option<Link>,
    roles: [UserRole; 4],
    users: Vec<UserView>,
}

/// The one-time address at which a user chooses his password.
struct Link {
    name: String,
    address: String,
}

struct UserView {
    name: String,
    role: UserRole,
    added: Time,
    state: &'static str,
    disabled: bool,
    second_factor: bool,
    by_provider: bool,
}

impl UserView {
    fn new(user: User) -> UserView {
        let state = match (user.disabled, user.invited) {
            (Some(_), _) => "disabled",
            (None, true) => "invited",
            (None, false) => "active",
        };
        UserView {
            role: user.role,
            added: Time::new(user.created),
            state,
            disabled: user.disabled.is_some(),
            second_factor: user.second_factor,
            by_provider: user.by_provider,
            name: user.name,
        }
    }
}

/// Whether a user may be called so: something that can be seen, and that nothing else looks like by turning the
/// direction of writing.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && line(name, NAME) == name
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    Admin(signed_in): Admin,
) -> Result<Html<String>, PageError> {
    show(&collector, signed_in, None, None).await
}

async fn show(
    collector: &Collector,
    signed_in: SignedIn,
    error: Option<String>,
    link: Option<Link>,
) -> Result<Html<String>, PageError> {
    let users = collector.store.users().await?;
    render(&UsersPage {
        bar: Bar::new(collector, signed_in, "users").await?,
        error,
        link,
        roles: UserRole::ALL,
        users: users.into_iter().map(UserView::new).collect(),
    })
}

/// The form that adds a user.
#[derive(Deserialize)]
pub(crate) struct Added {
    csrf: String,
    name: String,
    role: String,
}

pub(crate) async fn add(
    State(collector): State<Arc<Collector>>,
    headers: HeaderMap,
    _: SameOrigin,
    Admin(signed_in): Admin,
    form: Result<Form<Added>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    check_form(&signed_in.0, &form.csrf)?;
    let role = role(&form.role)?;
    let name = form.name.trim().to_owned();
    if !is_name(&name) {
        let error = format!("Choose a user name of 1 to {NAME} printable characters.");
        return Ok((StatusCode::BAD_REQUEST, show(&collector, signed_in, Some(error), None).await?).into_response());
    }
    let by = Actor::User(signed_in.0.user.clone());
    let added = collector.store.add_user(by, name.clone(), role).await;
    linked(&collector, signed_in, &headers, name, added).await
}

/// The form of one user.
#[derive(Deserialize)]
pub(crate) struct Changed {
    csrf: String,
    name: String,
    step: String,
    #[serde(default)]
    role: String,
}

pub(crate) async fn step(
    State(collector): State<Arc<Collector>>,
    headers: HeaderMap,
    _: SameOrigin,
    Admin(signed_in): Admin,
    form: Result<Form<Changed>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    check_form(&signed_in.0, &form.csrf)?;
    let by = Actor::User(signed_in.0.user.clone());
    let name = form.name;
    let done = match form.step.as_str() {
        "role" => collector.store.change_role(by, name, role(&form.role)?).await,
        "disable" => collector.store.disable(by, name, true).await,
        "enable" => collector.store.disable(by, name, false).await,
        "reset" => {
            let reset = collector.store.reset_user(by, name.clone(), false).await;
            return linked(&collector, signed_in, &headers, name, reset).await;
        }
        _ => {
            let expected = "step=role|disable|enable|reset";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "no such step", expected).into());
        }
    };
    match done {
        Ok(()) => Ok(Redirect::to("/users").into_response()),
        Err(error) => conflict(&collector, signed_in, error).await,
    }
}

fn role(name: &str) -> Result<UserRole, Refusal> {
    UserRole::of(name)
        .ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "no such role", "role=viewer|analyst|policy-admin|admin"))
}

/// The page with the address that a user needs, shown this once.
async fn linked(
    collector: &Collector,
    signed_in: SignedIn,
    headers: &HeaderMap,
    name: String,
    token: Result<String, StoreError>,
) -> Result<Response, PageError> {
    match token {
        Ok(token) => {
            let link = Link { name, address: format!("{}/join?token={token}", origin(collector, headers)) };
            Ok(show(collector, signed_in, None, Some(link)).await?.into_response())
        }
        Err(error) => conflict(collector, signed_in, error).await,
    }
}

async fn conflict(collector: &Collector, signed_in: SignedIn, error: StoreError) -> Result<Response, PageError> {
    match error {
        StoreError::Taken(reason) | StoreError::User(reason) => {
            Ok((StatusCode::CONFLICT, show(collector, signed_in, Some(reason), None).await?).into_response())
        }
        other => Err(other.into()),
    }
}

/// The console's address as the admin's browser knows it. Without TLS only this machine is listened to: another name
/// is that of a proxy before it, which speaks TLS.
fn origin(collector: &Collector, headers: &HeaderMap) -> String {
    let authority = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let scheme = if collector.secure || !is_this_machine(host) { "https" } else { "http" };
    format!("{scheme}://{authority}")
}

//! The page of notifications: which route was told what, when and with what answer; sending again what was given up,
//! and trying a route.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{Html, Redirect};
use serde::Deserialize;

use super::session::{Admin, Analyst, SameOrigin, SignedIn, check_form};
use super::view::Time;
use super::{Bar, PageError};
use crate::alert::text::line;
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{Notification, NotificationFilter, NotificationState};

/// Notifications on one page.
const PAGE: u32 = 50;
/// Longest name of a route in a filter, in characters.
const NAME: usize = 40;

#[derive(Template)]
#[template(path = "notifications.html")]
struct NotificationsPage {
    bar: Bar,
    routes: Vec<RouteView>,
    tested: Option<NotificationView>,
    route: String,
    state: &'static str,
    states: [NotificationState; 3],
    sent: Vec<NotificationView>,
    older: Option<String>,
}

struct RouteView {
    name: String,
    target: String,
    waiting: u64,
    dead: u64,
}

struct NotificationView {
    number: i64,
    route: String,
    event: String,
    summary: String,
    created: Time,
    last: Option<Time>,
    next: Option<Time>,
    attempts: u32,
    state: &'static str,
    is_dead: bool,
    said: String,
}

impl NotificationView {
    fn new(one: Notification) -> NotificationView {
        let waits = one.state == NotificationState::Waiting;
        NotificationView {
            number: one.number,
            route: one.route,
            event: one.event,
            summary: one.summary,
            created: Time::new(one.created),
            last: (!waits).then(|| Time::new(one.at)),
            next: (waits && one.attempts > 0).then(|| Time::new(one.at)),
            attempts: one.attempts,
            state: one.state.name(),
            is_dead: one.state == NotificationState::Dead,
            said: one.said.unwrap_or_default(),
        }
    }
}

/// What the address of the page says. What is missing or means nothing filters nothing.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Parameters {
    route: String,
    state: String,
    before: Option<i64>,
    tested: Option<i64>,
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    signed_in: SignedIn,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let Query(parameters) = parameters.unwrap_or_default();
    let route = line(parameters.route.trim(), NAME);
    let state = NotificationState::ALL.into_iter().find(|state| state.name() == parameters.state);
    let filter = NotificationFilter { route: route.clone(), state, before: parameters.before, limit: PAGE + 1 };
    let mut sent = collector.store.notifications(filter).await?;
    let more = sent.len() > PAGE as usize;
    sent.truncate(PAGE as usize);
    let state = state.map_or("", NotificationState::name);
    let older = sent.last().filter(|_| more).map(|last| {
        let mut address = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("route", route.as_str()), ("state", state), ("before", &last.number.to_string())] {
            if !value.is_empty() {
                address.append_pair(name, value);
            }
        }
        address.finish()
    });
    let tested = match parameters.tested {
        Some(number) => collector.store.tested(number).await?,
        None => None,
    };
    let mut routes = Vec::new();
    for one in &collector.routes {
        let (waiting, dead) = collector.store.undelivered_of(one.name().to_owned()).await?;
        routes.push(RouteView { name: one.name().to_owned(), target: one.target(), waiting, dead });
    }
    super::page(&NotificationsPage {
        bar: Bar::new(&collector, signed_in, "notifications").await?,
        routes,
        tested: tested.map(NotificationView::new),
        route,
        state,
        states: NotificationState::ALL,
        sent: sent.into_iter().map(NotificationView::new).collect(),
        older,
    })
}

/// The button that sends a message again.
#[derive(Deserialize)]
pub(crate) struct Again {
    csrf: String,
    number: i64,
}

pub(crate) async fn again(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    Analyst(signed_in): Analyst,
    form: Result<Form<Again>, FormRejection>,
) -> Result<Redirect, PageError> {
    let Form(form) = form?;
    check_form(&signed_in.0, &form.csrf)?;
    if !collector.store.send_again(signed_in.0.user, form.number).await? {
        let error = format!("message {} was not given up, or its route is gone", form.number);
        return Err(Refusal::new(StatusCode::CONFLICT, error, "one that the list shows as dead").into());
    }
    Ok(Redirect::to("/notifications"))
}

/// The button that tries a route.
#[derive(Deserialize)]
pub(crate) struct Tried {
    csrf: String,
    route: String,
}

pub(crate) async fn test(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    Admin(signed_in): Admin,
    form: Result<Form<Tried>, FormRejection>,
) -> Result<Redirect, PageError> {
    let Form(form) = form?;
    check_form(&signed_in.0, &form.csrf)?;
    let Some(route) = collector.routes.iter().find(|route| route.name() == form.route) else {
        let error = format!("no route is named {:?}", line(&form.route, NAME));
        return Err(Refusal::new(StatusCode::NOT_FOUND, error, "the name of a [[route]] of collector.toml").into());
    };
    // It goes on if the browser goes away: what was begun is to have an end in the log.
    let (route, store) = (Arc::clone(route), collector.store.clone());
    let trying = tokio::spawn(async move { route.test(&store, signed_in.0.user).await });
    let stopping = |_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the collector is stopping", "the same later");
    let number = trying.await.map_err(stopping)??;
    Ok(Redirect::to(&format!("/notifications?tested={number}")))
}

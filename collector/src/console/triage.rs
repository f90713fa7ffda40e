//! What the staff do: acknowledge, close and reopen alerts, one or many, and keep views of the list.

use std::sync::Arc;

use axum::Form;
use axum::extract::State;
use axum::extract::rejection::{FormRejection, StringRejection};
use axum::http::StatusCode;
use axum::response::Redirect;
use serde::Deserialize;

use super::PageError;
use super::session::{Analyst, SameOrigin, SignedIn, check_form};
use crate::alert::Verdict;
use crate::alert::text::line;
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{Step, View};

/// Longest note, in characters.
const NOTE: usize = 1000;
/// Alerts in one form.
const ALERTS: usize = 200;
/// Longest name of a view, in characters.
const NAME: usize = 60;
/// Longest filter of a view, in bytes.
const QUERY: usize = 2000;

/// The form of the list and of one alert; `id` stands in it as often as alerts are chosen.
#[derive(Default)]
struct Triage {
    csrf: String,
    step: String,
    verdict: String,
    note: String,
    back: String,
    ids: Vec<i64>,
}

impl Triage {
    fn read(form: &str) -> Triage {
        let mut triage = Triage::default();
        for (name, value) in form_urlencoded::parse(form.as_bytes()) {
            match name.as_ref() {
                "csrf" => triage.csrf = value.into_owned(),
                "step" => triage.step = value.into_owned(),
                "verdict" => triage.verdict = value.into_owned(),
                "note" => triage.note = line(value.trim(), NOTE),
                "back" => triage.back = value.into_owned(),
                "id" => triage.ids.extend(value.parse::<i64>().ok()),
                _ => {}
            }
        }
        triage
    }

    fn step(&self) -> Result<Step, Refusal> {
        let wrong = |error, expected| Refusal::new(StatusCode::BAD_REQUEST, error, expected);
        match self.step.as_str() {
            "acknowledge" => Ok(Step::Acknowledge),
            "reopen" => Ok(Step::Reopen),
            "close" => match self.verdict.parse().ok().and_then(Verdict::of) {
                Some(verdict) => Ok(Step::Close(verdict)),
                None => Err(wrong("no reason to close it was chosen", "one of the reasons of the list, then Close")),
            },
            _ => Err(wrong("no such step", "step=acknowledge|close|reopen")),
        }
    }
}

pub(crate) async fn step(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    Analyst(signed_in): Analyst,
    form: Result<String, StringRejection>,
) -> Result<Redirect, PageError> {
    let form =
        form.map_err(|error| Refusal::new(error.status(), error.body_text(), "the form as the page shows it"))?;
    let triage = Triage::read(&form);
    check_form(&signed_in.0, &triage.csrf)?;
    let step = triage.step()?;
    if triage.ids.is_empty() || triage.ids.len() > ALERTS {
        let error = format!("{} alerts were chosen", triage.ids.len());
        return Err(Refusal::new(StatusCode::BAD_REQUEST, error, format!("1 to {ALERTS} of the list")).into());
    }
    collector.store.triage(triage.ids, step, signed_in.0.user, triage.note).await?;
    // Only a place of this console: an address given from outside would be an open redirect.
    let inside = triage.back.starts_with("/?") || triage.back.starts_with("/alerts/");
    Ok(Redirect::to(if inside { &triage.back } else { "/" }))
}

/// The form that keeps or forgets a view.
#[derive(Deserialize)]
pub(crate) struct ViewForm {
    csrf: String,
    step: String,
    name: String,
    #[serde(default)]
    query: String,
}

pub(crate) async fn view(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    signed_in: SignedIn,
    form: Result<Form<ViewForm>, FormRejection>,
) -> Result<Redirect, PageError> {
    let Form(form) = form?;
    check_form(&signed_in.0, &form.csrf)?;
    let name = line(form.name.trim(), NAME);
    let is_query = form.query.len() <= QUERY && form.query.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
    if name.is_empty() || !is_query {
        let expected = format!("a name of 1 to {NAME} characters");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "the view has no name or no proper filter", expected).into());
    }
    if form.step == "forget" {
        collector.store.forget_view(signed_in.0.user, name).await?;
    } else {
        let view = View { name, query: form.query.clone() };
        if !collector.store.keep_view(signed_in.0.user, view).await? {
            let error = "there are as many views as one user may keep";
            return Err(Refusal::new(StatusCode::CONFLICT, error, "one that is no longer used to be forgotten").into());
        }
    }
    Ok(Redirect::to(&format!("/?{}", form.query)))
}

//! The page of approvals: what users ask a second person for, with what that person has to know, and the answer.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use vitrine_policy::approval::{NOTE, State as Standing};
use vitrine_policy::record::last_part;

use super::session::{Analyst, SameOrigin, SignedIn, check_form};
use super::view::Time;
use super::{Bar, PageError};
use crate::alert::text::line;
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{Approval, object_key};

/// Requests shown that wait, and that are over.
const SHOWN: u32 = 50;
/// Longest text from a workstation, in characters.
const TEXT: usize = 1000;

#[derive(Template)]
#[template(path = "approvals.html")]
struct ApprovalsPage {
    bar: Bar,
    error: Option<String>,
    longest_note: usize,
    waiting: Vec<ApprovalView>,
    /// How many more wait than are shown.
    more: u64,
    over: Vec<ApprovalView>,
}

struct ApprovalView {
    number: i64,
    user: String,
    host: String,
    file: String,
    name: String,
    destination: String,
    target: String,
    tier: String,
    reason: String,
    minutes: String,
    received: Time,
    expires: Time,
    picture: Option<String>,
    masters: Vec<MasterView>,
    /// Whoever looks at it has asked for it himself.
    is_own: bool,
    outcome: &'static str,
    went: bool,
    answered: Option<(Time, String)>,
    note: String,
    told: Option<Time>,
}

struct MasterView {
    path: String,
    name: String,
    collection: String,
    object: String,
    picture: Option<String>,
}

impl ApprovalView {
    fn new(approval: Approval, user: &str, kept: &[String]) -> ApprovalView {
        let is_own = approval.is_of(user);
        let arrived = |digest: &Option<String>| digest.clone().filter(|digest| kept.contains(digest));
        let Approval { number, host, request, .. } = approval;
        let masters = request.masters.iter().map(|master| MasterView {
            path: line(&master.path, TEXT),
            name: line(last_part(&master.path), TEXT),
            collection: line(&master.collection, TEXT),
            object: hex::encode(object_key(&master.collection, &master.path)),
            picture: arrived(&master.thumbnail),
        });
        let asker = request.user.as_ref();
        ApprovalView {
            number,
            user: asker.map_or_else(|| "Somebody".to_owned(), |asker| line(&asker.name, TEXT)),
            host: line(&host, TEXT),
            file: line(&request.file, TEXT),
            name: line(last_part(&request.file), TEXT),
            destination: line(&request.destination, TEXT),
            target: line(&request.target, TEXT),
            tier: line(&request.tier, TEXT),
            reason: line(&request.reason, TEXT),
            minutes: minutes(request.window),
            received: Time::new(approval.received),
            expires: Time::new(approval.expires),
            picture: arrived(&request.thumbnail),
            masters: masters.collect(),
            is_own,
            outcome: match approval.state {
                Standing::Pending => "waits",
                Standing::Approved => "approved",
                Standing::Denied => "denied",
                Standing::Expired => "not answered in time",
            },
            went: approval.state == Standing::Approved,
            answered: approval.answered.map(Time::new).zip(approval.answered_by),
            note: line(&approval.note, TEXT),
            told: approval.told.map(Time::new),
        }
    }
}

/// Minutes, without a fraction where there is none.
fn minutes(milliseconds: u64) -> String {
    match (milliseconds / 60_000, milliseconds % 60_000) {
        (1, 0) => "1 minute".to_owned(),
        (minutes, 0) => format!("{minutes} minutes"),
        (0, rest) => format!("{} seconds", rest.div_ceil(1000)),
        (minutes, rest) => format!("{minutes} min {} s", rest / 1000),
    }
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    signed_in: SignedIn,
) -> Result<Html<String>, PageError> {
    show(&collector, signed_in, None).await
}

async fn show(collector: &Collector, signed_in: SignedIn, error: Option<String>) -> Result<Html<String>, PageError> {
    let (waiting, over) = collector.store.approvals(SHOWN).await?;
    let pictures = waiting.iter().flat_map(|one| {
        let masters = one.request.masters.iter().filter_map(|master| master.thumbnail.clone());
        masters.chain(one.request.thumbnail.clone())
    });
    let kept = collector.store.kept_evidence(pictures.collect()).await?;
    let user = signed_in.0.user.clone();
    let bar = Bar::new(collector, signed_in, "approvals").await?;
    super::page(&ApprovalsPage {
        error,
        longest_note: NOTE,
        more: bar.approvals.saturating_sub(waiting.len() as u64),
        bar,
        waiting: waiting.into_iter().map(|one| ApprovalView::new(one, &user, &kept)).collect(),
        over: over.into_iter().map(|one| ApprovalView::new(one, &user, &kept)).collect(),
    })
}

/// The form of one request.
#[derive(Deserialize)]
pub(crate) struct Answered {
    csrf: String,
    number: i64,
    step: String,
    #[serde(default)]
    note: String,
}

pub(crate) async fn answer(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    Analyst(signed_in): Analyst,
    form: Result<Form<Answered>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    check_form(&signed_in.0, &form.csrf)?;
    let approves = match form.step.as_str() {
        "approve" => true,
        "deny" => false,
        _ => return Err(Refusal::new(StatusCode::BAD_REQUEST, "no such step", "step=approve|deny").into()),
    };
    let note = line(form.note.trim(), NOTE);
    let by = signed_in.0.user.clone();
    match collector.store.answer_approval(by, form.number, approves, note).await? {
        Ok(()) => Ok(Redirect::to("/approvals").into_response()),
        Err(error) => {
            let error = format!("Request {}: {error}.", form.number);
            Ok((StatusCode::CONFLICT, show(&collector, signed_in, Some(error)).await?).into_response())
        }
    }
}

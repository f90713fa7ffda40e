//! The page of policies: versions, for whom each is, how far it has come, and the forms that change it.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::session::{PolicyAdmin, SameOrigin, SignedIn, check_form};
use super::view::Time;
use super::{Bar, PageError, page as render};
use crate::alert::text::line;
use crate::policy::{SIGNATURE, check};
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{Actor, HostGroup, PolicyVersion, Rollout, RolloutState, RolloutStep, StoreError, UserRole};

/// Largest form: the longest policy, of which a byte may take three, and its signature.
pub(crate) const FORM: usize = 3 * (vitrine_policy::MAX_BYTES + SIGNATURE) + (64 << 10);
/// Versions on the page.
const VERSIONS: u32 = 50;
/// Longest note, in characters.
const NOTE: usize = 1000;
/// Longest text of a group, in bytes.
const MEMBERS: usize = 128 << 10;

#[derive(Template)]
#[template(path = "policy.html")]
struct PolicyPage {
    bar: Bar,
    may_change: bool,
    error: Option<String>,
    draft: Draft,
    versions: Vec<VersionView>,
    rollouts: Vec<RolloutView>,
    groups: Vec<HostGroup>,
    halt_factor: f64,
    halt_refused: u32,
    halt_hours: u32,
}

/// What was written into the form that could not be added.
#[derive(Default)]
struct Draft {
    text: String,
    signature: String,
    note: String,
}

pub(super) struct VersionView {
    pub(super) version: PolicyVersion,
    pub(super) short: String,
    pub(super) added: Time,
}

impl VersionView {
    pub(super) fn new(version: PolicyVersion) -> VersionView {
        let short = version.digest.chars().take(8).collect();
        VersionView { short, added: Time::new(version.added), version }
    }
}

struct RolloutView {
    rollout: Rollout,
    state: &'static str,
    is_halted: bool,
    changed: Time,
    shall: usize,
}

impl RolloutView {
    fn new(rollout: Rollout) -> RolloutView {
        let shall = rollout.agents.len();
        let is_halted = rollout.state == RolloutState::Halted;
        let is_done = rollout.percentage == 100 && shall > 0 && rollout.acknowledged == shall as u64;
        let state = if is_done && !is_halted { "done" } else { rollout.state.name() };
        RolloutView { state, is_halted, changed: Time::new(rollout.changed), shall, rollout }
    }
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    signed_in: SignedIn,
) -> Result<Html<String>, PageError> {
    show(&collector, signed_in, None, Draft::default()).await
}

async fn show(
    collector: &Collector,
    signed_in: SignedIn,
    error: Option<String>,
    draft: Draft,
) -> Result<Html<String>, PageError> {
    let store = &collector.store;
    let limits = &collector.policies;
    render(&PolicyPage {
        may_change: signed_in.0.role >= UserRole::PolicyAdmin,
        bar: Bar::new(collector, signed_in, "policy").await?,
        error,
        draft,
        versions: store.policies(VERSIONS).await?.into_iter().map(VersionView::new).collect(),
        rollouts: store.rollouts().await?.into_iter().map(RolloutView::new).collect(),
        groups: store.groups().await?,
        halt_factor: limits.halt_factor,
        halt_refused: limits.halt_refused,
        halt_hours: limits.halt_hours,
    })
}

/// The form that adds a version.
#[derive(Deserialize)]
pub(crate) struct Added {
    csrf: String,
    text: String,
    #[serde(default)]
    signature: String,
    #[serde(default)]
    note: String,
}

/// A form ends its lines with CR LF (HTML, 4.10.22.4), and policies end theirs with LF.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

pub(crate) async fn add(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    PolicyAdmin(signed_in): PolicyAdmin,
    form: Result<Form<Added>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    check_form(&signed_in.0, &form.csrf)?;
    let (text, signature, note) = (lines(&form.text), lines(&form.signature), line(form.note.trim(), NOTE));
    let draft = Draft { text: text.clone(), signature: signature.clone(), note: note.clone() };
    let by = Actor::User(signed_in.0.user.clone());
    let added = match check("policy.toml", text, Some(signature), note, collector.public_key.as_ref()) {
        Ok(new) => collector.store.add_policy(by, new).await,
        Err(why) => {
            let page = show(&collector, signed_in, Some(why), draft).await?;
            return Ok((StatusCode::BAD_REQUEST, page).into_response());
        }
    };
    done(&collector, signed_in, added.map(|_| ()), draft).await
}

/// The form that begins a rollout.
#[derive(Deserialize)]
pub(crate) struct Begun {
    csrf: String,
    version: i64,
    group: String,
    percentage: u8,
}

pub(crate) async fn begin(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    PolicyAdmin(signed_in): PolicyAdmin,
    form: Result<Form<Begun>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    check_form(&signed_in.0, &form.csrf)?;
    let by = Actor::User(signed_in.0.user.clone());
    let begun = collector.store.roll_out(by, form.version, form.group, form.percentage).await;
    done(&collector, signed_in, begun.map(|_| ()), Draft::default()).await
}

/// The form of one rollout.
#[derive(Deserialize)]
pub(crate) struct Stepped {
    csrf: String,
    rollout: i64,
    step: String,
    #[serde(default)]
    percentage: u8,
}

pub(crate) async fn step(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    PolicyAdmin(signed_in): PolicyAdmin,
    form: Result<Form<Stepped>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    check_form(&signed_in.0, &form.csrf)?;
    let step = match form.step.as_str() {
        "raise" => RolloutStep::Raise(form.percentage),
        "halt" => RolloutStep::Halt,
        "resume" => RolloutStep::Resume,
        _ => return Err(Refusal::new(StatusCode::BAD_REQUEST, "no such step", "step=raise|halt|resume").into()),
    };
    let by = Actor::User(signed_in.0.user.clone());
    let stepped = collector.store.step_rollout(by, form.rollout, step).await;
    done(&collector, signed_in, stepped, Draft::default()).await
}

/// The form of a group.
#[derive(Deserialize)]
pub(crate) struct Grouped {
    csrf: String,
    name: String,
    members: String,
}

pub(crate) async fn group(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    PolicyAdmin(signed_in): PolicyAdmin,
    form: Result<Form<Grouped>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    check_form(&signed_in.0, &form.csrf)?;
    if form.members.len() > MEMBERS {
        let error = format!("the members take {} bytes", form.members.len());
        return Err(Refusal::new(StatusCode::BAD_REQUEST, error, format!("at most {MEMBERS} bytes")).into());
    }
    let members = form.members.lines().map(str::to_owned).collect();
    let by = Actor::User(signed_in.0.user.clone());
    let kept = collector.store.keep_group(by, HostGroup { name: form.name.trim().to_owned(), members }).await;
    done(&collector, signed_in, kept, Draft::default()).await
}

/// The page anew, with what is wrong where something is.
async fn done(
    collector: &Collector,
    signed_in: SignedIn,
    outcome: Result<(), StoreError>,
    draft: Draft,
) -> Result<Response, PageError> {
    match outcome {
        Ok(()) => Ok(Redirect::to("/policy").into_response()),
        Err(StoreError::Policy(why)) => {
            let page = show(collector, signed_in, Some(why), draft).await?;
            Ok((StatusCode::CONFLICT, page).into_response())
        }
        Err(other) => Err(other.into()),
    }
}

//! One's own account: a new password, taking up a second factor, and giving it up.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use qrcode::QrCode;
use qrcode::render::svg;
use serde::Deserialize;

use super::login::{WRONG_CODE, must_wait, refused, waiting};
use super::password::{self, Checked};
use super::session::{Known, SameOrigin, check_form, check_own, lacks_factor, secret};
use super::{PageError, page as render};
use crate::refusal::Refusal;
use crate::server::{Collector, Peer};
use crate::store::{Attempt, Code, Session, TotpEnrolment};

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    user: String,
    role: &'static str,
    csrf: String,
    second_factor: bool,
    /// What the provider is called that vouches for the user.
    provider: Option<String>,
    required: bool,
    recovery_left: u64,
    enrolment: Option<Enrolment>,
    /// Recovery codes that were just made.
    recovery: Vec<String>,
    error: Option<String>,
    notice: Option<&'static str>,
}

struct Enrolment {
    secret: String,
    uri: String,
    /// SVG of this server's own making, with nothing in it that anybody has written.
    qr: String,
}

impl Enrolment {
    fn new(totp: TotpEnrolment) -> Result<Enrolment, Refusal> {
        let code = QrCode::new(&totp.uri).map_err(|error| {
            tracing::error!(%error, "a QR code could not be drawn");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the QR code cannot be drawn", "a shorter user name")
        })?;
        let drawn = code.render::<svg::Color<'_>>().min_dimensions(220, 220).build();
        // The XML declaration is for files; in a page it would be an error.
        let qr = drawn.find("<svg").and_then(|start| drawn.get(start..)).unwrap_or_default().to_owned();
        let groups: Vec<_> = totp.secret.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
        Ok(Enrolment { secret: groups.join(" "), uri: totp.uri, qr })
    }
}

impl AccountPage {
    async fn new(collector: &Collector, session: Session) -> Result<AccountPage, PageError> {
        let enrolment = collector.store.unconfirmed_totp(session.user.clone()).await?;
        Ok(AccountPage {
            required: lacks_factor(&session, collector),
            recovery_left: collector.store.recovery_codes(session.user.clone()).await?,
            user: session.user,
            role: session.role.name(),
            csrf: session.csrf,
            second_factor: session.second_factor,
            provider: session
                .by_provider
                .then(|| collector.provider.as_ref().map_or("a provider", |provider| &provider.name).to_owned()),
            enrolment: enrolment.map(Enrolment::new).transpose()?,
            recovery: Vec::new(),
            error: None,
            notice: None,
        })
    }

    /// The page with what was wrong.
    fn refuse(mut self, mistake: &str) -> Result<Response, PageError> {
        self.error = Some(mistake.into());
        refused(&self)
    }

    /// The page for somebody who guesses too often.
    fn hold(mut self, milliseconds: i64) -> Result<Response, PageError> {
        self.error = Some(waiting(milliseconds));
        must_wait(&self, milliseconds)
    }
}

/// The form with which an enrolment begins.
#[derive(Deserialize)]
pub(crate) struct Begin {
    csrf: String,
}

/// The forms that end with a code.
#[derive(Deserialize)]
pub(crate) struct CodeForm {
    csrf: String,
    code: String,
}

/// The form of a new password.
#[derive(Deserialize)]
pub(crate) struct NewPassword {
    csrf: String,
    current: String,
    password: String,
    repeated: String,
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    Known(session): Known,
) -> Result<Html<String>, PageError> {
    render(&AccountPage::new(&collector, session).await?)
}

pub(crate) async fn change_password(
    State(collector): State<Arc<Collector>>,
    Extension(peer): Extension<Peer>,
    _: SameOrigin,
    Known(session): Known,
    headers: HeaderMap,
    form: Result<Form<NewPassword>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(NewPassword { csrf, current, password, repeated }) = form?;
    check_form(&session, &csrf)?;
    check_own(&session)?;
    let name = session.user.clone();
    let mut page = AccountPage::new(&collector, session).await?;
    if let Some(mistake) = password::mistake(&password, &repeated) {
        return page.refuse(mistake);
    }
    let attempt = Attempt { name, from: peer.address.ip().to_string() };
    match password::check(&collector, &attempt, current).await? {
        Checked::Right => {}
        Checked::Wrong => return page.refuse("The current password is wrong."),
        Checked::Wait(wait) => return page.hold(wait),
    }
    let kept = password::keep(&collector, password).await?;
    let cookie = secret(&headers, collector.secure).unwrap_or_default();
    collector.store.change_password(attempt, kept, &cookie).await?;
    page.notice = Some("The password was changed. Your other sessions have ended.");
    Ok(render(&page)?.into_response())
}

pub(crate) async fn begin(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    Known(session): Known,
    form: Result<Form<Begin>, FormRejection>,
) -> Result<Redirect, PageError> {
    let Form(form) = form?;
    check_form(&session, &form.csrf)?;
    check_own(&session)?;
    collector.store.begin_totp(session.user).await?;
    Ok(Redirect::to("/account"))
}

pub(crate) async fn confirm(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    Known(session): Known,
    form: Result<Form<CodeForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    check_form(&session, &form.csrf)?;
    let taken = collector.store.confirm_totp(session.user.clone(), form.code).await?;
    let mut page = AccountPage::new(&collector, session).await?;
    match taken {
        Code::Right(codes) => {
            (page.second_factor, page.required, page.recovery) = (true, false, codes);
            Ok(render(&page)?.into_response())
        }
        Code::Wrong | Code::Nothing => page.refuse(WRONG_CODE),
        Code::Wait(wait) => page.hold(wait),
    }
}

pub(crate) async fn remove(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    Known(session): Known,
    form: Result<Form<CodeForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    check_form(&session, &form.csrf)?;
    let page = AccountPage::new(&collector, session.clone()).await?;
    match collector.store.remove_totp(session.user, form.code).await? {
        Code::Right(()) => Ok(Redirect::to("/account").into_response()),
        Code::Wrong | Code::Nothing => page.refuse(WRONG_CODE),
        Code::Wait(wait) => page.hold(wait),
    }
}

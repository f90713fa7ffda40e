//! The page that traces a picture: a form that takes it, and the masters that it was made from beside it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use askama::Template;
use axum::extract::multipart::{Field, MultipartError, MultipartRejection};
use axum::extract::{Multipart, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::object::HappenedView;
use super::session::{Analyst, SameOrigin, SignedIn, check_form};
use super::{Bar, PageError, words};
use crate::alert::text::line;
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{Actor, StoreError};
use crate::trace::{Trace, TraceError, Traced, trace as find};

/// Bytes of the file.
const MAX_FILE: u64 = 256 << 20;
/// Bytes of the form: the file and what stands around it.
pub(crate) const MAX_FORM: usize = (256 << 20) + (64 << 10);
/// Longest hidden token, in bytes.
const MAX_TOKEN: usize = 1 << 10;
/// Longest name of a file that is shown, in characters.
const NAME: usize = 120;
/// As every page, and pictures that stand in the page itself: they are kept nowhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
const EXPECTED: &str = "the form as the page shows it, with one file of at most 256 MiB";

#[derive(Template)]
#[template(path = "trace.html")]
struct TracePage {
    bar: Bar,
    known: String,
    failed: Option<String>,
    found: Option<FoundView>,
}

struct FoundView {
    name: String,
    digest: String,
    bytes: u64,
    content: String,
    unseen: Option<String>,
    inside: Option<String>,
    thumbnail: Option<String>,
    masters: Vec<TracedView>,
    more_masters: usize,
}

struct TracedView {
    key: String,
    name: String,
    path: String,
    collection: String,
    object: Option<String>,
    size: String,
    inside: Option<String>,
    kind: &'static str,
    score: String,
    scale: String,
    coverage: String,
    workstations: String,
    thumbnail: Option<String>,
    outline: Option<Outline>,
    history: Vec<HappenedView>,
    more: bool,
    elsewhere: usize,
}

/// The part of a master that a picture shows, in the master's pixels.
struct Outline {
    width: u32,
    height: u32,
    points: String,
}

impl FoundView {
    fn new(trace: Trace, name: String) -> FoundView {
        let inside = match (trace.inside, trace.more_inside) {
            (0, 0) => None,
            (seen, 0) => Some(format!("{seen} pictures inside were traced, too.")),
            (seen, more) => Some(format!("{seen} pictures inside were traced, too, and {more} more were not.")),
        };
        FoundView {
            name,
            digest: trace.digest,
            bytes: trace.bytes,
            content: trace.content,
            unseen: trace.unseen,
            inside,
            thumbnail: trace.thumbnail.map(|jpeg| STANDARD.encode(jpeg)),
            masters: trace.masters.into_iter().map(TracedView::new).collect(),
            more_masters: trace.more_masters,
        }
    }
}

impl TracedView {
    fn new(master: Traced) -> TracedView {
        let names: Vec<_> =
            master.workstations.iter().map(|one| line(one.host.as_ref().unwrap_or(&one.agent), NAME)).collect();
        let point = |(x, y): &(f64, f64)| {
            let (x, y) = (x * f64::from(master.width), y * f64::from(master.height));
            format!("{x:.0},{y:.0}")
        };
        let is_part = !master.region.is_empty() && master.coverage < 0.97 && master.width > 0 && master.height > 0;
        TracedView {
            name: line(vitrine_policy::record::last_part(&master.path), NAME),
            outline: is_part.then(|| Outline {
                width: master.width,
                height: master.height,
                points: master.region.iter().map(point).collect::<Vec<_>>().join(" "),
            }),
            size: match (master.width, master.height) {
                (0, 0) => String::new(),
                (width, height) => format!("{width} × {height} pixels"),
            },
            kind: words::kind(master.kind),
            score: format!("{:.2} %", master.score * 100.0),
            scale: format!("{:.0} %", master.scale * 100.0),
            coverage: format!("{:.0} %", master.coverage * 100.0),
            workstations: names.join(", "),
            thumbnail: master.thumbnail.map(|jpeg| STANDARD.encode(jpeg)),
            history: master.transfers.into_iter().map(|what| HappenedView::new(None, what)).collect(),
            more: master.more_transfers,
            elsewhere: master.elsewhere,
            key: master.key,
            path: master.path,
            collection: master.collection,
            object: master.object,
            inside: master.inside,
        }
    }
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    Analyst(signed_in): Analyst,
) -> Result<impl IntoResponse, PageError> {
    shown(&collector, signed_in, None, None).await
}

/// Traces the picture of the form.
pub(crate) async fn trace(
    State(collector): State<Arc<Collector>>,
    _: SameOrigin,
    Analyst(signed_in): Analyst,
    form: Result<Multipart, MultipartRejection>,
) -> Result<impl IntoResponse, PageError> {
    let mut form = form.map_err(|rejection| Refusal::new(rejection.status(), rejection.body_text(), EXPECTED))?;
    let place = Arc::clone(&collector.tracing).try_acquire_owned().map_err(|_| {
        let expected = "the same picture in a minute";
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "others trace pictures at this moment", expected).retry_after(20)
    })?;
    // The page has the token before the file, so that nobody else's file is taken at all.
    let token = next(&mut form, "csrf").await?;
    check_form(&signed_in.0, &text(token).await?)?;
    let field = next(&mut form, "file").await?;
    let name = match field.file_name().map(|name| line(name, NAME)) {
        Some(name) if !name.is_empty() => name,
        _ => "the picture".into(),
    };
    let file = kept(field, &collector.data).await?;
    let masters = match collector.masters.masters() {
        Ok(masters) => masters,
        Err(why) => {
            return shown(&collector, signed_in, Some(format!("No picture can be traced now: {why}.")), None).await;
        }
    };
    let by = Actor::User(signed_in.0.user.clone());
    let (shared, called) = (Arc::clone(&collector), name.clone());
    // Goes on where nobody waits for the answer any more, and keeps its place until it ends.
    let found = tokio::spawn(async move {
        let _place = place;
        find(&shared.store, masters, &shared.measure, by, file, &called).await
    });
    match found.await.map_err(|_| StoreError::Closed)? {
        Ok(found) => shown(&collector, signed_in, None, Some(FoundView::new(found, name))).await,
        Err(TraceError::Measure(why)) => {
            shown(&collector, signed_in, Some(format!("{name} was not traced: {why}.")), None).await
        }
        Err(TraceError::Store(error)) => Err(error.into()),
        Err(TraceError::Stopping) => Err(StoreError::Closed.into()),
        Err(TraceError::Masters(error)) => {
            tracing::error!(%error, "a picture could not be traced");
            let why = "The masters of the workstations cannot be read; the collector's journal says why.";
            shown(&collector, signed_in, Some(why.into()), None).await
        }
    }
}

type Page = ([(HeaderName, HeaderValue); 1], Html<String>);

async fn shown(
    collector: &Collector,
    signed_in: SignedIn,
    failed: Option<String>,
    found: Option<FoundView>,
) -> Result<Page, PageError> {
    let known = match collector.masters.masters() {
        Ok(masters) => {
            let count = tokio::task::spawn_blocking(move || masters.count()).await.map_err(|_| StoreError::Closed)?;
            count.map_or_else(
                |_| "The masters of the workstations cannot be counted.".into(),
                |count| format!("Masters known: {}, on workstations: {}.", count.masters, count.agents),
            )
        }
        Err(why) => format!("No picture can be traced now: {why}."),
    };
    let bar = Bar::new(collector, signed_in, "trace").await?;
    let page = super::page(&TracePage { bar, known, failed, found })?;
    Ok(([(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))], page))
}

/// The next field, which must have this name.
async fn next<'a>(form: &'a mut Multipart, name: &str) -> Result<Field<'a>, Refusal> {
    match form.next_field().await.map_err(|error| broken(&error))? {
        Some(field) if field.name() == Some(name) => Ok(field),
        _ => Err(Refusal::new(StatusCode::BAD_REQUEST, format!("the form has no field {name:?} here"), EXPECTED)),
    }
}

async fn text(mut field: Field<'_>) -> Result<String, Refusal> {
    let mut text = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(&error))? {
        if text.len() + chunk.len() > MAX_TOKEN {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "a token that is too long", EXPECTED));
        }
        text.extend_from_slice(&chunk);
    }
    String::from_utf8(text).map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "a token that is no text", EXPECTED))
}

/// Writes a field to a file that has no name and is gone when it is closed.
async fn kept(mut field: Field<'_>, data: &Path) -> Result<File, Refusal> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::StorageFull => Refusal::from(StoreError::Full),
        _ => {
            tracing::error!(%error, "a picture that is traced cannot be written");
            let error = "the picture cannot be written where the collector has its data";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error, "the same request later").retry_after(30)
        }
    };
    let mut file = tempfile::tempfile_in(data).map_err(failed)?;
    let mut bytes = 0;
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(&error))? {
        bytes += chunk.len() as u64;
        if bytes > MAX_FILE {
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the file has more than 256 MiB", EXPECTED));
        }
        tokio::task::block_in_place(|| file.write_all(&chunk)).map_err(failed)?;
    }
    if bytes == 0 {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "no file was chosen", EXPECTED));
    }
    Ok(file)
}

fn broken(error: &MultipartError) -> Refusal {
    Refusal::new(error.status(), error.body_text(), EXPECTED)
}

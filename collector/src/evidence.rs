//! Evidence: JPEG thumbnails, addressed by the BLAKE3 of their bytes and sent once.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::alert::text::is_digest;
use crate::console::session::check_role;
use crate::enroll::{Agent, Reader};
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{Actor, UserRole};

/// Bytes of one thumbnail.
pub(crate) const MAX: usize = 64 << 10;

fn check_digest(digest: &str) -> Result<(), Refusal> {
    if is_digest(digest) {
        return Ok(());
    }
    let expected = "the BLAKE3 of the thumbnail as 64 lower-case hexadecimal digits";
    Err(Refusal::new(StatusCode::BAD_REQUEST, "no digest in the address", expected))
}

pub(crate) async fn put(
    State(collector): State<Arc<Collector>>,
    _: Agent,
    Path(digest): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Refusal> {
    check_digest(&digest)?;
    let body = body?;
    // JFIF and Exif alike begin with SOI and a marker (ITU-T T.81, annex B) and end with EOI.
    if !(body.starts_with(&[0xff, 0xd8, 0xff]) && body.ends_with(&[0xff, 0xd9])) {
        let error = "this is no JPEG file";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error, "a JPEG thumbnail of at most 64 KiB"));
    }
    let found = blake3::hash(&body).to_hex();
    if found.as_str() != digest {
        let error = format!("the bytes have BLAKE3 {found}");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, error, format!("bytes with BLAKE3 {digest}")));
    }
    let new = collector.store.keep_evidence(digest, body.to_vec()).await?;
    Ok(if new { StatusCode::CREATED } else { StatusCode::OK })
}

pub(crate) async fn has(
    State(collector): State<Arc<Collector>>,
    _: Agent,
    Path(digest): Path<String>,
) -> Result<StatusCode, Refusal> {
    check_digest(&digest)?;
    let there = collector.store.has_evidence(digest).await?;
    Ok(if there { StatusCode::OK } else { StatusCode::NOT_FOUND })
}

pub(crate) async fn show(
    State(collector): State<Arc<Collector>>,
    reader: Reader,
    Path(digest): Path<String>,
) -> Result<Response, Refusal> {
    check_digest(&digest)?;
    let actor = match reader {
        Reader::Token(name) => Actor::Token(name),
        Reader::User(session) => {
            check_role(&session, UserRole::Analyst)?;
            Actor::User(session.user)
        }
    };
    let Some(jpeg) = collector.store.evidence(actor, digest).await? else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "no such thumbnail", "the digest of a kept thumbnail"));
    };
    // What the browser kept would be looked at again without anybody being told of it.
    Ok(([(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-store")], jpeg).into_response())
}

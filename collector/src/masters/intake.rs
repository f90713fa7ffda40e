//! Masters coming in: `POST /v1/masters`, NDJSON in zstd, answered when all of it is on the disk.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use vitrine_fingerprint::Portrait;

use super::Told;
use crate::enroll::Agent;
use crate::ingest::unpack;
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::StoreError;

/// Bytes of one request as it comes over the wire: a book of 256 pages needs 10 MB.
pub(crate) const MAX_WIRE: usize = 14 << 20;
/// Masters in one request.
const MAX_LINES: usize = 200;
/// Longest path, collection and object, in bytes.
const MAX_PATH: usize = 16 << 10;
const MAX_NAME: usize = 1 << 10;
const EXPECTED: &str = "at most 200 masters, 14 MiB on the wire and 32 MiB unpacked";

/// A line as it comes: a master, or of one that is gone the path alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    path: String,
    #[serde(default)]
    collection: String,
    #[serde(default)]
    object: Option<String>,
    #[serde(default)]
    portrait: Option<Box<Portrait>>,
}

#[derive(Serialize)]
pub(crate) struct Taken {
    /// Changes when all masters are asked for again.
    epoch: String,
    /// Lines that are not kept.
    rejected: Vec<Rejected>,
}

#[derive(Serialize)]
struct Rejected {
    /// From 1.
    line: usize,
    reason: String,
}

pub(crate) async fn receive(
    State(collector): State<Arc<Collector>>,
    Agent(sender): Agent,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Taken>, Refusal> {
    let later = |error: &str, seconds| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error, "the same request later").retry_after(seconds)
    };
    if headers.get(header::CONTENT_ENCODING).is_none_or(|value| value != "zstd") {
        let error = "a Content-Encoding that is not read here";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error, "zstd"));
    }
    let agent = sender.agent.ok_or_else(|| later("nobody knows yet which agent this token belongs to", 1))?;
    let masters = collector.masters.masters().map_err(|why| later(&why, 5))?;
    let _permit = collector.masters.intake.try_acquire().map_err(|_| later("another workstation sends masters", 1))?;
    let body = axum::body::to_bytes(body, MAX_WIRE)
        .await
        .map_err(|_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or not whole", EXPECTED))?;
    let taking = tokio::task::spawn_blocking(move || -> Result<_, Refusal> {
        let (told, mut rejected) = read(&unpack(&body)?)?;
        drop(body);
        let failed = |error: super::MastersError| {
            tracing::error!(%error, "masters of a workstation could not be kept");
            later("the collector cannot keep masters just now", 30)
        };
        rejected.extend(masters.take(&agent, &told).map_err(failed)?);
        let rejected = rejected.into_iter().map(|(line, reason)| Rejected { line, reason }).collect();
        Ok(Taken { epoch: masters.epoch().map_err(failed)?, rejected })
    });
    taking.await.map_err(|_| StoreError::Closed)?.map(Json)
}

type Lines = (Vec<(usize, Told)>, Vec<(usize, String)>);

/// Reads the lines. One that is no master is left out, with the reason, and hinders no other.
fn read(text: &[u8]) -> Result<Lines, Refusal> {
    let (mut told, mut rejected) = (Vec::new(), Vec::new());
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if told.len() + rejected.len() == MAX_LINES {
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "more than 200 masters", EXPECTED));
        }
        match master(line) {
            Ok(master) => told.push((index + 1, master)),
            Err(reason) => rejected.push((index + 1, reason)),
        }
    }
    Ok((told, rejected))
}

fn master(line: &[u8]) -> Result<Told, String> {
    let long = |what: &str, text: &str, most: usize| match text.len() {
        length if length > most => Err(format!("a {what} of {length} bytes, expected at most {most}")),
        _ => Ok(()),
    };
    let Line { path, collection, object, portrait } =
        serde_json::from_slice(line).map_err(|error| error.to_string())?;
    long("path", &path, MAX_PATH)?;
    long("collection", &collection, MAX_NAME)?;
    long("object", object.as_deref().unwrap_or_default(), MAX_NAME)?;
    Ok(match portrait {
        Some(portrait) => Told::Has { path, collection, object, portrait, bytes: line.len() },
        None => Told::Gone { path },
    })
}

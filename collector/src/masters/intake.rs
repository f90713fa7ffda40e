//! Masters coming in: `POST /v1/masters`, NDJSON in zstd, answered when all of it is on the disk.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};
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
/// Requests that are read at the same time, each of another workstation.
const PLACES: usize = 8;

/// Who sends masters. Requests are read side by side, so that a slow workstation keeps no other one out, and taken one
/// after the other.
pub(super) struct Intake {
    places: Semaphore,
    /// Ids of the agents that have a place.
    senders: Mutex<BTreeSet<String>>,
    /// One writes at a time, with one request unpacked.
    taking: Arc<Semaphore>,
}

/// A workstation's place, given back when the request ends, however it does.
struct Place<'a> {
    intake: &'a Intake,
    agent: String,
    _permit: SemaphorePermit<'a>,
}

impl Intake {
    pub(super) fn new() -> Intake {
        Intake { places: Semaphore::new(PLACES), senders: Mutex::default(), taking: Arc::new(Semaphore::new(1)) }
    }

    /// A place for a request of this agent; or in a sentence why there is none.
    fn enter(&self, agent: &str) -> Result<Place<'_>, &'static str> {
        let permit = self.places.try_acquire().map_err(|_| "many other workstations send masters")?;
        if !self.senders().insert(agent.to_owned()) {
            return Err("another request of this workstation with masters is under way");
        }
        Ok(Place { intake: self, agent: agent.to_owned(), _permit: permit })
    }

    fn senders(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner) // whole after every step
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.intake.senders().remove(&self.agent);
    }
}

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
    let _place = collector.masters.intake.enter(&agent).map_err(|why| later(why, 1))?;
    let body = axum::body::to_bytes(body, MAX_WIRE)
        .await
        .map_err(|_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or not whole", EXPECTED))?;
    let turn = Arc::clone(&collector.masters.intake.taking);
    let turn = turn.acquire_owned().await.map_err(|_| StoreError::Closed)?;
    let taking = tokio::task::spawn_blocking(move || -> Result<_, Refusal> {
        // Goes on where nobody waits for the answer any more, and is the only one until it ends.
        let _turn = turn;
        let (told, mut rejected) = read(&unpack(&body)?)?;
        drop(body);
        let failed = |error: super::MastersError| {
            tracing::error!(%error, "masters of a workstation could not be kept");
            later("the collector cannot keep masters just now", 30)
        };
        rejected.extend(masters.take(&agent, &told).map_err(failed)?);
        let rejected = rejected.into_iter().map(|(line, reason)| Rejected { line, reason }).collect();
        Ok(Taken { epoch: masters.epoch().to_owned(), rejected })
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
        Some(portrait) => {
            let digest = *portrait.digest().map_err(|error| error.to_string())?.as_bytes();
            Told::Has { path, collection, object, portrait, digest, bytes: line.len() }
        }
        None => Told::Gone { path },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workstation_has_one_place_and_gives_it_back() {
        let intake = Intake::new();
        let first = intake.enter("one").ok();
        assert!(first.is_some() && intake.enter("one").is_err_and(|why| why.contains("of this workstation")));
        let others: Vec<_> = (1..PLACES).map(|number| intake.enter(&format!("other {number}"))).collect();
        assert!(others.iter().all(Result::is_ok));
        assert!(intake.enter("two").is_err_and(|why| why.contains("many other workstations")));
        drop(first);
        for agent in ["two", "one", "one"] {
            assert!(intake.enter(agent).is_ok(), "{agent}");
        }
    }
}

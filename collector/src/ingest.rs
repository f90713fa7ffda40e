//! Records coming in: `POST /v1/records`, zstd or plain NDJSON, answered after COMMIT.

use std::io::Read;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use vitrine_policy::record::{MAX_BYTES, Record};

use crate::enroll::{Agent, check_agent};
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{Batch, Body, Committed, Incoming, Poison};

/// Times end here, in milliseconds since 1970: with the year 9999.
const TIMES: i64 = 253_402_300_800_000;
/// Records in one request.
const MAX_RECORDS: usize = 500;
/// Bytes of one request as it comes over the wire.
pub(crate) const MAX_WIRE: usize = 1 << 20;
/// Bytes of one request when it is unpacked.
const MAX_UNPACKED: usize = 32 << 20;
/// log2 of the largest window that a zstd frame may ask for: 8 MiB, which RFC 8878 3.1.1.1.2 asks every
/// decoder to support and no sensible encoder exceeds.
const MAX_WINDOW_LOG: u32 = 23;
const EXPECTED: &str = "at most 500 records, 1 MiB on the wire and 32 MiB unpacked";

pub(crate) async fn records(
    State(collector): State<Arc<Collector>>,
    Agent(sender): Agent,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Committed>, Refusal> {
    let packed = match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => false,
        Some(b"zstd") => true,
        Some(_) => {
            let error = "a Content-Encoding that is not read here";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error, "zstd or identity"));
        }
    };
    let body = body?;
    // Unpacking is what costs memory: few at a time, however many requests there are.
    let permit = collector.unpacking.acquire().await.map_err(|_| crate::store::StoreError::Closed)?;
    let reading = tokio::task::spawn_blocking(move || -> Result<_, Refusal> {
        let (agent, records, poison) = if packed { read(&unpack(&body)?)? } else { read(&body)? };
        if let Some(agent) = &agent {
            check_agent(&sender, agent)?;
        }
        Ok(Batch { sender, agent, records, poison })
    });
    let batch = reading.await.map_err(|_| crate::store::StoreError::Closed)??;
    let committed = collector.store.append(batch).await?;
    drop(permit);
    Ok(Json(committed))
}

pub(crate) fn unpack(body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let broken = |error: std::io::Error| {
        Refusal::new(StatusCode::BAD_REQUEST, format!("the zstd frame cannot be read: {error}"), "a whole zstd frame")
    };
    let mut decoder = zstd::Decoder::with_buffer(body).map_err(broken)?;
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(broken)?;
    let mut unpacked = Vec::new();
    decoder.take(MAX_UNPACKED as u64 + 1).read_to_end(&mut unpacked).map_err(broken)?;
    if unpacked.len() > MAX_UNPACKED {
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "more than 32 MiB unpacked", EXPECTED));
    }
    Ok(unpacked)
}

type Lines = (Option<String>, Vec<Incoming>, Vec<Poison>);

/// Reads the lines. One that is no record is laid aside and hinders no other.
fn read(text: &[u8]) -> Result<Lines, Refusal> {
    let mut agent: Option<String> = None;
    let mut records = Vec::new();
    let mut poison = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if records.len() + poison.len() == MAX_RECORDS {
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "more than 500 records", EXPECTED));
        }
        let number = index + 1;
        match record(line) {
            Ok(record) => {
                let agent = agent.get_or_insert_with(|| record.host.agent.clone());
                if *agent != record.host.agent {
                    let error = format!("line {number} is of another agent than the lines before it");
                    return Err(Refusal::new(StatusCode::FORBIDDEN, error, "records of one agent"));
                }
                records.push(Incoming { line: number, body: Body::of(&record)?, record });
            }
            Err(reason) => poison.push(Poison {
                line: number,
                reason,
                sequence: guess_sequence(line),
                text: line.get(..MAX_BYTES).unwrap_or(line).to_vec(),
            }),
        }
    }
    Ok((agent, records, poison))
}

fn record(line: &[u8]) -> Result<Record, String> {
    let text = str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"))?;
    let record = Record::from_ocsf(text).map_err(|error| error.to_string())?;
    if record.sequence == 0 || i64::try_from(record.sequence).is_err() {
        return Err(format!("{} is no sequence number", record.sequence));
    }
    if !(0..TIMES).contains(&record.time) {
        return Err(format!("{} is no time: expected milliseconds since 1970, before the year 10000", record.time));
    }
    Ok(record)
}

fn guess_sequence(line: &[u8]) -> Option<u64> {
    if line.len() > MAX_BYTES {
        return None;
    }
    let json: Value = serde_json::from_slice(line).ok()?;
    let sequence = json.pointer("/unmapped/vitrine/sequence").or_else(|| json.pointer("/metadata/sequence"));
    sequence.and_then(Value::as_u64)
}

#[cfg(test)]
mod tests {
    use super::{read, unpack};

    #[test]
    fn a_bomb_is_refused_before_it_unfolds() {
        let bomb = zstd::encode_all(&vec![b'\n'; 64 << 20][..], 19).unwrap();
        assert!(bomb.len() < 64 << 10);
        assert!(unpack(&bomb).is_err());
        assert!(unpack(&bomb[..bomb.len() / 2]).is_err());
    }

    #[test]
    fn rubbish_is_laid_aside_line_by_line() {
        let text = b"{\"metadata\":{\"sequence\":7}}\n\n\xff\xfe\n[1,2]\r\n";
        let (agent, records, poison) = read(text).unwrap();
        assert!(agent.is_none() && records.is_empty());
        let lines: Vec<_> = poison.iter().map(|poison| (poison.line, poison.sequence)).collect();
        assert_eq!(lines, [(1, Some(7)), (3, None), (4, None)]);
    }
}

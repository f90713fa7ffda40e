//! Heartbeats: an agent's short word that it is there, and the list of workstations made of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use vitrine_policy::decision::Mode;

use crate::enroll::{Agent, Reader, check_agent};
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{HostFilter, Store, now};

/// What an agent says of itself. Fields that this program does not know are ignored, so that newer
/// agents are heard.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Heartbeat {
    /// The agent's id.
    pub(crate) agent: String,
    /// Name of the workstation.
    pub(crate) host: String,
    /// Version of the agent.
    #[serde(default)]
    pub(crate) agent_version: String,
    /// The guard in force: `flow`, `gate` or `watch`.
    pub(crate) guard: String,
    /// The mode in force.
    pub(crate) mode: Mode,
    /// The policy in force: BLAKE3 of its text.
    #[serde(default)]
    pub(crate) policy: Option<String>,
    /// Serial of that policy, where it has one.
    #[serde(default)]
    pub(crate) policy_serial: Option<u32>,
    /// Where that policy is from: `file` or `collector`.
    #[serde(default)]
    pub(crate) policy_source: Option<String>,
    /// Whether the agent takes policies from the collector.
    #[serde(default)]
    pub(crate) takes_policies: bool,
    /// The index of its masters.
    #[serde(default)]
    pub(crate) index: Option<IndexFacts>,
    /// Records that wait to be sent.
    pub(crate) spool_depth: u64,
    /// The last sequence number given out.
    pub(crate) last_sequence: u64,
    /// Milliseconds since 1970 by the workstation's clock.
    #[serde(default)]
    pub(crate) time: Option<i64>,
    /// Seconds from one heartbeat to the next. Of an agent that does not say it nobody misses any.
    #[serde(default)]
    pub(crate) heartbeat_seconds: Option<u64>,
    /// What the seals of this run of the agent are checked with; never shown again.
    #[serde(default, skip_serializing)]
    pub(crate) seal: Option<FirstKey>,
}

/// What is told of an agent's index.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct IndexFacts {
    /// The form in which it is kept.
    pub(crate) version: u64,
    /// How many masters it has.
    pub(crate) masters: u64,
}

/// The first key of a run of the agent.
#[derive(Deserialize)]
#[serde(try_from = "Handover")]
pub(crate) struct FirstKey {
    /// The run: 32 hexadecimal digits.
    pub(crate) epoch: String,
    pub(crate) key: [u8; 32],
}

/// The same, as it is sent.
#[derive(Deserialize)]
struct Handover {
    epoch: String,
    key: String,
}

impl TryFrom<Handover> for FirstKey {
    type Error = &'static str;

    fn try_from(sent: Handover) -> Result<FirstKey, Self::Error> {
        let (mut epoch, mut key) = ([0; 16], [0; 32]);
        hex::decode_to_slice(&sent.epoch, &mut epoch).map_err(|_| "seal.epoch is not of 32 hexadecimal digits")?;
        hex::decode_to_slice(&sent.key, &mut key).map_err(|_| "seal.key is not of 64 hexadecimal digits")?;
        Ok(FirstKey { epoch: sent.epoch, key })
    }
}

impl std::fmt::Debug for FirstKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FirstKey").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// One workstation.
#[derive(Debug, Serialize)]
pub(crate) struct Host {
    pub(crate) agent: String,
    pub(crate) host: String,
    pub(crate) first_seen: i64,
    pub(crate) last_seen: i64,
    /// Highest sequence number stored.
    pub(crate) last_sequence: u64,
    /// Records missing below it.
    pub(crate) missing: u64,
    /// Milliseconds by which its clock is ahead of the collector's, delivery included.
    pub(crate) skew: Option<i64>,
    /// Whether it said that the workstation was being switched off.
    pub(crate) off: bool,
    /// Number of the alert about its silence.
    pub(crate) silent: Option<i64>,
    /// The latest heartbeat, as the agent sent it.
    pub(crate) heartbeat: Option<Box<RawValue>>,
}

pub(crate) async fn receive(
    State(collector): State<Arc<Collector>>,
    agent: Agent,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let heartbeat: Heartbeat = serde_json::from_slice(&body?).map_err(|error| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            format!("not a heartbeat: {error}"),
            "JSON with agent, host, guard, mode, policy, spool_depth and last_sequence",
        )
    })?;
    check_agent(&agent.0, &heartbeat.agent)?;
    let committed = collector.store.heartbeat(agent.0, heartbeat).await?;
    // Without them, agents keep what they know of their masters for themselves.
    let epoch = collector.masters.masters().ok().map(|masters| masters.epoch().to_owned());
    Ok(Json(json!({"time": now(), "committed": committed, "masters": epoch})))
}

/// How often it is looked who is missing.
const LOOK: Duration = Duration::from_secs(1);

/// A clock that differs by so many milliseconds from the time that has passed was set, or the machine slept.
const GAINED: i64 = 5_000;

/// Misses agents until the server stops. Nobody could be heard before it started, nor in a time that the clock was
/// set over.
pub(crate) async fn miss(store: Store, mut stopped: watch::Receiver<bool>) {
    let mut from = now();
    let mut looked = (from, Instant::now());
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.changed() => return,
        }
        if !store.takes("silent agents", &mut stopped).await {
            return;
        }
        let (clock, passed) = (now(), i64::try_from(looked.1.elapsed().as_millis()).unwrap_or(i64::MAX));
        let gained = clock.saturating_sub(looked.0).saturating_sub(passed);
        if gained.abs() > GAINED {
            tracing::warn!(
                "the clock was set by {} s, or this machine slept: agents are missed from now on",
                gained / 1000
            );
            from = clock;
        }
        looked = (clock, Instant::now());
        if let Err(error) = store.raise_silent(from).await {
            tracing::error!(%error, "it cannot be told which agents are silent");
        }
    }
}

pub(crate) async fn hosts(State(collector): State<Arc<Collector>>, _: Reader) -> Result<Json<Value>, Refusal> {
    let all = HostFilter { name: String::new(), limit: u32::MAX, skip: 0 };
    Ok(Json(json!({"hosts": collector.store.hosts(all).await?})))
}

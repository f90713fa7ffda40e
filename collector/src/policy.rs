//! The policy on its way from the staff to the workstations: what is added is checked, and each agent gets the version
//! that it shall have. The collector never has the secret key: agents that pin a public one decide for themselves.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use minisign_verify::{PublicKey, Signature};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use vitrine_policy::Policy;

use crate::config::{Config, Policies};
use crate::enroll::Agent;
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{NewPolicy, Store};

/// Longest signature, in bytes; it has four lines.
pub(crate) const SIGNATURE: usize = 4096;

/// Gives an agent the policy that it shall have, text and signature in one answer. 204: none from here; 304: what it
/// has already.
pub(crate) async fn give(
    State(collector): State<Arc<Collector>>,
    agent: Agent,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let agent = agent.0.agent.ok_or_else(|| {
        Refusal::new(StatusCode::CONFLICT, "nothing was heard of this agent yet", "a heartbeat before this request")
    })?;
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let knows = move |tag: &str| known.split(',').any(|known| known.trim() == tag);
    Ok(match collector.store.policy_for(agent, knows).await? {
        None => StatusCode::NO_CONTENT.into_response(),
        Some((tag, None)) => (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response(),
        Some((tag, Some(given))) => ([(header::ETAG, tag)], Json(given)).into_response(),
    })
}

/// How often it is looked whether a rollout has to halt.
const LOOK: Duration = Duration::from_secs(2);

/// Halts rollouts until the server stops.
pub(crate) async fn watch(store: Store, limits: Policies, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.changed() => return,
        }
        if !store.takes("rollouts", &mut stopped).await {
            return;
        }
        if let Err(error) = store.halt_rollouts(&limits).await {
            tracing::error!(%error, "it cannot be told whether a rollout has to halt");
        }
    }
}

/// The public key that `collector.toml` names; none: signatures are not checked here.
///
/// # Errors
/// What it names is no key, in one sentence.
pub fn public_key(config: &Config, data: &Path) -> Result<Option<PublicKey>, String> {
    let Some(named) = config.policy.public_key.as_deref().map(str::trim) else { return Ok(None) };
    if let Ok(key) = PublicKey::from_base64(named) {
        return Ok(Some(key));
    }
    let cannot = |why: &dyn std::fmt::Display| {
        format!("policy.public-key {named:?}: {why}; expected a minisign key in base64, or a file with one")
    };
    let text = std::fs::read_to_string(data.join(named)).map_err(|error| cannot(&error))?;
    let key = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    PublicKey::from_base64(key).map(Some).map_err(|error| cannot(&error))
}

/// Checks a policy as an agent would: it has no mistake, its own tests pass and, where a `key` is given, it has a serial
/// and is signed with that key. `name` is only for the messages.
///
/// # Errors
/// What is wrong, in the words of `vitrine policy check`.
pub fn check(
    name: &str,
    text: String,
    signature: Option<String>,
    note: String,
    key: Option<&PublicKey>,
) -> Result<NewPolicy, String> {
    let policy = Policy::parse(name, &text).map_err(|mistakes| mistakes.to_string())?;
    if let Some(why) = policy.failed_tests(name) {
        return Err(why);
    }
    let signature = signature.filter(|signature| !signature.trim().is_empty());
    let unsigned = |why: &dyn std::fmt::Display| {
        format!("{name} is not signed with the key of collector.toml: {why}; `vitrine policy sign` makes the signature")
    };
    let signed = match &signature {
        Some(lines) if lines.len() > SIGNATURE => {
            return Err(format!("the signature is longer than {SIGNATURE} bytes"));
        }
        Some(lines) => {
            Some(Signature::decode(lines).map_err(|error| format!("the signature of {name} is none: {error}"))?)
        }
        None => None,
    };
    if signed.is_some() && policy.serial.is_none() {
        return Err(format!(
            "{name} is signed and has no serial, so no agent would take it; expected `serial = N` in it"
        ));
    }
    if let Some(key) = key {
        let signed = signed.ok_or_else(|| unsigned(&"there is no signature"))?;
        key.verify(text.as_bytes(), &signed, false).map_err(|error| unsigned(&error))?;
    }
    Ok(NewPolicy { serial: policy.serial, text, signature, note })
}

//! Whether the collector is there as the agent would talk to it, without talking: for `vitrine doctor`.

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::DATE;

use super::client::{SetupError, away, http, token};
use super::identity::Identity;
use super::{Pace, Trouble};
use crate::config;

/// What was found at the collector's address.
#[derive(Debug)]
pub(crate) struct Met {
    /// How far its clock is ahead of this one, where it told the time.
    pub(crate) ahead: Option<SignedDuration>,
}

/// Asks the collector whether it is well, within `patience`, with the trust that the settings name: an address that is
/// wrong, a certificate that has expired or is of others, and a collector that is ill are errors, one sentence each.
///
/// # Errors
/// Why it cannot be reached or trusted.
pub(crate) fn meet(collector: &config::Collector, patience: Duration) -> Result<Met, String> {
    let pace = Pace { connect: patience, request: patience, ..Pace::new(collector) };
    let http = http(collector, &pace, None).map_err(|error| error.to_string())?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let address = format!("{}/healthz", collector.url.trim_end_matches('/'));
    let answer = runtime.block_on(async { http.get(address).send().await });
    let answer = answer.map_err(|error| match away(&error) {
        Trouble::Away { why, .. } | Trouble::Slow { why } | Trouble::Refused { why, .. } => why,
        Trouble::TooLarge => "its answer is too long".to_owned(),
    })?;
    if !answer.status().is_success() {
        return Err(format!("it answered {}: it is ill, or something else is at that address", answer.status()));
    }
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    Ok(Met { ahead: date.map(|date| date.timestamp().duration_since(Timestamp::now())) })
}

/// When the agent's certificate for this collector expires, in milliseconds since 1970; none: it has none that is valid.
pub(crate) fn expires(collector: &config::Collector, identity: &Path) -> Option<i64> {
    Identity::read(identity)?.certificate(&collector.url).map(|held| held.expires)
}

/// Whether the token can be read, and by nobody else.
///
/// # Errors
/// One sentence with what is wrong.
pub(crate) fn has_token(collector: &config::Collector) -> Result<(), String> {
    token(&collector.token_file).map(|_| ()).map_err(|error: SetupError| error.to_string())
}

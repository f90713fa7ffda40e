//! The policy that the collector gives: checked as the local file is, and kept in the state directory, where it counts
//! from then on. The local file is for as long as the collector has given none.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{read_bytes, read_trusted_at, serial, signature, write_durably};
use crate::config::Config;

/// Name of the policy in force that the collector gave, below the state directory; its signature lies beside it.
const FILE: &str = "policy.toml";
/// Where one is checked before, and where one that was refused can be looked at.
const OFFERED: &str = "policy.offered";

/// A policy as the collector gives it: text and signature come together or not at all.
#[derive(Debug, Deserialize)]
pub(crate) struct Given {
    /// The text, byte for byte as it was signed.
    pub(crate) policy: String,
    /// The text of its `.minisig` file.
    pub(crate) signature: Option<String>,
}

/// Why a policy that the collector gives is not taken, in one text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    /// Something is wrong with it.
    #[error("{0}")]
    Refused(String),
    /// Something is wrong here: once that is mended, the same policy may be good.
    #[error("{0}")]
    NotNow(String),
}

/// Where the policy lies that counts: the one that the collector gave, if it is asked and gave one, else the local file.
pub(crate) fn place(config: &Config) -> PathBuf {
    given(config).unwrap_or_else(|| config.policy.clone())
}

/// Whether the policy that counts is the collector's.
pub(crate) fn is_given(config: &Config) -> bool {
    given(config).is_some()
}

fn given(config: &Config) -> Option<PathBuf> {
    config.collector.as_ref().filter(|collector| collector.policy)?;
    Some(config.state.join(FILE)).filter(|path| path.exists())
}

/// Checks a policy that the collector gives with what a local one is checked with, and puts it where it counts. One that
/// is there already is left as it is.
///
/// # Errors
/// What is wrong with it, or here; nothing has changed then.
pub(crate) fn take(config: &Config, given: &Given) -> Result<(), NotTaken> {
    let (kept, offered) = (config.state.join(FILE), config.state.join(OFFERED).join(FILE));
    if holds(&kept, given.policy.as_bytes()) && holds_signature(&kept, given) {
        return Ok(());
    }
    let failed =
        |error: io::Error| NotTaken::NotNow(format!("it cannot be written to {}: {error}", config.state.display()));
    fs::create_dir_all(config.state.join(OFFERED)).map_err(failed)?;
    write(&offered, given).map_err(failed)?;
    if let Err(why) = read_trusted_at(config, &offered) {
        let can_tell = holds(&offered, given.policy.as_bytes()) && can_check(config);
        return Err(if can_tell { NotTaken::Refused(why) } else { NotTaken::NotNow(why) });
    }
    // Should the power fail between the two files, the last good policy is in force until this one is given again.
    write(&kept, given).map_err(failed)
}

/// Whether that can be read which a policy is checked with.
fn can_check(config: &Config) -> bool {
    let can = |key| signature::public_key(key).is_ok() && serial::read(&config.state).is_ok();
    config.policy_key.as_deref().is_none_or(can)
}

/// The signature first: whoever looks in between waits for the rest.
fn write(path: &Path, given: &Given) -> io::Result<()> {
    let beside = signature::file_of(path);
    match &given.signature {
        Some(lines) => write_durably(&beside, lines.as_bytes())?,
        None => match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        },
    }
    write_durably(path, given.policy.as_bytes())
}

fn holds(path: &Path, bytes: &[u8]) -> bool {
    read_bytes(path, bytes.len()).is_ok_and(|(there, _)| there == bytes)
}

fn holds_signature(kept: &Path, given: &Given) -> bool {
    let beside = signature::file_of(kept);
    match &given.signature {
        Some(lines) => holds(&beside, lines.as_bytes()),
        None => !beside.exists(),
    }
}

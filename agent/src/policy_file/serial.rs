//! The highest serial that was accepted, so that no older policy comes back.

use std::cmp::Ordering;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use vitrine_policy::record::printable;

use super::{Good, write_durably};

/// Below the state directory.
const FILE: &str = "policy.serial";

#[derive(Serialize, Deserialize)]
pub(super) struct Accepted {
    serial: u32,
    /// BLAKE3 of the policy's text, in hexadecimal.
    digest: String,
}

/// Whether this policy may follow the one accepted last.
///
/// # Errors
/// One sentence: it has no serial, a lower one, or the same with another text.
pub(super) fn check(state: &Path, policy: &Path, good: &Good) -> Result<(), String> {
    let name = printable(policy.as_os_str().as_bytes());
    let accepted = read(state)?;
    let Some(serial) = good.policy.serial else {
        let next = accepted.map_or(1, |accepted| accepted.serial.saturating_add(1));
        return Err(format!(
            "the policy {name} has no serial, so an older one could not be told from it; expected \
             `serial = {next}` below its version, and a new signature"
        ));
    };
    let Some(accepted) = accepted else { return Ok(()) };
    let next = accepted.serial.saturating_add(1);
    match serial.cmp(&accepted.serial) {
        Ordering::Greater => Ok(()),
        Ordering::Equal if good.digest == accepted.digest => Ok(()),
        Ordering::Equal => Err(format!(
            "the policy {name} has serial {serial}, which a policy with another text had before; expected \
             `serial = {next}` and a new signature"
        )),
        Ordering::Less => Err(format!(
            "the policy {name} is an older one: it has serial {serial}, and {} was in force before; expected \
             `serial = {next}` and a new signature",
            accepted.serial
        )),
    }
}

/// Keeps the serial of a policy that was accepted.
///
/// # Errors
/// The file cannot be written.
pub(super) fn keep(state: &Path, good: &Good) -> io::Result<()> {
    let Some(serial) = good.policy.serial else { return Ok(()) };
    let accepted = Accepted { serial, digest: good.digest.clone() };
    write_durably(&state.join(FILE), &serde_json::to_vec(&accepted)?)
}

/// The serial that was accepted last.
///
/// # Errors
/// One sentence: the file cannot be read.
pub(super) fn read(state: &Path) -> Result<Option<Accepted>, String> {
    let path = state.join(FILE);
    let cannot = |why: String| {
        let name = printable(path.as_os_str().as_bytes());
        format!(
            "the serial of the last policy cannot be read from {name}: {why}; mend the disk, or remove that file \
             to accept any serial once"
        )
    };
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| cannot(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot(error.to_string())),
    }
}

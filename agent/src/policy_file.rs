//! The policy file on disk: read with limits, whole or not at all.

mod given;
mod serial;
pub(crate) mod signature;
#[cfg(test)]
mod tests;

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::unistd::{Uid, User};
use vitrine_policy::record::printable;
use vitrine_policy::{Diagnostic, Diagnostics, MAX_BYTES, Policy};

use crate::config::{self, Config};
use crate::sys::stat::Stat;
pub(crate) use given::{Given, NotTaken, is_given, place, take};

/// The last policy that was good, below the state directory.
const GOOD: &str = "policy.good.toml";

/// A policy file as it was read.
pub(crate) struct PolicyFile {
    /// The policy, or what is wrong with its text.
    pub(crate) policy: Result<Policy, Diagnostics>,
    /// BLAKE3 of the text, in hexadecimal.
    pub(crate) digest: String,
    pub(crate) text: Vec<u8>,
    metadata: Metadata,
}

/// A policy without a mistake, whose own tests pass.
pub(crate) struct Good {
    pub(crate) policy: Policy,
    /// BLAKE3 of the text, in hexadecimal.
    pub(crate) digest: String,
    pub(crate) text: Vec<u8>,
    metadata: Metadata,
}

/// Reads a policy file.
///
/// # Errors
/// One sentence: it cannot be read, is no regular file, or is too large.
pub(crate) fn read(path: &Path) -> Result<PolicyFile, String> {
    let name = printable(path.as_os_str().as_bytes());
    let (text, metadata) = read_bytes(path, MAX_BYTES)
        .map_err(|why| format!("cannot read the policy {name}: {why}; give the name of a readable TOML file"))?;
    let digest = blake3::hash(&text).to_hex().to_string();
    let policy = match std::str::from_utf8(&text) {
        Ok(text) => Policy::parse(&name, text),
        Err(error) => Err(no_text(name, &text, error.valid_up_to())),
    };
    Ok(PolicyFile { policy, digest, text, metadata })
}

/// Reads a regular file of at most `most` bytes, and says whose it is.
fn read_bytes(path: &Path, most: usize) -> Result<(Vec<u8>, Metadata), String> {
    // A FIFO has no end, and waits for somebody at its other end.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(|error| error.to_string())?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > most {
        return Err(format!("it has {} bytes, and at most {most} are read", metadata.len().max(bytes.len() as u64)));
    }
    Ok((bytes, metadata))
}

/// Whether nobody but its owner and root decides what a file holds. `vitrine doctor` warns of an owner that is not root.
///
/// # Errors
/// One sentence with its owner and mode.
fn only_its_owner_writes(path: &Path, metadata: &Metadata) -> Result<(), String> {
    if metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    let uid = Uid::from_raw(metadata.uid());
    let owner = User::from_uid(uid).ok().flatten().map_or_else(|| format!("user {uid}"), |user| user.name);
    let name = printable(path.as_os_str().as_bytes());
    Err(format!(
        "{name} can be written by others than its owner: it belongs to {owner} and has mode {:04o}; expected no write \
         permission for group and others: `chmod go-w '{name}'`",
        metadata.mode() & 0o7777
    ))
}

/// Whether nobody else decides what the settings are. There need be none.
///
/// # Errors
/// They can be written by others.
pub(crate) fn no_others_write(path: &Path) -> Result<(), config::ConfigError> {
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(()) };
    only_its_owner_writes(path, &metadata)
        .map_err(|message| config::ConfigError::Invalid { path: path.into(), message })
}

/// The mistake of a file that is no UTF-8 from the byte `at` on.
fn no_text(file: String, bytes: &[u8], at: usize) -> Diagnostics {
    let start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let before = printable(&bytes[start..at]);
    let end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |newline| at + newline);
    let mistake = Diagnostic {
        line: bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1,
        column: String::from_utf8_lossy(&bytes[start..at]).chars().count() + 1,
        message: format!("the byte 0x{:02x} is no UTF-8", bytes[at]),
        excerpt: printable(&bytes[start..end]).chars().take(100).collect(),
        carets: " ".repeat(before.chars().count()) + "^",
        expected: Some("a file in UTF-8; save it with that encoding".to_owned()),
        suggestion: None,
    };
    Diagnostics { file, mistakes: vec![mistake], more: 0 }
}

/// Reads a policy that has no mistake, and whose own tests pass.
///
/// # Errors
/// What is wrong, in one text.
pub(crate) fn read_good(path: &Path) -> Result<Good, String> {
    let PolicyFile { policy, digest, text, metadata } = read(path)?;
    let policy = policy.map_err(|mistakes| mistakes.to_string())?;
    match policy.failed_tests(&printable(path.as_os_str().as_bytes())) {
        None => Ok(Good { policy, digest, text, metadata }),
        Some(why) => Err(why),
    }
}

/// Reads the policy that is to be put in force on this workstation: a good one that others cannot write and, where a
/// key is pinned, that is signed with it and no older than the last.
///
/// # Errors
/// What is wrong, in one text.
pub(crate) fn read_trusted(config: &Config) -> Result<Good, String> {
    read_trusted_at(config, &place(config))
}

fn read_trusted_at(config: &Config, path: &Path) -> Result<Good, String> {
    let good = read_good(path)?;
    only_its_owner_writes(path, &good.metadata)?;
    if let Some(key) = &config.policy_key {
        signature::check(&signature::public_key(key)?, path, &good.text)?;
        serial::check(&config.state, path, &good)?;
    }
    Ok(good)
}

/// The last policy that was accepted here. The state directory is the agent's own, so that its signature is not asked
/// for again: a key that is pinned later, or replaced, takes nothing away that is in force.
pub(crate) fn last_good(state: &Path) -> Option<Good> {
    read_good(&state.join(GOOD)).ok()
}

/// Keeps a policy that was accepted for the next start, and its serial for good.
///
/// # Errors
/// The state directory cannot be written.
pub(crate) fn keep(config: &Config, good: &Good) -> io::Result<()> {
    if config.policy_key.is_some() {
        serial::keep(&config.state, good)?;
    }
    write_durably(&config.state.join(GOOD), &good.text)
}

/// Writes a file whole or not at all, and onto the disk.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    // The crate's own errors tell a name that is another one each time: the same trouble has the same words here.
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(|error| io::Error::from(error.kind()))?;
    file.as_file_mut().write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(directory)?.sync_all()
}

/// What tells that a policy, or its signature, was edited.
pub(crate) fn stamp(config: &Config) -> [Option<Stat>; 2] {
    let path = place(config);
    [Stat::at(&path).ok(), Stat::at(&signature::file_of(&path)).ok()]
}

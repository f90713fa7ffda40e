//! The policy file on disk: read with limits, whole or not at all.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use vitrine_policy::record::printable;
use vitrine_policy::{Diagnostic, Diagnostics, MAX_BYTES, Policy};

/// A policy file as it was read.
pub(crate) struct PolicyFile {
    /// The policy, or what is wrong with its text.
    pub(crate) policy: Result<Policy, Diagnostics>,
    /// BLAKE3 of the text, in hexadecimal.
    pub(crate) digest: String,
}

/// Reads a policy file.
///
/// # Errors
/// One sentence: it cannot be read, is no regular file, or is too large.
pub(crate) fn read(path: &Path) -> Result<PolicyFile, String> {
    let name = printable(path.as_os_str().as_bytes());
    let cannot = |why: String| format!("cannot read the policy {name}: {why}; give the name of a readable TOML file");
    let metadata = fs::metadata(path).map_err(|error| cannot(error.to_string()))?;
    if !metadata.is_file() {
        return Err(cannot("it is not a regular file".to_owned()));
    }
    if metadata.len() > MAX_BYTES as u64 {
        return Err(cannot(format!("it has {} bytes, and at most {MAX_BYTES} are read", metadata.len())));
    }
    let bytes = fs::read(path).map_err(|error| cannot(error.to_string()))?;
    let digest = blake3::hash(&bytes).to_hex().to_string();
    let policy = match std::str::from_utf8(&bytes) {
        Ok(text) => Policy::parse(&name, text),
        Err(error) => Err(no_text(name, &bytes, error.valid_up_to())),
    };
    Ok(PolicyFile { policy, digest })
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

/// Reads a policy that is to be put in force: it has no mistake, and its own tests pass.
///
/// # Errors
/// What is wrong, in one text.
pub(crate) fn read_good(path: &Path) -> Result<(Policy, String), String> {
    let PolicyFile { policy, digest } = read(path)?;
    let policy = policy.map_err(|mistakes| mistakes.to_string())?;
    let failed: Vec<_> = policy.run_tests().into_iter().filter(|test| !test.passed).collect();
    match failed.first() {
        None => Ok((policy, digest)),
        Some(first) => Err(format!(
            "{}:{}:1: {} of its [[test]] cases failed, the first: {}",
            printable(path.as_os_str().as_bytes()),
            first.line,
            failed.len(),
            first.explanation
        )),
    }
}

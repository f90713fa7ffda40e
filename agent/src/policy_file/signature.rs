//! Signatures of policies: Ed25519 in the format of minisign (<https://jedisct1.github.io/minisign/>), in a file
//! of the policy's name with `.minisig` behind it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use minisign_verify::{PublicKey, Signature};
use vitrine_policy::record::printable;

use super::{only_its_owner_writes, read_bytes};

/// Largest signature or key file, in bytes; both have four lines at most.
pub(crate) const MAX_BYTES: usize = 4096;

/// The file with the signature of a policy.
pub(crate) fn file_of(policy: &Path) -> PathBuf {
    let mut name = policy.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

/// The public key that is meant: itself in base64, or the path of a `.pub` file that nobody else can write.
///
/// # Errors
/// One sentence: it is neither.
pub(crate) fn public_key(named: &str) -> Result<PublicKey, String> {
    key_and_text(named).map(|(key, _)| key)
}

/// The same, in base64.
///
/// # Errors
/// As of [`public_key`].
pub(crate) fn public_key_text(named: &str) -> Result<String, String> {
    key_and_text(named).map(|(_, text)| text)
}

fn key_and_text(named: &str) -> Result<(PublicKey, String), String> {
    let named = named.trim();
    if let Ok(key) = PublicKey::from_base64(named) {
        return Ok((key, named.to_owned()));
    }
    let path = Path::new(named);
    let cannot = |why: String| {
        let name = printable(named.as_bytes());
        format!("the public key {name} cannot be used: {why}; expected a minisign key in base64, or a file with one")
    };
    let (bytes, metadata) = read_bytes(path, MAX_BYTES).map_err(cannot)?;
    only_its_owner_writes(path, &metadata)?;
    let text = String::from_utf8(bytes).map_err(|_| cannot("it is no text".to_owned()))?;
    // With the comment above it, as minisign writes it, or alone.
    let key = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    PublicKey::from_base64(key).map(|read| (read, key.to_owned())).map_err(|error| cannot(error.to_string()))
}

/// Checks the signature of a policy's text, and returns the comment that was signed with it.
///
/// # Errors
/// One sentence: there is none, or it is not of this key and this text.
pub(crate) fn check(key: &PublicKey, policy: &Path, text: &[u8]) -> Result<String, String> {
    let (name, file) = (printable(policy.as_os_str().as_bytes()), file_of(policy));
    let signature = printable(file.as_os_str().as_bytes());
    let unsigned = |why: &dyn std::fmt::Display| {
        format!(
            "the policy {name} is not signed with the key that is expected: {signature}: {why}; \
             `vitrine policy sign {name} --key SECRET-KEY` writes that file"
        )
    };
    let (bytes, _) = read_bytes(&file, MAX_BYTES).map_err(|why| unsigned(&why))?;
    let lines = String::from_utf8(bytes).map_err(|_| unsigned(&"it is no text"))?;
    let signed = Signature::decode(&lines).map_err(|why| unsigned(&why))?;
    key.verify(text, &signed, false).map_err(|why| unsigned(&why))?;
    Ok(signed.trusted_comment().to_owned())
}

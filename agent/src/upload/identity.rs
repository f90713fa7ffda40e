//! What the agent shows the collector: a key that never leaves the workstation, and the certificate for it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair};
use serde::{Deserialize, Serialize};

use super::client::SetupError;

/// Longest file that is read.
const MAX: u64 = 64 * 1024;

/// Key and certificate, as they lie in the state directory.
pub(super) struct Identity {
    path: PathBuf,
    held: Held,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    /// PKCS #8 in PEM.
    key: String,
    certificate: Option<Certificate>,
}

/// A certificate and when it was got.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    /// The collector that issued it, by its address.
    pub(super) collector: String,
    /// PEM.
    pub(super) pem: String,
    /// Milliseconds since 1970.
    pub(super) issued: i64,
    /// Milliseconds since 1970.
    pub(super) expires: i64,
}

impl Certificate {
    /// When it is to be renewed: after two thirds of its life.
    pub(super) fn renewal(&self) -> i64 {
        self.issued + self.expires.saturating_sub(self.issued) / 3 * 2
    }

    fn is_valid(&self) -> bool {
        Timestamp::now().as_millisecond() < self.expires
    }
}

impl Identity {
    /// Reads the identity of a state directory. One that is not there or damaged is made anew, and kept before it is
    /// used, so that an answer that is lost on the way can be asked for again with the same key.
    pub(super) fn open(path: &Path) -> Result<Identity, SetupError> {
        let unreadable = |source| SetupError::Unreadable { what: "the agent's key", path: path.into(), source };
        let mut text = String::new();
        match File::open(path) {
            Ok(file) => file.take(MAX).read_to_string(&mut text).map(|_| ()).map_err(unreadable)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(error)),
        }
        if let Ok(held) = serde_json::from_str::<Held>(&text)
            && KeyPair::from_pem(&held.key).is_ok()
        {
            return Ok(Identity { path: path.into(), held });
        }
        if !text.is_empty() {
            tracing::warn!("{} is damaged: the agent makes a new key and is to be enrolled again", path.display());
        }
        let key = KeyPair::generate().map_err(|error| unreadable(std::io::Error::other(error)))?;
        let identity = Identity { path: path.into(), held: Held { key: key.serialize_pem(), certificate: None } };
        identity.keep()?;
        Ok(identity)
    }

    /// The identity of a state directory, if it has one that can be read and is sound.
    pub(super) fn read(path: &Path) -> Option<Identity> {
        let mut text = String::new();
        File::open(path).ok()?.take(MAX).read_to_string(&mut text).ok()?;
        let held = serde_json::from_str(&text).ok()?;
        Some(Identity { path: path.into(), held })
    }

    /// The key, in PEM.
    pub(super) fn key(&self) -> &str {
        &self.held.key
    }

    /// The certificate of a collector, while it is valid.
    pub(super) fn certificate(&self, collector: &str) -> Option<&Certificate> {
        self.held.certificate.as_ref().filter(|held| held.collector == collector && held.is_valid())
    }

    /// Asks for a certificate for this key (RFC 2986, in PEM).
    pub(super) fn request(&self) -> Result<String, rcgen::Error> {
        let key = KeyPair::from_pem(&self.held.key)?;
        CertificateParams::new(Vec::new())?.serialize_request(&key)?.pem()
    }

    /// Takes a certificate over.
    pub(super) fn take(&mut self, certificate: Certificate) -> Result<(), SetupError> {
        self.held.certificate = Some(certificate);
        self.keep()
    }

    /// The file is there whole or not at all, for nobody else to read.
    fn keep(&self) -> Result<(), SetupError> {
        let partial = self.path.with_extension("partial");
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
            file.write_all(serde_json::to_string(&self.held)?.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&partial, &self.path)
        };
        let failed = |source| SetupError::Unreadable { what: "the agent's key", path: self.path.clone(), source };
        write().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_kept_and_its_certificate_is_of_one_collector_and_one_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity.json");
        let mut first = Identity::open(&path).unwrap();
        let key = first.key().to_owned();
        assert!(first.request().unwrap().contains("CERTIFICATE REQUEST"));
        let now = Timestamp::now().as_millisecond();
        let certificate =
            |expires| Certificate { collector: "https://one".into(), pem: "x".into(), issued: now - 300, expires };
        first.take(certificate(now + 60_000)).unwrap();
        let again = Identity::open(&path).unwrap();
        assert_eq!(again.key(), key);
        assert!(again.certificate("https://one").is_some() && again.certificate("https://two").is_none());
        assert_eq!(again.certificate("https://one").unwrap().renewal(), now - 300 + 60_300 / 3 * 2);
        first.take(certificate(now - 1)).unwrap();
        assert!(Identity::open(&path).unwrap().certificate("https://one").is_none());
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "{\"key\": \"cut").unwrap();
        assert_ne!(Identity::open(&path).unwrap().key(), key);
    }
}

//! What a receiver is trusted by, and what it is shown.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{ConfigError, mistake};

/// PEM files, relative to the data directory.
pub(super) struct Files<'a> {
    /// What the receiver's certificate is trusted by; none: the system's authorities.
    pub(super) authority: Option<&'a Path>,
    /// The chain that this machine shows.
    pub(super) certificate: Option<&'a Path>,
    /// Its private key.
    pub(super) key: Option<&'a Path>,
}

/// `entry`: what of the configuration they belong to, as `[[sink]] "siem"`.
pub(super) fn client(entry: &str, files: &Files<'_>, data: &Path) -> Result<ClientConfig, ConfigError> {
    let mut roots = RootCertStore::empty();
    match files.authority {
        Some(file) => {
            let path = data.join(file);
            for certificate in certificates(&path)? {
                let added = roots.add(certificate);
                added.map_err(|error| ConfigError::Value { path: path.clone(), reason: error.to_string() })?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let builder = ClientConfig::builder().with_root_certificates(roots);
    match (files.certificate, files.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(chain), Some(key)) => {
            let chain = certificates(&data.join(chain))?;
            let path = data.join(key);
            let unusable = |reason: String| ConfigError::Value { path: path.clone(), reason };
            let key = PrivateKeyDer::from_pem_file(&path).map_err(|error| unusable(error.to_string()))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| unusable(error.to_string()))
        }
        _ => {
            let reason = "certificate-file and key-file go together";
            Err(mistake(data, format!("{entry}: {reason}")))
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let unusable = |reason: String| ConfigError::Value { path: path.to_owned(), reason };
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| unusable(error.to_string()))?;
    if found.is_empty() { Err(unusable("holds no certificate: PEM is expected".into())) } else { Ok(found) }
}

//! The collector is known by the fingerprint of its own certificate authority: no name, and no authority of others,
//! has a part in it.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

/// The name in the certificate that a collector's own authority gives it.
const NAME: &str = "vitrine-collector";

/// SHA-256 of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Reads `sha256:` and 64 hexadecimal digits, with or without colons between them, as the collector and openssl(1)
    /// print them.
    pub(super) fn parse(text: &str) -> Option<Fingerprint> {
        let digits = text.trim().strip_prefix("sha256:").unwrap_or(text.trim()).replace(':', "");
        hex::decode(digits).ok()?.try_into().ok().map(Fingerprint)
    }
}

/// Accepts a collector whose certificate was issued by the authority of this fingerprint, which it sends along.
#[derive(Debug)]
pub(super) struct Pinned {
    authority: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    pub(super) fn new(authority: Fingerprint, provider: Arc<CryptoProvider>) -> Pinned {
        Pinned { authority, provider }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = others.iter().find(|other| Sha256::digest(other)[..] == self.authority.0).ok_or_else(|| {
            Error::General("its certificate is not of the authority that collector.ca-fingerprint names".into())
        })?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        let name = ServerName::try_from(NAME).map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(certificate, &[], &name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::Fingerprint;

    #[test]
    fn a_fingerprint_reads_as_it_is_printed() {
        let plain = Fingerprint::parse(&format!("sha256:{}", "0a".repeat(32))).unwrap();
        assert_eq!(Fingerprint::parse(&["0A"; 32].join(":")), Some(plain));
        for wrong in ["", "sha256:", "sha1:0a", &"0a".repeat(31), &"zz".repeat(32)] {
            assert_eq!(Fingerprint::parse(wrong), None, "{wrong}");
        }
    }
}

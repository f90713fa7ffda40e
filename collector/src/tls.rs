//! The collector's own certificate authority. It vouches for the collector itself, so that TLS needs nothing but a
//! fingerprint that agents are given, and for every agent that was enrolled.

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};

use crate::server::StartError;

/// The name that every collector has in the certificate that its own authority gives it. Agents that were told the
/// authority's fingerprint ask for this name, whatever the collector's address is.
pub const NAME: &str = "vitrine-collector";
/// Validity of the authority.
const AUTHORITY: Duration = days(20 * 365);
/// Validity of the collector's own certificate, which lives in memory only.
const SERVER: Duration = days(90);
/// After so long it gets a new one.
const SERVER_AGE: Duration = days(30);
/// Validity of an agent's certificate; the agent renews it when two thirds have passed.
const AGENT: Duration = days(90);
/// Clocks of workstations may be so far behind.
const EARLY: Duration = days(1);

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 3600)
}

/// How connections are protected.
#[derive(Clone, Debug)]
pub enum Tls {
    /// Not at all: on this machine only, or behind a proxy on it.
    Off,
    /// By a certificate of the collector's own authority, which agents know by its fingerprint.
    Own,
    /// By a certificate chain and its key, in PEM files, that browsers and agents trust already.
    Files(PathBuf, PathBuf),
}

/// The authority of a data directory.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate for an agent.
pub(crate) struct Issued {
    pub(crate) pem: String,
    /// SHA-256 of the certificate.
    pub(crate) digest: [u8; 32],
    /// SHA-256 of its public key.
    pub(crate) key: [u8; 32],
    /// Milliseconds since 1970.
    pub(crate) expires: i64,
}

impl Authority {
    /// Reads the authority of a data directory, making it at the first start.
    pub(crate) fn open(data: &Path) -> Result<Authority, StartError> {
        let path = data.join("authority.pem");
        let wrong = |reason: String| StartError::Tls { path: path.clone(), reason };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(&path)?,
            Err(error) => return Err(wrong(error.to_string())),
        };
        let certificate = CertificateDer::from_pem_slice(text.as_bytes())
            .map_err(|error| wrong(format!("no PEM certificate of the collector's authority: {error}")))?;
        let issuer = KeyPair::from_pem(&text)
            .and_then(|key| Issuer::from_ca_cert_der(&certificate, key))
            .map_err(|error| wrong(format!("no PEM key of the collector's authority: {error}")))?;
        Ok(Authority { certificate, issuer })
    }

    /// What agents are told of it: `sha256:` and the digest of the certificate.
    pub(crate) fn fingerprint(&self) -> String {
        format!("sha256:{}", hex::encode(Sha256::digest(&self.certificate)))
    }

    /// Issues a certificate for an agent's public key. Of the request nothing but the key is taken.
    pub(crate) fn issue(&self, agent: &str, request: &str) -> Result<Issued, rcgen::Error> {
        let mut request = CertificateSigningRequestParams::from_pem(request)?;
        let key = Sha256::digest(request.public_key.der_bytes()).into();
        request.params = params(agent, AGENT)?;
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let expires = request.params.not_after.unix_timestamp() * 1000;
        let certificate = request.signed_by(&self.issuer)?;
        Ok(Issued { pem: certificate.pem(), digest: Sha256::digest(certificate.der()).into(), key, expires })
    }

    fn serve(&self, addresses: &[IpAddr]) -> Result<CertifiedKey, StartError> {
        let failed = |error: &dyn std::fmt::Display| StartError::Certificate(error.to_string());
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let host = hostname();
        let mut params = params(NAME, SERVER).map_err(|error| failed(&error))?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in [Some(NAME.to_owned()), Some("localhost".to_owned()), host].into_iter().flatten() {
            if let Ok(name) = name.try_into() {
                params.subject_alt_names.push(SanType::DnsName(name));
            }
        }
        params.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
        let certificate = params.signed_by(&key, &self.issuer).map_err(|error| failed(&error))?;
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| failed(&error))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| failed(&error))
    }
}

/// The settings of TLS, by which agents show their certificates and browsers need none.
pub(crate) fn config(
    tls: &Tls,
    authority: &Arc<Authority>,
    address: IpAddr,
) -> Result<Option<Arc<rustls::ServerConfig>>, StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::Certificate(error.to_string());
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).map_err(|error| failed(&error))?;
    let provider = Arc::new(ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| failed(&error))?;
    let builder = rustls::ServerConfig::builder().with_client_cert_verifier(clients);
    let mut config = match tls {
        Tls::Off => return Ok(None),
        Tls::Own => {
            let mut addresses = vec![IpAddr::from([127, 0, 0, 1]), std::net::Ipv6Addr::LOCALHOST.into()];
            if !address.is_unspecified() && !addresses.contains(&address) {
                addresses.push(address);
            }
            builder.with_cert_resolver(Arc::new(Own::new(Arc::clone(authority), addresses)?))
        }
        Tls::Files(certificate, key) => {
            let wrong = |path: &Path, reason: String| StartError::Tls { path: path.to_owned(), reason };
            let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
                .and_then(Iterator::collect)
                .map_err(|error| wrong(certificate, format!("no PEM certificates: {error}")))?;
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| wrong(key, format!("no PEM private key: {error}")))?;
            builder
                .with_single_cert(chain, private)
                .map_err(|error| wrong(certificate, format!("cannot serve with it: {error}")))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // An agent that comes again shows what it was given instead of proving its certificate anew (RFC 8446, 2.2).
    config.ticketer = ring::Ticketer::new().map_err(|error| failed(&error))?;
    Ok(Some(Arc::new(config)))
}

/// Gives the collector's own certificate, a new one from time to time.
struct Own {
    authority: Arc<Authority>,
    addresses: Vec<IpAddr>,
    current: RwLock<Made>,
}

/// A certificate and when it was made.
#[derive(Clone)]
struct Made {
    since: Instant,
    at: SystemTime,
    key: Arc<CertifiedKey>,
}

impl Made {
    fn now(key: CertifiedKey) -> Made {
        Made { since: Instant::now(), at: SystemTime::now(), key: Arc::new(key) }
    }

    /// It has served its time, or the clock was set back since: it would not be valid yet.
    fn is_over(&self) -> bool {
        self.since.elapsed() >= SERVER_AGE || SystemTime::now() + EARLY / 2 < self.at
    }
}

impl Own {
    fn new(authority: Arc<Authority>, addresses: Vec<IpAddr>) -> Result<Own, StartError> {
        let current = RwLock::new(Made::now(authority.serve(&addresses)?));
        Ok(Own { authority, addresses, current })
    }
}

impl std::fmt::Debug for Own {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Own").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if !current.is_over() {
            return Some(current.key);
        }
        match self.authority.serve(&self.addresses) {
            Ok(key) => {
                let made = Made::now(key);
                let key = Arc::clone(&made.key);
                *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = made;
                Some(key)
            }
            Err(error) => {
                tracing::error!(%error, "the collector's certificate could not be renewed");
                Some(current.key)
            }
        }
    }
}

fn params(name: &str, validity: Duration) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    params.not_before = (now - EARLY).into();
    params.not_after = (now + validity).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Makes an authority and writes certificate and key into one file that nobody else can read.
fn make(path: &Path) -> Result<String, StartError> {
    let made = || -> Result<String, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = params("Vitrine collector's authority", AUTHORITY)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // The key first: it is looked for in the first part of the file alone.
        Ok(format!("{}{}", key.serialize_pem(), params.self_signed(&key)?.pem()))
    };
    let text = made().map_err(|error| StartError::Certificate(error.to_string()))?;
    let partial = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&partial, path)
    };
    write().map_err(|error| StartError::Tls { path: path.to_owned(), reason: error.to_string() })?;
    Ok(text)
}

fn hostname() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned())
}

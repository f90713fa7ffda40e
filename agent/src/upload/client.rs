//! What goes over the wire to the collector, and what its answers mean.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Certificate as Certificates, RequestBuilder, Response, StatusCode, Url, redirect};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

use super::identity::{Certificate, Identity};
use super::pinned::{Fingerprint, Pinned};
use super::{Pace, Stuck};
use crate::config;

/// Longest body that the collector takes, compressed.
pub(super) const MAX_WIRE: usize = 1 << 20;
/// Longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;
/// How long after a renewal that failed it is tried again, in milliseconds.
const RENEW_AGAIN: i64 = 3600 * 1000;
/// Longest token that makes sense.
const MAX_TOKEN: u64 = 4096;

/// Why the collector cannot be talked to as it is set up.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    #[error("collector.url {url:?} is no address: {why}; expected `https://HOST[:PORT]`")]
    Address { url: String, why: String },
    #[error(
        "collector.url {url:?} would send token and records in clear text; expected `https://…`, or `http://` with \
         127.0.0.1, [::1] or localhost"
    )]
    Clear { url: String },
    #[error("cannot read {what} {path}: {source}; mend it, or name another file under [collector] in agent.toml")]
    Unreadable { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error(
        "the token file {path} belongs to {owner} and has mode {mode:04o}, so that others may read it; expected mode \
         0600 or 0400: `chmod 600 {path}`, and have a new token made if somebody may have read it"
    )]
    Exposed { path: PathBuf, owner: String, mode: u32 },
    #[error(
        "the token file {path} holds no token; expected one line of visible ASCII, as `vitrine-collector token create` \
         prints it"
    )]
    NoToken { path: PathBuf },
    #[error("the certificates in {path} cannot be used: {source}; expected PEM with at least one certificate")]
    Certificates { path: PathBuf, source: reqwest::Error },
    #[error(
        "collector.ca-fingerprint {text:?} is none; expected `sha256:` and 64 hexadecimal digits, as the collector prints \
         them at its start, and no ca-file beside it"
    )]
    Fingerprint { text: String },
    #[error("TLS cannot be made ready: {why}; remove identity.json from the state directory to be enrolled again")]
    Tls { why: String },
    #[error("the certificate of this agent is not valid at this moment: is the clock right?")]
    Clock,
    #[error("the client for {url} cannot be made: {source}; check the system's certificates (package ca-certificates)")]
    Client { url: String, source: reqwest::Error },
}

/// Why something did not arrive.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Not reached, failing, or answering what is no answer. Perhaps it says when to come back.
    Away { why: String, after: Option<Duration> },
    /// There, but it had not all, or had not answered, in time.
    Slow { why: String },
    /// It wants something else; people have to do something.
    Refused { status: StatusCode, why: String },
    /// The body is too large for it, or for something between.
    TooLarge,
}

/// The answer to a batch of records.
#[derive(Debug, Deserialize)]
pub(super) struct Committed {
    /// Highest sequence number of the batch that is stored or laid aside.
    pub(super) committed: u64,
    /// Lines that it laid aside.
    #[serde(default)]
    pub(super) rejected: Vec<Rejected>,
}

/// A line that is no record for the collector.
#[derive(Debug, Deserialize)]
pub(super) struct Rejected {
    /// From 1.
    pub(super) line: usize,
    /// Why.
    pub(super) reason: String,
}

/// The answer to masters.
#[derive(Debug, Deserialize)]
pub(super) struct Taken {
    /// Changes when the collector has lost all masters.
    pub(super) epoch: String,
    /// Lines that it does not keep.
    #[serde(default)]
    pub(super) rejected: Vec<Rejected>,
}

/// The answer to a heartbeat.
#[derive(Deserialize)]
struct Heard {
    #[serde(default)]
    masters: Option<String>,
}

/// A refusal in words.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    expected: Option<String>,
}

/// What the collector answers an agent that wants a certificate.
#[derive(Deserialize)]
struct Enrolled {
    certificate: Option<String>,
    expires: Option<i64>,
}

/// An answer that is no refusal.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// A connection to the collector. One that was cloned goes beside it.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    /// What is shown with each request, where there is no certificate.
    token: Option<String>,
    /// When the certificate is to be renewed, in milliseconds since 1970.
    renewal: Option<i64>,
}

impl Client {
    /// Makes the agent ready to talk to its collector: on this machine with its token, elsewhere with a certificate,
    /// which it gets for the token and renews by itself. `agent` is the agent's id, `identity` the file of its key;
    /// `anew` asks for a certificate though there is one.
    pub(super) async fn connect(
        collector: &config::Collector,
        pace: &Pace,
        agent: &str,
        identity: &Path,
        anew: bool,
    ) -> Result<Client, Stuck> {
        let base = collector.url.trim_end_matches('/').to_owned();
        let client = |identity: Option<(&str, &str)>, token| -> Result<Client, SetupError> {
            Ok(Client { http: http(collector, pace, identity)?, base: base.clone(), token, renewal: None })
        };
        if check(&collector.url)? {
            return Ok(client(None, Some(token(&collector.token_file)?))?);
        }
        let mut identity = Identity::open(identity)?;
        if let Some(held) = identity.certificate(&collector.url).filter(|_| !anew) {
            let mut known = client(Some((&held.pem, identity.key())), None)?;
            known.renewal = Some(held.renewal());
            if !known.is_due() {
                return Ok(known);
            }
            match known.enrol(agent, &identity, &collector.url).await {
                Ok(Some(certificate)) => identity.take(certificate)?,
                // Revoked, or of another database: perhaps there is a new token.
                Err(Trouble::Refused { status: StatusCode::UNAUTHORIZED, .. }) => {}
                // There is a third of its life left to try again.
                Ok(None) | Err(_) => {
                    known.renewal = Some(now() + RENEW_AGAIN);
                    return Ok(known);
                }
            }
        }
        if anew || identity.certificate(&collector.url).is_none_or(|held| now() >= held.renewal()) {
            let new = client(None, Some(token(&collector.token_file)?))?;
            match new.enrol(agent, &identity, &collector.url).await? {
                Some(certificate) => identity.take(certificate)?,
                // A proxy speaks TLS for the collector: the token goes on to do.
                None => return Ok(new),
            }
        }
        let held = identity.certificate(&collector.url).ok_or(SetupError::Clock)?;
        let mut known = client(Some((&held.pem, identity.key())), None)?;
        known.renewal = Some(held.renewal());
        Ok(known)
    }

    /// Whether its certificate wants renewing: connect anew.
    pub(super) fn is_due(&self) -> bool {
        self.renewal.is_some_and(|renewal| now() >= renewal)
    }

    /// Whether it shows a certificate.
    pub(super) fn is_certified(&self) -> bool {
        self.renewal.is_some()
    }

    async fn enrol(&self, agent: &str, identity: &Identity, url: &str) -> Result<Option<Certificate>, Trouble> {
        let wrong = |why: String| Trouble::Away { why, after: None };
        let csr = identity.request().map_err(|error| wrong(format!("no certificate can be asked for: {error}")))?;
        let body = serde_json::json!({"agent": agent, "csr": csr});
        let answer = self.send(self.http.post(format!("{}/v1/enroll", self.base)).json(&body)).await?;
        let answer: Enrolled = serde_json::from_slice(&answer)
            .map_err(|error| wrong(format!("it answered what no collector answers ({error})")))?;
        Ok(answer.certificate.zip(answer.expires).map(|(pem, expires)| Certificate {
            collector: url.to_owned(),
            pem,
            issued: now(),
            expires,
        }))
    }

    /// Sends records, one line each, compressed.
    pub(super) async fn records(&self, body: Vec<u8>) -> Result<Committed, Trouble> {
        let request = self
            .http
            .post(format!("{}/v1/records", self.base))
            .header(CONTENT_TYPE, "application/x-ndjson")
            .header(CONTENT_ENCODING, "zstd")
            .body(body);
        let answer = self.send(request).await?;
        // Only an object will do: serde takes `[7]` for a struct, too.
        let object = serde_json::from_slice::<serde_json::Map<_, _>>(&answer);
        object.and_then(|object| serde_json::from_value(object.into())).map_err(|error| Trouble::Away {
            why: format!("it answered what no collector answers ({error}): is something else at that address?"),
            after: None,
        })
    }

    /// Sends a picture.
    pub(super) async fn evidence(&self, digest: &str, jpeg: Vec<u8>) -> Result<(), Trouble> {
        let address = format!("{}/v1/evidence/{digest}", self.base);
        self.send(self.http.put(address).header(CONTENT_TYPE, "image/jpeg").body(jpeg)).await.map(|_| ())
    }

    /// Sends what the collector may know of masters, one line each, compressed.
    pub(super) async fn masters(&self, body: Vec<u8>) -> Result<Taken, Trouble> {
        let request = self.http.post(format!("{}/v1/masters", self.base)).header(CONTENT_ENCODING, "zstd").body(body);
        serde_json::from_slice(&self.send(request).await?).map_err(|error| Trouble::Away {
            why: format!("it answered what no collector answers ({error}): is something else at that address?"),
            after: None,
        })
    }

    /// Says that the agent is there; gives the epoch of the collector's masters, if it takes any.
    pub(super) async fn heartbeat(&self, heartbeat: &serde_json::Value) -> Result<Option<String>, Trouble> {
        let answer = self.send(self.http.post(format!("{}/v1/heartbeat", self.base)).json(heartbeat)).await?;
        // Of a collector that says something else nothing is wanted but that it has heard.
        let heard: Option<Heard> = serde_json::from_slice(&answer).ok();
        Ok(heard.and_then(|heard| heard.masters))
    }

    pub(super) fn put(&self, path: &str) -> RequestBuilder {
        self.http.put(format!("{}{path}", self.base))
    }

    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Vec<u8>, Trouble> {
        Ok(self.ask(request, MAX_ANSWER).await?.body)
    }

    /// Sends a request, and reads at most so many bytes of the answer.
    pub(super) async fn ask(&self, request: RequestBuilder, most: usize) -> Result<Answer, Trouble> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.send().await.map_err(|error| away(&error))?;
        let (status, after, headers) = (response.status(), retry_after(&response), response.headers().clone());
        let body = read(response, most).await?;
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(Answer { status, headers, body });
        }
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            return Err(Trouble::TooLarge);
        }
        let words = match serde_json::from_slice::<Refusal>(&body) {
            Ok(Refusal { error, expected: Some(expected) }) => format!(": {error}; expected {expected}"),
            Ok(Refusal { error, expected: None }) => format!(": {error}"),
            Err(_) => String::new(),
        };
        let why = format!("it answered {status}{words}");
        if status == StatusCode::REQUEST_TIMEOUT {
            return Err(Trouble::Slow { why });
        }
        let is_passing =
            status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::TOO_EARLY);
        Err(if is_passing { Trouble::Away { why, after } } else { Trouble::Refused { status, why } })
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// The client of HTTP; with a certificate and its key, in PEM, if the agent has them.
pub(super) fn http(
    collector: &config::Collector,
    pace: &Pace,
    identity: Option<(&str, &str)>,
) -> Result<reqwest::Client, SetupError> {
    if CryptoProvider::get_default().is_none() {
        // Already there: another thread was first, with the same one.
        let _ = ring::default_provider().install_default();
    }
    let is_here = check(&collector.url)?;
    let failed = |source| SetupError::Client { url: collector.url.clone(), source };
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("vitrine/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none()) // the token goes nowhere else
        .connect_timeout(pace.connect)
        .timeout(pace.request)
        .https_only(!is_here);
    if is_here {
        builder = builder.no_proxy();
    }
    if let Some(fingerprint) = &collector.ca_fingerprint {
        builder = builder.tls_backend_preconfigured(pinned(collector, fingerprint, identity)?);
        return builder.build().map_err(failed);
    }
    if let Some(path) = &collector.ca_file {
        let unreadable = |source| SetupError::Unreadable { what: "the CA file", path: path.clone(), source };
        let pem = std::fs::read(path).map_err(unreadable)?;
        let certificates = Certificates::from_pem_bundle(&pem)
            .map_err(|source| SetupError::Certificates { path: path.clone(), source })?;
        if certificates.is_empty() {
            let source = std::io::Error::other("there is no certificate in it");
            return Err(unreadable(source));
        }
        builder = builder.tls_certs_only(certificates);
    }
    if let Some((certificate, key)) = identity {
        let both = reqwest::Identity::from_pem(format!("{key}{certificate}").as_bytes()).map_err(failed)?;
        builder = builder.identity(both);
    }
    builder.build().map_err(failed)
}

/// TLS with a collector that is known by the fingerprint of its authority.
fn pinned(
    collector: &config::Collector,
    fingerprint: &str,
    identity: Option<(&str, &str)>,
) -> Result<rustls::ClientConfig, SetupError> {
    let authority = Fingerprint::parse(fingerprint).filter(|_| collector.ca_file.is_none());
    let authority = authority.ok_or_else(|| SetupError::Fingerprint { text: fingerprint.into() })?;
    let failed = |error: &dyn std::fmt::Display| SetupError::Tls { why: error.to_string() };
    let provider = Arc::new(ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned::new(authority, provider)));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|error| failed(&error))?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| failed(&error))?;
            builder.with_client_auth_cert(vec![certificate], key).map_err(|error| failed(&error))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Reads at most so many bytes.
async fn read(mut response: Response, most: usize) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| away(&error))? {
        if body.len() + chunk.len() > most {
            let why = format!("its answer is longer than {most} bytes: is something else at that address?");
            return Err(Trouble::Away { why, after: None });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost cause says most: "connection refused", "certificate has expired".
pub(super) fn away(error: &reqwest::Error) -> Trouble {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let why = if error.is_timeout() { "it did not answer in time".to_owned() } else { cause.to_string() };
    if error.is_timeout() && !error.is_connect() { Trouble::Slow { why } } else { Trouble::Away { why, after: None } }
}

/// `Retry-After` in seconds or as a date (RFC 9110, 10.2.3).
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Duration::try_from(date.duration_since(jiff::Timestamp::now())).ok()
}

/// Whether the address is on this machine. Clear text goes nowhere else.
fn check(url: &str) -> Result<bool, SetupError> {
    let wrong = |why: String| SetupError::Address { url: url.into(), why };
    let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
    let host = parsed.host_str().ok_or_else(|| wrong("it names no host".into()))?;
    if !parsed.username().is_empty() || parsed.password().is_some() || parsed.query().is_some() {
        return Err(wrong("it holds more than host, port and path".into()));
    }
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match (parsed.scheme(), address) {
        ("https", _) => Ok(false),
        ("http", Ok(address)) if address.is_loopback() => Ok(true),
        ("http", Err(_)) if host == "localhost" => Ok(true),
        ("http", _) => Err(SetupError::Clear { url: url.into() }),
        (other, _) => Err(wrong(format!("{other} is not spoken here"))),
    }
}

/// Reads the token from a file that nobody else can read.
pub(super) fn token(path: &Path) -> Result<String, SetupError> {
    let unreadable = |source| SetupError::Unreadable { what: "the token file", path: path.into(), source };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let uid = metadata.uid();
        let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
        let owner = user.map_or_else(|| format!("user {uid}"), |user| user.name);
        return Err(SetupError::Exposed { path: path.into(), owner, mode });
    }
    let mut text = String::new();
    file.take(MAX_TOKEN).read_to_string(&mut text).map_err(unreadable)?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SetupError::NoToken { path: path.into() });
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_text_stays_on_this_machine() {
        for here in ["http://127.0.0.1:8080", "http://[::1]:1", "http://localhost/", "http://127.8.8.8"] {
            assert!(check(here).unwrap(), "{here}");
        }
        assert!(!check("https://collector.museum.example:8443/vitrine").unwrap());
        for clear in
            ["http://collector.museum.example", "http://10.0.0.1", "http://localhost.example", "http://0.0.0.0"]
        {
            assert!(matches!(check(clear), Err(SetupError::Clear { .. })), "{clear}");
        }
        for wrong in ["collector", "ftp://localhost", "https://", "https://user:secret@host", "https://host/?x=1"] {
            assert!(matches!(check(wrong), Err(SetupError::Address { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_token_that_others_can_read_is_refused_with_owner_and_mode() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, " vtr_abc\n").unwrap();
        let set = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        set(0o640);
        let refused = token(&path).unwrap_err().to_string();
        let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
        assert!(refused.contains("0640") && refused.contains(&me), "{refused}");
        set(0o400);
        assert_eq!(token(&path).unwrap(), "vtr_abc");
        set(0o600);
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(token(&path), Err(SetupError::NoToken { .. })));
        assert!(matches!(token(&directory.path().join("none")), Err(SetupError::Unreadable { .. })));
    }
}

//! `[[sink]]`: where every record goes, and how.

use std::num::NonZeroU16;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use vitrine_policy::record::{Event, NoticeClass, Record, Severity};

/// One `[[sink]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Sink {
    /// NDJSON in files of this machine.
    File(File),
    /// A server that takes events over HTTP.
    Http(Http),
    /// A stream of NATS.
    Nats(Box<Nats>),
    /// A syslog server.
    Syslog(Syslog),
}

impl Syslog {
    /// Where it sends to.
    #[must_use]
    pub fn server(&self) -> SyslogServer {
        SyslogServer {
            server: self.server.clone(),
            transport: self.transport,
            ca_file: self.ca_file.clone(),
            certificate_file: self.certificate_file.clone(),
            key_file: self.key_file.clone(),
        }
    }
}

impl Sink {
    /// Its name: the cursor in the database goes by it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Sink::File(File { name, .. }) | Sink::Http(Http { name, .. }) | Sink::Syslog(Syslog { name, .. }) => name,
            Sink::Nats(nats) => &nats.name,
        }
    }

    /// The records that it takes.
    #[must_use]
    pub fn filter(&self) -> Filter {
        let (classes, severity) = match self {
            Sink::File(file) => (&file.classes, file.severity),
            Sink::Http(http) => (&http.classes, http.severity),
            Sink::Nats(nats) => (&nats.classes, nats.severity),
            Sink::Syslog(syslog) => (&syslog.classes, syslog.severity),
        };
        Filter { classes: classes.clone(), severity }
    }
}

/// `kind = "file"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct File {
    /// Name of the sink.
    pub name: String,
    /// Classes of records; none: all.
    #[serde(default)]
    pub classes: Vec<Class>,
    /// Least severity; none: all.
    pub severity: Option<Severity>,
    /// The file; relative to the data directory.
    pub path: PathBuf,
    /// Bytes after which the next file is begun.
    #[serde(default = "hundred_megabytes")]
    pub max_bytes: u64,
    /// Files that are kept, with the one that is written.
    #[serde(default = "ten")]
    pub files: NonZeroU16,
}

/// `kind = "http"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Http {
    /// Name of the sink.
    pub name: String,
    /// Classes of records; none: all.
    #[serde(default)]
    pub classes: Vec<Class>,
    /// Least severity; none: all.
    pub severity: Option<Severity>,
    /// `https://` anywhere, `http://` only to this machine. Of Elasticsearch and Splunk: without the path of the API.
    pub url: String,
    /// What the server expects.
    pub shape: Shape,
    /// Elasticsearch's index or data stream (else `vitrine`); Splunk's index (else the token's).
    pub index: Option<String>,
    /// File with the token, sent as `Bearer`, `ApiKey` (Elasticsearch) or `Splunk`; relative to the data directory.
    pub token_file: Option<PathBuf>,
    /// Name for HTTP's basic authentication, instead of a token.
    pub username: Option<String>,
    /// File with its password; relative to the data directory.
    pub password_file: Option<PathBuf>,
    /// Certificates that the server's is trusted by, instead of the system's, PEM; relative to the data directory.
    pub ca_file: Option<PathBuf>,
}

/// `shape = ` of an HTTP sink
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Elasticsearch's and OpenSearch's `_bulk`.
    Elasticsearch,
    /// Splunk's HTTP Event Collector.
    SplunkHec,
    /// One JSON array a request.
    Json,
    /// One JSON object a line.
    Ndjson,
}

/// `kind = "nats"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Nats {
    /// Name of the sink.
    pub name: String,
    /// Classes of records; none: all.
    #[serde(default)]
    pub classes: Vec<Class>,
    /// Least severity; none: all.
    pub severity: Option<Severity>,
    /// `host:port`
    pub server: String,
    /// How the connection is protected.
    #[serde(default)]
    pub transport: Transport,
    /// What records are published to; a stream must take it.
    #[serde(default = "vitrine_records")]
    pub subject: String,
    /// The stream that must store them; none: whichever takes the subject.
    pub stream: Option<String>,
    /// Name of the user, where the server wants one.
    pub username: Option<String>,
    /// File with its password; relative to the data directory.
    pub password_file: Option<PathBuf>,
    /// File with a token, instead; relative to the data directory.
    pub token_file: Option<PathBuf>,
    /// File with a JWT and its seed (`.creds`), instead; relative to the data directory.
    pub credentials_file: Option<PathBuf>,
    /// File with the seed of an nkey, instead; relative to the data directory.
    pub nkey_file: Option<PathBuf>,
    /// Certificates that the server's is trusted by, instead of the system's, PEM; relative to the data directory.
    pub ca_file: Option<PathBuf>,
    /// Chain that this machine shows, PEM, where the server wants one; relative to the data directory.
    pub certificate_file: Option<PathBuf>,
    /// Its private key, PEM.
    pub key_file: Option<PathBuf>,
}

/// `kind = "syslog"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Syslog {
    /// Name of the sink.
    pub name: String,
    /// Classes of records; none: all.
    #[serde(default)]
    pub classes: Vec<Class>,
    /// Least severity; none: all.
    pub severity: Option<Severity>,
    /// `host:port`
    pub server: String,
    /// How the connection is protected.
    #[serde(default)]
    pub transport: Transport,
    /// What a message says.
    #[serde(default)]
    pub message: Message,
    /// Certificates that the server's is trusted by, instead of the system's, PEM; relative to the data directory.
    pub ca_file: Option<PathBuf>,
    /// Chain that this machine shows, PEM, where the server wants one; relative to the data directory.
    pub certificate_file: Option<PathBuf>,
    /// Its private key, PEM.
    pub key_file: Option<PathBuf>,
}

/// A syslog server: `[route.syslog]`, and what a sink says of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SyslogServer {
    /// `host:port`
    pub server: String,
    /// How the connection is protected.
    #[serde(default)]
    pub transport: Transport,
    /// Certificates that the server's is trusted by, instead of the system's, PEM; relative to the data directory.
    pub ca_file: Option<PathBuf>,
    /// Chain that this machine shows, PEM, where the server wants one; relative to the data directory.
    pub certificate_file: Option<PathBuf>,
    /// Its private key, PEM.
    pub key_file: Option<PathBuf>,
}

/// `transport = ` of a syslog or NATS sink
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// TLS; of syslog RFC 5425.
    #[default]
    Tls,
    /// In clear (of syslog RFC 6587), only to this machine.
    Tcp,
}

/// `message = ` of a syslog sink
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// The OCSF event.
    #[default]
    Json,
    /// `ArcSight`'s Common Event Format.
    Cef,
}

/// A class of records, as a filter names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// OCSF 2006: labelled data was moved or opened, or somebody tried.
    Transfer,
    /// OCSF 6002: an agent started, stopped, or lost something.
    Lifecycle,
    /// OCSF 5002: a policy was loaded or refused.
    Policy,
    /// OCSF 2004: somebody tampered.
    Tamper,
}

/// Which records a sink takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Classes; none: all.
    pub classes: Vec<Class>,
    /// Least severity; none: all.
    pub severity: Option<Severity>,
}

impl Filter {
    /// Whether the sink takes this record.
    #[must_use]
    pub fn takes(&self, record: &Record) -> bool {
        let class = match &record.event {
            Event::Transfer(_) => Class::Transfer,
            Event::Notice(notice) => match notice.class {
                NoticeClass::Lifecycle => Class::Lifecycle,
                NoticeClass::Policy => Class::Policy,
                NoticeClass::Tamper => Class::Tamper,
            },
        };
        (self.classes.is_empty() || self.classes.contains(&class))
            && self.severity.is_none_or(|least| record.event.severity() >= least)
    }
}

fn hundred_megabytes() -> u64 {
    100_000_000
}

fn vitrine_records() -> String {
    "vitrine.records".into()
}

fn ten() -> NonZeroU16 {
    NonZeroU16::new(10).unwrap_or(NonZeroU16::MIN)
}

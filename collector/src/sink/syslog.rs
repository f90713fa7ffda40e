//! Records to a syslog server: RFC 5424 messages, framed by their length, over TLS (RFC 5425) or, on this machine,
//! over TCP (RFC 6587). The protocol has no receipts. So each batch has a connection of its own, which this side closes
//! for writing: a receiver that has read all of it then closes its side, and one that has not resets the connection.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use vitrine_policy::record::{Event, Record, Severity};

use super::tls::{self, Files};
use super::{DeliverError, cef, json_line};
use crate::config::{self, ConfigError, Message, Transport, is_this_machine, mistake};
use crate::console::words::machine_time;

/// Time to connect, with the TLS handshake.
const CONNECT: Duration = Duration::from_secs(10);
/// Time to send a batch and see it received.
const SEND: Duration = Duration::from_secs(60);
/// How long a receiver is given to close a connection that it does not want.
const EARLY: Duration = Duration::from_millis(200);
/// Longest JSON of one message: syslog-ng hangs up above 64 KiB, and rsyslog loses count of frames above 200,000 bytes.
pub(crate) const LONGEST: usize = 60 << 10;
/// Facility "log audit" (RFC 5424, 6.2.1).
const FACILITY: u8 = 13;
/// Longest `HOSTNAME` and `MSGID` (RFC 5424, 6).
const HOSTNAME: usize = 255;
const MSGID: usize = 32;

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

pub(crate) struct Syslog {
    server: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Syslog {
    /// `entry`: what of the configuration it is, as `[[sink]] "siem"`.
    pub(crate) fn new(entry: &str, config: &config::SyslogServer, data: &Path) -> Result<Syslog, ConfigError> {
        let wrong = |reason: String| mistake(data, format!("{entry}: {reason}"));
        let address = config.server.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
        let Some((host, _)) = address else {
            return Err(wrong(format!(
                "server = {:?}: host:port is expected, as siem.museum.example:6514",
                config.server
            )));
        };
        let host = host.trim_matches(['[', ']']);
        let tls = match config.transport {
            Transport::Tcp if !is_this_machine(host) => {
                return Err(wrong("transport = \"tcp\" goes only to this machine: use \"tls\"".into()));
            }
            Transport::Tcp if config.ca_file.is_some() || config.certificate_file.is_some() => {
                return Err(wrong("ca-file and certificate-file are for transport = \"tls\"".into()));
            }
            Transport::Tcp => None,
            Transport::Tls => {
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|_| wrong(format!("server = {:?}: {host:?} is no name or address", config.server)))?;
                let files = Files {
                    authority: config.ca_file.as_deref(),
                    certificate: config.certificate_file.as_deref(),
                    key: config.key_file.as_deref(),
                };
                Some((TlsConnector::from(Arc::new(tls::client(entry, &files, data)?)), name))
            }
        };
        Ok(Syslog { server: config.server.clone(), tls })
    }

    /// Sends messages, and waits until the receiver has read them.
    pub(crate) async fn deliver(&self, batch: impl Iterator<Item = &str>) -> Result<(), DeliverError> {
        let mut text = Vec::new();
        for message in batch {
            text.extend_from_slice(format!("{} ", message.len()).as_bytes());
            text.extend_from_slice(message.as_bytes());
        }
        let failed = |what: &str| {
            let what = format!("{what} {}", self.server);
            move |error| DeliverError::Io { what, error }
        };
        let connecting = async {
            let stream = TcpStream::connect(&self.server).await.map_err(failed("no connection to"))?;
            let stream: Box<dyn Duplex> = match &self.tls {
                None => Box::new(stream),
                Some((tls, name)) => Box::new(tls.connect(name.clone(), stream).await.map_err(failed("no TLS with"))?),
            };
            Ok::<_, DeliverError>(stream)
        };
        let stream = tokio::time::timeout(CONNECT, connecting)
            .await
            .map_err(|_| DeliverError::Slow { what: "connecting", time: CONNECT })??;
        let sending = async { send(stream, &text).await.map_err(failed("records did not reach")) };
        tokio::time::timeout(SEND, sending)
            .await
            .map_err(|_| DeliverError::Slow { what: "reading a batch and closing the connection", time: SEND })?
    }
}

/// A record as a message, without its frame.
pub(super) fn shape(record: &Record, message: Message) -> String {
    let what = match &record.event {
        Event::Transfer(_) => "transfer",
        Event::Notice(notice) => &notice.code,
    };
    let message = match message {
        // What is too long for a receiver would spoil what comes behind it; CEF cuts its values.
        Message::Json => Some(json_line(&record.to_ocsf())).filter(|line| line.len() <= LONGEST),
        Message::Cef => None,
    };
    let message = message.unwrap_or_else(|| cef::cef(record));
    let head = Head { severity: record.event.severity(), time: record.time, host: &record.host.name, what };
    head.before(&record.host.agent_version, &message)
}

/// What stands in the header of a message (RFC 5424, 6.2).
pub(crate) struct Head<'a> {
    pub(crate) severity: Severity,
    /// Milliseconds since 1970.
    pub(crate) time: i64,
    pub(crate) host: &'a str,
    /// `MSGID`
    pub(crate) what: &'a str,
}

impl Head<'_> {
    /// The whole message, without its frame; `version` is that of the program that says it.
    pub(crate) fn before(&self, version: &str, message: &str) -> String {
        let severity = match self.severity {
            Severity::Critical => 2,
            Severity::High => 3,
            Severity::Medium => 4,
            Severity::Low => 5,
            Severity::Informational => 6,
        };
        format!(
            "<{}>1 {} {} vitrine - {} [origin software=\"Vitrine\" swVersion=\"{}\"] {message}",
            FACILITY * 8 + severity,
            Some(machine_time(self.time)).filter(|time| !time.is_empty()).unwrap_or_else(|| "-".into()),
            word(self.host, HOSTNAME),
            word(self.what, MSGID),
            value(version),
        )
    }
}

async fn send(mut stream: Box<dyn Duplex>, text: &[u8]) -> std::io::Result<()> {
    stream.write_all(text).await?;
    stream.flush().await?;
    // One that closes before it is told that this was all wants nothing of this machine.
    if let Ok(ended) = tokio::time::timeout(EARLY, ended(&mut stream)).await {
        ended?;
        let said = "the receiver closed the connection at once; its journal says why, often the certificate";
        return Err(std::io::Error::new(std::io::ErrorKind::ConnectionAborted, said));
    }
    stream.shutdown().await?;
    ended(&mut stream).await
}

/// Waits until the receiver has closed its side.
async fn ended(stream: &mut Box<dyn Duplex>) -> std::io::Result<()> {
    let mut ignored = [0; 512];
    loop {
        match stream.read(&mut ignored).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // rsyslog closes the connection without a last word of TLS.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// A word of a header: printable ASCII without spaces (RFC 5424, 6); anything else stands as `?`.
fn word(text: &str, longest: usize) -> String {
    let word: String =
        text.chars().take(longest).map(|letter| if letter.is_ascii_graphic() { letter } else { '?' }).collect();
    if word.is_empty() { "-".into() } else { word }
}

/// A value of structured data (RFC 5424, 6.3.3).
fn value(text: &str) -> String {
    let mut safe = String::new();
    for character in crate::alert::text::line(text, MSGID).chars() {
        if matches!(character, '"' | '\\' | ']') {
            safe.push('\\');
        }
        safe.push(character);
    }
    safe
}

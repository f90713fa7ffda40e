//! Records into a stream of NATS JetStream (<https://docs.nats.io/nats-concepts/jetstream>). A batch has arrived when the
//! server has acknowledged each of its messages, which it does once they are stored. Each goes by its subject and the record's
//! id, so that one that comes again within the stream's window for duplicates is stored once.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{ConnectErrorKind, ConnectOptions, Event};

use super::tls::{self, Files};
use super::{DeliverError, Outgoing, Refused, said};
use crate::config::{self, ConfigError, Transport, is_this_machine, mistake};

/// Time to connect, with the TLS handshake and the log-in.
const CONNECT: Duration = Duration::from_secs(10);
/// Time for the acknowledgement of a message.
const STORE: Duration = Duration::from_secs(10);
/// Longest subject and name of a stream, in bytes.
const NAME: usize = 200;

pub(super) struct Nats {
    server: String,
    subject: String,
    stream: Option<String>,
    options: ConnectOptions,
    /// What the server complained of beside any message: who may not publish hears it so, and gets no answer else.
    complaint: Arc<Mutex<Option<String>>>,
    connected: tokio::sync::Mutex<Option<Context>>,
}

impl Nats {
    pub(super) fn new(config: &config::Nats, data: &Path) -> Result<Nats, ConfigError> {
        let entry = format!("[[sink]] {:?}", config.name);
        let wrong = |reason: String| mistake(data, format!("{entry}: {reason}"));
        let address = config.server.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
        let Some((host, _)) = address.filter(|(host, _)| !host.contains(['/', '@']) && !host.is_empty()) else {
            let expected = "host:port is expected, as nats.museum.example:4222";
            return Err(wrong(format!("server = {:?}: {expected}", config.server)));
        };
        if !is_subject(&config.subject) {
            let expected =
                "words of printable ASCII with dots between are expected, without * and >, as vitrine.records";
            return Err(wrong(format!("subject = {:?}: {expected}", config.subject)));
        }
        if let Some(stream) = &config.stream
            && (!is_subject(stream) || stream.contains(['.', '/', '\\']))
        {
            return Err(wrong(format!("stream = {stream:?}: the name of a stream is expected, as VITRINE")));
        }
        let complaint = Arc::new(Mutex::new(None));
        let heard = Arc::clone(&complaint);
        let mut options = credentials(config, data)?
            .name(concat!("vitrine-collector/", env!("CARGO_PKG_VERSION")))
            .connection_timeout(CONNECT)
            .ignore_discovered_servers()
            // The sink itself tries again.
            .max_reconnects(1)
            .event_callback(move |event| {
                if let Event::ServerError(error) = event {
                    *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                }
                std::future::ready(())
            });
        let files = Files {
            authority: config.ca_file.as_deref(),
            certificate: config.certificate_file.as_deref(),
            key: config.key_file.as_deref(),
        };
        match config.transport {
            Transport::Tcp if !is_this_machine(host) => {
                return Err(wrong("transport = \"tcp\" goes only to this machine: use \"tls\"".into()));
            }
            Transport::Tcp if files.authority.is_some() || files.certificate.is_some() => {
                return Err(wrong("ca-file and certificate-file are for transport = \"tls\"".into()));
            }
            Transport::Tcp => {}
            Transport::Tls => {
                options = options.require_tls(true).tls_client_config(tls::client(&entry, &files, data)?);
            }
        }
        Ok(Nats {
            server: config.server.clone(),
            subject: config.subject.clone(),
            stream: config.stream.clone(),
            options,
            complaint,
            connected: tokio::sync::Mutex::new(None),
        })
    }

    /// Gives a batch to the stream, and waits until all of it is stored.
    pub(super) async fn deliver(&self, batch: &[Outgoing]) -> Result<Vec<Refused>, DeliverError> {
        let mut connected = self.connected.lock().await;
        // Where anything goes wrong, the next attempt begins with a connection of its own.
        let context = match connected.take() {
            Some(context) => context,
            None => self.connect().await?,
        };
        let refused = self.publish(&context, batch).await?;
        *connected = Some(context);
        Ok(refused)
    }

    async fn connect(&self) -> Result<Context, DeliverError> {
        let client = self.options.clone().connect(self.server.as_str()).await.map_err(|error| {
            let more = match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    " (the server does not take these credentials: check username, password-file, token-file, \
                     credentials-file or nkey-file)"
                }
                _ => "",
            };
            DeliverError::Answer(format!("no connection to {}: {}{more}", self.server, said(&error)))
        })?;
        let mut context = jetstream::new(client);
        context.set_timeout(STORE);
        Ok(context)
    }

    async fn publish(&self, context: &Context, batch: &[Outgoing]) -> Result<Vec<Refused>, DeliverError> {
        *self.complaint.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let (mut refused, mut sent) = (Vec::new(), Vec::with_capacity(batch.len()));
        for (place, outgoing) in batch.iter().enumerate() {
            // A stream knows messages by their id alone, whatever their subject: another sink's would pass for doubles of these.
            let id = format!("{}/{}", self.subject, outgoing.id);
            let mut message = PublishMessage::build().payload(outgoing.body.clone().into()).message_id(id);
            if let Some(stream) = &self.stream {
                message = message.expected_stream(stream);
            }
            match context.send_publish(self.subject.clone(), message).await {
                Ok(stored) => sent.push((place, stored)),
                Err(error) => self.judge(place, &error, &mut refused)?,
            }
        }
        for (place, stored) in sent {
            if let Err(error) = stored.await {
                self.judge(place, &error, &mut refused)?;
            }
        }
        Ok(refused)
    }

    /// Whether an error is this record's fault, or why nothing goes.
    fn judge(&self, place: usize, error: &PublishError, refused: &mut Vec<Refused>) -> Result<(), DeliverError> {
        let answer = std::error::Error::source(error).and_then(|source| source.downcast_ref::<jetstream::Error>());
        let code = answer.map(jetstream::Error::error_code);
        if error.kind() == PublishErrorKind::MaxPayloadExceeded
            || code == Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM)
        {
            refused.push((place, format!("the server takes no message of this size: {}", said(error))));
            return Ok(());
        }
        let (server, subject) = (&self.server, &self.subject);
        Err(DeliverError::Answer(match error.kind() {
            PublishErrorKind::StreamNotFound => format!(
                "no stream of {server} takes the subject {subject}: make one (`nats stream add --subjects {subject}`), or \
                 name the subject of one that is there"
            ),
            PublishErrorKind::TimedOut => {
                let complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner).take();
                let complaint = complaint.map(|said| format!(": {said}")).unwrap_or_default();
                format!("{server} did not acknowledge a record within {} s{complaint}", STORE.as_secs())
            }
            _ => format!("{server} did not store a record of {subject}: {}", said(error)),
        }))
    }
}

/// How the sink shows who it is.
fn credentials(config: &config::Nats, data: &Path) -> Result<ConnectOptions, ConfigError> {
    let secret = |file: &Path| config::secret(data, file, false);
    let nats = ConnectOptions::new();
    match (&config.username, &config.password_file, &config.token_file, &config.credentials_file, &config.nkey_file) {
        (None, None, None, None, None) => Ok(nats),
        (Some(user), Some(file), None, None, None) => Ok(nats.user_and_password(user.clone(), secret(file)?)),
        (None, None, Some(file), None, None) => Ok(nats.token(secret(file)?)),
        (None, None, None, Some(file), None) => nats
            .credentials(&secret(file)?)
            .map_err(|error| ConfigError::Value { path: data.join(file), reason: format!("no credentials: {error}") }),
        (None, None, None, None, Some(file)) => Ok(nats.nkey(secret(file)?)),
        _ => {
            let reason = "expected username and password-file, or one of token-file, credentials-file and nkey-file";
            Err(mistake(data, format!("[[sink]] {:?}: {reason}", config.name)))
        }
    }
}

/// Whether one can publish to it.
fn is_subject(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
    text.len() <= NAME && text.split('.').all(is_word) && !text.contains(['*', '>']) && !text.starts_with('$')
}

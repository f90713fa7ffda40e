//! E-mail. Everything that comes from a workstation has passed `alert::text::line`, so that no header or
//! line can be smuggled in; the library encodes what is left.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::AsyncSmtpTransportBuilder;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::SendError;
use crate::alert::Alert;
use crate::config::{self, ConfigError, MailTls, is_this_machine, mistake};
use crate::console::words;
use crate::store::{Letter, Occasion};

type Transport = AsyncSmtpTransport<Tokio1Executor>;

pub(super) struct Email {
    transport: Transport,
    envelope: MessageBuilder,
}

impl Email {
    pub(super) fn new(config: &config::Email, data: &Path) -> Result<Email, ConfigError> {
        let (host, port) = match config.server.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') && (!host.contains(':') || host.starts_with('[')) => {
                let port = port
                    .parse::<u16>()
                    .map_err(|_| mistake(data, format!("[email] server = {:?}: no port", config.server)))?;
                (host, Some(port))
            }
            _ => (config.server.as_str(), None),
        };
        let failed = |error| mistake(data, format!("[email] server = {:?}: {error}", config.server));
        let builder: AsyncSmtpTransportBuilder = match config.tls {
            MailTls::Always => Transport::relay(host).map_err(failed)?,
            MailTls::Starttls => Transport::starttls_relay(host).map_err(failed)?,
            MailTls::None if is_this_machine(host) => Transport::builder_dangerous(host.trim_matches(['[', ']'])),
            MailTls::None => {
                let reason = "[email] tls = \"none\" goes only to this machine: use \"always\" or \"starttls\"";
                return Err(mistake(data, reason));
            }
        };
        let builder = match port {
            Some(port) => builder.port(port),
            None => builder,
        };
        let builder = match (&config.username, &config.password_file) {
            (Some(user), Some(file)) => {
                builder.credentials(Credentials::new(user.clone(), config::secret(data, file, false)?))
            }
            (None, None) => builder,
            _ => return Err(mistake(data, "[email] username and password-file go together")),
        };
        let mailbox = |address: &str| -> Result<Mailbox, ConfigError> {
            address.parse().map_err(|error| mistake(data, format!("[email] {address:?} is no address: {error}")))
        };
        if config.to.is_empty() {
            return Err(mistake(data, "[email] to is empty: name at least one receiver"));
        }
        let mut envelope = Message::builder().from(mailbox(&config.from)?);
        for to in &config.to {
            envelope = envelope.to(mailbox(to)?);
        }
        Ok(Email { transport: builder.timeout(Some(Duration::from_secs(20))).build(), envelope })
    }

    pub(super) async fn send(&self, letter: &Letter) -> Result<(), SendError> {
        let what = match letter.event {
            Occasion::Created => "",
            Occasion::Worsened => "worse: ",
        };
        let alert = &letter.alert;
        let subject = format!("[Vitrine] {} {what}{}", words::severity(alert.severity), alert.title);
        let message = self
            .envelope
            .clone()
            .subject(subject)
            .message_id(None)
            .header(ContentType::TEXT_PLAIN)
            .body(text(alert))?;
        self.transport.send(message).await?;
        Ok(())
    }
}

fn text(alert: &Alert) -> String {
    let mut text = format!("{}\n\n{}\n\n", alert.title, alert.explanation);
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{name:<14}{value}");
        }
    };
    row("Workstation", &alert.host);
    row("User", alert.user.as_deref().unwrap_or_default());
    row("Program", alert.program.as_deref().unwrap_or_default());
    row("Tier", &words::tier(alert));
    row("Decision", alert.disposition.map_or("", words::disposition));
    row("Attempts", &alert.attempts.to_string());
    row("First", &words::time(alert.first_seen));
    row("Last", &words::time(alert.last_seen));
    for master in &alert.masters {
        row("Master", master);
    }
    for destination in &alert.destinations {
        row("Destination", destination);
    }
    row("Alert", &alert.id.to_string());
    text
}

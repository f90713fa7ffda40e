//! E-mail. Everything that comes from a workstation has passed `alert::text::line`, so that no header or
//! line can be smuggled in; the library encodes what is left.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::AsyncSmtpTransportBuilder;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::{SUBMISSION_PORT, SUBMISSIONS_PORT};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::SendError;
use super::letter::{headline, rows};
use crate::alert::Alert;
use crate::config::{self, ConfigError, MailTls, is_this_machine, mistake};
use crate::console::words;
use crate::store::Letter;

type Transport = AsyncSmtpTransport<Tokio1Executor>;

pub(super) struct Email {
    target: String,
    transport: Transport,
    envelope: MessageBuilder,
}

impl Email {
    pub(super) fn new(entry: &str, config: &config::Email, data: &Path) -> Result<Email, ConfigError> {
        let (host, port) = match config.server.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') && (!host.contains(':') || host.starts_with('[')) => {
                let port = port
                    .parse::<u16>()
                    .map_err(|_| mistake(data, format!("{entry} email.server = {:?}: no port", config.server)))?;
                (host, Some(port))
            }
            _ => (config.server.as_str(), None),
        };
        let failed = |error| mistake(data, format!("{entry} email.server = {:?}: {error}", config.server));
        let builder: AsyncSmtpTransportBuilder = match config.tls {
            MailTls::Always | MailTls::Starttls => {
                let mut tls = TlsParameters::builder(host.trim_matches(['[', ']']).to_owned());
                if let Some(file) = &config.ca_file {
                    tls = tls.certificate_store(CertificateStore::None);
                    for authority in authorities(data, file)? {
                        tls = tls.add_root_certificate(authority);
                    }
                }
                let tls = tls.build().map_err(failed)?;
                let (tls, port) = match config.tls {
                    MailTls::Always => (Tls::Wrapper(tls), SUBMISSIONS_PORT),
                    _ => (Tls::Required(tls), SUBMISSION_PORT),
                };
                Transport::builder_dangerous(host.trim_matches(['[', ']'])).port(port).tls(tls)
            }
            MailTls::None if config.ca_file.is_some() => {
                return Err(mistake(data, format!("{entry} email.ca-file is for tls = \"always\" and \"starttls\"")));
            }
            MailTls::None if is_this_machine(host) => Transport::builder_dangerous(host.trim_matches(['[', ']'])),
            MailTls::None => {
                let reason = "email.tls = \"none\" goes only to this machine: use \"always\" or \"starttls\"";
                return Err(mistake(data, format!("{entry} {reason}")));
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
            _ => return Err(mistake(data, format!("{entry} email.username and email.password-file go together"))),
        };
        let mailbox = |address: &str| -> Result<Mailbox, ConfigError> {
            address.parse().map_err(|error| mistake(data, format!("{entry} email.{address:?} is no address: {error}")))
        };
        if config.to.is_empty() {
            return Err(mistake(data, format!("{entry} email.to is empty: name at least one receiver")));
        }
        let mut envelope = Message::builder().from(mailbox(&config.from)?);
        for to in &config.to {
            envelope = envelope.to(mailbox(to)?);
        }
        let target = format!("mail to {}", config.to.join(", "));
        Ok(Email { target, transport: builder.timeout(Some(Duration::from_secs(20))).build(), envelope })
    }

    pub(super) fn target(&self) -> String {
        self.target.clone()
    }

    pub(super) async fn send(&self, letter: &Letter) -> Result<String, SendError> {
        let message = self
            .envelope
            .clone()
            .subject(headline(letter))
            .message_id(None)
            .header(ContentType::TEXT_PLAIN)
            .body(text(letter))?;
        let answer = self.transport.send(message).await?;
        Ok(format!("{} {}", answer.code(), answer.message().collect::<Vec<_>>().join(" ")))
    }
}

/// The authorities of a file.
fn authorities(data: &Path, file: &Path) -> Result<Vec<Certificate>, ConfigError> {
    let path = data.join(file);
    let wrong = |reason: String| ConfigError::Value { path: path.clone(), reason };
    let found: Vec<_> = CertificateDer::pem_file_iter(&path)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(format!("no PEM certificates: {error}")))?;
    if found.is_empty() {
        return Err(wrong("holds no certificate: PEM is expected".into()));
    }
    let certificate = |der: CertificateDer<'_>| Certificate::from_der(der.to_vec());
    found.into_iter().map(certificate).collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))
}

fn text(letter: &Letter) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    match letter.alerts.as_slice() {
        [alert] if letter.more == 0 => {
            let _ = write!(text, "{}\n\n{}\n\n", alert.title, alert.explanation);
            for (name, value) in whole(alert) {
                let _ = writeln!(text, "{name:<14}{value}");
            }
        }
        _ => {
            let _ = write!(text, "{}\n\n", headline(letter));
            for (name, value) in rows(letter) {
                let _ = writeln!(text, "{name:<14}{value}");
            }
        }
    }
    text
}

fn whole(alert: &Alert) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("Workstation", alert.host.clone()),
        ("User", alert.user.clone().unwrap_or_default()),
        ("Program", alert.program.clone().unwrap_or_default()),
        ("Tier", words::tier(alert)),
        ("Decision", alert.disposition.map_or("", words::disposition).to_owned()),
        ("Attempts", alert.attempts.to_string()),
        ("First", words::time(alert.first_seen)),
        ("Last", words::time(alert.last_seen)),
    ];
    rows.extend(alert.masters.iter().map(|master| ("Master", master.clone())));
    rows.extend(alert.destinations.iter().map(|destination| ("Destination", destination.clone())));
    rows.push(("Alert", alert.id.to_string()));
    rows.retain(|(_, value)| !value.is_empty());
    rows
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::alert::Alert;
    use crate::route::letter::headline;
    use crate::store::{Letter, Occasion};

    #[test]
    fn several_alerts_are_a_line_each_whatever_they_are_called() {
        let alerts = (0..30)
            .map(|id| Alert {
                id,
                user: Some("=cmd".into()),
                ..Alert::test("x\r\nBcc: eve@evil.example\u{202e}", "ines", 7)
            })
            .map(|alert| Alert { title: crate::alert::text::line(&alert.title, 300), ..alert })
            .collect();
        let letter = Letter { event: Occasion::Digest, route: "week".into(), alerts, more: 12 };
        let text = text(&letter);
        assert_eq!(text.lines().count(), 2 + 20 + 1, "{text}");
        assert!(text.contains("22 more in the list of alerts"), "{text}");
        assert!(
            headline(&letter)
                .starts_with("[Vitrine] informational digest: 42 alerts, the worst: test of the route x\\u{d}")
        );
        assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
    }
}

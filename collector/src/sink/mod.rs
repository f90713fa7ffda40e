//! The ways out: of alerts, by a signed webhook and e-mail, fed from the outbox; of records, in `record`. A message
//! leaves the outbox when its receiver has it, so that every message arrives at least once.

mod email;
pub(crate) mod record;
mod webhook;

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Config, ConfigError};
use crate::rate::{Bucket, Rate};
use crate::store::{Channel, Due, Letter, Message, Store, StoreError, now};

/// How messages go out.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Wait after the first failure; each further one doubles it.
    pub first_retry: Duration,
    /// The longest wait.
    pub longest_retry: Duration,
    /// After so many failures a message is given up.
    pub attempts: u32,
    /// Messages of one channel; more wait in the outbox.
    pub rate: Rate,
}

impl Default for Pace {
    /// Gives up after about a day.
    fn default() -> Pace {
        Pace {
            first_retry: Duration::from_secs(5),
            longest_retry: Duration::from_secs(3600),
            attempts: 33,
            rate: Rate { per_second: 0.5, burst: 20.0 },
        }
    }
}

/// Why a message did not go.
#[derive(Debug, thiserror::Error)]
enum SendError {
    /// The receiver answered with something else than success.
    #[error("the receiver answered {0}")]
    Status(u16),
    /// The request failed.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    /// The mail server refused or was not there.
    #[error("{0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
    /// The message cannot be made.
    #[error("{0}")]
    Mail(#[from] lettre::error::Error),
    /// The stored letter cannot be read.
    #[error("{0}")]
    Letter(#[from] serde_json::Error),
}

enum Sink {
    Webhook(Box<webhook::Webhook>),
    Email(Box<email::Email>),
}

impl Sink {
    fn channel(&self) -> Channel {
        match self {
            Sink::Webhook(_) => Channel::Webhook,
            Sink::Email(_) => Channel::Email,
        }
    }

    async fn send(&self, message: &Message) -> Result<(), SendError> {
        match self {
            Sink::Webhook(webhook) => webhook.send(message).await,
            Sink::Email(email) => email.send(&serde_json::from_str::<Letter>(&message.body)?).await,
        }
    }
}

/// The ways out that the configuration names.
pub(crate) struct Sinks(Vec<Sink>);

impl Sinks {
    pub(crate) fn new(config: &Config, data: &Path) -> Result<Sinks, ConfigError> {
        let mut sinks = Vec::new();
        if let Some(config) = &config.webhook {
            sinks.push(Sink::Webhook(Box::new(webhook::Webhook::new(config, data)?)));
        }
        if let Some(config) = &config.email {
            sinks.push(Sink::Email(Box::new(email::Email::new(config, data)?)));
        }
        Ok(Sinks(sinks))
    }

    pub(crate) fn channels(&self) -> Vec<Channel> {
        self.0.iter().map(Sink::channel).collect()
    }
}

/// Starts a task for each way out.
pub(crate) fn start(sinks: Sinks, store: &Store, pace: Pace, stopped: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    sinks.0.into_iter().map(|sink| tokio::spawn(run(sink, store.clone(), pace, stopped.clone()))).collect()
}

async fn run(sink: Sink, store: Store, pace: Pace, mut stopped: watch::Receiver<bool>) {
    let mut bucket = Bucket::full(pace.rate);
    loop {
        let posted = store.posted();
        tokio::pin!(posted);
        posted.as_mut().enable();
        let wait = match store.due(sink.channel()).await {
            Ok(Due::Now(message)) => match bucket.take(pace.rate) {
                Err(wait) => wait,
                Ok(()) => {
                    let sent = tokio::select! {
                        sent = sink.send(&message) => sent,
                        _ = stopped.changed() => return,
                    };
                    match settle(&sink, &store, pace, &message, sent).await {
                        Ok(()) => continue,
                        Err(error) => pause(&error),
                    }
                }
            },
            Ok(Due::Later(milliseconds)) => Duration::from_millis(milliseconds),
            Ok(Due::Nothing) => Duration::from_secs(3600),
            Err(error) => pause(&error),
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = posted, if wait > Duration::from_secs(1) => {}
            _ = stopped.changed() => return,
        }
    }
}

fn pause(error: &StoreError) -> Duration {
    tracing::error!(%error, "the outbox cannot be used");
    Duration::from_secs(1)
}

async fn settle(
    sink: &Sink,
    store: &Store,
    pace: Pace,
    message: &Message,
    sent: Result<(), SendError>,
) -> Result<(), StoreError> {
    let channel = sink.channel().name();
    match sent {
        Ok(()) => store.delivered(message.number).await,
        Err(error) if message.attempts + 1 >= pace.attempts => {
            tracing::error!(channel, message = message.number, %error, "a message was given up");
            store.undelivered(message.number, error.to_string(), None).await
        }
        Err(error) => {
            tracing::warn!(channel, message = message.number, %error, "a message did not go and will be tried again");
            let wait = pace.first_retry.saturating_mul(1 << message.attempts.min(20)).min(pace.longest_retry);
            let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            store.undelivered(message.number, error.to_string(), Some(now().saturating_add(wait))).await
        }
    }
}

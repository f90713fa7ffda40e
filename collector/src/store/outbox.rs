//! Messages on their way out. They are written in the transaction that makes the alert, and leave the
//! outbox only when the receiver has them: at least once.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use tokio::sync::futures::Notified;

use super::{Store, StoreError, now};
use crate::alert::Alert;

/// A way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Webhook,
    Email,
}

impl Channel {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Channel::Webhook => "webhook",
            Channel::Email => "email",
        }
    }
}

/// Why a message goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Occasion {
    /// The alert is new.
    #[serde(rename = "alert.created")]
    Created,
    /// It got worse.
    #[serde(rename = "alert.worsened")]
    Worsened,
}

/// What a message says.
#[derive(Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) event: Occasion,
    pub(crate) alert: Alert,
}

/// A message that is due.
pub(crate) struct Message {
    pub(crate) number: i64,
    /// JSON of a [`Letter`].
    pub(crate) body: String,
    /// How often it was tried in vain.
    pub(crate) attempts: u32,
}

/// What is to be done next on a channel.
pub(crate) enum Due {
    /// Send this.
    Now(Message),
    /// Wait so many milliseconds.
    Later(u64),
    /// Nothing waits.
    Nothing,
}

pub(super) fn post(
    connection: &Connection,
    channel: Channel,
    event: Occasion,
    alert: &Alert,
) -> Result<(), StoreError> {
    let body = serde_json::to_string(&Letter { event, alert: alert.clone() })?;
    connection
        .prepare_cached("INSERT INTO outbox (channel, body, created, due) VALUES (?1, ?2, ?3, ?3)")?
        .execute(params![channel.name(), body, now()])?;
    Ok(())
}

impl Store {
    /// Ends when a message was put into the outbox after the call.
    pub(crate) fn posted(&self) -> Notified<'_> {
        self.posted.notified()
    }

    /// The message of a channel that is to go next.
    pub(crate) async fn due(&self, channel: Channel) -> Result<Due, StoreError> {
        self.read(move |connection| {
            let next = connection
                .prepare_cached(
                    "SELECT number, body, attempts, due FROM outbox WHERE channel = ? AND state = 'waiting'
                     ORDER BY due, number LIMIT 1",
                )?
                .query_row([channel.name()], |row| {
                    let message = Message { number: row.get(0)?, body: row.get(1)?, attempts: row.get(2)? };
                    Ok((message, row.get::<_, i64>(3)?))
                })
                .optional()?;
            Ok(match next {
                None => Due::Nothing,
                Some((message, due)) => match u64::try_from(due - now()) {
                    Ok(wait) if wait > 0 => Due::Later(wait),
                    _ => Due::Now(message),
                },
            })
        })
        .await
    }

    /// The receiver has it.
    pub(crate) async fn delivered(&self, number: i64) -> Result<(), StoreError> {
        self.settle(number, "delivered", None, now()).await
    }

    /// It did not go: try again at `due`, or never if there is none.
    pub(crate) async fn undelivered(&self, number: i64, error: String, due: Option<i64>) -> Result<(), StoreError> {
        match due {
            Some(due) => self.settle(number, "waiting", Some(error), due).await,
            None => self.settle(number, "dead", Some(error), now()).await,
        }
    }

    async fn settle(
        &self,
        number: i64,
        state: &'static str,
        error: Option<String>,
        due: i64,
    ) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE outbox SET state = ?, error = ?, due = ?, attempts = attempts + 1 WHERE number = ?",
                )?
                .execute(params![state, error, due, number])?;
            Ok(())
        })
        .await
    }
}

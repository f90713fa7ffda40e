//! Messages on their way out. They are written in the transaction that makes the alert, and leave the
//! outbox only when the receiver has them: at least once.

use serde::{Deserialize, Serialize};
use tokio::sync::futures::Notified;

use super::sql::{Connection, Optional, params};
use super::{Store, StoreError, now};
use crate::alert::Alert;
use crate::route::letter::headline;

/// Why a message goes out. Of several reasons the first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Occasion {
    /// The alert is new.
    #[serde(rename = "alert.created")]
    Created,
    /// It got worse.
    #[serde(rename = "alert.worsened")]
    Worsened,
    /// Nobody has answered for it since it was told of.
    #[serde(rename = "alert.repeated")]
    Repeated,
    /// Nobody has answered for it in time.
    #[serde(rename = "alert.escalated")]
    Escalated,
    /// All alerts of some hours.
    #[serde(rename = "digest")]
    Digest,
    /// Somebody tries the route.
    #[serde(rename = "test")]
    Test,
}

impl Occasion {
    const ALL: [Occasion; 6] = [
        Occasion::Created,
        Occasion::Worsened,
        Occasion::Repeated,
        Occasion::Escalated,
        Occasion::Digest,
        Occasion::Test,
    ];

    /// Its name in the database and in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Occasion::Created => "alert.created",
            Occasion::Worsened => "alert.worsened",
            Occasion::Repeated => "alert.repeated",
            Occasion::Escalated => "alert.escalated",
            Occasion::Digest => "digest",
            Occasion::Test => "test",
        }
    }

    pub(super) fn of(name: &str) -> Occasion {
        Occasion::ALL.into_iter().find(|occasion| occasion.name() == name).unwrap_or(Occasion::Created)
    }
}

/// What a message says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) event: Occasion,
    /// Name of the route.
    pub(crate) route: String,
    /// The worst first; at least one.
    pub(crate) alerts: Vec<Alert>,
    /// How many more there are.
    pub(crate) more: u64,
}

impl Letter {
    /// How many alerts it tells of.
    pub(crate) fn count(&self) -> u64 {
        self.more.saturating_add(self.alerts.len() as u64)
    }
}

/// A message that is due.
pub(crate) struct Message {
    pub(crate) number: i64,
    /// JSON of a [`Letter`].
    pub(crate) body: String,
    /// How often it was tried in vain.
    pub(crate) attempts: u32,
}

/// What is to be done next for a route.
pub(crate) enum Due {
    /// Send this.
    Now(Message),
    /// Wait so many milliseconds.
    Later(u64),
    /// Nothing waits.
    Nothing,
}

pub(super) fn post(connection: &Connection, letter: &Letter) -> Result<Message, StoreError> {
    let (summary, body) = (headline(letter), serde_json::to_string(letter)?);
    let number = connection
        .prepare_cached(
            "INSERT INTO outbox (route, body, created, due, occasion, summary) VALUES (?1, ?2, ?3, ?3, ?4, ?5)
             RETURNING number",
        )?
        .query_row(params![letter.route, body, now(), letter.event.name(), summary], |row| row.get(0))?;
    Ok(Message { number, body, attempts: 0 })
}

impl Store {
    /// Ends when a message was put into the outbox after the call.
    pub(crate) fn posted(&self) -> Notified<'_> {
        self.posted.notified()
    }

    /// The message of a route that is to go next. None waits for longer than `longest` milliseconds: one that seems to
    /// was written before the clock was set back.
    pub(crate) async fn due(&self, route: String, longest: i64) -> Result<Due, StoreError> {
        self.read(move |connection| {
            let next = connection
                .prepare_cached(
                    "SELECT number, body, attempts, due FROM outbox WHERE route = ? AND state = 'waiting'
                     ORDER BY due, number LIMIT 1",
                )?
                .query_row([route], |row| {
                    let message = Message { number: row.get(0)?, body: row.get(1)?, attempts: row.get(2)? };
                    Ok((message, row.get::<i64>(3)?))
                })
                .optional()?;
            Ok(match next {
                None => Due::Nothing,
                Some((message, due)) => match due.saturating_sub(now()) {
                    wait if (1..=longest).contains(&wait) => Due::Later(wait.unsigned_abs()),
                    _ => Due::Now(message),
                },
            })
        })
        .await
    }

    /// The receiver has it, and answered so.
    pub(crate) async fn delivered(&self, number: i64, answer: String) -> Result<(), StoreError> {
        self.settle(number, "delivered", (None, Some(answer)), now()).await
    }

    /// It did not go: try again at `due`, or never if there is none.
    pub(crate) async fn undelivered(&self, number: i64, error: String, due: Option<i64>) -> Result<(), StoreError> {
        match due {
            Some(due) => self.settle(number, "waiting", (Some(error), None), due).await,
            None => self.settle(number, "dead", (Some(error), None), now()).await,
        }
    }

    async fn settle(
        &self,
        number: i64,
        state: &'static str,
        (error, answer): (Option<String>, Option<String>),
        due: i64,
    ) -> Result<(), StoreError> {
        self.write_beside(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE outbox SET state = ?, error = ?, answer = ?, due = ?, attempts = attempts + 1
                     WHERE number = ?",
                )?
                .execute(params![state, error, answer, due, number])?;
            Ok(())
        })
        .await
    }
}

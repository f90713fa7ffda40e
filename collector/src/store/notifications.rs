//! The log of notifications: what was sent by which route, when, and with what answer. It is the outbox, seen from
//! behind.

use std::time::Duration;

use super::audit::{self, Actor, Kind};
use super::outbox::{self, Letter, Message, Occasion};
use super::sql::{self, Connection, Optional, Row, Value, params};
use super::{Store, StoreError, now, routed};

/// Longest time that somebody waits for a page; reached where a filter fits almost nothing.
const PATIENCE: Duration = Duration::from_secs(3);

/// How far a notification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotificationState {
    /// It is to be sent, or sent again.
    Waiting,
    /// The receiver has it.
    Delivered,
    /// It was given up.
    Dead,
}

impl NotificationState {
    pub(crate) const ALL: [NotificationState; 3] =
        [NotificationState::Waiting, NotificationState::Delivered, NotificationState::Dead];

    /// Its name in the database and on the page.
    pub(crate) fn name(self) -> &'static str {
        match self {
            NotificationState::Waiting => "waiting",
            NotificationState::Delivered => "delivered",
            NotificationState::Dead => "dead",
        }
    }
}

/// One notification.
pub(crate) struct Notification {
    pub(crate) number: i64,
    pub(crate) route: String,
    /// Why it was made.
    pub(crate) event: String,
    pub(crate) summary: String,
    /// When it was made, in milliseconds since 1970.
    pub(crate) created: i64,
    /// When it was delivered or given up, or is to be sent.
    pub(crate) at: i64,
    pub(crate) attempts: u32,
    pub(crate) state: NotificationState,
    /// The receiver's answer, or the last error.
    pub(crate) said: Option<String>,
}

const COLUMNS: &str = "number, route, occasion, summary, created, due, attempts, state, coalesce(answer, error)";

impl Notification {
    fn read(row: &Row<'_>) -> sql::Result<Notification> {
        let state: String = row.get(7)?;
        Ok(Notification {
            number: row.get(0)?,
            route: row.get(1)?,
            event: row.get(2)?,
            summary: row.get(3)?,
            created: row.get(4)?,
            at: row.get(5)?,
            attempts: row.get(6)?,
            state: NotificationState::ALL
                .into_iter()
                .find(|known| known.name() == state)
                .unwrap_or(NotificationState::Waiting),
            said: row.get(8)?,
        })
    }
}

/// Which notifications to list.
pub(crate) struct NotificationFilter {
    /// Of this route; of any if it is empty.
    pub(crate) route: String,
    pub(crate) state: Option<NotificationState>,
    /// Only before this number.
    pub(crate) before: Option<i64>,
    /// At most so many.
    pub(crate) limit: u32,
}

impl Store {
    /// Notifications, the newest first.
    pub(crate) async fn notifications(&self, filter: NotificationFilter) -> Result<Vec<Notification>, StoreError> {
        let mut sql = format!("SELECT {COLUMNS} FROM outbox WHERE number < ?");
        let mut values: Vec<Value> = vec![filter.before.unwrap_or(i64::MAX).into()];
        if !filter.route.is_empty() {
            sql.push_str(" AND route = ?");
            values.push(filter.route.into());
        }
        if let Some(state) = filter.state {
            sql.push_str(" AND state = ?");
            values.push(state.name().to_owned().into());
        }
        sql.push_str(" ORDER BY number DESC LIMIT ?");
        values.push(i64::from(filter.limit).into());
        self.read_within(PATIENCE, move |connection| {
            let mut query = connection.prepare_cached(&sql)?;
            let found = query.query_map(values, Notification::read)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// How many messages of a route wait, and how many were given up.
    pub(crate) async fn undelivered_of(&self, route: String) -> Result<(u64, u64), StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT (SELECT count(*) FROM outbox INDEXED BY outbox_waiting WHERE route = ?1 AND state = 'waiting'),
                        (SELECT count(*) FROM outbox INDEXED BY outbox_dead
                         WHERE route = ?1 AND state = 'dead' AND occasion <> 'test')",
            )?;
            Ok(query.query_row([route], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
        .await
    }

    /// How many messages were given up; a test is made anew.
    pub(crate) async fn count_dead(&self) -> Result<u64, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT count(*) FROM outbox INDEXED BY outbox_dead WHERE state = 'dead' AND occasion <> 'test'",
            )?;
            Ok(query.query_row([], |row| row.get(0))?)
        })
        .await
    }

    /// Takes a message that was given up into the outbox once more; says whether there is such a one, and its route.
    pub(crate) async fn send_again(&self, by: String, number: i64) -> Result<bool, StoreError> {
        let rules = std::sync::Arc::clone(&self.rules);
        let taken = self
            .write(move |connection| {
                let (list, names) = routed::names(&rules);
                let values = [vec![now().into(), number.into()], names].concat();
                let route: Option<String> = connection
                    .query_row(
                        &format!(
                            "UPDATE outbox SET state = 'waiting', attempts = 0, due = ?
                             WHERE number = ? AND state = 'dead' AND occasion <> 'test' AND route IN {list}
                             RETURNING route"
                        ),
                        values,
                        |row| row.get(0),
                    )
                    .optional()?;
                if let Some(route) = &route {
                    let detail = format!("sent again by route {route}");
                    let subject = format!("message {number}");
                    audit::append(connection, &Actor::User(by), Kind::Notification, &subject, &detail)?;
                }
                Ok(route.is_some())
            })
            .await?;
        if taken {
            self.posted.notify_waiters();
        }
        Ok(taken)
    }

    /// Notes that somebody tries a route, before it is done; gives the message to send.
    pub(crate) async fn begin_test(&self, by: String, letter: Letter) -> Result<Message, StoreError> {
        self.write(move |connection| {
            let subject = format!("route {}", letter.route);
            audit::append(connection, &Actor::User(by), Kind::Notification, &subject, "tested")?;
            let message = outbox::post(connection, &letter)?;
            // The route's own task must not send it, too.
            connection
                .prepare_cached("UPDATE outbox SET state = 'dead', error = ? WHERE number = ?")?
                .execute(params!["the collector ended before an answer came", message.number])?;
            Ok(message)
        })
        .await
    }

    /// A test that was made.
    pub(crate) async fn tested(&self, number: i64) -> Result<Option<Notification>, StoreError> {
        self.read(move |connection: &Connection| {
            let mut query = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM outbox WHERE number = ? AND occasion = ?"))?;
            Ok(query.query_row(params![number, Occasion::Test.name()], Notification::read).optional()?)
        })
        .await
    }
}

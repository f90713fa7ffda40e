//! What each route is to be told of which alert, and when. It stands here from the transaction on that makes the alert,
//! and goes into the outbox in one transaction, too, so that nothing is told twice or not at all, whenever the program
//! ends.

use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::futures::Notified;

use super::outbox::{self, Letter, Occasion};
use super::silences::{self, Silenced};
use super::{Store, StoreError, alerts, now};
use crate::alert::{Alert, State};
use crate::route::{Rule, When};

/// Alerts that one message counts; what is more goes with the next.
const COUNTED: u32 = 500;
/// Alerts that one message holds.
const HELD: usize = 50;
/// Messages of one route that one transaction writes.
const MESSAGES: u32 = 50;

/// Notes that routes are to be told of an alert that is new or was changed. Says whether one is.
pub(super) fn arm(connection: &Connection, rules: &[Rule], alert: &Alert) -> Result<bool, StoreError> {
    let mut armed = false;
    for rule in rules.iter().filter(|rule| rule.takes(alert)) {
        // What was kept back when it was due has not been told of.
        let known: Option<u8> = connection
            .prepare_cached(
                "SELECT severity FROM routed
                 WHERE route = ? AND alert = ? AND (told IS NOT NULL OR due IS NOT NULL)",
            )?
            .query_row(params![rule.name, alert.id], |row| row.get(0))
            .optional()?;
        let occasion = match (known, rule.when) {
            (None, When::Grouped { .. }) => Occasion::Created,
            (None, When::Escalated(_)) => Occasion::Escalated,
            (None, When::Digest(_)) if alert.silenced.is_some() => continue,
            (None, When::Digest(_)) => Occasion::Digest,
            (Some(severity), When::Grouped { .. }) if alert.severity as u8 > severity => Occasion::Worsened,
            (Some(_), _) => continue,
        };
        let (at, bundle) = (now(), rule.bundle(alert));
        let due = at.saturating_add(delay(connection, rule, &bundle, alert, at)?);
        // What waits to be told of for the first time stays that, however bad it gets.
        connection
            .prepare_cached(
                "INSERT INTO routed (route, alert, bundle, severity, occasion, since, due)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (route, alert) DO UPDATE SET severity = ?4,
                    occasion = CASE WHEN due IS NOT NULL AND told IS NULL THEN occasion ELSE ?5 END,
                    since = ?6, due = min(coalesce(due, ?7), ?7)",
            )?
            .execute(params![rule.name, alert.id, bundle, alert.severity as u8, occasion.name(), at, due])?;
        armed = true;
    }
    Ok(armed)
}

/// How long an alert waits, in milliseconds.
fn delay(connection: &Connection, rule: &Rule, bundle: &str, alert: &Alert, at: i64) -> Result<i64, StoreError> {
    let (wait, interval) = match rule.when {
        When::Grouped { wait, interval, .. } => (wait, interval),
        When::Escalated(after) => return Ok(after),
        When::Digest(every) => return Ok(every),
    };
    let (told, worst): (Option<i64>, Option<u8>) = connection
        .prepare_cached("SELECT max(told), max(severity) FROM routed WHERE route = ? AND bundle = ? AND told > ?")?
        .query_row(params![rule.name, bundle, at.saturating_sub(interval)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(match told {
        Some(told) if worst.is_some_and(|worst| worst >= alert.severity as u8) => {
            // The clock may have been set back since.
            wait.max(told.min(at).saturating_add(interval).saturating_sub(at))
        }
        _ => wait,
    })
}

/// Puts one message into the outbox with what waits of a bundle; says whether there was anything to tell.
fn tell(connection: &Connection, rule: &Rule, bundle: &str, lasting: &[Silenced], at: i64) -> Result<bool, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT alert, occasion FROM routed WHERE route = ? AND bundle = ? AND due IS NOT NULL ORDER BY due LIMIT ?",
    )?;
    let waiting: Vec<(i64, String)> = query
        .query_map(params![rule.name, bundle, COUNTED], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let (mut events, mut alerts) = (Vec::new(), Vec::new());
    for (id, occasion) in waiting {
        let mut open = alerts::find(connection, id)?.filter(|alert| alert.state == State::Open);
        if let Some(alert) = &mut open
            && silences::mark(connection, lasting, alert)?
        {
            alerts::write(connection, alert)?;
        }
        let is_open = open.is_some();
        let alert = open.filter(|alert| alert.silenced.is_none());
        let repeat = match rule.when {
            When::Grouped { repeat, .. } => repeat,
            When::Escalated(_) | When::Digest(_) => None,
        };
        let due = repeat.filter(|_| is_open).map(|repeat| at.saturating_add(repeat));
        connection
            .prepare_cached(
                "UPDATE routed SET occasion = ?3, since = ?4, due = ?5, told = CASE WHEN ?6 THEN ?4 ELSE told END
                 WHERE route = ?1 AND alert = ?2",
            )?
            .execute(params![rule.name, id, Occasion::Repeated.name(), at, due, alert.is_some()])?;
        if let Some(alert) = alert {
            events.push(Occasion::of(&occasion));
            alerts.push(alert);
        }
    }
    let Some(event) = events.into_iter().min() else {
        return Ok(false);
    };
    alerts.sort_by_key(|alert| std::cmp::Reverse((alert.severity, alert.id)));
    let more = alerts.len().saturating_sub(HELD) as u64;
    alerts.truncate(HELD);
    let letter = Letter { event, route: rule.name.clone(), alerts, more };
    outbox::post(connection, &letter)?;
    Ok(true)
}

/// Puts everything that waits for a digest into one message, whatever became of it since.
fn digest(connection: &Connection, rule: &Rule, at: i64) -> Result<bool, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT alerts.id, body FROM routed JOIN alerts ON alerts.id = routed.alert
         WHERE route = ? AND bundle = '' AND due IS NOT NULL ORDER BY alerts.severity DESC, alerts.id DESC LIMIT ?",
    )?;
    let mut rows = query.query(params![rule.name, HELD as u64])?;
    let mut letter = Letter { event: Occasion::Digest, route: rule.name.clone(), alerts: Vec::new(), more: 0 };
    while let Some(row) = rows.next()? {
        letter.alerts.push(alerts::read(row)?);
    }
    let told = connection
        .prepare_cached(
            "UPDATE routed SET due = NULL, since = ?2, told = ?2 WHERE route = ?1 AND bundle = '' AND due IS NOT NULL",
        )?
        .execute(params![rule.name, at])?;
    letter.more = told.saturating_sub(letter.alerts.len()) as u64;
    if letter.alerts.is_empty() {
        return Ok(false);
    }
    outbox::post(connection, &letter)?;
    Ok(true)
}

impl Store {
    /// Ends when a route got something to be told of after the call.
    pub(crate) fn armed(&self) -> Notified<'_> {
        self.armed.notified()
    }

    /// Puts what is due at `at` (milliseconds since 1970) into the outbox; gives when something is due next.
    pub(crate) async fn tell(&self, at: i64) -> Result<Option<i64>, StoreError> {
        let next = |connection: &Connection| {
            let mut query =
                connection.prepare_cached("SELECT (SELECT min(due) FROM routed WHERE due IS NOT NULL), (SELECT max(since) FROM routed WHERE due IS NOT NULL)")?;
            Ok::<(Option<i64>, Option<i64>), StoreError>(query.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
        };
        let (due, since) = self.read(next).await?;
        if due.is_none_or(|due| due > at) && since.is_none_or(|since| since <= at) {
            return Ok(due);
        }
        let rules = std::sync::Arc::clone(&self.rules);
        let (posted, due) = self
            .write(move |connection| {
                // The clock has been set back: what waits begins to wait anew, and not an hour longer.
                connection
                    .prepare_cached(
                        "UPDATE routed SET due = ?1 + due - since, since = ?1 WHERE since > ?1 AND due IS NOT NULL",
                    )?
                    .execute([at])?;
                let mut posted = false;
                let lasting = silences::lasting(connection, at)?;
                for rule in rules.iter() {
                    let mut query = connection
                        .prepare_cached("SELECT DISTINCT bundle FROM routed WHERE route = ? AND due <= ? LIMIT ?")?;
                    let bundles: Vec<String> = query
                        .query_map(params![rule.name, at, MESSAGES], |row| row.get(0))?
                        .collect::<Result<_, _>>()?;
                    for bundle in bundles {
                        posted |= if let When::Digest(_) = rule.when {
                            digest(connection, rule, at)?
                        } else {
                            tell(connection, rule, &bundle, &lasting, at)?
                        };
                    }
                }
                Ok((posted, next(connection)?.0))
            })
            .await?;
        if posted {
            self.posted.notify_waiters();
        }
        Ok(due)
    }

    /// Leaves what waits for routes that the configuration does not name: they are told nothing more, and messages to
    /// them are given up.
    pub(crate) async fn leave_routes(&self) -> Result<(), StoreError> {
        let names = serde_json::to_string(&self.rules.iter().map(|rule| &rule.name).collect::<Vec<_>>())?;
        self.write(move |connection| {
            connection.execute(
                "UPDATE routed SET due = NULL
                 WHERE due IS NOT NULL AND route NOT IN (SELECT value FROM json_each(?))",
                [&names],
            )?;
            let given_up = connection.execute(
                "UPDATE outbox SET state = 'dead', error = 'collector.toml has no [[route]] of this name any more'
                 WHERE state = 'waiting' AND route NOT IN (SELECT value FROM json_each(?))",
                [&names],
            )?;
            if given_up > 0 {
                tracing::error!(
                    messages = given_up,
                    "messages to routes that are gone from collector.toml were given up"
                );
            }
            Ok(())
        })
        .await
    }
}

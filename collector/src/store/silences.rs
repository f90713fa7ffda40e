//! Silences: who keeps which alerts from being told of, until when, and why. Each is an entry of the audit log.

use super::audit::{self, Actor, Kind};
use super::sql::{self, Connection, Optional, Row, params};
use super::{Store, StoreError, now};
use crate::alert::Alert;
use crate::alert::silence::{Matcher, Silence};

/// Silences that may last at the same time.
const MOST: i64 = 100;

/// A silence as it is kept.
pub(crate) struct Silenced {
    pub(crate) number: i64,
    pub(crate) silence: Silence,
    pub(crate) reason: String,
    /// Who added it.
    pub(crate) author: String,
    /// When, in milliseconds since 1970.
    pub(crate) created: i64,
    /// When it ends by itself.
    pub(crate) until: i64,
    /// When somebody ended it, and who.
    pub(crate) ended: Option<(i64, String)>,
    /// Alerts that it has kept back.
    pub(crate) alerts: u64,
}

const COLUMNS: &str =
    "number, host, user, destination, master, reason, author, created, until, ended, ended_by, alerts";

impl Silenced {
    fn read(row: &Row<'_>) -> sql::Result<Silenced> {
        let silence = Silence { host: row.get(1)?, user: row.get(2)?, destination: row.get(3)?, master: row.get(4)? };
        Ok(Silenced {
            number: row.get(0)?,
            silence,
            reason: row.get(5)?,
            author: row.get(6)?,
            created: row.get(7)?,
            until: row.get(8)?,
            ended: row.get::<Option<i64>>(9)?.zip(row.get(10)?),
            alerts: row.get(11)?,
        })
    }
}

/// The silences that last at a time.
pub(super) fn lasting(connection: &Connection, at: i64) -> Result<Vec<Silenced>, StoreError> {
    let mut query = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM silences WHERE ended IS NULL AND until > ? ORDER BY number"))?;
    let found = query.query_map([at], Silenced::read)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// A silence that lasts, to be held against alerts.
pub(super) struct Cover {
    number: i64,
    matcher: Matcher,
}

/// The silences that last at a time, to be held against alerts.
pub(super) fn covers(connection: &Connection, at: i64) -> Result<Vec<Cover>, StoreError> {
    let lasting = lasting(connection, at)?;
    Ok(lasting.into_iter().map(|one| Cover { number: one.number, matcher: Matcher::new(one.silence) }).collect())
}

/// Says in an alert which silence keeps it back, if one does; says whether that is another than before.
pub(super) fn mark(connection: &Connection, covers: &[Cover], alert: &mut Alert) -> Result<bool, StoreError> {
    let covering = |one: &&Cover| one.matcher.covers(alert);
    // The one that it is marked with already stays.
    let by = covers
        .iter()
        .filter(|one| alert.silenced == Some(one.number))
        .find(covering)
        .or_else(|| covers.iter().find(covering))
        .map(|one| one.number);
    if by == alert.silenced {
        return Ok(false);
    }
    alert.silenced = by;
    if let Some(number) = by {
        connection.prepare_cached("UPDATE silences SET alerts = alerts + 1 WHERE number = ?")?.execute([number])?;
    }
    Ok(true)
}

impl Store {
    /// Adds a silence that ends so many milliseconds from now; gives its number.
    pub(crate) async fn add_silence(
        &self,
        by: String,
        silence: Silence,
        reason: String,
        lasts: i64,
    ) -> Result<i64, StoreError> {
        self.write(move |connection| {
            let at = now();
            let lasting: i64 = connection
                .prepare_cached("SELECT count(*) FROM silences WHERE ended IS NULL AND until > ?")?
                .query_row([at], |row| row.get(0))?;
            if lasting >= MOST {
                return Err(StoreError::User(format!("{MOST} silences last already: end one that is not needed.")));
            }
            let until = at.saturating_add(lasts);
            let number: i64 = connection
                .prepare_cached(
                    "INSERT INTO silences (host, user, destination, master, reason, author, created, until)
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING number",
                )?
                .query_row(
                    params![silence.host, silence.user, silence.destination, silence.master, reason, by, at, until],
                    |row| row.get(0),
                )?;
            let parts = [
                ("host", &silence.host),
                ("user", &silence.user),
                ("destination", &silence.destination),
                ("master", &silence.master),
            ];
            let what: Vec<String> =
                parts.iter().filter(|(_, p)| !p.is_empty()).map(|(name, p)| format!("{name} {p:?}")).collect();
            let hours = lasts / 3_600_000;
            let detail = format!("added for {hours} h: {}; reason: {reason}", what.join(", "));
            audit::append(connection, &Actor::User(by), Kind::Silence, &format!("silence {number}"), &detail)?;
            Ok(number)
        })
        .await
    }

    /// Ends a silence before its time; says whether it lasted.
    pub(crate) async fn end_silence(&self, by: String, number: i64) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let at = now();
            let ended = connection
                .prepare_cached(
                    "UPDATE silences SET ended = ?2, ended_by = ?3 WHERE number = ?1 AND ended IS NULL AND until > ?2",
                )?
                .execute(params![number, at, by])?;
            if ended > 0 {
                audit::append(connection, &Actor::User(by), Kind::Silence, &format!("silence {number}"), "ended")?;
            }
            Ok(ended > 0)
        })
        .await
    }

    /// Silences that last, those that end first before the others; and the latest so many of those that ended.
    pub(crate) async fn silences(&self, limit: u32) -> Result<(Vec<Silenced>, Vec<Silenced>), StoreError> {
        self.read(move |connection| {
            let at = now();
            let mut lasting = lasting(connection, at)?;
            lasting.sort_by_key(|one| (one.until, one.number));
            let mut query = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM silences WHERE ended IS NOT NULL OR until <= ? ORDER BY number DESC LIMIT ?"
            ))?;
            let ended = query.query_map(params![at, limit], Silenced::read)?.collect::<Result<_, _>>()?;
            Ok((lasting, ended))
        })
        .await
    }

    /// How many silences last.
    pub(crate) async fn count_silences(&self) -> Result<u64, StoreError> {
        self.read(|connection| {
            let mut query =
                connection.prepare_cached("SELECT count(*) FROM silences WHERE ended IS NULL AND until > ?")?;
            Ok(query.query_row([now()], |row| row.get(0))?)
        })
        .await
    }

    /// The reason of a silence.
    pub(crate) async fn silence_reason(&self, number: i64) -> Result<Option<String>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached("SELECT reason FROM silences WHERE number = ?")?;
            Ok(query.query_row([number], |row| row.get(0)).optional()?)
        })
        .await
    }
}

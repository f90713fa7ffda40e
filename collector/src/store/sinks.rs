//! How far each sink has come. A sink goes through `records` in the order of their numbers, which is the order in
//! which they were committed, and keeps its position here: what a sink costs the database does not grow with what waits.

use serde::Serialize;
use tokio::sync::futures::Notified;
use vitrine_policy::record::Record;

use super::body::Body;
use super::sql::{Connection, Optional, params};
use super::{Store, StoreError, now};
use crate::config::Filter;

/// Records read at once.
const RECORDS: u32 = 500;
/// Bytes of records read at once, give or take one record.
const BYTES: usize = 1 << 20;
/// Refused records kept for one sink; older ones give way.
const REFUSED: i64 = 10_000;

/// A sink as the configuration names it.
pub(crate) struct SinkSetting {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) target: String,
    pub(crate) filter: Filter,
}

/// What a sink is to be given next.
pub(crate) struct Waiting {
    /// Number and JSON of each record.
    pub(crate) records: Vec<(i64, String)>,
    /// Whether there was more than is read at once.
    pub(crate) more: bool,
    /// Records that the sink had lost before.
    pub(crate) lost: u64,
}

/// What became of records that a sink was given.
pub(crate) struct Progress {
    /// Number of the last one.
    pub(crate) position: i64,
    /// How many the sink has.
    pub(crate) delivered: u64,
    /// Numbers of all that it was given.
    pub(crate) given: Vec<i64>,
    /// [`Waiting::lost`]
    pub(crate) lost: u64,
    /// Those that it will never take: number, why, and text.
    pub(crate) refused: Vec<(i64, String, String)>,
}

/// How a sink is doing.
#[derive(Clone, Debug, Serialize)]
pub struct SinkState {
    /// Its name in the configuration.
    pub name: String,
    /// `file`, `http`, `nats` or `syslog`.
    pub kind: String,
    /// Where records go.
    pub target: String,
    /// Records that it has been given.
    pub delivered: u64,
    /// Records that it would not take.
    pub refused: u64,
    /// Records that were removed for their age before it had them.
    pub lost: u64,
    /// Records that wait, at most: those that it does not ask for are among them.
    pub behind: u64,
    /// Since when the first of them waits, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Seconds that the first of them has waited.
    pub behind_seconds: u64,
    /// When records went last, in milliseconds since 1970.
    pub last: Option<i64>,
    /// Failures in a row.
    pub failures: u32,
    /// Why the last attempt failed; none if it did not.
    pub error: Option<String>,
    /// When the next attempt is due, in milliseconds since 1970, while attempts fail.
    pub retry: Option<i64>,
}

/// A record that a sink would not take.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedRecord {
    /// Its number in the collector.
    pub record: i64,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// What the receiver said.
    pub reason: String,
    /// What it was sent.
    pub body: String,
}

/// How many sinks there are.
pub(crate) struct SinkCount {
    pub(crate) all: u64,
    pub(crate) failing: u64,
}

impl Store {
    /// Ends when records were committed after the call.
    pub(crate) fn recorded(&self) -> Notified<'_> {
        self.recorded.notified()
    }

    /// Takes over the sinks of the configuration. A new one begins with the oldest record; one that is gone keeps its
    /// position for the day on which it is named again.
    pub(crate) async fn set_sinks(&self, sinks: Vec<SinkSetting>) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection.execute("UPDATE sinks SET active = FALSE", [])?;
            let mut upsert = connection.prepare_cached(
                "INSERT INTO sinks (name, kind, target, filter, active) VALUES (?1, ?2, ?3, ?4, TRUE)
                 ON CONFLICT (name) DO UPDATE SET kind = ?2, target = ?3, filter = ?4, active = TRUE,
                    failures = 0, error = NULL, retry = NULL",
            )?;
            for sink in sinks {
                let filter = serde_json::to_string(&sink.filter)?;
                upsert.execute(params![sink.name, sink.kind, sink.target, filter])?;
            }
            Ok(())
        })
        .await
    }

    /// The records that a sink has not had, oldest first, as many as go at once.
    pub(crate) async fn waiting(&self, sink: String) -> Result<Waiting, StoreError> {
        self.read(move |connection| {
            let lost = lost(connection, &sink)?;
            let mut query = connection.prepare_cached(
                "SELECT number, body FROM records
                 WHERE number > (SELECT position FROM sinks WHERE name = ?) AND number <= ? ORDER BY number LIMIT ?",
            )?;
            let mut rows = query.query(params![sink, connection.horizon()?, RECORDS])?;
            let (mut records, mut bytes) = (Vec::new(), 0);
            while bytes < BYTES
                && let Some(row) = rows.next()?
            {
                // What cannot be read is laid aside by whoever shapes it.
                let body = row.get::<Body>(1)?.json().unwrap_or_default();
                bytes += body.len();
                records.push((row.get(0)?, body));
            }
            let more = records.len() == RECORDS as usize || bytes >= BYTES;
            Ok(Waiting { records, more, lost })
        })
        .await
    }

    /// Moves a sink on, and lays aside what it would not take.
    pub(crate) async fn advance(&self, sink: String, progress: Progress) -> Result<(), StoreError> {
        self.write_beside(move |connection| {
            let at = now();
            if lost(connection, &sink)? > progress.lost {
                // What was removed while it was on its way has arrived all the same.
                let mut query =
                    connection.prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM records WHERE number = ?)")?;
                let mut arrived = 0_u64;
                for number in &progress.given {
                    arrived += query.query_row([number], |row| row.get::<u64>(0))?;
                }
                connection
                    .prepare_cached("UPDATE sinks SET lost = max(0, lost - ?) WHERE name = ?")?
                    .execute(params![arrived, sink])?;
            }
            connection
                .prepare_cached(
                    "UPDATE sinks SET position = max(position, ?2), delivered = delivered + ?3, refused = refused + ?4,
                        last = CASE WHEN ?3 > 0 THEN ?5 ELSE last END, failures = 0, error = NULL, retry = NULL
                     WHERE name = ?1",
                )?
                .execute(params![sink, progress.position, progress.delivered, progress.refused.len() as u64, at])?;
            for (record, reason, body) in &progress.refused {
                connection
                    .prepare_cached("INSERT INTO refused (sink, record, at, reason, body) VALUES (?, ?, ?, ?, ?)")?
                    .execute(params![sink, record, at, reason, body])?;
            }
            if !progress.refused.is_empty() {
                connection
                    .prepare_cached(
                        "DELETE FROM refused WHERE sink = ?1 AND number <=
                         (SELECT number FROM refused WHERE sink = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
                    )?
                    .execute(params![sink, REFUSED])?;
            }
            Ok(())
        })
        .await
    }

    /// Notes that a sink could not be reached, and when it is tried again.
    pub(crate) async fn stuck(&self, sink: String, failures: u32, error: String, retry: i64) -> Result<(), StoreError> {
        self.write_beside(move |connection| {
            connection
                .prepare_cached("UPDATE sinks SET failures = ?2, error = ?3, retry = ?4 WHERE name = ?1")?
                .execute(params![sink, failures, error, retry])?;
            Ok(())
        })
        .await
    }

    /// How the sinks of the configuration are doing, by name.
    ///
    /// # Errors
    /// The store fails.
    pub async fn sinks(&self) -> Result<Vec<SinkState>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(&format!(
                "SELECT name, kind, target, delivered, refused, lost, {}, last, failures, error, retry,
                    (SELECT received FROM records WHERE number > position ORDER BY number LIMIT 1)
                 FROM sinks WHERE active ORDER BY name",
                connection.behind("position")
            ))?;
            let time = now();
            let states = query.query_map([], |row| {
                let since: Option<i64> = row.get(11)?;
                let waited = since.map_or(0, |since| time.saturating_sub(since) / 1000);
                Ok(SinkState {
                    name: row.get(0)?,
                    kind: row.get(1)?,
                    target: row.get(2)?,
                    delivered: row.get(3)?,
                    refused: row.get(4)?,
                    lost: row.get(5)?,
                    behind: row.get(6)?,
                    since,
                    behind_seconds: u64::try_from(waited).unwrap_or(0),
                    last: row.get(7)?,
                    failures: row.get(8)?,
                    error: row.get(9)?,
                    retry: row.get(10)?,
                })
            })?;
            Ok(states.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The newest records that a sink would not take, the latest first; none if no sink has that name.
    ///
    /// # Errors
    /// The store fails.
    pub async fn refused(&self, sink: String, limit: u32) -> Result<Option<Vec<RefusedRecord>>, StoreError> {
        self.read(move |connection| {
            let known: Option<i64> =
                connection.query_row("SELECT 1 FROM sinks WHERE name = ?", [&sink], |row| row.get(0)).optional()?;
            if known.is_none() {
                return Ok(None);
            }
            let mut query = connection.prepare_cached(
                "SELECT record, at, reason, body FROM refused WHERE sink = ? ORDER BY number DESC LIMIT ?",
            )?;
            let found = query.query_map(params![sink, limit], |row| {
                Ok(RefusedRecord { record: row.get(0)?, at: row.get(1)?, reason: row.get(2)?, body: row.get(3)? })
            })?;
            Ok(Some(found.collect::<Result<_, _>>()?))
        })
        .await
    }

    /// How many sinks there are.
    pub(crate) async fn count_sinks(&self) -> Result<SinkCount, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached("SELECT count(*), count(error) FROM sinks WHERE active")?;
            Ok(query.query_row([], |row| Ok(SinkCount { all: row.get(0)?, failing: row.get(1)? }))?)
        })
        .await
    }
}

fn lost(connection: &Connection, sink: &str) -> Result<u64, StoreError> {
    let mut query = connection.prepare_cached("SELECT lost FROM sinks WHERE name = ?")?;
    Ok(query.query_row([sink], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// Counts records that are being removed before every sink has had them.
pub(super) fn lose(connection: &Connection, gone: &[(i64, Body)]) -> Result<(), StoreError> {
    if gone.is_empty() {
        return Ok(());
    }
    // One that cannot be read is lost to everybody.
    let gone: Vec<(i64, Option<Record>)> = gone.iter().map(|(number, body)| (*number, body.record().ok())).collect();
    let mut query = connection.prepare_cached("SELECT name, position, filter FROM sinks WHERE active")?;
    let sinks: Vec<(String, i64, String)> =
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<Result<_, _>>()?;
    for (sink, position, filter) in sinks {
        let filter: Filter = serde_json::from_str(&filter)?;
        let wanted = |record: &Option<Record>| record.as_ref().is_none_or(|record| filter.takes(record));
        let lost = gone.iter().filter(|(number, record)| *number > position && wanted(record)).count();
        if lost > 0 {
            tracing::error!(sink, records = lost, "records were removed for their age before the sink had them");
            connection
                .prepare_cached("UPDATE sinks SET lost = lost + ? WHERE name = ?")?
                .execute(params![lost as u64, sink])?;
        }
    }
    Ok(())
}

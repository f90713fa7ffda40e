//! The list of alerts as the console reads it: by any filter, from the newest on, each page from where the
//! last one ended, so that the millionth alert costs no more than the first.

use std::collections::HashSet;

use vitrine_policy::record::Record;

use super::alerts::{kept, read, records_of};
use super::body::Body;
use super::fulltext::{self, List};
use super::sql::{Connection, Optional, Value, params};
use super::{Store, StoreError};
use crate::alert::Alert;

/// How far open alerts are counted.
pub(crate) const COUNTED: u64 = 1000;

const FROM: &str =
    "alerts.id >= coalesce((SELECT id FROM alerts WHERE raised >= ? ORDER BY raised, id LIMIT 1), 4611686018427387904)";
const UNTIL: &str =
    "alerts.id < coalesce((SELECT id FROM alerts WHERE raised >= ? ORDER BY raised, id LIMIT 1), 4611686018427387904)";

/// Where a page of the list begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// With the newest.
    Newest,
    /// With the first that is older than this one.
    Before(i64),
    /// So that it ends with the last that is newer than this one.
    After(i64),
}

/// Which alerts to list. What is empty filters nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    /// Name of a state.
    pub(crate) state: Option<&'static str>,
    /// Number of a severity.
    pub(crate) severity: Option<u8>,
    /// Name of a workstation.
    pub(crate) host: String,
    /// Login name.
    pub(crate) user: String,
    /// Words of a destination.
    pub(crate) destination: String,
    /// Words of anything.
    pub(crate) text: String,
    /// Raised at this time or later, in milliseconds since 1970.
    pub(crate) from: Option<i64>,
    /// Raised before this time.
    pub(crate) until: Option<i64>,
}

/// An alert, records of it, and the digests of its thumbnails that have arrived.
pub(crate) type Full = (Alert, Vec<Record>, HashSet<String>);

/// A record around an alert: its alert, if it belongs to one, and itself.
pub(crate) type Around = (Option<i64>, Record);

impl Query {
    fn sql(&self, connection: &Connection, key: Key, limit: u32) -> (String, Vec<Value>) {
        let mut conditions = Vec::new();
        let mut values = Vec::new();
        let text = fulltext::matching(connection, List::Alerts, &self.text, &self.destination);
        let (from, id) = match connection {
            Connection::Sqlite(_) if !text.is_empty() => {
                ("alert_text CROSS JOIN alerts ON alerts.id = alert_text.rowid", "alert_text.rowid")
            }
            _ => ("alerts", "alerts.id"),
        };
        for one in text {
            conditions.push(one.condition);
            values.push(one.value);
        }
        let mut also = |condition: &str, value: Value| {
            conditions.push(condition.to_owned());
            values.push(value);
        };
        if let Some(state) = self.state {
            also("state = ?", state.to_owned().into());
        }
        if let Some(severity) = self.severity {
            also("severity = ?", i64::from(severity).into());
        }
        if !self.host.is_empty() {
            also("host = ?", self.host.clone().into());
        }
        if !self.user.is_empty() {
            also("user = ?", self.user.clone().into());
        }
        // Numbers rise with time: the index of times says at which number to begin.
        if let Some(from) = self.from {
            also(FROM, from.into());
        }
        if let Some(until) = self.until {
            also(UNTIL, until.into());
        }
        let order = if let Key::After(_) = key { "ASC" } else { "DESC" };
        let mut sql =
            conditions.iter().fold(format!("SELECT alerts.id, body FROM {from} WHERE TRUE"), |sql, condition| {
                format!("{sql} AND {condition}")
            });
        let (sign, number) = match key {
            Key::Newest => ("<", i64::MAX),
            Key::Before(number) => ("<", number),
            Key::After(number) => (">", number),
        };
        sql.push_str(&format!(" AND {id} {sign} ? ORDER BY {id} {order} LIMIT ?"));
        values.push(number.into());
        values.push(i64::from(limit).into());
        (sql, values)
    }
}

pub(super) fn page(connection: &Connection, query: &Query, key: Key, limit: u32) -> Result<Vec<Alert>, StoreError> {
    let (sql, values) = query.sql(connection, key, limit);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(values)?;
    let mut alerts = Vec::new();
    while let Some(row) = rows.next()? {
        alerts.push(read(&row)?);
    }
    if let Key::After(_) = key {
        alerts.reverse();
    }
    Ok(alerts)
}

impl Store {
    /// A page of alerts, the newest first.
    pub(crate) async fn list(&self, query: Query, key: Key, limit: u32) -> Result<Vec<Alert>, StoreError> {
        self.read(move |connection| page(connection, &query, key, limit)).await
    }

    /// One alert with so many of its records (the one that leads it first, then the latest).
    pub(crate) async fn alert(&self, id: i64, records: u32) -> Result<Option<Full>, StoreError> {
        self.read(move |connection| {
            let found = connection
                .prepare_cached("SELECT id, body FROM alerts WHERE id = ?")?
                .query_row([id], |row| Ok(read(row)))
                .optional()?;
            let Some(alert) = found.transpose()? else {
                return Ok(None);
            };
            let found = records_of(connection, &alert, records)?;
            let kept = kept(connection, &alert)?;
            Ok(Some((alert, found, kept)))
        })
        .await
    }

    /// What an agent told from one time to another, oldest first: of what came before `at` and of what came from then on
    /// so many records that lie nearest to it, and whether there are more.
    pub(crate) async fn around(
        &self,
        agent: String,
        (from, at, until): (i64, i64, i64),
        limit: usize,
    ) -> Result<(Vec<Around>, bool), StoreError> {
        const OF: &str = "SELECT alert, body FROM records WHERE agent = (SELECT number FROM agents WHERE id = ?)";
        let side = move |connection: &Connection, condition: &str, from: i64, until: i64| {
            let mut query = connection.prepare_cached(&format!("{OF} AND {condition} LIMIT ?"))?;
            let mut rows = query.query(params![agent, from, until, limit as u64 + 1])?;
            let mut records = Vec::new();
            while let Some(row) = rows.next()? {
                let record = row.get::<Body>(1)?.record()?;
                records.push((row.get(0)?, record));
            }
            let is_cut = records.len() > limit;
            records.truncate(limit);
            Ok::<_, StoreError>((records, is_cut))
        };
        self.read(move |connection| {
            let before = "time >= ? AND time < ? ORDER BY time DESC, number DESC";
            let (mut records, cut_before) = side(connection, before, from, at)?;
            records.reverse();
            let (after, cut_after) = side(connection, "time BETWEEN ? AND ? ORDER BY time, number", at, until)?;
            records.extend(after);
            Ok((records, cut_before || cut_after))
        })
        .await
    }

    /// How many alerts wait for somebody, up to [`COUNTED`].
    pub(crate) async fn open_alerts(&self) -> Result<u64, StoreError> {
        self.read(|connection| {
            let mut query = connection
                .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM alerts WHERE state = 'open' LIMIT ?) AS open")?;
            Ok(query.query_row([COUNTED], |row| row.get(0))?)
        })
        .await
    }
}

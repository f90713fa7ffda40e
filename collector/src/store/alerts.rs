//! Alerts as they are stored: their key and what lists are ordered by in columns, the rest as JSON.

use std::collections::HashSet;

use vitrine_policy::record::Record;

use super::body::Body;
use super::sql::{Connection, Optional, Row, params};
use super::{Store, StoreError, fulltext, now, routed, silences};
use crate::alert::{self, Alert, Group, State, WINDOW};
use crate::route::Rule;

/// Which alerts to list, the latest changed first.
#[derive(Clone, Debug)]
pub struct AlertFilter {
    /// Only those that nobody has answered for.
    pub open: bool,
    /// Only those with a higher number.
    pub since: i64,
    /// At most so many.
    pub limit: u32,
    /// After leaving out so many.
    pub skip: u32,
}

impl Store {
    /// Alerts, the latest changed first.
    ///
    /// # Errors
    /// The store fails.
    pub async fn alerts(&self, filter: AlertFilter) -> Result<Vec<Alert>, StoreError> {
        self.read(move |connection| list(connection, &filter)).await
    }
}

fn list(connection: &Connection, filter: &AlertFilter) -> Result<Vec<Alert>, StoreError> {
    let mut query = connection.prepare_cached(if filter.open {
        "SELECT id, body FROM alerts WHERE state = 'open' AND id > ? ORDER BY changed DESC, id DESC LIMIT ? OFFSET ?"
    } else {
        "SELECT id, body FROM alerts WHERE id > ? ORDER BY changed DESC, id DESC LIMIT ? OFFSET ?"
    })?;
    let mut rows = query.query(params![filter.since, filter.limit, filter.skip])?;
    let mut alerts = Vec::new();
    while let Some(row) = rows.next()? {
        alerts.push(read(&row)?);
    }
    Ok(alerts)
}

pub(super) fn records_of(connection: &Connection, alert: &Alert, limit: u32) -> Result<Vec<Record>, StoreError> {
    let mut query = connection
        .prepare_cached("SELECT body FROM records WHERE alert = ? ORDER BY number = ? DESC, number DESC LIMIT ?")?;
    let mut rows = query.query(params![alert.id, alert.lead, limit])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(row.get::<Body>(0)?.record()?);
    }
    Ok(records)
}

pub(super) fn kept(connection: &Connection, alert: &Alert) -> Result<HashSet<String>, StoreError> {
    let mut query = connection.prepare_cached("SELECT digest FROM evidence WHERE digest IN (?, ?)")?;
    let digests = query.query_map(params![alert.evidence.master, alert.evidence.copy], |row| row.get(0))?;
    Ok(digests.collect::<Result<_, _>>()?)
}

pub(super) fn read(row: &Row<'_>) -> Result<Alert, StoreError> {
    let mut alert: Alert = serde_json::from_str(row.text(1)?)?;
    alert.id = row.get(0)?;
    Ok(alert)
}

/// One alert, to be changed; none if it is gone.
pub(super) fn find(connection: &Connection, id: i64) -> Result<Option<Alert>, StoreError> {
    let sql = format!("SELECT id, body FROM alerts WHERE id = ? {}", connection.locking());
    connection.query_row(&sql, [id], |row| Ok(read(row))).optional()?.transpose()
}

/// Changes one alert; none if it is gone.
pub(super) fn change(connection: &Connection, id: i64, work: impl FnOnce(&mut Alert)) -> Result<(), StoreError> {
    if let Some(mut alert) = find(connection, id)? {
        work(&mut alert);
        write(connection, &alert)?;
    }
    Ok(())
}

pub(super) fn write(connection: &Connection, alert: &Alert) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE alerts SET state = ?, severity = ?, first_seen = ?, last_seen = ?, changed = ?, body = ?
             WHERE id = ?",
        )?
        .execute(params![
            alert.state.name(),
            alert.severity as u8,
            alert.first_seen,
            alert.last_seen,
            alert.changed,
            serde_json::to_string(alert)?,
            alert.id
        ])?;
    fulltext::write_alert(connection, alert)
}

/// The alerts that one batch touches, each read and written once.
#[derive(Default)]
pub(super) struct Groups {
    touched: Vec<Touched>,
}

struct Touched {
    group: Group,
    alert: Alert,
}

impl Groups {
    /// Puts a record into its alert, if it is one to raise any; gives the alert's number.
    pub(super) fn add(
        &mut self,
        connection: &Connection,
        record: &Record,
        number: i64,
        received: i64,
    ) -> Result<Option<i64>, StoreError> {
        let Some(group) = alert::group(record) else {
            return Ok(None);
        };
        let at = match self.position(&group, record.time) {
            Some(at) => at,
            None => {
                let found = self.find(connection, &group, record.time)?;
                let touched = match found {
                    Some(alert) => Touched { group, alert },
                    None => create(connection, group, Alert::of(record, received))?,
                };
                self.touched.push(touched);
                self.touched.len() - 1
            }
        };
        let Some(touched) = self.touched.get_mut(at) else {
            return Ok(None);
        };
        touched.alert.add(record, number, received);
        Ok(Some(touched.alert.id))
    }

    fn position(&self, group: &Group, time: i64) -> Option<usize> {
        self.touched.iter().position(|touched| touched.group == *group && touched.alert.spans(time))
    }

    fn find(&self, connection: &Connection, group: &Group, time: i64) -> Result<Option<Alert>, StoreError> {
        let mut query = connection.prepare_cached(&format!(
            "SELECT id, body FROM alerts
             WHERE state = 'open' AND agent = ?1 AND user = ?2 AND program = ?3 AND code = ?4
               AND max(last_seen, ?5) - min(first_seen, ?5) <= ?6
             ORDER BY id DESC {}",
            connection.locking()
        ))?;
        let mut rows = query.query(params![group.agent, group.user, group.program, group.code, time, WINDOW])?;
        while let Some(row) = rows.next()? {
            let alert = read(&row)?;
            // What the batch has touched already is newer than the row, and did not fit.
            if !self.touched.iter().any(|touched| touched.alert.id == alert.id) {
                return Ok(Some(alert));
            }
        }
        Ok(None)
    }

    /// Raises, changes or ends the alert about an agent's missing records.
    pub(super) fn missing(
        &mut self,
        connection: &Connection,
        agent: &str,
        host: &str,
        missing: u64,
        received: i64,
    ) -> Result<(), StoreError> {
        let mut alert = Alert::lost(agent, host, received);
        let group = alert.group();
        let found = open_of(connection, agent, alert::LOST)?;
        let mut touched = match found {
            Some(found) => Touched { group, alert: found },
            None if missing == 0 => return Ok(()),
            None => {
                alert.missing(missing, received);
                create(connection, group, alert)?
            }
        };
        touched.alert.missing(missing, received);
        self.touched.push(touched);
        Ok(())
    }

    /// Raises the alert that records up to this one, behind number `after`, are not as they were sealed; an open
    /// one is widened.
    pub(super) fn tampered(
        &mut self,
        connection: &Connection,
        record: &Record,
        after: u64,
        received: i64,
    ) -> Result<(), StoreError> {
        let agent = &record.host.agent;
        let mine = |touched: &&mut Touched| touched.group.code == alert::TAMPERED && touched.group.agent == *agent;
        if let Some(touched) = self.touched.iter_mut().find(mine) {
            touched.alert.tampered(after, record.sequence, received);
            return Ok(());
        }
        let found = open_of(connection, agent, alert::TAMPERED)?;
        let mut touched = match found {
            Some(alert) => Touched { group: alert.group(), alert },
            None => {
                let alert = Alert::tampering(agent, &record.host.name, received);
                create(connection, alert.group(), alert)?
            }
        };
        touched.alert.tampered(after, record.sequence, received);
        self.touched.push(touched);
        Ok(())
    }

    /// Raises the alert about an agent that is not heard of; gives its number.
    pub(super) fn silent(
        &mut self,
        connection: &Connection,
        agent: &str,
        host: &str,
        seconds: u64,
        last: i64,
        received: i64,
    ) -> Result<i64, StoreError> {
        let alert = Alert::silent(agent, host, seconds, last, received);
        let touched = create(connection, alert.group(), alert)?;
        let id = touched.alert.id;
        self.touched.push(touched);
        Ok(id)
    }

    /// Raises an alert of its own; gives its number.
    pub(super) fn raise(&mut self, connection: &Connection, alert: Alert) -> Result<i64, StoreError> {
        let touched = create(connection, alert.group(), alert)?;
        let number = touched.alert.id;
        self.touched.push(touched);
        Ok(number)
    }

    /// Writes the alerts back, and what routes are to be told of them. Says whether one is.
    pub(super) fn write(self, connection: &Connection, rules: &[Rule]) -> Result<bool, StoreError> {
        let mut armed = false;
        let covers = if self.touched.is_empty() { Vec::new() } else { silences::covers(connection, now())? };
        for Touched { mut alert, .. } in self.touched {
            silences::mark(connection, &covers, &mut alert)?;
            write(connection, &alert)?;
            if alert.state == State::Open {
                armed |= routed::arm(connection, rules, &alert)?;
            }
        }
        Ok(armed)
    }
}

/// The open alert of this code about an agent itself, to be changed.
fn open_of(connection: &Connection, agent: &str, code: &str) -> Result<Option<Alert>, StoreError> {
    let sql =
        format!("SELECT id, body FROM alerts WHERE state = 'open' AND agent = ? AND code = ? {}", connection.locking());
    connection.query_row(&sql, params![agent, code], |row| Ok(read(row))).optional()?.transpose()
}

fn create(connection: &Connection, group: Group, mut alert: Alert) -> Result<Touched, StoreError> {
    connection.in_order()?;
    alert.id = connection
        .prepare_cached(
            "INSERT INTO alerts (agent, user, program, code, state, severity, first_seen, last_seen, changed, raised, body)
             VALUES (?1, ?2, ?3, ?4, 'open', 0, ?5, ?6, ?7, ?7, '') RETURNING id",
        )?
        .query_row(
            params![
                group.agent,
                group.user,
                group.program,
                group.code,
                alert.first_seen,
                alert.last_seen,
                alert.changed
            ],
            |row| row.get(0),
        )?;
    Ok(Touched { group, alert })
}

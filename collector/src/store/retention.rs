//! What is older than it may be kept goes, a little at a time, so that nobody who writes waits for it.

use std::time::Instant;

use vitrine_policy::record::Severity;

use super::body::Body;
use super::sql::{Connection, params};
use super::{Store, StoreError, sinks};

/// Rows that one transaction removes.
const STEP: u32 = 500;

/// What is kept for how long, in milliseconds; what has no age is kept for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Records, and alerts that somebody has answered for or that ended, by their severity.
    pub severities: Vec<(Severity, i64)>,
    /// Thumbnails.
    pub evidence: Option<i64>,
    /// Lines that were no records, records that a sink refused, messages that were delivered or given up, and requests
    /// for approval that are over.
    pub remains: Option<i64>,
}

/// How many rows went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Records.
    pub records: u64,
    /// Alerts.
    pub alerts: u64,
    /// Thumbnails.
    pub evidence: u64,
    /// Lines that were no records, messages, requests for approval, and records that a sink refused.
    pub remains: u64,
}

/// Gives the records that some sink has not had yet.
const RECORDS: &str = "DELETE FROM records WHERE number IN (
    SELECT number FROM records AS old WHERE severity = ?1 AND received < ?2
        AND NOT EXISTS (SELECT 1 FROM alerts WHERE alerts.id = old.alert AND state = 'open') LIMIT ?3)
    RETURNING number, CASE WHEN number > (SELECT min(position) FROM sinks WHERE active) THEN body END";
/// An alert goes after the last of its records.
const ALERTS: &str = "DELETE FROM alerts WHERE id IN (
    SELECT id FROM alerts AS old WHERE severity = ?1 AND changed < ?2 AND state <> 'open'
        AND NOT EXISTS (SELECT 1 FROM records WHERE records.alert = old.id)
        AND NOT EXISTS (SELECT 1 FROM agents WHERE agents.silent = old.id) LIMIT ?3)";
const EVIDENCE: &str = "DELETE FROM evidence WHERE digest IN (
    SELECT digest FROM evidence WHERE ?1 = 0 AND received < ?2 LIMIT ?3)";
const ACCOUNTS: &str = "DELETE FROM accounts WHERE name IN (
    SELECT name FROM accounts WHERE ?1 = 0 AND heard < ?2 LIMIT ?3)";
const DEAD_LETTERS: &str = "DELETE FROM dead_letters WHERE number IN (
    SELECT number FROM dead_letters WHERE ?1 = 0 AND received < ?2 LIMIT ?3)";
const REFUSED: &str = "DELETE FROM refused WHERE number IN (
    SELECT number FROM refused WHERE ?1 = 0 AND at < ?2 LIMIT ?3)";
const APPROVALS: &str = "DELETE FROM approvals WHERE number IN (
    SELECT number FROM approvals WHERE ?1 = 0 AND expires < ?2 LIMIT ?3)";
const MESSAGES: &str = "DELETE FROM outbox WHERE number IN (
    SELECT number FROM outbox WHERE ?1 = 0 AND state <> 'waiting' AND created < ?2 LIMIT ?3)";

impl Store {
    /// Removes what is older than it may be kept at `now` (milliseconds since 1970), until nothing is. Records of an
    /// open alert stay, whatever their age; sequence numbers that were seen stay seen.
    ///
    /// # Errors
    /// The store fails; what was removed until then is gone.
    pub async fn remove_old(&self, retention: &Retention, now: i64) -> Result<Removed, StoreError> {
        let mut removed = Removed { records: self.drop_days(retention, now).await?, ..Removed::default() };
        for (severity, age) in &retention.severities {
            let (severity, before) = (*severity as u8, now.saturating_sub(*age));
            removed.records += self.remove_records(severity, before).await?;
            removed.alerts += self.remove(ALERTS, severity, before).await?;
        }
        if let Some(age) = retention.evidence {
            removed.evidence += self.remove(EVIDENCE, 0, now.saturating_sub(age)).await?;
        }
        if let Some(age) = retention.remains {
            removed.remains += self.remove(DEAD_LETTERS, 0, now.saturating_sub(age)).await?;
            removed.remains += self.remove(REFUSED, 0, now.saturating_sub(age)).await?;
            removed.remains += self.remove(MESSAGES, 0, now.saturating_sub(age)).await?;
            removed.remains += self.remove(APPROVALS, 0, now.saturating_sub(age)).await?;
        }
        // Users of whom no record can be left.
        let oldest = self.read(|connection| {
            let mut oldest = connection.prepare_cached("SELECT min(received) FROM records WHERE severity = ?")?;
            let of = |severity: u8| oldest.query_row([severity], |row| row.get::<Option<i64>>(0));
            let all = (Severity::Informational as u8..=Severity::Critical as u8).map(of);
            Ok(all.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().min())
        });
        let oldest = oldest.await?;
        self.remove(ACCOUNTS, 0, oldest.unwrap_or(now)).await?;
        Ok(removed)
    }

    /// Drops what was received so long ago that records of no severity are kept from then, a day at a time.
    async fn drop_days(&self, retention: &Retention, now: i64) -> Result<u64, StoreError> {
        let all = Severity::Informational as u8..=Severity::Critical as u8;
        let age = |of: u8| retention.severities.iter().find(|(severity, _)| *severity as u8 == of).map(|(_, age)| *age);
        let longest = all.map(age).collect::<Option<Vec<_>>>().and_then(|ages| ages.into_iter().max());
        let before = longest.map_or(i64::MIN, |longest| now.saturating_sub(longest));
        let database = std::sync::Arc::clone(&self.database);
        self.blocking(move || database.drop_days(before)).await
    }

    /// As [`Store::remove`]; what a sink has not had yet is counted as lost to it.
    async fn remove_records(&self, severity: u8, before: i64) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let step = move |connection: &Connection| {
                let mut gone = 0_usize;
                let mut waited = Vec::new();
                let mut statement = connection.prepare_cached(RECORDS)?;
                let mut rows = statement.query(params![severity, before, STEP])?;
                while let Some(row) = rows.next()? {
                    gone += 1;
                    if let Some(body) = row.get::<Option<Body>>(1)? {
                        waited.push((row.get(0)?, body));
                    }
                }
                sinks::lose(connection, &waited)?;
                Ok(gone)
            };
            let began = Instant::now();
            let gone = self.write_beside(step).await?;
            removed += gone as u64;
            if gone < STEP as usize {
                return Ok(removed);
            }
            tokio::time::sleep(began.elapsed()).await; // agents and alerts come first
        }
    }

    /// Runs a statement, by which so many rows of a severity go that are older than a time, until fewer go.
    async fn remove(&self, statement: &'static str, severity: u8, before: i64) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let step = move |connection: &Connection| {
                Ok(connection.prepare_cached(statement)?.execute(params![severity, before, STEP])?)
            };
            let began = Instant::now();
            let gone = self.write_beside(step).await?;
            removed += gone as u64;
            if gone < STEP as usize {
                return Ok(removed);
            }
            tokio::time::sleep(began.elapsed()).await; // agents and alerts come first
        }
    }
}

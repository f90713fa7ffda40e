//! Agents that are not heard of, and those that were heard again.

use super::alerts::{self, Groups};
use super::sql::{Connection, params};
use super::{Store, StoreError, now};

/// So many heartbeats in a row may be missed.
const MISSED: i64 = 2;
/// By how much clocks of collectors differ, in milliseconds.
const AHEAD: i64 = 60_000;

struct Missed {
    number: i64,
    agent: String,
    host: String,
    seconds: u64,
    last: i64,
}

impl Store {
    /// Raises an alert about each agent that has missed two heartbeats since it was last heard or since `from`
    /// (milliseconds since 1970; before that nobody listened), unless it told that its workstation goes off.
    pub(crate) async fn raise_silent(&self, from: i64) -> Result<(), StoreError> {
        let silent = self
            .read(move |connection| Ok(ahead(connection, now())? || !missed(connection, from, now(), "")?.is_empty()));
        if !silent.await? {
            return Ok(());
        }
        let rules = std::sync::Arc::clone(&self.rules);
        let armed = self
            .write(move |connection| {
                let mut groups = Groups::default();
                let received = now();
                // The clock was set back: who is heard of in times to come would be missed only then.
                connection
                    .prepare_cached("UPDATE agents SET last_seen = ?1 WHERE last_seen > ?1")?
                    .execute([received])?;
                for silent in missed(connection, from, received, connection.skipping())? {
                    let alert = groups.silent(
                        connection,
                        &silent.agent,
                        &silent.host,
                        silent.seconds,
                        silent.last,
                        received,
                    )?;
                    connection
                        .prepare_cached("UPDATE agents SET silent = ? WHERE number = ?")?
                        .execute(params![alert, silent.number])?;
                }
                groups.write(connection, &rules)
            })
            .await?;
        if armed {
            self.armed.notify_waiters();
        }
        Ok(())
    }
}

/// Whether somebody was heard of later than now.
fn ahead(connection: &Connection, now: i64) -> Result<bool, StoreError> {
    let mut query = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM agents WHERE last_seen > ?)")?;
    // Another collector's clock may be a little ahead.
    Ok(query.query_row([now.saturating_add(AHEAD)], |row| row.get(0))?)
}

fn missed(connection: &Connection, from: i64, now: i64, locking: &str) -> Result<Vec<Missed>, StoreError> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT number, id, host, heartbeat_seconds, last_seen FROM agents
         WHERE heartbeat_seconds IS NOT NULL AND silent IS NULL AND NOT off
           AND max(last_seen, ?1) + ?2 * 1000 * heartbeat_seconds < ?3 {locking}"
    ))?;
    let found = query.query_map(params![from, MISSED, now], |row| {
        Ok(Missed {
            number: row.get(0)?,
            agent: row.get(1)?,
            host: row.get(2)?,
            seconds: row.get(3)?,
            last: row.get(4)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Ends the alert about an agent's silence.
pub(super) fn heard(connection: &Connection, agent: i64, alert: i64, received: i64) -> Result<(), StoreError> {
    connection.prepare_cached("UPDATE agents SET silent = NULL WHERE number = ?")?.execute([agent])?;
    alerts::change(connection, alert, |alert| alert.heard(received))
}

/// Keeps whether a workstation is off because it was switched off.
pub(super) fn goes(connection: &Connection, agent: i64, off: bool) -> Result<(), StoreError> {
    connection.prepare_cached("UPDATE agents SET off = ? WHERE number = ?")?.execute(params![off, agent])?;
    Ok(())
}

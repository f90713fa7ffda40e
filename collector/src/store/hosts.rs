//! Workstations: when each was last heard of, what it said of itself, what is missing of its records.

use rusqlite::{Connection, params};
use serde_json::value::RawValue;

use super::{Store, StoreError, now, tokens};
use crate::heartbeat::{Heartbeat, Host};

impl Store {
    /// Keeps an agent's latest word; answers with the highest sequence number stored of it.
    pub(crate) async fn heartbeat(&self, token: i64, heartbeat: Heartbeat) -> Result<u64, StoreError> {
        self.write(move |connection| {
            tokens::bind(connection, token, &heartbeat.agent)?;
            let number = see(connection, &heartbeat.agent, &heartbeat.host, now())?;
            connection
                .prepare_cached("UPDATE agents SET heartbeat = ? WHERE number = ?")?
                .execute(params![serde_json::to_string(&heartbeat)?, number])?;
            let highest = connection
                .prepare_cached("SELECT highest FROM agents WHERE number = ?")?
                .query_row([number], |row| row.get(0))?;
            Ok(highest)
        })
        .await
    }

    /// All workstations that were ever heard of, the latest first.
    pub(crate) async fn hosts(&self) -> Result<Vec<Host>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT id, host, first_seen, last_seen, highest, heartbeat,
                        (SELECT coalesce(sum(last - first + 1), 0) FROM gaps WHERE gaps.agent = agents.number)
                 FROM agents ORDER BY last_seen DESC",
            )?;
            let mut rows = query.query([])?;
            let mut hosts = Vec::new();
            while let Some(row) = rows.next()? {
                let heartbeat: Option<String> = row.get(5)?;
                hosts.push(Host {
                    agent: row.get(0)?,
                    host: row.get(1)?,
                    first_seen: row.get(2)?,
                    last_seen: row.get(3)?,
                    last_sequence: row.get(4)?,
                    missing: row.get(6)?,
                    heartbeat: heartbeat.map(RawValue::from_string).transpose()?,
                });
            }
            Ok(hosts)
        })
        .await
    }
}

/// Notes that an agent was heard of; gives its number in the database.
pub(super) fn see(connection: &Connection, agent: &str, host: &str, time: i64) -> Result<i64, StoreError> {
    let number = connection
        .prepare_cached(
            "INSERT INTO agents (id, host, first_seen, last_seen) VALUES (?1, ?2, ?3, ?3)
             ON CONFLICT (id) DO UPDATE SET host = excluded.host, last_seen = excluded.last_seen
             RETURNING number",
        )?
        .query_row(params![agent, host, time], |row| row.get(0))?;
    Ok(number)
}

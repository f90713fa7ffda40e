//! Workstations: when each was last heard of, what it said of itself, what is missing of its records.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::value::RawValue;

use super::sql::{Connection, Optional, params};
use super::{Sender, Store, StoreError, now, policies, seals, silent};
use crate::heartbeat::{Heartbeat, Host};

/// Longest time from one heartbeat to the next that is believed, in seconds.
const LONGEST: u64 = 3600;
/// Heartbeats within so many milliseconds are written down together.
const TOGETHER: u64 = 100;
/// So many heartbeats wait for others at once.
pub(super) const LINGERING: usize = 64;

/// Which workstations to list.
#[derive(Clone, Debug)]
pub(crate) struct HostFilter {
    /// Only those whose name contains this, in whatever case.
    pub(crate) name: String,
    /// At most so many.
    pub(crate) limit: u32,
    /// After leaving out so many.
    pub(crate) skip: u32,
}

/// How many workstations there are.
pub(crate) struct HostCount {
    /// All that were ever heard of.
    pub(crate) all: u64,
    /// Those that miss their heartbeats.
    pub(crate) silent: u64,
}

impl Store {
    /// Keeps an agent's latest word; answers with the highest sequence number stored of it.
    pub(crate) async fn heartbeat(&self, sender: Sender, heartbeat: Heartbeat) -> Result<u64, StoreError> {
        // SQLite writes those of many agents in one transaction, which costs as much as that of one. Only so many wait for
        // others: they take places of requests.
        if !self.database.is_shared()
            && let Ok(_place) = self.lingering.try_acquire()
        {
            let wait = TOGETHER - now().unsigned_abs() % TOGETHER;
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        self.write_beside(move |connection| {
            sender.admit(connection, &heartbeat.agent)?;
            let received = now();
            let number = see(connection, &heartbeat.agent, &heartbeat.host, received)?;
            if let Some(first) = &heartbeat.seal {
                seals::register(connection, number, first)?;
            }
            let skew = heartbeat.time.map(|time| time.saturating_sub(received));
            connection
                .prepare_cached("UPDATE agents SET heartbeat = ?, heartbeat_seconds = ?, skew = ? WHERE number = ?")?
                .execute(params![
                    serde_json::to_string(&heartbeat)?,
                    heartbeat.heartbeat_seconds.map(|seconds| seconds.clamp(1, LONGEST)),
                    skew,
                    number
                ])?;
            policies::acknowledge(connection, number, heartbeat.policy.as_deref(), received)?;
            let highest = connection
                .prepare_cached("SELECT highest FROM agents WHERE number = ?")?
                .query_row([number], |row| row.get(0))?;
            Ok(highest)
        })
        .await
    }

    /// Workstations, the silent ones first, then by when they were last heard of.
    pub(crate) async fn hosts(&self, filter: HostFilter) -> Result<Vec<Host>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT id, host, first_seen, last_seen, highest, heartbeat,
                        (SELECT CAST(coalesce(sum(last - first + 1), 0) AS BIGINT) FROM gaps WHERE gaps.agent = agents.number),
                        skew, off, silent
                 FROM agents WHERE instr(lower(host), lower(?1)) > 0
                 ORDER BY silent IS NULL, last_seen DESC LIMIT ?2 OFFSET ?3",
            )?;
            let mut rows = query.query(params![filter.name, filter.limit, filter.skip])?;
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
                    skew: row.get(7)?,
                    off: row.get(8)?,
                    silent: row.get(9)?,
                    heartbeat: heartbeat.map(RawValue::from_string).transpose()?,
                });
            }
            Ok(hosts)
        })
        .await
    }

    /// The name of the workstation of each of these agents, where one was heard of.
    pub(crate) async fn host_names(&self, agents: Vec<String>) -> Result<HashMap<String, String>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached("SELECT host FROM agents WHERE id = ?")?;
            let mut names = HashMap::new();
            for agent in agents {
                let name: Option<String> = query.query_row([&agent], |row| row.get(0)).optional()?;
                names.extend(name.map(|name| (agent, name)));
            }
            Ok(names)
        })
        .await
    }

    /// Agents of this id, or on workstations of this name: id and name.
    ///
    /// # Errors
    /// The store fails.
    pub async fn agents_named(&self, name: String) -> Result<Vec<(String, String)>, StoreError> {
        self.read(move |connection| {
            let mut query = connection
                .prepare_cached("SELECT id, host FROM agents WHERE id = ?1 OR host = ?1 ORDER BY id LIMIT 10")?;
            let found = query.query_map(params![name], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// How many workstations there are.
    pub(crate) async fn count_hosts(&self) -> Result<HostCount, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached("SELECT count(*), count(silent) FROM agents")?;
            Ok(query.query_row([], |row| Ok(HostCount { all: row.get(0)?, silent: row.get(1)? }))?)
        })
        .await
    }
}

/// Notes that an agent was heard of; gives its number in the database.
pub(super) fn see(connection: &Connection, agent: &str, host: &str, time: i64) -> Result<i64, StoreError> {
    let (number, silent): (_, Option<i64>) = connection
        .prepare_cached(
            "INSERT INTO agents (id, host, first_seen, last_seen) VALUES (?1, ?2, ?3, ?3)
             ON CONFLICT (id) DO UPDATE SET host = excluded.host, last_seen = excluded.last_seen
             RETURNING number, silent",
        )?
        .query_row(params![agent, host, time], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if let Some(alert) = silent {
        silent::heard(connection, number, alert, time)?;
    }
    Ok(number)
}

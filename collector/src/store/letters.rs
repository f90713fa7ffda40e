//! Dead letters: lines of agents that are no records, or not such as can be kept, with the reason.

use serde::Serialize;

use super::sql::{Connection, params};
use super::{Store, StoreError};

/// So many are kept of one agent, or of one token where no agent is known, the latest.
const MOST: i64 = 1_000;

/// A line that is no record, or not one that can be stored.
pub(crate) struct Poison {
    /// Its number, from 1.
    pub(crate) line: usize,
    /// Why.
    pub(crate) reason: String,
    /// Its sequence number, where that can be guessed.
    pub(crate) sequence: Option<u64>,
    /// Its text, cut.
    pub(crate) text: Vec<u8>,
}

/// A line that was laid aside.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetter {
    /// Its number; later ones have higher ones.
    pub number: i64,
    /// The agent, where it is known.
    pub agent: String,
    /// The workstation of that agent, as it is named now.
    pub host: Option<String>,
    /// The token that it came with, or by which the agent was enrolled.
    pub token: String,
    /// When, in milliseconds since 1970.
    pub received: i64,
    /// Why it was not taken.
    pub reason: String,
    /// The line itself; what is no UTF-8 in it is replaced.
    pub line: String,
}

impl Store {
    /// Dead letters below a number (0: all), the latest first.
    ///
    /// # Errors
    /// The store fails.
    pub async fn dead_letters(&self, below: i64, limit: u32) -> Result<Vec<DeadLetter>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT dead_letters.number, dead_letters.agent, agents.host, tokens.name, received, reason, line
                 FROM dead_letters LEFT JOIN agents ON agents.id = dead_letters.agent
                 LEFT JOIN tokens ON tokens.id = dead_letters.token
                 WHERE dead_letters.number < ?1 OR ?1 = 0 ORDER BY dead_letters.number DESC LIMIT ?2",
            )?;
            let letter = |row: &super::sql::Row<'_>| {
                let line: Vec<u8> = row.get(6)?;
                let token: Option<String> = row.get(3)?;
                Ok(DeadLetter {
                    number: row.get(0)?,
                    agent: row.get(1)?,
                    host: row.get(2)?,
                    token: token.unwrap_or_default(),
                    received: row.get(4)?,
                    reason: row.get(5)?,
                    line: String::from_utf8_lossy(&line).into_owned(),
                })
            };
            let letters = query.query_map(params![below, limit], letter)?;
            Ok(letters.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// How many are kept.
    pub(crate) async fn count_dead_letters(&self) -> Result<u64, StoreError> {
        self.read(|connection| Ok(connection.query_row("SELECT count(*) FROM dead_letters", [], |row| row.get(0))?))
            .await
    }
}

/// Keeps a line; the same one of the same token once.
pub(super) fn lay_aside(
    connection: &Connection,
    token: i64,
    agent: &str,
    letter: &Poison,
    received: i64,
) -> Result<(), StoreError> {
    let digest = blake3::hash(&letter.text);
    connection
        .prepare_cached(
            "INSERT INTO dead_letters (token, agent, received, digest, reason, line) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (token, digest) DO NOTHING",
        )?
        .execute(params![token, agent, received, digest.as_bytes(), letter.reason, letter.text])?;
    connection
        .prepare_cached(
            "DELETE FROM dead_letters WHERE agent = ?1 AND token = ?2 AND number <=
             (SELECT number FROM dead_letters WHERE agent = ?1 AND token = ?2 ORDER BY number DESC LIMIT 1 OFFSET ?3)",
        )?
        .execute(params![agent, token, MOST])?;
    Ok(())
}

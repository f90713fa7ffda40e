//! Versions of the policy: each a text, its signature where it has one, and who brought it.

use serde::Serialize;

use super::audit::{self, Actor, Kind};
use super::sql::{self, Connection, Optional, Row, params};
use super::{Store, StoreError, now, rollouts};

/// A policy that was checked, and is to become a version.
#[derive(Clone, Debug)]
pub struct NewPolicy {
    /// The text, byte for byte as it was signed.
    pub text: String,
    /// Its serial, where it has one.
    pub serial: Option<u32>,
    /// The text of its `.minisig` file.
    pub signature: Option<String>,
    /// What whoever brings it says of it.
    pub note: String,
}

/// One version, without its text.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyVersion {
    /// Its number; rises with every new version.
    pub number: i64,
    /// BLAKE3 of its text, as heartbeats and records name it.
    pub digest: String,
    /// Its serial, where it has one.
    pub serial: Option<u32>,
    /// Whether there is a signature.
    pub signed: bool,
    /// When it was added, in milliseconds since 1970.
    pub added: i64,
    /// Who added it.
    pub added_by: String,
    /// What that person said of it.
    pub note: String,
    /// Workstations that take policies from here and shall have it.
    pub wanted: u64,
    /// Those of them that have it in force.
    pub acknowledged: u64,
}

/// What an agent is given: all of it or nothing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Given {
    pub(crate) number: i64,
    /// BLAKE3 of the text.
    pub(crate) digest: String,
    pub(crate) policy: String,
    pub(crate) signature: Option<String>,
}

const COLUMNS: &str = "number, digest, serial, signature IS NOT NULL, added, added_by, note";

fn read(row: &Row<'_>) -> sql::Result<PolicyVersion> {
    Ok(PolicyVersion {
        number: row.get(0)?,
        digest: row.get(1)?,
        serial: row.get(2)?,
        signed: row.get(3)?,
        added: row.get(4)?,
        added_by: row.get(5)?,
        note: row.get(6)?,
        wanted: 0,
        acknowledged: 0,
    })
}

impl Store {
    /// Adds a version; gives its number. The signature of a text that is there without one is put beside it.
    ///
    /// # Errors
    /// The text is there already ([`StoreError::Policy`]), or the store fails.
    pub async fn add_policy(&self, by: Actor, new: NewPolicy) -> Result<i64, StoreError> {
        self.write(move |connection| {
            let digest = blake3::hash(new.text.as_bytes()).to_hex().to_string();
            let known: Option<(i64, bool)> = connection
                .prepare_cached("SELECT number, signature IS NOT NULL FROM policies WHERE digest = ?")?
                .query_row([&digest], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let (number, done) = match (known, &new.signature) {
                (None, _) => {
                    let number = connection
                        .prepare_cached(
                            "INSERT INTO policies (digest, serial, text, signature, added, added_by, note)
                             VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING number",
                        )?
                        .query_row(
                            params![digest, new.serial, new.text, new.signature, now(), by.who(), new.note],
                            |row| row.get(0),
                        )?;
                    (number, "added")
                }
                (Some((number, false)), Some(signature)) => {
                    connection
                        .prepare_cached("UPDATE policies SET signature = ? WHERE number = ?")?
                        .execute(params![signature, number])?;
                    (number, "its signature added")
                }
                (Some((number, _)), _) => {
                    return Err(StoreError::Policy(format!(
                        "version {number} has this very text: expected an edited policy, or a signature that it lacks"
                    )));
                }
            };
            let serial = new.serial.map_or_else(|| "no serial".to_owned(), |serial| format!("serial {serial}"));
            let signed = if new.signature.is_some() { "signed" } else { "not signed" };
            let detail = format!("{done}: {digest}, {serial}, {signed}. {}", new.note);
            audit::append(connection, &by, Kind::Policy, &format!("version {number}"), detail.trim_end())?;
            Ok(number)
        })
        .await
    }

    /// Versions, the newest first, and how far each has come.
    ///
    /// # Errors
    /// The store fails.
    pub async fn policies(&self, limit: u32) -> Result<Vec<PolicyVersion>, StoreError> {
        self.read(move |connection| {
            let mut query =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM policies ORDER BY number DESC LIMIT ?"))?;
            let mut found: Vec<_> = query.query_map([limit], read)?.collect::<Result<_, _>>()?;
            for takes in rollouts::shares(connection)? {
                if let Some(version) = found.iter_mut().find(|version| Some(version.number) == takes.shall) {
                    version.wanted += 1;
                    version.acknowledged += u64::from(takes.has == takes.shall);
                }
            }
            Ok(found)
        })
        .await
    }

    /// One version with its text; none if there is none of this number.
    pub(crate) async fn policy(&self, number: i64) -> Result<Option<(PolicyVersion, String)>, StoreError> {
        self.read(move |connection| {
            let mut query =
                connection.prepare_cached(&format!("SELECT {COLUMNS}, text FROM policies WHERE number = ?"))?;
            Ok(query.query_row([number], |row| Ok((read(row)?, row.get(7)?))).optional()?)
        })
        .await
    }

    /// The policy that an agent shall have, with its entity tag (RFC 9110, 8.8.3); no policy where the agent `knows`
    /// that tag already, and nothing at all where it shall have none from here.
    pub(crate) async fn policy_for(
        &self,
        agent: String,
        knows: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Option<(String, Option<Given>)>, StoreError> {
        self.read(move |connection| {
            let Some(number) = rollouts::shall(connection, &agent)? else {
                return Ok(None);
            };
            let (digest, signed): (String, bool) = connection
                .prepare_cached("SELECT digest, signature IS NOT NULL FROM policies WHERE number = ?")?
                .query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))?;
            // A version's text never changes, and a signature is added at most once.
            let tag = format!("\"{digest}{}\"", if signed { ".signed" } else { "" });
            if knows(&tag) {
                return Ok(Some((tag, None)));
            }
            let given = connection
                .prepare_cached("SELECT number, digest, text, signature FROM policies WHERE number = ?")?
                .query_row([number], |row| {
                    Ok(Given { number: row.get(0)?, digest: row.get(1)?, policy: row.get(2)?, signature: row.get(3)? })
                })?;
            Ok(Some((tag, Some(given))))
        })
        .await
    }
}

/// Notes which version an agent says that it has in force.
pub(super) fn acknowledge(
    connection: &Connection,
    agent: i64,
    digest: Option<&str>,
    received: i64,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE agents SET policy = version, policy_since = CASE WHEN version IS NOT NULL THEN CAST(?2 AS BIGINT) END
             FROM (SELECT (SELECT number FROM policies WHERE digest = ?1) AS version) AS found
             WHERE agents.number = ?3 AND policy IS DISTINCT FROM version",
        )?
        .execute(params![digest, received, agent])?;
    Ok(())
}

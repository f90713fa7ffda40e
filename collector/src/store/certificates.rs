//! The certificates that agents have been given: which agent each is of, and whether it still holds.

use serde::Serialize;

use super::audit::{self, Actor, Kind};
use super::sql::{Connection, Optional, params};
use super::{Store, StoreError, now, tokens};

/// Whoever sends records: known by its certificate, or by a token where the collector speaks no TLS.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    /// The token, or the one by which the certificate was got.
    pub(crate) token: i64,
    /// Number of the certificate.
    pub(crate) certificate: Option<i64>,
    /// The agent that it is known to be.
    pub(crate) agent: Option<String>,
}

/// A certificate that is about to be handed out.
pub(crate) struct Enrolment {
    /// The agent.
    pub(crate) agent: String,
    /// SHA-256 of the certificate.
    pub(crate) digest: Vec<u8>,
    /// SHA-256 of its public key.
    pub(crate) key: Vec<u8>,
    /// When it ends to be valid, in milliseconds since 1970.
    pub(crate) expires: i64,
}

/// One agent's certificate, as it is listed.
#[derive(Clone, Debug, Serialize)]
pub struct Certificate {
    /// The agent.
    pub agent: String,
    /// Name of its workstation, once it was heard of.
    pub host: Option<String>,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub digest: String,
    /// Name of the token by which the agent was enrolled.
    pub token: String,
    /// When it was issued, in milliseconds since 1970.
    pub issued: i64,
    /// When it ends to be valid.
    pub expires: i64,
    /// When it was revoked.
    pub revoked: Option<i64>,
}

impl Sender {
    /// Makes sure, in the transaction that is going to write, that it may speak for `agent`.
    pub(super) fn admit(&self, connection: &Connection, agent: &str) -> Result<(), StoreError> {
        let Some(certificate) = self.certificate else {
            return tokens::bind(connection, self.token, agent);
        };
        let holds = connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM certificates WHERE number = ? AND agent = ? AND revoked IS NULL)",
            )?
            .query_row(params![certificate, agent], |row| row.get(0))?;
        if holds { Ok(()) } else { Err(StoreError::OtherAgent("this certificate was revoked".into())) }
    }
}

impl Store {
    /// Whose certificate this is (by its SHA-256), if it was issued here, and is neither revoked nor expired: a session that is
    /// gone on with proves nothing anew.
    pub(crate) async fn certified(&self, digest: [u8; 32]) -> Result<Option<Sender>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT number, token, agent FROM certificates WHERE digest = ? AND revoked IS NULL AND expires > ?",
            )?;
            // A connection may last for longer than the certificate that it began with.
            let found = query.query_row(params![digest, now()], |row| {
                Ok(Sender { certificate: Some(row.get(0)?), token: row.get(1)?, agent: Some(row.get(2)?) })
            });
            Ok(found.optional()?)
        })
        .await
    }

    /// Makes sure that this collector has the authority that the agents of a shared database know; the first one that
    /// comes brings it.
    pub(crate) async fn share_authority(&self, fingerprint: String) -> Result<(), StoreError> {
        if !self.database.is_shared() {
            return Ok(());
        }
        self.write(move |connection| {
            connection.execute(
                "INSERT INTO authority (only, fingerprint) VALUES (1, ?) ON CONFLICT (only) DO NOTHING",
                [&fingerprint],
            )?;
            let known: String = connection.query_row("SELECT fingerprint FROM authority", [], |row| row.get(0))?;
            if known == fingerprint { Ok(()) } else { Err(StoreError::OtherAuthority(known)) }
        })
        .await
    }

    /// Notes a certificate for an agent that shows a token, or that renews the one it has. A token serves for as many
    /// agents as it was made for; an agent that has a valid certificate gets no second one by a token, unless it asks
    /// again with the same key (the first answer did not reach it).
    pub(crate) async fn enrol(&self, sender: Sender, new: Enrolment) -> Result<(), StoreError> {
        self.write(move |connection| {
            let time = now();
            match sender.certificate {
                Some(_) => sender.admit(connection, &new.agent)?,
                None => admit_new(connection, sender.token, &new, time)?,
            }
            connection
                .prepare_cached(
                    "INSERT INTO certificates (agent, digest, key, token, issued, expires) VALUES (?, ?, ?, ?, ?, ?)",
                )?
                .execute(params![new.agent, new.digest, new.key, sender.token, time, new.expires])?;
            Ok(())
        })
        .await
    }

    /// All certificates, the newest first.
    ///
    /// # Errors
    /// The store fails.
    pub async fn certificates(&self) -> Result<Vec<Certificate>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT certificates.agent, host, digest, tokens.name, issued, certificates.expires, certificates.revoked
                 FROM certificates JOIN tokens ON tokens.id = token LEFT JOIN agents ON agents.id = certificates.agent
                 ORDER BY certificates.number DESC",
            )?;
            let found = query.query_map([], |row| {
                Ok(Certificate {
                    agent: row.get(0)?,
                    host: row.get(1)?,
                    digest: hex::encode(row.get::<Vec<u8>>(2)?),
                    token: row.get(3)?,
                    issued: row.get(4)?,
                    expires: row.get(5)?,
                    revoked: row.get(6)?,
                })
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Makes all certificates of an agent worthless at once; says how many there were. It may be enrolled again by a
    /// new token.
    ///
    /// # Errors
    /// The store fails.
    pub async fn revoke_agent(&self, agent: String) -> Result<usize, StoreError> {
        self.write(move |connection| {
            let revoked = connection.execute(
                "UPDATE certificates SET revoked = ? WHERE agent = ? AND revoked IS NULL",
                params![now(), agent],
            )?;
            if revoked > 0 {
                audit::append(connection, &Actor::command_line(), Kind::Agent, &agent, "certificates revoked")?;
            }
            Ok(revoked)
        })
        .await
    }
}

fn admit_new(connection: &Connection, token: i64, new: &Enrolment, time: i64) -> Result<(), StoreError> {
    let refuse = |why: String| Err(StoreError::OtherAgent(why));
    let (uses, expires): (i64, Option<i64>) = connection
        .prepare_cached(&format!(
            "SELECT uses, expires FROM tokens WHERE id = ? AND revoked IS NULL {}",
            connection.locking()
        ))?
        .query_row([token], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or_else(|| StoreError::OtherAgent("this token was revoked".into()))?;
    let mut query = connection.prepare_cached(
        "SELECT number, key, token FROM certificates WHERE agent = ? AND revoked IS NULL AND expires > ?",
    )?;
    let held: Vec<(i64, Vec<u8>, i64)> = query
        .query_map(params![new.agent, time], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    if !held.is_empty() {
        if held.iter().all(|(_, key, by)| *key == new.key && *by == token) {
            for (number, ..) in held {
                connection.execute("UPDATE certificates SET revoked = ? WHERE number = ?", params![time, number])?;
            }
            return Ok(());
        }
        return refuse(format!(
            "agent {:?} has a certificate already: if that is another machine's, give this one an identity of its own; \
             if it was lost, `vitrine-collector agent revoke` makes room",
            new.agent
        ));
    }
    if expires.is_some_and(|expires| expires <= time) {
        return refuse("this token has expired: make a new one".into());
    }
    if uses <= 0 {
        return refuse("this token has been used for as many agents as it was made for: make a new one".into());
    }
    connection.execute("UPDATE tokens SET uses = uses - 1 WHERE id = ?", [token])?;
    Ok(())
}

//! Tokens: what an agent or a reader shows instead of a password. Only their SHA-256 is kept; they are
//! 256 bits of chance, so that no slow hash is needed.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::audit::{self, Actor, Kind};
use super::sql::{self, Connection, Optional, Row, params};
use super::{Store, StoreError, now};

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Send records, evidence and heartbeats of one agent.
    Agent,
    /// Read alerts, hosts and evidence.
    Reader,
}

impl Role {
    /// Its name in the database and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Agent => "agent",
            Role::Reader => "reader",
        }
    }
}

/// One token, without its secret.
#[derive(Clone, Debug, Serialize)]
pub struct Token {
    /// Number.
    pub id: i64,
    /// Name given by whoever made it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made, in milliseconds since 1970.
    pub created: i64,
    /// When it was revoked.
    pub revoked: Option<i64>,
    /// The agent that it belongs to since its first use, where it stands for one instead of a certificate.
    pub agent: Option<String>,
    /// How many agents it may still enrol.
    pub uses: i64,
    /// Until when, in milliseconds since 1970.
    pub expires: Option<i64>,
}

/// What a new token is good for.
#[derive(Clone, Copy, Debug)]
pub struct Worth {
    /// How many agents it may enrol.
    pub uses: u32,
    /// For how long, in milliseconds.
    pub lasts: Option<i64>,
}

impl Worth {
    /// One agent, whenever.
    pub const ONE: Worth = Worth { uses: 1, lasts: None };
}

impl Store {
    /// Makes a token. The secret is handed out here and never again.
    ///
    /// # Errors
    /// A valid token of this name is there already, or the store fails.
    pub async fn create_token(&self, name: String, role: Role, worth: Worth) -> Result<(Token, String), StoreError> {
        let secret = format!("vitrine_{}_{}", role.name(), secret());
        let hash = hash(&secret);
        let created = now();
        let uses = i64::from(worth.uses);
        let expires = worth.lasts.map(|lasts| created.saturating_add(lasts));
        let token = self
            .write(move |connection| {
                let there: bool = connection.query_row(
                    "SELECT EXISTS (SELECT 1 FROM tokens WHERE name = ? AND revoked IS NULL)",
                    [&name],
                    |row| row.get(0),
                )?;
                if there {
                    return Err(StoreError::Taken(format!(
                        "a token named {name:?} is there already: revoke it first, or choose another name"
                    )));
                }
                let id = connection.query_row(
                    "INSERT INTO tokens (name, role, hash, created, uses, expires) VALUES (?, ?, ?, ?, ?, ?)
                     RETURNING id",
                    params![name, role.name(), hash, created, uses, expires],
                    |row| row.get(0),
                )?;
                let detail = format!("made, role {}, good for {uses}", role.name());
                audit::append(connection, &Actor::command_line(), Kind::Token, &name, &detail)?;
                Ok(Token { id, name, role, created, revoked: None, agent: None, uses, expires })
            })
            .await?;
        Ok((token, secret))
    }

    /// All tokens, newest first.
    ///
    /// # Errors
    /// The store fails.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT id, name, role, created, revoked, agent, uses, expires FROM tokens ORDER BY id DESC",
            )?;
            let tokens = query.query_map([], token)?.collect::<Result<_, _>>()?;
            Ok(tokens)
        })
        .await
    }

    /// Makes the token of this name worthless at once. Says whether there was one.
    ///
    /// # Errors
    /// The store fails.
    pub async fn revoke_token(&self, name: String) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let changed = connection
                .execute("UPDATE tokens SET revoked = ? WHERE name = ? AND revoked IS NULL", params![now(), name])?;
            if changed > 0 {
                audit::append(connection, &Actor::command_line(), Kind::Token, &name, "revoked")?;
            }
            Ok(changed > 0)
        })
        .await
    }

    /// The valid token with this secret.
    pub(crate) async fn token(&self, secret: &str) -> Result<Option<Token>, StoreError> {
        let hash = hash(secret);
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT id, name, role, created, revoked, agent, uses, expires FROM tokens WHERE hash = ? AND revoked IS NULL",
            )?;
            Ok(query.query_row([hash], token).optional()?)
        })
        .await
    }
}

fn token(row: &Row<'_>) -> sql::Result<Token> {
    let role: String = row.get(2)?;
    Ok(Token {
        id: row.get(0)?,
        name: row.get(1)?,
        role: if role == "agent" { Role::Agent } else { Role::Reader },
        created: row.get(3)?,
        revoked: row.get(4)?,
        agent: row.get(5)?,
        uses: row.get(6)?,
        expires: row.get(7)?,
    })
}

/// Ties a token to the first agent that uses it, and refuses every other from then on.
pub(super) fn bind(connection: &Connection, id: i64, agent: &str) -> Result<(), StoreError> {
    let bound: Option<(Option<String>, Option<i64>)> = connection
        .prepare_cached(&format!(
            "SELECT agent, expires FROM tokens WHERE id = ? AND revoked IS NULL {}",
            connection.locking()
        ))?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match bound {
        None => Err(StoreError::OtherAgent("this token was revoked".into())),
        Some((Some(bound), _)) if bound == agent => Ok(()),
        Some((Some(bound), _)) => {
            Err(StoreError::OtherAgent(format!("this token belongs to agent {bound:?}, not to agent {agent:?}")))
        }
        Some((None, Some(expires))) if expires <= now() => {
            Err(StoreError::OtherAgent("this token has expired: make a new one".into()))
        }
        Some((None, _)) => {
            let other: Option<String> = connection
                .prepare_cached("SELECT name FROM tokens WHERE agent = ? AND revoked IS NULL")?
                .query_row([agent], |row| row.get(0))
                .optional()?;
            if let Some(other) = other {
                return Err(StoreError::OtherAgent(format!(
                    "agent {agent:?} belongs to token {other:?}: revoke that one first"
                )));
            }
            connection.execute("UPDATE tokens SET agent = ? WHERE id = ?", params![agent, id])?;
            Ok(())
        }
    }
}

/// 256 bits of chance in hexadecimal digits.
pub(super) fn secret() -> String {
    let mut bytes = [0_u8; 32];
    fill(&mut bytes);
    hex::encode(bytes)
}

/// Fills from the kernel's generator. Without it no secret can be made, and to go on would be wrong.
pub(crate) fn fill(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        tracing::error!(%error, "the kernel gives no random numbers");
        std::process::abort();
    }
}

/// SHA-256 of a secret.
pub(super) fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

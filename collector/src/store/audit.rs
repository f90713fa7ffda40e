//! The audit log: who did what in the console and on the command line, in a chain of hashes.
//!
//! Entry `n` carries BLAKE3 over the hash of entry `n - 1` and its own fields, so that no entry can be changed, put
//! between others or taken out without every hash after it being wrong. `audit_head` holds the number and the hash
//! of the last entry: what is missing at the end is missed against it. Whoever can write the whole database can
//! compute a new chain with a new head; only a head that was noted elsewhere shows that (see [`Head`]).

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::sql::{self, Connection, Row, params};
use super::{Store, StoreError, now};

/// Sets these hashes apart from all others of BLAKE3 (its key derivation mode, section 6.2 of the paper).
const CONTEXT: &str = "vitrine-collector 2026 audit entry v1";
/// Entries that are read at once while the chain is followed.
const AT_ONCE: i64 = 10_000;
/// Longest subject and detail, in characters.
const TEXT: usize = 2000;

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A user of the console.
    User(String),
    /// The program that holds the reader token of this name.
    Token(String),
    /// Whoever runs `vitrine-collector`, by the id of the system's user.
    CommandLine(u32),
    /// The collector, by itself.
    Collector,
    /// Nobody who is known.
    Stranger,
}

impl Actor {
    /// Whoever runs this process.
    #[must_use]
    pub fn command_line() -> Actor {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata("/proc/self").map_or(Actor::Stranger, |found| Actor::CommandLine(found.uid()))
    }

    /// Who that is, in a word.
    pub(super) fn who(&self) -> String {
        match self {
            Actor::Collector => "the collector".to_owned(),
            known => known.columns().1,
        }
    }

    fn columns(&self) -> (&'static str, String) {
        match self {
            Actor::User(name) => ("user", name.clone()),
            Actor::Token(name) => ("token", name.clone()),
            Actor::CommandLine(uid) => ("command line", format!("uid {uid}")),
            Actor::Collector => ("collector", String::new()),
            Actor::Stranger => ("stranger", String::new()),
        }
    }
}

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    LogIn,
    LogInFailed,
    LogOut,
    SecondFactor,
    Triage,
    Silence,
    Notification,
    Export,
    Evidence,
    Trace,
    User,
    Token,
    Agent,
    Backup,
    Policy,
    Approval,
    Maintenance,
}

impl Kind {
    pub(crate) const ALL: [Kind; 17] = [
        Kind::LogIn,
        Kind::LogInFailed,
        Kind::LogOut,
        Kind::SecondFactor,
        Kind::Triage,
        Kind::Silence,
        Kind::Notification,
        Kind::Export,
        Kind::Evidence,
        Kind::Trace,
        Kind::User,
        Kind::Token,
        Kind::Agent,
        Kind::Backup,
        Kind::Policy,
        Kind::Approval,
        Kind::Maintenance,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::LogIn => "log-in",
            Kind::LogInFailed => "log-in-failed",
            Kind::LogOut => "log-out",
            Kind::SecondFactor => "second-factor",
            Kind::Triage => "triage",
            Kind::Silence => "silence",
            Kind::Notification => "notification",
            Kind::Export => "export",
            Kind::Evidence => "evidence",
            Kind::Trace => "trace",
            Kind::User => "user",
            Kind::Token => "token",
            Kind::Agent => "agent",
            Kind::Backup => "backup",
            Kind::Policy => "policy",
            Kind::Approval => "approval",
            Kind::Maintenance => "maintenance",
        }
    }
}

/// One entry.
#[derive(Clone, Debug, Serialize)]
pub struct AuditEntry {
    /// Its place in the chain, from 1 on.
    pub number: i64,
    /// When it was written, in milliseconds since 1970.
    pub at: i64,
    /// What kind of actor: `user`, `token`, `command line`, `collector` or `stranger`.
    pub origin: String,
    /// The actor's name.
    pub actor: String,
    /// What kind of act.
    pub kind: String,
    /// What it was done to.
    pub subject: String,
    /// What was done, in words.
    pub detail: String,
    /// BLAKE3 of the entry before and this one, in hexadecimal digits.
    pub hash: String,
}

const COLUMNS: &str = "number, at, origin, actor, kind, subject, detail, hash";

impl AuditEntry {
    fn read(row: &Row<'_>) -> sql::Result<AuditEntry> {
        Ok(AuditEntry {
            number: row.get(0)?,
            at: row.get(1)?,
            origin: row.get(2)?,
            actor: row.get(3)?,
            kind: row.get(4)?,
            subject: row.get(5)?,
            detail: row.get(6)?,
            hash: row.get(7)?,
        })
    }

    /// The hash that belongs to this entry behind `previous`: numbers as 8 bytes, texts behind their length in
    /// 8 bytes, all little-endian, so that no two entries have the same encoding.
    fn chained(&self, previous: &str) -> String {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&self.number.to_le_bytes()).update(&self.at.to_le_bytes());
        for text in [previous, &self.origin, &self.actor, &self.kind, &self.subject, &self.detail] {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// Number and hash of an entry, written as `NUMBER:HASH`. The head of today, kept where whoever can write the
/// database cannot, proves tomorrow that the chain up to there is still the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The entry's number; 0 before the first.
    pub number: i64,
    /// Its hash; empty before the first.
    pub hash: String,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.hash)
    }
}

impl FromStr for Head {
    type Err = String;

    fn from_str(text: &str) -> Result<Head, String> {
        let expected = || format!("{text:?} is no head: expected NUMBER:HASH as `audit verify` prints it");
        let (number, hash) = text.split_once(':').ok_or_else(expected)?;
        let number = number.parse().map_err(|_| expected())?;
        let is_head = crate::alert::text::is_digest(hash) || (number == 0 && hash.is_empty());
        if is_head { Ok(Head { number, hash: hash.to_owned() }) } else { Err(expected()) }
    }
}

/// What is wrong with the chain, told of the first place where something is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// An entry does not have the hash that its fields give.
    #[error("entry {0} does not match: it, or the chain before it, was changed")]
    Changed(i64),
    /// An entry is not there.
    #[error("entry {0} is missing")]
    Missing(i64),
    /// The last entry is not the one that the head tells of.
    #[error("the log ends with entry {found}, and its head tells of entry {head}: entries were removed or added")]
    Ends {
        /// The last entry that is there.
        found: i64,
        /// The last entry by the head.
        head: i64,
    },
    /// The entry that was noted elsewhere has another hash, or is gone.
    #[error("entry {0} is not the one whose hash was noted: the chain was written anew, or cut before it")]
    Noted(i64),
}

/// Which entries are asked for.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Of this actor; anybody's if it is empty.
    pub actor: String,
    /// Of this kind; of any if it is empty.
    pub kind: String,
    /// Only before this number.
    pub before: Option<i64>,
    /// Only after this number, and then the oldest first.
    pub after: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// Puts an entry at the end of the chain, in the transaction of what it tells of.
pub(super) fn append(
    connection: &Connection,
    actor: &Actor,
    kind: Kind,
    subject: &str,
    detail: &str,
) -> Result<(), StoreError> {
    let head = head_by(connection, connection.locking())?;
    let (origin, actor) = actor.columns();
    let mut entry = AuditEntry {
        number: head.number + 1,
        at: now(),
        origin: origin.into(),
        actor,
        kind: kind.name().into(),
        subject: subject.chars().take(TEXT).collect(),
        detail: detail.chars().take(TEXT).collect(),
        hash: String::new(),
    };
    entry.hash = entry.chained(&head.hash);
    connection.prepare_cached(&format!("INSERT INTO audit ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"))?.execute(
        params![entry.number, entry.at, entry.origin, entry.actor, entry.kind, entry.subject, entry.detail, entry.hash],
    )?;
    connection
        .prepare_cached("UPDATE audit_head SET number = ?, hash = ?")?
        .execute(params![entry.number, entry.hash])?;
    Ok(())
}

fn head(connection: &Connection) -> Result<Head, StoreError> {
    head_by(connection, "")
}

fn head_by(connection: &Connection, locking: &str) -> Result<Head, StoreError> {
    let sql = format!("SELECT number, hash FROM audit_head {locking}");
    Ok(connection.query_row(&sql, [], |row| Ok(Head { number: row.get(0)?, hash: row.get(1)? }))?)
}

impl Store {
    /// Records that somebody takes data out as a file, before it is handed out.
    ///
    /// # Errors
    /// The store fails, and then nothing should be handed out.
    pub async fn record_export(&self, by: Actor, file: &str, filter: String) -> Result<(), StoreError> {
        self.record(by, Kind::Export, file.to_owned(), filter).await
    }

    /// Records that somebody traces a file, and what was found, before it is told.
    ///
    /// # Errors
    /// The store fails, and then nothing should be told.
    pub async fn record_trace(&self, by: Actor, digest: String, found: String) -> Result<(), StoreError> {
        self.record(by, Kind::Trace, digest, found).await
    }

    /// Records that somebody issues a maintenance token, before it is handed out.
    ///
    /// # Errors
    /// The store fails, and then nothing should be handed out.
    pub async fn record_maintenance(&self, by: Actor, token: String, detail: String) -> Result<(), StoreError> {
        self.record(by, Kind::Maintenance, token, detail).await
    }

    /// Records what no transaction of the store does, before it is done: whoever cannot be recorded gets nothing.
    pub(super) async fn record(
        &self,
        actor: Actor,
        kind: Kind,
        subject: String,
        detail: String,
    ) -> Result<(), StoreError> {
        self.write(move |connection| append(connection, &actor, kind, &subject, &detail)).await
    }

    /// Entries, the newest first unless they are asked for from a number on.
    ///
    /// # Errors
    /// The store fails.
    pub async fn audit(&self, filter: AuditFilter) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(move |connection| {
            let order = if filter.after.is_some() { "ASC" } else { "DESC" };
            let mut query = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM audit
                 WHERE (?1 = '' OR actor = ?1) AND (?2 = '' OR kind = ?2) AND number < ?3 AND number > ?4
                 ORDER BY number {order} LIMIT ?5"
            ))?;
            let bounds = (filter.before.unwrap_or(i64::MAX), filter.after.unwrap_or(0));
            let found = query
                .query_map(params![filter.actor, filter.kind, bounds.0, bounds.1, filter.limit], AuditEntry::read)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Where the log ends.
    pub(crate) async fn audit_head(&self) -> Result<Head, StoreError> {
        self.read(head).await
    }

    /// Follows the whole chain, and gives its head or the first place that does not match. With `noted`, a head of
    /// earlier, also whether the chain still goes through it.
    ///
    /// # Errors
    /// The store fails.
    pub async fn verify_audit(&self, noted: Option<Head>) -> Result<Result<Head, Broken>, StoreError> {
        self.read(move |connection| connection.at_one_moment(|| verify(connection, noted))).await
    }
}

/// Follows the chain from its beginning to its head.
fn verify(connection: &Connection, noted: Option<Head>) -> Result<Result<Head, Broken>, StoreError> {
    let head = head(connection)?;
    let mut at = Head { number: 0, hash: String::new() };
    let mut met = noted.as_ref().is_none_or(|noted| *noted == at);
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE number > ? ORDER BY number LIMIT ?");
    let mut query = connection.prepare_cached(&sql)?;
    loop {
        let before = at.number;
        for entry in query.query_map([before, AT_ONCE], AuditEntry::read)? {
            let entry = entry?;
            if entry.number != at.number + 1 {
                return Ok(Err(Broken::Missing(at.number + 1)));
            }
            if entry.chained(&at.hash) != entry.hash {
                return Ok(Err(Broken::Changed(entry.number)));
            }
            at = Head { number: entry.number, hash: entry.hash };
            met |= noted.as_ref() == Some(&at);
        }
        if at.number - before < AT_ONCE {
            break;
        }
    }
    if at != head {
        return Ok(Err(Broken::Ends { found: at.number, head: head.number }));
    }
    Ok(match noted {
        Some(noted) if !met => Err(Broken::Noted(noted.number)),
        _ => Ok(at),
    })
}

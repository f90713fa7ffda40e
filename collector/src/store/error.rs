//! Why the store refuses.

use std::path::PathBuf;
use std::sync::Arc;

use super::sql::SqlError;
use super::{postgres, sqlite};

/// Why something could not be kept or found.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk has no room.
    #[error("no room is left for the collector's database: free some disk space")]
    Full,
    /// More waits to be written than can be held.
    #[error("the collector's database is busy")]
    Busy,
    /// The server is stopping.
    #[error("the collector is stopping")]
    Closed,
    /// A question takes longer than anybody should wait.
    #[error("the question took too long")]
    Slow,
    /// Another server uses the directory.
    #[error("another vitrine-collector serves from {}", .0.display())]
    InUse(PathBuf),
    /// The integrity check found damage.
    #[error("the collector's database is damaged ({0}): restore it from a backup")]
    Damaged(String),
    /// A newer program wrote the database.
    #[error("the collector's database has version {found}; this program knows {known}: update it")]
    Newer {
        /// Version found.
        found: usize,
        /// Newest version known here.
        known: usize,
    },
    /// There is no database.
    #[error("{} holds no collector database: start `vitrine-collector serve --data` with it first", .0.display())]
    Missing(PathBuf),
    /// No server answers that takes writes, or the connection to it was lost.
    #[error("the collector's database cannot be reached: {0}")]
    Unreachable(String),
    /// Agents would trust one collector of a database, and not the other.
    #[error(
        "the agents of this database know the authority {0}: copy authority.pem from the data directory that it lies in"
    )]
    OtherAuthority(String),
    /// A database is named by what names none.
    #[error("--database: {0}")]
    Url(String),
    /// The directory or a file in it cannot be used.
    #[error("{}: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: Arc<std::io::Error>,
    },
    /// A token speaks for an agent that it does not belong to.
    #[error("{0}")]
    OtherAgent(String),
    /// A name is taken.
    #[error("{0}")]
    Taken(String),
    /// A user is unknown, or must stay as he is.
    #[error("{0}")]
    User(String),
    /// A policy, group or rollout is unknown, or cannot be so.
    #[error("{0}")]
    Policy(String),
    /// A stored value is not what this program writes.
    #[error("a stored value cannot be read: {0}")]
    Value(Arc<serde_json::Error>),
    /// A stored record is not what was stored.
    #[error("a stored record cannot be unpacked: {0}")]
    Record(Arc<std::io::Error>),
    /// The database gives something else than was asked for, or refuses.
    #[error("the collector's database: {0}")]
    Sql(Arc<SqlError>),
}

impl From<SqlError> for StoreError {
    fn from(error: SqlError) -> StoreError {
        match error {
            SqlError::Sqlite(error) => sqlite::refusal(error),
            SqlError::Postgres(error) => postgres::refusal(&error),
            SqlError::Late => StoreError::Slow,
            other => StoreError::Sql(Arc::new(other)),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        sqlite::refusal(error)
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> StoreError {
        StoreError::Value(Arc::new(error))
    }
}

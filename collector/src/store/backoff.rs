//! How long somebody waits after log-ins that failed.

use super::sql::{Connection, Optional, params};
use super::{StoreError, now};

/// Failed log-ins are forgotten after this long, in milliseconds.
const FORGOTTEN: i64 = 24 * 60 * 60 * 1000;

/// How failures of one kind make wait: each one beyond the free ones doubles it.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// So many may fail before waiting begins.
    free: u32,
    /// The longest wait, in milliseconds.
    longest: i64,
}

/// For whoever tries one name from one address, or codes of one user.
pub(super) const ONE: Patience = Patience { free: 3, longest: 15 * 60 * 1000 };
/// For whoever tries one name from many addresses, or many names from one. Anybody can fail under anybody's name, and a
/// whole house may have one address: what others did there keeps nobody out for longer than a minute.
const MANY: Patience = Patience { free: 20, longest: 60 * 1000 };

/// Who tries to log in.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// The name that is tried.
    pub(crate) name: String,
    /// The address that it is tried from.
    pub(crate) from: String,
}

impl Attempt {
    /// What it is counted under.
    fn keys(&self) -> [(String, Patience); 3] {
        let Attempt { name, from } = self;
        [(format!("{from}|{name}"), ONE), (format!("name|{name}"), MANY), (format!("address|{from}"), MANY)]
    }

    /// Milliseconds that it must still wait.
    pub(super) fn wait(&self, connection: &Connection) -> Result<i64, StoreError> {
        self.keys().iter().try_fold(0, |longest, (key, patience)| Ok(longest.max(wait(connection, key, *patience)?)))
    }

    /// Counts it as failed.
    pub(super) fn failed(&self, connection: &Connection) -> Result<(), StoreError> {
        self.keys().iter().try_for_each(|(key, patience)| failed(connection, key, *patience).map(drop))
    }

    /// It was right. What others failed at from its address still counts: one of them may have a password of his own.
    pub(super) fn succeeded(&self, connection: &Connection) -> Result<(), StoreError> {
        let [(of_both, _), (of_name, _), _] = self.keys();
        forget(connection, &of_both)?;
        forget(connection, &of_name)
    }
}

/// Milliseconds to wait under this key.
pub(super) fn wait(connection: &Connection, key: &str, patience: Patience) -> Result<i64, StoreError> {
    let until: Option<i64> = connection
        .prepare_cached("SELECT until FROM login_failures WHERE key = ?")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    // The clock may have been set back.
    Ok(until.map_or(0, |until| (until - now()).clamp(0, patience.longest)))
}

/// Counts a failure, and says which it is.
pub(super) fn failed(connection: &Connection, key: &str, patience: Patience) -> Result<u32, StoreError> {
    let now = now();
    connection.execute("DELETE FROM login_failures WHERE until < ?", [now - FORGOTTEN])?;
    let failures: u32 = connection.query_row(
        "INSERT INTO login_failures (key, failures, until) VALUES (?, 1, ?)
         ON CONFLICT (key) DO UPDATE SET failures = login_failures.failures + 1 RETURNING failures",
        params![key, now],
        |row| row.get(0),
    )?;
    let wait = match failures.saturating_sub(patience.free) {
        0 => 0,
        beyond => (1000_i64 << beyond.min(10)).min(patience.longest),
    };
    connection.execute("UPDATE login_failures SET until = ? WHERE key = ?", params![now + wait, key])?;
    Ok(failures)
}

/// Forgets what failed under this key.
pub(super) fn forget(connection: &Connection, key: &str) -> Result<(), StoreError> {
    connection.execute("DELETE FROM login_failures WHERE key = ?", [key])?;
    Ok(())
}

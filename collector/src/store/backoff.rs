//! How long somebody waits after log-ins that failed.

use std::net::IpAddr;

use super::sql::{Connection, Optional, params};
use super::{StoreError, now};

const MINUTE: i64 = 60 * 1000;
const DAY: i64 = 24 * 60 * MINUTE;
/// How long it is known that a name was right at an address, in milliseconds.
const KNOWN: i64 = 30 * DAY;

/// How failures of one kind make wait: each one beyond the free ones doubles it.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// So many may fail before waiting begins.
    free: u32,
    /// The longest wait, in milliseconds.
    longest: i64,
    /// They are forgotten when none was added for so long, in milliseconds.
    forgotten: i64,
}

/// For whoever tries one name from one address, or codes of one user.
pub(super) const ONE: Patience = Patience { free: 3, longest: 15 * MINUTE, forgotten: DAY };
/// For whoever tries one name from many addresses, or many names from one. Anybody can fail under anybody's name, and a
/// whole house may have one address: whoever has logged in from his before is not kept out by what others did.
const MANY: Patience = Patience { free: 20, longest: MINUTE, forgotten: 10 * MINUTE };

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
        // Whoever has an address of IPv6 has 2^64 of them (RFC 6177).
        let network = match from.parse().map(|address: IpAddr| address.to_canonical()) {
            Ok(IpAddr::V6(address)) => format!("{:x?}", &address.segments()[..4]),
            _ => from.clone(),
        };
        [(format!("{from}|{name}"), ONE), (format!("name|{name}"), MANY), (format!("address|{network}"), MANY)]
    }

    /// Milliseconds that it must still wait.
    pub(super) fn wait(&self, connection: &Connection) -> Result<i64, StoreError> {
        let known: bool = connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM login_failures WHERE key = ? AND until > ?)")?
            .query_row(params![self.known(), now()], |row| row.get(0))?;
        let counted = if known { 1 } else { 3 };
        self.keys()
            .iter()
            .take(counted)
            .try_fold(0, |longest, (key, patience)| Ok(longest.max(wait(connection, key, *patience)?)))
    }

    /// Under what it is kept that the name was right at the address.
    fn known(&self) -> String {
        format!("known|{}|{}", self.from, self.name)
    }

    /// Counts it as failed.
    pub(super) fn failed(&self, connection: &Connection) -> Result<(), StoreError> {
        self.keys().iter().try_for_each(|(key, patience)| failed(connection, key, *patience).map(drop))
    }

    /// It was right. What others failed at from its address still counts: one of them may have a password of his own.
    pub(super) fn succeeded(&self, connection: &Connection) -> Result<(), StoreError> {
        let [(of_both, _), (of_name, _), _] = self.keys();
        forget(connection, &of_both)?;
        forget(connection, &of_name)?;
        connection.execute(
            "INSERT INTO login_failures (key, failures, until) VALUES (?1, 0, ?2)
             ON CONFLICT (key) DO UPDATE SET until = excluded.until",
            params![self.known(), now() + KNOWN],
        )?;
        Ok(())
    }
}

/// Milliseconds to wait under this key.
pub(super) fn wait(connection: &Connection, key: &str, patience: Patience) -> Result<i64, StoreError> {
    let until: Option<i64> = connection
        .prepare_cached("SELECT until FROM login_failures WHERE key = ?")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    // No wait is longer: the clock was set back since.
    Ok(until.map(|until| until - now()).filter(|wait| (0..=patience.longest).contains(wait)).unwrap_or(0))
}

/// Counts a failure, and says which it is.
pub(super) fn failed(connection: &Connection, key: &str, patience: Patience) -> Result<u32, StoreError> {
    let now = now();
    connection.execute("DELETE FROM login_failures WHERE until < ?", [now - DAY])?;
    let failures: u32 = connection.query_row(
        "INSERT INTO login_failures (key, failures, until) VALUES (?1, 1, ?2)
         ON CONFLICT (key) DO UPDATE SET
             failures = CASE WHEN login_failures.until < ?3 THEN 1 ELSE login_failures.failures + 1 END
         RETURNING failures",
        params![key, now, now - patience.forgotten],
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

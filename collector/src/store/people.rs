//! Users of the console, their sessions, failed logins, and the one-time set-up token.

use rusqlite::{OptionalExtension, params};
use subtle::ConstantTimeEq;

use super::tokens::{hash, secret};
use super::{Store, StoreError, now};

/// How long a login lasts, in milliseconds.
const SESSION: i64 = 12 * 60 * 60 * 1000;
/// Logins that may fail before waiting begins.
const FREE_FAILURES: u32 = 3;
/// The longest wait after a failed login, in milliseconds.
const LONGEST_WAIT: i64 = 15 * 60 * 1000;
/// Failed logins are forgotten after this long, in milliseconds.
const FORGOTTEN: i64 = 24 * 60 * 60 * 1000;

/// A user who is logged in.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) user: String,
    pub(crate) csrf: String,
}

impl Session {
    /// Whether a form carries this session's token.
    pub(crate) fn signed(&self, csrf: &str) -> bool {
        self.csrf.as_bytes().ct_eq(csrf.as_bytes()).into()
    }
}

impl Store {
    /// Makes a new set-up token, which replaces an unused one; none once there is a user.
    pub(crate) async fn new_setup_token(&self) -> Result<Option<String>, StoreError> {
        let token = secret();
        let hash = hash(&token);
        self.write(move |connection| {
            let users: bool = connection.query_row("SELECT EXISTS (SELECT 1 FROM users)", [], |row| row.get(0))?;
            if users {
                return Ok(None);
            }
            connection.execute(
                "INSERT INTO setup (only, hash) VALUES (1, ?) ON CONFLICT (only) DO UPDATE SET hash = excluded.hash",
                [hash],
            )?;
            Ok(Some(token))
        })
        .await
    }

    /// Whether nobody has set the console up yet.
    pub(crate) async fn awaits_setup(&self) -> Result<bool, StoreError> {
        self.read(|connection| {
            Ok(connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM users)", [], |row| row.get(0))?)
        })
        .await
    }

    /// Whether this is the set-up token.
    pub(crate) async fn is_setup_token(&self, token: &str) -> Result<bool, StoreError> {
        let shown = hash(token);
        self.read(move |connection| {
            let kept: Option<Vec<u8>> =
                connection.query_row("SELECT hash FROM setup", [], |row| row.get(0)).optional()?;
            Ok(kept.is_some_and(|kept| kept.ct_eq(&shown).into()))
        })
        .await
    }

    /// Makes the first user and uses the token up; says whether the token was right.
    pub(crate) async fn set_up(&self, token: &str, name: String, password: String) -> Result<bool, StoreError> {
        let hash = hash(token);
        self.write(move |connection| {
            let users: bool = connection.query_row("SELECT EXISTS (SELECT 1 FROM users)", [], |row| row.get(0))?;
            if users || connection.execute("DELETE FROM setup WHERE hash = ?", [hash])? != 1 {
                return Ok(false);
            }
            connection.execute(
                "INSERT INTO users (name, password, created) VALUES (?, ?, ?)",
                params![name, password, now()],
            )?;
            Ok(true)
        })
        .await
    }

    /// The hash of a user's password, in PHC format.
    pub(crate) async fn password(&self, name: String) -> Result<Option<String>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached("SELECT password FROM users WHERE name = ?")?;
            Ok(query.query_row([name], |row| row.get(0)).optional()?)
        })
        .await
    }

    /// Milliseconds that a login under this key must still wait.
    pub(crate) async fn login_wait(&self, key: String) -> Result<i64, StoreError> {
        self.read(move |connection| {
            let until: Option<i64> = connection
                .prepare_cached("SELECT until FROM login_failures WHERE key = ?")?
                .query_row([key], |row| row.get(0))
                .optional()?;
            Ok(until.map_or(0, |until| (until - now()).clamp(0, LONGEST_WAIT)))
        })
        .await
    }

    /// Counts a failed login; each one beyond the third doubles the wait.
    pub(crate) async fn login_failed(&self, key: String) -> Result<(), StoreError> {
        self.write(move |connection| {
            let now = now();
            connection.execute("DELETE FROM login_failures WHERE until < ?", [now - FORGOTTEN])?;
            let failures: u32 = connection.query_row(
                "INSERT INTO login_failures (key, failures, until) VALUES (?, 1, ?)
                 ON CONFLICT (key) DO UPDATE SET failures = failures + 1 RETURNING failures",
                params![key, now],
                |row| row.get(0),
            )?;
            let wait = match failures.saturating_sub(FREE_FAILURES) {
                0 => 0,
                beyond => (1000_i64 << beyond.min(10)).min(LONGEST_WAIT),
            };
            connection.execute("UPDATE login_failures SET until = ? WHERE key = ?", params![now + wait, key])?;
            Ok(())
        })
        .await
    }

    /// Begins a session; hands out its secret, which only the cookie holds.
    pub(crate) async fn log_in(&self, user: String, key: String) -> Result<String, StoreError> {
        let cookie = secret();
        let hash = hash(&cookie);
        self.write(move |connection| {
            connection.execute("DELETE FROM login_failures WHERE key = ?", [key])?;
            connection.execute("DELETE FROM sessions WHERE expires < ?", [now()])?;
            connection.execute(
                "INSERT INTO sessions (hash, user, csrf, expires) VALUES (?, ?, ?, ?)",
                params![hash, user, secret(), now() + SESSION],
            )?;
            Ok(())
        })
        .await?;
        Ok(cookie)
    }

    /// The session that a cookie stands for.
    pub(crate) async fn session(&self, cookie: &str) -> Result<Option<Session>, StoreError> {
        let hash = hash(cookie);
        self.read(move |connection| {
            let mut query =
                connection.prepare_cached("SELECT user, csrf FROM sessions WHERE hash = ? AND expires > ?")?;
            let session =
                query.query_row(params![hash, now()], |row| Ok(Session { user: row.get(0)?, csrf: row.get(1)? }));
            Ok(session.optional()?)
        })
        .await
    }

    /// Ends a session.
    pub(crate) async fn log_out(&self, cookie: &str) -> Result<(), StoreError> {
        let hash = hash(cookie);
        self.write(move |connection| {
            connection.execute("DELETE FROM sessions WHERE hash = ?", [hash])?;
            Ok(())
        })
        .await
    }
}

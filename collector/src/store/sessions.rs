//! Sessions of the console, log-ins that still lack their code, and log-ins that failed.

use subtle::ConstantTimeEq;

use super::audit::{self, Actor, Kind};
use super::backoff::{self, Attempt};
use super::people::UserRole;
use super::sql::{Connection, Optional, params};
use super::tokens::{hash, secret};
use super::{Store, StoreError, now, totp};

/// How long a session lasts, in milliseconds.
const SESSION: i64 = 12 * 60 * 60 * 1000;
/// How long after the password the code may be given, in milliseconds.
const PENDING: i64 = 5 * 60 * 1000;

/// A user who is logged in.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) user: String,
    pub(crate) role: UserRole,
    /// Whether the user has a second factor.
    pub(crate) second_factor: bool,
    /// Whether a provider vouches for the user; it also asks for the second factor, if any.
    pub(crate) by_provider: bool,
    pub(crate) csrf: String,
}

impl Session {
    /// Whether a form carries this session's token.
    pub(crate) fn signed(&self, csrf: &str) -> bool {
        self.csrf.as_bytes().ct_eq(csrf.as_bytes()).into()
    }
}

/// What a right password gives.
pub(crate) enum Admission {
    /// A session; its secret, which only the cookie holds.
    Session(String),
    /// The right to give a code; its secret, which only the form of the page holds.
    Pending(String),
    /// Nothing: the user was disabled in the meantime.
    Refused,
}

impl Store {
    /// Milliseconds that a log-in must still wait.
    pub(crate) async fn login_wait(&self, attempt: Attempt) -> Result<i64, StoreError> {
        self.read(move |connection| attempt.wait(connection)).await
    }

    /// Counts a failed log-in.
    pub(crate) async fn login_failed(&self, attempt: Attempt) -> Result<(), StoreError> {
        self.write(move |connection| {
            attempt.failed(connection)?;
            let Attempt { name, from } = attempt;
            let known: bool =
                connection
                    .query_row("SELECT EXISTS (SELECT 1 FROM users WHERE name = ?)", [&name], |row| row.get(0))?;
            if known {
                let detail = format!("from {from}");
                return audit::append(connection, &Actor::User(name), Kind::LogInFailed, "password", &detail);
            }
            // People type passwords into the field of the name: what is nobody's name is not kept. And whoever tries
            // name after name must not fill the disk: an entry for every doubling says as much.
            let names = backoff::failed(connection, &format!("stranger|{from}"), backoff::ONE)?;
            if !names.is_power_of_two() {
                return Ok(());
            }
            let detail = format!("from {from}, attempt {names} under a name that nobody has");
            audit::append(connection, &Actor::Stranger, Kind::LogInFailed, "name", &detail)
        })
        .await
    }

    /// Takes a user in whose password was right: to the second factor, or where there is none, into a session.
    pub(crate) async fn log_in(&self, attempt: Attempt) -> Result<Admission, StoreError> {
        self.write(move |connection| {
            attempt.succeeded(connection)?;
            let Attempt { name: user, from } = attempt;
            let found: Option<bool> = connection
                .query_row(
                    "SELECT EXISTS (SELECT 1 FROM totp WHERE user = name AND confirmed)
                     FROM users WHERE name = ? AND disabled IS NULL AND password IS NOT NULL",
                    [&user],
                    |row| row.get(0),
                )
                .optional()?;
            match found {
                None => Ok(Admission::Refused),
                Some(false) => begin(connection, &user, &format!("password, from {from}")).map(Admission::Session),
                Some(true) => {
                    let pending = secret();
                    connection.execute("DELETE FROM pending_logins WHERE expires < ?", [now()])?;
                    connection.execute(
                        "INSERT INTO pending_logins (hash, user, expires) VALUES (?, ?, ?)",
                        params![hash(&pending), user, now() + PENDING],
                    )?;
                    Ok(Admission::Pending(pending))
                }
            }
        })
        .await
    }

    /// The session that a cookie stands for.
    pub(crate) async fn session(&self, cookie: &str) -> Result<Option<Session>, StoreError> {
        let hash = hash(cookie);
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT user, role, EXISTS (SELECT 1 FROM totp WHERE totp.user = name AND confirmed),
                        EXISTS (SELECT 1 FROM identities WHERE identities.user = name), csrf
                 FROM sessions JOIN users ON name = user
                 WHERE hash = ? AND expires > ? AND disabled IS NULL",
            )?;
            let session = query.query_row(params![hash, now()], |row| {
                Ok(Session {
                    user: row.get(0)?,
                    role: row.get(1)?,
                    second_factor: row.get(2)?,
                    by_provider: row.get(3)?,
                    csrf: row.get(4)?,
                })
            });
            Ok(session.optional()?)
        })
        .await
    }

    /// Ends a session.
    pub(crate) async fn log_out(&self, cookie: &str, user: String) -> Result<(), StoreError> {
        let hash = hash(cookie);
        self.write(move |connection| {
            connection.execute("DELETE FROM sessions WHERE hash = ?", [hash])?;
            audit::append(connection, &Actor::User(user), Kind::LogOut, "", "")
        })
        .await
    }
}

/// Begins a session of a user who has shown everything that is asked of him; gives its secret.
pub(super) fn begin(connection: &Connection, user: &str, how: &str) -> Result<String, StoreError> {
    let cookie = secret();
    connection.execute("DELETE FROM sessions WHERE expires < ?", [now()])?;
    connection.execute(
        "INSERT INTO sessions (hash, user, csrf, expires) VALUES (?, ?, ?, ?)",
        params![hash(&cookie), user, secret(), now() + SESSION],
    )?;
    audit::append(connection, &Actor::User(user.into()), Kind::LogIn, "", how)?;
    Ok(cookie)
}

/// Ends everything that a user has begun.
pub(super) fn end(connection: &Connection, user: &str) -> Result<(), StoreError> {
    connection.execute("DELETE FROM sessions WHERE user = ?", [user])?;
    connection.execute("DELETE FROM pending_logins WHERE user = ?", [user])?;
    Ok(())
}

/// Ends everything that a user has begun, and takes all that he could show: password and second factor.
pub(super) fn forget(connection: &Connection, user: &str) -> Result<(), StoreError> {
    end(connection, user)?;
    connection.execute("UPDATE users SET password = NULL WHERE name = ?", [user])?;
    connection.execute("DELETE FROM totp WHERE user = ?", [user])?;
    connection.execute("DELETE FROM recovery_codes WHERE user = ?", [user])?;
    backoff::forget(connection, &totp::key(user))
}

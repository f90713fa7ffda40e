//! Users of the console, their roles, and the one-time tokens by which they choose their passwords.

use serde::Serialize;
use subtle::ConstantTimeEq;

use super::audit::{self, Actor, Kind};
use super::backoff::Attempt;
use super::sessions;
use super::sql::{self, Connection, FromSql, Optional, ToSql, ValueRef, params};
use super::tokens::{hash, secret};
use super::{Store, StoreError, now};

/// How long an invitation is good for, in milliseconds.
const INVITATION: i64 = 3 * 24 * 60 * 60 * 1000;

/// What a user of the console may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserRole {
    /// Read alerts and workstations, without pictures and files.
    Viewer,
    /// Look at pictures, answer for alerts, take lists out as files.
    Analyst,
    /// Look after the policy.
    PolicyAdmin,
    /// Look after users, and read the audit log.
    Admin,
}

impl UserRole {
    /// All roles, the least first.
    pub const ALL: [UserRole; 4] = [UserRole::Viewer, UserRole::Analyst, UserRole::PolicyAdmin, UserRole::Admin];

    /// Its name in the database, in the console and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            UserRole::Viewer => "viewer",
            UserRole::Analyst => "analyst",
            UserRole::PolicyAdmin => "policy-admin",
            UserRole::Admin => "admin",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<UserRole> {
        UserRole::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl FromSql for UserRole {
    fn from_sql(value: ValueRef<'_>) -> Option<UserRole> {
        UserRole::of(&String::from_sql(value)?)
    }
}

impl ToSql for UserRole {
    fn to_sql(&self) -> sql::Result<ValueRef<'_>> {
        Ok(ValueRef::Text(self.name()))
    }
}

/// A user, as the list shows him.
#[derive(Clone, Debug, Serialize)]
pub struct User {
    /// Name.
    pub name: String,
    /// What he may do.
    pub role: UserRole,
    /// When he was added, in milliseconds since 1970.
    pub created: i64,
    /// When he was disabled.
    pub disabled: Option<i64>,
    /// Whether he has still to choose a password.
    pub invited: bool,
    /// Whether he has a second factor.
    pub second_factor: bool,
    /// Whether a provider vouches for him, and says what he may do.
    pub by_provider: bool,
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

    /// Makes the first user, an admin, and uses the token up; gives the secret of his session if it was right.
    pub(crate) async fn set_up(
        &self,
        token: &str,
        name: String,
        password: String,
        from: String,
    ) -> Result<Option<String>, StoreError> {
        let hash = hash(token);
        self.write(move |connection| {
            let users: bool = connection.query_row("SELECT EXISTS (SELECT 1 FROM users)", [], |row| row.get(0))?;
            if users || connection.execute("DELETE FROM setup WHERE hash = ?", [hash])? != 1 {
                return Ok(None);
            }
            connection.execute(
                "INSERT INTO users (name, role, password, created) VALUES (?, ?, ?, ?)",
                params![name, UserRole::Admin, password, now()],
            )?;
            audit::append(connection, &Actor::User(name.clone()), Kind::User, &name, "set the console up as admin")?;
            sessions::begin(connection, &name, &format!("set-up, from {from}")).map(Some)
        })
        .await
    }

    /// The hash of the password of a user who may log in, in PHC format.
    pub(crate) async fn password(&self, name: String) -> Result<Option<String>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT password FROM users WHERE name = ? AND disabled IS NULL AND password IS NOT NULL
                 AND NOT EXISTS (SELECT 1 FROM identities WHERE identities.user = name)",
            )?;
            Ok(query.query_row([name], |row| row.get(0)).optional()?)
        })
        .await
    }

    /// All users, by name.
    ///
    /// # Errors
    /// The store fails.
    pub async fn users(&self) -> Result<Vec<User>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT name, role, created, disabled, password IS NULL AND issuer IS NULL,
                        EXISTS (SELECT 1 FROM totp WHERE totp.user = name AND confirmed), issuer IS NOT NULL
                 FROM users LEFT JOIN identities ON identities.user = name ORDER BY name",
            )?;
            let users = query.query_map([], |row| {
                Ok(User {
                    name: row.get(0)?,
                    role: row.get(1)?,
                    created: row.get(2)?,
                    disabled: row.get(3)?,
                    invited: row.get(4)?,
                    second_factor: row.get(5)?,
                    by_provider: row.get(6)?,
                })
            })?;
            Ok(users.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Adds a user; gives the one-time token by which he chooses his password.
    ///
    /// # Errors
    /// A user of this name is there already ([`StoreError::Taken`]), or the store fails.
    pub async fn add_user(&self, by: Actor, name: String, role: UserRole) -> Result<String, StoreError> {
        self.write(move |connection| {
            if find(connection, &name)?.is_some() {
                return Err(StoreError::Taken(format!(
                    "a user named {name:?} is there already: choose another name, or reset that one"
                )));
            }
            connection
                .execute("INSERT INTO users (name, role, created) VALUES (?, ?, ?)", params![name, role, now()])?;
            audit::append(connection, &by, Kind::User, &name, &format!("added as {}", role.name()))?;
            invite(connection, &name)
        })
        .await
    }

    /// Gives a user another role, from his next request on.
    ///
    /// # Errors
    /// There is no such user, he is the last admin or the provider's ([`StoreError::User`]), or the store fails.
    pub async fn change_role(&self, by: Actor, name: String, role: UserRole) -> Result<(), StoreError> {
        self.write(move |connection| {
            let before = known(connection, &name)?;
            let by_provider: bool =
                connection
                    .query_row("SELECT EXISTS (SELECT 1 FROM identities WHERE user = ?)", [&name], |row| row.get(0))?;
            if by_provider {
                return Err(StoreError::User(format!(
                    "the provider says what {name:?} may do: change it there, and it holds from his next log-in on"
                )));
            }
            if role != UserRole::Admin {
                check_not_last(connection, &name)?;
            }
            connection.execute("UPDATE users SET role = ? WHERE name = ?", params![role, name])?;
            let detail = format!("made {} of {}", role.name(), before.name());
            audit::append(connection, &by, Kind::User, &name, &detail)
        })
        .await
    }

    /// Keeps a user out, or lets him in again. Whoever is kept out loses sessions and invitations at once.
    ///
    /// # Errors
    /// As [`Store::change_role`].
    pub async fn disable(&self, by: Actor, name: String, disable: bool) -> Result<(), StoreError> {
        self.write(move |connection| {
            known(connection, &name)?;
            if disable {
                check_not_last(connection, &name)?;
                sessions::end(connection, &name)?;
                connection.execute("DELETE FROM invitations WHERE user = ?", [&name])?;
            }
            let since = disable.then(now);
            connection.execute("UPDATE users SET disabled = ? WHERE name = ?", params![since, name])?;
            audit::append(connection, &by, Kind::User, &name, if disable { "disabled" } else { "enabled" })
        })
        .await
    }

    /// Takes a user's password, second factor and sessions, and takes him back from a provider; gives the one-time token
    /// by which he chooses a new password. `even_last` lets the last admin be reset, which is for whoever holds the data directory: a token
    /// that gets lost would lock everybody out of the console.
    ///
    /// # Errors
    /// As [`Store::change_role`].
    pub async fn reset_user(&self, by: Actor, name: String, even_last: bool) -> Result<String, StoreError> {
        self.write(move |connection| {
            known(connection, &name)?;
            if !even_last {
                check_not_last(connection, &name)?;
            }
            sessions::forget(connection, &name)?;
            let given_back = connection.execute("DELETE FROM identities WHERE user = ?", [&name])? == 1;
            let detail = if given_back { "reset, and taken back from the provider" } else { "reset" };
            audit::append(connection, &by, Kind::User, &name, detail)?;
            invite(connection, &name)
        })
        .await
    }

    /// Who is invited by this token.
    pub(crate) async fn invited(&self, token: &str) -> Result<Option<String>, StoreError> {
        let hash = hash(token);
        self.read(move |connection| invited(connection, &hash)).await
    }

    /// Gives a user the password that he has chosen and uses his token up; gives the secret of his session if the
    /// token was right.
    pub(crate) async fn join(&self, token: &str, password: String, from: String) -> Result<Option<String>, StoreError> {
        let hash = hash(token);
        self.write(move |connection| {
            let Some(name) = invited(connection, &hash)? else {
                return Ok(None);
            };
            connection.execute("DELETE FROM invitations WHERE user = ?", [&name])?;
            connection.execute("UPDATE users SET password = ? WHERE name = ?", params![password, name])?;
            audit::append(connection, &Actor::User(name.clone()), Kind::User, &name, "chose a password")?;
            sessions::begin(connection, &name, &format!("invitation, from {from}")).map(Some)
        })
        .await
    }

    /// Gives a user another password, which he has chosen; all his sessions but that of `cookie` end.
    pub(crate) async fn change_password(
        &self,
        attempt: Attempt,
        password: String,
        cookie: &str,
    ) -> Result<(), StoreError> {
        let this = hash(cookie);
        self.write(move |connection| {
            let name = attempt.name.clone();
            // Meanwhile an admin may have ended all that he was logged in by.
            let changed = connection.execute(
                "UPDATE users SET password = ? WHERE name = ? AND EXISTS (SELECT 1 FROM sessions WHERE hash = ?)",
                params![password, name, this],
            )?;
            if changed == 0 {
                return Err(StoreError::User("this session has ended: log in again".into()));
            }
            connection.execute("DELETE FROM sessions WHERE user = ? AND hash <> ?", params![name, this])?;
            connection.execute("DELETE FROM pending_logins WHERE user = ?", [&name])?;
            attempt.succeeded(connection)?;
            audit::append(connection, &Actor::User(name.clone()), Kind::User, &name, "changed the password")
        })
        .await
    }
}

fn invite(connection: &Connection, name: &str) -> Result<String, StoreError> {
    let token = secret();
    connection.execute(
        "INSERT INTO invitations (user, hash, expires) VALUES (?, ?, ?)
         ON CONFLICT (user) DO UPDATE SET hash = excluded.hash, expires = excluded.expires",
        params![name, hash(&token), now() + INVITATION],
    )?;
    Ok(token)
}

fn invited(connection: &Connection, hash: &[u8]) -> Result<Option<String>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT user FROM invitations JOIN users ON name = user WHERE hash = ? AND expires > ? AND disabled IS NULL",
    )?;
    Ok(query.query_row(params![hash, now()], |row| row.get(0)).optional()?)
}

fn find(connection: &Connection, name: &str) -> Result<Option<UserRole>, StoreError> {
    let mut query = connection.prepare_cached("SELECT role FROM users WHERE name = ?")?;
    Ok(query.query_row([name], |row| row.get(0)).optional()?)
}

pub(super) fn known(connection: &Connection, name: &str) -> Result<UserRole, StoreError> {
    find(connection, name)?
        .ok_or_else(|| StoreError::User(format!("no user is named {name:?}: choose one of the list of users")))
}

/// Whether somebody else is left who can look after users: an admin who is not disabled and has a password.
pub(super) fn check_not_last(connection: &Connection, name: &str) -> Result<(), StoreError> {
    let (is_admin, others): (bool, bool) = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM users WHERE name = ?1 AND role = 'admin' AND disabled IS NULL),
                EXISTS (SELECT 1 FROM users WHERE name <> ?1 AND role = 'admin' AND disabled IS NULL
                        AND password IS NOT NULL)",
        [name],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if is_admin && !others {
        return Err(StoreError::User(format!("{name:?} is the last admin: make another user an admin first")));
    }
    Ok(())
}

//! Users whom a provider vouches for: known by issuer and subject, never by a name or an address that somebody could
//! choose there; and browsers that have gone to the provider and are not back.

use super::audit::{self, Actor, Kind};
use super::people::{UserRole, check_not_last, known};
use super::sql::{Connection, Optional, params};
use super::tokens::{hash, secret};
use super::{Store, StoreError, backoff, now, sessions};

/// How long a browser may be away at the provider, in milliseconds.
const AWAY: i64 = 10 * 60 * 1000;
/// Browsers of one address that may be away at a time; the one that left first gives way.
const OF_ONE_ADDRESS: i64 = 100;
/// And of all addresses.
const OF_ALL: i64 = 10_000;

/// Somebody whom the provider vouches for.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    /// The provider.
    pub(crate) issuer: String,
    /// Who that is, there and for ever.
    pub(crate) subject: String,
    /// What he is called there; proper for a user.
    pub(crate) name: String,
    /// What he may do.
    pub(crate) role: UserRole,
}

impl Store {
    /// Notes that a browser goes to the provider; gives the secret by which it is known when it comes back, to
    /// whichever collector of this database.
    pub(crate) async fn depart(&self, from: String) -> Result<String, StoreError> {
        self.write(move |connection| {
            let secret = secret();
            connection.execute("DELETE FROM departures WHERE expires < ?", [now()])?;
            connection.execute(
                "DELETE FROM departures WHERE hash IN
                 (SELECT hash FROM departures WHERE origin = ? ORDER BY expires DESC LIMIT ? OFFSET ?)",
                params![from, OF_ALL, OF_ONE_ADDRESS - 1],
            )?;
            connection.execute(
                "DELETE FROM departures WHERE hash IN
                 (SELECT hash FROM departures ORDER BY expires DESC LIMIT ? OFFSET ?)",
                [OF_ALL, OF_ALL - 1],
            )?;
            connection.execute(
                "INSERT INTO departures (hash, origin, expires) VALUES (?, ?, ?)",
                params![hash(&secret), from, now() + AWAY],
            )?;
            Ok(secret)
        })
        .await
    }

    /// Whether a browser with this secret has gone to the provider and is awaited. It comes back once.
    pub(crate) async fn arrive(&self, secret: &str) -> Result<bool, StoreError> {
        let hash = hash(secret);
        self.write(move |connection| {
            let left =
                connection.execute("DELETE FROM departures WHERE hash = ? AND expires > ?", params![hash, now()])?;
            Ok(left == 1)
        })
        .await
    }

    /// Takes somebody in whom the provider vouches for, as a new user if he was never here, with the role that he has
    /// there now; gives the secret of his session, or why he stays out.
    pub(crate) async fn log_in_by_provider(
        &self,
        person: Person,
        from: String,
    ) -> Result<Result<String, String>, StoreError> {
        self.write(move |connection| {
            let found: Option<(String, UserRole, bool)> = connection
                .query_row(
                    "SELECT name, role, disabled IS NOT NULL FROM identities JOIN users ON name = user
                     WHERE issuer = ? AND subject = ?",
                    params![person.issuer, person.subject],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                )
                .optional()?;
            let user = match found {
                Some((name, _, true)) => {
                    let why = format!("{name} is disabled here: ask an admin of this console");
                    refuse(connection, &format!("disabled|{from}"), &why, &from)?;
                    return Ok(Err(why));
                }
                Some((name, role, false)) => {
                    if role != person.role {
                        connection.execute("UPDATE users SET role = ? WHERE name = ?", params![person.role, name])?;
                        let detail = format!("made {} of {} by the provider", person.role.name(), role.name());
                        audit::append(connection, &Actor::Collector, Kind::User, &name, &detail)?;
                    }
                    name
                }
                None => match add(connection, &person)? {
                    Ok(()) => person.name,
                    Err(why) => {
                        refuse(connection, &format!("not added|{from}"), &why, &from)?;
                        return Ok(Err(why));
                    }
                },
            };
            sessions::begin(connection, &user, &format!("provider, from {from}")).map(Ok)
        })
        .await
    }

    /// Records that somebody came from the provider and was not let in; `kind` is what such attempts are counted by, for
    /// each address or, where an attempt costs nothing, for all together.
    pub(crate) async fn refused_by_provider(
        &self,
        kind: String,
        of_each_address: bool,
        why: String,
        from: String,
    ) -> Result<(), StoreError> {
        let key = if of_each_address { format!("{kind}|{from}") } else { kind };
        self.write(move |connection| refuse(connection, &key, &why, &from)).await
    }

    /// Gives a user to the provider: from now on he logs in there, and his password and second factor here are gone.
    ///
    /// # Errors
    /// As [`Store::change_role`], and where the identity is another user's ([`StoreError::Taken`]).
    pub async fn link_user(&self, by: Actor, name: String, issuer: String, subject: String) -> Result<(), StoreError> {
        self.write(move |connection| {
            known(connection, &name)?;
            check_not_last(connection, &name)?;
            let taken: Option<String> = connection
                .query_row(
                    "SELECT user FROM identities WHERE issuer = ? AND subject = ?",
                    params![issuer, subject],
                    |row| row.get(0),
                )
                .optional()?;
            if let Some(other) = taken {
                return Err(StoreError::Taken(format!(
                    "{subject:?} of {issuer} is the user {other:?} already: reset that one first"
                )));
            }
            sessions::forget(connection, &name)?;
            // The provider may know him as somebody else than it did.
            connection.execute("DELETE FROM identities WHERE user = ?", [&name])?;
            connection.execute("DELETE FROM invitations WHERE user = ?", [&name])?;
            connection.execute(
                "INSERT INTO identities (issuer, subject, user) VALUES (?, ?, ?)",
                params![issuer, subject, name],
            )?;
            audit::append(
                connection,
                &by,
                Kind::User,
                &name,
                &format!("given to the provider as {subject:?} of {issuer}"),
            )
        })
        .await
    }
}

/// Makes a user of somebody who was never here.
fn add(connection: &Connection, person: &Person) -> Result<Result<(), String>, StoreError> {
    let Person { issuer, subject, name, role } = person;
    let awaits_setup: bool = connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM users)", [], |row| row.get(0))?;
    if awaits_setup {
        return Ok(Err("this console has not been set up yet: its first user is made with the set-up token".into()));
    }
    let taken: bool =
        connection.query_row("SELECT EXISTS (SELECT 1 FROM users WHERE name = ?)", [name], |row| row.get(0))?;
    if taken {
        return Ok(Err(format!(
            "another user of this console is named {name:?} already: an admin can give that user to the provider with \
             `vitrine-collector user link`"
        )));
    }
    connection.execute("INSERT INTO users (name, role, created) VALUES (?, ?, ?)", params![name, role, now()])?;
    connection
        .execute("INSERT INTO identities (issuer, subject, user) VALUES (?, ?, ?)", params![issuer, subject, name])?;
    let detail = format!("added as {} by the provider: {subject:?} of {issuer}", role.name());
    audit::append(connection, &Actor::Collector, Kind::User, name, &detail)?;
    Ok(Ok(()))
}

/// Whoever comes again and again must not fill the disk: an entry for every doubling says as much. The key holds nothing that
/// whoever comes could choose, but for his address.
fn refuse(connection: &Connection, key: &str, why: &str, from: &str) -> Result<(), StoreError> {
    let attempts = backoff::failed(connection, &format!("provider|{key}"), backoff::ONE)?;
    if !attempts.is_power_of_two() {
        return Ok(());
    }
    let detail = format!("from {from}, attempt {attempts}: {why}");
    audit::append(connection, &Actor::Stranger, Kind::LogInFailed, "provider", &detail)
}

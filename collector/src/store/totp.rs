//! The second factor: codes by time (RFC 6238) with their secrets, and recovery codes for who has lost the device.

use totp_rs::Totp;

use super::audit::{self, Actor, Kind};
use super::backoff;
use super::sessions::begin;
use super::sql::{Connection, Optional, params};
use super::tokens::{fill, hash};
use super::{Store, StoreError, now};

/// Bytes of a secret: as many as HMAC-SHA-1 gives (RFC 4226, 4, R6).
const SECRET: usize = 20;
/// Recovery codes of one user.
const RECOVERY: usize = 10;
/// Bytes of chance in a recovery code: so many that SHA-256 of it cannot be searched through.
const RECOVERY_BYTES: usize = 10;

/// How a code was taken.
pub(crate) enum Code<T> {
    /// It was right.
    Right(T),
    /// It was wrong, or was used before.
    Wrong,
    /// Nothing was looked at: too many were wrong; milliseconds to wait.
    Wait(i64),
    /// There is nothing that a code could be for.
    Nothing,
}

/// What an authenticator must know.
pub(crate) struct TotpEnrolment {
    /// The secret in base32.
    pub(crate) secret: String,
    /// The same as an `otpauth:` URI.
    pub(crate) uri: String,
}

impl Store {
    /// Makes a new secret for a user who has no second factor yet, in place of one that was not confirmed; none for
    /// one who has.
    pub(crate) async fn begin_totp(&self, user: String) -> Result<Option<TotpEnrolment>, StoreError> {
        self.write(move |connection| {
            let mut secret = [0_u8; SECRET];
            fill(&mut secret);
            let written = connection.execute(
                "INSERT INTO totp (user, secret, confirmed, last_step) VALUES (?, ?, FALSE, 0)
                 ON CONFLICT (user) DO UPDATE SET secret = excluded.secret, last_step = 0
                 WHERE NOT totp.confirmed",
                params![user, secret],
            )?;
            if written == 1 { enrolment(&secret, &user).map(Some) } else { Ok(None) }
        })
        .await
    }

    /// The secret that a user has still to confirm.
    pub(crate) async fn unconfirmed_totp(&self, user: String) -> Result<Option<TotpEnrolment>, StoreError> {
        self.read(move |connection| {
            let secret: Option<Vec<u8>> = connection
                .query_row("SELECT secret FROM totp WHERE user = ? AND NOT confirmed", [&user], |row| row.get(0))
                .optional()?;
            secret.map(|secret| enrolment(&secret, &user)).transpose()
        })
        .await
    }

    /// Takes the second factor up once a code shows that the authenticator has the secret; gives the recovery codes,
    /// which are shown this once.
    pub(crate) async fn confirm_totp(&self, user: String, code: String) -> Result<Code<Vec<String>>, StoreError> {
        self.write(move |connection| {
            let key = key(&user);
            match backoff::wait(connection, &key, backoff::ONE)? {
                0 => {}
                wait => return Ok(Code::Wait(wait)),
            }
            if !is_totp(connection, &user, &code, false)? {
                backoff::failed(connection, &key, backoff::ONE)?;
                return Ok(Code::Wrong);
            }
            connection.execute("UPDATE totp SET confirmed = TRUE WHERE user = ?", [&user])?;
            connection.execute("DELETE FROM recovery_codes WHERE user = ?", [&user])?;
            let codes: Vec<_> = (0..RECOVERY).map(|_| recovery_code()).collect();
            for code in &codes {
                connection.execute(
                    "INSERT INTO recovery_codes (user, hash) VALUES (?, ?)",
                    params![user, hash(&plain(code))],
                )?;
            }
            audit::append(connection, &Actor::User(user.clone()), Kind::SecondFactor, &user, "taken up")?;
            Ok(Code::Right(codes))
        })
        .await
    }

    /// Gives the second factor up for a code of it.
    pub(crate) async fn remove_totp(&self, user: String, code: String) -> Result<Code<()>, StoreError> {
        self.write(move |connection| {
            Ok(match spend(connection, &user, &code)? {
                Code::Right(how) => {
                    connection.execute("DELETE FROM totp WHERE user = ?", [&user])?;
                    connection.execute("DELETE FROM recovery_codes WHERE user = ?", [&user])?;
                    let detail = format!("given up for a {how}");
                    audit::append(connection, &Actor::User(user.clone()), Kind::SecondFactor, &user, &detail)?;
                    Code::Right(())
                }
                Code::Wrong => Code::Wrong,
                Code::Wait(wait) => Code::Wait(wait),
                Code::Nothing => Code::Nothing,
            })
        })
        .await
    }

    /// Takes a user in whose password was right before; gives the secret of his session.
    pub(crate) async fn log_in_with_code(
        &self,
        pending: &str,
        code: String,
        from: String,
    ) -> Result<Code<String>, StoreError> {
        let pending = hash(pending);
        self.write(move |connection| {
            let user: Option<String> = connection
                .query_row(
                    "SELECT user FROM pending_logins JOIN users ON name = user
                     WHERE hash = ? AND expires > ? AND disabled IS NULL",
                    params![pending, now()],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(user) = user else {
                return Ok(Code::Nothing);
            };
            Ok(match spend(connection, &user, &code)? {
                Code::Right(how) => {
                    connection.execute("DELETE FROM pending_logins WHERE hash = ?", [pending])?;
                    Code::Right(begin(connection, &user, &format!("password and {how}, from {from}"))?)
                }
                Code::Wrong => {
                    let actor = Actor::User(user);
                    audit::append(connection, &actor, Kind::LogInFailed, "code", &format!("from {from}"))?;
                    Code::Wrong
                }
                Code::Wait(wait) => Code::Wait(wait),
                Code::Nothing => Code::Nothing,
            })
        })
        .await
    }

    /// How many recovery codes a user has left.
    pub(crate) async fn recovery_codes(&self, user: String) -> Result<u64, StoreError> {
        self.read(move |connection| {
            Ok(connection.query_row("SELECT count(*) FROM recovery_codes WHERE user = ?", [user], |row| row.get(0))?)
        })
        .await
    }
}

/// Whoever guesses codes knows the password already: all of a user's tries are counted together, wherever they come
/// from (RFC 4226, 7.3).
pub(super) fn key(user: &str) -> String {
    format!("code|{user}")
}

/// Uses up a code of a confirmed second factor, or a recovery code; says which of them it was. Wrong ones are counted.
fn spend(connection: &Connection, user: &str, code: &str) -> Result<Code<&'static str>, StoreError> {
    let key = key(user);
    match backoff::wait(connection, &key, backoff::ONE)? {
        0 => {}
        wait => return Ok(Code::Wait(wait)),
    }
    let how = if is_totp(connection, user, code, true)? {
        "code"
    } else if connection
        .execute("DELETE FROM recovery_codes WHERE user = ? AND hash = ?", params![user, hash(&plain(code))])?
        == 1
    {
        "recovery code"
    } else {
        backoff::failed(connection, &key, backoff::ONE)?;
        return Ok(Code::Wrong);
    };
    backoff::forget(connection, &key)?;
    Ok(Code::Right(how))
}

/// Whether this is a code of now, of the step before or of the one after, later than every code that was taken: each
/// is taken once (RFC 6238, 5.2).
fn is_totp(connection: &Connection, user: &str, code: &str, confirmed: bool) -> Result<bool, StoreError> {
    let code = plain(code);
    if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(false);
    }
    let found: Option<(Vec<u8>, u64)> = connection
        .query_row(
            "SELECT secret, last_step FROM totp WHERE user = ? AND confirmed = ?",
            params![user, confirmed],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((secret, last)) = found else {
        return Ok(false);
    };
    let seconds = u64::try_from(now() / 1000).unwrap_or_default();
    let Some(step) = totp(&secret, user)?.check(&code, seconds).filter(|step| *step > last) else {
        return Ok(false);
    };
    connection.execute("UPDATE totp SET last_step = ? WHERE user = ?", params![step, user])?;
    Ok(true)
}

fn enrolment(secret: &[u8], user: &str) -> Result<TotpEnrolment, StoreError> {
    let totp = totp(secret, user)?;
    let uri = totp.to_url().map_err(|error| StoreError::Damaged(error.to_string()))?;
    Ok(TotpEnrolment { secret: totp.secret().to_base32(), uri })
}

/// SHA-1, 6 digits and 30 seconds: what every authenticator knows. A colon would end the issuer in the URI.
fn totp(secret: &[u8], user: &str) -> Result<Totp, StoreError> {
    totp_rs::Builder::new()
        .with_secret(secret.to_vec())
        .with_issuer(Some("Vitrine"))
        .with_account_name(user.replace(':', "_"))
        .build()
        .map_err(|error| StoreError::Damaged(format!("the second factor of {user:?}: {error}")))
}

fn recovery_code() -> String {
    let mut bytes = [0_u8; RECOVERY_BYTES];
    fill(&mut bytes);
    let digits = hex::encode(bytes);
    [&digits[..5], &digits[5..10], &digits[10..15], &digits[15..]].join("-")
}

/// A code without what people put between its digits.
fn plain(code: &str) -> String {
    code.chars().filter(|character| !character.is_whitespace() && *character != '-').collect::<String>().to_lowercase()
}

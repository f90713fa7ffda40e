//! Passwords: what is asked of a new one, how it is kept, and whether one is right.

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Argon2, password_hash};
use axum::http::StatusCode;

use super::PageError;
use crate::refusal::Refusal;
use crate::server::Collector;
use crate::store::{Attempt, StoreError};

/// Longest user name and password, in bytes.
pub(super) const LONGEST: usize = 256;
/// Shortest password, in characters (NIST SP 800-63B asks for 8; nothing else is asked of it here).
const SHORTEST: usize = 12;

/// What is wrong with a password that somebody has chosen.
pub(super) fn mistake(password: &str, repeated: &str) -> Option<&'static str> {
    if password.chars().count() < SHORTEST {
        Some("Choose a password of at least 12 characters.")
    } else if password.len() > LONGEST {
        Some("Choose a password of at most 256 bytes.")
    } else if password != repeated {
        Some("The two passwords differ.")
    } else {
        None
    }
}

/// The password as it is kept, in PHC format.
pub(super) async fn keep(collector: &Collector, password: String) -> Result<String, PageError> {
    let _permit = collector.hashing.acquire().await.map_err(|_| StoreError::Closed)?;
    let hashed = tokio::task::spawn_blocking(move || hash(&password)).await.map_err(|_| StoreError::Closed)?;
    hashed.map_err(|error| {
        tracing::error!(%error, "a password could not be hashed");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the password could not be kept", "the same form again").into()
    })
}

/// What came of a password.
pub(super) enum Checked {
    Right,
    Wrong,
    /// It was not looked at; milliseconds to wait.
    Wait(i64),
}

/// Looks at a user's password, and counts it if it is wrong.
pub(super) async fn check(collector: &Collector, attempt: &Attempt, password: String) -> Result<Checked, StoreError> {
    // Held until the failure is counted: guesses at the same time would not wait for each other.
    let _permit = collector.hashing.acquire().await.map_err(|_| StoreError::Closed)?;
    match collector.store.login_wait(attempt.clone()).await? {
        0 => {}
        wait => return Ok(Checked::Wait(wait)),
    }
    let kept = collector.store.password(attempt.name.clone()).await?;
    if verify(kept, password).await? {
        return Ok(Checked::Right);
    }
    collector.store.login_failed(attempt.clone()).await?;
    Ok(Checked::Wrong)
}

/// Whether the password is right. An unknown user costs the same time, so that names cannot be probed.
async fn verify(kept: Option<String>, password: String) -> Result<bool, StoreError> {
    let verifying = tokio::task::spawn_blocking(move || match kept {
        Some(kept) => PasswordHash::new(&kept)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()),
        None => {
            let _ = hash(&password);
            false
        }
    });
    verifying.await.map_err(|_| StoreError::Closed)
}

/// argon2id with the parameters of OWASP's Password Storage Cheat Sheet (19 MiB, 2 passes), which are the
/// library's defaults; PHC format.
fn hash(password: &str) -> password_hash::Result<String> {
    let mut salt = [0_u8; 16];
    crate::store::fill(&mut salt);
    let salt = SaltString::encode_b64(&salt)?;
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt)?.to_string())
}

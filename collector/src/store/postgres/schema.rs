//! The tables in PostgreSQL, as a list of migrations; one collector brings them up while the others wait.

use super::super::StoreError;
use super::super::sql::SqlError;
use super::{MIGRATION, Session};

/// Each entry brings a database one version further. Entries are never changed, only added.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/postgres/first.sql"),
    include_str!("../migrations/postgres/identities.sql"),
    include_str!("../migrations/postgres/packed.sql"),
    include_str!("../migrations/postgres/approvals.sql"),
    include_str!("../migrations/postgres/letters.sql"),
];

/// Brings the database to the newest version, all of it in one transaction.
pub(super) fn migrate(session: &Session) -> Result<(), StoreError> {
    session.begin(&format!("BEGIN; SELECT pg_advisory_xact_lock({MIGRATION}, 0)"))?;
    let done = bring_up(session);
    session.end(done.is_ok())?;
    done
}

fn bring_up(session: &Session) -> Result<(), StoreError> {
    session.batch("CREATE TABLE IF NOT EXISTS vitrine_schema (version BIGINT NOT NULL)")?;
    let rows = session.prepare("SELECT coalesce(max(version), 0) FROM vitrine_schema")?.query(&[])?;
    let found: i64 = rows.first().ok_or(SqlError::NoRow)?.get(0);
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    if found > MIGRATIONS.len() {
        return Err(StoreError::Newer { found, known: MIGRATIONS.len() });
    }
    for (version, migration) in MIGRATIONS.iter().enumerate().skip(found) {
        session.batch(migration)?;
        session.batch(&format!("INSERT INTO vitrine_schema VALUES ({})", version + 1))?;
    }
    Ok(())
}

//! The tables, as a list of migrations. `user_version` says how many of them a database has seen.

use rusqlite::Connection;

use super::StoreError;

/// Each entry brings a database one version further. Entries are never changed, only added.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/first.sql"),
    include_str!("migrations/certificates.sql"),
    include_str!("migrations/triage.sql"),
    include_str!("migrations/users.sql"),
    include_str!("migrations/seals.sql"),
    include_str!("migrations/objects.sql"),
    include_str!("migrations/sinks.sql"),
    include_str!("migrations/routes.sql"),
    include_str!("migrations/silences.sql"),
    include_str!("migrations/policies.sql"),
    include_str!("migrations/judged.sql"),
    include_str!("migrations/outbox_lists.sql"),
    include_str!("migrations/identities.sql"),
    include_str!("migrations/approvals.sql"),
    include_str!("migrations/letters.sql"),
];

/// Brings the database to the newest version, each step in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    loop {
        let step = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let version: usize = step.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version > MIGRATIONS.len() {
            return Err(StoreError::Newer { found: version, known: MIGRATIONS.len() });
        }
        let Some(migration) = MIGRATIONS.get(version) else {
            return Ok(());
        };
        step.execute_batch(migration)?;
        step.pragma_update(None, "user_version", version + 1)?;
        step.commit()?;
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{MIGRATIONS, migrate};

    #[test]
    fn the_user_of_a_database_without_roles_becomes_its_admin() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "foreign_keys", true).unwrap();
        for migration in &MIGRATIONS[..3] {
            connection.execute_batch(migration).unwrap();
        }
        connection.pragma_update(None, "user_version", 3).unwrap();
        let before = "INSERT INTO users VALUES ('ines', '$argon2id$', 7);
                      INSERT INTO sessions VALUES (x'00', 'ines', 'csrf', 9);";
        connection.execute_batch(before).unwrap();
        migrate(&mut connection).unwrap();
        let found: (String, String, String, i64) = connection
            .query_row("SELECT name, role, password, created FROM users WHERE disabled IS NULL", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .unwrap();
        assert_eq!(found, ("ines".into(), "admin".into(), "$argon2id$".into(), 7));
        connection.execute_batch("INSERT INTO sessions VALUES (x'01', 'ines', 'csrf', 9)").unwrap();
        connection.execute_batch("INSERT INTO sessions VALUES (x'02', 'eve', 'csrf', 9)").unwrap_err();
    }
}

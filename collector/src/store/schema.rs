//! The tables, as a list of migrations. `user_version` says how many of them a database has seen.

use rusqlite::Connection;

use super::StoreError;

/// Each entry brings a database one version further. Entries are never changed, only added.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE tokens (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        role TEXT NOT NULL CHECK (role IN ('agent', 'reader')),
        hash BLOB NOT NULL UNIQUE,
        created INTEGER NOT NULL,
        revoked INTEGER,
        agent TEXT
    );
    CREATE UNIQUE INDEX tokens_name ON tokens (name) WHERE revoked IS NULL;
    CREATE UNIQUE INDEX tokens_agent ON tokens (agent) WHERE revoked IS NULL AND agent IS NOT NULL;

    CREATE TABLE agents (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        host TEXT NOT NULL,
        first_seen INTEGER NOT NULL,
        last_seen INTEGER NOT NULL,
        highest INTEGER NOT NULL DEFAULT 0,
        heartbeat TEXT
    );

    CREATE TABLE records (
        number INTEGER PRIMARY KEY,
        agent INTEGER NOT NULL REFERENCES agents (number),
        sequence INTEGER NOT NULL,
        id TEXT NOT NULL,
        time INTEGER NOT NULL,
        received INTEGER NOT NULL,
        severity INTEGER NOT NULL,
        alert INTEGER,
        body TEXT NOT NULL,
        UNIQUE (agent, sequence)
    );
    CREATE INDEX records_alert ON records (alert, number) WHERE alert IS NOT NULL;

    CREATE TABLE gaps (
        agent INTEGER NOT NULL REFERENCES agents (number),
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (agent, first)
    ) WITHOUT ROWID;

    CREATE TABLE dead_letters (
        number INTEGER PRIMARY KEY,
        token INTEGER NOT NULL,
        received INTEGER NOT NULL,
        digest BLOB NOT NULL,
        reason TEXT NOT NULL,
        line BLOB NOT NULL,
        UNIQUE (token, digest)
    );

    CREATE TABLE evidence (
        digest TEXT PRIMARY KEY,
        received INTEGER NOT NULL,
        jpeg BLOB NOT NULL
    );

    CREATE TABLE alerts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        agent TEXT NOT NULL,
        user TEXT NOT NULL,
        program TEXT NOT NULL,
        code TEXT NOT NULL,
        state TEXT NOT NULL,
        severity INTEGER NOT NULL,
        first_seen INTEGER NOT NULL,
        last_seen INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        body TEXT NOT NULL
    );
    CREATE INDEX alerts_group ON alerts (agent, user, program, code) WHERE state = 'open';
    CREATE INDEX alerts_changed ON alerts (changed, id);
    CREATE INDEX alerts_open ON alerts (changed, id) WHERE state = 'open';

    CREATE TABLE outbox (
        number INTEGER PRIMARY KEY,
        channel TEXT NOT NULL,
        body TEXT NOT NULL,
        created INTEGER NOT NULL,
        due INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL DEFAULT 'waiting',
        error TEXT
    );
    CREATE INDEX outbox_waiting ON outbox (channel, due) WHERE state = 'waiting';

    CREATE TABLE setup (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        hash BLOB NOT NULL
    );
    CREATE TABLE users (
        name TEXT PRIMARY KEY,
        password TEXT NOT NULL,
        created INTEGER NOT NULL
    );
    CREATE TABLE sessions (
        hash BLOB PRIMARY KEY,
        user TEXT NOT NULL REFERENCES users (name),
        csrf TEXT NOT NULL,
        expires INTEGER NOT NULL
    );
    CREATE TABLE login_failures (
        key TEXT PRIMARY KEY,
        failures INTEGER NOT NULL,
        until INTEGER NOT NULL
    );
",
    "
    ALTER TABLE agents ADD COLUMN heartbeat_seconds INTEGER;
    ALTER TABLE agents ADD COLUMN skew INTEGER;
    ALTER TABLE agents ADD COLUMN off INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE agents ADD COLUMN silent INTEGER REFERENCES alerts (id);
    CREATE INDEX records_age ON records (severity, received);
    CREATE INDEX evidence_age ON evidence (received);
    CREATE INDEX dead_letters_age ON dead_letters (received);
    CREATE INDEX outbox_age ON outbox (created) WHERE state <> 'waiting';

    ALTER TABLE tokens ADD COLUMN uses INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE tokens ADD COLUMN expires INTEGER;
    CREATE TABLE certificates (
        number INTEGER PRIMARY KEY,
        agent TEXT NOT NULL,
        digest BLOB NOT NULL UNIQUE,
        key BLOB NOT NULL,
        token INTEGER NOT NULL REFERENCES tokens (id),
        issued INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        revoked INTEGER
    );
    CREATE INDEX certificates_agent ON certificates (agent) WHERE revoked IS NULL;
",
    // Lists are read from the newest alert on: every index ends in the row's own number.
    "
    ALTER TABLE alerts ADD COLUMN raised INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE alerts ADD COLUMN host TEXT AS (CASE WHEN body <> '' THEN json_extract(body, '$.host') END);
    UPDATE alerts SET raised = changed;
    CREATE INDEX alerts_state ON alerts (state, severity);
    CREATE INDEX alerts_newest ON alerts (state);
    CREATE INDEX alerts_severity ON alerts (severity);
    CREATE INDEX alerts_host ON alerts (host);
    CREATE INDEX alerts_user ON alerts (user);
    CREATE INDEX alerts_raised ON alerts (raised);
    CREATE INDEX records_time ON records (agent, time);

    CREATE VIRTUAL TABLE alert_text USING fts5
        (title, program, masters, destinations, explanation, content = '', contentless_delete = 1);
    INSERT INTO alert_text (rowid, title, program, masters, destinations, explanation)
        SELECT id, json_extract(body, '$.title'), program, json_extract(body, '$.masters'),
               json_extract(body, '$.destinations'), json_extract(body, '$.explanation')
        FROM alerts WHERE body <> '';
    CREATE TRIGGER alert_text_written AFTER UPDATE OF body ON alerts BEGIN
        INSERT OR REPLACE INTO alert_text (rowid, title, program, masters, destinations, explanation)
        VALUES (new.id, json_extract(new.body, '$.title'), new.program, json_extract(new.body, '$.masters'),
                json_extract(new.body, '$.destinations'), json_extract(new.body, '$.explanation'));
    END;
    CREATE TRIGGER alert_text_removed AFTER DELETE ON alerts BEGIN
        DELETE FROM alert_text WHERE rowid = old.id;
    END;

    CREATE TABLE triage (
        number INTEGER PRIMARY KEY,
        alert INTEGER NOT NULL,
        at INTEGER NOT NULL,
        user TEXT NOT NULL,
        step TEXT NOT NULL,
        verdict INTEGER,
        note TEXT NOT NULL
    );
    CREATE INDEX triage_alert ON triage (alert);
    CREATE TRIGGER triage_removed AFTER DELETE ON alerts BEGIN
        DELETE FROM triage WHERE alert = old.id;
    END;
    CREATE TABLE views (
        user TEXT NOT NULL,
        name TEXT NOT NULL,
        query TEXT NOT NULL,
        PRIMARY KEY (user, name)
    ) WITHOUT ROWID;
",
    // Users have roles, and may be there before they have a password. Sessions of before end.
    "
    DROP TABLE sessions;
    ALTER TABLE users RENAME TO users_before;
    CREATE TABLE users (
        name TEXT PRIMARY KEY,
        role TEXT NOT NULL CHECK (role IN ('viewer', 'analyst', 'policy-admin', 'admin')),
        password TEXT,
        created INTEGER NOT NULL,
        disabled INTEGER
    );
    INSERT INTO users (name, role, password, created) SELECT name, 'admin', password, created FROM users_before;
    DROP TABLE users_before;
    CREATE TABLE invitations (
        user TEXT PRIMARY KEY REFERENCES users (name),
        hash BLOB NOT NULL UNIQUE,
        expires INTEGER NOT NULL
    );
    CREATE TABLE sessions (
        hash BLOB PRIMARY KEY,
        user TEXT NOT NULL REFERENCES users (name),
        csrf TEXT NOT NULL,
        expires INTEGER NOT NULL
    );
    CREATE INDEX sessions_user ON sessions (user);
    CREATE TABLE pending_logins (
        hash BLOB PRIMARY KEY,
        user TEXT NOT NULL REFERENCES users (name),
        expires INTEGER NOT NULL
    );
    CREATE TABLE totp (
        user TEXT PRIMARY KEY REFERENCES users (name),
        secret BLOB NOT NULL,
        confirmed INTEGER NOT NULL,
        last_step INTEGER NOT NULL
    );
    CREATE TABLE recovery_codes (
        user TEXT NOT NULL REFERENCES users (name),
        hash BLOB NOT NULL,
        PRIMARY KEY (user, hash)
    ) WITHOUT ROWID;

    CREATE TABLE audit (
        number INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        origin TEXT NOT NULL,
        actor TEXT NOT NULL,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        detail TEXT NOT NULL,
        hash TEXT NOT NULL
    );
    CREATE INDEX audit_actor ON audit (actor);
    CREATE INDEX audit_kind ON audit (kind);
    CREATE TABLE audit_head (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        number INTEGER NOT NULL,
        hash TEXT NOT NULL
    );
    INSERT INTO audit_head (only, number, hash) VALUES (1, 0, '');
    CREATE TRIGGER audit_changed BEFORE UPDATE ON audit BEGIN
        SELECT RAISE (ABORT, 'entries of the audit log are never changed');
    END;
    CREATE TRIGGER audit_removed BEFORE DELETE ON audit BEGIN
        SELECT RAISE (ABORT, 'entries of the audit log are never removed');
    END;
",
    // Runs of agents, and how far their seals have been checked.
    "
    CREATE TABLE epochs (
        number INTEGER PRIMARY KEY,
        agent INTEGER NOT NULL REFERENCES agents (number),
        epoch TEXT NOT NULL,
        key BLOB NOT NULL,
        next INTEGER NOT NULL DEFAULT 0,
        dropped INTEGER NOT NULL DEFAULT 0,
        missing INTEGER NOT NULL DEFAULT 0,
        ahead INTEGER NOT NULL DEFAULT 0,
        changed INTEGER NOT NULL DEFAULT 0,
        UNIQUE (agent, epoch)
    );
    ALTER TABLE agents ADD COLUMN tampered INTEGER NOT NULL DEFAULT 0;
",
    // What a list of masters and a search need, made from the records behind `summed`; it goes with them. The highest
    // number that was removed is kept: numbers of records are never given anew.
    "
    CREATE TABLE summed (upto INTEGER NOT NULL, removed INTEGER NOT NULL);
    INSERT INTO summed VALUES (0, 0);
    CREATE TABLE objects (
        number INTEGER PRIMARY KEY,
        key BLOB NOT NULL UNIQUE,
        collection TEXT NOT NULL,
        path TEXT NOT NULL,
        object TEXT,
        first_seen INTEGER NOT NULL,
        last_seen INTEGER NOT NULL,
        heard INTEGER NOT NULL,
        outcomes INTEGER NOT NULL,
        went INTEGER NOT NULL,
        refused INTEGER NOT NULL,
        opens INTEGER NOT NULL,
        thumbnail TEXT
    );
    CREATE INDEX objects_heard ON objects (heard);
    CREATE INDEX objects_collection ON objects (collection, heard);
    CREATE INDEX objects_went ON objects (heard) WHERE outcomes & 1;
    CREATE INDEX objects_refused ON objects (heard) WHERE outcomes & 2;
    CREATE VIRTUAL TABLE object_text USING fts5 (path, collection, object, content = '', contentless_delete = 1);
    CREATE TABLE object_destinations (
        object INTEGER NOT NULL,
        destination TEXT NOT NULL,
        went INTEGER NOT NULL,
        refused INTEGER NOT NULL,
        coverage REAL,
        scale REAL,
        last_seen INTEGER NOT NULL,
        heard INTEGER NOT NULL,
        PRIMARY KEY (object, destination)
    ) WITHOUT ROWID;
    CREATE INDEX object_destinations_heard ON object_destinations (destination, heard, object);
    CREATE TABLE object_sent (
        object INTEGER NOT NULL,
        destination TEXT NOT NULL,
        agent INTEGER NOT NULL,
        share REAL NOT NULL,
        PRIMARY KEY (object, destination, agent)
    ) WITHOUT ROWID;
    CREATE TABLE object_records (
        record INTEGER NOT NULL,
        object INTEGER NOT NULL,
        PRIMARY KEY (record, object)
    ) WITHOUT ROWID;
    CREATE INDEX object_records_object ON object_records (object, record);
    CREATE TRIGGER objects_new AFTER INSERT ON objects BEGIN
        INSERT INTO object_text (rowid, path, collection, object)
        VALUES (new.number, new.path, new.collection, new.object);
    END;
    CREATE TRIGGER object_records_removed AFTER DELETE ON object_records
        WHEN NOT EXISTS (SELECT 1 FROM object_records WHERE object = old.object) BEGIN
        DELETE FROM objects WHERE number = old.object;
        DELETE FROM object_text WHERE rowid = old.object;
        DELETE FROM object_destinations WHERE object = old.object;
        DELETE FROM object_sent WHERE object = old.object;
    END;
    CREATE TABLE accounts (
        name TEXT PRIMARY KEY,
        went INTEGER NOT NULL,
        refused INTEGER NOT NULL,
        last_seen INTEGER NOT NULL,
        heard INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX accounts_name ON accounts (name COLLATE NOCASE);
    CREATE INDEX accounts_heard ON accounts (heard);
    CREATE VIRTUAL TABLE record_text USING fts5 (text, content = '', contentless_delete = 1);
    CREATE VIRTUAL TABLE record_words USING fts5vocab (record_text, instance);
    CREATE TRIGGER records_removed AFTER DELETE ON records BEGIN
        DELETE FROM object_records WHERE record = old.number;
        DELETE FROM record_text WHERE rowid = old.number;
        UPDATE summed SET removed = old.number WHERE removed < old.number;
    END;
",
    // How far each sink has come in `records`, and what it would not take.
    "
    CREATE TABLE sinks (
        name TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        target TEXT NOT NULL,
        filter TEXT NOT NULL,
        active INTEGER NOT NULL,
        position INTEGER NOT NULL DEFAULT 0,
        delivered INTEGER NOT NULL DEFAULT 0,
        refused INTEGER NOT NULL DEFAULT 0,
        lost INTEGER NOT NULL DEFAULT 0,
        last INTEGER,
        failures INTEGER NOT NULL DEFAULT 0,
        error TEXT,
        retry INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE refused (
        number INTEGER PRIMARY KEY,
        sink TEXT NOT NULL,
        record INTEGER NOT NULL,
        at INTEGER NOT NULL,
        reason TEXT NOT NULL,
        body TEXT NOT NULL
    );
    CREATE INDEX refused_sink ON refused (sink);
    CREATE INDEX refused_age ON refused (at);
",
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

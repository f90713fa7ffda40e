-- Users have roles, and may be there before they have a password. Sessions of before end.

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

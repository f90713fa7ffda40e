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

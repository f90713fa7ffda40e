-- How far each sink has come in `records`, and what it would not take.

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

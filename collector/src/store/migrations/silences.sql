-- Which alerts nobody is told of, until when, and why.

CREATE TABLE silences (
    number INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    user TEXT NOT NULL,
    destination TEXT NOT NULL,
    master TEXT NOT NULL,
    reason TEXT NOT NULL,
    author TEXT NOT NULL,
    created INTEGER NOT NULL,
    until INTEGER NOT NULL,
    ended INTEGER,
    ended_by TEXT,
    alerts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX silences_until ON silences (until) WHERE ended IS NULL;

-- Users whom a provider vouches for, and browsers that have gone to it and are not back.

CREATE TABLE identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user TEXT NOT NULL UNIQUE REFERENCES users (name),
    PRIMARY KEY (issuer, subject)
);
CREATE TABLE departures (
    hash BLOB PRIMARY KEY,
    origin TEXT NOT NULL,
    expires INTEGER NOT NULL
);
CREATE INDEX departures_origin ON departures (origin);

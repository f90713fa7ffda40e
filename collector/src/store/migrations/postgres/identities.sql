-- Users whom a provider vouches for, and browsers that have gone to it and are not back.

CREATE TABLE identities (
    issuer TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    "user" TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES users (name),
    PRIMARY KEY (issuer, subject)
);
CREATE TABLE departures (
    hash BYTEA PRIMARY KEY,
    origin TEXT COLLATE "C" NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX departures_origin ON departures (origin);

-- Runs of agents, and how far their seals have been checked.

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

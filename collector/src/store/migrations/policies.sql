-- Policies that workstations fetch, for whom, and which one each has in force.

CREATE TABLE policies (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    digest TEXT NOT NULL UNIQUE,
    serial INTEGER,
    text TEXT NOT NULL,
    signature TEXT,
    added INTEGER NOT NULL,
    added_by TEXT NOT NULL,
    note TEXT NOT NULL
);
CREATE TABLE host_groups (
    name TEXT PRIMARY KEY,
    members TEXT NOT NULL
);
INSERT INTO host_groups VALUES ('all', '*');
CREATE TABLE rollouts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    policy INTEGER NOT NULL REFERENCES policies (number),
    host_group TEXT NOT NULL REFERENCES host_groups (name),
    percentage INTEGER NOT NULL CHECK (percentage BETWEEN 1 AND 100),
    state TEXT NOT NULL CHECK (state IN ('running', 'halted')),
    began INTEGER NOT NULL,
    watched INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    reason TEXT NOT NULL
);
ALTER TABLE agents ADD COLUMN policy INTEGER REFERENCES policies (number);
ALTER TABLE agents ADD COLUMN policy_since INTEGER;
CREATE INDEX agents_policy ON agents (policy) WHERE policy IS NOT NULL;

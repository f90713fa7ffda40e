-- What users want to take where only a second person's approval lets it go, and what that person answered.

CREATE TABLE approvals (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    agent TEXT NOT NULL,
    request TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    body TEXT NOT NULL,
    received INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'approved', 'denied')),
    answered INTEGER,
    answered_by TEXT,
    note TEXT NOT NULL DEFAULT '',
    told INTEGER,
    alert INTEGER,
    UNIQUE (agent, request)
);
CREATE INDEX approvals_agent ON approvals (agent, received);
CREATE INDEX approvals_expires ON approvals (expires);

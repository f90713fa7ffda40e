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

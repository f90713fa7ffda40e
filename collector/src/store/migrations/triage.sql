-- Lists are read from the newest alert on: every index ends in the row's own number.

ALTER TABLE alerts ADD COLUMN raised INTEGER NOT NULL DEFAULT 0;
ALTER TABLE alerts ADD COLUMN host TEXT AS (CASE WHEN body <> '' THEN json_extract(body, '$.host') END);
UPDATE alerts SET raised = changed;
CREATE INDEX alerts_state ON alerts (state, severity);
CREATE INDEX alerts_newest ON alerts (state);
CREATE INDEX alerts_severity ON alerts (severity);
CREATE INDEX alerts_host ON alerts (host);
CREATE INDEX alerts_user ON alerts (user);
CREATE INDEX alerts_raised ON alerts (raised);
CREATE INDEX records_time ON records (agent, time);

CREATE VIRTUAL TABLE alert_text USING fts5
    (title, program, masters, destinations, explanation, content = '', contentless_delete = 1);
INSERT INTO alert_text (rowid, title, program, masters, destinations, explanation)
    SELECT id, json_extract(body, '$.title'), program, json_extract(body, '$.masters'),
           json_extract(body, '$.destinations'), json_extract(body, '$.explanation')
    FROM alerts WHERE body <> '';
CREATE TRIGGER alert_text_written AFTER UPDATE OF body ON alerts BEGIN
    INSERT OR REPLACE INTO alert_text (rowid, title, program, masters, destinations, explanation)
    VALUES (new.id, json_extract(new.body, '$.title'), new.program, json_extract(new.body, '$.masters'),
            json_extract(new.body, '$.destinations'), json_extract(new.body, '$.explanation'));
END;
CREATE TRIGGER alert_text_removed AFTER DELETE ON alerts BEGIN
    DELETE FROM alert_text WHERE rowid = old.id;
END;

CREATE TABLE triage (
    number INTEGER PRIMARY KEY,
    alert INTEGER NOT NULL,
    at INTEGER NOT NULL,
    user TEXT NOT NULL,
    step TEXT NOT NULL,
    verdict INTEGER,
    note TEXT NOT NULL
);
CREATE INDEX triage_alert ON triage (alert);
CREATE TRIGGER triage_removed AFTER DELETE ON alerts BEGIN
    DELETE FROM triage WHERE alert = old.id;
END;
CREATE TABLE views (
    user TEXT NOT NULL,
    name TEXT NOT NULL,
    query TEXT NOT NULL,
    PRIMARY KEY (user, name)
) WITHOUT ROWID;

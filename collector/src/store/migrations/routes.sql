-- What each route has been told of each alert, and when it is told of it next.

CREATE TABLE routed (
    route TEXT NOT NULL,
    alert INTEGER NOT NULL,
    bundle TEXT NOT NULL,
    severity INTEGER NOT NULL,
    occasion TEXT NOT NULL,
    since INTEGER NOT NULL,
    due INTEGER,
    told INTEGER,
    PRIMARY KEY (route, alert)
) WITHOUT ROWID;
CREATE INDEX routed_due ON routed (due, route) WHERE due IS NOT NULL;
CREATE INDEX routed_since ON routed (since) WHERE due IS NOT NULL;
CREATE INDEX routed_waiting ON routed (route, bundle, due) WHERE due IS NOT NULL;
CREATE INDEX routed_told ON routed (route, bundle, told);
CREATE INDEX routed_alert ON routed (alert);
CREATE TRIGGER routed_removed AFTER DELETE ON alerts BEGIN
    DELETE FROM routed WHERE alert = old.id;
END;

ALTER TABLE outbox RENAME COLUMN channel TO route;
ALTER TABLE outbox ADD COLUMN occasion TEXT NOT NULL DEFAULT 'alert.created';
ALTER TABLE outbox ADD COLUMN summary TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN answer TEXT;
UPDATE outbox SET state = 'dead', error = 'written before routes had names' WHERE state = 'waiting';
CREATE INDEX outbox_dead ON outbox (route) WHERE state = 'dead';

-- What a list of masters and a search need, made from the records behind `summed`; it goes with them. The highest
-- number that was removed is kept: numbers of records are never given anew.

CREATE TABLE summed (upto INTEGER NOT NULL, removed INTEGER NOT NULL);
INSERT INTO summed VALUES (0, 0);
CREATE TABLE objects (
    number INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    collection TEXT NOT NULL,
    path TEXT NOT NULL,
    object TEXT,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    heard INTEGER NOT NULL,
    outcomes INTEGER NOT NULL,
    went INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    opens INTEGER NOT NULL,
    thumbnail TEXT
);
CREATE INDEX objects_heard ON objects (heard);
CREATE INDEX objects_collection ON objects (collection, heard);
CREATE INDEX objects_went ON objects (heard) WHERE outcomes & 1;
CREATE INDEX objects_refused ON objects (heard) WHERE outcomes & 2;
CREATE VIRTUAL TABLE object_text USING fts5 (path, collection, object, content = '', contentless_delete = 1);
CREATE TABLE object_destinations (
    object INTEGER NOT NULL,
    destination TEXT NOT NULL,
    went INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    coverage REAL,
    scale REAL,
    last_seen INTEGER NOT NULL,
    heard INTEGER NOT NULL,
    PRIMARY KEY (object, destination)
) WITHOUT ROWID;
CREATE INDEX object_destinations_heard ON object_destinations (destination, heard, object);
CREATE TABLE object_sent (
    object INTEGER NOT NULL,
    destination TEXT NOT NULL,
    agent INTEGER NOT NULL,
    share REAL NOT NULL,
    PRIMARY KEY (object, destination, agent)
) WITHOUT ROWID;
CREATE TABLE object_records (
    record INTEGER NOT NULL,
    object INTEGER NOT NULL,
    PRIMARY KEY (record, object)
) WITHOUT ROWID;
CREATE INDEX object_records_object ON object_records (object, record);
CREATE TRIGGER objects_new AFTER INSERT ON objects BEGIN
    INSERT INTO object_text (rowid, path, collection, object)
    VALUES (new.number, new.path, new.collection, new.object);
END;
CREATE TRIGGER object_records_removed AFTER DELETE ON object_records
    WHEN NOT EXISTS (SELECT 1 FROM object_records WHERE object = old.object) BEGIN
    DELETE FROM objects WHERE number = old.object;
    DELETE FROM object_text WHERE rowid = old.object;
    DELETE FROM object_destinations WHERE object = old.object;
    DELETE FROM object_sent WHERE object = old.object;
END;
CREATE TABLE accounts (
    name TEXT PRIMARY KEY,
    went INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    heard INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX accounts_name ON accounts (name COLLATE NOCASE);
CREATE INDEX accounts_heard ON accounts (heard);
CREATE VIRTUAL TABLE record_text USING fts5 (text, content = '', contentless_delete = 1);
CREATE VIRTUAL TABLE record_words USING fts5vocab (record_text, instance);
CREATE TRIGGER records_removed AFTER DELETE ON records BEGIN
    DELETE FROM object_records WHERE record = old.number;
    DELETE FROM record_text WHERE rowid = old.number;
    UPDATE summed SET removed = old.number WHERE removed < old.number;
END;

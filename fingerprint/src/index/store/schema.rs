//! The tables of an index.

/// "VtrI": marks the file as ours (SQLite's `application_id`).
pub(super) const APPLICATION: i64 = 0x5674_7249;
/// Of the tables below, and of the algorithms whose results they hold.
pub(in super::super) const VERSION: i64 = 5;

pub(super) const TABLES: &str = "
    -- The further pictures in a master lie below its path, on the device -1, and its id is their inode.
    CREATE TABLE master (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        path BLOB NOT NULL UNIQUE,
        collection TEXT NOT NULL,
        object TEXT,
        device INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        digest BLOB NOT NULL,
        pixels BLOB,
        hash BLOB,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        bit_depth INTEGER NOT NULL,
        checksum BLOB NOT NULL
    ) STRICT;
    CREATE INDEX pixels ON master (pixels) WHERE pixels IS NOT NULL;
    -- What lies in memory of each master, many in a row; each row with its checksum.
    CREATE TABLE keys (block INTEGER PRIMARY KEY, keys BLOB NOT NULL, checksum BLOB NOT NULL) STRICT;
    -- Apart, so that reading what is known of a master touches the narrow rows only.
    CREATE TABLE looks (
        id INTEGER PRIMARY KEY REFERENCES master ON DELETE CASCADE,
        -- Local features and the small picture that is compared.
        features BLOB NOT NULL,
        picture BLOB NOT NULL,
        thumbnail BLOB NOT NULL,
        checksum BLOB NOT NULL
    ) STRICT;
    -- The parts of each master, eight bytes each, and the masters of each part.
    CREATE TABLE parts (id INTEGER PRIMARY KEY REFERENCES master, hashes BLOB NOT NULL) STRICT;
    CREATE TABLE part (hash INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (hash, id)) STRICT, WITHOUT ROWID;
    -- Masters whose local features are in none of the segments yet, and those files.
    CREATE TABLE fresh (id INTEGER PRIMARY KEY REFERENCES looks ON DELETE CASCADE) STRICT;
    CREATE TABLE segment (number INTEGER PRIMARY KEY) STRICT;
    -- What was found damaged while it was read: the index is not opened again.
    CREATE TABLE damage (detail TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
    -- Counts, so that nobody has to count.
    CREATE TABLE tally (
        collection TEXT PRIMARY KEY,
        masters INTEGER NOT NULL,
        pictures INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER counted AFTER INSERT ON master WHEN NEW.device <> -1 BEGIN
        INSERT INTO tally VALUES (NEW.collection, 1, NEW.hash IS NOT NULL, NEW.size) ON CONFLICT DO UPDATE SET
            masters = masters + 1, pictures = pictures + excluded.pictures, bytes = bytes + excluded.bytes;
    END;
    CREATE TRIGGER discounted AFTER DELETE ON master WHEN OLD.device <> -1 BEGIN
        UPDATE tally SET masters = masters - 1, pictures = pictures - (OLD.hash IS NOT NULL), bytes = bytes - OLD.size
            WHERE collection = OLD.collection;
    END;
    CREATE TRIGGER recounted AFTER UPDATE OF collection, hash, size ON master WHEN NEW.device <> -1 BEGIN
        UPDATE tally SET masters = masters - 1, pictures = pictures - (OLD.hash IS NOT NULL), bytes = bytes - OLD.size
            WHERE collection = OLD.collection;
        INSERT INTO tally VALUES (NEW.collection, 1, NEW.hash IS NOT NULL, NEW.size) ON CONFLICT DO UPDATE SET
            masters = masters + 1, pictures = pictures + excluded.pictures, bytes = bytes + excluded.bytes;
    END;
";

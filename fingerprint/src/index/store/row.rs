//! One row of the table `master`.

use std::path::{Path, PathBuf};

use rusqlite::types::ToSql;
use rusqlite::{Connection, params};

use super::super::lookup::{Key, PAGE};
use super::super::portrait::Likeness;
use super::super::{Entry, Known, Master, path_bytes, path_from};
use super::{damaged, keys, parts};
use crate::exact::Digest;
use crate::local::Features;
use crate::measure::{Content, Measurement};
use crate::perceptual::Hash;

/// A master as it is stored.
#[derive(Clone, Debug)]
pub(in super::super) struct Row {
    pub(in super::super) id: i64,
    pub(super) path: Vec<u8>,
    collection: String,
    object: Option<String>,
    device: i64,
    inode: i64,
    size: i64,
    mtime_ns: i64,
    pub(super) digest: Digest,
    pixels: Option<Digest>,
    hash: Option<Hash>,
    width: u32,
    height: u32,
    bit_depth: u8,
    checksum: Vec<u8>,
}

impl Row {
    pub(super) const COLUMNS: &'static str = "id, path, collection, object, device, inode, size, mtime_ns, digest, \
                                              pixels, hash, width, height, bit_depth, checksum";

    /// Refuses a row that does not have its checksum.
    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
        let row = Row::read_unchecked(row)?;
        let why = |row: &Row| damaged(format!("the entry of master {} does not have its checksum", row.id));
        if row.is_intact() { Ok(row) } else { Err(why(&row)) }
    }

    pub(super) fn read_unchecked(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
        Ok(Row {
            id: row.get(0)?,
            path: row.get(1)?,
            collection: row.get(2)?,
            object: row.get(3)?,
            device: row.get(4)?,
            inode: row.get(5)?,
            size: row.get(6)?,
            mtime_ns: row.get(7)?,
            digest: Digest::from(row.get::<_, [u8; 32]>(8)?),
            pixels: row.get::<_, Option<[u8; 32]>>(9)?.map(Digest::from),
            hash: row.get::<_, Option<[u8; 32]>>(10)?.map(|bytes| Hash::from_bytes(&bytes)),
            width: row.get(11)?,
            height: row.get(12)?,
            bit_depth: row.get(13)?,
            checksum: row.get(14)?,
        })
    }

    pub(super) fn select(
        connection: &Connection,
        condition: &str,
        values: &[&dyn ToSql],
    ) -> rusqlite::Result<Vec<Row>> {
        let sql = format!("SELECT {} FROM master WHERE {condition}", Row::COLUMNS);
        let mut statement = connection.prepare_cached(&sql)?;
        statement.query_map(values, Row::read)?.collect()
    }

    pub(super) fn with_id(connection: &Connection, id: i64) -> rusqlite::Result<Option<Row>> {
        Ok(Row::select(connection, "id = ?1", &[&id])?.pop())
    }

    pub(super) fn at(connection: &Connection, path: &Path) -> rusqlite::Result<Option<Row>> {
        Ok(Row::select(connection, "path = ?1", &[&path_bytes(path)])?.pop())
    }

    pub(super) fn below(connection: &Connection, dir: &Path) -> rusqlite::Result<Vec<Row>> {
        let (from, to) = range(dir);
        Row::select(connection, "path >= ?1 AND path < ?2", &[&from, &to])
    }

    /// The further pictures in the master at `path`.
    pub(super) fn pages(connection: &Connection, path: &Path) -> rusqlite::Result<Vec<Row>> {
        let (from, to) = range(path);
        Row::select(connection, "path >= ?1 AND path < ?2 AND device = -1", &[&from, &to])
    }

    /// The id of the master that this is a further picture of; none for a master.
    pub(super) fn page_of(&self) -> Option<i64> {
        (self.device as u64 == PAGE).then_some(self.inode)
    }

    fn new(entry: &Entry, path: &Path, measurement: &Measurement) -> Row {
        let content = &measurement.content;
        let size = content.size().unwrap_or_default();
        let (hash, pixels) = match content {
            Content::Picture(picture) => {
                let hash = picture.fingerprint.is_recognisable().then(|| picture.fingerprint.hash());
                (hash, picture.pixels)
            }
            _ => (None, None),
        };
        Row {
            id: 0,
            path: path_bytes(path).to_vec(),
            collection: entry.collection.clone(),
            object: entry.object.clone(),
            // SQLite's integers are signed; the bits stay.
            device: entry.device as i64,
            inode: entry.inode as i64,
            size: entry.size as i64,
            mtime_ns: entry.mtime_ns,
            digest: measurement.digest,
            pixels,
            hash,
            width: size.width,
            height: size.height,
            bit_depth: size.bit_depth,
            checksum: Vec::new(),
        }
    }

    /// The first 8 bytes of BLAKE3 over every field, each with its length. SQLite checks the structure of
    /// its pages only, not what stands in them.
    fn sum(&self) -> [u8; 8] {
        let object = self.object.as_deref().map(str::as_bytes);
        let hash = self.hash.map(Hash::to_bytes);
        let numbers = [self.device, self.inode, self.size, self.mtime_ns].map(i64::to_le_bytes).concat();
        let picture = [self.width, self.height, u32::from(self.bit_depth)].map(u32::to_le_bytes).concat();
        sum([
            Some(self.path.as_slice()),
            Some(self.collection.as_bytes()),
            object,
            Some(&numbers),
            Some(self.digest.as_bytes()),
            self.pixels.as_ref().map(|pixels| pixels.as_bytes().as_slice()),
            hash.as_ref().map(<[u8; 32]>::as_slice),
            Some(&picture),
        ])
    }

    pub(super) fn is_intact(&self) -> bool {
        self.checksum == self.sum()
    }

    /// Writes a new path.
    pub(super) fn move_to(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE master SET path = ?2, checksum = ?3 WHERE id = ?1";
        connection.prepare_cached(sql)?.execute(params![self.id, self.path, self.sum()]).map(drop)
    }

    pub(super) fn key(&self) -> Key {
        Key::new(&self.digest, self.hash, (self.device as u64, self.inode as u64))
    }

    /// What it looks like, without what the table `looks` has of it.
    pub(in super::super) fn likeness(&self) -> Likeness {
        Likeness {
            digest: self.digest,
            pixels: self.pixels,
            hash: self.hash,
            width: self.width,
            height: self.height,
            bit_depth: self.bit_depth,
            features: Vec::new(),
            picture: Vec::new(),
            thumbnail: Vec::new(),
        }
    }

    pub(in super::super) fn known(&self) -> Known {
        Known {
            id: self.id,
            size: self.size as u64,
            mtime_ns: self.mtime_ns,
            inode: self.inode as u64,
            device: self.device as u64,
        }
    }

    pub(super) fn into_master(self) -> Master {
        Master {
            id: self.id,
            path: path_from(self.path),
            collection: self.collection,
            object: self.object,
            width: self.width,
            height: self.height,
            bit_depth: self.bit_depth,
        }
    }
}

/// What the table `looks` keeps of a master.
struct MasterLooks {
    features: Vec<u8>,
    picture: Vec<u8>,
    thumbnail: Vec<u8>,
}

/// A master, or a further picture in one, before it is written.
pub(in super::super) struct New {
    row: Row,
    looks: Option<MasterLooks>,
    parts: Vec<i64>,
}

impl New {
    /// The master, and then the further pictures in it, as entries below it.
    pub(in super::super) fn of(entry: &Entry) -> Vec<New> {
        let page = |(number, measurement): (usize, &Measurement)| {
            let path = entry.path.join((number + 1).to_string());
            let row =
                Row { device: PAGE as i64, size: measurement.bytes as i64, ..Row::new(entry, &path, measurement) };
            // Bytes of it are bytes of its master.
            New { row, looks: looks(measurement), parts: Vec::new() }
        };
        let whole = New {
            row: Row::new(entry, &entry.path, &entry.measurement),
            looks: looks(&entry.measurement),
            parts: parts::evidence(&entry.measurement.parts),
        };
        std::iter::once(whole).chain(entry.pages.iter().enumerate().map(page)).collect()
    }

    /// What is known by a portrait alone. It lies on no disk here; a number of its own for each keeps lookups short.
    pub(in super::super) fn portrayed(path: &[u8], bytes: u64, likeness: &Likeness, is_page: bool) -> New {
        let digest = blake3::hash(path);
        let number = digest.as_bytes().first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes));
        let row = Row {
            id: 0,
            path: path.to_vec(),
            collection: String::new(),
            object: None,
            device: if is_page { PAGE as i64 } else { 0 },
            inode: if is_page { 0 } else { number },
            size: bytes as i64,
            mtime_ns: 0,
            digest: likeness.digest,
            pixels: likeness.pixels,
            hash: likeness.hash,
            width: likeness.width,
            height: likeness.height,
            bit_depth: likeness.bit_depth,
            checksum: Vec::new(),
        };
        let Likeness { features, picture, thumbnail, .. } = likeness.clone();
        let looks =
            (!picture.is_empty() || !thumbnail.is_empty()).then_some(MasterLooks { features, picture, thumbnail });
        New { row, looks, parts: Vec::new() }
    }

    pub(super) fn path(&self) -> PathBuf {
        path_from(self.row.path.clone())
    }

    /// It is a further picture in the master with this id.
    pub(super) fn belongs_to(&mut self, master: u32) {
        self.row.inode = master.into();
    }

    /// The local features that are posted for it.
    pub(in super::super) fn features(&self) -> Option<Features> {
        Features::read(&self.looks.as_ref()?.features)
    }
}

/// None for what is no picture.
fn looks(measurement: &Measurement) -> Option<MasterLooks> {
    let Content::Picture(picture) = &measurement.content else { return None };
    let (features, small) = picture.fingerprint.local().for_master().unwrap_or_default();
    Some(MasterLooks { features, picture: small, thumbnail: picture.thumbnail.clone() })
}

/// Inserts a master, or replaces the one at the same path, which keeps its id.
/// Its key is not written yet.
pub(super) fn insert(connection: &Connection, new: &mut New) -> rusqlite::Result<(u32, Key)> {
    let New { row, looks, parts } = new;
    let sql = "INSERT INTO master (path, collection, object, device, inode, size, mtime_ns, digest, pixels,
                                   hash, width, height, bit_depth, checksum)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
               ON CONFLICT (path) DO UPDATE SET
                   collection = excluded.collection, object = excluded.object, device = excluded.device,
                   inode = excluded.inode, size = excluded.size, mtime_ns = excluded.mtime_ns,
                   digest = excluded.digest, pixels = excluded.pixels, hash = excluded.hash, width = excluded.width,
                   height = excluded.height, bit_depth = excluded.bit_depth, checksum = excluded.checksum
               RETURNING id";
    let values = params![
        row.path,
        row.collection,
        row.object,
        row.device,
        row.inode,
        row.size,
        row.mtime_ns,
        row.digest.as_bytes(),
        row.pixels.map(|pixels| *pixels.as_bytes()),
        row.hash.map(Hash::to_bytes),
        row.width,
        row.height,
        row.bit_depth,
        row.sum(),
    ];
    let id: u32 = connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
    row.id = i64::from(id);
    // Takes the row of `fresh` along.
    connection.prepare_cached("DELETE FROM looks WHERE id = ?1")?.execute([id])?;
    parts::put(connection, row.id, parts)?;
    if let Some(MasterLooks { features, picture, thumbnail }) = &*looks {
        let checksum = sum([Some(features.as_slice()), Some(picture.as_slice()), Some(thumbnail.as_slice())]);
        let sql = "INSERT INTO looks (id, features, picture, thumbnail, checksum) VALUES (?1, ?2, ?3, ?4, ?5)";
        connection.prepare_cached(sql)?.execute(params![id, features, picture, thumbnail, checksum])?;
        if !features.is_empty() {
            connection.prepare_cached("INSERT INTO fresh (id) VALUES (?1)")?.execute([id])?;
        }
    }
    Ok((id, row.key()))
}

/// Forgets masters and all that belongs to them.
pub(super) fn delete(connection: &Connection, ids: &[i64]) -> rusqlite::Result<()> {
    for id in ids {
        parts::forget(connection, *id)?;
        connection.prepare_cached("DELETE FROM master WHERE id = ?1")?.execute([id])?;
    }
    let gone = ids.iter().filter_map(|id| u32::try_from(*id).ok()).map(|id| (id, None));
    keys::change(connection, &gone.collect::<Vec<_>>())
}

/// First 8 bytes of BLAKE3 over fields with their lengths; an absent field differs from an empty one.
pub(super) fn sum<const N: usize>(fields: [Option<&[u8]>; N]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    for field in fields {
        let length = field.map_or(u64::MAX, |bytes| bytes.len() as u64);
        hasher.update(&length.to_le_bytes()).update(field.unwrap_or_default());
    }
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    first
}

/// Paths below `dir` lie between these two, the second one excluded: from "dir/" to "dir0", for `0` is
/// the byte behind the slash.
pub(super) fn range(dir: &Path) -> (Vec<u8>, Vec<u8>) {
    let mut from = path_bytes(dir).to_vec();
    while from.last() == Some(&b'/') {
        from.pop();
    }
    let mut to = from.clone();
    from.push(b'/');
    to.push(b'/' + 1);
    (from, to)
}

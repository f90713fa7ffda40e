//! The index on disk: one SQLite file in WAL mode, one connection that writes, a few that read.

mod keys;
pub(super) mod parts;
mod row;
mod schema;
mod segments;
mod verify;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, ffi, params};

pub(super) use self::row::{New, Row};
pub(super) use self::schema::VERSION;
use self::schema::{APPLICATION, TABLES};
use super::lookup::Key;
use super::{IndexError, Known, Master, Stats, path_bytes, path_from};
use crate::exact::Digest;

/// How long one connection waits for another process to finish writing.
const PATIENCE: Duration = Duration::from_secs(10);
/// Masters and further pictures with the same bytes or pixels that are told of, the oldest first.
pub(super) const SAME: usize = 256;
/// Readers that are kept open.
const READERS: usize = 4;

/// Columns of the table `looks`.
#[derive(Clone, Copy)]
pub(super) enum Looks {
    Features,
    Picture,
}

pub(super) struct Store {
    path: PathBuf,
    /// Idle readers; none for an index in memory, which has one connection only. They close before the
    /// writer, which as the last one folds the write-ahead log into the file.
    readers: Option<Mutex<Vec<Connection>>>,
    writer: Mutex<Connection>,
}

/// What an insertion has changed.
#[derive(Default)]
pub(super) struct Inserted {
    /// Further pictures that are not there any more.
    pub(super) gone: Vec<i64>,
    /// The ids of the masters, in their order.
    pub(super) masters: Vec<u32>,
    /// Of each master, and then of its further pictures; none of those that a later one has replaced.
    pub(super) keys: Vec<(u32, Option<Key>)>,
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Store, IndexError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(PATIENCE)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?; // A lost tail is fingerprinted again.
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.pragma_update(None, "cache_size", -4096)?; // KiB: memory is dear, the page cache is there
            Ok(connection)
        };
        let connection = open().map_err(|source| problem(path, source))?;
        let readers = Some(Mutex::default());
        Store { path: path.to_owned(), writer: Mutex::new(connection), readers }.prepared(true)
    }

    pub(super) fn open_read_only(path: &Path) -> Result<Store, IndexError> {
        let connection = reader(path).map_err(|source| problem(path, source))?;
        let readers = Some(Mutex::default());
        Store { path: path.to_owned(), writer: Mutex::new(connection), readers }.prepared(false)
    }

    pub(super) fn in_memory() -> Result<Store, IndexError> {
        let path = PathBuf::from(":memory:");
        let connection = Connection::open_in_memory().map_err(|source| problem(&path, source))?;
        connection.pragma_update(None, "foreign_keys", true).map_err(|source| problem(&path, source))?;
        Store { path, writer: Mutex::new(connection), readers: None }.prepared(true)
    }

    /// Creates the tables of a new file, and refuses what is no index of this version.
    fn prepared(self, create: bool) -> Result<Store, IndexError> {
        let number =
            |connection: &Connection, name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let (application, version, objects) = self.write(|tx| {
            let objects = tx.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
            if objects == 0 && create {
                tx.execute_batch(TABLES)?;
                tx.pragma_update(None, "application_id", APPLICATION)?;
                tx.pragma_update(None, "user_version", VERSION)?;
            }
            Ok((number(tx, "application_id")?, number(tx, "user_version")?, objects))
        })?;
        if application != APPLICATION || (objects == 0 && !create) {
            return Err(IndexError::NotAnIndex { path: self.path });
        }
        if version != VERSION {
            return Err(IndexError::Version { path: self.path, found: version, expected: VERSION });
        }
        let sql = "SELECT detail FROM damage LIMIT 1";
        match self.read(|connection| connection.query_row(sql, [], |row| row.get(0)).optional())? {
            Some(detail) => Err(IndexError::Damaged { path: self.path, detail }),
            None => Ok(self),
        }
    }

    /// Everything that `change` does, or nothing.
    fn write<T>(&self, change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, IndexError> {
        let mut writer = self.writer();
        let run = || {
            let tx = writer.transaction()?;
            let result = change(&tx)?;
            tx.commit()?;
            Ok(result)
        };
        let result = run();
        drop(writer);
        result.map_err(|source| self.failed(source))
    }

    fn read<T>(&self, look: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, IndexError> {
        let failed = |source| self.failed(source);
        let Some(readers) = &self.readers else {
            let result = look(&self.writer());
            return result.map_err(failed);
        };
        let idle = || readers.lock().unwrap_or_else(PoisonError::into_inner);
        let reused = idle().pop();
        let connection = match reused {
            Some(connection) => connection,
            None => reader(&self.path).map_err(failed)?,
        };
        let result = look(&connection).map_err(failed);
        let mut idle = idle();
        if idle.len() < READERS {
            idle.push(connection);
        }
        result
    }

    /// What is found damaged is remembered, so that the index is not believed when it is opened next.
    fn failed(&self, source: rusqlite::Error) -> IndexError {
        let error = problem(&self.path, source);
        if let IndexError::Damaged { detail, .. } = &error {
            // A reader cannot; and where there is more damage, opening the index meets it again.
            let _ = self.writer().execute("INSERT OR IGNORE INTO damage VALUES (?1)", [detail]);
        }
        error
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner) // A broken transaction was rolled back.
    }

    /// Inserts all or none, each master with its further pictures behind it; `then` runs after the commit, before the
    /// next writer.
    pub(super) fn insert(
        &self,
        new: &mut [Vec<New>],
        then: impl FnOnce(&Inserted, &[Vec<New>]),
    ) -> Result<(), IndexError> {
        let mut writer = self.writer();
        let mut run = || {
            let tx = writer.transaction()?;
            let mut inserted = Inserted::default();
            for rows in new.iter_mut() {
                let Some((master, pages)) = rows.split_first_mut() else { continue };
                let gone: Vec<i64> = Row::pages(&tx, &master.path())?.iter().map(|row| row.id).collect();
                row::delete(&tx, &gone)?;
                inserted.gone.extend(gone);
                let (id, key) = row::insert(&tx, master)?;
                inserted.masters.push(id);
                inserted.keys.push((id, Some(key)));
                for page in pages {
                    page.belongs_to(id);
                    let (id, key) = row::insert(&tx, page)?;
                    inserted.keys.push((id, Some(key)));
                }
            }
            let gone: HashSet<i64> = inserted.gone.iter().copied().collect();
            let replaced = inserted.keys.iter_mut().filter(|(id, _)| gone.contains(&i64::from(*id)));
            replaced.for_each(|(_, key)| *key = None);
            keys::change(&tx, &inserted.keys)?;
            tx.commit()?;
            Ok(inserted)
        };
        let inserted = run().map_err(|source| problem(&self.path, source))?;
        then(&inserted, new);
        Ok(())
    }

    /// Removes the master at `path`, or all below it. How many masters that are.
    pub(super) fn remove(&self, path: &Path, below: bool, then: impl FnOnce(&[i64])) -> Result<usize, IndexError> {
        let (ids, masters) = self.write(|tx| {
            let rows = if below {
                Row::below(tx, path)?
            } else {
                Row::at(tx, path)?.into_iter().chain(Row::pages(tx, path)?).collect()
            };
            let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
            row::delete(tx, &ids)?;
            Ok((ids, masters(&rows)))
        })?;
        then(&ids);
        Ok(masters)
    }

    pub(super) fn rename(&self, from: &Path, to: &Path, gone: impl FnOnce(&[i64])) -> Result<usize, IndexError> {
        if from == to {
            return Ok(0);
        }
        let (moved, replaced) = self.write(|tx| {
            let collect = |path: &Path| -> rusqlite::Result<Vec<Row>> {
                Ok(Row::at(tx, path)?.into_iter().chain(Row::below(tx, path)?).collect())
            };
            let rows = collect(from)?;
            if rows.is_empty() {
                return Ok((0, Vec::new()));
            }
            let moving: Vec<i64> = rows.iter().map(|row| row.id).collect();
            let replaced: Vec<i64> = collect(to)?.iter().map(|row| row.id).filter(|id| !moving.contains(id)).collect();
            row::delete(tx, &replaced)?;
            for mut row in rows.iter().cloned() {
                let rest = row.path.split_off(path_bytes(from).len());
                row.path = [path_bytes(to), &rest].concat();
                row.move_to(tx)?;
            }
            Ok((masters(&rows), replaced))
        })?;
        gone(&replaced);
        Ok(moved)
    }

    pub(super) fn known(&self, path: &Path) -> Result<Option<Known>, IndexError> {
        self.read(|connection| Ok(Row::at(connection, path)?.map(|row| row.known())))
    }

    /// The master at `path`, and then the further pictures in it.
    pub(super) fn with_pages(&self, path: &Path) -> Result<Vec<Row>, IndexError> {
        self.read(|connection| match Row::at(connection, path)? {
            Some(master) => Ok(std::iter::once(master).chain(Row::pages(connection, path)?).collect()),
            None => Ok(Vec::new()),
        })
    }

    /// The master, or the one that this further picture is in, with the size of that picture; and whether it is one.
    pub(super) fn resolve(&self, id: i64) -> Result<Option<(Master, bool)>, IndexError> {
        self.read(|connection| {
            let Some(row) = Row::with_id(connection, id)? else { return Ok(None) };
            let Some(master) = row.page_of() else { return Ok(Some((row.into_master(), false))) };
            let Some(whole) = Row::with_id(connection, master)? else { return Ok(None) };
            let Master { width, height, bit_depth, .. } = row.into_master();
            Ok(Some((Master { width, height, bit_depth, ..whole.into_master() }, true)))
        })
    }

    pub(super) fn digest(&self, id: i64) -> Result<Option<Digest>, IndexError> {
        self.read(|connection| Ok(Row::with_id(connection, id)?.map(|row| row.digest)))
    }

    /// The masters and further pictures with these pixels.
    pub(super) fn with_pixels(&self, pixels: &Digest) -> Result<Vec<i64>, IndexError> {
        let condition = format!("pixels = ?1 ORDER BY id LIMIT {SAME}");
        let rows = self.read(|connection| Row::select(connection, &condition, &[pixels.as_bytes()]))?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }

    pub(super) fn master(&self, id: i64) -> Result<Option<Master>, IndexError> {
        self.read(|connection| Ok(Row::with_id(connection, id)?.map(Row::into_master)))
    }

    /// The master and its size in bytes.
    pub(super) fn master_and_size(&self, id: i64) -> Result<Option<(Master, u64)>, IndexError> {
        let row = self.read(|connection| Row::with_id(connection, id))?;
        Ok(row.map(|row| (row.known().size, row)).map(|(size, row)| (row.into_master(), size)))
    }

    /// What a master looks like, as `local` has written it; empty if it has no looks.
    pub(super) fn looks(&self, id: i64, column: Looks) -> Result<Vec<u8>, IndexError> {
        let sql = match column {
            Looks::Features => "SELECT features FROM looks WHERE id = ?1",
            Looks::Picture => "SELECT picture FROM looks WHERE id = ?1",
        };
        let found: Option<Vec<u8>> =
            self.read(|connection| connection.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional())?;
        Ok(found.unwrap_or_default())
    }

    pub(super) fn thumbnail(&self, id: i64) -> Result<Option<Vec<u8>>, IndexError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT thumbnail FROM looks WHERE id = ?1")?;
            statement.query_row([id], |row| row.get(0)).optional()
        })
    }

    pub(super) fn each_below(
        &self,
        dir: &Path,
        visit: &mut dyn FnMut(&Path, &Known) -> ControlFlow<()>,
    ) -> Result<(), IndexError> {
        self.read(|connection| {
            let (from, to) = row::range(dir);
            let sql = format!(
                "SELECT {} FROM master WHERE path >= ?1 AND path < ?2 AND device <> -1 ORDER BY path",
                Row::COLUMNS
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![from, to])?;
            while let Some(row) = rows.next()? {
                let row = Row::read(row)?;
                let known = row.known();
                if visit(&path_from(row.path), &known).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    pub(super) fn each_after(
        &self,
        after: &Path,
        visit: &mut dyn FnMut(&Known, Master) -> ControlFlow<()>,
    ) -> Result<(), IndexError> {
        self.read(|connection| {
            let sql = format!("SELECT {} FROM master WHERE path > ?1 AND device <> -1 ORDER BY path", Row::COLUMNS);
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([path_bytes(after)])?;
            while let Some(row) = rows.next()? {
                let row = Row::read(row)?;
                if visit(&row.known(), row.into_master()).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    pub(super) fn stats(&self) -> Result<Stats, IndexError> {
        let mut stats = self.read(|connection| {
            let sql = "SELECT collection, masters, pictures, bytes FROM tally WHERE masters > 0";
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            let mut stats = Stats::default();
            while let Some(row) = rows.next()? {
                let masters = row.get::<_, i64>(1)? as u64;
                stats.masters += masters;
                stats.pictures += row.get::<_, i64>(2)? as u64;
                stats.master_bytes += row.get::<_, i64>(3)? as u64;
                stats.collections.insert(row.get(0)?, masters);
            }
            Ok(stats)
        })?;
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        if self.readers.is_some() {
            let mut wal = self.path.clone().into_os_string();
            wal.push("-wal");
            stats.index_bytes = size(&self.path) + size(Path::new(&wal));
        }
        Ok(stats)
    }
}

/// How many of the rows are masters.
fn masters(rows: &[Row]) -> usize {
    rows.iter().filter(|row| row.page_of().is_none()).count()
}

/// A connection that only reads.
fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "cache_size", -1024)?;
    Ok(connection)
}

fn problem(path: &Path, source: rusqlite::Error) -> IndexError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => IndexError::NotAnIndex { path },
        Some(ErrorCode::DatabaseCorrupt) => IndexError::Damaged { path, detail: source.to_string() },
        _ => IndexError::Database { path, source },
    }
}

/// An error that says as SQLite does that the content is damaged.
fn damaged(detail: String) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(detail))
}

//! The file of the history. SQLite, because it survives `kill -9` and a full disk at every moment; with a rollback
//! journal and not a log, because that one can be read while the disk is full.
//!
//! Every change is a merge that may be repeated. While the disk refuses, changes wait in memory, count from there and are
//! tried again with the next one. A damaged file is set aside.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use vitrine_fingerprint::Area;
use vitrine_policy::record::printable;

use crate::collection::Report;
use crate::fail::{self, Failure};
use crate::spool::is_corrupt;

/// Marks a SQLite file as a history of Vitrine: "Vthi".
const APPLICATION: i64 = 0x5674_6869;
/// Version of the tables.
const VERSION: i64 = 1;
/// Areas of one master at one destination that are kept, about 200 bytes each; above it those go that were added
/// to longest ago, first where the policy does not limit what adds up.
const MAX_AREAS: u64 = 200_000;
/// Objects of all destinations and days that are kept, about 100 bytes each; above it the oldest days go.
const MAX_OBJECTS: u64 = 1_000_000;
/// Changes that wait in memory for a disk that refuses.
const MAX_WAITING: usize = 10_000;
/// Days whose objects are kept, in case a clock was wrong and is put back.
const DAYS: i64 = 8;
/// Counting what is kept takes a while, and is done once in so many times that something is written.
const LOOK: u32 = 256;
/// Files up to this size are checked in full when they are opened; what is wrong in a larger one shows when it is read.
const CHECKED: u64 = 64 << 20;

const TABLES: &str = "
    CREATE TABLE area (
        destination TEXT NOT NULL,
        master BLOB NOT NULL,
        limited INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        cells BLOB NOT NULL,
        PRIMARY KEY (destination, master)
    ) STRICT;
    CREATE INDEX area_droppable ON area (limited, changed);
    CREATE INDEX area_master ON area (master);
    CREATE TABLE object (
        day TEXT NOT NULL,
        destination TEXT NOT NULL,
        object BLOB NOT NULL,
        PRIMARY KEY (day, destination, object)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX object_named ON object (object);";

/// Something that has gone out, or is known by another name.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A part of a master.
    Area { destination: String, master: PathBuf, area: Area, limited: bool },
    /// An object.
    Object { destination: String, day: String, object: Vec<u8> },
    /// A master has another path.
    Renamed { from: PathBuf, to: PathBuf },
}

/// Why something was not read or written.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// The disk refuses, or nobody may write there.
    #[error("{0}")]
    Refused(#[from] rusqlite::Error),
    /// The file cannot be made.
    #[error("{0}")]
    Place(#[from] std::io::Error),
    /// The content makes no sense.
    #[error("{0}")]
    Damaged(String),
}

impl Trouble {
    fn is_damage(&self) -> bool {
        match self {
            Trouble::Refused(error) => is_corrupt(error),
            Trouble::Place(_) => false,
            Trouble::Damaged(_) => true,
        }
    }
}

/// The open file, or the memory of one that cannot be opened now.
pub(super) struct Store {
    path: PathBuf,
    report: Report,
    connection: Option<Connection>,
    waiting: Vec<Change>,
    /// Whether it was told that the disk refuses.
    is_told: bool,
    written: u32,
    pub(super) look: u32,
    pub(super) max_areas: u64,
    pub(super) max_waiting: usize,
}

impl Store {
    pub(super) fn new(path: PathBuf, report: Report) -> Store {
        Store {
            path,
            report,
            connection: None,
            waiting: Vec::new(),
            is_told: false,
            written: 0,
            look: LOOK,
            max_areas: MAX_AREAS,
            max_waiting: MAX_WAITING,
        }
    }

    /// What of a master has gone to a destination.
    pub(super) fn area(&mut self, destination: &str, master: &Path) -> Area {
        let mut area =
            self.attempt(|connection| read(connection, destination, master)).flatten().unwrap_or_else(Area::none);
        for change in &self.waiting {
            if let Change::Area { destination: to, master: of, area: more, .. } = change
                && to == destination
                && of == master
            {
                area.add(more);
            }
        }
        area
    }

    /// The objects of a day, with their destinations.
    pub(super) fn objects(&mut self, day: &str) -> Vec<(String, Vec<u8>)> {
        let read = |connection: &mut Connection| {
            let mut select = connection.prepare("SELECT destination, object FROM object WHERE day = ?")?;
            let rows = select.query_map([day], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        };
        let mut objects = self.attempt(read).unwrap_or_default();
        objects.extend(self.waiting.iter().filter_map(|change| match change {
            Change::Object { destination, day: on, object } if on == day => Some((destination.clone(), object.clone())),
            _ => None,
        }));
        objects
    }

    /// Keeps changes, durable on return unless the disk refuses.
    pub(super) fn keep(&mut self, changes: Vec<Change>) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.extend(changes);
        let most = self.written.is_multiple_of(self.look).then_some(self.max_areas);
        if let Some(dropped) = self.attempt(|connection| write(connection, &waiting, most)) {
            self.is_told = false;
            self.written = self.written.wrapping_add(1);
            if dropped > 0 {
                self.tell_dropped(dropped, "the history is full");
            }
            return;
        }
        let over = waiting.len().saturating_sub(self.max_waiting);
        if over > 0 {
            waiting.drain(..over);
            self.tell_dropped(over as u64, "the disk refuses, and too much waits for it");
        }
        self.waiting = waiting;
    }

    fn tell_dropped(&self, dropped: u64, why: &str) {
        fail::count(Failure::HistoryFull, dropped.saturating_sub(1));
        let what = format!("{why}: {dropped} counts of what has gone out were dropped");
        (self.report)(Failure::HistoryFull.notice(Some(self.path.as_os_str().as_bytes()), what));
    }

    /// Does something with the file. A damaged one is set aside, and it is done with a new one; none if that is
    /// impossible now, and that is told once.
    fn attempt<T>(&mut self, work: impl Fn(&mut Connection) -> Result<T, Trouble>) -> Option<T> {
        let mut done = self.connected().and_then(&work);
        if let Err(damage) = &done
            && damage.is_damage()
        {
            let damage = damage.to_string();
            done = self.set_aside(&damage).and_then(|()| self.connected().and_then(&work));
        }
        let error = match done {
            Ok(done) => return Some(done),
            Err(error) => error,
        };
        if !self.is_told {
            self.is_told = true;
            let what = format!("what has gone out cannot be kept or looked up: {error}");
            (self.report)(Failure::HistoryFailed.notice(Some(self.path.as_os_str().as_bytes()), what));
        }
        None
    }

    fn connected(&mut self) -> Result<&mut Connection, Trouble> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => open(&self.path)?,
        };
        Ok(self.connection.insert(connection))
    }

    fn set_aside(&mut self, damage: &str) -> Result<(), Trouble> {
        // Nobody may have it open when it is renamed.
        self.connection = None;
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S.%3fZ");
        let aside = beside(&self.path, &format!(".damaged-{time}"));
        fs::rename(&self.path, &aside)?;
        // SQLite's own; a new file must not meet the old one's.
        let _ = fs::rename(beside(&self.path, "-journal"), beside(&aside, "-journal"));
        let aside = printable(aside.as_os_str().as_bytes());
        let what = format!("the history of what has gone out is damaged ({damage}) and was set aside as {aside}");
        (self.report)(Failure::HistorySetAside.notice(Some(self.path.as_os_str().as_bytes()), what));
        Ok(())
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Opens the file, and makes it where there is none.
fn open(path: &Path) -> Result<Connection, Trouble> {
    // SQLite gives its journal the same mode.
    fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "synchronous", "full")?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if (application, version, tables) == (0, 0, 0) {
        if fs::metadata(path)?.len() > 0 {
            // SQLite takes a short file for an empty one.
            return Err(Trouble::Damaged("it is no database".into()));
        }
        let step = connection.transaction()?;
        step.execute_batch(TABLES)?;
        step.pragma_update(None, "application_id", APPLICATION)?;
        step.pragma_update(None, "user_version", VERSION)?;
        step.commit()?;
        return Ok(connection);
    }
    if (application, version) != (APPLICATION, VERSION) {
        return Err(Trouble::Damaged(format!("it is version {version} of database {application:#x}")));
    }
    if fs::metadata(path)?.len() <= CHECKED {
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Err(Trouble::Damaged(verdict));
        }
    }
    Ok(connection)
}

fn read(connection: &Connection, destination: &str, master: &Path) -> Result<Option<Area>, Trouble> {
    let cells: Option<Vec<u8>> = connection
        .prepare_cached("SELECT cells FROM area WHERE destination = ? AND master = ?")?
        .query_row((destination, master.as_os_str().as_bytes()), |row| row.get(0))
        .optional()?;
    cells.map(|cells| unpack(&cells)).transpose()
}

/// A tile of a master is some 50 bytes instead of 2,048. The checksum tells a bit that has turned on the disk.
fn pack(area: &Area) -> Result<Vec<u8>, Trouble> {
    let mut compressor = zstd::bulk::Compressor::new(3)?;
    compressor.include_checksum(true)?;
    Ok(compressor.compress(&area.to_bytes())?)
}

fn unpack(cells: &[u8]) -> Result<Area, Trouble> {
    let area = zstd::bulk::decompress(cells, Area::BYTES).ok().and_then(|bytes| Area::from_bytes(&bytes));
    area.ok_or_else(|| Trouble::Damaged("an area cannot be read".into()))
}

/// Writes all of it or nothing, and where `most` areas are said, drops what is too much. How many counts that were.
fn write(connection: &mut Connection, changes: &[Change], most: Option<u64>) -> Result<u64, Trouble> {
    let now = jiff::Timestamp::now().as_second();
    let step = connection.transaction()?;
    let mut days = Vec::new();
    for change in changes {
        match change {
            Change::Area { destination, master, area, limited } => {
                add(&step, destination, master.as_os_str().as_bytes(), area, *limited, now)?;
            }
            Change::Object { destination, day, object } => {
                let added = step
                    .prepare_cached("INSERT OR IGNORE INTO object (day, destination, object) VALUES (?, ?, ?)")?
                    .execute(params![day, destination, object])?;
                if added > 0 {
                    days.push(day);
                }
            }
            Change::Renamed { from, to } => rename(&step, from, to, now)?,
        }
    }
    let mut dropped = 0;
    if let Some(most) = most {
        let areas: u64 = step.query_row("SELECT count(*) FROM area", [], |row| row.get(0))?;
        if areas > most {
            let oldest = "DELETE FROM area WHERE rowid IN (SELECT rowid FROM area ORDER BY limited, changed LIMIT ?)";
            dropped += step.execute(oldest, [areas - most])? as u64;
        }
        if let Some(day) = days.into_iter().max() {
            dropped += forget_days(&step, day)?;
        }
    }
    step.commit()?;
    Ok(dropped)
}

/// Unites an area with what is there.
fn add(
    step: &Transaction<'_>,
    destination: &str,
    master: &[u8],
    area: &Area,
    limited: bool,
    now: i64,
) -> Result<(), Trouble> {
    let path = PathBuf::from(OsString::from_vec(master.to_owned()));
    let mut sum = area.clone();
    if let Some(before) = read(step, destination, &path)? {
        sum.add(&before);
        if sum == before {
            return Ok(());
        }
    }
    step.prepare_cached(
        "INSERT INTO area (destination, master, limited, changed, cells) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (destination, master) DO UPDATE SET limited = ?3, changed = ?4, cells = ?5",
    )?
    .execute(params![destination, master, limited, now, pack(&sum)?])?;
    Ok(())
}

/// What went out under the old path counts under the new one.
fn rename(step: &Transaction<'_>, from: &Path, to: &Path, now: i64) -> Result<(), Trouble> {
    let (from, to) = (from.as_os_str().as_bytes(), to.as_os_str().as_bytes());
    let rows: Vec<(String, bool, Vec<u8>)> = step
        .prepare_cached("SELECT destination, limited, cells FROM area WHERE master = ?")?
        .query_map([from], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (destination, limited, cells) in rows {
        add(step, &destination, to, &unpack(&cells)?, limited, now)?;
    }
    step.prepare_cached("DELETE FROM area WHERE master = ?")?.execute([from])?;
    // Where nobody knows the object, the master is it.
    step.prepare_cached("UPDATE OR IGNORE object SET object = ?2 WHERE object = ?1")?.execute([from, to])?;
    Ok(())
}

/// Forgets the objects of days that are long over, and of the oldest ones where there are too many. How many of these
/// may still have mattered.
fn forget_days(step: &Transaction<'_>, day: &str) -> Result<u64, Trouble> {
    let first = day.parse::<jiff::civil::Date>().ok();
    let first = first.and_then(|day| day.checked_sub(jiff::Span::new().days(DAYS)).ok());
    if let Some(first) = first {
        step.prepare_cached("DELETE FROM object WHERE day < ?")?.execute([first.to_string()])?;
    }
    let objects: u64 = step.prepare_cached("SELECT count(*) FROM object")?.query_row([], |row| row.get(0))?;
    if objects <= MAX_OBJECTS {
        return Ok(0);
    }
    let before = step.execute("DELETE FROM object WHERE day <> ?", [day])?;
    let over = (objects - before as u64).saturating_sub(MAX_OBJECTS);
    let more = "DELETE FROM object WHERE (day, destination, object) IN
                (SELECT day, destination, object FROM object LIMIT ?)";
    Ok((before + step.execute(more, [over])?) as u64)
}

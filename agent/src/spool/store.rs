//! The database of the spool: what is written, batched and acknowledged, each in one transaction.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use vitrine_policy::record::{Event, Host, Notice, Record, VERSION};

use super::place::Place;
use super::schema::{self, Found, is_corrupt, number, set_number};
use super::seal::{self, Sealer};
use super::{SpoolError, fit};
use crate::config::SpoolLimits;
use crate::fail::{self, Failure};

/// Longest batch before compression, in bytes; one record always goes.
const MAX_BATCH_BYTES: usize = 4 << 20;
/// Pictures of one batch.
const MAX_BATCH_PICTURES: usize = 64;
/// Pictures that wait for the collector, in bytes; above it the oldest go.
const MAX_PICTURE_BYTES: u64 = 512 << 20;
/// Digests of delivered pictures that are remembered, so that they are not sent again.
const MAX_DELIVERED_PICTURES: u64 = 100_000;

const SALVAGE: &str =
    "SELECT sequence, body, epoch, seal_number, seal_dropped, tag FROM record WHERE acked = 0 ORDER BY position";

/// One change, safe to repeat: it may have been written although the disk reported an error.
pub(super) enum Change {
    /// The record joins the queue.
    Add(Record),
    /// The record is held back, or replaces what is held back under its id.
    Hold(Record),
    /// What is held back under this id joins the queue.
    Release(String),
    /// A picture, by its digest.
    Evidence { digest: String, jpeg: Vec<u8> },
}

/// What goes to the collector next.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Sequence number and line for the wire.
    pub(crate) records: Vec<(u64, String)>,
    /// Digest and JPEG; they go first.
    pub(crate) evidence: Vec<(String, Vec<u8>)>,
}

/// What was found when the spool was opened, to be recorded.
pub(super) enum Finding {
    /// It was corrupt and is set aside.
    SetAside { path: PathBuf, why: String, saved: u64 },
    /// It knew sequence numbers up to `found`, but those up to `last` had been given.
    Older { path: PathBuf, found: u64, last: u64 },
}

impl Finding {
    /// The record of it.
    pub(super) fn notice(&self) -> Event {
        use std::os::unix::ffi::OsStrExt;
        match self {
            Finding::SetAside { path, why, saved } => Failure::SpoolFailed.notice(
                Some(path.as_os_str().as_bytes()),
                format_args!(
                    "the spool could not be read ({why}) and is set aside; {saved} records that the collector did \
                     not have were taken over from it. Check the disk; the file set aside may be deleted"
                ),
            ),
            Finding::Older { path, found, last } => Failure::SpoolFailed.notice(
                Some(path.as_os_str().as_bytes()),
                format_args!(
                    "the spool ended at record {found}, but records up to {last} had been numbered: it was deleted or \
                     replaced by an older one. Find out by whom; what the collector misses is lost"
                ),
            ),
        }
    }
}

/// The open database.
pub(super) struct Store {
    connection: Connection,
    place: Place,
    host: Host,
    limits: SpoolLimits,
    /// Records that the collector does not have.
    pub(super) depth: u64,
    /// The highest sequence number given.
    pub(super) last_sequence: u64,
    picture_bytes: u64,
    pub(super) sealer: Sealer,
}

impl Store {
    /// Opens the database, or sets it aside and starts a new one.
    pub(super) fn open(mut place: Place, host: Host, limits: SpoolLimits) -> Result<(Store, Vec<Finding>), SpoolError> {
        let (connection, found) = connect(&place)?;
        let kept = place.last_sequence();
        let sealer = Sealer::new();
        let mut store = Store { connection, place, host, limits, depth: 0, last_sequence: 0, picture_bytes: 0, sealer };
        let mut findings = Vec::new();
        match found {
            Found::Spool => match store.count() {
                Err(error) if is_corrupt(&error) => findings.push(store.start_anew(&error.to_string())?),
                other => other.map_err(|error| store.failed(error))?,
            },
            Found::Corrupt(why) => findings.push(store.start_anew(&why)?),
            Found::Newer(found) => {
                let path = store.place.database();
                return Err(SpoolError::Newer { path, found, known: schema::VERSION });
            }
        }
        if store.last_sequence < kept {
            if findings.is_empty() {
                findings.push(Finding::Older { path: store.place.database(), found: store.last_sequence, last: kept });
            }
            store.last_sequence = kept;
            set_number(&store.connection, "sequence", kept).map_err(|error| store.failed(error))?;
        }
        store.release_all().map_err(|error| store.failed(error))?;
        Ok((store, findings))
    }

    /// Sets the database aside, starts a new one and takes over what can be read of the old one. Until that
    /// has succeeded there is a database without tables, so that another attempt follows.
    pub(super) fn start_anew(&mut self, why: &str) -> Result<Finding, SpoolError> {
        let none = Connection::open_in_memory().map_err(|error| self.failed(error))?;
        drop(std::mem::replace(&mut self.connection, none)); // nobody may have the file open when it is renamed
        let path = self.place.set_aside()?;
        let last = self.last_sequence.max(self.place.last_sequence());
        let (connection, found) = connect(&self.place)?;
        if let Found::Corrupt(again) = found {
            let again = std::io::Error::other(format!("a new spool is damaged at once ({again})"));
            return Err(SpoolError::Place { path: self.place.directory().into(), source: again });
        }
        self.connection = connection;
        let (saved, why) = match self.salvage(&path) {
            Ok(saved) => (saved, why.to_owned()),
            Err(error) => (0, format!("{why}; then {error}")),
        };
        // Made by the reading; only an index of the log.
        let _ = std::fs::remove_file(super::place::beside(&path, "-shm"));
        let counted = self.count();
        self.last_sequence = self.last_sequence.max(last);
        counted.map_err(|error| self.failed(error))?;
        Ok(Finding::SetAside { path, why, saved })
    }

    /// Takes over what another spool holds that the collector does not have.
    pub(super) fn take_over(&mut self, from: &std::path::Path) -> Result<u64, SpoolError> {
        super::read::open(from)?;
        let mut take = || {
            let saved = self.salvage(from)?;
            self.count()?;
            Ok(saved)
        };
        take().map_err(|error| self.failed(error))
    }

    /// Copies what the collector does not have, up to the first place that cannot be read.
    fn salvage(&mut self, from: &std::path::Path) -> rusqlite::Result<u64> {
        let Ok(old) = super::read::open(from) else { return Ok(0) };
        let step = self.connection.transaction()?;
        let mut saved = 0;
        for table in [SALVAGE, "SELECT NULL, body FROM held"] {
            let Ok(mut select) = old.prepare(table) else { continue };
            let Ok(mut rows) = select.query([]) else { continue };
            while let Ok(Some(row)) = rows.next() {
                let (Ok(sequence), Ok(body)) = (row.get::<_, Option<u64>>(0), row.get::<_, String>(1)) else {
                    continue;
                };
                let Ok(record) = serde_json::from_str::<Record>(&body) else { continue };
                let severity = record.event.severity() as u8;
                saved += seal::insert(&step, &record.id, severity, &body, sequence, seal::read(row, 2).as_ref())?;
            }
        }
        if let Ok(mut select) = old.prepare("SELECT digest, jpeg FROM evidence WHERE jpeg IS NOT NULL")
            && let Ok(mut rows) = select.query([])
        {
            while let Ok(Some(row)) = rows.next() {
                if let (Ok(digest), Ok(jpeg)) = (row.get::<_, String>(0), row.get::<_, Vec<u8>>(1))
                    && blake3::hash(&jpeg).to_hex().as_str() == digest
                {
                    step.execute("INSERT OR IGNORE INTO evidence (digest, jpeg) VALUES (?, ?)", (digest, jpeg))?;
                }
            }
        }
        step.commit()?;
        Ok(saved)
    }

    /// Counts what is there.
    fn count(&mut self) -> rusqlite::Result<()> {
        let one = |sql: &str| self.connection.query_row(sql, [], |row| row.get(0));
        let depth = one("SELECT count(*) FROM record WHERE acked = 0")?;
        let picture_bytes = one("SELECT ifnull(sum(length(jpeg)), 0) FROM evidence WHERE jpeg IS NOT NULL")?;
        one("SELECT count(*) FROM held").map(|_: u64| ())?;
        (self.depth, self.picture_bytes) = (depth, picture_bytes);
        let highest: Option<u64> =
            self.connection.query_row("SELECT max(sequence) FROM record", [], |row| row.get(0))?;
        self.last_sequence = number(&self.connection, "sequence")?.max(highest.unwrap_or(0));
        Ok(())
    }

    /// What an earlier run held back joins the queue.
    fn release_all(&mut self) -> rusqlite::Result<()> {
        let mut sealer = self.sealer.clone();
        let step = self.connection.transaction()?;
        let ids: Vec<String> = step
            .prepare("SELECT id FROM held ORDER BY id")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let mut released = 0;
        for id in &ids {
            released += sealer.release(&step, id)?;
        }
        step.commit()?;
        self.sealer = sealer;
        self.depth += released;
        Ok(())
    }

    /// Writes all changes, or none. They are on the disk on return.
    pub(super) fn write(&mut self, changes: &[Change]) -> rusqlite::Result<()> {
        let mut sealer = self.sealer.clone();
        let step = self.connection.transaction()?;
        let (mut depth, mut picture_bytes) = (self.depth, self.picture_bytes);
        for change in changes {
            match change {
                Change::Add(record) => {
                    depth += sealer.add(&step, &record.id, record.event.severity() as u8, &body(record)?)?;
                }
                Change::Hold(record) => hold(&step, record)?,
                Change::Release(id) => depth += sealer.release(&step, id)?,
                Change::Evidence { digest, jpeg } => {
                    let inserted = step
                        .prepare_cached("INSERT OR IGNORE INTO evidence (digest, jpeg) VALUES (?, ?)")?
                        .execute(params![digest, jpeg])?;
                    picture_bytes += inserted as u64 * jpeg.len() as u64;
                }
            }
        }
        let pictures = drop_pictures(&step, &mut picture_bytes)?;
        let full = drop_records(&step, &mut sealer, &self.host, depth, self.limits.max_records, pictures)?;
        if let Err(error) = step.commit() {
            self.sealer.unsure(&sealer);
            return Err(error);
        }
        self.sealer = sealer;
        fail::count(Failure::SpoolFull, full.dropped + pictures);
        (self.depth, self.picture_bytes) = (depth + full.added - full.gone, picture_bytes);
        Ok(())
    }

    /// The next records and pictures. Sequence numbers are on the disk before they are returned.
    pub(super) fn batch(&mut self, max: usize) -> Result<Batch, SpoolError> {
        let (batch, last) = self.number_next(max).map_err(|error| self.failed(error))?;
        if last > self.last_sequence || self.place.last_sequence() < last {
            self.last_sequence = last; // committed
            self.place.keep_sequence(last)?;
        }
        Ok(batch)
    }

    fn number_next(&mut self, max: usize) -> rusqlite::Result<(Batch, u64)> {
        let step = self.connection.transaction()?;
        let mut batch = Batch::default();
        let mut last = self.last_sequence;
        let (mut bytes, mut given) = (0, false);
        {
            let mut select = step.prepare_cached(
                "SELECT * FROM (SELECT position, sequence, body, epoch, seal_number, seal_dropped, tag FROM record
                                WHERE acked = 0 AND sequence IS NOT NULL
                                ORDER BY sequence LIMIT ?1)
                 UNION ALL
                 SELECT * FROM (SELECT position, NULL, body, epoch, seal_number, seal_dropped, tag FROM record
                                WHERE sequence IS NULL ORDER BY position <> ?2, position LIMIT ?1)
                 LIMIT ?1",
            )?;
            let mut give = step.prepare_cached("UPDATE record SET sequence = ? WHERE position = ?")?;
            // What tells of dropped records goes ahead of the gaps that they leave.
            let mut rows = select.query(params![max, number(&step, "spool-full")?])?;
            while let Some(row) = rows.next()? {
                let (position, numbered): (i64, Option<u64>) = (row.get(0)?, row.get(1)?);
                let sequence = numbered.unwrap_or(last + 1);
                let line = line(row.get_ref(2)?.as_bytes()?, sequence, seal::read(row, 3), &self.host);
                if bytes > 0 && bytes + line.len() > MAX_BATCH_BYTES {
                    break;
                }
                bytes += line.len() + 1;
                if numbered.is_none() {
                    give.execute((sequence, position))?;
                    given = true;
                }
                last = last.max(sequence);
                batch.records.push((sequence, line));
            }
            let mut pictures = step
                .prepare_cached("SELECT digest, jpeg FROM evidence WHERE jpeg IS NOT NULL ORDER BY number LIMIT ?")?;
            batch.evidence = pictures
                .query_map([MAX_BATCH_PICTURES], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
        }
        if given {
            set_number(&step, "sequence", last)?;
        }
        step.commit()?;
        Ok((batch, last))
    }

    /// The collector has all records up to this sequence number.
    pub(super) fn acked(&mut self, up_to: u64) -> Result<(), SpoolError> {
        let keep = self.limits.keep_sent;
        let mut write = || {
            let step = self.connection.transaction()?;
            let acked = step
                .prepare_cached(
                    "UPDATE record SET acked = 1 WHERE acked = 0 AND sequence IS NOT NULL AND sequence <= ?",
                )?
                .execute([up_to])?;
            step.prepare_cached(
                "DELETE FROM record WHERE acked = 1 AND position <=
                 (SELECT position FROM record WHERE acked = 1 ORDER BY position DESC LIMIT 1 OFFSET ?)",
            )?
            .execute([keep])?;
            step.commit()?;
            Ok(acked as u64)
        };
        let acked = write().map_err(|error| self.failed(error))?;
        self.depth = self.depth.saturating_sub(acked);
        Ok(())
    }

    /// The collector has these pictures.
    pub(super) fn evidence_sent(&mut self, digests: &[String]) -> Result<(), SpoolError> {
        let mut write = || {
            let step = self.connection.transaction()?;
            let mut freed = 0;
            for digest in digests {
                let bytes: Option<u64> = step
                    .prepare_cached("SELECT length(jpeg) FROM evidence WHERE digest = ? AND jpeg IS NOT NULL")?
                    .query_row([digest], |row| row.get(0))
                    .optional()?;
                freed += bytes.unwrap_or(0);
                step.prepare_cached("UPDATE evidence SET jpeg = NULL WHERE digest = ?")?.execute([digest])?;
            }
            step.prepare_cached(
                "DELETE FROM evidence WHERE jpeg IS NULL AND number <=
                 (SELECT number FROM evidence WHERE jpeg IS NULL ORDER BY number DESC LIMIT 1 OFFSET ?)",
            )?
            .execute([MAX_DELIVERED_PICTURES])?;
            step.commit()?;
            Ok(freed)
        };
        let freed = write().map_err(|error| self.failed(error))?;
        self.picture_bytes = self.picture_bytes.saturating_sub(freed);
        Ok(())
    }

    /// An error of SQLite, with the file that it is about.
    pub(super) fn failed(&self, source: rusqlite::Error) -> SpoolError {
        SpoolError::Database { path: self.place.database(), source }
    }
}

fn connect(place: &Place) -> Result<(Connection, Found), SpoolError> {
    let path = place.database();
    let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
    let failed = |source| SpoolError::Database { path: path.clone(), source };
    let mut connection = Connection::open(&path).map_err(failed)?;
    let found = schema::prepare(&mut connection, bytes).map_err(failed)?;
    Ok((connection, found))
}

fn body(record: &Record) -> rusqlite::Result<String> {
    fit::body(record).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn hold(step: &Transaction<'_>, record: &Record) -> rusqlite::Result<()> {
    step.prepare_cached("INSERT OR REPLACE INTO held VALUES (?, ?, ?)")?.execute(params![
        record.id,
        record.event.severity() as u8,
        body(record)?
    ])?;
    Ok(())
}

/// The oldest pictures go where too many wait. How many went.
fn drop_pictures(step: &Transaction<'_>, bytes: &mut u64) -> rusqlite::Result<u64> {
    let mut dropped = 0;
    while *bytes > MAX_PICTURE_BYTES {
        let oldest = step
            .prepare_cached(
                "DELETE FROM evidence WHERE number =
                 (SELECT number FROM evidence WHERE jpeg IS NOT NULL ORDER BY number LIMIT 1) RETURNING length(jpeg)",
            )?
            .query_row([], |row| row.get::<_, u64>(0))
            .optional()?;
        let Some(oldest) = oldest else { break };
        *bytes = bytes.saturating_sub(oldest);
        dropped += 1;
    }
    Ok(dropped)
}

/// How a full spool gave way.
#[derive(Default)]
struct Full {
    /// Records that went, with the one that told of earlier ones.
    gone: u64,
    /// Of these, those of which nothing was known before.
    dropped: u64,
    /// Records that tell of it: 0 or 1.
    added: u64,
}

/// The oldest records of the lowest severity go where too many wait; one record tells how many. As long as it has no
/// number it gives way to one that tells of all: it is written anew, because what lay on the disk proves nothing.
fn drop_records(
    step: &Transaction<'_>,
    sealer: &mut Sealer,
    host: &Host,
    depth: u64,
    most: u64,
    pictures: u64,
) -> rusqlite::Result<Full> {
    if depth <= most && pictures == 0 {
        return Ok(Full::default());
    }
    let told: Option<(u64, String)> = step
        .prepare_cached(
            "SELECT position, body FROM record WHERE sequence IS NULL
             AND position = (SELECT value FROM meta WHERE name = 'spool-full')",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let position = told.as_ref().map_or(0, |(position, _)| *position);
    let mut delete = step.prepare_cached(
        "DELETE FROM record WHERE position IN (SELECT position FROM record
         WHERE sequence IS NULL AND position <> ? ORDER BY severity, position LIMIT ?)",
    )?;
    let room = u64::from(told.is_none());
    let dropped = delete.execute([position, (depth + room).saturating_sub(most)])? as u64;
    if dropped + pictures == 0 {
        return Ok(Full::default());
    }
    let replaced = step.prepare_cached("DELETE FROM record WHERE position = ?")?.execute([position])? as u64;
    sealer.drop(dropped + replaced);
    let earlier = told
        .and_then(|(_, body)| serde_json::from_str::<Record>(&body).ok())
        .map_or(0, |record| if let Event::Notice(notice) = record.event { notice.count } else { 0 });
    let count = earlier.saturating_add(dropped + pictures);
    let record = stamp(host, Event::Notice(full_notice(count, most)));
    let added = sealer.add(step, &record.id, record.event.severity() as u8, &body(&record)?)?;
    set_number(step, "spool-full", step.last_insert_rowid().unsigned_abs())?;
    Ok(Full { gone: dropped + replaced, dropped, added })
}

fn full_notice(count: u64, most: u64) -> Notice {
    let what = format!(
        "{count} records or pictures were dropped because more than {most} waited for the collector: bring the \
         collector back, or raise `max-records` under [spool] in agent.toml"
    );
    told(Failure::SpoolFull, &what, count)
}

/// A notice that stands for `count` events, which are counted already.
pub(crate) fn told(failure: Failure, what: &str, count: u64) -> Notice {
    let row = failure.row();
    let message = format!("{what} (what follows: {})", row.operation);
    Notice { code: row.code.into(), class: row.class, severity: row.severity, message, subject: None, count }
}

/// A record of an event that happens now.
pub(super) fn stamp(host: &Host, event: Event) -> Record {
    Record {
        version: VERSION,
        id: uuid::Uuid::now_v7().to_string(),
        sequence: 0,
        time: jiff::Timestamp::now().as_millisecond(),
        host: host.clone(),
        event,
        seal: None,
    }
}

/// The line for the wire. A body that is damaged is replaced by a record that says so, so that its number
/// does not become a hole.
fn line(body: &[u8], sequence: u64, seal: Option<seal::Seal>, host: &Host) -> String {
    let record = match serde_json::from_slice::<Record>(body) {
        Ok(record) => record,
        Err(error) => {
            fail::count(Failure::SpoolFailed, 1);
            let what = format!("record {sequence} could not be read back from the spool ({error}): check the disk");
            stamp(host, Event::Notice(told(Failure::SpoolFailed, &what, 1)))
        }
    };
    Record { sequence, seal, ..record }.to_ocsf().to_string()
}

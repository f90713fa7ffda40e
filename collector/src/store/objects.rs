//! What happened to each master, summed up behind the records as they come in, so that a list of masters reads none.
//!
//! A master is known by its collection and path, as agents name it. Sums tell of everything that ever came in; they
//! go with the last of the master's records. They follow in steps of many records, because one record touches pages
//! of four tables and many share them; `summed` says how far they are, in the transaction of each step.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use vitrine_policy::record::{Destination, Event, Master, Mount, Operation, Place, Record, Transfer};

use super::body::Body;
use super::sql::{Connection, params};
use super::{Store, StoreError, fulltext, search};
use crate::alert::text::{is_digest, line};
use crate::console::words::went_through;

/// Masters of one record that are followed: as many as an agent names.
const MASTERS: usize = 8;
/// Longest path and name that is kept, in characters.
const TEXT: usize = 1200;
/// Longest text that something is looked up by, in bytes: an index of PostgreSQL takes 2,704 in a row, and `lower` may
/// make more of them.
const KEY: usize = 2000;
/// Name of every destination that the policy does not name.
const ELSEWHERE: &str = "elsewhere";
/// Evidence that is told of again counts as received then, to the day; in milliseconds.
const DAY: i64 = 24 * 3600 * 1000;
/// Records that are summed up at a time, and about how many bytes of them.
const STEP: i64 = 1_000;
const STEP_BYTES: usize = 2 << 20;
/// Lists are ordered to the minute, in milliseconds: in an order to the millisecond every record would cost more for
/// the indexes of lists than for itself.
const MINUTE: u64 = 60_000;
/// Bits of `outcomes`: which there are among a master's attempts.
const WENT: i64 = 1;
const REFUSED: i64 = 2;

/// By what a master is known in addresses: the first half of the BLAKE3 of its collection and path.
pub(crate) type ObjectKey = [u8; 16];

/// What an index can hold of a text that somebody else has chosen.
fn looked_up(text: &str) -> String {
    let mut kept = line(text, TEXT);
    if kept.len() > KEY {
        kept.truncate(kept.floor_char_boundary(KEY));
        kept.push('…');
    }
    kept
}

/// The key of a master.
pub(crate) fn object_key(collection: &str, path: &str) -> ObjectKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(collection.len() as u64).to_le_bytes()).update(collection.as_bytes()).update(path.as_bytes());
    let mut key = ObjectKey::default();
    hasher.finalize_xof().fill(&mut key);
    key
}

/// What an agent counts as one destination: the policy's name, or of what it does not name the disk, share, mount or
/// host itself.
pub(crate) fn destination(to: &Destination) -> String {
    if to.name != ELSEWHERE {
        return looked_up(&to.name);
    }
    let place = match &to.place {
        Some(Place::Path { mount: Some(Mount { share: Some(share), .. }) }) => format!("share {share}"),
        Some(Place::Path { mount: Some(Mount { usb: Some(usb), .. }) }) => {
            format!("usb {}:{}:{}", usb.vendor, usb.product, usb.serial)
        }
        Some(Place::Path { mount: Some(mount) }) => format!("mount {}", mount.point),
        Some(Place::Path { mount: None }) => {
            to.target.rsplit_once('/').map_or_else(|| to.target.clone(), |(parent, _)| format!("path {parent}"))
        }
        Some(Place::Host { .. }) => format!("host {}", to.target),
        None => return ELSEWHERE.into(),
    };
    looked_up(&format!("{ELSEWHERE}: {place}"))
}

/// What one step adds, each master and account written once.
#[derive(Default)]
struct Objects {
    masters: HashMap<ObjectKey, usize>,
    touched: Vec<Touched>,
    accounts: HashMap<String, Sum>,
    /// Digests of the thumbnails that are told of: an agent sends each once, so that they must not go before the last
    /// record that shows them.
    thumbnails: BTreeSet<String>,
}

struct Touched {
    key: ObjectKey,
    collection: String,
    path: String,
    object: Option<String>,
    thumbnail: Option<String>,
    first_seen: i64,
    sum: Sum,
    opens: u64,
    records: Vec<i64>,
    destinations: HashMap<String, To>,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    went: u64,
    refused: u64,
    last_seen: i64,
}

#[derive(Default)]
struct To {
    sum: Sum,
    /// Coverage and scale of the file that shows most of the master.
    largest: Option<(f64, f64)>,
    /// Largest share of its area that each agent has told of.
    sent: HashMap<i64, f64>,
}

impl Sum {
    fn add(&mut self, transfer: &Transfer, time: i64) {
        let attempts = u64::from(transfer.attempts.max(1));
        match (went_through(transfer.disposition), &transfer.destination) {
            (true, Some(_)) => self.went += attempts,
            (true, None) => {}
            (false, _) => self.refused += attempts,
        }
        self.last_seen = self.last_seen.max(time);
    }
}

impl To {
    fn add(&mut self, transfer: &Transfer, master: &Master, agent: i64, time: i64) {
        self.sum.add(transfer, time);
        if !went_through(transfer.disposition) {
            return;
        }
        if let Some(share) = master.sent.filter(|share| share.is_finite()) {
            let sent = self.sent.entry(agent).or_default();
            *sent = sent.max(share.clamp(0.0, 1.0));
        }
        if let Some(found) = &master.recognised
            && found.coverage.is_finite()
            && found.scale.is_finite()
        {
            let this = (found.coverage.clamp(0.0, 1.0), found.scale.clamp(0.0, 100.0));
            if self.largest.is_none_or(|largest| pixels(this) > pixels(largest)) {
                self.largest = Some(this);
            }
        }
    }
}

/// Whether the order of the list has to follow. A clock that was put back is followed, too.
fn is_stale(heard: i64, received: i64) -> bool {
    received.abs_diff(heard) >= MINUTE
}

/// The share of the master's pixels that a file of this coverage and scale shows.
fn pixels((coverage, scale): (f64, f64)) -> f64 {
    coverage * scale * scale
}

impl Objects {
    /// Takes note of a record of an agent.
    fn add(&mut self, agent: i64, record: &Record, number: i64) {
        let Event::Transfer(transfer) = &record.event else {
            return;
        };
        if let Some(user) = &transfer.user {
            self.accounts.entry(looked_up(&user.name)).or_default().add(transfer, record.time);
        }
        if transfer.masters.len() > MASTERS {
            tracing::warn!(number, masters = transfer.masters.len(), "only the first {MASTERS} masters are followed");
        }
        let masters = transfer.masters.iter().filter_map(|master| master.thumbnail.as_ref());
        let thumbnails = transfer.file.thumbnail.iter().chain(masters).filter(|digest| is_digest(digest));
        self.thumbnails.extend(thumbnails.take(1 + MASTERS).cloned());
        for master in transfer.masters.iter().take(MASTERS) {
            self.touch(master, record.time).add(transfer, master, agent, record.time, number);
        }
    }

    #[allow(clippy::indexing_slicing)] // the index is of a place that was filled when it was made
    fn touch(&mut self, master: &Master, time: i64) -> &mut Touched {
        let key = object_key(&master.collection, &master.path);
        let at = *self.masters.entry(key).or_insert_with(|| {
            self.touched.push(Touched {
                key,
                collection: looked_up(&master.collection),
                path: line(&master.path, TEXT),
                object: None,
                thumbnail: None,
                first_seen: time,
                sum: Sum { last_seen: time, ..Sum::default() },
                opens: 0,
                records: Vec::new(),
                destinations: HashMap::new(),
            });
            self.touched.len() - 1
        });
        &mut self.touched[at]
    }

    /// Writes what was noted.
    fn write(&self, connection: &Connection, received: i64) -> Result<(), StoreError> {
        for touched in &self.touched {
            touched.write(connection, received)?;
        }
        let mut account = connection.prepare_cached(
            "INSERT INTO accounts (name, went, refused, last_seen, heard) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (name) DO UPDATE SET went = accounts.went + ?2, refused = accounts.refused + ?3,
                last_seen = max(accounts.last_seen, ?4), heard = ?5",
        )?;
        for (name, sum) in &self.accounts {
            account.execute(params![name, sum.went, sum.refused, sum.last_seen, received])?;
        }
        let mut keep =
            connection.prepare_cached("UPDATE evidence SET received = ?1 WHERE digest = ?2 AND received < ?3")?;
        for digest in &self.thumbnails {
            keep.execute(params![received, digest, received - DAY])?;
        }
        Ok(())
    }
}

impl Touched {
    fn add(&mut self, transfer: &Transfer, master: &Master, agent: i64, time: i64, number: i64) {
        // A hostile record may name a master twice.
        if self.records.last() == Some(&number) {
            return;
        }
        self.records.push(number);
        self.first_seen = self.first_seen.min(time);
        self.sum.add(transfer, time);
        if transfer.operation == Operation::Open && transfer.destination.is_none() && went_through(transfer.disposition)
        {
            self.opens += u64::from(transfer.attempts.max(1));
        }
        if let Some(object) = &master.object {
            self.object = Some(line(object, TEXT));
        }
        if let Some(digest) = master.thumbnail.as_ref().filter(|digest| is_digest(digest)) {
            self.thumbnail = Some(digest.clone());
        }
        if let Some(to) = &transfer.destination {
            self.destinations.entry(destination(to)).or_default().add(transfer, master, agent, time);
        }
    }

    fn write(&self, connection: &Connection, received: i64) -> Result<(), StoreError> {
        let Sum { went, refused, last_seen } = self.sum;
        let outcomes = (i64::from(went > 0) * WENT) | (i64::from(refused > 0) * REFUSED);
        let (number, heard, known): (i64, i64, i64) = connection
            .prepare_cached(
                "INSERT INTO objects (key, collection, path, object, first_seen, last_seen, heard, outcomes,
                    went, refused, opens, thumbnail)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
                 ON CONFLICT (key) DO UPDATE SET object = coalesce(?4, objects.object),
                    first_seen = min(objects.first_seen, ?5), last_seen = max(objects.last_seen, ?6),
                    went = objects.went + ?9, refused = objects.refused + ?10,
                    opens = objects.opens + ?11, thumbnail = coalesce(?12, objects.thumbnail)
                 RETURNING number, heard, outcomes",
            )?
            .query_row(
                params![
                    self.key,
                    self.collection,
                    self.path,
                    self.object,
                    self.first_seen,
                    last_seen,
                    received,
                    outcomes,
                    went,
                    refused,
                    self.opens,
                    self.thumbnail
                ],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )?;
        if is_stale(heard, received) || known | outcomes != known {
            connection
                .prepare_cached("UPDATE objects SET heard = ?, outcomes = ? WHERE number = ?")?
                .execute(params![received, known | outcomes, number])?;
        }
        let texts = [self.path.as_str(), &self.collection, self.object.as_deref().unwrap_or_default()];
        fulltext::write_object(connection, number, texts)?;
        let mut link = connection
            .prepare_cached("INSERT INTO object_records (record, object) VALUES (?, ?) ON CONFLICT DO NOTHING")?;
        for record in &self.records {
            link.execute([*record, number])?;
        }
        for (name, to) in &self.destinations {
            to.write(connection, number, name, received)?;
        }
        Ok(())
    }
}

impl To {
    fn write(&self, connection: &Connection, object: i64, name: &str, received: i64) -> Result<(), StoreError> {
        let (coverage, scale) = self.largest.unzip();
        let Sum { went, refused, last_seen } = self.sum;
        let heard = connection
            .prepare_cached(
                "INSERT INTO object_destinations AS old
                    (object, destination, went, refused, coverage, scale, last_seen, heard)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (object, destination) DO UPDATE SET went = old.went + ?3, refused = old.refused + ?4,
                    coverage = CASE WHEN ?9 > coalesce(old.coverage * old.scale * old.scale, -1)
                               THEN ?5 ELSE old.coverage END,
                    scale = CASE WHEN ?9 > coalesce(old.coverage * old.scale * old.scale, -1)
                            THEN ?6 ELSE old.scale END,
                    last_seen = max(old.last_seen, ?7)
                 RETURNING heard",
            )?
            .query_row(
                params![
                    object,
                    name,
                    went,
                    refused,
                    coverage,
                    scale,
                    last_seen,
                    received,
                    self.largest.map_or(-1.0, pixels)
                ],
                |row| row.get(0),
            )?;
        if is_stale(heard, received) {
            connection
                .prepare_cached("UPDATE object_destinations SET heard = ? WHERE object = ? AND destination = ?")?
                .execute(params![received, object, name])?;
        }
        let mut share = connection.prepare_cached(
            "INSERT INTO object_sent AS old (object, destination, agent, share) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (object, destination, agent) DO UPDATE SET share = ?4 WHERE old.share < ?4",
        )?;
        for (agent, sent) in &self.sent {
            share.execute(params![object, name, agent, sent])?;
        }
        Ok(())
    }
}

impl Store {
    /// Sums up the next records; says how long that took of the writer's time, if more may wait.
    pub(crate) async fn sum_up(&self) -> Result<Option<Duration>, StoreError> {
        let step = self.read(Step::read).await?;
        if step.count == 0 {
            return Ok(None);
        }
        let (is_whole, begun) = (step.is_whole, Instant::now());
        self.write_beside(move |connection| step.write(connection)).await?;
        Ok(is_whole.then(|| begun.elapsed()))
    }
}

/// Records that follow each other, summed up.
struct Step {
    objects: Objects,
    texts: Vec<(i64, String)>,
    /// Number of the last record before.
    after: i64,
    last: i64,
    count: i64,
    received: i64,
    /// Whether there may be more.
    is_whole: bool,
}

impl Step {
    fn read(connection: &Connection) -> Result<Step, StoreError> {
        let after = connection.prepare_cached("SELECT upto FROM summed")?.query_row([], |row| row.get(0))?;
        let (objects, texts) = (Objects::default(), Vec::new());
        let mut step = Step { objects, texts, after, last: after, count: 0, received: 0, is_whole: false };
        let mut bytes = 0;
        let mut query = connection.prepare_cached(
            "SELECT number, agent, received, body FROM records WHERE number > ? AND number <= ? ORDER BY number LIMIT ?",
        )?;
        let mut rows = query.query([after, connection.horizon()?, STEP])?;
        while let Some(row) = rows.next()? {
            (step.last, step.received) = (row.get(0)?, row.get(2)?);
            step.count += 1;
            let json = row.get::<Body>(3)?.json();
            bytes += json.as_ref().map_or(0, String::len);
            match json.and_then(|json| Ok(serde_json::from_str(&json)?)) {
                Ok(record) => {
                    step.objects.add(row.get(1)?, &record, step.last);
                    step.texts.push((step.last, search::text(&record)));
                }
                // It must not keep those behind it from being summed up.
                Err(error) => {
                    tracing::error!(record = step.last, %error, "a stored record cannot be read: lists and search leave it out");
                }
            }
            step.is_whole = step.count == STEP || bytes >= STEP_BYTES;
            if step.is_whole {
                break;
            }
        }
        Ok(step)
    }

    fn write(&self, connection: &Connection) -> Result<(), StoreError> {
        let (upto, count): (i64, i64) = connection
            .prepare_cached(&format!(
                "SELECT upto, (SELECT count(*) FROM records WHERE number > upto AND number <= ?) FROM summed {}",
                connection.locking()
            ))?
            .query_row([self.last], |row| Ok((row.get(0)?, row.get(1)?)))?;
        // What was too old has gone meanwhile: the next step reads anew.
        if (upto, count) != (self.after, self.count) {
            return Ok(());
        }
        fulltext::write_records(connection, &self.texts)?;
        self.objects.write(connection, self.received)?;
        connection.prepare_cached("UPDATE summed SET upto = ?")?.execute([self.last])?;
        Ok(())
    }
}

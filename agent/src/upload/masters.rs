//! Tells the collector which masters there are, by their portraits, so that it can trace a picture to them. The files
//! stay here.
//!
//! What the collector has is noted down in a database of its own, path by path; a pass over the index sends what
//! differs from that and takes back what is gone. So whatever is missed, by a crash or on the way, is sent with the
//! next pass. The collector says its *epoch* in the answer to each heartbeat: with another one it has lost all it had.

use std::ops::ControlFlow;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::timeout;
use vitrine_fingerprint::{Index, IndexError, Known, Master, Portrait};
use vitrine_policy::record::printable;

use super::client::{Client, Trouble};
use crate::fail::{self, Failure};
use crate::spool::Spool;

/// The database, below the state directory.
pub(crate) const SENT: &str = "masters-sent.db";
/// Masters of one request, and bytes of its lines from which on no further one is put in: about 1 MiB on the wire.
const MOST: usize = 100;
const ENOUGH: usize = 1_400_000;
/// Where a request took no longer than this, the next one may hold twice as many.
const QUICK: Duration = Duration::from_secs(15);
/// How often one master alone may not arrive in time.
const TRIES: u32 = 3;
/// How soon it is looked again for records that wait, and for masters that changed.
const GLANCE: Duration = Duration::from_millis(500);
/// Masters are sent for a quarter of the time at most, so that the line and the collector are free for others.
const SHARE: u32 = 3;
/// Pause between two requests at least, and before what was refused is tried again.
const PAUSE: Duration = Duration::from_millis(50);
const BUSY: Duration = Duration::from_secs(2);
const REFUSED: Duration = Duration::from_secs(600);
/// A pass takes one part in so many of the time at most, though masters change all the time.
const LOOK: u32 = 20;

/// Why nothing is sent.
#[derive(Debug, thiserror::Error)]
enum HandingError {
    #[error("{0}")]
    Index(#[from] IndexError),
    #[error("{SENT} in the state directory: {0}; see that there is room, or stop the agent and remove the file")]
    Sent(#[from] rusqlite::Error),
    #[error("a portrait cannot be written: {0}")]
    Portrait(#[from] serde_json::Error),
}

/// A line, as the collector reads it; of what is gone the path alone.
#[derive(Serialize)]
struct Line {
    path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    collection: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    portrait: Option<Portrait>,
}

/// What a file was when it was sent.
type Stamp = [u8; 16];

/// One difference between what is here and what the collector has.
enum Change {
    Has(Stamp, Master),
    Gone(PathBuf),
}

/// What goes into one request.
#[derive(Default)]
struct Batch {
    body: Vec<u8>,
    /// Of each line the path, and what it is now; none for what is gone.
    lines: Vec<(PathBuf, Option<Stamp>)>,
    /// Where the pass goes on; none at its end.
    next: Option<PathBuf>,
}

/// What a heartbeat brought.
pub(super) struct Said {
    /// The connection by which it was answered.
    pub(super) client: Client,
    /// The epoch of the collector's masters; none while it takes none.
    pub(super) epoch: Option<String>,
}

/// Sends the masters, as long as the agent runs.
pub(crate) struct Handing {
    index: Arc<Index>,
    sent: Arc<Mutex<Connection>>,
    changed: Arc<AtomicBool>,
    client: Option<Client>,
    /// The collector's; none while it takes no masters.
    epoch: Option<String>,
    /// Where the pass goes on; none between two passes.
    at: Option<PathBuf>,
    most: usize,
    /// How often in a row one master alone did not arrive in time.
    slow: u32,
    /// Not before this time.
    due: Instant,
    /// No pass begins before this time.
    pass: Instant,
    looking: Duration,
    has_told: bool,
}

impl Handing {
    /// `changed` is set by whoever changes the index.
    ///
    /// # Errors
    /// The database cannot be used, nor begun anew.
    pub(crate) fn new(index: Arc<Index>, state: &Path, changed: Arc<AtomicBool>) -> rusqlite::Result<Handing> {
        let path = state.join(SENT);
        let sent = open(&path).or_else(|_| {
            // All of it can be had again.
            ["", "-wal", "-shm"].iter().for_each(|end| {
                let mut name = path.clone().into_os_string();
                name.push(end);
                let _ = std::fs::remove_file(name);
            });
            open(&path)
        })?;
        let now = Instant::now();
        Ok(Handing {
            index,
            sent: Arc::new(Mutex::new(sent)),
            changed,
            client: None,
            epoch: None,
            at: None,
            most: MOST,
            slow: 0,
            due: now,
            pass: now,
            looking: Duration::ZERO,
            has_told: false,
        })
    }

    /// Sends what there is while no record waits, as each heartbeat has `said`; ends when there are no more of them.
    pub(super) async fn keep_going(mut self, mut said: watch::Receiver<Option<Said>>, spool: &Spool) {
        loop {
            let mut pause = self.due().map_or(GLANCE, |due| due.saturating_duration_since(Instant::now()));
            if spool.depth() > 0 {
                pause = pause.max(GLANCE);
            }
            if pause.is_zero()
                && let Some(client) = self.client.clone()
            {
                self.step(&client, spool).await;
                continue;
            }
            let Ok(more) = timeout(pause, said.changed()).await else { continue };
            if more.is_err() {
                return;
            }
            let heard = said.borrow_and_update().as_ref().map(|said| (said.client.clone(), said.epoch.clone()));
            if let Some((client, epoch)) = heard {
                self.client = Some(client);
                self.heard(epoch, spool).await;
            }
        }
    }

    /// The collector has said its epoch, or that it takes no masters.
    async fn heard(&mut self, epoch: Option<String>, spool: &Spool) {
        if epoch == self.epoch {
            return;
        }
        self.epoch = None;
        let Some(epoch) = epoch else { return };
        let is_new = self.blocking({
            // Fingerprints of another version are other fingerprints.
            let epoch = format!("{epoch} {}", Index::VERSION);
            move |_, sent| Ok(begin(sent, &epoch)?)
        });
        match is_new.await {
            Ok(_) => {
                self.epoch = Some(epoch);
                self.at = Some(PathBuf::new());
            }
            Err(error) => self.failed(&error, spool),
        }
    }

    /// When there may be something to send.
    fn due(&self) -> Option<Instant> {
        self.epoch.as_ref()?;
        match (&self.at, self.changed.load(Ordering::Relaxed)) {
            (Some(_), _) => Some(self.due),
            (None, true) => Some(self.due.max(self.pass)),
            (None, false) => None,
        }
    }

    /// Sends one request. Its own troubles are no outage: records go on.
    async fn step(&mut self, client: &Client, spool: &Spool) {
        let Some(epoch) = self.epoch.clone() else { return };
        let after = match self.at.clone() {
            Some(after) => after,
            None => {
                self.changed.store(false, Ordering::Relaxed);
                self.looking = Duration::ZERO;
                PathBuf::new()
            }
        };
        let (begun, most, at) = (Instant::now(), self.most, after.clone());
        let batch = match self.blocking(move |index, sent| batch(index, sent, &after, most)).await {
            Ok(batch) => batch,
            Err(error) => return self.failed(&error, spool),
        };
        self.looking += begun.elapsed();
        self.at = Some(at);
        if !batch.lines.is_empty() && !self.send(client, spool, &batch, &epoch).await {
            return;
        }
        self.at = batch.next;
        if self.at.is_none() {
            self.pass = Instant::now() + self.looking * LOOK;
        }
    }

    /// Whether the pass may go on behind this batch.
    async fn send(&mut self, client: &Client, spool: &Spool, batch: &Batch, epoch: &str) -> bool {
        let begun = Instant::now();
        let answer = match client.masters(batch.body.clone()).await {
            Ok(answer) => answer,
            Err(Trouble::Away { after, .. }) => {
                // Whether it is there at all, the next heartbeat tells.
                self.due = Instant::now() + after.unwrap_or(BUSY).max(BUSY);
                return false;
            }
            Err(Trouble::TooLarge) => return self.too_much(spool, batch, false, begun.elapsed()),
            Err(Trouble::Slow { .. }) => return self.too_much(spool, batch, true, begun.elapsed()),
            Err(refused) => {
                self.due = Instant::now() + REFUSED;
                self.tell(spool, None, format_args!("the collector does not take masters: {refused:?}"));
                return false;
            }
        };
        self.slow = 0;
        if begun.elapsed() < QUICK {
            self.most = (self.most * 2).min(MOST);
        }
        self.due = Instant::now() + (begun.elapsed() * SHARE).max(PAUSE);
        if answer.epoch != epoch {
            self.heard(Some(answer.epoch), spool).await;
            return false;
        }
        for rejected in &answer.rejected {
            let path = rejected.line.checked_sub(1).and_then(|at| batch.lines.get(at)).map(|(path, _)| path);
            let reason: String = rejected.reason.chars().take(500).collect();
            let what = format_args!("the collector cannot trace pictures to a master: {reason}");
            self.tell(spool, path.map(|path| path.as_os_str().as_bytes()), what);
        }
        let lines = batch.lines.clone();
        match self.blocking(move |_, sent| Ok(note(sent, &lines)?)).await {
            Ok(()) => true,
            Err(error) => {
                self.failed(&error, spool);
                false
            }
        }
    }

    /// Fewer masters go into the next request. One alone that is too large, or is too slow again and again, is passed over
    /// until the next pass. Whether the pass may go on behind this batch.
    fn too_much(&mut self, spool: &Spool, batch: &Batch, is_slow: bool, took: Duration) -> bool {
        self.due = Instant::now() + (took * SHARE).max(PAUSE);
        self.most = (batch.lines.len() / 2).max(1);
        let [(path, _)] = batch.lines.as_slice() else { return false };
        if is_slow {
            self.slow += 1;
            if self.slow < TRIES {
                return false;
            }
        }
        self.slow = 0;
        let why = if is_slow { "does not reach it in time" } else { "is too large for it, or for a proxy before it" };
        let what = format_args!("the collector cannot trace pictures to a master, which {why}");
        self.tell(spool, Some(path.as_os_str().as_bytes()), what);
        true
    }

    fn failed(&mut self, error: &HandingError, spool: &Spool) {
        self.due = Instant::now() + REFUSED;
        self.tell(spool, None, format_args!("the collector cannot be told of masters: {error}"));
    }

    /// Records it once in a run of the agent; the others are counted.
    fn tell(&mut self, spool: &Spool, subject: Option<&[u8]>, what: std::fmt::Arguments<'_>) {
        if std::mem::replace(&mut self.has_told, true) {
            fail::count(Failure::RecordRejected, 1);
        } else {
            spool.push(Failure::RecordRejected.notice(subject, what));
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Index, &mut Connection) -> Result<T, HandingError> + Send + 'static,
    ) -> Result<T, HandingError> {
        let (index, sent) = (self.index.clone(), self.sent.clone());
        let done =
            tokio::task::spawn_blocking(move || work(&index, &mut sent.lock().unwrap_or_else(PoisonError::into_inner)));
        done.await.unwrap_or(Err(HandingError::Sent(rusqlite::Error::ExecuteReturnedResults)))
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?; // a lost tail is sent again
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS epoch (epoch TEXT NOT NULL) STRICT;
         CREATE TABLE IF NOT EXISTS sent (path BLOB PRIMARY KEY, stamp BLOB NOT NULL) STRICT, WITHOUT ROWID;",
    )?;
    Ok(connection)
}

/// With another epoch all is sent again.
fn begin(sent: &mut Connection, epoch: &str) -> rusqlite::Result<()> {
    let tx = sent.transaction()?;
    if !tx.prepare("SELECT 1 FROM epoch WHERE epoch = ?")?.exists([epoch])? {
        tx.execute_batch("DELETE FROM sent; DELETE FROM epoch")?;
        tx.execute("INSERT INTO epoch VALUES (?)", [epoch])?;
    }
    tx.commit()
}

/// The collector has these now.
fn note(sent: &mut Connection, lines: &[(PathBuf, Option<Stamp>)]) -> rusqlite::Result<()> {
    let tx = sent.transaction()?;
    for (path, stamp) in lines {
        let path = path.as_os_str().as_bytes();
        match stamp {
            Some(stamp) => {
                tx.prepare_cached("INSERT OR REPLACE INTO sent VALUES (?, ?)")?.execute(params![path, stamp])?
            }
            None => tx.prepare_cached("DELETE FROM sent WHERE path = ?")?.execute([path])?,
        };
    }
    tx.commit()
}

/// What tells a master from what it was: every field, each with its length.
fn stamp(known: &Known, master: &Master) -> Stamp {
    let mut hasher = blake3::Hasher::new();
    let object = master.object.as_deref().unwrap_or_default();
    for text in [&master.collection, object] {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    let numbers = [known.id.cast_unsigned(), known.size, known.mtime_ns.cast_unsigned(), known.inode, known.device];
    hasher.update(&numbers.map(u64::to_le_bytes).concat());
    let mut stamp = Stamp::default();
    hasher.finalize_xof().fill(&mut stamp);
    stamp
}

/// The next differences behind a path, in the order of paths: a merge of the index with what was sent.
fn differences(
    index: &Index,
    sent: &Connection,
    after: &Path,
    most: usize,
) -> Result<(Vec<Change>, Option<PathBuf>), HandingError> {
    let mut query = sent.prepare_cached("SELECT path, stamp FROM sent WHERE path > ? ORDER BY path")?;
    let mut rows = query.query([after.as_os_str().as_bytes()])?;
    let mut next = || -> rusqlite::Result<Option<(PathBuf, Stamp)>> {
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some((PathBuf::from(std::ffi::OsString::from_vec(row.get(0)?)), row.get(1)?)))
    };
    let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
    let (mut changes, mut failed) = (Vec::new(), None);
    let mut noted = next()?;
    index.each_after(after, &mut |known, master| {
        let compare = || -> rusqlite::Result<()> {
            while let Some((path, _)) = noted.take_if(|(path, _)| bytes(path) < bytes(&master.path)) {
                changes.push(Change::Gone(path));
                noted = next()?;
                if changes.len() >= most {
                    return Ok(());
                }
            }
            let stamp = stamp(known, &master);
            let before = match noted.take_if(|(path, _)| *path == master.path) {
                Some((_, before)) => {
                    noted = next()?;
                    Some(before)
                }
                None => None,
            };
            if before != Some(stamp) {
                changes.push(Change::Has(stamp, master));
            }
            Ok(())
        };
        failed = compare().err();
        if failed.is_some() || changes.len() >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    while changes.len() < most
        && let Some((path, _)) = noted.take()
    {
        changes.push(Change::Gone(path));
        noted = next()?;
    }
    let last = match changes.last() {
        Some(Change::Has(_, master)) => Some(master.path.clone()),
        Some(Change::Gone(path)) => Some(path.clone()),
        None => None,
    };
    Ok((changes, last))
}

fn batch(index: &Index, sent: &Connection, after: &Path, most: usize) -> Result<Batch, HandingError> {
    let (changes, last) = differences(index, sent, after, most)?;
    let is_last = changes.len() < most;
    let mut batch = Batch { next: last.filter(|_| !is_last), ..Batch::default() };
    let (mut text, count) = (Vec::new(), changes.len());
    for (at, change) in changes.into_iter().enumerate() {
        let (path, stamp, collection, object) = match change {
            Change::Has(stamp, master) => (master.path, Some(stamp), master.collection, master.object),
            Change::Gone(path) => (path, None, String::new(), None),
        };
        let portrait = match stamp {
            Some(_) => match index.portrait(&path)? {
                Some(portrait) => Some(portrait),
                // Gone in this moment: that changes the index, and the next pass sees it.
                None => continue,
            },
            None => None,
        };
        let line = Line { path: printable(path.as_os_str().as_bytes()), collection, object, portrait };
        serde_json::to_writer(&mut text, &line)?;
        text.push(b'\n');
        batch.lines.push((path.clone(), stamp));
        if text.len() >= ENOUGH && at + 1 < count {
            batch.next = Some(path);
            break;
        }
    }
    // Compressing into memory cannot fail; should it, the collector refuses the empty body.
    batch.body = zstd::bulk::compress(&text, 3).unwrap_or_default();
    Ok(batch)
}

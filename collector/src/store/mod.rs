//! Everything that the collector keeps: one SQLite database in the data directory.
//!
//! Writes go through one thread that commits whatever has gathered in one transaction (group commit,
//! WAL, `synchronous=FULL`) and answers only afterwards, so that a caller who got `Ok` holds a promise
//! that survives a power cut. Reads run on connections of their own and never wait for the writer.

mod alerts;
mod audit;
mod backup;
mod catalogue;
mod certificates;
mod claim;
mod evidence;
mod halting;
mod hosts;
mod listing;
mod notifications;
mod objects;
mod outbox;
mod people;
mod policies;
mod records;
mod retention;
mod rollouts;
mod routed;
#[cfg(test)]
mod scale;
mod schema;
mod seals;
mod search;
mod sessions;
mod silences;
mod silent;
mod sinks;
mod tokens;
mod totp;
mod triage;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

pub use alerts::AlertFilter;
pub(crate) use audit::Kind;
pub use audit::{Actor, AuditEntry, AuditFilter, Broken, Head};
pub(crate) use catalogue::{DESTINATIONS, Master, ObjectQuery, Outcome, Turn, Whereto};
pub use certificates::Certificate;
pub(crate) use certificates::{Enrolment, Sender};
pub use claim::Claim;
pub(crate) use hosts::{HostCount, HostFilter};
pub(crate) use listing::{Around, Key, Query};
pub(crate) use notifications::{Notification, NotificationFilter, NotificationState};
pub(crate) use objects::{ObjectKey, destination, object_key};
pub(crate) use outbox::{Due, Letter, Message, Occasion};
pub use people::{User, UserRole};
pub use policies::{NewPolicy, PolicyVersion};
pub(crate) use records::{Batch, Poison};
pub use records::{Committed, Rejected};
pub use retention::{Removed, Retention};
pub use rollouts::{HostGroup, Rollout, RolloutState, RolloutStep};
pub(crate) use search::Account;
pub(crate) use sessions::{Admission, Session};
pub(crate) use silences::Silenced;
pub(crate) use sinks::{Progress, SinkCount, SinkSetting};
pub use sinks::{RefusedRecord, SinkState};
pub(crate) use tokens::fill;
pub use tokens::{Role, Token, Worth};
pub(crate) use totp::{Code, TotpEnrolment};
pub(crate) use triage::{Step, TriageEntry, View};
use writer::Order;

use crate::route::Rule;

/// Name of the database in the data directory.
pub const FILE: &str = "collector.db";

/// How many writes may wait; one more is told to come back later.
const QUEUE: usize = 1024;
/// After how many instructions of SQLite's machine the clock is looked at where time is short.
const INSTRUCTIONS: i32 = 10_000;
/// How many reads run at once, and how many of these may be such as look through much.
const READERS: usize = 4;
const SLOW_READERS: usize = 2;
/// How long one process waits for another's lock on the database (the command line beside the server).
const BUSY: Duration = Duration::from_secs(10);

/// Why something could not be kept or found.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk has no room.
    #[error("no room is left for the collector's database: free some disk space")]
    Full,
    /// More waits to be written than can be held.
    #[error("the collector's database is busy")]
    Busy,
    /// The server is stopping.
    #[error("the collector is stopping")]
    Closed,
    /// A question takes longer than anybody should wait.
    #[error("the question took too long")]
    Slow,
    /// Another server uses the directory.
    #[error("another vitrine-collector serves from {}", .0.display())]
    InUse(PathBuf),
    /// The integrity check found damage.
    #[error("the collector's database is damaged ({0}): restore it from a backup")]
    Damaged(String),
    /// A newer program wrote the database.
    #[error("the collector's database has version {found}; this program knows {known}: update it")]
    Newer {
        /// Version found.
        found: usize,
        /// Newest version known here.
        known: usize,
    },
    /// There is no database.
    #[error("{} holds no collector database: start `vitrine-collector serve --data` with it first", .0.display())]
    Missing(PathBuf),
    /// The directory or a file in it cannot be used.
    #[error("{}: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: Arc<std::io::Error>,
    },
    /// A token speaks for an agent that it does not belong to.
    #[error("{0}")]
    OtherAgent(String),
    /// A name is taken.
    #[error("{0}")]
    Taken(String),
    /// A user is unknown, or must stay as he is.
    #[error("{0}")]
    User(String),
    /// A policy, group or rollout is unknown, or cannot be so.
    #[error("{0}")]
    Policy(String),
    /// A stored value is not what this program writes.
    #[error("a stored value cannot be read: {0}")]
    Value(Arc<serde_json::Error>),
    /// SQLite.
    #[error("the collector's database: {0}")]
    Sqlite(Arc<rusqlite::Error>),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full,
            // With WAL on a full disk, growing the shared-memory file or syncing fails as an I/O error.
            Some(rusqlite::ErrorCode::SystemIoFailure) if is_write_failure(&error) => StoreError::Full,
            Some(rusqlite::ErrorCode::OperationInterrupted) => StoreError::Slow,
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => StoreError::Busy,
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                StoreError::Damaged(error.to_string())
            }
            _ => StoreError::Sqlite(Arc::new(error)),
        }
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> StoreError {
        StoreError::Value(Arc::new(error))
    }
}

fn is_write_failure(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_TRUNCATE, SQLITE_IOERR_WRITE};
    error
        .sqlite_error()
        .is_some_and(|e| [SQLITE_IOERR_WRITE, SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_TRUNCATE].contains(&e.extended_code))
}

/// The collector's memory. Cheap to clone; all clones share one writer.
#[derive(Clone)]
pub struct Store {
    orders: mpsc::Sender<Order>,
    readers: Arc<Readers>,
    rules: Arc<[Rule]>,
    armed: Arc<Notify>,
    posted: Arc<Notify>,
    recorded: Arc<Notify>,
}

struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    /// So that an agent that asks to be let in never waits behind searches.
    slow: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Store {
    /// Opens the database of a data directory, making both where they are missing.
    ///
    /// # Errors
    /// The directory cannot be made or used, or the database is damaged or of a newer program.
    pub fn open(directory: &Path) -> Result<Store, StoreError> {
        Store::open_with(directory, &[])
    }

    /// Opens the database of a data directory that must be there already.
    ///
    /// # Errors
    /// As [`Store::open`], and where there is no database.
    pub fn open_existing(directory: &Path) -> Result<Store, StoreError> {
        if !directory.join(FILE).is_file() {
            return Err(StoreError::Missing(directory.to_owned()));
        }
        Store::open(directory)
    }

    /// As [`Store::open`]; routes are told of alerts by these rules.
    pub(crate) fn open_with(directory: &Path, rules: &[Rule]) -> Result<Store, StoreError> {
        claim::make_private(directory)?;
        let path = directory.join(FILE);
        claim::make_private_file(&path)?;
        let mut connection = connect(&path)?;
        schema::migrate(&mut connection)?;
        let (orders, queue) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("store writer".into())
            .spawn(move || writer::run(&mut connection, queue))
            .map_err(|error| StoreError::File { path: path.clone(), error: Arc::new(error) })?;
        let (permits, slow) = (Arc::new(Semaphore::new(READERS)), Arc::new(Semaphore::new(SLOW_READERS)));
        let readers = Readers { path, permits, slow, idle: Mutex::new(Vec::new()) };
        Ok(Store {
            orders,
            readers: Arc::new(readers),
            rules: rules.into(),
            armed: Arc::default(),
            posted: Arc::default(),
            recorded: Arc::default(),
        })
    }

    /// Writes what is under way, folds the log into the database and ends the writer.
    pub async fn close(&self) {
        let (tell, told) = oneshot::channel();
        if self.orders.send(Order::Stop(tell)).await.is_ok() {
            let _ = told.await;
        }
    }

    /// Runs `work` on the writer and answers after its transaction is on the disk. An error undoes the
    /// work, and nothing else that is committed with it.
    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let job = writer::job(work, move |outcome| {
            let _ = tell.send(outcome);
        });
        self.orders.try_send(Order::Run(job)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        told.await.map_err(|_| StoreError::Closed)?
    }

    /// As [`Store::read`], for at most so long: what is not done then ends as [`StoreError::Slow`].
    async fn read_within<T, F>(&self, time: Duration, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let slow = Arc::clone(&self.readers.slow).acquire_owned();
        let slow = tokio::time::timeout(time, slow).await.map_err(|_| StoreError::Slow)?;
        let slow = slow.map_err(|_| StoreError::Closed)?;
        self.run(move |connection| {
            let _slow = slow; // as long as it runs, whoever waits for it
            let begun = Instant::now();
            connection.progress_handler(INSTRUCTIONS, Some(move || begun.elapsed() > time))?;
            let outcome = work(connection);
            connection.progress_handler(0, None::<fn() -> bool>)?;
            outcome
        })
        .await
    }

    /// Runs `work` on a connection that sees the last commit and cannot write.
    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.run(|connection| work(connection)).await
    }

    async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        let permit = Arc::clone(&self.readers.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit; // a client that hangs up ends the waiting, not the work
            let idle = readers.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match idle {
                Some(connection) => connection,
                None => connect_to_read(&readers.path)?,
            };
            let outcome = work(&mut connection);
            readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            outcome
        });
        reading.await.map_err(|_| StoreError::Closed)?
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn connect_to_read(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Milliseconds since 1970 by this machine's clock.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

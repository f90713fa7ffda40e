//! Everything that the collector keeps, in one database: SQLite in the data directory, or PostgreSQL for several
//! collectors at once ([`database::Database`]).
//!
//! A write is answered after its COMMIT is on the disk, so that a caller who got `Ok` holds a promise that survives a
//! power cut. Into SQLite one thread writes that commits whatever has gathered in one transaction (group commit, WAL,
//! `synchronous=FULL`); into PostgreSQL some connections, and it gathers by itself. Reads run on connections of their own
//! and never wait for writes.
//!
//! The other modules hold questions and answers: each is a closure over a [`Connection`], and knows no database but by
//! [`dialect`] and [`fulltext`].

mod alerts;
mod approvals;
mod audit;
mod backoff;
mod backup;
mod body;
mod catalogue;
mod certificates;
mod claim;
mod database;
mod dialect;
mod error;
mod evidence;
mod fulltext;
mod halting;
mod hosts;
mod identities;
mod letters;
mod listing;
mod new_records;
mod notifications;
mod objects;
mod outbox;
mod people;
mod policies;
mod postgres;
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
mod sql;
mod sqlite;
mod tokens;
mod totp;
mod triage;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, oneshot, watch};

pub use alerts::AlertFilter;
pub use approvals::Approval;
pub(crate) use approvals::Unasked;
pub(crate) use audit::Kind;
pub use audit::{Actor, AuditEntry, AuditFilter, Broken, Head};
pub(crate) use backoff::Attempt;
pub(crate) use body::Body;
pub(crate) use catalogue::{DESTINATIONS, Master, ObjectQuery, Outcome, Turn, Whereto};
pub use certificates::Certificate;
pub(crate) use certificates::{Enrolment, Sender};
pub use claim::Claim;
use database::{Database, Job};
pub use error::StoreError;
pub(crate) use hosts::{HostCount, HostFilter};
pub(crate) use identities::Person;
pub use letters::DeadLetter;
pub(crate) use letters::Poison;
pub(crate) use listing::{Around, Key, Query};
pub(crate) use notifications::{Notification, NotificationFilter, NotificationState};
pub(crate) use objects::{ObjectKey, destination, object_key};
pub(crate) use outbox::{Due, Letter, Message, Occasion};
pub use people::{User, UserRole};
pub use policies::{NewPolicy, PolicyVersion};
pub(crate) use records::{Batch, Incoming};
pub use records::{Committed, Rejected};
pub use retention::{Removed, Retention};
pub use rollouts::{HostGroup, Rollout, RolloutState, RolloutStep};
pub(crate) use search::Account;
pub(crate) use sessions::{Admission, Session};
pub(crate) use silences::Silenced;
pub(crate) use sinks::{Progress, SinkCount, SinkSetting};
pub use sinks::{RefusedRecord, SinkState};
use sql::Connection;
pub use sql::SqlError;
pub(crate) use tokens::fill;
pub use tokens::{Role, Token, Worth};
pub(crate) use totp::{Code, TotpEnrolment};
pub(crate) use triage::{Step, TriageEntry, View};

use crate::route::Rule;

/// Name of the database in the data directory.
pub const FILE: &str = "collector.db";
/// Name of the file in the data directory that names another database.
pub const DATABASE: &str = "database";

/// How many reads run at once, and how many of these may be such as look through much.
const READERS: usize = 4;
const SLOW_READERS: usize = 2;
/// How often it is looked whether a job is to be taken over.
const LOOK: Duration = Duration::from_secs(1);

/// The collector's memory. Cheap to clone; all clones share one database.
#[derive(Clone)]
pub struct Store {
    database: Arc<dyn Database>,
    readers: Arc<Semaphore>,
    /// So that an agent that asks to be let in never waits behind searches.
    slow: Arc<Semaphore>,
    /// Heartbeats that wait for others.
    lingering: Arc<Semaphore>,
    rules: Arc<[Rule]>,
    armed: Arc<Notify>,
    posted: Arc<Notify>,
    recorded: Arc<Notify>,
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
        if !directory.join(FILE).is_file() && named(directory)?.is_none() {
            return Err(StoreError::Missing(directory.to_owned()));
        }
        Store::open(directory)
    }

    /// As [`Store::open`]; routes are told of alerts by these rules.
    pub(crate) fn open_with(directory: &Path, rules: &[Rule]) -> Result<Store, StoreError> {
        let database: Arc<dyn Database> = match named(directory)? {
            Some(url) => Arc::new(postgres::Postgres::open(&url)?),
            None => Arc::new(sqlite::Sqlite::open(directory)?),
        };
        let store = Store {
            database,
            readers: Arc::new(Semaphore::new(READERS)),
            slow: Arc::new(Semaphore::new(SLOW_READERS)),
            lingering: Arc::new(Semaphore::new(hosts::LINGERING)),
            rules: rules.into(),
            armed: Arc::default(),
            posted: Arc::default(),
            recorded: Arc::default(),
        };
        let wake = [&store.armed, &store.posted, &store.recorded];
        store.database.look(wake.map(Arc::downgrade).to_vec());
        Ok(store)
    }

    /// Whether this process does a job that, of all that share the database, one does at a time. It stays so until the
    /// process ends or loses the database; then another one takes it over.
    async fn leads(&self, job: &str) -> bool {
        if !self.database.is_shared() {
            return true;
        }
        let (database, job) = (Arc::clone(&self.database), job.to_owned());
        tokio::task::spawn_blocking(move || database.leads(&job)).await.unwrap_or(false)
    }

    /// Waits until this process does a job; says whether that was before the server stops.
    pub(crate) async fn takes(&self, job: &str, stopped: &mut watch::Receiver<bool>) -> bool {
        while !self.leads(job).await {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stopped.changed() => return false,
            }
        }
        true
    }

    /// Makes room for the records of the days to come; to be called once a day at least.
    pub(crate) async fn prepare_days(&self) -> Result<(), StoreError> {
        let database = Arc::clone(&self.database);
        self.blocking(move || database.prepare_days()).await
    }

    /// Writes what is under way, and ends; SQLite's log is folded into its database.
    pub async fn close(&self) {
        let (tell, told) = oneshot::channel();
        self.database.close(tell);
        let _ = told.await;
    }

    /// Runs `work` and answers after its transaction is on the disk. An error undoes the work, and nothing else. What it
    /// reads and what it writes upon that is as if nobody else wrote; see [`Store::write_beside`].
    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.order(true, work).await
    }

    /// As [`Store::write`], for work that comes often: on PostgreSQL others may write beside it, and what it reads and
    /// then changes it has to lock ([`Connection::locking`]).
    async fn write_beside<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.order(false, work).await
    }

    async fn order<T, F>(&self, alone: bool, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        self.database.write(Job::new(alone, work, move |outcome| {
            let _ = tell.send(outcome);
        }))?;
        told.await.map_err(|_| StoreError::Closed)?
    }

    /// As [`Store::read`], for at most so long: what is not done then ends as [`StoreError::Slow`].
    async fn read_within<T, F>(&self, time: Duration, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let slow = Arc::clone(&self.slow).acquire_owned();
        let slow = tokio::time::timeout(time, slow).await.map_err(|_| StoreError::Slow)?;
        let slow = slow.map_err(|_| StoreError::Closed)?;
        self.run(move |connection| {
            let _slow = slow; // as long as it runs, whoever waits for it
            connection.within(time, work)?
        })
        .await
    }

    /// Runs `work` on a connection that sees the last commit and does not write.
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
        let database = Arc::clone(&self.database);
        let permit = Arc::clone(&self.readers).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        self.blocking(move || {
            let _permit = permit; // a client that hangs up ends the waiting, not the work
            let mut connection = database.reader()?;
            let outcome = work(&mut connection);
            database.give_back(connection);
            outcome
        })
        .await
    }

    async fn blocking<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, StoreError> + Send + 'static,
    {
        tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Closed)?
    }
}

/// Notes which database the collector of a data directory uses, for every later command: the URL may hold a password.
///
/// # Errors
/// The URL is none, or the directory cannot be made or written.
pub fn name_database(directory: &Path, url: &str) -> Result<(), StoreError> {
    postgres::check(url)?;
    claim::make_private(directory)?;
    let path = directory.join(DATABASE);
    if directory.join(FILE).exists() {
        tracing::warn!("what collector.db holds stays there: {} names another database", path.display());
    }
    if named(directory)?.as_deref() == Some(url) {
        return Ok(());
    }
    claim::write_private(&path, &format!("{url}\n"))
}

/// The database that a data directory names; none: SQLite in the directory.
fn named(directory: &Path) -> Result<Option<String>, StoreError> {
    let path = directory.join(DATABASE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::File { path, error: Arc::new(error) }),
    }
}

/// Milliseconds since 1970 by this machine's clock.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

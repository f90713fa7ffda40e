//! What keeps the records: SQLite in the data directory, or PostgreSQL for several collectors at once.

use std::path::Path;
use std::sync::Weak;

use tokio::sync::{Notify, oneshot};

use super::StoreError;
use super::sql::Connection;

/// Hears how a write ended, after it was committed or undone.
pub(super) type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What was done, before it is committed.
pub(super) struct Done {
    /// Whether it worked; what did not is undone.
    pub(super) worked: bool,
    /// Whom to tell.
    pub(super) reply: Reply,
}

type Run = dyn FnOnce(Result<&Connection, StoreError>) -> Done + Send;

/// A write that waits for its turn.
pub(super) struct Job {
    run: Box<Run>,
    /// Whether nothing else may write beside it, in whichever process.
    pub(super) alone: bool,
}

impl Job {
    /// Packs work and its answer. `tell` hears of success only after COMMIT.
    pub(super) fn new<T, W, A>(alone: bool, work: W, tell: A) -> Job
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        A: FnOnce(Result<T, StoreError>) + Send + 'static,
    {
        let run = move |connection: Result<&Connection, StoreError>| {
            let outcome = connection.and_then(work);
            let worked = outcome.is_ok();
            let reply =
                move |committed: Result<(), StoreError>| tell(outcome.and_then(|value| committed.map(|()| value)));
            Done { worked, reply: Box::new(reply) }
        };
        Job { run: Box::new(run), alone }
    }

    /// Does it, within a transaction.
    pub(super) fn run(self, connection: &Connection) -> Done {
        (self.run)(Ok(connection))
    }

    /// Answers without having done it.
    pub(super) fn refuse(self, error: StoreError) {
        ((self.run)(Err(error)).reply)(Ok(()));
    }
}

/// What keeps the records. Two there are: [`super::sqlite::Sqlite`] and [`super::postgres::Postgres`].
pub(super) trait Database: Send + Sync {
    /// Takes a write. Its answer comes when it is on the disk, whatever then becomes of the machine. An error undoes it,
    /// and nothing else.
    ///
    /// # Errors
    /// Too many wait ([`StoreError::Busy`]), or the store was closed; then the caller is told by nobody else.
    fn write(&self, job: Job) -> Result<(), StoreError>;

    /// A connection that sees the last commit and does not write. It may take a while.
    ///
    /// # Errors
    /// The database cannot be reached.
    fn reader(&self) -> Result<Connection, StoreError>;

    /// Takes a reader back.
    fn give_back(&self, reader: Connection);

    /// Writes what is under way, and ends; then tells.
    fn close(&self, tell: oneshot::Sender<()>);

    /// Copies the whole as it is at one moment into a new file. It takes a while.
    ///
    /// # Errors
    /// The file is there already or cannot be written, or what was written is damaged.
    fn back_up(&self, to: &Path) -> Result<(), StoreError>;

    /// Whether this process does the job of this name, which one process at a time may do. It may take a while.
    fn leads(&self, job: &str) -> bool;

    /// Wakes these now and then, where another process may have written what they wait for.
    fn look(&self, wake: Vec<Weak<Notify>>);

    /// Whether other processes may write, too.
    fn is_shared(&self) -> bool;

    /// Makes room for the records of the days to come. It may take a while.
    ///
    /// # Errors
    /// The database fails.
    fn prepare_days(&self) -> Result<(), StoreError>;

    /// Drops days as a whole where nothing of them is needed that was received before a time (milliseconds since 1970);
    /// says how many records went. It may take a while.
    ///
    /// # Errors
    /// The database fails; what was dropped until then is gone.
    fn drop_days(&self, before: i64) -> Result<u64, StoreError>;
}

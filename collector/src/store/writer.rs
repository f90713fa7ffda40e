//! The one thread that writes.
//!
//! Whatever waits is run in one transaction, each job in a savepoint of its own: a job that fails is
//! undone alone. Answers are given after COMMIT, and if COMMIT fails, everybody in it hears of it.

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::StoreError;

/// At most this many jobs share one transaction, so that the first does not wait for ever.
const GROUP: usize = 128;

/// Tells the caller how its job ended; called after COMMIT.
type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Does the work, and hands back whom to tell.
pub(super) type Job = Box<dyn FnOnce(&Connection) -> Reply + Send>;

/// What the writer is told.
pub(super) enum Order {
    /// Run a job.
    Run(Job),
    /// Finish, fold the log into the database, and end.
    Stop(oneshot::Sender<()>),
}

/// Packs work and its answer. `tell` hears of success only after COMMIT.
pub(super) fn job<T, W, A>(work: W, tell: A) -> Job
where
    T: Send + 'static,
    W: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    A: FnOnce(Result<T, StoreError>) + Send + 'static,
{
    Box::new(move |connection| {
        let outcome = in_savepoint(connection, work);
        Box::new(move |committed| tell(outcome.and_then(|value| committed.map(|()| value))))
    })
}

fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.execute_batch("SAVEPOINT job")?;
    let outcome = work(connection);
    // SQLite ends the whole transaction by itself on a full disk; then there is no savepoint to leave.
    if !connection.is_autocommit() {
        if outcome.is_err() {
            connection.execute_batch("ROLLBACK TO job")?;
        }
        connection.execute_batch("RELEASE job")?;
    }
    outcome
}

/// Runs until every sender is gone or the server stops.
pub(super) fn run(connection: &mut Connection, mut queue: mpsc::Receiver<Order>) {
    while let Some(first) = queue.blocking_recv() {
        let mut jobs = Vec::new();
        let mut stop = None;
        let mut next = Some(first);
        while let Some(order) = next {
            match order {
                Order::Run(job) => jobs.push(job),
                Order::Stop(tell) => {
                    stop = Some(tell);
                    break;
                }
            }
            next = if jobs.len() < GROUP { queue.try_recv().ok() } else { None };
        }
        commit(connection, jobs);
        if let Some(tell) = stop {
            queue.close();
            if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
                tracing::warn!(%error, "the write-ahead log could not be folded into the database");
            }
            let _ = tell.send(());
            return;
        }
    }
}

fn commit(connection: &mut Connection, jobs: Vec<Job>) {
    if jobs.is_empty() {
        return;
    }
    let mut replies = Vec::with_capacity(jobs.len());
    let outcome = (|| {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for job in jobs {
            replies.push(job(&transaction));
            if transaction.is_autocommit() {
                // The transaction is gone, and with it everything that its jobs had written.
                return Err(StoreError::Full);
            }
        }
        Ok(transaction.commit()?)
    })();
    if let Err(error) = &outcome {
        tracing::error!(%error, "nothing was written");
    }
    // Jobs that did not run drop their answer, which the caller reads as `Closed`.
    for reply in replies {
        reply(outcome.clone());
    }
}

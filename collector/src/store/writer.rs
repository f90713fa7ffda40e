//! The one thread that writes to SQLite.
//!
//! Whatever waits is run in one transaction, each job in a savepoint of its own: a job that fails is
//! undone alone. Answers are given after COMMIT, and if COMMIT fails, everybody in it hears of it.

use tokio::sync::{mpsc, oneshot};

use super::StoreError;
use super::database::{Done, Job, Reply};
use super::sql::Connection;

/// At most this many jobs share one transaction, so that the first does not wait for ever.
const GROUP: usize = 128;

/// What the writer is told.
pub(super) enum Order {
    /// Run a job.
    Run(Job),
    /// Finish, fold the log into the database, and end.
    Stop(oneshot::Sender<()>),
}

/// Runs until every sender is gone or the server stops.
pub(super) fn run(connection: &Connection, mut queue: mpsc::Receiver<Order>) {
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

fn commit(connection: &Connection, jobs: Vec<Job>) {
    if jobs.is_empty() {
        return;
    }
    let mut replies = Vec::with_capacity(jobs.len());
    let outcome = group(connection, jobs, &mut replies);
    if let Err(error) = &outcome {
        tracing::error!(%error, "nothing was written");
        if connection.is_in_transaction()
            && let Err(error) = connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be undone");
        }
    }
    // Jobs that did not run drop their answer, which the caller reads as `Closed`.
    for reply in replies {
        reply(outcome.clone());
    }
}

fn group(connection: &Connection, jobs: Vec<Job>, replies: &mut Vec<Reply>) -> Result<(), StoreError> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    for job in jobs {
        connection.execute_batch("SAVEPOINT job")?;
        let Done { worked, reply } = job.run(connection);
        replies.push(reply);
        if !connection.is_in_transaction() {
            // SQLite ends the whole transaction by itself on a full disk, and with it goes what its jobs had written.
            return Err(StoreError::Full);
        }
        if !worked {
            connection.execute_batch("ROLLBACK TO job")?;
        }
        connection.execute_batch("RELEASE job")?;
    }
    Ok(connection.execute_batch("COMMIT")?)
}

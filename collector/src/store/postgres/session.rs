//! One connection to PostgreSQL, as a thread that waits for each answer uses it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::Object;
use tokio::runtime::Handle;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql as Given;

use super::super::StoreError;
use super::super::sql::{self, SqlError, ToSql};
use super::value::Bound;
use super::{Words, refusal};

/// A connection that was taken from the pool. It goes back when this is dropped, unless it is in the midst of something.
pub(in crate::store) struct Session {
    client: Option<Object>,
    runtime: Handle,
    words: Arc<Words>,
    /// Whether a transaction is under way.
    open: Cell<bool>,
    /// Whether a statement of it failed: PostgreSQL then undoes it, whatever it is told.
    failed: Cell<bool>,
    /// Whether the server is gone, or is not the one that takes writes any more.
    lost: Cell<bool>,
    deadline: Cell<Option<Instant>>,
}

/// A statement that PostgreSQL has understood.
pub(in crate::store) struct Prepared<'c> {
    session: &'c Session,
    statement: tokio_postgres::Statement,
}

impl Session {
    pub(super) fn new(client: Object, runtime: Handle, words: Arc<Words>) -> Session {
        let (open, failed, lost, deadline) = (Cell::new(false), Cell::new(false), Cell::new(false), Cell::new(None));
        Session { client: Some(client), runtime, words, open, failed, lost, deadline }
    }

    /// Whether the server has ended it.
    pub(super) fn is_closed(&self) -> bool {
        self.client.as_ref().is_none_or(|client| client.is_closed())
    }

    /// Keeps it from being used by anybody else: it ends when it is dropped.
    pub(super) fn end_for_good(&self) {
        self.lost.set(true);
    }

    fn wait<T>(&self, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> sql::Result<T> {
        if self.deadline.get().is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(SqlError::Late);
        }
        self.runtime.block_on(answer).map_err(|error| {
            self.failed.set(true);
            if let StoreError::Unreachable(_) = refusal(&error) {
                self.lost.set(true);
            }
            match error.code() {
                Some(&SqlState::QUERY_CANCELED) => SqlError::Late,
                _ => SqlError::Postgres(error),
            }
        })
    }

    fn client(&self) -> sql::Result<&Object> {
        self.client.as_ref().ok_or(SqlError::NoRow)
    }

    pub(in crate::store) fn prepare(&self, sql: &str) -> sql::Result<Prepared<'_>> {
        let (sql, client) = (self.words.of(sql), self.client()?);
        let statement = self.wait(client.prepare_cached(&sql))?;
        Ok(Prepared { session: self, statement })
    }

    pub(in crate::store) fn batch(&self, sql: &str) -> sql::Result<()> {
        let client = self.client()?;
        self.wait(client.batch_execute(sql))
    }

    pub(in crate::store) fn is_open(&self) -> bool {
        self.open.get()
    }

    /// Begins a transaction.
    pub(in crate::store) fn begin(&self, how: &str) -> sql::Result<()> {
        self.open.set(true);
        self.failed.set(false);
        self.batch(how)
    }

    /// Ends a transaction by keeping what it wrote, or by undoing it.
    pub(in crate::store) fn end(&self, keep: bool) -> sql::Result<()> {
        self.deadline.set(None);
        // A COMMIT after a failure would be answered as if it were none.
        let failed = self.failed.get();
        self.batch(if keep && !failed { "COMMIT" } else { "ROLLBACK" })?;
        self.open.set(false);
        if keep && failed { Err(SqlError::Undone) } else { Ok(()) }
    }

    /// Begins to read what must not take longer; it ends with [`Session::end`]. Writes never have a limit: one that is cancelled while it waits
    /// for the standby is reported as done, and is not on the standby.
    pub(in crate::store) fn limit(&self, time: Duration) -> sql::Result<()> {
        self.begin(&format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {}", time.as_millis().max(1)))?;
        self.deadline.set(Instant::now().checked_add(time));
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(client) = self.client.take()
            && (self.open.get() || self.lost.get())
        {
            drop(Object::take(client)); // the server undoes what was under way
        }
    }
}

impl Prepared<'_> {
    pub(in crate::store) fn execute(&self, values: &[&dyn ToSql]) -> sql::Result<usize> {
        let client = self.session.client()?;
        let count = with(values, |values| self.session.wait(client.execute(&self.statement, values)))?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    pub(in crate::store) fn query(&self, values: &[&dyn ToSql]) -> sql::Result<Vec<tokio_postgres::Row>> {
        let client = self.session.client()?;
        with(values, |values| self.session.wait(client.query(&self.statement, values)))
    }
}

fn with<T>(values: &[&dyn ToSql], run: impl FnOnce(&[&(dyn Given + Sync)]) -> sql::Result<T>) -> sql::Result<T> {
    let bound = values.iter().map(|value| value.to_sql().map(Bound)).collect::<sql::Result<Vec<_>>>()?;
    run(&bound.iter().map(|value| value as &(dyn Given + Sync)).collect::<Vec<_>>())
}

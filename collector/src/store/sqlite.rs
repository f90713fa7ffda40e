//! SQLite in the data directory: WAL, `synchronous=FULL`, one thread that writes, connections of their own to read.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rusqlite::{CachedStatement, OpenFlags, types};
use tokio::sync::{Notify, mpsc, oneshot};

use super::database::{Database, Job};
use super::sql::{self, Connection, SqlError, ToSql, ValueRef};
use super::writer::{self, Order};
use super::{FILE, StoreError, backup, claim, schema};

/// How many writes may wait; one more is told to come back later.
const QUEUE: usize = 1024;
/// How long one process waits for another's lock on the database (the command line beside the server).
const BUSY: Duration = Duration::from_secs(10);
/// After how many instructions of SQLite's machine the clock is looked at where time is short.
const INSTRUCTIONS: i32 = 10_000;

/// The database of a data directory.
pub(super) struct Sqlite {
    path: PathBuf,
    orders: mpsc::Sender<Order>,
    idle: Mutex<Vec<Connection>>,
}

impl Sqlite {
    /// Opens the database, making directory and file where they are missing.
    ///
    /// # Errors
    /// They cannot be made or used, or the database is damaged or of a newer program.
    pub(super) fn open(directory: &Path) -> Result<Sqlite, StoreError> {
        claim::make_private(directory)?;
        let path = directory.join(FILE);
        claim::make_private_file(&path)?;
        let mut connection = connect(&path)?;
        schema::migrate(&mut connection)?;
        let (orders, queue) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("store writer".into())
            .spawn(move || writer::run(&Connection::Sqlite(connection), queue))
            .map_err(|error| StoreError::File { path: path.clone(), error: Arc::new(error) })?;
        Ok(Sqlite { path, orders, idle: Mutex::default() })
    }
}

impl Database for Sqlite {
    fn write(&self, job: Job) -> Result<(), StoreError> {
        self.orders.try_send(Order::Run(job)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })
    }

    fn reader(&self) -> Result<Connection, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| connect_to_read(&self.path).map(Connection::Sqlite), Ok)
    }

    fn give_back(&self, reader: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
    }

    fn close(&self, tell: oneshot::Sender<()>) {
        let orders = self.orders.clone();
        tokio::spawn(async move {
            let _ = orders.send(Order::Stop(tell)).await;
        });
    }

    fn back_up(&self, to: &Path) -> Result<(), StoreError> {
        backup::copy(&self.path, to)
    }

    fn leads(&self, _job: &str) -> bool {
        true // of a data directory there is one server
    }

    fn look(&self, _wake: Vec<Weak<Notify>>) {}

    fn is_shared(&self) -> bool {
        false
    }

    fn prepare_days(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn drop_days(&self, _before: i64) -> Result<u64, StoreError> {
        Ok(0)
    }
}

/// A connection that may write.
pub(super) fn connect(path: &Path) -> Result<rusqlite::Connection, StoreError> {
    let connection = rusqlite::Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn connect_to_read(path: &Path) -> Result<rusqlite::Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = rusqlite::Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// What a failure means to whoever asked.
pub(super) fn refusal(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full,
        // With WAL on a full disk, growing the shared-memory file or syncing fails as an I/O error.
        Some(rusqlite::ErrorCode::SystemIoFailure) if is_write_failure(&error) => StoreError::Full,
        Some(rusqlite::ErrorCode::OperationInterrupted) => StoreError::Slow,
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            StoreError::Damaged(error.to_string())
        }
        _ => StoreError::Sql(Arc::new(SqlError::Sqlite(error))),
    }
}

fn is_write_failure(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_TRUNCATE, SQLITE_IOERR_WRITE};
    error
        .sqlite_error()
        .is_some_and(|e| [SQLITE_IOERR_WRITE, SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_TRUNCATE].contains(&e.extended_code))
}

/// Interrupts what takes longer.
pub(super) fn limit(connection: &mut rusqlite::Connection, time: Duration) -> sql::Result<()> {
    let begun = Instant::now();
    Ok(connection.progress_handler(INSTRUCTIONS, Some(move || begun.elapsed() > time))?)
}

/// Lets work take as long as it takes.
pub(super) fn unlimited(connection: &mut rusqlite::Connection) -> sql::Result<()> {
    Ok(connection.progress_handler(0, None::<fn() -> bool>)?)
}

/// What a column of a row holds.
pub(super) fn value<'r>(row: &'r rusqlite::Row<'_>, column: usize) -> sql::Result<ValueRef<'r>> {
    Ok(match row.get_ref(column)? {
        types::ValueRef::Null => ValueRef::Null,
        types::ValueRef::Integer(number) => ValueRef::Integer(number),
        types::ValueRef::Real(number) => ValueRef::Real(number),
        types::ValueRef::Text(text) => {
            ValueRef::Text(std::str::from_utf8(text).map_err(|_| SqlError::Column(column, "text that is no UTF-8"))?)
        }
        types::ValueRef::Blob(bytes) => ValueRef::Blob(bytes),
    })
}

pub(super) fn execute(statement: &mut CachedStatement<'_>, values: &[&dyn ToSql]) -> sql::Result<usize> {
    bind(statement, values)?;
    Ok(statement.raw_execute()?)
}

pub(super) fn query<'s>(
    statement: &'s mut CachedStatement<'_>,
    values: &[&dyn ToSql],
) -> sql::Result<rusqlite::Rows<'s>> {
    bind(statement, values)?;
    Ok(statement.raw_query())
}

fn bind(statement: &mut CachedStatement<'_>, values: &[&dyn ToSql]) -> sql::Result<()> {
    let expected = statement.parameter_count();
    if expected != values.len() {
        return Err(rusqlite::Error::InvalidParameterCount(values.len(), expected).into());
    }
    for (index, value) in values.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, Bound(value.to_sql()?))?;
    }
    Ok(())
}

/// A value as SQLite takes it.
struct Bound<'a>(ValueRef<'a>);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<types::ToSqlOutput<'_>> {
        Ok(types::ToSqlOutput::Borrowed(match self.0 {
            ValueRef::Null => types::ValueRef::Null,
            ValueRef::Bool(is) => types::ValueRef::Integer(i64::from(is)),
            ValueRef::Integer(number) => types::ValueRef::Integer(number),
            ValueRef::Real(number) => types::ValueRef::Real(number),
            ValueRef::Text(text) => types::ValueRef::Text(text.as_bytes()),
            ValueRef::Blob(bytes) => types::ValueRef::Blob(bytes),
        }))
    }
}

//! SQL as the queries of the store speak it: one connection to whichever database keeps the records, values on their
//! way in and out, and rows. What the databases disagree in stands in [`super::dialect`].

use std::time::Duration;

use super::{postgres, sqlite};

/// Whether a question had an answer.
pub(super) type Result<T> = std::result::Result<T, SqlError>;

/// Why a statement gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// One row was asked for, and there is none.
    #[error("no row fits")]
    NoRow,
    /// A column holds something else than this program writes.
    #[error("column {0} of an answer holds {1}")]
    Column(usize, &'static str),
    /// A number is too large for a column.
    #[error("{0} is more than a column holds")]
    Range(u64),
    /// It takes longer than it may.
    #[error("it took too long")]
    Late,
    /// A statement of the same transaction had failed.
    #[error("what was written was undone: a statement of it had failed")]
    Undone,
    /// PostgreSQL refuses a statement, and says why.
    #[error("{0}")]
    Refused(String),
    /// SQLite.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL.
    #[error("{}", postgres::said(.0))]
    Postgres(tokio_postgres::Error),
}

/// A value, borrowed from where it lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ValueRef<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Real(f64),
    Text(&'a str),
    Blob(&'a [u8]),
}

impl ValueRef<'_> {
    fn kind(self) -> &'static str {
        match self {
            ValueRef::Null => "nothing",
            ValueRef::Bool(_) => "a truth value",
            ValueRef::Integer(_) => "an integer",
            ValueRef::Real(_) => "a number",
            ValueRef::Text(_) => "text",
            ValueRef::Blob(_) => "bytes",
        }
    }
}

/// A value for a statement that is put together at run time.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Integer(i64),
    Text(String),
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Integer(number)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

/// What can be given to a statement.
pub(super) trait ToSql {
    /// As the database takes it.
    fn to_sql(&self) -> Result<ValueRef<'_>>;
}

macro_rules! integers {
    ($($integer:ty)*) => { $(
        impl ToSql for $integer {
            fn to_sql(&self) -> Result<ValueRef<'_>> {
                Ok(ValueRef::Integer(i64::from(*self)))
            }
        }
    )* };
}

integers!(u8 u32 i32 i64);

impl ToSql for u64 {
    fn to_sql(&self) -> Result<ValueRef<'_>> {
        i64::try_from(*self).map(ValueRef::Integer).map_err(|_| SqlError::Range(*self))
    }
}

impl ToSql for bool {
    fn to_sql(&self) -> Result<ValueRef<'_>> {
        Ok(ValueRef::Bool(*self))
    }
}

impl ToSql for f64 {
    fn to_sql(&self) -> Result<ValueRef<'_>> {
        Ok(ValueRef::Real(*self))
    }
}

impl ToSql for str {
    fn to_sql(&self) -> Result<ValueRef<'_>> {
        Ok(ValueRef::Text(self))
    }
}

impl ToSql for String {
    fn to_sql(&self) -> Result<ValueRef<'_>> {
        Ok(ValueRef::Text(self))
    }
}

impl ToSql for [u8] {
    fn to_sql(&self) -> Result<ValueRef<'_>> {
        Ok(ValueRef::Blob(self))
    }
}

impl<const N: usize> ToSql for [u8; N] {
    fn to_sql(&self) -> Result<ValueRef<'_>> {
        Ok(ValueRef::Blob(self))
    }
}

impl ToSql for Vec<u8> {
    fn to_sql(&self) -> Result<ValueRef<'_>> {
        Ok(ValueRef::Blob(self))
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> Result<ValueRef<'_>> {
        Ok(match self {
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Text(text) => ValueRef::Text(text),
        })
    }
}

impl<T: ToSql> ToSql for Option<T> {
    fn to_sql(&self) -> Result<ValueRef<'_>> {
        self.as_ref().map_or(Ok(ValueRef::Null), ToSql::to_sql)
    }
}

impl<T: ToSql + ?Sized> ToSql for &T {
    fn to_sql(&self) -> Result<ValueRef<'_>> {
        (**self).to_sql()
    }
}

/// The values of a statement, in the order of its `?`.
pub(super) trait Params {
    /// Hands them on.
    fn give<R>(self, to: impl FnOnce(&[&dyn ToSql]) -> R) -> R;
}

impl Params for [&dyn ToSql; 0] {
    fn give<R>(self, to: impl FnOnce(&[&dyn ToSql]) -> R) -> R {
        to(&self)
    }
}

impl Params for &[&dyn ToSql] {
    fn give<R>(self, to: impl FnOnce(&[&dyn ToSql]) -> R) -> R {
        to(self)
    }
}

impl Params for Vec<Value> {
    fn give<R>(self, to: impl FnOnce(&[&dyn ToSql]) -> R) -> R {
        to(&self.iter().map(|value| value as &dyn ToSql).collect::<Vec<_>>())
    }
}

macro_rules! arrays {
    ($($length:literal)*) => { $(
        impl<T: ToSql> Params for [T; $length] {
            fn give<R>(self, to: impl FnOnce(&[&dyn ToSql]) -> R) -> R {
                to(&self.each_ref().map(|value| value as &dyn ToSql))
            }
        }
    )* };
}

arrays!(1 2 3);

/// Values of different types.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$(&$value as &dyn $crate::store::sql::ToSql),*] as &[&dyn $crate::store::sql::ToSql]
    };
}
pub(super) use params;

/// What can be read from a column.
pub(super) trait FromSql: Sized {
    /// None where the value is of another kind.
    fn from_sql(value: ValueRef<'_>) -> Option<Self>;
}

impl FromSql for i64 {
    fn from_sql(value: ValueRef<'_>) -> Option<i64> {
        match value {
            ValueRef::Integer(number) => Some(number),
            ValueRef::Bool(is) => Some(i64::from(is)),
            _ => None,
        }
    }
}

macro_rules! smaller_integers {
    ($($integer:ty)*) => { $(
        impl FromSql for $integer {
            fn from_sql(value: ValueRef<'_>) -> Option<$integer> {
                <$integer>::try_from(i64::from_sql(value)?).ok()
            }
        }
    )* };
}

smaller_integers!(u8 u32 u64);

impl FromSql for bool {
    fn from_sql(value: ValueRef<'_>) -> Option<bool> {
        i64::from_sql(value).map(|number| number != 0)
    }
}

impl FromSql for f64 {
    #[allow(clippy::cast_precision_loss)] // shares and scales are small
    fn from_sql(value: ValueRef<'_>) -> Option<f64> {
        match value {
            ValueRef::Real(number) => Some(number),
            ValueRef::Integer(number) => Some(number as f64),
            _ => None,
        }
    }
}

impl FromSql for String {
    fn from_sql(value: ValueRef<'_>) -> Option<String> {
        match value {
            ValueRef::Text(text) => Some(text.to_owned()),
            _ => None,
        }
    }
}

impl FromSql for Vec<u8> {
    fn from_sql(value: ValueRef<'_>) -> Option<Vec<u8>> {
        match value {
            ValueRef::Blob(bytes) => Some(bytes.to_vec()),
            _ => None,
        }
    }
}

impl<const N: usize> FromSql for [u8; N] {
    fn from_sql(value: ValueRef<'_>) -> Option<[u8; N]> {
        match value {
            ValueRef::Blob(bytes) => bytes.try_into().ok(),
            _ => None,
        }
    }
}

impl<T: FromSql> FromSql for Option<T> {
    fn from_sql(value: ValueRef<'_>) -> Option<Option<T>> {
        match value {
            ValueRef::Null => Some(None),
            value => T::from_sql(value).map(Some),
        }
    }
}

/// One row of an answer.
pub(super) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r tokio_postgres::Row),
}

impl Row<'_> {
    fn value(&self, column: usize) -> Result<ValueRef<'_>> {
        match self {
            Row::Sqlite(row) => sqlite::value(row, column),
            Row::Postgres(row) => postgres::value(row, column),
        }
    }

    /// What a column holds.
    pub(super) fn get<T: FromSql>(&self, column: usize) -> Result<T> {
        let value = self.value(column)?;
        T::from_sql(value).ok_or_else(|| SqlError::Column(column, value.kind()))
    }

    /// The text that a column holds, where it lies.
    pub(super) fn text(&self, column: usize) -> Result<&str> {
        match self.value(column)? {
            ValueRef::Text(text) => Ok(text),
            other => Err(SqlError::Column(column, other.kind())),
        }
    }
}

/// The rows of an answer, one after another.
pub(super) enum Rows<'s> {
    Sqlite(rusqlite::Rows<'s>),
    Postgres(Vec<tokio_postgres::Row>, usize),
}

impl Rows<'_> {
    /// The next one; none after the last.
    pub(super) fn next(&mut self) -> Result<Option<Row<'_>>> {
        match self {
            Rows::Sqlite(rows) => Ok(rows.next()?.map(Row::Sqlite)),
            Rows::Postgres(rows, at) => {
                *at += 1;
                Ok(rows.get(*at - 1).map(Row::Postgres))
            }
        }
    }
}

/// The rows of an answer, each made into something.
pub(super) struct Mapped<'s, F> {
    rows: Rows<'s>,
    make: F,
}

impl<T, F: FnMut(&Row<'_>) -> Result<T>> Iterator for Mapped<'_, F> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        match self.rows.next() {
            Ok(row) => row.map(|row| (self.make)(&row)),
            Err(error) => Some(Err(error)),
        }
    }
}

/// A statement that the database has understood.
pub(super) enum Statement<'c> {
    Sqlite(rusqlite::CachedStatement<'c>),
    Postgres(postgres::Prepared<'c>),
}

impl Statement<'_> {
    /// Runs it; says how many rows it wrote.
    pub(super) fn execute(&mut self, values: impl Params) -> Result<usize> {
        values.give(|values| match self {
            Statement::Sqlite(statement) => sqlite::execute(statement, values),
            Statement::Postgres(statement) => statement.execute(values),
        })
    }

    /// Asks it.
    pub(super) fn query(&mut self, values: impl Params) -> Result<Rows<'_>> {
        values.give(|values| match self {
            Statement::Sqlite(statement) => sqlite::query(statement, values).map(Rows::Sqlite),
            Statement::Postgres(statement) => statement.query(values).map(|rows| Rows::Postgres(rows, 0)),
        })
    }

    /// Asks it, and makes each row into something.
    pub(super) fn query_map<T, F>(&mut self, values: impl Params, make: F) -> Result<Mapped<'_, F>>
    where
        F: FnMut(&Row<'_>) -> Result<T>,
    {
        Ok(Mapped { rows: self.query(values)?, make })
    }

    /// Asks it for its first row.
    pub(super) fn query_row<T>(&mut self, values: impl Params, make: impl FnOnce(&Row<'_>) -> Result<T>) -> Result<T> {
        make(&self.query(values)?.next()?.ok_or(SqlError::NoRow)?)
    }
}

/// A connection to the database.
pub(super) enum Connection {
    Sqlite(rusqlite::Connection),
    Postgres(postgres::Session),
}

impl Connection {
    /// Makes a statement ready; it stays so for the next time.
    pub(super) fn prepare_cached(&self, sql: &str) -> Result<Statement<'_>> {
        match self {
            Connection::Sqlite(connection) => Ok(Statement::Sqlite(connection.prepare_cached(sql)?)),
            Connection::Postgres(session) => Ok(Statement::Postgres(session.prepare(sql)?)),
        }
    }

    /// Runs a statement; says how many rows it wrote.
    pub(super) fn execute(&self, sql: &str, values: impl Params) -> Result<usize> {
        self.prepare_cached(sql)?.execute(values)
    }

    /// Asks for the first row of an answer.
    pub(super) fn query_row<T>(
        &self,
        sql: &str,
        values: impl Params,
        make: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.prepare_cached(sql)?.query_row(values, make)
    }

    /// Whether a transaction is under way.
    pub(super) fn is_in_transaction(&self) -> bool {
        match self {
            Connection::Sqlite(connection) => !connection.is_autocommit(),
            Connection::Postgres(session) => session.is_open(),
        }
    }

    /// Does work that ends as interrupted when it takes longer.
    pub(super) fn within<T>(&mut self, time: Duration, work: impl FnOnce(&Connection) -> T) -> Result<T> {
        match self {
            Connection::Sqlite(connection) => sqlite::limit(connection, time)?,
            Connection::Postgres(session) => session.limit(time)?,
        }
        let outcome = work(self);
        match self {
            Connection::Sqlite(connection) => sqlite::unlimited(connection)?,
            Connection::Postgres(session) => session.end(false)?,
        }
        Ok(outcome)
    }

    /// Does work that sees everything as it is at one moment.
    pub(super) fn at_one_moment<T, E: From<SqlError>>(
        &self,
        work: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        match self {
            Connection::Sqlite(_) => self.execute_batch("BEGIN")?,
            Connection::Postgres(session) => session.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?,
        }
        let outcome = work();
        match self {
            Connection::Sqlite(_) => self.execute_batch("COMMIT")?,
            Connection::Postgres(session) => session.end(false)?,
        }
        outcome
    }

    /// Runs statements that have no values.
    pub(super) fn execute_batch(&self, sql: &str) -> Result<()> {
        match self {
            Connection::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Connection::Postgres(session) => session.batch(sql),
        }
    }
}

/// Where no row is an answer, too.
pub(super) trait Optional<T> {
    /// None in the place of no row.
    fn optional(self) -> Result<Option<T>>;
}

impl<T> Optional<T> for Result<T> {
    fn optional(self) -> Result<Option<T>> {
        match self {
            Err(SqlError::NoRow) => Ok(None),
            other => other.map(Some),
        }
    }
}

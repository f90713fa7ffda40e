//! What the two databases disagree in, where one statement cannot serve both. The search for words stands in
//! [`super::fulltext`], placeholders and keywords in `postgres/translate.rs`.

use super::postgres;
use super::sql::{Connection, Result};

/// Numbers of records that SQLite's search looks through between two looks at the clock, which FTS5 never looks at.
const WINDOW: i64 = 250_000;
/// Records behind a sink that PostgreSQL counts, one by one.
const COUNTED: u32 = 1_000_000;

impl Connection {
    /// What stands behind a question about rows that are changed upon its answer.
    pub(super) fn locking(&self) -> &'static str {
        match self {
            Connection::Sqlite(_) => "", // there is one writer
            Connection::Postgres(_) => "FOR UPDATE",
        }
    }

    /// The same, for rows that are left alone while somebody else changes them.
    pub(super) fn skipping(&self) -> &'static str {
        match self {
            Connection::Sqlite(_) => "",
            Connection::Postgres(_) => "FOR UPDATE SKIP LOCKED",
        }
    }

    /// A column of text that is compared without regard to the case of Latin letters; it is held against small ones.
    pub(super) fn caseless(&self, column: &str) -> String {
        match self {
            Connection::Sqlite(_) => format!("{column} COLLATE NOCASE"),
            Connection::Postgres(_) => format!("lower({column})"),
        }
    }

    /// Whether a column of JSON has `true` under a name.
    pub(super) fn is_true(&self, column: &str, name: &str) -> String {
        match self {
            Connection::Sqlite(_) => format!("coalesce({column} ->> '$.{name}', FALSE)"),
            Connection::Postgres(_) => format!("CAST({column} AS json) ->> '{name}' = 'true'"),
        }
    }

    /// A join whose first table is read first: SQLite has to be told.
    pub(super) fn join(&self) -> &'static str {
        match self {
            Connection::Sqlite(_) => "CROSS JOIN",
            Connection::Postgres(_) => "JOIN",
        }
    }

    /// Whether a bit of a column is set, in the words of the index over it.
    pub(super) fn has_bit(&self, column: &str, bit: i64) -> String {
        match self {
            Connection::Sqlite(_) => format!("{column} & {bit}"),
            Connection::Postgres(_) => format!("{column} & {bit} <> 0"),
        }
    }

    /// Makes whoever does the same wait until this transaction ends, so that numbers are seen in the order in which
    /// they rise.
    pub(super) fn in_order(&self) -> Result<()> {
        match self {
            Connection::Sqlite(_) => Ok(()),
            Connection::Postgres(session) => postgres::in_order(session),
        }
    }

    /// Says that this transaction will store records.
    pub(super) fn take_numbers(&self) -> Result<()> {
        match self {
            Connection::Sqlite(_) => Ok(()),
            Connection::Postgres(session) => postgres::take_numbers(session),
        }
    }

    /// The number up to which every record is there that ever will be.
    pub(super) fn horizon(&self) -> Result<i64> {
        match self {
            Connection::Sqlite(_) => Ok(i64::MAX),
            Connection::Postgres(session) => postgres::horizon(session),
        }
    }

    /// How many records lie behind a position that stands in a column. SQLite's numbers have gaps where retention made
    /// them only, so that there it is the most that they can be.
    pub(super) fn behind(&self, position: &str) -> String {
        match self {
            Connection::Sqlite(_) => format!("max(0, coalesce((SELECT max(number) FROM records), 0) - {position})"),
            Connection::Postgres(_) => format!(
                "(SELECT count(*) FROM (SELECT 1 FROM records WHERE number > {position} LIMIT {COUNTED}) AS behind)"
            ),
        }
    }

    /// How far down from a record's number a search looks at once.
    pub(super) fn window(&self, until: i64) -> i64 {
        match self {
            Connection::Sqlite(_) => until - WINDOW,
            Connection::Postgres(_) => postgres::first_of_day(until),
        }
    }
}

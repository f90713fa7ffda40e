//! Records are kept in a partition for each day on which they were received.
//!
//! Their numbers say the day: its number since 1970 stands above the lower [`BITS`]. So numbers rise for ever, and
//! whatever looks records up by number looks into one partition. Numbers are handed out by one sequence, which is moved
//! on to each day's first number when the day has come by the clock of the server; a clock that was set back changes
//! nothing.
//!
//! Several collectors commit in another order than they take numbers in. Whoever follows the records by number must not
//! pass one that is still to be committed: every transaction holds an advisory lock, shared, by the last number that was
//! given before its own, from before it takes one until it ends; up to the lowest of these all is there or never will be.

use super::super::StoreError;
use super::super::sql::{self, SqlError};
use super::Session;

/// So many bits count the records of a day. With those of the day a number stays below 2^53, which JSON keeps exactly.
const BITS: u32 = 36;
/// For so many days partitions are made ahead.
const AHEAD: i64 = 7;
/// First key of the lock of whoever makes partitions or moves the sequence on.
const TURN: i32 = 0x7669_7404;
/// Tables that are cut by day.
const TABLES: [&str; 2] = ["records", "record_text"];

/// The first number that is not of a day.
const fn first(day: i64) -> i64 {
    day << BITS
}

/// The first number of the day that a record was received on.
pub(in crate::store) fn first_of_day(number: i64) -> i64 {
    first(number >> BITS)
}

/// Makes partitions for today and the days to come, and moves the sequence to today.
pub(super) fn prepare(session: &Session) -> Result<(), StoreError> {
    // It waits for writes under way, and those that come for it: not for long.
    session.begin(&format!("BEGIN; SET LOCAL lock_timeout = '3s'; SELECT pg_advisory_xact_lock({TURN}, 0)"))?;
    let done = make(session);
    session.end(done.is_ok())?;
    Ok(done?)
}

fn make(session: &Session) -> sql::Result<()> {
    let (last, today) = clock(session)?;
    let from = today.max(last >> BITS);
    for day in from..=from + AHEAD {
        for table in TABLES {
            let name = format!("{table}_{day}");
            if !exists(session, &name)? {
                session.batch(&format!(
                    "CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ({}) TO ({})",
                    first(day),
                    first(day + 1)
                ))?;
            }
        }
    }
    if last < first(today) {
        session.batch(&format!("SELECT setval('records_number', {})", first(today)))?;
    }
    Ok(())
}

/// The last number that was given, and today's day by the server's clock.
fn clock(session: &Session) -> sql::Result<(i64, i64)> {
    let query = session.prepare(
        "SELECT last_value, CAST(floor(extract(epoch FROM clock_timestamp()) / 86400) AS BIGINT) FROM records_number",
    )?;
    let rows = query.query(&[])?;
    let row = rows.first().ok_or(SqlError::NoRow)?;
    Ok((row.get(0), row.get(1)))
}

fn exists(session: &Session, table: &str) -> sql::Result<bool> {
    let rows = session.prepare("SELECT to_regclass($1) IS NOT NULL")?.query(&[&table])?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// Says, before the first number is taken in a transaction, that some will be.
pub(in crate::store) fn take_numbers(session: &Session) -> sql::Result<()> {
    let query = session.prepare(
        "SELECT last_value, CAST(floor(extract(epoch FROM clock_timestamp()) / 86400) AS BIGINT),
                pg_advisory_xact_lock_shared(last_value) FROM records_number",
    )?;
    let rows = query.query(&[])?;
    let row = rows.first().ok_or(SqlError::NoRow)?;
    let (last, today): (i64, i64) = (row.get(0), row.get(1));
    if last < first(today) {
        turn(session, today)?;
    }
    Ok(())
}

/// Moves the sequence to a day that has come. A day whose partition could not be made ahead has its records among those
/// of the day before.
fn turn(session: &Session, today: i64) -> sql::Result<()> {
    session.batch(&format!("SELECT pg_advisory_xact_lock({TURN}, 0)"))?;
    for table in TABLES {
        if !exists(session, &format!("{table}_{today}"))? {
            tracing::error!(day = today, "there is no partition for today's records: they lie with those of before");
            return Ok(());
        }
    }
    session.batch(&format!(
        "SELECT setval('records_number', {0}) FROM records_number WHERE last_value < {0}",
        first(today)
    ))
}

/// The number up to which everything is there that ever will be.
pub(in crate::store) fn horizon(session: &Session) -> sql::Result<i64> {
    // In this order: whoever takes a number after the first question takes one above its answer, and whoever took one
    // before and still is at it holds a lock that the second finds.
    let (last, _) = clock(session)?;
    let query = session.prepare(
        "SELECT min((CAST(classid AS BIGINT) << 32) | CAST(objid AS BIGINT)) FROM pg_locks
         WHERE locktype = 'advisory' AND objsubid = 1
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )?;
    let rows = query.query(&[])?;
    let lowest: Option<i64> = rows.first().ok_or(SqlError::NoRow)?.get(0);
    Ok(lowest.map_or(last, |lowest| lowest.min(last)))
}

/// Drops the days of which every record was received before a time (milliseconds since 1970), belongs to no open alert
/// and has gone to every sink; and days that are empty. Says how many records went.
pub(super) fn drop_old(session: &Session, before: i64) -> Result<u64, StoreError> {
    let query = session.prepare(
        "SELECT CAST(CAST(inhrelid AS regclass) AS text) FROM pg_inherits WHERE inhparent = CAST('records' AS regclass)
         ORDER BY 1",
    )?;
    let (last, today) = clock(session)?;
    let mut dropped = 0;
    for row in query.query(&[])? {
        let table: String = row.get(0);
        let Some(day) = table.strip_prefix("records_").and_then(|day| day.parse::<i64>().ok()) else { continue };
        if day < today.min(last >> BITS) && is_over(session, &table, before)? {
            dropped += drop_day(session, day)?;
        }
    }
    Ok(dropped)
}

fn is_over(session: &Session, table: &str, before: i64) -> sql::Result<bool> {
    let query = session.prepare(&format!(
        "SELECT NOT EXISTS (SELECT 1 FROM {table} WHERE severity BETWEEN 0 AND 99 AND received >= ?)
            AND NOT EXISTS (SELECT 1 FROM {table} AS old JOIN alerts ON alerts.id = old.alert WHERE state = 'open')
            AND coalesce((SELECT max(number) FROM {table}) <= ALL
                (SELECT position FROM sinks WHERE active UNION ALL SELECT upto FROM summed), TRUE)"
    ))?;
    let rows = query.query(&[&before])?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

fn drop_day(session: &Session, day: i64) -> Result<u64, StoreError> {
    // What lists know of the records goes little by little, so that nobody waits for it.
    let links = session.prepare(
        "DELETE FROM object_records WHERE (record, object) IN
         (SELECT record, object FROM object_records WHERE record >= ? AND record < ? LIMIT 1000)",
    )?;
    while links.execute(&[&first(day), &first(day + 1)])? > 0 {}
    let rows = session.prepare(&format!("SELECT count(*) FROM records_{day}"))?.query(&[])?;
    let count: i64 = rows.first().ok_or(SqlError::NoRow)?.get(0);
    session.begin("BEGIN; SET LOCAL lock_timeout = '3s'")?;
    let done = session.batch(&format!("DROP TABLE record_text_{day}, records_{day}"));
    session.end(done.is_ok())?;
    done?;
    tracing::info!(day, records = count, "a day's records were dropped");
    Ok(u64::try_from(count).unwrap_or_default())
}

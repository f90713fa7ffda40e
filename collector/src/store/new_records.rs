//! Records on their way into the database: one by one into SQLite, which is in this process, and many with each
//! statement into PostgreSQL, which is not.

use super::StoreError;
use super::body::Body;
use super::sql::{Connection, Optional, ToSql, params};

/// How many rows one statement stores; what is left goes by the next smaller number, so that few statements are kept.
const AT_ONCE: [usize; 4] = [100, 25, 5, 1];

/// A record as it is to be stored.
pub(super) struct NewRecord {
    pub(super) agent: i64,
    pub(super) sequence: u64,
    pub(super) id: String,
    pub(super) time: i64,
    pub(super) received: i64,
    pub(super) severity: u8,
    pub(super) body: Body,
}

/// The records of one batch.
#[derive(Default)]
pub(super) struct NewRecords {
    /// Numbers to be given to records of PostgreSQL, the highest first.
    numbers: Vec<i64>,
    /// What is still to be stored there, with its number and alert.
    waiting: Vec<(i64, Option<i64>, NewRecord)>,
}

impl NewRecords {
    /// Begins to store so many records at most.
    pub(super) fn begin(connection: &Connection, count: usize) -> Result<NewRecords, StoreError> {
        let mut new = NewRecords::default();
        if let Connection::Postgres(_) = connection {
            connection.take_numbers()?;
            let mut query = connection.prepare_cached(
                "SELECT nextval('records_number') FROM generate_series(1, CAST(? AS BIGINT)) AS numbers",
            )?;
            let numbers = query.query_map([count as u64], |row| row.get(0))?;
            new.numbers = numbers.collect::<Result<_, _>>()?;
            new.numbers.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
        }
        Ok(new)
    }

    /// Stores a record, and gives its number; none where the agent has one of its sequence number already. `newer` says
    /// that its sequence number is higher than that of any other of the agent, whose row the transaction has locked.
    pub(super) fn add(
        &mut self,
        connection: &Connection,
        new: NewRecord,
        newer: bool,
    ) -> Result<Option<i64>, StoreError> {
        let sql = match connection {
            // Numbers rise even when retention has removed the last record: sums and sinks go by them.
            Connection::Sqlite(_) => {
                "INSERT INTO records (number, agent, sequence, id, time, received, severity, body)
                 SELECT 1 + max(coalesce((SELECT max(number) FROM records), 0), (SELECT removed FROM summed)),
                        ?, ?, ?, ?, ?, ?, ?
                 WHERE true ON CONFLICT (agent, sequence) DO NOTHING RETURNING number"
            }
            // No unique index spans the partitions; the lock on the agent's row serves in its place.
            Connection::Postgres(_) if newer => {
                if let Some(number) = self.numbers.pop() {
                    self.waiting.push((number, None, new));
                    return Ok(Some(number));
                }
                "INSERT INTO records (number, agent, sequence, id, time, received, severity, body)
                 VALUES (nextval('records_number'), ?, ?, ?, ?, ?, ?, ?) RETURNING number"
            }
            Connection::Postgres(_) => {
                self.write(connection)?;
                "INSERT INTO records (number, agent, sequence, id, time, received, severity, body)
                 SELECT nextval('records_number'), ?1, ?2, ?3, ?4, ?5, ?6, ?7
                 WHERE NOT EXISTS (SELECT 1 FROM records WHERE agent = ?1 AND sequence = ?2) RETURNING number"
            }
        };
        let NewRecord { agent, sequence, id, time, received, severity, body } = new;
        let values = params![agent, sequence, id, time, received, severity, body];
        Ok(connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?)
    }

    /// Says which alert a record belongs to.
    pub(super) fn belongs(&mut self, connection: &Connection, record: i64, to: i64) -> Result<(), StoreError> {
        if let Some((_, alert, _)) = self.waiting.iter_mut().rev().find(|(number, ..)| *number == record) {
            *alert = Some(to);
            return Ok(());
        }
        connection.prepare_cached("UPDATE records SET alert = ? WHERE number = ?")?.execute(params![to, record])?;
        Ok(())
    }

    /// Stores what waits.
    pub(super) fn write(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let mut rest = self.waiting.as_slice();
        for size in AT_ONCE {
            while rest.len() >= size {
                let (rows, after) = rest.split_at(size);
                insert(connection, rows)?;
                rest = after;
            }
        }
        self.waiting.clear();
        Ok(())
    }
}

fn insert(connection: &Connection, rows: &[(i64, Option<i64>, NewRecord)]) -> Result<(), StoreError> {
    let marks = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?)"; rows.len()].join(", ");
    let sql = format!(
        "INSERT INTO records (number, alert, agent, sequence, id, time, received, severity, body) VALUES {marks}"
    );
    let values: Vec<&dyn ToSql> = rows
        .iter()
        .flat_map(|(number, alert, new)| -> [&dyn ToSql; 9] {
            [number, alert, &new.agent, &new.sequence, &new.id, &new.time, &new.received, &new.severity, &new.body]
        })
        .collect();
    connection.execute(&sql, values.as_slice())?;
    Ok(())
}

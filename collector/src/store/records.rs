//! Records: stored once by agent and sequence, with what is missing between them.

use serde::Serialize;
use vitrine_policy::record::{Event, Record, SHUTDOWN, STARTED};

use super::alerts::Groups;
use super::body::Body;
use super::halting::Judged;
use super::letters::{self, Poison};
use super::new_records::{NewRecord, NewRecords};
use super::seals::Seals;
use super::sql::{Connection, Optional, params};
use super::{Sender, Store, StoreError, now, silent};

/// How far beyond the newest stored record the sequence of an unreadable line is believed.
const BELIEVED: u64 = 500;

/// One request's worth of records, read but not judged.
pub(crate) struct Batch {
    /// Who sent it.
    pub(crate) sender: Sender,
    /// The agent that all `records` name.
    pub(crate) agent: Option<String>,
    /// The records.
    pub(crate) records: Vec<Incoming>,
    /// Lines that are no records.
    pub(crate) poison: Vec<Poison>,
}

/// A line that is a record.
pub(crate) struct Incoming {
    /// Its number, from 1.
    pub(crate) line: usize,
    pub(crate) record: Record,
    /// The same, to be stored.
    pub(crate) body: Body,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Committed {
    /// Highest sequence number of the batch that is stored or laid aside for good; 0 if there is none.
    pub committed: u64,
    /// Lines that were laid aside as dead letters.
    pub rejected: Vec<Rejected>,
}

/// A line that was laid aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// Its number in the batch, from 1.
    pub line: usize,
    /// Why.
    pub reason: String,
}

impl Store {
    /// Stores a batch: new records once, known ones not again, unreadable lines as dead letters; notes
    /// gaps in the sequence, fills old ones, and raises alerts. All or nothing, on the disk on return.
    pub(crate) async fn append(&self, batch: Batch) -> Result<Committed, StoreError> {
        let rules = std::sync::Arc::clone(&self.rules);
        let (committed, armed) = self
            .write_beside(move |connection| {
                let mut groups = Groups::default();
                let committed = append(connection, batch, &mut groups)?;
                Ok((committed, groups.write(connection, &rules)?))
            })
            .await?;
        self.recorded.notify_waiters();
        if armed {
            self.armed.notify_waiters();
        }
        Ok(committed)
    }

    /// Sequence numbers that are stored of one agent, rising.
    ///
    /// # Errors
    /// The store fails.
    pub async fn sequences(&self, agent: &str) -> Result<Vec<u64>, StoreError> {
        let agent = agent.to_owned();
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT sequence FROM records JOIN agents ON agents.number = records.agent
                 WHERE agents.id = ? ORDER BY sequence",
            )?;
            let numbers = query.query_map([agent], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(numbers)
        })
        .await
    }
}

fn append(connection: &Connection, batch: Batch, groups: &mut Groups) -> Result<Committed, StoreError> {
    let received = now();
    let mut poison = batch.poison;
    let mut stream = None;
    let mut committed = 0;
    if let (Some(agent), Some(Incoming { record: newest, .. })) = (&batch.agent, batch.records.last()) {
        batch.sender.admit(connection, agent)?;
        stream = Some(Stream::of(connection, agent, newest, received)?);
    }
    if let Some(stream) = &mut stream {
        let mut seals = Seals::of(stream.number);
        let mut new = NewRecords::begin(connection, batch.records.len())?;
        for Incoming { line, record, body } in batch.records {
            committed = committed.max(record.sequence);
            match insert(connection, &mut new, stream, &record, body, received)? {
                Insert::New(number) => {
                    let before = stream.highest;
                    stream.saw(connection, record.sequence)?;
                    stream.judged.saw(&record);
                    if seals.check(connection, &record)? {
                        groups.tampered(connection, &record, before, received)?;
                    }
                    if let Event::Notice(notice) = &record.event
                        && let STARTED | SHUTDOWN = notice.code.as_str()
                        // One that comes late says how it was then.
                        && record.sequence > before
                    {
                        silent::goes(connection, stream.number, notice.code == SHUTDOWN)?;
                    }
                    if let Some(alert) = groups.add(connection, &record, number, received)? {
                        new.belongs(connection, number, alert)?;
                    }
                }
                Insert::Known => {}
                Insert::Another => {
                    // Perhaps two workstations, or one that was put back to an earlier state: somebody has to look.
                    groups.tampered(connection, &record, record.sequence.saturating_sub(1), received)?;
                    poison.push(Poison {
                        line,
                        reason: format!(
                            "record {} of this agent is stored already, with another id: its spool was reset or forged",
                            record.sequence
                        ),
                        sequence: None,
                        text: serde_json::to_vec(&record)?,
                    });
                }
            }
        }
        new.write(connection)?;
        seals.write(connection)?;
    }
    poison.sort_by_key(|poison| poison.line);
    let agent = batch.agent.as_deref().or(batch.sender.agent.as_deref()).unwrap_or_default();
    for letter in &poison {
        letters::lay_aside(connection, batch.sender.token, agent, letter, received)?;
        let (Some(stream), Some(sequence)) = (&mut stream, letter.sequence) else {
            continue;
        };
        // A damaged line may carry any number: one far from the others must not acknowledge what never came.
        if sequence > 0 && sequence <= stream.highest.saturating_add(BELIEVED) {
            stream.saw(connection, sequence)?;
            committed = committed.max(sequence);
        }
    }
    if let Some(stream) = stream {
        stream.write(connection, groups, received)?;
    }
    let rejected = poison.into_iter().map(|letter| Rejected { line: letter.line, reason: letter.reason }).collect();
    Ok(Committed { committed, rejected })
}

enum Insert {
    New(i64),
    Known,
    Another,
}

fn insert(
    connection: &Connection,
    records: &mut NewRecords,
    stream: &Stream,
    record: &Record,
    body: Body,
    received: i64,
) -> Result<Insert, StoreError> {
    let new = NewRecord {
        agent: stream.number,
        sequence: record.sequence,
        id: record.id.clone(),
        time: record.time,
        received,
        severity: record.event.severity() as u8,
        body,
    };
    if let Some(number) = records.add(connection, new, record.sequence > stream.highest)? {
        return Ok(Insert::New(number));
    }
    let id: String = connection
        .prepare_cached("SELECT id FROM records WHERE agent = ? AND sequence = ?")?
        .query_row(params![stream.number, record.sequence], |row| row.get(0))?;
    Ok(if id == record.id { Insert::Known } else { Insert::Another })
}

/// One agent's stream of sequence numbers, contiguous from 1 where nothing is lost.
struct Stream {
    number: i64,
    agent: String,
    host: String,
    highest: u64,
    before: u64,
    touched: bool,
    judged: Judged,
}

impl Stream {
    fn of(connection: &Connection, agent: &str, newest: &Record, received: i64) -> Result<Stream, StoreError> {
        let number = super::hosts::see(connection, agent, &newest.host.name, received)?;
        let highest = connection
            .prepare_cached("SELECT highest FROM agents WHERE number = ?")?
            .query_row([number], |row| row.get(0))?;
        let host = newest.host.name.clone();
        Ok(Stream {
            number,
            agent: agent.into(),
            host,
            highest,
            before: highest,
            touched: false,
            judged: Judged::default(),
        })
    }

    /// Takes note of a number: what lies between it and the highest so far is missing, and if it was
    /// missing itself, it no longer is.
    fn saw(&mut self, connection: &Connection, sequence: u64) -> Result<(), StoreError> {
        if sequence > self.highest {
            if sequence > self.highest + 1 {
                self.miss(connection, self.highest + 1, sequence - 1)?;
            }
            self.highest = sequence;
            return Ok(());
        }
        let gap: Option<(u64, u64)> = connection
            .prepare_cached("SELECT first, last FROM gaps WHERE agent = ?1 AND first <= ?2 AND last >= ?2")?
            .query_row(params![self.number, sequence], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((first, last)) = gap {
            connection
                .prepare_cached("DELETE FROM gaps WHERE agent = ? AND first = ?")?
                .execute(params![self.number, first])?;
            self.touched = true;
            if first < sequence {
                self.miss(connection, first, sequence - 1)?;
            }
            if sequence < last {
                self.miss(connection, sequence + 1, last)?;
            }
        }
        Ok(())
    }

    fn miss(&mut self, connection: &Connection, first: u64, last: u64) -> Result<(), StoreError> {
        self.touched = true;
        connection.prepare_cached("INSERT INTO gaps (agent, first, last) VALUES (?, ?, ?)")?.execute(params![
            self.number,
            first,
            last
        ])?;
        Ok(())
    }

    fn write(self, connection: &Connection, groups: &mut Groups, received: i64) -> Result<(), StoreError> {
        if self.highest != self.before {
            connection
                .prepare_cached("UPDATE agents SET highest = ? WHERE number = ?")?
                .execute(params![self.highest, self.number])?;
        }
        self.judged.write(connection, self.number, received)?;
        if self.touched {
            let missing: u64 = connection
                .prepare_cached("SELECT CAST(coalesce(sum(last - first + 1), 0) AS BIGINT) FROM gaps WHERE agent = ?")?
                .query_row([self.number], |row| row.get(0))?;
            groups.missing(connection, &self.agent, &self.host, missing, received)?;
        }
        Ok(())
    }
}

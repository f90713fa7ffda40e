//! What users ask a second person to approve, and what that person answers. All of it lies in the database, so that any
//! collector takes a request, shows it and hands out the answer.

use std::sync::Arc;

use serde::Serialize;
use vitrine_policy::approval::{Answer, Asked, Request, State};

use super::alerts::{self, Groups};
use super::audit::{self, Actor, Kind};
use super::sql::{self, Connection, Optional, Row, params};
use super::{Sender, Store, StoreError, now};
use crate::alert::Alert;
use crate::alert::text::line;

/// Requests of one agent that may wait for an answer; an agent keeps no more of them.
const WAITING: i64 = 16;
/// Requests that it may bring in an hour.
const HOURLY: i64 = 60;
const HOUR: i64 = 3_600_000;
/// Requests of all agents that may wait.
const ALL: i64 = 2000;
/// Longest name in the audit log, in characters.
const TEXT: usize = 300;

/// Why a request is not taken.
#[derive(Debug)]
pub(crate) enum Unasked {
    /// There is another one of this id.
    Other,
    /// There are too many; in how many seconds there may be room.
    TooMany(String, u32),
}

/// Why an answer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    /// There is none of this number.
    #[error("no such request")]
    Unknown,
    /// Somebody was first, or its time is over.
    #[error("this request was answered already, or its time is over")]
    Over,
    /// Whoever answers is whoever asks.
    #[error("you asked for this yourself: a second person has to answer")]
    Own,
}

/// A request, as it is shown.
#[derive(Debug, Serialize)]
pub struct Approval {
    /// Its number.
    pub number: i64,
    /// Name of the workstation; its agent's id while that is not known.
    pub host: String,
    /// What is asked.
    pub request: Request,
    /// When it came, in milliseconds since 1970.
    pub received: i64,
    /// Until when it may be answered.
    pub expires: i64,
    /// How it stands.
    pub state: State,
    /// When it was answered.
    pub answered: Option<i64>,
    /// By whom.
    pub answered_by: Option<String>,
    /// What else he said.
    pub note: String,
    /// When the workstation learned of the answer.
    pub told: Option<i64>,
}

/// Which wait at a time, the first value of a statement.
const WAIT: &str = "state = 'pending' AND expires > ?1";
const COLUMNS: &str = "number, coalesce((SELECT host FROM agents WHERE agents.id = agent), agent), body, received, expires, \
                       state, answered, answered_by, note, told";

/// How it stands, at a time.
fn state(kept: &str, expires: i64, at: i64) -> State {
    match kept {
        "approved" => State::Approved,
        "denied" => State::Denied,
        _ if expires <= at => State::Expired,
        _ => State::Pending,
    }
}

/// A row; none of a newer collector's.
fn read(row: &Row<'_>, at: i64) -> sql::Result<Option<Approval>> {
    let Ok(request) = serde_json::from_str(row.text(2)?) else { return Ok(None) };
    let expires = row.get(4)?;
    Ok(Some(Approval {
        number: row.get(0)?,
        host: row.get(1)?,
        request,
        received: row.get(3)?,
        expires,
        state: state(row.text(5)?, expires, at),
        answered: row.get(6)?,
        answered_by: row.get(7)?,
        note: row.get(8)?,
        told: row.get(9)?,
    }))
}

/// A request, as its agent asks for it.
struct Kept {
    number: i64,
    expires: i64,
    told: Option<i64>,
    answer: Answer,
}

fn find(connection: &Connection, agent: &str, id: &str, at: i64) -> Result<Option<Kept>, StoreError> {
    let sql = "SELECT number, expires, told, fingerprint, state, answered, answered_by, note FROM approvals
               WHERE agent = ? AND request = ?";
    let found = connection.prepare_cached(sql)?.query_row([agent, id], |row| {
        let expires = row.get(1)?;
        let answer = Answer {
            id: id.to_owned(),
            fingerprint: row.get(3)?,
            state: state(row.text(4)?, expires, at),
            by: row.get(6)?,
            at: row.get(5)?,
            note: row.get(7)?,
        };
        Ok(Kept { number: row.get(0)?, expires, told: row.get(2)?, answer })
    });
    Ok(found.optional()?)
}

fn count(connection: &Connection, what: &str, values: &[&dyn sql::ToSql]) -> Result<i64, StoreError> {
    let sql = format!("SELECT count(*) FROM approvals WHERE {what}");
    Ok(connection.prepare_cached(&sql)?.query_row(values, |row| row.get(0))?)
}

/// What the agent is told of a request, which is noted. An answer that it did not fetch in time is none any more.
fn hand_out(connection: &Connection, kept: Kept, at: i64) -> Result<Answer, StoreError> {
    let Kept { number, expires, told, answer } = kept;
    if told.is_some() || !matches!(answer.state, State::Approved | State::Denied) {
        return Ok(answer);
    }
    if expires <= at {
        return Ok(Answer { state: State::Expired, by: None, at: None, note: String::new(), ..answer });
    }
    connection
        .prepare_cached("UPDATE approvals SET told = ? WHERE number = ? AND told IS NULL")?
        .execute(params![at, number])?;
    Ok(answer)
}

/// Keeps a new request, with the alert that is to be raised; one that is there already has none.
fn take(
    connection: &Connection,
    sender: &Sender,
    asked: Asked,
) -> Result<Result<(Answer, Option<Groups>), Unasked>, StoreError> {
    let Asked { request, left } = asked;
    sender.admit(connection, &request.agent)?;
    let (at, fingerprint) = (now(), request.fingerprint()?);
    if let Some(kept) = find(connection, &request.agent, &request.id, at)? {
        if kept.answer.fingerprint != fingerprint {
            return Ok(Err(Unasked::Other));
        }
        return Ok(Ok((hand_out(connection, kept, at)?, None)));
    }
    if count(connection, &format!("{WAIT} AND agent = ?2"), params![at, request.agent])? >= WAITING {
        let why = format!("{WAITING} requests of this agent wait for an answer");
        return Ok(Err(Unasked::TooMany(why, 60)));
    }
    if count(connection, "agent = ? AND received > ?", params![request.agent, at - HOUR])? >= HOURLY {
        return Ok(Err(Unasked::TooMany(format!("this agent has asked {HOURLY} times within an hour"), 600)));
    }
    if count(connection, WAIT, params![at])? >= ALL {
        return Ok(Err(Unasked::TooMany(format!("{ALL} requests wait for an answer"), 60)));
    }
    let left = i64::try_from(left.min(request.lasts).saturating_mul(1000)).unwrap_or(0);
    let (body, expires) = (serde_json::to_string(&request)?, at.saturating_add(left));
    let number: i64 = connection
        .prepare_cached(
            "INSERT INTO approvals (agent, request, fingerprint, body, received, expires)
             VALUES (?, ?, ?, ?, ?, ?) RETURNING number",
        )?
        .query_row(params![request.agent, request.id, fingerprint, body, at, expires], |row| row.get(0))?;
    let host: Option<String> = connection
        .prepare_cached("SELECT host FROM agents WHERE id = ?")?
        .query_row([&request.agent], |row| row.get(0))
        .optional()?;
    let mut groups = Groups::default();
    let host = host.unwrap_or_else(|| request.agent.clone());
    let alert = groups.raise(connection, Alert::asked(number, &host, &request, at))?;
    connection.prepare_cached("UPDATE approvals SET alert = ? WHERE number = ?")?.execute([alert, number])?;
    let (state, by, at, note) = (State::Pending, None, None, String::new());
    Ok(Ok((Answer { id: request.id, fingerprint, state, by, at, note }, Some(groups))))
}

impl Store {
    /// Keeps a request that is within its limits, and raises an alert; one that is there already is left as it is. Says
    /// how it stands.
    pub(crate) async fn ask_approval(
        &self,
        sender: Sender,
        asked: Asked,
    ) -> Result<Result<Answer, Unasked>, StoreError> {
        let rules = Arc::clone(&self.rules);
        let (outcome, armed) = self
            .write(move |connection| {
                Ok(match take(connection, &sender, asked)? {
                    Ok((answer, None)) => (Ok(answer), false),
                    Ok((answer, Some(groups))) => (Ok(answer), groups.write(connection, &rules)?),
                    Err(unasked) => (Err(unasked), false),
                })
            })
            .await?;
        if armed {
            self.armed.notify_waiters();
        }
        Ok(outcome)
    }

    /// How it stands with a request of an agent. An answer that it did not fetch in time is none any more.
    pub(crate) async fn approval_of(&self, agent: String, id: String) -> Result<Option<Answer>, StoreError> {
        let of = (agent.clone(), id.clone());
        let found = self.read(move |connection| find(connection, &of.0, &of.1, now())).await?;
        let Some(kept) = found else { return Ok(None) };
        let answered = matches!(kept.answer.state, State::Approved | State::Denied);
        if !answered || kept.told.is_some() {
            return Ok(Some(kept.answer));
        }
        self.write(move |connection| {
            let at = now();
            let kept = find(connection, &agent, &id, at)?;
            kept.map(|kept| hand_out(connection, kept, at)).transpose()
        })
        .await
    }

    /// Answers a request that waits, once; it is an entry of the audit log.
    pub(crate) async fn answer_approval(
        &self,
        by: String,
        number: i64,
        approves: bool,
        note: String,
    ) -> Result<Result<(), Unanswered>, StoreError> {
        self.write(move |connection| {
            let at = now();
            let sql = format!("SELECT {COLUMNS} FROM approvals WHERE number = ?");
            let found = connection.prepare_cached(&sql)?.query_row([number], |row| read(row, at)).optional()?;
            let Some(approval) = found.flatten() else { return Ok(Err(Unanswered::Unknown)) };
            if approval.state != State::Pending {
                return Ok(Err(Unanswered::Over));
            }
            if approval.is_of(&by) {
                return Ok(Err(Unanswered::Own));
            }
            let state = if approves { "approved" } else { "denied" };
            connection
                .prepare_cached(
                    "UPDATE approvals SET state = ?, answered = ?, answered_by = ?, note = ? WHERE number = ?",
                )?
                .execute(params![state, at, by, note, number])?;
            let Approval { request, host, .. } = approval;
            let user = request.user.as_ref().map_or("somebody", |user| user.name.as_str());
            let note = if note.is_empty() { note } else { format!("; note: {note}") };
            let detail = format!(
                "{state}: {} on {} may take {} ({}) to {}; reason: {}{note}; request {}, fingerprint {}",
                line(user, TEXT),
                line(&host, TEXT),
                line(&request.file, TEXT),
                line(&request.tier, TEXT),
                line(&request.destination, TEXT),
                line(&request.reason, TEXT * 2),
                request.id,
                request.fingerprint()?
            );
            let alert: Option<i64> = connection
                .prepare_cached("SELECT alert FROM approvals WHERE number = ?")?
                .query_row([number], |row| row.get(0))?;
            if let Some(alert) = alert {
                alerts::change(connection, alert, |alert| alert.answered(&by, approves, at))?;
            }
            audit::append(connection, &Actor::User(by), Kind::Approval, &format!("approval {number}"), &detail)?;
            Ok(Ok(()))
        })
        .await
    }

    /// Requests that wait, the oldest first, and those that are over, the latest first; at most so many of each.
    ///
    /// # Errors
    /// The store fails.
    pub async fn approvals(&self, limit: u32) -> Result<(Vec<Approval>, Vec<Approval>), StoreError> {
        self.read(move |connection| {
            let at = now();
            let list = |which: &str, order: &str| -> Result<Vec<Approval>, StoreError> {
                let sql = format!("SELECT {COLUMNS} FROM approvals WHERE {which} ORDER BY number {order} LIMIT ?2");
                let mut query = connection.prepare_cached(&sql)?;
                let found = query.query_map(params![at, limit], |row| read(row, at))?;
                Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
            };
            let waiting = list(WAIT, "ASC")?;
            Ok((waiting, list("(state <> 'pending' OR expires <= ?1)", "DESC")?))
        })
        .await
    }

    /// How many requests wait.
    pub(crate) async fn count_approvals(&self) -> Result<u64, StoreError> {
        self.read(|connection| {
            let waiting = count(connection, WAIT, params![now()])?;
            Ok(u64::try_from(waiting).unwrap_or(0))
        })
        .await
    }

    /// Which of these thumbnails are kept.
    pub(crate) async fn kept_evidence(&self, digests: Vec<String>) -> Result<Vec<String>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM evidence WHERE digest = ?)")?;
            let mut kept = Vec::new();
            for digest in digests {
                if query.query_row([&digest], |row| row.get::<bool>(0))? {
                    kept.push(digest);
                }
            }
            Ok(kept)
        })
        .await
    }
}

impl Approval {
    /// Whether a user of the console has the name of whoever asks, with or without the domain of an address
    /// (`wen@museum.example`) or of a directory service (`MUSEUM\wen`, `MUSEUM+wen`).
    pub(crate) fn is_of(&self, user: &str) -> bool {
        let names = |name: &str| {
            let name = name.split('@').next().unwrap_or_default().to_lowercase();
            [name.rsplit(['\\', '+']).next().unwrap_or_default().to_owned(), name]
        };
        let mine = names(user);
        self.request.user.as_ref().is_some_and(|asker| names(&asker.name).iter().any(|name| mine.contains(name)))
    }
}

//! What the staff do with alerts, who did it and when; and the lists that each of them keeps at hand.

use super::audit::{self, Actor, Kind};
use super::sql::{Connection, params};
use super::{Store, StoreError, alerts, now, routed};
use crate::alert::{Acknowledgement, Alert, Closure, State, Verdict};

/// Views that one user may keep.
const VIEWS: i64 = 50;

/// What somebody does with an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Acknowledge,
    Close(Verdict),
    Reopen,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Acknowledge => "acknowledged",
            Step::Close(_) => "closed",
            Step::Reopen => "reopened",
        }
    }

    /// Takes the step; says whether it could be taken from where the alert was.
    fn take(self, alert: &mut Alert, by: &str, at: i64, note: &str) -> bool {
        match (self, alert.state) {
            (Step::Acknowledge, State::Open) => {
                alert.state = State::Acknowledged;
                alert.acknowledged = Some(Acknowledgement { by: by.into(), at, note: note.into() });
            }
            (Step::Close(verdict), State::Open | State::Acknowledged | State::Resolved) => {
                alert.state = State::Closed;
                alert.closed = Some(Closure { by: by.into(), at, verdict, note: note.into() });
            }
            (Step::Reopen, State::Acknowledged | State::Closed) => {
                alert.state = State::Open;
                alert.acknowledged = None;
                alert.closed = None;
            }
            _ => return false,
        }
        true
    }
}

/// One step that was taken.
pub(crate) struct TriageEntry {
    pub(crate) at: i64,
    pub(crate) user: String,
    pub(crate) step: String,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) note: String,
}

/// A list that a user keeps at hand.
pub(crate) struct View {
    pub(crate) name: String,
    /// The part of the list's address behind `?`.
    pub(crate) query: String,
}

impl Store {
    /// Takes a step with each of these alerts that it can be taken with; says with how many.
    pub(crate) async fn triage(
        &self,
        ids: Vec<i64>,
        step: Step,
        by: String,
        note: String,
    ) -> Result<usize, StoreError> {
        let rules = std::sync::Arc::clone(&self.rules);
        let (taken, armed) = self
            .write(move |connection| {
                let (mut taken, mut armed) = (0, false);
                for id in ids {
                    let Some(alert) = triage(connection, id, step, &by, &note)? else {
                        continue;
                    };
                    taken += 1;
                    if step == Step::Reopen {
                        armed |= routed::reopen(connection, &rules, &alert)?;
                    }
                }
                Ok((taken, armed))
            })
            .await?;
        if armed {
            self.armed.notify_waiters();
        }
        Ok(taken)
    }

    /// What was done with an alert, oldest first.
    pub(crate) async fn history(&self, alert: i64) -> Result<Vec<TriageEntry>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT at, user, step, verdict, note FROM triage WHERE alert = ? ORDER BY number LIMIT 200",
            )?;
            let entries = query.query_map([alert], |row| {
                Ok(TriageEntry {
                    at: row.get(0)?,
                    user: row.get(1)?,
                    step: row.get(2)?,
                    verdict: row.get::<Option<u8>>(3)?.and_then(Verdict::of),
                    note: row.get(4)?,
                })
            })?;
            Ok(entries.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The views of a user, by name.
    pub(crate) async fn views(&self, user: String) -> Result<Vec<View>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached("SELECT name, query FROM views WHERE user = ? ORDER BY name")?;
            let views = query.query_map([user], |row| Ok(View { name: row.get(0)?, query: row.get(1)? }))?;
            Ok(views.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Keeps a view, in place of one of the same name; says whether there was room.
    pub(crate) async fn keep_view(&self, user: String, view: View) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let others: i64 = connection
                .prepare_cached("SELECT count(*) FROM views WHERE user = ? AND name <> ?")?
                .query_row(params![user, view.name], |row| row.get(0))?;
            if others >= VIEWS {
                return Ok(false);
            }
            connection
                .prepare_cached(
                    "INSERT INTO views (user, name, query) VALUES (?, ?, ?)
                     ON CONFLICT (user, name) DO UPDATE SET query = excluded.query",
                )?
                .execute(params![user, view.name, view.query])?;
            Ok(true)
        })
        .await
    }

    /// Forgets a view.
    pub(crate) async fn forget_view(&self, user: String, name: String) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection.prepare_cached("DELETE FROM views WHERE user = ? AND name = ?")?.execute([user, name])?;
            Ok(())
        })
        .await
    }
}

/// Takes a step with an alert, and gives the alert if it could be taken.
fn triage(connection: &Connection, id: i64, step: Step, by: &str, note: &str) -> Result<Option<Alert>, StoreError> {
    let Some(mut alert) = alerts::find(connection, id)? else {
        return Ok(None);
    };
    let at = now();
    if !step.take(&mut alert, by, at, note) {
        return Ok(None);
    }
    alerts::write(connection, &alert)?;
    let verdict = match step {
        Step::Close(verdict) => Some(verdict.id()),
        Step::Acknowledge | Step::Reopen => None,
    };
    connection
        .prepare_cached("INSERT INTO triage (alert, at, user, step, verdict, note) VALUES (?, ?, ?, ?, ?, ?)")?
        .execute(params![id, at, by, step.name(), verdict, note])?;
    let detail = match step {
        Step::Close(verdict) => format!("closed: {}", verdict.name()),
        Step::Acknowledge | Step::Reopen => step.name().to_owned(),
    };
    audit::append(connection, &Actor::User(by.into()), Kind::Triage, &format!("alert {id}"), &detail)?;
    Ok(Some(alert))
}

//! What each route is to be told of which alert, and when. It stands here from the transaction on that makes the alert,
//! and goes into the outbox in one transaction, too, so that nothing is told twice or not at all, whenever the program
//! ends.

use tokio::sync::futures::Notified;

use super::outbox::{self, Letter, Occasion};
use super::silences::{self, Cover};
use super::sql::{Connection, Optional, Value, params};
use super::{Store, StoreError, alerts, now};
use crate::alert::{Alert, State};
use crate::route::{Rule, When};

/// Alerts that one message counts; what is more goes with the next.
const COUNTED: u32 = 500;
/// Alerts that one message holds.
const HELD: usize = 50;
/// Messages that are written in one go, each in a transaction of its own.
const MESSAGES: u32 = 50;
/// Bundles of one agent that a route is told of each by itself: users and destinations are the agent's word.
const BUNDLES: usize = 20;
/// Alerts that a route was told of last, among which these bundles are looked for.
const LATELY: u32 = 1000;

/// Notes that routes are to be told of an alert that is new or was changed. Says whether one is.
pub(super) fn arm(connection: &Connection, rules: &[Rule], alert: &Alert) -> Result<bool, StoreError> {
    let mut armed = false;
    for rule in rules.iter().filter(|rule| rule.takes(alert)) {
        let row: Option<(String, Option<u8>)> = connection
            .prepare_cached(
                "SELECT bundle, CASE WHEN told IS NOT NULL THEN severity END FROM routed WHERE route = ? AND alert = ?",
            )?
            .query_row(params![rule.name, alert.id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        // What waits to be told of for the first time stays that, however bad it gets; so does what was kept back when
        // it was due.
        let (joined, known) = row.map_or((None, None), |(bundle, known)| (Some(bundle), known));
        let occasion = match (known, rule.when) {
            (None, When::Grouped { .. }) => Occasion::Created,
            (None, When::Escalated(_)) => Occasion::Escalated,
            (None, When::Digest(_)) if alert.silenced.is_some() => continue,
            (None, When::Digest(_)) => Occasion::Digest,
            (Some(severity), When::Grouped { .. }) if alert.severity as u8 > severity => Occasion::Worsened,
            (Some(_), _) => continue,
        };
        let at = now();
        let bundle = match joined {
            Some(bundle) => bundle,
            None => bundle(connection, rule, alert, at)?,
        };
        let due = at.saturating_add(delay(connection, rule, &bundle, alert, at)?);
        connection
            .prepare_cached(
                "INSERT INTO routed (route, alert, bundle, severity, occasion, since, due)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (route, alert) DO UPDATE SET severity = ?4, occasion = ?5, since = ?6,
                    due = min(coalesce(routed.due, ?7), ?7)",
            )?
            .execute(params![rule.name, alert.id, bundle, alert.severity as u8, occasion.name(), at, due])?;
        armed = true;
    }
    Ok(armed)
}

/// Notes that nobody answers for an alert any more: routes that tell of such alerts again or at last do so in time.
/// Says whether one is to.
pub(super) fn reopen(connection: &Connection, rules: &[Rule], alert: &Alert) -> Result<bool, StoreError> {
    let mut armed = arm(connection, rules, alert)?;
    let at = now();
    for rule in rules.iter().filter(|rule| rule.takes(alert)) {
        let (occasion, wait) = match rule.when {
            When::Grouped { repeat: Some(repeat), .. } => (Occasion::Repeated, repeat),
            When::Escalated(after) => (Occasion::Escalated, after),
            When::Grouped { repeat: None, .. } | When::Digest(_) => continue,
        };
        let changed = connection
            .prepare_cached(
                "UPDATE routed SET occasion = ?3, since = ?4, due = ?5
                 WHERE route = ?1 AND alert = ?2 AND told IS NOT NULL AND due IS NULL",
            )?
            .execute(params![rule.name, alert.id, occasion.name(), at, at.saturating_add(wait)])?;
        armed |= changed > 0;
    }
    Ok(armed)
}

/// The bundle that a new alert joins: its own, or the one for the rest where its agent has too many of them.
fn bundle(connection: &Connection, rule: &Rule, alert: &Alert, at: i64) -> Result<String, StoreError> {
    let bundle = rule.bundle(alert);
    let interval = match rule.when {
        When::Grouped { interval, .. } => interval,
        When::Escalated(after) => after,
        When::Digest(_) => return Ok(bundle),
    };
    // All bundles of an agent lie between these two: the next character after a line break is the vertical tab.
    let (rest, end) = (format!("{}\n\n", alert.agent), format!("{}\u{b}", alert.agent));
    // From one waiting bundle to the next, however many alerts lie between.
    let mut query = connection.prepare_cached(
        "WITH RECURSIVE waiting (bundle) AS (
            SELECT min(bundle) FROM routed WHERE route = ?1 AND due IS NOT NULL AND bundle > ?2 AND bundle < ?3
            UNION ALL
            SELECT (SELECT min(routed.bundle) FROM routed WHERE route = ?1 AND due IS NOT NULL
                    AND routed.bundle > waiting.bundle AND routed.bundle < ?3)
            FROM waiting WHERE waiting.bundle IS NOT NULL)
         SELECT bundle FROM (SELECT bundle FROM waiting WHERE bundle IS NOT NULL LIMIT ?4) AS first
         UNION
         SELECT bundle FROM (SELECT bundle FROM routed WHERE route = ?1 AND told > ?5 ORDER BY told DESC LIMIT ?6) AS lately
         WHERE bundle > ?2 AND bundle < ?3",
    )?;
    let since = at.saturating_sub(interval);
    let found: Vec<String> = query
        .query_map(params![rule.name, rest, end, BUNDLES as u64, since, LATELY], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(if found.len() >= BUNDLES && !found.contains(&bundle) { rest } else { bundle })
}

/// How long an alert waits, in milliseconds.
fn delay(connection: &Connection, rule: &Rule, bundle: &str, alert: &Alert, at: i64) -> Result<i64, StoreError> {
    let (wait, interval) = match rule.when {
        When::Grouped { wait, interval, .. } => (wait, interval),
        When::Escalated(after) => return Ok(after),
        When::Digest(every) => return Ok(every),
    };
    let since = at.saturating_sub(interval);
    let told: Option<i64> = connection
        .prepare_cached("SELECT max(told) FROM routed WHERE route = ? AND bundle = ?")?
        .query_row(params![rule.name, bundle], |row| row.get(0))?;
    let Some(told) = told.filter(|told| *told > since) else {
        return Ok(wait);
    };
    // The index is entered once for each severity; the `+` keeps it from being entered by the bound.
    let was_as_bad: bool = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM routed WHERE route = ? AND bundle = ?
                AND severity IN (1, 2, 3, 4, 5) AND +severity >= ? AND told > ?)",
        )?
        .query_row(params![rule.name, bundle, alert.severity as u8, since], |row| row.get(0))?;
    // The clock may have been set back since.
    Ok(if was_as_bad { wait.max(told.min(at).saturating_add(interval).saturating_sub(at)) } else { wait })
}

/// Puts one message into the outbox with what waits of a bundle; says whether there was anything to tell.
fn tell(connection: &Connection, rule: &Rule, bundle: &str, covers: &[Cover], at: i64) -> Result<bool, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT alert, occasion FROM routed WHERE route = ? AND bundle = ? AND due <= ? ORDER BY due LIMIT ?",
    )?;
    // Of a group all goes with the first; what is escalated has its own time to be answered in.
    let (until, repeat) = match rule.when {
        When::Grouped { repeat, .. } => (i64::MAX, repeat),
        When::Escalated(_) | When::Digest(_) => (at, None),
    };
    let waiting: Vec<(i64, String)> = query
        .query_map(params![rule.name, bundle, until, COUNTED], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let (mut events, mut alerts) = (Vec::new(), Vec::new());
    for (id, occasion) in waiting {
        let mut open = alerts::find(connection, id)?.filter(|alert| alert.state == State::Open);
        if let Some(alert) = &mut open
            && silences::mark(connection, covers, alert)?
        {
            alerts::write(connection, alert)?;
        }
        let is_open = open.is_some();
        let alert = open.filter(|alert| alert.silenced.is_none());
        let due = repeat.filter(|_| is_open).map(|repeat| at.saturating_add(repeat));
        connection
            .prepare_cached(
                "UPDATE routed SET occasion = CASE WHEN ?6 THEN ?3 ELSE occasion END, since = ?4, due = ?5,
                    told = CASE WHEN ?6 THEN ?4 ELSE told END
                 WHERE route = ?1 AND alert = ?2",
            )?
            .execute(params![rule.name, id, Occasion::Repeated.name(), at, due, alert.is_some()])?;
        if let Some(alert) = alert {
            events.push(Occasion::of(&occasion));
            alerts.push(alert);
        }
    }
    let Some(event) = events.into_iter().min() else {
        return Ok(false);
    };
    alerts.sort_by_key(|alert| std::cmp::Reverse((alert.severity, alert.id)));
    let more = alerts.len().saturating_sub(HELD) as u64;
    alerts.truncate(HELD);
    let letter = Letter { event, route: rule.name.clone(), alerts, more };
    outbox::post(connection, &letter)?;
    Ok(true)
}

/// Puts everything that waits for a digest into one message, whatever became of it since, and whatever it waited for
/// before the route told by digests.
fn digest(connection: &Connection, rule: &Rule, at: i64) -> Result<bool, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT alerts.id, body FROM routed JOIN alerts ON alerts.id = routed.alert
         WHERE route = ? AND due IS NOT NULL ORDER BY alerts.severity DESC, alerts.id DESC LIMIT ?",
    )?;
    let mut rows = query.query(params![rule.name, HELD as u64])?;
    let mut letter = Letter { event: Occasion::Digest, route: rule.name.clone(), alerts: Vec::new(), more: 0 };
    while let Some(row) = rows.next()? {
        letter.alerts.push(alerts::read(&row)?);
    }
    let told = connection
        .prepare_cached("UPDATE routed SET due = NULL, since = ?2, told = ?2 WHERE route = ?1 AND due IS NOT NULL")?
        .execute(params![rule.name, at])?;
    letter.more = told.saturating_sub(letter.alerts.len()) as u64;
    if letter.alerts.is_empty() {
        return Ok(false);
    }
    outbox::post(connection, &letter)?;
    Ok(true)
}

/// When something is due next, and when what waits began to, at the latest.
fn next(connection: &Connection) -> Result<(Option<i64>, Option<i64>), StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT (SELECT min(due) FROM routed WHERE due IS NOT NULL),
                (SELECT max(since) FROM routed WHERE due IS NOT NULL)",
    )?;
    Ok(query.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Puts what is due longest into the outbox; says whether there was anything to tell, and gives when something is due
/// next.
fn tell_one(connection: &Connection, rules: &[Rule], at: i64) -> Result<(bool, Option<i64>), StoreError> {
    let longest: Option<(String, String)> = connection
        .prepare_cached("SELECT route, bundle FROM routed WHERE due <= ? ORDER BY due LIMIT 1")?
        .query_row([at], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let mut posted = false;
    if let Some((route, bundle)) = longest {
        match rules.iter().find(|rule| rule.name == route) {
            Some(rule) if matches!(rule.when, When::Digest(_)) => posted = digest(connection, rule, at)?,
            Some(rule) => posted = tell(connection, rule, &bundle, &silences::covers(connection, at)?, at)?,
            None => leave(connection, rules)?,
        }
    }
    Ok((posted, next(connection)?.0))
}

/// A list of the rules' names for `IN`, and its values; no route is named by the empty one.
pub(super) fn names(rules: &[Rule]) -> (String, Vec<Value>) {
    let marks = ", ?".repeat(rules.len());
    (format!("(''{marks})"), rules.iter().map(|rule| rule.name.clone().into()).collect())
}

fn leave(connection: &Connection, rules: &[Rule]) -> Result<(), StoreError> {
    let (list, names) = names(rules);
    connection
        .execute(&format!("UPDATE routed SET due = NULL WHERE due IS NOT NULL AND route NOT IN {list}"), names)?;
    Ok(())
}

impl Store {
    /// Ends when a route got something to be told of after the call.
    pub(crate) fn armed(&self) -> Notified<'_> {
        self.armed.notified()
    }

    /// Puts what is due at `at` (milliseconds since 1970) into the outbox; gives when something is due next. Each
    /// message is a write of its own, so that records that arrive do not wait for all of them.
    pub(crate) async fn tell(&self, at: i64) -> Result<Option<i64>, StoreError> {
        let (mut due, since) = self.read(next).await?;
        if since.is_some_and(|since| since > at) {
            due = self
                .write(move |connection| {
                    // The clock has been set back: what waits begins to wait anew, and not an hour longer.
                    connection
                        .prepare_cached(
                            "UPDATE routed SET due = ?1 + due - since, since = ?1 WHERE since > ?1 AND due IS NOT NULL",
                        )?
                        .execute([at])?;
                    Ok(next(connection)?.0)
                })
                .await?;
        }
        for _ in 0..MESSAGES {
            if due.is_none_or(|due| due > at) {
                break;
            }
            let rules = std::sync::Arc::clone(&self.rules);
            let (posted, then) = self.write(move |connection| tell_one(connection, &rules, at)).await?;
            due = then;
            if posted {
                self.posted.notify_waiters();
            }
        }
        Ok(due)
    }

    /// Leaves what waits for routes that the configuration does not name: they are told nothing more, and messages to
    /// them are given up.
    pub(crate) async fn leave_routes(&self) -> Result<(), StoreError> {
        let rules = std::sync::Arc::clone(&self.rules);
        self.write(move |connection| {
            leave(connection, &rules)?;
            let (list, names) = names(&rules);
            let given_up = connection.execute(
                &format!(
                    "UPDATE outbox SET state = 'dead', error = 'collector.toml has no [[route]] of this name any more'
                     WHERE state = 'waiting' AND route NOT IN {list}"
                ),
                names,
            )?;
            if given_up > 0 {
                tracing::error!(
                    messages = given_up,
                    "messages to routes that are gone from collector.toml were given up"
                );
            }
            Ok(())
        })
        .await
    }
}

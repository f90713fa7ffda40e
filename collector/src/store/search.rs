//! Search over everything: masters, workstations, users, alerts and records, each the newest first, in so much time
//! as somebody waits for.

use std::time::{Duration, Instant};

use vitrine_policy::record::{Event, Record, Transfer};

use super::body::Body;
use super::catalogue::{self, Master, ObjectQuery, Turn};
use super::fulltext::{self, has_words, plain};
use super::listing::{self, Key, Query};
use super::sql::{Connection, Optional, Row, Value, params};
use super::{Store, StoreError};
use crate::alert::Alert;

/// Longest time of one search, all of it together.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is shown of each kind.
const EACH: u32 = 10;
/// Records shown.
const RECORDS: usize = 25;
/// Shortest end of a word that may be the beginning of others, in bytes (a Chinese character is enough).
const BEGINNING: usize = 3;
/// Words that one of the text may be the beginning of, and in how many the search for records takes it so. FTS5's own
/// prefix queries gather all that fit before the first answer, which takes seconds over millions of records.
const BEGUN: usize = 64;
/// Longest text of a record that can be found, in bytes.
const TEXT: usize = 16 << 10;

/// A user of workstations.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// Login name.
    pub(crate) name: String,
    /// Attempts that went through.
    pub(crate) went: u64,
    /// Attempts that were refused.
    pub(crate) refused: u64,
    /// Latest record.
    pub(crate) last_seen: i64,
}

/// A record that was found.
pub(crate) type FoundRecord = (Option<i64>, Record);

/// What was found.
#[derive(Default)]
pub(crate) struct Found {
    /// Masters.
    pub(crate) masters: Vec<Master>,
    /// Names of workstations, and when each was last heard of.
    pub(crate) hosts: Vec<(String, i64)>,
    /// Users of workstations.
    pub(crate) accounts: Vec<Account>,
    /// Alerts.
    pub(crate) alerts: Vec<Alert>,
    /// Records.
    pub(crate) records: Vec<FoundRecord>,
    /// Whether time ran out before everything was looked through.
    pub(crate) is_cut: bool,
    /// Whether records were looked for by some only of the words that the text begins.
    pub(crate) is_partial: bool,
}

/// The texts of a record by which it can be found.
pub(super) fn text(record: &Record) -> String {
    let mut text = record.host.name.clone();
    let mut also = |more: &str| {
        let end = more.floor_char_boundary(TEXT.saturating_sub(text.len() + 1));
        text.push(' ');
        text.push_str(more.get(..end).unwrap_or_default());
    };
    match &record.event {
        Event::Transfer(transfer) => texts(transfer).for_each(&mut also),
        Event::Notice(notice) => {
            also(&notice.code);
            also(&notice.message);
            also(notice.subject.as_deref().unwrap_or_default());
        }
    }
    text
}

fn texts(transfer: &Transfer) -> impl Iterator<Item = &str> {
    let user = transfer.user.iter().map(|user| user.name.as_str());
    let program = transfer.processes.first().into_iter().map(|process| process.name.as_str());
    let file = transfer.file.path.as_str();
    let masters = transfer.masters.iter().map(|master| master.path.as_str()).filter(move |path| *path != file);
    let to = transfer.destination.iter().flat_map(|to| [to.name.as_str(), to.target.as_str()]);
    user.chain(program).chain([file]).chain(to).chain(masters)
}

impl Store {
    /// What fits a text, at most ten of each kind and 25 records.
    pub(crate) async fn search(&self, text: String) -> Result<Found, StoreError> {
        self.read_within(PATIENCE, move |connection| {
            let (begun, mut found) = (Instant::now(), Found::default());
            if !has_words(&text) {
                return Ok(found);
            }
            match found.fill(connection, &text, begun) {
                Err(StoreError::Slow) => found.is_cut = true,
                done => done?,
            }
            Ok(found)
        })
        .await
    }
}

impl Found {
    fn fill(&mut self, connection: &Connection, text: &str, begun: Instant) -> Result<(), StoreError> {
        self.hosts = hosts(connection, text)?;
        self.accounts = accounts(connection, text)?;
        let query = ObjectQuery { text: text.into(), ..ObjectQuery::default() };
        self.masters = catalogue::page(connection, &query, Turn::Newest, EACH)?;
        let query = Query { text: text.into(), ..Query::default() };
        self.alerts = listing::page(connection, &query, Key::Newest, EACH)?;
        self.find_records(connection, text, begun)
    }

    /// The newest records that fit, from window to window of numbers while there is time.
    fn find_records(&mut self, connection: &Connection, text: &str, begun: Instant) -> Result<(), StoreError> {
        let (words, is_partial) = match connection {
            Connection::Sqlite(_) => beginnings(connection, text)?,
            Connection::Postgres(_) => (fulltext::record_words(text), false),
        };
        self.is_partial = is_partial;
        let mut query = connection.prepare_cached(fulltext::find_records(connection))?;
        let mut newest = connection.prepare_cached("SELECT coalesce(max(number), 0) FROM records WHERE number <= ?")?;
        let mut until: i64 = newest.query_row([i64::MAX], |row| row.get(0))?;
        while until > 0 && self.records.len() < RECORDS {
            if begun.elapsed() > PATIENCE {
                return Err(StoreError::Slow);
            }
            let left = (RECORDS - self.records.len()) as u64;
            let from = connection.window(until);
            let mut rows = query.query(params![words, until, from, left])?;
            while let Some(row) = rows.next()? {
                let record = row.get::<Body>(1)?.record()?;
                self.records.push((row.get(0)?, record));
            }
            until = newest.query_row([from], |row| row.get(0))?;
        }
        Ok(())
    }
}

/// What the search for records asks of FTS5: every word of a text, or one of those that it begins; and whether it begins
/// more than are asked for.
fn beginnings(connection: &Connection, text: &str) -> Result<(String, bool), StoreError> {
    let mut next = connection.prepare_cached("SELECT term FROM record_words WHERE term >= ? AND term < ? LIMIT 1")?;
    let (mut all, mut is_partial) = (Vec::new(), false);
    for word in plain(text) {
        // Only the last part of `K2B_00` can go on.
        let at = word.rfind(|letter: char| !letter.is_alphanumeric()).map_or(0, |at| at + 1);
        let at = word.ceil_char_boundary(at);
        let (head, tail) = word.split_at(at);
        let (tail, mut any) = (tail.to_lowercase(), vec![quoted(word)]);
        let (mut from, end) = (tail.clone(), format!("{tail}\u{10ffff}"));
        while tail.len() >= BEGINNING {
            let Some(term) = next.query_row([&from, &end], |row| row.get::<String>(0)).optional()? else { break };
            if any.len() > BEGUN {
                is_partial = true;
                break;
            }
            any.push(quoted(&format!("{head}{term}")));
            from = format!("{term}\u{1}");
        }
        all.push(format!("({})", any.join(" OR ")));
    }
    Ok((all.join(" AND "), is_partial))
}

/// A text as FTS5 takes it whatever it holds.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Workstations of whose name a word is part.
fn hosts(connection: &Connection, text: &str) -> Result<Vec<(String, i64)>, StoreError> {
    let parts: Vec<Value> = plain(text).map(|word| Value::from(word.to_lowercase())).collect();
    let condition = vec!["instr(lower(host), ?) > 0"; parts.len()].join(" OR ");
    let mut query = connection.prepare_cached(&format!(
        "SELECT host, last_seen FROM agents WHERE {condition} ORDER BY last_seen DESC LIMIT {EACH}"
    ))?;
    let found = query.query_map(parts, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Users whose name a word begins.
fn accounts(connection: &Connection, text: &str) -> Result<Vec<Account>, StoreError> {
    let key = connection.caseless("name");
    let mut query = connection.prepare_cached(&format!(
        "SELECT name, went, refused, last_seen FROM accounts WHERE {key} >= ? AND {key} < ? ORDER BY {key} LIMIT ?"
    ))?;
    let mut found: Vec<Account> = Vec::new();
    for word in plain(text) {
        let account = |row: &Row<'_>| {
            Ok(Account { name: row.get(0)?, went: row.get(1)?, refused: row.get(2)?, last_seen: row.get(3)? })
        };
        let (from, end) = (word.to_ascii_lowercase(), format!("{}\u{10ffff}", word.to_ascii_lowercase()));
        for account in query.query_map(params![from, end, EACH], account)? {
            let account = account?;
            if found.len() < EACH as usize && !found.iter().any(|known| known.name == account.name) {
                found.push(account);
            }
        }
    }
    Ok(found)
}

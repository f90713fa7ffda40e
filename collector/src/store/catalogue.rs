//! The masters that something happened to, as the console reads them: a page of the list, one of them, and its
//! history. Each page begins where the last one ended and reads no more than it shows.

use std::time::Duration;

use vitrine_policy::record::Record;

use super::body::Body;
use super::fulltext::{self, List};
use super::objects::ObjectKey;
use super::sql::{self, Connection, Optional, Row, Value, params};
use super::{Store, StoreError};

/// Longest time that somebody waits for a page; reached where a filter fits almost nothing.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest time that somebody waits for a file.
const FILE_PATIENCE: Duration = Duration::from_secs(30);
/// Names that a filter offers.
const NAMES: u32 = 100;
/// Destinations that a line of the list names.
const NAMED: u64 = 4;
/// Destinations of one master that its page and a file tell; one more says that there are others.
pub(crate) const DESTINATIONS: usize = 100;

const COLUMNS: &str = "objects.number, key, objects.collection, objects.path, objects.object, first_seen, objects.last_seen, \
                       objects.went, objects.refused, opens, thumbnail";

/// How attempts ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Some went through.
    Went,
    /// Some were refused.
    Refused,
}

/// Which masters to list. What is empty filters nothing. Those that fit a text are listed by when they were first
/// heard of, all others by when they were last heard of (at this destination, if one is asked for).
#[derive(Clone, Debug, Default)]
pub(crate) struct ObjectQuery {
    /// Words of path, object and collection.
    pub(crate) text: String,
    /// Name of a collection.
    pub(crate) collection: String,
    /// Name of a destination.
    pub(crate) destination: String,
    /// How attempts ended.
    pub(crate) outcome: Option<Outcome>,
    /// Heard of at this time or later, in milliseconds since 1970.
    pub(crate) from: Option<i64>,
    /// Heard of before this time.
    pub(crate) until: Option<i64>,
}

/// Where a page of the list begins: time and number of a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// With the newest.
    Newest,
    /// With the first that is older than this one.
    Before(i64, i64),
    /// So that it ends with the last that is newer than this one.
    After(i64, i64),
}

/// A master that something happened to.
#[derive(Clone, Debug)]
pub(crate) struct Master {
    /// Its number in the database.
    pub(crate) number: i64,
    /// By what addresses know it.
    pub(crate) key: ObjectKey,
    /// The collection that it lies in.
    pub(crate) collection: String,
    /// Its path.
    pub(crate) path: String,
    /// The object that it shows.
    pub(crate) object: Option<String>,
    /// Earliest record, by the workstation's clock.
    pub(crate) first_seen: i64,
    /// Latest record.
    pub(crate) last_seen: i64,
    /// Attempts that went through.
    pub(crate) went: u64,
    /// Attempts that were refused, undone or taken back.
    pub(crate) refused: u64,
    /// How often it was opened.
    pub(crate) opens: u64,
    /// Digest of its thumbnail.
    pub(crate) thumbnail: Option<String>,
    /// By what its place in the list is known.
    pub(crate) heard: i64,
    /// Some destinations, by name.
    pub(crate) destinations: Vec<String>,
}

/// What is on record of one master and destination.
#[derive(Clone, Debug)]
pub(crate) struct Whereto {
    /// The destination's name.
    pub(crate) name: String,
    /// Attempts that went through.
    pub(crate) went: u64,
    /// Attempts that did not.
    pub(crate) refused: u64,
    /// Coverage and scale of the file that went there and shows most.
    pub(crate) largest: Option<(f64, f64)>,
    /// Latest record.
    pub(crate) last_seen: i64,
    /// Largest share of its area that one workstation has counted there, and the sum over all.
    pub(crate) sent: Option<(f64, f64)>,
    /// Workstations that have counted.
    pub(crate) counted: u32,
}

impl ObjectQuery {
    fn sql(&self, connection: &Connection, turn: Turn, limit: u32) -> (String, Vec<Value>) {
        let mut conditions = String::new();
        let mut values: Vec<Value> = Vec::new();
        let text = fulltext::matching(connection, List::Objects, &self.text, "");
        let is_text = !text.is_empty();
        let by_destination = !is_text && !self.destination.is_empty();
        let (from, heard, number) = if is_text {
            match connection {
                Connection::Sqlite(_) => {
                    ("object_text CROSS JOIN objects ON number = object_text.rowid", "0", "object_text.rowid")
                }
                Connection::Postgres(_) => ("objects", "0", "objects.number"),
            }
        } else if by_destination {
            match connection {
                Connection::Sqlite(_) => {
                    ("object_destinations AS d CROSS JOIN objects ON number = d.object", "d.heard", "d.object")
                }
                Connection::Postgres(_) => {
                    ("object_destinations AS d JOIN objects ON number = d.object", "d.heard", "d.object")
                }
            }
        } else {
            ("objects", "objects.heard", "number")
        };
        let mut also = |condition: &str, value: Value| {
            conditions.push_str(" AND ");
            conditions.push_str(condition);
            values.push(value);
        };
        if by_destination {
            also("d.destination = ?", self.destination.clone().into());
        } else if is_text {
            for one in text {
                also(&one.condition, one.value);
            }
            if !self.destination.is_empty() {
                let there =
                    "EXISTS (SELECT 1 FROM object_destinations AS d WHERE d.object = number AND d.destination = ?)";
                also(there, self.destination.clone().into());
            }
        }
        if !self.collection.is_empty() {
            also("objects.collection = ?", self.collection.clone().into());
        }
        let time = if is_text { "objects.heard" } else { heard };
        if let Some(from) = self.from {
            also(&format!("{time} >= ?"), from.into());
        }
        if let Some(until) = self.until {
            also(&format!("{time} < ?"), until.into());
        }
        let is_after = matches!(turn, Turn::After(..));
        let (sign, order) = if is_after { (">", "ASC") } else { ("<", "DESC") };
        if let Turn::Before(at, which) | Turn::After(at, which) = turn {
            if is_text {
                also(&format!("{number} {sign} ?"), which.into());
            } else {
                also(&format!("{heard} {sign}= ?"), at.into());
                conditions.push_str(&format!(" AND ({heard}, {number}) {sign} (?, ?)"));
                values.extend([at.into(), which.into()]);
            }
        }
        match self.outcome {
            Some(Outcome::Went) if by_destination => conditions.push_str(" AND d.went > 0"),
            Some(Outcome::Refused) if by_destination => conditions.push_str(" AND d.refused > 0"),
            Some(Outcome::Went) => conditions.push_str(&format!(" AND {}", connection.has_bit("outcomes", 1))),
            Some(Outcome::Refused) => conditions.push_str(&format!(" AND {}", connection.has_bit("outcomes", 2))),
            None => {}
        }
        values.push(i64::from(limit).into());
        let first = if is_text { String::new() } else { format!("{heard} {order}, ") };
        let sql = format!(
            "SELECT {COLUMNS}, {heard} FROM {from} WHERE TRUE{conditions} ORDER BY {first}{number} {order} LIMIT ?"
        );
        (sql, values)
    }
}

fn master(row: &Row<'_>) -> sql::Result<Master> {
    Ok(Master {
        number: row.get(0)?,
        key: row.get(1)?,
        collection: row.get(2)?,
        path: row.get(3)?,
        object: row.get(4)?,
        first_seen: row.get(5)?,
        last_seen: row.get(6)?,
        went: row.get(7)?,
        refused: row.get(8)?,
        opens: row.get(9)?,
        thumbnail: row.get(10)?,
        heard: row.get(11)?,
        destinations: Vec::new(),
    })
}

pub(super) fn page(
    connection: &Connection,
    query: &ObjectQuery,
    turn: Turn,
    limit: u32,
) -> Result<Vec<Master>, StoreError> {
    let (sql, values) = query.sql(connection, turn, limit);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut masters = statement.query_map(values, master)?.collect::<Result<Vec<_>, _>>()?;
    if let Turn::After(..) = turn {
        masters.reverse();
    }
    let mut names = connection
        .prepare_cached("SELECT destination FROM object_destinations WHERE object = ? ORDER BY destination LIMIT ?")?;
    let most = if limit > NAMES { DESTINATIONS as u64 + 1 } else { NAMED };
    for master in &mut masters {
        let found = names.query_map(params![master.number, most], |row| row.get(0))?;
        master.destinations = found.collect::<Result<_, _>>()?;
    }
    Ok(masters)
}

fn whereto(row: &Row<'_>) -> sql::Result<Whereto> {
    let both = |first: Option<f64>, second: Option<f64>| first.zip(second);
    Ok(Whereto {
        name: row.get(0)?,
        went: row.get(1)?,
        refused: row.get(2)?,
        largest: both(row.get(3)?, row.get(4)?),
        last_seen: row.get(5)?,
        sent: both(row.get(6)?, row.get(7)?),
        counted: row.get(8)?,
    })
}

/// Names that an index begins with, each found by one step into it.
fn names(connection: &Connection, column: &str, table: &str) -> Result<Vec<String>, StoreError> {
    let mut query = connection.prepare_cached(&format!(
        "WITH RECURSIVE names (name) AS (
            SELECT min({column}) FROM {table} UNION ALL
            SELECT (SELECT min({column}) FROM {table} WHERE {column} > name) FROM names WHERE name IS NOT NULL)
         SELECT name FROM names WHERE name IS NOT NULL LIMIT ?"
    ))?;
    let found = query.query_map([NAMES], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(found)
}

impl Store {
    /// A page of masters.
    pub(crate) async fn objects(&self, query: ObjectQuery, turn: Turn, limit: u32) -> Result<Vec<Master>, StoreError> {
        let time = if limit > NAMES { FILE_PATIENCE } else { PATIENCE };
        self.read_within(time, move |connection| page(connection, &query, turn, limit)).await
    }

    /// Names of collections and of destinations, at most a hundred each, for a filter to choose from.
    pub(crate) async fn object_names(&self) -> Result<(Vec<String>, Vec<String>), StoreError> {
        self.read_within(PATIENCE, |connection| {
            let collections = names(connection, "collection", "objects")?;
            Ok((collections, names(connection, "destination", "object_destinations")?))
        })
        .await
    }

    /// One master, with what went where (the latest first), and whether its thumbnail is kept.
    pub(crate) async fn object(&self, key: ObjectKey) -> Result<Option<(Master, Vec<Whereto>, bool)>, StoreError> {
        self.read_within(PATIENCE, move |connection| {
            let sql = format!("SELECT {COLUMNS}, objects.heard FROM objects WHERE key = ?");
            let Some(found) = connection.prepare_cached(&sql)?.query_row([key], master).optional()? else {
                return Ok(None);
            };
            let mut query = connection.prepare_cached(
                "SELECT destination, went, refused, coverage, scale, last_seen,
                    (SELECT max(share) FROM object_sent AS s WHERE s.object = d.object AND s.destination = d.destination),
                    (SELECT sum(share) FROM object_sent AS s WHERE s.object = d.object AND s.destination = d.destination),
                    (SELECT count(*) FROM object_sent AS s WHERE s.object = d.object AND s.destination = d.destination)
                 FROM object_destinations AS d WHERE object = ? ORDER BY heard DESC, destination LIMIT ?",
            )?;
            let places = query.query_map(params![found.number, DESTINATIONS as u64 + 1], whereto)?.collect::<Result<_, _>>()?;
            let kept = connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM evidence WHERE digest = ?)")?
                .query_row([&found.thumbnail], |row| row.get(0))?;
            Ok(Some((found, places, kept)))
        })
        .await
    }

    /// What happened to a master, the newest first from before a record's number on: that number, its alert, and what
    /// `shown` makes of it.
    pub(crate) async fn happened<T: Send + 'static>(
        &self,
        object: i64,
        before: i64,
        limit: u32,
        shown: impl Fn(&Record) -> T + Send + 'static,
    ) -> Result<Vec<(i64, Option<i64>, T)>, StoreError> {
        let time = if limit > NAMES { FILE_PATIENCE } else { PATIENCE };
        self.read_within(time, move |connection| {
            let mut query = connection.prepare_cached(&format!(
                "SELECT records.number, records.alert, records.body FROM object_records AS link
                 {} records ON records.number = link.record
                 WHERE link.object = ? AND link.record < ? ORDER BY link.record DESC LIMIT ?",
                connection.join()
            ))?;
            let mut rows = query.query(params![object, before, limit])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let record = row.get::<Body>(2)?.record()?;
                found.push((row.get(0)?, row.get(1)?, shown(&record)));
            }
            Ok(found)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::super::sql::{Connection, Value};
    use super::{ObjectQuery, Outcome, Turn};

    fn plan(connection: &Connection, sql: &str, values: Vec<Value>) -> String {
        let mut query = connection.prepare_cached(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = query.query_map(values, |row| row.get::<String>(3)).unwrap();
        steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ")
    }

    #[test]
    fn every_page_begins_where_an_index_says() {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        let connection = Connection::Sqlite(connection);
        let all = ObjectQuery::default();
        let collection = "masters".to_owned();
        let filters = [
            (all.clone(), "objects_heard"),
            (ObjectQuery { outcome: Some(Outcome::Went), ..all.clone() }, "objects_went"),
            (ObjectQuery { outcome: Some(Outcome::Refused), ..all.clone() }, "objects_refused"),
            (ObjectQuery { collection: collection.clone(), ..all.clone() }, "objects_collection"),
            (ObjectQuery { collection, until: Some(9), from: Some(1), ..all.clone() }, "objects_collection"),
            (ObjectQuery { destination: "website".into(), ..all.clone() }, "object_destinations_heard"),
            (ObjectQuery { text: "k2b".into(), destination: "website".into(), ..all }, "VIRTUAL TABLE INDEX"),
        ];
        for (filter, index) in filters {
            for turn in [Turn::Newest, Turn::Before(7, 7), Turn::After(7, 7)] {
                let (sql, values) = filter.sql(&connection, turn, 51);
                let plan = plan(&connection, &sql, values);
                assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{filter:?} {turn:?}: {plan}");
            }
        }
    }
}

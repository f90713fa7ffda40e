//! A data directory, and the database of its collector: SQLite in it, or one of PostgreSQL where
//! `VITRINE_TEST_POSTGRES` names a server (`tests/postgres` starts one).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// A data directory that goes with its database.
pub struct Data {
    directory: tempfile::TempDir,
    database: Option<(String, String)>,
}

impl Data {
    pub fn new() -> Data {
        Data::on(std::env::var("VITRINE_TEST_POSTGRES").ok())
    }

    /// With a database of this server.
    pub fn on(server: Option<String>) -> Data {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let directory = tempfile::tempdir().unwrap();
        let database = server.map(|server| {
            let name = format!("world_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
            done(psql(&format!("{server}/postgres"), &format!("CREATE DATABASE {name}")));
            std::fs::write(directory.path().join("database"), format!("{server}/{name}\n")).unwrap();
            (server, name)
        });
        Data { directory, database }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The database, to be changed or looked at behind the collector's back.
    pub fn by_hand(&self) -> Hand {
        Hand::of(self.path())
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if let Some((server, name)) = &self.database {
            psql(&format!("{server}/postgres"), &format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

/// Whether records lie in PostgreSQL in this run.
pub fn is_postgres() -> bool {
    std::env::var_os("VITRINE_TEST_POSTGRES").is_some()
}

/// Says that a test is of SQLite alone, if it is not run with that.
pub fn only_on_sqlite(test: &str) -> bool {
    if is_postgres() {
        println!("skipped: {test} (it is of SQLite alone)");
    }
    !is_postgres()
}

/// The database behind the collector's back.
pub enum Hand {
    Sqlite(rusqlite::Connection),
    Postgres(String),
}

impl Hand {
    /// That of a data directory.
    pub fn of(data: &Path) -> Hand {
        match std::fs::read_to_string(data.join("database")) {
            Ok(url) => Hand::Postgres(url.trim().to_owned()),
            Err(_) => Hand::Sqlite(rusqlite::Connection::open(data.join("collector.db")).unwrap()),
        }
    }

    /// Runs one statement; says how many rows it wrote.
    pub fn execute(&self, sql: &str) -> usize {
        match self {
            Hand::Sqlite(connection) => connection.execute(sql, []).unwrap(),
            Hand::Postgres(url) => {
                let tag = done(psql(url, sql));
                tag.split_whitespace().last().and_then(|count| count.parse().ok()).unwrap()
            }
        }
    }

    /// Runs statements; gives what the database says where it refuses.
    pub fn run(&self, sql: &str) -> Result<(), String> {
        match self {
            Hand::Sqlite(connection) => connection.execute_batch(sql).map_err(|error| error.to_string()),
            Hand::Postgres(url) => {
                let output = psql(url, sql);
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                if output.status.success() { Ok(()) } else { Err(said) }
            }
        }
    }

    /// The columns of the first row of an answer.
    pub fn row(&self, sql: &str) -> Vec<String> {
        match self {
            Hand::Sqlite(connection) => {
                let mut query = connection.prepare(sql).unwrap();
                let columns = query.column_count();
                let text = |value: rusqlite::types::Value| match value {
                    rusqlite::types::Value::Integer(number) => number.to_string(),
                    rusqlite::types::Value::Text(text) => text,
                    other => format!("{other:?}"),
                };
                query.query_row([], |row| (0..columns).map(|column| row.get(column).map(text)).collect()).unwrap()
            }
            Hand::Postgres(url) => {
                let answer = done(psql(url, sql));
                answer.lines().next().unwrap().split('\u{1f}').map(str::to_owned).collect()
            }
        }
    }

    /// The number that is the answer.
    pub fn number(&self, sql: &str) -> i64 {
        self.row(sql)[0].parse().unwrap()
    }
}

/// The programs of PostgreSQL, where it is installed.
pub fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let found = versions.flatten().map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    found.max()
}

/// Runs statements on a database.
pub fn psql(url: &str, sql: &str) -> Output {
    let program = programs().unwrap().join("psql");
    let mut command = Command::new(program);
    command.args(["-X", "-A", "-t", "-F", "\u{1f}", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]).output().unwrap()
}

/// What was written, where it went well.
pub fn done(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

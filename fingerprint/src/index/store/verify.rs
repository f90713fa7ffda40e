//! Reading all of an index to see whether it can be trusted.

use rusqlite::Connection;

use super::super::lookup::Block;
use super::super::{IndexError, Problem, path_from};
use super::row::{Row, sum};
use super::{Store, keys};

/// Most problems that are told of.
const TOLD: usize = 100;

impl Store {
    pub(in super::super) fn verify(&self) -> Result<Vec<Problem>, IndexError> {
        let found = self.read(|connection| {
            let mut problems = structure(connection)?;
            entries(connection, &mut problems)?;
            Ok(problems)
        });
        match found {
            Err(IndexError::Damaged { detail, .. }) => Ok(vec![Problem::Structure(detail)]),
            other => other,
        }
    }
}

fn structure(connection: &Connection) -> rusqlite::Result<Vec<Problem>> {
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check({TOLD})"))?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    let told = lines.filter(|line| !matches!(line, Ok(line) if line == "ok"));
    told.map(|line| line.map(Problem::Structure)).collect()
}

fn entries(connection: &Connection, problems: &mut Vec<Problem>) -> rusqlite::Result<()> {
    let mut rows = connection.prepare(&format!("SELECT {} FROM master", Row::COLUMNS))?;
    let mut looks = connection.prepare("SELECT features, picture, thumbnail, checksum FROM looks WHERE id = ?1")?;
    let mut rows = rows.query([])?;
    let keys = keys::all(connection)?;
    while let Some(row) = rows.next()? {
        let row = Row::read_unchecked(row)?;
        let mut looks = looks.query([row.id])?;
        let looks_intact = match looks.next()? {
            None => true,
            Some(looks) => {
                let fields: [Vec<u8>; 3] = [looks.get(0)?, looks.get(1)?, looks.get(2)?];
                looks.get::<_, Vec<u8>>(3)? == sum(fields.each_ref().map(|field| Some(field.as_slice())))
            }
        };
        let key = u32::try_from(row.id).ok().map(Block::of).and_then(|(number, at)| keys.get(&number)?.key(at));
        if !(row.is_intact() && looks_intact && key == Some(row.key())) && problems.len() < TOLD {
            problems.push(Problem::Entry { id: row.id, path: path_from(row.path) });
        }
    }
    Ok(())
}

//! Which files of postings belong to an index, and keeping them in step with its rows.
//!
//! The rows are the truth. A segment counts from the commit that names it, together with the masters whose
//! features it holds; a file that no row names is left of a crash and removed, and where a named one is missing
//! or damaged, all are dropped and made again from the rows.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use super::super::IndexError;
use super::super::lookup::Lookup;
use super::{Looks, Store, problem};
use crate::local::{Features, Segment};

/// So many masters are kept in memory before their postings go to a file.
const FRESH: usize = 2048;
/// A segment is merged with the one before it once that has no more than so many times its postings.
const RATIO: u64 = 3;
/// Postings of the largest segment that comes of a merge, 3 GB: about 400,000 masters. No merge takes longer or needs
/// more room for a while, however large the index is.
const LARGEST: u64 = 1 << 28;
/// How often a reader tries again when a writer merges the files that it was about to open.
const TRIES: u32 = 5;

impl Store {
    /// The directory of the segments; none for an index in memory.
    fn segments_dir(&self) -> Option<PathBuf> {
        self.readers.is_some().then(|| {
            let mut dir = self.path.clone().into_os_string();
            dir.push("-postings");
            PathBuf::from(dir)
        })
    }

    pub(in super::super) fn segments_failed(&self, source: io::Error) -> IndexError {
        IndexError::Segments { path: self.segments_dir().unwrap_or_else(|| self.path.clone()), source }
    }

    /// Opens the segments and reads the features of all masters that are in none of them. `write` also removes
    /// files that no row names, and makes the segments again where they are damaged.
    pub(in super::super) fn load_postings(&self, lookup: &RwLock<Lookup>, write: bool) -> Result<(), IndexError> {
        let writing = || lookup.write().unwrap_or_else(PoisonError::into_inner);
        for attempt in 1.. {
            let opened = self.open_segments(&mut writing());
            let Err(error) = opened else { break };
            writing().postings.segments.clear();
            if write {
                // What they hold is in the rows as well.
                let sql = "DELETE FROM segment; INSERT OR IGNORE INTO fresh (id) SELECT id FROM looks WHERE length(features) > 0";
                self.write(|tx| tx.execute_batch(sql))?;
            }
            if attempt >= TRIES {
                return Err(error);
            }
        }
        if write {
            self.remove_strays()?;
        }
        let fresh: Vec<u32> = self.read(|connection| {
            connection.prepare("SELECT id FROM fresh ORDER BY id")?.query_map([], |row| row.get(0))?.collect()
        })?;
        for ids in fresh.chunks(FRESH) {
            for &id in ids {
                if let Some(features) = Features::read(&self.looks(id.into(), Looks::Features)?) {
                    writing().post(id, &features.features);
                }
            }
            if write {
                self.flush(lookup)?;
            }
        }
        Ok(())
    }

    fn numbers(&self) -> Result<Vec<i64>, IndexError> {
        self.read(|connection| {
            let sql = "SELECT number FROM segment ORDER BY number";
            connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
        })
    }

    fn open_segments(&self, lookup: &mut Lookup) -> Result<(), IndexError> {
        let Some(dir) = self.segments_dir() else { return Ok(()) };
        for number in self.numbers()? {
            let segment = Segment::open(&file(&dir, number)).map_err(|source| self.segments_failed(source))?;
            lookup.postings.segments.push(segment);
        }
        Ok(())
    }

    fn remove_strays(&self) -> Result<(), IndexError> {
        let Some(dir) = self.segments_dir() else { return Ok(()) };
        let named: Vec<PathBuf> = self.numbers()?.into_iter().map(|number| file(&dir, number)).collect();
        let remove = || {
            let entries = match std::fs::read_dir(&dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                entries => entries?,
            };
            for entry in entries {
                let path = entry?.path();
                if !named.contains(&path) {
                    std::fs::remove_file(path)?;
                }
            }
            Ok(())
        };
        remove().map_err(|source| self.segments_failed(source))
    }

    /// Moves the postings in memory to a file once they are many, and merges small files.
    pub(in super::super) fn flush(&self, lookup: &RwLock<Lookup>) -> Result<(), IndexError> {
        let Some(dir) = self.segments_dir() else { return Ok(()) };
        let reading = || lookup.read().unwrap_or_else(PoisonError::into_inner);
        if reading().postings.fresh_masters().len() < FRESH {
            return Ok(());
        }
        // Like every change: first the writer, so that rows and memory stay in step, then the tables in memory.
        let mut writer = self.writer();
        let failed = |source| self.segments_failed(source);
        std::fs::create_dir_all(&dir).map_err(failed)?;
        let run = |sql: &str| -> rusqlite::Result<Vec<i64>> {
            writer.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
        };
        let numbers = run("SELECT number FROM segment ORDER BY number DESC");
        let numbers = numbers.map_err(|source| problem(&self.path, source))?;
        let number = numbers.first().copied().unwrap_or(0) + 1;
        let (merged, segment, masters) = {
            let lookup = reading();
            let postings = &lookup.postings;
            let mut size = postings.fresh_postings();
            let small = |segment: &&Segment| {
                let merge = segment.postings() <= RATIO * size && size + segment.postings() <= LARGEST;
                size += segment.postings();
                merge
            };
            let merged = postings.segments.iter().rev().take_while(small).count();
            let segment = postings.write(&file(&dir, number), merged).map_err(failed)?;
            (merged, segment, postings.fresh_masters().to_vec())
        };
        let old = &numbers[..merged.min(numbers.len())];
        let mut commit = || {
            let tx = writer.transaction()?;
            old.iter().try_for_each(|old| tx.execute("DELETE FROM segment WHERE number = ?1", [old]).map(drop))?;
            tx.execute("INSERT INTO segment (number) VALUES (?1)", [number])?;
            let sql = "DELETE FROM fresh WHERE id = ?1";
            masters.iter().try_for_each(|id| tx.prepare_cached(sql)?.execute([id]).map(drop))?;
            tx.commit()
        };
        commit().map_err(|source| problem(&self.path, source))?;
        lookup.write().unwrap_or_else(PoisonError::into_inner).postings.replace(merged, segment);
        // What cannot be removed now is a stray when the index is opened next.
        old.iter().for_each(|&old| drop(std::fs::remove_file(file(&dir, old))));
        Ok(())
    }

    /// The segments that do not have their checksum.
    pub(in super::super) fn damaged_segments(&self) -> Result<Vec<PathBuf>, IndexError> {
        let Some(dir) = self.segments_dir() else { return Ok(Vec::new()) };
        let paths = self.numbers()?.into_iter().map(|number| file(&dir, number));
        let intact = |path: &PathBuf| Segment::open(path).and_then(|segment| segment.is_intact()).unwrap_or(false);
        Ok(paths.filter(|path| !intact(path)).collect())
    }
}

fn file(dir: &Path, number: i64) -> PathBuf {
    dir.join(format!("{number}.segment"))
}

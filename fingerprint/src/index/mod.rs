//! The masters: kept in an SQLite file, found through tables in memory.

mod lookup;
mod pages;
mod portrait;
mod search;
mod store;
mod types;

use pages::MOST as MOST_PAGES;
pub use pages::Pages;
pub use portrait::Portrait;
pub use types::{Entry, IndexError, Kind, Known, Master, Match, Problem, Stats};

use std::ops::ControlFlow;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::local::UNIT;
use crate::measure::{Content, Measurement};
use lookup::Lookup;
use store::parts::Share;
use store::{New, SAME, Store};

/// So many parts and bytes in common show that a file has bytes of a master: any 256 KiB of it have as many. One
/// alone may be what a program writes into all its files.
const PARTS: u64 = 3;
const PART_BYTES: u64 = 48 << 10;
/// From this share of its bytes on it is the whole master.
const WHOLE_FILE: f64 = 0.9;

/// All masters, on disk and in memory.
///
/// Shared between threads: writers wait for each other, readers only for moments in memory. One process
/// writes; others may open the same file to read and see it as it was when they opened it.
/// In memory lie about 75 bytes a master, and the local features of the
/// newest, at most 16 MB; those of all others lie in the directory `path` + `-postings`.
///
/// Opening reads no more than these keys, many in one row; what else is known of a master has its checksum, too, and
/// is checked whenever it is read. What is found damaged then is an error, and the index is refused from the next
/// opening on.
pub struct Index {
    store: Store,
    lookup: RwLock<Lookup>,
}

impl Index {
    /// Opens or creates the index in the file `path`.
    ///
    /// # Errors
    /// The file cannot be opened or created, is no index, one of another version, or damaged.
    pub fn open(path: &Path) -> Result<Index, IndexError> {
        Index::load(Store::open(path)?, true)
    }

    /// Opens the index in the file `path` for reading only.
    ///
    /// # Errors
    /// There is no such file, it cannot be opened, is no index, one of another version, or damaged.
    pub fn open_read_only(path: &Path) -> Result<Index, IndexError> {
        Index::load(Store::open_read_only(path)?, false)
    }

    /// An index that lasts as long as the value.
    ///
    /// # Errors
    /// Out of memory.
    pub fn in_memory() -> Result<Index, IndexError> {
        Index::load(Store::in_memory()?, true)
    }

    fn load(store: Store, write: bool) -> Result<Index, IndexError> {
        let lookup = RwLock::new(Lookup::new(store.keys()?));
        store.load_postings(&lookup, write)?;
        Ok(Index { store, lookup })
    }

    /// Registers a master, or replaces what is known under the same path. Returns its id, which stays the
    /// same for a path until it is removed.
    ///
    /// # Errors
    /// The index cannot be written.
    pub fn insert(&self, entry: &Entry) -> Result<i64, IndexError> {
        Ok(self.insert_all(std::slice::from_ref(entry))?.first().copied().unwrap_or_default())
    }

    /// Registers many masters, all or none of them; much faster than one by one.
    ///
    /// # Errors
    /// The index cannot be written.
    pub fn insert_all(&self, entries: &[Entry]) -> Result<Vec<i64>, IndexError> {
        // Makes small pictures: work that no other writer should wait for.
        self.put(entries.iter().map(New::of).collect())
    }

    /// Registers masters, each with its further pictures behind it. Returns their ids.
    fn put(&self, mut new: Vec<Vec<New>>) -> Result<Vec<i64>, IndexError> {
        let mut ids = Vec::new();
        self.store.insert(&mut new, |inserted, new| {
            self.forget(&inserted.gone);
            let mut lookup = self.writing();
            ids = inserted.masters.iter().map(|id| i64::from(*id)).collect();
            for ((id, key), new) in inserted.keys.iter().zip(new.iter().flatten()) {
                let Some(key) = key else { continue };
                lookup.put(*id, *key);
                if let Some(features) = new.features() {
                    lookup.post(*id, &features.features);
                }
            }
        })?;
        self.store.flush(&self.lookup)?;
        Ok(ids)
    }

    /// Forgets the master at `path`. Returns whether there was one.
    ///
    /// # Errors
    /// The index cannot be written.
    pub fn remove(&self, path: &Path) -> Result<bool, IndexError> {
        Ok(self.store.remove(path, false, |ids| self.forget(ids))? > 0)
    }

    /// Forgets all masters below the directory `dir` (not one whose path is `dir`). Returns how many.
    ///
    /// # Errors
    /// The index cannot be written.
    pub fn remove_below(&self, dir: &Path) -> Result<usize, IndexError> {
        self.store.remove(dir, true, |ids| self.forget(ids))
    }

    /// Follows a rename of a file, or of a directory and all that lies below it; masters that were at the
    /// new path are forgotten. Returns how many masters have moved.
    ///
    /// # Errors
    /// The index cannot be written.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<usize, IndexError> {
        self.store.rename(from, to, |gone| self.forget(gone))
    }

    /// What is known of the file at `path`: enough to see without opening it that it has not changed.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn get(&self, path: &Path) -> Result<Option<Known>, IndexError> {
        self.store.known(path)
    }

    /// The master that is this inode, under whatever name; answered from memory.
    #[must_use]
    pub fn at_inode(&self, device: u64, inode: u64) -> Option<i64> {
        self.reading().at_inode(device, inode).map(i64::from)
    }

    /// The master with this id.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn master(&self, id: i64) -> Result<Option<Master>, IndexError> {
        self.store.master(id)
    }

    /// Masters that the measured file is, or was made from, best first: exact ones by bytes and by pixels, those of
    /// whose bytes it holds a part, then derivatives by score.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn find(&self, measurement: &Measurement) -> Result<Vec<Match>, IndexError> {
        let certain = |master, kind, coverage, region| Match { master, kind, scale: 1.0, coverage, region, score: 1.0 };
        let is_new = |matches: &[Match], id| !matches.iter().any(|found| found.master.id == id);
        let mut matches = Vec::new();
        let picture = match &measurement.content {
            Content::Picture(picture) => Some(picture),
            _ => None,
        };
        let mut same = Vec::new();
        for id in self.reading().with_digest(&measurement.digest).into_iter().take(SAME).map(i64::from) {
            // In memory lie only eight bytes of each digest.
            if self.store.digest(id)? == Some(measurement.digest) {
                same.push(id);
            }
        }
        if let Some(pixels) = picture.and_then(|picture| picture.pixels) {
            same.extend(self.store.with_pixels(&pixels)?);
        }
        for id in same {
            if let Some((master, is_page)) = self.store.resolve(id)?
                && is_new(&matches, master.id)
            {
                // A page of it is not the file itself.
                let kind = if is_page { Kind::Derivative } else { Kind::Exact };
                matches.push(certain(master, kind, 1.0, UNIT.to_vec()));
            }
        }
        for (id, share) in self.store.with_parts(&measurement.parts)? {
            if is_new(&matches, id)
                && let Some((master, size)) = self.store.master_and_size(id)?
                && is_evidence(share, size)
            {
                let coverage = (share.bytes as f64 / size.max(1) as f64).min(1.0);
                let kind = if coverage >= WHOLE_FILE { Kind::Embedded } else { Kind::Fragment };
                matches.push(certain(master, kind, coverage, Vec::new()));
            }
        }
        if let Some(picture) = picture {
            for found in search::search(&self.store, &self.reading(), &picture.fingerprint)?.found {
                if let Some((master, _)) = self.store.resolve(found.id)?
                    && is_new(&matches, master.id)
                {
                    matches.push(found.into_match(master, picture));
                }
            }
        }
        Ok(matches)
    }

    /// What the pixels said of each master that the measured picture was compared with, whether that was enough for a
    /// match or not: the path, the evidence and the correlation, as they came.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn compared(&self, measurement: &Measurement) -> Result<Vec<(PathBuf, f64, f64)>, IndexError> {
        let Content::Picture(picture) = &measurement.content else { return Ok(Vec::new()) };
        let said = search::search(&self.store, &self.reading(), &picture.fingerprint)?.compared;
        let mut named = Vec::new();
        for (id, evidence, correlation) in said {
            named.extend(self.store.resolve(id)?.map(|(master, _)| (master.path, evidence, correlation)));
        }
        Ok(named)
    }

    /// The thumbnail of a master, a JPEG.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn thumbnail(&self, id: i64) -> Result<Option<Vec<u8>>, IndexError> {
        self.store.thumbnail(id)
    }

    /// Counts and sizes.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn stats(&self) -> Result<Stats, IndexError> {
        self.store.stats()
    }

    /// Reads everything and checks every checksum; an empty list is good news. Takes a while.
    ///
    /// # Errors
    /// The index cannot be read at all.
    pub fn verify(&self) -> Result<Vec<Problem>, IndexError> {
        let mut problems = self.store.verify()?;
        let damaged = self.store.damaged_segments()?;
        problems.extend(damaged.into_iter().map(|path| Problem::Segment { path }));
        Ok(problems)
    }

    /// Shows `visit` the path of every master below `dir` (`/` for all), in the order of their bytes, with
    /// what is known of the file, until it breaks off.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn each_below(
        &self,
        dir: &Path,
        visit: &mut dyn FnMut(&Path, &Known) -> ControlFlow<()>,
    ) -> Result<(), IndexError> {
        self.store.each_below(dir, visit)
    }

    /// Shows `visit` every master whose path lies behind `after` in the order of their bytes, until it breaks off.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn each_after(
        &self,
        after: &Path,
        visit: &mut dyn FnMut(&Known, Master) -> ControlFlow<()>,
    ) -> Result<(), IndexError> {
        self.store.each_after(after, visit)
    }

    /// How many masters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.reading().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn forget(&self, ids: &[i64]) {
        let mut lookup = self.writing();
        ids.iter().filter_map(|id| u32::try_from(*id).ok()).for_each(|id| lookup.remove(id));
    }

    // Nothing that holds the lock can panic half-way in a way that leaves the tables unusable.
    fn reading(&self) -> RwLockReadGuard<'_, Lookup> {
        self.lookup.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> RwLockWriteGuard<'_, Lookup> {
        self.lookup.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether so much of a master of `size` bytes cannot be chance: some parts, or half of a small master.
fn is_evidence(share: Share, size: u64) -> bool {
    share.parts >= PARTS && share.bytes >= PART_BYTES || share.bytes * 2 >= size
}

/// A path as its bytes: names need not be UTF-8.
fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn path_from(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

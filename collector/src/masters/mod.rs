//! The masters of all workstations by their portraits, so that a picture found somewhere is traced to them. The files
//! themselves never come here.
//!
//! A portrait is kept once, under its own digest, however many workstations have that master; [`files`] says who has
//! it, and under which collection and path. So nobody can put another portrait into the place of somebody else's, nor
//! take one away that somebody else has. All of it can be had again: where it is lost or damaged it is begun anew, with
//! another *epoch*, and every agent that hears of that sends its masters once more.

mod files;
mod intake;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use vitrine_fingerprint::{Index, IndexError, Match, Measurement, Portrait};

use files::Files;
pub use files::{Count, Holder};
use intake::Intake;
pub(crate) use intake::{MAX_WIRE, receive};

/// The directory, below the data directory.
const DIRECTORY: &str = "masters";
/// The index of portraits in it.
const INDEX: &str = "index.db";
/// Who has them.
const FILES: &str = "files.db";

/// Why the masters cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MastersError {
    /// No agent has sent any yet.
    #[error(
        "{} holds no masters yet: agents send what they know of theirs to a collector that serves from it",
        .0.display()
    )]
    None(PathBuf),
    /// The index of portraits.
    #[error("the masters' {0}; stop the server and remove the directory `masters`, and agents send them again")]
    Index(#[from] IndexError),
    /// The list of who has them.
    #[error(
        "the list of who has which master cannot be used: {0}; see that the disk has room, or stop the server and remove \
         the directory `masters`, and agents send it again"
    )]
    Files(#[from] rusqlite::Error),
    /// The directory.
    #[error("{}: {source}", .path.display())]
    Directory {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// What an agent tells of one of its masters.
pub(crate) enum Told {
    /// It has it.
    Has {
        path: String,
        collection: String,
        object: Option<String>,
        portrait: Box<Portrait>,
        /// The portrait's.
        digest: [u8; 32],
        bytes: usize,
    },
    /// It does not have it any more.
    Gone { path: String },
}

/// A master that a picture was made from, and who has it.
pub struct Origin {
    /// Which part of which portrait it shows, and how.
    pub found: Match,
    /// The portrait's thumbnail, a JPEG.
    pub thumbnail: Option<Vec<u8>>,
    /// Every file with this portrait.
    pub holders: Vec<Holder>,
}

/// The masters of all workstations.
pub struct Masters {
    index: Index,
    files: Mutex<Files>,
    epoch: String,
}

impl Masters {
    /// Opens the masters in a data directory to write them; what is damaged, of another version, or of which a part was
    /// lost with the power is begun anew.
    ///
    /// # Errors
    /// The disk does not take a new one either.
    pub fn open(data: &Path) -> Result<Masters, MastersError> {
        let directory = data.join(DIRECTORY);
        match Masters::open_at(&directory) {
            Ok(Some(masters)) => return Ok(masters),
            Ok(None) => tracing::warn!("the masters of the workstations are not whole: they are asked for again"),
            Err(MastersError::Index(
                error @ (IndexError::Damaged { .. } | IndexError::NotAnIndex { .. } | IndexError::Version { .. }),
            )) => tracing::warn!(%error, "the masters of the workstations are asked for again"),
            Err(MastersError::Files(error)) if files::is_damage(&error) => {
                tracing::warn!(%error, "the masters of the workstations are asked for again");
            }
            Err(error) => return Err(error),
        }
        std::fs::remove_dir_all(&directory)
            .map_err(|source| MastersError::Directory { path: directory.clone(), source })?;
        Masters::open_at(&directory)?.ok_or(MastersError::None(directory))
    }

    /// None if it is not whole.
    fn open_at(directory: &Path) -> Result<Option<Masters>, MastersError> {
        use std::os::unix::fs::DirBuilderExt;
        let failed = |source| MastersError::Directory { path: directory.to_owned(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let index = Index::open(&directory.join(INDEX))?;
        let files = Files::open(&directory.join(FILES))?;
        let masters = Masters { epoch: files.epoch()?, index, files: Mutex::new(files) };
        Ok(masters.is_whole()?.then_some(masters))
    }

    /// Opens the masters in a data directory for reading, beside a server or without one.
    ///
    /// # Errors
    /// There are none, or they cannot be read.
    pub fn open_read_only(data: &Path) -> Result<Masters, MastersError> {
        let directory = data.join(DIRECTORY);
        if !directory.join(FILES).is_file() {
            return Err(MastersError::None(data.to_owned()));
        }
        let files = Files::open_read_only(&directory.join(FILES))?;
        let index = Index::open_read_only(&directory.join(INDEX))?;
        Ok(Masters { epoch: files.epoch()?, index, files: Mutex::new(files) })
    }

    /// Whether every portrait that somebody has is there. One that nobody has is removed.
    fn is_whole(&self) -> Result<bool, MastersError> {
        let wanted = self.files().portraits()?;
        let mut wanted = wanted.into_iter().peekable();
        let (mut strays, mut is_whole) = (Vec::new(), true);
        self.index.each_below(Path::new("/"), &mut |path, _| {
            match wanted.peek().map(|digest| place(digest).cmp(&path.to_owned())) {
                Some(std::cmp::Ordering::Equal) => drop(wanted.next()),
                Some(std::cmp::Ordering::Less) => {
                    is_whole = false;
                    return ControlFlow::Break(());
                }
                Some(std::cmp::Ordering::Greater) | None => strays.push(path.to_owned()),
            }
            ControlFlow::Continue(())
        })?;
        if !is_whole || wanted.next().is_some() {
            return Ok(false);
        }
        for stray in strays {
            self.index.remove(&stray)?;
        }
        Ok(true)
    }

    /// What changes when all is begun anew; see the module.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// How many there are.
    ///
    /// # Errors
    /// The list cannot be read.
    pub fn count(&self) -> Result<Count, MastersError> {
        Ok(self.files().count()?)
    }

    /// Takes what an agent tells of its masters; gives the lines that are not kept, and why. On the disk when it
    /// returns. One caller at a time.
    pub(crate) fn take(&self, agent: &str, told: &[(usize, Told)]) -> Result<Vec<(usize, String)>, MastersError> {
        let (mut new, mut seen) = (Vec::new(), BTreeSet::new());
        for (_, told) in told {
            if let Told::Has { portrait, digest, .. } = told {
                let path = place(digest);
                if seen.insert(digest) && self.index.get(&path)?.is_none() {
                    new.push((path, (**portrait).clone()));
                }
            }
        }
        // First the portraits, so that nobody is said to have one that is not there.
        self.index.insert_portraits(&new)?;
        let (refused, left) = self.files().take(agent, told)?;
        for portrait in left {
            self.index.remove(&place(&portrait))?;
        }
        Ok(refused)
    }

    /// The masters that a measured picture was made from, the most certain first, and who has them.
    ///
    /// # Errors
    /// The masters cannot be read.
    pub fn origins(&self, measurement: &Measurement) -> Result<Vec<Origin>, MastersError> {
        let mut origins = Vec::new();
        for found in self.index.find(measurement)? {
            let Some(digest) = digest_of(&found.master.path) else { continue };
            let holders = self.files().holders(&digest)?;
            // Removed in this moment.
            if holders.is_empty() {
                continue;
            }
            let thumbnail = self.index.thumbnail(found.master.id)?.filter(|jpeg| !jpeg.is_empty());
            origins.push(Origin { found, thumbnail, holders });
        }
        Ok(origins)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner) // a broken transaction was rolled back
    }
}

/// The path that stands for a portrait in the index.
fn place(digest: &[u8; 32]) -> PathBuf {
    PathBuf::from(format!("/{}", hex::encode(digest)))
}

fn digest_of(place: &Path) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(place.as_os_str().as_bytes().strip_prefix(b"/")?, &mut digest).ok()?;
    Some(digest)
}

/// The masters as a server has them: there once they are opened, which takes a while where they are many.
pub(crate) struct Opening {
    opened: Arc<OnceLock<Result<Arc<Masters>, String>>>,
    intake: Intake,
}

impl Opening {
    /// Opens them in a thread of its own.
    pub(crate) fn begin(data: PathBuf) -> Opening {
        let opened = Arc::new(OnceLock::new());
        let set = Arc::clone(&opened);
        tokio::task::spawn_blocking(move || {
            let masters = Masters::open(&data).map(Arc::new).map_err(|error| error.to_string());
            if let Err(error) = &masters {
                tracing::error!(%error, "no picture can be traced");
            }
            let _ = set.set(masters);
        });
        Opening { opened, intake: Intake::new() }
    }

    /// The masters; or in a sentence why there are none.
    pub(crate) fn masters(&self) -> Result<Arc<Masters>, String> {
        let waits = || Err("the masters of the workstations are being opened".into());
        self.opened.get().cloned().unwrap_or_else(waits)
    }
}

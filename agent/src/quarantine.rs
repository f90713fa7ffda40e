//! What must not stay at a destination is kept here, readable by nobody but the agent's own user.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::sys::fanotify::Located;
use crate::sys::stat::Stat;

/// Bytes that the quarantine keeps free on its disk.
pub(crate) const RESERVE: u64 = 256 << 20;

/// Why a file could not be taken away.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuarantineError {
    /// Its place cannot be made.
    #[error("the quarantine {path} cannot be used: {source}; make it a directory that the agent may write")]
    Place { path: PathBuf, source: io::Error },
    /// Too little room.
    #[error("the quarantine has no room for {bytes} bytes; free space on its disk")]
    Full { bytes: u64 },
    /// Somebody put another file into its place meanwhile.
    #[error("another file took its name while it was read; what is there now is judged on its own")]
    Replaced,
    /// Anything else.
    #[error("it could not be moved: {0}")]
    Failed(#[from] io::Error),
}

/// Where files are kept, below the state directory.
pub(crate) fn directory(state: &Path) -> PathBuf {
    state.join("quarantine")
}

/// Copies an open file into the quarantine below `state`, empties it (whoever else holds it has nothing)
/// and removes its name. Where it is kept.
pub(crate) fn take(state: &Path, file: &File, path: &Path, name: &str) -> Result<PathBuf, QuarantineError> {
    let directory = directory(state);
    let place = |source| QuarantineError::Place { path: directory.clone(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(place)?;
    let seen = Stat::of(file.as_fd())?;
    if room(&directory).map_err(place)? < seen.size.saturating_add(RESERVE) {
        return Err(QuarantineError::Full { bytes: seen.size });
    }
    let entry = Located::of(path)?;
    expect(&entry, &seen)?;
    let kept = directory.join(name);
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&kept).map_err(place)?;
    let mut source = file;
    source.seek(SeekFrom::Start(0))?;
    let copied = io::copy(&mut source, &mut copy).and_then(|_| copy.sync_all());
    if let Err(error) = copied {
        let _ = fs::remove_file(&kept);
        return Err(error.into());
    }
    // Where the file is not ours to write, taking its name away is what is left.
    let _ = empty(&entry, &seen);
    expect(&entry, &seen)?;
    entry.unlink()?;
    Ok(kept)
}

/// Takes a name away again that is a second one of a file (a hard link); the file itself is untouched.
pub(crate) fn unlink(entry: &Located, expected: &Stat) -> Result<(), QuarantineError> {
    expect(entry, expected)?;
    Ok(entry.unlink()?)
}

/// The entry is still the file that was judged.
pub(crate) fn expect(entry: &Located, expected: &Stat) -> Result<(), QuarantineError> {
    if Stat::located(entry).is_ok_and(|stat| stat.file == expected.file) {
        Ok(())
    } else {
        Err(QuarantineError::Replaced)
    }
}

fn empty(entry: &Located, expected: &Stat) -> Result<(), QuarantineError> {
    let file = entry.open_to_write()?;
    if Stat::of(file.as_fd())?.file != expected.file {
        return Err(QuarantineError::Replaced);
    }
    // A file that has another name elsewhere is not this destination's alone.
    if expected.links == 1 {
        file.set_len(0)?;
    }
    Ok(())
}

/// Free bytes of the disk that a directory lies on.
pub(crate) fn room(directory: &Path) -> io::Result<u64> {
    let stat = nix::sys::statvfs::statvfs(directory)?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_kept_and_its_place_is_empty() {
        let state = tempfile::tempdir().expect("a directory");
        let path = state.path().join("scan.tif");
        fs::write(&path, b"pixels").expect("a file");
        let file = File::open(&path).expect("open");
        let kept = take(state.path(), &file, &path, "1-scan.tif").expect("taken");
        assert_eq!(fs::read(kept).expect("kept"), b"pixels");
        assert!(!path.exists());
        assert_eq!(file.metadata().expect("metadata").len(), 0);
    }

    #[test]
    fn another_file_of_the_same_name_is_left_alone() {
        let state = tempfile::tempdir().expect("a directory");
        let path = state.path().join("scan.tif");
        fs::write(&path, b"pixels").expect("a file");
        let file = File::open(&path).expect("open");
        fs::rename(&path, state.path().join("moved.tif")).expect("moved");
        fs::write(&path, b"holiday").expect("another");
        assert!(matches!(take(state.path(), &file, &path, "1-x"), Err(QuarantineError::Replaced)));
        assert_eq!(fs::read(&path).expect("there"), b"holiday");
    }

    #[test]
    fn a_master_that_was_linked_keeps_its_content() {
        let state = tempfile::tempdir().expect("a directory");
        let master = state.path().join("master.tif");
        fs::write(&master, b"pixels").expect("a file");
        let link = state.path().join("link.tif");
        fs::hard_link(&master, &link).expect("a link");
        take(state.path(), &File::open(&link).expect("open"), &link, "1-link").expect("taken");
        assert_eq!(fs::read(&master).expect("there"), b"pixels");
        assert!(!link.exists());
    }
}

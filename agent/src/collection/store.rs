//! Opens the index of masters; one that is damaged is set aside and made anew.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use vitrine_fingerprint::{Index, IndexError};
use vitrine_policy::record::printable;

use super::Report;
use crate::fail::Failure;

/// Why there is no index.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Neither the old one nor a new one can be used.
    #[error("{0}; see that its directory can be written and has free space")]
    Unusable(#[from] IndexError),
    /// The damaged one cannot be moved.
    #[error("the index {path} is damaged and cannot be set aside: {source}; move it away by hand")]
    Stuck { path: PathBuf, source: std::io::Error },
}

/// Opens the index at `path`. A damaged one is renamed and begun anew: the masters are still there, so that
/// the first scan fills it again.
///
/// # Errors
/// No index can be used at this path.
pub(crate) fn open(path: &Path, report: &Report) -> Result<Index, StoreError> {
    let damage = match Index::open(path) {
        Ok(index) => return Ok(index),
        Err(error @ (IndexError::Damaged { .. } | IndexError::NotAnIndex { .. } | IndexError::Version { .. })) => error,
        Err(error) => return Err(error.into()),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let aside = beside(path, &format!(".damaged-{now}"));
    fs::rename(path, &aside).map_err(|source| StoreError::Stuck { path: path.into(), source })?;
    for part in ["-wal", "-shm"] {
        // SQLite's own; a new index must not meet the old one's.
        let _ = fs::rename(beside(path, part), beside(&aside, part));
    }
    let what = format!("{damage}; it was set aside as {} and is built again", printable(aside.as_os_str().as_bytes()));
    report(Failure::IndexSetAside.notice(Some(path.as_os_str().as_bytes()), what));
    Ok(Index::open(path)?)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_damaged_index_is_set_aside_and_begun_anew() {
        let lab = tempfile::tempdir().unwrap();
        let path = lab.path().join("index.db");
        fs::write(&path, "this is no database, whatever it once was, and long enough to be seen as none").unwrap();
        let told = Arc::new(Mutex::new(0));
        let counted = told.clone();
        let report: Report = Arc::new(move |_| *counted.lock().unwrap() += 1);
        assert!(open(&path, &report).unwrap().is_empty());
        assert_eq!((*told.lock().unwrap(), fs::read_dir(lab.path()).unwrap().count() >= 2), (1, true));
        assert!(open(&path, &report).unwrap().is_empty());
        assert_eq!(*told.lock().unwrap(), 1, "the new one is sound");
    }

    #[test]
    fn an_index_in_a_directory_that_is_not_there_is_an_error() {
        let report: Report = Arc::new(|_| ());
        assert!(open(Path::new("/nowhere/at/all/index.db"), &report).is_err());
    }
}

//! The empty files that refused creations leave behind, because the kernel asks only after it has made them.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use crate::sys::fanotify::Located;
use crate::sys::stat::Stat;

/// How many may wait to be removed.
const WAITING: usize = 1024;
/// Only as young a file is removed, in nanoseconds.
const YOUNG: i64 = 5_000_000_000;

/// A thread that may wait for a file system, and removes what it is sent.
pub(super) fn remover() -> SyncSender<PathBuf> {
    let (leftovers, left) = sync_channel::<PathBuf>(WAITING);
    std::thread::spawn(move || left.iter().for_each(|path| remove(&path)));
    leftovers
}

/// Removes the empty file that a refused creation leaves behind: still empty, just made, and nobody else's.
fn remove(path: &Path) {
    let now = jiff::Timestamp::now().as_nanosecond();
    let young = |stat: &Stat| stat.born.is_some_and(|born| (now - i128::from(born)).abs() < i128::from(YOUNG));
    let Ok(entry) = Located::of(path) else { return };
    if Stat::located(&entry).is_ok_and(|stat| stat.is_regular() && stat.size == 0 && stat.links == 1 && young(&stat)) {
        // It is gone, or somebody else's, where this fails.
        let _ = entry.unlink();
    }
}

//! Whether all directories of the collections can be watched.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Check, fail, pass, warn};
use crate::collection::existing;
use crate::policy_file;

/// Fewer watched directories than this are soon too few.
const FEW_WATCHES: u64 = 65_536;
/// How long directories are counted; a share may be slow.
const PATIENCE: Duration = Duration::from_secs(3);

/// The limit of inotify(7) for each user against the directories that are there.
pub(super) fn inotify(policy: &Path) -> Check {
    let policy = policy_file::read(policy).ok().and_then(|read| read.policy.ok());
    let roots = policy.iter().flat_map(|policy| &policy.collections).flat_map(|collection| collection.roots());
    let directories = count(roots.flat_map(existing).collect(), Instant::now() + PATIENCE);
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").unwrap_or_default();
    enough(limit.trim().parse().ok(), directories)
}

fn enough(watches: Option<u64>, directories: u64) -> Check {
    let name = "inotify";
    let meant = "new masters in the others are found within ten minutes";
    let wanted = directories.saturating_mul(4).max(1 << 20);
    let mend = format!(
        "echo fs.inotify.max_user_watches={wanted} | sudo tee /etc/sysctl.d/60-vitrine.conf && sudo sysctl --system"
    );
    match watches {
        None | Some(0) => fail(name, "directories cannot be watched: new masters are found within ten minutes", mend),
        Some(watches) if watches < directories => {
            let meaning =
                format!("the collections have {directories} directories and {watches} can be watched: {meant}");
            fail(name, meaning, mend)
        }
        Some(watches) if watches < FEW_WATCHES || watches / 2 < directories => {
            let meaning =
                format!("{watches} directories can be watched, and the collections have {directories}: soon {meant}");
            warn(name, meaning, mend)
        }
        Some(watches) => {
            pass(name, format!("up to {watches} directories can be watched; the collections have {directories}"))
        }
    }
}

/// Directories at and below these, as many as can be counted until `end`. Symbolic links are not followed.
fn count(mut directories: Vec<PathBuf>, end: Instant) -> u64 {
    let mut counted = 0;
    while let Some(directory) = directories.pop() {
        counted += 1;
        if Instant::now() >= end {
            return counted + directories.len() as u64;
        }
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        directories.extend(below.map(|entry| entry.path()));
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn the_limit_is_held_against_the_directories_that_are_there() {
        let state = |watches, directories| {
            let check = enough(watches, directories);
            assert!(check.mend.as_ref().is_none_or(|mend| mend.contains("max_user_watches=")), "{check:?}");
            check.state
        };
        assert_eq!(state(Some(1 << 20), 10), State::Pass);
        assert_eq!(state(Some(8192), 10), State::Warn);
        assert_eq!(state(Some(1 << 20), 600_000), State::Warn);
        assert_eq!(state(Some(8192), 8193), State::Fail);
        assert_eq!([state(None, 0), state(Some(0), 0)], [State::Fail; 2]);
        assert!(enough(Some(8192), 1 << 20).mend.unwrap().contains(&format!("={}", 4 << 20)));
    }

    #[test]
    fn directories_are_counted_without_their_links() {
        let lab = tempfile::tempdir().unwrap();
        fs::create_dir_all(lab.path().join("a/b/c")).unwrap();
        std::os::unix::fs::symlink(lab.path(), lab.path().join("a/loop")).unwrap();
        let far = Instant::now() + Duration::from_secs(60);
        assert_eq!(count(vec![lab.path().into(), "/nowhere".into()], far), 5);
        assert_eq!(count(vec![lab.path().into(), "/nowhere".into()], Instant::now()), 2);
    }
}

//! One test per way in which a spool can be damaged, lost or refused.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::process::Command;

use super::*;
use crate::fail::{Failure, counter};

/// A closed spool with ten records, of which four were sent and two acknowledged.
fn closed() -> tempfile::TempDir {
    let (state, spool) = world((0..10).map(|_| refused()));
    batch(&spool, 4);
    spool.acked(2).unwrap();
    drop(spool);
    assert!(!state.path().join("spool.db-wal").exists(), "closing leaves one file");
    state
}

fn set_aside(state: &Path) -> usize {
    let is = |name: &str| name.starts_with("spool.db.corrupt-") && !name.ends_with("-wal");
    fs::read_dir(state).unwrap().filter(|entry| is(&entry.as_ref().unwrap().file_name().to_string_lossy())).count()
}

/// Opens the damaged spool: it works, says so, and goes on counting. What is left of the ten records.
fn after_damage(state: &Path) -> usize {
    let spool = open(state, SpoolLimits::default());
    fill(&spool, [refused()]);
    let all = batch(&spool, 500);
    let failed = notices(&all, "spool-failed");
    assert_eq!(failed.len(), 1, "one record tells of it");
    assert!(failed[0].subject.as_ref().unwrap().contains("spool.db"), "{failed:?}");
    let new: Vec<_> = all.iter().filter(|record| record.sequence > 4).map(|record| record.sequence).collect();
    assert_eq!(new, (5..5 + new.len() as u64).collect::<Vec<_>>(), "numbers go on behind those that were given");
    assert!(all.iter().all(|record| record.sequence > 2));
    spool.acked(spool.last_sequence()).unwrap();
    assert_eq!(spool.depth(), 0);
    drop(spool);
    drop(open(state, SpoolLimits::default()));
    all.len() - 2
}

#[test]
fn a_truncated_spool_is_set_aside() {
    for keep in [1, 50, 100, 3000, 4096, 5000, 3 * 4096, 8 * 4096] {
        let state = closed();
        let file = OpenOptions::new().write(true).open(state.path().join("spool.db")).unwrap();
        assert!(file.metadata().unwrap().len() > keep, "{keep}");
        file.set_len(keep).unwrap();
        after_damage(state.path());
        assert_eq!(set_aside(state.path()), 1, "cut to {keep}");
    }
}

#[test]
fn a_spool_of_garbage_or_of_something_else_is_set_aside() {
    let state = closed();
    fs::write(state.path().join("spool.db"), "no database".repeat(10_000)).unwrap();
    assert_eq!(after_damage(state.path()), 0);
    let state = closed();
    fs::remove_file(state.path().join("spool.db")).unwrap();
    let other = rusqlite::Connection::open(state.path().join("spool.db")).unwrap();
    other.execute_batch("CREATE TABLE bookmarks (url)").unwrap();
    drop(other);
    assert_eq!(after_damage(state.path()), 0);
    assert_eq!(set_aside(state.path()), 1);
}

#[test]
fn of_a_spool_with_a_damaged_page_the_rest_is_taken_over() {
    let state = closed();
    let path = state.path().join("spool.db");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    // The index of ids: the table itself is whole.
    let db = rusqlite::Connection::open(&path).unwrap();
    let name = "sqlite_autoindex_record_1";
    let page: u64 =
        db.query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?", [name], |row| row.get(0)).unwrap();
    drop(db);
    file.write_all_at(&[0xff; 4096], (page - 1) * 4096).unwrap();
    assert_eq!(after_damage(state.path()), 8, "two of ten were acknowledged");
    assert_eq!(set_aside(state.path()), 1);
}

#[test]
fn damage_that_shows_later_is_set_aside_as_well() {
    let (state, spool) = world((0..3).map(|_| refused()));
    let corrupt = || rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), None);
    spool.shared.with_store(|store| Err::<(), _>(store.failed(corrupt()))).unwrap_err();
    fill(&spool, [refused()]);
    let all = batch(&spool, 500);
    assert_eq!((notices(&all, "spool-failed").len(), all.len()), (1, 5));
    assert_eq!(set_aside(state.path()), 1);
    spool.acked(5).unwrap();
    assert_eq!(spool.depth(), 0);
}

#[test]
fn a_spool_that_was_deleted_or_put_back_to_an_older_state_does_not_count_anew() {
    let state = closed();
    fs::remove_file(state.path().join("spool.db")).unwrap();
    assert_eq!(after_damage(state.path()), 0);
    assert_eq!(set_aside(state.path()), 0);

    let state = closed();
    let older = fs::read(state.path().join("spool.db")).unwrap();
    let spool = open(state.path(), SpoolLimits::default());
    assert_eq!(batch(&spool, 500).len(), 8);
    drop(spool);
    fs::write(state.path().join("spool.db"), older).unwrap();
    let spool = open(state.path(), SpoolLimits::default());
    fill(&spool, []);
    let all = batch(&spool, 500);
    assert_eq!(notices(&all, "spool-failed").len(), 1);
    assert_eq!(sequences(&all), [3, 4, 11, 12, 13, 14, 15, 16, 17], "5 to 10 may be with the collector already");
}

#[test]
fn a_record_that_cannot_be_read_back_leaves_no_hole() {
    let (state, spool) = world((0..3).map(|_| refused()));
    drop(spool);
    let db = rusqlite::Connection::open(state.path().join("spool.db")).unwrap();
    db.execute("UPDATE record SET body = 'rubbish' WHERE position = 2", []).unwrap();
    drop(db);
    let spool = open(state.path(), SpoolLimits::default());
    let all = batch(&spool, 500);
    assert_eq!(sequences(&all), [1, 2, 3]);
    assert_eq!(notices(&all, "spool-failed").len(), 1);
    assert_eq!(read(state.path(), 0, 10).unwrap().len(), 2);
}

#[test]
fn without_the_last_number_the_spool_itself_tells() {
    for damage in ["", "rubbish"] {
        let state = closed();
        fs::write(state.path().join("last-sequence"), damage).unwrap();
        let spool = open(state.path(), SpoolLimits::default());
        assert_eq!(sequences(&batch(&spool, 500)), (3..=10).collect::<Vec<_>>());
    }
}

#[test]
fn a_spool_of_a_newer_version_is_left_alone() {
    let state = closed();
    let db = rusqlite::Connection::open(state.path().join("spool.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let error = Spool::open(state.path(), host(), SpoolLimits::default()).err().unwrap();
    assert!(matches!(error, SpoolError::Newer { found: 99, .. }), "{error}");
    assert_eq!(set_aside(state.path()), 0);
}

#[test]
fn a_directory_that_takes_nothing_is_named() {
    let error = Spool::open(Path::new("/proc/self/vitrine"), host(), SpoolLimits::default()).err().unwrap();
    assert!(error.to_string().contains("/proc/self/vitrine") && error.to_string().contains("agent.toml"), "{error}");
    assert!(Spool::agent_id(Path::new("/proc/self")).is_err());
}

/// A file system of its own, gone with the test.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(size: &str) -> Option<Small> {
        let at = tempfile::tempdir().unwrap();
        let options = ["-t", "tmpfs", "-o", size, "tmpfs"];
        let mounted = nix::unistd::geteuid().is_root()
            && Command::new("mount").args(options).arg(at.path()).status().is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("skipped: a small file system can only be mounted by root");
            return None;
        }
        Some(Small(at))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn while_the_disk_is_full_records_wait_and_none_is_lost() {
    let Some(small) = Small::mount("size=8m") else { return };
    let state = small.0.path();
    let spool = open(state, SpoolLimits::default());
    let filler = state.join("filler");
    assert!(fs::write(&filler, vec![0; 16 << 20]).is_err(), "it is full");
    let before = counter(Failure::SpoolFailed);
    let mut pushed = 0;
    let began = Instant::now();
    while counter(Failure::SpoolFailed) == before {
        assert!(began.elapsed() < LONG);
        spool.push(refused());
        pushed += 1;
        spool.flush(Duration::from_millis(1));
    }
    assert!(!spool.flush(Duration::ZERO), "something waits");
    fs::remove_file(filler).unwrap();
    assert!(spool.flush(LONG));
    let mut told = 0;
    let mut kept = 0;
    while told == 0 {
        assert!(began.elapsed() < LONG);
        spool.flush(LONG);
        let all: Vec<_> = read(state, 0, 1_000_000).unwrap().into_iter().map(|entry| entry.record).collect();
        told = notices(&all, "spool-failed").len();
        kept = all.len() - told;
    }
    assert_eq!((kept, told), (pushed, 1));
}

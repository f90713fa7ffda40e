//! The directory of index, spool and quarantine.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::super::index::shown;
use super::super::status;
use super::{Check, fail, pass, warn};
use crate::config::SpoolLimits;
use crate::quarantine;
use crate::spool::{self, SpoolError};

/// Below so much free space, in bytes, records and index may not fit; below a sixteenth of it they do not.
const LITTLE_SPACE: u64 = 1 << 30;
/// Share of the records that may wait at which it is time to look for the collector, in percent.
const NEARLY_FULL: u64 = 80;
/// Files of the quarantine that are counted.
const MOST_KEPT: usize = 100_000;

pub(super) fn directory(directory: &Path) -> Check {
    let name = "state";
    let shown = shown(directory);
    let mend = format!("sudo install -d -m 755 '{shown}', or give another one with --state");
    let Some(nearest) = directory.ancestors().find(|directory| directory.exists()) else {
        return fail(name, format!("{shown} has no directory above it"), mend);
    };
    if !nearest.is_dir() || access(nearest, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        return fail(
            name,
            format!("{shown} cannot be written: the agent keeps records and index in memory, and sends nothing"),
            mend,
        );
    }
    let space = match statvfs(nearest) {
        Ok(file_system) => file_system.blocks_available().saturating_mul(file_system.fragment_size()),
        Err(error) => return warn(name, format!("the free space of {shown} is not known ({error})"), mend),
    };
    let mib = space / 1024 / 1024;
    let mend = format!("df -h '{shown}'; remove what is not needed there");
    if space < LITTLE_SPACE / 16 {
        fail(name, format!("{shown} has {mib} MiB free: records and fingerprints do not fit"), mend)
    } else if space < LITTLE_SPACE {
        warn(name, format!("{shown} has {mib} MiB free: records of a long time offline may not fit"), mend)
    } else {
        pass(name, format!("{shown} can be written and has {mib} MiB free"))
    }
}

/// The records that wait for the collector, and the room that they take.
pub(super) fn spool(state: &Path, limits: SpoolLimits) -> Check {
    let name = "spool";
    match spool::read_newest(state, 1) {
        Ok(_) => {}
        Err(SpoolError::Absent { .. }) => {
            return pass(name, "nothing is recorded yet; the agent makes it at its start");
        }
        Err(error) => {
            let mend = "sudo systemctl restart vitrine (it sets a damaged spool aside); journalctl -u vitrine";
            return fail(name, format!("{error}: nothing can be shown"), mend);
        }
    }
    let database = spool::database(state);
    let log = database.with_extension("db-wal");
    let bytes = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mib = (bytes(&database) + bytes(&log)).div_ceil(1 << 20);
    let waiting = status::read(state).ok().flatten().map_or(0, |status| status.spool_depth);
    let most = limits.max_records;
    let told = format!("{waiting} of at most {most} records wait for the collector, in {mib} MiB");
    let mend =
        "vitrine status, which says how it stands with the collector; or raise max-records in [spool] of agent.toml";
    if waiting >= most {
        fail(name, format!("{told}: with each new one the oldest of the lowest class goes"), mend)
    } else if waiting >= most / 100 * NEARLY_FULL {
        warn(name, format!("{told}: soon the oldest of the lowest class go"), mend)
    } else {
        pass(name, told)
    }
}

/// Where what was taken back is kept: masters, for nobody else to read.
pub(super) fn quarantine(state: &Path) -> Check {
    let name = "quarantine";
    let directory = quarantine::directory(state);
    let shown = shown(&directory);
    let metadata = match fs::symlink_metadata(&directory) {
        Ok(metadata) => metadata,
        Err(_) => return pass(name, "nothing was taken back yet; it is made when something is"),
    };
    if !metadata.is_dir() {
        let meaning = format!("{shown} is no directory: what should not stay at a destination cannot be taken back");
        return fail(name, meaning, format!("sudo mv '{shown}' '{shown}.old'"));
    }
    if metadata.mode() & 0o077 != 0 {
        let meaning = format!("{shown} is open to others: they can read the masters that were taken back");
        return fail(name, meaning, format!("sudo chmod 700 '{shown}'"));
    }
    let is_short = quarantine::room(&directory).is_ok_and(|room| room < quarantine::RESERVE);
    if is_short {
        let meaning = format!("the disk of {shown} is nearly full: what should not stay at a destination stays there");
        return fail(name, meaning, format!("sudo ls -l '{shown}'; move what is settled to the archive"));
    }
    let entries = fs::read_dir(&directory).into_iter().flatten().flatten().take(MOST_KEPT);
    let (files, bytes) = entries
        .filter_map(|entry| entry.metadata().ok())
        .fold((0_usize, 0_u64), |(files, bytes), metadata| (files + 1, bytes.saturating_add(metadata.len())));
    pass(name, format!("{shown} is closed to others and keeps {files} file(s), {} MiB", bytes.div_ceil(1 << 20)))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::cli::status::Status;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_state_directory_need_not_be_there_yet() {
        let lab = tempfile::tempdir().unwrap();
        assert_ne!(directory(&lab.path().join("not/yet")).state, State::Fail);
        fs::write(lab.path().join("file"), "").unwrap();
        let check = directory(&lab.path().join("file"));
        assert!(check.state == State::Fail && check.mend.unwrap().starts_with("sudo install -d"));
    }

    #[test]
    fn a_spool_is_absent_damaged_nearly_full_or_full() {
        let lab = tempfile::tempdir().unwrap();
        let limits = SpoolLimits { max_records: 1000, keep_sent: 10 };
        assert_eq!(spool(lab.path(), limits).state, State::Pass);
        let host = vitrine_policy::record::Host {
            agent: spool::Spool::agent_id(lab.path()).unwrap(),
            name: "scan-01".into(),
            agent_version: "0".into(),
        };
        drop(spool::Spool::open(lab.path(), host, limits).unwrap());
        let waiting = |spool_depth| {
            status::write(lab.path(), &Status { spool_depth, ..Status::default() }).unwrap();
            let check = spool(lab.path(), limits);
            assert!(check.mend.as_ref().is_none_or(|mend| mend.starts_with("vitrine status")), "{check:?}");
            check.state
        };
        assert_eq!([waiting(10), waiting(800), waiting(1000)], [State::Pass, State::Warn, State::Fail]);
        fs::write(spool::database(lab.path()), "no database").unwrap();
        let check = spool(lab.path(), limits);
        assert!(check.state == State::Fail && check.mend.unwrap().contains("restart vitrine"));
    }

    #[test]
    fn a_quarantine_is_closed_to_others() {
        let lab = tempfile::tempdir().unwrap();
        assert_eq!(quarantine(lab.path()).state, State::Pass);
        let directory = quarantine::directory(lab.path());
        fs::write(&directory, "").unwrap();
        assert!(quarantine(lab.path()).mend.unwrap().starts_with("sudo mv"));
        fs::remove_file(&directory).unwrap();
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        let check = quarantine(lab.path());
        assert!(check.state == State::Fail && check.mend.unwrap().starts_with("sudo chmod 700"));
        fs::set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
        fs::write(directory.join("a"), "x").unwrap();
        let check = quarantine(lab.path());
        assert!(check.state == State::Fail || check.meaning.contains("1 file(s), 1 MiB"), "{check:?}");
    }
}

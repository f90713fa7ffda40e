//! Where the state directory cannot be written (a root that is read-only, a disk that is full or broken), the agent guards
//! all the same: it keeps its state in memory, below /run, until it is started with a directory that can be written. That
//! one gets all of it.
//!
//! Nothing is sent to the collector meanwhile: numbers that were given to records and went with the memory would be given
//! again, and what comes second under a number is not taken.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use vitrine_policy::record::Event;

use crate::cli::status;
use crate::config::Config;
use crate::fail::Failure;
use crate::spool::{self, Spool};
use crate::sys::make_private;

/// Where stand-ins lie, in memory (file-hierarchy(7)).
const RUN: &str = "/run/vitrine";
/// Room that a state directory must have, in bytes: what its databases take to be opened.
const ROOM: usize = 1 << 20;
/// Bytes that are copied into memory at most.
const MOST: u64 = 256 << 20;
/// What is copied, by the beginnings of names. The spool's records go another way; the rest is of one run, or of others.
const COPIED: [&str; 11] = [
    "agent-id",
    "approvals.json",
    "clock.json",
    "history.db",
    "identity.json",
    INDEX,
    "installed.json",
    "labels.json",
    "maintenance.json",
    "policy.",
    "quarantine",
];
/// What is not given back: a scan brings it up to date.
const INDEX: &str = "index.db";

/// The state that another directory stands in for.
#[derive(Clone, Debug)]
pub(crate) struct StandIn {
    /// Where it lies.
    pub(crate) state: PathBuf,
    /// What is wrong with it, and what follows.
    pub(crate) told: String,
}

/// Where the stand-in of a state directory lies.
fn of(state: &Path) -> PathBuf {
    let digest = blake3::hash(state.as_os_str().as_bytes()).to_hex();
    Path::new(RUN).join(digest.get(..16).unwrap_or_default())
}

/// The directory that is in use for this state; for whoever asks the agent.
pub(crate) fn in_use(state: PathBuf) -> PathBuf {
    let stand_in = of(&state);
    if stand_in.join(status::FILE).exists() { stand_in } else { state }
}

/// Sees to it that the agent can keep its state, in its directory or in a stand-in. What there is to record.
///
/// # Errors
/// Neither can be written, or another agent runs with the stand-in.
pub(crate) fn settle(config: &mut Config) -> anyhow::Result<Option<Event>> {
    let stand_in = of(&config.state);
    anyhow::ensure!(
        !is_held(&stand_in),
        "another agent keeps the state of {} in {}; stop it first (`systemctl stop vitrine`)",
        config.state.display(),
        stand_in.display()
    );
    let Err(error) = try_out(&config.state) else { return Ok(None) };
    // Others than root have no place for one. Who holds the state is told of by the spool.
    if !nix::unistd::geteuid().is_root() || is_held(&config.state) {
        return Ok(None);
    }
    make_private(&stand_in)?;
    // One that an agent has run with knows more than the directory.
    let missing = match stand_in.join(status::FILE).exists() {
        true => Vec::new(),
        false => copy(&config.state, &stand_in, &is_copied, &mut MOST.clone()),
    };
    let mut told = format!(
        "the state directory {} cannot be written ({error}): its content is kept in memory, at {}, and nothing is sent to \
         the collector. Free space there, or mount it for writing, and `systemctl restart vitrine`",
        config.state.display(),
        stand_in.display()
    );
    if !missing.is_empty() {
        told = format!("{told}. Without {}", missing.join(", "));
    }
    tracing::error!("{told}");
    let event = Failure::StateFailed.notice(Some(config.state.as_os_str().as_bytes()), &told);
    let state = std::mem::replace(&mut config.state, stand_in);
    config.stands_in = Some(StandIn { state, told });
    Ok(Some(event))
}

/// Gives a state directory that can be written again what was kept in its stand-in. What there is to record.
pub(crate) fn give_back(state: &Path, spool: &Spool) -> Option<Event> {
    let stand_in = of(state);
    if !stand_in.exists() {
        return None;
    }
    let given = || -> anyhow::Result<u64> {
        // A log of the old database must not meet the new one.
        let _ = fs::remove_file(state.join("history.db-wal"));
        let is_given = |name: &str| is_copied(name) && !name.starts_with(INDEX);
        let missing = copy(&stand_in, state, &is_given, &mut u64::MAX.clone());
        anyhow::ensure!(missing.is_empty(), "{} could not be copied", missing.join(", "));
        let records = if spool::database(&stand_in).exists() { spool.take_over(&stand_in)? } else { 0 };
        fs::remove_dir_all(&stand_in)?;
        Ok(records)
    };
    let what = match given() {
        Ok(records) => format!(
            "the state directory {} can be written again, and has what was kept in memory: {records} records among it",
            state.display()
        ),
        Err(error) => format!(
            "what was kept in memory at {} cannot be given back to the state directory {}: {error:#}. Copy it away before \
             the workstation is started anew",
            stand_in.display(),
            state.display()
        ),
    };
    Some(Failure::StateFailed.notice(Some(state.as_os_str().as_bytes()), what))
}

/// Whether an agent runs with this state.
fn is_held(state: &Path) -> bool {
    spool::lock(state).is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Makes the directory and writes as much into it as a start may take.
fn try_out(state: &Path) -> anyhow::Result<()> {
    make_private(state)?;
    let mut file = tempfile::NamedTempFile::new_in(state).map_err(|error| io::Error::from(error.kind()))?;
    file.as_file_mut().write_all(&vec![0x56; ROOM])?;
    file.as_file().sync_all()?;
    Ok(())
}

fn is_copied(name: &str) -> bool {
    // What SQLite keeps in memory by a name is of one run.
    COPIED.iter().any(|beginning| name.starts_with(beginning)) && !name.ends_with("-shm")
}

/// Copies the files and directories that are `wanted`, onto the disk, as far as `left` bytes go. What was not copied.
fn copy(from: &Path, to: &Path, wanted: &dyn Fn(&str) -> bool, left: &mut u64) -> Vec<String> {
    let mut missing = Vec::new();
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let (name, there) = (entry.file_name().to_string_lossy().into_owned(), to.join(entry.file_name()));
        let Ok(metadata) = entry.metadata() else { continue };
        if !wanted(&name) {
            continue;
        }
        if metadata.is_dir() {
            if fs::create_dir_all(&there).and_then(|()| fs::set_permissions(&there, metadata.permissions())).is_ok() {
                missing.extend(copy(&entry.path(), &there, &|_| true, left));
            } else {
                missing.push(name);
            }
        } else if metadata.is_file() {
            let copied = || {
                fs::copy(entry.path(), &there)?;
                File::open(&there)?.sync_all()
            };
            let fits = metadata.len() <= *left;
            match if fits { copied() } else { Err(io::ErrorKind::StorageFull.into()) } {
                Ok(()) => *left -= metadata.len(),
                Err(_) => missing.push(name),
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_one_run_stays_and_what_does_not_fit_is_named() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("quarantine")).unwrap();
        for (name, bytes) in
            [("spool.db", 1), ("others", 1), ("labels.json", 10), ("quarantine/1.tif", 20), ("index.db", 900)]
        {
            fs::write(from.path().join(name), vec![7; bytes]).unwrap();
        }
        let mut left = 100;
        let missing = copy(from.path(), to.path(), &is_copied, &mut left);
        assert_eq!((missing, left), (vec!["index.db".to_owned()], 70));
        assert!(to.path().join("labels.json").exists() && to.path().join("quarantine/1.tif").exists());
        assert!(!to.path().join("spool.db").exists() && !to.path().join("others").exists());
    }

    #[test]
    fn a_state_that_nothing_stands_in_for_is_itself() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(in_use(state.path().to_owned()), state.path());
        assert!(try_out(state.path()).is_ok() && fs::read_dir(state.path()).unwrap().count() == 0);
        fs::write(state.path().join("file"), "").unwrap();
        assert!(try_out(&state.path().join("file")).is_err());
    }
}

//! Where the state directory cannot be written (a root that is read-only, a disk that is full or broken), the agent guards
//! all the same: it keeps its state in memory, below /run, until it is started with a directory that can be written. That
//! one gets all of it.
//!
//! Nothing is sent to the collector meanwhile: numbers that were given to records and went with the memory would be given
//! again, and what comes second under a number is not taken.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
/// Bytes that are copied into memory at most, and of the room below /run a quarter.
const MOST: u64 = 256 << 20;
/// How often it is tried whether the directory can be written again.
const AGAIN: Duration = Duration::from_secs(60);
/// What is copied, by the beginnings of names, and whether it is given back. The spool's records go another way; the rest
/// is of one run, or of others. The index is brought up to date by a scan.
const COPIED: [(&str, bool); 9] = [
    (AGENT, false),
    ("approvals.json", true),
    ("clock.json", true),
    (HISTORY, true),
    (INDEX, false),
    ("installed.json", true),
    ("labels.json", true),
    ("maintenance.json", true),
    ("policy.", true),
];
const INDEX: &str = "index.db";
/// In a stand-in, the names of what could not be copied into it.
const MISSING: &str = "missing";
/// Who the records are of.
const AGENT: &str = "agent-id";
/// What was counted, in a database.
const HISTORY: &str = "history.db";
/// Files that were taken away. Those of before stay where they are.
const QUARANTINE: &str = "quarantine";

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
    let Err(error) = try_out(&config.state) else {
        give_name_back(&config.state)?;
        return Ok(None);
    };
    // Others than root have no place for one. Who holds the state is told of by the spool.
    if !nix::unistd::geteuid().is_root() || is_held(&config.state) {
        return Ok(None);
    }
    make_private(&stand_in)?;
    // Users have to reach the agent's socket, whatever mask it was started with.
    for directory in [Path::new(RUN), &stand_in] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    }
    let missing = copy(&config.state, &stand_in)?;
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

/// Gives a state directory that can be written again the name of the agent that its stand-in has records of, where it has
/// none of its own. To be done before anything else is given back.
///
/// # Errors
/// It cannot be written.
fn give_name_back(state: &Path) -> io::Result<()> {
    let (name, own) = (of(state).join(AGENT), state.join(AGENT));
    if name.exists() && !own.exists() { replace(&name, &own) } else { Ok(()) }
}

/// Gives a state directory that can be written again what was kept in its stand-in, each thing whole and once: what could
/// not be given stays there for the next start. What there is to record.
pub(crate) fn give_back(state: &Path, spool: &Spool) -> Option<Event> {
    let stand_in = of(state);
    if !stand_in.exists() {
        return None;
    }
    let given = || -> anyhow::Result<u64> {
        // Nobody asks an agent that has ended.
        remove(&stand_in.join(status::FILE))?;
        let of_whom = |directory: &Path| fs::read(directory.join(AGENT)).ok();
        anyhow::ensure!(of_whom(&stand_in) == of_whom(state), "it is of another agent, by its {AGENT}");
        give_files_back(&stand_in.join(QUARANTINE), &state.join(QUARANTINE))?;
        let database = spool::database(&stand_in);
        let records = if database.exists() { spool.take_over(&stand_in)? } else { 0 };
        remove(&database)?;
        let mut failed = Vec::new();
        let missing = missing(&stand_in);
        for (name, is_given) in kept(&stand_in)? {
            // Beside a database lies nothing that it would not have taken in.
            let is_beside = name != HISTORY && name.starts_with(HISTORY);
            if is_given && !is_beside && !missing.contains(&name) {
                failed.extend(give_one_back(&name, &stand_in, state).err().map(|error| format!("{name}: {error:#}")));
            }
        }
        anyhow::ensure!(failed.is_empty(), "{}", failed.join("; "));
        fs::remove_dir_all(&stand_in)?;
        Ok(records)
    };
    let what = match given() {
        Ok(records) => format!(
            "the state directory {} can be written again, and has what was kept in memory: {records} records among it",
            state.display()
        ),
        Err(error) => format!(
            "what was kept in memory at {} cannot be given back to the state directory {}: {error:#}. Mend that, and \
             `systemctl restart vitrine`, or copy it away before the workstation is started anew",
            stand_in.display(),
            state.display()
        ),
    };
    Some(Failure::StateFailed.notice(Some(state.as_os_str().as_bytes()), what))
}

/// Gives one file back, unless there is a later one by now.
fn give_one_back(name: &str, stand_in: &Path, state: &Path) -> anyhow::Result<()> {
    let (from, to) = (stand_in.join(name), state.join(name));
    if name == HISTORY {
        // Its journal goes into it, and that of the old one must not meet the new one (sqlite.org/lockingv3.html, "hot
        // journals").
        rusqlite::Connection::open(&from)?.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    }
    let written = |file: &Path| fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
    if written(&to) <= written(&from) {
        if name == HISTORY {
            remove(&state.join(format!("{HISTORY}-journal")))?;
        }
        replace(&from, &to)?;
    }
    remove(&from)?;
    Ok(())
}

/// Tries now and then whether the directory can be written again; a disk that is dying lets wait who tries.
#[derive(Default)]
pub(crate) struct Trial {
    is_over: Arc<AtomicBool>,
}

impl Trial {
    /// Begins, where something stands in for the directory.
    pub(crate) fn begin(config: &Config) -> Trial {
        let trial = Trial::default();
        if let Some(StandIn { state, .. }) = config.stands_in.clone() {
            let is_over = trial.is_over.clone();
            // Without a thread it waits for somebody to start it anew.
            let _ = std::thread::Builder::new().name("trial".into()).spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::thread::sleep(AGAIN);
                    is_over.store(try_out(&state).is_ok(), Ordering::Relaxed);
                }
            });
        }
        trial
    }

    /// Whether it can.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

/// Moves files that were taken away; none takes another's place.
fn give_files_back(from: &Path, to: &Path) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    if !to.exists() {
        fs::DirBuilder::new().mode(0o700).create(to)?;
    }
    for entry in entries.flatten() {
        let there = to.join(entry.file_name());
        if entry.metadata()?.is_dir() {
            give_files_back(&entry.path(), &there)?;
        } else if !there.exists() {
            replace(&entry.path(), &there)?;
            remove(&entry.path())?;
        }
    }
    Ok(())
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

/// Puts a copy of a file into a place, whole or not at all, and onto the disk.
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    let directory = to.parent().unwrap_or(Path::new("/"));
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    let mut old = File::open(from)?;
    io::copy(&mut old, new.as_file_mut())?;
    new.as_file().set_permissions(old.metadata()?.permissions())?;
    new.as_file().sync_all()?;
    new.persist(to)?;
    File::open(directory)?.sync_all()
}

/// Removes a file that may not be there.
fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What of a directory may be kept elsewhere, and whether it is given back; the index last, which may be large.
fn kept(directory: &Path) -> io::Result<Vec<(String, bool)>> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(directory)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // What SQLite keeps in memory by a name is of one run.
        let known = COPIED.iter().find(|(beginning, _)| name.starts_with(beginning) && !name.ends_with("-shm"));
        if let Some((_, is_given)) = known.filter(|_| entry.metadata().is_ok_and(|metadata| metadata.is_file())) {
            kept.push((name, *is_given));
        }
    }
    kept.sort_by_key(|(name, _)| name.starts_with(INDEX));
    Ok(kept)
}

/// What could not be copied into a stand-in, as far as is known: what it has by these names began with nothing.
fn missing(stand_in: &Path) -> Vec<String> {
    let text = fs::read_to_string(stand_in.join(MISSING)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Copies what a start needs of a state directory, as far as there is room, and what the stand-in does not know better.
/// What was not copied, which is noted down there.
fn copy(from: &Path, to: &Path) -> io::Result<Vec<String>> {
    let room = nix::sys::statvfs::statvfs(to).map_or(MOST, |room| room.blocks_available() * room.fragment_size() / 4);
    let mut left = MOST.min(room);
    let mut missing = missing(to);
    for (name, _) in kept(from).unwrap_or_default() {
        let (old, new) = (from.join(&name), to.join(&name));
        if new.exists() || missing.contains(&name) {
            continue;
        }
        let size = fs::metadata(&old).map_or(u64::MAX, |metadata| metadata.len());
        if size <= left && replace(&old, &new).is_ok() {
            left -= size;
        } else {
            missing.push(name);
        }
    }
    fs::write(to.join(MISSING), missing.join("\n"))?;
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_one_run_stays_and_nothing_is_half_there() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join(QUARANTINE)).unwrap();
        for name in ["spool.db", "others", "labels.json", "policy.good.toml", "quarantine/1.tif", "history.db-shm"] {
            fs::write(from.path().join(name), name).unwrap();
        }
        let beyond = File::create(from.path().join("index.db")).unwrap();
        beyond.set_len(MOST + 1).unwrap();
        assert_eq!(copy(from.path(), to.path()).unwrap(), ["index.db"]);
        fs::write(to.path().join("labels.json"), "later").unwrap();
        fs::write(to.path().join("index.db"), "of this run").unwrap();
        assert_eq!(copy(from.path(), to.path()).unwrap(), ["index.db"]);
        assert_eq!(fs::read(to.path().join("labels.json")).unwrap(), b"later");
        let mut found: Vec<_> = fs::read_dir(to.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        found.sort();
        assert_eq!(found, ["index.db", "labels.json", MISSING, "policy.good.toml"]);
    }

    #[test]
    fn a_file_that_was_taken_away_keeps_its_place() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [from, to] = [from.path().join(QUARANTINE), to.path().join(QUARANTINE)];
        for directory in [&from, &to] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("1.tif"), directory.as_os_str().as_bytes()).unwrap();
        }
        fs::write(from.join("2.tif"), "new").unwrap();
        give_files_back(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("1.tif")).unwrap(), to.as_os_str().as_bytes());
        assert_eq!(fs::read(to.join("2.tif")).unwrap(), b"new");
        assert!(from.join("1.tif").exists() && !from.join("2.tif").exists());
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

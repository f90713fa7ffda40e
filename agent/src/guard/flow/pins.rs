//! What keeps the kernel's side there: names in the BPF file system, which outlive the agent, and the right to them.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libbpf_rs::{Link, MapHandle, libbpf_sys};

use super::kernel::{COUNTERS, is_asked};
use super::shield;

/// The BPF file system.
const BPF_FS: &str = "/sys/fs/bpf";
/// Where everything is pinned.
pub(super) const PINS: &str = "/sys/fs/bpf/vitrine";
const MAPS: &str = "maps";
const LINKS: &str = "links";
/// How long the kernel may take to let go of programs.
const LETTING_GO: Duration = Duration::from_secs(20);
/// How long an agent that has been told to stop may take.
const TAKING_LEAVE: Duration = Duration::from_secs(3);

/// Where a map is pinned.
pub(super) fn map(name: &Path) -> PathBuf {
    Path::new(PINS).join(MAPS).join(name)
}

/// Where the link of a program is pinned.
pub(super) fn link(name: &Path) -> PathBuf {
    Path::new(PINS).join(LINKS).join(name)
}

/// Whether an earlier agent has left any maps.
pub(super) fn are_there() -> bool {
    fs::read_dir(map(Path::new(""))).is_ok_and(|mut pins| pins.next().is_some())
}

/// The right to what is pinned: one agent of the machine has it, as long as this lives.
#[derive(Debug)]
pub(super) struct Claim(#[expect(dead_code, reason = "the lock is the open file's")] File);

impl Claim {
    /// Waits a moment for an agent that is about to end.
    ///
    /// # Errors
    /// Another agent has it, or there is no BPF file system.
    pub(super) fn stake() -> io::Result<Claim> {
        mount()?;
        let root = File::open(BPF_FS)?;
        let began = Instant::now();
        loop {
            match root.try_lock() {
                Ok(()) => return Ok(Claim(root)),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if began.elapsed() < TAKING_LEAVE => {
                    std::thread::sleep(TAKING_LEAVE / 60);
                }
                Err(TryLockError::WouldBlock) => {
                    let what =
                        "another agent guards this machine in the kernel; stop it first (`systemctl stop vitrine`)";
                    return Err(io::Error::new(io::ErrorKind::ResourceBusy, what));
                }
            }
        }
    }
}

fn mount() -> io::Result<()> {
    let is_mounted = || {
        nix::sys::statfs::statfs(BPF_FS).is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC)
    };
    if is_mounted() {
        return Ok(());
    }
    nix::mount::mount(Some("bpf"), BPF_FS, Some("bpf"), nix::mount::MsFlags::empty(), Some("mode=0700"))
        .map_err(|error| io::Error::other(format!("the BPF file system cannot be mounted at {BPF_FS}: {error}")))
}

/// Makes our directories, which are nobody else's.
pub(super) fn prepare() -> io::Result<()> {
    mount()?;
    for directory in [MAPS, LINKS] {
        DirBuilder::new().recursive(true).mode(0o700).create(Path::new(PINS).join(directory))?;
    }
    Ok(())
}

/// Everything that is pinned, held by the agent too: so nothing ends with its name.
pub(super) struct Pinned {
    pub(super) links: Vec<(PathBuf, Link)>,
    pub(super) maps: Vec<(PathBuf, MapHandle)>,
}

impl Pinned {
    /// Gives their names back to those that have lost them. How many had.
    ///
    /// # Errors
    /// A name cannot be given.
    pub(super) fn keep(&self) -> io::Result<usize> {
        let mut lost = 0;
        let links = self.links.iter().map(|(path, link)| (path, link.as_fd()));
        for (path, held) in links.chain(self.maps.iter().map(|(path, map)| (path, map.as_fd()))) {
            if path.symlink_metadata().is_err() {
                prepare()?;
                pin(held, path)?;
                lost += 1;
            }
        }
        Ok(lost)
    }
}

/// Gives a name to what `held` is.
pub(super) fn pin(held: impl AsFd, path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the descriptor is open as long as `held` is borrowed, and the name ends with a zero byte.
    match unsafe { libbpf_sys::bpf_obj_pin(held.as_fd().as_raw_fd(), name.as_ptr()) } {
        0 => Ok(()),
        error => {
            let error = io::Error::from_raw_os_error(-error);
            Err(io::Error::new(error.kind(), format!("{} cannot be pinned: {error}", path.display())))
        }
    }
}

/// Takes the name away; that there was none is as good.
pub(super) fn unpin(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes the links away that are not among these: of programs that an earlier agent's version had and ours has not.
pub(super) fn unpin_others(links: &[(PathBuf, Link)]) -> io::Result<()> {
    for pinned in fs::read_dir(link(Path::new("")))? {
        let path = pinned?.path();
        if links.iter().all(|(known, _)| *known != path) {
            unpin(&path)?;
        }
    }
    Ok(())
}

/// Takes everything away that is pinned, by the right to it.
///
/// # Errors
/// The names cannot be taken away.
pub(super) fn clear(_claim: &Claim) -> io::Result<()> {
    remove(Path::new(PINS))
}

/// Takes the names of the maps away, by the right to them: what they hold goes with the last program that uses it.
///
/// # Errors
/// The names cannot be taken away.
pub(super) fn clear_maps(_claim: &Claim) -> io::Result<()> {
    remove(&map(Path::new("")))
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes away what an agent has left that has ended; that of one that runs stays.
///
/// # Errors
/// The names cannot be taken away.
pub(crate) fn clear_what_is_left() -> io::Result<()> {
    if !Path::new(PINS).exists() {
        return Ok(());
    }
    shield::may_be_taken_away()?;
    match Claim::stake() {
        Ok(claim) => clear(&claim),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes everything away, and waits until nothing is guarded any more: the kernel lets go of programs when no task
/// can be within them, which takes some seconds. Whether there was anything.
///
/// # Errors
/// An agent that runs has it, the names cannot be taken away, or the kernel asks the programs still.
pub(crate) fn detach() -> io::Result<bool> {
    let is_there = Path::new(PINS).try_exists();
    if !is_there.map_err(|error| io::Error::new(error.kind(), format!("{PINS}: {error}; only root may look there")))? {
        return Ok(false);
    }
    shield::may_be_taken_away()?;
    let claim = Claim::stake()?;
    let counters = MapHandle::from_pinned_path(map(Path::new(COUNTERS))).ok();
    clear(&claim)?;
    let began = Instant::now();
    while counters.as_ref().is_some_and(is_asked) {
        if began.elapsed() > LETTING_GO {
            let what = format!("after {} s the kernel asks it still: only a restart ends that", LETTING_GO.as_secs());
            return Err(io::Error::other(what));
        }
        std::thread::sleep(LETTING_GO / 200);
    }
    Ok(true)
}

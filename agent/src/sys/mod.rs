//! Safe wrappers of system calls that no library wraps. Unsafe code lives only here.
#![allow(unsafe_code)]

pub(crate) mod connector;
pub(crate) mod fanotify;
pub(crate) mod stat;

/// Ends the process at once, without destructors or handlers.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: takes an integer and does not return.
    unsafe { libc::_exit(status) }
}

/// As many descriptors as this process may have: each event of the kernel brings one.
pub(crate) fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// Makes the directory of what nobody else may read.
pub(crate) fn make_private(directory: &std::path::Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(|error| {
        anyhow::anyhow!(
            "the state directory {} cannot be made: {error}; give another one with --state",
            directory.display()
        )
    })
}

/// Puts the calling thread before all others: what it has to read is gone in a millisecond. Being refused
/// that is no failure.
pub(crate) fn hurry() {
    // SAFETY: the call takes plain integers, and means the calling thread where it is given 0 (setpriority(2),
    // "C library/kernel differences").
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, -20);
    }
}

/// Who opens a file for writing while a lease is held on it makes a signal (fcntl(2), `F_SETLEASE`) that would end this process.
pub(crate) fn outlive_leases() {
    // SAFETY: to ignore a signal runs no code of ours.
    unsafe {
        libc::signal(libc::SIGIO, libc::SIG_IGN);
    }
}

/// Whether anybody has a file open for writing that is open here for reading: the kernel grants a read lease only where nobody has
/// (fcntl(2), `F_SETLEASE`). A file system without leases is asked by nobody, and the answer is no.
pub(crate) fn is_being_written(file: &std::fs::File) -> bool {
    use std::os::fd::AsRawFd;
    // SAFETY: both calls take a descriptor that lives until the end and an integer.
    let granted = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) };
    if granted == 0 {
        // SAFETY: as above.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
        return false;
    }
    std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)
}

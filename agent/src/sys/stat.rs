//! statx(2) with what the kernel knows already: a server or FUSE daemon that hangs is not asked, so that
//! this is safe while a system call waits for its answer.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::fanotify::Located;
use crate::identify::FileId;

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) file: FileId,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) links: u32,
    pub(crate) size: u64,
    /// Nanoseconds since 1970 of the last change of content.
    pub(crate) modified: i64,
    /// Nanoseconds since 1970 of the last change of anything, which nobody can set.
    pub(crate) changed: i64,
    /// Nanoseconds since 1970 of its creation, where the file system knows.
    pub(crate) born: Option<i64>,
}

impl Stat {
    /// Of an open file.
    pub(crate) fn of(file: BorrowedFd<'_>) -> io::Result<Stat> {
        statx(file.as_raw_fd(), c"", libc::AT_EMPTY_PATH)
    }

    /// Of what a path, or a link in `/proc`, leads to.
    pub(crate) fn at(path: &Path) -> io::Result<Stat> {
        statx(libc::AT_FDCWD, &CString::new(path.as_os_str().as_bytes())?, 0)
    }

    /// Of what a path names, be it a symbolic link.
    pub(crate) fn named(path: &Path) -> io::Result<Stat> {
        statx(libc::AT_FDCWD, &CString::new(path.as_os_str().as_bytes())?, libc::AT_SYMLINK_NOFOLLOW)
    }

    /// Of an entry of a directory that is held.
    pub(crate) fn located(entry: &Located) -> io::Result<Stat> {
        let name = CString::new(entry.name.as_bytes())?;
        statx(entry.directory.as_raw_fd(), &name, libc::AT_SYMLINK_NOFOLLOW)
    }

    fn is(&self, kind: u32) -> bool {
        self.mode & libc::S_IFMT == kind
    }

    /// Whether it is a regular file.
    pub(crate) fn is_regular(&self) -> bool {
        self.is(libc::S_IFREG)
    }

    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.is(libc::S_IFDIR)
    }

    /// Whether it is a pipe, named or not.
    pub(crate) fn is_pipe(&self) -> bool {
        self.is(libc::S_IFIFO)
    }

    /// Whether it belongs to root and nobody else may write it.
    pub(crate) fn only_root_may_change(&self) -> bool {
        self.uid == 0 && self.mode & 0o022 == 0
    }
}

fn statx(at: i32, path: &std::ffi::CStr, flags: i32) -> io::Result<Stat> {
    let flags = flags | libc::AT_STATX_DONT_SYNC | libc::AT_NO_AUTOMOUNT;
    // SAFETY: all-zero bytes are a valid `statx`.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    // SAFETY: the path is a string and `found` a structure that outlive the call.
    if unsafe { libc::statx(at, path.as_ptr(), flags, mask, &raw mut found) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let nanoseconds =
        |time: libc::statx_timestamp| time.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(time.tv_nsec));
    Ok(Stat {
        file: FileId { device: libc::makedev(found.stx_dev_major, found.stx_dev_minor), inode: found.stx_ino },
        mode: u32::from(found.stx_mode),
        uid: found.stx_uid,
        links: found.stx_nlink,
        size: found.stx_size,
        modified: nanoseconds(found.stx_mtime),
        changed: nanoseconds(found.stx_ctime),
        born: (found.stx_mask & libc::STATX_BTIME != 0).then(|| nanoseconds(found.stx_btime)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_file_is_the_same_by_name_and_by_descriptor() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let by_name = Stat::named(file.path()).expect("by name");
        assert_eq!(by_name, Stat::of(file.as_file().as_fd()).expect("by descriptor"));
        assert_eq!(by_name.file, FileId::from(&file.as_file().metadata().expect("metadata")));
        assert!(by_name.is_regular() && !by_name.is_pipe() && by_name.links == 1);
    }
}

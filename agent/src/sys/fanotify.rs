//! fanotify(7): permission events that wait for an answer, and named directory events.
//!
//! Two groups are needed because the kernel does not report names (`FAN_REPORT_DFID_NAME`) in a group
//! that answers permission events (fanotify_init(2)).

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Before content is read or written (since Linux 6.14; `include/uapi/linux/fanotify.h`).
pub(crate) const FAN_PRE_ACCESS: u64 = 0x0010_0000;

/// A fanotify group. All waiting system calls are freed when it is dropped, or its process dies.
pub(crate) struct Group {
    fd: OwnedFd,
    /// Whether it marks nothing any more.
    is_over: AtomicBool,
}

/// One event of a permission group. Dropping it without [`Group::answer`] leaves the caller waiting, so
/// whoever reads one owes an answer if [`Event::waits`].
pub(crate) struct Event {
    pub(crate) mask: u64,
    /// The thread that acts.
    pub(crate) tid: i32,
    /// The file; none after an overflow of the queue.
    pub(crate) file: Option<File>,
}

/// One named event of a directory.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) mask: u64,
    pub(crate) pid: i32,
    /// The entry; of a rename, where it is now.
    pub(crate) entry: Option<Entry>,
    /// Of a rename, where it was.
    pub(crate) old: Option<Entry>,
}

/// An entry of a directory, as the kernel names it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) fsid: [u8; 8],
    handle: Vec<u64>,
    pub(crate) name: Vec<u8>,
}

impl Event {
    /// Whether a system call waits for the answer.
    pub(crate) fn waits(&self) -> bool {
        self.mask & (libc::FAN_OPEN_PERM | FAN_PRE_ACCESS) != 0
    }

    /// The link of `/proc` that leads to the file, for this process.
    pub(crate) fn link(&self) -> PathBuf {
        self.file
            .as_ref()
            .map_or_else(PathBuf::new, |file| PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())))
    }

    /// The path of the file, as far as this process can name it.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.file.as_ref().and_then(|file| path_of(file.as_fd()))
    }
}

/// The path that the kernel gives to an open file.
pub(crate) fn path_of(fd: BorrowedFd<'_>) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()
}

/// So many reads are enough for all who wait when a group is let go.
const MOST_READS: usize = 65_536;

impl Group {
    /// A group for permission events, with threads as actors and no limit of its queue: the kernel lets
    /// everything through when a queue is full. The second value says whether `FAN_PRE_ACCESS` can be
    /// asked for (the file system has to support it too).
    pub(crate) fn permission() -> io::Result<(Group, bool)> {
        let flags = libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK
            | libc::FAN_UNLIMITED_QUEUE
            | libc::FAN_UNLIMITED_MARKS
            | libc::FAN_REPORT_TID;
        // Without O_NONBLOCK the kernel would wait in our name for the other end of a FIFO.
        let files = libc::O_RDONLY | libc::O_LARGEFILE | libc::O_CLOEXEC | libc::O_NOATIME | libc::O_NONBLOCK;
        let files = files.cast_unsigned();
        if let Ok(group) = Group::new(flags | libc::FAN_CLASS_PRE_CONTENT, files) {
            return Ok((group, true));
        }
        Ok((Group::new(flags | libc::FAN_CLASS_CONTENT, files)?, false))
    }

    /// A group for named directory events.
    pub(crate) fn names() -> io::Result<Group> {
        let flags = libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK
            | libc::FAN_CLASS_NOTIF
            | libc::FAN_UNLIMITED_QUEUE
            | libc::FAN_UNLIMITED_MARKS
            | libc::FAN_REPORT_DFID_NAME;
        Group::new(flags, (libc::O_RDONLY | libc::O_CLOEXEC).cast_unsigned())
    }

    fn new(flags: u32, files: u32) -> io::Result<Group> {
        // SAFETY: two integers go in, a new descriptor or -1 comes out.
        let fd = unsafe { libc::fanotify_init(flags, files) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        Ok(Group { fd: unsafe { OwnedFd::from_raw_fd(fd) }, is_over: AtomicBool::new(false) })
    }

    /// Marks the whole file system that `path` lies on.
    pub(crate) fn mark_filesystem(&self, path: &Path, mask: u64) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        self.mark(libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM, mask, libc::AT_FDCWD, Some(&path))
    }

    /// Takes the mark of the file system that `path` lies on away.
    pub(crate) fn unmark_filesystem(&self, path: &Path, mask: u64) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        self.mark(libc::FAN_MARK_REMOVE | libc::FAN_MARK_FILESYSTEM, mask, libc::AT_FDCWD, Some(&path))
    }

    /// Marks one file or directory, and no link in its place. The inode stays in memory until the mark is gone.
    pub(crate) fn mark_inode(&self, path: &Path, mask: u64) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        self.mark(libc::FAN_MARK_ADD | libc::FAN_MARK_DONT_FOLLOW, mask, libc::AT_FDCWD, Some(&path))
    }

    /// Marks one open file, which a link of `/proc` leads to.
    pub(crate) fn mark_open(&self, link: &Path, mask: u64) -> io::Result<()> {
        let path = CString::new(link.as_os_str().as_bytes())?;
        self.mark(libc::FAN_MARK_ADD, mask, libc::AT_FDCWD, Some(&path))
    }

    /// Files directly in a directory make no events any more, whatever marks their file system (since Linux 6.0).
    pub(crate) fn ignore_children(&self, directory: &Path, mask: u64) -> io::Result<()> {
        let path = CString::new(directory.as_os_str().as_bytes())?;
        let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_IGNORE_SURV | libc::FAN_MARK_ONLYDIR;
        self.mark(flags, mask | libc::FAN_EVENT_ON_CHILD, libc::AT_FDCWD, Some(&path))
    }

    /// Whether the file system that `path` lies on has a mark of this group. It takes a bit away that nobody
    /// sets, which fails where there is none (`ENOENT`, fanotify_mark(2)).
    pub(crate) fn has_filesystem_mark(&self, path: &Path) -> bool {
        self.unmark_filesystem(path, libc::FAN_OPEN_EXEC_PERM).is_ok()
    }

    /// Takes all marks away, and lets through whoever waits for an answer. Nothing is marked from now on.
    pub(crate) fn release(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        let flush = || {
            for what in [0, libc::FAN_MARK_MOUNT, libc::FAN_MARK_FILESYSTEM] {
                let _ = self.mark(libc::FAN_MARK_FLUSH | what, 0, libc::AT_FDCWD, None);
            }
        };
        flush();
        let mut buffer = Buffer::new();
        for _ in 0..MOST_READS {
            match self.read(&mut buffer) {
                Ok(length @ 1..) => {
                    for event in buffer.events(length).iter().filter(|event| event.waits()) {
                        let _ = event.file.as_ref().map(|file| self.answer(file.as_fd(), true));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // A file that could not be opened for us; the next event may be another one.
                Ok(_) | Err(_) => {}
            }
        }
        // Somebody may have been about to mark when it began.
        flush();
    }

    fn mark(&self, flags: u32, mask: u64, at: i32, path: Option<&std::ffi::CStr>) -> io::Result<()> {
        if self.is_over.load(Ordering::SeqCst) && flags & libc::FAN_MARK_FLUSH == 0 {
            return Err(io::Error::other("the guard has ended"));
        }
        let path = path.map_or(std::ptr::null(), std::ffi::CStr::as_ptr);
        // SAFETY: `path` is null or a string that outlives the call; the descriptors are open.
        let result = unsafe { libc::fanotify_mark(self.fd.as_raw_fd(), flags, mask, at, path) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Answers one waiting event.
    pub(crate) fn answer(&self, file: BorrowedFd<'_>, allow: bool) -> io::Result<()> {
        let answer = libc::fanotify_response {
            fd: file.as_raw_fd(),
            response: if allow { libc::FAN_ALLOW } else { libc::FAN_DENY },
        };
        let size = size_of::<libc::fanotify_response>();
        // SAFETY: the structure is plain data of `size` bytes that outlives the call.
        let written = unsafe { libc::write(self.fd.as_raw_fd(), (&raw const answer).cast(), size) };
        if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Reads what is there into `buffer`; the number of bytes.
    pub(crate) fn read(&self, buffer: &mut Buffer) -> io::Result<usize> {
        Ok(nix::unistd::read(&self.fd, &mut buffer.0)?)
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Room for a batch of events.
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// 64 KiB: about 2,700 permission events, or 300 named ones.
    pub(crate) fn new() -> Buffer {
        Buffer(vec![0; 64 * 1024])
    }

    /// The permission events among the first `length` bytes. Each owns its file.
    pub(crate) fn events(&self, length: usize) -> Vec<Event> {
        let mut events = Vec::new();
        for (metadata, _) in self.records(length) {
            let file = (metadata.fd >= 0).then(|| {
                // SAFETY: the kernel opened this descriptor for this event alone.
                File::from(unsafe { OwnedFd::from_raw_fd(metadata.fd) })
            });
            events.push(Event { mask: metadata.mask, tid: metadata.pid, file });
        }
        events
    }

    /// The named events among the first `length` bytes.
    pub(crate) fn named(&self, length: usize) -> Vec<Named> {
        let mut events = Vec::new();
        for (metadata, infos) in self.records(length) {
            let mut event = Named { mask: metadata.mask, pid: metadata.pid, entry: None, old: None };
            for (kind, info) in information(infos) {
                match kind {
                    libc::FAN_EVENT_INFO_TYPE_DFID_NAME | libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME => {
                        event.entry = Entry::parse(info);
                    }
                    libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME => event.old = Entry::parse(info),
                    _ => {}
                }
            }
            events.push(event);
        }
        events
    }

    fn records(&self, length: usize) -> Vec<(libc::fanotify_event_metadata, &[u8])> {
        let mut rest = &self.0[..length.min(self.0.len())];
        let mut records = Vec::new();
        let head = size_of::<libc::fanotify_event_metadata>();
        while rest.len() >= head {
            // SAFETY: `rest` holds at least `head` bytes; the structure is plain data.
            let metadata: libc::fanotify_event_metadata = unsafe { std::ptr::read_unaligned(rest.as_ptr().cast()) };
            let whole = metadata.event_len as usize;
            if metadata.vers != libc::FANOTIFY_METADATA_VERSION || whole < head || whole > rest.len() {
                break;
            }
            records.push((metadata, &rest[usize::from(metadata.metadata_len).clamp(head, whole)..whole]));
            rest = &rest[whole..];
        }
        records
    }
}

/// The information records behind an event: kind, and what follows the header of four bytes.
fn information(mut rest: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let [kind, _, low, high, ..] = rest {
        let length = usize::from(u16::from_ne_bytes([*low, *high]));
        if length < 4 || length > rest.len() {
            break;
        }
        found.push((*kind, &rest[4..length]));
        rest = &rest[length..];
    }
    found
}

impl Entry {
    /// `fsid` (8 bytes), `struct file_handle` (size, kind, bytes), then the name and a NUL.
    fn parse(info: &[u8]) -> Option<Entry> {
        let fsid = info.get(..8)?.try_into().ok()?;
        let size = u32::from_ne_bytes(info.get(8..12)?.try_into().ok()?) as usize;
        let handle = info.get(8..16 + size)?;
        // Copied to where a structure with four-byte fields may lie.
        let mut aligned = vec![0_u64; handle.len().div_ceil(8)];
        for (word, bytes) in aligned.iter_mut().zip(handle.chunks(8)) {
            let mut full = [0; 8];
            full[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_ne_bytes(full);
        }
        let name = info.get(16 + size..)?.split(|byte| *byte == 0).next()?.to_vec();
        Some(Entry { fsid, handle: aligned, name })
    }

    /// Where the entry is. `mount` is any directory on the same file system.
    pub(crate) fn locate(&self, mount: BorrowedFd<'_>) -> io::Result<Located> {
        let mut handle = self.handle.clone();
        let flags = libc::O_PATH | libc::O_CLOEXEC | libc::O_DIRECTORY;
        // SAFETY: the handle is a whole `file_handle` with its bytes, aligned for it, and outlives the call.
        let fd = unsafe { libc::open_by_handle_at(mount.as_raw_fd(), handle.as_mut_ptr().cast(), flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let directory = unsafe { OwnedFd::from_raw_fd(fd) };
        let above = path_of(directory.as_fd()).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let name = OsStr::from_bytes(&self.name).to_owned();
        let path = if self.name.is_empty() || self.name == b"." { above } else { above.join(&name) };
        Ok(Located { directory, name, path })
    }
}

/// An entry of a directory that is held: whoever renames the directories above it changes nothing.
pub(crate) struct Located {
    pub(crate) directory: OwnedFd,
    pub(crate) name: OsString,
    pub(crate) path: PathBuf,
}

impl Located {
    /// Holds the directory of a path, if no symbolic link was put into it.
    pub(crate) fn of(path: &Path) -> io::Result<Located> {
        let refuse = || io::Error::other("the directory above it was replaced");
        let (above, name) = path.parent().zip(path.file_name()).ok_or_else(refuse)?;
        let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC;
        let directory = nix::fcntl::open(above, flags, nix::sys::stat::Mode::empty())?;
        if path_of(directory.as_fd()).as_deref() != Some(above) {
            return Err(refuse());
        }
        Ok(Located { directory, name: name.to_owned(), path: path.to_owned() })
    }

    /// Removes the entry.
    pub(crate) fn unlink(&self) -> io::Result<()> {
        Ok(nix::unistd::unlinkat(&self.directory, self.name.as_os_str(), nix::unistd::UnlinkatFlags::NoRemoveDir)?)
    }

    /// Renames the entry to where `old` was, unless something else is there now.
    pub(crate) fn rename_to(&self, old: &Located) -> io::Result<()> {
        let flags = nix::fcntl::RenameFlags::RENAME_NOREPLACE;
        let (from, to) = (self.name.as_os_str(), old.name.as_os_str());
        Ok(nix::fcntl::renameat2(&self.directory, from, &old.directory, to, flags)?)
    }

    /// Opens the entry, and no link in its place, for writing.
    pub(crate) fn open_to_write(&self) -> io::Result<File> {
        use nix::fcntl::OFlag;
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        Ok(nix::fcntl::openat(&self.directory, self.name.as_os_str(), flags, nix::sys::stat::Mode::empty())?.into())
    }
}

/// The id of the file system that `path` lies on, as events name it.
pub(crate) fn fsid(path: &Path) -> io::Result<[u8; 8]> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all-zero bytes are a valid `statfs`.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a string and `found` a structure that outlive the call.
    if unsafe { libc::statfs(path.as_ptr(), &raw mut found) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fsid_t` is two 32-bit integers in the kernel's order.
    Ok(unsafe { std::mem::transmute_copy::<libc::fsid_t, [u8; 8]>(&found.f_fsid) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn information_with_a_lying_length_is_not_read_past_its_end() {
        assert!(information(&[2, 0, 255, 255, 1, 2]).is_empty());
        assert!(information(&[2, 0, 0, 0]).is_empty());
        assert!(Entry::parse(&[0; 9]).is_none());
        let mut lying = vec![0; 16];
        lying[8] = 200;
        assert!(Entry::parse(&lying).is_none());
    }

    #[test]
    fn a_name_ends_at_its_nul() {
        let mut info = vec![7; 8];
        info.extend(4_u32.to_ne_bytes());
        info.extend(1_i32.to_ne_bytes());
        info.extend([1, 2, 3, 4]);
        info.extend(b"scan\xff.tif\0\0\0");
        let entry = Entry::parse(&info).expect("an entry");
        assert_eq!(entry.name, b"scan\xff.tif");
        assert_eq!(entry.fsid, [7; 8]);
    }
}

//! Who acts: one process as `/proc` shows it (proc(5)). Reading `/proc` raises no fanotify event, so this
//! is safe while a system call waits for its answer.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use vitrine_policy::record;

use super::FileId;
use crate::sys::stat::Stat;

/// How many descriptors of one process are looked at.
pub(crate) const MAX_DESCRIPTORS: usize = 4096;
/// How many ancestors are followed.
const MAX_ANCESTORS: usize = 32;
/// How much of a command line a record carries, in bytes.
const COMMAND_LINE: usize = 1024;

/// One process. Two are the same only if both numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProcessId {
    pub(crate) pid: i32,
    /// Clock ticks between boot and its start.
    pub(crate) start: u64,
}

/// What is known of a process at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) id: ProcessId,
    /// The thread that was seen: a process whose first thread has ended shows nothing under its own number,
    /// and threads may have descriptors of their own.
    tid: i32,
    pub(crate) parent: i32,
    pub(crate) uid: u32,
    /// Whether another process traces it.
    pub(crate) traced: bool,
}

impl Process {
    /// The process of a thread; none if it is gone.
    pub(crate) fn of_thread(tid: i32) -> Option<Process> {
        let status = at_once(&format!("/proc/{tid}/status"))?;
        let field = |name: &str| -> Option<i64> {
            let line = status.split(|byte| *byte == b'\n').find(|line| line.starts_with(name.as_bytes()))?;
            let value = std::str::from_utf8(&line[name.len()..]).ok()?;
            value.split_ascii_whitespace().next()?.parse().ok()
        };
        let pid = i32::try_from(field("Tgid:")?).ok()?;
        Some(Process {
            id: ProcessId { pid, start: start_of(pid)? },
            tid,
            parent: i32::try_from(field("PPid:")?).ok()?,
            uid: u32::try_from(field("Uid:")?).ok()?,
            traced: field("TracerPid:")? != 0,
        })
    }

    /// Itself and its ancestors, nearest first, without process 1.
    pub(crate) fn lineage(self) -> Vec<Process> {
        let mut lineage = vec![self];
        let mut parent = self.parent;
        while parent > 1 && lineage.len() < MAX_ANCESTORS {
            let Some(process) = Process::of_thread(parent) else { break };
            parent = process.parent;
            lineage.push(process);
        }
        lineage
    }

    /// The path of its executable.
    pub(crate) fn executable(self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/exe", self.tid)).ok()
    }

    /// What is known of its executable.
    pub(crate) fn executable_stat(self) -> Option<Stat> {
        Stat::at(&PathBuf::from(format!("/proc/{}/exe", self.tid))).ok()
    }

    /// The session number that the login gave it and nobody without privilege can change.
    pub(crate) fn audit_session(self) -> Option<u32> {
        fs::read_to_string(format!("/proc/{}/sessionid", self.tid)).ok()?.trim().parse().ok()
    }

    /// For the record: what it is and how it was called.
    pub(crate) fn describe(self, named: Option<&str>) -> record::Process {
        let path = self.executable().unwrap_or_default();
        let path = record::printable(path.as_os_str().as_bytes());
        let mut line = fs::read(format!("/proc/{}/cmdline", self.tid)).unwrap_or_default();
        line.truncate(COMMAND_LINE);
        let words: Vec<_> =
            line.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(record::printable).collect();
        let name = named.unwrap_or_else(|| record::last_part(&path)).to_owned();
        record::Process { pid: self.id.pid, name, path, command_line: words.join(" ") }
    }

    /// The thread by which it was seen.
    pub(crate) fn tid(self) -> i32 {
        self.tid
    }

    /// Its open descriptors, at most [`MAX_DESCRIPTORS`].
    pub(crate) fn descriptors(self) -> impl Iterator<Item = Descriptor> {
        descriptors(self.tid)
    }

    /// Files that it has mapped shared and writable: stores into them raise no event at all.
    pub(crate) fn shared_mappings(self) -> Vec<PathBuf> {
        let Ok(maps) = fs::read(format!("/proc/{}/maps", self.tid)) else { return Vec::new() };
        let writable = |line: &&[u8]| {
            line.split(|byte| *byte == b' ').nth(1).is_some_and(|mode| mode.starts_with(b"rw") && mode.ends_with(b"s"))
        };
        maps.split(|byte| *byte == b'\n').filter(writable).filter_map(path_in_maps).collect()
    }

    /// Whether all code that it runs belongs to root and only root may change it: nobody slipped a library
    /// of his own into it (`LD_PRELOAD`), and nobody steers it as a debugger.
    pub(crate) fn is_untouched(self) -> bool {
        let Ok(maps) = fs::read(format!("/proc/{}/maps", self.tid)) else { return false };
        let executable =
            |line: &&[u8]| line.split(|byte| *byte == b' ').nth(1).is_some_and(|mode| mode.get(2) == Some(&b'x'));
        let ranges = maps.split(|byte| *byte == b'\n').filter(executable).filter(|line| path_in_maps(line).is_some());
        for line in ranges {
            let range = line.split(|byte| *byte == b' ').next().unwrap_or_default();
            // The link leads to the file itself, whatever is mounted over its path.
            let file = Path::new("/proc")
                .join(self.id.pid.to_string())
                .join("map_files")
                .join(std::ffi::OsStr::from_bytes(range));
            if !Stat::at(&file).is_ok_and(|stat| stat.only_root_may_change()) {
                return false;
            }
        }
        !self.traced
    }
}

/// The path at the end of a line of `/proc/PID/maps`; none for memory without a file.
fn path_in_maps(line: &[u8]) -> Option<PathBuf> {
    let start = line.iter().position(|byte| *byte == b'/')?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(&line[start..])))
}

/// One open descriptor of a process.
pub(crate) struct Descriptor {
    pid: i32,
    number: i32,
    /// What it leads to: a path, or `pipe:[…]`, `socket:[…]`, `anon_inode:…`.
    pub(crate) target: PathBuf,
}

/// Which way a descriptor is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ways {
    pub(crate) reads: bool,
    pub(crate) writes: bool,
}

impl Descriptor {
    /// Which way it is open, as the permissions of its link tell (proc_pid_fd(5)); both where that cannot be read.
    pub(crate) fn ways(&self) -> Ways {
        let mode = fs::symlink_metadata(self.link()).map_or(0o600, |link| std::os::unix::fs::MetadataExt::mode(&link));
        Ways { reads: mode & 0o400 != 0, writes: mode & 0o200 != 0 }
    }

    /// The pipe that it leads to, be it a named one.
    pub(crate) fn pipe(&self) -> Option<FileId> {
        let text = self.target.as_os_str().as_bytes();
        if !text.starts_with(b"/") && !text.starts_with(b"pipe:[") {
            return None;
        }
        self.stat().filter(Stat::is_pipe).map(|stat| stat.file)
    }

    /// What is known of the file that it leads to.
    pub(crate) fn stat(&self) -> Option<Stat> {
        Stat::at(&self.link()).ok()
    }

    /// The link of `/proc` that leads to the file.
    pub(crate) fn link(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", self.pid, self.number))
    }
}

/// A small file of `/proc` in one read: their size is told as 0, so that others read them bit by bit.
fn at_once(path: &str) -> Option<Vec<u8>> {
    let mut text = vec![0; 4096];
    let length = std::io::Read::read(&mut fs::File::open(path).ok()?, &mut text).ok()?;
    text.truncate(length);
    Some(text)
}

/// The open descriptors of a thread, at most [`MAX_DESCRIPTORS`].
fn descriptors(tid: i32) -> impl Iterator<Item = Descriptor> {
    let entries = fs::read_dir(format!("/proc/{tid}/fd")).into_iter().flatten().flatten();
    entries.take(MAX_DESCRIPTORS).filter_map(move |entry| {
        let target = fs::read_link(entry.path()).ok()?;
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some(Descriptor { pid: tid, number, target })
    })
}

/// The pipes that a thread holds open, each with the way.
pub(crate) fn pipes(tid: i32) -> impl Iterator<Item = (FileId, Ways)> {
    descriptors(tid).filter_map(|descriptor| Some((descriptor.pipe()?, descriptor.ways())))
}

/// All processes there are.
pub(crate) fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The direct children of a process.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for task in tasks.take(256) {
        let Ok(text) = fs::read_to_string(task.path().join("children")) else { continue };
        found.extend(text.split_ascii_whitespace().filter_map(|child| child.parse::<i32>().ok()));
    }
    found
}

/// When a process started, in clock ticks since boot (proc_pid_stat(5)). Fields are counted behind the
/// parentheses because a command may contain both blanks and parentheses.
pub(crate) fn start_of(pid: i32) -> Option<u64> {
    stat_of(pid).map(|stat| stat.start)
}

/// What `/proc/PID/stat` tells.
struct ProcStat {
    start: u64,
    /// Whether all of its threads have ended, though its parent has not taken leave of it.
    is_zombie: bool,
}

fn stat_of(pid: i32) -> Option<ProcStat> {
    let stat = at_once(&format!("/proc/{pid}/stat"))?;
    let behind = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(stat.get(behind + 2..)?).ok()?.split(' ');
    // Field 3, 20 and 22. A first thread that has ended is a zombie while others go on.
    let state = fields.next()?;
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    let start = fields.nth(1)?.parse().ok()?;
    Some(ProcStat { start, is_zombie: matches!(state, "Z" | "X") && threads <= 1 })
}

/// What the waiting system call wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) reads: bool,
    pub(crate) writes: bool,
    pub(crate) creates: bool,
}

impl Access {
    const READ: Access = Access { reads: true, writes: false, creates: false };
    /// What cannot be told is taken for the worst.
    const UNKNOWN: Access = Access { reads: true, writes: true, creates: false };

    fn of_flags(flags: u64) -> Access {
        let flags = i32::try_from(flags & 0xffff_ffff).unwrap_or(libc::O_RDWR);
        let mode = flags & libc::O_ACCMODE;
        Access {
            reads: mode != libc::O_WRONLY,
            writes: mode != libc::O_RDONLY || flags & libc::O_TRUNC != 0,
            creates: flags & libc::O_CREAT != 0,
        }
    }

    /// Of a thread that waits in an open. fanotify does not say which way a file is opened, but the waiting
    /// thread's registers do (`/proc/TID/syscall`, proc_pid_syscall(5)), and it cannot change them while it
    /// waits. Only calls whose flags lie in a register are believed: `openat2`'s lie in memory that another
    /// thread may change, `io_uring` has none, and 32-bit programs number their calls otherwise.
    pub(crate) fn of_open(tid: i32) -> Access {
        match registers(tid) {
            Some([libc::SYS_openat | libc::SYS_open_by_handle_at, _, _, flags, ..]) => {
                Access::of_flags(flags.cast_unsigned())
            }
            #[cfg(target_arch = "x86_64")]
            Some([libc::SYS_open, _, flags, ..]) => Access::of_flags(flags.cast_unsigned()),
            #[cfg(target_arch = "x86_64")]
            Some([libc::SYS_creat, ..]) => Access { reads: false, writes: true, creates: true },
            Some([libc::SYS_execve | libc::SYS_execveat, ..]) => Access::READ,
            _ => Access::UNKNOWN,
        }
    }

    /// Of a thread that waits before it reads or writes through a descriptor.
    pub(crate) fn of_use(tid: i32) -> Access {
        match registers(tid) {
            // A private mapping never reaches the file; a shared one may be made writable later.
            Some([libc::SYS_mmap, _, _, _, flags]) if flags & i64::from(libc::MAP_SHARED) == 0 => Access::READ,
            Some(
                [
                    libc::SYS_read
                    | libc::SYS_pread64
                    | libc::SYS_readv
                    | libc::SYS_preadv
                    | libc::SYS_preadv2
                    | libc::SYS_execve,
                    ..,
                ],
            ) => Access::READ,
            _ => Access::UNKNOWN,
        }
    }

    /// Of a thread that copies between two descriptors: the file is only read if it is not the target.
    pub(crate) fn of_copy(tid: i32, file: FileId) -> Option<Access> {
        let target = match registers(tid)? {
            [libc::SYS_copy_file_range | libc::SYS_splice, _, _, target, ..] => target,
            [libc::SYS_sendfile, target, ..] => target,
            _ => return None,
        };
        let target = Stat::at(&PathBuf::from(format!("/proc/{tid}/fd/{target}"))).ok()?;
        (target.file != file).then_some(Access::READ)
    }
}

/// Number and arguments of the call that a thread waits in.
fn registers(tid: i32) -> Option<[i64; 5]> {
    let text = at_once(&format!("/proc/{tid}/syscall"))?;
    let mut words = std::str::from_utf8(&text).ok()?.split_ascii_whitespace();
    let mut found = [words.next()?.parse().ok()?, 0, 0, 0, 0];
    for argument in &mut found[1..] {
        *argument = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?.cast_signed();
    }
    Some(found)
}

/// Whether a thread is one of this process's own.
pub(crate) fn is_own(tid: i32) -> bool {
    Path::new("/proc/self/task").join(tid.to_string()).try_exists().unwrap_or(false)
}

/// A user and his login session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) uid: u32,
    pub(crate) session: Option<u32>,
}

impl Login {
    /// With the session as the kernel numbers it; the highest number is none.
    pub(crate) fn new(uid: u32, session: Option<u32>) -> Login {
        Login { uid, session: session.filter(|session| *session != u32::MAX) }
    }

    /// For the record, with the user's name. It reads files: never ask while a system call waits.
    pub(crate) fn user(self) -> record::User {
        let Login { uid, session } = self;
        let found = nix::unistd::User::from_uid(uid.into()).ok().flatten();
        record::User { uid, name: found.map_or_else(|| uid.to_string(), |user| user.name), session }
    }
}

/// Whether a process is still the one that it was, and any of its threads goes on.
pub(crate) fn is_alive(id: ProcessId) -> bool {
    stat_of(id.pid).is_some_and(|stat| stat.start == id.start && !stat.is_zombie)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_with_its_parent_and_its_command() {
        let pid = i32::try_from(std::process::id()).expect("a pid");
        let process = Process::of_thread(pid).expect("this process");
        assert_eq!(process.id.pid, pid);
        assert!(process.lineage().len() >= 2);
        assert!(!process.describe(None).command_line.is_empty());
        assert!(is_alive(process.id));
        assert!(is_own(pid) && !is_own(1));
    }

    #[test]
    fn flags_tell_reading_from_writing() {
        let read = Access::of_flags(0);
        assert!(read.reads && !read.writes);
        let cp = Access::of_flags(0xc1); // O_WRONLY | O_CREAT | O_EXCL
        assert!(!cp.reads && cp.writes && cp.creates);
        assert!(Access::of_flags(0x200).writes, "O_TRUNC empties a file");
    }

    #[test]
    fn the_ways_of_a_descriptor_are_told() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let pid = i32::try_from(std::process::id()).expect("a pid");
        let process = Process::of_thread(pid).expect("this process");
        let found = process.descriptors().find(|descriptor| descriptor.target == file.path()).expect("its descriptor");
        assert_eq!(found.ways(), Ways { reads: true, writes: true });
        assert!(found.pipe().is_none());
    }
}

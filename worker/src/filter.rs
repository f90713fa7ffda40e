//! The system calls of a worker: what reading one open file takes, and nothing else.
//!
//! Whatever is not named here is not there for it (`ENOSYS`): no file to open, no socket, no other program, no process to
//! look into. So a decoder that was taken over can only lie about its own file.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};

/// What decoders, threads, memory and the answer take.
const ALLOWED: [i64; 36] = [
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_fcntl,
    libc::SYS_fadvise64,
    libc::SYS_close,
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_membarrier,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Puts the filter in force for this process; it cannot be taken off again.
///
/// # Errors
/// The kernel has no seccomp filters, or the machine is of a kind that they are not made for.
pub(crate) fn put_in_force() -> io::Result<()> {
    let filter = filter().map_err(io::Error::other)?;
    let program = BpfProgram::try_from(filter).map_err(io::Error::other)?;
    apply_filter_all_threads(&program).map_err(io::Error::other)
}

fn filter() -> Result<SeccompFilter, seccompiler::BackendError> {
    // statx(2) of a descriptor has an empty path, which no filter sees; to know that a path is there is harmless.
    let mut calls: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.into_iter().chain([libc::SYS_statx]).map(|call| (call, Vec::new())).collect();
    // A thread is made, never a process. What clone3 is asked for lies in memory, where no filter sees it; the C library
    // does without.
    let thread = u64::from(libc::CLONE_THREAD.cast_unsigned());
    let asked = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), thread)?;
    calls.insert(libc::SYS_clone, vec![SeccompRule::new(vec![asked])?]);
    let absent = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    SeccompFilter::new(calls, absent, SeccompAction::Allow, TargetArch::try_from(std::env::consts::ARCH)?)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;
    use std::process::Command;
    use std::thread;

    use seccompiler::{BpfProgram, apply_filter};

    use super::filter;

    #[test]
    fn who_reads_can_read_and_do_nothing_else() {
        let mut open = File::open("/proc/self/exe").unwrap();
        let program = BpfProgram::try_from(filter().unwrap()).unwrap();
        // Of this thread alone.
        let confined = thread::spawn(move || {
            apply_filter(&program).unwrap();
            let mut bytes = vec![0; 1 << 20];
            open.read_exact(&mut bytes[..4]).unwrap();
            assert_eq!(bytes[..4], *b"\x7fELF");
            assert_eq!(thread::spawn(|| 7).join().unwrap(), 7, "decoders have threads");
            let absent = |error: std::io::Error| assert_eq!(error.raw_os_error(), Some(libc::ENOSYS), "{error}");
            absent(File::open("/etc/passwd").unwrap_err());
            absent(File::create("/tmp/vitrine-filter").unwrap_err());
            absent(std::fs::remove_file("/tmp/vitrine-filter").unwrap_err());
            absent(TcpListener::bind("127.0.0.1:0").unwrap_err());
            absent(UnixStream::pair().unwrap_err());
            assert!(Command::new("/bin/true").spawn().is_err(), "no other program");
            absent(nix::sys::signal::kill(nix::unistd::Pid::from_raw(1), None).unwrap_err().into());
        });
        confined.join().unwrap();
        File::open("/etc/passwd").unwrap();
    }
}

//! System calls that no library wraps. Unsafe code lives only here.
#![allow(unsafe_code)]

/// Lets everybody else go first: nice 10, and the idle class of the disk. Being refused that is no failure.
pub(crate) fn step_back() {
    // `IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)` and `IOPRIO_WHO_PROCESS` of include/uapi/linux/ioprio.h.
    let (idle, process) = (3 << 13, 1);
    // SAFETY: both calls take plain integers, touch no memory, and mean the calling process where they are
    // given 0 as its number.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 10);
        libc::syscall(libc::SYS_ioprio_set, process, 0, idle);
    }
}

//! Which guard can run here, told in a sentence.

use std::io;

use crate::sys::fanotify::Group;

/// Why it is the `flow` guard.
pub(super) const KERNEL_ASKS: &str = "the kernel itself refuses the first byte (BPF LSM)";
/// What the `watch` guard means.
pub(super) const REPORTED: &str = "copies are reported and taken back, not refused";

/// A guard that runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    Flow,
    Gate,
    Watch,
}

impl Guard {
    /// Its name in records and pages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Guard::Flow => "flow",
            Guard::Gate => "gate",
            Guard::Watch => "watch",
        }
    }
}

/// Why it is not the `flow` guard.
pub(super) fn no_flow(error: &io::Error) -> String {
    format!("no guard in the kernel ({error})")
}

/// Whether the gate can run; why, or why not.
pub(super) fn gate() -> Result<&'static str, String> {
    match Group::permission() {
        Ok((_, true)) => Ok(
            "the kernel asks before a file is opened, and before it is read or written where the file system supports it",
        ),
        Ok((_, false)) => {
            Ok("the kernel asks before a file is opened; it is too old to ask before each read and write (6.14 does)")
        }
        Err(error) => Err(format!(
            "the kernel does not let this process answer file accesses ({error}): run it as root on a kernel with CONFIG_FANOTIFY_ACCESS_PERMISSIONS"
        )),
    }
}

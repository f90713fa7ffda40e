//! Which guard can run here, told in a sentence.

use crate::config::GuardChoice;
use crate::sys::fanotify::Group;

/// A guard that runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    Gate,
    Watch,
}

impl Guard {
    /// Its name in records and pages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Guard::Gate => "gate",
            Guard::Watch => "watch",
        }
    }
}

/// The guard to use, and why it is that one.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) guard: Guard,
    pub(crate) why: String,
    /// Whether it is weaker than what was asked for.
    pub(crate) degraded: bool,
}

/// Finds out by trying.
pub(crate) fn choose(wanted: GuardChoice) -> Choice {
    let gate = || match Group::permission() {
        Ok((_, true)) => Ok(
            "the kernel asks before a file is opened, and before it is read or written where the file system supports it",
        ),
        Ok((_, false)) => {
            Ok("the kernel asks before a file is opened; it is too old to ask before each read and write (6.14 does)")
        }
        Err(error) => Err(format!(
            "the kernel does not let this process answer file accesses ({error}): run it as root on a kernel with CONFIG_FANOTIFY_ACCESS_PERMISSIONS"
        )),
    };
    let watch = |why: String, degraded| Choice { guard: Guard::Watch, why, degraded };
    if wanted == GuardChoice::Watch {
        return watch("asked for in the settings: copies are reported and taken back, not refused".into(), false);
    }
    match gate() {
        Ok(why) => Choice { guard: Guard::Gate, why: why.into(), degraded: false },
        Err(why) => {
            watch(format!("{why}; copies are reported and taken back, not refused"), wanted == GuardChoice::Gate)
        }
    }
}

//! Programs that the policy names, each proved by the inode and digest of its executable and never by name
//! or path text.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use vitrine_policy::record::Event;
use vitrine_policy::{Policy, Trust};

use super::FileId;
use super::process::Process;
use crate::fail::Failure;
use crate::sys::stat::Stat;
use std::os::unix::ffi::OsStrExt;

/// Largest executable that is taken for a program, in bytes.
const MAX_EXECUTABLE: u64 = 1 << 30;

/// The programs that could be proved.
#[derive(Default)]
pub(crate) struct Programs {
    pinned: Vec<Pinned>,
}

/// Programs that run whatever they are given: to trust one of them is to trust everybody's scripts. What counts is
/// the start of the file's name, digits and dots of a version aside.
const INTERPRETERS: [&str; 28] = [
    "awk", "bash", "busybox", "bun", "dash", "deno", "gawk", "gdb", "guile", "java", "ksh", "ld-linux", "ld.so", "lua",
    "mawk", "node", "nodejs", "perl", "php", "pwsh", "python", "qemu", "ruby", "sh", "tclsh", "wish", "wine", "zsh",
];

/// One executable, as it was when it was read.
struct Pinned {
    name: String,
    path: PathBuf,
    trust: Trust,
    file: FileId,
    /// Nobody can set it back: the content is still the one that was read.
    changed: i64,
    digest: blake3::Hash,
}

impl Programs {
    /// Reads the executables of all programs that the policy names. One that is missing, or that others
    /// than root may write, is nobody; the second value says so.
    pub(crate) fn pin(policy: &Policy, before: &Programs) -> (Programs, Vec<Event>) {
        let mut programs = Programs::default();
        let mut events = Vec::new();
        for entry in &policy.programs {
            let subject = entry.path.as_os_str().as_bytes();
            match pin(&entry.path, entry.trust != Trust::None || opens_a_vault(policy, &entry.name)) {
                Ok((stat, digest)) => {
                    let earlier = before.pinned.iter().find(|pinned| pinned.path == entry.path);
                    if earlier.is_some_and(|earlier| earlier.digest != digest) {
                        let what = format!(
                            "the executable of program {:?} was replaced, BLAKE3 {}; if nobody updated it, look into it",
                            entry.name,
                            digest.to_hex()
                        );
                        events.push(Failure::ProgramChanged.notice(Some(subject), what));
                    }
                    programs.pinned.push(Pinned {
                        name: entry.name.clone(),
                        path: entry.path.clone(),
                        trust: entry.trust,
                        file: stat.file,
                        changed: stat.changed,
                        digest,
                    });
                }
                Err(error) => {
                    let what = format!("program {:?} cannot be identified: {error}", entry.name);
                    events.push(Failure::ProgramMissing.notice(Some(subject), what));
                }
            }
        }
        (programs, events)
    }

    /// All of them: name, trust and executable.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, Trust, FileId)> {
        self.pinned.iter().map(|pinned| (pinned.name.as_str(), pinned.trust, pinned.file))
    }

    /// Whether the policy names this executable: then it is told here that it was replaced.
    pub(crate) fn names(&self, path: &Path) -> bool {
        self.pinned.iter().any(|pinned| pinned.path == path)
    }

    /// Whether an executable has been replaced since it was read (by an update, say).
    pub(crate) fn is_stale(&self) -> bool {
        let current = |pinned: &Pinned| {
            Stat::at(&pinned.path).is_ok_and(|stat| (stat.file, stat.changed) == (pinned.file, pinned.changed))
        };
        !self.pinned.iter().all(current)
    }

    /// The program that a process is, if its executable is one of these.
    pub(crate) fn of(&self, process: Process) -> Option<(&str, Trust)> {
        if self.pinned.is_empty() {
            return None;
        }
        self.of_executable(&process.executable_stat()?)
    }

    /// The program that an executable is.
    pub(crate) fn of_executable(&self, stat: &Stat) -> Option<(&str, Trust)> {
        let pinned = self.pinned.iter().find(|pinned| (pinned.file, pinned.changed) == (stat.file, stat.changed))?;
        Some((&pinned.name, pinned.trust))
    }
}

fn opens_a_vault(policy: &Policy, name: &str) -> bool {
    policy
        .collections
        .iter()
        .filter_map(|collection| collection.opened_by.as_ref())
        .flatten()
        .any(|opener| opener == name)
}

/// Whether an executable runs scripts that somebody else has written.
fn is_interpreter(path: &Path) -> bool {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.' || letter == '-');
    INTERPRETERS.contains(&name) || name.starts_with("ld-linux")
}

fn pin(path: &Path, is_trusted: bool) -> io::Result<(Stat, blake3::Hash)> {
    let file = File::open(path)?;
    let stat = Stat::of(file.as_fd())?;
    let refuse = |what: &str| Err(io::Error::other(what.to_owned()));
    if is_trusted && is_interpreter(path) {
        return refuse(
            "it runs the scripts of others, so that trusting it would trust everybody; name a program that does one thing",
        );
    }
    if !stat.is_regular() || stat.size > MAX_EXECUTABLE {
        return refuse("expected a regular file of at most 1 GiB");
    }
    if !stat.only_root_may_change() {
        return refuse("expected a file that belongs to root and that nobody else may write (chown root, chmod go-w)");
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&file)?;
    if Stat::of(file.as_fd())? != stat {
        return refuse("it changed while it was read; it is tried again");
    }
    Ok((stat, hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_its_inode_and_not_its_name() {
        let policy = |path: &str| {
            Policy::parse(
                "p",
                &format!("version = 1\nmode = \"audit\"\n[[program]]\nname = \"sh\"\npath = \"{path}\"\n"),
            )
            .expect("a policy")
        };
        let child = std::process::Command::new("/bin/sleep").arg("20").spawn().expect("sleep");
        let mut child = scopeguard(child);
        let process = Process::of_thread(i32::try_from(child.0.id()).expect("a pid")).expect("the process");
        let shell = std::fs::canonicalize("/bin/sh").expect("sh");
        let (programs, events) = Programs::pin(&policy(shell.to_str().expect("text")), &Programs::default());
        assert!(events.is_empty());
        assert!(programs.of(process).is_none());
        let (programs, _) = Programs::pin(&policy("/bin/sleep"), &Programs::default());
        // The shell's fork may not have reached its exec yet.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while programs.of(process).is_none() && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(programs.of(process).map(|(name, _)| name), Some("sh"));
        assert!(!programs.is_stale());
        let (_, events) = Programs::pin(&policy("/nonexistent"), &Programs::default());
        assert_eq!(events.len(), 1);
        assert!(is_interpreter(&shell) && is_interpreter(Path::new("/usr/bin/python3.11")));
        assert!(!is_interpreter(Path::new("/bin/sleep")) && !is_interpreter(Path::new("/usr/bin/convert-im6.q16")));
        let _ = child.0.kill();
    }

    struct Killed(std::process::Child);

    fn scopeguard(child: std::process::Child) -> Killed {
        Killed(child)
    }

    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

//! Shell commands of users in a world.

use std::io::Read;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};

/// How a shell command ended.
pub(crate) struct Done {
    pub(crate) succeeded: bool,
    pub(crate) hung: bool,
    pub(crate) text: String,
}

/// Runs a shell command in `directory` as `uid`, or as this user, within ten seconds. Its output comes over a socket, and
/// it inherits no pipe: pipes, and files that are open for reading, would carry a label to this test and to all that it
/// starts.
pub(crate) fn run(directory: &Path, command: &str, uid: Option<u32>) -> Done {
    let (mut ours, theirs) = UnixStream::pair().expect("a socket");
    let theirs = OwnedFd::from(theirs);
    let close = "for f in /proc/$$/fd/*; do n=${f##*/}; [ $n -le 2 ] || eval \"exec $n>&-\"; done";
    let outer = format!("{close}; exec timeout 10 sh -c \"$0\"");
    let mut shell = Command::new("bash");
    shell.args(["-c", &outer, command]).current_dir(directory).stdin(Stdio::null());
    shell.stdout(theirs.try_clone().expect("a socket")).stderr(theirs);
    if let Some(uid) = uid {
        shell.uid(uid);
    }
    let mut child = shell.spawn().expect("a shell");
    // With it the last end of theirs that this test holds.
    drop(shell);
    let over = ours.try_clone().expect("a socket");
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        ours.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
    });
    let status = child.wait().expect("the shell");
    // What it left running may hold their end for longer.
    over.shutdown(Shutdown::Read).expect("the socket");
    let text = reader.join().expect("the reader").unwrap_or_default();
    Done { succeeded: status.success(), hung: status.code() == Some(124) || status.signal().is_some(), text }
}

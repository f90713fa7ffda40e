//! What tells the agent to end, and why.

use std::time::Duration;

/// Whether the service manager is bringing the whole machine down (systemctl(1), `is-system-running`). Where there is no
/// systemd nobody can say, and the collector will miss the agent.
pub(crate) async fn machine_goes_off() -> bool {
    let mut asked = tokio::process::Command::new("/usr/bin/systemctl");
    asked.arg("is-system-running").kill_on_drop(true).stdin(std::process::Stdio::null());
    match tokio::time::timeout(Duration::from_secs(1), asked.output()).await {
        Ok(Ok(answer)) => answer.stdout.trim_ascii() == b"stopping",
        _ => false,
    }
}

/// SIGTERM and SIGINT.
pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(crate) fn new() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

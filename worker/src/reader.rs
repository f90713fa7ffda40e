//! The other side of measuring: a process that reads one file and says what it is.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use vitrine_fingerprint::{Limits, MeasureError, Measurement};

use super::{Answer, ORDERS, WORKER};
use crate::filter;

/// `nobody`, as Debian and the kernel's overflow id have it.
const NOBODY: u32 = 65534;
/// Highest descriptor of a worker: its three streams, the file once more, and what its libraries open.
const MOST_FILES: u64 = 16;
/// Share of its time that a worker spends on what is inside a file; then it says that it did not see all.
const INSIDE: f64 = 0.7;

/// Measures standard input, answers on standard output. Run it in a process of its own only:
/// it gives up rights that it cannot take back.
pub fn worker() -> ExitCode {
    let orders = std::env::var(ORDERS).unwrap_or_default();
    let mut orders = orders.split(' ').map_while(|order| order.parse::<u64>().ok());
    let mut order = || orders.next();
    let (Some(memory_mib), Some(seconds), Some(background)) = (order(), order(), order()) else {
        eprintln!("vitrine {WORKER}: Vitrine starts this program to read one file; there is no use for it by hand");
        return ExitCode::from(2);
    };
    if let Err(error) = confine(memory_mib, seconds, background != 0) {
        eprintln!("vitrine {WORKER}: cannot give up rights: {error}");
        return ExitCode::from(3);
    }
    let answer = match measured(memory_mib, Duration::from_secs(seconds).mul_f64(INSIDE)) {
        Ok(measurement) => Answer::Measured(measurement),
        Err(MeasureError::Changed) => Answer::Changed,
        Err(error) => Answer::Unreadable(error.to_string()),
    };
    if say(&answer).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// `inside`: how long to look into the file.
fn measured(memory_mib: u64, inside: Duration) -> Result<Measurement, MeasureError> {
    let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Refused by its header is better than killed half way: the decoders get half of the memory.
    let mut limits = Limits::default();
    limits.max_memory = limits.max_memory.min(memory_mib * 1024 * 1024 / 2);
    limits.keep_bytes = limits.keep_bytes.min(memory_mib * 1024 * 1024 / 8);
    limits.max_time = inside;
    let mut broken = Ok(());
    let measurement = vitrine_fingerprint::measure(&file, &limits, &mut |found| {
        if broken.is_ok() {
            broken = say(&Answer::Inside(found));
        }
    });
    broken?;
    measurement
}

/// Gives up all that reading one open file does not need.
fn confine(memory_mib: u64, seconds: u64, background: bool) -> io::Result<()> {
    if background {
        crate::sys::step_back();
    }
    give_up_rights(memory_mib.saturating_mul(1024 * 1024), seconds, 0)
}

/// Gives up all that reading and writing files that are open already does not need: other users' rights, other files,
/// the network, other processes, and memory, processor time and bytes written beyond these. Run it in a process of its
/// own only: nothing of it can be taken back.
///
/// # Errors
/// The kernel refuses one of them; then the file must not be read.
pub fn give_up_rights(memory: u64, seconds: u64, written: u64) -> io::Result<()> {
    for (resource, soft, hard) in [
        (Resource::RLIMIT_AS, memory, memory),
        (Resource::RLIMIT_CPU, seconds, seconds.saturating_add(1)),
        (Resource::RLIMIT_CORE, 0, 0),
        (Resource::RLIMIT_FSIZE, written, written),
        (Resource::RLIMIT_NOFILE, MOST_FILES, MOST_FILES),
    ] {
        setrlimit(resource, soft, hard)?;
    }
    if Uid::effective().is_root() {
        setgroups(&[])?;
        setgid(Gid::from_raw(NOBODY))?;
        setuid(Uid::from_raw(NOBODY))?;
    }
    // A change of user takes these back (prctl(2)), so they come last.
    prctl::set_no_new_privs()?;
    prctl::set_dumpable(false)?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    filter::put_in_force()
}

//! Reads a file in a process of its own that lives for one file only, so that a hostile picture can take
//! that process down and nothing else.
//!
//! The program starts itself once more (`/proc/self/exe measure-worker`), with the open file as standard input.
//! The worker gives up what it does not need, reads, and answers with lines of JSON.

mod filter;
mod reader;
mod spawner;
mod sys;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use vitrine_fingerprint::{Content, Digest, Format, Inside, Measurement, Opaque, Pages, Parts, Reason, Unscanned};

pub use reader::{give_up_rights, worker};

/// Name of the hidden subcommand that runs [`worker`].
pub const WORKER: &str = "measure-worker";
/// What the program tells the worker: MiB, seconds and whether it may take its time.
const ORDERS: &str = "VITRINE_MEASURE";
/// Longest line of a worker's answer: a fingerprint and a thumbnail fit many times, and so do the parts of a file of
/// 4 GB.
const LONGEST_LINE: u64 = 4 * 1024 * 1024;
/// Most that a worker says of one file and everything in it: of 20,000 pictures 100 KB each.
const LONGEST_ANSWER: u64 = 2 * 1024 * 1024 * 1024;
/// Most lines: of as many things inside as the worker looks at, of the file by its bytes, and of the file.
const MOST_LINES: u64 = 20_002;
/// Bytes on a disk that may take a second to read: 8 MiB, less than any disk or network share of today gives.
const SLOWEST: u64 = 8 << 20;

/// Whether this program was started to be a worker: then it calls [`worker`], and does nothing else.
#[must_use]
pub fn is_asked() -> bool {
    std::env::var_os(ORDERS).is_some()
}

/// Why a file was not measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeasureFailed {
    /// No process could be started for it.
    #[error("no process could be started to read it ({0}); check memory and the limit of processes (`ulimit -u`)")]
    NotStarted(String),
    /// It took too long.
    #[error(
        "reading it took longer than {0} s; raise `seconds` in [measure] of the settings if such files are expected"
    )]
    TooSlow(u64),
    /// The process died, as it does when it wants more memory than it may have.
    #[error(
        "the process that read it ended with {0}; if such files are expected, raise `memory-mib` in [measure] of the settings, else keep the file as evidence"
    )]
    Crashed(String),
    /// The process answered with something else than a measurement.
    #[error("the process that read it gave no answer that makes sense ({0}); keep the file as evidence")]
    Nonsense(String),
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// Somebody wrote to it meanwhile.
    #[error("it changed while it was read; it is read again once nobody writes to it")]
    Changed,
}

/// What a worker says, one line each; all but the first kind end it.
#[derive(Serialize, Deserialize)]
enum Answer {
    Inside(Inside),
    Measured(Measurement),
    Changed,
    Unreadable(String),
}

/// Limits of the reading of one file.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MeasureLimits {
    /// Seconds after which the reading is given up.
    pub seconds: u64,
    /// Memory of the process that reads, in MiB.
    pub memory_mib: u64,
    /// Files read at the same time.
    pub parallel: usize,
}

impl Default for MeasureLimits {
    fn default() -> Self {
        MeasureLimits { seconds: 60, memory_mib: 1024, parallel: 2 }
    }
}

impl MeasureLimits {
    /// Whether they let anything be read.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.parallel > 0 && self.seconds > 0 && self.memory_mib >= 64
    }
}

/// Opens a regular file for reading and nothing else: a FIFO does not make the caller wait, a symbolic link
/// is not followed, a device is not started, and the time of access stays where the owner is asked for it.
///
/// # Errors
/// The file cannot be opened, or is of another kind.
pub fn open_regular(path: &Path) -> io::Result<File> {
    open_as_regular(path, libc::O_NOFOLLOW)
}

/// The same for a file that is held without being open (open(2), `O_PATH`).
///
/// # Errors
/// The file cannot be opened, or is of another kind.
pub fn reopen_regular(held: &File) -> io::Result<File> {
    open_as_regular(Path::new(&format!("/proc/self/fd/{}", held.as_raw_fd())), 0)
}

fn open_as_regular(path: &Path, links: i32) -> io::Result<File> {
    let careful = links | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    let open = |flags| File::options().read(true).custom_flags(flags).open(path);
    let file = match open(careful | libc::O_NOATIME) {
        // O_NOATIME is for the owner and root alone (open(2)).
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => open(careful)?,
        other => other?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file; only regular files are read"));
    }
    Ok(file)
}

/// Measures an open file from its beginning, in a process of its own, and everything inside, which `found` gets as it
/// is seen. Not more than `limits.parallel` run at a time.
///
/// # Errors
/// Whatever goes wrong with the file or the process; nothing of it harms the caller. What `found` got counts; with an
/// empty path the file itself comes last, by its digest and its parts, if those were known before it went wrong.
pub async fn measure(
    file: File,
    limits: &MeasureLimits,
    found: &mut (dyn FnMut(Inside) + Send),
) -> Result<Measurement, MeasureFailed> {
    run(file, limits, false, found).await
}

/// Measures a master; `pages` gets what is inside. These run beside the others, with low priority, so that a scan never
/// delays a judgement.
///
/// # Errors
/// As of [`measure`].
pub async fn measure_master(
    file: File,
    limits: &MeasureLimits,
    pages: &mut Pages,
) -> Result<Measurement, MeasureFailed> {
    run(file, limits, true, &mut |inside| pages.take(inside)).await
}

async fn run(
    file: File,
    limits: &MeasureLimits,
    background: bool,
    found: &mut (dyn FnMut(Inside) + Send),
) -> Result<Measurement, MeasureFailed> {
    static FRONT: OnceLock<Semaphore> = OnceLock::new();
    static BACK: OnceLock<Semaphore> = OnceLock::new();
    let places = if background { &BACK } else { &FRONT };
    let place = places.get_or_init(|| Semaphore::new(limits.parallel.max(1))).acquire().await;
    let _place = place.map_err(|error| MeasureFailed::NotStarted(error.to_string()))?;
    let mut child = start(file, limits, background).map_err(|error| MeasureFailed::NotStarted(error.to_string()))?;
    let mut by_bytes = None;
    let mut tell = |inside: Inside| if inside.path.is_empty() { by_bytes = Some(inside) } else { found(inside) };
    let answer = match tokio::time::timeout(patience(limits), answer(&mut child, limits, &mut tell)).await {
        Ok(answer) => answer,
        Err(_) => {
            let _ = child.kill().await; // it is gone already, then
            Err(MeasureFailed::TooSlow(limits.seconds))
        }
    };
    if let (Err(_), Some(by_bytes)) = (&answer, by_bytes) {
        tokio::task::block_in_place(|| found(by_bytes));
    }
    answer
}

/// What a command makes of all that is inside a file, one after the other.
pub type Look<T> = Arc<dyn Fn(&mut T, Inside) + Send + Sync>;

/// A file that was measured: what it is on disk, what it is, and what a command has made of what is inside.
pub type Measured<T> = Result<(Metadata, Measurement, T), MeasureFailed>;

/// Opens and measures many files, `limits.parallel` at a time, for a command; `look` gets what is
/// inside, and `then` the results in the order of `paths`. What crashes its worker is known by its digest.
///
/// # Errors
/// No runtime could be started; what goes wrong with a file is its own result.
pub fn measure_each<T: Default + Send + 'static>(
    paths: impl IntoIterator<Item = PathBuf>,
    limits: MeasureLimits,
    look: &Look<T>,
    mut then: impl FnMut(PathBuf, Measured<T>),
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut paths = paths.into_iter();
    let mut under_way = VecDeque::new();
    loop {
        while under_way.len() < limits.parallel * 2
            && let Some(path) = paths.next()
        {
            let (named, look) = (path.clone(), look.clone());
            under_way.push_back((path, runtime.spawn(async move { measure_path(&named, &limits, look).await })));
        }
        let Some((path, task)) = under_way.pop_front() else { return Ok(()) };
        let measured = runtime.block_on(task);
        then(path, measured.unwrap_or_else(|error| Err(MeasureFailed::NotStarted(error.to_string()))));
    }
}

async fn measure_path<T: Default + Send>(path: &Path, limits: &MeasureLimits, look: Look<T>) -> Measured<T> {
    let unreadable = |error: io::Error| MeasureFailed::Unreadable(error.to_string());
    let file = open_regular(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let kept = file.try_clone().map_err(unreadable)?;
    let mut seen = T::default();
    let measured = run(file, limits, false, &mut |inside| look(&mut seen, inside)).await;
    let measurement = match measured {
        Ok(measurement) => measurement,
        Err(failed @ (MeasureFailed::Unreadable(_) | MeasureFailed::Changed)) => return Err(failed),
        Err(failed) => digest_only(&kept, &failed, limits).map_err(unreadable)?,
    };
    Ok((metadata, measurement, seen))
}

/// What can be said of a file that no worker could measure: its digest, so that exact copies are found.
/// Nothing is decoded here, so that nothing can be exploited. A file may take as long as it may for a worker, and longer
/// by what it takes up on its disk: a hole of terabytes costs its owner nothing.
///
/// # Errors
/// The file cannot be read; of the kind [`io::ErrorKind::TimedOut`]: it takes too long.
pub fn digest_only(file: &File, why: &MeasureFailed, limits: &MeasureLimits) -> io::Result<Measurement> {
    let allocated = file.metadata()?.blocks().saturating_mul(512); // stat(2)
    let longest = Duration::from_secs(limits.seconds.saturating_add(allocated / SLOWEST));
    let begun = Instant::now();
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1024 * 1024];
    let mut bytes = 0;
    let mut format = None;
    loop {
        if begun.elapsed() > longest {
            let what = format!("its bytes were not read to their end within {} s: {why}", longest.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        }
        match file.read_at(&mut buffer, bytes) {
            Ok(0) => break,
            Ok(read) => {
                if bytes == 0 {
                    format = Format::of(&buffer[..read]);
                }
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let unscanned = |format| Unscanned { format, reason: Reason::DecoderFailed(why.to_string()), size: None };
    let opaque = || Content::Opaque(Opaque::Damaged(why.to_string()));
    let content = format.map_or_else(opaque, |format| Content::Unscanned(unscanned(format)));
    let digest = Digest::from(*hasher.finalize().as_bytes());
    Ok(Measurement { digest, bytes, parts: Parts::default(), content })
}

/// How long a worker is waited for. The processor's clock stops it first where it computes; this one where it waits.
fn patience(limits: &MeasureLimits) -> Duration {
    Duration::from_secs(limits.seconds.saturating_add(2))
}

fn start(file: File, limits: &MeasureLimits, background: bool) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(WORKER)
        .env_clear()
        .env(ORDERS, format!("{} {} {}", limits.memory_mib, limits.seconds, u8::from(background)))
        .current_dir("/")
        .stdin(Stdio::from(file))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    spawner::spawn(command)
}

/// What a worker says, until it ends. It is trusted in nothing: one that says more than a sound worker would, or for
/// longer, is ended.
async fn answer(
    child: &mut Child,
    limits: &MeasureLimits,
    found: &mut (dyn FnMut(Inside) + Send),
) -> Result<Measurement, MeasureFailed> {
    let nonsense = |error: &dyn std::fmt::Display| MeasureFailed::Nonsense(error.to_string());
    // A timeout alone would wait for whoever never stops talking.
    let until = Instant::now() + patience(limits);
    let mut last = None;
    if let Some(stdout) = child.stdout.take() {
        let mut said = BufReader::new(stdout);
        let (mut lines, mut bytes) = (0, 0);
        loop {
            let mut line = Vec::new();
            let read = (&mut said).take(LONGEST_LINE + 1).read_until(b'\n', &mut line).await;
            read.map_err(|error| nonsense(&error))?;
            if line.is_empty() {
                break;
            }
            lines += 1;
            bytes += line.len() as u64;
            let beyond = match line.len() as u64 {
                longer if longer > LONGEST_LINE => Some(format!("a line of more than {LONGEST_LINE} bytes")),
                _ if bytes > LONGEST_ANSWER => Some(format!("more than {LONGEST_ANSWER} bytes")),
                _ if lines > MOST_LINES => Some(format!("more than {MOST_LINES} lines")),
                _ => None,
            };
            if let Some(beyond) = beyond {
                let _ = child.kill().await; // it is gone already, then
                return Err(MeasureFailed::Nonsense(beyond));
            }
            if Instant::now() > until {
                let _ = child.kill().await; // it is gone already, then
                return Err(MeasureFailed::TooSlow(limits.seconds));
            }
            match serde_json::from_slice(&line).map_err(|error| nonsense(&error)) {
                Ok(Answer::Inside(inside)) => tokio::task::block_in_place(|| found(inside)),
                answer => last = Some(answer),
            }
        }
    }
    let status = child.wait().await.map_err(|error| nonsense(&error))?;
    if !status.success() {
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        return Err(match signal.map(Signal::try_from) {
            Some(Ok(Signal::SIGXCPU)) => MeasureFailed::TooSlow(limits.seconds),
            Some(Ok(signal)) => MeasureFailed::Crashed(signal.to_string()),
            _ => MeasureFailed::Crashed(status.to_string()),
        });
    }
    match last.unwrap_or_else(|| Err(nonsense(&"it says nothing")))? {
        Answer::Measured(measurement) => Ok(measurement),
        Answer::Changed => Err(MeasureFailed::Changed),
        Answer::Unreadable(why) => Err(MeasureFailed::Unreadable(why)),
        Answer::Inside(_) => Err(nonsense(&"it ends in the midst")),
    }
}

//! Reads a file in a process of its own that lives for one file only, so that a hostile picture can take
//! that process down and nothing else.
//!
//! The agent starts itself once more (`/proc/self/exe measure-worker`), with the open file as standard input.
//! The worker gives up what it does not need, reads, and answers with one line of JSON.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use vitrine_fingerprint::{Content, Digest, Format, Limits, MeasureError, Measurement, Reason, Unscanned};

use crate::config::MeasureLimits;
use crate::fail::Failure;

/// Name of the hidden subcommand that runs [`worker`].
pub(crate) const WORKER: &str = "measure-worker";
/// What the agent tells the worker: MiB, seconds and whether it may take its time.
const ORDERS: &str = "VITRINE_MEASURE";
/// Longest answer of a worker: a fingerprint and a thumbnail fit many times.
const LONGEST_ANSWER: u64 = 512 * 1024;
/// `nobody`, as Debian and the kernel's overflow id have it.
const NOBODY: u32 = 65534;
/// Highest descriptor of a worker: its three streams, the file once more, and what its libraries open.
const MOST_FILES: u64 = 16;

/// Why a file was not measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MeasureFailed {
    /// No process could be started for it.
    #[error("no process could be started to read it ({0}); check memory and the limit of processes (`ulimit -u`)")]
    NotStarted(String),
    /// It took too long.
    #[error("reading it took longer than {0} s; raise `seconds` in [measure] of agent.toml if such files are expected")]
    TooSlow(u64),
    /// The process died, as it does when it wants more memory than it may have.
    #[error(
        "the process that read it ended with {0}; if such files are expected, raise `memory-mib` in [measure] of agent.toml, else keep the file as evidence"
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

/// What a worker says.
#[derive(Serialize, Deserialize)]
enum Answer {
    Measured(Measurement),
    Changed,
    Unreadable(String),
}

impl MeasureFailed {
    /// The row of the failure table.
    pub(crate) fn failure(&self) -> Failure {
        match self {
            MeasureFailed::Unreadable(_) | MeasureFailed::Changed => Failure::Unscanned,
            MeasureFailed::NotStarted(_)
            | MeasureFailed::TooSlow(_)
            | MeasureFailed::Crashed(_)
            | MeasureFailed::Nonsense(_) => Failure::WorkerFailed,
        }
    }
}

/// Opens a regular file for reading and nothing else: a FIFO does not make the caller wait, a symbolic link
/// is not followed, a device is not started, and the time of access stays where the owner is asked for it.
///
/// # Errors
/// The file cannot be opened, or is of another kind.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let careful = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
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

/// Measures an open file from its beginning, in a process of its own. Not more than `limits.parallel` run at
/// a time, counted apart for `background` work, so that a scan never delays a judgement.
///
/// # Errors
/// Whatever goes wrong with the file or the process; nothing of it harms the caller.
pub(crate) async fn measure(
    file: File,
    limits: &MeasureLimits,
    background: bool,
) -> Result<Measurement, MeasureFailed> {
    static FRONT: OnceLock<Semaphore> = OnceLock::new();
    static BACK: OnceLock<Semaphore> = OnceLock::new();
    let places = if background { &BACK } else { &FRONT };
    let place = places.get_or_init(|| Semaphore::new(limits.parallel.max(1))).acquire().await;
    let _place = place.map_err(|error| MeasureFailed::NotStarted(error.to_string()))?;
    let mut child = start(file, limits, background).map_err(|error| MeasureFailed::NotStarted(error.to_string()))?;
    // The processor's clock stops the worker first where it computes; this one where it waits.
    let patience = Duration::from_secs(limits.seconds.saturating_add(2));
    match tokio::time::timeout(patience, answer(&mut child, limits)).await {
        Ok(answer) => answer,
        Err(_) => {
            let _ = child.kill().await; // it is gone already, then
            Err(MeasureFailed::TooSlow(limits.seconds))
        }
    }
}

/// A file that was measured: what it is on disk, and what it is.
pub(crate) type Measured = Result<(Metadata, Measurement), MeasureFailed>;

/// Opens and measures many files, `limits.parallel` at a time, for a command; `then` gets the results in the
/// order of `paths`. What crashes its worker is known by its digest.
///
/// # Errors
/// No runtime could be started; what goes wrong with a file is its own result.
pub(crate) fn measure_each(
    paths: impl IntoIterator<Item = PathBuf>,
    limits: MeasureLimits,
    mut then: impl FnMut(PathBuf, Measured),
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut paths = paths.into_iter();
    let mut under_way = VecDeque::new();
    loop {
        while under_way.len() < limits.parallel * 2
            && let Some(path) = paths.next()
        {
            let named = path.clone();
            under_way.push_back((path, runtime.spawn(async move { measure_path(&named, &limits).await })));
        }
        let Some((path, task)) = under_way.pop_front() else { return Ok(()) };
        let measured = runtime.block_on(task);
        then(path, measured.unwrap_or_else(|error| Err(MeasureFailed::NotStarted(error.to_string()))));
    }
}

async fn measure_path(path: &Path, limits: &MeasureLimits) -> Measured {
    let unreadable = |error: io::Error| MeasureFailed::Unreadable(error.to_string());
    let file = open_regular(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let kept = file.try_clone().map_err(unreadable)?;
    let measurement = match measure(file, limits, false).await {
        Ok(measurement) => measurement,
        Err(failed @ (MeasureFailed::Unreadable(_) | MeasureFailed::Changed)) => return Err(failed),
        Err(failed) => digest_only(&kept, &failed).map_err(unreadable)?,
    };
    Ok((metadata, measurement))
}

/// What can be said of a file that no worker could measure: its digest, so that exact copies are found.
/// Nothing is decoded here, so that nothing can be exploited.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn digest_only(file: &File, why: &MeasureFailed) -> io::Result<Measurement> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1024 * 1024];
    let mut bytes = 0;
    let mut format = None;
    loop {
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
    let content = format.map_or(Content::Other, |format| Content::Unscanned(unscanned(format)));
    Ok(Measurement { digest: Digest::from(*hasher.finalize().as_bytes()), bytes, content })
}

fn start(file: File, limits: &MeasureLimits, background: bool) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    #[cfg(not(test))]
    command.arg(WORKER);
    #[cfg(test)]
    command.args(tests::WORKER_ARGUMENTS);
    command
        .env_clear()
        .env(ORDERS, format!("{} {} {}", limits.memory_mib, limits.seconds, u8::from(background)))
        .current_dir("/")
        .stdin(Stdio::from(file))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}

async fn answer(child: &mut Child, limits: &MeasureLimits) -> Result<Measurement, MeasureFailed> {
    let mut said = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let read = stdout.take(LONGEST_ANSWER + 1).read_to_end(&mut said).await;
        read.map_err(|error| MeasureFailed::Nonsense(error.to_string()))?;
    }
    if said.len() as u64 > LONGEST_ANSWER {
        let _ = child.kill().await;
        return Err(MeasureFailed::Nonsense(format!("more than {LONGEST_ANSWER} bytes")));
    }
    let status = child.wait().await.map_err(|error| MeasureFailed::Nonsense(error.to_string()))?;
    if !status.success() {
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        return Err(match signal.map(Signal::try_from) {
            Some(Ok(Signal::SIGXCPU)) => MeasureFailed::TooSlow(limits.seconds),
            Some(Ok(signal)) => MeasureFailed::Crashed(signal.to_string()),
            _ => MeasureFailed::Crashed(status.to_string()),
        });
    }
    #[cfg(test)]
    let said = tests::without_harness(&said);
    match serde_json::from_slice(&said).map_err(|error| MeasureFailed::Nonsense(error.to_string()))? {
        Answer::Measured(measurement) => Ok(measurement),
        Answer::Changed => Err(MeasureFailed::Changed),
        Answer::Unreadable(why) => Err(MeasureFailed::Unreadable(why)),
    }
}

/// The other side: measures standard input, answers on standard output. Run it in a process of its own only:
/// it gives up rights that it cannot take back.
pub(crate) fn worker() -> ExitCode {
    let orders = std::env::var(ORDERS).unwrap_or_default();
    let mut orders = orders.split(' ').map_while(|order| order.parse::<u64>().ok());
    let (Some(memory_mib), Some(seconds), Some(background)) = (orders.next(), orders.next(), orders.next()) else {
        eprintln!("vitrine {WORKER}: the agent starts this program to read one file; there is no use for it by hand");
        return ExitCode::from(2);
    };
    if let Err(error) = confine(memory_mib, seconds, background != 0) {
        eprintln!("vitrine {WORKER}: cannot give up rights: {error}");
        return ExitCode::from(3);
    }
    let answer = match measured(memory_mib) {
        Ok(measurement) => Answer::Measured(measurement),
        Err(MeasureError::Changed) => Answer::Changed,
        Err(error) => Answer::Unreadable(error.to_string()),
    };
    let written = serde_json::to_vec(&answer).map_err(io::Error::from).and_then(|line| {
        let mut out = io::stdout().lock();
        out.write_all(&line)?;
        out.flush()
    });
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measured(memory_mib: u64) -> Result<Measurement, MeasureError> {
    let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Refused by its header is better than killed half way: the decoders get half of the memory.
    let mut limits = Limits::default();
    limits.max_memory = limits.max_memory.min(memory_mib * 1024 * 1024 / 2);
    limits.keep_bytes = limits.keep_bytes.min(memory_mib * 1024 * 1024 / 8);
    vitrine_fingerprint::measure(&file, &limits)
}

/// Gives up all that reading one open file does not need.
fn confine(memory_mib: u64, seconds: u64, background: bool) -> nix::Result<()> {
    if background {
        crate::sys::step_back();
    }
    let memory = memory_mib.saturating_mul(1024 * 1024);
    for (resource, soft, hard) in [
        (Resource::RLIMIT_AS, memory, memory),
        (Resource::RLIMIT_CPU, seconds, seconds.saturating_add(1)),
        (Resource::RLIMIT_CORE, 0, 0),
        (Resource::RLIMIT_FSIZE, 0, 0),
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
    prctl::set_pdeathsig(Signal::SIGKILL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A test program is started as a worker by asking it for the one test that never comes back.
    pub(super) const WORKER_ARGUMENTS: [&str; 4] = ["measure::tests::a_worker", "--exact", "--ignored", "--nocapture"];

    #[test]
    #[ignore = "not a test but the worker that the others start"]
    fn a_worker() {
        std::process::exit(i32::from(worker() != ExitCode::SUCCESS));
    }

    /// What the worker said, without what the test harness says before.
    pub(super) fn without_harness(said: &[u8]) -> Vec<u8> {
        let start = said.windows(2).position(|pair| pair == b"{\"" || pair == b"\"C").unwrap_or(0);
        said[start..].to_vec()
    }

    fn measure_blocking(file: File, limits: &MeasureLimits) -> Result<Measurement, MeasureFailed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(measure(file, limits, false))
    }

    fn limits() -> MeasureLimits {
        MeasureLimits { seconds: 20, memory_mib: 512, parallel: 2 }
    }

    fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let lab = tempfile::tempdir().unwrap();
        let path = lab.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        (lab, path)
    }

    #[test]
    fn a_file_is_measured_by_another_process() {
        let (_lab, path) = written(b"no picture");
        let measurement = measure_blocking(open_regular(&path).unwrap(), &limits()).unwrap();
        assert_eq!(measurement.digest, Digest::of(b"no picture"));
        assert!(matches!(measurement.content, Content::Other));
    }

    #[test]
    fn a_background_worker_answers_too() {
        let (_lab, path) = written(b"x");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let measured = runtime.block_on(measure(open_regular(&path).unwrap(), &limits(), true));
        assert_eq!(measured.unwrap().bytes, 1);
    }

    #[test]
    fn a_worker_that_is_killed_is_an_error_and_no_more() {
        let (_lab, path) = written(b"");
        File::options().write(true).open(&path).unwrap().set_len(1 << 43).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let failed = runtime.block_on(async {
            let mut child = start(open_regular(&path).unwrap(), &limits(), false).unwrap();
            let pid = nix::unistd::Pid::from_raw(child.id().unwrap().try_into().unwrap());
            nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
            answer(&mut child, &limits()).await.unwrap_err()
        });
        assert_eq!((failed.failure(), failed), (Failure::WorkerFailed, MeasureFailed::Crashed("SIGKILL".to_owned())));
    }

    #[test]
    fn a_worker_that_takes_too_long_is_killed() {
        // A sparse file of 8 TiB is readable for an hour.
        let (_lab, path) = written(b"");
        File::options().write(true).open(&path).unwrap().set_len(1 << 43).unwrap();
        let hurried = MeasureLimits { seconds: 1, ..limits() };
        let failed = measure_blocking(open_regular(&path).unwrap(), &hurried).unwrap_err();
        assert_eq!(failed, MeasureFailed::TooSlow(1));
    }

    #[test]
    fn many_files_come_back_in_their_order() {
        let lab = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..20).map(|number| lab.path().join(number.to_string())).collect();
        for path in &paths[1..] {
            std::fs::write(path, path.as_os_str().as_encoded_bytes()).unwrap();
        }
        let mut came = Vec::new();
        measure_each(paths.clone(), limits(), |path, measured| came.push((path, measured.is_ok()))).unwrap();
        let expected: Vec<_> = paths.into_iter().enumerate().map(|(number, path)| (path, number > 0)).collect();
        assert_eq!(came, expected);
    }

    #[test]
    fn a_directory_among_the_descriptors_is_refused_by_the_worker() {
        let lab = tempfile::tempdir().unwrap();
        let failed = measure_blocking(File::open(lab.path()).unwrap(), &limits()).unwrap_err();
        assert!(matches!(failed, MeasureFailed::Unreadable(_)), "{failed}");
    }

    #[test]
    fn what_no_worker_could_read_is_known_by_its_digest() {
        let (_lab, path) = written(b"\xff\xd8\xff damaged");
        let why = MeasureFailed::Crashed("SIGSEGV".to_owned());
        let measurement = digest_only(&open_regular(&path).unwrap(), &why).unwrap();
        assert_eq!(measurement.digest, Digest::of(b"\xff\xd8\xff damaged"));
        assert!(matches!(measurement.content, Content::Unscanned(Unscanned { format: Format::Jpeg, .. })));
    }

    #[test]
    fn only_regular_files_are_opened_and_nothing_waits() {
        let lab = tempfile::tempdir().unwrap();
        let at = |name: &str| lab.path().join(name);
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        symlink("/etc/passwd", at("link")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        for name in ["fifo", "socket", "link", "dangling", "absent", "."] {
            assert!(open_regular(&at(name)).is_err(), "{name}");
        }
        assert!(open_regular(Path::new("/dev/zero")).is_err());
    }

    #[test]
    fn without_orders_the_worker_does_nothing() {
        // The variable is only set for workers, and the tests that start them do not run this one.
        if std::env::var_os(ORDERS).is_none() {
            assert_eq!(worker(), ExitCode::from(2));
        }
    }
}

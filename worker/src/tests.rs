use super::*;
use std::os::unix::fs::symlink;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A test program is started as a worker, too.
#[ctor::ctor(unsafe)]
fn be_a_worker() {
    if is_asked() {
        std::process::exit(i32::from(worker() != ExitCode::SUCCESS));
    }
}

fn measure_blocking(file: File, limits: &MeasureLimits) -> Result<Measurement, MeasureFailed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(measure(file, limits, &mut |_| {}))
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
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let measured = runtime.block_on(measure_master(open_regular(&path).unwrap(), &limits(), &mut Pages::default()));
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
        answer(&mut child, &limits(), &mut |_| {}).await.unwrap_err()
    });
    assert_eq!(failed, MeasureFailed::Crashed("SIGKILL".to_owned()));
}

#[test]
fn a_worker_outlives_the_thread_that_has_asked_for_it() {
    let (_lab, path) = written(b"");
    File::options().write(true).open(&path).unwrap().set_len(1 << 43).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    let asks = std::thread::spawn(move || {
        let _inside = handle.enter();
        start(open_regular(&path).unwrap(), &limits(), false).unwrap()
    });
    let mut child = asks.join().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "it ended with the thread");
    runtime.block_on(child.kill()).unwrap();
}

/// What comes of a worker that was taken over and says what `script` says, and how many things it was believed.
fn hostile(script: &str) -> (MeasureFailed, usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let hurried = MeasureLimits { seconds: 1, ..limits() };
    let found = AtomicUsize::new(0);
    let failed = runtime.block_on(async {
        let mut child =
            Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut count = |_| {
            found.fetch_add(1, Ordering::Relaxed);
        };
        let said = tokio::time::timeout(patience(&hurried) * 4, answer(&mut child, &hurried, &mut count)).await;
        assert!(child.try_wait().unwrap().is_some(), "{script}: it goes on");
        said.unwrap().unwrap_err()
    });
    (failed, found.into_inner())
}

#[test]
fn a_worker_that_was_taken_over_is_ended_when_it_says_too_much() {
    let measurement =
        Measurement { digest: Digest::of(b""), bytes: 0, parts: Parts::default(), content: Content::Other };
    let inside = Answer::Inside(Inside { path: "x".to_owned(), measurement });
    let line = serde_json::to_string(&inside).unwrap();
    let (failed, found) = hostile(&format!("yes '{line}'"));
    assert_eq!(failed, MeasureFailed::Nonsense("more than 20002 lines".to_owned()));
    assert!(found as u64 <= MOST_LINES, "{found}");
    let (failed, _) = hostile("yes | tr -d '\\n'");
    assert_eq!(failed, MeasureFailed::Nonsense("a line of more than 4194304 bytes".to_owned()));
    let (failed, _) = hostile(&format!("while :; do echo '{line}'; sleep 0.1; done"));
    assert_eq!(failed, MeasureFailed::TooSlow(1));
    let (failed, found) = hostile("echo '{\"Measured\":{}}'; echo '{\"Inside\":7}'");
    assert!(matches!(failed, MeasureFailed::Nonsense(_)) && found == 0, "{failed}");
    let (failed, _) = hostile(&format!("echo '{line}'; kill -9 $$"));
    assert_eq!(failed, MeasureFailed::Crashed("SIGKILL".to_owned()));
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
    let none: Look<()> = Arc::new(|(), _| ());
    measure_each(paths.clone(), limits(), &none, |path, measured| came.push((path, measured.is_ok()))).unwrap();
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
    let measurement = digest_only(&open_regular(&path).unwrap(), &why, &limits()).unwrap();
    assert_eq!(measurement.digest, Digest::of(b"\xff\xd8\xff damaged"));
    assert!(matches!(measurement.content, Content::Unscanned(Unscanned { format: Format::Jpeg, .. })));
}

#[test]
fn a_hole_of_a_terabyte_is_read_for_no_longer_than_a_worker_would() {
    let (_lab, path) = written(b"\xff\xd8\xff");
    File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    let why = MeasureFailed::TooSlow(1);
    let limits = MeasureLimits { seconds: 1, ..limits() };
    let begun = Instant::now();
    let late = digest_only(&open_regular(&path).unwrap(), &why, &limits).unwrap_err();
    assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    assert!(late.to_string().contains("within 1 s"), "{late}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
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
    assert_eq!(worker(), ExitCode::from(2));
}

use std::path::Path;
use std::process::{Child, Command, Stdio};

use vitrine_policy::facts::Tier;

use super::*;

/// Real processes, ended with the test, and with them what they have started: an orphan that is left would be taken for
/// another test's.
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        let ours: Vec<u32> = self.0.iter().map(Child::id).collect();
        process::all()
            .filter_map(Process::of_thread)
            .filter(|process| u32::try_from(process.parent).is_ok_and(|parent| ours.contains(&parent)))
            .for_each(end);
        self.end_alone();
    }
}

fn end(process: Process) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.id.pid), nix::sys::signal::SIGKILL);
}

impl Processes {
    /// Without what they have started.
    fn end_alone(&mut self) {
        for mut child in self.0.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn start(&mut self, command: &mut Command) -> Process {
        self.0.push(command.spawn().expect("a process"));
        let pid = self.0.last().map(Child::id).expect("a child");
        Process::of_thread(i32::try_from(pid).expect("a pid")).expect("the process")
    }
}

fn master() -> Known {
    Known::master(Path::new("/m/a.tif"), Tier(2))
}

fn reach(process: Process) -> Reach {
    Reach::of(process, Instant::now() + Duration::from_secs(5))
}

fn carries(taints: &mut Taints, process: Process, holds_labelled: bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    matches!(taints.of(process, deadline, |_| holds_labelled), Carried::Label(_))
}

fn tier_of(taints: &mut Taints, process: Process) -> Option<Tier> {
    match taints.of(process, Instant::now() + Duration::from_secs(5), |_| true) {
        Carried::Label(known) => Some(known.tier),
        Carried::Nothing => None,
        Carried::Unknown(_) => panic!("five seconds were not enough"),
    }
}

fn until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "it did not happen within ten seconds");
        std::thread::yield_now();
    }
}

#[test]
fn a_child_carries_what_its_parent_read_and_a_stranger_does_not() {
    let mut processes = Processes(Vec::new());
    let shell =
        processes.start(Command::new("sh").args(["-c", "sleep 30; true"]).stdout(Stdio::null()).stderr(Stdio::null()));
    let stranger = processes.start(Command::new("sleep").arg("30").stdout(Stdio::null()).stderr(Stdio::null()));
    until(|| !process::children(shell.id.pid).is_empty());
    let child = Process::of_thread(process::children(shell.id.pid)[0]).expect("the child");
    let mut taints = Taints::default();
    taints.add(shell, &master(), Trust::None, reach(shell), |_| true);
    assert_eq!(tier_of(&mut taints, child), Some(Tier(2)));
    assert_eq!(tier_of(&mut taints, shell), Some(Tier(2)));
    assert_eq!(tier_of(&mut taints, stranger), None);
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id.pid), nix::sys::signal::SIGKILL);
}

#[test]
fn who_reads_from_a_tainted_pipe_is_tainted_over_two_pipes() {
    let mut processes = Processes(Vec::new());
    let mut first = Command::new("sleep").arg("30").stdout(Stdio::piped()).spawn().expect("first");
    let pipe = first.stdout.take().expect("a pipe");
    let mut second = Command::new("sleep").arg("30").stdin(pipe).stdout(Stdio::piped()).spawn().expect("second");
    let pipe = second.stdout.take().expect("a pipe");
    let third = processes.start(Command::new("sleep").arg("30").stdin(pipe).stdout(Stdio::null()));
    let writer = Process::of_thread(i32::try_from(first.id()).expect("a pid")).expect("the process");
    processes.0.extend([first, second]);
    let mut taints = Taints::default();
    taints.add(writer, &master(), Trust::None, reach(writer), |_| true);
    assert_eq!(tier_of(&mut taints, third), Some(Tier(2)));
    // And the other way round: what comes in does not go out by itself.
    let mut taints = Taints::default();
    taints.add(third, &master(), Trust::None, reach(third), |_| true);
    assert_eq!(tier_of(&mut taints, writer), None);
}

#[test]
fn the_holder_of_a_pipe_does_not_taint_the_other_programs_that_it_starts() {
    let mut processes = Processes(Vec::new());
    let mut writer = Command::new("sleep").arg("30").stdout(Stdio::piped()).spawn().expect("a writer");
    let pipe = writer.stdout.take().expect("a pipe");
    let shell = processes.start(
        Command::new("sh")
            .args(["-c", "sleep 30 < /dev/null; true"])
            .stdin(pipe)
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    let tainted = Process::of_thread(i32::try_from(writer.id()).expect("a pid")).expect("the process");
    processes.0.push(writer);
    until(|| {
        process::children(shell.id.pid)
            .first()
            .and_then(|child| Process::of_thread(*child)?.executable())
            .is_some_and(|path| path != shell.executable().unwrap_or_default())
    });
    let child = Process::of_thread(process::children(shell.id.pid)[0]).expect("the child");
    let mut taints = Taints::default();
    taints.add(tainted, &master(), Trust::None, reach(tainted), |_| true);
    assert_eq!(tier_of(&mut taints, shell), Some(Tier(2)));
    assert_eq!(tier_of(&mut taints, child), None);
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id.pid), nix::sys::signal::SIGKILL);
}

#[test]
fn a_copier_is_tainted_only_while_it_holds_a_labelled_file() {
    let mut processes = Processes(Vec::new());
    let copier = processes.start(Command::new("sleep").arg("30").stdout(Stdio::null()).stderr(Stdio::null()));
    let mut taints = Taints::default();
    taints.add(copier, &master(), Trust::Copier, reach(copier), |_| true);
    assert!(carries(&mut taints, copier, true));
    assert!(!carries(&mut taints, copier, false));
    assert!(taints.is_empty() || !carries(&mut taints, copier, true));
}

#[test]
fn the_dead_are_forgotten_and_so_are_their_orphans_once_they_end() {
    let mut processes = Processes(Vec::new());
    let short = processes.start(Command::new("sleep").arg("30").stdout(Stdio::null()).stderr(Stdio::null()));
    let mut taints = Taints::default();
    taints.add(short, &master(), Trust::None, reach(short), |_| true);
    taints.sweep(true);
    assert!(taints.processes.contains_key(&short.id));
    drop(processes);
    // Another test's orphan of the same moment may pass for its own, as long as it lives.
    until(|| {
        taints.sweep(true);
        !taints.processes.contains_key(&short.id) && taints.orphans.is_empty()
    });
}

#[test]
fn an_orphan_keeps_what_its_parent_read() {
    let mut processes = Processes(Vec::new());
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let script = "sleep 30 >/dev/null & echo $!; exec >/dev/null; read line";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).stdin(Stdio::piped()).stdout(writer).stderr(Stdio::null());
    let parent = processes.start(&mut shell);
    drop(shell);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut reader, &mut said).expect("the number of the orphan");
    let orphan = Process::of_thread(said.trim().parse().expect("a number")).expect("the orphan");
    let mut taints = Taints::default();
    taints.add(parent, &master(), Trust::None, reach(parent), |_| true);
    taints.sweep(true);
    processes.end_alone();
    taints.sweep(false);
    let orphan = Process::of_thread(orphan.id.pid).expect("the orphan");
    assert_eq!(tier_of(&mut taints, orphan), Some(Tier(2)));
    end(orphan);
    until(|| {
        taints.sweep(true);
        !taints.processes.contains_key(&parent.id) && taints.orphans.is_empty()
    });
}

#[test]
fn labels_of_parents_pipes_and_earlier_readings_are_all_carried() {
    let mut processes = Processes(Vec::new());
    let named = |name: &str, tier| Known::master(Path::new(name), Tier(tier));
    let masters =
        |taints: &mut Taints, process| match taints.of(process, Instant::now() + Duration::from_secs(5), |_| true) {
            Carried::Label(known) => {
                let mut masters: Vec<_> = known.masters.iter().map(|path| path.display().to_string()).collect();
                masters.sort();
                (known.tier, masters)
            }
            _ => panic!("it carries something"),
        };
    let all = |names: &[&str]| (Tier(2), names.iter().map(ToString::to_string).collect::<Vec<_>>());

    // A child that reads something lower has its parent's memory and descriptors all the same.
    let shell = processes.start(Command::new("sh").args(["-c", "sleep 60 & wait"]));
    let mut child = None;
    until(|| {
        child = process::all().filter_map(Process::of_thread).find(|child| child.parent == shell.id.pid);
        child.is_some()
    });
    let child = child.expect("a child");
    let mut taints = Taints::default();
    taints.add(shell, &named("/m/b.tif", 2), Trust::None, reach(shell), |_| true);
    taints.add(child, &named("/m/public.jpg", 0), Trust::None, reach(child), |_| true);
    assert_eq!(masters(&mut taints, child), all(&["/m/b.tif", "/m/public.jpg"]));

    // So does one that reads a pipe, and one pipe that two have written.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let sleeps = || {
        let mut command = Command::new("sleep");
        command.arg("60");
        command
    };
    let first = processes.start(sleeps().stdout(writer.try_clone().expect("its end")));
    let second = processes.start(sleeps().stdout(writer));
    let behind = processes.start(sleeps().stdin(reader));
    let mut taints = Taints::default();
    taints.add(
        first,
        &named("/m/b.tif", 2),
        Trust::None,
        Reach { pipes: pipes_of(first, |ways| ways.writes).collect(), ..Reach::default() },
        |_| true,
    );
    taints.add(
        second,
        &named("/m/c.tif", 0),
        Trust::None,
        Reach { pipes: pipes_of(second, |ways| ways.writes).collect(), ..Reach::default() },
        |_| true,
    );
    assert_eq!(masters(&mut taints, behind), all(&["/m/b.tif", "/m/c.tif"]));
    taints.add(behind, &named("/m/public.jpg", 0), Trust::None, Reach::default(), |_| true);
    assert_eq!(masters(&mut taints, behind), all(&["/m/b.tif", "/m/c.tif", "/m/public.jpg"]));
}

#[test]
fn whom_an_orphan_makes_before_it_ends_carries_it_too() {
    let mut processes = Processes(Vec::new());
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    // The shell starts one that waits, starts another and ends.
    let script = "(sleep 0.5; sh -c 'echo $$; exec sleep 30 >/dev/null' &) & exec >/dev/null; read line";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).stdin(Stdio::piped()).stdout(writer).stderr(Stdio::null());
    let parent = processes.start(&mut shell);
    drop(shell);
    until(|| !process::children(parent.id.pid).is_empty());
    let mut taints = Taints::default();
    taints.add(parent, &master(), Trust::None, reach(parent), |_| true);
    processes.end_alone();
    until(|| {
        taints.sweep(false);
        !taints.processes.contains_key(&parent.id)
    });
    let mut said = String::new();
    std::io::Read::read_to_string(&mut reader, &mut said).expect("the number of a process");
    let last = Process::of_thread(said.trim().parse().expect("a number")).expect("the process");
    until(|| Process::of_thread(last.id.pid).is_some_and(|process| process.parent <= 1 || adopts(process.parent)));
    let last = Process::of_thread(last.id.pid).expect("it lives");
    assert_eq!(tier_of(&mut taints, last), Some(Tier(2)));
    end(last);
}

#[test]
fn who_is_taken_for_an_orphan_counts_for_a_while_and_keeps_what_it_reads_itself() {
    let mut processes = Processes(Vec::new());
    let other = processes.start(Command::new("sleep").arg("30").stdout(Stdio::null()).stderr(Stdio::null()));
    let guessed = processes.start(Command::new("sleep").arg("31").stdout(Stdio::null()).stderr(Stdio::null()));
    let mut taints = Taints::default();
    let taint = Taint::new(Arc::new(master()), &guessed, None, false, true);
    taints.orphans.insert(guessed.id, Orphan { taint, until: Instant::now() + Duration::from_millis(300) });
    let public = Known::master(Path::new("/m/public.jpg"), Tier(0));
    taints.add(guessed, &public, Trust::None, reach(guessed), |_| true);
    assert_eq!(tier_of(&mut taints, guessed), Some(Tier(2)));
    std::thread::sleep(Duration::from_millis(350));
    taints.sweep(false);
    assert_eq!(tier_of(&mut taints, guessed), Some(Tier(0)));
    assert_eq!(tier_of(&mut taints, other), None);
}

/// Ends with the test, however that ends.
struct Left(Process);

impl Left {
    /// What a shell leaves behind when it ends, once it is another program than that.
    fn behind() -> Left {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 30 >/dev/null & echo $!"]).stderr(Stdio::null());
        let said = shell.output().expect("a shell").stdout;
        let pid = String::from_utf8_lossy(&said).trim().parse().expect("a number");
        until(|| Process::of_thread(pid).and_then(Process::executable).is_some_and(|path| !path.ends_with("dash")));
        until(|| Process::of_thread(pid).is_some_and(|left| left.parent <= 1 || adopts(left.parent)));
        Left(Process::of_thread(pid).expect("the process"))
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        end(self.0);
    }
}

#[test]
fn whom_nobody_has_time_to_wait_for_may_carry_what_every_reader_carries() {
    let mut processes = Processes(Vec::new());
    let mut reader = || {
        let mut shell = Command::new("sh");
        shell.args(["-c", "read line"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        processes.start(&mut shell)
    };
    let mut taints = Taints::default();
    for (name, tier) in [("/m/public.jpg", 0), ("/m/a.tif", 2), ("/m/other.jpg", 0)] {
        let reader = reader();
        taints.add(reader, &Known::master(Path::new(name), Tier(tier)), Trust::None, reach(reader), |_| true);
    }
    let first = Left::behind();
    assert_eq!(tier_of(&mut taints, first.0), None);
    let asked = |taints: &mut Taints, process| {
        taints.waited = Waited { since: Some(Instant::now()), spent: PATIENCE };
        taints.of(process, Instant::now() + Duration::from_secs(5), |_| true)
    };
    // Nobody may be as slow as that it has grown old before it is asked about.
    let mut next = Left::behind();
    until(|| match asked(&mut taints, next.0) {
        Carried::Unknown(known) => known.tier == Tier(2),
        _ => {
            next = Left::behind();
            false
        }
    });
    // A second later it is old enough to be known as somebody else's.
    until(|| matches!(asked(&mut taints, next.0), Carried::Nothing));
}

#[test]
fn who_starts_processes_without_end_is_not_waited_for_without_end() {
    let (start, moment) = (Instant::now(), Duration::from_millis(50));
    let mut waited = Waited::default();
    let mut waits = |now| {
        let may = waited.may(now);
        waited.spent += if may { moment } else { Duration::ZERO };
        may
    };
    assert_eq!((0..9).filter(|_| waits(start + moment)).count(), 4);
    assert!(!waits(start + SELDOM));
    assert!(waits(start + moment + SELDOM));
}

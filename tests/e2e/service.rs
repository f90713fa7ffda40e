//! What an installed service stands, and what it says of itself.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vitrine_policy::record::{Event, STOPPED};

use crate::world::{World, binary, picture, wait_until};

/// Files of the burst, and how long the agent may take for them. Ten thousand took programs that were built for tests 146
/// seconds, on two cores with much else to do.
const BURST: usize = 3_000;
const BURST_TIME: Duration = Duration::from_secs(200);

/// The notices of this code that say so.
pub(crate) fn notices(world: &World, code: &str, saying: &str) -> Vec<String> {
    let notices = world.records().into_iter().filter_map(|record| match record.event {
        Event::Notice(notice) if notice.code == code && notice.message.contains(saying) => Some(notice.message),
        _ => None,
    });
    notices.collect()
}

fn noticed(world: &World, code: &str, saying: &str) -> String {
    wait_until(&format!("notice {code} of {saying}"), || notices(world, code, saying).pop())
}

/// Ends the agent as the service manager does.
pub(crate) fn stop(world: &mut World) {
    let mut agent = world.agent.take().expect("an agent");
    kill(Pid::from_raw(agent.id().try_into().expect("a process id")), Signal::SIGTERM).expect("a signal");
    let ended = wait_until("end of the agent", || agent.try_wait().expect("the agent"));
    assert!(ended.success(), "{ended}: {}", world.log());
}

/// Waits until the agent is there and enforces, whatever else it has to do.
pub(crate) fn enforces(world: &World) {
    wait_until("agent that enforces", || (world.status()?["mode"] == "enforce").then_some(()));
}

pub(crate) fn copy_is_refused(world: &World, master: &str) {
    let done = world.sh(&format!("cp {master} usb/"));
    assert!(!done.succeeded && !done.hung, "{}", done.text);
    assert_eq!(world.bytes_in("usb"), 0);
}

#[test]
fn a_second_agent_with_the_same_state_says_whose_it_is_and_the_first_goes_on() {
    let Some(world) = World::builder().build() else { return };
    let first = world.agent.as_ref().expect("an agent").id();
    let second = world.vitrine(&["run"]);
    let told = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(3), "{told}");
    for part in [&format!("process {first}"), &world.path("state").display().to_string(), "systemctl stop vitrine"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert_eq!(world.status().expect("a status")["pid"], first);
    copy_is_refused(&world, "ws/masters/KP1_0001.jpg");
}

#[test]
fn files_that_come_all_at_once_hold_nobody_up_and_all_of_them_are_registered() {
    // Programs that were built for tests are slow, and who could not be looked through in time is refused.
    let Some(world) = World::builder().config("deadline-ms = 1500\n").build() else { return };
    let small = world.path("small.jpg");
    let master = picture("photo_elem").expect("a picture");
    let made = Command::new("convert-im6.q16").arg(master).args(["-resize", "64x64"]).arg(&small).status();
    assert!(made.is_ok_and(|status| status.success()));
    let small = fs::read(small).expect("a small picture");
    let begun = Instant::now();
    for number in 0..BURST {
        // A comment behind the start of the picture: other bytes, the same pixels.
        let comment = [&[0xff, 0xfe, 0, 10][..], format!("{number:08}").as_bytes()].concat();
        let picture = [&small[..2], &comment, &small[2..]].concat();
        fs::write(world.path(&format!("ws/masters/B{number}_1.jpg")), picture).expect("a file");
        if number % 1000 == 999 {
            copy_is_refused(&world, "ws/masters/KP1_0001.jpg");
            copy_is_refused(&world, &format!("ws/masters/B{number}_1.jpg"));
        }
    }
    let dropped = begun.elapsed();
    let wanted = BURST as u64 + 3;
    loop {
        copy_is_refused(&world, "ws/masters/KP1_0001.jpg");
        let status = world.status().expect("an agent that answers");
        let (known, waiting) = (status["masters"].as_u64().expect("a number"), status["pending"].as_u64());
        if known == wanted && waiting == Some(0) {
            break;
        }
        assert!(
            begun.elapsed() < BURST_TIME,
            "{known} of {wanted} are known, {waiting:?} wait: {}",
            status["counters"]
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    eprintln!("{BURST} files came within {dropped:?} and were known after {:?}", begun.elapsed());
    copy_is_refused(&world, "ws/masters/B1234_1.jpg");
    let counters = world.status().expect("a status")["counters"].to_string();
    for lost in ["queue-overflow", "untold", "spool-full"] {
        assert!(!counters.contains(lost), "{counters}");
    }
}

#[test]
fn what_is_in_force_is_on_record_at_the_start_and_at_each_change_and_so_is_the_end() {
    let Some(mut world) = World::builder().audit().not_started().build() else { return };
    let named = |world: &World, mode: &str, serial: u32| {
        let head = format!("version = 1\nname = \"scanning room\"\nserial = {serial}\n");
        let text = world.policy(mode, "").replacen("version = 1\n", &head, 1);
        fs::write(world.path("etc/policy.new"), text).expect("the policy");
        fs::rename(world.path("etc/policy.new"), world.path("etc/policy.toml")).expect("the policy");
    };
    named(&world, "audit", 7);
    world.start();
    let told = noticed(&world, "standing", "in mode audit");
    let figures = ["are indexed", "records wait to be sent", "there is no collector"];
    let standing =
        ["guards with gate", "“scanning room” of serial 7", "not covered on this machine: network destinations"];
    for part in standing.into_iter().chain(figures) {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    wait_until("three masters", || (world.status()?["masters"] == 3).then_some(()));
    let shown = String::from_utf8(world.vitrine(&["status"]).stdout).expect("text");
    for part in [
        "guard       gate: ",
        "mode        audit: ",
        "“scanning room”, ",
        "serial 7",
        "NOT covered network",
        "masters     3 indexed, ",
        "records     ",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert!(shown.contains("collector   none"), "{shown}");
    named(&world, "enforce", 8);
    noticed(&world, "standing", "in mode enforce, by the policy “scanning room” of serial 8");

    let settings = world.path("etc/agent.toml");
    let text = fs::read_to_string(&settings).expect("the settings");
    fs::write(&settings, text.clone() + "# edited\n").expect("the settings");
    let told = noticed(&world, "settings-changed", "were edited");
    assert!(told.contains(&settings.display().to_string()), "{told}");

    stop(&mut world);
    assert_eq!(notices(&world, STOPPED, "").len(), 1);
    fs::write(&settings, text + "# edited while nobody looked\n").expect("the settings");
    world.run();
    wait_until("record of the second edit", || (notices(&world, "settings-changed", "").len() == 2).then_some(()));
    copy_is_refused(&world, "ws/masters/KP1_0001.jpg");
}

#[test]
fn a_collection_that_is_not_there_is_named_and_guarded_as_soon_as_it_is() {
    let Some(mut world) = World::builder().not_started().build() else { return };
    let loans = world.path("ws/loans");
    let text = format!("[[collection]]\nname = \"loans\"\npaths = [\"{}\"]\n", loans.display());
    world.set_policy("enforce", &text);
    world.start();
    let is_named = |world: &World| {
        let status = world.status().expect("a status");
        status["not_covered"].to_string().contains(&format!("{} of the collection “loans”", loans.display()))
    };
    wait_until("status that names it", || is_named(&world).then_some(()));
    noticed(&world, "standing", "of the collection “loans”: no such directory");
    copy_is_refused(&world, "ws/masters/KP1_0001.jpg");
    for round in 0..2 {
        fs::create_dir(&loans).expect("the collection");
        fs::copy(picture("art_se__mark").expect("a picture"), loans.join("L1.jpg")).expect("a master");
        copy_is_refused(&world, "ws/loans/L1.jpg");
        wait_until("master", || (world.status()?["masters"] == 4 && !is_named(&world)).then_some(()));
        copy_is_refused(&world, "ws/loans/L1.jpg");
        fs::remove_dir_all(&loans).expect("the collection");
        wait_until("status that names it again", || is_named(&world).then_some(round));
    }
    copy_is_refused(&world, "ws/masters/KP1_0001.jpg");
}

#[test]
fn a_state_directory_that_is_missing_is_made_and_one_that_goes_is_named() {
    let Some(mut world) = World::builder().not_started().build() else { return };
    let state = world.path("state");
    fs::remove_dir(&state).expect("the state directory");
    world.start();
    copy_is_refused(&world, "ws/masters/KP1_0001.jpg");
    fs::remove_dir_all(&state).expect("the state directory");
    let told = format!("the state directory {} is gone", state.display());
    wait_until("word of it", || world.log().contains(&told).then_some(()));
    copy_is_refused(&world, "ws/masters/KP1_0001.jpg");
    stop(&mut world);
    world.run();
    copy_is_refused(&world, "ws/masters/KP1_0001.jpg");
}

/// An agent that is started while nothing can be written to its state directory, by `fault`, until `mended`.
fn guards_without_its_state(fault: &str, error: &str, mended: &str) {
    let Some(mut world) = World::builder().not_started().build() else { return };
    // What lies in memory in the place of the state is this world's, too.
    assert!(world.sh("mount -t tmpfs run /run && mount -t tmpfs -o size=24m state state").succeeded);
    world.start();
    assert!(world.sh("cp ws/work/notes.txt share/web/").succeeded);
    stop(&mut world);
    let broken = world.sh(fault);
    assert!(broken.succeeded, "{}", broken.text);

    for _ in 0..2 {
        world.run();
        copy_is_refused(&world, "ws/masters/KP1_0001.jpg");
        let told = noticed(&world, "state-failed", "cannot be written");
        assert!(told.contains(error) && told.contains(&world.path("state").display().to_string()), "{told}");
        noticed(&world, "standing", "the state directory");
        let shown = String::from_utf8(world.vitrine(&["status"]).stdout).expect("text");
        assert!(shown.contains("cannot be written"), "{shown}");
        let second = world.vitrine(&["run"]);
        let told = String::from_utf8_lossy(&second.stderr);
        assert!(second.status.code() == Some(3) && told.contains("another agent keeps the state"), "{told}");
        world.kill_agent();
    }
    // The policy that was in force lies in the state, too.
    fs::write(world.path("etc/policy.toml"), "version = ").expect("a policy");
    world.spawn(&mut Command::new(binary("vitrine")));
    enforces(&world);
    copy_is_refused(&world, "ws/masters/KP1_0001.jpg");
    let recorded = world.transfers().iter().map(|transfer| transfer.attempts).sum::<u32>();
    stop(&mut world);

    let done = world.sh(mended);
    assert!(done.succeeded, "{}", done.text);
    world.run();
    let told = noticed(&world, "state-failed", "can be written again");
    assert!(told.contains("records among it"), "{told}");
    assert!(recorded >= 3, "{recorded} attempts on record");
    assert_eq!(
        world.transfers().iter().map(|transfer| transfer.attempts).sum::<u32>(),
        recorded,
        "all records are there"
    );
    assert!(!notices(&world, "state-failed", error).is_empty());
    assert_eq!(fs::read_dir("/run/vitrine").expect("a directory").count(), 0);
    copy_is_refused(&world, "ws/masters/KP1_0001.jpg");
    stop(&mut world);
    world.sh("umount -l state");
}

#[test]
fn an_agent_whose_disk_is_full_guards_and_names_it_and_loses_nothing() {
    let fill = "dd if=/dev/zero of=state/fill bs=64k status=none; dd if=/dev/zero of=state/rest bs=1 status=none; test -s state/fill";
    guards_without_its_state(fill, "No space left on device", "rm state/fill state/rest");
}

#[test]
fn a_disk_that_fills_under_the_agent_is_named_and_its_records_wait() {
    let Some(mut world) = World::builder().not_started().build() else { return };
    assert!(world.sh("mount -t tmpfs -o size=24m state state").succeeded);
    world.start();
    world.sh("dd if=/dev/zero of=state/fill bs=4k status=none");
    for _ in 0..40 {
        copy_is_refused(&world, "ws/masters/KP1_0001.jpg");
    }
    let told = format!("the state directory {} cannot be written", world.path("state").display());
    wait_until("word of it", || world.log().contains(&told).then_some(()));
    assert!(world.sh("rm state/fill").succeeded);
    noticed(&world, "state-failed", "No space left on device");
    wait_until("all attempts", || {
        (world.transfers().iter().map(|transfer| transfer.attempts).sum::<u32>() >= 40).then_some(())
    });
    stop(&mut world);
    world.sh("umount -l state");
}

#[test]
fn an_agent_whose_state_is_read_only_guards_and_names_it_and_loses_nothing() {
    let fault = "mount -o remount,ro state";
    guards_without_its_state(fault, "ead-only file", "mount -o remount,rw state");
}

#[test]
fn a_clock_that_was_set_back_while_the_workstation_was_off_is_on_record() {
    let Some(mut world) = World::builder().not_started().build() else { return };
    world.start();
    stop(&mut world);
    assert!(notices(&world, "clock-jumped", "").is_empty());
    let kept = fs::read(world.path("state/clock.json")).expect("what the clock showed");
    let mut kept: serde_json::Value = serde_json::from_slice(&kept).expect("JSON");
    (kept["boot"], kept["wall"]) = ("another".into(), (kept["wall"].as_i64().expect("a time") + 7200).into());
    fs::write(world.path("state/clock.json"), kept.to_string()).expect("what the clock showed");
    world.run();
    let told = noticed(&world, "clock-jumped", "set back by");
    assert!(told.contains("timedatectl"), "{told}");
    copy_is_refused(&world, "ws/masters/KP1_0001.jpg");
}

/// A clock that is thirty years late for whoever is started with it.
const LATE: &str = r#"
#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, id, now);
    if (result == 0 && id == CLOCK_REALTIME) now->tv_sec -= 30L * 365 * 24 * 60 * 60;
    return result;
}
"#;

#[test]
fn a_clock_that_is_years_late_at_the_start_is_on_record_and_keeps_nobody_from_guarding() {
    let Some(mut world) = World::builder().not_started().build() else { return };
    fs::write(world.path("late.c"), LATE).expect("a clock");
    let made = world.sh("cc -shared -fPIC -o late.so late.c");
    assert!(made.succeeded, "{}", made.text);
    world.configure();
    let late = world.path("late.so");
    world.spawn(Command::new(binary("vitrine")).env("LD_PRELOAD", late));
    enforces(&world);
    copy_is_refused(&world, "ws/masters/KP1_0001.jpg");
    let told = noticed(&world, "clock-jumped", "this program was made at");
    assert!(told.contains("the clock shows 19"), "{told}");
}

#[test]
fn one_replaced_program_is_one_record() {
    let Some(mut world) = World::builder().not_started().build() else { return };
    // What the policy names is the agent's own program, as it is for `vitrine export`.
    let program = world.path("vitrine");
    fs::copy(binary("vitrine"), &program).expect("a program");
    world.set_policy("enforce", &format!("[[program]]\nname = \"vitrine\"\npath = \"{}\"\n", program.display()));
    world.configure();
    world.spawn(&mut Command::new(&program));
    enforces(&world);
    wait_until("look at what is installed", || world.path("state/installed.json").exists().then_some(()));
    let mut other = fs::read(&program).expect("the program");
    other.push(0);
    fs::write(world.path("new"), other).expect("another program");
    fs::set_permissions(world.path("new"), fs::metadata(&program).expect("the program").permissions())
        .expect("its mode");
    fs::rename(world.path("new"), &program).expect("another program");
    noticed(&world, "program-changed", "BLAKE3");
    // An edit of the settings has everything looked at, at once.
    let settings = world.path("etc/agent.toml");
    fs::write(&settings, fs::read_to_string(&settings).expect("the settings") + "# edited\n").expect("the settings");
    noticed(&world, "settings-changed", "were edited");
    stop(&mut world);
    assert_eq!(notices(&world, "installation-changed", ""), Vec::<String>::new());
    assert_eq!(notices(&world, "program-changed", "").len(), 1);
}

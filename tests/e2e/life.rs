//! The agent's own life: start, stop, crash, policy edits, and what was there before it.

use std::fs;
use std::process::{Command, Stdio};

use vitrine_policy::record::Disposition;

use crate::world::{World, binary, is_refused, wait_until};

#[test]
fn in_audit_everything_goes_through_and_the_record_says_what_would_have_been() {
    let Some(world) = World::builder().audit().build() else { return };
    assert!(world.sh("cp ws/masters/KP1_0001.jpg usb/ && ln ws/masters/KP2_0001.jpg ws/sync/").succeeded);
    let seen = world.recorded("the copy", |transfer| transfer.disposition == Disposition::WouldBlock);
    assert!(seen.masters[0].path.ends_with("KP1_0001.jpg"));
    assert!(world.path("ws/sync/KP2_0001.jpg").exists());
    assert!(world.bytes_in("usb") > 0);
}

#[test]
fn an_edited_policy_is_in_force_at_once_and_a_bad_edit_changes_nothing() {
    let Some(world) = World::builder().audit().build() else { return };
    world.set_policy("enforce", "");
    wait_until("policy in enforce", || (world.status()?["mode"] == "enforce").then_some(()));
    world.noticed("policy-loaded");
    world.set_policy("enforce", "[[destination]]\nnaem = \"oops\"\n");
    let told = world.noticed("policy-refused");
    assert!(told.contains("naem") && told.contains("policy.toml:"), "{told}");
    wait_until("status that tells the mistake", || world.status()?["policy_error"].as_str().map(str::to_owned));
    assert!(!world.sh("cp ws/masters/KP1_0001.jpg usb/").succeeded);
    assert_eq!(world.bytes_in("usb"), 0);
}

#[test]
fn the_last_good_policy_holds_when_the_agent_starts_with_a_bad_one() {
    let Some(mut world) = World::builder().build() else { return };
    world.kill_agent();
    fs::write(world.path("etc/policy.toml"), "version = \"oops").expect("the policy");
    world.start();
    assert_eq!(world.status().expect("a status")["mode"], "enforce");
    assert!(!world.sh("cp ws/masters/KP1_0001.jpg usb/").succeeded);
    world.noticed("policy-refused");
}

#[test]
fn a_process_that_held_a_master_before_the_agent_came_is_tainted() {
    let Some(mut world) = World::builder().not_started().build() else { return };
    let holder = "exec 3< ws/masters/KP1_0001.jpg; touch ws/work/ready; while [ ! -e ws/work/go ]; do sleep 0.05; done; cat <&3 > usb/x";
    let mut held = Command::new("sh")
        .args(["-c", holder])
        .current_dir(&world.root)
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    wait_until("holder", || world.path("ws/work/ready").exists().then_some(()));
    world.start();
    fs::write(world.path("ws/work/go"), "").expect("the signal");
    held.wait().expect("the shell");
    assert_eq!(world.bytes_in("usb"), 0);
    world.recorded("the holder", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb"));
}

#[test]
fn nobody_waits_when_the_agent_is_killed_and_it_guards_again_when_it_is_back() {
    let Some(mut world) = World::builder().build() else { return };
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let script = "for i in $(seq 200); do cat ws/work/notes.txt ws/masters/KP1_0001.jpg > /dev/null; done";
            Command::new("timeout").args(["20", "sh", "-c", script]).current_dir(&world.root).spawn().expect("a reader")
        })
        .collect();
    world.kill_agent();
    for mut reader in readers {
        assert!(reader.wait().expect("a reader").success(), "a reader hung or failed");
    }
    world.start();
    assert!(!world.sh("cp ws/masters/KP1_0001.jpg usb/").succeeded);
    assert_eq!(world.bytes_in("usb"), 0);
}

#[test]
fn a_new_master_is_protected_before_and_after_it_is_read() {
    let Some(world) = World::builder().build() else { return };
    // At once, by its path; later by its content, wherever it lies.
    world.sh("convert-im6.q16 /usr/share/pixmaps/debian-logo.png -resize 10x10 /dev/null; cp ws/vault/../work/notes.txt ws/work/n2");
    fs::copy(crate::world::picture("art_se__mark").expect("a picture"), world.path("ws/masters/KP9_0001.jpg"))
        .expect("a master");
    assert!(!world.sh("cp ws/masters/KP9_0001.jpg usb/").succeeded);
    wait_until("fourth master", || (world.status()?["masters"].as_u64()? == 4).then_some(()));
    assert!(!world.sh("cp ws/masters/KP9_0001.jpg usb/").succeeded);
    assert_eq!(world.bytes_in("usb"), 0);
}

#[test]
fn a_disk_that_is_plugged_in_later_is_guarded_too() {
    let Some(world) = World::builder().build() else { return };
    fs::create_dir(world.path("late")).expect("a mount point");
    let image = world.path("late.img");
    fs::File::create(&image).and_then(|file| file.set_len(32 << 20)).expect("an image");
    assert!(world.sh("mkfs.ext4 -q late.img && mount -o loop late.img late").succeeded);
    wait_until("guarded disk", || world.status()?["guarded"].to_string().contains("/late").then_some(()));
    assert!(!world.sh("cp ws/masters/KP1_0001.jpg late/").succeeded);
    assert_eq!(world.bytes_in("late"), 0);
    // And pulled out again.
    assert!(world.sh("umount late").succeeded);
    wait_until("disk that is gone", || (!world.status()?["guarded"].to_string().contains("/late")).then_some(()));
}

#[test]
fn it_tells_what_it_guards_and_what_it_does_not() {
    let Some(world) = World::builder().build() else { return };
    let status = world.status().expect("a status");
    assert_eq!((status["guard"].as_str(), status["mode"].as_str()), (Some("gate"), Some("enforce")));
    assert!(status["not_covered"].to_string().contains("network"));
    let text = String::from_utf8(world.vitrine(&["status"]).stdout).expect("text");
    assert!(text.contains("gate") && text.contains("enforce"), "{text}");
}

#[test]
fn a_reader_that_goes_is_no_failure_of_a_command_and_no_end_of_the_agent() {
    let Some(world) = World::builder().watching().build() else { return };
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut status = Command::new(binary("vitrine"));
    status.args(["status", "--state"]).arg(world.path("state")).stdout(writer).stderr(Stdio::piped());
    let done = status.spawn().and_then(std::process::Child::wait_with_output).expect("vitrine");
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    let agent = world.agent.as_ref().expect("an agent").id();
    let signals = fs::read_to_string(format!("/proc/{agent}/status")).expect("a process");
    let ignored = signals.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("signals");
    let ignored = u64::from_str_radix(ignored.trim(), 16).expect("a mask");
    assert_eq!(ignored & (1 << 12), 1 << 12, "SIGPIPE (13, signal(7)) is not ignored: {ignored:x}");
}

#[test]
fn a_copy_of_unknown_content_is_still_labelled_after_a_restart() {
    let Some(mut world) = World::builder().build() else { return };
    assert!(world.sh("tar czf ws/work/packed.tgz ws/masters").succeeded);
    wait_until("labelled archive", || (world.status()?["labelled"].as_u64()? > 0).then_some(()));
    wait_until("labels on disk", || {
        fs::read_to_string(world.path("state/labels.json")).ok()?.contains("tier").then_some(())
    });
    world.kill_agent();
    world.start();
    assert!(!world.sh("cp ws/work/packed.tgz usb/").succeeded);
    assert_eq!(world.bytes_in("usb"), 0);
}

#[test]
fn a_master_that_leaves_its_collection_stays_a_master() {
    let Some(world) = World::builder().build() else { return };
    assert!(world.sh("mv ws/masters/KP1_0001.jpg ws/work/holiday.dat").succeeded);
    wait_until("collection without it", || (world.status()?["masters"] == 2).then_some(()));
    assert!(!world.sh("cp ws/work/holiday.dat usb/").succeeded);
    assert_eq!(world.bytes_in("usb"), 0);
}

#[test]
fn an_agent_that_is_ended_by_force_is_missed_until_it_is_back() {
    let Some(mut world) = World::builder().with_collector().build() else { return };
    let silent = |world: &World, state: &str| {
        world.alerts().into_iter().find(|alert| alert["code"] == "agent-silent" && alert["state"] == state)
    };
    wait_until("a first heartbeat", || {
        world.status()?["collector_contact"].as_str()?.starts_with("reached").then_some(())
    });
    world.kill_agent();
    let alert = wait_until("the alert", || silent(&world, "open"));
    assert_eq!(alert["severity"], "high");
    world.start();
    wait_until("the end of the alert", || silent(&world, "resolved"));
}

//! The gate at rest, when only labelled files are asked about, and the gate in haste, when time runs out.

use vitrine_policy::record::Operation;

use crate::world::{World, is_refused, wait_until};

/// Waits until only the labelled files of the workstation's disk are asked about.
fn at_rest(world: &World) {
    wait_until("file system at rest", || rests(&world.status()?.to_string()).then_some(()));
}

fn rests(status: &str) -> bool {
    status.contains("opens of labelled files")
}

/// Gives a master another name and reads it by that at once, from a disk at rest.
fn by_another_name(rename: &str) {
    let Some(world) = World::builder().build() else { return };
    for round in 0..10 {
        at_rest(&world);
        let script = format!(
            "import os\n{rename}('ws/masters/KP1_0001.jpg','ws/work/n{round}.bin')\n\
             d=open('ws/work/n{round}.bin','rb').read()\nos.rename('ws/work/n{round}.bin','ws/masters/KP1_0001.jpg')\n\
             open('usb/x','wb').write(d)"
        );
        std::fs::write(world.path("ws/work/name.py"), script).expect("a script");
        let done = world.sh("python3 ws/work/name.py");
        assert!(done.text.contains("PermissionError"), "round {round}: {}", done.text);
        assert_eq!(world.bytes_in("usb"), 0, "round {round}");
    }
    world.recorded("the write", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb"));
}

#[test]
fn a_master_that_was_just_renamed_is_known() {
    by_another_name("os.rename");
}

#[test]
fn a_master_that_was_just_linked_is_known() {
    by_another_name("os.link");
}

#[test]
fn nothing_rests_while_somebody_carries_a_label_and_all_does_when_he_has_ended() {
    let Some(world) = World::builder().build() else { return };
    at_rest(&world);
    let then = world.sh("exec 3< ws/masters/KP1_0001.jpg; sleep 1.5; cat state/status.json").text;
    assert!(then.contains("guarded") && !rests(&then), "{then}");
    at_rest(&world);
    assert!(world.sh("cat ws/work/notes.txt > usb/notes.txt").succeeded);
}

#[test]
fn a_disk_of_masters_that_is_mounted_anew_is_guarded_again() {
    let Some(world) = World::builder().build() else { return };
    at_rest(&world);
    let done = world.sh("umount ws && mount -o loop ws.img ws && sleep 1");
    assert!(done.succeeded, "{}", done.text);
    at_rest(&world);
    assert!(!world.sh("cat ws/vault/V1_0001.jpg > /dev/null").succeeded);
    assert!(!world.sh("cp ws/masters/KP1_0001.jpg usb/").succeeded);
    assert_eq!(world.bytes_in("usb"), 0);
}

#[test]
fn a_copy_that_a_tainted_program_made_is_known_after_it_has_ended() {
    let Some(world) = World::builder().build() else { return };
    world.sh("gzip -c ws/masters/KP1_0001.jpg > ws/work/a.gz; mv ws/work/a.gz ws/work/b.gz");
    at_rest(&world);
    world.sh("ln ws/work/b.gz ws/work/c.gz; cp ws/work/c.gz usb/");
    assert_eq!(world.bytes_in("usb"), 0);
    world.recorded("the copy", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb/c.gz"));
}

#[test]
fn what_a_process_holds_and_cannot_be_looked_through_in_time_counts_as_a_place_that_nobody_named() {
    let Some(world) = World::builder().config("deadline-ms = 10\n").build() else { return };
    let script = "import os,resource\nresource.setrlimit(resource.RLIMIT_NOFILE,(4000,4000))\n\
                  held=[os.open('/dev/null',os.O_WRONLY) for _ in range(3900)]\n\
                  open('ws/masters/KP1_0001.jpg','rb').read(1)";
    std::fs::write(world.path("ws/work/many.py"), script).expect("a script");
    let done = world.sh("python3 ws/work/many.py");
    assert!(done.text.contains("PermissionError"), "{}", done.text);
    world.recorded("the open", |transfer| {
        transfer.operation == Operation::Open && is_refused(transfer, "KP1_0001.jpg", "/fd")
    });
    assert!(world.noticed("taint-incomplete").contains("could not be looked through"));
}

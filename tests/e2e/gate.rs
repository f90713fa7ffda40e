//! What the gate refuses, and what it lets through.

use vitrine_policy::record::{Disposition, Operation};

use crate::world::{World, is_refused, wait_until};

/// Tries one command that would carry the master to the USB disk: no byte may arrive, the command may not
/// hang, and a record has to name program, master and destination.
fn refuses(command: &str, program: &str) {
    let Some(world) = World::builder().build() else { return };
    let done = world.sh(command);
    assert!(!done.hung, "{command} hung");
    assert_eq!(world.bytes_in("usb"), 0, "{command} brought bytes to the disk: {}", done.text);
    let refused = world.recorded(command, |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb"));
    assert_eq!(refused.processes[0].name, program, "{command}");
    assert_eq!(refused.tier, "master");
    assert_eq!(refused.user.as_ref().map(|user| user.uid), Some(0));
    assert_eq!(refused.masters[0].object.as_deref(), Some("KP1"));
    assert!(refused.explanation.contains("elsewhere"), "{}", refused.explanation);
}

#[test]
fn cp_is_refused() {
    refuses("cp ws/masters/KP1_0001.jpg usb/", "cp");
}

#[test]
fn mv_is_refused_and_the_master_stays() {
    let Some(world) = World::builder().build() else { return };
    world.sh("mv ws/masters/KP1_0001.jpg usb/");
    assert_eq!(world.bytes_in("usb"), 0);
    assert!(world.path("ws/masters/KP1_0001.jpg").exists());
}

#[test]
fn dd_is_refused() {
    refuses("dd if=ws/masters/KP1_0001.jpg of=usb/x status=none", "dd");
}

#[test]
fn rsync_is_refused_although_another_of_its_processes_writes() {
    refuses("rsync -a ws/masters/KP1_0001.jpg usb/", "rsync");
}

#[test]
fn tar_is_refused_on_the_other_side_of_a_pipe() {
    refuses("tar cf - ws/masters/KP1_0001.jpg | tar xf - -C usb", "tar");
}

#[test]
fn a_redirection_that_opened_the_disk_first_is_refused_at_the_master() {
    let Some(world) = World::builder().build() else { return };
    let done = world.sh("cat ws/masters/KP1_0001.jpg > usb/x; cat ws/masters/KP1_0001.jpg 1<> usb/y");
    assert!(!done.hung);
    assert_eq!(world.bytes_in("usb"), 0);
    let refused = world.recorded("the open of the master", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb"));
    assert_eq!(refused.operation, Operation::Open);
}

#[test]
fn a_pipe_whose_reader_opened_the_disk_first_is_refused_at_the_master() {
    let Some(world) = World::builder().build() else { return };
    world.sh("(sleep 0.3; cat ws/masters/KP1_0001.jpg) | cat > usb/x");
    assert_eq!(world.bytes_in("usb"), 0);
    world.recorded("the open of the master", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb"));
}

#[test]
fn a_pipe_whose_reader_opens_the_disk_late_is_refused_at_the_disk() {
    let Some(world) = World::builder().build() else { return };
    world.sh("cat ws/masters/KP1_0001.jpg | gzip | (sleep 0.3; cat > usb/x)");
    assert_eq!(world.bytes_in("usb"), 0);
    world.recorded("the open of the disk", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb"));
}

#[test]
fn python_is_refused_in_both_orders() {
    refuses(
        "python3 -c \"d=open('ws/masters/KP1_0001.jpg','rb').read(); open('usb/x','wb').write(d)\"; \
         python3 -c \"f=open('usb/y','wb'); f.write(open('ws/masters/KP1_0001.jpg','rb').read())\"",
        "python3.11",
    );
}

#[test]
fn a_child_of_a_reader_is_refused() {
    let Some(world) = World::builder().build() else { return };
    world.sh("exec 3< ws/masters/KP1_0001.jpg; sh -c 'cat <&3 > usb/x'");
    assert_eq!(world.bytes_in("usb"), 0);
}

#[test]
fn a_mapping_made_before_counts_as_holding_the_disk() {
    let Some(world) = World::builder().build() else { return };
    let script = "import mmap,os\nf=os.open('usb/x',os.O_RDWR|os.O_CREAT)\nos.ftruncate(f,4096)\nm=mmap.mmap(f,4096)\nos.close(f)\nm[:4096]=open('ws/masters/KP1_0001.jpg','rb').read(4096)\nm.flush()";
    std::fs::write(world.path("ws/work/map.py"), script).expect("a script");
    let done = world.sh("python3 ws/work/map.py");
    assert!(!done.succeeded, "{}", done.text);
    let bytes = std::fs::read(world.path("usb/x")).expect("the file");
    assert!(bytes.iter().all(|byte| *byte == 0), "bytes of the master arrived");
}

#[test]
fn a_web_size_copy_goes_to_the_website_and_a_large_one_does_not() {
    let Some(world) = World::builder().build() else { return };
    assert!(world.sh("convert-im6.q16 ws/masters/KP1_0001.jpg -resize 1200x1200 ws/work/web.jpg").succeeded);
    assert!(world.sh("convert-im6.q16 ws/masters/KP1_0001.jpg -resize 90% ws/work/ninety.png").succeeded);
    wait_until("web-size copy at the website", || world.sh("cp ws/work/web.jpg share/web/").succeeded.then_some(()));
    let allowed = world.recorded("the web-size copy", |transfer| {
        transfer.disposition == Disposition::Allowed && transfer.destination.is_some()
    });
    assert_eq!((allowed.tier.as_str(), allowed.masters[0].path.ends_with("KP1_0001.jpg")), ("public", true));
    assert!(!world.sh("cp ws/work/ninety.png share/web/").succeeded);
    let refused =
        world.recorded("the large copy", |transfer| is_refused(transfer, "KP1_0001.jpg", "share/web/ninety.png"));
    assert_eq!(refused.destination.expect("a destination").name, "website");
    assert!(!world.sh("cp ws/work/web.jpg usb/").succeeded, "not even a web-size copy may go where nobody named");
    assert_eq!(world.bytes_in("usb"), 0);
}

#[test]
fn what_a_tainted_program_leaves_at_a_place_that_may_have_it_keeps_its_label() {
    let Some(world) = World::builder().build() else { return };
    assert!(world.sh("mkdir mem && mount -t tmpfs none mem").succeeded);
    let memory = world.path("mem");
    let memory =
        format!("[[destination]]\nname = \"memory\"\npaths = [\"{}\"]\nceiling = \"master\"\n", memory.display());
    world.set_policy("enforce", &memory);
    wait_until("guarded memory", || world.status()?["guarded"].to_string().contains("/mem: ").then_some(()));
    let done = world.sh("gzip -c ws/masters/KP1_0001.jpg > mem/a.gz; cat ws/masters/KP2_0001.jpg | gzip > mem/b.gz");
    assert!(done.succeeded, "{}", done.text);
    assert!(!world.sh("cp mem/a.gz usb/").succeeded);
    assert!(!world.sh("cp mem/b.gz usb/").succeeded);
    assert_eq!(world.bytes_in("usb"), 0);
    world.recorded("the first", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb/a.gz"));
    world.recorded("the second", |transfer| is_refused(transfer, "KP2_0001.jpg", "/usb/b.gz"));
}

#[test]
fn what_is_not_labelled_goes_anywhere_and_a_refused_copy_leaves_no_empty_file() {
    let Some(world) = World::builder().build() else { return };
    assert!(world.sh("cp ws/work/notes.txt usb/ && cp /bin/ls usb/ && cat usb/notes.txt").succeeded);
    world.sh("cp ws/masters/KP1_0001.jpg usb/");
    wait_until("a disk without the leftover", || (!world.path("usb/KP1_0001.jpg").exists()).then_some(()));
    assert!(world.transfers().iter().all(|transfer| !transfer.file.path.ends_with("notes.txt")));
}

#[test]
fn a_rename_and_a_hard_link_into_the_sync_folder_are_undone() {
    let Some(world) = World::builder().build() else { return };
    world.sh("mv ws/masters/KP1_0001.jpg ws/sync/; ln ws/masters/KP2_0001.jpg ws/sync/two.jpg");
    let renamed = world.recorded("the rename", |transfer| transfer.operation == Operation::Rename);
    assert_eq!(renamed.disposition, Disposition::Undone);
    let linked = world.recorded("the link", |transfer| transfer.operation == Operation::Link);
    assert_eq!(linked.disposition, Disposition::Undone);
    assert!(world.path("ws/masters/KP1_0001.jpg").exists() && world.path("ws/masters/KP2_0001.jpg").exists());
    assert_eq!(world.bytes_in("ws/sync"), 0);
}

#[test]
fn a_directory_of_masters_renamed_into_the_sync_folder_is_undone() {
    let Some(world) = World::builder().build() else { return };
    world.sh("mkdir ws/masters/box; mv ws/masters/KP1_0001.jpg ws/masters/box/; mv ws/masters/box ws/sync/");
    world.recorded("the rename", |transfer| {
        transfer.operation == Operation::Rename && transfer.disposition == Disposition::Undone
    });
    // Two renames in a row may be seen as one, and the master goes back to where the first one took it.
    let places = ["ws/masters/box/KP1_0001.jpg", "ws/masters/KP1_0001.jpg"];
    assert!(places.iter().any(|place| world.path(place).exists()));
    assert_eq!(world.bytes_in("ws/sync"), 0);
}

#[test]
fn a_vault_opens_for_its_program_alone() {
    let Some(world) = World::builder().build() else { return };
    assert!(!world.sh("cat ws/vault/V1_0001.jpg > /dev/null").succeeded);
    assert!(
        !world
            .sh("cp /usr/bin/cat ws/work/convert-im6.q16; ws/work/convert-im6.q16 ws/vault/V1_0001.jpg > /dev/null")
            .succeeded,
        "a name is no proof"
    );
    assert!(
        !world.sh("ln ws/vault/V1_0001.jpg ws/work/linked.jpg; cat ws/work/linked.jpg > /dev/null").succeeded,
        "a link is the same file"
    );
    assert!(world.sh("convert-im6.q16 ws/vault/V1_0001.jpg -resize 100x100 ws/work/small.png").succeeded);
    let refused =
        world.recorded("the open", |transfer| transfer.operation == Operation::Open && transfer.destination.is_none());
    assert_eq!((refused.disposition, refused.processes[0].name.as_str()), (Disposition::Blocked, "cat"));
}

#[test]
fn a_library_slipped_into_the_named_program_does_not_open_the_vault() {
    let Some(world) = World::builder().build() else { return };
    // A library that belongs to an ordinary user, as LD_PRELOAD would bring it.
    let library =
        std::fs::read_dir("/usr/lib/x86_64-linux-gnu").expect("libraries").flatten().map(|entry| entry.path());
    let library =
        library.into_iter().find(|path| path.file_name().is_some_and(|name| name == "libm.so.6")).expect("libm");
    std::fs::copy(library, world.path("ws/work/own.so")).expect("a copy");
    world.sh("chmod 755 ws ws/work; chown 1000:1000 ws/work/own.so; chmod 777 ws/work");
    let command =
        "LD_PRELOAD=$PWD/ws/work/own.so convert-im6.q16 ws/vault/V1_0001.jpg -resize 100x100 ws/work/stolen.png";
    let done = world.sh(command);
    assert!(!world.path("ws/work/stolen.png").exists(), "{}", done.text);
}

#[test]
fn an_exempt_program_may_take_masters_anywhere_and_a_copy_of_it_may_not() {
    let exempt = "[[program]]\nname = \"backup\"\npath = \"/usr/bin/rsync\"\ntrust = \"exempt\"\n";
    let Some(world) = World::builder().policy(exempt).build() else { return };
    assert!(!world.sh("cp /usr/bin/rsync ws/work/rsync; ws/work/rsync ws/masters/KP1_0001.jpg usb/").succeeded);
    assert_eq!(world.bytes_in("usb"), 0);
    assert!(world.sh("rsync ws/masters/KP1_0001.jpg usb/").succeeded);
    assert!(world.bytes_in("usb") > 0);
}

#[test]
fn a_child_whose_parent_ended_a_moment_ago_is_refused() {
    let script = "import os,sys,time\nd=open('ws/masters/KP1_0001.jpg','rb').read()\nfor _ in range(2):\n if os.fork(): os._exit(0)\n\
                  \x20time.sleep(float(sys.argv[1]))\ntry: open('usb/x','wb').write(d); said='written'\n\
                  except OSError as error: said=str(error)\nopen(sys.argv[2],'w').write(said)";
    let Some(world) = World::builder().build() else { return };
    std::fs::write(world.path("ws/work/orphan.py"), script).expect("a script");
    for (round, wait) in [0.0, 0.0, 0.05, 0.3, 2.0].into_iter().enumerate() {
        world.sh(&format!("python3 ws/work/orphan.py {wait} ws/work/said-{round}"));
        let said = wait_until("what the orphan of an orphan says", || {
            std::fs::read_to_string(world.path(&format!("ws/work/said-{round}"))).ok().filter(|said| !said.is_empty())
        });
        assert!(said.contains("Operation not permitted") && world.bytes_in("usb") == 0, "round {round}: {said}");
    }
    // The same while the reader itself goes on.
    let lives = script.replacen("if os.fork(): os._exit(0)", "if os.fork(): time.sleep(3-3*_); os._exit(0)", 1);
    std::fs::write(world.path("ws/work/lives.py"), lives).expect("a script");
    world.sh("python3 ws/work/lives.py 0.3 ws/work/said-lives");
    let said = std::fs::read_to_string(world.path("ws/work/said-lives")).expect("what the orphan says");
    assert!(said.contains("Operation not permitted") && world.bytes_in("usb") == 0, "the reader lives: {said}");
    world.recorded("the write", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb/x"));
}

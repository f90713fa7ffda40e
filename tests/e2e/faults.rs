//! What must not hang, crash or go unseen.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::world::{World, is_refused, wait_until};

#[test]
fn a_pipe_a_socket_and_a_device_in_a_collection_hang_nobody() {
    let Some(world) = World::builder().build() else { return };
    world.sh("mkfifo ws/masters/fifo.tif; mknod ws/masters/null.tif c 1 3; ln -s /dev/zero ws/masters/zero.tif; \
              python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('ws/masters/socket.tif')\"");
    fs::copy(crate::world::picture("art_se__mark").expect("a picture"), world.path("ws/masters/KP9_0001.jpg"))
        .expect("a master");
    wait_until("fourth master", || (world.status()?["masters"].as_u64()? == 4).then_some(()));
    assert!(!world.sh("timeout 2 cat ws/masters/KP1_0001.jpg > /dev/null").hung);
}

#[test]
fn names_that_are_no_text_are_protected_like_others() {
    let Some(world) = World::builder().build() else { return };
    let name = std::ffi::OsStr::from_bytes(b"KP8_\xff\x1b[31m\n.jpg");
    fs::copy(crate::world::picture("art_se__mark").expect("a picture"), world.path("ws/masters").join(name))
        .expect("a master");
    wait_until("fourth master", || (world.status()?["masters"].as_u64()? == 4).then_some(()));
    assert!(!world.sh("cp ws/masters/KP8* usb/").succeeded);
    assert_eq!(world.bytes_in("usb"), 0);
    let refused =
        world.recorded("the copy", |transfer| transfer.masters.iter().any(|master| master.path.contains("KP8_")));
    assert!(refused.masters[0].path.ends_with("KP8_\\xff\\u{1b}[31m\\u{a}.jpg"), "{}", refused.masters[0].path);
}

#[test]
fn hostile_pictures_take_nothing_down() {
    let Some(world) = World::builder().build() else { return };
    // A PNG that says it has 100,000 x 100,000 pixels, a truncated JPEG, and rubbish.
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\x01\x86\xa0\0\x01\x86\xa0\x08\x06\0\0\0".to_vec();
    png.extend([0; 64]);
    fs::write(world.path("ws/masters/huge.tif"), png).expect("a file");
    let whole = fs::read(world.path("ws/masters/KP1_0001.jpg")).expect("a master");
    fs::write(world.path("ws/masters/truncated.jpg"), &whole[..whole.len() / 3]).expect("a file");
    fs::write(world.path("ws/masters/rubbish.jpg"), &whole[1000..9000]).expect("a file");
    wait_until("the hostile files taken in or told of", || (world.status()?["masters"].as_u64()? >= 6).then_some(()));
    assert!(!world.sh("cp ws/masters/huge.tif usb/").succeeded, "what cannot be measured is a master still");
    world.noticed("unscanned");
}

/// Ends whoever measures for the agent `of`, as running out of memory does; how many there were.
fn kill_workers(of: u32) -> usize {
    let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    let threads = fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let of_threads = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<String> = of_threads.chain([children]).collect();
    let pids = children.iter().flat_map(|line| line.split_ascii_whitespace()).filter_map(|pid| pid.parse().ok());
    let is_worker = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"measure-worker")
    };
    let kill =
        |pid: i32| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).is_ok();
    pids.filter(is_worker).filter(|pid| kill(*pid)).count()
}

#[test]
fn a_worker_that_is_killed_is_on_record_and_takes_nobody_with_it() {
    let Some(world) = World::builder().build() else { return };
    let agent = world.agent.as_ref().expect("an agent").id();
    fs::copy(crate::world::picture("art_se__mark").expect("a picture"), world.path("ws/masters/KP9_0001.jpg"))
        .expect("a master");
    wait_until("worker that was killed", || (kill_workers(agent) > 0).then_some(()));
    let told = world.noticed("worker-failed");
    assert!(told.contains("SIGKILL") && told.contains("only its exact copies are recognised"), "{told}");
    wait_until("fourth master", || (world.status()?["masters"].as_u64()? == 4).then_some(()));
    assert!(!world.sh("cp ws/masters/KP9_0001.jpg usb/").succeeded);
    assert_eq!((world.bytes_in("usb"), world.status().expect("a status")["pid"].as_u64()), (0, Some(agent.into())));
}

#[test]
fn one_big_file_does_not_stall_the_others() {
    let Some(world) = World::builder().build() else { return };
    world.sh("dd if=/dev/zero of=ws/masters/big.tif bs=1M count=200 status=none; cp ws/work/notes.txt ws/work/n2");
    let begun = std::time::Instant::now();
    for _ in 0..50 {
        assert!(world.sh("cat ws/work/notes.txt > /dev/null").succeeded);
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "50 readings took {:?}", begun.elapsed());
}

#[test]
fn a_full_disk_at_the_destination_and_a_vanished_file_are_no_trouble() {
    let Some(world) = World::builder().build() else { return };
    world.sh("dd if=/dev/zero of=usb/fill bs=1M status=none; cp ws/masters/KP1_0001.jpg usb/x; rm usb/fill");
    for n in 0..20 {
        world.sh(&format!("cp ws/work/notes.txt ws/masters/gone{n}.jpg; rm ws/masters/gone{n}.jpg"));
    }
    assert_eq!(world.bytes_in("usb"), 0);
    world.recorded("the copy", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb"));
    assert!(world.status().is_some(), "the agent ended:\n{}", world.log());
}

#[test]
fn another_listener_that_hangs_does_not_hang_the_agent() {
    let Some(world) = World::builder().build() else { return };
    let listener = "import ctypes,sys,time\nlibc=ctypes.CDLL(None)\nfd=libc.fanotify_init(4,0)\n\
                    libc.fanotify_mark(fd,0x101,ctypes.c_uint64(0x10000),-100,sys.argv[1].encode())\n\
                    open(sys.argv[2],'w').close()\ntime.sleep(3)";
    fs::write(world.path("usb/listener.py"), listener).expect("a script");
    let mut hanging = std::process::Command::new("python3")
        .args(["usb/listener.py", "ws", "usb/ready"])
        .current_dir(&world.root)
        .spawn()
        .expect("a listener");
    wait_until("listener that hangs", || world.path("usb/ready").exists().then_some(()));
    let mut waiting = std::process::Command::new("cat")
        .arg("ws/work/notes.txt")
        .current_dir(&world.root)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("a reader");
    assert!(!world.sh("timeout 2 cat usb/listener.py > /dev/null").hung, "what it did not mark is held up too");
    hanging.wait().expect("the listener");
    assert!(waiting.wait().expect("the reader").success(), "who waited for it is free when it is gone");
    assert!(!world.sh("cp ws/masters/KP1_0001.jpg usb/").succeeded);
    world.recorded("the copy", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb"));
}

/// How many locks the agent holds on files whose names end in `.db` or `-shm`.
fn locks(world: &World) -> usize {
    let process = format!("/proc/{}", world.agent.as_ref().expect("an agent").id());
    let open = fs::read_dir(format!("{process}/fd")).expect("descriptors").flatten();
    open.filter(|fd| {
        let path = fs::read_link(fd.path()).unwrap_or_default();
        let path = path.to_string_lossy();
        path.ends_with(".db") || path.ends_with("-shm")
    })
    .map(|fd| {
        let info = fs::read_to_string(format!("{process}/fdinfo/{}", fd.file_name().display())).unwrap_or_default();
        info.lines().filter(|line| line.starts_with("lock:")).count()
    })
    .sum()
}

#[test]
fn who_opens_the_agents_databases_takes_none_of_its_locks_away() {
    let Some(mut world) = World::builder().not_started().build() else { return };
    fs::remove_dir(world.path("state")).expect("the state directory");
    fs::create_dir(world.path("ws/state")).expect("one on a guarded disk");
    std::os::unix::fs::symlink("ws/state", world.path("state")).expect("a link to it");
    world.start();
    world.sh("cp ws/masters/KP1_0001.jpg usb/1.jpg");
    world.recorded("the copy", |transfer| !transfer.masters.is_empty());
    let before = locks(&world);
    assert!(before > 0, "the agent's databases are open");
    for database in ["spool.db", "history.db", "index.db"] {
        let line = format!(
            "import sqlite3; c = sqlite3.connect('state/{database}'); c.execute('SELECT 1 FROM sqlite_schema').fetchall(); c.execute('BEGIN IMMEDIATE'); c.close()"
        );
        world.sh(&format!("test ! -e state/{database} || python3 -c \"{line}\""));
    }
    std::thread::sleep(std::time::Duration::from_millis(500)); // what was closed makes its event
    assert_eq!(locks(&world), before);
}

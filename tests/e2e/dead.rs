//! A file server that does not answer: whoever asks it waits, and nobody else.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vitrine_policy::record::STOPPED;

use crate::service::{copy_is_refused, enforces, notices, stop};
use crate::world::{World, binary, picture, skipped, wait_until};

/// After this long whoever waits for the server is freed, whatever has become of the test.
const LONGEST: Duration = Duration::from_secs(120);

/// A FUSE file system whose daemon reads nothing (fuse(4)). Closing its descriptor frees all who wait for it.
struct Dead {
    point: PathBuf,
    daemon: Arc<Mutex<Option<File>>>,
    waiting: Vec<Child>,
}

impl Dead {
    fn mount(point: &Path) -> Option<Dead> {
        let Ok(daemon) = File::options().read(true).write(true).open("/dev/fuse") else {
            skipped("it needs /dev/fuse");
            return None;
        };
        fs::create_dir_all(point).expect("a mount point");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", daemon.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("nas:/scans"), point, Some("fuse"), flags, Some(options.as_str())).expect("a dead file server");
        let daemon = Arc::new(Mutex::new(Some(daemon)));
        let watched = daemon.clone();
        std::thread::spawn(move || {
            std::thread::sleep(LONGEST);
            drop(watched.lock().unwrap_or_else(PoisonError::into_inner).take());
        });
        Some(Dead { point: point.to_owned(), daemon, waiting: Vec::new() })
    }

    /// Somebody asks it for a file.
    fn ask(&mut self) {
        let mut cat = Command::new("cat");
        cat.arg(self.point.join("scan.tif")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.waiting.push(cat.spawn().expect("cat"));
    }
}

impl Drop for Dead {
    fn drop(&mut self) {
        drop(self.daemon.lock().unwrap_or_else(PoisonError::into_inner).take());
        for mut waiting in self.waiting.drain(..) {
            let _ = waiting.wait();
        }
        let _ = umount2(&self.point, MntFlags::MNT_DETACH);
    }
}

/// Copies are refused, what is not labelled goes, a rename is undone, and another policy counts: all of it soon.
fn all_is_well(world: &World) {
    let begun = Instant::now();
    copy_is_refused(world, "ws/masters/KP1_0001.jpg");
    assert!(world.sh("cp ws/work/notes.txt share/web/ && cat share/web/notes.txt").succeeded);
    world.sh("mv ws/masters/KP2_0001.jpg ws/sync/");
    wait_until("rename that is undone", || {
        (world.path("ws/masters/KP2_0001.jpg").exists() && !world.path("ws/sync/KP2_0001.jpg").exists()).then_some(())
    });
    let mut took = Duration::ZERO;
    for _ in 0..20 {
        let begun = Instant::now();
        assert!(world.sh("cat ws/work/notes.txt").succeeded);
        took = took.max(begun.elapsed());
    }
    assert!(took < Duration::from_secs(2), "an open took {took:?}");
    eprintln!("all is well after {:?}; the slowest of 20 opens took {took:?}", begun.elapsed());
}

fn labels(world: &World) -> Vec<serde_json::Value> {
    serde_json::from_slice(&fs::read(world.path("state/labels.json")).expect("labels")).expect("JSON")
}

#[test]
fn a_file_server_that_does_not_answer_holds_up_neither_the_gate_nor_the_status() {
    // Programs that were built for tests are slow, and who could not be looked through in time is refused.
    let Some(mut world) = World::builder().config("deadline-ms = 1500\n").build() else { return };
    let first = world.agent.as_ref().expect("an agent").id();
    let Some(mut dead) = Dead::mount(&world.path("dead")) else { return };
    dead.ask();
    all_is_well(&world);

    // Named by the policy, as a collection and as a destination.
    let root = world.root.display().to_string();
    let named = format!(
        "[[collection]]\nname = \"archive\"\npaths = [\"{root}/dead/scans\"]\n\
         [[destination]]\nname = \"dead\"\npaths = [\"{root}/dead/web\"]\nceiling = \"public\"\n"
    );
    world.set_policy("audit", &named);
    wait_until("policy in audit", || (world.status()?["mode"] == "audit").then_some(()));
    world.set_policy("enforce", &named);
    enforces(&world);
    wait_until("status that names it", || {
        let not_covered = world.status()?["not_covered"].to_string();
        (not_covered.contains("/dead/scans of the collection") && not_covered.contains("does not answer")).then_some(())
    });
    all_is_well(&world);
    assert_eq!(world.status().expect("a status")["pid"], first);

    // One that is started while the server is away guards, too, and each ends when it is told to. What had a label behind
    // the server keeps it.
    let packed = world.sh("tar czf ws/work/packed.tgz ws/masters");
    assert!(packed.succeeded, "{} {:?}", packed.text, world.transfers().pop());
    wait_until("labelled archive", || (world.status()?["labelled"].as_u64()? > 0).then_some(()));
    stop(&mut world);
    let mut labels = labels(&world);
    let mut behind = labels.first().expect("a label").clone();
    let path = world.path("dead/packed.tgz");
    behind["file"]["Unix"] = path.as_os_str().as_encoded_bytes().into();
    labels.push(behind.clone());
    fs::write(world.path("state/labels.json"), serde_json::to_vec(&labels).expect("JSON")).expect("labels");
    world.spawn(&mut Command::new(binary("vitrine")));
    enforces(&world);
    all_is_well(&world);
    // What lies elsewhere is looked through and followed.
    let new = world.path("ws/masters/KP9_0001.jpg");
    fs::copy(picture("art_se__mark").expect("a picture"), new).expect("a master");
    wait_until("fourth master", || (world.status()?["masters"] == 4).then_some(()));
    assert!(!world.sh("cp ws/work/packed.tgz usb/").succeeded);
    assert_eq!(world.bytes_in("usb"), 0);
    let agent = world.agent.as_ref().expect("an agent").id();
    kill(Pid::from_raw(agent.try_into().expect("a process id")), Signal::SIGTERM).expect("a signal");
    // One of its threads may wait where no signal reaches it, and keep the process until the server is back.
    wait_until("record of its end", || (notices(&world, STOPPED, "").len() == 2).then_some(()));
    wait_until("end of its work", || {
        let status = fs::read_to_string(format!("/proc/{agent}/status")).unwrap_or_default();
        (status.is_empty() || status.contains("State:\tZ")).then_some(())
    });
    for _ in 0..20 {
        let read = world.sh("cat ws/work/notes.txt ws/masters/KP1_0001.jpg");
        assert!(read.succeeded && !read.hung, "somebody waits for an agent that has ended");
    }
    drop(dead);
    let mut agent = world.agent.take().expect("an agent");
    assert!(wait_until("end of the agent", || agent.try_wait().expect("the agent")).success());
    assert!(self::labels(&world).contains(&behind));
}

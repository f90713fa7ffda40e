//! A keeper at work on a real directory.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::*;

/// A directory with masters, kept by a keeper until the end of the test.
struct World {
    lab: tempfile::TempDir,
    index: Arc<Index>,
    progress: Arc<Progress>,
    policy: channel::Sender<Arc<Policy>>,
    touched: mpsc::UnboundedSender<PathBuf>,
    told: Arc<Mutex<Vec<Event>>>,
    changes: Arc<Mutex<Vec<Change>>>,
    runtime: tokio::runtime::Runtime,
    /// How long it waits for anything.
    patience: Duration,
}

fn policy(lab: &Path, directories: &[&str]) -> Policy {
    let paths: Vec<_> = directories.iter().map(|directory| format!("\"{}/{directory}\"", lab.display())).collect();
    let text = format!(
        "version = 1\nmode = \"audit\"\n[[collection]]\nname = \"masters\"\npaths = [{}]\n\
         include = [\"*.jpg\", \"*.png\"]\nobject = '^(?<object>[A-Z]+)_'\n[elsewhere]\nceiling = \"none\"\n",
        paths.join(", ")
    );
    Policy::parse("policy.toml", &text).unwrap()
}

impl World {
    /// A keeper that has scanned what `fill` made.
    fn of(directories: &[&str], fill: impl FnOnce(&Path)) -> World {
        let lab = tempfile::tempdir().unwrap();
        fill(lab.path());
        let index = Arc::new(Index::open(&lab.path().join("index.db")).unwrap());
        let progress = Arc::new(Progress::default());
        let (policy, followed) = channel::channel(Arc::new(policy(lab.path(), directories)));
        let (touched, heard) = mpsc::unbounded_channel();
        let told = Arc::new(Mutex::new(Vec::new()));
        let changes = Arc::new(Mutex::new(Vec::new()));
        let keeper = Keeper {
            index: index.clone(),
            policy: followed,
            touched: heard,
            limits: MeasureLimits { seconds: 20, memory_mib: 512, parallel: 2 },
            report: Arc::new({
                let told = told.clone();
                move |event| told.lock().unwrap().push(event)
            }),
            on_change: Arc::new({
                let changes = changes.clone();
                move |change| changes.lock().unwrap().push(change)
            }),
            progress: progress.clone(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.spawn(keeper.keep());
        let patience = Duration::from_secs(120);
        let world = World { lab, index, progress, policy, touched, told, changes, runtime, patience };
        world.until("the first scan", || world.progress.is_complete.load(Ordering::Relaxed));
        world
    }

    fn at(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.lab.path().join(Path::new(name.as_ref()))
    }

    #[track_caller]
    fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + self.patience;
        while !is_so() {
            let progress = &self.progress;
            assert!(Instant::now() < deadline, "waited in vain for: {what}; told: {:?}; {progress:?}", self.codes());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    fn until_masters(&self, count: u64) {
        self.until(&format!("{count} masters"), || self.index.len() as u64 == count);
    }

    fn knows(&self, path: &Path) -> bool {
        self.index.get(path).unwrap().is_some()
    }

    fn codes(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        let notices = told.iter().filter_map(|event| match event {
            Event::Notice(notice) => Some(notice.code.clone()),
            Event::Transfer(_) => None,
        });
        notices.collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Without its policy the keeper ends, and with it its threads, for which the runtime waits.
        let (other, _) = channel::channel(Arc::new(Policy::fallback()));
        drop(std::mem::replace(&mut self.policy, other));
    }
}

#[test]
fn masters_that_are_there_are_found_and_others_left_alone() {
    let world = World::of(&["in", "home/*/scans"], |lab| {
        for name in ["in/A_1.jpg", "in/deep/er/A_2.PNG", "in/notes.txt", "home/ada/scans/B.jpg", "home/ada/B.jpg"] {
            fs::create_dir_all(lab.join(name).parent().unwrap()).unwrap();
            fs::write(lab.join(name), name).unwrap();
        }
    });
    world.until_masters(3);
    assert!(world.knows(&world.at("home/ada/scans/B.jpg")));
    assert!(!world.knows(&world.at("home/ada/B.jpg")));
    assert_eq!(world.codes(), Vec::<String>::new());
}

#[test]
fn a_collection_that_appears_later_is_followed() {
    let world = World::of(&["srv/in", "home/*/scans"], |_| {});
    fs::create_dir_all(world.at("srv/in")).unwrap();
    fs::write(world.at("srv/in/a.jpg"), "a").unwrap();
    fs::create_dir_all(world.at("home/eve/scans")).unwrap();
    fs::write(world.at("home/eve/scans/b.jpg"), "b").unwrap();
    world.until_masters(2);
}

#[test]
fn directories_that_are_made_in_a_hurry_are_seen_all() {
    let world = World::of(&["in"], |lab| fs::create_dir(lab.join("in")).unwrap());
    for number in 0..500 {
        let directory = world.at(format!("in/{number}"));
        fs::create_dir(&directory).unwrap();
        fs::create_dir(directory.join("e")).unwrap();
        fs::write(directory.join("e/f.jpg"), format!("{number}")).unwrap();
    }
    world.until_masters(500);
}

fn burst(count: u32) {
    let mut world = World::of(&["in"], |lab| fs::create_dir(lab.join("in")).unwrap());
    world.patience += Duration::from_millis(count.into()) * 10;
    for number in 0..count {
        fs::write(world.at(format!("in/{number}.png")), [PIXEL, &number.to_le_bytes()].concat()).unwrap();
    }
    world.until_masters(count.into());
    world.until("an empty agenda", || world.progress.pending.load(Ordering::Relaxed) == 0);
    // Counted a moment after it is in the index.
    world.until("the count", || world.progress.done.load(Ordering::Relaxed) >= u64::from(count));
    assert_eq!(world.progress.done.load(Ordering::Relaxed), u64::from(count), "each is read once");
}

#[test]
fn a_burst_of_files_is_measured_to_the_last() {
    burst(2_000);
}

#[test]
fn a_file_that_is_still_written_is_read_when_it_is_complete() {
    use std::io::Write;
    let world = World::of(&["in"], |lab| fs::create_dir(lab.join("in")).unwrap());
    let mut file = fs::File::create(world.at("in/a.jpg")).unwrap();
    let end = Instant::now() + Duration::from_secs(1);
    let mut size = 0;
    while Instant::now() < end {
        size += file.write(&[7; 4096]).unwrap() as u64;
    }
    drop(file);
    world.until("its whole size", || {
        world.index.get(&world.at("in/a.jpg")).unwrap().is_some_and(|known| known.size == size)
    });
}

#[test]
fn masters_of_a_disk_that_is_not_mounted_stay_known() {
    use std::os::unix::fs::MetadataExt;
    let world = World::of(&["in"], |lab| fs::create_dir(lab.join("in")).unwrap());
    let here = fs::metadata(world.at("in")).unwrap().dev();
    for (name, device) in [("in/gone.jpg", here), ("in/away.jpg", here + 1)] {
        let measurement = vitrine_fingerprint::measure(
            &fs::File::open("/proc/self/exe").unwrap(),
            &vitrine_fingerprint::Limits::default(),
            &mut |_| {},
        );
        let known = Entry::new(world.at(name), "masters", measurement.unwrap());
        let entry = Entry { device, inode: 1, size: 1, mtime_ns: 1, ..known };
        world.index.insert(&entry).unwrap();
    }
    world.policy.send(Arc::new(policy(world.lab.path(), &["in"]))).unwrap();
    world.until("the next scan", || !world.knows(&world.at("in/gone.jpg")));
    assert!(world.knows(&world.at("in/away.jpg")));
}

#[test]
fn what_changes_is_read_again_and_what_vanishes_is_forgotten() {
    let world = World::of(&["in"], |lab| {
        fs::create_dir_all(lab.join("in/sub")).unwrap();
        fs::write(lab.join("in/a.jpg"), "one").unwrap();
        fs::write(lab.join("in/sub/b.jpg"), "two").unwrap();
    });
    world.until_masters(2);
    fs::write(world.at("in/a.jpg"), "longer").unwrap();
    fs::write(world.at("in/sub/b.jpg"), "").unwrap();
    world.until_masters(1);
    fs::write(world.at("in/sub/b.jpg"), "two again").unwrap();
    world.until_masters(2);
    world.until("the new size", || world.index.get(&world.at("in/a.jpg")).unwrap().unwrap().size == 6);
    fs::remove_dir_all(world.at("in/sub")).unwrap();
    world.until_masters(1);
    fs::remove_file(world.at("in/a.jpg")).unwrap();
    world.until_masters(0);
    world.until("the change", || {
        world.changes.lock().unwrap().contains(&Change::Removed { path: world.at("in/a.jpg") })
    });
    assert!(world.codes().iter().all(|code| code == "vanished"), "{:?}", world.codes());
}

#[test]
fn a_renamed_master_or_directory_keeps_its_measurement() {
    let world = World::of(&["in"], |lab| {
        fs::create_dir_all(lab.join("in/old/deep")).unwrap();
        fs::write(lab.join("in/old/deep/A_1.jpg"), "one").unwrap();
        fs::write(lab.join("in/A_2.jpg"), "two").unwrap();
    });
    world.until_masters(2);
    world.until("two readings", || world.progress.done.load(Ordering::Relaxed) == 2);
    let read = world.progress.done.load(Ordering::Relaxed);
    fs::rename(world.at("in/old"), world.at("in/new")).unwrap();
    fs::rename(world.at("in/A_2.jpg"), world.at("in/new/A_3.jpg")).unwrap();
    world.until("the new names", || {
        world.knows(&world.at("in/new/deep/A_1.jpg")) && world.knows(&world.at("in/new/A_3.jpg"))
    });
    world.until_masters(2);
    assert_eq!(world.progress.done.load(Ordering::Relaxed), read, "nothing is read again");
    let renamed = Change::Renamed { from: world.at("in/A_2.jpg"), to: world.at("in/new/A_3.jpg") };
    world.until("the change", || world.changes.lock().unwrap().contains(&renamed));
    // The renamed directory is still watched, at its new place.
    fs::write(world.at("in/new/deep/A_4.jpg"), "four").unwrap();
    world.until_masters(3);
    fs::rename(world.at("in/new"), world.at("away")).unwrap();
    world.until_masters(0);
}

#[test]
fn what_is_no_file_is_passed_by() {
    let world = World::of(&["in"], |lab| {
        fs::create_dir(lab.join("in")).unwrap();
        nix::unistd::mkfifo(&lab.join("in/fifo.jpg"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("nowhere", lab.join("in/dangling.jpg")).unwrap();
        std::os::unix::fs::symlink("/etc", lab.join("in/etc.jpg")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(lab.join("in/socket.jpg")).unwrap());
    });
    nix::unistd::mkfifo(&world.at("in/fifo2.jpg"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("/dev/zero", world.at("in/zero.jpg")).unwrap();
    fs::write(world.at("in/empty.jpg"), "").unwrap();
    fs::write(world.at("in/real.jpg"), "real").unwrap();
    world.until_masters(1);
    assert!(world.knows(&world.at("in/real.jpg")));
    assert_eq!(world.codes(), Vec::<String>::new());
}

#[test]
fn names_that_are_no_text_are_names() {
    let world = World::of(&["in"], |lab| fs::create_dir(lab.join("in")).unwrap());
    let name = world.at("in").join(OsStr::from_bytes(b"\xff\xfe\n.jpg"));
    fs::write(&name, "bytes").unwrap();
    world.until_masters(1);
    assert!(world.knows(&name));
}

#[test]
fn a_file_that_vanishes_at_once_leaves_nothing_behind() {
    let world = World::of(&["in"], |lab| fs::create_dir(lab.join("in")).unwrap());
    for number in 0..200 {
        let path = world.at(format!("in/{number}.jpg"));
        fs::write(&path, "short").unwrap();
        fs::remove_file(&path).unwrap();
    }
    fs::write(world.at("in/last.jpg"), "last").unwrap();
    world.until("the last one", || world.knows(&world.at("in/last.jpg")));
    world.until_masters(1);
}

#[test]
fn a_damaged_picture_is_a_master_by_its_digest_and_is_told_of() {
    let world = World::of(&["in"], |lab| {
        fs::create_dir(lab.join("in")).unwrap();
        fs::write(lab.join("in/a.jpg"), b"\xff\xd8\xff\xe0 and nothing that makes sense").unwrap();
    });
    world.until_masters(1);
    world.until("the notice", || world.codes() == ["unscanned"]);
}

#[test]
fn the_guard_hears_of_every_master_once_it_is_kept() {
    let world = World::of(&["in"], |lab| {
        fs::create_dir(lab.join("in")).unwrap();
        fs::write(lab.join("in/a.jpg"), "a").unwrap();
    });
    world.until("the change", || {
        matches!(world.changes.lock().unwrap().as_slice(), [Change::Added { path, .. }] if *path == world.at("in/a.jpg"))
    });
}

#[test]
fn another_policy_means_other_masters() {
    let world = World::of(&["in"], |lab| {
        for name in ["in", "other"] {
            fs::create_dir(lab.join(name)).unwrap();
            fs::write(lab.join(name).join("a.jpg"), name).unwrap();
        }
    });
    world.until_masters(1);
    world.policy.send(Arc::new(policy(world.lab.path(), &["other"]))).unwrap();
    world.until("the other collection", || world.knows(&world.at("other/a.jpg")));
    world.until("the end of the first", || !world.knows(&world.at("in/a.jpg")));
}

#[test]
fn a_hint_from_the_guard_is_followed() {
    // Masters of a collection that cannot be watched, as when the limit of inotify is reached.
    let world = World::of(&["in"], |lab| fs::create_dir(lab.join("in")).unwrap());
    fs::write(world.at("in/a.jpg"), "a").unwrap();
    world.touched.send(world.at("in/a.jpg")).unwrap();
    world.touched.send(world.at("elsewhere/b.jpg")).unwrap();
    world.until_masters(1);
    world.runtime.block_on(tokio::task::yield_now());
}

/// One white pixel as PNG.
const PIXEL: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55\0\0\0\nIDAT\x78\x9c\x63\xf8\x0f\0\x01\x01\x01\0\x1b\xb6\xee\x56\0\0\0\0IEND\xaeB`\x82";

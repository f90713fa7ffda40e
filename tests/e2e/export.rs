//! `vitrine export`: the right way, which has to be easier than the wrong one.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use vitrine_fingerprint::{Content, Limits, Picture, measure};
use vitrine_policy::record::Disposition;

use crate::desk::{ANNA, shared_world};
use crate::shell::Done;
use crate::world::{World, binary, wait_until};

pub(crate) fn export(world: &World, arguments: &str) -> Done {
    let (program, config) = (binary("vitrine"), world.path("etc/agent.toml"));
    let caches = world.path("ws/work/caches");
    let line = format!(
        "LC_ALL=C XDG_CACHE_HOME={} {} export --config {} {arguments}",
        caches.display(),
        program.display(),
        config.display()
    );
    world.sh_as(&line, Some(ANNA))
}

/// What a picture is, and what is inside it.
fn picture(path: &Path) -> (Picture, Vec<String>) {
    let mut inside = Vec::new();
    let file = File::open(path).expect("a file");
    let measured = measure(&file, &Limits::default(), &mut |found| inside.push(found.path)).expect("a measurement");
    inside.retain(|path| !path.is_empty());
    match measured.content {
        Content::Picture(picture) => (picture, inside),
        other => panic!("{}: {other}", path.display()),
    }
}

#[test]
fn a_derivative_arrives_that_is_small_enough_and_has_nothing_beside_it() {
    let Some(mut world) = shared_world() else { return };
    let done = export(&world, "ws/masters/KP1_0001.jpg --to website");
    assert!(done.succeeded, "{}", done.text);
    assert!(done.text.contains("share/web/KP1_0001.jpg"), "{}", done.text);
    let allowed = world.recorded("the derivative", |transfer| {
        transfer.disposition == Disposition::Allowed && transfer.destination.is_some()
    });
    assert_eq!(allowed.tier, "public");
    assert!(allowed.masters[0].path.ends_with("KP1_0001.jpg"));
    // It stays there, and nothing is left behind where it was made.
    wait_until("agent that has looked at all", || (world.status()?["measuring"] == 0).then_some(()));
    assert!(world.path("share/web/KP1_0001.jpg").exists());
    assert_eq!(world.bytes_in("ws/work/caches"), 0);

    // Never over another file; by a path, and in another format.
    assert!(export(&world, "ws/masters/KP1_0001.jpg --to website").text.contains("there already"));
    let done = export(&world, "ws/masters/KP2_0001.jpg --to share/web --out two.png");
    assert!(done.succeeded, "{}", done.text);

    // A guarded master is not this test's to read.
    world.kill_agent();
    assert!(picture(&world.path("share/web/two.png")).0.megapixels() <= 6.0);
    let (original, _) = picture(&world.path("ws/masters/KP1_0001.jpg"));
    let (arrived, inside) = picture(&world.path("share/web/KP1_0001.jpg"));
    assert!(arrived.megapixels() <= 6.0, "{}", arrived.megapixels());
    assert!(arrived.megapixels() > 2.0, "smaller than it has to be: {}", arrived.megapixels());
    let scale = f64::from(arrived.width.max(arrived.height)) / f64::from(original.width.max(original.height));
    assert!(scale <= 0.6, "{scale}");
    assert!(inside.is_empty(), "{inside:?}");
    let bytes = fs::read(world.path("share/web/KP1_0001.jpg")).expect("the derivative");
    assert!(!bytes.windows(4).any(|four| four == b"Exif"));
}

/// What `/proc` says of a process below this one that was started for `job` and has given up its rights, while `work` is
/// done: its status and its limits. Other tests have workers of their own.
fn at_work(job: &str, work: impl FnOnce()) -> (String, String) {
    let is_done = AtomicBool::new(false);
    let look = || {
        let processes = fs::read_dir("/proc").expect("processes").flatten().map(|entry| entry.path());
        let mut of_job = processes.filter(|process| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).nth(1) == Some(job.as_bytes()) && is_below_this_one(process)
        });
        of_job.find_map(|process| {
            // In this order: the filter comes after the limits.
            let status = fs::read_to_string(process.join("status")).ok()?;
            let limits = fs::read_to_string(process.join("limits")).ok()?;
            status.contains("Seccomp:\t2").then_some((status, limits))
        })
    };
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                if let Some(found) = look() {
                    return Some(found);
                }
            }
            None
        });
        work();
        is_done.store(true, Ordering::Relaxed);
        looking.join().expect("a look").unwrap_or_else(|| panic!("nobody did `{job}` with a filter"))
    })
}

/// Whether this process made the one of that directory of `/proc`, or who made it.
fn is_below_this_one(process: &Path) -> bool {
    let parent = |of: &Path| {
        let status = fs::read_to_string(of.join("status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<u32>().ok())
    };
    let ancestors = std::iter::successors(parent(process), |pid| parent(&Path::new("/proc").join(pid.to_string())));
    ancestors.take_while(|pid| *pid != 0).any(|pid| pid == std::process::id())
}

/// How many bytes of memory may be mapped.
fn memory(limits: &str) -> u64 {
    let line = limits.lines().find(|line| line.starts_with("Max address space")).expect("a limit");
    line.split_whitespace().nth(3).and_then(|soft| soft.parse().ok()).expect("a number")
}

#[test]
fn who_decodes_has_no_rights_and_no_system_calls_but_those_of_reading() {
    let Some(world) = shared_world() else { return };
    let new = crate::world::picture("art_se__mark").expect("a picture");
    let (status, limits) = at_work("measure-worker", || {
        fs::copy(&new, world.path("ws/masters/KP9_0001.jpg")).expect("a master");
        wait_until("fourth master", || (world.status()?["masters"].as_u64()? == 4).then_some(()));
    });
    assert!(status.contains("\nUid:\t65534\t65534\t65534\t65534\n") && status.contains("NoNewPrivs:\t1"), "{status}");
    assert!(status.contains("\nCapEff:\t0000000000000000\n"), "{status}");
    assert_eq!(memory(&limits), 1 << 30, "{limits}");

    let (status, limits) = at_work("export-worker", || {
        let done = export(&world, "ws/masters/KP1_0001.jpg --to website");
        assert!(done.succeeded, "{}", done.text);
    });
    assert!(status.contains(&format!("\nUid:\t{ANNA}\t{ANNA}\t{ANNA}\t{ANNA}\n")), "{status}");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert_eq!(memory(&limits), 6 << 30, "{limits}");
    assert!(limits.lines().any(|line| line.starts_with("Max open files") && line.contains(" 16 ")), "{limits}");

    // Root is nobody while it decodes.
    let line = format!(
        "LC_ALL=C XDG_CACHE_HOME={0}/ws/work/root {1} export --config {0}/etc/agent.toml ws/masters/KP2_0001.jpg --to website",
        world.root.display(),
        binary("vitrine").display()
    );
    let (status, _) = at_work("export-worker", || {
        let done = world.sh(&line);
        assert!(done.succeeded, "{}", done.text);
    });
    assert!(status.contains("\nUid:\t65534\t65534\t65534\t65534\n"), "{status}");
}

#[test]
fn where_nothing_may_go_it_says_why_and_puts_nothing() {
    let Some(world) = shared_world() else { return };
    let done = export(&world, "ws/masters/KP1_0001.jpg --to usb");
    assert!(!done.succeeded && done.text.contains("names no destination `usb`"), "{}", done.text);
    let done = export(&world, "ws/masters/KP1_0001.jpg --to ./usb");
    assert!(!done.succeeded && done.text.contains("nothing that was made from a master may go to"), "{}", done.text);
    assert_eq!(world.bytes_in("usb"), 0);
    let done = export(&world, "ws/masters/KP1_0001.jpg --to ws/work");
    assert!(!done.succeeded && done.text.contains("lies on this workstation"), "{}", done.text);
    let done = export(&world, "ws/vault/V1_0001.jpg --to website");
    assert!(!done.succeeded && done.text.contains("are opened by few programs alone"), "{}", done.text);
    let done = export(&world, "ws/work/notes.txt --to website");
    assert!(!done.succeeded && done.text.contains("cannot be decoded"), "{}", done.text);
    assert_eq!(world.bytes_in("share/web"), 0);
}

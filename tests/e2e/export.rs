//! `vitrine export`: the right way, which has to be easier than the wrong one.

use std::fs::{self, File};
use std::path::Path;

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

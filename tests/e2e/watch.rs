//! The guard that needs no root: copies are reported and taken back.

use vitrine_policy::record::Disposition;

use crate::world::{World, wait_until};

#[test]
fn a_copied_master_is_taken_back_and_recorded() {
    let Some(world) = World::builder().watching().build() else { return };
    assert!(world.sh("cp ws/masters/KP1_0001.jpg usb/").succeeded);
    wait_until("disk without the copy", || (!world.path("usb/KP1_0001.jpg").exists()).then_some(()));
    let taken = world.recorded("the copy", |transfer| transfer.disposition == Disposition::Quarantined);
    assert!(taken.masters[0].path.ends_with("KP1_0001.jpg"));
    assert!(taken.processes.is_empty(), "nobody can know who did it");
    assert_eq!(
        world.bytes_in("state/quarantine"),
        std::fs::metadata(world.path("ws/masters/KP1_0001.jpg")).expect("the master").len()
    );
}

#[test]
fn a_large_derivative_is_taken_back_and_a_web_size_one_stays() {
    let Some(world) = World::builder().watching().build() else { return };
    let done = world.sh("convert-im6.q16 ws/masters/KP1_0001.jpg -resize 90% share/web/ninety.jpg && convert-im6.q16 ws/masters/KP1_0001.jpg -resize 1200x1200 share/web/web.jpg");
    assert!(done.succeeded, "{}", done.text);
    wait_until("website without the large copy", || (!world.path("share/web/ninety.jpg").exists()).then_some(()));
    let allowed = world.recorded("the small copy", |transfer| transfer.disposition == Disposition::Allowed);
    assert_eq!(allowed.tier, "public");
    assert!(world.path("share/web/web.jpg").exists());
}

#[test]
fn a_directory_that_appears_with_files_in_it_is_looked_at() {
    let Some(world) = World::builder().watching().build() else { return };
    world.sh("mkdir -p ws/work/a/b && cp ws/masters/KP1_0001.jpg ws/work/a/b/ && mv ws/work/a usb/a");
    wait_until("disk without the copy", || (!world.path("usb/a/b/KP1_0001.jpg").exists()).then_some(()));
}

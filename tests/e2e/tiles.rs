//! A picture that goes out in tiles, none of which anybody would recognise, is recognised as one.

use std::fs;

use vitrine_policy::record::{Disposition, Operation, Transfer};

use crate::world::{Builder, World, picture, wait_until};

/// A world with a third master and its tiles of 128 pixels, cut before anybody watched: `ws/work/plain` by ImageMagick,
/// `ws/work/deep_files` by libvips. What goes to `share/courier` is limited so.
fn with_tiles(builder: Builder, limit: &str) -> Option<World> {
    let mut world = builder.not_started().build()?;
    let scream = picture("art_nst__cys").expect("a painting");
    fs::copy(scream, world.path("ws/masters/KP3_0001.jpg")).expect("a master");
    let cut = world.sh("mkdir ws/work/plain share/courier && \
         convert-im6.q16 ws/masters/KP3_0001.jpg -crop 128x128 +repage -quality 90 ws/work/plain/t_%03d.jpg && \
         vips dzsave ws/masters/KP3_0001.jpg ws/work/deep --depth one --tile-size 126 --suffix .jpg");
    assert!(cut.succeeded, "{}", cut.text);
    let path = world.path("share/courier").display().to_string();
    world.set_policy(
        "enforce",
        &format!("[[destination]]\nname = \"courier\"\npaths = [\"{path}\"]\nceiling = \"master\"\n{limit}\n"),
    );
    world.start();
    Some(world)
}

/// What is on record of a set of tiles in a directory, once it is.
fn arrived(world: &World, directory: &str, disposition: Disposition) -> Transfer {
    world.recorded(&format!("the tiles in {directory}"), |transfer| {
        transfer.operation == Operation::Arrive
            && transfer.file.path.ends_with(directory)
            && transfer.disposition == disposition
    })
}

fn files(world: &World, directory: &str) -> usize {
    fs::read_dir(world.path(directory)).map_or(0, Iterator::count)
}

fn sent(arrived: &Transfer) -> f64 {
    let master = arrived.masters.iter().find(|master| master.path.ends_with("KP3_0001.jpg"));
    master.and_then(|master| master.sent).expect("a share of the master's area")
}

#[test]
fn all_tiles_of_a_master_are_taken_back() {
    let Some(world) = with_tiles(World::builder(), "") else { return };
    for (name, from, directory) in
        [("plain", "plain", "share/web/plain"), ("deep_files", "deep_files", "share/web/deep_files/0")]
    {
        assert!(
            world.sh(&format!("cp -r ws/work/{from} share/web/{name}")).succeeded,
            "nobody knows before it is there"
        );
        let taken = arrived(&world, directory, Disposition::Quarantined);
        assert_eq!(taken.tier, "master", "{}", taken.explanation);
        assert!(
            taken.explanation.contains("a set of ") && taken.explanation.contains(" tiles"),
            "{}",
            taken.explanation
        );
        wait_until("empty directory", || (files(&world, directory) == 0).then_some(()));
    }
    // What has gone there one by one, and slowly, is known as well.
    for number in 0..12 {
        world.sh(&format!("mkdir -p share/web/slow; cp ws/work/plain/t_{number}*.jpg ws/work/plain/t_0{number}?.jpg share/web/slow/; sleep 0.4"));
    }
    arrived(&world, "share/web/slow", Disposition::Quarantined);
    wait_until("empty directory", || (files(&world, "share/web/slow") == 0).then_some(()));
}

#[test]
fn tiles_that_may_go_count_their_area_once() {
    let Some(world) = with_tiles(World::builder(), "max-coverage = 0.6") else { return };
    // The upper half: six of twelve rows.
    assert!(world.sh("mkdir share/courier/a && cp ws/work/plain/t_0[0-5]?.jpg share/courier/a/").succeeded);
    let share = 6.0 * 128.0 / 1528.0;
    let half = world.recorded("half of the area", |transfer| {
        transfer.file.path.ends_with("share/courier/a") && (sent(transfer) - share).abs() < 0.03
    });
    assert_eq!(half.disposition, Disposition::Allowed, "{}", half.explanation);
    assert_eq!(files(&world, "share/courier/a"), 60);
    assert!(world.sh("mkdir share/courier/b && cp ws/work/plain/t_*.jpg share/courier/b/").succeeded);
    let whole = arrived(&world, "share/courier/b", Disposition::Quarantined);
    assert!(whole.explanation.contains("of the master's area; 60 % is the most"), "{}", whole.explanation);
    wait_until("empty directory", || (files(&world, "share/courier/b") == 0).then_some(()));
}

#[test]
fn a_series_of_other_pictures_stays() {
    let Some(world) = with_tiles(World::builder().watching(), "") else { return };
    let made = world.sh("mkdir ws/work/series && for n in 1 2 3 4 5 6 7 8 9; do \
         convert-im6.q16 -size 200x150 plasma:fractal ws/work/series/p_$n.jpg; done; cp -r ws/work/series share/web/");
    assert!(made.succeeded, "{}", made.text);
    assert!(world.sh("cp -r ws/work/plain share/web/plain").succeeded);
    arrived(&world, "share/web/plain", Disposition::Quarantined);
    wait_until("empty directory", || (files(&world, "share/web/plain") == 0).then_some(()));
    assert_eq!(files(&world, "share/web/series"), 9);
}

//! Fragments add up, and objects are counted by the day: what went to a destination before decides what may go there.

use std::fs;

use vitrine_policy::decision::Rule;
use vitrine_policy::record::{Disposition, Operation, Transfer};

use crate::world::{Builder, World, picture, wait_until};

/// A world with a third master of which nearly every sixteenth is recognised, and with a destination for masters:
/// the directory `place` with this limit. The sixteenths lie in `ws/work`, made there before anybody watched.
fn with_tiles(builder: Builder, place: &str, limit: &str) -> Option<World> {
    let mut world = builder.not_started().build()?;
    let scream = picture("art_nst__cys").expect("a painting");
    fs::copy(scream, world.path("ws/masters/KP3_0001.jpg")).expect("a master");
    let cut = world.sh("convert-im6.q16 ws/masters/KP3_0001.jpg -crop 4x4@ +repage -quality 92 ws/work/tile%02d.jpg");
    assert!(cut.succeeded, "{}", cut.text);
    fs::create_dir_all(world.path(place)).expect("a directory");
    let path = world.path(place).display().to_string();
    world.set_policy(
        "enforce",
        &format!("[[destination]]\nname = \"courier\"\npaths = [\"{path}\"]\nceiling = \"master\"\n{limit}\n"),
    );
    world.start();
    Some(world)
}

/// What is on record of the arrival of a file, once it is.
fn arrived(world: &World, name: &str) -> Transfer {
    world.recorded(&format!("the arrival of {name}"), |transfer| {
        transfer.operation == Operation::Arrive && transfer.file.path.ends_with(name)
    })
}

fn sent(arrived: &Transfer) -> f64 {
    let master = arrived.masters.iter().find(|master| master.path.ends_with("KP3_0001.jpg"));
    master.and_then(|master| master.sent).expect("a share of the master's area")
}

#[test]
fn four_tiles_of_sixteen_may_go_and_the_fifth_is_taken_back_also_after_a_restart() {
    let Some(mut world) = with_tiles(World::builder(), "share/courier", "max-coverage = 0.25") else { return };
    for number in 0..16 {
        let name = format!("tile{number:02}.jpg");
        assert!(world.sh(&format!("cp ws/work/{name} share/courier/")).succeeded, "nobody knows before it is there");
        // One of them is not recognised by its content. Nothing labelled it, so that it is no master's for anybody.
        if number == 12 {
            continue;
        }
        let tile = arrived(&world, &format!("courier/{name}"));
        if number < 4 {
            assert_eq!(tile.disposition, Disposition::Allowed, "{}", tile.explanation);
            let share = f64::from(number + 1) / 16.0;
            assert!((sent(&tile) - share).abs() < 0.01, "{}: {}", sent(&tile), tile.explanation);
        } else {
            assert_eq!(tile.disposition, Disposition::Quarantined, "{}", tile.explanation);
            assert_eq!(tile.rule, Rule::Coverage { destination: "courier".into() });
            assert!(tile.explanation.contains("of the master's area; 25 % is the most"), "{}", tile.explanation);
            assert!(!world.path("share/courier").join(&name).exists());
        }
    }
    let left = || fs::read_dir(world.path("share/courier")).expect("the place").count();
    assert_eq!(left(), 5, "four tiles, and the one that nobody recognises");

    world.kill_agent();
    world.start();
    assert!(world.sh("cp ws/work/tile05.jpg share/courier/again05.jpg").succeeded);
    let again = arrived(&world, "courier/again05.jpg");
    assert_eq!(again.disposition, Disposition::Quarantined, "{}", again.explanation);
    assert!((sent(&again) - 5.0 / 16.0).abs() < 0.01, "{}", again.explanation);
    // What is there already may go there again, and what was deleted there gives nothing back.
    assert!(world.sh("rm share/courier/tile0*; cp ws/work/tile01.jpg share/courier/again01.jpg").succeeded);
    assert_eq!(arrived(&world, "courier/again01.jpg").disposition, Disposition::Allowed);
    assert!(world.sh("cp ws/work/tile06.jpg share/courier/again06.jpg").succeeded);
    assert_eq!(arrived(&world, "courier/again06.jpg").disposition, Disposition::Quarantined);
}

#[test]
fn a_tile_that_only_gets_another_name_counts_too() {
    let Some(world) = with_tiles(World::builder(), "ws/out", "max-coverage = 0.07") else { return };
    // Cut by a program that has read the master: they are labelled.
    let cut = "convert-im6.q16 ws/masters/KP3_0001.jpg -crop 4x4@ +repage -quality 92 ws/work/cut%02d.jpg";
    assert!(world.sh(cut).succeeded);
    wait_until("labelled tiles that were measured", || {
        let status = world.status()?;
        (status["labelled"].as_u64()? >= 16 && status["measuring"] == 0).then_some(())
    });
    assert!(world.sh("mv ws/work/cut05.jpg ws/out/").succeeded);
    let first = arrived(&world, "out/cut05.jpg");
    assert_eq!(first.disposition, Disposition::Allowed, "{}", first.explanation);
    assert!(world.sh("mv ws/work/cut06.jpg ws/out/").succeeded);
    assert_eq!(arrived(&world, "out/cut06.jpg").disposition, Disposition::Quarantined);
    assert!(!world.path("ws/out/cut06.jpg").exists());
}

#[test]
fn an_object_too_many_is_refused_before_the_first_byte() {
    let Some(world) = with_tiles(World::builder(), "share/courier", "max-objects-per-day = 1") else { return };
    assert!(world.sh("cp ws/work/tile00.jpg share/courier/").succeeded);
    let first = arrived(&world, "courier/tile00.jpg");
    assert_eq!(first.destination.and_then(|to| to.objects_today), Some(1));
    let before = world.bytes_in("share/courier");
    assert!(!world.sh("cp ws/masters/KP1_0001.jpg share/courier/").succeeded);
    assert_eq!(world.bytes_in("share/courier"), before);
    let refused = world.recorded("the second object", |transfer| transfer.disposition == Disposition::Blocked);
    assert_eq!(refused.rule, Rule::ObjectsPerDay { destination: "courier".into() });
    assert!(refused.explanation.contains("object number 2 of this day; 1 is the most"), "{}", refused.explanation);
    assert!(world.sh("cp ws/masters/KP3_0001.jpg share/courier/").succeeded, "an object that went there today");
}

#[test]
fn an_object_too_many_is_taken_back_where_nobody_can_refuse_it() {
    let limit = "max-objects-per-day = 1";
    let Some(world) = with_tiles(World::builder().watching(), "share/courier", limit) else { return };
    assert!(world.sh("cp ws/masters/KP1_0001.jpg share/courier/").succeeded);
    assert_eq!(arrived(&world, "courier/KP1_0001.jpg").disposition, Disposition::Allowed);
    assert!(world.sh("cp ws/masters/KP2_0001.jpg share/courier/").succeeded);
    let second = arrived(&world, "courier/KP2_0001.jpg");
    assert_eq!(second.disposition, Disposition::Quarantined, "{}", second.explanation);
    assert_eq!(second.rule, Rule::ObjectsPerDay { destination: "courier".into() });
    assert!(!world.path("share/courier/KP2_0001.jpg").exists());
}

//! What is inside a file counts like the file itself, however it came there.

use vitrine_policy::record::{Disposition, Operation, Transfer};

use crate::world::{World, is_refused};

/// A world with copies that somebody made before anybody watched: nothing but their content tells what they are.
fn with_copies() -> Option<World> {
    let mut world = World::builder().not_started().build()?;
    let made = world.sh("cd ws/work && convert-im6.q16 ../masters/KP1_0001.jpg -resize 90% copy.jpg && \
         convert-im6.q16 ../masters/KP1_0001.jpg -resize 1000x1000 small.jpg && \
         zip -q copy.zip notes.txt copy.jpg && zip -q small.zip small.jpg && zip -q -P secret locked.zip copy.jpg && \
         tar czf deep.tgz copy.zip && img2pdf copy.jpg -o copy.pdf && cat small.jpg copy.jpg > behind.jpg");
    assert!(made.succeeded, "{}", made.text);
    world.start();
    Some(world)
}

fn arrived(world: &World, name: &str) -> Transfer {
    world.recorded(&format!("the arrival of {name}"), |transfer| {
        transfer.operation == Operation::Arrive && transfer.file.path.ends_with(name)
    })
}

#[test]
fn archives_documents_and_what_lies_behind_a_picture_are_taken_back() {
    let Some(world) = with_copies() else { return };
    let cases = [
        ("copy.zip", "copy.jpg"),
        ("deep.tgz", "content > copy.zip > copy.jpg"),
        ("copy.pdf", "picture "),
        ("behind.jpg", "behind the picture"),
    ];
    for (name, place) in cases {
        assert!(world.sh(&format!("cp ws/work/{name} share/web/")).succeeded, "nobody knows before it is there");
        let taken = arrived(&world, &format!("share/web/{name}"));
        assert_eq!(taken.disposition, Disposition::Quarantined, "{name}: {}", taken.explanation);
        assert_eq!(taken.tier, "master", "{name}");
        let recognised = taken.masters.iter().find_map(|master| master.recognised.clone());
        let recognised = recognised.expect("how it was recognised");
        assert_eq!(recognised.kind, "embedded", "{name}");
        assert!(recognised.inside.as_ref().is_some_and(|inside| inside.starts_with(place)), "{name}: {recognised:?}");
        assert!(!world.path("share/web").join(name).exists(), "{name}");
    }
}

#[test]
fn a_page_of_a_book_in_one_file_is_a_part_of_that_master() {
    let Some(mut world) = World::builder().not_started().build() else { return };
    let page = crate::world::picture("art_se__mark").expect("a picture");
    let made = world.sh(&format!(
        "cd ws/work && convert-im6.q16 ../masters/KP2_0001.jpg -resize 1600x1600 first.tif && \
         convert-im6.q16 '{}' -resize 1600x1600 second.tif && tiffcp -c lzw first.tif second.tif ../masters/KP7_0001.tif && \
         convert-im6.q16 second.tif -crop 60x60%+100+100 +repage part.jpg && rm first.tif second.tif",
        page.display()
    ));
    assert!(made.succeeded, "{}", made.text);
    world.start();
    assert!(world.sh("cp ws/work/part.jpg usb/").succeeded, "nobody knows before it is there");
    let taken = arrived(&world, "usb/part.jpg");
    assert_eq!(taken.disposition, Disposition::Quarantined, "{}", taken.explanation);
    assert!(taken.masters[0].path.ends_with("KP7_0001.tif"), "{:?}", taken.masters);
}

#[test]
fn an_archive_of_small_copies_may_go_where_they_may_go() {
    let Some(world) = with_copies() else { return };
    assert!(world.sh("cp ws/work/small.zip share/web/ && cp ws/work/small.zip usb/").succeeded);
    assert_eq!(arrived(&world, "usb/small.zip").disposition, Disposition::Quarantined);
    let stays = arrived(&world, "share/web/small.zip");
    assert_eq!((stays.disposition, stays.tier.as_str()), (Disposition::Allowed, "public"), "{}", stays.explanation);
    assert!(world.path("share/web/small.zip").exists());
}

#[test]
fn what_nobody_can_look_into_is_told() {
    let Some(world) = with_copies() else { return };
    assert!(world.sh("cp ws/work/locked.zip usb/").succeeded);
    let told = world.noticed("unscanned");
    assert!(told.contains("usb/locked.zip") && told.contains("encrypted"), "{told}");
}

#[test]
fn a_small_picture_does_not_launder_what_is_appended_to_it() {
    let Some(world) = World::builder().build() else { return };
    let made = world.sh("convert-im6.q16 ws/masters/KP1_0001.jpg -resize 1000x1000 ws/work/small.jpg; \
         (cat ws/work/small.jpg; tr '\\0-\\377' '\\1-\\377\\0' < ws/masters/KP1_0001.jpg) > ws/work/both.jpg");
    assert!(made.succeeded, "{}", made.text);
    world.sh("sleep 2; cp ws/work/both.jpg share/web/");
    assert_eq!(world.bytes_in("share/web"), 0);
    world.recorded("the refusal", |transfer| is_refused(transfer, "KP1_0001.jpg", "/share/web"));
}

#[test]
fn a_small_picture_that_is_appended_launders_nothing() {
    let Some(world) = World::builder().build() else { return };
    let made = world.sh("convert-im6.q16 ws/masters/KP2_0001.jpg -resize 1000x1000 ws/work/small.jpg; sleep 2; \
         (tr '\\0-\\377' '\\1-\\377\\0' < ws/masters/KP1_0001.jpg; cat ws/work/small.jpg) > ws/work/both.bin");
    assert!(made.succeeded, "{}", made.text);
    world.sh("sleep 2; cp ws/work/both.bin share/web/");
    assert_eq!(world.bytes_in("share/web"), 0);
    world.recorded("the refusal", |transfer| is_refused(transfer, "KP1_0001.jpg", "/share/web"));
}

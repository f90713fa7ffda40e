//! From the refused system call to the alert at the collector.

use crate::world::{World, is_refused, wait_until};

#[test]
fn a_refused_copy_is_an_alert_at_the_collector_with_both_pictures() {
    let Some(world) = World::builder().with_collector().build() else { return };
    world.sh("cp ws/masters/KP1_0001.jpg usb/");
    let refused = world.recorded("the copy", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb"));
    assert!(refused.file.thumbnail.is_some() && refused.masters[0].thumbnail.is_some(), "{refused:?}");
    let alert = wait_until("alert", || world.alerts().into_iter().find(|alert| alert.to_string().contains("KP1_0001")));
    assert!(alert.to_string().contains("cp"), "{alert}");
}

#[test]
fn what_happens_while_the_collector_is_away_is_told_when_it_is_back() {
    let Some(world) =
        World::builder().config("[collector]\nurl = \"http://127.0.0.1:9\"\ntoken-file = \"/dev/null\"\n").build()
    else {
        return;
    };
    world.sh("cp ws/masters/KP1_0001.jpg usb/; cp ws/masters/KP2_0001.jpg usb/");
    world.recorded("the first", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb"));
    world.recorded("the second", |transfer| is_refused(transfer, "KP2_0001.jpg", "/usb"));
    let status = world.status().expect("a status");
    assert!(status["spool_depth"].as_u64().expect("a depth") >= 2, "{status}");
}

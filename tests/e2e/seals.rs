//! Root edits the spool while the collector cannot be reached.

use crate::world::{World, wait_until};

/// Runs a line of Python, with the spool's database as `c`, and gives what it prints.
fn in_spool(world: &World, line: &str) -> String {
    let line = format!("import sqlite3; c = sqlite3.connect('state/spool.db', timeout=10); {line}");
    let done = world.sh(&format!("python3 -c \"{}\"", line.replace('"', "\\\"")));
    assert!(done.succeeded, "{}", done.text);
    done.text.trim().to_owned()
}

#[test]
fn what_root_changes_in_the_spool_is_told_when_the_collector_is_back() {
    let Some(world) = World::builder().with_collector().build() else { return };
    wait_until("a first heartbeat", || {
        world.status()?["collector_contact"].as_str()?.starts_with("reached").then_some(())
    });
    world.pause_collector(true);
    // What has a number may be on its way, where the collector stopped: out of root's reach. What has none waits.
    let waiting =
        "w = [r[0] for r in c.execute('SELECT position FROM record WHERE sequence IS NULL ORDER BY position')]; ";
    let mut copies = 0;
    wait_until("records that wait", || {
        copies += 1;
        world.sh(&format!("cp ws/masters/KP1_0001.jpg usb/{copies}.jpg"));
        (in_spool(&world, &format!("{waiting}print(len(w))")).parse::<u32>().ok()? >= 2).then_some(())
    });
    let tamper = "c.execute('UPDATE record SET body = replace(body, ?, ?) WHERE position = ?', ('\"time\":', '\"time\":1', w[0])); \
                  c.execute('DELETE FROM record WHERE position = ?', (w[1],)); c.commit()";
    in_spool(&world, &format!("{waiting}{tamper}"));
    world.pause_collector(false);
    let alert = wait_until("the alert", || world.alerts().into_iter().find(|alert| alert["kind"] == "tampering"));
    assert!(alert["title"].as_str().expect("a title").contains("were changed or removed between"), "{alert}");
}

//! Root edits the spool while the collector cannot be reached.

use crate::world::{World, wait_until};

#[test]
fn what_root_changes_in_the_spool_is_told_when_the_collector_is_back() {
    let Some(mut world) = World::builder().with_collector().build() else { return };
    wait_until("a first heartbeat", || {
        world.status()?["collector_contact"].as_str()?.starts_with("reached").then_some(())
    });
    world.pause_collector(true);
    for copy in ["KP1_0001.jpg", "KP2_0001.jpg", "KP1_0001.jpg", "KP2_0001.jpg"] {
        world.sh(&format!("cp ws/masters/{copy} usb/"));
    }
    let waiting = "SELECT position FROM record WHERE sequence IS NULL AND body LIKE '%\"transfer\"%' ORDER BY position";
    let spool = "import sqlite3; c = sqlite3.connect('state/spool.db', timeout=10); ";
    let look =
        format!("python3 -c \"{spool}print(len(c.execute('''{}''').fetchall()))\"", waiting.replace('"', "\\\""));
    wait_until("four records that wait", || (world.sh(&look).text.trim().parse::<u32>().ok()? >= 4).then_some(()));
    let tamper = format!(
        "python3 -c \"{spool}p = [r[0] for r in c.execute('''{}''')]; \
         c.execute('UPDATE record SET body = replace(body, ?, ?) WHERE position = ?', ('KP1_', 'XX1_', p[0])); \
         c.execute('DELETE FROM record WHERE position = ?', (p[1],)); c.commit()\"",
        waiting.replace('"', "\\\"")
    );
    let done = world.sh(&tamper);
    assert!(done.succeeded, "{}", done.text);
    world.pause_collector(false);
    let alert = wait_until("the alert", || world.alerts().into_iter().find(|alert| alert["kind"] == "tampering"));
    assert!(alert["title"].as_str().expect("a title").contains("were changed or removed between"), "{alert}");
}

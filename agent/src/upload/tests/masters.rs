//! Masters go beside records and heartbeats.

use std::io::Write;

use vitrine_fingerprint::{Entry, Index, Limits, measure};

use super::*;

/// A workstation that has masters under these paths.
fn with_masters(server: &Server, paths: &[&str]) -> World {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"P5 64 64 255\n").unwrap();
    file.write_all(&(0..=250).cycle().take(64 * 64).collect::<Vec<u8>>()).unwrap();
    let measurement = measure(&file, &Limits::default(), &mut |_| {}).unwrap();
    let index = Index::in_memory().unwrap();
    for (inode, path) in (1..).zip(paths) {
        let entry = Entry { device: 1, inode, ..Entry::new(*path, "masters", measurement.clone()) };
        index.insert(&entry).unwrap();
    }
    let mut world = World::new(&server.url);
    world.masters = Some(Handing::new(Arc::new(index), world.directory.path(), Arc::default()).unwrap());
    world
}

#[tokio::test]
async fn records_and_heartbeats_do_not_wait_for_masters() {
    let server = Server::start([]).await;
    server.always("post /v1/masters", Answer::Silence);
    let mut world = with_masters(&server, &["/m/a.pgm"]);
    world.pace.request = LONG * 2;
    world.pace.heartbeat = Duration::from_millis(20);
    let world = world.upload();
    let is_of_masters = |request: &String| request == "post /v1/masters";
    eventually(|| server.heard(|heard| heard.requests.iter().any(is_of_masters))).await;
    let beats = server.heard(|heard| heard.heartbeats.len());
    world.spool.push(Failure::Started.notice(None, "one record"));
    world.delivered().await;
    eventually(|| server.heard(|heard| heard.heartbeats.len() > beats + 1)).await;
    assert_eq!(server.sequences(), [1]);
}

#[tokio::test]
async fn a_master_that_never_arrives_holds_no_other_one_up() {
    let server = Server::start([]).await;
    server.always("/m/large.pgm", Answer::Status(413, "", "{}"));
    server.always("/m/slow.pgm", Answer::Silence);
    let paths = ["/m/a.pgm", "/m/large.pgm", "/m/n.pgm", "/m/slow.pgm", "/m/z.pgm"];
    let world = with_masters(&server, &paths).upload();
    eventually(|| server.heard(|heard| heard.masters == ["/m/a.pgm", "/m/n.pgm", "/m/z.pgm"])).await;
    assert_eq!(world.told("record-rejected", "a master, which is too large for it"), 1);
}

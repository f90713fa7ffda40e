//! A picture that was found somewhere is traced to its master, and to who took that where.

use std::path::Path;

use serde_json::Value;
use vitrine_policy::record::Disposition;

use crate::world::{World, picture, wait_until};

/// What the collector says of a picture.
fn trace(world: &World, path: &Path) -> Option<Value> {
    let output = world.collector(&["trace", path.to_str().expect("a name"), "--json"]);
    let found: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let found = found?;
    let is_known = !found["masters"].as_array().expect("masters").is_empty();
    assert_eq!(output.status.code(), Some(i32::from(is_known)), "{}", String::from_utf8_lossy(&output.stderr));
    Some(found)
}

/// Waits until the picture is traced to a master whose path ends so; gives that.
fn traced_to(world: &World, found: &str, master: &str) -> Value {
    wait_until(&format!("trace of {found} to {master}"), || {
        let traced = trace(world, &world.path(found))?;
        let masters = traced["masters"].as_array()?;
        masters.first().filter(|one| one["path"].as_str().is_some_and(|path| path.ends_with(master))).cloned()
    })
}

#[test]
fn a_crop_from_a_market_is_traced_to_its_master_and_to_who_took_it() {
    let Some(mut world) = World::builder().watching().with_collector().build() else { return };
    let crop = "convert-im6.q16 ws/masters/KP1_0001.jpg -gravity center -crop 50%x50%+0+0 +repage \
                -resize 60% -quality 80 found.jpg; \
                convert-im6.q16 ws/vault/V1_0001.jpg -resize 40% -quality 75 other.png";
    assert!(world.sh(crop).succeeded);
    // Both collections arrive.
    let master = traced_to(&world, "found.jpg", "ws/masters/KP1_0001.jpg");
    assert_eq!((&master["kind"], &master["collection"]), (&"fragment".into(), &"masters".into()), "{master}");
    let (coverage, scale) = (master["coverage"].as_f64().unwrap(), master["scale"].as_f64().unwrap());
    assert!((coverage - 0.25).abs() < 0.02 && (scale - 0.6).abs() < 0.02, "{master}");
    assert_eq!(traced_to(&world, "other.png", "ws/vault/V1_0001.jpg")["kind"], "derivative");
    assert_eq!(master["transfers"].as_array().map(Vec::len), Some(0), "{master}");

    // Somebody takes the master, and the trace says who, where to, and how it ended.
    assert!(world.sh("cp ws/masters/KP1_0001.jpg share/web/").succeeded);
    world.recorded("the copy", |transfer| transfer.disposition == Disposition::Quarantined);
    let transfer = wait_until("transfer on record at the collector", || {
        traced_to(&world, "found.jpg", "ws/masters/KP1_0001.jpg")["transfers"].as_array()?.first().cloned()
    });
    assert_eq!(transfer["decision"], "arrived and was taken away", "{transfer}");
    assert_eq!(transfer["destination"], "website", "{transfer}");
    assert!(!transfer["host"].as_str().unwrap().is_empty() && !transfer["time"].as_str().unwrap().is_empty());

    // A picture of nobody's.
    let foreign = picture("syn_scroll").or_else(|| picture("scan_ocrd")).expect("another picture");
    assert_eq!(trace(&world, &foreign).expect("an answer")["masters"], Value::Array(Vec::new()));

    // What was taken before a crash is still there, and what changes afterwards arrives as well.
    world.crash_collector();
    let again = trace(&world, &world.path("found.jpg")).expect("an answer");
    assert_eq!(again["masters"][0]["path"], master["path"]);
    assert!(world.sh("mv ws/masters/KP1_0001.jpg ws/masters/KP9_0009.jpg").succeeded);
    traced_to(&world, "found.jpg", "ws/masters/KP9_0009.jpg");
    assert!(world.sh("rm ws/masters/KP9_0009.jpg").succeeded);
    wait_until("trace that knows nothing of what is gone", || {
        trace(&world, &world.path("found.jpg"))?["masters"].as_array()?.is_empty().then_some(())
    });
    let log = world.collector(&["audit", "export"]);
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    assert!(log.lines().any(|line| line.contains("\"trace\"") && line.contains("KP1_0001.jpg")), "{log}");
}

#[test]
fn a_collector_that_has_lost_all_masters_gets_them_again() {
    let Some(mut world) = World::builder().watching().with_collector().build() else { return };
    assert!(world.sh("convert-im6.q16 ws/masters/KP2_0001.jpg -resize 30% found.jpg").succeeded);
    traced_to(&world, "found.jpg", "ws/masters/KP2_0001.jpg");
    std::fs::remove_dir_all(world.path("collector/masters")).expect("the masters");
    world.crash_collector();
    traced_to(&world, "found.jpg", "ws/masters/KP2_0001.jpg");
}

#[test]
fn where_it_is_switched_off_nothing_of_a_master_is_kept_ready() {
    let Some(mut world) = World::builder().watching().with_collector().not_started().build() else { return };
    world.configure();
    let settings = std::fs::read_to_string(world.path("etc/agent.toml")).expect("the settings");
    let off = settings.replace("heartbeat-seconds", "masters = false\nheartbeat-seconds");
    std::fs::write(world.path("etc/agent.toml"), off).expect("the settings");
    world.run();
    wait_until("contact with the collector", || {
        world.status()?["collector_contact"].as_str()?.contains("reached at").then_some(())
    });
    assert!(!world.path("state/masters-sent.db").exists());
    let traced = trace(&world, &world.path("ws/masters/KP1_0001.jpg")).expect("an answer");
    assert_eq!(traced["masters"], Value::Array(Vec::new()));
}

//! `vitrine doctor` on a workstation that is well, and on one where one thing after the other is broken.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::world::{World, binary, skipped, wait_until};

struct Told {
    lines: Vec<Value>,
    code: Option<i32>,
}

impl Told {
    /// State and mending command of a line.
    fn line(&self, name: &str) -> (&str, &str) {
        let line = self.lines.iter().find(|line| line["name"] == name);
        let line = line.unwrap_or_else(|| panic!("no line {name}: {:#?}", self.lines));
        (line["state"].as_str().unwrap_or_default(), line["mend"].as_str().unwrap_or_default())
    }
}

fn doctor(world: &World) -> Told {
    let output = world.vitrine(&["doctor", "--json"]);
    let lines = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    Told { lines, code: output.status.code() }
}

#[test]
fn every_fault_has_its_line_and_its_command() {
    let Some(mut world) = World::builder().with_collector().build() else { return };
    for (place, mode) in [("etc", 0o755), ("etc/agent.toml", 0o644), ("etc/policy.toml", 0o644)] {
        fs::set_permissions(world.path(place), Permissions::from_mode(mode)).expect("permissions");
    }
    wait_until("a first heartbeat", || {
        world.status()?["collector_contact"].as_str()?.starts_with("reached").then_some(())
    });
    let told = doctor(&world);
    for name in ["settings", "policy", "state", "spool", "quarantine", "worker", "agent", "desk socket", "collector"] {
        assert_eq!(told.line(name).0, "pass", "{name}: {:#?}", told.lines);
    }
    for name in ["agent certificate", "clock"] {
        assert_eq!(told.line(name).0, "pass", "{name}: {:#?}", told.lines);
    }
    assert_eq!(told.code, Some(i32::from(told.lines.iter().any(|line| line["state"] == "fail"))), "{:#?}", told.lines);

    fs::set_permissions(world.path("etc/agent.toml"), Permissions::from_mode(0o646)).expect("permissions");
    let told = doctor(&world);
    assert!(told.code == Some(1) && told.line("settings").0 == "fail", "{:#?}", told.lines);
    assert!(told.line("settings").1.starts_with("sudo chmod go-w"));
    fs::set_permissions(world.path("etc/agent.toml"), Permissions::from_mode(0o644)).expect("permissions");

    // Where root is no root, no process can become `nobody`.
    let mut confined = Command::new("unshare");
    confined.args(["--user", "--map-root-user"]).arg(binary("vitrine")).args(["doctor", "--json", "--config"]);
    let output = confined.arg(world.path("etc/agent.toml")).output().expect("unshare");
    match serde_json::from_slice(&output.stdout) {
        Ok(lines) => {
            let told = Told { lines, code: output.status.code() };
            assert!(
                told.line("worker").0 == "fail" && told.line("worker").1.contains("[measure]"),
                "{:#?}",
                told.lines
            );
            assert_eq!(told.line("fanotify").0, "fail", "the settings want the gate: {:#?}", told.lines);
        }
        Err(_) => skipped("namespaces of users are not to be had here"),
    }

    let settings = fs::read_to_string(world.path("etc/agent.toml")).expect("the settings");
    let url = world.collector.as_ref().expect("a collector").url.clone();
    fs::write(world.path("etc/agent.toml"), settings.replace(&url, "https://127.0.0.1:1")).expect("the settings");
    fs::set_permissions(world.path("etc/token"), Permissions::from_mode(0o644)).expect("permissions");
    fs::write(world.path("etc/policy.toml"), "version = 1\nmode = \"oops\"\n").expect("the policy");
    world.kill_agent();
    let told = doctor(&world);
    assert_eq!(told.code, Some(1));
    for (name, state, mend) in [
        ("policy", "fail", "vitrine policy check"),
        ("agent", "fail", "sudo systemctl start"),
        ("desk socket", "warn", "sudo systemctl restart"),
        ("collector", "fail", "curl -v"),
        ("agent certificate", "fail", "vitrine-collector token create"),
    ] {
        let line = told.line(name);
        assert!(line.0 == state && line.1.starts_with(mend), "{name}: {:#?}", told.lines);
    }
    fs::write(world.path("etc/agent.toml"), "gaurd = \"auto\"\n").expect("the settings");
    let told = doctor(&world);
    assert!(told.code == Some(1) && told.line("settings").1.starts_with("sudoedit"), "{:#?}", told.lines);
}

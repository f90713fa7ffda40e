//! The user at the workstation: what he is told of what was refused to him, and of nobody else's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use crate::world::{Builder, World, binary, is_refused, wait_until};

/// Two users of the workstation, neither of them root: `daemon` and `games`, whom every Debian knows.
pub(crate) const ANNA: u32 = 1;
pub(crate) const BEN: u32 = 5;

/// A world that ordinary users can work in.
pub(crate) fn shared_world() -> Option<World> {
    shared(World::builder())
}

/// The same with more in it.
pub(crate) fn shared(builder: Builder) -> Option<World> {
    let world = builder.build()?;
    for (path, mode) in [("", 0o755), ("ws/work", 0o777), ("usb", 0o777), ("share/web", 0o777), ("ws/masters", 0o755)] {
        fs::set_permissions(world.path(path), fs::Permissions::from_mode(mode)).expect("permissions");
    }
    Some(world)
}

/// Runs one of the user's commands.
pub(crate) fn vitrine_as(world: &World, uid: u32, arguments: &str) -> String {
    let config = world.path("etc/agent.toml");
    let (command, rest) = arguments.split_once(' ').unwrap_or((arguments, ""));
    let program = binary("vitrine");
    let line = format!("LANG=C {} {command} --config {} {rest}", program.display(), config.display());
    world.sh_as(&line, Some(uid)).text
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_user_is_told_why_without_root_and_only_of_his_own_attempts() {
    let Some(mut world) = shared_world() else { return };
    assert!(!world.sh_as("cp ws/masters/KP1_0001.jpg usb/", Some(ANNA)).succeeded);
    assert!(!world.sh_as("cp ws/masters/KP2_0001.jpg share/web/", Some(BEN)).succeeded);
    world.recorded("Anna's", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb"));
    world.recorded("Ben's", |transfer| is_refused(transfer, "KP2_0001.jpg", "share/web"));

    let anna = wait_until("answer for Anna", || {
        Some(vitrine_as(&world, ANNA, "why")).filter(|said| said.contains("KP1_0001.jpg"))
    });
    assert!(anna.contains("may not go to") && anna.contains("/usb") && anna.contains("elsewhere"), "{anna}");
    assert!(!anna.contains("KP2"), "{anna}");
    let ben = vitrine_as(&world, BEN, "why last");
    assert!(ben.contains("KP2_0001.jpg may not go to website") && ben.contains("at most 6 megapixels"), "{ben}");
    assert!(!ben.contains("KP1"), "{ben}");
    // By the file, by what was to be written, and not by what somebody else has tried.
    assert!(vitrine_as(&world, BEN, "why ws/masters/KP2_0001.jpg").contains("website"));
    assert!(vitrine_as(&world, BEN, "why share/web/KP2_0001.jpg").contains("website"));
    assert!(vitrine_as(&world, BEN, "why ws/masters/KP1_0001.jpg").contains("Nothing was refused to you with"));
    assert!(vitrine_as(&world, BEN, "why --all").contains("only root"));
    assert!(!vitrine_as(&world, BEN, "why --json").contains(&format!("\"uid\":{ANNA}")));
    let all = text(&world.vitrine(&["why", "--all"]));
    assert!(all.contains("KP1") && all.contains("KP2"), "{all}");

    // And so it is after a restart.
    world.kill_agent();
    assert!(vitrine_as(&world, BEN, "why").contains("is it running?"));
    world.start();
    wait_until("answer after a restart", || vitrine_as(&world, BEN, "why").contains("website").then_some(()));
    assert!(!vitrine_as(&world, BEN, "why").contains("KP1"));
}

/// What the agent says at its socket to somebody who asks in JSON, as a program of his own would.
pub(crate) fn asked(world: &World, uid: u32, question: &str) -> String {
    let socket = world.path("state/agent.sock");
    let script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); \
                  s.sendall(sys.argv[2].encode() + b'\\n'); print(s.makefile().read())";
    let line = format!("python3 -c \"{script}\" '{}' '{question}'", socket.display());
    world.sh_as(&line, Some(uid)).text
}

#[test]
fn nobody_learns_of_the_agent_what_lies_in_a_directory_that_is_shut_to_him() {
    let Some(world) = shared_world() else { return };
    let shut = world.path("ws/work/shut");
    fs::create_dir_all(shut.join("inner")).expect("a directory");
    fs::write(shut.join("there"), "ben's").expect("a file");
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o700)).expect("permissions");
    assert!(!world.sh_as("ls ws/work/shut", Some(ANNA)).succeeded);

    let look = |name: &str| {
        let path = shut.join(name);
        asked(&world, ANNA, &format!(r#"{{"look":{{"path":"{}","first":true}}}}"#, path.display()))
            .replace(name, "NAME")
    };
    assert!(look("there").contains("no file of yours"), "{}", look("there"));
    assert_eq!(look("there"), look("else"));
    assert_eq!(look("there"), look("inner"));
    let place = |name: &str| {
        let path = world.path("usb").join(name);
        asked(&world, ANNA, &format!(r#"{{"place":{{"to":"{}"}}}}"#, path.display())).replace(name, "NAME")
    };
    fs::create_dir_all(world.path("usb/is")).expect("a directory");
    assert!(place("is").contains("elsewhere"), "{}", place("is"));
    assert_eq!(place("is"), place("isnt"));
}

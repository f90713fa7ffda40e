//! Who works at the workstation and is not root: what he tries against the agent, and what comes of it.

use serde_json::Value;

use crate::world::{World, is_refused, wait_until};

/// Nobody's.
const STAFF: u32 = 4242;

/// Tries everything, and prints `name: refused` or `name: went through` for each.
const ATTEMPTS: &str = r#"
import ctypes, os, resource, signal, socket, sys
agent, root = int(sys.argv[1]), sys.argv[2]
libc = ctypes.CDLL(None, use_errno=True)
def checked(value):
    if value == -1: raise OSError(ctypes.get_errno(), "")
def attempt(name, what):
    try:
        what()
        print(f"{name}: went through")
    except (OSError, ValueError) as error:
        print(f"{name}: refused {error.__class__.__name__}")
def opened(path, mode="rb"):
    with open(path, mode) as file:
        file.read(1) if mode == "rb" else file.write("x")
for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGHUP):
    attempt(f"kill {number.name}", lambda: os.kill(agent, number))
attempt("pidfd", lambda: signal.pidfd_send_signal(os.pidfd_open(agent), signal.SIGKILL))
attempt("ptrace attach", lambda: checked(libc.ptrace(16, agent, 0, 0)))
attempt("ptrace seize", lambda: checked(libc.ptrace(0x4206, agent, 0, 0)))
attempt("memory", lambda: opened(f"/proc/{agent}/mem"))
attempt("environment", lambda: opened(f"/proc/{agent}/environ"))
attempt("descriptors", lambda: os.listdir(f"/proc/{agent}/fd"))
attempt("oom score", lambda: opened(f"/proc/{agent}/oom_score_adj", "w"))
attempt("limits", lambda: resource.prlimit(agent, resource.RLIMIT_AS, (1 << 20, 1 << 20)))
attempt("processors", lambda: os.sched_setaffinity(agent, {0}))
attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, agent, 19))
attempt("scheduler", lambda: os.sched_setscheduler(agent, os.SCHED_IDLE, os.sched_param(0)))
for name in ("spool.db", "index.db", "history.db", "identity.json", "labels.json", "policy.good.toml"):
    attempt(f"read {name}", lambda: opened(f"{root}/state/{name}"))
    attempt(f"write {name}", lambda: opened(f"{root}/state/{name}", "a"))
attempt("write the status", lambda: opened(f"{root}/state/status.json", "a"))  # everybody may read it
attempt("forge a record", lambda: opened(f"{root}/state/forged", "w"))
for name in ("policy.toml", "agent.toml"):
    attempt(f"edit {name}", lambda: opened(f"{root}/etc/{name}", "a"))
    attempt(f"replace {name}", lambda: os.rename(f"{root}/ws/work/mine", f"{root}/etc/{name}"))
    attempt(f"remove {name}", lambda: os.unlink(f"{root}/etc/{name}"))
attempt("read the token", lambda: opened(f"{root}/etc/token"))
group = libc.fanotify_init(0x4, 0)  # FAN_CLASS_CONTENT: answering in the agent's place
print("answer for the agent:", "went through" if group >= 0 else "refused")
"#;

#[test]
fn staff_can_neither_end_nor_hold_up_nor_read_nor_change_the_agent() {
    let Some(world) = World::builder().build() else { return };
    if !nix::unistd::geteuid().is_root() {
        return crate::world::skipped("only root can be another user");
    }
    std::fs::write(world.path("ws/work/attempts.py"), ATTEMPTS).expect("a script");
    assert!(
        world
            .sh("touch ws/work/mine etc/token && chmod 600 etc/token && chmod 777 ws/work usb && chown 4242 ws/work/mine")
            .succeeded
    );
    let agent = world.agent.as_ref().expect("an agent").id();
    let root = world.root.display();
    let tried = world.sh_as(&format!("python3 ws/work/attempts.py {agent} {root}"), Some(STAFF));
    assert!(tried.succeeded, "{}", tried.text);
    let through: Vec<_> = tried.text.lines().filter(|line| line.contains("went through")).collect();
    assert!(through.is_empty(), "{through:?}");
    assert!(tried.text.lines().count() > 35, "{}", tried.text);
    assert!(!world.sh_as("cp ws/masters/KP1_0001.jpg usb/", Some(STAFF)).succeeded);
    assert_eq!(world.bytes_in("usb"), 0);
    world.recorded("the attempt", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb"));
}

#[test]
fn a_policy_that_staff_can_write_is_refused_with_owner_and_mode_and_the_last_good_one_holds() {
    let Some(world) = World::builder().build() else { return };
    if !nix::unistd::geteuid().is_root() {
        return crate::world::skipped("only root can be another user");
    }
    std::fs::write(world.path("ws/work/mine.toml"), world.policy("audit", "# of staff\n")).expect("a policy");
    assert!(world.sh("chmod 777 usb && chmod 666 etc/policy.toml").succeeded);
    let told = world.noticed("policy-refused");
    for part in [world.path("etc/policy.toml").to_str().expect("text"), "belongs to root", "mode 0666", "chmod go-w"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    let refused = || {
        let status = world.status()?;
        let counted = status["counters"].as_array()?.iter().find(|counter| counter[0] == "policy-refused")?;
        counted[1].as_u64()
    };
    let before = wait_until("count of the refused policy", refused);
    // In one step: half of it would be refused for another reason.
    let written = world.sh_as("dd if=ws/work/mine.toml of=etc/policy.toml bs=1M conv=notrunc 2>&1", Some(STAFF));
    assert!(written.succeeded, "{}", written.text);
    wait_until("refused policy of staff", || refused().filter(|now| *now > before));
    assert_eq!(world.status().expect("a status")["mode"], "enforce");
    assert!(!world.sh_as("cp ws/masters/KP1_0001.jpg usb/", Some(STAFF)).succeeded);
    world.recorded("the attempt", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb"));
    // Closed again, it is an edit like another.
    assert!(world.sh("cp ws/work/mine.toml etc/policy.toml && chmod 644 etc/policy.toml").succeeded);
    wait_until("policy in force", || (world.status()?["mode"] == "audit").then_some(()));
}

/// Thirty processes with a thousand descriptors and as many mappings each, while masters are opened and copied.
const FLOOD: &str = r#"
import mmap, os, resource, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096)) if resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 4096 else None
for _ in range(30):
    if os.fork() == 0:
        kept = [os.open("ws/work/notes.txt", os.O_RDONLY) for _ in range(1000)]
        maps = [mmap.mmap(kept[0], 0, prot=mmap.PROT_READ) for _ in range(1000)]
        time.sleep(8)
        os._exit(0)
"#;

#[test]
fn staff_with_many_processes_descriptors_and_mappings_hold_nobody_up() {
    let Some(world) = World::builder().build() else { return };
    if !nix::unistd::geteuid().is_root() {
        return crate::world::skipped("only root can be another user");
    }
    std::fs::write(world.path("ws/work/flood.py"), FLOOD).expect("a script");
    assert!(world.sh("chmod 777 ws/work usb").succeeded);
    let pid = |status: Value| status["pid"].as_u64();
    let before = world.status().and_then(pid);
    // The children are there while their parent, and then everybody, opens and copies a master.
    let flood = "python3 ws/work/flood.py >/dev/null 2>&1; sleep 1; cat ws/masters/KP1_0001.jpg >/dev/null; echo done";
    assert_eq!(world.sh_as(flood, Some(STAFF)).text.trim(), "done");
    // Another policy: everybody is looked at anew.
    world.set_policy("enforce", "# another one\n");
    wait_until("policy that is in force", || world.noticed("policy-loaded").contains("in force").then_some(()));
    for round in 0..5 {
        let copied = world.sh_as("cp ws/masters/KP1_0001.jpg usb/", Some(STAFF));
        assert!(!copied.succeeded && !copied.hung, "round {round}: {}", copied.text);
    }
    let copied = world.sh_as("cp ws/work/notes.txt usb/", Some(STAFF));
    assert!(copied.succeeded, "{}\n{}", copied.text, world.log());
    world.recorded("the attempt", |transfer| is_refused(transfer, "KP1_0001.jpg", "/usb"));
    assert_eq!(world.status().and_then(pid), before, "the agent was started anew");
}

//! Worlds: a workstation with its own disk, a USB disk and a file server, an agent and a collector.
//! All of it lies in a mount namespace of the test's own, so that nothing outside is guarded or left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use vitrine_policy::decision::Verdict;
use vitrine_policy::record::{Disposition, Event, Record, Transfer};

use crate::shell::{self, Done};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Says that a test cannot run here, by name. To be used as `let Some(world) = … else { return }`.
pub(crate) fn skipped(why: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("skipped: {name}: {why}");
}

/// The real pictures that tests may use.
pub(crate) fn picture(start: &str) -> Option<PathBuf> {
    let masters = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/pictures/masters");
    let mut found: Vec<_> = fs::read_dir(masters).ok()?.flatten().map(|entry| entry.path()).collect();
    found.sort();
    found.into_iter().find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start)))
}

/// One of the two programs: from the directory that `VITRINE_BIN` names, or else as this tree builds them.
pub(crate) fn binary(name: &str) -> PathBuf {
    if let Some(built) = std::env::var_os("VITRINE_BIN") {
        return Path::new(&built).join(name);
    }
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let packages = ["-p", "vitrine-agent", "-p", "vitrine-collector"];
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--manifest-path"]).arg(manifest).args(packages);
        // A test that runs as another user finds the programs built.
        let built = cargo.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        assert!(built || beside(name).exists(), "the programs cannot be built");
    });
    beside(name)
}

fn beside(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test");
    test.parent().and_then(Path::parent).expect("a target directory").join(name)
}

/// Waits until `found` finds something, and fails the test if it does not within [`PATIENCE`].
pub(crate) fn wait_until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "after {PATIENCE:?} there is still no {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a world shall have.
pub(crate) struct Builder {
    mode: &'static str,
    extra_policy: String,
    extra_config: String,
    guard: &'static str,
    collector: bool,
    start: bool,
}

/// A world. Dropping it ends its processes, and its mounts with them.
pub(crate) struct World {
    /// Below it lie `ws` (the workstation's own disk), `usb` and `share`.
    pub(crate) root: PathBuf,
    pub(crate) guard: &'static str,
    pub(crate) agent: Option<Child>,
    pub(crate) collector: Option<Collector>,
    pub(crate) extra_config: String,
    mounts: Vec<PathBuf>,
    _kept: tempfile::TempDir,
}

/// A running collector.
pub(crate) struct Collector {
    child: Child,
    pub(crate) url: String,
    fingerprint: String,
    data: PathBuf,
}

impl Builder {
    /// In `audit` instead of `enforce`.
    pub(crate) fn audit(mut self) -> Builder {
        self.mode = "audit";
        self
    }

    /// With more in its policy.
    pub(crate) fn policy(mut self, text: &str) -> Builder {
        self.extra_policy.push_str(text);
        self
    }

    /// With more in its settings.
    pub(crate) fn config(mut self, text: &str) -> Builder {
        self.extra_config.push_str(text);
        self
    }

    /// With the guard that needs no root, on plain directories.
    pub(crate) fn watching(mut self) -> Builder {
        self.guard = "watch";
        self
    }

    /// With a collector that the agent reports to.
    pub(crate) fn with_collector(mut self) -> Builder {
        self.collector = true;
        self
    }

    /// With an agent that is started later.
    pub(crate) fn not_started(mut self) -> Builder {
        self.start = false;
        self
    }

    /// Builds it; none, with a word why, where this machine or user cannot.
    pub(crate) fn build(self) -> Option<World> {
        let gate = self.guard == "gate";
        if gate && !nix::unistd::geteuid().is_root() {
            skipped("it needs root for mounts and fanotify");
            return None;
        }
        let Some(master) = picture("photo_deb__lomiri") else {
            skipped("it needs the pictures of ../shared");
            return None;
        };
        let kept = tempfile::Builder::new().prefix("vitrine-e2e-").tempdir().expect("a directory");
        let root = fs::canonicalize(kept.path()).expect("its path");
        let mut world = World {
            root,
            guard: self.guard,
            agent: None,
            collector: None,
            extra_config: self.extra_config,
            mounts: Vec::new(),
            _kept: kept,
        };
        if gate {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("a mount namespace");
            let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
            nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
        }
        for (disk, size) in [("ws", 400), ("usb", 100), ("share", 100)] {
            world.disk(disk, size, gate);
        }
        for directory in ["ws/masters", "ws/vault", "ws/work", "ws/sync", "share/web", "etc", "state"] {
            fs::create_dir_all(world.path(directory)).expect("a directory");
        }
        fs::copy(&master, world.path("ws/masters/KP1_0001.jpg")).expect("a master");
        let other = picture("photo_elem").expect("another picture");
        fs::copy(other, world.path("ws/masters/KP2_0001.jpg")).expect("a master");
        fs::copy(picture("art_se__bram").expect("a painting"), world.path("ws/vault/V1_0001.jpg")).expect("a master");
        fs::write(world.path("ws/work/notes.txt"), "nothing secret\n").expect("a file");
        if self.collector {
            world.start_collector("127.0.0.1:0");
        }
        world.set_policy(self.mode, &self.extra_policy);
        if self.start {
            world.start();
        }
        Some(world)
    }
}

impl World {
    /// A world with two masters that anybody may read, one in a vault that ImageMagick alone may open, a
    /// USB disk that nobody named, and two places for web-size copies: `share/web` and `ws/sync`.
    pub(crate) fn builder() -> Builder {
        Builder {
            mode: "enforce",
            extra_policy: String::new(),
            extra_config: String::new(),
            guard: "gate",
            collector: false,
            start: true,
        }
    }

    /// A path in it.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    fn disk(&mut self, name: &str, mebibytes: u64, mounted: bool) {
        let point = self.path(name);
        fs::create_dir(&point).expect("a mount point");
        if mounted {
            let image = self.path(&format!("{name}.img"));
            fs::File::create(&image).and_then(|file| file.set_len(mebibytes << 20)).expect("an image");
            run(Command::new("mkfs.ext4").args(["-q", "-E", "lazy_itable_init=1"]).arg(&image));
            run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&point));
            self.mounts.push(point);
        }
    }

    /// Writes the policy: a real one, with `extra` behind it.
    pub(crate) fn set_policy(&self, mode: &str, extra: &str) {
        // As an editor does it: a new file takes the place of the old one.
        fs::write(self.path("etc/policy.new"), self.policy(mode, extra)).expect("the policy");
        fs::rename(self.path("etc/policy.new"), self.path("etc/policy.toml")).expect("the policy");
    }

    /// The text of that policy.
    pub(crate) fn policy(&self, mode: &str, extra: &str) -> String {
        let root = self.root.display();
        // The watch guard knows a USB disk only by name, because here it is a plain directory.
        let usb = if self.guard == "watch" {
            format!("[[destination]]\nname = \"usb\"\npaths = [\"{root}/usb\"]\nceiling = \"none\"\n")
        } else {
            String::new()
        };
        format!(
            "version = 1\nmode = \"{mode}\"\n\
             [[collection]]\nname = \"masters\"\npaths = [\"{root}/ws/masters\"]\ninclude = [\"*.tif\", \"*.jpg\"]\n\
             object = '^(?<object>[A-Z0-9]+)_'\n\
             [[collection]]\nname = \"vault\"\npaths = [\"{root}/ws/vault\"]\nopened-by = [\"magick\"]\n\
             [[tier]]\nname = \"public\"\nmax-megapixels = 6\nmax-scale = 0.6\nmax-bit-depth = 8\n\
             [[tier]]\nname = \"licensed\"\nmax-megapixels = 20\nmax-scale = 0.9\n\
             [[destination]]\nname = \"website\"\npaths = [\"{root}/share/web\"]\nceiling = \"public\"\n\
             [[destination]]\nname = \"sync folder\"\npaths = [\"{root}/ws/sync\"]\nceiling = \"public\"\n\
             {usb}[elsewhere]\nceiling = \"none\"\n\
             [[program]]\nname = \"magick\"\npath = \"/usr/bin/convert-im6.q16\"\n{extra}"
        )
    }

    /// Starts the agent, and waits until it guards and knows all masters.
    pub(crate) fn start(&mut self) {
        self.configure();
        self.run();
    }

    /// Writes the agent's settings.
    pub(crate) fn configure(&self) {
        let collector = match &self.collector {
            Some(collector) => format!(
                "[collector]\nurl = \"{}\"\nca-fingerprint = \"{}\"\ntoken-file = \"{}\"\nheartbeat-seconds = 1\n",
                collector.url,
                collector.fingerprint,
                self.path("etc/token").display()
            ),
            None => String::new(),
        };
        let config = format!(
            "policy = \"{}\"\nstate = \"{}\"\nguard = \"{}\"\n{}{collector}",
            self.path("etc/policy.toml").display(),
            self.path("state").display(),
            self.guard,
            self.extra_config
        );
        fs::write(self.path("etc/agent.toml"), config).expect("the settings");
    }

    /// Starts the agent with the settings that are there.
    pub(crate) fn run(&mut self) {
        self.spawn(&mut Command::new(binary("vitrine")));
        let masters = self.masters();
        wait_until("agent that guards and knows the masters", || {
            let gone = self.agent.as_mut()?.try_wait().expect("the agent");
            assert!(gone.is_none(), "the agent ended:\n{}", self.log());
            let status = self.status()?;
            (status["masters"].as_u64()? >= masters && status["scanned"] == true).then_some(())
        });
    }

    /// Starts this program as the agent, and waits for nothing.
    pub(crate) fn spawn(&mut self, agent: &mut Command) {
        let log = fs::File::create(self.path("agent.log")).expect("a log");
        agent.args(["run", "--config"]).arg(self.path("etc/agent.toml"));
        agent.stdout(log.try_clone().expect("a log")).stderr(log).stdin(Stdio::null());
        self.agent = Some(agent.spawn().expect("the agent"));
    }

    fn masters(&self) -> u64 {
        let count = |directory: &str| {
            fs::read_dir(self.path(directory))
                .map_or(0, |entries| entries.flatten().filter(|entry| entry.path().is_file()).count())
        };
        (count("ws/masters") + count("ws/vault")) as u64
    }

    /// What the agent printed.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// What `vitrine status` says.
    pub(crate) fn status(&self) -> Option<Value> {
        let pid = u64::from(self.agent.as_ref()?.id());
        let output = self.vitrine(&["status", "--json"]);
        serde_json::from_slice::<Value>(&output.stdout).ok().filter(|status| status["pid"] == pid)
    }

    /// Runs one of the agent's commands on this world's state.
    pub(crate) fn vitrine(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary("vitrine"));
        command.arg(arguments[0]).args(["--config"]).arg(self.path("etc/agent.toml")).args(&arguments[1..]);
        command.output().expect("vitrine")
    }

    /// Ends the agent at once, as a crash would.
    pub(crate) fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }

    /// Runs a shell command in the world's directory.
    pub(crate) fn sh(&self, command: &str) -> Done {
        shell::run(&self.root, command, None)
    }

    /// The same as another user.
    pub(crate) fn sh_as(&self, command: &str, uid: Option<u32>) -> Done {
        shell::run(&self.root, command, uid)
    }

    /// Everything on the agent's record, oldest first.
    pub(crate) fn records(&self) -> Vec<Record> {
        let output = self.vitrine(&["events", "--json"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().map(|line| Record::from_ocsf(line).expect("a record")).collect()
    }

    /// All transfers on record.
    pub(crate) fn transfers(&self) -> Vec<Transfer> {
        let transfer = |record: Record| match record.event {
            Event::Transfer(transfer) => Some(*transfer),
            Event::Notice(_) => None,
        };
        self.records().into_iter().filter_map(transfer).collect()
    }

    /// The first transfer on record that `is` true of.
    pub(crate) fn recorded(&self, what: &str, is: impl Fn(&Transfer) -> bool) -> Transfer {
        wait_until(&format!("record of {what}"), || self.transfers().into_iter().find(|transfer| is(transfer)))
    }

    /// A notice of this code on record.
    pub(crate) fn noticed(&self, code: &str) -> String {
        wait_until(&format!("notice {code}"), || {
            self.records().into_iter().find_map(|record| match record.event {
                Event::Notice(notice) if notice.code == code => Some(notice.message),
                _ => None,
            })
        })
    }

    /// Bytes of all regular files below a directory.
    pub(crate) fn bytes_in(&self, below: &str) -> u64 {
        let mut bytes = 0;
        let mut directories = vec![self.path(below)];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                // What a refused creation left behind goes at any moment.
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() && entry.file_name() != "lost+found" {
                    directories.push(entry.path());
                } else if metadata.is_file() {
                    bytes += metadata.len();
                }
            }
        }
        bytes
    }

    /// Ends the collector at once, as a crash would, and starts it again at the same address.
    pub(crate) fn crash_collector(&mut self) {
        let mut crashed = self.collector.take().expect("a collector");
        crashed.child.kill().and_then(|()| crashed.child.wait()).expect("a crash");
        self.start_collector(crashed.url.trim_start_matches("https://"));
    }

    fn start_collector(&mut self, listen: &str) {
        let data = self.path("collector");
        let log = self.path("collector.log");
        let mut command = Command::new(binary("vitrine-collector"));
        command.args(["serve", "--listen", listen, "--data"]).arg(&data).stdin(Stdio::null());
        let output = fs::File::create(&log).expect("a log");
        let child = command.stdout(output.try_clone().expect("a log")).stderr(output).spawn().expect("a collector");
        let url = wait_until("address of the collector", || {
            let text = fs::read_to_string(&log).ok()?;
            let line = text.lines().find_map(|line| line.split("listening on ").nth(1).map(str::to_owned))?;
            Some(line.split_whitespace().next()?.to_owned())
        });
        let fingerprint = wait_until("fingerprint of the collector's authority", || {
            let text = fs::read_to_string(&log).ok()?;
            text.split_whitespace().find(|word| word.starts_with("sha256:")).map(str::to_owned)
        });
        self.collector = Some(Collector { child, url, fingerprint, data });
        self.give_token();
    }

    /// Stops the collector as if the network were cut, or lets it go on.
    pub(crate) fn pause_collector(&self, paused: bool) {
        let collector = self.collector.as_ref().expect("a collector");
        let pid = nix::unistd::Pid::from_raw(collector.child.id().try_into().expect("a process id"));
        let signal = if paused { nix::sys::signal::Signal::SIGSTOP } else { nix::sys::signal::Signal::SIGCONT };
        nix::sys::signal::kill(pid, signal).expect("a signal");
    }

    /// Gives the agent a new token.
    pub(crate) fn give_token(&self) {
        fs::write(self.path("etc/token"), self.collector_token("agent")).expect("the token");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(self.path("etc/token"), private).expect("the token");
    }

    /// A new token of the collector.
    pub(crate) fn collector_token(&self, role: &str) -> String {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("{role} {}", MADE.fetch_add(1, Ordering::Relaxed));
        let answer = self.collector(&["token", "create", "--json", "--name", &name, "--role", role]);
        let answer: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// Runs a command of the collector on its data.
    pub(crate) fn collector(&self, arguments: &[&str]) -> Output {
        let collector = self.collector.as_ref().expect("a collector");
        let mut command = Command::new(binary("vitrine-collector"));
        command.args(arguments).arg("--data").arg(&collector.data).output().expect("the collector's command")
    }

    /// The collector's alerts.
    pub(crate) fn alerts(&self) -> Vec<Value> {
        let output = self.collector(&["alerts", "--json"]);
        let mut answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        answer["alerts"].as_array_mut().map(std::mem::take).unwrap_or_default()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ended = self.agent.as_mut().and_then(|agent| agent.try_wait().ok()?);
            eprintln!(
                "the agent said (it {}):\n{}",
                ended.map_or("runs".into(), |how| format!("ended: {how}")),
                self.log()
            );
        }
        self.kill_agent();
        if let Some(collector) = &mut self.collector {
            let _ = collector.child.kill();
            let _ = collector.child.wait();
        }
        for point in self.mounts.iter().rev() {
            let _ = Command::new("umount").arg("-l").arg(point).stderr(Stdio::null()).status();
        }
    }
}

fn run(command: &mut Command) {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "{command:?}: {status:?}");
}

/// Whether a transfer was refused, of this master and to a target that ends so.
pub(crate) fn is_refused(transfer: &Transfer, master: &str, target: &str) -> bool {
    transfer.verdict == Verdict::Block
        && matches!(transfer.disposition, Disposition::Blocked | Disposition::Undone | Disposition::Quarantined)
        && transfer.masters.iter().any(|one| one.path.ends_with(master))
        && transfer.destination.as_ref().is_some_and(|to| to.target.contains(target))
}

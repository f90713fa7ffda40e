//! Events of the kernel's side become records, and files that were written by somebody tainted are measured
//! once nobody writes them any more. The kernel has answered long since.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vitrine_policy::decision::{Mode, Verdict};
use vitrine_policy::facts::{Attempt, Destination, Facts, History, Origin, Program, Tier};
use vitrine_policy::judge;
use vitrine_policy::record::{self, Disposition, Operation, printable};

use super::GUARD;
use super::decode::{Kind, Target, Told, Way};
use super::shield;
use crate::collection;
use crate::fail::{self, Failure};
use crate::identify::FileId;
use crate::identify::label::Known;
use crate::identify::process::{Login, Process};
use crate::inspect::{Actor, Arrival};
use crate::own;
use crate::recorder::Seen;
use crate::sys::{self, stat::Stat};
use crate::workstation::{Snapshot, Workstation};

/// Nanoseconds in one clock tick of `/proc` (USER_HZ is 100 on every architecture that Debian ships).
const TICK: u64 = 10_000_000;
/// How long a file may stay open for writing until it is measured as it is.
const PATIENCE: Duration = Duration::from_secs(600);
/// How soon after its opening a file is looked at.
const SOON: Duration = Duration::from_millis(100);
/// Files that wait for their writers at a time.
const MAX_WAITING: usize = 65_536;

/// Makes records of events.
pub(super) struct Reporter {
    workstation: Arc<Workstation>,
    /// Files that somebody tainted has written, and may be writing still.
    written: HashMap<FileId, Written>,
}

struct Written {
    path: PathBuf,
    actor: Actor,
    since: Instant,
}

impl Reporter {
    pub(super) fn new(workstation: Arc<Workstation>) -> Reporter {
        Reporter { workstation, written: HashMap::new() }
    }

    /// Deals with one event.
    pub(super) fn tell(&mut self, told: &Told) {
        let snapshot = self.workstation.snapshot();
        match told.kind {
            Kind::Attempt => self.attempt(&snapshot, told),
            Kind::Written => self.written(&snapshot, told),
            Kind::Arriving => self.arriving(&snapshot, told),
            Kind::Touched(touch) => self.workstation.spool.push(shield::notice(&snapshot, told, touch)),
        }
    }

    fn attempt(&self, snapshot: &Arc<Snapshot>, told: &Told) {
        let known = self.known(snapshot, told);
        let actor = actor(snapshot, told);
        let attempt = match self.collection(snapshot, told, &known) {
            Some(collection) => Attempt::Open { collection, label: known.label() },
            None => Attempt::Transfer {
                label: known.label(),
                destination: destination(snapshot, told),
                history: History::default(),
            },
        };
        let facts = Facts { program: actor.program.clone(), attempt };
        let mut decision = judge(&snapshot.policy, &facts);
        // What the kernel answered is what happened, though the policy may be another by now.
        decision.verdict = Verdict::Block;
        decision.mode = if told.denied { Mode::Enforce } else { Mode::Audit };
        self.workstation.recorder.record(Seen {
            operation: match told.way {
                Way::Open => Operation::Open,
                Way::Write => Operation::Write,
                Way::Rename => Operation::Rename,
                Way::Link => Operation::Link,
                Way::Connect => Operation::Connect,
                Way::Send => Operation::Send,
            },
            guard: GUARD,
            facts,
            decision,
            disposition: if told.denied { Disposition::Blocked } else { Disposition::WouldBlock },
            processes: actor.processes,
            login: Some(actor.login),
            known,
            snapshot: snapshot.clone(),
            bytes_arrived: told.denied.then_some(0),
            sent: Vec::new(),
            remark: None,
        });
    }

    /// The vault's collection, where it was a vault that stayed shut.
    fn collection(&self, snapshot: &Snapshot, told: &Told, known: &Known) -> Option<String> {
        let Target::File { file, .. } = &told.target else { return None };
        let is_itself = told.is_vault && told.way == Way::Open && told.masters.first() == Some(file);
        let policy = &snapshot.policy;
        // The raw disk below a collection stands for its directory.
        let below = || policy.collections.iter().find(|collection| collection.covers_dir(&known.file));
        let collection = policy.collection_of(&known.file).or_else(below).filter(|_| is_itself)?;
        Some(collection.name.clone())
    }

    /// What the process carries, in the agent's words.
    fn known(&self, snapshot: &Snapshot, told: &Told) -> Arc<Known> {
        let path = |master: &FileId| self.path(snapshot, told, *master);
        let mut masters: Vec<Arc<Path>> = told.masters.iter().map(path).collect();
        masters.dedup();
        let file = masters.first().cloned().unwrap_or_else(|| Path::new("/").into());
        let tier = Tier(told.rank.saturating_sub(1));
        Arc::new(Known { tier, origin: Origin::Inherited, masters, file, measured: None })
    }

    fn path(&self, snapshot: &Snapshot, told: &Told, master: FileId) -> Arc<Path> {
        if let Some(path) = self.workstation.labels.path_at(master) {
            return path;
        }
        let index = &self.workstation.index;
        let registered = index.at_inode(master.device, master.inode).and_then(|id| index.master(id).ok().flatten());
        if let Some(registered) = registered {
            return registered.path.into();
        }
        let roots = snapshot.policy.collections.iter().flat_map(|collection| collection.roots());
        let is_it = |root: &PathBuf| Stat::at(root).is_ok_and(|stat| stat.file == master);
        if let Some(root) = roots.flat_map(collection::existing).find(is_it) {
            return root.into();
        }
        match &told.target {
            Target::File { file, path } if *file == master => {
                snapshot.destinations.path_on(file.device, path).unwrap_or_else(|| path.clone()).into()
            }
            // It lies in a collection and has not been read yet.
            _ => Path::new("/").join(format!("(file {} of device {})", master.inode, master.device)).into(),
        }
    }

    /// A file has the label of who wrote it until it is measured.
    fn written(&mut self, snapshot: &Arc<Snapshot>, told: &Told) {
        let Target::File { file, path } = &told.target else { return };
        // One that somebody tainted has started makes its own databases.
        if own::has(*file) {
            return;
        }
        let Some(path) = snapshot.destinations.path_on(file.device, path) else { return };
        // Memory without a name, or a file that is gone already.
        let Some(stat) = Stat::named(&path).ok().filter(|stat| stat.file == *file) else { return };
        if snapshot.policy.collection_of(&path).is_some() {
            self.workstation.touch(&path);
            return;
        }
        let known = self.known(snapshot, told).inherited(&path);
        self.workstation.labels.set(&stat, Arc::new(known));
        self.wait(snapshot, told, *file, path);
    }

    /// What comes to a destination may be known by its content.
    fn arriving(&mut self, snapshot: &Arc<Snapshot>, told: &Told) {
        let Target::File { file, path } = &told.target else { return };
        // One that somebody tainted has started makes its own databases.
        if own::has(*file) {
            return;
        }
        let Some(path) = snapshot.destinations.path_on(file.device, path) else { return };
        self.wait(snapshot, told, *file, path);
    }

    fn wait(&mut self, snapshot: &Snapshot, told: &Told, file: FileId, path: PathBuf) {
        if self.written.len() >= MAX_WAITING {
            fail::count(Failure::Unscanned, 1);
            return;
        }
        let written = Written { path, actor: actor(snapshot, told), since: Instant::now() };
        self.written.insert(file, written);
    }

    /// Has those measured that nobody writes any more.
    pub(super) fn measure(&mut self) {
        let snapshot = self.workstation.snapshot();
        let ready: Vec<FileId> = self.written.iter().filter(|(_, one)| one.is_ready()).map(|(file, _)| *file).collect();
        for file in ready {
            let Some(Written { path, actor, .. }) = self.written.remove(&file) else { continue };
            // One that has gone again, or has got another name meanwhile.
            if Stat::named(&path).is_ok_and(|stat| stat.file == file) {
                let destination = snapshot.destinations.of(&path, Some(file.device));
                self.workstation.arrived(Arrival { path, file: None, destination, guard: GUARD, actor: Some(actor) });
            }
        }
    }
}

impl Written {
    /// The kernel's side tells of a name before it is made, and of an open before anything is written.
    fn is_ready(&self) -> bool {
        let since = self.since.elapsed();
        since > PATIENCE
            || (since > SOON && !own::open_regular(&self.path).is_ok_and(|file| sys::is_being_written(&file)))
    }
}

/// Who it was. A process that is gone is described by what the kernel told.
fn actor(snapshot: &Snapshot, told: &Told) -> Actor {
    let programs = &snapshot.programs;
    let named = programs.all().find(|(_, _, file)| *file == told.executable).map(|(name, _, _)| name.to_owned());
    let path = snapshot.destinations.path_on(told.executable.device, &told.executable_path);
    let path = printable(path.unwrap_or_else(|| told.executable_path.clone()).as_os_str().as_bytes());
    let living = Process::of_thread(told.thread).or_else(|| Process::of_thread(told.process));
    let living = living.filter(|process| process.id.pid == told.process && process.id.start == told.started / TICK);
    let command_line =
        living.map(|process| process.describe(None).command_line).unwrap_or_else(|| told.command.clone());
    let name = named.clone().unwrap_or_else(|| record::last_part(&path).to_owned());
    let itself = record::Process { pid: told.process, name, path: path.clone(), command_line };
    let parents = told.parents.iter().filter(|parent| **parent > 1).filter_map(|parent| {
        let process = Process::of_thread(*parent)?;
        let name = programs.of(process).map(|(name, _)| name.to_owned());
        Some(process.describe(name.as_deref()))
    });
    Actor {
        program: Program { named, path },
        processes: std::iter::once(itself).chain(parents).collect(),
        login: Login::new(told.user, Some(told.session)),
    }
}

fn destination(snapshot: &Snapshot, told: &Told) -> Destination {
    let path = |path: PathBuf, device| {
        let found = snapshot.destinations.of(&path, device);
        found.unwrap_or(Destination::Path { path, mount: None })
    };
    match &told.target {
        // What it holds mapped to write has no name here.
        Target::File { file, .. } if file.inode == 0 => path(format!("/proc/{}/map_files", told.process).into(), None),
        Target::File { file, path: below } => {
            let seen = snapshot.destinations.path_on(file.device, below).unwrap_or_else(|| below.clone());
            path(seen, Some(file.device))
        }
        Target::Host { address, port } => Destination::Host { name: None, address: Some(*address), port: *port },
        Target::Family(family) => path(format!("/proc/net/(socket of family {family})").into(), None),
        Target::Device { device, is_block } => {
            let kind = if *is_block { "block" } else { "char" };
            let (major, minor) = (libc::major(*device), libc::minor(*device));
            let link = std::fs::read_link(format!("/sys/dev/{kind}/{major}:{minor}")).unwrap_or_default();
            let name = link.file_name().map(|name| Path::new("/dev").join(name));
            path(name.unwrap_or_else(|| format!("/dev/{kind}/{major}:{minor}").into()), None)
        }
    }
}

//! What is the agent's is kept from root: which files, processes, maps and programs these are, and when it is not so.
//!
//! Once it is in force the kernel's side outlives the agent, and knows better than the settings of the next one: these
//! lower it, or name another key or state directory, during maintenance alone, or after a restart of the machine.

use std::collections::HashMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libbpf_rs::{MapCore, MapFlags, MapHandle};
use vitrine_policy::record::{Event, printable};

use super::decode::{Target, Told, Touch, Touching, number_of};
use super::kernel::{Kernel, Plain};
use super::mirror::{Entries, entry, key_of};
use super::pins;
use super::record;
use crate::config::{self, Config};
use crate::fail::Failure;
use crate::identify::process;
use crate::justification::now;
use crate::policy_file::signature;
use crate::sys::stat::Stat;
use crate::workstation::{Snapshot, Workstation};

/// The map with what is in force.
const SHIELD: &str = "shield";
/// The map of files.
const SHELTERED: &str = "sheltered";
/// A program of which nobody else has need.
const OF_ITS_OWN: &str = "bpf_map";

/// Keeps the kernel's side as it has to be.
pub(super) struct Shield {
    mode: config::Shield,
    key: Option<String>,
    starter: i32,
    starter_started: u64,
    /// What the kernel's side was told last of the end of maintenance.
    until: Option<Duration>,
    /// The agent's program as it was started, and as it lies there now.
    programs: Vec<Stat>,
    path: Option<PathBuf>,
}

fn of_record(mode: u8) -> config::Shield {
    match u32::from(mode) {
        record::SHIELD_ENFORCE => config::Shield::Enforce,
        record::SHIELD_AUDIT => config::Shield::Audit,
        _ => config::Shield::Off,
    }
}

fn to_record(mode: config::Shield) -> u8 {
    (match mode {
        config::Shield::Off => record::SHIELD_OFF,
        config::Shield::Audit => record::SHIELD_AUDIT,
        config::Shield::Enforce => record::SHIELD_ENFORCE,
    }) as u8
}

/// Whether nothing is refused for the moment.
fn is_open(found: &record::shield) -> bool {
    u128::from(found.until) > now().as_nanos()
}

/// Whether what lies at a path was kept from others until now.
fn is_kept(kernel: &Kernel, path: &Path, flag: u32) -> io::Result<bool> {
    let Ok(stat) = Stat::at(path) else { return Ok(false) };
    let flags: Option<u32> = kernel.get(SHELTERED, &key_of(stat.file))?;
    Ok(flags.is_some_and(|flags| flags & flag != 0))
}

/// The key that an entry names.
fn key_in(found: &record::shield) -> Option<String> {
    let bytes: Vec<u8> = found.key.iter().map(|byte| byte.cast_unsigned()).take_while(|byte| *byte != 0).collect();
    String::from_utf8(bytes).ok().filter(|key| !key.is_empty())
}

impl Shield {
    /// Looks at what an earlier agent has put in force, and takes of the settings what may be.
    ///
    /// # Errors
    /// It is in force for another state directory.
    pub(super) fn take_over(kernel: &Kernel, workstation: &Workstation) -> io::Result<Shield> {
        let config = &workstation.config;
        let found: record::shield = kernel.get(SHIELD, &0_u32)?.unwrap_or_default();
        let in_force = of_record(found.mode);
        let key = config.maintenance_key().map(signature::public_key_text).transpose();
        let key = key.unwrap_or_else(|why| {
            workstation
                .spool
                .push(Failure::SettingsRefused.notice(None, format_args!("no maintenance is possible: {why}")));
            None
        });
        let (mut mode, mut counts) = (config.shield, key.clone());
        // Nobody could open what has no key.
        if mode == config::Shield::Enforce && key.is_none() && key_in(&found).is_none() {
            mode = config::Shield::Audit;
        }
        if in_force == config::Shield::Enforce && !is_open(&found) {
            // What is as it was needs no more looking into: nobody could change it.
            for (path, flag) in [(config.named_state(), record::SHELTER_TREE), (&*config.file, record::SHELTER_FILE)] {
                // Settings that are not there are those of the state directory.
                let is_absent = path == Path::new(config::FILE) && !path.exists();
                if !is_absent && !is_kept(kernel, path, flag)? {
                    let what = format!(
                        "the shield in the kernel is that of an agent with other settings or state than {}: start the agent with \
                         those, or the machine anew",
                        path.display()
                    );
                    return Err(io::Error::new(io::ErrorKind::ResourceBusy, what));
                }
            }
            let refuse = |what: &str| {
                let subject = Some(config.file.as_os_str().as_bytes());
                let what = format!("{what} during maintenance or after a restart of the machine alone");
                workstation.spool.push(Failure::SettingsRefused.notice(subject, what));
            };
            if mode != in_force {
                refuse("the shield is in force in the kernel, and is taken back");
                mode = in_force;
            }
            let known = key_in(&found);
            if let Some(known) = known.filter(|known| Some(known) != key.as_ref()) {
                refuse("the kernel knows another key for maintenance tokens, which is replaced");
                counts = Some(known);
            }
        }
        // The file that it was read from may be exchanged for another.
        if mode != config::Shield::Off
            && let Some(key) = &counts
        {
            workstation.maintenance.pin(key.clone());
        }
        let starter = nix::unistd::getppid().as_raw();
        let itself = Stat::at(Path::new("/proc/self/exe"))?;
        Ok(Shield {
            mode,
            key: counts,
            starter,
            starter_started: process::start_of(starter).unwrap_or_default(),
            until: None,
            programs: vec![itself],
            path: std::env::current_exe().ok(),
        })
    }

    /// Whether maintenance has begun or ended since the kernel's side was told.
    pub(super) fn is_behind(&self, workstation: &Workstation) -> bool {
        workstation.maintenance.until() != self.until
    }

    /// Tells the kernel's side everything.
    ///
    /// # Errors
    /// A map is full, or gone.
    pub(super) fn update(&mut self, kernel: &Kernel, workstation: &Workstation) -> io::Result<()> {
        self.follow_program(workstation);
        let until = workstation.maintenance.until();
        kernel.replace(SHELTERED, &self.sheltered(&workstation.config))?;
        let itself = i32::try_from(std::process::id()).unwrap_or_default();
        let mut entry = record::shield {
            until: until.and_then(|until| u64::try_from(until.as_nanos()).ok()).unwrap_or_default(),
            agent_started: process::start_of(itself).unwrap_or_default(),
            starter_started: self.starter_started,
            starter: u32::try_from(self.starter).unwrap_or_default(),
            mounts: Stat::at(Path::new("/proc/self/ns/mnt"))
                .ok()
                .and_then(|stat| u32::try_from(stat.file.inode).ok())
                .unwrap_or_default(),
            mode: to_record(self.mode),
            ..record::shield::default()
        };
        for (to, from) in entry.key.iter_mut().zip(self.key.as_deref().unwrap_or_default().bytes()) {
            *to = from.cast_signed();
        }
        kernel.set_other(SHIELD, 0_u32.bytes(), entry.bytes())?;
        self.until = until;
        workstation.set_shield(self.describe(workstation));
        Ok(())
    }

    fn describe(&self, workstation: &Workstation) -> String {
        let told = match self.mode {
            config::Shield::Off => "off: root may do all that he likes to the agent",
            config::Shield::Audit => "audit: what root does to the agent is recorded, and nothing refused",
            config::Shield::Enforce if self.until.is_some() => "open for maintenance",
            config::Shield::Enforce => "enforce: root is kept from the agent's processes, files, maps and programs",
        };
        match is_told_apart(&workstation.config.state) {
            true => told.to_owned(),
            false => {
                format!("{told}; NOT from its state, which lies on a file system whose files cannot be told apart")
            }
        }
    }

    /// An update puts another program in the place of this one, and starts it: that is the next agent.
    fn follow_program(&mut self, workstation: &Workstation) {
        let Some(path) = &self.path else { return };
        let Ok(found) = Stat::at(path) else { return };
        let is_itself = self.programs.first().is_some_and(|itself| itself.file == found.file);
        let is_next = self.programs.get(1).is_some_and(|next| (next.file, next.changed) == (found.file, found.changed));
        if !found.is_regular() || is_itself || is_next {
            return;
        }
        if self.mode != config::Shield::Off && !workstation.snapshot().programs.names(path) {
            let mut digest = blake3::Hasher::new();
            let digest = match std::fs::File::open(path).and_then(|file| digest.update_reader(file).map(|_| ())) {
                Ok(()) => digest.finalize().to_hex().to_string(),
                Err(error) => format!("unknown: {error}"),
            };
            let what = format!("the agent's own program was replaced, BLAKE3 {digest}; it is the next agent");
            workstation.spool.push(Failure::ProgramChanged.notice(Some(path.as_os_str().as_bytes()), what));
        }
        // The one that runs, and the one that comes.
        self.programs.truncate(1);
        self.programs.push(found);
    }

    /// What nobody else may change.
    fn sheltered(&self, config: &Config) -> Entries {
        let mut found = HashMap::new();
        if self.mode != config::Shield::Off {
            let named = |key: Option<&String>| key.map(PathBuf::from).filter(|path| path.is_absolute());
            let ca = config.collector.as_ref().and_then(|collector| collector.ca_file.clone());
            let keys = [named(config.policy_key.as_ref()), named(config.maintenance_key.as_ref()), ca];
            let files = std::iter::once(config.file.clone()).chain(keys.into_iter().flatten());
            let files = files.map(|path| (path, record::SHELTER_FILE));
            let trees = [config.state.clone(), config.named_state().to_owned(), pins::PINS.into()]
                .map(|path| (path, record::SHELTER_TREE));
            for (path, flag) in files.chain(trees) {
                shelter(&mut found, &path, flag);
            }
            for program in &self.programs {
                *found.entry((number_of(program.file.device), program.file.inode)).or_default() |=
                    record::SHELTER_PROGRAM;
            }
        }
        let key = |(space, id)| record::key { space, id };
        found.iter().map(|(file, flags)| entry(&key(*file), flags)).collect()
    }
}

/// Shelters what lies at a path, where there is anything, and the directories above it. Neither links nor the root.
fn shelter(found: &mut HashMap<(u64, u64), u32>, path: &Path, flag: u32) {
    let Ok(path) = path.canonicalize() else { return };
    for (level, above) in path.ancestors().enumerate() {
        let Some(stat) = Stat::named(above).ok().filter(|_| above.parent().is_some()) else { continue };
        let device = number_of(stat.file.device);
        let flag = if level == 0 { flag } else { record::SHELTER_ABOVE };
        *found.entry((device, stat.file.inode)).or_default() |= flag;
        if level == 0 {
            *found.entry((device, 0)).or_default() |= record::SHELTER_DISK;
        }
    }
}

/// Whether the kernel's side knows a file of this file system by the numbers that programs are told: btrfs tells others.
fn is_told_apart(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|found| found.filesystem_type() != nix::sys::statfs::BTRFS_SUPER_MAGIC)
}

/// Whether what is in the kernel may be taken out of it.
///
/// # Errors
/// The shield keeps it there.
pub(super) fn may_be_taken_away() -> io::Result<()> {
    let kept = || {
        let what = "the shield keeps the guard in the kernel; open maintenance first (`vitrine maintenance TOKEN`), or, where no \
                    token can be had, `systemctl mask vitrine`, start the machine anew, set shield = \"off\" in agent.toml, and \
                    `systemctl unmask vitrine`";
        Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
    };
    match MapHandle::from_pinned_path(pins::map(Path::new(SHIELD))) {
        Ok(map) => {
            let found = map.lookup(0_u32.bytes(), MapFlags::ANY).map_err(io::Error::other)?;
            let found = found.and_then(|bytes| record::shield::read(&bytes)).unwrap_or_default();
            if of_record(found.mode) == config::Shield::Enforce && !is_open(&found) { kept() } else { Ok(()) }
        }
        Err(error) if error.kind() == libbpf_rs::ErrorKind::PermissionDenied => kept(),
        // An earlier version's, which has none.
        Err(_) if !is_there() => Ok(()),
        Err(_) => kept(),
    }
}

/// Whether the guard in the kernel has a shield: a program that only it needs.
fn is_there() -> bool {
    pins::map(Path::new(SHIELD)).exists() || pins::link(Path::new(OF_ITS_OWN)).exists()
}

/// What is in force in the kernel, to be gone on with by maps of another shape.
///
/// # Errors
/// It is there and cannot be read.
pub(super) fn in_force() -> io::Result<Vec<(&'static str, MapHandle)>> {
    let held = |name: &'static str| match MapHandle::from_pinned_path(pins::map(Path::new(name))) {
        Ok(map) => Ok(Some((name, map))),
        Err(_) if !is_there() => Ok(None),
        Err(error) => Err(io::Error::other(format!("the shield of an earlier agent cannot be read: {error}"))),
    };
    Ok([held(SHIELD)?, held(SHELTERED)?].into_iter().flatten().collect())
}

/// The record of somebody who touched the agent.
pub(super) fn notice(snapshot: &Snapshot, told: &Told, touch: Touch) -> Event {
    let place = || match &told.target {
        Target::File { file, path } => {
            let path = snapshot.destinations.path_on(file.device, path).unwrap_or_else(|| path.clone());
            printable(path.as_os_str().as_bytes())
        }
        _ => "what is the agent's".to_owned(),
    };
    let what = match touch.by {
        Touching::Signal(number) => format!("send signal {number} to the agent"),
        Touching::LookInto => "trace the agent, or look into its memory".to_owned(),
        Touching::Limit => "change priority or limits of the agent".to_owned(),
        Touching::Hold => "get hold of the agent's maps or programs in the kernel".to_owned(),
        Touching::Write => format!("write {}", place()),
        Touching::Name => format!("make, rename or remove {}", place()),
        Touching::Change => format!("change attributes of {}", place()),
        Touching::Mount => format!("mount over {}, or take it away", place()),
    };
    let answer = match (touch.is_let, told.denied) {
        (true, _) => "the service manager may",
        (false, true) => "refused",
        (false, false) => "not refused: the shield is in audit",
    };
    let program = snapshot.destinations.path_on(told.executable.device, &told.executable_path);
    let program = printable(program.unwrap_or_else(|| told.executable_path.clone()).as_os_str().as_bytes());
    // What is the same becomes one record with a count: another touch is another record.
    let subject = format!("{program}: {what}");
    let what =
        format!("{program} (`{}`, process {}, user {}) was to {what}: {answer}", told.command, told.process, told.user);
    Failure::AgentTouched.notice(Some(subject.as_bytes()), what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_at_a_path_is_sheltered_and_what_lies_above_it_up_to_the_root() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("agent.toml");
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, room.path().join("link")).unwrap();
        let mut found = HashMap::new();
        shelter(&mut found, &room.path().join("link"), record::SHELTER_FILE);
        shelter(&mut found, room.path(), record::SHELTER_TREE);
        shelter(&mut found, &room.path().join("missing"), record::SHELTER_FILE);
        let flags = |path: &Path| {
            let stat = Stat::at(path).unwrap();
            found.get(&(number_of(stat.file.device), stat.file.inode)).copied()
        };
        assert_eq!(flags(&file), Some(record::SHELTER_FILE));
        assert_eq!(flags(room.path()), Some(record::SHELTER_TREE | record::SHELTER_ABOVE));
        let above = room.path().canonicalize().unwrap();
        assert_eq!(
            flags(above.parent().unwrap()).map(|flags| flags & record::SHELTER_ABOVE),
            Some(record::SHELTER_ABOVE)
        );
        assert_eq!(flags(Path::new("/")), None);
        let device = number_of(Stat::at(&file).unwrap().file.device);
        assert_eq!(found.get(&(device, 0)), Some(&record::SHELTER_DISK));
    }

    #[test]
    fn a_key_and_an_end_are_read_as_they_were_written() {
        let mut found = record::shield::default();
        assert_eq!((key_in(&found), is_open(&found)), (None, false));
        for (to, from) in found.key.iter_mut().zip(b"RWQf6LRC") {
            *to = from.cast_signed();
        }
        found.until = u64::MAX;
        assert_eq!((key_in(&found).as_deref(), is_open(&found)), (Some("RWQf6LRC"), true));
        for mode in [config::Shield::Off, config::Shield::Audit, config::Shield::Enforce] {
            assert_eq!(of_record(to_record(mode)), mode);
        }
    }
}

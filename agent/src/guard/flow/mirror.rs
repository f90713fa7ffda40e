//! The kernel's maps as a mirror of the policy, the index, the mounts and the programs.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use vitrine_policy::decision::Mode;
use vitrine_policy::facts::{Ceiling, Destination, Origin, Tier};
use vitrine_policy::{Policy, Trust};

use super::decode::{file_of, number_of};
use super::kernel::{Kernel, Plain};
use super::network::{self, Addresses};
use super::place::{keep_moved, mounts, names, places, suffixes};
use super::record;
use crate::collection;
use crate::identify::FileId;
use crate::identify::label::{Known, Labelled};
use crate::sys::stat::Stat;
use crate::workstation::{Snapshot, Workstation};

/// Vaults that can be told apart; the policy's others open to nobody.
const MAX_VAULTS: usize = 63;

/// The kernel's number of a tier: counted from 1, because 0 is no label.
pub(super) fn rank(tier: Tier) -> u8 {
    tier.0.saturating_add(1)
}

/// The highest rank that a destination may receive, as far as the kernel can know it: who has to give a reason
/// first may not send yet.
pub(super) fn ceiling_of(policy: &Policy, destination: &Destination) -> u8 {
    if policy.destination_of(destination).is_some_and(|entry| entry.justify.is_some()) {
        return 0;
    }
    match policy.ceiling_of(destination) {
        Ceiling::None => 0,
        Ceiling::UpTo(tier) => rank(tier),
    }
}

pub(super) fn key_of(file: FileId) -> record::key {
    record::key { space: number_of(file.device), id: file.inode }
}

/// A number that stands for a policy.
fn number_of_policy(digest: &str) -> u64 {
    let [first, second, third, fourth, fifth, sixth, seventh, eighth, ..] = *blake3::hash(digest.as_bytes()).as_bytes();
    u64::from_le_bytes([first, second, third, fourth, fifth, sixth, seventh, eighth])
}

/// The number of a collection's vault; 0 where anybody may read it.
pub(super) fn vault_of(policy: &Policy, name: &str) -> u8 {
    let vaults = policy.collections.iter().filter(|collection| collection.opened_by.is_some());
    let place = vaults.map(|collection| collection.name.as_str()).position(|vault| vault == name);
    place.map_or(0, |place| u8::try_from(place.min(MAX_VAULTS - 1) + 1).unwrap_or(u8::MAX))
}

/// What the kernel is told of one labelled file.
pub(super) fn label_of(policy: &Policy, file: FileId, known: &Known) -> record::label {
    let path = known.masters.first().unwrap_or(&known.file);
    let is_master = *path == known.file;
    let collection = policy.collection_of(path).filter(|_| is_master);
    let master = if is_master { Some(file) } else { Stat::named(path).ok().map(|stat| stat.file) };
    record::label {
        rank: rank(known.tier),
        vault: collection.map_or(0, |collection| vault_of(policy, &collection.name)),
        flags: if known.origin == Origin::Inherited { record::LABEL_INHERITED as u16 } else { 0 },
        master: key_of(master.unwrap_or(file)),
        ..record::label::default()
    }
}

/// Entries of one map.
pub(super) type Entries = Vec<(Vec<u8>, Vec<u8>)>;

pub(super) fn entry(key: &impl Plain, value: &impl Plain) -> (Vec<u8>, Vec<u8>) {
    (key.bytes().to_vec(), value.bytes().to_vec())
}

/// Keeps the maps as they have to be.
pub(super) struct Mirror {
    generation: u64,
    secret: u64,
    /// The policy that the maps stand for.
    policy: u64,
    addresses: Addresses,
}

impl Mirror {
    /// A mirror of maps that an earlier agent may have filled.
    pub(super) fn new(kernel: &Kernel) -> Mirror {
        let settings: Option<record::settings> = kernel.get("settings", &0_u32).ok().flatten();
        let (generation, policy) = settings.map_or((1, 0), |settings| (settings.generation.max(1), settings.policy));
        Mirror { generation, policy, secret: uuid::Uuid::new_v4().as_u64_pair().0, addresses: Addresses::new() }
    }

    /// What the policy's host names stand for from now on.
    pub(super) fn resolved(&mut self, addresses: Addresses) {
        self.addresses = addresses;
    }

    /// What they stood for until now.
    pub(super) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Brings everything but the labels of files up to date.
    ///
    /// # Errors
    /// A map is full, or gone.
    pub(super) fn update(&mut self, kernel: &Kernel, snapshot: &Snapshot) -> io::Result<()> {
        let policy = &snapshot.policy;
        check_numbers(snapshot)?;
        let mut changed = kernel.replace("suffixes", &suffixes(policy))?;
        let number = number_of_policy(&snapshot.digest);
        let known: Vec<(record::key, record::place)> = kernel.entries("places")?;
        let names = names(snapshot);
        let mut places = places(snapshot);
        if self.policy == number {
            keep_moved(&known, snapshot, &mut places);
        }
        // First what tells that there are any.
        changed |= kernel.replace("mounts", &mounts(snapshot, &places, &names))?;
        changed |=
            kernel.replace("names", &names.iter().map(|(name, place)| entry(name, place)).collect::<Entries>())?;
        for (file, place) in &places {
            changed |= kernel.set_other("places", key_of(*file).bytes(), place.bytes())?;
        }
        // What the kernel's side has added since may not be seen here yet.
        for (key, _) in known.iter().filter(|(key, _)| !places.contains_key(&file_of(*key))) {
            kernel.remove("places", key)?;
            changed = true;
        }
        changed |= kernel.replace("disks", &disks(snapshot))?;
        let resolvers = network::resolvers(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
        let table = network::table(policy, &self.addresses, &resolvers);
        kernel.replace("networks", &table.iter().map(|(network, hosts)| entry(network, hosts)).collect::<Entries>())?;
        if kernel.replace("programs", &programs(snapshot))? {
            kernel.look_at_programs()?;
        }
        for root in policy.collections.iter().flat_map(|collection| collection.roots()).flat_map(collection::existing) {
            self.mark_above(kernel, &root, rank(policy.master_tier()))?;
        }
        if changed || self.policy != number {
            self.generation += 1;
            self.policy = number;
        }
        self.settle(kernel, policy)
    }

    /// Puts the settings in force.
    fn settle(&self, kernel: &Kernel, policy: &Policy) -> io::Result<()> {
        let elsewhere = match policy.elsewhere {
            Ceiling::None => 0,
            Ceiling::UpTo(tier) => rank(tier),
        };
        let settings = record::settings {
            generation: self.generation,
            secret: self.secret,
            policy: self.policy,
            agent: std::process::id(),
            enforces: u8::from(policy.mode == Mode::Enforce),
            elsewhere,
            top: rank(policy.master_tier()),
            ..record::settings::default()
        };
        kernel.set("settings", &0_u32, &settings)
    }

    /// The labels of these files are others now.
    ///
    /// # Errors
    /// A map is full, or gone.
    pub(super) fn labelled(&self, kernel: &Kernel, workstation: &Workstation, files: &[Labelled]) -> io::Result<()> {
        let set = self.set_labels(kernel, workstation, files);
        // What was found to have none before is looked at again.
        let before = kernel.counter(record::counter::COUNTER_LABELLED_BY_AGENT);
        set.and(kernel.set_counter(record::counter::COUNTER_LABELLED_BY_AGENT, before + 1))
    }

    fn set_labels(&self, kernel: &Kernel, workstation: &Workstation, files: &[Labelled]) -> io::Result<()> {
        let snapshot = workstation.snapshot();
        let policy = &snapshot.policy;
        for (file, path) in files {
            // One that has moved meanwhile is told of again, and the kernel's side itself forgets those that are gone.
            let Some(stat) = Stat::named(path).ok().filter(|stat| stat.file == *file) else { continue };
            let Some(known) = workstation.labels.of(policy, &stat, path) else {
                kernel.remove("labels", &key_of(*file))?;
                continue;
            };
            let label = label_of(policy, *file, &known);
            kernel.set("labels", &key_of(*file), &label)?;
            if policy.collection_of(path).is_none() {
                self.mark_above(kernel, path, label.rank)?;
            }
        }
        Ok(())
    }

    /// Each directory above a labelled file or a collection: who moves it moves them.
    fn mark_above(&self, kernel: &Kernel, path: &Path, rank: u8) -> io::Result<()> {
        let Ok(stat) = Stat::named(path) else { return Ok(()) };
        for directory in path.ancestors().skip(1) {
            let Ok(above) = Stat::named(directory) else { break };
            if above.file.device != stat.file.device {
                break;
            }
            let key = key_of(above.file);
            let known: Option<record::label> = kernel.get("labels", &key)?;
            if known.is_some_and(|known| known.rank >= rank) {
                break;
            }
            let flags = record::LABEL_BELOW as u16;
            kernel.set("labels", &key, &record::label { rank, flags, master: key, ..record::label::default() })?;
        }
        Ok(())
    }
}

/// The kernel's side knows a file by the numbers of its file system and its inode. btrfs tells programs another
/// number of the file system, and gives those of inodes twice.
fn check_numbers(snapshot: &Snapshot) -> io::Result<()> {
    for collection in &snapshot.policy.collections {
        for root in collection.roots().iter().flat_map(collection::existing) {
            let device = Stat::at(&root)?.file.device;
            if snapshot.destinations.mounts().all(|(mounted, _)| mounted.device != device) {
                return Err(io::Error::other(format!(
                    "the collection at {} lies on a file system whose files the kernel's side cannot tell apart (btrfs); \
                     the guard `gate` can",
                    root.display()
                )));
            }
        }
    }
    Ok(())
}

fn programs(snapshot: &Snapshot) -> Entries {
    let policy = &snapshot.policy;
    let vaults = |name: &str| {
        let mut bits = 0_u64;
        for collection in policy.collections.iter().filter(|collection| collection.opened_by.is_some()) {
            if collection.opened_by.iter().flatten().any(|opener| opener == name) {
                bits |= 1 << vault_of(policy, &collection.name);
            }
        }
        bits
    };
    let of = |(number, (name, trust, file)): (u8, (&str, Trust, FileId))| {
        let trust = match trust {
            Trust::None => record::TRUST_NONE,
            Trust::Exempt => record::TRUST_EXEMPT,
            Trust::Copier => record::TRUST_COPIER,
        };
        let program =
            record::program { number, trust: trust as u8, vaults: vaults(name), ..record::program::default() };
        entry(&key_of(file), &program)
    };
    (1..=u8::MAX).zip(snapshot.programs.all()).map(of).collect()
}

/// The block devices below each collection: who reads them reads its masters.
fn disks(snapshot: &Snapshot) -> Entries {
    let policy = &snapshot.policy;
    let mut found: HashMap<u32, record::label> = HashMap::new();
    for collection in &policy.collections {
        for root in collection.roots().iter().flat_map(collection::existing) {
            let Ok(stat) = Stat::at(&root) else { continue };
            for device in below(stat.file.device) {
                let Ok(number) = u32::try_from(number_of(device)) else { continue };
                let label = found.entry(number).or_default();
                label.rank = rank(policy.master_tier());
                label.vault = label.vault.max(vault_of(policy, &collection.name));
                label.master = key_of(stat.file);
            }
        }
    }
    found.iter().map(|(device, label)| entry(device, label)).collect()
}

/// A block device, the disk that it is a part of, and the devices that it is made from (sysfs(5)).
fn below(device: u64) -> HashSet<u64> {
    let mut found = HashSet::new();
    let mut left = vec![PathBuf::from(format!("/sys/dev/block/{}:{}", libc::major(device), libc::minor(device)))];
    while let Some(path) = left.pop() {
        let Ok(path) = fs::canonicalize(path) else { continue };
        let number = fs::read_to_string(path.join("dev")).ok().and_then(|text| {
            let (major, minor) = text.trim().split_once(':')?;
            Some(libc::makedev(major.parse().ok()?, minor.parse().ok()?))
        });
        if !number.is_some_and(|number| found.insert(number)) {
            continue;
        }
        if path.join("partition").exists() {
            left.extend(path.parent().map(Path::to_owned));
        }
        left.extend(fs::read_dir(path.join("slaves")).into_iter().flatten().flatten().map(|entry| entry.path()));
    }
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const POLICY: &str = r#"
        version = 1
        mode = "enforce"
        [[collection]]
        name = "open"
        paths = ["/srv/open"]
        include = ["*.tif", "*.JP2"]
        [[collection]]
        name = "vault"
        paths = ["/srv/vault"]
        include = ["scan-*"]
        opened-by = ["viewer"]
        [[tier]]
        name = "public"
        max-megapixels = 6
        [[destination]]
        name = "web"
        paths = ["/srv/web"]
        ceiling = "public"
        [[destination]]
        name = "courier"
        paths = ["/srv/courier"]
        ceiling = "master"
        justify = true
        [elsewhere]
        ceiling = "none"
        [[program]]
        name = "viewer"
        path = "/usr/bin/viewer"
    "#;

    pub(in crate::guard::flow) fn policy() -> Policy {
        Policy::parse("p", POLICY).expect("a policy")
    }

    fn ceiling(path: &str) -> u8 {
        ceiling_of(&policy(), &Destination::Path { path: path.into(), mount: None })
    }

    #[test]
    fn a_ceiling_is_the_rank_that_it_admits_and_a_reason_cannot_be_given_to_the_kernel() {
        assert_eq!(ceiling("/srv/web/a.jpg"), 1);
        assert_eq!(ceiling("/srv/courier/a.tif"), 0);
        assert_eq!(ceiling("/media/disk/a.tif"), 0);
        assert_eq!(rank(policy().master_tier()), 2);
    }

    #[test]
    fn vaults_are_counted_from_one() {
        assert_eq!((vault_of(&policy(), "open"), vault_of(&policy(), "vault")), (0, 1));
    }

    #[test]
    fn a_master_of_a_vault_is_labelled_with_it_and_a_copy_is_not() {
        let (policy, file) = (policy(), FileId { device: libc::makedev(8, 1), inode: 7 });
        let master = Known::master(Path::new("/srv/vault/scan-1.tif"), policy.master_tier());
        let label = label_of(&policy, file, &master);
        assert_eq!((label.rank, label.vault, label.flags), (2, 1, 0));
        assert_eq!((label.master.space, label.master.id), (8 << 20 | 1, 7));
        let copy = label_of(&policy, file, &master.inherited(Path::new("/home/staff/copy.tif")));
        assert_eq!((copy.rank, copy.vault, u32::from(copy.flags)), (2, 0, record::LABEL_INHERITED));
    }
}

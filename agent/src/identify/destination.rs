//! Where bytes can go: which paths are destinations on this machine now.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vitrine_policy::Policy;
use vitrine_policy::facts::{Ceiling, Destination};

use super::mount::{self, Mounted};

/// The destinations of this machine, as its mounts and the policy stand. A snapshot: mounts that come or
/// go make a new one.
pub(crate) struct Destinations {
    policy: Arc<Policy>,
    mounts: Vec<Mounted>,
}

impl Destinations {
    /// Reads the mounts.
    pub(crate) fn read(policy: Arc<Policy>) -> io::Result<Destinations> {
        let mut mounts = mount::read()?;
        // The deepest mount of a path decides; of two on one point, the later one.
        mounts.reverse();
        mounts.sort_by_key(|mounted| std::cmp::Reverse(mounted.mount.point.components().count()));
        // A file system that holds a collection is the workstation's own, on whatever disk it lies.
        let own: Vec<u64> = policy
            .collections
            .iter()
            .flat_map(|collection| collection.roots())
            .filter_map(|root| mounts.iter().find(|mounted| root.fixed().starts_with(&mounted.mount.point)))
            .map(|mounted| mounted.device)
            .collect();
        for mounted in &mut mounts {
            mounted.external &= !own.contains(&mounted.device);
        }
        Ok(Destinations { policy, mounts })
    }

    /// The mount that a file lies on. The device, where it is known, tells mounts apart that a bind mount or
    /// another mount namespace shows under the same path.
    fn mount_of(&self, path: &Path, device: Option<u64>) -> Option<&Mounted> {
        let mut of_device = self.mounts.iter().filter(|mounted| Some(mounted.device) == device);
        let holds = |mounted: &&Mounted| path.starts_with(&mounted.mount.point);
        of_device.clone().find(holds).or_else(|| of_device.next()).or_else(|| self.mounts.iter().find(holds))
    }

    /// The destination that a path lies in; none where it stays on the workstation: neither named by the
    /// policy nor on a mount whose bytes may leave.
    pub(crate) fn of(&self, path: &Path, device: Option<u64>) -> Option<Destination> {
        let mounted = self.mount_of(path, device);
        let destination =
            Destination::Path { path: path.to_owned(), mount: mounted.map(|mounted| mounted.mount.clone()) };
        let external = mounted.is_some_and(|mounted| mounted.external && !mounted.read_only);
        (external || self.policy.destination_of(&destination).is_some()).then_some(destination)
    }

    /// Whether a server or a daemon stands behind a path: one that is away lets wait who asks for it.
    pub(crate) fn is_behind_a_server(&self, path: &Path) -> bool {
        self.mount_of(path, None).is_some_and(|mounted| mounted.mount.share.is_some())
    }

    /// Existing directories that the policy names as destinations.
    pub(crate) fn named_directories(&self) -> impl Iterator<Item = PathBuf> {
        self.policy.destination_paths().flat_map(crate::collection::existing)
    }

    /// The names on the way to the directories that the policy names, whether they exist or not.
    pub(crate) fn names(&self) -> impl Iterator<Item = (PathBuf, String)> {
        self.policy.destination_paths().flat_map(crate::collection::names)
    }

    /// The ceiling of the destination that a path lies in.
    pub(crate) fn ceiling_of(&self, path: &Path) -> Option<(Destination, Ceiling)> {
        let destination = self.of(path, None)?;
        let ceiling = self.policy.ceiling_of(&destination);
        Some((destination, ceiling))
    }

    /// One directory on each file system that has to be guarded, with whether all of that file system is a
    /// destination: those of the collections, of the named paths, and those whose bytes may leave.
    pub(crate) fn guarded(&self) -> Vec<Guarded> {
        let policy = &self.policy;
        let collections = policy.collections.iter().flat_map(|collection| collection.roots());
        let named = collections.chain(policy.destination_paths()).map(|pattern| pattern.fixed().to_owned());
        let mut guarded: Vec<Guarded> = Vec::new();
        let external = self.mounts.iter().filter(|mounted| !mounted.read_only).filter(|mounted| {
            let root = Destination::Path { path: mounted.mount.point.clone(), mount: Some(mounted.mount.clone()) };
            mounted.external || self.policy.destination_of(&root).is_some()
        });
        for mounted in external {
            if guarded.iter().all(|known| known.device != mounted.device) {
                guarded.push(Guarded::of(mounted, true));
            }
        }
        for path in named {
            let Some(mounted) = self.mount_of(&path, None) else { continue };
            if guarded.iter().all(|known| known.device != mounted.device) {
                guarded.push(Guarded::of(mounted, false));
            }
        }
        guarded
    }

    /// Every mount, with its ceiling where it is a destination: named by the policy, or one whose bytes may leave.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = (&Mounted, Option<Destination>)> {
        self.mounts.iter().map(|mounted| (mounted, self.of(&mounted.mount.point, Some(mounted.device))))
    }

    /// Where a path below the root of a file system is seen on this machine; none where it is not mounted whole.
    pub(crate) fn path_on(&self, device: u64, path: &Path) -> Option<PathBuf> {
        let of_device = self.mounts.iter().filter(|mounted| mounted.device == device);
        let seen = |mounted: &Mounted| Some(mounted.mount.point.join(path.strip_prefix(&mounted.root).ok()?));
        of_device.filter_map(seen).next()
    }

    /// Existing directories that are destinations, for a guard that can only look at directories.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let named = self.named_directories();
        let external = self.mounts.iter().filter(|mounted| mounted.external && !mounted.read_only);
        let mut found: Vec<PathBuf> = named.chain(external.map(|mounted| mounted.mount.point.clone())).collect();
        found.sort();
        found.dedup();
        found
    }
}

/// A file system to guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guarded {
    /// A directory on it.
    pub(crate) path: PathBuf,
    pub(crate) device: u64,
    /// Whether all of it is a destination.
    pub(crate) whole: bool,
    /// Whether a server or a daemon stands behind it.
    pub(crate) remote: bool,
}

impl Guarded {
    fn of(mounted: &Mounted, whole: bool) -> Guarded {
        let Mounted { mount, device, .. } = mounted;
        Guarded { path: mount.point.clone(), device: *device, whole, remote: mount.share.is_some() }
    }
}

//! What is known of files: which are masters, which are made from one.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use vitrine_fingerprint::Index;
use vitrine_policy::Policy;
use vitrine_policy::facts::{Label, Measure, Origin, Tier};
use vitrine_policy::record::{Recognised, printable};

use super::{FileId, mount};
use crate::sys::stat::Stat;

/// Files beside the masters whose labels are remembered; above it the inherited ones of long ago go first.
const MAX_FILES: usize = 200_000;

/// What is known of one file or, as taint, of one process.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    pub(crate) tier: Tier,
    pub(crate) origin: Origin,
    /// Paths of the masters, the latest first.
    pub(crate) masters: Vec<Arc<Path>>,
    /// The file itself (of a process: the one read last).
    pub(crate) file: Arc<Path>,
    /// What was measured, where it was.
    pub(crate) measured: Option<Arc<Measured>>,
}

/// What the reading of a file brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) measure: Option<Measure>,
    pub(crate) digest: String,
    pub(crate) bytes: u64,
    /// BLAKE3 of its thumbnail in the spool.
    pub(crate) thumbnail: Option<String>,
    pub(crate) recognised: Option<Recognised>,
}

impl Known {
    /// A master.
    pub(crate) fn master(path: &Path, tier: Tier) -> Known {
        let path: Arc<Path> = path.into();
        Known { tier, origin: Origin::Measured, masters: vec![path.clone()], file: path, measured: None }
    }

    /// Taken over by something that `self` was written into.
    pub(crate) fn inherited(&self, file: &Path) -> Known {
        Known { origin: Origin::Inherited, file: file.into(), measured: None, ..self.clone() }
    }

    /// What a process carries that has read `self` after `earlier`: the higher tier, the masters of both,
    /// at most [`Label::MASTERS`], the latest first.
    pub(crate) fn after(&self, earlier: &Known) -> Known {
        let mut joined = self.clone();
        if earlier.tier > self.tier {
            joined.tier = earlier.tier;
            joined.file = earlier.file.clone();
            joined.measured.clone_from(&earlier.measured);
        }
        if earlier.origin == Origin::Inherited {
            joined.origin = Origin::Inherited;
        }
        for master in &earlier.masters {
            if joined.masters.len() < Label::MASTERS && !joined.masters.contains(master) {
                joined.masters.push(master.clone());
            }
        }
        joined
    }

    /// The same in the words of the policy.
    pub(crate) fn label(&self) -> Label {
        let masters = self.masters.iter().map(|path| printable(path.as_os_str().as_bytes())).collect();
        Label { tier: self.tier, origin: self.origin, masters }
    }
}

/// The labels of files. Masters are the index's; this adds what was made from them.
pub(crate) struct Labels {
    index: Arc<Index>,
    files: RwLock<HashMap<Lifetime, Arc<Known>>>,
    /// Where each master lies, so that a hard link elsewhere is judged and named like it.
    masters: RwLock<HashMap<FileId, Registered>>,
    /// Sizes of masters, so that a file of another size need not be read to know that it is none.
    sizes: RwLock<HashSet<u64>>,
    /// Where labelled files lie that have got another name since.
    moved: RwLock<HashMap<Lifetime, Arc<Path>>>,
    /// Those of an earlier run whose files lie behind a server that has not said yet whether they are there.
    unseen: Mutex<Vec<Kept>>,
    version: AtomicU64,
    /// Who wants to know of every file that gets a label.
    follower: OnceLock<Sender<Labelled>>,
}

/// A file that has got a label, and where it lies.
pub(crate) type Labelled = (FileId, Arc<Path>);

/// A label as it is kept between two runs of the agent. Ranks of tiers are not: the policy may be another.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    lifetime: (u64, u64, Option<i64>),
    tier: String,
    origin: Origin,
    masters: Vec<OsString>,
    file: OsString,
    measured: Option<Measured>,
}

impl Kept {
    fn new((file, born): Lifetime, known: &Known, policy: &Policy) -> Kept {
        Kept {
            lifetime: (file.device, file.inode, born),
            tier: policy.tier_name(known.tier).to_owned(),
            origin: known.origin,
            masters: known.masters.iter().map(|path| path.as_os_str().to_owned()).collect(),
            file: known.file.as_os_str().to_owned(),
            measured: known.measured.as_deref().cloned(),
        }
    }

    fn known(&self, policy: &Policy) -> Known {
        Known {
            tier: policy.tier_named(&self.tier).unwrap_or_else(|| policy.master_tier()),
            origin: self.origin,
            masters: self.masters.iter().map(|path| Path::new(path).into()).collect(),
            file: Path::new(&self.file).into(),
            measured: self.measured.clone().map(Arc::new),
        }
    }
}

/// Where a master lies.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) path: Arc<Path>,
    pub(crate) collection: Arc<str>,
}

/// A file from its creation to its end: an inode number is used again.
type Lifetime = (FileId, Option<i64>);

fn lifetime(stat: &Stat) -> Lifetime {
    (stat.file, stat.born)
}

impl Labels {
    /// Labels over an index of masters.
    pub(crate) fn new(index: Arc<Index>) -> Labels {
        Labels {
            index,
            files: RwLock::default(),
            masters: RwLock::default(),
            sizes: RwLock::default(),
            moved: RwLock::default(),
            unseen: Mutex::default(),
            version: AtomicU64::new(0),
            follower: OnceLock::new(),
        }
    }

    /// Tells of every file that gets a label from now on, once.
    pub(crate) fn follow(&self) -> Receiver<Labelled> {
        let (sender, receiver) = channel();
        // Where somebody follows already, the second one hears nothing.
        let _ = self.follower.set(sender);
        receiver
    }

    /// All labelled files beside those that are masters by their path alone.
    pub(crate) fn all(&self) -> Vec<Labelled> {
        let masters = self.masters.read().unwrap_or_else(PoisonError::into_inner);
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        let moved = self.moved.read().unwrap_or_else(PoisonError::into_inner);
        let masters = masters.iter().map(|(file, master)| (*file, master.path.clone()));
        let files = files.iter().map(|(file, known)| (file.0, moved.get(file).unwrap_or(&known.file).clone()));
        masters.chain(files).collect()
    }

    fn tell(&self, file: FileId, path: &Arc<Path>) {
        if let Some(follower) = self.follower.get() {
            // The receiver is gone only when the agent stops.
            let _ = follower.send((file, path.clone()));
        }
    }

    /// A file has another name. If it has a label, that is told again.
    pub(crate) fn moved(&self, stat: &Stat, path: &Path) {
        let (path, file) = (Arc::from(path), lifetime(stat));
        let is_known = self.files.read().unwrap_or_else(PoisonError::into_inner).contains_key(&file);
        if is_known {
            self.version.fetch_add(1, Ordering::Relaxed);
            self.moved.write().unwrap_or_else(PoisonError::into_inner).insert(file, Arc::clone(&path));
        }
        if is_known || self.is_master(stat) {
            self.tell(stat.file, &path);
        }
    }

    /// What is known of a file. A file in a collection that is not yet read is a master by its path.
    pub(crate) fn of(&self, policy: &Policy, stat: &Stat, path: &Path) -> Option<Arc<Known>> {
        if let Some(known) = self.files.read().unwrap_or_else(PoisonError::into_inner).get(&lifetime(stat)) {
            return Some(known.clone());
        }
        if let Some(master) = self.registration(stat) {
            return Some(Arc::new(Known::master(&master.path, policy.master_tier())));
        }
        let master = self.is_master(stat) || policy.collection_of(path).is_some();
        master.then(|| Arc::new(Known::master(path, policy.master_tier())))
    }

    /// Whether a file, whatever its name here, is one of the masters.
    pub(crate) fn is_master(&self, stat: &Stat) -> bool {
        self.index.at_inode(stat.file.device, stat.file.inode).is_some()
    }

    /// A master was registered.
    pub(crate) fn registered(&self, file: FileId, size: u64, path: &Path, collection: &str) {
        self.sizes.write().unwrap_or_else(PoisonError::into_inner).insert(size);
        let mut masters = self.masters.write().unwrap_or_else(PoisonError::into_inner);
        // Names of collections are few and masters many.
        let name = masters.values().next().map(|master| master.collection.clone()).filter(|name| **name == *collection);
        let collection = name.unwrap_or_else(|| collection.into());
        let path: Arc<Path> = path.into();
        masters.insert(file, Registered { path: path.clone(), collection });
        drop(masters);
        self.tell(file, &path);
    }

    /// Whether a master of this size was ever registered.
    pub(crate) fn has_size(&self, size: u64) -> bool {
        self.sizes.read().unwrap_or_else(PoisonError::into_inner).contains(&size)
    }

    /// Where the master or labelled file lies that has this number.
    pub(crate) fn path_at(&self, file: FileId) -> Option<Arc<Path>> {
        let masters = self.masters.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(master) = masters.get(&file) {
            return Some(master.path.clone());
        }
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        let found = files.iter().find(|((known, _), _)| *known == file);
        found.map(|(_, known)| known.masters.first().unwrap_or(&known.file).clone())
    }

    /// Where a master lies, whatever its name here.
    pub(crate) fn registration(&self, stat: &Stat) -> Option<Registered> {
        let masters = self.masters.read().unwrap_or_else(PoisonError::into_inner);
        masters.get(&stat.file).filter(|_| self.is_master(stat)).cloned()
    }

    /// Sets the label of a file that is not a master. The follower hears nothing of it.
    pub(crate) fn set(&self, stat: &Stat, known: Arc<Known>) {
        self.version.fetch_add(1, Ordering::Relaxed);
        let file = lifetime(stat);
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        if files.len() >= MAX_FILES && !files.contains_key(&file) {
            files.retain(|_, known| known.origin == Origin::Measured);
            self.moved.write().unwrap_or_else(PoisonError::into_inner).retain(|file, _| files.contains_key(file));
        }
        files.insert(file, known);
    }

    /// Sets or takes away the label of a file that was measured, if it is still the one that the measuring
    /// began with: who wrote more meanwhile has set another.
    pub(crate) fn replace(&self, stat: &Stat, before: Option<&Arc<Known>>, after: Option<Arc<Known>>) -> bool {
        self.version.fetch_add(1, Ordering::Relaxed);
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        let is_same = match (files.get(&lifetime(stat)), before) {
            (None, _) => true,
            (Some(now), Some(before)) => Arc::ptr_eq(now, before),
            (Some(_), None) => false,
        };
        match after {
            Some(after) if is_same => {
                self.tell(stat.file, &after.file);
                files.insert(lifetime(stat), after);
            }
            None if is_same => {
                if let Some(known) = files.remove(&lifetime(stat)) {
                    self.tell(stat.file, &known.file);
                }
                self.moved.write().unwrap_or_else(PoisonError::into_inner).remove(&lifetime(stat));
            }
            _ => {}
        }
        is_same
    }

    /// A file is gone.
    pub(crate) fn clear(&self, stat: &Stat) {
        self.version.fetch_add(1, Ordering::Relaxed);
        self.files.write().unwrap_or_else(PoisonError::into_inner).remove(&lifetime(stat));
        self.moved.write().unwrap_or_else(PoisonError::into_inner).remove(&lifetime(stat));
    }

    /// How many labelled files there are beside the masters.
    pub(crate) fn len(&self) -> usize {
        self.files.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// A number that changes with every label that is set or taken away.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// Writes the labels where the next agent finds them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn save(&self, policy: &Policy, path: &Path) -> io::Result<()> {
        let mut kept: Vec<Kept> = {
            let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
            let moved = self.moved.read().unwrap_or_else(PoisonError::into_inner);
            let kept = |(file, known): (&Lifetime, &Arc<Known>)| {
                let mut kept = Kept::new(*file, known, policy);
                if let Some(path) = moved.get(file) {
                    kept.file = path.as_os_str().to_owned();
                }
                kept
            };
            files.iter().map(kept).collect()
        };
        kept.extend_from_slice(&self.unseen.lock().unwrap_or_else(PoisonError::into_inner));
        let new = path.with_extension("new");
        std::fs::write(&new, serde_json::to_vec(&kept)?)?;
        std::fs::rename(new, path)
    }

    /// Reads what [`Labels::save`] wrote, of files that are still there. Those behind a server are left for
    /// [`Labels::look_behind`].
    ///
    /// # Errors
    /// There is no such file, or it is damaged.
    pub(crate) fn load(&self, policy: &Policy, path: &Path) -> io::Result<()> {
        let mut kept: Vec<Kept> = serde_json::from_slice(&std::fs::read(path)?)?;
        kept.truncate(MAX_FILES);
        let servers = mount::servers();
        let is_there = |kept: &mut Kept| servers.iter().any(|point| Path::new(&kept.file).starts_with(point));
        let behind: Vec<Kept> = kept.extract_if(.., is_there).collect();
        kept.iter().for_each(|kept| drop(self.find(policy, kept)));
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner).extend(behind);
        Ok(())
    }

    /// Looks for files behind the server of one mount that had a label. One that is away lets wait who asks it.
    pub(crate) fn look_behind(&self, server: &Path, policy: &Policy) {
        let is_behind = |kept: &Kept| Path::new(&kept.file).starts_with(server);
        let unseen = || self.unseen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = unseen().iter().find(|kept| is_behind(kept)).cloned();
        while let Some(kept) = next {
            // A server that is in trouble has lost no file.
            if self.find(policy, &kept).is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
                return;
            }
            let mut unseen = unseen();
            unseen.retain(|one| one.file != kept.file);
            next = unseen.iter().find(|kept| is_behind(kept)).cloned();
            self.version.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives a file its label of an earlier run, if it is still there.
    fn find(&self, policy: &Policy, kept: &Kept) -> io::Result<()> {
        let stat = Stat::named(Path::new(&kept.file))?;
        if (stat.file.device, stat.file.inode, stat.born) == kept.lifetime {
            let known = Arc::new(kept.known(policy));
            self.files.write().unwrap_or_else(PoisonError::into_inner).entry(lifetime(&stat)).or_insert(known.clone());
            self.tell(stat.file, &known.file);
        }
        Ok(())
    }

    /// Takes the labels over into another policy: tiers keep their names; a name that is gone becomes the
    /// highest tier.
    pub(crate) fn translate(&self, from: &Policy, to: &Policy) {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        for known in files.values_mut() {
            let measured = known.measured.as_ref().and_then(|measured| measured.measure);
            let tier = to.tier_again(from.tier_name(known.tier), measured.as_ref());
            *known = Arc::new(Known { tier, ..known.as_ref().clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(path: &str, tier: u8) -> Known {
        Known::master(Path::new(path), Tier(tier))
    }

    #[test]
    fn a_process_that_read_two_files_carries_the_higher_tier_and_both_masters() {
        let public = known("/m/a.tif", 0).inherited(Path::new("/w/a.jpg"));
        let master = known("/m/b.tif", 2);
        let joined = public.after(&master);
        assert_eq!(joined.tier, Tier(2));
        assert_eq!(&*joined.file, Path::new("/m/b.tif"));
        assert_eq!(joined.masters.len(), 2);
        assert_eq!(&*joined.masters[0], Path::new("/m/a.tif"));
    }

    #[test]
    fn the_number_of_masters_is_bounded() {
        let many = (0..50).map(|n| known(&format!("/m/{n}.tif"), 2)).reduce(|earlier, later| later.after(&earlier));
        assert_eq!(many.expect("some").masters.len(), Label::MASTERS);
    }
}

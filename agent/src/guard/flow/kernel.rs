//! The kernel's side: loaded, adopted from an earlier agent, pinned, taken away.
//!
//! Maps and links are pinned in the BPF file system. So the programs go on when the agent dies; the next one
//! takes over the maps, attaches its own programs while the old ones still answer, and only then lets those
//! go.
#![allow(unsafe_code)]

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libbpf_rs::btf::Btf;
use libbpf_rs::btf::types::Func;
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{
    Iter, Link, MapCore, MapFlags, MapHandle, OpenMapMut, OpenObject, PrintLevel, Program, RingBuffer,
    RingBufferBuilder,
};

use super::pins::{self, Claim, Pinned};
use super::record::{OWN_MAP, OWN_PROGRAM, counter, ended, group, label};
use super::shield;

#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks,
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    dead_code
)]
mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/flow.skel.rs"));
}

/// The map of labels, and how many it has room for at least.
const LABELS: &str = "labels";
pub(super) const COUNTERS: &str = "counters";
/// The map of what nobody else gets hold of.
const OWN: &str = "own";
const LEAST_ROOM: u64 = 1 << 18;
/// Programs that are run once and not attached: what was there before the guard.
const ITERATORS: [&str; 3] = ["find_programs", "find_open", "find_mapped"];

/// The maps, and what can be run again.
pub(super) struct Kernel {
    /// The maps by name.
    maps: Vec<(String, MapHandle)>,
    /// The iterators, in the order of [`ITERATORS`].
    iterators: Vec<Link>,
    /// The numbers of the maps and programs, as the map [`OWN`] has them.
    own: Vec<u64>,
}

/// The programs, loaded and not yet attached.
pub(super) struct Loaded(skeleton::FlowSkel<'static>);

/// A plain value as the maps hold it.
///
/// # Safety
/// The type has no padding, so that each of its bytes is initialised.
pub(super) unsafe trait Plain: Copy {
    /// Its bytes.
    fn bytes(&self) -> &[u8] {
        // SAFETY: the implementer promises that all bytes are initialised.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }

    /// The value that `bytes` hold; none where there are too few.
    fn read(bytes: &[u8]) -> Option<Self> {
        // SAFETY: the implementers are plain numbers and arrays of such: every pattern of bits is one.
        (bytes.len() >= size_of::<Self>()).then(|| unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

// SAFETY: a number.
unsafe impl Plain for u32 {}
// SAFETY: a number.
unsafe impl Plain for u64 {}
// SAFETY: a number.
unsafe impl Plain for u8 {}

fn failed(what: &str, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{what}: {error}"))
}

impl Kernel {
    /// Loads the programs, with room for so many masters and as many again, and takes over what an earlier agent
    /// left. Nothing is attached yet.
    ///
    /// # Errors
    /// The kernel takes no LSM programs (`CONFIG_BPF_LSM`, BTF), or this process has no right to load any.
    pub(super) fn load(masters: u64, claim: &Claim) -> io::Result<(Kernel, Loaded)> {
        pins::prepare()?;
        match Kernel::open_and_load(true, masters) {
            Err(first) if pins::are_there() => {
                // Another version's maps have another shape: what they know cannot be taken over. Its programs hold them,
                // and go on refusing until ours do.
                tracing::warn!("what an earlier agent left cannot be taken over: {first}");
                // What keeps root from the agent is no matter of shape, and is not lost to whoever spoils a start.
                let shield = shield::in_force()?;
                pins::clear_maps(claim)?;
                pins::prepare()?;
                let (kernel, loaded) = Kernel::open_and_load(true, masters)?;
                kernel.go_on_with(&shield)?;
                Ok((kernel, loaded))
            }
            result => result,
        }
    }

    /// Loads the programs, and keeps nothing of them.
    ///
    /// # Errors
    /// As of [`Kernel::load`].
    pub(super) fn probe() -> io::Result<()> {
        Kernel::open_and_load(false, 0).map(drop)
    }

    fn open_and_load(pins: bool, masters: u64) -> io::Result<(Kernel, Loaded)> {
        // Its messages would go to standard error; what matters comes back as an error.
        libbpf_rs::set_print(Some((PrintLevel::Info, |_, text| tracing::debug!("libbpf: {}", text.trim_end()))));
        // It has to outlive the skeleton, and what borrows that.
        let storage: &'static mut MaybeUninit<OpenObject> = Box::leak(Box::new(MaybeUninit::uninit()));
        let mut outgrown = None;
        let mut open = skeleton::FlowSkelBuilder::default()
            .open(storage)
            .map_err(|error| failed("the BPF object cannot be opened", error))?;
        // The compiler's own constants (`.rodata…`) are no state, and the file system takes no such names.
        let is_state = |map: &OpenMapMut<'_>| pins && !map.name().as_bytes().contains(&b'.');
        for mut map in open.open_object_mut().maps_mut().filter(is_state) {
            let path = pins::map(Path::new(map.name()));
            if map.name() == LABELS {
                let earlier = MapHandle::from_pinned_path(&path).ok().map(|earlier| earlier.max_entries());
                let size = room_for(masters, earlier);
                if earlier.is_some_and(|earlier| earlier != size) {
                    outgrown = Some(MapHandle::from_pinned_path(&path).map_err(|error| failed("the labels", error))?);
                    pins::unpin(&path)?;
                }
                map.set_max_entries(size).map_err(|error| failed("a map cannot be made larger", error))?;
            }
            map.set_pin_path(&path).map_err(|error| failed("a map cannot be given its place", error))?;
        }
        leave_out_what_is_not_there(&mut open)?;
        let skeleton = open.load().map_err(|error| failed("the kernel does not load the programs", error))?;
        let maps = skeleton
            .object()
            .maps()
            .map(|map| Ok((map.name().to_string_lossy().into_owned(), MapHandle::try_from(&map)?)))
            .collect::<libbpf_rs::Result<Vec<_>>>()
            .map_err(|error| failed("a map cannot be held", error))?;
        let own = numbers(&skeleton, &maps).map_err(|error| failed("maps and programs have no numbers", error))?;
        let kernel = Kernel { maps, iterators: Vec::new(), own };
        if let Some(outgrown) = outgrown {
            kernel.take_over(&outgrown)?;
        }
        let mut iterators = Vec::new();
        for name in ITERATORS {
            let program = skeleton.object().progs_mut().find(|program| program.name() == name);
            let program = program.ok_or_else(|| failed("a program is missing", name))?;
            iterators.push(program.attach().map_err(|error| failed("the processes cannot be looked through", error))?);
        }
        Ok((Kernel { iterators, ..kernel }, Loaded(skeleton)))
    }

    /// Labels of what tainted processes wrote, from a map that has become too small: nobody else knows them.
    fn take_over(&self, outgrown: &MapHandle) -> io::Result<()> {
        for key in outgrown.keys() {
            let known = outgrown.lookup(&key, MapFlags::ANY).ok().flatten();
            if let Some(known) = known.and_then(|bytes| label::read(&bytes)).filter(|known| known.flags != 0) {
                let set = self.map(LABELS)?.update(&key, known.bytes(), MapFlags::ANY);
                set.map_err(|error| failed("the labels cannot be taken over", error))?;
            }
        }
        Ok(())
    }

    /// Puts into our maps what an earlier agent's knew, each by its name.
    fn go_on_with(&self, earlier: &[(&str, MapHandle)]) -> io::Result<()> {
        for (name, map) in earlier {
            for key in map.keys() {
                if let Some(value) = map.lookup(&key, MapFlags::ANY).map_err(io::Error::other)? {
                    let set = self.map(name)?.update(&key, &value, MapFlags::ANY);
                    set.map_err(|error| failed("the shield of an earlier agent cannot be taken over", error))?;
                }
            }
        }
        Ok(())
    }

    /// Looks at what was there before the guard: which programs run, and who has labelled files open or mapped.
    ///
    /// # Errors
    /// The kernel cannot go through its processes.
    pub(super) fn look_at_the_living(&self) -> io::Result<()> {
        self.iterators.iter().try_for_each(iterate)
    }

    /// Looks which programs run: the policy may name others now.
    ///
    /// # Errors
    /// The kernel cannot go through its processes.
    pub(super) fn look_at_programs(&self) -> io::Result<()> {
        self.iterators.first().map_or(Ok(()), iterate)
    }

    /// Forgets what was shared by processes that have all ended, and the labels of what has come to an end: what the
    /// living carry of it is brought up to date before.
    ///
    /// # Errors
    /// The kernel cannot go through its processes.
    pub(super) fn forget_the_dead(&self) -> io::Result<()> {
        let round = self.counter(counter::COUNTER_ROUND) + 1;
        self.set_counter(counter::COUNTER_ROUND, round)?;
        // What begins or ends meanwhile is of this round already.
        self.look_at_programs()?;
        self.drop_before(round, "groups", |bytes| group::read(bytes).map(|group| group.round))?;
        self.drop_before(round, "past", |bytes| ended::read(bytes).map(|ended| ended.round))
    }

    /// Drops the entries of a map whose round is over: nobody is left to miss them.
    fn drop_before(&self, round: u64, map: &str, round_of: impl Fn(&[u8]) -> Option<u64>) -> io::Result<()> {
        let map = self.map(map)?;
        let old: Vec<Vec<u8>> = map
            .keys()
            .filter(|key| {
                let value = map.lookup(key, MapFlags::ANY).ok().flatten();
                value.and_then(|bytes| round_of(&bytes)).is_some_and(|last| last < round)
            })
            .collect();
        for key in old {
            let _ = map.delete(&key); // it went by itself
        }
        Ok(())
    }

    fn map(&self, name: &str) -> io::Result<&MapHandle> {
        let found = self.maps.iter().find(|(known, _)| known == name);
        found.map(|(_, map)| map).ok_or_else(|| failed("there is no such map", name))
    }

    /// Sets one entry of a map.
    pub(super) fn set(&self, map: &str, key: &impl Plain, value: &impl Plain) -> io::Result<()> {
        let set = self.map(map)?.update(key.bytes(), value.bytes(), MapFlags::ANY);
        set.map_err(|error| failed(map, error))
    }

    /// Sets one entry of a map where it is another. Whether it was.
    pub(super) fn set_other(&self, name: &str, key: &[u8], value: &[u8]) -> io::Result<bool> {
        let map = self.map(name)?;
        let known = map.lookup(key, MapFlags::ANY).map_err(|error| failed(name, error))?;
        if known.as_deref() == Some(value) {
            return Ok(false);
        }
        map.update(key, value, MapFlags::ANY).map(|()| true).map_err(|error| failed(name, error))
    }

    /// Reads one entry of a map.
    pub(super) fn get<V: Plain>(&self, map: &str, key: &impl Plain) -> io::Result<Option<V>> {
        let found = self.map(map)?.lookup(key.bytes(), MapFlags::ANY).map_err(|error| failed(map, error))?;
        Ok(found.and_then(|bytes| V::read(&bytes)))
    }

    /// Takes one entry away; it need not be there.
    pub(super) fn remove(&self, map: &str, key: &impl Plain) -> io::Result<()> {
        match self.map(map)?.delete(key.bytes()) {
            Err(error) if error.kind() != libbpf_rs::ErrorKind::NotFound => Err(failed(map, error)),
            _ => Ok(()),
        }
    }

    /// Makes the entries of a map those of `wanted`. Whether anything was another.
    pub(super) fn replace(&self, name: &str, wanted: &[(Vec<u8>, Vec<u8>)]) -> io::Result<bool> {
        let map = self.map(name)?;
        let mut changed = false;
        let gone: Vec<Vec<u8>> = map.keys().filter(|key| wanted.iter().all(|(known, _)| known != key)).collect();
        for (key, value) in wanted {
            changed |= self.set_other(name, key, value)?;
        }
        for key in gone {
            let _ = map.delete(&key); // a file that was deleted meanwhile took it along
            changed = true;
        }
        Ok(changed)
    }

    /// All entries of a map.
    pub(super) fn entries<K: Plain, V: Plain>(&self, name: &str) -> io::Result<Vec<(K, V)>> {
        let map = self.map(name)?;
        let entry = |key: Vec<u8>| Some((K::read(&key)?, V::read(&map.lookup(&key, MapFlags::ANY).ok()??)?));
        Ok(map.keys().filter_map(entry).collect())
    }

    /// Has nobody else get hold of the maps and programs, nor of those `besides` that an earlier agent's programs use.
    ///
    /// # Errors
    /// The map is gone.
    pub(super) fn keep_hold(&self, besides: bool) -> io::Result<()> {
        let wanted: Vec<_> = self.own.iter().map(|number| (number.bytes().to_vec(), 1_u8.bytes().to_vec())).collect();
        if besides {
            return wanted.iter().try_for_each(|(key, value)| self.set_other(OWN, key, value).map(drop));
        }
        self.replace(OWN, &wanted).map(drop)
    }

    /// The maps that have a name.
    fn pinned(&self) -> io::Result<Vec<(PathBuf, MapHandle)>> {
        let named = self.maps.iter().map(|(name, map)| (pins::map(Path::new(name)), map));
        let named = named.filter(|(path, _)| path.symlink_metadata().is_ok());
        named
            .map(|(path, map)| Ok((path, MapHandle::try_from(map)?)))
            .collect::<libbpf_rs::Result<_>>()
            .map_err(io::Error::other)
    }

    /// Whether the kernel asks the programs.
    pub(super) fn is_asked(&self) -> bool {
        self.map(COUNTERS).is_ok_and(is_asked)
    }

    /// What the kernel's side has counted.
    pub(super) fn counter(&self, number: counter::Type) -> u64 {
        self.get(COUNTERS, &number).ok().flatten().unwrap_or_default()
    }

    /// Sets a counter that the kernel's side only reads.
    pub(super) fn set_counter(&self, number: counter::Type, value: u64) -> io::Result<()> {
        self.set(COUNTERS, &number, &value)
    }

    /// Hands every event to `take`, as long as `poll` is called.
    pub(super) fn events<'a>(&self, mut take: impl FnMut(&[u8]) + 'a) -> io::Result<RingBuffer<'a>> {
        let mut builder = RingBufferBuilder::new();
        let take = move |bytes: &[u8]| {
            take(bytes);
            0
        };
        builder.add(self.map("events")?, take).map_err(|error| failed("the events cannot be read", error))?;
        builder.build().map_err(|error| failed("the events cannot be read", error))
    }
}

impl Loaded {
    /// Attaches all programs, then lets go of those of an earlier agent.
    ///
    /// # Errors
    /// The kernel does not attach one, or it cannot be pinned: none of these is in force then.
    pub(super) fn attach(self, kernel: &Kernel) -> io::Result<Pinned> {
        let mut links: Vec<(PathBuf, Link)> = Vec::new();
        for program in self.0.object().progs_mut() {
            let name = program.name().to_owned();
            if ITERATORS.iter().any(|iterator| name == OsStr::new(iterator)) || !program.autoload() {
                continue;
            }
            let what = format!("the program {} cannot be attached", name.display());
            let link = program.attach().map_err(|error| failed(&what, error))?;
            links.push((pins::link(Path::new(&name)), link));
        }
        for (path, link) in &links {
            // The old link ends with its name; the new program answers already.
            pins::unpin(path)?;
            pins::pin(link, path)?;
        }
        pins::unpin_others(&links)?;
        Ok(Pinned { links, maps: kernel.pinned()? })
    }
}

/// What [`OWN`] has of each.
fn numbers(skeleton: &skeleton::FlowSkel<'_>, maps: &[(String, MapHandle)]) -> libbpf_rs::Result<Vec<u64>> {
    let of = |kind: u32, number: u32| u64::from(kind) << 32 | u64::from(number);
    let maps = maps.iter().map(|(_, map)| Ok(of(OWN_MAP, map.info()?.info.id)));
    let programs = skeleton.object().progs().filter(|program| program.autoload());
    maps.chain(programs.map(|program| Ok(of(OWN_PROGRAM, Program::id_from_fd(program.as_fd())?)))).collect()
}

fn iterate(link: &Link) -> io::Result<()> {
    let mut iterator = Iter::new(link).map_err(|error| failed("the processes cannot be looked through", error))?;
    let mut nothing = Vec::new();
    iterator.read_to_end(&mut nothing).map(drop)
}

/// Waits for events and hands them on.
pub(super) fn poll(events: &RingBuffer<'_>, longest: Duration) {
    // Interrupted by a signal: the next call goes on.
    let _ = events.poll(longest);
}

/// Hooks that not every kernel has: from Linux 6.2 on, and with `CONFIG_SECURITY_PATH`.
const OPTIONAL: [&str; 2] = ["inode_set_acl", "path_mknod"];

/// Programs that watch a function which this kernel was built without: nobody can call it.
fn leave_out_what_is_not_there(open: &mut skeleton::OpenFlowSkel<'_>) -> io::Result<()> {
    let kernel = Btf::from_vmlinux().map_err(|error| failed("the kernel does not describe itself (BTF)", error))?;
    let ids = (1..kernel.len()).filter_map(|id| u32::try_from(id).ok());
    let functions = ids.filter_map(|id| kernel.type_by_id::<Func<'_>>(id.into())?.name());
    let there: HashSet<&OsStr> = functions.collect();
    for mut program in open.open_object_mut().progs_mut() {
        let section = program.section().as_bytes();
        let watched = section.strip_prefix(b"fentry/").or_else(|| section.strip_prefix(b"fexit/")).map(<[u8]>::to_vec);
        // Behind each hook stands a function of this name. Without any of the others the guard would not be whole.
        let is_optional = |hook: &&[u8]| OPTIONAL.iter().any(|name| name.as_bytes() == *hook);
        let hooked = || section.strip_prefix(b"lsm/").filter(is_optional).map(|hook| [b"bpf_lsm_", hook].concat());
        if watched.or_else(hooked).is_some_and(|name| !there.contains(OsStr::from_bytes(&name))) {
            tracing::warn!("this kernel has no {}", program.section().display());
            program.set_autoload(false);
        }
    }
    Ok(())
}

/// How many labels the map shall have room for: twice the masters, as a power of two, because the kernel makes as
/// many buckets. What an earlier agent chose stays as long as it is enough.
fn room_for(masters: u64, earlier: Option<u32>) -> u32 {
    let enough = masters.saturating_add(masters / 4);
    if let Some(earlier) = earlier.filter(|earlier| u64::from(*earlier) >= enough.max(LEAST_ROOM)) {
        return earlier;
    }
    u32::try_from(masters.saturating_mul(2).max(LEAST_ROOM).next_power_of_two()).unwrap_or(1 << 31)
}

/// Whether the programs are run: a kernel may load them and have `bpf` not in its list of security modules.
pub(super) fn is_asked(counters: &MapHandle) -> bool {
    let asked = || counters.lookup(counter::COUNTER_ASKED.bytes(), MapFlags::ANY).ok().flatten();
    let before = asked();
    std::thread::spawn(|| {}).join().is_ok() && asked() != before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_of_labels_grows_with_the_collection_and_not_with_every_start() {
        assert_eq!(room_for(0, None), 1 << 18);
        assert_eq!(room_for(100_000, None), 1 << 18);
        assert_eq!(room_for(1_000_000, None), 1 << 21);
        assert_eq!(room_for(200_000, Some(1 << 18)), 1 << 18);
        assert_eq!(room_for(250_000, Some(1 << 18)), 1 << 19);
        assert_eq!(room_for(10, Some(1 << 21)), 1 << 21);
    }
}

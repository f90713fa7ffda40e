//! What must be found without touching the disk: one compact table, in blocks.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::exact::Digest;
use crate::local::{Feature, Postings};
use crate::perceptual::{Fingerprint, Folded, FoldedHashes, Hash, Orientation};

/// Stands for the device of what is no file of its own: a further picture in a master, whose id is its inode.
pub(super) const PAGE: u64 = u64::MAX;

/// What lies in memory of one master, or of a further picture in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// [`Hash::NONE`] for what cannot be recognised by its looks.
    pub(super) hash: Hash,
    /// The first eight bytes of the digest: enough to look further in the store.
    pub(super) digest: u64,
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl Key {
    /// Bytes of a key in a file.
    const BYTES: usize = 56;

    pub(super) fn new(digest: &Digest, hash: Option<Hash>, (device, inode): (u64, u64)) -> Key {
        Key { hash: hash.unwrap_or(Hash::NONE), digest: prefix(digest), device, inode }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        let words = self.hash.0.iter().chain([&self.digest, &self.device, &self.inode]);
        words.for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    }

    fn read(bytes: &[u8; Key::BYTES]) -> Key {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| bytes[8 * at + index]));
        Key { hash: Hash(std::array::from_fn(word)), digest: word(4), device: word(5), inode: word(6) }
    }
}

/// The keys of up to [`Block::KEYS`] masters whose ids follow each other.
#[derive(Clone)]
pub(super) struct Block {
    /// In columns: every question is compared with all hashes and digests.
    hashes: FoldedHashes<{ Block::KEYS }>,
    digests: [u64; Block::KEYS],
    /// Devices and inodes; none where there is no master.
    inodes: [Option<(u64, u64)>; Block::KEYS],
}

impl Block {
    pub(super) const KEYS: usize = 256;

    /// A block of no keys.
    pub(super) const NONE: Block =
        Block { hashes: FoldedHashes::NONE, digests: [0; Block::KEYS], inodes: [None; Block::KEYS] };

    /// The number of the block that a master's key lies in, and its place there.
    pub(super) fn of(id: u32) -> (u32, usize) {
        (id / Block::KEYS as u32, id as usize % Block::KEYS)
    }

    pub(super) fn key(&self, place: usize) -> Option<Key> {
        let (device, inode) = (*self.inodes.get(place)?)?;
        Some(Key { hash: self.hashes.get(place).unfolded(), digest: self.digests[place], device, inode })
    }

    pub(super) fn set(&mut self, place: usize, key: Option<Key>) {
        self.hashes.set(place, key.map_or(Folded::NONE, |key| key.hash.into()));
        self.digests[place] = key.map_or(0, |key| key.digest);
        self.inodes[place] = key.map(|key| (key.device, key.inode));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inodes.iter().all(Option::is_none)
    }

    /// The keys of a block, and their places.
    pub(super) fn keys(&self) -> impl Iterator<Item = (usize, Key)> {
        (0..Block::KEYS).filter_map(|place| self.key(place).map(|key| (place, key)))
    }

    /// One byte for each place that says whether there is a key, then the keys that there are.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.inodes.iter().map(|inode| u8::from(inode.is_some())).collect();
        self.keys().for_each(|(_, key)| key.write(&mut bytes));
        bytes
    }

    /// What [`Block::to_bytes`] has made; none of anything else.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Block> {
        let (there, keys) = bytes.split_first_chunk::<{ Block::KEYS }>()?;
        let (keys, odd) = keys.as_chunks::<{ Key::BYTES }>();
        let places = (0..Block::KEYS).filter(|&place| there[place] == 1);
        if !odd.is_empty() || places.clone().count() != keys.len() || there.iter().any(|there| *there > 1) {
            return None;
        }
        let mut block = Block::NONE;
        places.zip(keys).for_each(|(place, key)| block.set(place, Some(Key::read(key))));
        Some(block)
    }
}

/// A master whose hash is near, in one orientation of the query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: i64,
    pub(super) orientation: Orientation,
    pub(super) distance: u32,
}

/// About 70 bytes a master: ids are given out one after the other, so that their blocks are full, and those from
/// which all masters have gone take no room.
#[derive(Default)]
pub(super) struct Lookup {
    blocks: BTreeMap<u32, Box<Block>>,
    /// All masters, without their further pictures, by their inodes; hard links to one inode lie side by side.
    inodes: HashTable<u32>,
    state: RandomState,
    pub(super) postings: Postings,
}

impl Lookup {
    /// Of the keys of all masters, in blocks by their numbers.
    pub(super) fn new(blocks: BTreeMap<u32, Box<Block>>) -> Lookup {
        let mut lookup = Lookup { blocks, ..Lookup::default() };
        let (blocks, state, inodes) = (&lookup.blocks, &lookup.state, &mut lookup.inodes);
        let count = blocks.values().map(|block| block.inodes.iter().flatten().count()).sum();
        inodes.reserve(count, |id| hash_of(blocks, state, *id));
        for (number, block) in blocks {
            for (id, inode) in ids(*number).zip(&block.inodes) {
                let Some(inode) = inode.filter(|(device, _)| *device != PAGE) else { continue };
                inodes.insert_unique(state.hash_one(inode), id, |id| hash_of(blocks, state, *id));
            }
        }
        lookup
    }

    pub(super) fn len(&self) -> usize {
        self.inodes.len()
    }

    fn inode(&self, id: u32) -> Option<(u64, u64)> {
        inode(&self.blocks, id)
    }

    /// Adds a master, or replaces the one with the same id.
    pub(super) fn put(&mut self, id: u32, key: Key) {
        self.remove(id);
        let (number, place) = Block::of(id);
        self.blocks.entry(number).or_insert_with(|| Box::new(Block::NONE)).set(place, Some(key));
        if key.device == PAGE {
            return;
        }
        let (blocks, state) = (&self.blocks, &self.state);
        self.inodes.insert_unique(state.hash_one((key.device, key.inode)), id, |id| hash_of(blocks, state, *id));
    }

    /// Adds the local features of a master.
    pub(super) fn post(&mut self, id: u32, features: &[Feature]) {
        self.postings.add(id, features);
    }

    pub(super) fn remove(&mut self, id: u32) {
        let Some(inode) = self.inode(id) else { return };
        if let Ok(entry) = self.inodes.find_entry(self.state.hash_one(inode), |other| *other == id) {
            entry.remove();
        }
        let (number, place) = Block::of(id);
        if let Some(block) = self.blocks.get_mut(&number) {
            block.set(place, None);
            if block.is_empty() {
                self.blocks.remove(&number);
            }
        }
    }

    pub(super) fn at_inode(&self, device: u64, inode: u64) -> Option<u32> {
        let inode = (device, inode);
        self.inodes.find(self.state.hash_one(inode), |id| self.inode(*id) == Some(inode)).copied()
    }

    pub(super) fn with_digest(&self, digest: &Digest) -> Vec<u32> {
        let wanted = prefix(digest);
        let blocks = self.blocks.iter().filter(|(_, block)| block.digests.contains(&wanted));
        let hits = blocks.flat_map(|(number, block)| {
            let hits = ids(*number).zip(&block.digests).filter(|(_, digest)| **digest == wanted);
            hits.map(|(id, _)| id)
        });
        // Where there is no master, all bits are clear.
        hits.filter(|id| self.inode(*id).is_some()).collect()
    }

    /// All masters and orientations within `limit` bits, unsorted.
    pub(super) fn near(&self, fingerprint: &Fingerprint, limit: u32) -> Vec<Candidate> {
        let sought = fingerprint.sought(limit);
        let mut candidates = Vec::new();
        for (&number, block) in &self.blocks {
            candidates.extend(sought.near(&block.hashes).map(|(place, orientation, distance)| {
                let id = i64::from(number) * Block::KEYS as i64 + place as i64;
                Candidate { id, orientation, distance }
            }));
        }
        candidates
    }
}

/// The ids whose keys lie in a block.
fn ids(block: u32) -> impl Iterator<Item = u32> {
    (0..Block::KEYS as u32).map(move |place| block.saturating_mul(Block::KEYS as u32).saturating_add(place))
}

fn inode(blocks: &BTreeMap<u32, Box<Block>>, id: u32) -> Option<(u64, u64)> {
    let (number, place) = Block::of(id);
    blocks.get(&number).and_then(|block| *block.inodes.get(place)?)
}

fn hash_of(blocks: &BTreeMap<u32, Box<Block>>, state: &RandomState, id: u32) -> u64 {
    inode(blocks, id).map_or(0, |inode| state.hash_one(inode))
}

fn prefix(digest: &Digest) -> u64 {
    digest.as_bytes().iter().take(8).fold(0, |prefix, &byte| prefix << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u32) -> Key {
        Key::new(&Digest::of(&id.to_le_bytes()), Some(Hash([id.into(); 4])), (1, u64::from(id) + 1000))
    }

    #[test]
    fn places_are_reused_and_stay_consistent() {
        let mut lookup = Lookup::default();
        (1..=700).for_each(|id| lookup.put(id, key(id)));
        (1..=700).filter(|id| id % 3 == 0 || *id >= 512).for_each(|id| lookup.remove(id));
        assert!(!lookup.blocks.contains_key(&2));
        (1..=10).for_each(|id| lookup.put(id, key(id)));
        for id in 1..=700 {
            let there = id <= 10 || id % 3 != 0 && id < 512;
            assert_eq!(lookup.at_inode(1, u64::from(id) + 1000), there.then_some(id), "inode of {id}");
            assert_eq!(
                lookup.with_digest(&Digest::of(&id.to_le_bytes())),
                Vec::from_iter(there.then_some(id)),
                "digest of {id}"
            );
        }
    }

    #[test]
    fn a_hard_link_takes_over_when_another_goes() {
        let mut lookup = Lookup::default();
        (1..=3).for_each(|id| lookup.put(id, Key { inode: 7, ..key(id) }));
        for gone in [3, 1] {
            lookup.remove(gone);
            assert!(lookup.at_inode(1, 7).is_some_and(|id| id != gone));
        }
        assert_eq!(lookup.at_inode(1, 7), Some(2));
        lookup.remove(2);
        assert_eq!((lookup.at_inode(1, 7), lookup.len()), (None, 0));
    }

    #[test]
    fn a_block_comes_back_as_it_was() {
        let mut block = Block::NONE;
        for place in [0, 7, Block::KEYS - 1] {
            block.set(place, Some(key(place as u32)));
        }
        let bytes = block.to_bytes();
        let again = Block::from_bytes(&bytes).unwrap();
        assert!(again.keys().eq(block.keys()));
        for wrong in [&bytes[..bytes.len() - 1], &bytes[..bytes.len() - Key::BYTES], &[0; 20], &[2; Block::KEYS]] {
            assert!(Block::from_bytes(wrong).is_none());
        }
    }
}

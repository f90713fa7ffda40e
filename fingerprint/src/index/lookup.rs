//! What must be found without touching the disk: one compact table, in columns.

use std::collections::HashMap;

use crate::exact::Digest;
use crate::local::{Feature, Postings};
use crate::perceptual::{Fingerprint, Hash, Orientation};

/// What lies in memory of one master.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) id: i64,
    pub(super) digest: Digest,
    /// [`Hash::NONE`] for what cannot be recognised by its looks.
    pub(super) hash: Hash,
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// A master whose hash is near, in one orientation of the query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: i64,
    pub(super) orientation: Orientation,
    pub(super) distance: u32,
}

/// One slot per master in every column; the last one moves into a slot that becomes free.
#[derive(Default)]
pub(super) struct Lookup {
    ids: Vec<i64>,
    /// The first eight bytes of each digest: enough to look further in the store.
    digests: Vec<u64>,
    hashes: Vec<Hash>,
    inodes: Vec<(u64, u64)>,
    slots: HashMap<i64, u32>,
    by_inode: HashMap<(u64, u64), u32>,
    /// Further masters that are hard links to the same inode: rare.
    links: HashMap<(u64, u64), Vec<i64>>,
    pub(super) postings: Postings,
}

impl Lookup {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Adds a master, or replaces the one with the same id.
    pub(super) fn put(&mut self, key: Key) {
        self.remove(key.id);
        let Ok(slot) = u32::try_from(self.ids.len()) else { return };
        self.ids.push(key.id);
        if let Ok(id) = u32::try_from(key.id) {
            self.postings.expect(id);
        }
        self.digests.push(prefix(&key.digest));
        self.hashes.push(key.hash);
        self.inodes.push((key.device, key.inode));
        self.slots.insert(key.id, slot);
        let inode = (key.device, key.inode);
        if let Some(other) = self.at_inode(key.device, key.inode) {
            self.links.entry(inode).or_default().push(other);
        }
        self.by_inode.insert(inode, slot);
    }

    /// Adds the local features of a master.
    pub(super) fn post(&mut self, id: i64, features: &[Feature]) {
        if let Ok(id) = u32::try_from(id) {
            self.postings.add(id, features);
        }
    }

    pub(super) fn remove(&mut self, id: i64) {
        let Some(slot) = self.slots.remove(&id) else { return };
        let at = slot as usize;
        self.forget_inode(self.inodes[at], slot, id);
        self.ids.swap_remove(at);
        self.digests.swap_remove(at);
        self.hashes.swap_remove(at);
        self.inodes.swap_remove(at);
        if let Some(moved) = self.ids.get(at) {
            let last = self.ids.len() as u32;
            self.slots.insert(*moved, slot);
            if let Some(value) = self.by_inode.get_mut(&self.inodes[at])
                && *value == last
            {
                *value = slot;
            }
        }
    }

    /// Another hard link to the same inode takes over.
    fn forget_inode(&mut self, inode: (u64, u64), slot: u32, id: i64) {
        let mut heir = None;
        if let Some(links) = self.links.get_mut(&inode) {
            links.retain(|link| *link != id);
            if self.by_inode.get(&inode) == Some(&slot) {
                heir = links.pop();
            }
            if links.is_empty() {
                self.links.remove(&inode);
            }
        }
        match heir.and_then(|heir| self.slots.get(&heir)) {
            Some(&slot) => drop(self.by_inode.insert(inode, slot)),
            None if self.by_inode.get(&inode) == Some(&slot) => drop(self.by_inode.remove(&inode)),
            None => {}
        }
    }

    pub(super) fn at_inode(&self, device: u64, inode: u64) -> Option<i64> {
        self.by_inode.get(&(device, inode)).and_then(|slot| self.ids.get(*slot as usize)).copied()
    }

    pub(super) fn with_digest(&self, digest: &Digest) -> Vec<i64> {
        let wanted = prefix(digest);
        let hits = self.digests.iter().zip(&self.ids).filter(|(found, _)| **found == wanted);
        hits.map(|(_, id)| *id).collect()
    }

    /// All masters and orientations within `limit` bits, unsorted.
    pub(super) fn near(&self, fingerprint: &Fingerprint, limit: u32) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for (hash, &id) in self.hashes.iter().zip(&self.ids) {
            if *hash == Hash::NONE {
                continue;
            }
            let near = fingerprint.distances(hash).filter(|(_, distance)| *distance <= limit);
            candidates.extend(near.map(|(orientation, distance)| Candidate { id, orientation, distance }));
        }
        candidates
    }
}

fn prefix(digest: &Digest) -> u64 {
    digest.as_bytes().iter().take(8).fold(0, |prefix, &byte| prefix << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: i64) -> Key {
        Key { id, digest: Digest::of(&id.to_le_bytes()), hash: Hash([id as u64; 4]), device: 1, inode: id as u64 + 100 }
    }

    #[test]
    fn slots_are_reused_and_stay_consistent() {
        let mut lookup = Lookup::default();
        (1..=50).for_each(|id| lookup.put(key(id)));
        (1..=50).filter(|id| id % 3 == 0).for_each(|id| lookup.remove(id));
        (1..=10).for_each(|id| lookup.put(key(id)));
        for id in 1..=50 {
            let there = id % 3 != 0 || id <= 10;
            assert_eq!(lookup.at_inode(1, id as u64 + 100), there.then_some(id), "inode of {id}");
            assert_eq!(lookup.with_digest(&key(id).digest), Vec::from_iter(there.then_some(id)), "digest of {id}");
        }
        assert_eq!(lookup.len(), lookup.slots.len());
    }

    #[test]
    fn a_hard_link_takes_over_when_another_goes() {
        let link = |id: i64| Key { inode: 7, ..key(id) };
        let mut lookup = Lookup::default();
        (1..=3).for_each(|id| lookup.put(link(id)));
        for gone in [3, 1] {
            lookup.remove(gone);
            assert_eq!(lookup.at_inode(1, 7), Some(2));
        }
        lookup.remove(2);
        assert_eq!((lookup.at_inode(1, 7), lookup.links.len()), (None, 0));
    }
}

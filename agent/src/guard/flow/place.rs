//! What the policy's directories are to the kernel's side: collections, destinations, and the names of those.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use vitrine_policy::Policy;

use super::decode::{file_of, number_of};
use super::mirror::{Entries, ceiling_of, entry, key_of, rank, vault_of};
use super::record;
use crate::collection;
use crate::identify::FileId;
use crate::sys::stat::Stat;
use crate::workstation::Snapshot;

pub(super) fn suffixes(policy: &Policy) -> Entries {
    let mut entries = Entries::new();
    for (set, collection) in (0_u32..).zip(&policy.collections) {
        for ending in collection.endings().unwrap_or_default() {
            let mut suffix = record::suffix { set, ..record::suffix::default() };
            for (to, from) in suffix.text.iter_mut().zip(ending.bytes()) {
                *to = from.cast_signed();
            }
            entries.push(entry(&suffix, &1_u8));
        }
    }
    entries
}

/// Whether the kernel can tell the collection's masters by the ends of their names.
fn fits(endings: &[String]) -> bool {
    // The dot has to be seen too.
    endings.iter().all(|ending| ending.len() < record::SUFFIX as usize)
}

pub(super) fn places(snapshot: &Snapshot) -> HashMap<FileId, record::place> {
    let policy = &snapshot.policy;
    let mut places: HashMap<FileId, record::place> = HashMap::new();
    for (set, collection) in (0_u32..).zip(&policy.collections) {
        let roots = collection.roots().iter().flat_map(collection::existing);
        let below: Vec<PathBuf> = snapshot
            .destinations
            .mounts()
            .map(|(mounted, _)| mounted.mount.point.clone())
            .filter(|point| collection.covers_dir(point))
            .collect();
        let every = collection.endings().filter(|endings| fits(endings)).is_none();
        for directory in roots.chain(below) {
            let Ok(stat) = Stat::at(&directory) else { continue };
            let place = places.entry(stat.file).or_default();
            place.flags |= record::PLACE_COLLECTION as u8;
            if every {
                place.flags |= record::PLACE_EVERY_NAME as u8;
            }
            place.rank = rank(policy.master_tier());
            place.vault = place.vault.max(vault_of(policy, &collection.name));
            place.suffixes = set;
        }
    }
    let bound = snapshot.destinations.mounts().filter(|(mounted, _)| mounted.root != Path::new("/"));
    let bound = bound.filter(|(_, destination)| destination.is_some()).map(|(mounted, _)| mounted.mount.point.clone());
    for directory in snapshot.destinations.named_directories().chain(bound) {
        let Ok(stat) = Stat::at(&directory) else { continue };
        let Some(destination) = snapshot.destinations.of(&directory, Some(stat.file.device)) else { continue };
        let place = places.entry(stat.file).or_default();
        place.flags |= record::PLACE_DESTINATION as u8;
        place.ceiling = ceiling_of(policy, &destination);
    }
    places
}

/// Directories of a collection that have got another name under the same policy: their masters may not all have
/// labels of their own yet.
pub(super) fn keep_moved(
    known: &[(record::key, record::place)],
    snapshot: &Snapshot,
    places: &mut HashMap<FileId, record::place>,
) {
    let mounted: HashSet<u64> = snapshot.destinations.mounts().map(|(mounted, _)| mounted.device).collect();
    for (file, place) in known.iter().map(|(key, place)| (file_of(*key), place)) {
        if is_collection(place) && mounted.contains(&file.device) {
            let now = places.entry(file).or_default();
            *now = as_collection(*now, place);
        }
    }
}

fn is_collection(place: &record::place) -> bool {
    place.flags & record::PLACE_COLLECTION as u8 != 0
}

/// What a directory is that was a collection under its old name: by its new one it may be a destination.
fn as_collection(now: record::place, before: &record::place) -> record::place {
    if is_collection(&now) {
        return now;
    }
    let record::place { flags, rank, vault, suffixes, .. } = *before;
    record::place { flags: now.flags | (flags & !record::PLACE_DESTINATION as u8), rank, vault, suffixes, ..now }
}

/// The names of destinations, and what a directory becomes that gets one.
pub(super) fn names(snapshot: &Snapshot) -> Vec<(record::name, record::place)> {
    let mut ceilings: HashMap<(PathBuf, String), u8> = HashMap::new();
    for (directory, text) in snapshot.destinations.names().filter(|(directory, _)| directory != Path::new("/")) {
        let destination = snapshot.destinations.of(&directory.join(&text), None);
        // On the way to one: nothing is known of what will lie there.
        let ceiling = destination.map_or(0, |destination| ceiling_of(&snapshot.policy, &destination));
        ceilings.entry((directory, text)).and_modify(|known| *known = ceiling.min(*known)).or_insert(ceiling);
    }
    let of = |((directory, text), ceiling): ((PathBuf, String), u8)| {
        let stat = Stat::named(&directory).ok()?;
        let mut name = record::name {
            directory: key_of(stat.file),
            length: u32::try_from(text.len()).ok()?,
            ..record::name::default()
        };
        for (to, from) in name.text.iter_mut().zip(text.bytes()) {
            *to = from.cast_signed();
        }
        Some((name, record::place { flags: record::PLACE_DESTINATION as u8, ceiling, ..record::place::default() }))
    };
    ceilings.into_iter().filter_map(of).collect()
}

/// Each file system by its number; where several mounts show one, the lowest ceiling counts.
pub(super) fn mounts(
    snapshot: &Snapshot,
    places: &HashMap<FileId, record::place>,
    names: &[(record::name, record::place)],
) -> Entries {
    let mut found: HashMap<u32, record::mounted> = HashMap::new();
    for (mounted, destination) in snapshot.destinations.mounts() {
        let Ok(device) = u32::try_from(number_of(mounted.device)) else { continue };
        let destination = destination.filter(|_| mounted.root == Path::new("/"));
        let ceiling = destination.map(|destination| ceiling_of(&snapshot.policy, &destination));
        let one = found.entry(device).or_insert(record::mounted { ceiling: u8::MAX, ..record::mounted::default() });
        if let Some(ceiling) = ceiling {
            one.is_destination = 1;
            one.ceiling = one.ceiling.min(ceiling);
        }
    }
    let of_places = places.iter().map(|(file, place)| (number_of(file.device), place.flags));
    for (device, flags) in of_places.chain(names.iter().map(|(name, place)| (name.directory.space, place.flags))) {
        if let Some(mounted) = u32::try_from(device).ok().and_then(|device| found.get_mut(&device)) {
            mounted.places |= flags;
        }
    }
    found.iter().map(|(device, mounted)| entry(device, mounted)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::mirror::tests::policy;
    use super::*;

    #[test]
    fn endings_are_told_in_small_letters_and_other_patterns_count_for_every_name() {
        let policy = policy();
        assert_eq!(policy.collections[0].endings(), Some(["tif".to_owned(), "jp2".to_owned()].as_slice()));
        assert_eq!(policy.collections[1].endings(), None);
        assert_eq!(suffixes(&policy).len(), 2);
        assert!(!fits(&["a-very-long-ending".to_owned()]));
    }

    #[test]
    fn a_collection_that_gets_the_name_of_a_destination_is_both() {
        let both = (record::PLACE_COLLECTION | record::PLACE_DESTINATION) as u8;
        let before = record::place { flags: both, rank: 2, vault: 1, ceiling: 9, suffixes: 3 };
        let moved = as_collection(record::place::default(), &before);
        assert_eq!((moved.flags, moved.rank, moved.vault, moved.suffixes), (record::PLACE_COLLECTION as u8, 2, 1, 3));
        let destination = record::place { flags: record::PLACE_DESTINATION as u8, ceiling: 1, ..Default::default() };
        let named = as_collection(destination, &before);
        assert_eq!((named.flags, named.ceiling, named.vault), (both, 1, 1));
        let other = record::place { vault: 2, ..before };
        assert_eq!(as_collection(other, &before).vault, 2, "what it is by its new name counts");
    }
}

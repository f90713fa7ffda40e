//! What has gone where, so that fragments add up: of every master and destination the part of its area that was
//! sent there above the scale that is public, and of every destination the objects of the day.
//!
//! What always holds:
//!
//! 1. A transfer is judged and counted under one lock, so that of two that arrive at once the second one knows of
//!    the first.
//! 2. Only what stays at the destination counts: not what is taken back, but what `audit` lets through, and what could
//!    not be taken back. Deleting it there later gives nothing back.
//! 3. Counting is idempotent: area is a union and objects are a set, so that a file that is measured twice counts once.
//! 4. Who waits for an answer of the kernel never waits for the disk: what the gate asks for lies in memory.
//!
//! A master is known by its path: its number in the index is another one when the index is built anew, its
//! content changes with every note that somebody writes into the file, and an object may have many masters, whose areas
//! are not one. The history follows a rename that the index follows.
//!
//! A destination is known by the name of the `[[destination]]` that decides; what `elsewhere` decides, by the disk, share,
//! mount or host itself. Renaming an entry of the policy begins its count anew.

mod store;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use vitrine_fingerprint::{Area, Match};
use vitrine_policy::Policy;
use vitrine_policy::decision::{Answer, Decision};
use vitrine_policy::facts::{Attempt, Destination, Facts};
use vitrine_policy::judge;

use crate::collection::Report;
use crate::identify::label::Known;
use store::{Change, Store};

/// The database, below the state directory.
pub(crate) const FILE: &str = "history.db";
/// Objects of one destination and day that are told apart, as many as a policy can allow.
const MAX_OBJECTS: usize = 1_000_000;

/// What a file shows of one master.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    master: Arc<Path>,
    /// The object that it shows; the master itself, where nobody knows.
    object: Vec<u8>,
    /// Which part of it adds up; none where it is no larger than what is public.
    area: Option<Area>,
}

/// What a file shows, by the matches of its content. A file of which only the label is known, because it is no
/// picture or could not be recognised, may show all of its masters.
pub(crate) fn shown(policy: &Policy, known: &Known, matches: &[Match]) -> Vec<Shown> {
    let object = |path: &Path, object: Option<&String>| {
        let by_name = || policy.collection_of(path)?.object_of(path);
        let object = object.cloned().or_else(by_name);
        object.map_or_else(|| path.as_os_str().as_bytes().to_owned(), String::into_bytes)
    };
    if matches.is_empty() {
        let area = policy.adds_up(None, known.tier).then(Area::whole);
        let inherited = known.masters.iter();
        return inherited
            .map(|master| Shown { master: master.clone(), object: object(master, None), area: area.clone() })
            .collect();
    }
    let one = |found: &Match| Shown {
        master: found.master.path.as_path().into(),
        object: object(&found.master.path, found.master.object.as_ref()),
        area: policy.adds_up(Some(found.scale), known.tier).then(|| Area::of(&found.region)),
    };
    matches.iter().map(one).collect()
}

/// A transfer that was judged with all that went before.
pub(crate) struct Judged {
    pub(crate) facts: Facts,
    pub(crate) decision: Decision,
    /// Of each master whose area counts, which share will have gone there with this transfer.
    pub(crate) sent: Vec<(Arc<Path>, f64)>,
    /// Whether it shows a part of a master, and the destination has not had all of that part.
    pub(crate) adds_a_fragment: bool,
    day: String,
    changes: Vec<Change>,
}

/// A local day, as people count it.
#[derive(Clone)]
struct Day {
    /// As in `2026-11-26`.
    name: String,
    until: jiff::Timestamp,
}

impl Day {
    /// May read the file of the time zone.
    fn now() -> Day {
        let now = jiff::Zoned::now();
        let (name, end) = (now.date().to_string(), now.tomorrow().and_then(|tomorrow| tomorrow.start_of_day()));
        Day { name, until: end.unwrap_or(now).timestamp() }
    }
}

/// The agent's memory of what has gone where. It works from memory alone while the disk refuses.
pub(crate) struct History {
    store: Mutex<Store>,
    today: RwLock<Today>,
}

/// The objects of one day at each destination, each by the first bytes of its digest.
struct Today {
    day: Day,
    objects: HashMap<String, HashSet<u64>>,
}

impl Today {
    /// Distinct objects with these added.
    fn with(&self, destination: &str, objects: impl Iterator<Item = u64>) -> u32 {
        let (known, mut new) = (self.objects.get(destination), HashSet::new());
        new.extend(objects.filter(|object| known.is_none_or(|known| !known.contains(object))));
        u32::try_from(known.map_or(0, HashSet::len) + new.len()).unwrap_or(u32::MAX)
    }
}

fn number(object: &[u8]) -> u64 {
    let digest = blake3::hash(object);
    digest.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// How a destination is known, and whether the policy limits what adds up there.
fn place(policy: &Policy, destination: &Destination) -> (String, bool) {
    if let Some(entry) = policy.destination_of(destination) {
        let is_limited = entry.max_coverage.is_some() || entry.max_objects_per_day.is_some();
        return (format!("destination {}", entry.name), is_limited);
    }
    let name = match destination {
        Destination::Host { .. } => format!("host {}", destination.target()),
        Destination::Path { mount: Some(mount), .. } => match (&mount.share, &mount.usb) {
            (Some(share), _) => format!("share {share}"),
            (None, Some(usb)) => format!("usb {}:{}:{}", usb.vendor, usb.product, usb.serial),
            (None, None) => format!("mount {}", mount.point.display()),
        },
        Destination::Path { path, mount: None } => format!("path {}", path.parent().unwrap_or(path).display()),
    };
    (name, false)
}

impl History {
    /// The history in the file `path`. One that cannot be used is set aside, or counted without, and that is told:
    /// nobody is kept from starting by it.
    pub(crate) fn open(path: PathBuf, report: Report) -> History {
        let (mut store, day) = (Store::new(path, report), Day::now());
        let objects = objects_of(&mut store, &day);
        History { store: Mutex::new(store), today: RwLock::new(Today { day, objects }) }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // What is half done in it is a transaction that has not been committed.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges a transfer of a file that shows `shown` by what has gone there with it, and counts it if it may stay.
    /// Waits for the disk.
    pub(crate) fn judge(&self, policy: &Policy, facts: Facts, shown: &[Shown]) -> Judged {
        self.judge_on(&Day::now(), policy, facts, shown)
    }

    fn judge_on(&self, day: &Day, policy: &Policy, mut facts: Facts, shown: &[Shown]) -> Judged {
        let (mut changes, mut sent, mut adds_a_fragment) = (Vec::new(), Vec::new(), false);
        let mut store = self.store();
        if let Attempt::Transfer { destination, history, .. } = &mut facts.attempt {
            let (place, limited) = place(policy, destination);
            self.turn_to(&mut store, day);
            let objects = shown.iter().map(|one| number(&one.object));
            history.objects_today = Some(self.today().with(&place, objects)).filter(|objects| *objects > 0);
            let mut areas: Vec<(Arc<Path>, Area)> = Vec::new();
            for Shown { master, object, area } in shown {
                let (destination, object) = (place.clone(), object.clone());
                changes.push(Change::Object { destination, day: day.name.clone(), object });
                let Some(area) = area else { continue };
                match areas.iter_mut().find(|(known, _)| known == master) {
                    Some((_, sum)) => sum.add(area),
                    None => areas.push((master.clone(), area.clone())),
                }
            }
            for (master, area) in areas {
                let before = store.area(&place, &master);
                let mut sum = before.clone();
                sum.add(&area);
                adds_a_fragment |= area != Area::whole() && sum != before;
                sent.push((master.clone(), sum.share()));
                changes.push(Change::Area { destination: place.clone(), master: (*master).to_owned(), area, limited });
            }
            history.coverage = sent.iter().map(|(_, share)| *share).reduce(f64::max);
        }
        let decision = judge(policy, &facts);
        let judged = Judged { facts, decision, sent, adds_a_fragment, day: day.name.clone(), changes };
        if judged.decision.answer() == Answer::Allow {
            self.count(&mut store, &judged);
        }
        judged
    }

    /// What was judged to be taken back stays all the same.
    pub(crate) fn stayed(&self, judged: &Judged) {
        self.count(&mut self.store(), judged);
    }

    fn count(&self, store: &mut Store, judged: &Judged) {
        let mut today = self.today.write().unwrap_or_else(PoisonError::into_inner);
        for change in &judged.changes {
            if let Change::Object { destination, object, .. } = change
                && today.day.name == judged.day
            {
                let objects = today.objects.entry(destination.clone()).or_default();
                if objects.len() < MAX_OBJECTS {
                    objects.insert(number(object));
                }
            }
        }
        drop(today);
        store.keep(judged.changes.clone());
    }

    /// A master has another path.
    pub(crate) fn renamed(&self, from: &Path, to: &Path) {
        self.store().keep(vec![Change::Renamed { from: from.to_owned(), to: to.to_owned() }]);
    }

    /// Distinct objects that will have gone to a destination today, at the least, with a file of which only the label
    /// is known: with one object more, if none of its objects went there before. None where nobody limits it, or the day
    /// has just begun. Answers from memory, without opening any file: who asks answers for every file that is opened.
    pub(crate) fn objects_at_least(&self, policy: &Policy, destination: &Destination, known: &Known) -> Option<u32> {
        policy.destination_of(destination)?.max_objects_per_day?;
        let (place, _) = place(policy, destination);
        let today = self.today();
        // Which day it is would have to be looked up, in a file.
        if jiff::Timestamp::now() >= today.day.until {
            return None;
        }
        let shown = shown(policy, known, &[]);
        shown.iter().map(|one| today.with(&place, std::iter::once(number(&one.object)))).min()
    }

    fn today(&self) -> std::sync::RwLockReadGuard<'_, Today> {
        self.today.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the objects of this day instead of those of another.
    fn turn_to(&self, store: &mut Store, day: &Day) {
        if self.today().day.name == day.name {
            return;
        }
        let today = Today { day: day.clone(), objects: objects_of(store, day) };
        *self.today.write().unwrap_or_else(PoisonError::into_inner) = today;
    }
}

fn objects_of(store: &mut Store, day: &Day) -> HashMap<String, HashSet<u64>> {
    let mut objects: HashMap<String, HashSet<u64>> = HashMap::new();
    for (destination, object) in store.objects(&day.name) {
        objects.entry(destination).or_default().insert(number(&object));
    }
    objects
}

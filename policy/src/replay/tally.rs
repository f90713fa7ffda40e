//! The sum of what was judged anew.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::suggestion::{self, Place, Suggestion};
use super::{Gap, Judged, Outcome, rejudge};
use crate::decision::{Mode, Rule};
use crate::facts::Attempt;
use crate::policy::{ELSEWHERE, Policy};
use crate::record::{Disposition, Transfer};

/// Groups that are told apart; what comes beyond them is counted in the sums alone.
const MAX_GROUPS: usize = 100_000;
/// Users or programs that are told apart in one sum.
const MAX_NAMES: usize = 100_000;
/// Groups that a report names.
const COMMONEST: usize = 20;
/// What is not on record.
const UNKNOWN: &str = "unknown";

/// Takes recorded transfers and counts what becomes of them.
pub struct Replay {
    policy: Policy,
    digest: String,
    counts: BTreeMap<Outcome, Sum>,
    changes: BTreeMap<(bool, Outcome), u64>,
    gaps: BTreeMap<Gap, u64>,
    groups: HashMap<Key, u64>,
    is_full: bool,
    places: HashMap<Place, suggestion::Seen>,
}

#[derive(Default)]
struct Sum {
    transfers: u64,
    attempts: u64,
    users: HashSet<String>,
    programs: HashSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    user: String,
    program: String,
    destination: String,
    tier: String,
    outcome: Outcome,
}

/// What becomes of the recorded transfers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How many transfers were judged, and of how many users and programs, by what becomes of them. All four
    /// outcomes are there.
    pub outcomes: BTreeMap<Outcome, Count>,
    /// What was recorded, and what becomes of it.
    pub changes: Vec<Change>,
    /// How many transfers could not be judged, and why.
    pub gaps: BTreeMap<Gap, u64>,
    /// The commonest groups, those that are refused first.
    pub groups: Vec<Group>,
    /// How many groups there are; more were not told apart where `is_full`.
    pub all_groups: usize,
    /// Whether there are more groups than are told apart.
    pub is_full: bool,
    /// Destinations that many refused transfers went to, as the policy could name them.
    pub suggestions: Vec<Suggestion>,
}

/// A number of transfers, and who made them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Records.
    pub transfers: u64,
    /// System calls that they stand for.
    pub attempts: u64,
    /// Distinct users, those that are not known being one.
    pub users: usize,
    /// Distinct executables, those that are not known being one.
    pub programs: usize,
}

/// How many transfers ended one way and would end another, or the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Whether it went through when it was recorded.
    pub went_through: bool,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Records.
    pub transfers: u64,
}

/// Transfers that have much in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Login name.
    pub user: String,
    /// Path of the executable.
    pub program: String,
    /// Name in the policy; of what it does not name the disk, share, directory or host.
    pub destination: String,
    /// Name of the tier.
    pub tier: String,
    /// What becomes of them.
    pub outcome: Outcome,
    /// Records.
    pub transfers: u64,
}

impl Replay {
    /// Begins to judge by `policy` in `enforce`, whatever its mode; its text has this BLAKE3.
    #[must_use]
    pub fn new(mut policy: Policy, digest: String) -> Replay {
        policy.mode = Mode::Enforce;
        Replay {
            policy,
            digest,
            counts: BTreeMap::new(),
            changes: BTreeMap::new(),
            gaps: BTreeMap::new(),
            groups: HashMap::new(),
            is_full: false,
            places: HashMap::new(),
        }
    }

    /// Judges and counts one transfer.
    pub fn add(&mut self, transfer: &Transfer) {
        let judged = match rejudge(&self.policy, &self.digest, transfer) {
            Ok(judged) => judged,
            Err(gap) => {
                *self.gaps.entry(gap).or_default() += 1;
                return;
            }
        };
        let user = transfer.user.as_ref().map_or_else(|| UNKNOWN.to_owned(), |user| user.name.clone());
        let program = transfer.processes.first().map_or_else(|| UNKNOWN.to_owned(), |process| process.path.clone());
        let sum = self.counts.entry(judged.outcome).or_default();
        sum.transfers += 1;
        sum.attempts += u64::from(transfer.attempts);
        remember(&mut sum.users, &user);
        remember(&mut sum.programs, &program);
        *self.changes.entry((went_through(transfer.disposition), judged.outcome)).or_default() += 1;
        let key = self.key(user, program, &judged);
        self.suggest(&key, &judged);
        if self.groups.len() < MAX_GROUPS || self.groups.contains_key(&key) {
            *self.groups.entry(key).or_default() += 1;
        } else {
            self.is_full = true;
        }
    }

    fn key(&self, user: String, program: String, Judged { facts, outcome, .. }: &Judged) -> Key {
        let (destination, label) = match &facts.attempt {
            Attempt::Open { collection, label } => (format!("opening of {collection}"), label),
            Attempt::Transfer { destination, label, .. } => {
                let named = self.policy.destination_of(destination).map(|entry| entry.name.clone());
                (named.unwrap_or_else(|| Place::of(destination).text()), label)
            }
        };
        let tier = self.policy.tier_name(label.tier).to_owned();
        Key { user, program, destination, tier, outcome: *outcome }
    }

    fn suggest(&mut self, key: &Key, judged: &Judged) {
        let Attempt::Transfer { destination, label, .. } = &judged.facts.attempt else { return };
        let is_elsewhere = matches!(&judged.rule, Rule::Ceiling { destination } if destination == ELSEWHERE);
        if judged.outcome != Outcome::Block || !is_elsewhere {
            return;
        }
        let place = Place::of(destination);
        if self.places.len() < MAX_GROUPS || self.places.contains_key(&place) {
            let seen = self.places.entry(place).or_default();
            *seen.tiers.entry(label.tier).or_default() += 1;
            remember(&mut seen.users, &key.user);
        }
    }

    /// What came of it so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let all = [Outcome::Block, Outcome::Justify, Outcome::Report, Outcome::Allow];
        let mut groups: Vec<(&Key, u64)> = self.groups.iter().map(|(key, transfers)| (key, *transfers)).collect();
        // By number; between equals by name, so that two reports of the same records are the same.
        groups.sort_by(|(a, many), (b, more)| more.cmp(many).then_with(|| a.cmp(b)));
        groups.truncate(COMMONEST);
        let group = |(key, transfers): (&Key, u64)| Group {
            user: key.user.clone(),
            program: key.program.clone(),
            destination: key.destination.clone(),
            tier: key.tier.clone(),
            outcome: key.outcome,
            transfers,
        };
        let change = |(&(went_through, outcome), &transfers)| Change { went_through, outcome, transfers };
        Report {
            outcomes: all
                .map(|outcome| (outcome, self.counts.get(&outcome).map_or(Count::default(), Sum::count)))
                .into(),
            changes: self.changes.iter().map(change).collect(),
            gaps: self.gaps.clone(),
            groups: groups.into_iter().map(group).collect(),
            all_groups: self.groups.len(),
            is_full: self.is_full,
            suggestions: suggestion::of(&self.policy, &self.places),
        }
    }
}

impl Sum {
    fn count(&self) -> Count {
        let Sum { transfers, attempts, users, programs } = self;
        Count { transfers: *transfers, attempts: *attempts, users: users.len(), programs: programs.len() }
    }
}

/// Keeps a name, while there are not too many.
pub(super) fn remember(names: &mut HashSet<String>, name: &str) {
    if names.len() < MAX_NAMES && !names.contains(name) {
        names.insert(name.to_owned());
    }
}

fn went_through(disposition: Disposition) -> bool {
    match disposition {
        Disposition::Allowed | Disposition::WouldBlock | Disposition::Failed => true,
        Disposition::Blocked | Disposition::Undone | Disposition::Quarantined => false,
    }
}

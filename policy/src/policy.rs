//! A policy in force: an immutable snapshot, and what can be asked of it.

use std::path::{Path, PathBuf};

use globset::GlobSet;
use regex::Regex;

use crate::cases::Test;
use crate::decision::Mode;
use crate::diagnostic::Diagnostics;
use crate::facts::{Attempt, Ceiling, Destination, Label, Measure, Origin, Tier};
use crate::matcher::path::{lower, parts};
use crate::matcher::{DestinationEntry, PathPattern, most_specific};
use crate::record::{self, Severity};

/// Name of the tier above the last that a policy names.
pub const MASTER: &str = "master";
/// Name of the ceiling that nothing labelled may pass.
pub const NONE: &str = "none";
/// Name of every destination that the policy does not name.
pub const ELSEWHERE: &str = "elsewhere";

/// An immutable policy. It is replaced as a whole, never changed.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What it is called, for people; none: it has no name.
    pub name: Option<String>,
    /// The number that rises with every edit, by which an older policy is told from a newer one; none: not counted.
    pub serial: Option<u32>,
    /// Whether its answers are given or only recorded.
    pub mode: Mode,
    /// Where masters lie.
    pub collections: Vec<Collection>,
    /// The named tiers, lowest first.
    pub tiers: Vec<TierEntry>,
    /// The named destinations.
    pub destinations: Vec<DestinationEntry>,
    /// The ceiling of every other destination.
    pub elsewhere: Ceiling,
    /// The named programs.
    pub programs: Vec<ProgramEntry>,
    /// The policy's own tests, run by [`Policy::run_tests`].
    pub tests: Vec<Test>,
    /// What is allowed to stand in the file, and probably not meant.
    pub doubts: Diagnostics,
}

/// The directories that hold masters.
#[derive(Clone, Debug)]
pub struct Collection {
    /// Its name.
    pub name: String,
    /// The programs that may open its masters; none: anybody may.
    pub opened_by: Option<Vec<String>>,
    /// How grave a refused transfer of its masters is; none: as its destination says.
    pub severity: Option<Severity>,
    pub(crate) roots: Vec<PathPattern>,
    pub(crate) include: Option<GlobSet>,
    pub(crate) endings: Option<Vec<String>>,
    pub(crate) object: Option<Regex>,
}

/// A resolution class. A limit that is not stated is none.
#[derive(Clone, Debug, PartialEq)]
pub struct TierEntry {
    /// Its name.
    pub name: String,
    /// Most millions of pixels.
    pub max_megapixels: Option<f64>,
    /// Greatest length relative to the master's (1.0: full size).
    pub max_scale: Option<f64>,
    /// Most bits a channel.
    pub max_bit_depth: Option<u8>,
}

/// A program that the policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramEntry {
    /// Its name.
    pub name: String,
    /// Where its executable lies; what identifies it is the inode and digest found there.
    pub path: PathBuf,
    /// How far it is trusted.
    pub trust: Trust,
}

/// How far a program is trusted with what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It carries the label of what it read until it ends.
    None,
    /// It may move anything anywhere.
    Exempt,
    /// It carries a label only while it holds a labelled file open.
    Copier,
}

impl Collection {
    /// The directories as the policy names them, with the part of each that holds no wildcard.
    #[must_use]
    pub fn roots(&self) -> &[PathPattern] {
        &self.roots
    }

    /// Whether this directory is a root of the collection or lies below one.
    #[must_use]
    pub fn covers_dir(&self, directory: &Path) -> bool {
        self.roots.iter().any(|root| root.covers(directory))
    }

    /// The endings in small letters, without their dot, that tell whether a name belongs to the collection; none:
    /// it names every file, or something that endings alone do not tell.
    #[must_use]
    pub fn endings(&self) -> Option<&[String]> {
        self.endings.as_deref()
    }

    /// Whether a file of this path belongs to the collection: it lies at any depth below a root, and its
    /// name fits an `include` pattern, whatever the case of its letters.
    #[must_use]
    pub fn covers(&self, path: &Path) -> bool {
        self.depth(path).is_some()
    }

    /// The object that a file shows, from its name; none where the policy does not say, or the name is
    /// otherwise.
    #[must_use]
    pub fn object_of(&self, path: &Path) -> Option<String> {
        let name = path.file_name()?.to_string_lossy();
        let found = self.object.as_ref()?.captures(&name)?;
        found.name("object").map(|object| object.as_str().to_owned()).filter(|object| !object.is_empty())
    }

    /// Depth of the deepest root that a file of the collection lies in.
    fn depth(&self, path: &Path) -> Option<usize> {
        let parts = parts(path)?;
        let (name, directory) = parts.split_last()?;
        let depth = self.roots.iter().filter(|root| root.covers_parts(directory)).map(PathPattern::depth).max()?;
        self.include.as_ref().is_none_or(|include| include.is_match(lower(name))).then_some(depth)
    }
}

impl TierEntry {
    /// Whether every stated limit is met. A scale that is unknown does not count, unless nothing else is
    /// limited: what cannot be checked at all is not met.
    fn admits(&self, measure: &Measure) -> bool {
        let checks = [
            self.max_megapixels.map(|most| measure.megapixels <= most),
            self.max_scale.and_then(|most| measure.scale.map(|scale| scale <= most)),
            self.max_bit_depth.map(|most| measure.bit_depth <= most),
        ];
        let mut stated = checks.into_iter().flatten().peekable();
        stated.peek().is_some() && stated.all(|met| met)
    }

    /// The limits as a clause ("at most 6 megapixels, at most 0.6 of the master's length and …").
    pub(crate) fn limits(&self) -> String {
        let mut limits = Vec::new();
        if let Some(most) = self.max_megapixels {
            limits.push(format!("at most {most} megapixels"));
        }
        if let Some(most) = self.max_scale {
            limits.push(format!("at most {most} of the master's length"));
        }
        if let Some(most) = self.max_bit_depth {
            limits.push(format!("at most {most} bits a channel"));
        }
        listed(&limits, "and")
    }
}

/// `a, b and c`
pub(crate) fn listed(items: &[String], word: &str) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} {word} {last}", first.join(", ")),
    }
}

impl Policy {
    /// What is in force where no policy can be read: nothing is known, nothing is blocked.
    #[must_use]
    pub fn fallback() -> Policy {
        Policy {
            name: None,
            serial: None,
            mode: Mode::Audit,
            collections: Vec::new(),
            tiers: Vec::new(),
            destinations: Vec::new(),
            elsewhere: Ceiling::None,
            programs: Vec::new(),
            tests: Vec::new(),
            doubts: Diagnostics::default(),
        }
    }

    /// The collection that a file belongs to. Where several name it, the one whose directory lies deepest,
    /// then a vault.
    #[must_use]
    pub fn collection_of(&self, path: &Path) -> Option<&Collection> {
        let mut best: Option<((usize, bool), &Collection)> = None;
        for collection in &self.collections {
            let Some(depth) = collection.depth(path) else { continue };
            let rank = (depth, collection.opened_by.is_some());
            if best.as_ref().is_none_or(|(best, _)| rank > *best) {
                best = Some((rank, collection));
            }
        }
        best.map(|(_, collection)| collection)
    }

    /// The collection of this name.
    #[must_use]
    pub fn collection(&self, name: &str) -> Option<&Collection> {
        self.collections.iter().find(|collection| collection.name == name)
    }

    /// The program of this name.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<&ProgramEntry> {
        self.programs.iter().find(|program| program.name == name)
    }

    /// The lowest tier whose limits the measure meets; above the last, `master`.
    #[must_use]
    pub fn tier_of(&self, measure: &Measure) -> Tier {
        self.tiers.iter().position(|tier| tier.admits(measure)).map_or_else(|| self.master_tier(), rank)
    }

    /// Whether a fragment of this scale (length over length in the master; none: not known) is counted towards
    /// `max-coverage`: it is larger than the lowest tier may be. Where that tier says nothing of scale, or there is
    /// none, every fragment counts. Where the scale is not known, a `tier` above the lowest counts.
    #[must_use]
    pub fn adds_up(&self, scale: Option<f64>, tier: Tier) -> bool {
        let Some(most) = self.tiers.first().and_then(|lowest| lowest.max_scale) else { return true };
        // A scale that is not a number counts.
        scale.map_or(tier > Tier(0), |scale| scale > most || scale.is_nan())
    }

    /// The tier above the last named one.
    #[must_use]
    pub fn master_tier(&self) -> Tier {
        rank(self.tiers.len())
    }

    /// The tier's name; `master` for every rank above the last named one.
    #[must_use]
    pub fn tier_name(&self, tier: Tier) -> &str {
        self.tiers.get(usize::from(tier.0)).map_or(MASTER, |tier| tier.name.as_str())
    }

    /// The tier of this name, `master` included.
    #[must_use]
    pub fn tier_named(&self, name: &str) -> Option<Tier> {
        if name == MASTER {
            return Some(self.master_tier());
        }
        self.tiers.iter().position(|tier| tier.name == name).map(rank)
    }

    /// The tier here of what another policy called `name`: by what was measured, else the one of that name; a name
    /// that is gone becomes the highest tier.
    #[must_use]
    pub fn tier_again(&self, name: &str, measure: Option<&Measure>) -> Tier {
        let named = || self.tier_named(name).unwrap_or_else(|| self.master_tier());
        measure.map_or_else(named, |measure| self.tier_of(measure))
    }

    /// The name of the ceiling's tier, or `none`.
    #[must_use]
    pub fn ceiling_name(&self, ceiling: Ceiling) -> String {
        match ceiling {
            Ceiling::None => NONE.to_owned(),
            Ceiling::UpTo(tier) => self.tier_name(tier).to_owned(),
        }
    }

    /// The destination entry that decides: the most specific, then the stricter; none: `elsewhere`.
    #[must_use]
    pub fn destination_of(&self, destination: &Destination) -> Option<&DestinationEntry> {
        most_specific(&self.destinations, destination)
    }

    /// The highest tier that may go there.
    #[must_use]
    pub fn ceiling_of(&self, destination: &Destination) -> Ceiling {
        self.destination_of(destination).map_or(self.elsewhere, |entry| entry.ceiling)
    }

    /// How grave it is if this attempt is refused: the higher of what the collection of a master and the destination
    /// say, and of several masters the gravest, nothing said being [`Severity::REFUSED`]; none where nothing is said of
    /// any. A label that was inherited, or that names as many masters as one can, may hide others, and the user can
    /// choose which: it counts as what is said of the gravest collection, up to [`Severity::REFUSED`].
    #[must_use]
    pub fn severity(&self, attempt: &Attempt) -> Option<Severity> {
        let (label, destination) = match attempt {
            Attempt::Open { collection, .. } => return self.collection(collection)?.severity,
            Attempt::Transfer { label, destination, .. } => (label, destination),
        };
        let there = self.destination_of(destination).and_then(|entry| entry.severity);
        let said = |collection: Option<&Collection>| collection.and_then(|collection| collection.severity).max(there);
        let named = label.masters.iter().map(|master| said(record::path(master).and_then(|path| self.home_of(&path))));
        let named = gravest(named).or(there)?;
        let is_all = label.origin == Origin::Measured && label.masters.len() < Label::MASTERS;
        let others = gravest(self.collections.iter().map(|collection| said(Some(collection))));
        let others = others.filter(|_| !is_all).map(|others| others.min(Severity::REFUSED));
        Some(named).max(others)
    }

    /// The collection of a master. The raw disk below a collection is known by its directory.
    fn home_of(&self, master: &Path) -> Option<&Collection> {
        let below = || self.collections.iter().find(|collection| collection.covers_dir(master));
        self.collection_of(master).or_else(below)
    }

    /// The directories and mount points that destinations name, to be watched.
    pub fn destination_paths(&self) -> impl Iterator<Item = &PathPattern> {
        self.destinations.iter().flat_map(|entry| entry.paths.iter().chain(&entry.mounts))
    }
}

/// The gravest of all, nothing said being [`Severity::REFUSED`]; none where nothing is said of any.
fn gravest(said: impl Iterator<Item = Option<Severity>>) -> Option<Severity> {
    let graver = |one: Option<Severity>, other: Option<Severity>| match (one, other) {
        (None, None) => None,
        _ => Some(one.unwrap_or(Severity::REFUSED).max(other.unwrap_or(Severity::REFUSED))),
    };
    said.reduce(graver).flatten()
}

/// The rank of the tier at `index`; a policy has far fewer than 256 of them.
fn rank(index: usize) -> Tier {
    Tier(u8::try_from(index).unwrap_or(u8::MAX))
}

//! Which masters have features that a query has, too: an inverted index over a few bits of each descriptor.

use std::io;
use std::path::Path;

use super::features::Feature;
use super::segment::Segment;
use super::teblid::Descriptor;

/// The bits of a descriptor that make its key, in the order of what they tell: measured on pairs of features
/// of a picture and its copies, and hardly correlated with each other.
const KEY: [u8; 18] = [0, 2, 4, 7, 3, 171, 13, 98, 39, 180, 19, 47, 219, 170, 28, 64, 113, 35];
/// The bits of its signature, likewise.
const SIGNATURE: [u8; 56] = [
    255, 34, 146, 37, 9, 115, 44, 110, 21, 29, 109, 41, 123, 56, 63, 20, 217, 30, 31, 73, 117, 150, 55, 75, 58, 132,
    38, 62, 57, 94, 193, 190, 149, 66, 216, 245, 153, 148, 96, 120, 165, 241, 103, 144, 93, 128, 111, 80, 223, 72, 227,
    152, 230, 200, 86, 234,
];
/// Signatures in more different bits than this are not those of one feature.
const ALIKE: u32 = 13;

/// Turns are told apart in so many steps, levels one by one.
const TURNS: usize = 16;
const LEVELS: usize = 32;
/// Masters that are looked at more closely, those with the most votes first.
const SHORTLIST: usize = 1000;
/// Most counters of votes. In an index of more masters some share one until the shortlist is made, after which each
/// is looked at alone.
const COUNTERS: usize = 1 << 20;

/// Most postings that are read for one view of a picture. An index of 100,000 masters stays below it.
const AFFORDED: u64 = 12_000_000;

/// One feature of a master, in 12 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Posting {
    master: u32,
    /// 56 bits of signature, then 4 of the level, 4 of the angle.
    words: [u32; 2],
}

impl Posting {
    fn new(master: u32, feature: &Feature) -> Posting {
        let place = u32::from(feature.level.min(15)) << 4 | u32::from(feature.angle >> 4);
        let (first, second) = SIGNATURE.split_at(32);
        let words = [gather(&feature.descriptor, first), gather(&feature.descriptor, second) << 8 | place];
        Posting { master, words }
    }

    /// Bytes of a posting in a file.
    pub(super) const BYTES: usize = 12;

    pub(super) fn to_bytes(self) -> [u8; Posting::BYTES] {
        let words = [self.master, self.words[0], self.words[1]];
        std::array::from_fn(|at| words[at / 4].to_le_bytes()[at % 4])
    }

    pub(super) fn from_bytes(bytes: &[u8; Posting::BYTES]) -> Posting {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Posting { master: word(0), words: [word(4), word(8)] }
    }

    fn distance(self, other: Posting) -> u32 {
        (self.words[0] ^ other.words[0]).count_ones() + ((self.words[1] ^ other.words[1]) >> 8).count_ones()
    }

    fn level(self) -> u32 {
        self.words[1] >> 4 & 15
    }

    fn turn(self) -> u32 {
        self.words[1] & 15
    }
}

/// A feature of the query that looks like one of a master.
struct Hit {
    master: u32,
    /// By how many levels and steps of a turn the two differ: its place on a plane of `LEVELS` times `TURNS`.
    place: u16,
    weight: f32,
}

fn gather(descriptor: &Descriptor, bits: &[u8]) -> u32 {
    let bit = |&bit: &u8| (descriptor[usize::from(bit) / 64] >> (bit % 64) & 1) as u32;
    bits.iter().rev().fold(0, |word, position| word << 1 | bit(position))
}

/// The keys that a feature is looked up under: its own, and all in one bit of difference.
fn probes(feature: &Feature) -> impl Iterator<Item = u32> + use<> {
    let key = gather(&feature.descriptor, &KEY);
    std::iter::once(key).chain((0..KEY.len()).map(move |bit| key ^ 1 << bit))
}

/// Keys that there can be.
pub(super) const BUCKETS: usize = 1 << KEY.len();

/// Postings by their keys: those of new masters in memory, all others in files.
pub(crate) struct Postings {
    fresh: Vec<Vec<Posting>>,
    /// Masters whose postings are in memory.
    fresh_masters: Vec<u32>,
    pub(crate) segments: Vec<Segment>,
}

impl Default for Postings {
    fn default() -> Postings {
        Postings { fresh: vec![Vec::new(); BUCKETS], fresh_masters: Vec::new(), segments: Vec::new() }
    }
}

impl Postings {
    /// Adds the features of a master. Those of an earlier master of the same id stay, and do no more harm
    /// than a few votes for it.
    pub(crate) fn add(&mut self, master: u32, features: &[Feature]) {
        self.fresh_masters.push(master);
        for feature in features {
            let bucket = &mut self.fresh[gather(&feature.descriptor, &KEY) as usize];
            bucket.push(Posting::new(master, feature));
        }
    }

    /// Masters whose postings are in memory only.
    pub(crate) fn fresh_masters(&self) -> &[u32] {
        &self.fresh_masters
    }

    /// How many postings are in memory only.
    pub(crate) fn fresh_postings(&self) -> u64 {
        self.fresh.iter().map(|bucket| bucket.len() as u64).sum()
    }

    /// Writes the postings that are in memory, and those of the last `merged` segments, to a new segment.
    pub(crate) fn write(&self, path: &Path, merged: usize) -> io::Result<Segment> {
        let old = &self.segments[self.segments.len() - merged..];
        let count =
            |key: usize| self.fresh[key].len() as u32 + old.iter().map(|old| old.count(key as u32)).sum::<u32>();
        let counts: Vec<u32> = (0..BUCKETS).map(count).collect();
        Segment::write(path, &counts, |key, bucket| {
            bucket.extend_from_slice(&self.fresh[key as usize]);
            let mut bytes = Vec::new();
            old.iter().try_for_each(|old| old.read(key, &mut bytes).map(|postings| bucket.extend(postings)))
        })
    }

    /// Takes a segment that [`Postings::write`] has written in the place of what it was made of.
    pub(crate) fn replace(&mut self, merged: usize, segment: Segment) {
        self.segments.truncate(self.segments.len() - merged);
        self.segments.push(segment);
        self.fresh.iter_mut().for_each(|bucket| *bucket = Vec::new());
        self.fresh_masters.clear();
    }

    /// The masters with the most votes and those votes, best first. A vote is a
    /// feature that looks alike, counted by how alike it is and how few masters have one like it; only votes
    /// for one rotation and one scale add up (the weak geometric consistency of Jégou, Douze and Schmid,
    /// "Hamming embedding and weak geometric consistency", ECCV 2008). Rarity is reckoned among `masters`.
    pub(crate) fn votes(&self, query: &[Feature], masters: usize, count: usize) -> io::Result<Vec<(u32, f32)>> {
        let mut hits = self.hits(query, masters)?;
        shorten(&mut hits, masters);
        // One feature after the other, each in the order of the masters: runs that a stable sort merges.
        hits.sort_by_key(|hit| hit.master);
        let best = |plane: &[f32]| {
            let cell = |level: usize, turn: usize| plane[level * TURNS + turn % TURNS];
            let around = |level: usize, turn: usize| -> f32 {
                (level - 1..=level + 1)
                    .map(|level| (turn + TURNS - 1..=turn + TURNS + 1).map(|turn| cell(level, turn)).sum::<f32>())
                    .sum()
            };
            (1..LEVELS - 1).flat_map(|level| (0..TURNS).map(move |turn| around(level, turn))).fold(0.0, f32::max)
        };
        let mut plane = [0f32; LEVELS * TURNS];
        let of_one = |hits: &[Hit]| {
            plane.fill(0.0);
            hits.iter().for_each(|hit| plane[usize::from(hit.place) % (LEVELS * TURNS)] += hit.weight);
            (hits[0].master, best(&plane))
        };
        let mut found: Vec<(u32, f32)> = hits.chunk_by(|a, b| a.master == b.master).map(of_one).collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1));
        found.truncate(count);
        Ok(found)
    }

    /// The features of the query that the fewest postings are to be read for, as many as can be afforded: those that
    /// many masters have tell least, and what is read for one question has a bound whatever the index.
    fn affordable<'q>(&self, query: &'q [Feature]) -> impl Iterator<Item = &'q Feature> {
        let count = |key: u32| {
            let fresh = self.fresh[key as usize].len() as u64;
            fresh + self.segments.iter().map(|segment| u64::from(segment.count(key))).sum::<u64>()
        };
        let mut priced: Vec<(u64, &Feature)> =
            query.iter().map(|feature| (probes(feature).map(count).sum(), feature)).collect();
        priced.sort_by_key(|(price, _)| *price);
        let mut spent = 0;
        priced.into_iter().map_while(move |(price, feature)| {
            spent += price;
            (spent <= AFFORDED).then_some(feature)
        })
    }

    /// What looks like the features of the query, feature by feature and in the order of the masters.
    fn hits(&self, query: &[Feature], masters: usize) -> io::Result<Vec<Hit>> {
        let mut hits: Vec<Hit> = Vec::new();
        let mut bytes = Vec::new();
        for feature in self.affordable(query) {
            let own = Posting::new(0, feature);
            let first = hits.len();
            let hit = |posting: Posting| {
                let alike = (ALIKE + 1).saturating_sub(posting.distance(own)) as f32;
                let level = (posting.level() + 16 - own.level()) as usize;
                let turn = ((posting.turn() + 16 - own.turn()) % 16) as usize;
                let place = (level * TURNS + turn) as u16;
                (alike > 0.0).then_some(Hit { master: posting.master, place, weight: alike * alike })
            };
            for probe in probes(feature) {
                hits.extend(self.fresh[probe as usize].iter().copied().filter_map(hit));
                for segment in &self.segments {
                    hits.extend(segment.read(probe, &mut bytes)?.filter_map(hit));
                }
            }
            let of_this = &mut hits[first..];
            of_this.sort_unstable_by_key(|hit| hit.master);
            let different = of_this.chunk_by(|a, b| a.master == b.master).count();
            let rarity = (1.0 + masters as f32 / different.max(1) as f32).ln();
            of_this.iter_mut().for_each(|hit| hit.weight *= rarity);
        }
        Ok(hits)
    }
}

/// Leaves the hits of those masters only that have the most votes.
fn shorten(hits: &mut Vec<Hit>, masters: usize) {
    let counters = masters.next_power_of_two().min(COUNTERS);
    let counter = |hit: &Hit| hit.master as usize % counters;
    let mut votes = vec![0f32; counters];
    hits.iter().for_each(|hit| votes[counter(hit)] += hit.weight);
    let mut shortlist: Vec<usize> = (0..counters).filter(|&counter| votes[counter] > 0.0).collect();
    if shortlist.len() > SHORTLIST {
        shortlist.select_nth_unstable_by(SHORTLIST, |&a, &b| votes[b].total_cmp(&votes[a]));
        shortlist.drain(..SHORTLIST).for_each(|counter| votes[counter] = f32::INFINITY);
        hits.retain(|hit| votes[counter(hit)] == f32::INFINITY);
    }
}

//! The small pictures of one file or directory that may be tiles, until all of them are known.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use super::SET_NAME_END;
use super::name::{Key, TileName};
use super::place::{Arrangement, Placed, arrangements};
use super::seams::{Edges, Seams};
use super::stitch::{Piece, stitch};
use crate::decode::{Decoded, Format, Reduced};
use crate::measure::Size;

/// Fewer tiles are looked at each by itself alone: they are large parts.
const FEWEST: usize = 4;
/// A tile has at most so many pixels; what is larger can be known by itself.
const LARGEST: u64 = 4096 * 4096;
/// One with more pixels is looked at by itself as well, at once.
const SMALL: u64 = 512 * 512;
/// Longest side of a tile that is held, at first and at least: it is halved whenever there is too much to hold.
const FIRST: usize = 4096;
const LAST: usize = 8;

/// A picture that may be a tile.
struct Held {
    path: String,
    name: TileName,
    format: Format,
    size: Size,
    reduced: Reduced,
    edges: Edges,
    /// Somebody has looked at it by itself.
    is_told: bool,
}

/// A set of tiles that makes one picture.
pub(crate) struct Set {
    /// Which one, for people.
    pub(crate) title: String,
    pub(crate) decoded: Decoded,
    /// Which share of its area its tiles cover: some may be missing.
    pub(crate) filled: f64,
}

/// Holds tiles, within a budget of memory.
pub(crate) struct Pool {
    held: Vec<Held>,
    bytes: usize,
    budget: usize,
    side: usize,
    /// Sets whose tiles have turned out to fit each other.
    known: BTreeSet<Key>,
}

/// What has become of the tiles that were held.
#[derive(Default)]
pub(crate) struct Settled {
    pub(crate) sets: Vec<Set>,
    /// No tiles of these, or not only tiles: with their paths.
    pub(crate) single: Vec<(String, Decoded)>,
}

impl Pool {
    /// That holds at most about `budget` bytes.
    pub(crate) fn new(budget: u64) -> Pool {
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        Pool { held: Vec::new(), bytes: 0, budget, side: FIRST, known: BTreeSet::new() }
    }

    /// Keeps what may be a tile. Whether it is told later what it is, with its set or by itself; else the caller looks at
    /// it as at any other picture.
    pub(crate) fn add(&mut self, path: &str, name: TileName, decoded: &Decoded) -> bool {
        let Decoded { format, size, reduced } = decoded;
        let pixels = u64::from(size.width) * u64::from(size.height);
        if pixels > LARGEST || self.bytes > self.budget {
            return false;
        }
        let is_whole = reduced.width.max(reduced.height) <= self.side;
        let is_later = pixels <= SMALL && (is_whole || self.known.contains(&name.key));
        let edges = Edges::of(reduced);
        let reduced = shrunk(reduced, self.side);
        self.bytes += cost(&reduced);
        let (path, format, size) = (path.to_owned(), *format, *size);
        self.held.push(Held { path, name, format, size, reduced, edges, is_told: !is_later });
        is_later
    }

    /// Whether there is so much that [`Pool::settle`] has to make room.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes > self.budget && self.side > LAST
    }

    /// Makes room: what does not seem to be a tile is given back as long as it can be seen well, and the others are
    /// reduced further.
    pub(crate) fn settle(&mut self) -> Settled {
        let mut settled = Settled::default();
        for members in self.groups() {
            // Neighbours of a tile may still come.
            let group = Group::of(&self.held, members, true);
            if group.is_one {
                self.known.insert(self.held[group.members[0]].name.key.clone());
            }
            self.give_back(&group, &mut settled);
        }
        while self.is_full() {
            self.side /= 2;
            for held in &mut self.held {
                held.reduced = shrunk(&held.reduced, self.side);
            }
            self.bytes = self.held.iter().map(|held| cost(&held.reduced)).sum();
        }
        settled
    }

    /// All sets there are, and what belongs to none.
    pub(crate) fn finish(&mut self) -> Settled {
        let mut settled = Settled::default();
        for members in self.groups() {
            let group = Group::of(&self.held, members, false);
            settled.sets.extend(group.set(&self.held));
            self.give_back(&group, &mut settled);
        }
        self.held.clear();
        self.bytes = 0;
        settled
    }

    fn give_back(&mut self, group: &Group, settled: &mut Settled) {
        for &index in group.members.iter().filter(|index| !group.explained.contains(index)) {
            let Held { path, format, size, reduced, is_told, .. } = &mut self.held[index];
            if !mem::replace(is_told, true) {
                let decoded = Decoded { format: *format, size: *size, reduced: reduced.clone() };
                settled.single.push((path.clone(), decoded));
            }
        }
    }

    /// What belongs together by its name. Pairs of numbers that make no picture may be a series of numbered ones.
    fn groups(&self) -> Vec<Vec<usize>> {
        let mut by_key: BTreeMap<&Key, Vec<usize>> = BTreeMap::new();
        for (index, held) in self.held.iter().enumerate() {
            by_key.entry(&held.name.key).or_default().push(index);
        }
        let mut groups = Vec::new();
        for members in by_key.into_values() {
            let mut numbered: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
            for &index in &members {
                if let Some((first, _)) = self.held[index].name.as_numbered() {
                    numbered.entry(first).or_default().push(index);
                }
            }
            let is_series = numbered.values().any(|some| some.len() >= FEWEST) && numbered.len() < members.len();
            if is_series && !Group::of(&self.held, members.clone(), false).is_one {
                groups.extend(numbered.into_values());
            } else {
                groups.push(members);
            }
        }
        groups
    }
}

/// Pictures whose names say that they are of one set, and what their looks say.
struct Group {
    members: Vec<usize>,
    arrangement: Option<Arrangement>,
    /// Those that are nothing but tiles of this set.
    explained: BTreeSet<usize>,
    /// They make one picture.
    is_one: bool,
}

impl Group {
    /// `alone`: whether a tile without neighbours counts as one.
    fn of(held: &[Held], members: Vec<usize>, alone: bool) -> Group {
        let none = |members| Group { members, arrangement: None, explained: BTreeSet::new(), is_one: false };
        if members.len() < FEWEST {
            return none(members);
        }
        let names = members.iter().map(|index| &held[*index].name);
        // A series by its second numbers, if the first one is always the same.
        let first = names.clone().next().and_then(TileName::as_numbered).map(|(first, _)| first);
        let is_series = first.is_some() && names.clone().all(|name| name.as_numbered().map(|(one, _)| one) == first);
        let place = |name: &TileName| match name.as_numbered() {
            Some((_, number)) if is_series => number,
            _ => name.place,
        };
        let size = |index: usize| (held[index].size.width, held[index].size.height);
        let placed: Vec<Placed> =
            members.iter().map(|index| Placed { place: place(&held[*index].name), size: size(*index) }).collect();
        let seen = arrangements(&placed).into_iter().filter(|found| found.cells.len() >= FEWEST).map(|found| {
            let (tiles, cells): (Vec<usize>, Vec<(u32, u32)>) = found.cells.iter().copied().unzip();
            let edges: Vec<&Edges> = tiles.iter().map(|tile| &held[members[*tile]].edges).collect();
            (Seams::of(&edges, &cells), found)
        });
        let doubt = |seams: &Seams| seams.left.unwrap_or(f64::MAX);
        let Some((seams, arrangement)) = seen.min_by(|(a, _), (b, _)| doubt(a).total_cmp(&doubt(b))) else {
            return none(members);
        };
        let is_one = seams.go_on();
        let tiles = arrangement.cells.iter().zip(&seams.fits).filter(|(_, fits)| is_one && fits.unwrap_or(alone));
        let explained = tiles.map(|((tile, _), _)| members[*tile]).collect();
        Group { members, arrangement: Some(arrangement), explained, is_one }
    }

    /// The picture that they make; what viewers call tiles is one even where the seams are blank.
    fn set(&self, held: &[Held]) -> Option<Set> {
        let arrangement = self.arrangement.as_ref()?;
        let tiles = || arrangement.cells.iter().map(|(tile, cell)| (&held[self.members[*tile]], *cell));
        let (first, _) = tiles().next()?;
        if !self.is_one && !first.name.is_of_a_viewer() {
            return None;
        }
        let pieces: Vec<Piece<'_>> = tiles()
            .map(|(held, cell)| Piece { cell, size: (held.size.width, held.size.height), reduced: &held.reduced })
            .collect();
        let ((width, height), reduced) = stitch(arrangement, &pieces)?;
        let bit_depth = tiles().map(|(held, _)| held.size.bit_depth).max().unwrap_or_default();
        let cells = u64::from(arrangement.columns) * u64::from(arrangement.rows);
        Some(Set {
            title: format!("{} ({}{SET_NAME_END}", first.name, pieces.len()),
            decoded: Decoded { format: first.format, size: Size { width, height, bit_depth }, reduced },
            filled: (pieces.len() as f64 / cells.max(1) as f64).min(1.0),
        })
    }
}

fn cost(reduced: &Reduced) -> usize {
    reduced.rgb.len() + size_of::<Held>()
}

/// The same with no side longer than `side`; the axes are reduced independently.
fn shrunk(reduced: &Reduced, side: usize) -> Reduced {
    if reduced.width.max(reduced.height) <= side {
        return reduced.clone();
    }
    let (width, height) = (reduced.width.min(side), reduced.height.min(side));
    let rgb = reduced.resample(width as u32, height as u32);
    Reduced { width, height, extent: (width as f64, height as f64), rgb, pixels: reduced.pixels }
}

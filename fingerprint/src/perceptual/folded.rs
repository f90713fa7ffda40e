//! Comparing one picture in eight orientations with very many hashes.
//!
//! Mirroring a picture turns the sign of every other frequency of its spectrum, and so, but for the few that lie next
//! to the median, every other bit of its hash. With those bits that change together in one word, four mirror images
//! cost little more than one.

use super::{Hash, Orientation};

/// The bits of even columns and even rows, in a word of four rows of 16.
const EVEN: u64 = 0x0000_5555_0000_5555;
/// By how much a word moves so that its bits of one word of [`Folded`] lie at those of [`EVEN`]: those that mirroring
/// leaves, those that change left to right, top to bottom, and with either of both. Index 0 is the frequency 1.
const CLASSES: [u32; 4] = [17, 16, 1, 0];
/// By how much the bits of each of the four words are moved aside.
const PLACES: [u32; 4] = [0, 1, 16, 17];

/// A hash in that order of its bits. Distances between hashes are the same in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Folded([u64; 4]);

impl Folded {
    /// [`Hash::NONE`].
    pub(crate) const NONE: Folded = Folded([0; 4]);

    pub(crate) fn unfolded(self) -> Hash {
        let word = |place: u32| {
            let parts = self.0.iter().zip(CLASSES).map(|(bits, class)| (bits >> place & EVEN) << class);
            parts.fold(0, |word, part| word | part)
        };
        Hash(PLACES.map(word))
    }

    /// How many bits of each word differ.
    fn differences(self, other: Folded) -> [u32; 4] {
        std::array::from_fn(|at| (self.0[at] ^ other.0[at]).count_ones())
    }

    fn distance(self, other: Folded) -> u32 {
        self.differences(other).iter().sum()
    }

    /// Roughly the hash of the mirrored picture.
    fn mirrored(self, orientation: Orientation) -> Folded {
        let turned = [false, orientation.mirror_x, orientation.mirror_y, orientation.mirror_x != orientation.mirror_y];
        Folded(std::array::from_fn(|at| if turned[at] { !self.0[at] } else { self.0[at] }))
    }
}

/// Many of them, word by word, so that the processor compares the same word of several at once.
#[derive(Clone)]
pub(crate) struct FoldedHashes<const COUNT: usize>([[u64; COUNT]; 4]);

impl<const COUNT: usize> FoldedHashes<COUNT> {
    /// All of them [`Folded::NONE`].
    pub(crate) const NONE: FoldedHashes<COUNT> = FoldedHashes([[0; COUNT]; 4]);

    pub(crate) fn get(&self, place: usize) -> Folded {
        Folded(std::array::from_fn(|word| self.0[word][place]))
    }

    pub(crate) fn set(&mut self, place: usize, hash: Folded) {
        self.0.iter_mut().zip(hash.0).for_each(|(words, word)| words[place] = word);
    }

    /// No mirror image of `sought` is nearer to each of them than this, but for what [`Sought::slack`] says.
    fn least(&self, sought: Folded) -> [u8; COUNT] {
        let differences = |at: usize| {
            let mut counts = [0u8; COUNT];
            for (count, word) in counts.iter_mut().zip(&self.0[at]) {
                *count = (word ^ sought.0[at]).count_ones() as u8;
            }
            counts
        };
        let mut least = differences(0);
        for turned in 1..4 {
            least.iter_mut().zip(differences(turned)).for_each(|(least, bits)| *least += bits.min(64 - bits));
        }
        least
    }
}

impl From<Hash> for Folded {
    fn from(hash: Hash) -> Folded {
        Folded(CLASSES.map(|class| {
            let parts = hash.0.iter().zip(PLACES).map(|(word, place)| (word >> class & EVEN) << place);
            parts.fold(0, |word, part| word | part)
        }))
    }
}

/// A picture whose hash is looked for, within a limit of bits.
pub(crate) struct Sought {
    hashes: [Folded; 8],
    limit: u32,
    /// By how much the hashes of mirror images differ at most from what [`Folded::mirrored`] makes of the first two.
    slack: u32,
}

impl Sought {
    /// From the hashes in all orientations.
    pub(super) fn new(hashes: &[Hash; 8], limit: u32) -> Sought {
        let hashes = hashes.map(Folded::from);
        let roughly = |(orientation, hash): (Orientation, &Folded)| {
            hashes[usize::from(orientation.transpose)].mirrored(orientation).distance(*hash)
        };
        let slack = Orientation::ALL.into_iter().zip(&hashes).map(roughly).max().unwrap_or_default();
        Sought { hashes, limit, slack }
    }

    /// What of `hashes` lies within the limit: its place, the orientation, and the distance.
    pub(crate) fn near<const COUNT: usize>(
        &self,
        hashes: &FoldedHashes<COUNT>,
    ) -> impl Iterator<Item = (usize, Orientation, u32)> {
        let [upright, transposed, ..] = self.hashes;
        // By the inequality of the triangle.
        let least = hashes.least(upright).into_iter().zip(hashes.least(transposed));
        let may_be = least.enumerate().filter(|(_, (a, b))| u32::from(*a.min(b)) <= self.limit + self.slack);
        let there = may_be.map(|(place, _)| (place, hashes.get(place))).filter(|(_, hash)| *hash != Folded::NONE);
        let all = there.flat_map(|(place, hash)| {
            let oriented = Orientation::ALL.into_iter().zip(&self.hashes);
            oriented.map(move |(orientation, sought)| (place, orientation, sought.distance(hash)))
        });
        all.filter(|(_, _, distance)| *distance <= self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::super::pdq::Spectrum;
    use super::*;

    fn noise(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed | 1;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        }
    }

    #[test]
    fn folding_moves_bits_and_loses_none() {
        let mut noise = noise(3);
        for _ in 0..100 {
            let [a, b] = [Hash([noise(), noise(), noise(), noise()]), Hash([noise(), noise(), noise(), noise()])];
            assert_eq!(Folded::from(a).unfolded(), a);
            assert_eq!(Folded::from(a).distance(b.into()), a.distance(&b));
        }
        assert_eq!(Folded::from(Hash::NONE), Folded::NONE);
    }

    #[test]
    fn what_is_near_in_any_orientation_is_found_and_nothing_else() {
        let mut noise = noise(9);
        let picture: Vec<f32> = (0..64 * 64).map(|_| (noise() % 256) as f32).collect();
        let spectrum = Spectrum::of(&picture, 64, 64);
        let hashes = Orientation::ALL.map(|orientation| spectrum.oriented(orientation).hash());
        let sought = Sought::new(&hashes, 92);
        assert!(sought.slack < 40, "mirroring turns bits: {}", sought.slack);
        let mut others = FoldedHashes::<2000>::NONE;
        let mut expected = Vec::new();
        for place in (0..2000).filter(|place| place % 7 > 0) {
            // Up to 128 bits of one of them turned.
            let mut other = hashes[place % 8];
            (0..place % 129).for_each(|_| {
                let bit = noise() % 256;
                other.0[bit as usize / 64] ^= 1 << (bit % 64);
            });
            others.set(place, other.into());
            assert_eq!(others.get(place), other.into());
            let all = Orientation::ALL.into_iter().zip(hashes.map(|hash| hash.distance(&other)));
            expected.extend(all.filter(|(_, distance)| *distance <= 92).map(|(way, distance)| (place, way, distance)));
        }
        assert_eq!(sought.near(&others).collect::<Vec<_>>(), expected);
        assert!(expected.len() > 1000);
    }
}

//! Equality of parts: content-defined chunks (FastCDC, Xia et al., "The Design of Fast Content-Defined Chunking
//! for Data Deduplication Based Storage Systems", IEEE TPDS 2020) and the first 64 bits of their BLAKE3.
//!
//! Boundaries depend on the bytes around them alone, so that a stretch of a master is cut in the same places
//! wherever it lies in another file. Plain ground is left out; ICC profiles and text, of which the same ones lie in files
//! that have nothing to do with each other, are no evidence where a master has them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastcdc::v2020::FastCDC;
use memchr::memmem;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Shortest, usual and longest part, in bytes. In the middle of another file it takes some parts until the cuts are
/// those of the master again, the fewer the shorter the shortest is against the usual; of 256 KiB enough are left.
const LENGTHS: (usize, usize, usize) = (4 << 10, 16 << 10, 64 << 10);
/// A part with fewer different words than one in so many is plain ground.
const PLAIN: usize = 8;
/// The longest ICC profile that is stepped over, in bytes.
const PROFILE: u32 = 4 << 20;

/// One part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The first eight bytes of its BLAKE3.
    pub(crate) hash: u64,
    /// In bytes.
    pub(crate) length: u32,
    /// It is made of what lies in files that have nothing to do with each other: no evidence where a master has it.
    pub(crate) common: bool,
}

/// The bit of a stored length that says so.
const COMMON: u32 = 1 << 31;

/// The parts of a file, for [`Index`](crate::Index) alone. Base64 where it is serialised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts(pub(crate) Vec<Part>);

impl Serialize for Parts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pack = |part: &Part| {
            let length = part.length | if part.common { COMMON } else { 0 };
            [&part.hash.to_le_bytes()[..], &length.to_le_bytes()].concat()
        };
        STANDARD.encode(self.0.iter().flat_map(pack).collect::<Vec<u8>>()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Parts, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        let (packed, rest) = bytes.as_chunks::<12>();
        if !rest.is_empty() {
            return Err(D::Error::custom("parts come in twelve bytes each"));
        }
        let unpack = |packed: &[u8; 12]| {
            let [a, b, c, d, e, f, g, h, i, j, k, l] = *packed;
            let length = u32::from_le_bytes([i, j, k, l]);
            let hash = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
            Part { hash, length: length & !COMMON, common: length & COMMON != 0 }
        };
        Ok(Parts(packed.iter().map(unpack).collect()))
    }
}

/// Cuts a stream into parts; holds the beginning of one of them.
#[derive(Default)]
pub(super) struct Cutter {
    /// Shorter than the longest part.
    waiting: Vec<u8>,
    /// So many of the bytes to come belong to an ICC profile.
    profile: usize,
    parts: Vec<Part>,
}

impl Cutter {
    pub(super) fn put(&mut self, bytes: &[u8]) {
        let mut cut = 0;
        if !self.waiting.is_empty() {
            // Only the part that has begun is put together; all that follow are cut where they lie.
            let mut waiting = std::mem::take(&mut self.waiting);
            let begun = waiting.len();
            waiting.extend_from_slice(&bytes[..bytes.len().min(LENGTHS.2)]);
            let end = self.cut(&waiting, LENGTHS.2, begun);
            waiting.drain(..end);
            self.waiting = waiting;
            if end < begun {
                return;
            }
            self.waiting.clear();
            cut = end - begun;
        }
        cut += self.cut(&bytes[cut..], LENGTHS.2, usize::MAX);
        self.waiting.extend_from_slice(&bytes[cut..]);
    }

    /// All parts; what is too short for one at the end is left out.
    pub(super) fn finish(mut self) -> Parts {
        let waiting = std::mem::take(&mut self.waiting);
        self.cut(&waiting, LENGTHS.0, usize::MAX);
        Parts(self.parts)
    }

    /// Cuts parts that begin before `until` as long as there are so many bytes; how many it has cut.
    fn cut(&mut self, bytes: &[u8], enough: usize, until: usize) -> usize {
        let (shortest, usual, longest) = LENGTHS;
        let chunker = FastCDC::new(bytes, shortest, usual, longest);
        let mut start = 0;
        while start < until && bytes.len() - start >= enough {
            let (_, end) = chunker.cut(start, bytes.len() - start);
            self.take(&bytes[start..end]);
            start = end;
        }
        start
    }

    fn take(&mut self, bytes: &[u8]) {
        self.profile = self.profile.max(profile(bytes).unwrap_or(0));
        let free = bytes.len().saturating_sub(self.profile);
        let common = free * 2 < bytes.len() || is_packet(bytes);
        if !is_plain(bytes) {
            let hash = blake3::hash(bytes);
            let first = hash.as_bytes().first_chunk::<8>().copied().unwrap_or_default();
            self.parts.push(Part { hash: u64::from_le_bytes(first), length: bytes.len() as u32, common });
        }
        self.profile = self.profile.saturating_sub(bytes.len());
    }
}

/// Where an ICC profile that begins in `bytes` ends: its signature `acsp` lies at byte 36, its length at byte 0
/// (ISO 15076-1, 7.2).
fn profile(bytes: &[u8]) -> Option<usize> {
    let ends = memmem::find_iter(bytes, b"acsp").filter_map(|at| {
        let start = at.checked_sub(36)?;
        let length = bytes.get(start..)?.first_chunk::<4>().copied().map(u32::from_be_bytes)?;
        (128..=PROFILE).contains(&length).then_some(start + length as usize)
    });
    ends.max()
}

/// Whether it is the text of an XMP packet, which programs copy from one document into the next: all but some bytes
/// are those of text.
fn is_packet(bytes: &[u8]) -> bool {
    let mut others = bytes.iter().filter(|byte| !matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~'));
    others.nth(bytes.len() / 20).is_none()
}

/// Whether few words repeat: blank paper, a ramp, padding. Looks at every 61st word, which no row of pixels keeps
/// step with.
fn is_plain(bytes: &[u8]) -> bool {
    let (words, _) = bytes.as_chunks::<8>();
    let mut seen: Vec<u64> = words.iter().step_by(61).map(|word| u64::from_le_bytes(*word)).collect();
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    seen.len() * PLAIN < all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn parts(bytes: &[u8], block: usize) -> Vec<Part> {
        let mut cutter = Cutter::default();
        bytes.chunks(block).for_each(|block| cutter.put(block));
        cutter.finish().0
    }

    #[test]
    fn the_cuts_do_not_depend_on_how_the_bytes_arrive() {
        let bytes = noise(3 << 20, 1);
        let whole = parts(&bytes, 1 << 20);
        for block in [4097, 65_537, 200_000] {
            assert_eq!(whole, parts(&bytes, block), "{block}");
        }
        // As the chunker cuts them where all bytes lie in one piece.
        let (shortest, usual, longest) = LENGTHS;
        let mut alone: Vec<u32> = FastCDC::new(&bytes, shortest, usual, longest).map(|cut| cut.length as u32).collect();
        alone.truncate(whole.len());
        assert_eq!(whole.iter().map(|part| part.length).collect::<Vec<_>>(), alone);
        let left_out = bytes.len() - whole.iter().map(|part| part.length as usize).sum::<usize>();
        assert!(left_out < LENGTHS.0, "{left_out}");
    }

    #[test]
    fn any_quarter_of_a_megabyte_is_known_wherever_it_lies() {
        let master = noise(4 << 20, 2);
        let known: Vec<u64> = parts(&master, 1 << 20).iter().map(|part| part.hash).collect();
        for start in (0..(4 << 20) - (256 << 10)).step_by(77_777) {
            let mut other = noise(100_001, start as u64);
            other.extend_from_slice(&master[start..start + (256 << 10)]);
            other.extend(noise(50_000, 3));
            let found = parts(&other, 65_536).iter().filter(|part| known.contains(&part.hash)).count();
            assert!(found >= 3, "{found} from {start}");
        }
    }

    #[test]
    fn blank_paper_and_profiles_are_no_evidence() {
        let rows: Vec<u8> = [250, 249, 240].iter().copied().cycle().take(3 << 20).collect();
        assert_eq!(parts(&rows, 1 << 20), []);
        let mut profile = 500_000u32.to_be_bytes().to_vec();
        profile.extend(noise(32, 4));
        profile.extend(b"acsp");
        profile.extend(noise(500_000 - 40, 5));
        let known: Vec<u64> = parts(&profile, 1 << 20).iter().map(|part| part.hash).collect();
        assert!(!known.is_empty() && parts(&profile, 1 << 20).iter().all(|part| part.common));
    }

    #[test]
    fn parts_travel_as_text() {
        let parts = Parts(parts(&noise(1 << 20, 6), 1 << 20));
        let text = serde_json::to_string(&parts).unwrap();
        assert_eq!(serde_json::from_str::<Parts>(&text).unwrap(), parts);
        assert!(serde_json::from_str::<Parts>("\"AAAA\"").is_err());
    }
}

//! Equality of whole files: BLAKE3 (<https://github.com/BLAKE3-team/BLAKE3-specs>), 256 bits.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are read at once. `read` with 1 MiB beats `mmap` for BLAKE3: 5.2 against 4.0 GB per CPU-second.
const BLOCK: usize = 1024 * 1024;

/// BLAKE3 of a file's bytes. Shown, parsed and serialised as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of bytes in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// What is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hexadecimal digits")]
pub struct DigestError;

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        blake3::Hash::from_hex(text).map(|hash| Digest(*hash.as_bytes())).map_err(|_| DigestError)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A file that was read from its first byte to its last.
pub(crate) struct Whole {
    pub(crate) digest: Digest,
    /// How many bytes it had.
    pub(crate) bytes: u64,
    /// Its first bytes, or all of them where they fit into `keep`.
    pub(crate) kept: Vec<u8>,
}

/// Reads `file` from the start, whatever its offset, which is left alone. Files of at most `keep` bytes
/// (by `size`, their size now) are kept in memory for the decoders; of longer ones, the first block.
pub(crate) fn read(file: &File, size: u64, keep: u64) -> io::Result<Whole> {
    let mut hasher = blake3::Hasher::new();
    let mut offset = 0u64;
    let keep_all = size <= keep;
    let length = usize::try_from(size).unwrap_or(usize::MAX);
    let mut kept = Vec::with_capacity(if keep_all { length } else { 0 });
    let mut block = vec![0u8; BLOCK.min(length.saturating_add(1))];
    loop {
        let got = match file.read_at(&mut block, offset) {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&block[..got]);
        if (keep_all && kept.len() + got <= length) || kept.is_empty() {
            kept.extend_from_slice(&block[..got]);
        }
        offset += got as u64;
        if offset > size {
            break; // It grows while it is read: the caller sees the other size and says so.
        }
    }
    Ok(Whole { digest: Digest(*hasher.finalize().as_bytes()), bytes: offset, kept })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_empty_input_has_the_published_digest() {
        // First test vector of the BLAKE3 specification (test_vectors.json, input_len 0).
        let published = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Digest::of(b"").to_string(), published);
        assert_eq!(published.parse(), Ok(Digest::of(b"")));
        assert_eq!("af13".parse::<Digest>(), Err(DigestError));
    }

    #[test]
    fn a_digest_travels_as_text() {
        let digest = Digest::of(b"scan");
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(text, format!("\"{digest}\""));
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
    }

    #[test]
    fn a_file_is_read_from_its_start_and_kept_only_if_small() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        file.write_all(&bytes).unwrap();
        let small = read(&file, bytes.len() as u64, u64::MAX).unwrap();
        assert_eq!((small.digest, small.kept == bytes), (Digest::of(&bytes), true));
        let large = read(&file, bytes.len() as u64, 1000).unwrap();
        assert_eq!((large.digest, large.bytes), (Digest::of(&bytes), bytes.len() as u64));
        assert_eq!(large.kept, bytes[..BLOCK]);
    }
}

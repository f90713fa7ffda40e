//! Postings on disk: files that are written once and then only read.
//!
//! A file begins with a magic number and where each key's postings start (counts, 32 bits, little endian, as
//! all numbers here), goes on with the postings in the order of their keys, and ends with the BLAKE3 digest of
//! the beginning and that of everything. Buckets are read through the page cache of the kernel; a mapping
//! would kill the process where a file turns out shorter than it was.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::postings::{BUCKETS, Posting};

const MAGIC: &[u8; 8] = b"VtrPost1";
const HEAD: usize = MAGIC.len() + (BUCKETS + 1) * 4;
const DIGESTS: usize = 64;

/// One file of postings.
pub(crate) struct Segment {
    file: File,
    starts: Vec<u32>,
}

impl Segment {
    /// Writes `buckets`, all of them in the order of their keys, to a new file, safely on disk when this returns.
    pub(crate) fn write<'a>(
        path: &Path,
        counts: &[u32],
        mut buckets: impl FnMut(u32, &mut Vec<Posting>) -> io::Result<()> + 'a,
    ) -> io::Result<Segment> {
        let mut starts = vec![0u32];
        for count in counts {
            let end = starts.last().and_then(|start| start.checked_add(*count));
            starts.push(end.ok_or_else(|| io::Error::other("more than 2^32 postings in one file"))?);
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        let mut head = MAGIC.to_vec();
        starts.iter().for_each(|start| head.extend_from_slice(&start.to_le_bytes()));
        let mut whole = blake3::Hasher::new();
        whole.update(&head);
        let mut out = BufWriter::with_capacity(1 << 20, &file);
        out.write_all(&head)?;
        let (mut bucket, mut bytes) = (Vec::new(), Vec::new());
        for (key, count) in (0u32..).zip(counts) {
            bucket.clear();
            buckets(key, &mut bucket)?;
            if bucket.len() != *count as usize {
                return Err(io::Error::other("the postings changed while they were written"));
            }
            bytes.clear();
            bucket.iter().for_each(|posting| bytes.extend_from_slice(&posting.to_bytes()));
            whole.update(&bytes);
            out.write_all(&bytes)?;
        }
        out.write_all(blake3::hash(&head).as_bytes())?;
        out.write_all(whole.finalize().as_bytes())?;
        out.flush()?;
        drop(out);
        file.sync_all()?;
        Ok(Segment { file, starts })
    }

    /// Opens a file and checks its size and its beginning.
    pub(crate) fn open(path: &Path) -> io::Result<Segment> {
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let file = File::open(path)?;
        let mut head = vec![0; HEAD];
        file.read_exact_at(&mut head, 0)?;
        let numbers = head.strip_prefix(MAGIC.as_slice()).ok_or_else(|| damaged("no postings of this version"))?;
        let starts: Vec<u32> = numbers.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let postings = u64::from(starts.last().copied().unwrap_or_default());
        let end = HEAD as u64 + postings * Posting::BYTES as u64;
        if file.metadata()?.len() != end + DIGESTS as u64 {
            return Err(damaged("its size is not what its beginning says"));
        }
        let mut digest = [0; 32];
        file.read_exact_at(&mut digest, end)?;
        if digest != *blake3::hash(&head).as_bytes() || !starts.is_sorted() {
            return Err(damaged("its beginning does not have its checksum"));
        }
        Ok(Segment { file, starts })
    }

    /// Whether all of the file has its checksum; reads it all.
    pub(crate) fn is_intact(&self) -> io::Result<bool> {
        let end = HEAD as u64 + self.postings() * Posting::BYTES as u64;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < end {
            let part = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            self.file.read_exact_at(&mut buffer[..part], at)?;
            hasher.update(&buffer[..part]);
            at += part as u64;
        }
        let mut digest = [0; 32];
        self.file.read_exact_at(&mut digest, end + 32)?;
        Ok(digest == *hasher.finalize().as_bytes())
    }

    /// How many postings there are.
    pub(crate) fn postings(&self) -> u64 {
        self.starts.last().copied().unwrap_or_default().into()
    }

    /// How many postings a key has.
    pub(crate) fn count(&self, key: u32) -> u32 {
        self.starts[key as usize + 1] - self.starts[key as usize]
    }

    /// The postings of a key; `bytes` is room that is used again.
    pub(crate) fn read<'b>(
        &self,
        key: u32,
        bytes: &'b mut Vec<u8>,
    ) -> io::Result<impl Iterator<Item = Posting> + use<'b>> {
        let length = self.count(key) as usize * Posting::BYTES;
        if bytes.len() < length {
            bytes.resize(length, 0);
        }
        let bytes = &mut bytes[..length];
        if length > 0 {
            let start = u64::from(self.starts[key as usize]) * Posting::BYTES as u64;
            self.file.read_exact_at(bytes, HEAD as u64 + start)?;
        }
        Ok(bytes.as_chunks::<{ Posting::BYTES }>().0.iter().map(Posting::from_bytes))
    }
}

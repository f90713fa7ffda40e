//! The directories of a TIFF file: which entries there are, and their values.

use std::io::{self, Read, Seek, SeekFrom};

use super::super::source::{Reader, Source};
use crate::measure::{Limits, Reason};

/// Most entries of one directory that are looked at.
const ENTRIES: u64 = 4096;
/// Most bytes of one entry's values: the offsets of four million tiles.
const VALUES: u64 = 32 << 20;
/// Most values of an entry that holds bytes: the tables of a JPEG have some hundred.
const BYTES: u64 = 1 << 20;

/// An open file whose header has been read.
pub(super) struct File<'a> {
    pub(super) source: Source<'a>,
    pub(super) reader: Reader<'a>,
    /// Low bytes first.
    pub(super) little: bool,
    /// Offsets of 64 bits.
    big: bool,
    /// Where the first directory lies.
    pub(super) first: u64,
    /// Most bytes of one entry's values.
    most: u64,
}

/// One entry: what its values are and where they lie.
struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    at: u64,
}

/// One directory.
pub(super) struct Directory {
    entries: Vec<Entry>,
    /// Where the next one of the chain lies; 0 where this is the last.
    pub(super) next: u64,
}

impl<'a> File<'a> {
    /// Reads the header.
    pub(super) fn open(source: Source<'a>, limits: &Limits) -> Result<File<'a>, Reason> {
        let mut reader = source.reader();
        let mut header = [0u8; 16];
        reader.read_exact(&mut header[..8]).map_err(|error| read_failed(&error))?;
        let little = header[0] == b'I';
        let big = header[2..4].contains(&43);
        if big {
            reader.read_exact(&mut header[8..]).map_err(|error| read_failed(&error))?;
        }
        let first = number(if big { &header[8..16] } else { &header[4..8] }, little);
        Ok(File { source, reader, little, big, first, most: VALUES.min(limits.max_memory / 4) })
    }

    /// Reads the directory that lies at `offset`.
    pub(super) fn directory(&mut self, offset: u64) -> Result<Directory, Reason> {
        let failed = |error: io::Error| read_failed(&error);
        let (count_bytes, entry_bytes, value_at) = if self.big { (8, 20, 12) } else { (2, 12, 8) };
        let word = if self.big { 8 } else { 4 };
        self.reader.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut bytes = [0u8; 20];
        self.reader.read_exact(&mut bytes[..count_bytes]).map_err(failed)?;
        let count = number(&bytes[..count_bytes], self.little);
        if count > ENTRIES {
            return Err(Reason::Damaged(format!("a directory of {count} entries")));
        }
        let mut entries = Vec::new();
        for index in 0..count {
            self.reader.read_exact(&mut bytes[..entry_bytes]).map_err(failed)?;
            let kind = number(&bytes[2..4], self.little) as u16;
            let count = number(&bytes[4..value_at], self.little);
            let inside = width(kind).saturating_mul(count) <= word as u64;
            let here = offset.saturating_add(count_bytes as u64 + index * entry_bytes as u64 + value_at as u64);
            let at = if inside { here } else { number(&bytes[value_at..value_at + word], self.little) };
            entries.push(Entry { tag: number(&bytes[..2], self.little) as u16, kind, count, at });
        }
        // Some programs leave out the last word of the file.
        let next = self.reader.read_exact(&mut bytes[..word]).map(|()| number(&bytes[..word], self.little));
        Ok(Directory { entries, next: next.unwrap_or(0) })
    }

    /// The first `most` values of an entry as unsigned numbers; none where the directory does not have it. What
    /// claims millions of values costs no more than what is asked for.
    pub(super) fn numbers(&mut self, directory: &Directory, tag: u16, most: u64) -> Result<Vec<u64>, Reason> {
        let Some(entry) = directory.entries.iter().find(|entry| entry.tag == tag) else { return Ok(Vec::new()) };
        let width = width(entry.kind) as usize;
        if !matches!(entry.kind, 1 | 3 | 4 | 6 | 7 | 8 | 9 | 13 | 16 | 17 | 18) {
            return Err(Reason::Damaged(format!("tag {tag} holds no whole numbers")));
        }
        let bytes = self.read(entry, most)?;
        Ok(bytes.chunks_exact(width).map(|bytes| number(bytes, self.little)).collect())
    }

    /// The bytes of an entry, whatever it holds; a megabyte at most.
    pub(super) fn bytes(&mut self, directory: &Directory, tag: u16) -> Result<Vec<u8>, Reason> {
        match directory.entries.iter().find(|entry| entry.tag == tag) {
            Some(entry) => self.read(entry, BYTES),
            None => Ok(Vec::new()),
        }
    }

    /// The first value of an entry.
    pub(super) fn value(&mut self, directory: &Directory, tag: u16) -> Result<Option<u64>, Reason> {
        Ok(self.numbers(directory, tag, 1)?.first().copied())
    }

    /// How many bytes the directory itself takes.
    pub(super) fn bytes_of(&self, directory: &Directory) -> u64 {
        let (count, entry, next) = if self.big { (8, 20, 8) } else { (2, 12, 4) };
        count + entry * directory.entries.len() as u64 + next
    }

    fn read(&mut self, entry: &Entry, most: u64) -> Result<Vec<u8>, Reason> {
        let length = width(entry.kind).saturating_mul(entry.count.min(most));
        if length > self.most {
            return Err(Reason::TooMuchMemory { bytes: length, limit: self.most });
        }
        self.reader.seek(SeekFrom::Start(entry.at)).map_err(|error| read_failed(&error))?;
        let mut bytes = Vec::new();
        // Grows with what is there, not with what is claimed.
        let got = (&mut self.reader).take(length).read_to_end(&mut bytes).map_err(|error| read_failed(&error))?;
        if (got as u64) < length {
            return Err(Reason::Truncated(format!("the values of tag {} lie beyond its end", entry.tag)));
        }
        Ok(bytes)
    }
}

impl Directory {
    /// The values of all entries: tag, first byte and length of each.
    pub(super) fn values(&self) -> impl Iterator<Item = (u16, u64, u64)> {
        self.entries.iter().map(|entry| (entry.tag, entry.at, width(entry.kind).saturating_mul(entry.count)))
    }
}

/// Bytes of one value (TIFF 6.0, section 2, "Types"; 13 and 16 to 18 by the BigTIFF design of libtiff).
fn width(kind: u16) -> u64 {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16..=18 => 8,
        _ => 1,
    }
}

fn number(bytes: &[u8], little: bool) -> u64 {
    let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    if little { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) }
}

/// What failed reading is: a file that ends too early, or one that cannot be read.
pub(super) fn read_failed(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Reason::Truncated("it ends before its last strip or tile".to_owned()),
        _ => Reason::Damaged(error.to_string()),
    }
}

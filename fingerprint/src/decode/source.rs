//! Where a decoder reads from.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use super::Failure;
use crate::measure::{Limits, Reason};

/// Bytes in memory, or still on disk: a file, or a part of one that a container holds as it is.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// All bytes.
    Memory(&'a [u8]),
    /// `size` bytes of `file` from `start` on.
    File {
        /// Open for reading.
        file: &'a File,
        /// Where they begin.
        start: u64,
        /// In bytes.
        size: u64,
    },
}

impl<'a> Source<'a> {
    /// How many bytes there are.
    pub(crate) fn size(self) -> u64 {
        match self {
            Source::Memory(bytes) => bytes.len() as u64,
            Source::File { size, .. } => size,
        }
    }

    /// At most `size` bytes from byte `from` on.
    pub(crate) fn part(self, from: u64, size: u64) -> Source<'a> {
        let from = from.min(self.size());
        let size = size.min(self.size() - from);
        match self {
            Source::Memory(bytes) => Source::Memory(&bytes[from as usize..(from + size) as usize]),
            Source::File { file, start, .. } => Source::File { file, start: start + from, size },
        }
    }

    /// At most `length` bytes from byte `from` on, in memory; fewer where they end or cannot be read.
    pub(crate) fn peek(self, from: u64, length: usize) -> Cow<'a, [u8]> {
        match self.part(from, length as u64) {
            Source::Memory(bytes) => Cow::Borrowed(bytes),
            part @ Source::File { .. } => {
                let mut bytes = Vec::new();
                // What cannot be read is as good as not there; whoever reads all of it gets the error.
                let _ = part.reader().read_to_end(&mut bytes);
                Cow::Owned(bytes)
            }
        }
    }

    /// All bytes at once, for decoders that need them so.
    pub(crate) fn bytes(self, limits: &Limits) -> Result<Cow<'a, [u8]>, Failure> {
        match self {
            Source::Memory(bytes) => Ok(Cow::Borrowed(bytes)),
            Source::File { file, start, size } => {
                if size > limits.max_memory {
                    return Err(Reason::TooMuchMemory { bytes: size, limit: limits.max_memory }.into());
                }
                let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
                file.read_exact_at(&mut bytes, start).map_err(|error| Reason::Truncated(error.to_string()))?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// The first `length` bytes, or as many of them as there are.
    pub(super) fn head(self, length: u64, limits: &Limits) -> Result<Cow<'a, [u8]>, Failure> {
        self.part(0, length).bytes(limits)
    }

    /// A reader over them.
    pub(crate) fn reader(self) -> Reader<'a> {
        match self {
            Source::Memory(bytes) => Reader::Memory(Cursor::new(bytes)),
            Source::File { file, start, size } => {
                Reader::File(BufReader::with_capacity(256 * 1024, Positioned { file, start, size, position: 0 }))
            }
        }
    }
}

/// A part of a file read at a position of its own, so that the descriptor's offset stays where it is.
pub(crate) struct Positioned<'a> {
    file: &'a File,
    start: u64,
    size: u64,
    position: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size.saturating_sub(self.position);
        let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let got = self.file.read_at(&mut buffer[..length], self.start.saturating_add(self.position))?;
        self.position += got as u64;
        Ok(got)
    }
}

impl Seek for Positioned<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

/// Reads from either.
pub(crate) enum Reader<'a> {
    Memory(Cursor<&'a [u8]>),
    File(BufReader<Positioned<'a>>),
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Reader::Memory(reader) => reader.read(buffer),
            Reader::File(reader) => reader.read(buffer),
        }
    }
}

impl io::BufRead for Reader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Reader::Memory(reader) => reader.fill_buf(),
            Reader::File(reader) => reader.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        match self {
            Reader::Memory(reader) => reader.consume(amount),
            Reader::File(reader) => reader.consume(amount),
        }
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Reader::Memory(reader) => reader.seek(to),
            Reader::File(reader) => reader.seek(to),
        }
    }
}

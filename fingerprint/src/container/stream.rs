//! What is unpacked from its first byte to its last: gzip, bzip2, xz, Zstandard, and tar.

use std::io::{self, BufRead, Read};

use tar::{Archive, Entries};

use super::leftover::Accounts;
use super::walk::Walk;
use super::{Container, Opaque, join};
use crate::decode::Source;
use crate::measure::Limits;

/// The largest window of a Zstandard frame, as a power of two: 128 MiB, what its own tool accepts.
const ZSTD_WINDOW: u32 = 27;
/// A block of a tar archive, in bytes.
const BLOCK: u64 = 512;
/// How many bytes are read at once of what is compressed.
const AHEAD: usize = 64 << 10;
/// So many bytes tell what comes next.
const MAGIC: usize = 10;

impl Walk<'_> {
    /// The one file in a compressed one, and what lies behind it.
    pub(super) fn unpack(
        &mut self,
        container: Container,
        path: &str,
        packed: &mut dyn Read,
        depth: u32,
    ) -> Result<(), Opaque> {
        let mut frames = Frames::new(container, packed, self.limits)?;
        self.member(join(path, b"content"), &mut frames, 0, depth)?;
        frames.behind().map_or(Ok(()), |behind| self.behind(path, behind, depth))
    }

    /// Looks at what still comes behind the end of an archive, unless that is padding.
    fn behind<R: Read>(&mut self, path: &str, mut rest: Ahead<R>, depth: u32) -> Result<(), Opaque> {
        rest.skip_zeros()?;
        if rest.peek(1)?.is_empty() {
            return Ok(());
        }
        self.member(join(path, b"behind the end"), &mut rest, 0, depth)
    }

    /// A tar archive whose members lie in the file as they are.
    pub(super) fn tar_of(&mut self, path: &str, source: Source<'_>, depth: u32) -> Result<(), Opaque> {
        let mut archive = Archive::new(source.reader());
        let mut accounts = Accounts::default();
        let entries = archive.entries_with_seek()?;
        let looked = self.entries(path, entries, Some((source, &mut accounts)), depth);
        // One damaged member hides nothing of what comes behind it.
        let left = self.left_over(path, "behind the members", source, accounts, depth);
        looked.and(left)
    }

    /// A tar archive that is unpacked as it comes.
    pub(super) fn tar(&mut self, path: &str, reader: &mut dyn Read, depth: u32) -> Result<(), Opaque> {
        let mut archive = Archive::new(&mut *reader);
        let entries = archive.entries()?;
        self.entries(path, entries, None, depth)?;
        self.behind(path, Ahead::new(reader), depth)
    }

    fn entries<R: Read>(
        &mut self,
        path: &str,
        entries: Entries<'_, R>,
        mut whole: Option<(Source<'_>, &mut Accounts)>,
        depth: u32,
    ) -> Result<(), Opaque> {
        for entry in entries {
            let mut entry = entry?;
            let kind = entry.header().entry_type();
            let (size, name) = (entry.size(), join(path, &entry.path_bytes()));
            let is_file = kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse();
            if let Some((_, accounts)) = &mut whole {
                accounts.seen(entry.raw_header_position(), BLOCK);
                if is_file && !kind.is_gnu_sparse() {
                    accounts.seen(entry.raw_file_position(), size);
                }
            }
            match &whole {
                _ if !is_file => {}
                Some((whole, _)) if !kind.is_gnu_sparse() => {
                    self.lying(name, whole.part(entry.raw_file_position(), size), depth)?;
                }
                _ => self.member(name, &mut entry, size, depth)?,
            }
        }
        Ok(())
    }
}

/// Whether `block` is the header of a member, of whatever age the archive is: its checksum is right
/// (POSIX.1-1988, 10.1.1: the sum of its bytes, with the field itself as spaces, in octal digits).
pub(super) fn is_tar_header(block: &[u8]) -> bool {
    let Some(block) = block.first_chunk::<512>() else { return false };
    let digits = block[148..156].iter().skip_while(|byte| **byte == b' ').take_while(|byte| byte.is_ascii_digit());
    let (count, stated) = digits.fold((0, 0u64), |(count, sum), digit| (count + 1, sum * 8 + u64::from(digit - b'0')));
    let field = block[148..156].iter().map(|byte| u64::from(*byte)).sum::<u64>();
    let sum = block.iter().map(|byte| u64::from(*byte)).sum::<u64>() - field + 8 * u64::from(b' ');
    count >= 3 && block[0] != 0 && stated == sum
}

/// How long the tar archive is that `bytes` begin with: up to the first block that is no header where one must be.
pub(super) fn tar_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(block) = bytes.get(at..).filter(|rest| is_tar_header(rest)) {
        let digits = block[124..136].iter().filter(|byte| byte.is_ascii_digit());
        let size = digits.fold(0u64, |size, digit| size.saturating_mul(8).saturating_add(u64::from(digit - b'0')));
        let next = size.checked_next_multiple_of(BLOCK).and_then(|size| usize::try_from(size + BLOCK).ok());
        at = next.map_or(bytes.len(), |next| at.saturating_add(next)).min(bytes.len());
    }
    at
}

/// Compressed frames of one kind, one behind the other, as if they were one. They end before what is no such frame.
pub(super) struct Frames<R: Read> {
    container: Container,
    /// In KiB.
    memory: u32,
    /// None behind the end, and after an error.
    frame: Option<Frame<Ahead<R>>>,
    behind: Option<Ahead<R>>,
    /// The first error: it is told as often as somebody reads on.
    failed: Option<(io::ErrorKind, String)>,
}

enum Frame<R: BufRead> {
    Gzip(Box<flate2::bufread::GzDecoder<R>>),
    Bzip2(bzip2::bufread::BzDecoder<R>),
    Xz(Box<lzma_rust2::XzReader<R>>),
    Zstd(zstd::stream::read::Decoder<'static, R>),
}

impl<R: Read> Frames<R> {
    pub(super) fn new(container: Container, packed: R, limits: &Limits) -> io::Result<Frames<R>> {
        let memory = u32::try_from(limits.max_memory / 1024).unwrap_or(u32::MAX);
        let frame = Frame::new(container, Ahead::new(packed), memory)?;
        Ok(Frames { container, memory, frame: Some(frame), behind: None, failed: None })
    }

    /// What comes behind the last frame, once that was read to its end.
    pub(super) fn behind(self) -> Option<Ahead<R>> {
        self.behind
    }
}

impl<R: BufRead> Frame<R> {
    fn new(container: Container, packed: R, memory: u32) -> io::Result<Frame<R>> {
        Ok(match container {
            Container::Gzip => Frame::Gzip(Box::new(flate2::bufread::GzDecoder::new(packed))),
            Container::Bzip2 => Frame::Bzip2(bzip2::bufread::BzDecoder::new(packed)),
            Container::Xz => Frame::Xz(Box::new(lzma_rust2::XzReader::new_mem_limit(packed, false, memory))),
            _ => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?.single_frame();
                decoder.window_log_max(ZSTD_WINDOW)?;
                Frame::Zstd(decoder)
            }
        })
    }

    fn into_inner(self) -> R {
        match self {
            Frame::Gzip(decoder) => decoder.into_inner(),
            Frame::Bzip2(decoder) => decoder.into_inner(),
            Frame::Xz(decoder) => decoder.into_inner(),
            Frame::Zstd(decoder) => decoder.finish(),
        }
    }
}

impl<R: BufRead> Read for Frame<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Frame::Gzip(decoder) => decoder.read(buffer),
            Frame::Bzip2(decoder) => decoder.read(buffer),
            Frame::Xz(decoder) => decoder.read(buffer),
            Frame::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

impl<R: Read> Frames<R> {
    fn next(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(mut frame) = self.frame.take() {
            let got = match frame.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.frame = Some(frame);
                    continue;
                }
                got => got?,
            };
            if got > 0 || buffer.is_empty() {
                self.frame = Some(frame);
                return Ok(got);
            }
            let mut packed = frame.into_inner();
            packed.skip_zeros()?;
            if Container::of_stream(packed.peek(MAGIC)?) == Some(self.container) {
                self.frame = Some(Frame::new(self.container, packed, self.memory)?);
            } else {
                self.behind = Some(packed);
            }
        }
        Ok(0)
    }
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some((kind, why)) = &self.failed {
            return Err(io::Error::new(*kind, why.clone()));
        }
        let got = self.next(buffer);
        self.failed = got.as_ref().err().map(|error| (error.kind(), error.to_string()));
        got
    }
}

/// A reader that can be looked into some bytes ahead.
pub(super) struct Ahead<R> {
    inner: R,
    buffer: Vec<u8>,
    at: usize,
}

impl<R: Read> Ahead<R> {
    fn new(inner: R) -> Ahead<R> {
        Ahead { inner, buffer: Vec::new(), at: 0 }
    }

    /// The next bytes: at least so many, or all that there are.
    fn peek(&mut self, least: usize) -> io::Result<&[u8]> {
        if self.buffer.len() - self.at < least {
            self.buffer.drain(..self.at);
            self.at = 0;
            let mut filled = self.buffer.len();
            self.buffer.resize(AHEAD.max(least), 0);
            while filled < least {
                match self.inner.read(&mut self.buffer[filled..]) {
                    Ok(0) => break,
                    Ok(got) => filled += got,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        self.buffer.truncate(filled);
                        return Err(error);
                    }
                }
            }
            self.buffer.truncate(filled);
        }
        Ok(&self.buffer[self.at..])
    }

    fn skip_zeros(&mut self) -> io::Result<()> {
        loop {
            let next = self.peek(1)?;
            let zeros = next.iter().take_while(|byte| **byte == 0).count();
            let is_more = zeros > 0 && zeros == next.len();
            self.at += zeros;
            if !is_more {
                return Ok(());
            }
        }
    }
}

impl<R: Read> Read for Ahead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let next = self.peek(1)?;
        let got = next.len().min(buffer.len());
        buffer[..got].copy_from_slice(&next[..got]);
        self.at += got;
        Ok(got)
    }
}

impl<R: Read> BufRead for Ahead<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.peek(1)
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.buffer.len());
    }
}

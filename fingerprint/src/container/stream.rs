//! What is unpacked from its first byte to its last: gzip, bzip2, xz, Zstandard, and tar.

use std::io::Read;

use tar::{Archive, Entries};

use super::walk::Walk;
use super::{Container, Opaque, join};
use crate::decode::Source;

/// The largest window of a Zstandard frame, as a power of two: 128 MiB, what its own tool accepts.
const ZSTD_WINDOW: u32 = 27;

/// What the headers of one member and its padding take at most, give or take.
const HEADERS: u64 = 4096;

impl Walk<'_> {
    /// The one file in a compressed one.
    pub(super) fn unpack(
        &mut self,
        container: Container,
        path: &str,
        packed: &mut dyn Read,
        depth: u32,
    ) -> Result<(), Opaque> {
        let memory = u32::try_from(self.limits.max_memory / 1024).unwrap_or(u32::MAX);
        let mut reader: Box<dyn Read + '_> = match container {
            Container::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
            Container::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(packed)),
            Container::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(packed, true, memory)),
            _ => {
                let mut decoder = zstd::stream::read::Decoder::new(packed)?;
                decoder.window_log_max(ZSTD_WINDOW)?;
                Box::new(decoder)
            }
        };
        self.member(join(path, b"content"), &mut reader, 0, depth)
    }

    /// A tar archive whose members lie in the file as they are.
    pub(super) fn tar_of(&mut self, path: &str, source: Source<'_>, depth: u32) -> Result<(), Opaque> {
        let mut archive = Archive::new(source.reader());
        let entries = archive.entries_with_seek()?;
        self.entries(path, entries, Some(source), depth)
    }

    /// A tar archive that is unpacked as it comes.
    pub(super) fn tar(&mut self, path: &str, reader: &mut dyn Read, depth: u32) -> Result<(), Opaque> {
        let mut archive = Archive::new(reader);
        let entries = archive.entries()?;
        self.entries(path, entries, None, depth)
    }

    fn entries<R: Read>(
        &mut self,
        path: &str,
        entries: Entries<'_, R>,
        whole: Option<Source<'_>>,
        depth: u32,
    ) -> Result<(), Opaque> {
        let mut accounted = 0u64;
        for entry in entries {
            let mut entry = entry?;
            accounted = accounted.saturating_add(entry.size()).saturating_add(HEADERS);
            let kind = entry.header().entry_type();
            if !(kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse()) {
                continue;
            }
            let (size, name) = (entry.size(), join(path, &entry.path_bytes()));
            match whole {
                Some(whole) if !kind.is_gnu_sparse() => {
                    self.lying(name, whole.part(entry.raw_file_position(), size), depth)?;
                }
                _ => self.member(name, &mut entry, size, depth)?,
            }
        }
        let left_over = whole.map_or(0, |whole| whole.size().saturating_sub(accounted));
        self.beside(path, "behind the members", left_over)
    }
}

//! Archives with a directory of their own: ZIP and 7z.

use memchr::memmem;
use sevenz_rust2::{ArchiveReader, EntryDecision, Password};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::walk::Walk;
use super::{Opaque, TAIL, join};
use crate::decode::Source;

/// What the headers of one member take at most, give or take: two of them, each with a name and more.
const HEADERS: u64 = 1024;

impl Walk<'_> {
    pub(super) fn zip(&mut self, path: &str, source: Source<'_>, depth: u32) -> Result<(), Opaque> {
        self.announced(source)?;
        let failed = |error: ZipError| match error {
            ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) | ZipError::InvalidPassword => Opaque::Encrypted,
            ZipError::UnsupportedArchive(what) => Opaque::Unsupported(format!("a ZIP archive of this kind ({what})")),
            other => Opaque::Damaged(other.to_string()),
        };
        let mut archive = ZipArchive::new(source.reader()).map_err(failed)?;
        let (mut first, mut accounted) = (None, 0u64);
        for index in 0..archive.len() {
            self.budget.check()?;
            let mut looked = || {
                let lies = archive.by_index_raw(index).map_err(failed).map(|entry| {
                    accounted = accounted.saturating_add(entry.compressed_size()).saturating_add(HEADERS);
                    let as_it_is = entry.compression() == CompressionMethod::Stored && !entry.encrypted();
                    let range = entry.data_start().map(|start| (start, entry.compressed_size()));
                    let is_file = !entry.is_dir() || entry.size() > 0;
                    (join(path, entry.name_raw()), range.filter(|_| as_it_is), is_file)
                })?;
                let (name, range, is_file) = lies;
                if !is_file {
                    return Ok(());
                }
                if let Some((start, size)) = range {
                    return self.lying(name, source.part(start, size), depth);
                }
                let mut entry = archive.by_index(index).map_err(failed)?;
                let size = entry.size();
                self.member(name, &mut entry, size, depth)
            };
            // One locked or damaged member hides nothing of the others.
            if let Err(why) = looked() {
                first.get_or_insert(why);
            }
        }
        let left_over = source.size().saturating_sub(accounted);
        first.map_or_else(|| self.beside(path, "between the members", left_over), Err)
    }

    /// Refuses a directory of more entries than would be looked at, before anything is allocated for them.
    fn announced(&self, source: Source<'_>) -> Result<(), Opaque> {
        let tail = source.peek(source.size().saturating_sub(TAIL), TAIL as usize);
        let field = |signature: &[u8], at: usize, bytes: usize| {
            let record = tail.get(memmem::rfind(&tail, signature)?..)?;
            Some(record.get(at..at + bytes)?.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)))
        };
        // APPNOTE.TXT 4.3.16 and 4.3.14: entries in the whole directory.
        let entries = field(b"PK\x06\x06", 32, 8).or_else(|| field(b"PK\x05\x06", 10, 2)).unwrap_or(0);
        if entries > self.limits.max_members { Err(Opaque::TooMany(self.limits.max_members)) } else { Ok(()) }
    }

    pub(super) fn seven_zip(&mut self, path: &str, source: Source<'_>, depth: u32) -> Result<(), Opaque> {
        let memory = usize::try_from(self.limits.max_memory / 1024).unwrap_or(usize::MAX);
        let failed = |error: sevenz_rust2::Error| match error {
            sevenz_rust2::Error::PasswordRequired | sevenz_rust2::Error::MaybeBadPassword(_) => Opaque::Encrypted,
            sevenz_rust2::Error::UnsupportedCompressionMethod(method) if method.starts_with("AES") => Opaque::Encrypted,
            sevenz_rust2::Error::UnsupportedCompressionMethod(method) => {
                Opaque::Unsupported(format!("a 7z archive packed by {method}"))
            }
            other => Opaque::Damaged(other.to_string()),
        };
        let opened = ArchiveReader::new_with_memory_limit(source.reader(), Password::empty(), memory);
        let mut archive = opened.map_err(failed)?;
        archive.set_thread_count(1);
        let mut stopped = None;
        archive
            .for_each_entries_with_decision(|entry, reader| {
                if entry.is_directory() {
                    return Ok(EntryDecision::Continue);
                }
                let looked = self.member(join(path, entry.name().as_bytes()), reader, entry.size(), depth);
                Ok(match looked {
                    Ok(()) => EntryDecision::Continue,
                    Err(why) => {
                        stopped = Some(why);
                        EntryDecision::Stop
                    }
                })
            })
            .map_err(failed)?;
        stopped.map_or(Ok(()), Err)
    }
}

//! Archives with a directory of their own: ZIP (APPNOTE.TXT) and 7z (7zFormat.txt).

use memchr::memmem;
use sevenz_rust2::{ArchiveReader, EntryDecision, Password};
use zip::read::read_zipfile_from_stream_with_compressed_size;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::leftover::Accounts;
use super::walk::Walk;
use super::{Opaque, TAIL, join};
use crate::decode::Source;

/// How the local header of a member begins, and its length without name and extra field (4.3.7).
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_BYTES: usize = 30;
/// What begins behind the data of a member whose local header does not know how long they are (4.3.9).
const DESCRIPTOR: &[u8] = b"PK\x07\x08";
/// The first header of a 7z archive, in bytes.
const SEVEN_ZIP_HEADER: u64 = 32;

impl Walk<'_> {
    pub(super) fn zip(&mut self, path: &str, source: Source<'_>, depth: u32) -> Result<(), Opaque> {
        self.announced(source)?;
        let mut archive = match ZipArchive::new(source.reader()) {
            Ok(archive) => archive,
            // Without a directory a member is known by its local header, and whatever comes behind it is found by its own.
            Err(error) => return self.local(path, source, depth).unwrap_or_else(|| Err(failed(error))),
        };
        let mut accounts = Accounts::default();
        accounts.explained(archive.central_directory_start(), source.size());
        let mut first = None;
        for index in 0..archive.len() {
            self.budget.check()?;
            let mut looked = || {
                let lies = archive.by_index_raw(index).map_err(failed).map(|entry| {
                    let as_it_is = entry.compression() == CompressionMethod::Stored && !entry.encrypted();
                    let range = entry.data_start().map(|start| (start, entry.compressed_size()));
                    if let Some((start, size)) = range {
                        accounts.seen(entry.header_start(), LOCAL_BYTES as u64);
                        accounts.explained(entry.header_start(), start.saturating_sub(entry.header_start()));
                        accounts.seen(start, size);
                    }
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
        let left = self.left_over(path, "between the members", source, accounts, depth);
        first.map_or(left, Err)
    }

    /// Looks at the member whose local header `source` begins with, and at what comes behind it; none if it begins with
    /// nothing of the kind.
    fn local(&mut self, path: &str, source: Source<'_>, depth: u32) -> Option<Result<(), Opaque>> {
        let length =
            local_length(&source.peek(0, usize::try_from(self.limits.max_memory).unwrap_or(usize::MAX)))? as u64;
        let mut reader = source.part(0, length).reader();
        let looked = match read_zipfile_from_stream_with_compressed_size(&mut reader, length) {
            Ok(Some(mut entry)) => {
                let (name, size) = (join(path, entry.name_raw()), entry.size());
                self.member(name, &mut entry, size, depth)
            }
            Ok(None) => Ok(()),
            Err(error) => Err(failed(error)),
        };
        self.search(path, source.part(length, u64::MAX), length, depth);
        Some(looked)
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
        let mut accounts = Accounts::default();
        let packed = archive.archive().pack_sizes().iter().fold(0u64, |sum, size| sum.saturating_add(*size));
        accounts.seen(0, SEVEN_ZIP_HEADER);
        accounts.seen(SEVEN_ZIP_HEADER.saturating_add(archive.archive().pack_pos()), packed);
        let directory = seven_zip_directory(&source.peek(0, SEVEN_ZIP_HEADER as usize)).unwrap_or_default();
        accounts.explained(directory.0, directory.1);
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
        let left = self.left_over(path, "behind the members", source, accounts, depth);
        stopped.map_or(left, Err)
    }
}

fn failed(error: ZipError) -> Opaque {
    match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) | ZipError::InvalidPassword => Opaque::Encrypted,
        ZipError::UnsupportedArchive(what) => Opaque::Unsupported(format!("a ZIP archive of this kind ({what})")),
        other => Opaque::Damaged(other.to_string()),
    }
}

/// How long the member is whose local header `bytes` begin with, header and all; none if they begin with none.
pub(super) fn local_length(bytes: &[u8]) -> Option<usize> {
    let half = |at: usize| bytes.get(at..)?.first_chunk::<2>().map(|half| usize::from(u16::from_le_bytes(*half)));
    let word = |at: usize| bytes.get(at..)?.first_chunk::<4>().map(|word| u32::from_le_bytes(*word));
    if !bytes.starts_with(LOCAL) {
        return None;
    }
    let data = LOCAL_BYTES + half(26)? + half(28)?;
    let is_told_behind = half(6)? & 8 != 0;
    let end = match word(18)? {
        // In the extra field (4.5.3), or behind the data.
        0 | u32::MAX if is_told_behind => memmem::find(bytes.get(data..)?, DESCRIPTOR).map(|at| data + at),
        u32::MAX => None,
        length => Some(data.saturating_add(length as usize)),
    };
    Some(end.unwrap_or(bytes.len()).min(bytes.len()))
}

/// Where the directory of the 7z archive lies that begins with `header`, and how long it is.
fn seven_zip_directory(header: &[u8]) -> Option<(u64, u64)> {
    let long = |at: usize| header.get(at..)?.first_chunk::<8>().map(|long| u64::from_le_bytes(*long));
    Some((long(12)?.saturating_add(SEVEN_ZIP_HEADER), long(20)?))
}

/// Where the 7z archive ends that begins with `header`.
pub(super) fn seven_zip_end(header: &[u8]) -> Option<u64> {
    seven_zip_directory(header).map(|(start, length)| start.saturating_add(length))
}

//! What lies inside a file: members of archives, pictures of documents, and what a picture carries beside itself.
//! Everything is looked at as if it were a file of its own.

mod archive;
mod bomb;
mod budget;
mod carve;
mod disc;
mod document;
mod hidden;
mod leftover;
mod stream;
mod text;
mod tiles;
mod walk;

pub(crate) use walk::Walk;

use std::fmt;

use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::decode::Source;
use crate::measure::Measurement;

/// How far into a file one must look to tell what it is: an ISO image says so behind its first 32 KiB.
const HEAD: usize = 34 << 10;
/// How far before its end the directory of a ZIP archive is announced: 22 bytes and a comment (APPNOTE.TXT 4.3.16).
const TAIL: u64 = 22 + 65_535;

/// How the name of a picture begins that was found in the midst of other bytes: a preview in metadata, for one.
pub const PREVIEW_NAME: &str = "preview at byte ";

/// Something that lies inside a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Inside {
    /// Where: names from the outermost to the innermost, ` > ` between them. Control characters are replaced.
    pub path: String,
    /// What it is, as if it were a file of its own.
    pub measurement: Measurement,
}

/// Containers that are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// ZIP, and what is made of it: DOCX, PPTX, ODF, EPUB, CBZ.
    Zip,
    /// tar, POSIX or older.
    Tar,
    /// 7z.
    SevenZip,
    /// gzip (RFC 1952).
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// Zstandard (RFC 8878).
    Zstd,
    /// PDF (ISO 32000).
    Pdf,
    /// An ISO 9660 image of a disc.
    Iso,
}

impl Container {
    /// The container that the first bytes of a file show.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Container> {
        let starts = |magic: &[u8]| head.starts_with(magic);
        if let Some(compressed) = Container::of_stream(head) {
            Some(compressed)
        } else if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") || starts(b"PK\x07\x08") {
            Some(Container::Zip)
        } else if starts(b"7z\xbc\xaf\x27\x1c") {
            Some(Container::SevenZip)
        } else if memmem::find(&head[..head.len().min(1024)], b"%PDF-").is_some() {
            Some(Container::Pdf) // Readers accept it anywhere in the first 1,024 bytes (ISO 32000-1, annex H).
        } else if head.get(0x8001..0x8006) == Some(b"CD001".as_slice()) {
            Some(Container::Iso)
        } else {
            None
        }
    }

    /// The container that is read from its first byte to its last, if `head` shows one.
    fn of_stream(head: &[u8]) -> Option<Container> {
        let starts = |magic: &[u8]| head.starts_with(magic);
        if starts(b"\x1f\x8b\x08") {
            Some(Container::Gzip)
        } else if starts(b"BZh") && head.get(4..10) == Some(b"\x31\x41\x59\x26\x53\x59".as_slice()) {
            Some(Container::Bzip2)
        } else if starts(b"\xfd7zXZ\0") {
            Some(Container::Xz)
        } else if starts(b"\x28\xb5\x2f\xfd") {
            Some(Container::Zstd)
        } else if head.get(257..262) == Some(b"ustar".as_slice()) || stream::is_tar_header(head) {
            Some(Container::Tar)
        } else {
            None
        }
    }

    /// The container that `source` is, also where that can only be told from its end: a ZIP archive behind
    /// something else.
    fn of_source(head: &[u8], source: Source<'_>) -> Option<Container> {
        Container::of(head).or_else(|| {
            let tail = source.peek(source.size().saturating_sub(TAIL), TAIL as usize);
            memmem::rfind(&tail, b"PK\x05\x06").filter(|at| tail.len() - at >= 22).map(|_| Container::Zip)
        })
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Container::Zip => "ZIP",
            Container::Tar => "tar",
            Container::SevenZip => "7z",
            Container::Gzip => "gzip",
            Container::Bzip2 => "bzip2",
            Container::Xz => "xz",
            Container::Zstd => "Zstandard",
            Container::Pdf => "PDF",
            Container::Iso => "ISO 9660",
        })
    }
}

/// Why nobody can say what is in a file: one sentence each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Opaque {
    /// A password is needed.
    #[error("it is encrypted")]
    Encrypted,
    /// A format or method that is known and not read.
    #[error("{0} is not opened here")]
    Unsupported(String),
    /// Against its format, or truncated.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// [`Limits::max_depth`](crate::Limits::max_depth).
    #[error("it is packed more than {0} times")]
    TooDeep(u32),
    /// [`Limits::max_members`](crate::Limits::max_members).
    #[error("it holds more than {0} files and pictures; the rest was not looked at")]
    TooMany(u64),
    /// [`Limits::max_unpacked`](crate::Limits::max_unpacked) or [`Limits::max_ratio`](crate::Limits::max_ratio).
    #[error("unpacked it has more than {0} bytes; the rest was not looked at")]
    TooLarge(u64),
    /// [`Limits::max_time`](crate::Limits::max_time).
    #[error("looking into it takes longer than {0} s; the rest was not looked at")]
    TooSlow(u64),
}

impl From<std::io::Error> for Opaque {
    fn from(error: std::io::Error) -> Opaque {
        Opaque::Damaged(error.to_string())
    }
}

impl Opaque {
    /// What is recognised by its first bytes as something that nobody here can open.
    fn of(head: &[u8]) -> Option<Opaque> {
        const KNOWN: [(&[u8], &str); 17] = [
            (b"Rar!\x1a\x07", "a RAR archive"),
            (b"MSCF", "a CAB archive"),
            (b"!<arch>\n", "an ar archive"),
            (b"070701", "a cpio archive"),
            (b"070707", "a cpio archive"),
            (b"\x04\x22\x4d\x18", "an LZ4 file"),
            (b"LZIP", "an lzip file"),
            (b"\x89LZO\0", "an lzop file"),
            (b"hsqs", "a SquashFS image"),
            (b"QFI\xfb", "a disk image (QCOW)"),
            (b"conectix", "a disk image (VHD)"),
            (b"vhdxfile", "a disk image (VHDX)"),
            (b"KDMV", "a disk image (VMDK)"),
            (b"wimlib", "a disk image (WIM)"),
            (b"MSWIM\0\0\0", "a disk image (WIM)"),
            (b"xar!", "an XAR archive"),
            (b"ITSF", "a CHM document"),
        ];
        const LOCKED: [&[u8]; 6] = [
            b"Salted__",
            b"age-encryption.org/",
            b"-----BEGIN PGP MESSAGE",
            b"-----BEGIN AGE ENCRYPTED",
            b"LUKS\xba\xbe",
            b"\x85\x02\x0c\x03",
        ];
        if LOCKED.iter().any(|magic| head.starts_with(magic)) {
            return Some(Opaque::Encrypted);
        }
        let known = KNOWN.iter().find(|(magic, _)| head.starts_with(magic));
        known.map(|(_, name)| Opaque::Unsupported((*name).to_owned()))
    }
}

/// A name inside another, safe to print and of bounded length.
fn join(path: &str, name: &[u8]) -> String {
    /// The longest name that is told whole, in characters.
    const LONGEST: usize = 200;
    let name = String::from_utf8_lossy(name);
    let safe = name.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter });
    let name: String = safe.take(LONGEST).collect();
    if path.is_empty() { name } else { format!("{path} > {name}") }
}

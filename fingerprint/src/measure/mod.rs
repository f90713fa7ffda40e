//! Measuring one file: what it is, how large, and its fingerprints, from one reading.

mod limits;
mod picture;

pub(crate) use limits::CELLS;
pub use limits::Limits;
pub use picture::Picture;

use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

use crate::container::{Container, Inside, Opaque, Walk};
use crate::decode::{self, Decoded, Failure, Format, Source};
use crate::exact::{self, Digest, Parts};

/// What one file is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurement {
    /// BLAKE3 of all its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its parts, by which they are found in other files.
    #[serde(default)]
    pub parts: Parts,
    /// What the bytes are.
    pub content: Content,
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Picture(picture) => {
                let Picture { format, width, height, bit_depth, .. } = picture;
                let megapixels = picture.megapixels();
                write!(
                    f,
                    "{format}, {width} x {height} pixels ({megapixels:.1} megapixels), {bit_depth} bits a channel"
                )
            }
            Content::Unscanned(unscanned) => write!(f, "{}, not decoded: {}", unscanned.format, unscanned.reason),
            Content::Container(container) => write!(f, "{container}"),
            Content::Opaque(why) => write!(f, "not seen whole: {why}"),
            Content::Tile(size) => write!(f, "a tile of {} x {} pixels", size.width, size.height),
            Content::Other => f.write_str("no picture or container of a known format"),
        }
    }
}

/// What the bytes of a file are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// A picture that was decoded.
    Picture(Picture),
    /// A picture that was not decoded, and why.
    Unscanned(Unscanned),
    /// Something that holds others, all of which were looked at.
    Container(Container),
    /// Something that nobody can say about what is in it, or in a part of it.
    Opaque(Opaque),
    /// A small picture that may be a tile of a larger one. What it shows is told later, with its set or by itself, as a
    /// picture of its own that has no bytes.
    Tile(Size),
    /// Neither a picture nor a container that is known here.
    Other,
}

impl Content {
    /// Why it was not seen whole, in a sentence; none if it was, or is nothing that is known here.
    #[must_use]
    pub fn unseen(&self) -> Option<String> {
        match self {
            Content::Unscanned(unscanned) => Some(unscanned.reason.to_string()),
            Content::Opaque(why) => Some(why.to_string()),
            Content::Picture(_) | Content::Container(_) | Content::Tile(_) | Content::Other => None,
        }
    }

    /// The size of the picture, as far as it is known.
    #[must_use]
    pub fn size(&self) -> Option<Size> {
        match self {
            Content::Picture(Picture { width, height, bit_depth, .. }) => {
                Some(Size { width: *width, height: *height, bit_depth: *bit_depth })
            }
            Content::Unscanned(unscanned) => unscanned.size,
            Content::Tile(size) => Some(*size),
            Content::Container(_) | Content::Opaque(_) | Content::Other => None,
        }
    }
}

/// A picture that was not decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unscanned {
    /// Its format, by its first bytes.
    pub format: Format,
    /// Why it was not decoded.
    pub reason: Reason,
    /// What its header says of its size, where the header could be read.
    pub size: Option<Size>,
}

/// The size of a picture as its header states it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bits per channel.
    pub bit_depth: u8,
}

impl Size {
    /// Width times height, in millions of pixels.
    #[must_use]
    pub fn megapixels(&self) -> f64 {
        f64::from(self.width) * f64::from(self.height) / 1e6
    }
}

/// Why a picture was not decoded: one sentence each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// [`Limits::max_bytes`].
    #[error("the file has {bytes} bytes; pictures are decoded up to {limit}")]
    TooManyBytes {
        /// Of the file.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// [`Limits::max_pixels`].
    #[error("the picture has {pixels} pixels; pictures are decoded up to {limit}")]
    TooManyPixels {
        /// By the header.
        pixels: u64,
        /// The limit.
        limit: u64,
    },
    /// [`Limits::max_memory`].
    #[error("decoding would take {bytes} bytes of memory; {limit} are allowed")]
    TooMuchMemory {
        /// The estimate made from the header.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// It ends too early.
    #[error("the file is truncated: {0}")]
    Truncated(String),
    /// A variant that is not decoded here.
    #[error("this kind of picture is not supported: {0}")]
    Unsupported(String),
    /// Against its format.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// The decoder failed by a mistake of its own.
    #[error("the decoder failed: {0}")]
    DecoderFailed(String),
}

/// Why a file could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// Reading failed, or the file vanished.
    #[error("the file cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Size or time of modification changed meanwhile; measure again later.
    #[error("the file changed while it was read")]
    Changed,
    /// A directory, FIFO, socket or device.
    #[error("only regular files are measured")]
    NotAFile,
}

/// Reads `file` from its first byte (whatever its offset, which stays) and measures it, and everything that is
/// inside, which `found` gets, after the file itself by its bytes alone (with an empty path): what is known of it even if
/// no decoder comes back. It is read once for all layers where it is small. Pictures above [`Limits::keep_bytes`] are
/// decoded by a second, streaming pass.
///
/// It never blocks on a FIFO, and is bounded in memory by `limits`; its time is proportional to the size
/// of the file (a sparse one may be huge) and the pixels of the pictures, so the caller sets the deadline.
///
/// # Errors
/// Only where the file itself is at fault; a picture that cannot be decoded is [`Content::Unscanned`], a container
/// that cannot be opened [`Content::Opaque`]. What `found` got is true even then.
pub fn measure(file: &File, limits: &Limits, found: &mut dyn FnMut(Inside)) -> Result<Measurement, MeasureError> {
    let before = file.metadata()?;
    if !before.is_file() {
        return Err(MeasureError::NotAFile);
    }
    let all = Source::File { file, start: 0, size: before.size() };
    let whole = exact::read(all.reader(), before.size(), limits.keep_bytes);
    if let Some(error) = whole.failed {
        return Err(error.into());
    }
    if whole.bytes != before.size() || changed(&before, &file.metadata()?) {
        return Err(MeasureError::Changed);
    }
    let by_bytes =
        |content| Measurement { digest: whole.digest, bytes: whole.bytes, parts: whole.parts.clone(), content };
    found(Inside { path: String::new(), measurement: by_bytes(Content::Other) });
    let source = if whole.is_kept() { Source::Memory(&whole.kept) } else { all };
    let content = Walk::new(limits, whole.bytes, found).all(source);
    if changed(&before, &file.metadata()?) {
        return Err(MeasureError::Changed);
    }
    Ok(by_bytes(content))
}

/// Decodes one picture.
pub(crate) fn decode(format: Format, source: Source<'_>, limits: &Limits) -> Result<Decoded, Failure> {
    if source.size() > limits.max_bytes {
        return Err(Reason::TooManyBytes { bytes: source.size(), limit: limits.max_bytes }.into());
    }
    decode::decode(format, source, limits)
}

/// Fingerprints what was decoded of a picture, if it was.
pub(crate) fn picture(format: Format, decoded: Result<Decoded, Failure>) -> Content {
    match decoded.and_then(Picture::new) {
        Ok(picture) => Content::Picture(picture),
        Err(Failure { reason, size }) => Content::Unscanned(Unscanned { format, reason, size }),
    }
}

fn changed(before: &Metadata, after: &Metadata) -> bool {
    // Not the time of inode change: permissions and links may change without the content.
    (before.size(), before.mtime(), before.mtime_nsec()) != (after.size(), after.mtime(), after.mtime_nsec())
}

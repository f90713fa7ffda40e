//! What is handed on of a master, so that copies of it are known where its file is not.

use serde::{Deserialize, Serialize};

use super::store::{Looks, New, VERSION};
use super::{Index, IndexError, MOST_PAGES, path_bytes};
use crate::exact::Digest;
use crate::local::{Grey, is_of_master};
use crate::perceptual::{Hash, base64};
use std::path::{Path, PathBuf};

/// Bytes of the small picture that is compared, at most; an index keeps 14 KiB.
const PICTURE: usize = 32 << 10;
/// Bytes of a thumbnail, at most.
const THUMBNAIL: usize = 64 << 10;

/// All that an index needs of a master to recognise copies of it: digests, local features, a grey picture of some 384
/// pixels and a thumbnail of 192. The file's parts stay behind: pieces of its bytes in other files are not recognised.
///
/// One that was read is sound: every picture in it can be decoded, and nothing is larger than an index makes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Plain")]
pub struct Portrait {
    /// Of the algorithms that made it.
    version: i64,
    /// Size of the file.
    bytes: u64,
    whole: Likeness,
    /// Further pictures in it.
    pages: Vec<Likeness>,
}

/// [`Portrait`] as it comes in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    version: i64,
    bytes: u64,
    whole: Likeness,
    pages: Vec<Likeness>,
}

/// What one picture looks like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Likeness {
    pub(super) digest: Digest,
    pub(super) pixels: Option<Digest>,
    pub(super) hash: Option<Hash>,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) bit_depth: u8,
    #[serde(with = "base64")]
    pub(super) features: Vec<u8>,
    #[serde(with = "base64")]
    pub(super) picture: Vec<u8>,
    #[serde(with = "base64")]
    pub(super) thumbnail: Vec<u8>,
}

impl Likeness {
    fn check(&self) -> Result<(), String> {
        let is_jpeg = |bytes: &[u8]| bytes.starts_with(&[0xff, 0xd8, 0xff]) && bytes.ends_with(&[0xff, 0xd9]);
        if !self.features.is_empty() && !is_of_master(&self.features) {
            return Err(format!("{} bytes are no local features of a master", self.features.len()));
        }
        if !self.picture.is_empty() && (self.picture.len() > PICTURE || Grey::from_jpeg(&self.picture).is_none()) {
            return Err(format!("{} bytes are no small picture of a master", self.picture.len()));
        }
        if self.features.is_empty() != self.picture.is_empty() {
            return Err("of local features and small picture one is missing".into());
        }
        if self.hash.is_some() && self.picture.is_empty() {
            return Err("a hash without the small picture that it is compared by".into());
        }
        if !self.thumbnail.is_empty() && (self.thumbnail.len() > THUMBNAIL || !is_jpeg(&self.thumbnail)) {
            return Err(format!("{} bytes are no thumbnail", self.thumbnail.len()));
        }
        Ok(())
    }
}

impl TryFrom<Plain> for Portrait {
    type Error = String;

    fn try_from(Plain { version, bytes, whole, pages }: Plain) -> Result<Portrait, String> {
        if version != VERSION {
            return Err(format!("fingerprints of version {version}, expected {VERSION}: update the older program"));
        }
        if pages.len() > MOST_PAGES {
            return Err(format!("{} further pictures, expected at most {MOST_PAGES}", pages.len()));
        }
        std::iter::once(&whole).chain(&pages).try_for_each(Likeness::check)?;
        Ok(Portrait { version, bytes, whole, pages })
    }
}

impl Portrait {
    /// BLAKE3 of all that it says: two that are equal have the same one, and nobody can make another with it.
    ///
    /// # Errors
    /// Out of memory.
    pub fn digest(&self) -> Result<Digest, serde_json::Error> {
        Ok(Digest::of(&serde_json::to_vec(self)?))
    }

    /// Width in pixels; 0 if it is not known.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.whole.width
    }

    /// Height in pixels; 0 if it is not known.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.whole.height
    }
}

impl Index {
    /// The form of an index, and of what goes into a portrait: those of another version are of no use here.
    pub const VERSION: i64 = VERSION;

    /// What can be handed on of the master at `path`.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn portrait(&self, path: &Path) -> Result<Option<Portrait>, IndexError> {
        let mut rows = self.store.with_pages(path)?.into_iter();
        let Some(row) = rows.next() else { return Ok(None) };
        let bytes = row.known().size;
        let likeness = |row: &super::store::Row, thumbnail| -> Result<Likeness, IndexError> {
            let mut likeness = row.likeness();
            likeness.features = self.store.looks(row.id, Looks::Features)?;
            likeness.picture = self.store.looks(row.id, Looks::Picture)?;
            likeness.thumbnail = thumbnail;
            Ok(likeness)
        };
        let whole = likeness(&row, self.store.thumbnail(row.id)?.unwrap_or_default())?;
        // Shown is the master alone.
        let pages = rows.map(|row| likeness(&row, Vec::new())).collect::<Result<_, _>>()?;
        Ok(Some(Portrait { version: VERSION, bytes, whole, pages }))
    }

    /// Registers masters by their portraits, all or none of them, each under a path that stands for it here. What was
    /// known under the same path is replaced.
    ///
    /// # Errors
    /// The index cannot be written.
    pub fn insert_portraits(&self, portraits: &[(PathBuf, Portrait)]) -> Result<(), IndexError> {
        let new = portraits.iter().map(|(path, portrait)| {
            let Portrait { bytes, whole, pages, .. } = portrait;
            let page = |(number, likeness): (usize, &Likeness)| {
                New::portrayed(path_bytes(&path.join((number + 1).to_string())), *bytes, likeness, true)
            };
            std::iter::once(New::portrayed(path_bytes(path), *bytes, whole, false))
                .chain(pages.iter().enumerate().map(page))
                .collect()
        });
        self.put(new.collect()).map(drop)
    }
}

//! What goes into the index and what comes out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::measure::Measurement;

/// A master to be registered.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where it lies; any bytes.
    pub path: PathBuf,
    /// The collection, as the policy names it.
    pub collection: String,
    /// The object that it shows, where the policy can tell.
    pub object: Option<String>,
    /// Device number of the file (`st_dev`).
    pub device: u64,
    /// Inode number of the file.
    pub inode: u64,
    /// Size in bytes when it was measured.
    pub size: u64,
    /// Time of modification when it was measured, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// What it is.
    pub measurement: Measurement,
    /// Further pictures in it, by which it is recognised as by its own; see [`super::Pages`].
    pub pages: Vec<Measurement>,
}

impl Entry {
    /// A master of which its path and its looks are known: of no object, and no file that it could be told by.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, collection: &str, measurement: Measurement) -> Entry {
        Entry {
            path: path.into(),
            collection: collection.to_owned(),
            object: None,
            device: 0,
            inode: 0,
            size: measurement.bytes,
            mtime_ns: 0,
            measurement,
            pages: Vec::new(),
        }
    }
}

/// What is known of a file without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Id of the master.
    pub id: i64,
    /// Size in bytes when it was measured.
    pub size: u64,
    /// Time of modification when it was measured, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Inode number.
    pub inode: u64,
    /// Device number.
    pub device: u64,
}

/// A registered master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Master {
    /// Id in the index.
    pub id: i64,
    /// Where it lies.
    pub path: PathBuf,
    /// The collection, as the policy names it.
    pub collection: String,
    /// The object that it shows, where the policy can tell.
    pub object: Option<String>,
    /// Width in pixels; 0 if it is not known.
    pub width: u32,
    /// Height in pixels; 0 if it is not known.
    pub height: u32,
    /// Bits per channel; 0 if it is not known.
    pub bit_depth: u8,
}

/// How a file came from a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It is the same file, byte for byte.
    Exact,
    /// It shows the same whole picture.
    Derivative,
    /// It shows a part of it.
    Fragment,
    /// It contains it, in a container or inside another picture.
    Embedded,
}

/// A master that a file was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// Which one.
    pub master: Master,
    /// How.
    pub kind: Kind,
    /// Length in the file over length in the master, 1.0: full size.
    pub scale: f64,
    /// Share of the master's area that the file shows, 0.0 to 1.0.
    pub coverage: f64,
    /// Which part that is: the corners of a polygon, x and y from 0.0 to 1.0 over width and height of the master;
    /// empty if it is not known, as of bytes of the master in another file.
    #[serde(default)]
    pub region: Vec<(f64, f64)>,
    /// 1 less the probability that a comparison with a wrong master agrees as well as this; 1.0: equal bytes or pixels. One picture
    /// is compared with 56 masters at most.
    pub score: f64,
}

/// Counts and sizes of an index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Masters in all.
    pub masters: u64,
    /// Masters that can be recognised by their looks, not only by their bytes.
    pub pictures: u64,
    /// Masters of each collection.
    pub collections: BTreeMap<String, u64>,
    /// Bytes of all masters.
    pub master_bytes: u64,
    /// Bytes of the index on disk (0 in memory).
    pub index_bytes: u64,
}

/// Something wrong with an index, one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// SQLite's own check of the file's structure found it.
    #[error("the file is damaged: {0}")]
    Structure(String),
    /// A file of local features does not have the checksum that it was written with.
    #[error("the local features in {path:?} are damaged; remove that file, and they are made again from the index")]
    Segment {
        /// The file.
        path: PathBuf,
    },
    /// A row does not have the checksum that it was written with.
    #[error("the entry of master {id} is damaged; fingerprint {path:?} again")]
    Entry {
        /// Id of the master.
        id: i64,
        /// Where it lay, as far as that can still be read.
        path: PathBuf,
    },
}

/// Why the index cannot be used; names the file.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It cannot be opened, read or written.
    #[error("index {path:?}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The files of local features beside it cannot be read or written.
    #[error("local features of index {path:?}: {source}")]
    Segments {
        /// The directory that they lie in.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Its content is damaged.
    #[error("index {path:?} is damaged ({detail}); move it away and build it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// It is a file of something else.
    #[error("{path:?} is not an index of Vitrine")]
    NotAnIndex {
        /// The file.
        path: PathBuf,
    },
    /// It was written by another version.
    #[error("index {path:?} has version {found}; this program reads version {expected}: build it again")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version that is read.
        expected: i64,
    },
}

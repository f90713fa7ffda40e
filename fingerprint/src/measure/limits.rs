//! How far a hostile file may go.

use std::time::Duration;

/// Cells a side of a picture that is fingerprinted.
pub(crate) const CELLS: u32 = 800;

/// What decoding one file may cost. The header is checked against these before anything is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest file that is decoded, in bytes; larger ones are hashed only.
    pub max_bytes: u64,
    /// Most pixels (width times height) of a picture that is decoded.
    pub max_pixels: u64,
    /// Most memory that one decoder may hold, in bytes, beside the file itself where that is kept.
    pub max_memory: u64,
    /// Largest file that is kept in memory between hashing and decoding, in bytes.
    pub keep_bytes: u64,
    /// Most scans of a progressive JPEG: each costs a pass over all pixels (the "JPEG bomb" of
    /// <https://libjpeg-turbo.org/pmwiki/uploads/About/TwoIssueswiththeJPEGStandard.pdf>).
    pub max_scans: u32,
    /// How often something may be packed in something else.
    pub max_depth: u32,
    /// Most members, pictures and previews inside one file, at all depths together.
    pub max_members: u64,
    /// Most bytes that are unpacked from one file, at all depths together.
    pub max_unpacked: u64,
    /// Most bytes that are unpacked for each byte of the file; the first 256 MiB are free.
    pub max_ratio: u64,
    /// How finely a picture is looked at: it is averaged down to at least a square of this many cells a side, and less
    /// than four times as many. What the local features are made for is 800.
    pub cells: u32,
    /// How long is looked into one file.
    pub max_time: Duration,
}

impl Default for Limits {
    /// 8 GiB files, 2 gigapixels, 512 MiB of memory, 64 MiB kept, 100 scans; inside: 8 deep, 20,000 members, 16 GiB
    /// unpacked, 200 times the file, one minute.
    fn default() -> Limits {
        Limits {
            max_bytes: 8 << 30,
            max_pixels: 2_000_000_000,
            max_memory: 512 << 20,
            keep_bytes: 64 << 20,
            max_scans: 100,
            max_depth: 8,
            max_members: 20_000,
            max_unpacked: 16 << 30,
            max_ratio: 200,
            cells: CELLS,
            max_time: Duration::from_secs(60),
        }
    }
}

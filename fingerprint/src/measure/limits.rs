//! How far a hostile file may go.

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
}

impl Default for Limits {
    /// 8 GiB files, 2 gigapixels, 512 MiB of memory, 64 MiB kept, 100 scans.
    fn default() -> Limits {
        Limits {
            max_bytes: 8 << 30,
            max_pixels: 2_000_000_000,
            max_memory: 512 << 20,
            keep_bytes: 64 << 20,
            max_scans: 100,
        }
    }
}

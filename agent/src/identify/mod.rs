//! Raw events become facts: who acts, with which label, towards which destination.

pub(crate) mod destination;
pub(crate) mod label;
pub(crate) mod mount;
pub(crate) mod pipes;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod recent;
pub(crate) mod taint;

use std::os::unix::fs::MetadataExt;

/// A file, whatever its name: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl From<&std::fs::Metadata> for FileId {
    fn from(metadata: &std::fs::Metadata) -> Self {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }
}

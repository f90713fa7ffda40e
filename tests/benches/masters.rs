//! An index as it is after 100,000 scans, without the weeks: `bench_masters COUNT DIR INDEX PICTURE...` makes so
//! many files below DIR, and an index that says of each that it looks like one of the pictures. The files
//! have no content; the agent asks for none of a file that the index knows unchanged.

use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use vitrine_fingerprint::{Digest, Entry, Index, Limits, Measurement, measure};

/// Files of one directory.
const DIRECTORY: u64 = 200;
/// Masters of one transaction.
const BATCH: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(count), Some(directory), Some(index)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: bench_masters COUNT DIR INDEX PICTURE...".into());
    };
    let count: u64 = count.to_str().unwrap_or_default().parse()?;
    let looks = arguments.map(|path| measure(&File::open(path)?, &Limits::default(), &mut |_| {}));
    let looks: Vec<Measurement> = looks.collect::<Result<_, _>>()?;
    let index = Index::open(&PathBuf::from(index))?;
    let mut batch = Vec::with_capacity(BATCH);
    for (number, look) in (0..count).zip(looks.iter().cycle()) {
        let folder = PathBuf::from(&directory).join(format!("{:04}", number / DIRECTORY));
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("A{number:08}_recto_master.jpg"));
        let file = File::create(&path)?;
        file.set_len(number + 1)?;
        let metadata = file.metadata()?;
        let digest = Digest::of(&number.to_le_bytes());
        batch.push(Entry {
            path,
            collection: "masters".into(),
            object: None,
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            mtime_ns: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
            measurement: Measurement { digest, bytes: metadata.len(), ..look.clone() },
            pages: Vec::new(),
        });
        if batch.len() == BATCH {
            index.insert_all(&batch)?;
            batch.clear();
        }
    }
    index.insert_all(&batch)?;
    Ok(())
}

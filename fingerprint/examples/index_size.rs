//! What an index costs: `index_size MASTERS PICTURE` registers the picture so many times under other names
//! and digests, opens the index anew and asks it. Prints seconds and resident memory.

use std::error::Error;
use std::fs::{File, read_to_string};
use std::path::PathBuf;
use std::time::Instant;

use vitrine_fingerprint::{Digest, Entry, Index, Limits, measure};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(count), Some(picture)) = (arguments.next(), arguments.next()) else {
        return Err("usage: index_size MASTERS PICTURE".into());
    };
    let count: u64 = count.parse()?;
    let file = PathBuf::from(format!("/tmp/vitrine-index-{}.db", std::process::id()));
    let measurement = measure(&File::open(picture)?, &Limits::default(), &mut |_| {})?;
    let entry = |number: u64| {
        let mut measurement = measurement.clone();
        measurement.digest = Digest::of(&number.to_le_bytes());
        let path = PathBuf::from(format!("/srv/scans/masters/{}/A{number:08}_recto_master.tif", number % 500));
        let (collection, object) = ("masters".to_owned(), Some(format!("A{number:08}")));
        Entry { path, collection, object, device: 1, inode: number, size: 1, mtime_ns: 0, measurement }
    };
    let start = Instant::now();
    {
        let index = Index::open(&file)?;
        for first in (0..count).step_by(1000) {
            index.insert_all(&(first..(first + 1000).min(count)).map(entry).collect::<Vec<_>>())?;
        }
    }
    let built = start.elapsed();
    let start = Instant::now();
    let index = Index::open(&file)?;
    let opened = start.elapsed();
    let stats = index.stats()?;
    let start = Instant::now();
    let found = index.find(&entry(count / 2).measurement)?.len();
    let asked = start.elapsed();
    let status = read_to_string("/proc/self/status")?;
    let resident = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    println!("{count} masters, {} bytes on disk: built in {built:.1?}, opened in {opened:.1?}", stats.index_bytes);
    println!("one query {asked:.1?} ({found} found, at most 64 looks compared); {resident}");
    for suffix in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(format!("{}{suffix}", file.display())));
    }
    Ok(())
}

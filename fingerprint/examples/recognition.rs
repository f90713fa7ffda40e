//! Recall and false matches over changed copies: `recognition MASTERS COPIES OTHERS`, where COPIES has one
//! directory a master (named like it, without extension) with one file a change. Prints a table.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{File, read_dir};
use std::path::{Path, PathBuf};
use std::time::Instant;

use vitrine_fingerprint::{Content, Entry, Index, Limits, Measurement, measure};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [masters, copies, others] = arguments.as_slice() else {
        return Err("usage: recognition MASTERS COPIES OTHERS".into());
    };
    let index = Index::in_memory()?;
    for path in list(masters)? {
        let measurement = look(&path)?;
        index.insert(&entry(&path, measurement))?;
    }
    let mut table: BTreeMap<String, Row> = BTreeMap::new();
    for directory in list(copies)?.iter().filter(|path| path.is_dir()) {
        let master = directory.file_name().unwrap_or_default();
        for copy in list(directory)? {
            let row = table.entry(copy.file_name().unwrap_or_default().to_string_lossy().into_owned()).or_default();
            row.copies += 1;
            let start = Instant::now();
            let measurement = look(&copy)?;
            row.milliseconds += start.elapsed().as_secs_f64() * 1e3;
            if let Content::Unscanned(unscanned) = &measurement.content {
                println!("unscanned {}: {}", copy.display(), unscanned.reason);
            }
            let matches = index.find(&measurement)?;
            let right = matches.iter().find(|found| found.master.path.file_stem() == Some(master));
            match right {
                Some(found) => row.scores.push(found.score),
                None => println!("missed    {}", copy.display()),
            }
            for wrong in matches.iter().filter(|found| found.master.path.file_stem() != Some(master)) {
                row.wrong += 1;
                println!("wrong     {} named {} ({:.2})", copy.display(), wrong.master.path.display(), wrong.score);
            }
        }
    }
    let mut false_matches = 0;
    let others = list(others)?;
    for other in &others {
        for found in index.find(&look(other)?)? {
            false_matches += 1;
            println!("false     {} named {} ({:.2})", other.display(), found.master.path.display(), found.score);
        }
    }
    println!("{:24} {:>6} {:>9} {:>6} {:>9} {:>7}", "change", "copies", "recall %", "wrong", "min score", "ms");
    let mut all = Row::default();
    for (change, row) in &table {
        row.print(change);
        all.copies += row.copies;
        all.wrong += row.wrong;
        all.milliseconds += row.milliseconds;
        all.scores.extend_from_slice(&row.scores);
    }
    all.print("all");
    println!("false matches among {} others: {false_matches}", others.len());
    Ok(())
}

#[derive(Default)]
struct Row {
    copies: usize,
    wrong: usize,
    scores: Vec<f64>,
    milliseconds: f64,
}

impl Row {
    fn print(&self, change: &str) {
        let copies = self.copies.max(1) as f64;
        let recall = self.scores.len() as f64 * 100.0 / copies;
        let least = self.scores.iter().copied().fold(1.0, f64::min);
        let time = self.milliseconds / copies;
        println!("{change:24} {:>6} {recall:>9.1} {:>6} {least:>9.2} {time:>7.1}", self.copies, self.wrong);
    }
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut paths = read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

fn look(path: &Path) -> Result<Measurement, Box<dyn Error>> {
    Ok(measure(&File::open(path)?, &Limits::default()).map_err(|error| format!("{}: {error}", path.display()))?)
}

fn entry(path: &Path, measurement: Measurement) -> Entry {
    Entry {
        path: path.to_owned(),
        collection: "masters".to_owned(),
        object: None,
        device: 0,
        inode: 0,
        size: measurement.bytes,
        mtime_ns: 0,
        measurement,
    }
}

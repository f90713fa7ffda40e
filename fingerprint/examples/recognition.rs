//! Names the masters of changed copies: `recognition MASTERS COPIES`, two lists of files, one path a line. Prints
//! one line a copy and match, tab-separated: copy, master, kind, score, scale, coverage; `-` for no match, with
//! `unrecognisable` where there is nothing on the copy, and the milliseconds for measuring and for finding.
//! A line
//! `=`, copy, master, evidence, correlation tells of each comparison by pixels, of matches and of all others.
//! `tests/benches/recognition/run` makes the lists and reads the lines.

use std::error::Error;
use std::fs::{File, read_to_string};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use vitrine_fingerprint::{Content, Entry, Index, Limits, Measurement, measure};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [masters, copies] = arguments.as_slice() else {
        return Err("usage: recognition MASTERS COPIES".into());
    };
    let index = Index::in_memory()?;
    let failed = each(&list(masters)?, |path| {
        let done = look(path).and_then(|measurement| Ok(index.insert(&entry(path, measurement))?));
        done.err().map(|error| format!("# {}: {error}", path.display()))
    });
    failed.iter().for_each(|line| println!("{line}"));
    each(&list(copies)?, |path| {
        match name(&index, path) {
            Ok(lines) => println!("{lines}"),
            Err(error) => println!("# {}: {error}", path.display()),
        }
        None::<()>
    });
    Ok(())
}

/// On all cores.
fn each<T: Send>(paths: &[PathBuf], work: impl Fn(&Path) -> Option<T> + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let take = || paths.get(next.fetch_add(1, Ordering::Relaxed));
    let worker = || std::iter::from_fn(take).filter_map(|path| work(path)).collect::<Vec<T>>();
    let count = thread::available_parallelism().map_or(1, |count| count.get());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    })
}

fn name(index: &Index, path: &Path) -> Result<String, Box<dyn Error>> {
    let start = Instant::now();
    let measurement = look(path)?;
    let measured = start.elapsed().as_secs_f64() * 1e3;
    let start = Instant::now();
    let matches = index.find(&measurement)?;
    let times = format!("{measured:.1}\t{:.1}", start.elapsed().as_secs_f64() * 1e3);
    let copy = path.display();
    for (master, evidence, correlation) in index.compared(&measurement)? {
        println!("=\t{copy}\t{}\t{evidence:.3}\t{correlation:.4}", master.display());
    }
    let line = |found: &vitrine_fingerprint::Match| {
        let (master, kind) = (found.master.path.display(), format!("{:?}", found.kind).to_lowercase());
        format!("{copy}\t{master}\t{kind}\t{:.6}\t{:.5}\t{:.5}\t{times}", found.score, found.scale, found.coverage)
    };
    let kind = match &measurement.content {
        Content::Picture(picture) if picture.fingerprint.is_recognisable() => "none",
        Content::Picture(_) => "unrecognisable",
        _ => "unscanned",
    };
    let lines: Vec<String> = matches.iter().map(line).collect();
    Ok(if lines.is_empty() { format!("{copy}\t-\t{kind}\t0\t0\t0\t{times}") } else { lines.join("\n") })
}

fn list(path: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    Ok(read_to_string(path)?.lines().map(PathBuf::from).collect())
}

fn look(path: &Path) -> Result<Measurement, Box<dyn Error>> {
    Ok(measure(&File::open(path)?, &Limits::default(), &mut |_| {})
        .map_err(|error| format!("{}: {error}", path.display()))?)
}

fn entry(path: &Path, measurement: Measurement) -> Entry {
    Entry::new(path, "masters", measurement)
}

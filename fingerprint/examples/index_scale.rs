//! What a large index costs: `index_scale MASTERS DIRECTORY MASTER… -- QUERY…` registers the pictures MASTER, and so many
//! more with made-up features, in DIRECTORY (which needs 32 KB for each), opens the index anew and asks it for every QUERY.
//! Prints seconds, resident memory, and what was found.
//!
//! The made-up features are those of the real pictures with a quarter of their bits turned at random, so that they
//! crowd where real ones do.

use std::error::Error;
use std::fs::{File, read_to_string};
use std::path::{Path, PathBuf};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use vitrine_fingerprint::{Content, Digest, Entry, Index, Limits, Measurement, measure};

/// Bytes of a stored feature, and where in them the descriptor begins.
const FEATURE: (usize, usize) = (38, 6);
/// Bytes of a descriptor.
const DESCRIPTOR: usize = 32;
/// Masters that are written at once.
const BATCH: u64 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(count), Some(directory)) = (arguments.next(), arguments.next()) else {
        return Err("usage: index_scale MASTERS DIRECTORY MASTER… -- QUERY…".into());
    };
    let (count, directory): (u64, PathBuf) = (count.parse()?, directory.into());
    let masters: Vec<String> = arguments.by_ref().take_while(|argument| argument != "--").collect();
    let masters: Vec<(String, Measurement)> =
        masters.into_iter().map(|path| look(&path).map(|looked| (path, looked))).collect::<Result<_, _>>()?;
    let queries: Vec<(String, Measurement)> =
        arguments.map(|path| look(&path).map(|looked| (path, looked))).collect::<Result<_, _>>()?;

    let file = directory.join("scale.db");
    let start = Instant::now();
    {
        let index = Index::open(&file)?;
        let real =
            masters.iter().zip(0..).map(|((path, looked), number)| entry(Path::new(path), number, looked.clone()));
        index.insert_all(&real.collect::<Vec<_>>())?;
        let moulds: Vec<Value> =
            masters.iter().map(|(_, looked)| serde_json::to_value(looked)).collect::<Result<_, _>>()?;
        let mut noise = blake3::Hasher::new().finalize_xof();
        for first in (0..count).step_by(BATCH as usize) {
            let numbers = first..(first + BATCH).min(count);
            let made = numbers.map(|number| {
                let mould = &moulds[number as usize % moulds.len()];
                let path = PathBuf::from(format!("/srv/scans/masters/{}/A{number:08}_recto_master.tif", number % 500));
                Ok(entry(&path, number + 1_000_000, made_up(mould, &mut noise, number)?))
            });
            index.insert_all(&made.collect::<Result<Vec<_>, Box<dyn Error>>>()?)?;
        }
    }
    println!("{count} masters beside {}: built in {:.0?}", masters.len(), start.elapsed());
    let start = Instant::now();
    let index = Index::open(&file)?;
    println!("opened in {:.2?}, {} bytes of entries", start.elapsed(), index.stats()?.index_bytes);
    for (path, query) in &queries {
        let mut seconds: Vec<f64> = Vec::new();
        let mut found = Vec::new();
        for _ in 0..5 {
            let start = Instant::now();
            found = index.find(query)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        let [first, rest @ ..] = seconds.as_mut_slice() else { continue };
        rest.sort_by(f64::total_cmp);
        let told: Vec<String> =
            found.iter().map(|found| format!("{} {:?}", found.master.path.display(), found.kind)).collect();
        println!("{path}: {:.0} ms first, then {:.0} ms: {told:?}", *first * 1e3, rest[rest.len() / 2] * 1e3);
    }
    let status = read_to_string("/proc/self/status")?;
    let resident = status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("RssAnon"));
    println!("{:?}", resident.collect::<Vec<_>>());
    Ok(())
}

fn look(path: &str) -> Result<Measurement, Box<dyn Error>> {
    Ok(measure(&File::open(path)?, &Limits::default(), &mut |_| {})?)
}

fn entry(path: &Path, number: u64, measurement: Measurement) -> Entry {
    let (path, collection, object) = (path.to_owned(), "masters".to_owned(), Some(format!("A{number:08}")));
    Entry { path, collection, object, device: 1, inode: number, size: measurement.bytes, mtime_ns: 0, measurement }
}

/// Another picture of the kind of `mould`, as nobody has ever seen it.
fn made_up(mould: &Value, noise: &mut blake3::OutputReader, number: u64) -> Result<Measurement, Box<dyn Error>> {
    let mut value = mould.clone();
    value["digest"] = json!(Digest::of(&number.to_le_bytes()));
    value["parts"] = json!("");
    let picture = &mut value["content"]["picture"];
    picture["pixels"] = Value::Null;
    // Pictures of what nobody compares by its pixels take little room.
    let small = std::mem::replace(&mut picture["thumbnail"], json!(""));
    let local = &mut picture["fingerprint"]["local"];
    let mut features = STANDARD.decode(local["features"].as_str().unwrap_or_default())?;
    let mut bits = [[0u8; DESCRIPTOR]; 2];
    for feature in features.chunks_exact_mut(FEATURE.0) {
        bits.iter_mut().for_each(|bits| noise.fill(bits));
        for (at, byte) in feature[FEATURE.1..].iter_mut().enumerate() {
            *byte ^= bits[0][at] & bits[1][at];
        }
    }
    local["features"] = json!(STANDARD.encode(&features));
    local["picture"] = small;
    let mut hash = [0u8; 32];
    noise.fill(&mut hash);
    if let Some(hashes) = picture["fingerprint"]["hashes"].as_array_mut() {
        hashes.iter_mut().for_each(|stored| *stored = json!(STANDARD.encode(hash)));
    }
    let measurement: Measurement = serde_json::from_value(value)?;
    debug_assert!(matches!(measurement.content, Content::Picture(_)));
    Ok(measurement)
}

//! What a large index costs: `index_scale MASTERS DIRECTORY MASTER… -- QUERY…` registers the pictures MASTER, and so many
//! more with made-up features, in DIRECTORY, opens the index anew, asks it for every QUERY, and lets it grow. With 0
//! MASTERS the index of an earlier run is asked: in a process that has built nothing, so that its memory says something.
//! MASTERS:0 makes up masters of a hash alone, without features and small picture. What is in DIRECTORY already stays.
//! Prints times by the clock and, behind a slash, of this thread's processor; resident memory; sizes; what was found.
//!
//! The made-up features are those of the real pictures with a quarter of their bits turned at random, so that they
//! crowd where real ones do; each made-up master has as many postings as a real one, a hash, a key and a row of its own.
//! To save 22 KB of disk for each, only one in [`LENT`] keeps its features in the table `looks` and lends them to the
//! others: a question still reads and fits as many features of as many masters. 11 KB are left. Masters have the paths that
//! a collector gives them in its own index.

use std::error::Error;
use std::fs::{File, read_dir, read_to_string};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::Connection;
use serde_json::{Value, json};
use vitrine_fingerprint::{Content, Digest, Entry, Index, Limits, Measurement, measure};

/// Bytes of a stored feature, and where in them the descriptor begins.
const FEATURE: (usize, usize) = (38, 6);
/// Bytes of a descriptor.
const DESCRIPTOR: usize = 32;
/// Masters that are written at once.
const BATCH: u64 = 1000;
/// So many made-up masters share the stored features of one.
const LENT: usize = 16;
/// Masters that the index grows by, one by one.
const GROWN: u64 = 2100;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(count), Some(directory)) = (arguments.next(), arguments.next()) else {
        return Err("usage: index_scale MASTERS DIRECTORY MASTER… -- QUERY…".into());
    };
    let (count, features) = count.split_once(':').unwrap_or((&count, "640"));
    let (count, features, directory): (u64, usize, PathBuf) = (count.parse()?, features.parse()?, directory.into());
    let masters: Vec<String> = arguments.by_ref().take_while(|argument| argument != "--").collect();
    let masters: Vec<(String, Measurement)> =
        masters.into_iter().map(|path| look(&path).map(|looked| (path, looked))).collect::<Result<_, _>>()?;
    let file = directory.join("index.db");
    let moulds: Vec<Mould> = masters.iter().map(|(_, looked)| Mould::of(looked, features)).collect::<Result<_, _>>()?;
    if count > 0 {
        let clock = Clock::start();
        build(&file, count, &masters, &moulds)?;
        println!("{count} masters beside {}: built in {clock}", masters.len());
    }
    let clock = Clock::start();
    let index = Index::open(&file)?;
    println!("opened {} masters in {clock}", index.len());
    println!("in memory after opening: {}", resident()?);
    let clock = Clock::start();
    let stats = index.stats()?;
    println!("counted in {clock}: {stats:?}; postings: {}", postings(&directory)?);
    for path in arguments {
        let query = look(&path)?;
        let mut times: Vec<(f64, f64)> = Vec::new();
        let mut found = Vec::new();
        for _ in 0..5 {
            let clock = Clock::start();
            found = index.find(&query)?;
            times.push(clock.milliseconds());
        }
        let [first, rest @ ..] = times.as_mut_slice() else { continue };
        rest.sort_by(|a, b| a.0.total_cmp(&b.0));
        let told: Vec<String> =
            found.iter().map(|found| format!("{:?} {:?}", found.master.object, found.kind)).collect();
        let (median, name) = (rest[rest.len() / 2], Path::new(&path).file_name().unwrap_or_default());
        println!("{name:?}: {:.0} ms first, then {:.1}/{:.1} ms: {told:?}", first.0, median.0, median.1);
    }
    println!("in memory after the questions: {}", resident()?);
    if !moulds.is_empty() {
        grow(&index, &moulds)?;
    }
    Ok(())
}

/// Registers the masters, and `count` made-up ones.
fn build(file: &Path, count: u64, masters: &[(String, Measurement)], moulds: &[Mould]) -> Result<(), Box<dyn Error>> {
    if Index::open(file)?.is_empty() {
        begin(file, masters)?;
    }
    let index = Index::open(file)?;
    let there = index.len() as u64;
    let clock = Clock::start();
    let (batches, made) = sync_channel(2);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut noise = Noise(1);
            for first in (there..there + count).step_by(BATCH as usize) {
                let numbers = first..(first + BATCH).min(there + count);
                let made = numbers.map(|number| made_up_entry(moulds, &mut noise, number).map_err(|e| e.to_string()));
                if batches.send(made.collect::<Result<Vec<_>, _>>()).is_err() {
                    break;
                }
            }
        });
        for (batch, entries) in made.into_iter().enumerate() {
            index.insert_all(&entries?)?;
            if batch % 50 == 49 {
                println!("{} in {clock}", index.len());
            }
        }
        Ok::<(), Box<dyn Error>>(())
    })?;
    Ok(())
}

/// Registers the real masters, and has the features of those that follow lent.
fn begin(file: &Path, masters: &[(String, Measurement)]) -> Result<(), Box<dyn Error>> {
    let real = masters.iter().zip(0..).map(|((path, looked), number)| entry(path.clone(), number, looked.clone()));
    Index::open(file)?.insert_all(&real.collect::<Vec<_>>())?;
    Connection::open(file)?.execute_batch(&format!(
        "ALTER TABLE looks RENAME TO kept;
         CREATE VIEW looks AS SELECT id, picture, thumbnail, checksum,
             iif(features <> x'', features, (SELECT features FROM kept AS lender WHERE id = kept.id - kept.id % {LENT}))
             AS features FROM kept;
         CREATE TRIGGER keep INSTEAD OF INSERT ON looks BEGIN INSERT INTO kept
             (id, features, picture, thumbnail, checksum) VALUES (NEW.id,
             iif(NEW.id % {LENT} = 0 OR NEW.id < {}, NEW.features, x''), NEW.picture, NEW.thumbnail, NEW.checksum);
         END;
         CREATE TRIGGER forget INSTEAD OF DELETE ON looks BEGIN DELETE FROM kept WHERE id = OLD.id; END;",
        masters.len() + LENT
    ))?;
    Ok(())
}

/// Adds masters one by one, as they come while a museum works.
fn grow(index: &Index, moulds: &[Mould]) -> Result<(), Box<dyn Error>> {
    let mut noise = Noise(2);
    let before = index.len() as u64;
    let mut times: Vec<(f64, f64)> = Vec::new();
    for number in before..before + GROWN {
        let made = made_up_entry(moulds, &mut noise, number)?;
        let clock = Clock::start();
        index.insert(&made)?;
        times.push(clock.milliseconds());
    }
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    let sum = times.iter().fold((0.0, 0.0), |sum, time| (sum.0 + time.0, sum.1 + time.1));
    println!(
        "grown by {GROWN}, one by one: {:.0}/{:.0} ms in all; each {:.1}/{:.1} ms at the median, {:.1} at 99 %, {:.0} \
              the longest",
        sum.0,
        sum.1,
        at(50).0,
        at(50).1,
        at(99).0,
        at(100).0
    );
    Ok(())
}

/// Time by the clock and of this thread's processor.
struct Clock(Instant, u64);

impl Clock {
    fn start() -> Clock {
        Clock(Instant::now(), Clock::nanoseconds())
    }

    fn nanoseconds() -> u64 {
        let told = read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        told.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
    }

    fn milliseconds(&self) -> (f64, f64) {
        (self.0.elapsed().as_secs_f64() * 1e3, (Clock::nanoseconds() - self.1) as f64 / 1e6)
    }
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (wall, processor) = self.milliseconds();
        write!(f, "{wall:.0}/{processor:.0} ms")
    }
}

fn resident() -> Result<String, Box<dyn Error>> {
    let status = read_to_string("/proc/self/status")?;
    let lines = status.lines().filter(|line| ["VmHWM", "VmRSS", "RssAnon"].iter().any(|name| line.starts_with(name)));
    Ok(lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", "))
}

/// The bytes of the files of postings.
fn postings(directory: &Path) -> Result<String, Box<dyn Error>> {
    let sizes = read_dir(directory.join("index.db-postings"))?.map(|file| Ok(file?.metadata()?.len()));
    let sizes: Vec<u64> = sizes.collect::<std::io::Result<_>>()?;
    Ok(format!("{} bytes in {} files", sizes.iter().sum::<u64>(), sizes.len()))
}

fn made_up_entry(moulds: &[Mould], noise: &mut Noise, number: u64) -> Result<Entry, Box<dyn Error>> {
    let mould = moulds.get(number as usize % moulds.len().max(1)).ok_or("no pictures to make others after")?;
    Ok(entry(format!("A{number:08}"), number + 1_000_000, mould.made_up(noise, number)?))
}

fn look(path: &str) -> Result<Measurement, Box<dyn Error>> {
    Ok(measure(&File::open(path)?, &Limits::default(), &mut |_| {})?)
}

fn entry(object: String, number: u64, measurement: Measurement) -> Entry {
    let path = PathBuf::from(format!("/{}", measurement.digest));
    Entry { object: Some(object), device: 1, inode: number, ..Entry::new(&path, "masters", measurement) }
}

/// What made-up masters are made after.
struct Mould {
    measurement: Value,
    /// The features that an index keeps of it.
    features: Vec<u8>,
}

impl Mould {
    fn of(looked: &Measurement, count: usize) -> Result<Mould, Box<dyn Error>> {
        let mut measurement = serde_json::to_value(looked)?;
        measurement["parts"] = json!("");
        let picture = &mut measurement["content"]["picture"];
        picture["pixels"] = Value::Null;
        // Pictures of what nobody compares by its pixels take little room.
        let small = std::mem::replace(&mut picture["thumbnail"], json!(""));
        let local = &mut picture["fingerprint"]["local"];
        let mut features = STANDARD.decode(local["features"].as_str().unwrap_or_default())?;
        features.truncate(count * FEATURE.0);
        local["mirrored"] = json!(STANDARD.encode(vec![0; features.len() / FEATURE.0 * DESCRIPTOR]));
        local["features"] = Value::Null;
        local["picture"] = if count > 0 { small } else { json!("") };
        Ok(Mould { measurement, features })
    }

    /// Another picture of its kind, as nobody has ever seen it.
    fn made_up(&self, noise: &mut Noise, number: u64) -> Result<Measurement, Box<dyn Error>> {
        let mut features = self.features.clone();
        for feature in features.chunks_exact_mut(FEATURE.0) {
            for word in feature[FEATURE.1..].chunks_exact_mut(8) {
                let bits = (noise.next() & noise.next()).to_le_bytes();
                word.iter_mut().zip(bits).for_each(|(byte, bits)| *byte ^= bits);
            }
        }
        let mut value = self.measurement.clone();
        value["digest"] = json!(Digest::of(&number.to_le_bytes()));
        let fingerprint = &mut value["content"]["picture"]["fingerprint"];
        fingerprint["local"]["features"] = json!(STANDARD.encode(&features));
        let hash: Vec<u8> = (0..4).flat_map(|_| noise.next().to_le_bytes()).collect();
        if let Some(hashes) = fingerprint["hashes"].as_array_mut() {
            hashes.iter_mut().for_each(|stored| *stored = json!(STANDARD.encode(&hash)));
        }
        let measurement: Measurement = serde_json::from_value(value)?;
        debug_assert!(matches!(measurement.content, Content::Picture(_)));
        Ok(measurement)
    }
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

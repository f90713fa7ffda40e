//! Tiles that reach a destination one by one: none shows enough to be known, and all together are a master.
//!
//! A file whose name may be that of a tile is remembered. Once its set has doubled, or has been quiet for a second, all
//! files of the set are read as one archive, by the same confined worker that reads any file, and judged as one file is.
//! What was taken back of a set is read with the rest of it, so that the last tiles to come are known as well. Tiles that
//! may stay get no label: each by itself would count as all of the master, because nobody can tell which part it is.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::block_in_place;
use vitrine_fingerprint::{Content, Inside, Match, SET_NAME_END, TileName};
use vitrine_policy::decision::Answer;
use vitrine_policy::facts::{Attempt, Facts, History};
use vitrine_policy::record::{Disposition, Operation};

use crate::fail::Failure;
use crate::history;
use crate::inspect::{Actor, file_name, label};
use crate::own::open_regular;
use crate::quarantine;
use crate::recognise::recognise;
use crate::recorder::{Seen, disposition};
use crate::sys::stat::Stat;
use crate::workstation::Workstation;

/// A set is looked at once nothing more of it has come for so long.
const QUIET: Duration = Duration::from_secs(1);
/// How often that is seen to.
const TICK: Duration = Duration::from_millis(250);
/// So long after its last tile a set is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Most sets that are remembered; the one that has been quiet for longest goes.
const SETS: usize = 1024;
/// Fewer tiles make no set.
const FEWEST: usize = 4;
/// Before it has so many tiles, a set waits until it is quiet.
const MANY: usize = 32;
/// Most tiles of a set that are read at a time, most bytes of one and of all, and most entries of its directories.
const TILES: usize = 16_384;
const TILE: u64 = 16 << 20;
const BYTES: u64 = 512 << 20;
const ENTRIES: usize = 100_000;

/// A set of which tiles have come.
struct Waiting {
    /// The last one, and what its name says.
    path: PathBuf,
    name: TileName,
    guard: &'static str,
    actor: Option<Actor>,
    last: Instant,
    /// How many have come, and how many had when it was looked at.
    count: usize,
    looked_at: usize,
    /// What was taken back: where it is kept, and its name in the archive.
    taken: Vec<(PathBuf, String)>,
}

impl Waiting {
    fn is_due(&self, now: Instant) -> bool {
        let has_grown = self.count >= MANY.max(self.looked_at.saturating_mul(2));
        let is_quiet = self.count > self.looked_at && now.duration_since(self.last) >= QUIET;
        has_grown || is_quiet
    }
}

/// All sets of which tiles have come lately.
#[derive(Default)]
pub(crate) struct Tiles {
    sets: Mutex<HashMap<String, Waiting>>,
}

impl Tiles {
    fn sets(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file has come to a destination; it may be a tile.
    pub(crate) fn arrived(&self, path: &Path, guard: &'static str, actor: Option<&Actor>) {
        let Some(name) = TileName::of(&path.to_string_lossy()) else { return };
        let mut sets = self.sets();
        let key = name.to_string();
        if sets.len() >= SETS && !sets.contains_key(&key) {
            let oldest = sets.iter().min_by_key(|(_, set)| set.last).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| sets.remove(&oldest));
        }
        let (path, last) = (path.to_owned(), Instant::now());
        let new = || Waiting {
            path: path.clone(),
            name,
            guard,
            actor: None,
            last,
            count: 0,
            looked_at: 0,
            taken: Vec::new(),
        };
        let set = sets.entry(key).or_insert_with(new);
        set.count += 1;
        (set.path, set.last, set.actor) = (path, last, actor.cloned());
    }

    /// The next set that is due, with all that is known of it; its files count as looked at from now on.
    fn next(&self) -> Option<(String, Waiting)> {
        let (mut sets, now) = (self.sets(), Instant::now());
        sets.retain(|_, set| now.duration_since(set.last) < FORGOTTEN);
        let (key, set) = sets.iter_mut().find(|(_, set)| set.is_due(now))?;
        set.looked_at = set.count;
        let (path, name, actor, taken) = (set.path.clone(), set.name.clone(), set.actor.clone(), set.taken.clone());
        Some((key.clone(), Waiting { path, name, actor, taken, ..*set }))
    }

    /// Tiles were taken back; where `more` are there than could be read, the set is looked at again.
    fn taken(&self, key: &str, taken: Vec<(PathBuf, String)>, more: bool) {
        if let Some(set) = self.sets().get_mut(key) {
            set.taken.extend(taken);
            let too_many = set.taken.len().saturating_sub(TILES / 2);
            set.taken.drain(..too_many);
            set.looked_at = if more { 0 } else { set.looked_at };
        }
    }
}

/// A tile that lies at the destination.
struct Tile {
    path: PathBuf,
    file: File,
    stat: Stat,
    /// Its name in the archive.
    name: String,
}

/// What there is of a set.
struct Gathered {
    directory: PathBuf,
    tiles: Vec<(PathBuf, String)>,
    /// There is more than is read at a time.
    more: bool,
}

/// Looks at every set that is due, one after the other, for as long as the agent runs.
pub(crate) async fn run(workstation: Arc<Workstation>) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        while let Some((key, set)) = workstation.tiles.next() {
            let path = set.path.clone();
            if let Err(error) = look(&workstation, &key, set).await {
                let what = format!("the tiles beside {} could not be inspected: {error}", path.display());
                workstation.spool.push(Failure::Unscanned.notice(Some(path.as_os_str().as_bytes()), what));
            }
        }
    }
}

/// All files that belong to the set of a tile, by their names.
fn gather(path: &Path, name: &TileName) -> io::Result<Gathered> {
    let nowhere = || io::Error::from(io::ErrorKind::NotFound);
    let directory = path.ancestors().nth(name.depth()).ok_or_else(nowhere)?.to_owned();
    let (mut tiles, mut seen, mut more) = (Vec::new(), 0, false);
    let mut waiting = vec![(directory.clone(), 1)];
    while let Some((next, depth)) = waiting.pop() {
        // What has gone meanwhile is no part of it.
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            seen += 1;
            if seen > ENTRIES || tiles.len() >= TILES {
                more = true;
                break;
            }
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < name.depth() => waiting.push((path, depth + 1)),
                Ok(kind) if kind.is_file() && depth == name.depth() => {
                    let is_with = TileName::of(&path.to_string_lossy()).is_some_and(|other| other.is_with(name));
                    tiles.extend(is_with.then(|| (archived(&path, name), path)).map(|(name, path)| (path, name)));
                }
                _ => {}
            }
        }
    }
    tiles.sort();
    Ok(Gathered { directory, tiles, more })
}

/// The end of a path, as long as it says that this is a tile.
fn archived(path: &Path, name: &TileName) -> String {
    let parts: Vec<_> = path.components().rev().take(name.depth() + 2).collect();
    let end: PathBuf = parts.into_iter().rev().filter(|part| matches!(part, std::path::Component::Normal(_))).collect();
    end.to_string_lossy().into_owned()
}

/// Reads tiles into one archive, which no name leads to.
fn archive(state: &Path, set: &Waiting, gathered: &mut Gathered) -> io::Result<(File, Vec<Tile>)> {
    let mut archive = tar::Builder::new(tempfile::tempfile_in(state)?);
    let (mut tiles, mut left) = (Vec::new(), BYTES);
    let mut add = |file: &File, name: &str| -> io::Result<bool> {
        let mut bytes = Vec::new();
        let mut reader = file;
        reader.rewind()?;
        reader.take(TILE.min(left) + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > TILE.min(left) {
            return Ok(false);
        }
        left -= bytes.len() as u64;
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, name, bytes.as_slice())?;
        Ok(true)
    };
    // One that has come again is there once: two of a name fit into no set.
    let again: HashSet<&String> = gathered.tiles.iter().map(|(_, name)| name).collect();
    for (kept, name) in set.taken.iter().filter(|(_, name)| !again.contains(name)) {
        if let Ok(file) = open_regular(kept) {
            add(&file, name)?;
        }
    }
    for (path, name) in std::mem::take(&mut gathered.tiles) {
        let Ok(file) = open_regular(&path) else { continue };
        let stat = Stat::of(file.as_fd())?;
        match add(&file, &name)? {
            true => tiles.push(Tile { path, file, stat, name }),
            false => gathered.more |= stat.size <= TILE,
        }
    }
    Ok((archive.into_inner()?, tiles))
}

/// Measures a set as one picture, judges it, and does with all of its files what has to be done with one.
async fn look(workstation: &Workstation, key: &str, set: Waiting) -> io::Result<()> {
    let mut gathered = block_in_place(|| gather(&set.path, &set.name))?;
    if gathered.tiles.is_empty() || gathered.tiles.len() + set.taken.len() < FEWEST {
        return Ok(());
    }
    let (file, mut tiles) = block_in_place(|| archive(&workstation.config.state, &set, &mut gathered))?;
    // What is no tile, whatever its name, was looked at when it came.
    let mut single: HashSet<String> = HashSet::new();
    let mut also = |inside: &Inside| {
        if let Content::Picture(_) = &inside.measurement.content {
            single.insert(inside.path.clone());
        }
    };
    let mut seen = recognise(file, &workstation.config.measure, &workstation.index, &mut also).await;
    tiles.retain(|tile| !single.contains(&tile.name));
    seen.sightings.retain(|sighting| sighting.place.ends_with(SET_NAME_END));
    let snapshot = workstation.snapshot();
    let Some(first) = tiles.first().filter(|_| !seen.sightings.is_empty()) else { return Ok(()) };
    // By the tile that came last, so that what is recorded of more tiles is not taken for the same once more.
    let destination = snapshot.destinations.of(&set.path, Some(first.stat.file.device));
    let Some(destination) = destination else { return Ok(()) };
    let Some(known) = label(workstation, &snapshot, &gathered.directory, None, &seen) else { return Ok(()) };
    let matches: Vec<Match> = seen.sightings.iter().flat_map(|sighting| sighting.matches.iter().cloned()).collect();
    let mut window = None;
    for tile in &tiles {
        let found = seen.sightings.iter().map(|sighting| sighting.matches.as_slice());
        window = workstation.windows.through(&snapshot.policy, &tile.stat, &known, &destination, found);
        if window.is_none() {
            break;
        }
    }
    let justification = window.map(|window| Box::new(window.given.clone()));
    let history = History { justification, ..History::default() };
    let facts = Facts {
        program: set.actor.as_ref().map(|actor| actor.program.clone()).unwrap_or_default(),
        attempt: Attempt::Transfer { label: known.label(), destination, history },
    };
    let shown = history::shown(&snapshot.policy, &known, &matches);
    let judged = block_in_place(|| workstation.history.judge(&snapshot.policy, facts, &shown));
    let mut end = disposition(&judged.decision, Disposition::Quarantined);
    let count = tiles.len() + set.taken.len();
    let mut remark = format!("It is a set of {count} tiles.");
    let mut arrived = tiles.iter().map(|tile| tile.stat.size).sum();
    if judged.decision.answer() == Answer::Deny {
        let (taken, left) = block_in_place(|| take(workstation, &tiles));
        arrived = left.iter().map(|tile| tile.stat.size).sum();
        if let Some(directory) = taken.first().and_then(|(kept, _)| kept.parent()) {
            remark = format!("It is a set of {count} tiles; {} are kept in {}.", taken.len(), directory.display());
        }
        if !left.is_empty() {
            end = Disposition::Failed;
            block_in_place(|| workstation.history.stayed(&judged));
            remark = format!("{remark} {} could not be taken back.", left.len());
        }
        workstation.tiles.taken(key, taken, gathered.more);
    }
    workstation.recorder.record(Seen {
        operation: Operation::Arrive,
        guard: set.guard,
        facts: judged.facts,
        decision: judged.decision,
        disposition: end,
        processes: set.actor.as_ref().map(|actor| actor.processes.clone()).unwrap_or_default(),
        login: set.actor.map(|actor| actor.login),
        known,
        snapshot,
        bytes_arrived: Some(arrived),
        sent: judged.sent,
        remark: Some(remark),
    });
    Ok(())
}

/// Takes tiles back: where each is kept with its name in the archive, and those that stay where they are.
fn take<'a>(workstation: &Workstation, tiles: &'a [Tile]) -> (Vec<(PathBuf, String)>, Vec<&'a Tile>) {
    let (mut taken, mut left) = (Vec::new(), Vec::new());
    for tile in tiles {
        let name = format!("{}-{}", uuid::Uuid::now_v7(), file_name(&tile.path));
        match quarantine::take(&workstation.config.state, &tile.file, &tile.path, &name) {
            Ok(kept) => {
                workstation.labels.clear(&tile.stat);
                taken.push((kept, tile.name.clone()));
            }
            // It went by itself, or was taken back already.
            Err(_) if !tile.path.exists() => {}
            Err(error) => {
                if left.is_empty() {
                    let what = format!("{} could not be taken back: {error}", tile.path.display());
                    let subject = Some(tile.path.as_os_str().as_bytes());
                    workstation.spool.push(Failure::QuarantineFailed.notice(subject, what));
                }
                left.push(tile);
            }
        }
    }
    (taken, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_due_when_it_is_quiet_or_has_doubled() {
        let tiles = Tiles::default();
        let come =
            |count: usize| (0..count).for_each(|n| tiles.arrived(&Path::new("/d").join(format!("{n}.jpg")), "x", None));
        come(MANY - 1);
        assert!(tiles.next().is_none(), "more may come");
        come(1);
        assert!(tiles.next().is_some_and(|(_, set)| set.count == MANY));
        come(MANY - 1);
        assert!(tiles.next().is_none(), "it was looked at");
        come(1);
        assert!(tiles.next().is_some_and(|(_, set)| set.count == 2 * MANY));
        come(1);
        let last = |sets: &mut HashMap<String, Waiting>| sets.values_mut().for_each(|set| set.last -= QUIET);
        last(&mut tiles.sets());
        assert!(tiles.next().is_some_and(|(_, set)| set.count == 2 * MANY + 1));
        assert!(tiles.next().is_none(), "nothing has come since");
    }

    #[test]
    fn all_files_of_a_set_are_gathered_and_nothing_else() {
        let lab = tempfile::tempdir().expect("a directory");
        let at = |name: &str| lab.path().join(name);
        for name in
            ["a/0,0,9,9/9,9/0/default.jpg", "a/9,0,9,9/9,9/0/default.jpg", "b_files/3/0_0.jpg", "b_files/3/1_0.jpg"]
        {
            std::fs::create_dir_all(at(name).parent().expect("a parent")).expect("a directory");
            std::fs::write(at(name), name).expect("a file");
        }
        std::fs::write(at("b_files/3/notes.txt"), "").expect("a file");
        std::os::unix::fs::symlink(at("b_files/3/0_0.jpg"), at("b_files/3/2_0.jpg")).expect("a link");
        for (first, directory) in [("a/0,0,9,9/9,9/0/default.jpg", "a"), ("b_files/3/0_0.jpg", "b_files/3")] {
            let name = TileName::of(&at(first).to_string_lossy()).expect("a tile");
            let found = gather(&at(first), &name).expect("tiles");
            assert_eq!((found.directory, found.tiles.len(), found.more), (at(directory), 2, false));
            for (path, archived) in found.tiles {
                let kept = TileName::of(&archived).expect("a tile");
                assert!(path.ends_with(&archived) && kept.depth() == name.depth(), "{archived}");
            }
        }
    }

    #[test]
    fn only_so_many_sets_are_remembered() {
        let tiles = Tiles::default();
        for set in 0..SETS + 9 {
            tiles.arrived(&Path::new("/").join(set.to_string()).join("tile1.jpg"), "x", None);
        }
        assert_eq!(tiles.sets().len(), SETS);
    }
}

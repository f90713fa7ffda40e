//! `vitrine index`: builds and checks an index of masters without an agent.

use std::collections::HashMap;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use vitrine_fingerprint::{Content, Entry, Index, IndexError, Known, Pages};
use vitrine_policy::record::printable;

use super::FOUND;
use crate::config::{self, MeasureLimits};
use vitrine_worker::{Look, measure_each};

/// The command line asks for something that makes no sense.
pub(super) const MISUSE: u8 = 2;
/// Most masters that are written in one transaction.
const BATCH: usize = 256;
/// Longest time that a measured master waits to be written: what an interruption costs.
const BATCH_TIME: Duration = Duration::from_secs(2);

/// Builds and checks an index of masters.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Fingerprints all files below directories; files that it knows unchanged are not read again, so that an
    /// interrupted run is continued by the same command.
    #[command(
        after_help = "Symbolic links are not followed, and empty files are left out. Files that are no longer there are \
                      taken out of the index.\n\
                      Exit status: 0 all files are in the index, 1 some could not be read, 2 misuse, 3 the index cannot be used.\n\n\
                      Examples:\n  vitrine index build /srv/scans/masters --index masters.db\n  sudo vitrine index build /srv/scans/*"
    )]
    Build(Build),
    /// Says how many masters an index holds.
    #[command(
        after_help = "Examples:\n  vitrine index stats\n  vitrine index stats --index masters.db --json | jq .masters"
    )]
    Stats(Which),
    /// Reads a whole index and checks every checksum.
    #[command(after_help = "Exit status: 0 sound, 1 damaged, 3 the index cannot be opened.\n\n\
                      Examples:\n  vitrine index verify --index masters.db")]
    Verify(Which),
}

/// One index.
#[derive(Args)]
pub(crate) struct Which {
    /// The index; without it, that of the agent.
    #[arg(long, value_name = "DB")]
    pub(super) index: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What is to be fingerprinted.
#[derive(Args)]
pub(crate) struct Build {
    /// Directories with masters.
    #[arg(value_name = "DIR", required = true)]
    directories: Vec<PathBuf>,
    #[command(flatten)]
    which: Which,
}

/// Runs the command.
///
/// # Errors
/// The index cannot be used, or standard output not be written.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match command {
        Command::Build(build) => build.run(&mut out),
        Command::Stats(which) => stats(&which, &mut out),
        Command::Verify(which) => verify(&which, &mut out),
    }
}

/// Says what is wrong with the command line.
pub(super) fn misuse(what: impl std::fmt::Display) -> anyhow::Result<ExitCode> {
    eprintln!("vitrine: {what}");
    Ok(ExitCode::from(MISUSE))
}

/// The index that the command means.
pub(super) fn place(index: Option<&Path>) -> PathBuf {
    index.map_or_else(|| config::default_state().join("index.db"), Path::to_owned)
}

/// As many readers as there are processors.
pub(super) fn limits() -> MeasureLimits {
    let parallel = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    MeasureLimits { parallel, ..MeasureLimits::default() }
}

/// A bar on standard error where that is a terminal.
pub(super) fn bar(files: usize) -> ProgressBar {
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(files as u64), target);
    match ProgressStyle::with_template("{bar:30} {pos}/{len} files, {per_sec}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// What became of the files.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) registered: usize,
    pub(super) unchanged: usize,
    pub(super) removed: usize,
    /// Registered by their digest alone, and why.
    pub(super) unscanned: Vec<(PathBuf, String)>,
    /// Not registered, and why.
    pub(super) failed: Vec<(PathBuf, String)>,
}

/// Fingerprints all files below `directory`, which is absolute, into `index`.
///
/// # Errors
/// The index cannot be read or written.
pub(super) fn build(index: &Index, directory: &Path, limits: MeasureLimits, built: &mut Built) -> anyhow::Result<()> {
    let mut known: HashMap<PathBuf, Known> = HashMap::new();
    index.each_below(directory, &mut |path, entry| {
        known.insert(path.to_owned(), *entry);
        ControlFlow::Continue(())
    })?;
    let mut files = Vec::new();
    walk(directory, &mut files, built);
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files.retain(|(path, now)| {
        let same = known.remove(path).is_some_and(|known| {
            let mtime_ns = now.mtime().saturating_mul(1_000_000_000).saturating_add(now.mtime_nsec());
            (known.size, known.mtime_ns, known.inode, known.device) == (now.size(), mtime_ns, now.ino(), now.dev())
        });
        built.unchanged += usize::from(same);
        !same
    });
    // What is left was known and is not there any more.
    for path in known.keys() {
        built.removed += usize::from(index.remove(path)?);
    }
    let collection = directory.file_name().unwrap_or(directory.as_os_str());
    let collection = printable(collection.as_bytes());
    let bar = bar(files.len());
    let (mut batch, mut since, mut result) = (Vec::new(), Instant::now(), Ok(()));
    let look: Look<Pages> = Arc::new(Pages::take);
    measure_each(files.into_iter().map(|(path, _)| path), limits, &look, |path, measured| {
        bar.inc(1);
        let (metadata, measurement, pages) = match measured {
            Ok(measured) => measured,
            Err(error) => return built.failed.push((path, error.to_string())),
        };
        if let Content::Unscanned(unscanned) = &measurement.content {
            built.unscanned.push((path.clone(), unscanned.reason.to_string()));
        }
        let pages = match pages.of(&measurement) {
            Ok(pages) => pages,
            Err(error) => return built.failed.push((path, error.to_string())),
        };
        batch.push(Entry {
            path,
            collection: collection.clone(),
            object: None,
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime_ns: metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()),
            measurement,
            pages,
        });
        if batch.len() >= BATCH || since.elapsed() >= BATCH_TIME {
            write(index, &mut batch, built, &mut result);
            since = Instant::now();
        }
    })?;
    write(index, &mut batch, built, &mut result);
    bar.finish_and_clear();
    Ok(result?)
}

fn write(index: &Index, batch: &mut Vec<Entry>, built: &mut Built, result: &mut Result<(), IndexError>) {
    if result.is_ok() {
        match index.insert_all(batch) {
            Ok(ids) => built.registered += ids.len(),
            Err(error) => *result = Err(error),
        }
    }
    batch.clear();
}

/// All regular files below a directory that are not empty.
fn walk(directory: &Path, files: &mut Vec<(PathBuf, fs::Metadata)>, built: &mut Built) {
    let mut todo = vec![directory.to_owned()];
    while let Some(directory) = todo.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) => {
                built.failed.push((directory, format!("the directory cannot be listed: {error}")));
                continue;
            }
        };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => todo.push(entry.path()),
                Ok(metadata) if metadata.is_file() && metadata.len() > 0 => files.push((entry.path(), metadata)),
                Ok(_) => {}
                Err(error) => built.failed.push((entry.path(), error.to_string())),
            }
        }
    }
}

impl Build {
    fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let mut directories = Vec::new();
        for directory in &self.directories {
            match fs::canonicalize(directory) {
                Ok(real) if real.is_dir() => directories.push(real),
                Ok(_) => return misuse(format_args!("{}: expected a directory with masters", shown(directory))),
                Err(error) => {
                    return misuse(format_args!("{}: {error}; expected a directory with masters", shown(directory)));
                }
            }
        }
        let place = place(self.which.index.as_deref());
        if self.which.index.is_none()
            && let Some(state) = place.parent()
        {
            fs::create_dir_all(state)?;
        }
        let index = Index::open(&place)?;
        let began = Instant::now();
        let mut built = Built::default();
        for directory in &directories {
            build(&index, directory, limits(), &mut built)?;
        }
        built.tell(&place, index.len(), began.elapsed(), self.which.json, out)?;
        Ok(if built.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
    }
}

impl Built {
    fn tell(
        &self,
        index: &Path,
        masters: usize,
        took: Duration,
        json: bool,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        if json {
            let list = |files: &[(PathBuf, String)]| -> Vec<_> {
                files.iter().map(|(path, error)| json!({"path": shown(path), "error": error})).collect()
            };
            let told = json!({
                "index": shown(index), "masters": masters, "registered": self.registered,
                "unchanged": self.unchanged, "removed": self.removed, "unscanned": list(&self.unscanned),
                "failed": list(&self.failed), "seconds": took.as_secs_f64(),
            });
            writeln!(out, "{}", serde_json::to_string_pretty(&told)?)?;
            return Ok(());
        }
        for (path, why) in &self.unscanned {
            eprintln!("vitrine: {}: known by its exact copies only: {why}", shown(path));
        }
        for (path, why) in &self.failed {
            eprintln!("vitrine: {}: left out: {why}", shown(path));
        }
        writeln!(
            out,
            "{}: {masters} masters; {} read now, {} unchanged, {} no longer there, {} left out, in {:.1} s",
            shown(index),
            self.registered,
            self.unchanged,
            self.removed,
            self.failed.len(),
            took.as_secs_f64()
        )?;
        Ok(())
    }
}

/// A path that a terminal does not obey.
pub(super) fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

fn stats(which: &Which, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let place = place(which.index.as_deref());
    let stats = Index::open_read_only(&place)?.stats()?;
    if which.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&stats)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "index        {}", shown(&place))?;
    writeln!(out, "masters      {}", stats.masters)?;
    writeln!(out, "of them      {} recognised by their looks, the others by exact copies only", stats.pictures)?;
    for (collection, masters) in &stats.collections {
        writeln!(out, "  {:<11}{masters}", printable(collection.as_bytes()))?;
    }
    writeln!(out, "their size   {} MiB", stats.master_bytes / 1024 / 1024)?;
    writeln!(out, "index size   {} KiB", stats.index_bytes / 1024)?;
    Ok(ExitCode::SUCCESS)
}

fn verify(which: &Which, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let place = place(which.index.as_deref());
    let found = Index::open_read_only(&place).and_then(|index| Ok((index.len(), index.verify()?)));
    let (masters, problems) = match found {
        Ok((masters, problems)) => (masters, problems.iter().map(ToString::to_string).collect()),
        Err(error @ (IndexError::Damaged { .. } | IndexError::NotAnIndex { .. })) => (0, vec![error.to_string()]),
        Err(error) => return Err(error.into()),
    };
    if which.json {
        let told = json!({"index": shown(&place), "masters": masters, "problems": problems});
        writeln!(out, "{}", serde_json::to_string_pretty(&told)?)?;
    } else if problems.is_empty() {
        writeln!(out, "{}: sound, {masters} masters", shown(&place))?;
    } else {
        problems.iter().try_for_each(|problem| writeln!(out, "{}: {problem}", shown(&place)))?;
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_built_once_and_then_only_continued() {
        let lab = tempfile::tempdir().unwrap();
        let masters = lab.path().join("masters");
        fs::create_dir_all(masters.join("deep")).unwrap();
        fs::write(masters.join("a.tif"), "a").unwrap();
        fs::write(masters.join("deep/b.tif"), "b").unwrap();
        fs::write(masters.join("empty"), "").unwrap();
        std::os::unix::fs::symlink("/etc", masters.join("link")).unwrap();
        let db = lab.path().join("index.db");
        let index = Index::open(&db).unwrap();
        let run = || {
            let mut built = Built::default();
            build(&index, &masters, limits(), &mut built).unwrap();
            (built.registered, built.unchanged, built.removed, built.failed.len())
        };
        assert_eq!(run(), (2, 0, 0, 0));
        assert_eq!(run(), (0, 2, 0, 0));
        fs::write(masters.join("a.tif"), "changed").unwrap();
        fs::remove_dir_all(masters.join("deep")).unwrap();
        assert_eq!(run(), (1, 0, 1, 0));
        drop(index);
        let mut out = Vec::new();
        let which = Which { index: Some(db), json: true };
        assert_eq!(stats(&which, &mut out).unwrap(), ExitCode::SUCCESS);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).unwrap()["masters"], 1);
        assert_eq!(verify(&which, &mut Vec::new()).unwrap(), ExitCode::SUCCESS);
    }

    #[test]
    fn what_is_no_directory_is_misuse_and_what_is_no_index_is_damaged() {
        let lab = tempfile::tempdir().unwrap();
        let file = lab.path().join("file");
        fs::write(&file, "neither a directory nor an index of masters, but long enough to be looked at").unwrap();
        for directories in [vec![file.clone()], vec![lab.path().join("absent")]] {
            let build = Build { directories, which: Which { index: Some(lab.path().join("i.db")), json: false } };
            assert_eq!(build.run(&mut Vec::new()).unwrap(), ExitCode::from(MISUSE));
        }
        let which = |index: PathBuf| Which { index: Some(index), json: false };
        assert_eq!(verify(&which(file), &mut Vec::new()).unwrap(), ExitCode::from(FOUND));
        assert!(stats(&which(lab.path().join("absent.db")), &mut Vec::new()).is_err());
    }
}

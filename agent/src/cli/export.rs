//! `vitrine export`: makes the derivative that a place may receive, and puts it there.
//!
//! Whoever has read a master may write to no place that may not have masters. So three processes work: a child reads
//! the original and writes the derivative on the workstation; the agent measures that, as it does every file; then this
//! process, which has read nothing but the derivative, carries it there. The child has no pipe to this one, and says
//! how it went by its exit status alone: whatever else it said would carry the label of the master.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use vitrine_fingerprint::{Derived, Largest, Limits, derive};
use vitrine_policy::decision::Rule;
use vitrine_policy::record::printable;

use super::FOUND;
use crate::desk::texts::{Texts, Word};
use crate::desk::{Answer, Looked, Place, Request, Told, client};

/// Name of the hidden subcommand that runs [`worker`].
pub(crate) const WORKER: &str = "export-worker";
/// How long the agent may take to measure the derivative.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is asked.
const LOOK: Duration = Duration::from_millis(100);
/// Memory of the process that decodes, and how much of it the decoder may plan for, in bytes.
const MEMORY: (u64, u64) = (6 << 30, 2 << 30);
/// Seconds of processor time, and bytes that it may write.
const SECONDS: u64 = 300;
const LARGEST_FILE: u64 = 1 << 30;

/// What is to be exported.
#[derive(clap::Args)]
#[group(skip)] // its name is that of the command
pub(crate) struct Export {
    /// The picture: a master, or what was made from one.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to: the name of a destination in the policy, or a path in it.
    #[arg(long, value_name = "DEST")]
    to: String,
    /// The name of the derivative, ending in .jpg or .png; otherwise that of the file with .jpg.
    #[arg(long, value_name = "NAME")]
    out: Option<OsString>,
}

/// How the worker ended, by its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Ended {
    Unopened = 10,
    NoPicture = 11,
    Unwritten = 12,
}

/// Makes the derivative and puts it there. 1: it may not go there.
pub(crate) fn run(state: &Path, export: &Export) -> anyhow::Result<ExitCode> {
    let texts = Texts::of_user();
    let file = std::path::absolute(&export.file)?;
    let place = place(state, &export.to)?;
    let refuse = |why: String| {
        writeln!(io::stdout(), "{why}")?;
        Ok(ExitCode::from(FOUND))
    };
    let name_of_place = if place.name == vitrine_policy::policy::ELSEWHERE { &export.to } else { &place.name };
    let words = [("place", Word::Text(name_of_place)), ("master", Word::Text(name_of(&file)))];
    if place.may.is_empty() {
        return refuse(format!("{}\n{}", texts.say("why-nothing", &words), texts.say("do-ask", &words)));
    }
    if place.anything {
        return refuse(format!("{name_of_place} may receive masters as they are: copy {} there", file.display()));
    }
    let directory = place.directory.as_deref().with_context(|| {
        format!("{name_of_place} has no directory here now; plug it in or mount it, or give a path with --to")
    })?;
    let (out, _) = out_name(export.out.as_deref(), &file)?;
    let goal = directory.join(&out);
    anyhow::ensure!(
        fs::symlink_metadata(&goal).is_err(),
        "{} is there already; give another name with --out",
        goal.display()
    );

    let workshop = workshop()?;
    let made = workshop.path().join(&out);
    // Of what is no master, the rest of the way counts.
    let own_scale = look(state, &file, false).ok().and_then(|seen| seen.scale).filter(|own| (0.01..1.0).contains(own));
    let scale = place.most.scale.map(|most| most / own_scale.unwrap_or(1.0));
    let largest = Largest { megapixels: place.most.megapixels, scale };
    match make(&file, &made, largest)? {
        None => {}
        Some(Ended::Unopened) => {
            let told = soon(|| latest(state, &file, |told| matches!(told.rule, Rule::Vault { .. })));
            return refuse(told.map_or_else(
                || format!("{} cannot be opened: check its name, and whether you may read it", file.display()),
                |told| in_sentences(&texts, &told),
            ));
        }
        Some(Ended::NoPicture) => anyhow::bail!(
            "{} cannot be decoded: expected a whole picture (TIFF, JPEG, PNG, Photoshop, JPEG 2000 or the like); \
             `vitrine fingerprint` says more",
            file.display()
        ),
        Some(Ended::Unwritten) => anyhow::bail!(
            "the derivative cannot be written to {}; free space there, or name another directory with XDG_CACHE_HOME",
            workshop.path().display()
        ),
    }

    let seen = measured(state, &made)?;
    if let Some(tier) = seen.tier.as_ref().filter(|tier| !place.may.contains(tier)) {
        return refuse(format!("the derivative was measured as `{tier}`, and {name_of_place} may not receive that"));
    }
    if let Err(error) = carry(&made, &goal) {
        // The record comes a moment behind the answer of the kernel.
        let told = (0..20).find_map(|_| {
            std::thread::sleep(LOOK);
            latest(state, &goal, |_| true)
        });
        return match told {
            Some(told) => refuse(in_sentences(&texts, &told)),
            None => Err(error).with_context(|| format!("the derivative cannot be put to {}", goal.display())),
        };
    }
    let size = seen.megapixels.map(|most| format!(" ({most:.1} megapixels)")).unwrap_or_default();
    writeln!(io::stdout(), "{}{size}", goal.display())?;
    Ok(ExitCode::SUCCESS)
}

fn place(state: &Path, to: &str) -> anyhow::Result<Place> {
    let is_path = to.contains('/') || to == "." || to == "..";
    let path = if is_path { Some(fs::canonicalize(to).with_context(|| format!("{to} is not there"))?) } else { None };
    let to = match &path {
        Some(path) => path.to_str().with_context(|| format!("the path of {to} is not UTF-8"))?,
        None => to,
    };
    match one(state, &Request::Place { to: to.to_owned() })? {
        Answer::Place(place) => {
            let here = path.and_then(|path| if path.is_dir() { Some(path) } else { path.parent().map(Path::to_owned) });
            Ok(Place { directory: here.or(place.directory), ..place })
        }
        _ => anyhow::bail!("the agent answers another question; is it of another version?"),
    }
}

fn look(state: &Path, path: &Path, first: bool) -> anyhow::Result<Looked> {
    match one(state, &Request::Look { path: path.to_owned(), first })? {
        Answer::Looked(looked) => Ok(looked),
        _ => anyhow::bail!("the agent answers another question; is it of another version?"),
    }
}

fn one(state: &Path, request: &Request) -> anyhow::Result<Answer> {
    let answer = client::ask(state, request)?.next();
    Ok(answer.context("the agent gave no answer; it answers a few questions of one user at a time: try again")??)
}

/// The latest of the user's attempts that has to do with a file.
fn latest(state: &Path, path: &Path, is_it: impl Fn(&Told) -> bool) -> Option<Told> {
    let name = printable(path.as_os_str().as_bytes());
    let answers = client::ask(state, &Request::Why { all: false }).ok()?;
    let told = answers.map_while(Result::ok).filter_map(|answer| match answer {
        Answer::Told(told) => Some(told),
        _ => None,
    });
    told.filter(|told| super::why::is_about(told, &name) && is_it(told)).last().map(|told| *told)
}

/// The kernel is answered first, and users hear of it a moment later.
fn soon<T>(mut found: impl FnMut() -> Option<T>) -> Option<T> {
    const MOMENT: Duration = Duration::from_millis(100);
    let asked = (0..20).find_map(|_| {
        found().or_else(|| {
            std::thread::sleep(MOMENT);
            None
        })
    });
    asked.or_else(found)
}

fn in_sentences(texts: &Texts, told: &Told) -> String {
    let sentences = texts.tell(told);
    [vec![format!("{}.", sentences.title), sentences.why], sentences.instead].concat().join("\n")
}

fn name_of(file: &Path) -> &str {
    file.file_name().and_then(|name| name.to_str()).unwrap_or("?")
}

/// The name of the derivative, and what it is.
fn out_name(out: Option<&std::ffi::OsStr>, file: &Path) -> anyhow::Result<(PathBuf, Derived)> {
    let own = || file.with_extension("jpg").file_name().map(OsString::from);
    let name = out.map(OsString::from).or_else(own).context("the file has no name")?;
    let path = PathBuf::from(name);
    anyhow::ensure!(
        path.file_name() == Some(path.as_os_str()),
        "--out {}: expected a name without directories; --to says where it goes",
        path.display()
    );
    let kind =
        kind(&path).with_context(|| format!("--out {}: expected a name that ends in .jpg or .png", path.display()))?;
    Ok((path, kind))
}

fn kind(path: &Path) -> Option<Derived> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" => Some(Derived::Jpeg),
        "png" => Some(Derived::Png),
        _ => None,
    }
}

/// A directory of this run's own on the workstation, below the user's caches (XDG Base Directory Specification).
fn workshop() -> anyhow::Result<tempfile::TempDir> {
    let own = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let caches = own.or_else(home).unwrap_or_else(std::env::temp_dir).join("vitrine");
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&caches);
    made.and_then(|()| tempfile::Builder::new().prefix("export-").tempdir_in(&caches)).with_context(|| {
        format!("no derivative can be made in {}; name another directory with XDG_CACHE_HOME", caches.display())
    })
}

/// Has a child make the derivative. What went wrong, where the child can say it.
fn make(file: &Path, made: &Path, largest: Largest) -> anyhow::Result<Option<Ended>> {
    let number = |most: Option<f64>| most.map_or_else(|| "-".to_owned(), |most| most.to_string());
    let mut child = Command::new("/proc/self/exe");
    child.arg(WORKER).arg(number(largest.megapixels)).arg(number(largest.scale)).arg(file).arg(made).env_clear();
    child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = child.status().context("no process could be started to make the derivative")?;
    match status.code() {
        Some(0) => Ok(None),
        Some(10) => Ok(Some(Ended::Unopened)),
        Some(11) => Ok(Some(Ended::NoPicture)),
        Some(12) => Ok(Some(Ended::Unwritten)),
        _ => anyhow::bail!(
            "the process that makes the derivative ended with {status}: the picture needs more memory or time than one \
             may have, or is made to do harm"
        ),
    }
}

/// The other side of [`make`]: reads one picture and writes a smaller one. Nothing that it says goes anywhere.
pub(crate) fn worker(megapixels: &str, scale: &str, file: &Path, made: &Path) -> ExitCode {
    let done = || {
        let original = File::open(file).map_err(|_| Ended::Unopened)?;
        let mut to = File::create_new(made).map_err(|_| Ended::Unwritten)?;
        // From here on it is as confined as whoever measures; it needs more memory, because it makes whole pictures.
        vitrine_worker::give_up_rights(MEMORY.0, SECONDS, LARGEST_FILE).map_err(|_| Ended::Unwritten)?;
        let largest = Largest { megapixels: megapixels.parse().ok(), scale: scale.parse().ok() };
        let kind = kind(made).ok_or(Ended::Unwritten)?;
        let limits = Limits { max_memory: MEMORY.1, ..Limits::default() };
        let derivative = derive(&original, largest, kind, &limits).map_err(|_| Ended::NoPicture)?;
        to.write_all(&derivative.bytes).map_err(|_| Ended::Unwritten)
    };
    done().map_or_else(|ended: Ended| ExitCode::from(ended as u8), |()| ExitCode::SUCCESS)
}

/// Waits until the agent has read the derivative. One without a label was not made from a master that it knows.
fn measured(state: &Path, made: &Path) -> anyhow::Result<Looked> {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = look(state, made, true)?;
    let mut again = false;
    while !(seen.is_measured || (again && seen.tier.is_none() && !seen.waits)) {
        anyhow::ensure!(
            Instant::now() < deadline,
            "the agent has not measured the derivative in {} s; `vitrine status` says how many files wait",
            PATIENCE.as_secs()
        );
        std::thread::sleep(LOOK);
        seen = look(state, made, false)?;
        again = true;
    }
    Ok(seen)
}

/// Copies the derivative, whole or not at all.
fn carry(made: &Path, goal: &Path) -> io::Result<()> {
    let bytes = fs::read(made)?;
    let mut to = File::create_new(goal)?;
    let written = to.write_all(&bytes).and_then(|()| to.sync_all());
    if written.is_err() {
        // It may be gone already.
        let _ = fs::remove_file(goal);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_format_and_lies_in_no_directory() {
        let named = |out: Option<&str>| out_name(out.map(std::ffi::OsStr::new), Path::new("/m/KP1.tif"));
        assert_eq!(named(None).unwrap(), (PathBuf::from("KP1.jpg"), Derived::Jpeg));
        assert_eq!(named(Some("web.PNG")).unwrap().1, Derived::Png);
        for bad in ["../x.jpg", "/x.jpg", "a/b.jpg", "x.tif", "x", "", ".."] {
            assert!(named(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn statuses_are_those_that_are_read() {
        assert_eq!([Ended::Unopened as u8, Ended::NoPicture as u8, Ended::Unwritten as u8], [10, 11, 12]);
    }
}

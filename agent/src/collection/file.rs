//! One path of a collection: what is there now, and what has to be done about it.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vitrine_fingerprint::{Content, Entry, Index, Known, Pages};
use vitrine_policy::Policy;
use vitrine_policy::record::Event;

use super::agenda::Due;
use super::place::{is_in, is_on_the_way};
use crate::config::MeasureLimits;
use crate::fail::Failure;
use crate::own::open_regular;
use vitrine_worker::{MeasureFailed, digest_only, measure_master};

/// How often a file that cannot be read, or changes all the time, is tried before that is recorded.
const TRIES: u8 = 6;
/// The pause before the first retry; each one is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a master stays known that is gone from its place: it may be found at another one meanwhile.
const GRACE: Duration = Duration::from_secs(1);
/// A file system's clock ticks this slowly: what was modified more recently may change without a new time.
const TICK: Duration = Duration::from_millis(40);

/// What came of one path.
pub(super) enum Outcome {
    /// Nothing is to be done.
    Nothing,
    /// Nothing is there any more.
    Gone,
    /// Something is there that is no master, whatever was there before.
    NoMaster,
    /// A directory: everything below it is to be looked at.
    Directory,
    /// It is a master that had this name before.
    RenamedFrom(PathBuf),
    /// It is to be tried again.
    Again { tries: u8, pause: Duration },
    /// It is a master, with what is to be told about it.
    Master(Box<Entry>, Option<Event>),
    /// It cannot be said what it is.
    Failed(Event),
}

/// What a look at a path shows, before anything is read.
enum Look {
    Done(Outcome),
    Read(File, Metadata, String, Option<String>),
}

/// Looks at a path, and measures the file that is there unless the index knows it as it is.
pub(super) async fn take_in(index: Arc<Index>, policy: Arc<Policy>, due: Due, limits: MeasureLimits) -> Outcome {
    let Due { path, tries } = due;
    let subject = path.clone();
    let looked = tokio::task::spawn_blocking(move || (look(&index, &policy, &path, tries), path)).await;
    let (file, before, collection, object, path) = match looked {
        Ok((Look::Read(file, before, collection, object), path)) => (file, before, collection, object, path),
        Ok((Look::Done(outcome), _)) => return outcome,
        Err(error) => return failed(Failure::WorkerFailed, &subject, format!("looking at it was broken off: {error}")),
    };
    // Kept for what the worker does not tell; both share one open file.
    let kept = match file.try_clone() {
        Ok(kept) => kept,
        Err(error) => return failed(Failure::Unscanned, &path, error),
    };
    let mut pages = Pages::default();
    let (measured, notice) = match measure_master(file, &limits, &mut pages).await {
        Ok(measurement) => {
            let unseen = unseen(&measurement.content, pages.dropped());
            (Ok(measurement), unseen.map(|what| Failure::Unscanned.notice(Some(path.as_os_str().as_bytes()), what)))
        }
        Err(MeasureFailed::Changed) if tries < TRIES => return again(tries),
        Err(error) => {
            let what = format!("a master was not measured, so only its exact copies are recognised: {error}");
            let notice = Failure::from(&error).notice(Some(path.as_os_str().as_bytes()), what);
            let digest = tokio::task::spawn_blocking(move || digest_only(&kept, &error, &limits)).await;
            (digest.unwrap_or_else(|error| Err(std::io::Error::other(error))), Some(notice))
        }
    };
    let measurement = match measured {
        Ok(measurement) => measurement,
        Err(error) if error.kind() == ErrorKind::NotFound => return Outcome::Gone,
        Err(error) if !takes_too_long(&error) && tries < TRIES => return again(tries),
        Err(error) => return failed(Failure::Unscanned, &path, error),
    };
    if measurement.bytes != before.size() && tries < TRIES {
        return again(tries);
    }
    // It may have got another name, or another file its name, while it was read.
    match std::fs::symlink_metadata(&path) {
        Ok(now) if (now.dev(), now.ino()) == (before.dev(), before.ino()) => {}
        _ => return Outcome::Again { tries, pause: TICK },
    }
    let pages =
        match tokio::task::spawn_blocking(move || pages.of(&measurement).map(|pages| (measurement, pages))).await {
            Ok(Ok(known)) => Ok(known),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        };
    let (measurement, pages) = match pages {
        Ok(known) => known,
        Err(error) => return failed(Failure::Unscanned, &path, error),
    };
    let entry = Entry {
        path,
        collection,
        object,
        device: before.dev(),
        inode: before.ino(),
        size: before.size(),
        mtime_ns: mtime_ns(&before),
        measurement,
        pages,
    };
    Outcome::Master(Box::new(entry), notice)
}

/// What is not known of a master, in words; `dropped` are pictures in it beyond those that can be kept.
fn unseen(content: &Content, dropped: u64) -> Option<String> {
    match content {
        Content::Unscanned(unscanned) => {
            let why = &unscanned.reason;
            Some(format!("a master was not read as a picture, so only its exact copies are recognised: {why}"))
        }
        Content::Opaque(why) => {
            Some(format!("of a master not all is known, so copies of the rest are not recognised: {why}"))
        }
        _ if dropped > 0 => Some(format!(
            "a master holds too many pictures: by the last {dropped} of them it is not recognised; split the file"
        )),
        _ => None,
    }
}

fn look(index: &Index, policy: &Policy, path: &Path, tries: u8) -> Look {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if is_absence(&error) && tries == 0 => {
            return Look::Done(Outcome::Again { tries: 1, pause: GRACE });
        }
        Err(error) if is_absence(&error) => return Look::Done(Outcome::Gone),
        Err(_) if tries < TRIES => return Look::Done(again(tries)),
        Err(error) => return Look::Done(failed(Failure::Unscanned, path, error)),
    };
    if metadata.is_dir() {
        let concerns = is_in(policy, path) || is_on_the_way(policy, path);
        return Look::Done(if concerns { Outcome::Directory } else { Outcome::Nothing });
    }
    let Some(collection) = policy.collection_of(path) else { return Look::Done(Outcome::Nothing) };
    // A link, FIFO, socket or device is no scan, and every empty file is an exact copy of every other.
    if !metadata.is_file() || metadata.len() == 0 {
        return Look::Done(Outcome::NoMaster);
    }
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(error) if is_absence(&error) => return Look::Done(Outcome::Gone),
        Err(_) if tries < TRIES => return Look::Done(again(tries)),
        Err(error) => return Look::Done(failed(Failure::Unscanned, path, error)),
    };
    let metadata = match file.metadata() {
        Ok(metadata) => metadata,
        Err(error) => return Look::Done(failed(Failure::Unscanned, path, error)),
    };
    if is_fresh(&metadata) {
        return Look::Done(Outcome::Again { tries, pause: TICK });
    }
    match index.get(path) {
        Ok(Some(known)) if is_same(&known, &metadata) => return Look::Done(Outcome::Nothing),
        Ok(Some(_)) => {}
        Ok(None) => match old_name(index, &metadata) {
            // Registered under this name since the line above.
            Some((old, _)) if old == path => return Look::Done(Outcome::Again { tries, pause: TICK }),
            Some((old, known)) if may_rename(policy, &old, path, &known, &metadata) => {
                return Look::Done(Outcome::RenamedFrom(old));
            }
            _ => {}
        },
        Err(error) => return Look::Done(failed(Failure::IndexFailed, path, error)),
    }
    Look::Read(file, metadata, collection.name.clone(), collection.object_of(path))
}

/// The master that is the same inode, under whatever name.
fn old_name(index: &Index, now: &Metadata) -> Option<(PathBuf, Known)> {
    let master = index.master(index.at_inode(now.dev(), now.ino())?).ok()??;
    let known = index.get(&master.path).ok()??;
    Some((master.path, known))
}

/// Whether the master known as `old` is now the file `new`, unchanged, and means the same there.
pub(super) fn may_rename(policy: &Policy, old: &Path, new: &Path, known: &Known, now: &Metadata) -> bool {
    let means_the_same = match (policy.collection_of(old), policy.collection_of(new)) {
        (Some(was), Some(is)) => was.name == is.name && was.object_of(old) == is.object_of(new),
        _ => false,
    };
    means_the_same && is_same(known, now) && std::fs::symlink_metadata(old).is_err_and(|error| is_absence(&error))
}

/// Whether the index knows the file as it is.
pub(super) fn is_same(known: &Known, now: &Metadata) -> bool {
    (known.size, known.mtime_ns, known.inode, known.device) == (now.size(), mtime_ns(now), now.ino(), now.dev())
}

/// Whether the error says that nothing is there.
pub(super) fn is_absence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Time of modification in nanoseconds since 1970.
pub(super) fn mtime_ns(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

/// Whether one more write might leave the time of modification as it is. A time in the future is no hint.
fn is_fresh(metadata: &Metadata) -> bool {
    let modified = UNIX_EPOCH + Duration::from_nanos(u64::try_from(mtime_ns(metadata)).unwrap_or(0));
    SystemTime::now().duration_since(modified).is_ok_and(|age| age < TICK)
}

/// What a file server says that did not answer in time is another matter: it may, the next time.
fn takes_too_long(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::TimedOut && error.raw_os_error().is_none()
}

fn again(tries: u8) -> Outcome {
    Outcome::Again { tries: tries + 1, pause: PAUSE * 2u32.pow(tries.into()) }
}

fn failed(failure: Failure, path: &Path, why: impl std::fmt::Display) -> Outcome {
    let what =
        format!("a master cannot be taken in: {why}; see that it can be read, it is tried again by the next scan");
    Outcome::Failed(failure.notice(Some(path.as_os_str().as_bytes()), what))
}

/// Path and identity of a master, for those who follow.
pub(super) fn added(path: PathBuf, metadata: &Metadata) -> super::Change {
    super::Change::Added { path, device: metadata.dev(), inode: metadata.ino() }
}

//! Files that were written are read, measured and told apart: what a tainted process left on the
//! workstation gets its own tier, and what reached a destination is judged by its content.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc::UnboundedReceiver};
use tokio::task::block_in_place;
use vitrine_fingerprint::{Content, Format, Match, Measurement};
use vitrine_policy::decision::Answer;
use vitrine_policy::facts::{Attempt, Destination, Facts, History, Measure, Origin, Program};
use vitrine_policy::record::{self, Disposition, Operation, Recognised, printable};

use crate::fail::Failure;
use crate::history;
use crate::identify::label::{Known, Measured};
use crate::identify::process::Login;
use crate::measure::{self, open_regular};
use crate::quarantine;
use crate::recorder::{Seen, disposition};
use crate::sys::stat::Stat;
use crate::workstation::{Snapshot, Workstation};

/// A file that was written.
pub(crate) struct Arrival {
    pub(crate) path: PathBuf,
    /// The open file, where the kernel gave it; its name may change meanwhile.
    pub(crate) file: Option<File>,
    /// The destination that it lies in; none: it is on the workstation still.
    pub(crate) destination: Option<Destination>,
    pub(crate) guard: &'static str,
    /// Who wrote it, where that is known.
    pub(crate) actor: Option<Actor>,
}

/// Who wrote a file.
#[derive(Clone)]
pub(crate) struct Actor {
    pub(crate) program: Program,
    pub(crate) processes: Vec<record::Process>,
    pub(crate) login: Login,
}

/// Inspects all that arrives, a few at a time, until the sender is gone.
pub(crate) async fn run(workstation: Arc<Workstation>, mut arrivals: UnboundedReceiver<Arrival>) {
    let places = Arc::new(Semaphore::new(workstation.config.measure.parallel.saturating_mul(2).max(2)));
    while let Some(arrival) = arrivals.recv().await {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let workstation = workstation.clone();
        tokio::spawn(async move {
            let path = arrival.path.clone();
            let inspected = inspect(&workstation, arrival).await;
            workstation.looked_at();
            if let Err(error) = inspected {
                let failure =
                    if error.kind() == io::ErrorKind::NotFound { Failure::Vanished } else { Failure::Unscanned };
                let what = format!("{} could not be inspected: {error}", path.display());
                workstation.spool.push(failure.notice(Some(path.as_os_str().as_bytes()), what));
            }
            drop(place);
        });
    }
}

async fn inspect(workstation: &Workstation, arrival: Arrival) -> io::Result<()> {
    let file = match arrival.file {
        Some(file) => file,
        None => block_in_place(|| open_regular(&arrival.path))?,
    };
    // Its name now: a temporary file may have got its own meanwhile.
    let path = crate::sys::fanotify::path_of(file.as_fd()).unwrap_or(arrival.path);
    let stat = Stat::of(file.as_fd())?;
    if !stat.is_regular() || stat.links == 0 {
        return Ok(());
    }
    let snapshot = workstation.snapshot();
    if workstation.labels.is_master(&stat) && arrival.destination.is_none() {
        return Ok(());
    }
    let destination = match arrival.destination {
        Some(_) => snapshot.destinations.of(&path, Some(stat.file.device)),
        None => None,
    };
    let before = workstation.labels.of(&snapshot.policy, &stat, &path);
    let mut head = [0; 64];
    let read = block_in_place(|| file.read_at(&mut head, 0))?;
    let picture = Format::of(&head[..read]).is_some();
    if !picture && before.is_none() && !workstation.labels.has_size(stat.size) {
        return Ok(());
    }
    let measurement = measure::measure(file.try_clone()?, &workstation.config.measure, false).await;
    let (known, matches) = match measurement {
        Ok(measurement) => label(workstation, &snapshot, &path, before.clone(), &measurement),
        Err(error) => {
            let what = format!("{} could not be measured: {error}", path.display());
            workstation.spool.push(Failure::Unscanned.notice(Some(path.as_os_str().as_bytes()), what));
            (before.clone(), Vec::new())
        }
    };
    let is_as_read = Stat::of(file.as_fd()).is_ok_and(|now| (now.size, now.modified) == (stat.size, stat.modified));
    if is_as_read {
        workstation.labels.replace(&stat, before.as_ref(), known.clone());
    }
    let Some(known) = known else { return Ok(()) };
    let Some(destination) = destination else { return Ok(()) };
    let actor = arrival.actor;
    let facts = Facts {
        program: actor.as_ref().map(|actor| actor.program.clone()).unwrap_or_default(),
        attempt: Attempt::Transfer { label: known.label(), destination, history: History::default() },
    };
    let shown = history::shown(&snapshot.policy, &known, &matches);
    let judged = block_in_place(|| workstation.history.judge(&snapshot.policy, facts, &shown));
    let mut remark = None;
    let mut end = disposition(&judged.decision, Disposition::Quarantined);
    let mut arrived = Some(stat.size);
    if judged.decision.answer() == Answer::Deny {
        let name = format!("{}-{}", uuid::Uuid::now_v7(), file_name(&path));
        match block_in_place(|| quarantine::take(&workstation.config.state, &file, &path, &name)) {
            Ok(kept) => {
                workstation.labels.clear(&stat);
                remark = Some(format!("It is kept as {}.", kept.display()));
                arrived = Some(0);
            }
            Err(error) => {
                block_in_place(|| workstation.history.stayed(&judged));
                end = Disposition::Failed;
                let what = format!("{} could not be taken back: {error}", path.display());
                workstation.spool.push(Failure::QuarantineFailed.notice(Some(path.as_os_str().as_bytes()), &what));
                remark = Some(format!("{error}."));
            }
        }
    } else if before.is_some() && !judged.decision.is_notable() && !judged.adds_a_fragment {
        // Its opening for writing is on record, and what it adds up to is nothing new.
        return Ok(());
    }
    workstation.recorder.record(Seen {
        operation: Operation::Arrive,
        guard: arrival.guard,
        facts: judged.facts,
        decision: judged.decision,
        disposition: end,
        processes: actor.as_ref().map(|actor| actor.processes.clone()).unwrap_or_default(),
        login: actor.map(|actor| actor.login),
        known,
        snapshot,
        bytes_arrived: arrived,
        sent: judged.sent,
        remark,
    });
    Ok(())
}

/// The last part of a path as a name that is safe anywhere, at most 100 characters of it.
fn file_name(path: &Path) -> String {
    let name = printable(path.file_name().unwrap_or_default().as_bytes());
    name.chars().take(100).map(|letter| if letter == '/' || letter == '\\' { '_' } else { letter }).collect()
}

/// What the content says of a file, and the matches that say it. A picture that is recognised has the tier that
/// it was measured to have; anything else keeps what it inherited, and is not labelled if it inherited nothing.
fn label(
    workstation: &Workstation,
    snapshot: &Snapshot,
    path: &Path,
    before: Option<Arc<Known>>,
    measurement: &Measurement,
) -> (Option<Arc<Known>>, Vec<Match>) {
    let picture = match &measurement.content {
        Content::Picture(picture) => Some(picture),
        Content::Other => None,
        Content::Unscanned(unscanned) => {
            let what = format!("{} was not measured: {}", path.display(), unscanned.reason);
            workstation.spool.push(Failure::Unscanned.notice(Some(path.as_os_str().as_bytes()), what));
            None
        }
    };
    let matches = workstation.index.find(measurement).unwrap_or_else(|error| {
        workstation.spool.push(Failure::IndexFailed.notice(Some(path.as_os_str().as_bytes()), error));
        Vec::new()
    });
    let policy = &snapshot.policy;
    let measure = picture.map(|picture| measure_of(picture, matches.first()));
    let recognised = matches.first().map(|best| Recognised {
        kind: format!("{:?}", best.kind).to_lowercase(),
        scale: best.scale,
        coverage: best.coverage,
        score: best.score,
    });
    let thumbnail = picture.map(|picture| workstation.spool.evidence(picture.thumbnail.clone()));
    let measured = Arc::new(Measured {
        measure,
        digest: measurement.digest.to_string(),
        bytes: measurement.bytes,
        thumbnail,
        recognised,
    });
    if matches.is_empty() {
        let known = before
            .map(|before| Arc::new(Known { measured: Some(measured), file: path.into(), ..before.as_ref().clone() }));
        return (known, matches);
    }
    // A picture may show several masters, each at a scale of its own: the highest tier counts.
    let tier_of = |found| picture.map(|picture| policy.tier_of(&measure_of(picture, Some(found))));
    let tier = matches.iter().filter_map(tier_of).max().unwrap_or_else(|| policy.master_tier());
    let masters = matches.iter().map(|found| found.master.path.as_path().into()).collect();
    let known = Known { tier, origin: Origin::Measured, masters, file: path.into(), measured: Some(measured) };
    (Some(Arc::new(known)), matches)
}

fn measure_of(picture: &vitrine_fingerprint::Picture, best: Option<&Match>) -> Measure {
    Measure { megapixels: picture.megapixels(), scale: best.map(|best| best.scale), bit_depth: picture.bit_depth }
}

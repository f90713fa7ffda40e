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
use vitrine_fingerprint::{Content, Format, Match};
use vitrine_policy::decision::{Answer, Verdict};
use vitrine_policy::facts::{Attempt, Destination, Facts, History, Label, Measure, Origin, Program};
use vitrine_policy::record::{self, Disposition, Operation, Recognised, printable};

use crate::fail::Failure;
use crate::history;
use crate::identify::label::{Known, Measured};
use crate::identify::process::Login;
use crate::own::open_regular;
use crate::quarantine;
use crate::recognise::{Recognition, Sighting, recognise};
use crate::recorder::{Seen, disposition};
use crate::sys::stat::Stat;
use crate::workstation::{Snapshot, Workstation};

/// In fewer bytes nothing can be recognised but whole masters.
const SMALLEST: u64 = 1024;

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
    let is_picture = Format::of(&head[..read]).is_some();
    // What reaches a destination may hold anything; what stays on the workstation is looked into when it goes.
    let may_hold = destination.is_some() && stat.size >= SMALLEST;
    if !is_picture && !may_hold && before.is_none() && !workstation.labels.has_size(stat.size) {
        return Ok(());
    }
    let seen = recognise(file.try_clone()?, &workstation.config.measure, &workstation.index, &mut |_| {}).await;
    if let Err(error) = &seen.measured {
        let what = format!("{} could not be measured: {error}", path.display());
        workstation.spool.push(Failure::from(error).notice(Some(path.as_os_str().as_bytes()), what));
    }
    let known = label(workstation, &snapshot, &path, before.clone(), &seen);
    let matches: Vec<Match> = seen.sightings.iter().flat_map(|sighting| sighting.matches.iter().cloned()).collect();
    let is_as_read = Stat::of(file.as_fd()).is_ok_and(|now| (now.size, now.modified) == (stat.size, stat.modified));
    if is_as_read {
        workstation.labels.replace(&stat, before.as_ref(), known.clone());
    }
    let Some(known) = known else { return Ok(()) };
    let Some(destination) = destination else { return Ok(()) };
    let actor = arrival.actor;
    let windows = &workstation.windows;
    let found = seen.sightings.iter().map(|sighting| sighting.matches.as_slice());
    let window = windows.through(&snapshot.policy, &stat, &known, &destination, found);
    let uid = actor.as_ref().map(|actor| actor.login.uid);
    let window = window.or_else(|| windows.of(&snapshot.policy, uid, &known, &destination));
    let justification = window.as_ref().map(|window| Box::new(window.given.clone()));
    let history = History { justification, ..History::default() };
    let facts = Facts {
        program: actor.as_ref().map(|actor| actor.program.clone()).unwrap_or_default(),
        attempt: Attempt::Transfer { label: known.label(), destination, history },
    };
    let shown = history::shown(&snapshot.policy, &known, &matches);
    let judged = block_in_place(|| workstation.history.judge(&snapshot.policy, facts, &shown));
    if let (Verdict::AllowJustified, Some(window)) = (judged.decision.verdict, &window) {
        windows.let_in(&stat, window);
    }
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
pub(crate) fn file_name(path: &Path) -> String {
    let name = printable(path.file_name().unwrap_or_default().as_bytes());
    name.chars().take(100).map(|letter| if letter == '/' || letter == '\\' { '_' } else { letter }).collect()
}

/// What the content says of a file. What is recognised has the tier that it was measured to have, the highest of all
/// that is inside; anything else keeps what it inherited, and is not labelled if it inherited nothing.
pub(crate) fn label(
    workstation: &Workstation,
    snapshot: &Snapshot,
    path: &Path,
    before: Option<Arc<Known>>,
    seen: &Recognition,
) -> Option<Arc<Known>> {
    let subject = Some(path.as_os_str().as_bytes());
    if let Some(why) = seen.hidden() {
        let what = format!("{} was not seen whole: {why}", path.display());
        workstation.spool.push(Failure::Unscanned.notice(subject, what));
    }
    if let Some(error) = &seen.failed {
        workstation.spool.push(Failure::IndexFailed.notice(subject, error));
    }
    let highest = seen.highest(&snapshot.policy);
    let measured = seen.measured.as_ref().ok().map(|measurement| {
        let shown = highest.map(|(sighting, _)| sighting);
        let picture = match &measurement.content {
            Content::Picture(picture) => Some(picture),
            _ => None,
        };
        let own = picture.map(|picture| Measure {
            megapixels: picture.megapixels(),
            scale: None,
            bit_depth: picture.bit_depth,
        });
        let thumbnail = match shown {
            Some(shown) => shown.thumbnail.clone(),
            None => picture.map(|picture| picture.thumbnail.clone()),
        };
        Arc::new(Measured {
            measure: shown.map_or(own, |shown| shown.measure_of(shown.matches.first())),
            digest: measurement.digest.to_string(),
            bytes: measurement.bytes,
            thumbnail: thumbnail.map(|thumbnail| workstation.spool.evidence(thumbnail)),
            recognised: shown.and_then(recognised),
        })
    });
    let Some((_, tier)) = highest else {
        return before.map(|before| Arc::new(Known { measured, file: path.into(), ..before.as_ref().clone() }));
    };
    let masters = seen.sightings.iter().flat_map(|sighting| &sighting.matches);
    let mut paths: Vec<Arc<Path>> = Vec::new();
    for master in masters.map(|found| found.master.path.as_path()) {
        if paths.len() < Label::MASTERS && !paths.iter().any(|path| **path == *master) {
            paths.push(master.into());
        }
    }
    let known = Known { tier, origin: Origin::Measured, masters: paths, file: path.into(), measured };
    match before.filter(|before| before.tier > tier && !seen.is_known_whole()) {
        // Beside what was recognised there is something that may be anything.
        Some(before) => Some(Arc::new(Known { measured: known.measured.clone(), ..known.after(&before) })),
        None => Some(Arc::new(known)),
    }
}

fn recognised(sighting: &Sighting) -> Option<Recognised> {
    let best = sighting.matches.first()?;
    Some(Recognised {
        kind: format!("{:?}", best.kind).to_lowercase(),
        scale: best.scale,
        coverage: best.coverage,
        score: best.score,
        inside: (!sighting.place.is_empty()).then(|| printable(sighting.place.as_bytes())),
    })
}

//! What is asked before a derivative goes out: what a place may receive, and what the agent knows of a file. These look
//! at disks, which may hang; they run where that holds up nobody but who asked.

use std::os::fd::AsFd;
use std::path::Path;

use vitrine_policy::facts::{Ceiling, Destination, Origin};
use vitrine_policy::policy::ELSEWHERE;

use super::{Answer, Asker, Looked, Most, Place, Request};
use crate::collection;
use crate::inspect::Arrival;
use crate::maintenance;
use crate::own::open_regular;
use crate::sys::stat::Stat;
use crate::workstation::Workstation;

/// Answers the questions of [`Request`] that need the workstation.
pub(crate) fn answer(workstation: &Workstation, asker: Asker, request: Request) -> Answer {
    let answered = match request {
        Request::Place { to } => place(workstation, &to).map(Answer::Place),
        Request::Look { path, first } => look(workstation, asker, &path, first).map(Answer::Looked),
        Request::Justify { id, reason } => super::reason::justify(workstation, asker, &id, &reason),
        Request::Maintenance(wish) => {
            maintenance::answer(workstation, asker, wish).map(|state| Answer::Maintenance(Box::new(state)))
        }
        Request::Why { .. } | Request::Watch => Err("the desk answers this itself".to_owned()),
    };
    answered.unwrap_or_else(Answer::Refused)
}

/// The destination of this name, or that this path lies in.
fn place(workstation: &Workstation, to: &str) -> Result<Place, String> {
    let snapshot = workstation.snapshot();
    let policy = &snapshot.policy;
    let path = Path::new(to);
    let (name, directory, ceiling) = if path.is_absolute() {
        let destination = snapshot.destinations.of(path, None).ok_or_else(|| {
            format!("{to} lies on this workstation and is no place that the policy names: save there as ever")
        })?;
        let entry = policy.destination_of(&destination);
        let name = entry.map_or(ELSEWHERE, |entry| entry.name.as_str()).to_owned();
        (name, None, policy.ceiling_of(&destination))
    } else {
        let entry = policy.destinations.iter().find(|entry| entry.name == to).ok_or_else(|| {
            let names: Vec<_> = policy.destinations.iter().map(|entry| format!("`{}`", entry.name)).collect();
            format!("the policy names no destination `{to}`; expected a path, or one of {}", names.join(", "))
        })?;
        let is_it = |destination: &Destination| {
            policy.destination_of(destination).is_some_and(|found| found.name == entry.name)
        };
        let mounted = snapshot
            .destinations
            .mounts()
            .filter_map(|(mounted, destination)| destination.filter(is_it).map(|_| mounted.mount.point.clone()));
        let directory = entry.paths.iter().flat_map(collection::existing).chain(mounted).next();
        (entry.name.clone(), directory, entry.ceiling)
    };
    let tiers = 0..=policy.master_tier().0;
    let may = tiers.map(vitrine_policy::facts::Tier).filter(|tier| ceiling.admits(*tier));
    let may: Vec<String> = may.map(|tier| policy.tier_name(tier).to_owned()).collect();
    let most = Most::of(policy, &policy.ceiling_name(ceiling));
    let anything = ceiling == Ceiling::UpTo(policy.master_tier());
    Ok(Place { name, directory, may, anything, most })
}

/// What is known of a file of the asker's own on the workstation's own disk. A `first` look has it measured, where
/// nothing is known of it yet. Of all others not even whether they are there is told.
fn look(workstation: &Workstation, asker: Asker, path: &Path, first: bool) -> Result<Looked, String> {
    let not_his = || format!("{} is no file of yours that can be looked at", path.display());
    let snapshot = workstation.snapshot();
    let stat = Stat::named(path).ok().filter(|stat| stat.uid == asker.uid).ok_or_else(not_his)?;
    let here = || snapshot.destinations.of(path, Some(stat.file.device)).is_none();
    let known = workstation.labels.of(&snapshot.policy, &stat, path);
    if known.is_none() && first && here() {
        let file = open_regular(path).map_err(|_| not_his())?;
        // It is the same one, whatever was put into its place meanwhile.
        if Stat::of(file.as_fd()).is_ok_and(|now| now.file == stat.file) {
            let (path, file) = (path.to_owned(), Some(file));
            workstation.arrived(Arrival { path, file, destination: None, guard: "watch", actor: None });
        }
    }
    let measure = known.as_ref().and_then(|known| known.measured.as_ref()?.measure);
    Ok(Looked {
        tier: known.as_ref().map(|known| snapshot.policy.tier_name(known.tier).to_owned()),
        is_measured: known.is_some_and(|known| known.origin == Origin::Measured || known.measured.is_some()),
        megapixels: measure.map(|measure| measure.megapixels),
        scale: measure.and_then(|measure| measure.scale),
        waits: workstation.measuring() > 0,
    })
}

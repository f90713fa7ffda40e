//! What an answer does: it opens a window, or not, and its user is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vitrine_policy::approval::{Answer, NOTE, State};
use vitrine_policy::facts::Justification;

use super::ask::content;
use super::{Kept, Standing};
use crate::desk::texts::plain;
use crate::fail::{self, Failure};
use crate::justification::{Window, now};
use crate::workstation::Workstation;

/// Longest name of whoever answered, in characters.
const NAME: usize = 200;

/// What became of a request on its way.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    /// The collector says how it stands.
    Answer(Answer),
    /// The collector does not take it, for this reason.
    Refused(String),
    /// The collector does not know it any more: it has to be asked again.
    Lost,
    /// Time has passed.
    Nothing,
}

/// Takes up what was heard of a request, or that its time is over. Does nothing where it does not wait any more.
pub(crate) fn heard(workstation: &Workstation, id: &str, heard: &Heard) {
    let approvals = &workstation.approvals;
    let Some(kept) = approvals.waiting().into_iter().find(|one| one.request.id == id) else { return };
    let done = if kept.is_over() {
        over(workstation, &kept, Standing::Expired, None, "")
    } else {
        match heard {
            Heard::Nothing => Ok(()),
            Heard::Lost => approvals.is_there(id, false),
            Heard::Refused(why) => over(workstation, &kept, Standing::Failed, None, why),
            Heard::Answer(answer) => answered(workstation, &kept, answer),
        }
    };
    if let Err(error) = done {
        // It is tried again with the next answer; told once.
        static TOLD: AtomicBool = AtomicBool::new(false);
        if TOLD.swap(true, Ordering::Relaxed) {
            fail::count(Failure::ApprovalFailed, 1);
        } else {
            let what = format!("the answer to a request for approval cannot be kept, and opens nothing: {error}");
            workstation.spool.push(Failure::ApprovalFailed.notice(Some(id.as_bytes()), what));
        }
    }
}

fn answered(workstation: &Workstation, kept: &Kept, answer: &Answer) -> std::io::Result<()> {
    let fingerprint = kept.request.fingerprint()?;
    if answer.id != kept.request.id || answer.fingerprint != fingerprint {
        let why = "the collector answered something else than what was asked; ask again, and tell whoever looks after Vitrine";
        return over(workstation, kept, Standing::Failed, None, why);
    }
    let by = answer.by.as_deref().map(|by| plain(by, NAME)).filter(|by| !by.trim().is_empty());
    let note = plain(&answer.note, NOTE);
    match (answer.state, by) {
        (State::Pending, _) => workstation.approvals.is_there(&kept.request.id, true),
        (State::Expired, _) => over(workstation, kept, Standing::Expired, None, ""),
        (State::Denied, by) => over(workstation, kept, Standing::Denied, by.as_deref(), &note),
        (State::Approved, Some(by)) => approved(workstation, kept, &by, &note),
        (State::Approved, None) => {
            let why = "the collector does not say who approved it; update it, and ask again";
            over(workstation, kept, Standing::Failed, None, why)
        }
    }
}

fn approved(workstation: &Workstation, kept: &Kept, by: &str, note: &str) -> std::io::Result<()> {
    let request = &kept.request;
    for master in &request.masters {
        // An index that cannot be read is asked again with the next answer.
        if content(workstation, &master.path).map_err(std::io::Error::other)? == master.content {
            continue;
        }
        let why = format!("{} is another picture now than the one that {by} approved; ask again", master.path);
        return over(workstation, kept, Standing::Failed, None, &why);
    }
    let snapshot = workstation.snapshot();
    let entry = snapshot.policy.destinations.iter().find(|entry| entry.name == request.destination);
    let Some(asked) = entry.and_then(|entry| entry.justify) else {
        let why = format!(
            "the policy wants no reason for `{}` any more; try again, and see `vitrine why`",
            request.destination
        );
        return over(workstation, kept, Standing::Failed, None, &why);
    };
    // Written down first: what ends in between opens nothing.
    let Some(kept) = workstation.approvals.settle(&request.id, Standing::Approved, Some(by), note)? else {
        return Ok(());
    };
    let holds = asked.window.min(Duration::from_millis(request.window));
    let (reason, approved_by) = (request.reason.clone(), Some(by.to_owned()));
    let mut masters: Vec<String> = request.masters.iter().map(|master| master.path.clone()).collect();
    masters.sort();
    let window = Window {
        given: Justification { id: request.id.clone(), reason, approved_by },
        uid: kept.uid,
        masters,
        tier: request.tier.clone(),
        destination: request.destination.clone(),
        until: now() + holds,
    };
    if let Err(full) = workstation.windows.open(window, now()) {
        let why = format!("{by} approved it, but {full}; then ask again");
        workstation.spool.push(Failure::ApprovalFailed.notice(Some(request.id.as_bytes()), &why));
        if let Some(kept) = workstation.approvals.failed(&request.id, &why)? {
            workstation.desk.announce(kept.told());
        }
        return Ok(());
    }
    let what = format!(
        "{} approved that {} (`{}`) may go to `{}` for {} minutes, for which {} gave a reason: “{}”{}",
        by,
        request.file,
        request.tier,
        request.destination,
        holds.as_secs_f64() / 60.0,
        who(&kept),
        request.reason,
        said(note)
    );
    workstation.spool.push(Failure::Justified.notice(Some(request.id.as_bytes()), what));
    workstation.desk.announce(kept.told());
    Ok(())
}

/// Notes that a request ends and opens nothing, and tells of it.
fn over(workstation: &Workstation, kept: &Kept, state: Standing, by: Option<&str>, note: &str) -> std::io::Result<()> {
    let request = &kept.request;
    let Some(kept) = workstation.approvals.settle(&request.id, state, by, note)? else { return Ok(()) };
    let asked = format!(
        "that {} (`{}`) may go to `{}`, as {} asked",
        request.file,
        request.tier,
        request.destination,
        who(&kept)
    );
    let (failure, what) = match state {
        Standing::Denied => {
            let by = by.unwrap_or("somebody");
            (Failure::ApprovalDenied, format!("{by} does not approve {asked}{}", said(note)))
        }
        Standing::Expired => (Failure::ApprovalExpired, format!("nobody answered in time whether to approve {asked}")),
        _ => (Failure::ApprovalFailed, format!("nobody can approve {asked}: {note}")),
    };
    workstation.spool.push(failure.notice(Some(request.id.as_bytes()), what));
    workstation.desk.announce(kept.told());
    Ok(())
}

fn who(kept: &Kept) -> String {
    let user = kept.request.user.as_ref();
    user.map_or_else(|| "nobody known".to_owned(), |user| format!("{} (user {})", user.name, user.uid))
}

fn said(note: &str) -> String {
    if note.is_empty() { String::new() } else { format!("; note: “{note}”") }
}

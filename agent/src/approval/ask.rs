//! Somebody gives a reason for a destination of which the policy says that a second person has to approve it.

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use vitrine_fingerprint::IndexError;
use vitrine_policy::approval::{Asker, LONGEST, Master, Request};
use vitrine_policy::matcher::Justify;
use vitrine_policy::record::{self, Transfer, unprintable};

use super::{Approval, Kept, Standing, wall};
use crate::desk::Told;
use crate::fail::Failure;
use crate::identify::process::Login;
use crate::justification::now;
use crate::workstation::Workstation;

/// How long whoever asks waits to be told whether the collector has it.
const HANDED_ON: Duration = Duration::from_secs(2);
const GLANCE: Duration = Duration::from_millis(50);

/// What whoever answers is shown of an attempt, beside what its user is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Shown {
    digest: Option<String>,
    thumbnail: Option<String>,
    masters: Vec<record::Master>,
}

impl Shown {
    pub(crate) fn of(transfer: &Transfer) -> Shown {
        let record::File { digest, thumbnail, .. } = transfer.file.clone();
        Shown { digest, thumbnail, masters: transfer.masters.clone() }
    }
}

/// Asks for approval, and records that. It comes back once the collector has the request, or after a moment.
///
/// # Errors
/// Why nothing is asked, in a sentence to whoever asks.
pub(crate) fn ask(
    workstation: &Workstation,
    told: &Told,
    uid: u32,
    destination: &str,
    asked: Justify,
    reason: String,
) -> Result<Approval, String> {
    let nobody = |why: &str| format!("the policy wants a second person's approval for `{destination}`, and {why}");
    let collector = workstation
        .config
        .collector
        .as_ref()
        .ok_or_else(|| nobody("this agent has no collector that could ask one; ask whoever looks after Vitrine"))?;
    if !is_trusted(&collector.url) {
        return Err(nobody(
            "its collector is not reached by TLS, so that anybody on this machine could answer; ask whoever looks after \
             Vitrine to set `url = \"https://…\"` under [collector] in agent.toml",
        ));
    }
    let lasts = asked.approval.map_or(0, |approval| approval.as_secs()).clamp(1, LONGEST);
    let master = |master: &record::Master| Master {
        content: content(workstation, &master.path).ok().flatten(),
        path: master.path.clone(),
        collection: master.collection.clone(),
        thumbnail: master.thumbnail.clone(),
    };
    let request = Request {
        agent: workstation.spool.host().agent.clone(),
        id: uuid::Uuid::now_v7().simple().to_string(),
        // Under `watch` nobody knows who made the attempt, but who asks.
        user: Some(Asker { uid, name: Login::new(uid, None).user().name }),
        file: told.file.clone(),
        digest: told.shown.digest.clone(),
        thumbnail: told.shown.thumbnail.clone(),
        masters: told.shown.masters.iter().map(master).collect(),
        tier: told.tier.clone(),
        destination: destination.to_owned(),
        target: told.target.clone().unwrap_or_default(),
        reason,
        window: u64::try_from(asked.window.as_millis()).unwrap_or(u64::MAX),
        asked: wall(),
        lasts,
    };
    request.check().map_err(|why| format!("approval of this cannot be asked for: {why}"))?;
    let who = request
        .user
        .as_ref()
        .map_or_else(|| "nobody known".to_owned(), |user| format!("{} (user {})", user.name, user.uid));
    let what = format!(
        "{who} asks a second person to approve that {} (`{}`) may go to `{destination}` for {} minutes: “{}”",
        request.file,
        request.tier,
        asked.window.as_secs_f64() / 60.0,
        request.reason
    );
    let id = request.id.clone();
    let new = Kept {
        request,
        attempt: told.id.clone(),
        uid: told.uid,
        state: Standing::Asking,
        settled: None,
        by: None,
        note: String::new(),
        until: now().saturating_add(Duration::from_secs(lasts)),
        is_open: false,
    };
    workstation.approvals.ask(new).map_err(|error| error.to_string())?;
    workstation.spool.push(Failure::ApprovalAsked.notice(Some(id.as_bytes()), what));
    let begun = Instant::now();
    loop {
        let stands = workstation.approvals.of(told.uid, &told.id).ok_or("the request is gone; ask again")?;
        if stands.state == Standing::Failed {
            return Err(format!("approval of this cannot be asked for: {}", stands.note));
        }
        if stands.state != Standing::Asking || begun.elapsed() > HANDED_ON {
            return Ok(stands);
        }
        std::thread::sleep(GLANCE);
    }
}

/// Whether an answer from this address is from the collector: in clear text anybody on this machine could give it.
pub(crate) fn is_trusted(url: &str) -> bool {
    url.starts_with("https://")
}

/// BLAKE3 of what the master at a printable path is recognised by, as the index knows it now.
pub(super) fn content(workstation: &Workstation, path: &str) -> Result<Option<String>, IndexError> {
    let Some(path) = unprintable(path) else { return Ok(None) };
    let portrait = workstation.index.portrait(&PathBuf::from(std::ffi::OsString::from_vec(path)))?;
    Ok(portrait.and_then(|portrait| portrait.digest().ok()).map(|digest| digest.to_string()))
}

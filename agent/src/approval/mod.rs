//! Requests for a second person's approval: what was asked, and how it stands.
//!
//! What always holds:
//!
//! 1. A window is opened by nothing but the first answer to a request that waits: one that carries the fingerprint of
//!    what was asked, before its time is over by the clock of the machine and by one that nobody can set.
//! 2. An answer is on the disk before its window is open, so that it counts once, whatever ends in between.
//! 3. Who waits for an answer of the kernel waits for nothing here.

pub(crate) mod answer;
pub(crate) mod ask;
#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use vitrine_policy::approval::Request;
use vitrine_policy::record::last_part;

use crate::justification::now;
use crate::policy_file::write_durably;

/// Name of the file below the state directory.
pub(crate) const FILE: &str = "approvals.json";
/// Requests that may wait of one user, and of all.
const EACH: usize = 4;
const ALL: usize = 16;
/// Requests that are over and still told of; above it the oldest go.
const OVER: usize = 64;
/// Longest file that is read, in bytes: all requests at their longest, and room for answers.
const MAX: u64 = ((ALL + OVER) * (vitrine_policy::approval::MAX_BYTES + 8 * 1024)) as u64;

/// How it stands with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Standing {
    /// The collector does not have it yet.
    Asking,
    /// The collector has it, and nobody has answered.
    Pending,
    Approved,
    Denied,
    /// Nobody answered in time.
    Expired,
    /// It came to nothing, and not by anybody's word.
    Failed,
}

impl Standing {
    /// Whether an answer may still come.
    pub(crate) fn waits(self) -> bool {
        matches!(self, Standing::Asking | Standing::Pending)
    }
}

/// A request, as its user is told of it. All text is printable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Approval {
    /// Whose it is; none where nobody can know (`watch`).
    pub(crate) uid: Option<u32>,
    /// By which its records are found.
    pub(crate) id: String,
    pub(crate) file: String,
    pub(crate) destination: String,
    pub(crate) state: Standing,
    /// Until when it may be answered, in milliseconds since 1970.
    pub(crate) expires: i64,
    /// How long it may go there once it is approved, in seconds.
    pub(crate) seconds: f64,
    /// When that is over, in milliseconds since 1970; none before it is approved, and none where it is over.
    pub(crate) until: Option<i64>,
    /// Who answered.
    pub(crate) by: Option<String>,
    /// What he said, or why it came to nothing.
    pub(crate) note: String,
}

/// A request, as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    pub(crate) request: Request,
    /// [`Told::id`](crate::desk::Told::id) of the attempt that was refused.
    pub(crate) attempt: String,
    /// Whose window it opens.
    pub(crate) uid: Option<u32>,
    pub(crate) state: Standing,
    /// When an answer came, in milliseconds since 1970.
    pub(crate) settled: Option<i64>,
    pub(crate) by: Option<String>,
    pub(crate) note: String,
    /// When its time is over by [`now`]; made anew at each start.
    #[serde(skip)]
    pub(crate) until: Duration,
    /// Whether this run of the agent has opened its window: the end of the agent closes it.
    #[serde(skip)]
    pub(crate) is_open: bool,
}

impl Kept {
    fn expires(&self) -> i64 {
        let lasts = i64::try_from(self.request.lasts.saturating_mul(1000)).unwrap_or(i64::MAX);
        self.request.asked.saturating_add(lasts)
    }

    /// Whether its time is over.
    pub(crate) fn is_over(&self) -> bool {
        wall() >= self.expires() || now() >= self.until
    }

    /// Seconds that are left of it.
    pub(crate) fn left(&self) -> u64 {
        let by_wall = u64::try_from(self.expires().saturating_sub(wall())).unwrap_or(0) / 1000;
        by_wall.min(self.until.saturating_sub(now()).as_secs())
    }

    /// After a start: by a clock that was set back, nothing is left.
    fn begin_anew(&mut self) {
        let left = self.expires().saturating_sub(wall());
        let is_sound = wall() >= self.request.asked;
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        self.until = if is_sound { now().saturating_add(left) } else { Duration::ZERO };
    }

    pub(crate) fn told(&self) -> Approval {
        let window = i64::try_from(self.request.window).unwrap_or(i64::MAX);
        let until = self.settled.filter(|_| self.is_open).map(|at| at.saturating_add(window));
        Approval {
            uid: self.uid,
            id: self.request.id.clone(),
            file: last_part(&self.request.file).to_owned(),
            destination: self.request.destination.clone(),
            // Nobody may be there to notice it: without a collector, nobody asks.
            state: if self.state.waits() && self.is_over() { Standing::Expired } else { self.state },
            expires: self.expires(),
            seconds: Duration::from_millis(self.request.window).as_secs_f64(),
            until: until.filter(|until| *until > wall()),
            by: self.by.clone(),
            note: self.note.clone(),
        }
    }
}

/// Milliseconds since 1970.
fn wall() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Why nothing is asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("approval of this was asked for already, and nobody has answered: `vitrine why` shows how it stands")]
    Waits,
    #[error("{EACH} requests of yours wait for an answer: wait until one is answered, or its time is over")]
    Own,
    #[error("{ALL} requests of this workstation wait for an answer: wait until one is answered, or its time is over")]
    All,
    #[error("the request cannot be kept ({0}): see that there is room in the state directory, and ask again")]
    Kept(#[from] io::Error),
}

/// All requests of this workstation.
pub(crate) struct Approvals {
    path: PathBuf,
    kept: RwLock<Vec<Kept>>,
    /// Held by whoever changes and writes them: readers do not wait for the disk.
    writing: Mutex<()>,
    /// Why the collector does not have what it is to be asked.
    trouble: Mutex<Option<String>>,
    asked: Notify,
}

impl Approvals {
    /// Reads what an earlier run has asked; with it why that is lost, if it is.
    pub(crate) fn open(state: &Path) -> (Approvals, Option<String>) {
        let path = state.join(FILE);
        let (mut kept, lost) = match read(&path) {
            Ok(kept) => (kept, None),
            Err(why) => (Vec::new(), Some(format!("{why}; what waited has to be asked for again"))),
        };
        kept.iter_mut().for_each(Kept::begin_anew);
        let (writing, trouble, asked) = (Mutex::default(), Mutex::default(), Notify::new());
        (Approvals { path, kept: RwLock::new(kept), writing, trouble, asked }, lost)
    }

    fn kept(&self) -> Vec<Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes them on the disk and then here, or nowhere.
    fn change<T>(&self, change: impl FnOnce(&mut Vec<Kept>) -> T) -> io::Result<T> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = self.kept();
        let outcome = change(&mut kept);
        let over = kept.iter().filter(|one| !one.state.waits()).count();
        let mut too_many = over.saturating_sub(OVER);
        kept.retain(|one| {
            let goes = !one.state.waits() && too_many > 0;
            too_many -= usize::from(goes);
            !goes
        });
        write_durably(&self.path, &serde_json::to_vec(&kept)?)?;
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok(outcome)
    }

    /// Keeps a request that is to be sent.
    ///
    /// # Errors
    /// There are as many as there may be, or it cannot be written.
    pub(crate) fn ask(&self, new: Kept) -> Result<(), AskError> {
        self.change(|kept| {
            let waiting = || kept.iter().filter(|one| one.state.waits() && !one.is_over());
            if waiting().any(|one| one.attempt == new.attempt && one.uid == new.uid) {
                return Err(AskError::Waits);
            }
            if waiting().filter(|one| one.uid == new.uid).count() >= EACH {
                return Err(AskError::Own);
            }
            if waiting().count() >= ALL {
                return Err(AskError::All);
            }
            kept.push(new);
            Ok(())
        })??;
        self.asked.notify_one();
        Ok(())
    }

    /// Those that wait for an answer, oldest first.
    pub(crate) fn waiting(&self) -> Vec<Kept> {
        let mut kept = self.kept();
        kept.retain(|one| one.state.waits());
        kept
    }

    /// Waits until one more is asked.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// The latest request about an attempt.
    pub(crate) fn of(&self, uid: Option<u32>, attempt: &str) -> Option<Approval> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().rev().find(|one| one.uid == uid && one.attempt == attempt)?;
        let mut told = found.told();
        if told.state == Standing::Asking {
            told.note = self.trouble().clone().unwrap_or_default();
        }
        Some(told)
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the collector could not be asked just now; none: it could.
    pub(crate) fn is_troubled(&self, why: Option<String>) {
        *self.trouble() = why;
    }

    /// The collector has it, or has lost it.
    pub(crate) fn is_there(&self, id: &str, there: bool) -> io::Result<()> {
        let state = if there { Standing::Pending } else { Standing::Asking };
        let is_it = |one: &Kept| one.request.id == id && one.state.waits();
        if self.kept().iter().any(|one| is_it(one) && one.state != state) {
            self.change(|kept| kept.iter_mut().filter(|one| is_it(one)).for_each(|one| one.state = state))?;
        }
        Ok(())
    }

    /// Notes how a request ended that was waiting, as it is now; none: none of this id waits.
    pub(crate) fn settle(&self, id: &str, state: Standing, by: Option<&str>, note: &str) -> io::Result<Option<Kept>> {
        self.change(|kept| {
            let waits = |one: &&mut Kept| one.request.id == id && one.state.waits();
            let one = kept.iter_mut().find(waits)?;
            one.state = state;
            one.settled = Some(wall());
            one.is_open = state == Standing::Approved;
            one.by = by.map(str::to_owned);
            note.clone_into(&mut one.note);
            Some(one.clone())
        })
    }

    /// Notes that an approval came to nothing after all.
    pub(crate) fn failed(&self, id: &str, why: &str) -> io::Result<Option<Kept>> {
        self.change(|kept| {
            let one = kept.iter_mut().find(|one| one.request.id == id)?;
            (one.state, one.is_open) = (Standing::Failed, false);
            why.clone_into(&mut one.note);
            Some(one.clone())
        })
    }
}

/// What an earlier run has kept; nothing where there was none.
fn read(path: &Path) -> Result<Vec<Kept>, String> {
    let cannot =
        |why: &dyn std::fmt::Display| format!("the requests for approval in {} cannot be read: {why}", path.display());
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot(&error)),
    };
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, MAX), &mut text).map_err(|error| cannot(&error))?;
    serde_json::from_slice(&text).map_err(|error| cannot(&error))
}

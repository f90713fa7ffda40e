//! Windows: for how long a user may take a file to a destination that wants a reason, once he has given one.
//!
//! What always holds:
//!
//! 1. A window is one user's, for one destination of the policy and one label: that of the file of the refused attempt, with
//!    no other masters and no higher tier. Neither its path nor its number counts: a program that has read it carries
//!    nothing but the label, and somebody who puts another file in its place has gained nothing.
//! 2. What was let in while it was open stays, also when it is measured after the end, as long as it shows no other
//!    master and no higher tier.
//! 3. Windows are in memory alone: the end of the agent closes them.
//! 4. Who waits for an answer of the kernel waits for nothing here but a lock that nobody holds for long.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use vitrine_fingerprint::Match;
use vitrine_policy::Policy;
use vitrine_policy::facts::{Destination, Justification};
use vitrine_policy::matcher::Justify;
use vitrine_policy::record::printable;

use crate::identify::FileId;
use crate::identify::label::Known;
use crate::sys::stat::Stat;

/// Windows that one user may have at a time, and that there are at most.
const EACH: usize = 64;
const ALL: usize = 1024;
/// Files that are remembered as let in; above it the oldest is judged as if it had come without a window.
const LET_IN: usize = 16_384;
/// How often one user may ask for a window within [`SPAN`], whatever he is answered.
const ASKS: usize = 20;
const SPAN: Duration = Duration::from_secs(600);

/// Where a reason holds, and how long.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// The user's word, with an identifier of its own.
    pub(crate) given: Justification,
    /// Whose it is; none where nobody can know who acts (`watch`).
    pub(crate) uid: Option<u32>,
    /// The masters of the file, printable, in the order of the alphabet.
    pub(crate) masters: Vec<String>,
    /// Name of its tier.
    pub(crate) tier: String,
    /// Name of the destination in the policy.
    pub(crate) destination: String,
    /// When it ends, by [`now`].
    pub(crate) until: Duration,
}

impl Window {
    /// Whether it is for this place, and for files of this tier.
    fn admits(&self, policy: &Policy, known: &Known, destination: &Destination) -> bool {
        let is_enough = |asked: Justify| asked.approval.is_none() || self.given.approved_by.is_some();
        let entry = policy.destination_of(destination).filter(|entry| entry.justify.is_some_and(is_enough));
        entry.is_some_and(|entry| entry.name == self.destination)
            && policy.tier_named(&self.tier).is_some_and(|highest| known.tier <= highest)
    }

    fn names(&self, master: &Path) -> bool {
        let master = printable(master.as_os_str().as_bytes());
        self.masters.contains(&master)
    }

    fn is_for(&self, known: &Known) -> bool {
        known.masters.iter().all(|master| self.names(master))
    }

    fn is_in_place_of(&self, other: &Window) -> bool {
        (self.uid, &self.destination, &self.tier, &self.masters)
            == (other.uid, &other.destination, &other.tier, &other.masters)
    }
}

/// Time since the machine was started, with that for which it slept: nobody can set this clock (clock_gettime(2)).
pub(crate) fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or(Duration::MAX)
}

/// Why no window is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    /// The user has as many as he may.
    #[error("you have given reasons for {EACH} files, and their time is not over: wait until it is")]
    Own,
    /// There are as many as there may be.
    #[error("reasons were given for {ALL} files on this workstation, and their time is not over: wait until it is")]
    All,
}

/// All open windows, and what came in through them.
#[derive(Default)]
pub(crate) struct Windows {
    open: RwLock<Vec<Arc<Window>>>,
    let_in: Mutex<LetIn>,
    asked: Mutex<HashMap<u32, VecDeque<Duration>>>,
    cannot: OnceLock<&'static str>,
}

#[derive(Default)]
struct LetIn {
    by: HashMap<(FileId, Option<i64>), Arc<Window>>,
    order: VecDeque<(FileId, Option<i64>)>,
}

impl Windows {
    /// The guard at work cannot let anything through, and why.
    pub(crate) fn cannot(&self, why: &'static str) {
        let _ = self.cannot.set(why);
    }

    /// Why no window can be opened at all, if so.
    pub(crate) fn why_not(&self) -> Option<&'static str> {
        self.cannot.get().copied()
    }

    /// Counts that somebody asks for a window at `now`; whether he has not asked too often.
    pub(crate) fn may_ask(&self, uid: u32, now: Duration) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|_, times| {
            times.retain(|time| now.saturating_sub(*time) < SPAN);
            !times.is_empty()
        });
        if asked.len() >= ALL && !asked.contains_key(&uid) {
            return false;
        }
        let times = asked.entry(uid).or_default();
        if times.len() >= ASKS {
            return false;
        }
        times.push_back(now);
        true
    }

    /// Opens a window; it takes the place of an earlier one for the same.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub(crate) fn open(&self, window: Window, now: Duration) -> Result<(), Full> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.retain(|other| other.until > now && !window.is_in_place_of(other));
        if open.iter().filter(|other| other.uid == window.uid).count() >= EACH {
            return Err(Full::Own);
        }
        if open.len() >= ALL {
            return Err(Full::All);
        }
        open.push(Arc::new(window));
        Ok(())
    }

    /// The open window through which this user may take this file, or who has read it what he writes, to there.
    pub(crate) fn of(
        &self,
        policy: &Policy,
        uid: Option<u32>,
        known: &Known,
        destination: &Destination,
    ) -> Option<Arc<Window>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if open.is_empty() {
            return None;
        }
        let now = now();
        let mut own = open.iter().filter(|window| window.uid == uid && window.until > now);
        own.find(|window| window.admits(policy, known, destination) && window.is_for(known)).cloned()
    }

    /// This file at a destination is written through the window.
    pub(crate) fn let_in(&self, stat: &Stat, window: &Arc<Window>) {
        let key = (stat.file, stat.born);
        let mut let_in = self.let_in.lock().unwrap_or_else(PoisonError::into_inner);
        if let_in.by.insert(key, window.clone()).is_none() {
            let_in.order.push_back(key);
        }
        if let_in.order.len() > LET_IN
            && let Some(oldest) = let_in.order.pop_front()
        {
            let_in.by.remove(&oldest);
        }
    }

    /// The window through which a file came that lies at a destination now, if what was found in it is what the window
    /// was for. `found` are the masters of each picture in it, any of which it may be; none where it was not recognised.
    pub(crate) fn through<'a>(
        &self,
        policy: &Policy,
        stat: &Stat,
        known: &Known,
        destination: &Destination,
        found: impl Iterator<Item = &'a [Match]>,
    ) -> Option<Arc<Window>> {
        let let_in = self.let_in.lock().unwrap_or_else(PoisonError::into_inner);
        let window = let_in.by.get(&(stat.file, stat.born))?.clone();
        drop(let_in);
        let mut is_recognised = false;
        let mut shows_no_other = found.filter(|matches| !matches.is_empty()).map(|matches| {
            is_recognised = true;
            matches.iter().any(|found| window.names(&found.master.path))
        });
        let is_right = shows_no_other.all(|is_one| is_one);
        (is_right && (is_recognised || window.is_for(known)) && window.admits(policy, known, destination))
            .then_some(window)
    }
}

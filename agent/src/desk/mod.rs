//! Where people at the workstation ask: what was refused to them, why, and what they can do instead.
//!
//! The agent keeps each user's latest attempts in memory and answers at a socket below the state directory. Who
//! asks is told by the kernel (`SO_PEERCRED`, unix(7)), and learns of nobody else's attempts; root, and whoever
//! runs the agent, may ask for all. What the programs of users make of it is in [`crate::cli`].

pub(crate) mod client;
pub(crate) mod question;
pub(crate) mod reason;
pub(crate) mod server;
#[cfg(test)]
mod tests;
pub(crate) mod texts;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use vitrine_policy::Policy;
use vitrine_policy::decision::{Rule, Verdict};
use vitrine_policy::record::{Disposition, Event, Transfer};

use crate::approval::Approval;
use crate::approval::ask::Shown;
use crate::guard::support::Guard;
use crate::maintenance::{State, Wish};
use crate::spool;

/// Attempts that are kept of one user.
const EACH: usize = 100;
/// Users whose attempts are kept; above it those go who have tried nothing for longest.
const USERS: usize = 256;
/// Records of an earlier run that are looked at for what was refused.
const EARLIER: usize = 2000;
/// Longest explanation that is kept, in characters.
const EXPLANATION: usize = 2000;
/// Attempts that may wait for one listener; who is slower misses some, and can still ask.
const NEWS: usize = 256;
/// The socket, below the state directory.
const SOCKET: &str = "agent.sock";

/// Where the agent with this state directory is asked.
pub(crate) fn socket(state: &Path) -> PathBuf {
    state.join(SOCKET)
}

/// What a picture may be at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Most {
    /// Millions of pixels.
    pub(crate) megapixels: Option<f64>,
    /// Length over the length of the master.
    pub(crate) scale: Option<f64>,
    /// Bits a channel.
    pub(crate) bit_depth: Option<u8>,
}

impl Most {
    /// The limits of a tier; none where it has none, as `master` and `none`.
    pub(crate) fn of(policy: &Policy, tier: &str) -> Most {
        let entry = policy.tier_named(tier).and_then(|tier| policy.tiers.get(usize::from(tier.0)));
        entry.map_or_else(Most::default, |entry| Most {
            megapixels: entry.max_megapixels,
            scale: entry.max_scale,
            bit_depth: entry.max_bit_depth,
        })
    }
}

/// One attempt that was refused, or would have been, as its user is told of it. All text is printable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// What was tried, by eight hexadecimal digits: the same user, masters, tier and destination have the same.
    pub(crate) id: String,
    /// Milliseconds since 1970.
    pub(crate) time: i64,
    /// Whose it was; none where nobody can know (`watch`).
    pub(crate) uid: Option<u32>,
    /// Name of the program that acted, where that is known.
    pub(crate) program: Option<String>,
    /// Path of the file whose bytes were to move.
    pub(crate) file: String,
    /// Path of the first master that it was made from.
    pub(crate) master: Option<String>,
    /// All of them, as far as a label names them.
    pub(crate) masters: Vec<String>,
    /// Whether the guard that saw it lets anybody through who gives a reason.
    pub(crate) takes_reasons: bool,
    /// Name of its tier.
    pub(crate) tier: String,
    pub(crate) disposition: Disposition,
    pub(crate) rule: Rule,
    /// Name of the destination in the policy, or `elsewhere`; none where a master was to be opened.
    pub(crate) destination: Option<String>,
    /// Path, or `host:port`.
    pub(crate) target: Option<String>,
    /// The highest tier that may go there, or `none`.
    pub(crate) ceiling: Option<String>,
    /// What that tier may be at most.
    pub(crate) most: Most,
    /// The decision in sentences, as it is on record.
    pub(crate) explanation: String,
    /// Whether the policy wants a second person to approve the reason.
    #[serde(default)]
    pub(crate) wants_approval: bool,
    /// How it stands with that, where it was asked for.
    #[serde(default)]
    pub(crate) approval: Option<Approval>,
    /// What that person is shown.
    #[serde(skip)]
    pub(crate) shown: Shown,
}

impl Told {
    /// What to tell of a transfer; none where nothing was refused.
    pub(crate) fn of(transfer: &Transfer, time: i64, policy: &Policy) -> Option<Told> {
        if transfer.verdict != Verdict::Block {
            return None;
        }
        let to = transfer.destination.as_ref();
        let entry = policy.destinations.iter().find(|entry| to.is_some_and(|to| to.name == entry.name));
        let asked = entry.and_then(|entry| entry.justify);
        let masters: Vec<String> = transfer.masters.iter().map(|master| master.path.clone()).collect();
        Some(Told {
            id: id(transfer, &masters),
            time,
            uid: transfer.user.as_ref().map(|user| user.uid),
            program: transfer.processes.first().map(|process| process.name.clone()),
            file: transfer.file.path.clone(),
            master: masters.first().cloned(),
            masters,
            takes_reasons: transfer.guard != Guard::Flow.name(),
            tier: transfer.tier.clone(),
            disposition: transfer.disposition,
            rule: transfer.rule.clone(),
            destination: to.map(|to| to.name.clone()),
            target: to.map(|to| to.target.clone()),
            ceiling: to.map(|to| to.ceiling.clone()),
            most: to.map_or_else(Most::default, |to| Most::of(policy, &to.ceiling)),
            explanation: transfer.explanation.chars().take(EXPLANATION).collect(),
            wants_approval: asked.is_some_and(|asked| asked.approval.is_some()),
            approval: None,
            shown: Shown::of(transfer),
        })
    }

    /// Whether to give a reason helps.
    pub(crate) fn may_justify(&self) -> bool {
        matches!(self.rule, Rule::Justify { .. }) && self.takes_reasons && reason::are_told_apart(&self.masters)
    }

    /// Whether anything was kept from happening: in `audit` nothing is.
    pub(crate) fn was_stopped(&self) -> bool {
        self.disposition != Disposition::WouldBlock
    }
}

fn id(transfer: &Transfer, masters: &[String]) -> String {
    let uid = transfer.user.as_ref().map_or_else(String::new, |user| user.uid.to_string());
    let to = transfer.destination.as_ref().map_or("", |to| to.name.as_str());
    let mut hash = blake3::Hasher::new();
    let mut masters: Vec<&str> = masters.iter().map(String::as_str).collect();
    masters.sort_unstable();
    for part in [uid.as_str(), &transfer.tier, to].into_iter().chain(masters) {
        hash.update(part.as_bytes()).update(&[0]);
    }
    hash.finalize().to_hex().chars().take(8).collect()
}

/// What is asked, one line of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// What was refused to me, oldest first; with `all`, to everybody.
    Why { all: bool },
    /// What is refused to me from now on, until I hang up.
    Watch,
    /// What may go there: the name of a destination, or an absolute path.
    Place { to: String },
    /// What is known of a file of mine; when asked for the first time, it is measured where need be.
    Look { path: PathBuf, first: bool },
    /// My reason for what was refused to me under this [`Told::id`].
    Justify { id: String, reason: String },
    /// How it stands with maintenance, and what is to be done about it (root).
    Maintenance(Wish),
}

/// What is answered, one line of JSON each; the end of the answers is the end of the stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// One attempt.
    Told(Box<Told>),
    /// A destination.
    Place(Place),
    /// A file.
    Looked(Looked),
    /// A reason was taken.
    Given(reason::Given),
    /// A second person is asked to approve a reason, or has answered.
    Approval(Box<Approval>),
    /// How it stands with maintenance.
    Maintenance(Box<State>),
    /// The question is not answered, and why.
    Refused(String),
}

/// A destination, as somebody has to know it who prepares a file for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Its name in the policy, or `elsewhere`.
    pub(crate) name: String,
    /// A directory of it that is there now; none where a path was asked for, at which who asks looks for himself.
    pub(crate) directory: Option<PathBuf>,
    /// The tiers that may go there, the lowest first.
    pub(crate) may: Vec<String>,
    /// Whether masters may.
    pub(crate) anything: bool,
    /// What the highest of these tiers may be at most.
    pub(crate) most: Most,
}

/// A file, as far as the agent knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Looked {
    /// The tier of its label; none where it has no label.
    pub(crate) tier: Option<String>,
    /// Whether it was read, so that its tier is its own and not that of who wrote it.
    pub(crate) is_measured: bool,
    pub(crate) megapixels: Option<f64>,
    /// Length over the length in its master.
    pub(crate) scale: Option<f64>,
    /// Whether files wait to be measured, this one maybe among them.
    pub(crate) waits: bool,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) uid: u32,
    /// Root, or whoever runs the agent.
    pub(crate) is_owner: bool,
    /// The process that asks; it may be another one by now.
    pub(crate) pid: Option<i32>,
}

impl Asker {
    pub(crate) fn new(uid: u32) -> Asker {
        Asker { uid, is_owner: uid == 0 || uid == nix::unistd::geteuid().as_raw(), pid: None }
    }

    /// Whether he may learn of an attempt as his own; the owner has those of nobody, too.
    fn owns(self, uid: Option<u32>) -> bool {
        uid.map_or(self.is_owner, |uid| uid == self.uid)
    }
}

/// What listeners are told.
#[derive(Clone)]
enum News {
    Tried(Arc<Told>),
    Answered(Arc<Approval>),
}

impl News {
    fn uid(&self) -> Option<u32> {
        match self {
            News::Tried(told) => told.uid,
            News::Answered(approval) => approval.uid,
        }
    }

    fn answer(&self) -> Answer {
        match self {
            News::Tried(told) => Answer::Told(Box::new(told.as_ref().clone())),
            News::Answered(approval) => Answer::Approval(Box::new(approval.as_ref().clone())),
        }
    }
}

/// The latest attempts of every user.
pub(crate) struct Desk {
    kept: Mutex<HashMap<Option<u32>, VecDeque<Arc<Told>>>>,
    news: broadcast::Sender<News>,
}

impl Desk {
    pub(crate) fn new() -> Arc<Desk> {
        Arc::new(Desk { kept: Mutex::default(), news: broadcast::channel(NEWS).0 })
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Option<u32>, VecDeque<Arc<Told>>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was tried. Never waits for anybody who listens.
    pub(crate) fn tell(&self, transfer: &Transfer, policy: &Policy) {
        let now = jiff::Timestamp::now().as_millisecond();
        let Some(told) = Told::of(transfer, now, policy).map(Arc::new) else { return };
        {
            let mut kept = self.kept();
            if kept.len() >= USERS && !kept.contains_key(&told.uid) {
                let latest = |told: &VecDeque<Arc<Told>>| told.back().map_or(0, |told| told.time);
                let silent = kept.iter().min_by_key(|(_, told)| latest(told)).map(|(uid, _)| *uid);
                silent.and_then(|uid| kept.remove(&uid));
            }
            let own = kept.entry(told.uid).or_default();
            if own.len() >= EACH {
                own.pop_front();
            }
            own.push_back(told.clone());
        }
        // Nobody listens: nobody misses it.
        let _ = self.news.send(News::Tried(told));
    }

    /// A request for approval has come to its end. Never waits for anybody who listens.
    pub(crate) fn announce(&self, approval: Approval) {
        let _ = self.news.send(News::Answered(Arc::new(approval)));
    }

    /// Takes over what an earlier run of the agent has refused.
    ///
    /// # Errors
    /// The spool cannot be read.
    pub(crate) fn recall(&self, state: &Path, policy: &Policy) -> Result<(), spool::SpoolError> {
        for entry in spool::read_newest(state, EARLIER)? {
            let Event::Transfer(transfer) = &entry.record.event else { continue };
            let Some(told) = Told::of(transfer, entry.record.time, policy) else { continue };
            let mut kept = self.kept();
            // What was refused since the start is there already; one user's room is never another's.
            let is_known = |own: &VecDeque<Arc<Told>>| {
                own.len() >= EACH || own.front().is_some_and(|first| first.time <= told.time)
            };
            if kept.get(&told.uid).is_some_and(is_known) || (kept.len() >= USERS && !kept.contains_key(&told.uid)) {
                continue;
            }
            kept.entry(told.uid).or_default().push_front(Arc::new(told));
        }
        Ok(())
    }

    /// What the asker may know, oldest first. `all` has to be his to ask.
    fn told_to(&self, asker: Asker, all: bool) -> Vec<Arc<Told>> {
        let kept = self.kept();
        let may = kept.iter().filter(|(uid, _)| all || asker.owns(**uid));
        let mut told: Vec<Arc<Told>> = may.flat_map(|(_, told)| told.iter().cloned()).collect();
        told.sort_by_key(|told| told.time);
        told
    }
}

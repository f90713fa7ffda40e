//! Decisions become records. This is where files are read, names are looked up and pictures are fetched,
//! because nobody waits here: the kernel has had its answer.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use vitrine_fingerprint::Index;
use vitrine_policy::decision::{Decision, Rule, Verdict};
use vitrine_policy::explain;
use vitrine_policy::facts::{self, Attempt, Facts};
use vitrine_policy::record::{self, Disposition, Event, Operation, Transfer, printable};

use crate::desk::Desk;
use crate::fail::Failure;
use crate::identify::label::Known;
use crate::identify::process::Login;
use crate::spool::Spool;
use crate::workstation::Snapshot;

/// Decisions that wait to be recorded; those beyond it are counted and told of.
const QUEUE: usize = 65_536;
/// Within this time the same process, file, destination and outcome make one record.
const SAME: Duration = Duration::from_secs(10);
/// How many attempts are kept apart at a time.
const MAX_SAME: usize = 4096;

/// One decision and all that belongs to it.
pub(crate) struct Seen {
    pub(crate) operation: Operation,
    pub(crate) guard: &'static str,
    pub(crate) facts: Facts,
    pub(crate) decision: Decision,
    pub(crate) disposition: Disposition,
    /// The process that acted and its parents; empty where nobody can know.
    pub(crate) processes: Vec<record::Process>,
    pub(crate) login: Option<Login>,
    pub(crate) known: Arc<Known>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) bytes_arrived: Option<u64>,
    /// Which share of each master's area has gone to the destination, where that was counted.
    pub(crate) sent: Vec<(Arc<Path>, f64)>,
    /// A sentence more, if there is one to tell.
    pub(crate) remark: Option<String>,
}

/// What the thread is asked to do.
enum Message {
    Record(Box<Seen>),
    /// To tell what is held back, and to say when that is done.
    Flush(SyncSender<()>),
}

/// Hands decisions to the thread that records them. Never blocks.
#[derive(Clone)]
pub(crate) struct Recorder {
    queue: SyncSender<Message>,
    /// Decisions that the queue had no room for, and that no record has told of yet.
    lost: Arc<AtomicU64>,
}

impl Recorder {
    /// Starts the thread. It ends when the last `Recorder` is dropped.
    pub(crate) fn start(spool: Spool, index: Arc<Index>, desk: Arc<Desk>) -> Recorder {
        let (queue, messages) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let recorder = Recorder { queue, lost: lost.clone() };
        std::thread::spawn(move || run(&messages, &lost, &spool, &index, &desk));
        recorder
    }

    /// Records a decision, some time soon.
    pub(crate) fn record(&self, seen: Seen) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.queue.try_send(Message::Record(Box::new(seen)))
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Recorder {
    /// Everything recorded so far is with the spool when this returns, unless `longest` is over before.
    pub(crate) fn flush(&self, longest: Duration) {
        let (done, is_done) = sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(longest);
        }
    }
}

/// What makes two attempts the same: who, what to which file and place, what was known of it, and what was decided.
type Key = (i32, Operation, Arc<Path>, Option<String>, String, (facts::Tier, Vec<Arc<Path>>), Option<String>);

/// An attempt that was recorded, and how often it came again since.
struct Repeated {
    first: Instant,
    again: u32,
    transfer: Transfer,
}

fn run(messages: &Receiver<Message>, lost: &AtomicU64, spool: &Spool, index: &Index, desk: &Desk) {
    let mut recent: HashMap<Key, Repeated> = HashMap::new();
    loop {
        match messages.recv_timeout(Duration::from_secs(1)) {
            Ok(Message::Flush(done)) => {
                recent.drain().for_each(|(_, repeated)| tell_again(repeated, spool));
                let _ = done.try_send(());
            }
            Ok(Message::Record(seen)) => {
                let key = key(&seen);
                match recent.get_mut(&key) {
                    Some(repeated) => repeated.again += 1,
                    None => {
                        let snapshot = seen.snapshot.clone();
                        let transfer = transfer(*seen, spool, index);
                        desk.tell(&transfer, &snapshot.policy);
                        spool.push(Event::Transfer(Box::new(transfer.clone())));
                        if recent.len() < MAX_SAME {
                            recent.insert(key, Repeated { first: Instant::now(), again: 0, transfer });
                        }
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                recent.into_values().for_each(|repeated| tell_again(repeated, spool));
                return;
            }
        }
        if recent.values().any(|repeated| repeated.first.elapsed() > SAME) {
            let (over, rest) = recent.into_iter().partition(|(_, repeated)| repeated.first.elapsed() > SAME);
            recent = rest;
            let over: HashMap<Key, Repeated> = over;
            over.into_values().for_each(|repeated| tell_again(repeated, spool));
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let what = format_args!("{lost} decisions came faster than they could be recorded");
            spool.push(Failure::SpoolFull.notice(None, what));
        }
    }
}

fn tell_again(repeated: Repeated, spool: &Spool) {
    if repeated.again > 0 {
        let transfer = Transfer { attempts: repeated.again, ..repeated.transfer };
        spool.push(Event::Transfer(Box::new(transfer)));
    }
}

fn key(seen: &Seen) -> Key {
    let pid = seen.processes.first().map_or(0, |process| process.pid);
    let target = target(&seen.facts.attempt);
    let mut masters = seen.known.masters.clone();
    masters.sort_unstable();
    let label = (seen.known.tier, masters);
    let disposition = format!("{:?}", seen.disposition);
    (
        pid,
        seen.operation,
        seen.known.file.clone(),
        target,
        disposition,
        label,
        justification(seen).map(|given| given.id.clone()),
    )
}

/// The reason for which it was allowed.
fn justification(seen: &Seen) -> Option<&facts::Justification> {
    match &seen.facts.attempt {
        Attempt::Transfer { history, .. } if seen.decision.verdict == Verdict::AllowJustified => {
            history.justification.as_deref()
        }
        _ => None,
    }
}

fn target(attempt: &Attempt) -> Option<String> {
    match attempt {
        Attempt::Open { .. } => None,
        Attempt::Transfer { destination: facts::Destination::Path { path, .. }, .. } => {
            Some(printable(path.as_os_str().as_bytes()))
        }
        Attempt::Transfer { destination: facts::Destination::Host { name, address, port }, .. } => {
            let host = name.clone().or_else(|| address.map(|address| address.to_string()));
            Some(format!("{}:{port}", host.unwrap_or_default()))
        }
    }
}

fn transfer(seen: Seen, spool: &Spool, index: &Index) -> Transfer {
    let policy = &seen.snapshot.policy;
    let known = &seen.known;
    let measured = known.measured.as_deref();
    let mut explanation = explain(policy, &seen.facts, &seen.decision);
    if let Some(remark) = &seen.remark {
        explanation.push(' ');
        explanation.push_str(remark);
    }
    let masters: Vec<_> = known.masters.iter().map(|path| master(path, &seen, spool, index)).collect();
    let own_picture = measured.and_then(|measured| measured.thumbnail.clone());
    let is_master = known.masters.first().is_some_and(|master| *master == known.file);
    let thumbnail =
        own_picture.or_else(|| masters.first().filter(|_| is_master).and_then(|master| master.thumbnail.clone()));
    let justification = justification(&seen).cloned().map(Box::new);
    let is_refused = seen.decision.verdict == Verdict::Block;
    let severity = if is_refused { policy.severity(&seen.facts.attempt) } else { None };
    let destination = target(&seen.facts.attempt).map(|target| record::Destination {
        name: match &seen.decision.rule {
            Rule::Ceiling { destination }
            | Rule::Justify { destination }
            | Rule::ObjectsPerDay { destination }
            | Rule::Coverage { destination } => destination.clone(),
            _ => named(policy, &seen.facts.attempt),
        },
        target,
        ceiling: seen.decision.ceiling.map_or_else(|| "none".to_owned(), |ceiling| policy.ceiling_name(ceiling)),
        bytes_arrived: seen.bytes_arrived,
        objects_today: match &seen.facts.attempt {
            Attempt::Transfer { history, .. } => history.objects_today,
            Attempt::Open { .. } => None,
        },
        place: match &seen.facts.attempt {
            Attempt::Transfer { destination, .. } => Some(record::Place::of(destination)),
            Attempt::Open { .. } => None,
        },
    });
    Transfer {
        operation: seen.operation,
        verdict: seen.decision.verdict,
        disposition: seen.disposition,
        rule: seen.decision.rule,
        explanation,
        mode: seen.decision.mode,
        policy: seen.snapshot.digest.clone(),
        guard: seen.guard.to_owned(),
        processes: seen.processes,
        user: seen.login.map(Login::user),
        file: record::File {
            path: printable(known.file.as_os_str().as_bytes()),
            digest: measured.map(|measured| measured.digest.clone()),
            bytes: measured.map(|measured| measured.bytes).or_else(|| size(&seen.snapshot, &known.file)),
            thumbnail,
        },
        tier: policy.tier_name(known.tier).to_owned(),
        origin: known.origin,
        measure: measured.and_then(|measured| measured.measure),
        masters,
        destination,
        attempts: 1,
        justification,
        severity,
    }
}

/// How large a file is; of one behind a server nobody asks, because the next records would wait for its answer.
fn size(snapshot: &Snapshot, file: &Path) -> Option<u64> {
    let is_here = !snapshot.destinations.is_behind_a_server(file);
    is_here.then(|| std::fs::symlink_metadata(file).ok().map(|metadata| metadata.len())).flatten()
}

fn named(policy: &vitrine_policy::Policy, attempt: &Attempt) -> String {
    let entry = match attempt {
        Attempt::Transfer { destination, .. } => policy.destination_of(destination),
        Attempt::Open { .. } => None,
    };
    entry.map_or_else(|| vitrine_policy::policy::ELSEWHERE.to_owned(), |entry| entry.name.clone())
}

fn master(path: &Path, seen: &Seen, spool: &Spool, index: &Index) -> record::Master {
    let collection = seen.snapshot.policy.collection_of(path);
    let picture = index.get(path).ok().flatten().and_then(|found| index.thumbnail(found.id).ok().flatten());
    record::Master {
        path: printable(path.as_os_str().as_bytes()),
        collection: collection.map(|collection| collection.name.clone()).unwrap_or_default(),
        object: collection.and_then(|collection| collection.object_of(path)),
        thumbnail: picture.map(|jpeg| spool.evidence(jpeg)),
        sent: seen.sent.iter().find(|(master, _)| **master == *path).map(|(_, share)| *share),
        recognised: seen.known.measured.as_ref().and_then(|measured| measured.recognised.clone()),
    }
}

/// How an attempt ended that was judged `decision` and answered accordingly.
pub(crate) fn disposition(decision: &Decision, denied: Disposition) -> Disposition {
    match (decision.verdict, decision.answer()) {
        (_, vitrine_policy::decision::Answer::Deny) => denied,
        (Verdict::Block, _) => Disposition::WouldBlock,
        _ => Disposition::Allowed,
    }
}

#[cfg(test)]
mod tests {
    use vitrine_policy::Policy;
    use vitrine_policy::record::Severity;

    use super::*;
    use crate::config::SpoolLimits;
    use crate::identify::destination::Destinations;

    const POLICY: &str = "version = 1\nmode = \"enforce\"\n\
        [[collection]]\nname = \"papers\"\npaths = [\"/m/papers\"]\nseverity = \"low\"\n\
        [[collection]]\nname = \"treasures\"\npaths = [\"/m/treasures\"]\nseverity = \"critical\"\n\
        [[collection]]\nname = \"scans\"\npaths = [\"/m/scans\"]\n\
        [[destination]]\nname = \"website\"\npaths = [\"/web\"]\nceiling = \"none\"\n\
        [[destination]]\nname = \"archive\"\npaths = [\"/archive\"]\nceiling = \"master\"\nseverity = \"critical\"\n";

    /// What is recorded of a master that arrives somewhere, as this policy judges it.
    fn recorded(policy: &str, master: &str, to: &str) -> Transfer {
        let state = tempfile::tempdir().unwrap();
        let agent = uuid::Uuid::from_u128(7).to_string();
        let host = record::Host { agent, name: "scan-01".into(), agent_version: "0.1.0".into() };
        let spool = Spool::open(state.path(), host, SpoolLimits::default()).unwrap();
        let index = Index::open(&state.path().join("index.db")).unwrap();
        let policy = Arc::new(Policy::parse("policy.toml", policy).unwrap());
        let destinations = Arc::new(Destinations::read(policy.clone()).unwrap());
        let known = Arc::new(Known::master(Path::new(master), policy.master_tier()));
        let destination = facts::Destination::Path { path: to.into(), mount: None };
        let attempt = Attempt::Transfer { label: known.label(), destination, history: facts::History::default() };
        let facts = Facts { program: facts::Program::default(), attempt };
        let decision = vitrine_policy::judge(&policy, &facts);
        let seen = Seen {
            operation: Operation::Arrive,
            guard: "gate",
            facts,
            disposition: disposition(&decision, Disposition::Quarantined),
            decision,
            processes: Vec::new(),
            login: None,
            known,
            snapshot: Arc::new(Snapshot { policy, digest: String::new(), destinations, programs: Arc::default() }),
            bytes_arrived: None,
            sent: Vec::new(),
            remark: None,
        };
        transfer(seen, &spool, &index)
    }

    #[test]
    fn a_record_is_as_severe_as_the_policy_says() {
        let audit = POLICY.replace("enforce", "audit");
        let (paper, treasure, scan) = ("/m/papers/1.tif", "/m/treasures/1.tif", "/m/scans/1.tif");
        for (policy, master, to, said, expected) in [
            (POLICY, paper, "/web/1.tif", Some(Severity::Low), Severity::Low),
            (POLICY, treasure, "/web/1.tif", Some(Severity::Critical), Severity::Critical),
            (POLICY, scan, "/web/1.tif", None, Severity::High),
            (audit.as_str(), treasure, "/web/1.tif", Some(Severity::Critical), Severity::High),
            (audit.as_str(), scan, "/web/1.tif", None, Severity::Medium),
            // It says nothing of what is allowed.
            (POLICY, treasure, "/archive/1.tif", None, Severity::Informational),
        ] {
            let transfer = recorded(policy, master, to);
            assert_eq!(transfer.severity, said, "{master} to {to}");
            assert_eq!(Event::Transfer(Box::new(transfer)).severity(), expected, "{master} to {to}");
        }
    }
}

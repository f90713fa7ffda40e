//! Keeps the masters of all collections fingerprinted.
//!
//! What is heard of (by `notify`, from the guard) or found (by a scan) is written on the [`agenda`]; [`keep`]
//! takes it out once it is quiet, has it measured in processes of their own, and brings the results to the
//! [`clerk`], the only one who writes to the index. A [`scan`] goes through everything at the start, where
//! something was lost, and every ten minutes.
//!
//! [`keep`]: Keeper::keep

mod absence;
mod agenda;
mod clerk;
mod file;
mod place;
mod progress;
mod scan;
mod store;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch as channel};
use tokio::task::JoinSet;
use vitrine_fingerprint::{Entry, Index};
use vitrine_policy::Policy;
use vitrine_policy::record::Event;

use crate::config::MeasureLimits;
use crate::fail::{Failure, count};
pub(crate) use absence::Absence;
use agenda::Agenda;
use clerk::{Chore, Clerk};
use file::{Outcome, take_in};
pub(crate) use place::{existing, leads_to_masters, names};
pub(crate) use progress::Progress;
use scan::{Scanner, Walk};
pub(crate) use store::open;
use watch::{QUIET, Watch};

/// Where records go.
pub(crate) type Report = Arc<dyn Fn(Event) + Send + Sync>;
/// Where changes of the masters go.
pub(crate) type OnChange = Arc<dyn Fn(Change) + Send + Sync>;

/// Most masters that are written in one transaction.
const BATCH: usize = 256;
/// Longest time that a measured master waits to be written.
const BATCH_TIME: Duration = Duration::from_millis(200);
/// Time between two scans of everything, for what no watcher tells (inotify(7), "Limitations and caveats").
const SCAN_EVERY: Duration = Duration::from_secs(600);
/// Time between two records that something was lost: a burst is one story.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// Pause before a path is looked at once more that is being read already.
const BUSY: Duration = Duration::from_millis(50);

/// What changed among the masters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A master is registered, or was found as it is known by the first scan.
    Added { path: PathBuf, device: u64, inode: u64 },
    /// A master has another path; that it is registered there no more, and here, is told as well.
    Renamed { from: PathBuf, to: PathBuf },
    /// No master is registered any more at this path, or below it.
    Removed { path: PathBuf },
}

/// Everything that the keeping needs.
pub(crate) struct Keeper {
    /// Where the masters are kept.
    pub(crate) index: Arc<Index>,
    /// The policy in force; its collections are followed when it changes.
    pub(crate) policy: channel::Receiver<Arc<Policy>>,
    /// Files and directories that somebody else saw change.
    pub(crate) touched: mpsc::UnboundedReceiver<PathBuf>,
    /// Limits of the reading of one file.
    pub(crate) limits: MeasureLimits,
    /// Where records go.
    pub(crate) report: Report,
    /// Who follows the masters.
    pub(crate) on_change: OnChange,
    /// How far the work is.
    pub(crate) progress: Arc<Progress>,
}

/// What is under way.
struct Work {
    agenda: Arc<Agenda>,
    walks: mpsc::Sender<Walk>,
    chores: mpsc::Sender<Chore>,
    everything_waits: Arc<AtomicBool>,
    reading: JoinSet<(PathBuf, Outcome)>,
    busy: HashSet<PathBuf>,
    batch: Vec<Entry>,
    batch_due: Option<Instant>,
    next_scan: Instant,
    told_lost: Option<Instant>,
}

/// Ends the threads with the keeper, however it ends.
struct Closing(Arc<Agenda>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Keeper {
    /// Keeps the masters fingerprinted until nobody holds the policy's sender any more. Dropping the future
    /// ends it as well.
    pub(crate) async fn keep(mut self) {
        let mut work = self.begin();
        let _closing = Closing(work.agenda.clone());
        let mut is_touched_open = true;
        work.scan();
        loop {
            self.advance(&mut work).await;
            let wake = work.wake(self.limits.parallel);
            tokio::select! {
                Some(done) = work.reading.join_next(), if !work.reading.is_empty() => {
                    if let Ok((path, outcome)) = done {
                        work.busy.remove(&path);
                        self.settle(&mut work, path, outcome).await;
                    }
                }
                () = work.agenda.news.notified() => {}
                () = tokio::time::sleep_until(wake.into()) => {}
                touched = self.touched.recv(), if is_touched_open => match touched {
                    Some(path) => {
                        if watch::concerns(&self.policy.borrow(), &path, false) {
                            work.agenda.touch(&path, QUIET);
                        }
                    }
                    None => is_touched_open = false,
                },
                changed = self.policy.changed() => match changed {
                    Ok(()) => work.scan(),
                    Err(_) => break,
                },
            }
        }
        work.flush().await;
    }

    /// Starts the watcher and the two threads.
    fn begin(&self) -> Work {
        let agenda = Arc::new(Agenda::default());
        let (chores, brought) = mpsc::channel(16);
        let (walks, asked) = mpsc::channel(1_024);
        let everything_waits = Arc::new(AtomicBool::new(false));
        let watch = match Watch::new(agenda.clone(), self.policy.clone()) {
            Ok(watch) => Some(watch),
            Err(error) => {
                let what = format!(
                    "collections cannot be watched ({error}); they are scanned every ten minutes. Raise the limit: \
                     sysctl fs.inotify.max_user_instances=1024"
                );
                (self.report)(Failure::WatchOverflow.notice(None, what));
                None
            }
        };
        let clerk = Clerk {
            index: self.index.clone(),
            agenda: agenda.clone(),
            policy: self.policy.clone(),
            report: self.report.clone(),
            on_change: self.on_change.clone(),
            progress: self.progress.clone(),
        };
        let scanner = Scanner {
            index: self.index.clone(),
            agenda: agenda.clone(),
            policy: self.policy.clone(),
            watch,
            clerk: chores.clone(),
            report: self.report.clone(),
            on_change: self.on_change.clone(),
            progress: self.progress.clone(),
            everything_waits: everything_waits.clone(),
            told_unwatched: false,
        };
        tokio::task::spawn_blocking(move || clerk.run(brought));
        tokio::task::spawn_blocking(move || scanner.run(asked));
        Work {
            agenda,
            walks,
            chores,
            everything_waits,
            reading: JoinSet::new(),
            busy: HashSet::new(),
            batch: Vec::new(),
            batch_due: None,
            next_scan: Instant::now() + SCAN_EVERY,
            told_lost: None,
        }
    }

    /// Does all that is due now.
    async fn advance(&self, work: &mut Work) {
        if work.agenda.take_lost() {
            if work.told_lost.is_none_or(|told| told.elapsed() > TELL_EVERY) {
                work.told_lost = Some(Instant::now());
                let what = "changes in collections came faster than they could be followed";
                (self.report)(Failure::WatchOverflow.notice(None, what));
            } else {
                count(Failure::WatchOverflow, 1);
            }
            work.scan();
        }
        if work.agenda.take_scan() || work.next_scan <= Instant::now() {
            work.scan();
        }
        while let Some((from, to)) = work.agenda.take_rename() {
            work.bring(Chore::Renamed { from, to }).await;
        }
        while work.reading.len() < self.limits.parallel {
            let Some(due) = work.agenda.take() else { break };
            if !work.busy.insert(due.path.clone()) {
                work.agenda.again(&due.path, due.tries, BUSY);
                break;
            }
            let path = due.path.clone();
            let taken = take_in(self.index.clone(), self.policy.borrow().clone(), due, self.limits);
            work.reading.spawn(async move { (path, taken.await) });
        }
        if work.batch.len() >= BATCH || work.batch_due.is_some_and(|due| due <= Instant::now()) {
            work.flush().await;
        }
        self.progress.waits((work.agenda.len() + work.reading.len()) as u64);
    }

    /// Deals with what came of one path.
    async fn settle(&self, work: &mut Work, path: PathBuf, outcome: Outcome) {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Gone => work.bring(Chore::Gone { path, wanted: true }).await,
            Outcome::NoMaster => work.bring(Chore::Gone { path, wanted: false }).await,
            Outcome::RenamedFrom(from) => work.bring(Chore::Renamed { from, to: path }).await,
            Outcome::Directory => {
                // The scanner is far behind: one scan of everything replaces all that it is asked for.
                if work.walks.try_send(Walk::Below(path)).is_err() {
                    work.agenda.scan_in(Duration::from_secs(1));
                }
            }
            Outcome::Again { tries, pause } => work.agenda.again(&path, tries, pause),
            Outcome::Master(entry, notice) => {
                notice.into_iter().for_each(|notice| (self.report)(notice));
                work.batch.push(*entry);
                work.batch_due.get_or_insert_with(|| Instant::now() + BATCH_TIME);
            }
            Outcome::Failed(notice) => {
                self.progress.failed.fetch_add(1, Ordering::Relaxed);
                (self.report)(notice);
            }
        }
    }
}

impl Work {
    /// Has everything scanned, unless that is going to happen anyway.
    fn scan(&mut self) {
        self.next_scan = Instant::now() + SCAN_EVERY;
        if !self.everything_waits.swap(true, Ordering::SeqCst) && self.walks.try_send(Walk::Everything).is_err() {
            self.everything_waits.store(false, Ordering::SeqCst);
            self.agenda.scan_in(Duration::from_secs(1));
        }
    }

    /// Brings a chore to the clerk, after what was measured before it.
    async fn bring(&mut self, chore: Chore) {
        self.flush().await;
        let _ = self.chores.send(chore).await; // the clerk ends with the keeper
    }

    async fn flush(&mut self) {
        self.batch_due = None;
        if !self.batch.is_empty() {
            let _ = self.chores.send(Chore::Insert(std::mem::take(&mut self.batch))).await;
        }
    }

    /// When there is something to do next.
    fn wake(&self, parallel: usize) -> Instant {
        let next = if self.reading.len() < parallel { self.agenda.next() } else { None };
        let times = [next, self.batch_due, self.agenda.next_scan()];
        times.into_iter().flatten().fold(self.next_scan, Instant::min)
    }
}

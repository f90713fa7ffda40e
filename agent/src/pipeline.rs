//! The whole way in one function: every thread, task and channel of the agent is made here.
//!
//! ```text
//! kernel -> guard (identify, judge, answer) -> recorder -> spool -> upload
//!                    \-> inspect, tiles (measure, judge, take back) -/
//! ```

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{Mutex, mpsc, watch};
use vitrine_policy::Policy;
use vitrine_policy::decision::Mode;
use vitrine_policy::record::{Event, Host, printable};

use crate::cli::status::{self, Status};
use crate::collection::{Absence, Change, Keeper, Progress};
use crate::config::{Config, Shield};
use crate::ending::{Signals, machine_goes_off};
use crate::fail::{self, Failure};
use crate::guard::Guarding;
use crate::guard::support::Guard;
use crate::identify::FileId;
use crate::identify::destination::Destinations;
use crate::identify::program::Programs;
use crate::maintenance::Clocks;
use crate::policy_file::{self, Good};
use crate::spool::Spool;
use crate::standing::Standing;
use crate::sys::stat::Stat;
use crate::workstation::{Snapshot, Workstation};
use crate::{approval, clock, collection, desk, inspect, installed, maintenance, own, stand_in, sys, tiles, upload};

/// How often the state that people see is written, and the mounts and the policy file are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often what has to be guarded is marked again though nothing seems to have changed.
const MARK: Duration = Duration::from_secs(5);
/// How long the spool may take to write what is left at the end.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// And the service manager to say whether it starts again with the workstation.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// Key and certificate that the collector knows the agent by.
pub(crate) const IDENTITY: &str = "identity.json";
/// The labels of local copies, below the state directory.
const LABELS: &str = "labels.json";
/// How often it is told that the state directory cannot be written.
const TOLD_AGAIN: Duration = Duration::from_secs(600);
/// How often they are written, where they changed.
const SAVE: Duration = Duration::from_secs(5);
/// The index of masters, below the state directory.
pub(crate) const INDEX: &str = "index.db";
/// What the kernel guard says to reasons.
const NO_REASONS: &str = "the guard `flow` refuses in the kernel, which cannot be told of reasons: what needs one cannot go \
                          there from this workstation; ask whoever looks after Vitrine";
/// How long a policy that is refused may wait for its signature, which is copied behind it.
const SIGNATURE_ON_ITS_WAY: Duration = Duration::from_secs(2);

/// Runs the agent until it is told to stop (SIGTERM, SIGINT). What there was to tell of its settings is recorded first.
///
/// # Errors
/// It cannot start: the state directory, the spool or the index cannot be used.
pub(crate) async fn run(config: Config, of_settings: Vec<Event>) -> anyhow::Result<()> {
    let started = jiff::Timestamp::now();
    sys::outlive_leases();
    own::lie_in(&config.state).context("the state directory cannot be opened")?;
    let spool = Spool::open(&config.state, host(&config)?, config.spool).context("the spool cannot be opened")?;
    let given_back = config.stands_in.is_none().then(|| stand_in::give_back(&config.state, &spool)).flatten();
    let (mut clock, clock_is_off) = clock::Watch::start(&config.state);
    of_settings.into_iter().chain(given_back).chain(clock_is_off).for_each(|event| spool.push(event));
    let mut looked = policy_file::stamp(&config);
    let (first, mut last_error) = first_snapshot(&config, &spool)?;
    let report: collection::Report = {
        let spool = spool.clone();
        Arc::new(move |event| spool.push(event))
    };
    let index = Arc::new(collection::open(&config.state.join(INDEX), &report)?);
    let (arrivals, arrived) = mpsc::unbounded_channel();
    let (touched, touches) = mpsc::unbounded_channel();
    let workstation = Workstation::new(config.clone(), index.clone(), spool.clone(), first, arrivals, touched);

    let labels = config.state.join(LABELS);
    if let Err(error) = workstation.labels.load(&workstation.snapshot().policy, &labels)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        let what = format!("the labels of local copies are lost, and set again when these are written: {error}");
        spool.push(Failure::IndexSetAside.notice(Some(labels.as_os_str().as_bytes()), what));
    }
    // No start waits for a server, and no end: a thread of the runtime would be waited for.
    for server in crate::identify::mount::servers() {
        let behind = workstation.clone();
        let _ = std::thread::Builder::new()
            .name("labels".into())
            .spawn(move || behind.labels.look_behind(&server, &behind.snapshot().policy));
    }

    // The guard comes first: everything else can wait.
    let progress = Arc::new(Progress::default());
    // What was open before the machine was started again must not be told to the guard.
    end_maintenance(&workstation);
    let guarding = Guarding::start(&workstation, &progress)?;
    let guard = guarding.guard();
    if guarding.is_degraded {
        spool.push(Failure::GuardDegraded.notice(None, &guarding.why));
    }

    if guard == Guard::Flow {
        workstation.windows.cannot(NO_REASONS);
    } else if config.shield != Shield::Off {
        let what = "the settings ask for a shield, which the guard `flow` alone has: root is kept from nothing";
        spool.push(Failure::GuardDegraded.notice(None, what));
    }

    let (policies, policy_changes) = watch::channel(workstation.snapshot().policy.clone());
    tokio::spawn(inspect::run(workstation.clone(), arrived));
    tokio::spawn(tiles::run(workstation.clone()));
    attend_users(&workstation);
    let absence = Absence::follow(policy_changes.clone()).context("no thread can be started")?;
    let masters_changed = Arc::new(AtomicBool::new(false));
    let keeper = Keeper {
        index: index.clone(),
        policy: policy_changes,
        touched: touches,
        limits: config.measure,
        report,
        on_change: {
            let (workstation, masters_changed) = (workstation.clone(), masters_changed.clone());
            Arc::new(move |change| {
                masters_changed.store(true, Ordering::Relaxed);
                registered(&workstation, change);
            })
        },
        progress: progress.clone(),
    };
    tokio::spawn(keeper.keep());
    let contact = Arc::new(upload::Contact::default());
    let (end, ended) = watch::channel(false);
    let uploading = config.collector.clone().filter(|_| config.stands_in.is_none()).map(|collector| {
        let heartbeat = {
            let workstation = workstation.clone();
            move || heartbeat(&workstation, guard)
        };
        let take: Option<upload::Take> = collector.policy.then(|| {
            let config = config.clone();
            Arc::new(move |given: &_| policy_file::take(&config, given)) as upload::Take
        });
        let is_trusted = approval::ask::is_trusted(&collector.url);
        let setup = upload::Setup {
            collector,
            identity: config.state.join(IDENTITY),
            take,
            masters: handing(&workstation, masters_changed),
            asking: is_trusted.then(|| asking(&workstation)),
        };
        tokio::spawn(upload::run(spool.clone(), setup, heartbeat, contact.clone(), ended))
    });

    let installed = watch_installation(&workstation, guard == Guard::Flow && config.shield != Shield::Off);
    spool.push(Failure::Started.notice(None, format_args!("the agent guards with {}: {}", guard.name(), guarding.why)));
    let guards = format!("guarding with {}: {}", guard.name(), guarding.why);
    println!("{guards}");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status(&guards)]);
    let is_watched = sd_notify::watchdog_enabled().is_some();
    let mut edited = None::<std::time::Instant>;
    let mut mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let (mut marked, mut told) = (None::<std::time::Instant>, None::<Status>);
    let (mut standing, mut state_failed) = (Standing::default(), None::<std::time::Instant>);
    let mut saved = (workstation.labels.version(), std::time::Instant::now());
    let trial = stand_in::Trial::begin(&config);
    let mut ticks = tokio::time::interval(LOOK);
    let mut signals = Signals::new()?;
    loop {
        tokio::select! {
            () = signals.next() => break,
            _ = ticks.tick() => {}
        }
        if guarding.is_lost() {
            break;
        }
        // Where all of this stands still, the service manager starts it anew.
        if is_watched {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
        if workstation.labels.version() != saved.0 && saved.1.elapsed() > SAVE {
            saved = (workstation.labels.version(), std::time::Instant::now());
            save(&workstation, &labels);
        }
        let stamp = policy_file::stamp(&config);
        if stamp != looked {
            looked = stamp;
            edited = Some(std::time::Instant::now());
        }
        if let Some(since) = edited
            && let Some(read) = settled(&config, since)
        {
            edited = None;
            last_error = reload(&workstation, read).err();
            // Other files may be masters now.
            if let Err(error) = guarding.policy_changed() {
                spool.push(Failure::MarkFailed.notice(None, error));
            }
            let _ = policies.send(workstation.snapshot().policy.clone());
            marked = None;
        }
        let now = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        if now != mounts || workstation.snapshot().programs.is_stale() {
            mounts = now;
            workstation.refresh();
            marked = None;
        }
        // What could not be marked is tried again after a while.
        if marked.is_none_or(|since| since.elapsed() > MARK) {
            marked = Some(std::time::Instant::now());
            guarding.update(&workstation);
        }
        end_maintenance(&workstation);
        clock.tick();
        // The service manager starts it anew, with the directory.
        if is_watched && trial.is_over() {
            break;
        }
        let mut not_covered = guarding.not_covered(&workstation.snapshot().policy);
        not_covered.extend(absence.lines());
        not_covered.extend(config.stands_in.as_ref().map(|stands_in| stands_in.told.clone()));
        let state = Status {
            pid: std::process::id(),
            started: started.to_string(),
            guard: guard.name().to_owned(),
            why: guarding.why.clone(),
            mode: mode(&workstation.snapshot().policy).to_owned(),
            policy_name: workstation.snapshot().policy.name.as_deref().map(|name| printable(name.as_bytes())),
            policy_serial: workstation.snapshot().policy.serial,
            policy: policy_file::place(&config).display().to_string(),
            policy_source: source(&config).to_owned(),
            policy_digest: workstation.snapshot().digest.clone(),
            policy_error: last_error.clone().or_else(|| contact.policy_refused()),
            guarded: guarding.guarded(),
            not_covered,
            masters: progress.masters.load(Ordering::Relaxed),
            pending: progress.pending.load(Ordering::Relaxed),
            seconds_left: progress.seconds_left(),
            scanned: progress.is_complete.load(Ordering::Relaxed),
            measuring: workstation.measuring(),
            labelled: workstation.labels.len(),
            shield: workstation.shield(),
            maintenance: workstation.maintenance.now_open(&Clocks::now()).map(|(open, _)| {
                format!("open until {}, by {}: “{}”", maintenance::shown(open.ends), open.by, open.reason)
            }),
            spool_depth: spool.depth(),
            last_sequence: spool.last_sequence(),
            approvals: workstation.approvals.waiting().len(),
            collector: config.collector.as_ref().map(|collector| collector.url.clone()),
            collector_contact: contact.describe(),
            counters: fail::counters().into_iter().map(|(code, count)| (code.to_owned(), count)).collect(),
        };
        if let Some(event) = standing.tell(&state, std::time::Instant::now()) {
            spool.push(event);
        }
        if told.as_ref() != Some(&state) || !config.state.exists() {
            match status::write(&config.state, &state) {
                Ok(()) => told = Some(state),
                // A disk that is nearly full comes and goes.
                Err(_) if state_failed.is_some_and(|since| since.elapsed() < TOLD_AGAIN) => {}
                Err(error) => {
                    state_failed = Some(std::time::Instant::now());
                    spool.push(state_notice(&config.state, &error));
                }
            }
        }
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    clock.keep();
    let is_lost = guarding.is_lost();
    drop(guarding);
    save(&workstation, &labels);
    workstation.recorder.flush(LAST_WORDS);
    if !is_lost {
        spool.push(match machine_goes_off().await {
            true => Failure::Shutdown.notice(None, "the agent ends with the workstation"),
            false => Failure::Stopped.notice(None, "the agent was told to stop, and the workstation goes on"),
        });
    }
    // Whether it will be there after the next start of the workstation.
    let _ = tokio::time::timeout(LAST_LOOK, async { installed.lock().await.look().await }).await;
    spool.flush(LAST_WORDS);
    let _ = end.send(true);
    if let Some(uploading) = uploading {
        let _ = tokio::time::timeout(LAST_WORDS, uploading).await;
    }
    anyhow::ensure!(!is_lost, "the guard in the kernel has ended: start the agent again");
    Ok(())
}

/// Ends maintenance of which the time is over.
fn end_maintenance(workstation: &Workstation) {
    if let Some(ended) = workstation.maintenance.look(&Clocks::now()) {
        workstation.spool.push(maintenance::ended_notice(&ended, "its time is over"));
    }
}

/// Looks now and then at what is installed, and at an edit of the settings at once.
fn watch_installation(workstation: &Arc<Workstation>, is_shielded: bool) -> Arc<Mutex<installed::Watch>> {
    let watch = Arc::new(Mutex::new(installed::Watch::new(workstation.clone(), is_shielded)));
    let (looking, file) = (watch.clone(), workstation.config.file.clone());
    tokio::spawn(async move {
        loop {
            let (settings, began) = (Stat::at(&file).ok(), std::time::Instant::now());
            looking.lock().await.look().await;
            while began.elapsed() < installed::LOOK && Stat::at(&file).ok() == settings {
                tokio::time::sleep(LOOK).await;
            }
        }
    });
    watch
}

/// The state directory cannot be written. The record may be lost with it, so the journal has it, too.
fn state_notice(state: &Path, error: &std::io::Error) -> Event {
    let what = match state.exists() {
        true => format!("the state directory {} cannot be written: {error}; free space, or mend it", state.display()),
        false => format!("the state directory {} is gone: `systemctl restart vitrine` makes it anew", state.display()),
    };
    tracing::error!("{what}");
    Failure::StateFailed.notice(Some(state.as_os_str().as_bytes()), what)
}

fn host(config: &Config) -> anyhow::Result<Host> {
    let name = nix::unistd::gethostname().context("the host has no name")?;
    Ok(Host {
        agent: Spool::agent_id(&config.state).context("the agent's identity cannot be kept")?,
        name: printable(name.as_bytes()),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// The policy to start with: the file, else the last one that was good, else none, which blocks nothing and
/// says so loudly. With it why the file is not in force.
fn first_snapshot(config: &Config, spool: &Spool) -> anyhow::Result<(Snapshot, Option<String>)> {
    let place = policy_file::place(config);
    let subject = Some(place.as_os_str().as_bytes());
    let (good, refused) = match policy_file::read_trusted(config) {
        Ok(good) => {
            keep(config, &good, spool);
            (Some(good), None)
        }
        Err(why) => {
            let earlier = policy_file::last_good(&config.state);
            let failure = if earlier.is_some() { Failure::PolicyRefused } else { Failure::PolicyMissing };
            spool.push(failure.notice(subject, &why));
            (earlier, Some(why))
        }
    };
    let (policy, digest) =
        good.map_or_else(|| (Policy::fallback(), String::new()), |Good { policy, digest, .. }| (policy, digest));
    let (programs, events) = Programs::pin(&policy, &Programs::default());
    events.into_iter().for_each(|event| spool.push(event));
    let policy = Arc::new(policy);
    let destinations = Destinations::read(policy.clone()).context("/proc/self/mountinfo cannot be read")?;
    Ok((Snapshot { policy, digest, destinations: Arc::new(destinations), programs: Arc::new(programs) }, refused))
}

fn keep(config: &Config, good: &Good, spool: &Spool) {
    if let Err(error) = policy_file::keep(config, good) {
        let what = format!("the good policy cannot be kept for the next start: {error}");
        spool.push(Failure::PolicyNotKept.notice(Some(config.state.as_os_str().as_bytes()), what));
    }
}

fn save(workstation: &Workstation, labels: &Path) {
    if let Err(error) = workstation.labels.save(&workstation.snapshot().policy, labels) {
        let what = format!("the labels of local copies cannot be kept for the next start: {error}");
        workstation.spool.push(Failure::IndexFailed.notice(Some(labels.as_os_str().as_bytes()), what));
    }
}

/// Users may ask what was refused to them, also by an earlier run.
fn attend_users(workstation: &Arc<Workstation>) {
    let socket = desk::socket(&workstation.config.state);
    let closed = |error: &dyn std::fmt::Display| {
        let what = format!("users cannot ask why something was refused: {error}");
        workstation.spool.push(Failure::DeskClosed.notice(Some(socket.as_os_str().as_bytes()), what));
    };
    match desk::server::open(&socket) {
        Ok(listener) => {
            let asked = workstation.clone();
            let slowly: desk::server::Slowly = Arc::new(move |asker, asks| desk::question::answer(&asked, asker, asks));
            tokio::spawn(desk::server::serve(
                listener,
                workstation.desk.clone(),
                workstation.approvals.clone(),
                slowly,
            ));
        }
        Err(error) => closed(&error),
    }
    let recalling = workstation.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = recalling.desk.recall(&recalling.config.state, &recalling.snapshot().policy) {
            tracing::warn!("users cannot ask what was refused before this start: {error}");
        }
    });
}

/// What tells the collector of masters, where that is wanted.
fn handing(workstation: &Workstation, changed: Arc<AtomicBool>) -> Option<upload::masters::Handing> {
    let config = &workstation.config;
    config.collector.as_ref().filter(|collector| collector.masters)?;
    match upload::masters::Handing::new(workstation.index.clone(), &config.state, changed) {
        Ok(handing) => Some(handing),
        Err(error) => {
            let what = format_args!("the collector cannot be told of masters: {error}");
            let subject = config.state.join(upload::masters::SENT);
            workstation.spool.push(Failure::RecordRejected.notice(Some(subject.as_os_str().as_bytes()), what));
            None
        }
    }
}

/// What asks the collector for approvals.
fn asking(workstation: &Arc<Workstation>) -> upload::Asking {
    let (approvals, workstation) = (workstation.approvals.clone(), workstation.clone());
    let heard =
        Arc::new(move |id: &str, heard: &approval::answer::Heard| approval::answer::heard(&workstation, id, heard));
    upload::Asking { approvals, heard }
}

/// The guard follows the masters.
fn registered(workstation: &Workstation, change: Change) {
    if let Change::Renamed { from, to } = &change {
        workstation.history.renamed(from, to);
    }
    if let Change::Added { path, device, inode } = change
        && let Some(collection) = workstation.snapshot().policy.collection_of(&path)
    {
        let size = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        workstation.labels.registered(FileId { device, inode }, size, &path, &collection.name);
    }
}

/// The policy that was edited at `since`; none while it has no good signature and that may still be on its way.
fn settled(config: &Config, since: std::time::Instant) -> Option<Result<Good, String>> {
    let read = policy_file::read_trusted(config);
    let may_mend = config.policy_key.is_some() && since.elapsed() < SIGNATURE_ON_ITS_WAY;
    (read.is_ok() || !may_mend).then_some(read)
}

/// Puts the edited policy in force. A bad one changes nothing; what is wrong with it is recorded and returned.
fn reload(workstation: &Workstation, read: Result<Good, String>) -> Result<(), String> {
    let config = &workstation.config;
    let place = policy_file::place(config);
    let subject = Some(place.as_os_str().as_bytes());
    let before = workstation.snapshot();
    let good = read.inspect_err(|why| {
        workstation.spool.push(Failure::PolicyRefused.notice(subject, why));
    })?;
    keep(config, &good, &workstation.spool);
    let Good { policy, digest, .. } = good;
    let (programs, events) = Programs::pin(&policy, &before.programs);
    events.into_iter().for_each(|event| workstation.spool.push(event));
    let policy = Arc::new(policy);
    let destinations = Destinations::read(policy.clone()).map(Arc::new).unwrap_or_else(|_| before.destinations.clone());
    let serial = policy.serial.map_or_else(String::new, |serial| format!(" of serial {serial}"));
    let what = format!("policy {digest}{serial} is in force, in mode {}", mode(&policy));
    workstation.adopt(Snapshot { policy, digest, destinations, programs: Arc::new(programs) });
    workstation.spool.push(Failure::PolicyLoaded.notice(subject, what));
    Ok(())
}

fn mode(policy: &Policy) -> &'static str {
    match policy.mode {
        Mode::Audit => "audit",
        Mode::Enforce => "enforce",
    }
}

/// Where the policy that counts is from.
fn source(config: &Config) -> &'static str {
    if policy_file::is_given(config) { "collector" } else { "file" }
}

fn heartbeat(workstation: &Workstation, guard: Guard) -> upload::Heartbeat {
    let snapshot = workstation.snapshot();
    upload::Heartbeat {
        guard: guard.name().to_owned(),
        mode: mode(&snapshot.policy).to_owned(),
        policy: snapshot.digest.clone(),
        policy_serial: snapshot.policy.serial,
        policy_source: source(&workstation.config),
        masters: workstation.index.len() as u64,
        counters: fail::counters().into_iter().map(|(code, count)| (code.to_owned(), count)).collect(),
    }
}

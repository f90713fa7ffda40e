//! Brings what is in the spool to the collector, at least once. Whatever the collector does, records wait in
//! the spool and nobody on the workstation notices.

mod approval;
pub(crate) mod check;
mod client;
mod contact;
mod identity;
pub(crate) mod masters;
mod pinned;
mod policy;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::StatusCode;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use vitrine_fingerprint::Index;

use crate::config;
use crate::fail::{self, Failure};
use crate::spool::{Batch, Spool, SpoolError, told};
pub(crate) use approval::Asking;
use client::{Client, Committed, MAX_WIRE, SetupError, Trouble};
pub(crate) use contact::Contact;
use masters::{Handing, Said};
pub(crate) use policy::Take;

/// Records of one request at most.
const MAX_RECORDS: usize = 500;
/// How many rejected lines of one answer are recorded one by one.
const MAX_TOLD: usize = 10;
/// How long the end of the agent may take for a last delivery.
const LAST: Duration = Duration::from_secs(3);

/// What the collector hears of the agent every few seconds; the spool adds who speaks, and its numbers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Heartbeat {
    /// The guard in force.
    pub(crate) guard: String,
    /// The mode in force: `audit` or `enforce`.
    pub(crate) mode: String,
    /// BLAKE3 of the policy in force.
    pub(crate) policy: String,
    /// Its serial, where it has one.
    pub(crate) policy_serial: Option<u32>,
    /// Where it is from: `file` or `collector`.
    pub(crate) policy_source: &'static str,
    /// How many masters its index has.
    pub(crate) masters: u64,
    /// Counters of failures that are not zero, by code.
    pub(crate) counters: Vec<(String, u64)>,
}

/// How fast things go; other values are for tests.
#[derive(Clone, Copy, Debug)]
struct Pace {
    connect: Duration,
    request: Duration,
    /// First pause after a failure; each next one is twice as long.
    first: Duration,
    /// Longest pause, also where the collector asks for more.
    longest: Duration,
    heartbeat: Duration,
    /// How often it is asked for answers, while some are awaited.
    answers: Duration,
}

impl Pace {
    fn new(collector: &config::Collector) -> Pace {
        Pace {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(60),
            first: Duration::from_millis(500),
            longest: Duration::from_secs(60),
            heartbeat: Duration::from_secs(collector.heartbeat_seconds.max(1)),
            answers: Duration::from_secs(3),
        }
    }
}

/// The collector, and what the agent has of it.
pub(crate) struct Setup {
    pub(crate) collector: config::Collector,
    /// The file of the agent's key.
    pub(crate) identity: PathBuf,
    /// Takes the collector's policy; none: it is not asked for one.
    pub(crate) take: Option<Take>,
    /// What the collector may know of masters; none where IT has switched that off.
    pub(crate) masters: Option<Handing>,
    /// What a second person is to be asked; none where the answer could be anybody's.
    pub(crate) asking: Option<Asking>,
}

/// Uploads until `stop` turns true, then tries once more to deliver what is left.
pub(crate) async fn run(
    spool: Spool,
    setup: Setup,
    heartbeat: impl Fn() -> Heartbeat + Send + 'static,
    contact: Arc<Contact>,
    stop: watch::Receiver<bool>,
) {
    run_at(Pace::new(&setup.collector), spool, setup, heartbeat, contact, stop).await;
}

async fn run_at(
    pace: Pace,
    spool: Spool,
    mut setup: Setup,
    heartbeat: impl Fn() -> Heartbeat + Send + 'static,
    contact: Arc<Contact>,
    mut stop: watch::Receiver<bool>,
) {
    let (saying, said) = watch::channel(None);
    // Tasks of their own: no record and no heartbeat waits for masters or answers.
    let mut handing = JoinSet::new();
    if let Some(asking) = setup.asking.take() {
        handing.spawn(asking.keep_going(said.clone(), pace.answers));
    }
    if let Some(masters) = setup.masters.take() {
        let spool = spool.clone();
        handing.spawn(async move { masters.keep_going(said, &spool).await });
    }
    let mut uploader = Uploader {
        pace,
        spool,
        setup,
        heartbeat,
        contact,
        client: None,
        anew: false,
        at_most: MAX_RECORDS,
        policy_tag: None,
        saying,
        next_heartbeat: Instant::now(),
        outage: None,
    };
    tokio::select! {
        // Whoever started this has gone: the same as being told to stop.
        _ = stop.wait_for(|stop| *stop) => {}
        () = uploader.keep_going() => {}
    }
    handing.abort_all();
    if uploader.outage.is_none() {
        // What does not arrive now is sent after the next start.
        let _ = tokio::time::timeout(LAST, uploader.deliver_all()).await;
    }
}

/// A time in which the collector does not take what it is sent.
struct Outage {
    since: Instant,
    pause: Duration,
    /// What was recorded of it: away, or refused with this status.
    told: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Away,
    Refused(StatusCode),
    Setup,
    Spool,
}

/// Why a step did not succeed.
enum Stuck {
    Collector(Trouble),
    Setup(SetupError),
    Spool(SpoolError),
}

impl From<SetupError> for Stuck {
    fn from(error: SetupError) -> Stuck {
        Stuck::Setup(error)
    }
}

impl From<Trouble> for Stuck {
    fn from(trouble: Trouble) -> Stuck {
        Stuck::Collector(trouble)
    }
}

struct Uploader<H> {
    pace: Pace,
    spool: Spool,
    setup: Setup,
    heartbeat: H,
    contact: Arc<Contact>,
    client: Option<Client>,
    /// The collector did not know the certificate: try the token once before it is shown again.
    anew: bool,
    /// Records of the next request; less after the collector found one too large.
    at_most: usize,
    /// Entity tag of the policy that the collector gave last.
    policy_tag: Option<String>,
    /// What each heartbeat brings for masters.
    saying: watch::Sender<Option<Said>>,
    next_heartbeat: Instant,
    outage: Option<Outage>,
}

impl<H: Fn() -> Heartbeat> Uploader<H> {
    async fn keep_going(&mut self) {
        loop {
            match self.step().await {
                Ok(is_more) => {
                    self.went_well();
                    if !is_more {
                        let _ = tokio::time::timeout_at(self.next_heartbeat.into(), self.spool.wait_for_more()).await;
                    }
                }
                Err(stuck) => {
                    let pause = self.went_wrong(stuck);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    async fn deliver_all(&mut self) {
        while let Ok(true) = self.step().await {}
    }

    /// Sends a heartbeat if one is due, and one batch. Whether there was something in it.
    async fn step(&mut self) -> Result<bool, Stuck> {
        if self.client.as_ref().is_none_or(Client::is_due) {
            let agent = self.spool.host().agent.clone();
            let anew = std::mem::take(&mut self.anew);
            self.client =
                Some(Client::connect(&self.setup.collector, &self.pace, &agent, &self.setup.identity, anew).await?);
        }
        if Instant::now() >= self.next_heartbeat {
            self.beat().await?;
            self.next_heartbeat = Instant::now() + self.pace.heartbeat;
            self.ask_for_policy().await?;
        }
        let at_most = self.at_most;
        let packed = self.in_spool(move |spool| Ok(pack(spool.batch(at_most)?))).await?;
        if packed.records.is_empty() && packed.evidence.is_empty() {
            return Ok(false);
        }
        self.send_evidence(packed.evidence).await?;
        if !packed.records.is_empty() {
            self.send_records(&packed.records, packed.body).await?;
        }
        Ok(true)
    }

    async fn beat(&mut self) -> Result<(), Stuck> {
        let handover = self.in_spool(Spool::handover).await?;
        let host = self.spool.host();
        let Heartbeat { guard, mode, policy, policy_serial, policy_source, masters, counters } = (self.heartbeat)();
        let counters: serde_json::Map<_, _> = counters.into_iter().map(|(code, count)| (code, count.into())).collect();
        let heartbeat = serde_json::json!({
            "agent": host.agent,
            "host": host.name,
            "agent_version": host.agent_version,
            "guard": guard,
            "mode": mode,
            "policy": policy,
            "policy_serial": policy_serial,
            "policy_source": policy_source,
            "index": {"version": Index::VERSION, "masters": masters},
            "takes_policies": self.setup.take.is_some(),
            "spool_depth": self.spool.depth(),
            "last_sequence": self.spool.last_sequence(),
            "time": Timestamp::now().as_millisecond(),
            "heartbeat_seconds": self.pace.heartbeat.as_secs(),
            "counters": counters,
            "seal": handover.as_ref().map(|first| serde_json::json!({"epoch": first.epoch, "key": first.key})),
        });
        let Some(client) = &self.client else { return Ok(()) };
        let epoch = client.heartbeat(&heartbeat).await?;
        self.saying.send_replace(Some(Said { client: client.clone(), epoch }));
        if handover.is_some() {
            self.in_spool(Spool::handed_over).await?;
        }
        Ok(())
    }

    /// Pictures go first, so that no record points at one that is not there.
    async fn send_evidence(&mut self, evidence: Vec<(String, Vec<u8>)>) -> Result<(), Stuck> {
        let Some(client) = &self.client else { return Ok(()) };
        let mut sent = Vec::new();
        let mut trouble = None;
        for (digest, jpeg) in evidence {
            match client.evidence(&digest, jpeg).await {
                Ok(()) => sent.push(digest),
                Err(refused @ (Trouble::TooLarge | Trouble::Refused { .. })) if is_about_the_picture(&refused) => {
                    let what = format_args!("the collector does not take a picture: {refused:?}");
                    self.spool.push(Failure::RecordRejected.notice(Some(digest.as_bytes()), what));
                    sent.push(digest);
                }
                Err(other) => {
                    trouble = Some(other);
                    break;
                }
            }
        }
        if !sent.is_empty() {
            self.in_spool(move |spool| spool.evidence_sent(&sent)).await?;
        }
        trouble.map_or(Ok(()), |trouble| Err(trouble.into()))
    }

    async fn send_records(&mut self, records: &[(u64, String)], body: Vec<u8>) -> Result<(), Stuck> {
        let Some(client) = &self.client else { return Ok(()) };
        let bytes = body.len();
        let answer = match client.records(body).await {
            Err(Trouble::TooLarge) if records.len() > 1 => {
                self.at_most = records.len() / 2;
                return Ok(());
            }
            Err(Trouble::TooLarge) => {
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                let why = format!(
                    "one record of {bytes} bytes is too large for it, or for a proxy before it; expected 1 MiB"
                );
                return Err(Trouble::Refused { status, why }.into());
            }
            other => other?,
        };
        let up_to = settled(records, &answer).ok_or_else(|| {
            let why = format!("it says that it has records up to {}, which it was not sent", answer.committed);
            Trouble::Away { why, after: None }
        })?;
        self.in_spool(move |spool| spool.acked(up_to)).await?;
        self.at_most = (self.at_most * 2).min(MAX_RECORDS);
        self.tell_rejected(records, &answer);
        Ok(())
    }

    fn tell_rejected(&self, records: &[(u64, String)], answer: &Committed) {
        let code = Failure::RecordRejected.row().code;
        for (nth, rejected) in answer.rejected.iter().enumerate() {
            let sent = rejected.line.checked_sub(1).and_then(|index| records.get(index));
            // Telling of a rejected telling would never end.
            let is_telling = sent.is_none_or(|(_, line)| line.contains(&format!("\"code\":\"{code}\"")));
            if is_telling || nth >= MAX_TOLD {
                fail::count(Failure::RecordRejected, 1);
                continue;
            }
            let sequence = sent.map_or(0, |(sequence, _)| *sequence);
            let reason: String = rejected.reason.chars().take(500).collect();
            let what = format_args!("the collector laid record {sequence} aside: {reason}. Update agent and collector");
            self.spool.push(Failure::RecordRejected.notice(None, what));
        }
    }

    /// Does something with the spool where it may wait for the disk.
    async fn in_spool<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Spool) -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<T, Stuck> {
        let spool = self.spool.clone();
        let done = tokio::task::spawn_blocking(move || work(&spool)).await;
        let ended = |error: tokio::task::JoinError| SpoolError::Place {
            path: "the spool".into(),
            source: std::io::Error::other(error),
        };
        done.map_err(|error| Stuck::Spool(ended(error)))?.map_err(Stuck::Spool)
    }

    fn went_well(&mut self) {
        let mut standing = self.contact.standing();
        (standing.reached, standing.trouble) = (Some(Timestamp::now()), None);
        drop(standing);
        let Some(outage) = self.outage.take() else { return };
        let what = format!(
            "the collector {} takes records again, after {:.1} seconds; {} wait",
            self.setup.collector.url,
            outage.since.elapsed().as_secs_f64(),
            self.spool.depth()
        );
        let failure = if matches!(outage.told, Kind::Refused(_) | Kind::Setup) {
            Failure::CollectorRefused
        } else {
            Failure::CollectorAway
        };
        // The failure was counted when it began.
        self.spool.push(vitrine_policy::record::Event::Notice(told(failure, &what, 1)));
    }

    /// Records it, once for each kind within an outage. How long to wait.
    fn went_wrong(&mut self, stuck: Stuck) -> Duration {
        let url = &self.setup.collector.url;
        let (kind, failure, why, after) = match stuck {
            Stuck::Collector(Trouble::Away { why, after }) => (Kind::Away, Failure::CollectorAway, why, after),
            Stuck::Collector(Trouble::Slow { why }) => (Kind::Away, Failure::CollectorAway, why, None),
            Stuck::Collector(Trouble::TooLarge) => {
                let why = "it answered 413 to a short request".to_owned();
                (Kind::Away, Failure::CollectorAway, why, None)
            }
            Stuck::Collector(Trouble::Refused { status, why }) => {
                let why = format!("{why}. {}", what_to_do(status));
                (Kind::Refused(status), Failure::CollectorRefused, why, None)
            }
            Stuck::Setup(error) => (Kind::Setup, Failure::CollectorRefused, error.to_string(), None),
            Stuck::Spool(error) => (Kind::Spool, Failure::SpoolFailed, error.to_string(), None),
        };
        // The token and the certificates may be mended while the agent runs.
        if matches!(kind, Kind::Refused(_) | Kind::Setup) {
            let refused = matches!(kind, Kind::Refused(StatusCode::UNAUTHORIZED));
            self.anew = refused && self.client.as_ref().is_some_and(Client::is_certified);
            self.client = None;
        }
        let told = self.outage.as_ref().map(|outage| outage.told);
        if told != Some(kind) {
            tracing::warn!("collector {url}: {why}");
            let what = format_args!("the collector {url} does not take records: {why}");
            self.spool.push(failure.notice(Some(url.as_bytes()), what));
        }
        self.contact.standing().trouble = Some(why);
        let pace = self.pace;
        let outage = self.outage.get_or_insert(Outage { since: Instant::now(), pause: pace.first, told: kind });
        outage.told = kind;
        let pause = outage.pause;
        outage.pause = (pause * 2).min(pace.longest);
        // Between half of it and all, so that a hundred agents do not come back at the same moment.
        let jitter = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
        let pause = pause.mul_f64(0.5 + jitter / 2.0);
        // So it is where the collector names a time: it names the same to all.
        after.map_or(pause, |after| after.min(pace.longest).mul_f64(1.0 + jitter / 2.0).max(pause))
    }
}

/// A batch that is ready to be sent.
struct Packed {
    records: Vec<(u64, String)>,
    body: Vec<u8>,
    evidence: Vec<(String, Vec<u8>)>,
}

/// Compresses records, at most as many as fit into one request. The others come again.
fn pack(batch: Batch) -> Packed {
    let Batch { mut records, evidence } = batch;
    loop {
        let mut lines = Vec::new();
        for (_, line) in &records {
            lines.extend_from_slice(line.as_bytes());
            lines.push(b'\n');
        }
        // Compressing into memory cannot fail; should it, the collector refuses the empty body.
        let body = zstd::bulk::compress(&lines, 3).unwrap_or_default();
        if body.len() <= MAX_WIRE || records.len() <= 1 {
            return Packed { records, body, evidence };
        }
        records.truncate(records.len() / 2);
    }
}

/// Up to which sequence number the collector is done with a batch; none where its answer cannot be.
fn settled(records: &[(u64, String)], answer: &Committed) -> Option<u64> {
    let (first, last) = (records.first()?.0, records.last()?.0);
    let is_rejected = |index: usize| answer.rejected.iter().any(|rejected| rejected.line == index + 1);
    let mut open = records.iter().enumerate().filter(|(_, (sequence, _))| *sequence > answer.committed);
    if answer.committed > last {
        None
    } else if open.all(|(index, _)| is_rejected(index)) {
        Some(last)
    } else {
        Some(answer.committed).filter(|committed| *committed >= first)
    }
}

/// Whether another picture, or the records, may fare better.
fn is_about_the_picture(trouble: &Trouble) -> bool {
    let about = [StatusCode::BAD_REQUEST, StatusCode::UNSUPPORTED_MEDIA_TYPE, StatusCode::UNPROCESSABLE_ENTITY];
    match trouble {
        Trouble::TooLarge => true,
        Trouble::Refused { status, .. } => about.contains(status),
        Trouble::Away { .. } | Trouble::Slow { .. } => false,
    }
}

fn what_to_do(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => {
            "The token is not known there: make one with `vitrine-collector token create` and put it into the token file"
        }
        StatusCode::FORBIDDEN => {
            "The token belongs to another agent or was revoked: give each workstation a token of its own"
        }
        StatusCode::NOT_FOUND => "There is no collector at that address: check collector.url in agent.toml",
        status if status.is_redirection() => "Redirects are not followed: set collector.url to the final address",
        _ => "Check collector.url in agent.toml, and that agent and collector are of the same version",
    }
}

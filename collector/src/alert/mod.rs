//! Alerts: what security staff look at. Notable records of one workstation, user and program within a
//! quarter of an hour are one alert, however many files were tried.

mod approval;
pub(crate) mod list;
pub(crate) mod silence;
pub mod text;
mod verdict;

use serde::{Deserialize, Serialize};
use vitrine_policy::decision;
use vitrine_policy::facts::Measure;
use vitrine_policy::record::{Disposition, Event, Notice, Record, Severity, Transfer};

use text::line;
pub use verdict::Verdict;

/// An alert spans at most this long, in milliseconds by the records' own time.
pub const WINDOW: i64 = 15 * 60 * 1000;
/// Masters and destinations that an alert names; the rest are in its records.
const NAMED: usize = 32;
/// Longest name, in characters.
const NAME: usize = 300;
/// Longest explanation, in characters.
const EXPLANATION: usize = 4_000;

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Labelled data was moved or opened, or somebody tried.
    Transfer,
    /// An agent tells of trouble.
    Notice,
    /// Records of an agent are missing.
    Lost,
    /// An agent that was not switched off is not heard of.
    Silent,
    /// Records were changed or removed on the workstation before they were sent.
    Tampering,
    /// A policy was halted on its way to the workstations.
    Rollout,
    /// Somebody waits for a second person's approval.
    Approval,
}

/// How far the staff are with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nobody has answered for it.
    Open,
    /// Somebody has.
    Acknowledged,
    /// Somebody has found out what it was.
    Closed,
    /// It went away by itself: missing records arrived late, a silent agent was heard again, or an approval was answered.
    Resolved,
}

impl State {
    /// Its name in the database and the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Acknowledged => "acknowledged",
            State::Closed => "closed",
            State::Resolved => "resolved",
        }
    }
}

/// One alert. All text in it is safe to show on a line: see [`text::line`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Number; rises with every new alert.
    pub id: i64,
    /// What it is about.
    pub kind: Kind,
    /// How far the staff are with it.
    pub state: State,
    /// How bad the worst of it is.
    pub severity: Severity,
    /// One line for a list or a subject.
    pub title: String,
    /// Name of the workstation.
    pub host: String,
    /// Its agent's id.
    pub agent: String,
    /// Login name, where it is known.
    pub user: Option<String>,
    /// Program, where it is known.
    pub program: Option<String>,
    /// Code of a notice.
    pub code: Option<String>,
    /// Earliest record, in milliseconds since 1970 by the workstation's clock.
    pub first_seen: i64,
    /// Latest record.
    pub last_seen: i64,
    /// When the collector last heard of it, by its own clock: the order of lists.
    pub changed: i64,
    /// Records in it.
    pub records: u64,
    /// Attempts that these stand for; of missing records: how many.
    pub attempts: u64,
    /// Paths of the masters, at most 32.
    pub masters: Vec<String>,
    /// Destinations, `name (target)`, at most 32.
    pub destinations: Vec<String>,
    /// Names of the destinations, at most 32.
    #[serde(default)]
    pub destination_names: Vec<String>,
    /// Collections of the masters, at most 32.
    #[serde(default)]
    pub collections: Vec<String>,
    /// Highest tier tried.
    pub tier: Option<String>,
    /// What was measured of the file of that tier.
    pub measure: Option<Measure>,
    /// How the worst attempt ended.
    pub disposition: Option<Disposition>,
    /// The decision in sentences, for the worst attempt.
    pub explanation: String,
    /// Thumbnails of the worst attempt.
    pub evidence: Evidence,
    /// Number of the record that the last fields tell of.
    #[serde(default)]
    pub lead: i64,
    /// Who answered for it.
    pub acknowledged: Option<Acknowledgement>,
    /// Of tampering: numbers of the records that it lies between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between: Option<(u64, u64)>,
    /// Who closed it, and as what.
    #[serde(default)]
    pub closed: Option<Closure>,
    /// Number of the silence by which no route is told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced: Option<i64>,
}

/// BLAKE3 of thumbnails that the agent sends as evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The master.
    pub master: Option<String>,
    /// The file that was tried to be moved.
    pub copy: Option<String>,
}

/// Who answered for an alert, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// The console's user.
    pub by: String,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// What the user wrote.
    pub note: String,
}

/// Who closed an alert, and as what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closure {
    /// The console's user.
    pub by: String,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// What it was.
    pub verdict: Verdict,
    /// What the user wrote.
    pub note: String,
}

/// What must be the same for two records to be one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) agent: String,
    pub(crate) user: String,
    pub(crate) program: String,
    pub(crate) code: String,
}

/// Code of the alert about missing records.
pub(crate) const LOST: &str = "records-lost";

/// Code of the alert about records that are not as they were sealed.
pub(crate) const TAMPERED: &str = "records-tampered";

/// Code of the alert about what was allowed because its user gave a reason: apart from what was refused to him.
pub(crate) const JUSTIFIED: &str = "justified";

/// Code of the alert about an agent that is not heard of.
pub(crate) const SILENT: &str = "agent-silent";

/// Code of the alert about a policy that was halted on its way.
pub(crate) const HALTED: &str = "rollout-halted";

/// Code of the alert about somebody who waits for an approval.
pub(crate) const APPROVAL: &str = "approval-wanted";

/// What only the collector finds: a notice of an agent that says so must not join what was found.
const OWN: [&str; 6] = [LOST, TAMPERED, JUSTIFIED, SILENT, HALTED, APPROVAL];

/// The code of a notice, marked as the agent's word where it is one of the collector's own.
fn code(notice: &Notice) -> String {
    let code = line(&notice.code, NAME);
    if OWN.contains(&code.as_str()) { format!("agent: {code}") } else { code }
}

/// The group that a record belongs to, if it is one to raise an alert.
pub(crate) fn group(record: &Record) -> Option<Group> {
    let agent = record.host.agent.clone();
    match &record.event {
        Event::Transfer(transfer) if record.event.severity() >= Severity::Medium => Some(Group {
            agent,
            user: user(transfer).unwrap_or_default(),
            program: program(transfer).unwrap_or_default(),
            code: if is_justified(transfer) { JUSTIFIED.into() } else { String::new() },
        }),
        Event::Notice(notice) if notice.severity >= Severity::High => {
            Some(Group { agent, user: String::new(), program: String::new(), code: code(notice) })
        }
        Event::Transfer(_) | Event::Notice(_) => None,
    }
}

fn is_justified(transfer: &Transfer) -> bool {
    transfer.verdict == decision::Verdict::AllowJustified
}

fn user(transfer: &Transfer) -> Option<String> {
    transfer.user.as_ref().map(|user| line(&user.name, NAME))
}

fn program(transfer: &Transfer) -> Option<String> {
    transfer.processes.first().map(|process| line(&process.name, NAME))
}

impl Alert {
    fn new(host: &str, agent: &str, time: i64, received: i64) -> Alert {
        Alert {
            id: 0,
            kind: Kind::Notice,
            state: State::Open,
            severity: Severity::Informational,
            title: String::new(),
            host: line(host, NAME),
            agent: agent.into(),
            user: None,
            program: None,
            code: None,
            first_seen: time,
            last_seen: time,
            changed: received,
            records: 0,
            attempts: 0,
            masters: Vec::new(),
            destinations: Vec::new(),
            destination_names: Vec::new(),
            collections: Vec::new(),
            tier: None,
            measure: None,
            disposition: None,
            explanation: String::new(),
            evidence: Evidence::default(),
            lead: 0,
            acknowledged: None,
            between: None,
            closed: None,
            silenced: None,
        }
    }

    /// An alert without any record yet.
    pub(crate) fn of(record: &Record, received: i64) -> Alert {
        Alert::new(&record.host.name, &record.host.agent, record.time, received)
    }

    /// An alert about records that never came.
    pub(crate) fn lost(agent: &str, host: &str, received: i64) -> Alert {
        let mut alert = Alert::new(host, agent, received, received);
        alert.kind = Kind::Lost;
        alert.severity = Severity::High;
        alert.code = Some(LOST.into());
        alert
    }

    /// Sets how many records are missing; none ends an open alert.
    pub(crate) fn missing(&mut self, missing: u64, received: i64) {
        self.last_seen = received;
        self.changed = received;
        if missing == 0 {
            self.state = State::Resolved;
            self.explanation = format!("All {} records that were missing have arrived.", self.attempts);
            return;
        }
        self.attempts = missing;
        let records = if missing == 1 { "record" } else { "records" };
        self.title = format!("{missing} {records} lost on {}", self.host);
        self.explanation = format!(
            "The agent numbers its records without gaps, and {missing} of them never came. A full spool, a \
             restored disk or somebody who wants them unseen can be the reason; look at the workstation. \
             If they arrive late, this alert ends by itself."
        );
    }

    /// An alert about records that were tampered with.
    pub(crate) fn tampering(agent: &str, host: &str, received: i64) -> Alert {
        let mut alert = Alert::new(host, agent, received, received);
        alert.kind = Kind::Tampering;
        alert.severity = Severity::Critical;
        alert.code = Some(TAMPERED.into());
        alert
    }

    /// Says between which numbers; again, where more is found.
    pub(crate) fn tampered(&mut self, after: u64, up_to: u64, received: i64) {
        self.last_seen = received;
        self.changed = received;
        self.attempts += 1;
        let from = self.between.map_or(after, |(from, _)| from.min(after));
        let to = self.between.map_or(up_to, |(_, to)| to.max(up_to));
        self.between = Some((from, to));
        self.title = format!("records of {} were changed or removed between {from} and {to}", self.host);
        self.explanation = format!(
            "The agent seals each record as it writes it down, and between record {from} and record {to} seals are \
             wrong or missing, or a number came twice: somebody edited the spool on the workstation, which takes \
             root, put an earlier one back or copied it to another workstation, or its disk is damaged. \
             Secure the workstation, and find out who was root there."
        );
    }

    /// An alert about an agent of which nothing was heard since `last`, though it sends a word every `interval` seconds.
    pub(crate) fn silent(agent: &str, host: &str, interval: u64, last: i64, received: i64) -> Alert {
        let mut alert = Alert::new(host, agent, last, received);
        alert.kind = Kind::Silent;
        alert.severity = Severity::High;
        alert.code = Some(SILENT.into());
        alert.attempts = 1;
        alert.last_seen = received;
        alert.title = format!("{} is silent", alert.host);
        alert.explanation = format!(
            "The agent sends a word every {interval} s, and did not say that the workstation was being switched off. \
             It was ended, cut off from the network or put to sleep with the workstation, or somebody wants it \
             unheard: look at the workstation. A guard in the kernel goes on without the agent, the others do not. \
             When the agent is heard again, this alert ends by itself, and its records of that time arrive."
        );
        alert
    }

    /// What a route is tried with: nothing happened.
    pub(crate) fn test(route: &str, by: &str, received: i64) -> Alert {
        let mut alert = Alert::new("vitrine-collector", "", received, received);
        alert.title = format!("test of the route {route}");
        alert.explanation = format!("Nothing happened: {} tries whether this route arrives.", line(by, NAME));
        alert
    }

    /// The silent agent has been heard again.
    pub(crate) fn heard(&mut self, received: i64) {
        self.last_seen = received;
        self.changed = received;
        if self.state == State::Open {
            self.state = State::Resolved;
        }
        let seconds = received.saturating_sub(self.first_seen) / 1000;
        self.explanation = format!("The agent was heard again after {seconds} s of silence.");
    }

    /// An alert about a rollout of a version of the policy that was halted, for this `reason`.
    pub(crate) fn halted(rollout: i64, version: i64, group: &str, reason: &str, received: i64) -> Alert {
        let mut alert = Alert::new(group, "", received, received);
        alert.kind = Kind::Rollout;
        alert.severity = Severity::High;
        alert.code = Some(HALTED.into());
        alert.attempts = 1;
        alert.title = line(&format!("rollout {rollout} of policy version {version} to {group} was halted"), NAME);
        alert.explanation = line(
            &format!(
                "The rollout was {reason}. Workstations that have the version keep it, and no other one gets it. Look \
                 at what was refused there: resume the rollout if that was meant, or roll out another version."
            ),
            EXPLANATION,
        );
        alert
    }

    /// Whether a record of the same group at `time` still belongs here.
    pub(crate) fn spans(&self, time: i64) -> bool {
        self.last_seen.max(time).saturating_sub(self.first_seen.min(time)) <= WINDOW
    }

    /// Adds a record of the same group.
    pub(crate) fn add(&mut self, record: &Record, number: i64, received: i64) {
        let leads = self.records == 0 || self.leads(record);
        self.first_seen = self.first_seen.min(record.time);
        self.last_seen = self.last_seen.max(record.time);
        self.changed = received;
        self.records += 1;
        if leads {
            self.severity = record.event.severity();
            self.lead = number;
        }
        match &record.event {
            Event::Transfer(transfer) => self.add_transfer(transfer, leads),
            Event::Notice(notice) => self.add_notice(notice, leads),
        }
    }

    /// The worst record tells the story; among equals one that has both pictures, then the latest.
    fn leads(&self, record: &Record) -> bool {
        let has_both = |evidence: &Evidence| evidence.master.is_some() && evidence.copy.is_some();
        let theirs = match &record.event {
            Event::Transfer(transfer) => has_both(&evidence(transfer)),
            Event::Notice(_) => false,
        };
        (record.event.severity(), theirs) >= (self.severity, has_both(&self.evidence))
    }

    fn add_transfer(&mut self, transfer: &Transfer, leads: bool) {
        self.kind = Kind::Transfer;
        self.attempts = self.attempts.saturating_add(u64::from(transfer.attempts.max(1)));
        for master in &transfer.masters {
            name(&mut self.masters, line(&master.path, NAME));
            name(&mut self.collections, line(&master.collection, NAME));
        }
        if let Some(to) = &transfer.destination {
            name(&mut self.destinations, line(&format!("{} ({})", to.name, to.target), NAME));
            name(&mut self.destination_names, line(&to.name, NAME));
        }
        let tier = line(&transfer.tier, NAME);
        if self.tier.as_deref().is_none_or(|old| rank(&tier, transfer.measure) >= rank(old, self.measure)) {
            self.tier = Some(tier);
            self.measure = transfer.measure.or(self.measure);
        }
        if leads {
            self.user = user(transfer);
            self.program = program(transfer);
            self.title = line(&transfer.title(), NAME);
            self.code = is_justified(transfer).then(|| JUSTIFIED.into());
            self.disposition = Some(transfer.disposition);
            self.explanation = line(&transfer.explanation, EXPLANATION);
            self.evidence = evidence(transfer);
        }
    }

    fn add_notice(&mut self, notice: &Notice, leads: bool) {
        self.attempts = self.attempts.saturating_add(notice.count.max(1));
        if leads {
            let code = code(notice);
            self.title = line(&format!("{code} on {}", self.host), NAME);
            self.code = Some(code);
            self.explanation = match &notice.subject {
                Some(subject) => line(&format!("{} ({subject})", notice.message), EXPLANATION),
                None => line(&notice.message, EXPLANATION),
            };
        }
    }

    /// What is missing or was resolved is not the business of a window.
    pub(crate) fn group(&self) -> Group {
        Group {
            agent: self.agent.clone(),
            user: self.user.clone().unwrap_or_default(),
            program: self.program.clone().unwrap_or_default(),
            code: self.code.clone().unwrap_or_default(),
        }
    }
}

fn evidence(transfer: &Transfer) -> Evidence {
    let digest = |digest: &Option<String>| digest.clone().filter(|digest| text::is_digest(digest));
    Evidence {
        master: transfer.masters.iter().find_map(|master| digest(&master.thumbnail)),
        copy: digest(&transfer.file.thumbnail),
    }
}

fn name(names: &mut Vec<String>, new: String) {
    if names.len() < NAMED && !names.contains(&new) {
        names.push(new);
    }
}

/// Tiers of different policies have no common order. `master` is above all by definition; of the others
/// the one with more pixels counts as higher.
fn rank(tier: &str, measure: Option<Measure>) -> (bool, u64) {
    let pixels = measure.map_or(0.0, |measure| measure.megapixels * 1e6);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates, which is what is wanted
    (tier == "master", pixels as u64)
}

//! What opens a window, and all that does not.

use std::sync::Arc;

use tokio::sync::mpsc::unbounded_channel;
use vitrine_fingerprint::{Entry, Index, Limits};
use vitrine_policy::Policy;
use vitrine_policy::approval::{Answer, Asker, Master, State};
use vitrine_policy::facts::{Destination, Tier};
use vitrine_policy::record::{Event, Host};

use super::answer::{Heard, heard};
use super::*;
use crate::config::{Config, SpoolLimits};
use crate::identify::destination::Destinations;
use crate::identify::label::Known;
use crate::identify::program::Programs;
use crate::spool::Spool;
use crate::workstation::{Snapshot, Workstation};

const AGENT: &str = "0198c0de-0000-7000-8000-000000000001";
const POLICY: &str = "version = 1\nmode = \"enforce\"\n[[collection]]\nname = \"masters\"\npaths = [\"/m\"]\n\
    [[destination]]\nname = \"courier\"\npaths = [\"/out\"]\nceiling = \"master\"\n\
    justify = { minutes = 10, approval = true }\n[elsewhere]\nceiling = \"none\"\n";

fn parsed(text: &str) -> Arc<Policy> {
    Arc::new(Policy::parse("policy.toml", text).unwrap())
}

fn snapshot(text: &str) -> Snapshot {
    let policy = parsed(text);
    let destinations = Arc::new(Destinations::read(policy.clone()).unwrap());
    let (programs, _) = Programs::pin(&policy, &Programs::default());
    Snapshot { policy, digest: String::new(), destinations, programs: Arc::new(programs) }
}

struct Lab {
    workstation: Arc<Workstation>,
    state: tempfile::TempDir,
}

impl Lab {
    fn new() -> Lab {
        let state = tempfile::tempdir().unwrap();
        let spool = Spool::open(
            state.path(),
            Host { agent: AGENT.into(), name: "w".into(), agent_version: "0".into() },
            SpoolLimits::default(),
        );
        let config = Config { state: state.path().into(), ..Config::default() };
        let index = Arc::new(Index::in_memory().unwrap());
        let workstation = Workstation::new(
            config,
            index,
            spool.unwrap(),
            snapshot(POLICY),
            unbounded_channel().0,
            unbounded_channel().0,
        );
        Lab { workstation, state }
    }

    fn approvals(&self) -> &Approvals {
        &self.workstation.approvals
    }

    fn asks(&self, nth: u128) -> Kept {
        let kept = new_request(nth);
        self.approvals().ask(kept.clone()).unwrap();
        kept
    }

    fn hears(&self, kept: &Kept, answer: Answer) -> Standing {
        heard(&self.workstation, &kept.request.id, &Heard::Answer(answer));
        self.approvals().of(kept.uid, &kept.attempt).unwrap().state
    }

    /// Whether this user may take the master there.
    fn lets(&self, uid: u32) -> bool {
        let (policy, known) = (parsed(POLICY), Known::master(Path::new("/m/a.tif"), Tier(0)));
        let to = Destination::Path { path: "/out/a.tif".into(), mount: None };
        self.workstation.windows.of(&policy, Some(uid), &known, &to).is_some()
    }

    fn told(&self) -> Vec<(String, String)> {
        assert!(self.workstation.spool.flush(Duration::from_secs(30)));
        let entries = crate::spool::read_newest(self.state.path(), 1000).unwrap();
        let notice = |event: &Event| match event {
            Event::Notice(notice) => Some((notice.code.clone(), notice.message.clone())),
            Event::Transfer(_) => None,
        };
        entries.iter().filter_map(|entry| notice(&entry.record.event)).collect()
    }
}

/// A request of user 7.
pub(crate) fn new_request(nth: u128) -> Kept {
    let request = Request {
        agent: AGENT.into(),
        id: format!("{nth:032x}"),
        user: Some(Asker { uid: 7, name: "wen".into() }),
        file: "/m/a.tif".into(),
        digest: None,
        thumbnail: None,
        masters: vec![Master { path: "/m/a.tif".into(), collection: "masters".into(), content: None, thumbnail: None }],
        tier: "master".into(),
        destination: "courier".into(),
        target: "/out/a.tif".into(),
        reason: "loan 14 to Leiden".into(),
        window: 600_000,
        asked: wall(),
        lasts: 3600,
    };
    request.check().unwrap();
    let until = now() + Duration::from_secs(3600);
    let attempt = format!("{nth:08x}");
    let (state, note) = (Standing::Asking, String::new());
    Kept { request, attempt, uid: Some(7), state, settled: None, by: None, note, until, is_open: false }
}

fn answer(kept: &Kept, state: State) -> Answer {
    Answer {
        id: kept.request.id.clone(),
        fingerprint: kept.request.fingerprint().unwrap(),
        state,
        by: (state != State::Pending).then(|| "ines".to_owned()),
        at: None,
        note: "by courier\u{1b}[2J only".to_owned(),
    }
}

#[test]
fn an_approval_opens_the_window_of_its_asker_once_and_for_its_minutes() {
    let lab = Lab::new();
    let kept = lab.asks(1);
    assert_eq!(lab.hears(&kept, answer(&kept, State::Pending)), Standing::Pending);
    assert!(!lab.lets(7));
    assert_eq!(lab.hears(&kept, answer(&kept, State::Approved)), Standing::Approved);
    assert!(lab.lets(7) && !lab.lets(8));
    let told = lab.approvals().of(Some(7), &kept.attempt).unwrap();
    assert_eq!((told.by.as_deref(), told.note.as_str()), (Some("ines"), "by courier\u{fffd}[2J only"));
    assert!(told.until.unwrap() - wall() > 590_000);
    assert_eq!(lab.approvals().of(Some(8), &kept.attempt), None, "nobody else's");
    let (code, message) = lab.told().pop().unwrap();
    assert!(
        code == "justified" && message.contains("ines approved") && message.contains("loan 14 to Leiden"),
        "{message}"
    );

    // The same answer again, and a refusal behind it, change nothing: also for the next run of the agent.
    let again = lab.workstation.windows.of(
        &parsed(POLICY),
        Some(7),
        &Known::master(Path::new("/m/a.tif"), Tier(0)),
        &Destination::Path { path: "/out/a.tif".into(), mount: None },
    );
    lab.hears(&kept, answer(&kept, State::Approved));
    assert_eq!(lab.hears(&kept, answer(&kept, State::Denied)), Standing::Approved);
    assert!(again.unwrap().until < now() + Duration::from_secs(600), "and do not make it longer");
    let (next, lost) = Approvals::open(lab.state.path());
    assert!(lost.is_none() && next.waiting().is_empty());
    let told = next.of(Some(7), &kept.attempt).unwrap();
    assert_eq!((told.state, told.until), (Standing::Approved, None), "its window went with the agent");
}

#[test]
fn what_was_not_asked_opens_nothing() {
    type Forgery = fn(&mut Answer, &Kept);
    let forgeries: [Forgery; 4] = [
        |forged, _| forged.fingerprint = "0".repeat(64),
        |forged, kept| {
            let other = Request { destination: "archive".into(), ..kept.request.clone() };
            forged.fingerprint = other.fingerprint().unwrap();
        },
        |forged, kept| {
            let other = Request { agent: "another".into(), ..kept.request.clone() };
            forged.fingerprint = other.fingerprint().unwrap();
        },
        |forged, _| forged.id = "f".repeat(32),
    ];
    for forge in forgeries {
        let lab = Lab::new();
        let kept = lab.asks(1);
        let mut forged = answer(&kept, State::Approved);
        forge(&mut forged, &kept);
        assert_eq!(lab.hears(&kept, forged), Standing::Failed);
        // It is not given a second try.
        assert_eq!(lab.hears(&kept, answer(&kept, State::Approved)), Standing::Failed);
        assert!(!lab.lets(7));
        assert_eq!(lab.told().pop().unwrap().0, "approval-failed");
    }
    let lab = Lab::new();
    let kept = lab.asks(1);
    let nobody = Answer { by: None, ..answer(&kept, State::Approved) };
    assert_eq!(lab.hears(&kept, nobody), Standing::Failed, "nobody approved it");
    let stranger = new_request(9);
    heard(&lab.workstation, &stranger.request.id, &Heard::Answer(answer(&stranger, State::Approved)));
    assert!(!lab.lets(7), "what was never asked");
}

#[test]
fn a_denial_and_what_is_late_open_nothing() {
    let lab = Lab::new();
    let denied = lab.asks(1);
    assert_eq!(lab.hears(&denied, answer(&denied, State::Denied)), Standing::Denied);
    assert_eq!(lab.hears(&denied, answer(&denied, State::Approved)), Standing::Denied);
    let by_collector = lab.asks(2);
    assert_eq!(lab.hears(&by_collector, answer(&by_collector, State::Expired)), Standing::Expired);
    // By the clock of the machine, and by the one that nobody can set.
    for (nth, shift, until) in [(3, 4000 * 1000, now() + Duration::from_secs(60)), (4, 0, Duration::ZERO)] {
        let mut late = new_request(nth);
        (late.request.asked, late.until) = (late.request.asked - shift, until);
        lab.approvals().ask(late.clone()).unwrap();
        assert_eq!(lab.hears(&late, answer(&late, State::Approved)), Standing::Expired, "{nth}");
    }
    let silent = Kept { until: Duration::ZERO, ..new_request(5) };
    lab.approvals().ask(silent.clone()).unwrap();
    heard(&lab.workstation, &silent.request.id, &Heard::Nothing);
    assert_eq!(lab.approvals().of(Some(7), &silent.attempt).unwrap().state, Standing::Expired);
    assert!(!lab.lets(7));
    let codes: Vec<String> = lab.told().into_iter().map(|(code, _)| code).collect();
    let count = |code: &str| codes.iter().filter(|one| *one == code).count();
    assert_eq!((count("approval-denied"), count("approval-expired"), count("justified")), (1, 4, 0), "{codes:?}");
}

#[test]
fn an_approval_of_another_picture_or_policy_opens_nothing() {
    let lab = Lab::new();
    let changed = lab.asks(1);
    let mut file = tempfile::tempfile().unwrap();
    io::Write::write_all(&mut file, b"another picture in its place").unwrap();
    let measurement = vitrine_fingerprint::measure(&file, &Limits::default(), &mut |_| {}).unwrap();
    lab.workstation.index.insert(&Entry::new("/m/a.tif", "masters", measurement)).unwrap();
    assert_eq!(lab.hears(&changed, answer(&changed, State::Approved)), Standing::Failed);
    let mut known = new_request(2);
    known.request.masters[0].content = ask::content(&lab.workstation, "/m/a.tif").unwrap();
    assert!(known.request.masters[0].content.is_some());
    lab.approvals().ask(known.clone()).unwrap();
    assert_eq!(lab.hears(&known, answer(&known, State::Approved)), Standing::Approved);
    assert!(lab.lets(7));

    let lab = Lab::new();
    let kept = lab.asks(1);
    lab.workstation.adopt(snapshot(&POLICY.replace("courier", "loans")));
    assert_eq!(lab.hears(&kept, answer(&kept, State::Approved)), Standing::Failed);
    assert!(!lab.lets(7));
}

#[test]
fn what_cannot_be_written_down_opens_nothing_until_it_can() {
    let lab = Lab::new();
    let kept = lab.asks(1);
    let away = lab.state.path().with_extension("away");
    std::fs::rename(lab.state.path(), &away).unwrap();
    assert_eq!(lab.hears(&kept, answer(&kept, State::Approved)), Standing::Asking);
    assert!(matches!(lab.approvals().ask(new_request(2)), Err(AskError::Kept(_))));
    assert!(!lab.lets(7));
    std::fs::rename(&away, lab.state.path()).unwrap();
    assert_eq!(lab.hears(&kept, answer(&kept, State::Approved)), Standing::Approved);
    assert!(lab.lets(7));
}

#[test]
fn what_waits_is_bounded_and_outlives_the_agent_and_damage_is_told() {
    let state = tempfile::tempdir().unwrap();
    let (approvals, lost) = Approvals::open(state.path());
    assert!(lost.is_none());
    for nth in 0..EACH as u128 {
        approvals.ask(new_request(nth)).unwrap();
    }
    assert!(matches!(approvals.ask(new_request(0)), Err(AskError::Waits)), "the same again");
    assert!(matches!(approvals.ask(new_request(99)), Err(AskError::Own)));
    for nth in EACH..ALL {
        let uid = Some(1000 + u32::try_from(nth).unwrap());
        approvals.ask(Kept { uid, ..new_request(nth as u128) }).unwrap();
    }
    assert!(matches!(approvals.ask(Kept { uid: None, ..new_request(99) }), Err(AskError::All)));
    approvals.is_there(&new_request(1).request.id, true).unwrap();

    let (next, lost) = Approvals::open(state.path());
    assert!(lost.is_none());
    let waiting = next.waiting();
    assert_eq!((waiting.len(), waiting[1].state), (ALL, Standing::Pending));
    assert!(waiting.iter().all(|one| !one.is_over() && one.left() > 3500));
    // Many that are over make room for those that wait, and not the other way round.
    next.settle(&new_request(0).request.id, Standing::Denied, Some("ines"), "").unwrap();
    for nth in 1000..1200 {
        let over = Kept { state: Standing::Denied, ..new_request(nth) };
        next.change(|all| all.push(over)).unwrap();
    }
    assert_eq!(next.kept().len(), ALL - 1 + OVER);

    // What is over takes no room, though nobody was there to notice it.
    let over = Kept { until: Duration::ZERO, ..new_request(1) };
    next.change(|all| *all = vec![over; ALL]).unwrap();
    assert_eq!(next.of(Some(7), &new_request(1).attempt).unwrap().state, Standing::Expired);
    next.ask(new_request(1)).unwrap();

    // A clock that was set back gives nobody more time.
    let mut ahead = new_request(7);
    ahead.request.asked += 24 * 3600 * 1000;
    std::fs::write(state.path().join(FILE), serde_json::to_vec(&[ahead]).unwrap()).unwrap();
    assert!(Approvals::open(state.path()).0.waiting()[0].is_over());
    for damage in ["", "[{}]", "{", "null", &"[".repeat(100_000)] {
        std::fs::write(state.path().join(FILE), damage).unwrap();
        let (begun_anew, lost) = Approvals::open(state.path());
        assert!(begun_anew.waiting().is_empty());
        assert!(lost.unwrap().contains("approvals.json"), "{damage:.10}");
        begun_anew.ask(new_request(1)).unwrap();
    }
}

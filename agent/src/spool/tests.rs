//! One test per invariant, and one per way in which the spool can be damaged.

mod damage;
mod sudden_death;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use vitrine_policy::decision::{Mode, Rule, Verdict};
use vitrine_policy::facts::Origin;
use vitrine_policy::record::*;

use super::queue::{CAPACITY, RESERVED_FROM};
use super::store::stamp;
use super::{MAX_EVIDENCE, Spool, SpoolError, read};
use crate::config::SpoolLimits;

/// Nothing here takes as long on any machine.
const LONG: Duration = Duration::from_secs(60);

pub(super) fn host() -> Host {
    Host { agent: uuid::Uuid::from_u128(7).to_string(), name: "scan-01".into(), agent_version: "0.1.0".into() }
}

pub(super) fn notice(code: &str, subject: Option<&str>) -> Event {
    Event::Notice(Notice {
        code: code.into(),
        class: NoticeClass::Lifecycle,
        severity: Severity::Informational,
        message: "a sentence".into(),
        subject: subject.map(Into::into),
        count: 1,
    })
}

pub(super) fn record(event: Event) -> Record {
    stamp(&host(), event)
}

/// A refused copy of a master: severity high.
pub(super) fn transfer() -> Transfer {
    let file = File { path: "/srv/scans/K2A_1.tif".into(), digest: None, bytes: Some(1), thumbnail: None };
    let master = Master {
        path: file.path.clone(),
        collection: "masters".into(),
        object: None,
        thumbnail: None,
        recognised: None,
        sent: None,
    };
    Transfer {
        operation: Operation::Write,
        verdict: Verdict::Block,
        disposition: Disposition::Blocked,
        rule: Rule::Ceiling { destination: "elsewhere".into() },
        explanation: "no".into(),
        mode: Mode::Enforce,
        policy: "0".repeat(64),
        guard: "gate".into(),
        processes: Vec::new(),
        user: None,
        file,
        masters: vec![master],
        tier: "master".into(),
        origin: Origin::Measured,
        measure: None,
        destination: None,
        attempts: 1,
        justification: None,
        severity: None,
    }
}

fn refused() -> Event {
    Event::Transfer(Box::new(transfer()))
}

fn open(state: &Path, limits: SpoolLimits) -> Spool {
    Spool::open(state, host(), limits).unwrap()
}

/// A spool in a directory of its own, with `events` on the disk.
fn world(events: impl IntoIterator<Item = Event>) -> (tempfile::TempDir, Spool) {
    let state = tempfile::tempdir().unwrap();
    let spool = open(state.path(), SpoolLimits::default());
    fill(&spool, events);
    (state, spool)
}

fn fill(spool: &Spool, events: impl IntoIterator<Item = Event>) {
    events.into_iter().for_each(|event| spool.push(event));
    assert!(spool.flush(LONG));
}

/// The next batch, as records.
fn batch(spool: &Spool, max: usize) -> Vec<Record> {
    let read = |(sequence, line): (u64, String)| {
        let record = Record::from_ocsf(&line).unwrap();
        assert_eq!(record.sequence, sequence);
        record
    };
    spool.batch(max).unwrap().records.into_iter().map(read).collect()
}

fn sequences(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.sequence).collect()
}

/// The notices with this code.
fn notices<'a>(records: &'a [Record], code: &str) -> Vec<&'a Notice> {
    let notice = |record: &'a Record| match &record.event {
        Event::Notice(notice) if notice.code == code => Some(notice),
        _ => None,
    };
    records.iter().filter_map(notice).collect()
}

#[test]
fn sequence_numbers_are_contiguous_from_1_and_fixed_once_given() {
    let (state, spool) = world((0..5).map(|_| refused()));
    assert_eq!((spool.depth(), spool.last_sequence()), (5, 0), "nothing is numbered before it is batched");
    let first = batch(&spool, 3);
    assert_eq!(sequences(&first), [1, 2, 3]);
    assert_eq!(batch(&spool, 2), first[..2], "the same again until it is acknowledged");
    spool.acked(2).unwrap();
    fill(&spool, [refused()]);
    drop(spool);
    let spool = open(state.path(), SpoolLimits::default());
    assert_eq!(spool.last_sequence(), 3);
    let rest = batch(&spool, 500);
    assert_eq!(sequences(&rest), [3, 4, 5, 6]);
    assert_eq!(rest[0], first[2]);
    spool.acked(6).unwrap();
    assert_eq!((spool.depth(), batch(&spool, 500).len()), (0, 0));
}

#[test]
fn whoever_acknowledges_too_much_gains_nothing() {
    let (_state, spool) = world([refused(), refused()]);
    batch(&spool, 1);
    spool.acked(u64::from(u32::MAX)).unwrap();
    assert_eq!(sequences(&batch(&spool, 9)), [2]);
}

#[test]
fn a_full_spool_drops_the_lowest_severity_first_and_tells_how_many() {
    let state = tempfile::tempdir().unwrap();
    let spool = open(state.path(), SpoolLimits { max_records: 10, keep_sent: 0 });
    fill(&spool, (0..4).map(|_| refused()));
    let numbered = batch(&spool, 2);
    fill(&spool, (0..20).map(|nth| notice("vanished", Some(&format!("/{nth}")))));
    fill(&spool, [refused(), notice("vanished", Some("/last"))]);
    assert_eq!(spool.depth(), 10);
    let kept = batch(&spool, 500);
    assert_eq!(kept[..2], numbered, "what has a number stays");
    assert_eq!(sequences(&kept), (1..=10).collect::<Vec<_>>());
    let full = notices(&kept, "spool-full");
    assert_eq!(full.len(), 1, "one record tells");
    assert_eq!(kept.iter().filter(|record| matches!(record.event, Event::Transfer(_))).count(), 5);
    assert_eq!(full[0].count, 26 - 9, "all that is not there was counted");
    assert_eq!(notices(&kept, "vanished").last().unwrap().subject.as_deref(), Some("/last"), "the oldest went");
    spool.acked(10).unwrap();
    fill(&spool, (0..12).map(|_| refused()));
    let kept = batch(&spool, 500);
    assert_eq!(notices(&kept, "spool-full")[0].count, 3, "what was told is not told again");
    assert_eq!(sequences(&kept), (11..=20).collect::<Vec<_>>());
}

#[test]
fn what_was_written_over_in_a_full_spool_is_not_sealed_again() {
    let state = tempfile::tempdir().unwrap();
    let spool = open(state.path(), SpoolLimits { max_records: 10, keep_sent: 0 });
    fill(&spool, (0..20).map(|_| refused()));
    let beside = rusqlite::Connection::open(super::database(state.path())).unwrap();
    let edit = "UPDATE record SET body = replace(body, 'were dropped', 'are fine') WHERE body LIKE '%were dropped%'";
    assert_eq!(beside.execute(edit, []).unwrap(), 1);
    fill(&spool, [refused()]);
    let kept = batch(&spool, 500);
    let full = notices(&kept, "spool-full");
    assert_eq!((full.len(), full[0].count), (1, 21 - 9));
    assert!(full[0].message.contains("were dropped"), "{}", full[0].message);
}

#[test]
fn a_queue_that_overflows_keeps_room_for_what_is_grave_and_tells_how_many_went() {
    let (state, spool) = world([]);
    let pushed = CAPACITY + 10;
    let slowest = spool.shared.with_store(|_| {
        // The disk is held up; nobody waits.
        let began = Instant::now();
        for nth in 0..pushed {
            spool.push(notice("vanished", Some(&nth.to_string())));
        }
        (0..10).for_each(|_| spool.push(refused()));
        Ok(began.elapsed())
    });
    assert!(slowest.unwrap() < LONG);
    let mut kept = Vec::new();
    let mut told = 0;
    // The telling comes after what it tells of, so wait for it.
    while told == 0 {
        assert!(spool.flush(LONG));
        let all = read(state.path(), 0, usize::MAX >> 1).unwrap();
        kept = all.into_iter().map(|entry| entry.record).collect();
        told = notices(&kept, "spool-full").iter().map(|notice| notice.count).sum();
    }
    assert_eq!(kept.iter().filter(|record| matches!(record.event, Event::Transfer(_))).count(), 10);
    let notices = notices(&kept, "vanished").len();
    assert!((RESERVED_FROM..=CAPACITY).contains(&notices), "{notices}");
    assert_eq!(notices as u64 + told, pushed as u64);
}

#[test]
fn delivered_records_stay_readable_up_to_a_number() {
    let state = tempfile::tempdir().unwrap();
    let spool = open(state.path(), SpoolLimits { max_records: 100, keep_sent: 3 });
    fill(&spool, (0..8).map(|_| refused()));
    batch(&spool, 6);
    spool.acked(6).unwrap();
    let kept: Vec<_> = read(state.path(), 0, 100).unwrap();
    let told: Vec<_> = kept.iter().map(|entry| (entry.position, entry.record.sequence, entry.delivered)).collect();
    assert_eq!(told, [(4, 4, true), (5, 5, true), (6, 6, true), (7, 0, false), (8, 0, false)]);
    assert_eq!(read(state.path(), 6, 1).unwrap()[0].position, 7);
    drop(spool);
    assert_eq!(read(state.path(), 0, 100).unwrap().len(), 5, "without an agent, too");
}

#[test]
fn evidence_is_kept_by_its_content_and_sent_once() {
    let (state, spool) = world([]);
    let digest = spool.evidence(vec![1; 1000]);
    assert_eq!(digest, blake3::hash(&[1; 1000]).to_hex().as_str());
    assert_eq!(spool.evidence(vec![1; 1000]), digest);
    let other = spool.evidence(vec![2; 1000]);
    assert!(spool.flush(LONG));
    let digests = |spool: &Spool| -> BTreeSet<String> {
        spool.batch(1).unwrap().evidence.into_iter().map(|(digest, _)| digest).collect()
    };
    assert_eq!(digests(&spool), BTreeSet::from([digest.clone(), other.clone()]));
    spool.evidence_sent(std::slice::from_ref(&digest)).unwrap();
    drop(spool);
    let spool = open(state.path(), SpoolLimits::default());
    spool.evidence(vec![1; 1000]);
    assert!(spool.flush(LONG));
    assert_eq!(digests(&spool), BTreeSet::from([other]));
}

#[test]
fn a_picture_that_the_collector_would_refuse_is_not_kept() {
    let (_state, spool) = world([]);
    spool.evidence(vec![0; MAX_EVIDENCE + 1]);
    assert!(spool.flush(LONG));
    assert_eq!(spool.batch(1).unwrap().evidence.len(), 0);
    assert_eq!(notices(&batch(&spool, 9), "record-rejected").len(), 1);
}

#[test]
fn identical_notices_are_one_record_and_none_is_lost_when_the_agent_ends() {
    let (state, spool) = world((0..100).map(|_| notice("vanished", Some("/a"))));
    assert_eq!(batch(&spool, 500).len(), 1, "the first goes at once");
    drop(spool);
    let spool = open(state.path(), SpoolLimits::default());
    let all = batch(&spool, 500);
    let counts: Vec<_> = notices(&all, "vanished").iter().map(|notice| notice.count).collect();
    assert_eq!(counts, [1, 99]);
    assert_eq!(sequences(&all), [1, 2]);
}

#[test]
fn a_batch_is_bounded_in_bytes_as_well() {
    let mut long = transfer();
    long.explanation = "x".repeat(12_000);
    let (_state, spool) = world((0..500).map(|_| Event::Transfer(Box::new(long.clone()))));
    let some = spool.batch(500).unwrap().records;
    let bytes: usize = some.iter().map(|(_, line)| line.len()).sum();
    assert!(some.len() < 500 && bytes <= 4 << 20, "{} records, {bytes} bytes", some.len());
    spool.acked(some.len() as u64).unwrap();
    assert_eq!(batch(&spool, 1)[0].sequence, some.len() as u64 + 1);
}

#[test]
fn the_agent_keeps_its_id() {
    let state = tempfile::tempdir().unwrap();
    let id = Spool::agent_id(state.path()).unwrap();
    assert_eq!(Spool::agent_id(state.path()).unwrap(), id);
    let spool = Spool::open(state.path(), Host { agent: id.clone(), ..host() }, SpoolLimits::default()).unwrap();
    fill(&spool, [refused()]);
    for damage in ["", "rubbish"] {
        std::fs::write(state.path().join("agent-id"), damage).unwrap();
        assert_eq!(Spool::agent_id(state.path()).unwrap(), id, "the records tell it");
    }
    use std::os::unix::fs::PermissionsExt;
    for file in ["agent-id", "spool.db", "spool.db-wal", "last-sequence"] {
        let mode = std::fs::metadata(state.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn two_agents_do_not_share_a_spool() {
    let (state, _spool) = world([]);
    let second = Spool::open(state.path(), host(), SpoolLimits::default()).err().unwrap();
    assert!(matches!(second, SpoolError::InUse { .. }), "{second}");
}

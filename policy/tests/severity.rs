//! How grave a refused transfer is: what the policy says of it, and what becomes of that in the record.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use proptest::prelude::*;
use vitrine_policy::Policy;
use vitrine_policy::decision::{Mode, Rule, Verdict};
use vitrine_policy::facts::{Attempt, Destination, History, Label, Origin};
use vitrine_policy::record::{Disposition, Event, File, Host, Operation, Record, Severity, Transfer, VERSION};

const HEAD: &str = "version = 1\nmode = \"enforce\"\n";
const PAPERS: &str = "[[collection]]\nname = \"papers\"\npaths = [\"/m/papers\"]\nseverity = \"low\"\n";
const OTHERS: &str = "
    [[collection]]
    name = \"treasures\"
    paths = [\"/m/treasures\"]
    severity = \"critical\"
    [[collection]]
    name = \"scans\"
    paths = [\"/m/scans\"]
    [[destination]]
    name = \"website\"
    paths = [\"/web\"]
    ceiling = \"none\"
    severity = \"medium\"
    [[destination]]
    name = \"desk\"
    paths = [\"/desk\"]
    ceiling = \"none\"
";
const PAPER: &str = "/m/papers/1.tif";
const SCAN: &str = "/m/scans/1.tif";
const TREASURE: &str = "/m/treasures/1.tif";

fn policy(text: &str) -> Policy {
    Policy::parse("policy.toml", text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn museum() -> Policy {
    policy(&[HEAD, PAPERS, OTHERS].concat())
}

fn label<'m>(policy: &Policy, origin: Origin, masters: impl IntoIterator<Item = &'m str>) -> Label {
    Label { tier: policy.master_tier(), origin, masters: masters.into_iter().map(str::to_owned).collect() }
}

fn goes(label: Label, to: &str) -> Attempt {
    Attempt::Transfer {
        label,
        destination: Destination::Path { path: to.into(), mount: None },
        history: History::default(),
    }
}

/// What the museum's policy says of measured copies of these masters.
fn said(masters: &[&str], to: &str) -> Option<Severity> {
    let museum = museum();
    museum.severity(&goes(label(&museum, Origin::Measured, masters.iter().copied()), to))
}

/// What it says of a program that has read them.
fn said_of_reader(masters: &[&str], to: &str) -> Option<Severity> {
    let museum = museum();
    museum.severity(&goes(label(&museum, Origin::Inherited, masters.iter().copied()), to))
}

#[test]
fn of_collection_and_destination_the_graver_counts() {
    let (low, medium, critical) = (Some(Severity::Low), Some(Severity::Medium), Some(Severity::Critical));
    for (master, to, expected) in [
        (TREASURE, "/desk/a", critical),
        (SCAN, "/desk/a", None),
        (PAPER, "/desk/a", low),
        (TREASURE, "/web/a", critical),
        (SCAN, "/web/a", medium),
        (PAPER, "/web/a", medium),
        (TREASURE, "/elsewhere/a", critical),
        (SCAN, "/elsewhere/a", None),
        (PAPER, "/elsewhere/a", low),
        ("/gone/1.tif", "/desk/a", None),
        ("/gone/1.tif", "/web/a", medium),
        // The raw disk below a collection is known by its directory.
        ("/m/treasures", "/desk/a", critical),
    ] {
        assert_eq!(said(&[master], to), expected, "{master} to {to}");
    }
    assert_eq!((said(&[], "/desk/a"), said(&[], "/web/a")), (None, medium));
}

#[test]
fn of_several_masters_the_gravest_counts_and_where_nothing_is_said_it_is_high() {
    for (masters, to, expected) in [
        (&[PAPER, SCAN][..], "/desk/a", Severity::High),
        (&[SCAN, PAPER][..], "/desk/a", Severity::High),
        (&[PAPER, "/gone/1.tif"][..], "/desk/a", Severity::High),
        (&[PAPER, TREASURE][..], "/desk/a", Severity::Critical),
        (&[TREASURE, SCAN][..], "/desk/a", Severity::Critical),
        (&[PAPER, SCAN][..], "/web/a", Severity::Medium),
    ] {
        assert_eq!(said(masters, to), Some(expected), "{masters:?} to {to}");
    }
}

#[test]
fn a_label_that_may_hide_a_graver_master_is_at_least_high() {
    assert_eq!(said_of_reader(&[PAPER], "/desk/a"), Some(Severity::High));
    assert_eq!(said_of_reader(&[PAPER], "/web/a"), Some(Severity::High));
    assert_eq!(said_of_reader(&[TREASURE], "/desk/a"), Some(Severity::Critical));
    assert_eq!(said_of_reader(&[SCAN], "/desk/a"), None, "which is high");
    // As many as a label names: who took one more has pushed out the first.
    let papers: Vec<String> = (1..=Label::MASTERS).map(|number| format!("/m/papers/{number}.tif")).collect();
    let papers: Vec<&str> = papers.iter().map(String::as_str).collect();
    assert_eq!(said(&papers, "/desk/a"), Some(Severity::High));
    assert_eq!(said(&papers[1..], "/desk/a"), Some(Severity::Low));
    // Where there is nothing graver, nothing is hidden.
    let quiet = policy(&[HEAD, PAPERS].concat());
    let reader = goes(label(&quiet, Origin::Inherited, [PAPER]), "/desk/a");
    assert_eq!(quiet.severity(&reader), Some(Severity::Low));
}

#[test]
fn an_opened_vault_is_as_grave_as_its_collection_says() {
    let museum = museum();
    let opened = |collection: &str, masters: &[&str]| {
        let label = label(&museum, Origin::Inherited, masters.iter().copied());
        museum.severity(&Attempt::Open { collection: collection.into(), label })
    };
    assert_eq!(opened("papers", &[PAPER]), Some(Severity::Low));
    assert_eq!(opened("treasures", &[TREASURE]), Some(Severity::Critical));
    assert_eq!((opened("scans", &[SCAN]), opened("gone", &[SCAN])), (None, None));
}

/// A policy of one collection for each severity and one that says nothing, and what is said of the one destination.
fn of_all(there: &str) -> Policy {
    let collections = WORDS.iter().enumerate().map(|(number, word)| {
        format!("[[collection]]\nname = \"c{number}\"\npaths = [\"/c{number}\"]\n{}", severity_key(word))
    });
    let place =
        format!("[[destination]]\nname = \"there\"\npaths = [\"/there\"]\nceiling = \"none\"\n{}", severity_key(there));
    policy(&[HEAD.to_owned(), collections.collect(), place].concat())
}

const WORDS: [&str; 5] = ["", "low", "medium", "high", "critical"];

fn severity_key(word: &str) -> String {
    if word.is_empty() { String::new() } else { format!("severity = \"{word}\"\n") }
}

fn weighed(policy: &Policy, origin: Origin, collections: &[usize]) -> Severity {
    let masters: Vec<String> = collections.iter().map(|number| format!("/c{number}/1.tif")).collect();
    let label = label(policy, origin, masters.iter().map(String::as_str));
    policy.severity(&goes(label, "/there/a")).unwrap_or(Severity::REFUSED)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_takes_more_is_never_taken_less_gravely(
        there in proptest::sample::select(&WORDS[..]),
        taken in proptest::collection::vec(0..WORDS.len(), 1..5),
        more in proptest::collection::vec(0..WORDS.len(), 0..3),
    ) {
        let policy = of_all(there);
        for origin in [Origin::Measured, Origin::Inherited] {
            let all = [taken.as_slice(), more.as_slice()].concat();
            prop_assert!(weighed(&policy, origin, &all) >= weighed(&policy, origin, &taken));
        }
    }

    #[test]
    fn what_a_program_hides_among_what_it_has_read_makes_nothing_less_than_high(
        there in proptest::sample::select(&WORDS[..]),
        hidden in proptest::collection::vec(0..WORDS.len(), 1..5),
        named in proptest::collection::vec(0..WORDS.len(), 1..5),
    ) {
        let policy = of_all(there);
        let all = [hidden.as_slice(), named.as_slice()].concat();
        let truly = weighed(&policy, Origin::Measured, &all);
        prop_assert!(weighed(&policy, Origin::Inherited, &named) >= truly.min(Severity::REFUSED));
    }
}

fn record(verdict: Verdict, disposition: Disposition, severity: Option<Severity>) -> Record {
    let transfer = Transfer {
        operation: Operation::Write,
        verdict,
        disposition,
        rule: Rule::Ceiling { destination: "elsewhere".into() },
        explanation: "The file is of tier master, and nothing may go there.".into(),
        mode: Mode::Enforce,
        policy: "5f".repeat(32),
        guard: "gate".into(),
        processes: Vec::new(),
        user: None,
        file: File { path: SCAN.into(), digest: None, bytes: None, thumbnail: None },
        masters: Vec::new(),
        tier: "master".into(),
        origin: Origin::Inherited,
        measure: None,
        destination: None,
        attempts: 1,
        justification: None,
        severity,
    };
    Record {
        version: VERSION,
        id: "0198c0de-0000-7000-8000-00000000000a".into(),
        sequence: 1,
        time: 1_795_348_800_000,
        host: Host {
            agent: "0198c0de-0000-7000-8000-000000000001".into(),
            name: "scan-07".into(),
            agent_version: "0.1.0".into(),
        },
        event: Event::Transfer(Box::new(transfer)),
        seal: None,
    }
}

#[test]
fn a_record_is_as_grave_as_the_policy_says_and_in_audit_one_step_less() {
    for (said, refused, in_audit) in [
        (None, Severity::High, Severity::Medium),
        (Some(Severity::Low), Severity::Low, Severity::Low),
        (Some(Severity::Medium), Severity::Medium, Severity::Low),
        (Some(Severity::High), Severity::High, Severity::Medium),
        (Some(Severity::Critical), Severity::Critical, Severity::High),
    ] {
        for (verdict, disposition, expected) in [
            (Verdict::Block, Disposition::Blocked, refused),
            (Verdict::Block, Disposition::Undone, refused),
            (Verdict::Block, Disposition::Quarantined, refused),
            (Verdict::Block, Disposition::WouldBlock, in_audit),
            (Verdict::Block, Disposition::Failed, Severity::Critical),
            (Verdict::Allow, Disposition::Allowed, Severity::Informational),
            (Verdict::Report, Disposition::Allowed, Severity::Low),
            (Verdict::AllowJustified, Disposition::Allowed, Severity::Medium),
        ] {
            let record = record(verdict, disposition, said);
            assert_eq!(record.event.severity(), expected, "{verdict:?} {disposition:?} {said:?}");
            assert_eq!(record.to_ocsf()["severity_id"], expected as u8);
        }
    }
}

#[test]
fn what_a_policy_does_not_say_is_not_in_the_record() {
    let key = "\"severity\":";
    let silent = record(Verdict::Block, Disposition::Blocked, None);
    let line = silent.to_ocsf().to_string();
    assert!(!line.contains(key), "a collector that does not know the key takes it: {line}");
    assert_eq!(Record::from_ocsf(&line).unwrap(), silent);
    let grave = record(Verdict::Block, Disposition::Blocked, Some(Severity::Critical));
    let line = grave.to_ocsf().to_string();
    assert!(line.contains("\"severity\":\"critical\""), "{line}");
    assert_eq!(Record::from_ocsf(&line).unwrap(), grave);
    assert!(Record::from_ocsf(&line.replace("\"severity\":\"critical\"", "\"severity\":\"worst\"")).is_err());
}

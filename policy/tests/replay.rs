//! What was recorded is judged anew by the same judgement, and what a record does not hold is not guessed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may end loudly

use vitrine_policy::decision::{Mode, Verdict};
use vitrine_policy::facts::{self, Attempt, Facts, History, Label, Measure, Mount, Origin, Program, Usb};
use vitrine_policy::record::{Destination, Disposition, File, Master, Operation, Place, Process, Transfer, User};
use vitrine_policy::replay::{Gap, Outcome, Replay, rejudge};
use vitrine_policy::{Policy, explain, judge};

const MUSEUM: &str = include_str!("../examples/museum.toml");
const AUDIT_FIRST: &str = include_str!("../examples/audit-first.toml");
const OTHER: &str = "another text";

fn policy(text: &str) -> Policy {
    Policy::parse("policy.toml", text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn path(path: &str, mount: Option<Mount>) -> facts::Destination {
    facts::Destination::Path { path: path.into(), mount }
}

fn stick(path_on: &str) -> facts::Destination {
    let usb = Some(Usb { vendor: "0781".into(), product: "5581".into(), serial: "4C53\"1".into() });
    path(path_on, Some(Mount { point: "/media/wu/STICK".into(), kind: "vfat".into(), share: None, usb }))
}

fn host(name: Option<&str>, address: Option<&str>) -> facts::Destination {
    let address = address.map(|address| address.parse().unwrap());
    facts::Destination::Host { name: name.map(str::to_owned), address, port: 443 }
}

/// The record of a transfer of a scan, as an agent in audit makes it under this policy.
fn recorded(policy: &Policy, digest: &str, tier: &str, destination: &facts::Destination) -> Transfer {
    let label = Label { tier: policy.tier_named(tier).unwrap(), origin: Origin::Inherited, masters: Vec::new() };
    let attempt = Attempt::Transfer { label, destination: destination.clone(), history: History::default() };
    let facts = Facts { program: Program::default(), attempt };
    let decision = judge(policy, &facts);
    let entry = policy.destination_of(destination);
    Transfer {
        operation: Operation::Write,
        verdict: decision.verdict,
        disposition: if decision.verdict == Verdict::Block { Disposition::WouldBlock } else { Disposition::Allowed },
        explanation: explain(policy, &facts, &decision),
        rule: decision.rule,
        mode: Mode::Audit,
        policy: digest.into(),
        guard: "gate".into(),
        processes: vec![Process { pid: 7, name: "cp".into(), path: "/usr/bin/cp".into(), command_line: "cp".into() }],
        user: Some(User { uid: 1000, name: "wu".into(), session: None }),
        file: File { path: "/srv/scans/a.tif".into(), digest: None, bytes: None, thumbnail: None },
        masters: vec![master("/srv/scans/a.tif")],
        tier: tier.into(),
        origin: Origin::Inherited,
        measure: None,
        destination: Some(Destination {
            name: entry.map_or("elsewhere", |entry| entry.name.as_str()).into(),
            target: destination.target().split(" on ").next().unwrap().into(),
            ceiling: "none".into(),
            bytes_arrived: None,
            objects_today: None,
            place: Some(Place::of(destination)),
        }),
        attempts: 2,
        justification: None,
        severity: None,
    }
}

fn master(path: &str) -> Master {
    Master {
        path: path.into(),
        collection: "scans".into(),
        object: None,
        thumbnail: None,
        recognised: None,
        sent: None,
    }
}

#[test]
fn the_same_policy_gives_the_verdict_that_was_recorded() {
    for text in [MUSEUM, AUDIT_FIRST] {
        let policy = policy(text);
        let share =
            Mount { point: "/mnt/n".into(), kind: "nfs4".into(), share: Some("nas1:/archive".into()), usb: None };
        let places = [
            stick("/media/wu/STICK/a.tif"),
            path("/tmp/a.tif", None),
            path("/home/wu/work/a.tif", Some(Mount { point: "/".into(), ..Mount::default() })),
            path("/mnt/n/a.tif", Some(share)),
            host(Some("cms.museum.example"), Some("203.0.113.9")),
            host(None, Some("198.51.100.7")),
        ];
        let tiers: Vec<_> = policy.tiers.iter().map(|tier| tier.name.clone()).chain(["master".to_owned()]).collect();
        for (place, tier) in places.iter().flat_map(|place| tiers.iter().map(move |tier| (place, tier))) {
            let record = recorded(&policy, "d", tier, place);
            let read: Transfer = serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
            let judged = rejudge(&policy, "d", &read).unwrap();
            assert_eq!(judged.rule, record.rule, "{place:?} {tier}");
            let is_refused = matches!(judged.outcome, Outcome::Block | Outcome::Justify);
            assert_eq!(is_refused, record.verdict == Verdict::Block, "{place:?} {tier}");
        }
    }
}

#[test]
fn an_edited_policy_shows_what_changes_and_its_suggestions_can_be_pasted_into_it() {
    let policy = policy(AUDIT_FIRST);
    let mut replay = Replay::new(policy.clone(), OTHER.into());
    let few: Vec<_> =
        (0..9).map(|n| recorded(&policy, "d", "master", &host(None, Some(&format!("198.51.100.{n}"))))).collect();
    let many: Vec<_> = (0..12).map(|_| recorded(&policy, "d", "master", &stick("/media/wu/STICK/a.tif"))).collect();
    let loopback: Vec<_> =
        (0..10).map(|_| recorded(&policy, "d", "master", &path("/srv/out/\"q/a.tif", None))).collect();
    let allowed = recorded(&policy, "d", "master", &path("/home/wu/work/today/a.tif", None));
    let all: Vec<_> = few.iter().chain(&many).chain(&loopback).chain([&allowed]).collect();
    all.iter().for_each(|transfer| replay.add(transfer));
    let report = replay.report();
    let count = |outcome| report.outcomes[&outcome];
    assert_eq!((count(Outcome::Block).transfers, count(Outcome::Block).attempts), (31, 62));
    assert_eq!((count(Outcome::Block).users, count(Outcome::Allow).transfers), (1, 1));
    assert_eq!(report.changes.iter().map(|change| change.transfers).sum::<u64>(), 32);
    assert!(report.changes.iter().all(|change| change.went_through));
    assert_eq!((report.groups[0].transfers, report.groups[0].destination.as_str()), (12, "usb:0781:5581:4C53\"1"));
    assert_eq!(report.suggestions.len(), 2);
    assert_eq!((report.suggestions[0].transfers, report.suggestions[0].tiers["master"]), (12, 12));
    assert!(report.suggestions[0].toml.starts_with("# Suggestion: 12 refused transfers by 1 user went"));

    let pasted: String = report.suggestions.iter().map(|suggestion| suggestion.toml.as_str()).collect();
    let edited = self::policy(&format!("{AUDIT_FIRST}\n{pasted}"));
    let mut replay = Replay::new(edited, OTHER.into());
    all.iter().for_each(|transfer| replay.add(transfer));
    let report = replay.report();
    assert_eq!((report.outcomes[&Outcome::Block].transfers, report.outcomes[&Outcome::Allow].transfers), (9, 23));
    assert!(report.suggestions.is_empty());
}

#[test]
fn the_report_names_twenty_groups_and_counts_all_of_them() {
    let policy = policy(AUDIT_FIRST);
    let mut replay = Replay::new(policy.clone(), "d".into());
    for n in 0..30 {
        let record = recorded(&policy, "d", "master", &host(Some(&format!("h{n}.example.org")), None));
        (0..=n).for_each(|_| replay.add(&record));
    }
    let report = replay.report();
    assert_eq!((report.groups.len(), report.all_groups, report.groups[0].transfers), (20, 30, 30));
    assert_eq!(report.suggestions.len(), 20);
}

#[test]
fn what_a_record_does_not_hold_is_a_gap() {
    let policy = policy(AUDIT_FIRST);
    let record = recorded(&policy, "d", "master", &stick("/media/wu/STICK/a.tif"));
    let gap = |change: fn(&mut Transfer)| {
        let mut record = record.clone();
        change(&mut record);
        rejudge(&policy, OTHER, &record).map(|judged| judged.outcome)
    };
    assert_eq!(gap(|_| {}), Ok(Outcome::Block));
    assert_eq!(gap(|record| record.destination.as_mut().unwrap().place = None), Err(Gap::Place));
    assert_eq!(gap(|record| record.destination.as_mut().unwrap().target = "/a\\q".into()), Err(Gap::Malformed));
    assert_eq!(gap(|record| record.masters = vec![master("/elsewhere/a.tif")]), Err(Gap::Unprotected));
    assert_eq!(gap(|record| record.destination = None), Ok(Outcome::Allow), "no vault: anybody may open it");
}

#[test]
fn a_limit_on_what_adds_up_is_checked_where_it_was_counted_for_the_same_destination() {
    let text = |name: &str| {
        format!(
            "version = 1\nmode = \"audit\"\n[[collection]]\nname = \"scans\"\npaths = [\"/srv/scans\"]\n\
             [[tier]]\nname = \"web\"\nmax-megapixels = 2\n\
             [[destination]]\nname = \"{name}\"\npaths = [\"/srv/web\"]\nceiling = \"web\"\nmax-objects-per-day = 5\n\
             [elsewhere]\nceiling = \"none\"\n"
        )
    };
    let (policy, renamed) = (policy(&text("web")), policy(&text("site")));
    let mut record = recorded(&policy, "d", "web", &path("/srv/web/a.jpg", None));
    record.operation = Operation::Arrive;
    record.destination.as_mut().unwrap().objects_today = Some(5);
    assert_eq!(rejudge(&policy, OTHER, &record).map(|judged| judged.outcome), Ok(Outcome::Allow));
    assert_eq!(rejudge(&renamed, OTHER, &record), Err(Gap::History));
    record.destination.as_mut().unwrap().objects_today = Some(6);
    assert_eq!(rejudge(&policy, OTHER, &record).map(|judged| judged.outcome), Ok(Outcome::Block));
    record.destination.as_mut().unwrap().objects_today = None;
    assert_eq!(rejudge(&policy, OTHER, &record), Err(Gap::History));
    assert!(rejudge(&policy, "d", &record).is_ok(), "under the same text the agent judged without it too");
}

#[test]
fn tiers_are_measured_again_and_a_name_that_is_gone_is_the_highest() {
    let policy = policy(AUDIT_FIRST);
    let wider =
        self::policy(&AUDIT_FIRST.replace("name = \"web\"", "name = \"small\"").replace("\"web\"", "\"small\""));
    let mut record = recorded(&policy, "d", "web", &host(None, Some("198.51.100.7")));
    assert_eq!(rejudge(&wider, OTHER, &record).map(|judged| judged.outcome), Ok(Outcome::Block));
    record.measure = Some(Measure { megapixels: 1.0, scale: None, bit_depth: 8 });
    assert_eq!(rejudge(&wider, OTHER, &record).map(|judged| judged.outcome), Ok(Outcome::Allow));
}

#[test]
fn a_program_is_known_by_its_executable_and_not_by_its_name() {
    let text = "version = 1\nmode = \"audit\"\n[[collection]]\nname = \"scans\"\npaths = [\"/srv/scans\"]\nopened-by = [\"gimp\"]\n\
                [[tier]]\nname = \"web\"\nmax-megapixels = 2\n[elsewhere]\nceiling = \"none\"\n\
                [[program]]\nname = \"gimp\"\npath = \"/usr/bin/gimp-2.10\"\n";
    let policy = policy(text);
    let opened = |name: &str, path: &str, digest: &str, rule_named: bool| {
        let mut record = recorded(&policy, digest, "master", &host(None, None));
        record.destination = None;
        record.rule = vitrine_policy::decision::Rule::Vault { collection: "scans".into(), named: rule_named };
        record.processes[0] = Process { pid: 1, name: name.into(), path: path.into(), command_line: String::new() };
        rejudge(&policy, "d", &record).map(|judged| judged.outcome)
    };
    assert_eq!(opened("gimp", "/home/wu/gimp", "d", false), Ok(Outcome::Block));
    assert_eq!(opened("gimp", "/home/wu/gimp", OTHER, false), Ok(Outcome::Block));
    assert_eq!(
        opened("gimp-2.10", "/usr/bin/gimp-2.10", OTHER, false),
        Ok(Outcome::Allow),
        "the policy named it later"
    );
    assert_eq!(
        opened("gimp-2.10", "/usr/bin/gimp-2.10", "d", false),
        Ok(Outcome::Block),
        "its executable was not proved"
    );
    assert_eq!(opened("gimp", "/usr/bin/gimp-2.10", "d", false), Ok(Outcome::Block), "somebody else's code ran in it");
}

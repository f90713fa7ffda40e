//! The laws of a policy, over many policies and destinations.
#![allow(clippy::expect_used, reason = "what should be there and is not fails its test")]

mod world;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use vitrine_policy::decision::{Answer, Verdict};
use vitrine_policy::facts::{
    Attempt, Ceiling, Destination, Facts, History, Justification, Label, Measure, Mount, Origin, Program, Tier, Usb,
};
use vitrine_policy::{Policy, explain, judge};
use world::exactly;

const CEILINGS: [&str; 4] = ["none", "public", "licensed", "master"];
const PATHS: [&str; 8] = ["/", "/a", "/a/b", "/a/b/c", "/*/b", "/a/*", "/d", "/d/b"];
const HOSTS: [&str; 10] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3",
    "10.1.2.3:22",
    "10.1.0.0/16:22",
    "a.example",
    "*.example",
    "a.example:22",
    "::/0",
];
const SHARES: [&str; 3] = ["//nas/scans", "//nas/scans/b", "nas:/scans"];
const SERIALS: [&str; 3] = ["", "S1", "S2"];

/// A `[[destination]]` but for its name.
#[derive(Clone, Debug)]
struct Entry {
    key: String,
    ceiling: usize,
    extra: String,
}

fn entry() -> impl Strategy<Value = Entry> {
    let list = |key: &'static str, from: &'static [&'static str]| {
        proptest::sample::subsequence(from, 1..=2).prop_map(move |names| format!("{key} = {names:?}"))
    };
    let usb = proptest::sample::select(&SERIALS[..]).prop_map(|serial| match serial {
        "" => "usb = [{ vendor = \"0951\", product = \"1666\" }]".to_owned(),
        serial => format!("usb = [{{ vendor = \"0951\", product = \"1666\", serial = \"{serial}\" }}]"),
    });
    let key =
        prop_oneof![list("paths", &PATHS), list("mounts", &PATHS), list("hosts", &HOSTS), list("shares", &SHARES), usb];
    let extra = prop_oneof![
        Just(String::new()),
        Just("justify = true\n".to_owned()),
        Just("justify = { minutes = 0.5 }\n".to_owned()),
        Just("justify = { minutes = 5, approval = true }\n".to_owned()),
        Just("max-coverage = 0.5\n".to_owned()),
        Just("max-objects-per-day = 3\n".to_owned()),
        Just("severity = \"low\"\n".to_owned()),
        Just("severity = \"high\"\n".to_owned()),
    ];
    (key, 0..CEILINGS.len(), extra).prop_map(|(key, ceiling, extra)| Entry { key, ceiling, extra })
}

fn plain(key: String, ceiling: usize) -> Entry {
    Entry { key, ceiling, extra: String::new() }
}

fn policy(mode: &str, elsewhere: usize, entries: &[Entry]) -> Policy {
    let mut text = format!(
        "version = 1\nmode = \"{mode}\"\n[elsewhere]\nceiling = \"{}\"\n\
         [[tier]]\nname = \"public\"\nmax-megapixels = 6\nmax-scale = 0.6\nmax-bit-depth = 8\n\
         [[tier]]\nname = \"licensed\"\nmax-megapixels = 20\nmax-scale = 0.9\n\
         [[program]]\nname = \"backup\"\npath = \"/usr/bin/restic\"\ntrust = \"exempt\"\n\
         [[collection]]\nname = \"vault\"\npaths = [\"/srv\"]\nopened-by = [\"backup\"]\n",
        CEILINGS[elsewhere]
    );
    for (number, entry) in entries.iter().enumerate() {
        let ceiling = CEILINGS[entry.ceiling];
        let _ = writeln!(
            text,
            "[[destination]]\nname = \"d{number}\"\n{}\nceiling = \"{ceiling}\"\n{}",
            entry.key, entry.extra
        );
    }
    exactly(&text).policy
}

fn path() -> impl Strategy<Value = PathBuf> {
    proptest::collection::vec(proptest::sample::select(&["a", "b", "c", "d", "..", "."][..]), 0..6)
        .prop_map(|parts| PathBuf::from(format!("/{}", parts.join("/"))))
}

fn destination() -> impl Strategy<Value = Destination> {
    let usb = proptest::option::of(proptest::sample::select(&SERIALS[..])).prop_map(|serial| {
        serial.map(|serial| Usb { vendor: "0951".into(), product: "1666".into(), serial: serial.into() })
    });
    let share = proptest::option::of(proptest::sample::select(&["//nas/scans/b/x", "//NAS/scans", "nas:/scans"][..]));
    let mount =
        (proptest::sample::select(&["/", "/a", "/a/b", "/d"][..]), usb, share).prop_map(|(point, usb, share)| Mount {
            point: PathBuf::from(point),
            kind: "ext4".into(),
            share: share.map(str::to_owned),
            usb,
        });
    let host = (
        proptest::option::of(proptest::sample::select(&["a.example", "b.example", "example"][..])),
        proptest::option::of((9_u8..=10, 0_u8..3, 1_u8..4, 2_u8..5)),
        proptest::sample::select(&[22_u16, 443][..]),
    )
        .prop_map(|(name, address, port)| Destination::Host {
            name: name.map(str::to_owned),
            address: address.map(|(a, b, c, d)| IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
            port,
        });
    prop_oneof![
        2 => (path(), proptest::option::of(mount)).prop_map(|(path, mount)| Destination::Path { path, mount }),
        1 => host,
    ]
}

fn facts(destination: Destination) -> impl Strategy<Value = Facts> {
    let history = (proptest::option::of("[a-z ]{0,3}"), proptest::option::of(0_u32..6), proptest::option::of(0.0..1.0))
        .prop_map(|(justification, objects_today, coverage): (Option<String>, _, _)| {
            let justification = justification.as_deref().map(Justification::of);
            History { justification, objects_today, coverage }
        });
    let program = proptest::option::of(proptest::sample::select(&["backup", "stranger"][..]));
    (0_u8..3, history, program, any::<bool>()).prop_map(move |(tier, history, named, open)| {
        let label = Label { tier: Tier(tier), origin: Origin::Measured, masters: vec!["/srv/m.tif".into()] };
        let attempt = if open {
            Attempt::Open { collection: "vault".into(), label }
        } else {
            Attempt::Transfer { label, destination: destination.clone(), history }
        };
        Facts { program: Program { named: named.map(str::to_owned), path: "/usr/bin/x".into() }, attempt }
    })
}

fn attempts() -> impl Strategy<Value = (Destination, Facts)> {
    destination().prop_flat_map(|destination| (Just(destination.clone()), facts(destination)))
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    proptest::collection::vec(entry(), 0..5)
}

/// What `covers` promises, told a second time: the pattern's parts, one by one.
fn lies_below(path: &Path, pattern: &str) -> bool {
    let mut stack: Vec<String> = Vec::new();
    for part in path.to_str().expect("text").split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            stack.pop();
        } else {
            stack.push(part.to_owned());
        }
    }
    let wanted: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    wanted.len() <= stack.len() && wanted.iter().zip(&stack).all(|(wanted, part)| *wanted == "*" || wanted == part)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_added_destination_changes_nothing_that_it_does_not_name(
        elsewhere in 0..CEILINGS.len(), before in entries(), added in entry(), (to, facts) in attempts()
    ) {
        let old = policy("enforce", elsewhere, &before);
        let mut after = before;
        after.push(added);
        let new = policy("enforce", elsewhere, &after);
        let entry = new.destinations.last().expect("the added one");
        if !entry.matches(&to) {
            prop_assert_eq!(old.ceiling_of(&to), new.ceiling_of(&to));
            prop_assert_eq!(judge(&old, &facts), judge(&new, &facts));
        } else if new.ceiling_of(&to) != old.ceiling_of(&to) {
            prop_assert_eq!(&new.destination_of(&to).expect("named").name, &entry.name, "who else?");
        }
    }

    #[test]
    fn the_order_of_destinations_does_not_matter(
        elsewhere in 0..CEILINGS.len(), entries in entries(), (to, facts) in attempts()
    ) {
        let forwards = policy("enforce", elsewhere, &entries);
        let backwards = policy("enforce", elsewhere, &entries.into_iter().rev().collect::<Vec<_>>());
        prop_assert_eq!(forwards.ceiling_of(&to), backwards.ceiling_of(&to));
        prop_assert_eq!(judge(&forwards, &facts).verdict, judge(&backwards, &facts).verdict);
        prop_assert_eq!(forwards.severity(&facts.attempt), backwards.severity(&facts.attempt));
    }

    #[test]
    fn of_directories_the_deepest_wins_and_of_equals_the_lower_ceiling(
        elsewhere in 0..CEILINGS.len(),
        named in proptest::collection::vec((proptest::sample::select(&PATHS[..]), 0..CEILINGS.len()), 0..6),
        path in path(),
    ) {
        let entries: Vec<Entry> = named
            .iter()
            .map(|(path, ceiling)| plain(format!("paths = [{path:?}]"), *ceiling))
            .collect();
        let depth = |pattern: &str| pattern.split('/').filter(|part| !part.is_empty()).count();
        let matching: Vec<_> = named.iter().filter(|(pattern, _)| lies_below(&path, pattern)).collect();
        let deepest = matching.iter().map(|(pattern, _)| depth(pattern)).max();
        let equals = matching.iter().filter(|(pattern, _)| Some(depth(pattern)) == deepest);
        let lowest = equals.map(|(_, ceiling)| *ceiling).min();
        let policy = policy("enforce", elsewhere, &entries);
        let got = policy.ceiling_of(&Destination::Path { path, mount: None });
        prop_assert_eq!(policy.ceiling_name(got), CEILINGS[lowest.unwrap_or(elsewhere)]);
    }

    #[test]
    fn of_networks_the_longest_prefix_wins(
        elsewhere in 0..CEILINGS.len(),
        named in proptest::collection::vec((0_u32..=32, any::<u32>(), 0..CEILINGS.len()), 0..6),
        address in any::<u32>(),
        near in any::<bool>(),
    ) {
        let mask = |length: u32| if length == 0 { 0 } else { u32::MAX << (32 - length) };
        // Half of the networks hold the address, for random ones hardly ever do.
        let named: Vec<_> = named
            .into_iter()
            .map(|(length, bits, ceiling)| ((if near { address } else { bits }) & mask(length), length, ceiling))
            .collect();
        let entries: Vec<Entry> = named
            .iter()
            .map(|(network, length, ceiling)| {
                plain(format!("hosts = [\"{}/{length}\"]", Ipv4Addr::from(*network)), *ceiling)
            })
            .collect();
        let holds = |network: u32, length: u32| address & mask(length) == network;
        let matching: Vec<_> = named.iter().filter(|(network, length, _)| holds(*network, *length)).collect();
        let longest = matching.iter().map(|(_, length, _)| *length).max();
        let equals = matching.iter().filter(|(_, length, _)| Some(*length) == longest);
        let lowest = equals.map(|(_, _, ceiling)| *ceiling).min();
        let policy = policy("enforce", elsewhere, &entries);
        let address = Some(Ipv4Addr::from(address).to_ipv6_mapped().into());
        let to = Destination::Host { name: None, address, port: 22 };
        prop_assert_eq!(policy.ceiling_name(policy.ceiling_of(&to)), CEILINGS[lowest.unwrap_or(elsewhere)]);
    }

    #[test]
    fn nothing_unnamed_gets_more_than_elsewhere(
        elsewhere in 0..CEILINGS.len(), entries in entries(), to in destination()
    ) {
        let policy = policy("enforce", elsewhere, &entries);
        if !policy.destinations.iter().any(|entry| entry.matches(&to)) {
            prop_assert_eq!(policy.ceiling_name(policy.ceiling_of(&to)), CEILINGS[elsewhere]);
        }
    }

    #[test]
    fn a_lower_tier_is_never_refused_where_a_higher_one_is_allowed(
        elsewhere in 0..CEILINGS.len(), entries in entries(), (_, facts) in attempts(), lower in 0_u8..3
    ) {
        let policy = policy("enforce", elsewhere, &entries);
        let mut smaller = facts.clone();
        let (Attempt::Transfer { label, .. } | Attempt::Open { label, .. }) = &mut smaller.attempt;
        label.tier = label.tier.min(Tier(lower));
        if judge(&policy, &facts).verdict != Verdict::Block {
            prop_assert_ne!(judge(&policy, &smaller).verdict, Verdict::Block);
        }
    }

    #[test]
    fn audit_and_enforce_differ_in_nothing_but_the_answer(
        elsewhere in 0..CEILINGS.len(), entries in entries(), (_, facts) in attempts()
    ) {
        let (enforce, audit) = (policy("enforce", elsewhere, &entries), policy("audit", elsewhere, &entries));
        let (enforced, audited) = (judge(&enforce, &facts), judge(&audit, &facts));
        prop_assert_eq!((enforced.verdict, enforced.ceiling), (audited.verdict, audited.ceiling));
        prop_assert_eq!(&enforced.rule, &audited.rule);
        prop_assert_eq!(audited.answer(), Answer::Allow);
        prop_assert_eq!(enforced.answer() == Answer::Deny, enforced.verdict == Verdict::Block);
        prop_assert!(explain(&audit, &facts, &audited).starts_with(&explain(&enforce, &facts, &enforced)));
    }

    #[test]
    fn a_larger_picture_never_has_a_lower_tier(
        megapixels in 0.0..40.0, scale in proptest::option::of(0.0..1.5), bit_depth in 1_u8..33,
        more in 0.0..10.0, longer in 0.0..0.5, deeper in 0_u8..16,
    ) {
        let policy = policy("enforce", 0, &[]);
        let small = Measure { megapixels, scale, bit_depth };
        let large = Measure {
            megapixels: megapixels + more,
            scale: scale.map(|scale| scale + longer),
            bit_depth: bit_depth + deeper,
        };
        prop_assert!(policy.tier_of(&small) <= policy.tier_of(&large));
    }

    #[test]
    fn a_ceiling_admits_its_tier_and_no_higher_one(ceiling in 0_u8..5, tier in 0_u8..5) {
        prop_assert_eq!(Ceiling::UpTo(Tier(ceiling)).admits(Tier(tier)), tier <= ceiling);
        prop_assert!(!Ceiling::None.admits(Tier(tier)));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        points_into_the_text(&text)?;
    }

    #[test]
    fn no_change_to_a_policy_makes_the_parser_panic(changes in changes()) {
        points_into_the_text(&changed(changes))?;
    }

    #[test]
    fn no_destination_makes_its_parser_panic(text in any::<String>(), like in "[a-z0-9.:/\\[\\]*%-]{0,24}") {
        let _ = vitrine_policy::parse_destination(&text);
        let _ = vitrine_policy::parse_destination(&like);
        let _ = vitrine_policy::parse_destination(&format!("usb:{like}"));
    }
}

/// Where, how much, and what instead.
type Change = (usize, usize, String);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let piece = prop_oneof![
        "[\\[\\]{}=\"'.,#\n0-9a-z -]{0,6}",
        any::<char>().prop_map(String::from),
        proptest::sample::select(
            &["[[", "]]", "[a]\n", "a.b = 1\n", "\"\"\"", "inf", "-1", "\u{202e}", "\r\n", "\t"][..]
        )
        .prop_map(str::to_owned),
    ];
    proptest::collection::vec((any::<usize>(), 0_usize..40, piece), 1..8)
}

fn changed(changes: Vec<Change>) -> String {
    let mut text = include_str!("../examples/museum.toml").to_owned();
    for (at, length, piece) in changes {
        let boundary = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let start = boundary(at % (text.len() + 1));
        let end = boundary(start + length).max(start);
        text.replace_range(start..end, &piece);
    }
    text
}

/// Every mistake stands at a place that exists, and is shown in words that a terminal does not obey.
fn points_into_the_text(text: &str) -> Result<(), TestCaseError> {
    let Err(mistakes) = Policy::parse("policy.toml", text) else { return Ok(()) };
    prop_assert!(!mistakes.mistakes.is_empty());
    for mistake in &mistakes.mistakes {
        let line = text.split('\n').nth(mistake.line - 1).expect("a line of the file");
        prop_assert!(mistake.column <= line.chars().count() + 1);
        prop_assert!(mistake.carets.trim_start_matches(' ').bytes().all(|byte| byte == b'^'));
    }
    prop_assert!(!mistakes.to_string().chars().any(|letter| letter.is_control() && letter != '\n'));
    Ok(())
}

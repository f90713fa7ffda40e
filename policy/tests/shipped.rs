//! The policies that come with the product: the installed one tells of every key, and all of them hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may end loudly

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use vitrine_policy::Policy;
use vitrine_policy::cases::TestOutcome;
use vitrine_policy::decision::Mode;

const INSTALLED: &str = include_str!("../../packaging/etc/policy.toml");

fn holds(name: &str, text: &str) -> Policy {
    let policy = Policy::parse(name, text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let failed: Vec<TestOutcome> = policy.run_tests().into_iter().filter(|test| !test.passed).collect();
    assert!(failed.is_empty() && !policy.tests.is_empty(), "{name}: {failed:#?}");
    assert!(policy.doubts.mistakes.is_empty(), "{name}: {}", policy.doubts);
    policy
}

/// The text with what is commented out, and not prose, in force.
fn uncommented(text: &str) -> String {
    let setting =
        |line: &str| line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let line = |line| str::strip_prefix(line, "#").filter(|rest| setting(rest)).unwrap_or(line);
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The keys that a table may have, as the parser names them when it meets another.
fn keys(text: &str) -> BTreeSet<String> {
    let mistakes = Policy::parse("policy.toml", text).expect_err("an unknown key").mistakes;
    let unknown = mistakes.iter().find(|mistake| mistake.message.contains("`no-such-key`")).expect("the unknown key");
    let expected = unknown.expected.as_deref().unwrap_or_default();
    assert!(!expected.contains('…'), "not all keys are told: {expected}");
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_installed_policy_protects_and_blocks_nothing_and_all_that_is_commented_out_holds_too() {
    let installed = holds("policy.toml", INSTALLED);
    assert!(installed.mode == Mode::Audit && installed.collections.is_empty());
    let all = holds("uncommented", &uncommented(INSTALLED));
    assert_eq!((all.collections.len(), all.destinations.len(), all.programs.len(), all.tests.len()), (1, 4, 2, 6));
}

#[test]
fn the_installed_policy_has_every_key_with_a_comment() {
    let tables = [
        ("", "no-such-key = 1\n"),
        ("[[collection]]", "[[collection]]\nno-such-key = 1\n"),
        ("[[tier]]", "[[tier]]\nno-such-key = 1\n"),
        ("[[destination]]", "[[destination]]\nno-such-key = 1\n"),
        ("[elsewhere]", "[elsewhere]\nno-such-key = 1\n"),
        ("[[program]]", "[[program]]\nno-such-key = 1\n"),
        ("[[test]]", "[[test]]\nno-such-key = 1\n"),
    ];
    let text = uncommented(INSTALLED);
    for (head, with_unknown) in tables {
        let mut table = "";
        let mut commented = BTreeSet::new();
        for line in text.lines() {
            if line.starts_with('[') {
                table = line;
                commented.extend(head.is_empty().then(|| line.trim_matches(['[', ']']).to_owned()));
            } else if let Some((key, value)) = line.split_once(" = ")
                && table == head
                && value.contains(" # ")
            {
                commented.insert(key.to_owned());
            }
        }
        let missing: Vec<_> = keys(with_unknown).into_iter().filter(|key| !commented.contains(key)).collect();
        assert!(missing.is_empty(), "{head} lacks a line with a comment for {missing:?}");
    }
    for (table, inner) in [
        ("usb", "[[destination]]\nusb = [{ no-such-key = 1 }]\n"),
        ("transfer", "[[test]]\ntransfer = { no-such-key = 1 }\n"),
        ("open", "[[test]]\nopen = { no-such-key = 1 }\n"),
    ] {
        for key in keys(inner) {
            let named = |line: &str| line.starts_with(table) && line.contains(&format!("{key} = "));
            assert!(text.lines().any(named), "no `{table}` names `{key}`");
        }
    }
}

#[test]
fn every_example_holds_what_it_promises() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut names: Vec<_> = fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 4);
    for name in names {
        let text = fs::read_to_string(&name).unwrap();
        assert!(text.starts_with("# "), "{}: it begins with what it is for", name.display());
        holds(&name.display().to_string(), &text);
    }
}

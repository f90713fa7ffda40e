//! What a person reads who made a mistake in a policy. `golden/` holds bad policies and the exact text that
//! they earn; `UPDATE_GOLDEN=1` writes it anew, to be read before it is committed.
#![allow(clippy::expect_used, reason = "what should be there and is not fails its test")]

use std::fs;
use std::path::{Path, PathBuf};

use unicode_width::UnicodeWidthStr;
use vitrine_policy::record::Severity;
use vitrine_policy::{Diagnostics, MAX_BYTES, Policy};

const MUSEUM: &str = include_str!("../examples/museum.toml");

fn mistakes(text: &str) -> Diagnostics {
    Policy::parse("policy.toml", text).expect_err("a policy with mistakes")
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

#[test]
fn bad_policies_earn_the_golden_text() {
    let mut seen = 0;
    let mut differing = Vec::new();
    for entry in fs::read_dir(golden()).expect("the golden directory") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        seen += 1;
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a policy");
        let got = Policy::parse(&name, &text).expect_err(&name).to_string();
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &got).expect("golden text written");
        } else if fs::read_to_string(&expected).unwrap_or_default() != got {
            differing.push(format!("--- {name} now says\n{got}"));
        }
    }
    assert!(seen >= 7, "only {seen} golden policies");
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn a_mistake_names_its_place_and_the_nearest_name() {
    let text = MUSEUM.replace("ceiling = \"licensed\"", "ceiling = \"lisenced\"");
    let line = text.lines().position(|line| line.contains("lisenced")).expect("replaced") + 1;
    assert_eq!(
        mistakes(&text).to_string(),
        format!(
            "policy.toml:{line}:11: there is no tier `lisenced`\n    \
             ceiling = \"lisenced\"\n              ^^^^^^^^^^\n    \
             expected: `public`, `licensed`, `master`, `none`\n    did you mean `licensed`?\n"
        )
    );
}

#[test]
fn the_time_of_a_reason_is_checked() {
    for (written, expected) in [
        ("{ minutes = 0 }", "`minutes` is out of range"),
        ("{ minutes = 1441 }", "`minutes` is out of range"),
        ("{ minutes = nan }", "`minutes` is out of range"),
        ("{ minutes = \"15\" }", "`minutes` has a text"),
        ("{ seconds = 15 }", "unknown key `seconds` in `justify`"),
        ("15", "`justify` has a whole number"),
        ("{ approval = \"ines\" }", "`approval` has a text"),
        ("{ approval = { hours = 169 } }", "`hours` is out of range"),
        ("{ approval = { hours = 0 } }", "`hours` is out of range"),
        ("{ approval = { days = 1 } }", "unknown key `days` in `approval`"),
        ("{ aproval = true }", "unknown key `aproval` in `justify`"),
    ] {
        let text = MUSEUM.replace("justify = true ", &format!("justify = {written} "));
        let told: Vec<String> = mistakes(&text).mistakes.into_iter().map(|mistake| mistake.message).collect();
        assert_eq!(told, [expected], "{written}");
    }
}

#[test]
fn an_unknown_severity_is_pointed_at_with_the_nearest_one() {
    let policy = |collection: &str, destination: &str| {
        format!(
            "version = 1\nmode = \"enforce\"\n[[collection]]\nname = \"m\"\npaths = [\"/m\"]\nseverity = {collection}\n\
             [[destination]]\nname = \"d\"\npaths = [\"/d\"]\nceiling = \"none\"\nseverity = {destination}\n"
        )
    };
    assert_eq!(
        mistakes(&policy("\"critcal\"", "\"informational\"")).to_string(),
        "policy.toml:6:12: unknown severity `critcal`\n    severity = \"critcal\"\n               ^^^^^^^^^\n    \
         expected: `low`, `medium`, `high` or `critical`\n    did you mean `critical`?\n\
         policy.toml:11:12: unknown severity `informational`\n    severity = \"informational\"\n               \
         ^^^^^^^^^^^^^^^\n    expected: `low`, `medium`, `high` or `critical`\n"
    );
    let found = mistakes(&policy("[]", "\"\""));
    let told: Vec<_> = found.mistakes.iter().map(|mistake| (mistake.line, mistake.message.as_str())).collect();
    assert_eq!(told, [(6, "`severity` has a list"), (11, "`severity` is empty")]);
    let fine = Policy::parse("policy.toml", &policy("\"low\"", "\"critical\"")).expect("a policy");
    let said = (fine.collections[0].severity, fine.destinations[0].severity);
    assert_eq!(said, (Some(Severity::Low), Some(Severity::Critical)));
    let museum = Policy::parse("policy.toml", MUSEUM).expect("a policy");
    assert!(museum.collections.iter().all(|collection| collection.severity.is_none()), "who says nothing");
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = MUSEUM
        .replace("max-scale = 0.6 ", "max-scale = 6.0 ")
        .replace("name = \"gimp\"", "name = \"gmip\"")
        .replace("justify = true", "justfy = true");
    let told: Vec<String> = mistakes(&text).mistakes.into_iter().map(|mistake| mistake.message).collect();
    assert_eq!(
        told,
        [
            "there is no program `gimp`",
            "`max-scale` is out of range",
            "unknown key `justfy` in [[destination]]",
            "there is no program `gimp`",
        ]
    );
}

#[test]
fn a_vault_may_name_a_program_that_is_not_there_but_the_author_is_told() {
    let text =
        "version = 1\nmode = \"audit\"\n[[collection]]\nname = \"m\"\npaths = [\"/m\"]\nopened-by = [\"gimp\"]\n";
    let policy = Policy::parse("policy.toml", text).expect("a policy");
    assert_eq!(policy.doubts.mistakes.len(), 1);
    assert_eq!(policy.doubts.mistakes[0].message, "there is no program `gimp`: nobody is taken for it");
    assert!(Policy::parse("policy.toml", MUSEUM).expect("a policy").doubts.mistakes.is_empty());
}

#[test]
fn a_large_file_is_not_even_read() {
    let text = "#".repeat(MAX_BYTES + 1);
    let found = mistakes(&text);
    assert_eq!((found.mistakes.len(), found.mistakes[0].line), (1, 1));
    assert_eq!(found.mistakes[0].message, format!("the policy has {} bytes", MAX_BYTES + 1));
    let largest = format!("{MUSEUM}{}", "#".repeat(MAX_BYTES - MUSEUM.len()));
    assert!(Policy::parse("policy.toml", &largest).is_ok());
}

#[test]
fn a_hundred_mistakes_are_shown_and_the_rest_is_counted() {
    let keys: String = (0..150).map(|number| format!("key-{number} = 1\n")).collect();
    let found = mistakes(&format!("version = 1\nmode = \"audit\"\n{keys}"));
    assert_eq!((found.mistakes.len(), found.more), (100, 50));
    assert!(found.to_string().ends_with("policy.toml: 50 more mistakes are not shown\n"));
}

#[test]
fn a_thousand_destinations_are_enough() {
    let many = |count: usize| -> String {
        let head = "version = 1\nmode = \"audit\"\n".to_owned();
        (0..count).fold(head, |text, number| {
            text + &format!("[[destination]]\nname = \"{number}\"\npaths = [\"/{number}\"]\nceiling = \"none\"\n")
        })
    };
    assert!(Policy::parse("policy.toml", &many(1000)).is_ok());
    let found = mistakes(&many(1001));
    assert_eq!(found.mistakes[0].message, "`destination` has 1001 entries");
    assert_eq!(found.mistakes[0].line, 4003, "it points at the first that is too much");
}

#[test]
fn nothing_in_a_policy_reaches_the_terminal_unescaped() {
    for name in ["terminal.toml", "values.toml"] {
        let text = fs::read_to_string(golden().join(name)).expect("a policy");
        let told = Policy::parse("a\u{1b}[2Jb.toml", &text).expect_err(name).to_string();
        let obeyed =
            |letter: char| (letter.is_control() && letter != '\n') || ('\u{202a}'..='\u{202e}').contains(&letter);
        assert_eq!(told.chars().find(|letter| obeyed(*letter)), None, "{told}");
    }
}

#[test]
fn carets_stand_under_wide_characters_and_tabs() {
    let found = mistakes("version = 1\nmode = \"audit\"\n\t\"故宮\" = 1\n");
    let mistake = &found.mistakes[0];
    assert_eq!((mistake.line, mistake.column), (3, 2));
    assert_eq!(mistake.excerpt, "    \"故宮\" = 1");
    assert_eq!(mistake.carets, "    ^^^^^^");
}

#[test]
fn a_long_line_is_cut_around_the_mistake() {
    let hosts = |count: usize| "\"good.example\", ".repeat(count);
    let text = format!(
        "version = 1\nmode = \"audit\"\n[[destination]]\nname = \"x\"\nceiling = \"none\"\nhosts = [{}\"bad host\", {}]\n",
        hosts(200),
        hosts(200)
    );
    let mistake = &mistakes(&text).mistakes[0];
    assert_eq!(mistake.column, "hosts = [".len() + 200 * "\"good.example\", ".len() + 1);
    assert!(mistake.excerpt.width() <= 102 && mistake.excerpt.starts_with('…') && mistake.excerpt.ends_with('…'));
    let start = mistake.carets.find('^').expect("carets");
    let under: String = mistake.excerpt.chars().skip(start).take(mistake.carets.len() - start).collect();
    assert_eq!(under, "\"bad host\"");
}

#[test]
fn a_file_of_nothing_but_mistakes_is_answered_soon() {
    for text in
        ["[".repeat(MAX_BYTES), "\"\n".repeat(MAX_BYTES / 2), "a.".repeat(MAX_BYTES / 2), "x=1\n".repeat(MAX_BYTES / 4)]
    {
        let found = mistakes(&text);
        assert!(!found.mistakes.is_empty());
    }
}

#[test]
fn every_table_may_be_deep_without_harm() {
    let dots = "a.".repeat(MAX_BYTES / 4);
    for text in [format!("[{dots}a]\n{dots}a = 1"), format!("x = 1\nx = {{{dots}a = 1}}"), format!("[[{dots}a]]")] {
        assert!(!mistakes(&text).mistakes.is_empty());
    }
}

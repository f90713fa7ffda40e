//! `vitrine policy`: checks, explains and tests a policy file without putting it in force.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use vitrine_policy::decision::{Answer, Verdict};
use vitrine_policy::facts::{Attempt, Facts, History, Justification, Label, Origin, Program};
use vitrine_policy::policy::{ELSEWHERE, MASTER};
use vitrine_policy::record::printable;
use vitrine_policy::{Diagnostics, Policy};

use super::FOUND;
use super::index::misuse;
use super::replay::{self, Again};
use super::signing::{self, Keygen, Sign, Verify};
use crate::policy_file::{PolicyFile, read};

/// Checks, explains and tests a policy file.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Finds every mistake of a policy file, with its line and column.
    #[command(after_help = "Exit status: 0 no mistake, 1 mistakes were found, 2 the file cannot be read.\n\n\
                      Examples:\n  vitrine policy check /etc/vitrine/policy.toml\n  vitrine policy check --json policy.toml | jq '.[].line'")]
    Check(File),
    /// Says in sentences what the policy decides about one transfer, and why.
    #[command(after_help = "Examples:\n  vitrine policy explain policy.toml --tier master --to 198.51.100.7:22\n  \
                      vitrine policy explain policy.toml --tier public --to /mnt/web/new.jpg --program magick\n  \
                      vitrine policy explain policy.toml --tier licensed --to usb:0951:1666:60A44C413FAE --reason 'loan 2024/17'")]
    Explain(Explain),
    /// Runs the [[test]] cases of a policy file.
    #[command(
        after_help = "Exit status: 0 all passed, 1 one failed or the file has mistakes, 2 the file cannot be read.\n\n\
                      Examples:\n  vitrine policy test policy.toml && sudo cp policy.toml /etc/vitrine/policy.toml"
    )]
    Test(File),
    /// Judges anew what was recorded: what `enforce`, or an edited policy, would have refused.
    #[command(
        after_help = "What an agent in `enforce` would have counted towards `max-coverage` and `max-objects-per-day` may be \
                      less than what was counted in `audit`, where nothing is refused. A record that does not hold enough \
                      is counted and not judged.\n\
                      Exit status: 0 told, 1 the policy has mistakes, 2 misuse, 3 the records cannot be read.\n\n\
                      Examples:\n  sudo vitrine policy replay --since 14d\n  \
                      sudo vitrine policy replay --policy edited.toml --json | jq .outcomes.block\n  \
                      cat scan-*.ndjson | vitrine policy replay --policy edited.toml -"
    )]
    Replay(Again),
    /// Makes a key pair to sign policies with: NAME.key, to be kept secret, and NAME.pub, for the workstations.
    #[command(after_help = "Examples:\n  vitrine policy keygen --out /root/keys/museum\n\n\
                      Name the public key on every workstation as `policy-key` in /etc/vitrine/agent.toml.")]
    Keygen(Keygen),
    /// Signs a policy file: FILE.minisig is written beside it.
    #[command(after_help = "Exit status: 0 signed, 1 the policy has mistakes or no serial, 2 misuse.\n\n\
                      Examples:\n  vitrine policy sign policy.toml --key /root/keys/museum.key")]
    Sign(Sign),
    /// Checks the signature of a policy file; `minisign -V` does too.
    #[command(after_help = "Exit status: 0 signed with this key, 1 not, 2 misuse.\n\n\
                      Examples:\n  vitrine policy verify policy.toml --public-key museum.pub")]
    Verify(Verify),
}

/// One policy file.
#[derive(Args)]
pub(crate) struct File {
    /// The policy file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One transfer to be explained.
#[derive(Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    file: File,
    /// Name of the tier of what moves; `master` is the highest.
    #[arg(long, value_name = "TIER")]
    tier: String,
    /// Where to: a path, `host:port`, a share (`//nas1/scans`, `nas1:/archive`) or `usb:VENDOR:PRODUCT[:SERIAL]`.
    #[arg(long, value_name = "WHERE")]
    to: String,
    /// The program that moves it: a name in the policy, or the absolute path of an executable.
    #[arg(long, value_name = "NAME")]
    program: Option<String>,
    /// The reason that the user gives.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// A second person has approved it.
    #[arg(long, requires = "reason")]
    approved: bool,
    /// Share of the master's area that would have gone there with it, 0.0 to 1.0.
    #[arg(long, value_name = "SHARE")]
    coverage: Option<f64>,
    /// Distinct objects that would have gone there today with it.
    #[arg(long, value_name = "COUNT")]
    objects_today: Option<u32>,
}

/// Runs the command.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match command {
        Command::Check(file) => check(&file, &mut out),
        Command::Explain(explain) => explain.run(&mut out),
        Command::Test(file) => test(&file, &mut out),
        Command::Replay(again) => replay::run(&again, &mut out),
        Command::Keygen(keygen) => signing::keygen(&keygen, &mut out),
        Command::Sign(sign) => signing::sign(&sign, &mut out),
        Command::Verify(verify) => signing::verify(&verify, &mut out),
    }
}

fn check(file: &File, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let policy = match read(&file.file) {
        Ok(read) => read.policy,
        Err(error) => return misuse(error),
    };
    match (policy, file.json) {
        (Ok(_), true) => writeln!(out, "[]")?,
        (Ok(policy), false) => {
            // What is allowed and probably not meant goes where people look, and not among the mistakes.
            eprint!("{}", policy.doubts);
            writeln!(
                out,
                "{}: no mistake: {}, {}, {}, {}, {}",
                printable(file.file.as_os_str().as_bytes()),
                counted(policy.collections.len(), "collection"),
                counted(policy.tiers.len(), "tier"),
                counted(policy.destinations.len(), "destination"),
                counted(policy.programs.len(), "program"),
                counted(policy.tests.len(), "test")
            )?;
        }
        (Err(mistakes), json) => return complain(&mistakes, json, out),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Prints the mistakes of a policy file.
pub(super) fn complain(mistakes: &Diagnostics, json: bool, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    if json {
        let list: Vec<_> = mistakes
            .mistakes
            .iter()
            .map(|mistake| {
                json!({
                    "file": mistakes.file, "line": mistake.line, "column": mistake.column, "message": mistake.message,
                    "excerpt": mistake.excerpt, "carets": mistake.carets, "expected": mistake.expected,
                    "suggestion": mistake.suggestion,
                })
            })
            .collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
    } else {
        write!(out, "{mistakes}")?;
    }
    Ok(ExitCode::from(FOUND))
}

fn test(file: &File, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let policy = match read(&file.file) {
        Ok(PolicyFile { policy: Ok(policy), .. }) => policy,
        Ok(PolicyFile { policy: Err(mistakes), .. }) => return complain(&mistakes, file.json, out),
        Err(error) => return misuse(error),
    };
    let outcomes = policy.run_tests();
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    if file.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&outcomes)?)?;
    } else {
        let name = printable(file.file.as_os_str().as_bytes());
        for outcome in &outcomes {
            let (expected, got) = (outcome.expected.word(), outcome.got.word());
            if outcome.passed {
                writeln!(out, "{name}:{}:1: test {} passed: {got}", outcome.line, outcome.index)?;
            } else {
                writeln!(
                    out,
                    "{name}:{}:1: test {} FAILED: expected {expected}, got {got}",
                    outcome.line, outcome.index
                )?;
                writeln!(out, "    {}", outcome.explanation)?;
            }
        }
        writeln!(out, "{name}: {} run, {failed} failed", counted(outcomes.len(), "test"))?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

impl Explain {
    fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let policy = match read(&self.file.file) {
            Ok(PolicyFile { policy: Ok(policy), .. }) => policy,
            Ok(PolicyFile { policy: Err(mistakes), .. }) => return complain(&mistakes, self.file.json, out),
            Err(error) => return misuse(error),
        };
        let facts = match self.facts(&policy) {
            Ok(facts) => facts,
            Err(error) => return misuse(error),
        };
        let decision = vitrine_policy::judge(&policy, &facts);
        let explanation = vitrine_policy::explain(&policy, &facts, &decision);
        if !self.file.json {
            writeln!(out, "{explanation}")?;
            return Ok(ExitCode::SUCCESS);
        }
        let destination = match &facts.attempt {
            Attempt::Transfer { destination, .. } => {
                policy.destination_of(destination).map(|entry| entry.name.as_str())
            }
            Attempt::Open { .. } => None,
        };
        let told = json!({
            "verdict": decision.verdict,
            "allowed": decision.verdict != Verdict::Block,
            "denied": decision.answer() == Answer::Deny,
            "mode": decision.mode,
            "rule": decision.rule,
            "destination": destination.unwrap_or(ELSEWHERE),
            "ceiling": decision.ceiling.map(|ceiling| policy.ceiling_name(ceiling)),
            "explanation": explanation,
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&told)?)?;
        Ok(ExitCode::SUCCESS)
    }

    fn facts(&self, policy: &Policy) -> Result<Facts, String> {
        let tier = policy.tier_named(&self.tier).ok_or_else(|| {
            let names: Vec<_> = policy.tiers.iter().map(|tier| tier.name.as_str()).chain([MASTER]).collect();
            format!("the policy has no tier `{}`; its tiers are: {}", self.tier, names.join(", "))
        })?;
        let destination = vitrine_policy::parse_destination(&self.to).map_err(|error| format!("--to: {error}"))?;
        let label = Label { tier, origin: Origin::Measured, masters: vec!["a master".to_owned()] };
        let justification = self.reason.as_deref().map(|reason| Justification::in_case(reason, self.approved));
        let history = History { justification, objects_today: self.objects_today, coverage: self.coverage };
        Ok(Facts { program: self.program(policy)?, attempt: Attempt::Transfer { label, destination, history } })
    }

    fn program(&self, policy: &Policy) -> Result<Program, String> {
        let Some(program) = &self.program else { return Ok(Program::default()) };
        let is_it = |path: &Path| path == Path::new(program);
        let entry = policy.programs.iter().find(|entry| entry.name == *program || is_it(&entry.path));
        match entry {
            Some(entry) => Ok(Program { named: Some(entry.name.clone()), path: entry.path.display().to_string() }),
            None if program.starts_with('/') => Ok(Program { named: None, path: program.clone() }),
            None => {
                let names: Vec<_> = policy.programs.iter().map(|entry| entry.name.as_str()).collect();
                let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                Err(format!("the policy names no program `{program}`; it names: {known}. Or give an absolute path"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cli::index::MISUSE;

    const GOOD: &str = "version = 1\nmode = \"enforce\"\n[[tier]]\nname = \"public\"\nmax-megapixels = 6\n\
        [[destination]]\nname = \"web\"\nhosts = [\"cms.example.org:443\"]\nceiling = \"public\"\n\
        [elsewhere]\nceiling = \"none\"\n[[test]]\ntransfer = { tier = \"master\", to = \"cms.example.org:443\" }\nexpect = \"block\"\n";

    fn written(text: &[u8]) -> (tempfile::TempDir, File) {
        let lab = tempfile::tempdir().unwrap();
        let file = lab.path().join("policy.toml");
        fs::write(&file, text).unwrap();
        (lab, File { file, json: true })
    }

    fn said(run: impl FnOnce(&mut Vec<u8>) -> anyhow::Result<ExitCode>) -> (ExitCode, String) {
        let mut out = Vec::new();
        let code = run(&mut out).unwrap();
        (code, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_good_policy_has_no_mistake_and_its_tests_pass() {
        let (_lab, mut file) = written(GOOD.as_bytes());
        assert_eq!(said(|out| check(&file, out)), (ExitCode::SUCCESS, "[]\n".to_owned()));
        file.json = false;
        assert!(said(|out| check(&file, out)).1.contains("no mistake: 0 collections, 1 tier, 1 destination"));
        let (code, text) = said(|out| test(&file, out));
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(text.ends_with("1 test run, 0 failed\n"), "{text}");
    }

    #[test]
    fn a_failing_test_is_found() {
        let (_lab, file) = written(GOOD.replace("expect = \"block\"", "expect = \"allow\"").as_bytes());
        assert_eq!(said(|out| test(&file, out)).0, ExitCode::from(FOUND));
    }

    #[test]
    fn every_mistake_is_printed_where_it_stands() {
        let (_lab, mut file) =
            written(GOOD.replace("version = 1", "version = 9").replace("\"enforce\"", "\"enforec\"").as_bytes());
        let (code, text) = said(|out| check(&file, out));
        let list: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (code, list.len(), &list[1]["line"], &list[1]["column"]),
            (ExitCode::from(FOUND), 2, &json!(2), &json!(8))
        );
        file.json = false;
        let text = said(|out| check(&file, out)).1;
        assert!(text.contains(&format!("{}:2:8: ", file.file.display())) && text.contains("^^^"), "{text}");
    }

    #[test]
    fn bytes_that_are_no_text_are_a_mistake_with_a_place() {
        let (_lab, mut file) = written(b"version = 1\nmode = \"\xff\"\n");
        file.json = false;
        let (code, text) = said(|out| check(&file, out));
        assert_eq!(code, ExitCode::from(FOUND));
        assert!(text.contains(":2:9: the byte 0xff is no UTF-8"), "{text}");
    }

    #[test]
    fn what_cannot_be_read_is_misuse() {
        for path in ["/nowhere/policy.toml", "/", "/dev/zero"] {
            let file = File { file: path.into(), json: false };
            assert_eq!(said(|out| check(&file, out)), (ExitCode::from(MISUSE), String::new()));
        }
    }

    #[test]
    fn a_decision_is_explained() {
        let explained = |tier: &str, to: &str, program: Option<&str>| {
            let (_lab, file) = written(GOOD.as_bytes());
            let program = program.map(str::to_owned);
            let (tier, to) = (tier.into(), to.into());
            let explain =
                Explain { file, tier, to, program, reason: None, approved: false, coverage: None, objects_today: None };
            said(|out| explain.run(out))
        };
        let (code, text) = explained("public", "cms.example.org:443", Some("/usr/bin/curl"));
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((code, &told["verdict"], &told["destination"]), (ExitCode::SUCCESS, &json!("allow"), &json!("web")));
        let (_, text) = explained("master", "/tmp/x", None);
        assert!(text.contains("\"denied\": true") && text.contains("elsewhere"), "{text}");
        for (tier, to, program) in [("huge", "/tmp", None), ("master", "://", None), ("master", "/tmp", Some("nobody"))]
        {
            assert_eq!(explained(tier, to, program).0, ExitCode::from(MISUSE));
        }
    }
}

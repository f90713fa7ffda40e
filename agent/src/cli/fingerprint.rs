//! `vitrine fingerprint` and `vitrine match`: what identifies files, and which masters they were made from.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use vitrine_fingerprint::{Content, Index, Match as Found, Measurement};
use vitrine_policy::Policy;
use vitrine_policy::facts::Measure;
use vitrine_policy::policy::MASTER;

use super::FOUND;
use super::index::{self, Built, build, limits, misuse, shown};
use crate::measure::{MeasureFailed, measure_each};
use crate::policy_file;

/// The tiers where no policy is given.
const DEFAULT_TIERS: &str = "version = 1\nmode = \"audit\"\n\
    [[tier]]\nname = \"public\"\nmax-megapixels = 6\nmax-scale = 0.6\nmax-bit-depth = 8\n\
    [[tier]]\nname = \"licensed\"\nmax-megapixels = 20\nmax-scale = 0.9\n\
    [elsewhere]\nceiling = \"none\"\n";

/// Prints what identifies files.
#[derive(Args)]
#[command(after_help = "Exit status: 0 all files were read, 1 some could not be read.\n\n\
                  Examples:\n  vitrine fingerprint scan.tif\n  vitrine fingerprint --json *.jpg | jq '.[].digest'")]
pub(crate) struct Fingerprint {
    /// Files to be read.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Print one JSON array.
    #[arg(long)]
    json: bool,
}

/// Finds the masters that files were made from.
#[derive(Args)]
#[command(
    after_help = "Exit status: 0 no file was made from a master, 1 at least one was, 2 misuse, 3 the index cannot be used. \
                  A file that cannot be read (a directory too) is shown with its error and does not change the status.\n\n\
                  --json prints one array of {\"path\", \"matches\": [{\"master\", \"kind\", \"scale\", \"tier\", \
                  \"coverage\", \"score\"}]}; without a match the list is empty, and an unreadable file has an \"error\" \
                  instead. A picture that could not be decoded is compared byte for byte only, and \"unscanned\" says why.\n\n\
                  Examples:\n  vitrine match upload/*.jpg --index masters.db\n  \
                  vitrine match suspect.webp --against /srv/scans/masters --json\n  \
                  vitrine match *.png --policy /etc/vitrine/policy.toml"
)]
pub(crate) struct Match {
    /// Files to be compared.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The index of the masters; without it, that of the agent.
    #[arg(long, value_name = "DB", conflicts_with = "against")]
    index: Option<PathBuf>,
    /// A directory of masters that is fingerprinted for this once.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// The policy whose tiers are named; without it, public (6 megapixels, 0.6, 8 bits) and licensed (20, 0.9).
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Print one JSON array.
    #[arg(long)]
    json: bool,
}

/// Runs `vitrine fingerprint`.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn fingerprint(command: Fingerprint) -> anyhow::Result<ExitCode> {
    command.run(&mut io::stdout().lock())
}

/// Runs `vitrine match`.
///
/// # Errors
/// The index cannot be used, or standard output not be written.
pub(crate) fn find(command: Match) -> anyhow::Result<ExitCode> {
    command.run(&mut io::stdout().lock())
}

/// Reads all files, with a bar where there are many.
fn read_all(files: Vec<PathBuf>, mut then: impl FnMut(PathBuf, Result<Measurement, MeasureFailed>)) -> io::Result<()> {
    let bar = index::bar(files.len());
    let read = measure_each(files, limits(), |path, measured| {
        then(path, measured.map(|(_, measurement)| measurement));
        bar.inc(1);
    });
    bar.finish_and_clear();
    read
}

impl Fingerprint {
    fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let (mut told, mut unreadable) = (Vec::new(), 0);
        let mut text = String::new();
        read_all(self.files, |path, measured| match measured {
            Ok(measurement) => {
                text += &in_words(&path, &measurement);
                told.push(in_json(&path, &measurement));
            }
            Err(error) => {
                unreadable += 1;
                if !self.json {
                    eprintln!("vitrine: {}: {error}", shown(&path));
                }
                told.push(json!({"path": shown(&path), "error": error.to_string()}));
            }
        })?;
        if self.json {
            text = serde_json::to_string_pretty(&told)? + "\n";
        }
        out.write_all(text.as_bytes())?;
        Ok(if unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
    }
}

fn in_words(path: &Path, measurement: &Measurement) -> String {
    let what = match &measurement.content {
        Content::Picture(picture) => format!(
            "{}, {} x {} pixels ({:.1} megapixels), {} bits a channel",
            picture.format,
            picture.width,
            picture.height,
            picture.megapixels(),
            picture.bit_depth
        ),
        Content::Unscanned(unscanned) => format!("{}, not decoded: {}", unscanned.format, unscanned.reason),
        Content::Other => "no picture of a known format".to_owned(),
    };
    format!("{}\n  blake3  {}\n  bytes   {}\n  content {what}\n", shown(path), measurement.digest, measurement.bytes)
}

fn in_json(path: &Path, measurement: &Measurement) -> Value {
    let mut told = json!({"path": shown(path), "digest": measurement.digest, "bytes": measurement.bytes});
    match &measurement.content {
        Content::Picture(picture) => {
            told["picture"] = json!({
                "format": picture.format, "width": picture.width, "height": picture.height,
                "megapixels": picture.megapixels(), "bit_depth": picture.bit_depth, "fingerprint": picture.fingerprint,
            });
        }
        Content::Unscanned(unscanned) => told["unscanned"] = json!(unscanned.reason.to_string()),
        Content::Other => {}
    }
    told
}

impl Match {
    fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let policy = match self.tiers() {
            Ok(policy) => policy,
            Err(error) => return misuse(error),
        };
        let masters = match &self.against {
            None => Index::open_read_only(&index::place(self.index.as_deref()))?,
            Some(directory) => match fs::canonicalize(directory) {
                Ok(real) if real.is_dir() => compared_with(&real)?,
                Ok(_) => return misuse(format_args!("--against {}: expected a directory", shown(directory))),
                Err(error) => return misuse(format_args!("--against {}: {error}", shown(directory))),
            },
        };
        let (mut told, mut text, mut matched) = (Vec::new(), String::new(), false);
        let mut result = Ok(());
        read_all(self.files, |path, measured| {
            let path = shown(&path);
            let measurement = match measured {
                Ok(measurement) => measurement,
                Err(error) => {
                    text += &format!("{path}: {error}\n");
                    told.push(json!({"path": path, "error": error.to_string()}));
                    return;
                }
            };
            let found = match masters.find(&measurement) {
                Ok(found) => found,
                Err(error) => {
                    result = Err(error);
                    return;
                }
            };
            matched |= !found.is_empty();
            if found.is_empty() {
                text += &format!("{path}: made from no master\n");
            }
            let mut matches = Vec::new();
            for found in &found {
                let kind = json!(found.kind);
                let tier = tier(&policy, &measurement, found);
                let master = shown(&found.master.path);
                text += &format!(
                    "{path}: {} of {master}, scale {:.3}, tier {tier}, coverage {:.2}, score {:.2}\n",
                    kind.as_str().unwrap_or_default(),
                    found.scale,
                    found.coverage,
                    found.score
                );
                matches.push(json!({
                    "master": master, "kind": kind, "scale": found.scale, "tier": tier, "coverage": found.coverage,
                    "score": found.score,
                }));
            }
            let mut entry = json!({"path": path, "matches": matches});
            if let Content::Unscanned(unscanned) = &measurement.content {
                text += &format!("{path}: compared byte for byte only: {}\n", unscanned.reason);
                entry["unscanned"] = json!(unscanned.reason.to_string());
            }
            told.push(entry);
        })?;
        result?;
        if self.json {
            text = serde_json::to_string_pretty(&told)? + "\n";
        }
        out.write_all(text.as_bytes())?;
        Ok(if matched { ExitCode::from(FOUND) } else { ExitCode::SUCCESS })
    }

    /// A policy for its tiers.
    fn tiers(&self) -> Result<Policy, String> {
        let Some(path) = &self.policy else {
            return Policy::parse("the default tiers", DEFAULT_TIERS).map_err(|mistakes| mistakes.to_string());
        };
        policy_file::read(path)?
            .policy
            .map_err(|mistakes| format!("the policy has mistakes; `vitrine policy check` shows them all\n{mistakes}"))
    }
}

/// An index in memory of all files below a directory.
fn compared_with(directory: &Path) -> anyhow::Result<Index> {
    let masters = Index::in_memory()?;
    let mut built = Built::default();
    build(&masters, directory, limits(), &mut built)?;
    for (path, why) in &built.failed {
        eprintln!("vitrine: {}: not compared with: {why}", shown(path));
    }
    Ok(masters)
}

/// The tier of a file as far as it was made from this master. What cannot be measured counts as the master.
fn tier(policy: &Policy, measurement: &Measurement, found: &Found) -> String {
    let measured = match &measurement.content {
        Content::Picture(picture) => Some((picture.megapixels(), picture.bit_depth)),
        Content::Unscanned(unscanned) => unscanned.size.map(|size| (size.megapixels(), size.bit_depth)),
        Content::Other => None,
    };
    let Some((megapixels, bit_depth)) = measured else { return MASTER.to_owned() };
    let measure = Measure { megapixels, scale: Some(found.scale), bit_depth };
    policy.tier_name(policy.tier_of(&measure)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(run: impl FnOnce(&mut Vec<u8>) -> anyhow::Result<ExitCode>) -> (ExitCode, Value) {
        let mut out = Vec::new();
        let code = run(&mut out).unwrap();
        (code, serde_json::from_slice(&out).unwrap())
    }

    fn lab() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let lab = tempfile::tempdir().unwrap();
        let masters = lab.path().join("masters");
        fs::create_dir(&masters).unwrap();
        fs::write(masters.join("one.tif"), "a master that is no picture").unwrap();
        let copy = lab.path().join("copy");
        fs::copy(masters.join("one.tif"), &copy).unwrap();
        (lab, masters, copy)
    }

    fn compare(files: Vec<PathBuf>, against: &Path) -> (ExitCode, Value) {
        let command = Match { files, index: None, against: Some(against.to_owned()), policy: None, json: true };
        said(|out| command.run(out))
    }

    #[test]
    fn a_copy_is_found_and_others_are_not() {
        let (lab, masters, copy) = lab();
        let other = lab.path().join("other");
        fs::write(&other, "something else").unwrap();
        let (code, told) = compare(vec![copy, other.clone()], &masters);
        let found = &told[0]["matches"][0];
        assert_eq!((code, &found["kind"], &found["tier"]), (ExitCode::from(FOUND), &json!("exact"), &json!("master")));
        assert_eq!(told[1], json!({"path": shown(&other), "matches": []}));
        assert_eq!(compare(vec![other], &masters).0, ExitCode::SUCCESS);
    }

    #[test]
    fn what_cannot_be_read_has_an_error() {
        let (lab, masters, _) = lab();
        let (code, told) = compare(vec![lab.path().to_owned(), lab.path().join("absent")], &masters);
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(told[0]["error"].is_string() && told[1]["error"].is_string(), "{told}");
        let (code, told) = said(|out| Fingerprint { files: vec!["/dev/zero".into()], json: true }.run(out));
        assert!(code == ExitCode::from(FOUND) && told[0]["error"].is_string(), "{told}");
    }

    #[test]
    fn a_file_has_a_digest() {
        let (_lab, _, copy) = lab();
        let (code, told) = said(|out| Fingerprint { files: vec![copy], json: true }.run(out));
        let digest = blake3::hash(b"a master that is no picture").to_hex();
        assert_eq!((code, told[0]["digest"].as_str()), (ExitCode::SUCCESS, Some(digest.as_str())));
    }

    #[test]
    fn tiers_are_those_of_the_policy() {
        let command = Match { files: vec![], index: None, against: None, policy: None, json: true };
        let policy = command.tiers().unwrap();
        let tier = |megapixels, scale, bit_depth| {
            policy.tier_name(policy.tier_of(&Measure { megapixels, scale: Some(scale), bit_depth })).to_owned()
        };
        assert_eq!([tier(6.0, 0.5, 8), tier(6.0, 0.5, 16), tier(20.0, 0.95, 8)], ["public", "licensed", "master"]);
        let wrong = Match { policy: Some("/nowhere".into()), ..command };
        assert_eq!(wrong.run(&mut Vec::new()).unwrap(), ExitCode::from(index::MISUSE));
    }
}

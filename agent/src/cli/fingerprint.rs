//! `vitrine fingerprint` and `vitrine match`: what identifies files, and which masters they were made from.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};
use vitrine_fingerprint::{Content, Index, Inside, Match as Found, Measurement};
use vitrine_policy::Policy;
use vitrine_policy::record::printable;

use super::FOUND;
use super::index::{self, Built, build, limits, misuse, shown};
use crate::policy_file;
use crate::recognise::Sighting;
use vitrine_worker::{Look, MeasureFailed, measure_each};

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
                  \"coverage\", \"score\", \"region\", \"inside\"}]}; \"inside\" is where in the file it was found, if not the \
                  file itself. Without a match the list is empty, and an unreadable file has an \"error\" instead. What could \
                  not be looked into is compared byte for byte only, and \"unscanned\" says why.\n\n\
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

/// Reads all files, with a bar where there are many; `look` gets what is inside.
fn read_all<T: Send + 'static>(
    files: Vec<PathBuf>,
    look: impl Fn(Inside) -> T + Send + Sync + 'static,
    mut then: impl FnMut(PathBuf, Result<(Measurement, Vec<T>), MeasureFailed>),
) -> io::Result<()> {
    let bar = index::bar(files.len());
    let look: Look<Vec<T>> = Arc::new(move |seen, inside| seen.push(look(inside)));
    let read = measure_each(files, limits(), &look, |path, measured| {
        then(path, measured.map(|(_, measurement, inside)| (measurement, inside)));
        bar.inc(1);
    });
    bar.finish_and_clear();
    read
}

impl Fingerprint {
    fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let (mut told, mut unreadable) = (Vec::new(), 0);
        let mut text = String::new();
        let look = |inside: Inside| (printable(inside.path.as_bytes()), inside.measurement.content.to_string());
        read_all(self.files, look, |path, measured| match measured {
            Ok((measurement, inside)) => {
                text += &in_words(&path, &measurement, &inside);
                told.push(in_json(&path, &measurement, &inside));
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

fn in_words(path: &Path, measurement: &Measurement, inside: &[(String, String)]) -> String {
    let Measurement { digest, bytes, content, .. } = measurement;
    let head = format!("{}\n  blake3  {digest}\n  bytes   {bytes}\n  content {content}\n", shown(path));
    // Without a place: the file by its bytes alone, where the process that read it did not come back.
    let inside = inside.iter().filter(|(place, _)| !place.is_empty());
    inside.fold(head, |text, (place, what)| text + &format!("  inside  {place}: {what}\n"))
}

fn in_json(path: &Path, measurement: &Measurement, inside: &[(String, String)]) -> Value {
    let mut told = json!({"path": shown(path), "digest": measurement.digest, "bytes": measurement.bytes});
    if let Content::Picture(picture) = &measurement.content {
        told["picture"] = json!({
            "format": picture.format, "width": picture.width, "height": picture.height,
            "megapixels": picture.megapixels(), "bit_depth": picture.bit_depth, "fingerprint": picture.fingerprint,
        });
    }
    if let Some(why) = measurement.content.unseen() {
        told["unscanned"] = json!(why);
    }
    if !inside.is_empty() {
        told["inside"] = inside.iter().map(|(place, what)| json!({"path": place, "content": what})).collect();
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
        let masters = Arc::new(masters);
        let (mut told, mut text, mut matched) = (Vec::new(), String::new(), false);
        let mut result = Ok(());
        let shared = masters.clone();
        let look = move |inside: Inside| {
            let unseen = inside.measurement.content.unseen();
            Sighting::of(&shared, printable(inside.path.as_bytes()), &inside.measurement).map(|seen| (seen, unseen))
        };
        read_all(self.files, look, |path, measured| {
            let path = shown(&path);
            let (measurement, inside) = match measured {
                Ok(measured) => measured,
                Err(error) => {
                    text += &format!("{path}: {error}\n");
                    told.push(json!({"path": path, "error": error.to_string()}));
                    return;
                }
            };
            let itself = Sighting::of(&masters, String::new(), &measurement);
            let seen = std::iter::once(itself.map(|seen| (seen, measurement.content.unseen()))).chain(inside);
            let (mut matches, mut unscanned) = (Vec::new(), Vec::new());
            for seen in seen {
                let (seen, unseen) = match seen {
                    Ok(seen) => seen,
                    Err(error) => {
                        result = Err(error);
                        return;
                    }
                };
                let place = if seen.place.is_empty() { path.clone() } else { format!("{path} > {}", seen.place) };
                for found in &seen.matches {
                    let (words, value) = told_of(&policy, &seen, found);
                    text += &format!("{place}: {words}\n");
                    matches.push(value);
                }
                if let Some(why) = unseen {
                    text += &format!("{place}: compared byte for byte only: {why}\n");
                    unscanned.push(if seen.place.is_empty() { why } else { format!("{}: {why}", seen.place) });
                }
            }
            matched |= !matches.is_empty();
            if matches.is_empty() {
                let seen =
                    if unscanned.is_empty() { "made from no master" } else { "no master in what could be looked into" };
                text += &format!("{path}: {seen}\n");
            }
            let mut entry = json!({"path": path, "matches": matches});
            if !unscanned.is_empty() {
                entry["unscanned"] = json!(unscanned.join("; "));
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

/// One match, in words and for machines.
fn told_of(policy: &Policy, seen: &Sighting, found: &Found) -> (String, Value) {
    let kind = json!(found.kind);
    let tier = policy.tier_name(seen.tier_of(policy, found));
    let master = shown(&found.master.path);
    let words = format!(
        "{} of {master}, scale {:.3}, tier {tier}, coverage {:.2}, score {:.4}",
        kind.as_str().unwrap_or_default(),
        found.scale,
        found.coverage,
        found.score
    );
    let mut value = json!({
        "master": master, "kind": kind, "scale": found.scale, "tier": tier, "coverage": found.coverage,
        "score": found.score, "region": found.region,
    });
    if !seen.place.is_empty() {
        value["inside"] = json!(seen.place);
    }
    (words, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vitrine_policy::facts::Measure;

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

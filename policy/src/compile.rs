//! From the file as it is written to a policy in force; every mistake on the way is collected.

use std::collections::HashMap;
use std::path::PathBuf;

use regex::{Regex, RegexBuilder};

use crate::cases::{Case, Expect, Test};
use crate::diagnostic::{Diagnostics, Mistake, Mistakes};
use crate::document::{self, At, Document, MAX_BYTES, one_of};
use crate::facts::{Ceiling, History, Justification, Program, Tier};
use crate::matcher::host::HostPattern;
use crate::matcher::path::{PathPattern, names};
use crate::matcher::{DestinationEntry, Share, UsbPattern, parse_destination, usb_id};
use crate::policy::{Collection, ELSEWHERE, MASTER, NONE, Policy, ProgramEntry, TierEntry, Trust};
use crate::record::Severity;

/// Most memory of one compiled regular expression, in bytes.
const REGEX_BYTES: usize = 1024 * 1024;
/// Deepest nesting of one regular expression.
const REGEX_NESTING: u32 = 50;
/// Most tiers: far more than anybody tells apart, and far fewer than a rank can count.
const MOST_TIERS: usize = 32;

impl Policy {
    /// Reads a policy file. `file_name` is only for the messages.
    ///
    /// # Errors
    /// All mistakes of the file, each with the place where it stands.
    pub fn parse(file_name: &str, text: &str) -> Result<Policy, Diagnostics> {
        let mut mistakes = Mistakes::default();
        if text.len() > MAX_BYTES {
            let message = format!("the policy has {} bytes", text.len());
            mistakes.add(Mistake::at(&(0..0), message).expected(format!("at most {MAX_BYTES} bytes")));
            return Err(mistakes.report(file_name, text));
        }
        let document = document::read(text, &mut mistakes);
        let ends = text.match_indices('\n').map(|(end, _)| end).collect();
        let mut doubts = Mistakes::default();
        let compiler = Compiler { ends, document: &document, mistakes: &mut mistakes, doubts: &mut doubts };
        let policy = compiler.policy();
        if !mistakes.is_empty() {
            return Err(mistakes.report(file_name, text));
        }
        Ok(Policy { doubts: doubts.report(file_name, text), ..policy })
    }
}

struct Compiler<'a> {
    /// Where each line ends.
    ends: Vec<usize>,
    document: &'a Document,
    mistakes: &'a mut Mistakes,
    /// What is allowed, and probably not meant.
    doubts: &'a mut Mistakes,
}

impl Compiler<'_> {
    fn policy(mut self) -> Policy {
        let document = self.document;
        self.unique("collection", document.collections.iter().map(|collection| &collection.name));
        self.unique("tier", document.tiers.iter().map(|tier| &tier.name));
        self.unique("destination", document.destinations.iter().map(|destination| &destination.name));
        self.unique("program", document.programs.iter().map(|program| &program.name));
        for destination in document.destinations.iter().filter(|destination| destination.name.value == ELSEWHERE) {
            self.note(&destination.name, "is the name of every destination not named", "another name");
        }
        let elsewhere = document.elsewhere.as_ref().and_then(|ceiling| self.ceiling(ceiling));
        let mut policy = Policy {
            name: document.name.clone(),
            serial: document.serial,
            mode: document.mode,
            elsewhere: elsewhere.unwrap_or(Ceiling::None),
            tiers: self.tiers(),
            programs: self.programs(),
            ..Policy::fallback()
        };
        policy.collections = self.collections();
        policy.destinations = self.destinations();
        policy.tests = self.tests(&policy);
        policy
    }

    fn note(&mut self, at: &At<String>, what: impl AsRef<str>, expected: impl Into<String>) {
        let message = format!("`{}` {}", at.value, what.as_ref());
        self.mistakes.add(Mistake::at(&at.span, message).expected(expected));
    }

    /// Notes what `read` says is wrong with the text at `at`.
    fn read<T>(&mut self, at: &At<String>, expected: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        read(&at.value).map_err(|what| self.note(at, what, expected)).ok()
    }

    fn read_all<T>(&mut self, all: &[At<String>], expected: &str, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        all.iter().filter_map(|at| self.read(at, expected, &read)).collect()
    }

    fn line(&self, at: usize) -> usize {
        self.ends.partition_point(|end| *end < at) + 1
    }

    fn unique<'n>(&mut self, kind: &str, names: impl Iterator<Item = &'n At<String>>) {
        let mut seen = HashMap::new();
        for name in names.filter(|name| !name.value.is_empty()) {
            if let Some(first) = seen.insert(name.value.as_str(), name.span.start) {
                let line = self.line(first);
                let message = format!("the {kind} `{}` is named twice; first in line {line}", name.value);
                self.mistakes.add(Mistake::at(&name.span, message).expected("each name once"));
            }
        }
    }

    /// A name that must be one of `known`.
    fn reference(&mut self, at: &At<String>, kind: &str, known: &[&str], none: &str) -> bool {
        if known.contains(&at.value.as_str()) {
            return true;
        }
        let near = self.mistakes.nearest(&at.value, known.iter().copied());
        let expected = if known.is_empty() { none.to_owned() } else { one_of(known.iter().copied()) };
        let message = format!("there is no {kind} `{}`", at.value);
        self.mistakes.add(Mistake::at(&at.span, message).expected(expected).suggest(near));
        false
    }

    fn tier(&mut self, at: &At<String>, extra: &[&str]) -> Option<Tier> {
        let document = self.document;
        let known: Vec<&str> = document
            .tiers
            .iter()
            .map(|tier| tier.name.value.as_str())
            .filter(|name| !name.is_empty())
            .chain([MASTER])
            .chain(extra.iter().copied())
            .collect();
        if !self.reference(at, "tier", &known, "") {
            return None;
        }
        let rank = document.tiers.iter().position(|tier| tier.name.value == at.value).unwrap_or(document.tiers.len());
        u8::try_from(rank).ok().map(Tier)
    }

    fn ceiling(&mut self, at: &At<String>) -> Option<Ceiling> {
        if at.value == NONE {
            return Some(Ceiling::None);
        }
        self.tier(at, &[NONE]).map(Ceiling::UpTo)
    }

    fn tiers(&mut self) -> Vec<TierEntry> {
        let document = self.document;
        if let Some(tier) = document.tiers.get(MOST_TIERS) {
            let message = format!("there are {} tiers", document.tiers.len());
            self.mistakes.add(Mistake::at(&tier.name.span, message).expected(format!("at most {MOST_TIERS}")));
        }
        for tier in document.tiers.iter().filter(|tier| [MASTER, NONE].contains(&tier.name.value.as_str())) {
            self.note(&tier.name, "is a name with a meaning of its own", "another name");
        }
        for pair in document.tiers.windows(2) {
            if let [lower, higher] = pair
                && lower.sound
                && higher.sound
            {
                self.rising(lower, higher);
            }
        }
        let entry = |tier: &document::Tier| TierEntry {
            name: tier.name.value.clone(),
            max_megapixels: tier.max_megapixels.as_ref().map(|limit| limit.value),
            max_scale: tier.max_scale.as_ref().map(|limit| limit.value),
            max_bit_depth: tier.max_bit_depth.as_ref().and_then(|limit| u8::try_from(limit.value).ok()),
        };
        document.tiers.iter().map(entry).collect()
    }

    /// A file that meets a tier's limits must meet those of every higher one.
    fn rising(&mut self, lower: &document::Tier, higher: &document::Tier) {
        let numbers = |tier: &document::Tier| {
            let depth =
                tier.max_bit_depth.as_ref().map(|limit| At { value: f64::from(limit.value), span: limit.span.clone() });
            [
                ("max-megapixels", tier.max_megapixels.clone()),
                ("max-scale", tier.max_scale.clone()),
                ("max-bit-depth", depth),
            ]
        };
        let mut wider = false;
        for ((key, low), (_, high)) in numbers(lower).into_iter().zip(numbers(higher)) {
            let limit = low.map_or(f64::INFINITY, |low| low.value);
            let Some(high) = high else {
                wider |= limit.is_finite();
                continue;
            };
            wider |= high.value > limit;
            if high.value < limit {
                let expected = match limit.is_finite() {
                    true => format!("at least {limit}, as tiers stand lowest first"),
                    false => "no such limit, as tiers stand lowest first".to_owned(),
                };
                let message = format!(
                    "tier `{}` has a tighter `{key}` than the lower tier `{}`",
                    higher.name.value, lower.name.value
                );
                self.mistakes.add(Mistake::at(&high.span, message).expected(expected));
                wider = true;
            }
        }
        if !wider {
            let what = format!("admits nothing that the lower tier `{}` does not", lower.name.value);
            self.note(&higher.name, what, "at least one wider limit");
        }
    }

    fn programs(&mut self) -> Vec<ProgramEntry> {
        let document = self.document;
        let mut programs: Vec<ProgramEntry> = Vec::new();
        for program in &document.programs {
            let at = &program.path;
            let expected = "the absolute path of one executable";
            let path = PathBuf::from(&at.value);
            if at.value.is_empty() {
                // It is missing, and that was noted.
            } else if !path.is_absolute() {
                self.note(at, "is not absolute", expected);
            } else if at.value.split('/').any(|part| part == "..") {
                self.note(at, "contains `..`", expected);
            } else if let Some(other) = programs.iter().find(|other| other.path == path) {
                let what = format!("is the path of program `{}` too", other.name);
                self.note(at, what, "one name for one executable");
            }
            let trust = program.trust.as_ref().map_or(Some(Trust::None), |trust| self.trust(trust));
            programs.push(ProgramEntry { name: program.name.value.clone(), path, trust: trust.unwrap_or(Trust::None) });
        }
        programs
    }

    fn trust(&mut self, at: &At<String>) -> Option<Trust> {
        match at.value.as_str() {
            "exempt" => Some(Trust::Exempt),
            "copier" => Some(Trust::Copier),
            other => {
                let near = self.mistakes.nearest(other, ["exempt", "copier"]);
                let mistake = Mistake::at(&at.span, format!("unknown trust `{other}`"));
                self.mistakes.add(mistake.expected("`exempt` or `copier`; leave it out for none").suggest(near));
                None
            }
        }
    }

    fn severity(&mut self, at: &At<String>) -> Option<Severity> {
        match at.value.as_str() {
            "low" => Some(Severity::Low),
            "medium" => Some(Severity::Medium),
            "high" => Some(Severity::High),
            "critical" => Some(Severity::Critical),
            other => {
                let near = self.mistakes.nearest(other, ["low", "medium", "high", "critical"]);
                let mistake = Mistake::at(&at.span, format!("unknown severity `{other}`"));
                self.mistakes.add(mistake.expected("`low`, `medium`, `high` or `critical`").suggest(near));
                None
            }
        }
    }

    fn program_names(&self) -> Vec<String> {
        let names = self.document.programs.iter().map(|program| program.name.value.clone());
        names.filter(|name| !name.is_empty()).collect()
    }

    fn collections(&mut self) -> Vec<Collection> {
        let document = self.document;
        let programs = self.program_names();
        let programs: Vec<&str> = programs.iter().map(String::as_str).collect();
        let mut collections = Vec::new();
        for collection in &document.collections {
            let roots = self.read_all(&collection.paths, "an absolute directory", PathPattern::parse);
            let include = collection.include.as_ref().and_then(|patterns| self.include(patterns));
            let object = collection.object.as_ref().and_then(|object| self.object(object));
            let opened_by = collection.opened_by.as_ref().map(|programs_named| {
                for program in programs_named {
                    self.opener(program, &programs);
                }
                programs_named.iter().map(|program| program.value.clone()).collect()
            });
            let endings = collection.include.as_ref().and_then(|patterns| patterns.iter().map(ending).collect());
            let name = collection.name.value.clone();
            let severity = collection.severity.as_ref().and_then(|severity| self.severity(severity));
            collections.push(Collection { name, opened_by, severity, roots, include, endings, object });
        }
        collections
    }

    /// A vault may name a program that this workstation does not have; a name that is nearly another one is
    /// a slip of the pen.
    fn opener(&mut self, program: &At<String>, known: &[&str]) {
        if self.mistakes.nearest(&program.value, known.iter().copied()).is_some() || program.value.is_empty() {
            self.reference(program, "program", known, "a [[program]] of that name");
        } else {
            let message = format!("there is no program `{}`: nobody is taken for it", program.value);
            self.doubts.add(Mistake::at(&program.span, message).expected("a [[program]] of that name"));
        }
    }

    fn include(&mut self, patterns: &[At<String>]) -> Option<globset::GlobSet> {
        for at in patterns {
            self.read(at, "a pattern of file names such as `*.tif`", |pattern| {
                if pattern.contains('/') {
                    return Err("contains `/`; it is matched against the file's name alone".to_owned());
                }
                names(std::iter::once(pattern), true).map(drop)
            });
        }
        names(patterns.iter().map(|at| at.value.as_str()), true).ok()
    }

    fn object(&mut self, at: &At<String>) -> Option<Regex> {
        let built = RegexBuilder::new(&at.value)
            .size_limit(REGEX_BYTES)
            .dfa_size_limit(REGEX_BYTES)
            .nest_limit(REGEX_NESTING)
            .build();
        match built {
            Ok(regex) if regex.capture_names().flatten().any(|name| name == "object") => Some(regex),
            Ok(_) => {
                self.note(at, "has no group named `object`", "`(?<object>…)` around the part that names the object");
                None
            }
            Err(error) => {
                let text = error.to_string();
                // The last line of the message is the reason; those before it show the expression again.
                let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                self.note(
                    at,
                    format!("is no valid regular expression: {reason}"),
                    "a regular expression with a group `(?<object>…)`",
                );
                None
            }
        }
    }

    fn destinations(&mut self) -> Vec<DestinationEntry> {
        let document = self.document;
        let mut destinations = Vec::new();
        for entry in &document.destinations {
            let host =
                "`name`, `name:port`, `*.domain`, an address, `address:port`, `[v6]:port` or a network `192.0.2.0/24`";
            let usb = entry.usb.iter().filter_map(|usb| self.usb(usb)).collect();
            let destination = DestinationEntry {
                name: entry.name.value.clone(),
                hosts: self.read_all(&entry.hosts, host, HostPattern::parse),
                mounts: self.read_all(&entry.mounts, "an absolute mount point", PathPattern::parse),
                paths: self.read_all(&entry.paths, "an absolute directory", PathPattern::parse),
                shares: self.read_all(&entry.shares, "`//server/share` or `server:/path`", Share::parse),
                usb,
                ceiling: entry.ceiling.as_ref().and_then(|at| self.ceiling(at)).unwrap_or(Ceiling::None),
                justify: entry.justify,
                max_objects_per_day: entry.max_objects_per_day,
                max_coverage: entry.max_coverage,
                severity: entry.severity.as_ref().and_then(|severity| self.severity(severity)),
            };
            destinations.push(destination);
        }
        destinations
    }

    fn usb(&mut self, usb: &document::Usb) -> Option<UsbPattern> {
        let expected = "four hexadecimal digits, as `lsusb` shows them";
        let vendor = self.read(&usb.vendor, expected, usb_id);
        let product = self.read(&usb.product, expected, usb_id);
        let serial = usb.serial.as_ref().map(|serial| serial.value.clone());
        Some(UsbPattern { vendor: vendor?, product: product?, serial })
    }

    fn tests(&mut self, policy: &Policy) -> Vec<Test> {
        let document = self.document;
        let mut tests = Vec::new();
        for test in &document.tests {
            let expect = Expect::named(&test.expect.value);
            if expect.is_none() {
                self.reference(&test.expect, "outcome", &Expect::WORDS, "");
            }
            let line = self.line(test.span.start);
            let (program, case) = match &test.case {
                document::Case::Transfer { tier, to, program, reason, approved, coverage, objects_today } => {
                    let tier = self.tier(tier, &[]);
                    let to = parse_destination(&to.value)
                        .map_err(|message| {
                            let expected = "`host:port`, `[v6]:port`, an absolute path, `//server/share`, `server:/path` \
 or `usb:VVVV:PPPP[:SERIAL]`";
                            self.mistakes.add(Mistake::at(&to.span, message).expected(expected));
                        })
                        .ok();
                    let program = program.as_ref().map_or(Some(Program::default()), |at| self.actor(at, policy));
                    let justification = reason.as_ref().map(|reason| Justification::in_case(&reason.value, *approved));
                    let history = History { justification, objects_today: *objects_today, coverage: *coverage };
                    (program, tier.zip(to).map(|(tier, to)| Case::Transfer { tier, to, history }))
                }
                document::Case::Open { collection, program } => {
                    let collection = self.opened(collection.as_ref(), &program.span);
                    (self.actor(program, policy), collection.map(|collection| Case::Open { collection }))
                }
            };
            if let (Some(program), Some(case), Some(expect)) = (program, case, expect) {
                tests.push(Test { line, program, case, expect });
            }
        }
        tests
    }

    /// The collection that a test opens; it need not be named where there is only one.
    fn opened(&mut self, at: Option<&At<String>>, test: &std::ops::Range<usize>) -> Option<String> {
        let document = self.document;
        let known: Vec<&str> = document.collections.iter().map(|collection| collection.name.value.as_str()).collect();
        match (at, known.as_slice()) {
            (Some(at), _) => {
                self.reference(at, "collection", &known, "a [[collection]] of that name").then(|| at.value.clone())
            }
            (None, [only]) => Some((*only).to_owned()),
            (None, _) => {
                let mistake = Mistake::at(test, "the test does not say which collection is opened");
                self.mistakes.add(mistake.expected(format!("`collection` = one of {}", one_of(known))));
                None
            }
        }
    }

    /// The program of a test: a named one, or by its path any.
    fn actor(&mut self, at: &At<String>, policy: &Policy) -> Option<Program> {
        if at.value.starts_with('/') {
            let named = policy.programs.iter().find(|program| program.path.as_os_str() == at.value.as_str());
            return Some(Program { named: named.map(|program| program.name.clone()), path: at.value.clone() });
        }
        let names = self.program_names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let none = "the absolute path of a program, or a [[program]] of that name";
        self.reference(at, "program", &names, none).then(|| Program {
            named: Some(at.value.clone()),
            path: policy.program(&at.value).map(|program| program.path.display().to_string()).unwrap_or_default(),
        })
    }
}

/// What `*.tif` says of names: `tif`.
fn ending(pattern: &At<String>) -> Option<String> {
    let ending = pattern.value.strip_prefix("*.")?;
    let is_plain = !ending.is_empty() && ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_plain.then(|| ending.to_ascii_lowercase())
}

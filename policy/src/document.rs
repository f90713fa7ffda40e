//! The policy file as it is written: what each key holds and where it stands, not yet what it means.

mod section;

use std::ops::Range;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::decision::Mode;
use crate::diagnostic::{Mistake, Mistakes};
use crate::matcher::Justify;
use section::Section;
pub(crate) use section::{At, one_of};

/// Largest policy file, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;
/// The version of the policy file that this program reads.
pub(crate) const VERSION: u32 = 1;
/// How long a reason holds where the policy does not say.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Longest time that it may hold, in minutes: a day.
const LONGEST_WINDOW: f64 = 24.0 * 60.0;
/// Within which time a reason has to be approved where the policy does not say.
const APPROVAL: Duration = Duration::from_secs(24 * 3600);
/// Longest such time, in hours.
const LONGEST_APPROVAL: f64 = 7.0 * 24.0;

/// A whole file.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) name: Option<String>,
    pub(crate) serial: Option<u32>,
    pub(crate) mode: Mode,
    pub(crate) collections: Vec<Collection>,
    pub(crate) tiers: Vec<Tier>,
    pub(crate) destinations: Vec<Destination>,
    pub(crate) elsewhere: Option<At<String>>,
    pub(crate) programs: Vec<Program>,
    pub(crate) tests: Vec<Test>,
}

/// `[[collection]]`
#[derive(Debug)]
pub(crate) struct Collection {
    pub(crate) name: At<String>,
    pub(crate) paths: Vec<At<String>>,
    pub(crate) include: Option<Vec<At<String>>>,
    pub(crate) object: Option<At<String>>,
    pub(crate) opened_by: Option<Vec<At<String>>>,
    pub(crate) severity: Option<At<String>>,
}

/// `[[tier]]`
#[derive(Debug)]
pub(crate) struct Tier {
    pub(crate) name: At<String>,
    pub(crate) max_megapixels: Option<At<f64>>,
    pub(crate) max_scale: Option<At<f64>>,
    pub(crate) max_bit_depth: Option<At<u32>>,
    /// Whether it has a limit, and every limit that is written could be read.
    pub(crate) sound: bool,
}

/// `[[destination]]`
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) name: At<String>,
    pub(crate) hosts: Vec<At<String>>,
    pub(crate) mounts: Vec<At<String>>,
    pub(crate) paths: Vec<At<String>>,
    pub(crate) shares: Vec<At<String>>,
    pub(crate) usb: Vec<Usb>,
    pub(crate) ceiling: Option<At<String>>,
    pub(crate) justify: Option<Justify>,
    pub(crate) max_objects_per_day: Option<u32>,
    pub(crate) max_coverage: Option<f64>,
    pub(crate) severity: Option<At<String>>,
}

/// One entry of `usb`.
#[derive(Debug)]
pub(crate) struct Usb {
    pub(crate) vendor: At<String>,
    pub(crate) product: At<String>,
    pub(crate) serial: Option<At<String>>,
}

/// `[[program]]`
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: At<String>,
    pub(crate) path: At<String>,
    pub(crate) trust: Option<At<String>>,
}

/// `[[test]]`
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) span: Range<usize>,
    pub(crate) case: Case,
    pub(crate) expect: At<String>,
}

/// What a `[[test]]` tries.
#[derive(Debug)]
pub(crate) enum Case {
    Transfer {
        tier: At<String>,
        to: At<String>,
        program: Option<At<String>>,
        reason: Option<At<String>>,
        approved: bool,
        coverage: Option<f64>,
        objects_today: Option<u32>,
    },
    Open {
        collection: Option<At<String>>,
        program: At<String>,
    },
}

const A_NAME: &str = "a name in quotes";
const DIRECTORIES: &str = "a list of absolute paths in quotes";
const A_SEVERITY: &str = "`\"low\"`, `\"medium\"`, `\"high\"` or `\"critical\"`";

/// Reads the file as far as it can be read, noting every mistake.
pub(crate) fn read(text: &str, mistakes: &mut Mistakes) -> Document {
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        // The parser joins what is wrong and what it wanted in one sentence.
        let (message, expected) = match error.message().split_once(", expected ") {
            Some((message, expected)) => (message, Some(expected)),
            None => (error.message(), None),
        };
        let mut mistake = Mistake::at(&error.span().unwrap_or(0..0), message).of_syntax();
        if let Some(expected) = expected {
            mistake = mistake.expected(expected);
        }
        mistakes.add(mistake);
    }
    let keys =
        ["version", "name", "serial", "mode", "collection", "tier", "destination", "elsewhere", "program", "test"];
    let root = Section::open(root.get_ref(), 0..0, "the policy", &keys, errors.is_empty(), mistakes);
    version(&root, mistakes);
    Document {
        name: root.string("name", A_NAME, mistakes).map(|name| name.value),
        serial: root.integer("serial", 0..=u32::MAX, mistakes).map(|serial| serial.value),
        mode: mode(&root, mistakes),
        collections: collections(&root, mistakes),
        tiers: tiers(&root, mistakes),
        destinations: destinations(&root, mistakes),
        elsewhere: root
            .table("elsewhere", "[elsewhere]", &["ceiling"], "`[elsewhere]` with a `ceiling`", mistakes)
            .and_then(|elsewhere| elsewhere.required_string("ceiling", "the name of a tier, or `none`", mistakes)),
        programs: programs(&root, mistakes),
        tests: tests(&root, mistakes),
    }
}

fn version(root: &Section<'_>, mistakes: &mut Mistakes) {
    if root.value("version").is_none() {
        root.missing("version", "`version = 1` on the first line", mistakes);
    }
    let version = root.integer("version", 1..=u32::MAX, mistakes);
    if let Some(other) = version.filter(|version| version.value != VERSION) {
        let message = format!("a policy of version {}", other.value);
        mistakes
            .add(Mistake::at(&other.span, message).expected(format!("version {VERSION}; this program reads no other")));
    }
}

fn mode(root: &Section<'_>, mistakes: &mut Mistakes) -> Mode {
    let expected = "`\"audit\"` or `\"enforce\"`";
    let Some(mode) = root.required_string("mode", expected, mistakes) else { return Mode::Audit };
    match mode.value.as_str() {
        "audit" => Mode::Audit,
        "enforce" => Mode::Enforce,
        other => {
            let near = mistakes.nearest(other, ["audit", "enforce"]);
            mistakes.add(Mistake::at(&mode.span, format!("unknown mode `{other}`")).expected(expected).suggest(near));
            Mode::Audit
        }
    }
}

/// The name of a section. One without a name is read on, as a nameless one, to find its other mistakes.
fn name(section: &Section<'_>, mistakes: &mut Mistakes) -> At<String> {
    section
        .required_string("name", A_NAME, mistakes)
        .unwrap_or_else(|| At { value: String::new(), span: section.span.clone() })
}

fn collections(root: &Section<'_>, mistakes: &mut Mistakes) -> Vec<Collection> {
    let keys = ["name", "paths", "include", "object", "opened-by", "severity"];
    let mut collections = Vec::new();
    for section in root.tables("collection", "[[collection]]", &keys, mistakes) {
        if section.value("paths").is_none() {
            section.missing("paths", DIRECTORIES, mistakes);
        }
        collections.push(Collection {
            name: name(&section, mistakes),
            paths: section.strings("paths", DIRECTORIES, mistakes).unwrap_or_default(),
            include: section.strings("include", "a list of file name patterns such as `\"*.tif\"`", mistakes),
            object: section.string("object", "a regular expression in quotes", mistakes),
            opened_by: section.strings(
                "opened-by",
                "a list of program names; leave the key out for \"anybody may read\"",
                mistakes,
            ),
            severity: section.string("severity", A_SEVERITY, mistakes),
        });
    }
    collections
}

fn tiers(root: &Section<'_>, mistakes: &mut Mistakes) -> Vec<Tier> {
    let limits = ["max-megapixels", "max-scale", "max-bit-depth"];
    let keys = [&["name"], limits.as_slice()].concat();
    let mut tiers = Vec::new();
    for section in root.tables("tier", "[[tier]]", &keys, mistakes) {
        let limited = limits.iter().any(|limit| section.value(limit).is_some());
        if !limited {
            section.lacks("limit", "at least one of `max-megapixels`, `max-scale`, `max-bit-depth`", mistakes);
        }
        let name = name(&section, mistakes);
        let max_megapixels = section.number("max-megapixels", 1_000_000.0, mistakes);
        let max_scale = section.number("max-scale", 1.0, mistakes);
        let max_bit_depth = section.integer("max-bit-depth", 1..=64, mistakes);
        let read = [max_megapixels.is_some(), max_scale.is_some(), max_bit_depth.is_some()];
        let written = limits.map(|limit| section.value(limit).is_some());
        tiers.push(Tier { name, max_megapixels, max_scale, max_bit_depth, sound: limited && read == written });
    }
    tiers
}

fn destinations(root: &Section<'_>, mistakes: &mut Mistakes) -> Vec<Destination> {
    let places = ["hosts", "mounts", "paths", "shares", "usb"];
    let rules = ["ceiling", "justify", "max-objects-per-day", "max-coverage", "severity"];
    let keys = [&["name"], places.as_slice(), rules.as_slice()].concat();
    let mut destinations = Vec::new();
    for section in root.tables("destination", "[[destination]]", &keys, mistakes) {
        if !places.iter().any(|place| section.value(place).is_some()) {
            section.lacks("place", "at least one of `hosts`, `mounts`, `paths`, `shares`, `usb`", mistakes);
        }
        let hosts = "a list of hosts such as `\"cms.example.org:443\"` or `\"203.0.113.0/28\"`";
        let shares = "a list of shares such as `\"nas1:/archive\"` or `\"//nas1/scans\"`";
        destinations.push(Destination {
            name: name(&section, mistakes),
            hosts: section.strings("hosts", hosts, mistakes).unwrap_or_default(),
            mounts: section.strings("mounts", DIRECTORIES, mistakes).unwrap_or_default(),
            paths: section.strings("paths", DIRECTORIES, mistakes).unwrap_or_default(),
            shares: section.strings("shares", shares, mistakes).unwrap_or_default(),
            usb: usb(&section, mistakes),
            ceiling: section.required_string("ceiling", "the name of a tier, `master` or `none`", mistakes),
            justify: justify(&section, mistakes),
            max_objects_per_day: section
                .integer("max-objects-per-day", 1..=1_000_000, mistakes)
                .map(|objects| objects.value),
            max_coverage: section.number("max-coverage", 1.0, mistakes).map(|coverage| coverage.value),
            severity: section.string("severity", A_SEVERITY, mistakes),
        });
    }
    destinations
}

/// What is asked of a reason, where one has to be given.
fn justify(destination: &Section<'_>, mistakes: &mut Mistakes) -> Option<Justify> {
    let expected = "`true`, `false` or `{ minutes = 15, approval = true }`";
    if !is_table(destination, "justify") {
        let is_asked = destination.boolean("justify", expected, mistakes).unwrap_or(false);
        return is_asked.then_some(Justify { window: WINDOW, approval: None });
    }
    let asked = destination.table("justify", "`justify`", &["minutes", "approval"], expected, mistakes)?;
    let minutes = asked.number("minutes", LONGEST_WINDOW, mistakes);
    let window = minutes.map_or(WINDOW, |minutes| Duration::from_secs_f64(minutes.value * 60.0));
    Some(Justify { window, approval: approval(&asked, mistakes) })
}

/// Within which time a second person has to approve a reason, where one has to.
fn approval(justify: &Section<'_>, mistakes: &mut Mistakes) -> Option<Duration> {
    let expected = "`true`, `false` or `{ hours = 24 }`";
    if !is_table(justify, "approval") {
        return justify.boolean("approval", expected, mistakes).unwrap_or(false).then_some(APPROVAL);
    }
    let asked = justify.table("approval", "`approval`", &["hours"], expected, mistakes)?;
    let hours = asked.number("hours", LONGEST_APPROVAL, mistakes);
    Some(hours.map_or(APPROVAL, |hours| Duration::from_secs_f64(hours.value * 3600.0)))
}

fn is_table(section: &Section<'_>, key: &str) -> bool {
    section.value(key).is_some_and(|value| matches!(value.get_ref(), DeValue::Table(_)))
}

fn usb(destination: &Section<'_>, mistakes: &mut Mistakes) -> Vec<Usb> {
    let expected = "`[{ vendor = \"0951\", product = \"1666\", serial = \"…\" }]`";
    let ids = "four hexadecimal digits in quotes, as `lsusb` shows them";
    // One device may stand without the list's brackets.
    let items: Vec<_> = match destination.value("usb") {
        Some(value) if matches!(value.get_ref(), DeValue::Table(_)) => vec![value],
        _ => destination.list("usb", expected, mistakes).into_iter().flatten().collect(),
    };
    let mut devices = Vec::new();
    for item in items {
        let keys = ["vendor", "product", "serial"];
        let Some(device) = destination.inner(item, "usb", "the USB device", &keys, expected, mistakes) else {
            continue;
        };
        let vendor = device.required_string("vendor", ids, mistakes);
        let product = device.required_string("product", ids, mistakes);
        let serial = device.string("serial", "the serial number in quotes", mistakes);
        if let (Some(vendor), Some(product)) = (vendor, product) {
            devices.push(Usb { vendor, product, serial });
        }
    }
    devices
}

fn programs(root: &Section<'_>, mistakes: &mut Mistakes) -> Vec<Program> {
    let mut programs = Vec::new();
    for section in root.tables("program", "[[program]]", &["name", "path", "trust"], mistakes) {
        let name = name(&section, mistakes);
        let path = section.required_string("path", "the absolute path of the executable in quotes", mistakes);
        let trust = section.string("trust", "`\"exempt\"` or `\"copier\"`", mistakes);
        programs.push(Program { name, path: path.unwrap_or_default(), trust });
    }
    programs
}

fn tests(root: &Section<'_>, mistakes: &mut Mistakes) -> Vec<Test> {
    let mut tests = Vec::new();
    for section in root.tables("test", "[[test]]", &["transfer", "open", "expect"], mistakes) {
        let expect = section.required_string("expect", "`\"allow\"`, `\"block\"` or `\"justify\"`", mistakes);
        let case = case(&section, mistakes);
        if let (Some(expect), Some(case)) = (expect, case) {
            tests.push(Test { span: section.span.clone(), case, expect });
        }
    }
    tests
}

fn case(test: &Section<'_>, mistakes: &mut Mistakes) -> Option<Case> {
    let expected = "one of `transfer = { tier = …, to = … }` and `open = { program = … }`";
    match (test.value("transfer"), test.value("open")) {
        (None, None) => {
            test.lacks("`transfer` and no `open`", expected, mistakes);
            None
        }
        (Some(_), Some(open)) => {
            mistakes.add(Mistake::at(&open.span(), "a test tries one thing").expected(expected));
            None
        }
        (Some(_), None) => {
            let keys = ["tier", "to", "program", "reason", "approved", "coverage", "objects-today"];
            let transfer = test.table("transfer", "the transfer", &keys, expected, mistakes)?;
            let tier = transfer.required_string("tier", "the name of a tier, or `master`", mistakes);
            let to = transfer.required_string("to", "a destination in quotes", mistakes);
            let program = transfer.string("program", A_NAME, mistakes);
            let reason = transfer.string("reason", "the reason that was given, in quotes", mistakes);
            let approved = transfer.boolean("approved", "`true` or `false`", mistakes).unwrap_or(false);
            let coverage = transfer.number("coverage", 1.0, mistakes).map(|coverage| coverage.value);
            let objects_today = transfer.integer("objects-today", 1..=1_000_000, mistakes).map(|objects| objects.value);
            Some(Case::Transfer { tier: tier?, to: to?, program, reason, approved, coverage, objects_today })
        }
        (None, Some(_)) => {
            let open = test.table("open", "the open", &["collection", "program"], expected, mistakes)?;
            let collection = open.string("collection", A_NAME, mistakes);
            let program = open.required_string("program", "the name or absolute path of a program", mistakes);
            Some(Case::Open { collection, program: program? })
        }
    }
}

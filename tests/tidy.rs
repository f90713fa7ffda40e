//! The tree keeps its own rules: which crate may depend on which, where `unsafe` may stand, how long a file
//! may be, what lies at the top, which licences the dependencies have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may end loudly

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longest source file, tests included.
const MAX_LINES: usize = 500;
/// Arrows between crates: who may depend on whom.
const ARROWS: [(&str, &[&str]); 6] = [
    ("vitrine-policy", &[]),
    ("vitrine-fingerprint", &["vitrine-policy"]),
    ("vitrine-worker", &["vitrine-fingerprint"]),
    ("vitrine-agent", &["vitrine-fingerprint", "vitrine-policy", "vitrine-worker"]),
    ("vitrine-collector", &["vitrine-fingerprint", "vitrine-policy", "vitrine-worker"]),
    ("e2e", &["vitrine-agent", "vitrine-collector", "vitrine-fingerprint", "vitrine-policy"]),
];
/// Where `unsafe` may stand.
const UNSAFE: [&str; 3] = ["agent/src/sys", "agent/src/guard", "worker/src/sys.rs"];
/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 8] = ["utils", "util", "common", "manager", "managers", "helpers", "helper", "misc"];
/// What may lie at the top.
const TOP: [&str; 24] = [
    ".cargo",
    ".ci",
    ".config",
    ".git",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "LIMITS.md",
    "README.md",
    "agent",
    "clippy.toml",
    "collector",
    "deny.toml",
    "fingerprint",
    "packaging",
    "policy",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "target",
    "tests",
    "typos.toml",
    "worker",
];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace")
}

/// All files of the tree, by their path below the top. What is built or generated is none of them.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![top().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            let below = path.strip_prefix(top()).expect("below the top").to_owned();
            let is_foreign = [".git", "target"].iter().any(|name| below.file_name() == Some(OsStr::new(name)));
            if path.is_symlink() || is_foreign {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(below);
            }
        }
    }
    assert!(files.len() > 50, "only {} files found", files.len());
    files.sort();
    files
}

/// Source that people read: by its ending, or a script without one.
fn is_source(path: &Path, text: &str) -> bool {
    match path.extension().and_then(OsStr::to_str) {
        Some(ending) => ["rs", "sh", "html", "css", "js", "py", "c", "h"].contains(&ending),
        None => text.starts_with("#!"),
    }
}

fn metadata() -> serde_json::Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // What only other platforms need was never fetched.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let arguments = ["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", &platform];
    let done = Command::new(cargo).current_dir(top()).args(arguments).output().expect("cargo runs");
    assert!(done.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).expect("JSON")
}

fn text<'a>(value: &'a serde_json::Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[test]
fn crates_depend_one_way() {
    let metadata = metadata();
    let members = metadata["workspace_members"].as_array().expect("members");
    let packages = metadata["packages"].as_array().expect("packages");
    let ours: BTreeMap<_, _> =
        packages.iter().filter(|one| members.contains(&one["id"])).map(|one| (text(one, "name"), one)).collect();
    let known: BTreeMap<_, _> = ARROWS.into_iter().collect();
    assert_eq!(ours.keys().collect::<Vec<_>>(), known.keys().collect::<Vec<_>>(), "a crate has no arrows here");
    for (name, package) in &ours {
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let on = text(dependency, "name");
            assert!(!ours.contains_key(on) || known[name].contains(&on), "{name} must not depend on {on}");
        }
    }
}

#[test]
fn unsafe_stands_behind_its_fence() {
    for path in files() {
        let is_rust = path.extension() == Some(OsStr::new("rs"));
        if !is_rust || UNSAFE.iter().any(|fence| path.starts_with(fence)) {
            continue;
        }
        let source = fs::read_to_string(top().join(&path)).expect("UTF-8");
        // Behind the comment signs a sentence may speak of it.
        for (number, line) in source.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
            let is_unsafe = words.iter().any(|word| code.contains(word)) && !code.contains('"');
            assert!(!is_unsafe, "{}:{}: unsafe belongs in {}", path.display(), number + 1, UNSAFE.join(" or "));
        }
    }
}

#[test]
fn no_file_is_too_long() {
    let mut long = Vec::new();
    for path in files() {
        // What is no text is no source.
        let Ok(text) = fs::read_to_string(top().join(&path)) else { continue };
        let lines = text.lines().count();
        if is_source(&path, &text) && lines > MAX_LINES {
            long.push(format!("{}: {lines} lines, at most {MAX_LINES}", path.display()));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn every_folder_and_module_says_what_is_inside() {
    for path in files() {
        let empty = path.components().find(|part| {
            let name = Path::new(part.as_os_str()).file_stem().and_then(OsStr::to_str).unwrap_or_default();
            EMPTY_NAMES.contains(&name)
        });
        assert!(empty.is_none(), "{}: call it by what is inside", path.display());
    }
}

#[test]
fn nothing_else_lies_at_the_top() {
    // In a checkout others may leave files of their own; what git tracks counts, where git is there.
    let tracked = Command::new("git").current_dir(top()).args(["ls-files", "-z"]).output();
    let entries: BTreeSet<String> = match tracked {
        Ok(done) if done.status.success() && !done.stdout.is_empty() => String::from_utf8_lossy(&done.stdout)
            .split('\0')
            .filter_map(|path| Some(path.split('/').next()?.to_owned()).filter(|first| !first.is_empty()))
            .collect(),
        _ => fs::read_dir(top())
            .expect("the top")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect(),
    };
    let strange: Vec<_> = entries.iter().filter(|entry| !TOP.contains(&entry.as_str())).collect();
    assert!(strange.is_empty(), "what is this at the top: {strange:?}");
}

/// `cargo deny` says it better where it is installed; this holds everywhere.
#[test]
fn every_dependency_may_be_shipped() {
    let rules: toml::Table = fs::read_to_string(top().join("deny.toml")).expect("deny.toml").parse().expect("TOML");
    let list = |value: &toml::Value| -> BTreeSet<String> {
        value.as_array().into_iter().flatten().filter_map(|one| Some(one.as_str()?.to_owned())).collect()
    };
    let allowed = list(&rules["licenses"]["allow"]);
    let mut except: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for exception in rules["licenses"].get("exceptions").and_then(toml::Value::as_array).into_iter().flatten() {
        let name = exception["crate"].as_str().expect("a crate");
        except.insert(name.to_owned(), list(&exception["allow"]));
    }
    let mut refused = Vec::new();
    for package in metadata()["packages"].as_array().expect("packages") {
        let (name, license) = (text(package, "name"), text(package, "license"));
        let may = |one: &str| allowed.contains(one) || except.get(name).is_some_and(|more| more.contains(one));
        if !satisfies(license, &may) {
            refused.push(format!("{name}: {license:?}"));
        }
    }
    assert!(refused.is_empty(), "not in the list of deny.toml:\n{}", refused.join("\n"));
}

/// Whether an SPDX expression (annex D of the SPDX specification) can be met with licences that `may` be used.
/// `/` is how crates wrote OR before.
fn satisfies(expression: &str, may: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    !words.is_empty() && either(&words, &mut at, may) && at == words.len()
}

fn either(words: &[&str], at: &mut usize, may: &dyn Fn(&str) -> bool) -> bool {
    let mut any = both(words, at, may);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        any |= both(words, at, may);
    }
    any
}

fn both(words: &[&str], at: &mut usize, may: &dyn Fn(&str) -> bool) -> bool {
    let mut all = one(words, at, may);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        all &= one(words, at, may);
    }
    all
}

fn one(words: &[&str], at: &mut usize, may: &dyn Fn(&str) -> bool) -> bool {
    let Some(first) = words.get(*at) else { return false };
    *at += 1;
    if *first == "(" {
        let inner = either(words, at, may);
        *at += 1;
        return inner;
    }
    if words.get(*at) == Some(&"WITH") {
        let with = words.get(*at + 1).map(|exception| format!("{first} WITH {exception}"));
        *at += 2;
        return with.is_some_and(|with| may(&with));
    }
    may(first)
}

#[test]
fn licence_expressions_are_read_as_spdx_says() {
    let may = |one: &str| ["MIT", "Apache-2.0 WITH LLVM-exception"].contains(&one);
    assert!(satisfies("MIT OR GPL-3.0", &may));
    assert!(satisfies("(GPL-3.0 OR MIT) AND MIT", &may));
    assert!(satisfies("Apache-2.0 WITH LLVM-exception", &may));
    assert!(satisfies("Zlib/MIT", &may));
    assert!(!satisfies("MIT AND GPL-3.0", &may));
    assert!(!satisfies("", &may));
}

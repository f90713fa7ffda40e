//! The manual pages and completions that the packages bring along.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::world::{binary, skipped};

/// The tree of one program as it lies below `/usr/share`.
fn documents(program: &str) -> tempfile::TempDir {
    let share = tempfile::tempdir().expect("a directory");
    let done = Command::new(binary(program)).arg("documents").arg(share.path()).status().expect(program);
    assert!(done.success());
    share
}

fn files(below: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(below).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

fn is_installed(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        skipped(&format!("it needs {tool}"));
    }
    found
}

#[test]
fn every_command_has_a_page_that_man_and_apropos_understand() {
    for (program, section, command) in [("vitrine", 1, "policy-replay"), ("vitrine-collector", 8, "token-create")] {
        let share = documents(program);
        let pages = files(&share.path().join(format!("man/man{section}")));
        let names: Vec<_> = pages.iter().map(|page| page.file_name().unwrap_or_default().to_string_lossy()).collect();
        for name in [format!("{program}.{section}"), format!("{program}-{command}.{section}")] {
            assert!(names.iter().any(|page| *page == name), "{name}: {names:?}");
        }
        for internal in ["help", "worker", "documents"] {
            assert!(!names.iter().any(|name| name.contains(internal)), "{names:?}");
        }
        if !is_installed("man") || !is_installed("lexgrog") {
            continue;
        }
        for page in pages {
            let shown = Command::new("man")
                .args(["--warnings", "-l"])
                .arg(&page)
                .env("MANWIDTH", "120")
                .env("LC_ALL", "C")
                .output();
            let shown = shown.expect("man");
            let (text, warnings) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
            assert!(shown.status.success() && warnings.is_empty(), "{}: {warnings}", page.display());
            assert!(text.contains("NAME") && text.contains("SYNOPSIS"), "{text}");
            let indexed = Command::new("lexgrog").arg(&page).output().expect("lexgrog");
            assert!(indexed.status.success(), "{}: no line for apropos", page.display());
        }
    }
}

#[test]
fn bash_completes_commands_and_options() {
    if !is_installed("bash") {
        return;
    }
    let share = documents("vitrine");
    let file = share.path().join("bash-completion/completions/vitrine");
    let completed = |words: &[&str]| {
        // As readline calls it: the words so far, the last of them being completed.
        let script = "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                      _vitrine vitrine \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"; \
                      printf '%s\\n' \"${COMPREPLY[@]}\"";
        let done = Command::new("bash").args(["--norc", "-c", script]).arg(&file).args(words).output().expect("bash");
        assert!(done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(completed(&["vitrine", "doc"]), ["doctor"]);
    assert_eq!(completed(&["vitrine", "policy", "rep"]), ["replay"]);
    assert_eq!(completed(&["vitrine", "policy", "replay", "--si"]), ["--since"]);
    assert_eq!(completed(&["vitrine", "run", "--guard", "wa"]), ["watch"]);
    assert!(completed(&["vitrine", "wor"]).is_empty());
}

#[test]
fn the_packages_hold_all_that_is_written() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (program, package) in [("vitrine", "agent"), ("vitrine-collector", "collector")] {
        let share = documents(program);
        let manifest = fs::read_to_string(top.join(package).join("Cargo.toml")).expect("a manifest");
        for file in files(share.path()) {
            let directory = file.parent().and_then(|parent| parent.strip_prefix(share.path()).ok()).expect("below");
            let below = directory.display();
            let asset = format!("[\"../target/package/{program}/{below}/*\", \"usr/share/{below}/\", \"644\"]");
            assert!(manifest.contains(&asset), "{package}/Cargo.toml lacks {asset}");
        }
    }
}

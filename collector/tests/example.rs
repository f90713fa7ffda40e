//! The settings by example, as they are installed: they can be read, and leave out no key.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::path::Path;

use vitrine_collector::config::Config;

const EXAMPLE: &str = include_str!("../../packaging/etc/collector.toml");

fn read(text: &str) -> Config {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("collector.toml"), text).unwrap();
    Config::read(directory.path()).unwrap_or_else(|error| panic!("{error}"))
}

/// The example with everything in force that it shows.
fn in_force() -> String {
    let is_prose = |line: &&str| line.starts_with("# ");
    EXAMPLE.lines().filter(|line| !is_prose(line)).map(|line| format!("{}\n", line.trim_start_matches('#'))).collect()
}

#[test]
fn the_example_is_read_and_does_nothing_as_it_is() {
    let nothing = read(EXAMPLE);
    assert!(nothing.routes.is_empty() && nothing.sinks.is_empty() && nothing.retention.is_none());
    assert!(nothing.console.oidc.is_none());
    let all = read(&in_force());
    assert_eq!((all.routes.len(), all.sinks.len()), (3, 4));
    assert_eq!(all.console.oidc.unwrap().roles.policy_admin, ["vitrine-policy"]);
}

#[test]
fn the_example_shows_every_key() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![source.join("config.rs")];
    files.extend(std::fs::read_dir(source.join("config")).unwrap().map(|file| file.unwrap().path()));
    let shown = in_force();
    let mut keys = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for line in text.lines() {
            let field = line.strip_prefix("    pub ").and_then(|line| line.split_once(": "));
            let Some((field, _)) = field.filter(|(field, _)| !field.contains(' ')) else {
                continue;
            };
            let key = field.replace('_', "-");
            // The two lists are named by their entries, and a table by its header.
            let key = key.strip_suffix('s').filter(|_| ["routes", "sinks"].contains(&&*key)).unwrap_or(&key).to_owned();
            let is_shown = shown.lines().any(|line| {
                line.starts_with(&format!("{key} = "))
                    || (line.starts_with('[') && line.trim_matches(['[', ']']).split('.').next_back() == Some(&*key))
            });
            assert!(is_shown, "{} has the key {key}, which packaging/etc/collector.toml does not show", file.display());
            keys += 1;
        }
    }
    assert!(keys > 80, "{keys} keys were looked for");
}

//! Which directories a policy's collections mean, and which directories lead to them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use vitrine_policy::Policy;
use vitrine_policy::matcher::PathPattern;

/// Whether masters may lie in `directory` or somewhere below it.
pub(crate) fn leads_to_masters(policy: &Policy, directory: &Path) -> bool {
    is_in(policy, directory) || is_on_the_way(policy, directory)
}

/// Whether masters may lie in `directory`.
pub(super) fn is_in(policy: &Policy, directory: &Path) -> bool {
    policy.collections.iter().any(|collection| collection.covers_dir(directory))
}

/// Whether `directory` is one through which a collection is reached, such as `/home` and `/home/ada` where
/// the policy names `/home/*/resize`.
pub(super) fn is_on_the_way(policy: &Policy, directory: &Path) -> bool {
    let mut roots = policy.collections.iter().flat_map(|collection| collection.roots());
    roots.any(|root| {
        let mut names = parts(root.pattern());
        directory
            .iter()
            .skip(1)
            .all(|name| names.next().is_some_and(|part| has_wildcard(part) || OsStr::new(part) == name))
    })
}

/// The directories that exist of a pattern, and those on the way to all that it might mean one day.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) roots: Vec<PathBuf>,
    pub(super) ways: Vec<PathBuf>,
}

/// Looks for all directories that the policy's collections name by `wanted` patterns. Symbolic links are not followed.
pub(super) fn find(policy: &Policy, wanted: impl Fn(&PathPattern) -> bool) -> Places {
    let mut places = Places::default();
    let roots = policy.collections.iter().flat_map(|collection| collection.roots());
    for root in roots.filter(|root| wanted(root)) {
        let parts: Vec<&str> = parts(root.pattern()).collect();
        descend(root, PathBuf::from("/"), &parts, &mut places);
    }
    // The root directory sees half of what a machine does; its own entries hardly ever change.
    places.ways.retain(|way| way != Path::new("/"));
    for list in [&mut places.roots, &mut places.ways] {
        list.sort();
        list.dedup();
    }
    places
}

/// The directories that exist of one pattern.
pub(crate) fn existing(pattern: &PathPattern) -> Vec<PathBuf> {
    let mut places = Places::default();
    let names: Vec<&str> = parts(pattern.pattern()).collect();
    descend(pattern, PathBuf::from("/"), &names, &mut places);
    places.roots
}

/// The names on the way to all that a pattern might mean one day, each with the directory that it stands in.
pub(crate) fn names(pattern: &PathPattern) -> Vec<(PathBuf, String)> {
    let mut places = Places::default();
    let names: Vec<&str> = parts(pattern.pattern()).collect();
    descend(pattern, PathBuf::from("/"), &names, &mut places);
    let named = places.ways.into_iter().filter_map(|way| {
        let next = names.get(way.iter().count().saturating_sub(1)).filter(|part| !has_wildcard(part))?;
        Some((way, (*next).to_owned()))
    });
    named.collect()
}

fn descend(root: &PathPattern, at: PathBuf, parts: &[&str], places: &mut Places) {
    let Some((part, rest)) = parts.split_first() else {
        if root.is(&at) {
            places.roots.push(at);
        }
        return;
    };
    if has_wildcard(part) {
        for entry in fs::read_dir(&at).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                descend(root, entry.path(), rest, places);
            }
        }
    } else if let below = at.join(part)
        && is_directory(&below)
    {
        descend(root, below, rest, places);
    }
    places.ways.push(at);
}

/// Whether a directory, and no link to one, is there.
pub(super) fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn parts(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('/').filter(|part| !part.is_empty() && *part != ".")
}

fn has_wildcard(part: &str) -> bool {
    part.contains(['*', '?', '[', ']', '{', '}', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_on_the_way_to_a_pattern_are_known_before_they_exist() {
        let room = tempfile::tempdir().expect("a directory");
        fs::create_dir(room.path().join("ada")).expect("a directory");
        let pattern = room.path().join("*/Next/cloud");
        let policy = policy(&pattern);
        let roots = policy.collections.first().expect("a collection").roots();
        let names = names(roots.first().expect("a root"));
        let last = (room.path().join("ada"), "Next".to_owned());
        assert!(names.contains(&last), "{names:?}");
        assert!(!names.iter().any(|(directory, _)| directory == room.path()), "a wildcard is no name: {names:?}");
        fs::create_dir(room.path().join("ada/Next")).expect("a directory");
        let names = super::names(roots.first().expect("a root"));
        assert!(
            names.contains(&last) && names.contains(&(room.path().join("ada/Next"), "cloud".to_owned())),
            "{names:?}"
        );
    }

    fn policy(pattern: &Path) -> Policy {
        let text = format!(
            "version = 1\nmode = \"audit\"\n[[collection]]\nname = \"masters\"\npaths = [{:?}]\n[elsewhere]\nceiling = \"none\"\n",
            pattern.to_str().unwrap()
        );
        Policy::parse("policy.toml", &text).unwrap()
    }

    #[test]
    fn a_wildcard_means_every_directory_that_fits() {
        let lab = tempfile::tempdir().unwrap();
        for directory in ["ada/resize/in/deep", "bob/resize", "eve/resize/in"] {
            fs::create_dir_all(lab.path().join(directory)).unwrap();
        }
        fs::write(lab.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("ada", lab.path().join("link")).unwrap();
        let policy = policy(&lab.path().join("*/resize/in"));
        let places = find(&policy, |_| true);
        let under = |names: &[&str]| names.iter().map(|name| lab.path().join(name)).collect::<Vec<_>>();
        assert_eq!(places.roots, under(&["ada/resize/in", "eve/resize/in"]));
        for way in under(&["", "ada", "bob", "bob/resize", "eve/resize"]) {
            let way: PathBuf = way.components().collect();
            assert!(places.ways.contains(&way), "{way:?}");
            assert!(is_on_the_way(&policy, &way));
        }
        assert!(is_in(&policy, &lab.path().join("ada/resize/in/deep")));
        assert!(!is_on_the_way(&policy, &lab.path().join("ada/resize/out")));
    }

    #[test]
    fn what_is_not_there_yet_is_waited_for() {
        let lab = tempfile::tempdir().unwrap();
        let places = find(&policy(&lab.path().join("scans/masters")), |_| true);
        assert_eq!(places.roots, Vec::<PathBuf>::new());
        assert_eq!(places.ways.last().map(PathBuf::as_path), Some(lab.path()));
    }
}

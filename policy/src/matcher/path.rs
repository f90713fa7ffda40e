//! Directories as a policy names them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Longest file name pattern, in bytes: NAME_MAX of Linux, four times for escapes and alternatives.
const LONGEST: usize = 1024;

/// A directory, with `*`, `?`, `[…]` and `{…,…}` in its parts where wanted. No wildcard crosses a `/`.
#[derive(Clone, Debug)]
pub struct PathPattern {
    text: String,
    parts: Vec<Part>,
    fixed: PathBuf,
}

#[derive(Clone, Debug)]
enum Part {
    Fixed(OsString),
    Glob(GlobSet),
}

impl Part {
    fn matches(&self, name: &OsStr) -> bool {
        match self {
            Part::Fixed(fixed) => fixed == name,
            Part::Glob(glob) => glob.is_match(name),
        }
    }
}

impl PathPattern {
    /// Reads an absolute directory.
    ///
    /// # Errors
    /// What is wrong with it, as one clause.
    pub(crate) fn parse(text: &str) -> Result<PathPattern, String> {
        if !text.starts_with('/') {
            return Err("is not absolute".to_owned());
        }
        let mut parts = Vec::new();
        let mut fixed = PathBuf::from("/");
        for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." {
                return Err("contains `..`".to_owned());
            }
            if part.contains("**") {
                return Err("contains `**`, which is not needed: every depth below a directory counts".to_owned());
            }
            if part.contains(['*', '?', '[', ']', '{', '}', '\\']) {
                parts.push(Part::Glob(names(std::iter::once(part), false)?));
            } else {
                if parts.iter().all(|part| matches!(part, Part::Fixed(_))) {
                    fixed.push(part);
                }
                parts.push(Part::Fixed(part.into()));
            }
        }
        Ok(PathPattern { text: text.to_owned(), parts, fixed })
    }

    /// As the policy writes it.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.text
    }

    /// The leading directory that holds no wildcard: all that matches lies in it, or is it.
    #[must_use]
    pub fn fixed(&self) -> &Path {
        &self.fixed
    }

    /// Whether a part of it is a wildcard.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Glob(_)))
    }

    /// How many parts it has: `/` has none.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.parts.len()
    }

    /// Whether `path` is such a directory, or lies at any depth below one. `.` and `..` are resolved by
    /// their letters; symbolic links are the caller's.
    #[must_use]
    pub fn covers(&self, path: &Path) -> bool {
        parts(path).is_some_and(|parts| self.covers_parts(&parts))
    }

    /// Whether `path` is such a directory itself.
    #[must_use]
    pub fn is(&self, path: &Path) -> bool {
        parts(path).is_some_and(|parts| self.is_parts(&parts))
    }

    pub(crate) fn covers_parts(&self, parts: &[&OsStr]) -> bool {
        parts.len() >= self.parts.len() && self.parts.iter().zip(parts).all(|(wanted, part)| wanted.matches(part))
    }

    pub(crate) fn is_parts(&self, parts: &[&OsStr]) -> bool {
        parts.len() == self.parts.len() && self.covers_parts(parts)
    }
}

/// The parts of an absolute path with `.` and `..` resolved by their letters; none if it is not absolute.
pub(crate) fn parts(path: &Path) -> Option<Vec<&OsStr>> {
    let mut parts = Vec::new();
    let mut absolute = false;
    for component in path.components() {
        match component {
            Component::RootDir => absolute = true,
            Component::ParentDir => {
                parts.pop();
            }
            Component::Normal(part) => parts.push(part),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    absolute.then_some(parts)
}

/// Patterns of single names as one matcher; with `any_case` it wants names made [`lower`].
///
/// # Errors
/// What is wrong with a pattern, as one clause.
pub(crate) fn names<'p>(patterns: impl IntoIterator<Item = &'p str>, any_case: bool) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        if pattern.len() > LONGEST {
            return Err(format!("has a part of more than {LONGEST} bytes"));
        }
        let pattern = if any_case { pattern.to_lowercase() } else { pattern.to_owned() };
        let glob = GlobBuilder::new(&pattern)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| format!("is no valid pattern: {}", error.kind()))?;
        set.add(glob);
    }
    set.build().map_err(|error| format!("is no valid pattern: {}", error.kind()))
}

/// A file name in lower case; of one that is not UTF-8, the ASCII letters.
pub(crate) fn lower(name: &OsStr) -> OsString {
    match name.to_str() {
        Some(text) => OsString::from(text.to_lowercase()),
        None => OsString::from_vec(name.as_bytes().to_ascii_lowercase()),
    }
}

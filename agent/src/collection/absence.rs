//! Which collections have no directory, for people. A thread of its own looks: behind a directory may be a file server
//! that is away, which lets wait who asks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use vitrine_policy::Policy;

use super::existing;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// A look that takes longer waits for somebody.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was found.
#[derive(Default)]
pub(crate) struct Absence {
    lines: Mutex<Vec<String>>,
    /// What is looked for now, and since when.
    looking: Mutex<Option<(String, Instant)>>,
}

impl Absence {
    /// Looks now and then until nobody holds the policy's sender any more.
    pub(crate) fn follow(policy: watch::Receiver<Arc<Policy>>) -> std::io::Result<Arc<Absence>> {
        let absence = Arc::new(Absence::default());
        let looking = absence.clone();
        std::thread::Builder::new().name("absence".into()).spawn(move || {
            while policy.has_changed().is_ok() {
                let now = policy.borrow().clone();
                let lines = looking.look(&now);
                *looking.lines.lock().unwrap_or_else(PoisonError::into_inner) = lines;
                std::thread::sleep(LOOK);
            }
        })?;
        Ok(absence)
    }

    /// One line for each directory that is not there, or not heard of.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((what, _)) = looking.as_ref().filter(|(_, since)| since.elapsed() > PATIENCE) {
            lines.push(format!("{what} does not answer: whatever stands behind its file system is away"));
        }
        lines
    }

    fn look(&self, policy: &Policy) -> Vec<String> {
        let now_looking = |what| *self.looking.lock().unwrap_or_else(PoisonError::into_inner) = what;
        let mut lines = Vec::new();
        for collection in &policy.collections {
            for root in collection.roots() {
                let what = format!("{} of the collection “{}”", root.pattern(), collection.name);
                now_looking(Some((what.clone(), Instant::now())));
                if existing(root).is_empty() {
                    lines.push(format!("{what}: no such directory; make or mount it, or mend `paths` in the policy"));
                }
            }
        }
        now_looking(None);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_is_named_with_its_collection_until_it_is() {
        let lab = tempfile::tempdir().unwrap();
        let text = format!(
            "version = 1\nmode = \"audit\"\n[[collection]]\nname = \"loans\"\npaths = [\"{0}/in\", \"{0}/out\"]\n",
            lab.path().display()
        );
        let policy = Policy::parse("policy.toml", &text).unwrap();
        std::fs::create_dir(lab.path().join("in")).unwrap();
        let absence = Absence::default();
        let lines = absence.look(&policy);
        assert!(
            lines.len() == 1 && lines[0].contains("/out of the collection “loans”: no such directory"),
            "{lines:?}"
        );
        std::fs::create_dir(lab.path().join("out")).unwrap();
        assert_eq!(absence.look(&policy), Vec::<String>::new());
    }
}

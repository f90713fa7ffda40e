//! Silences: alerts that fit one are raised and listed, and no route is told of them.

use std::cell::OnceCell;

use globset::{Glob, GlobMatcher};

use super::{Alert, NAMED};

/// Which alerts are kept back. What is empty fits all; the rest are patterns, in which `*` stands for any text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Silence {
    pub(crate) host: String,
    pub(crate) user: String,
    pub(crate) destination: String,
    pub(crate) master: String,
}

impl Silence {
    /// What is wrong with it, in words to whoever wrote it.
    pub(crate) fn check(&self) -> Result<(), String> {
        let patterns = [&self.host, &self.user, &self.destination, &self.master];
        if patterns[..3].iter().all(|pattern| fits_all(pattern, &NAMES)) && fits_all(&self.master, &PATHS) {
            return Err("A silence of everything is none: name a workstation, user, destination or master.".into());
        }
        for pattern in patterns {
            Glob::new(pattern).map_err(|error| format!("{pattern:?} is no pattern: {}.", error.kind()))?;
        }
        Ok(())
    }

    /// One that covers this alert and others like it; what it cannot say in one pattern is left for somebody to fill in.
    pub(crate) fn like(alert: &Alert) -> Silence {
        let only = |all: &[String]| match all {
            [one] => globset::escape(one),
            _ => String::new(),
        };
        Silence {
            host: globset::escape(&alert.host),
            user: alert.user.as_deref().map(globset::escape).unwrap_or_default(),
            destination: only(&alert.destination_names),
            master: only(&alert.masters),
        }
    }
}

/// A silence to be held against many alerts.
pub(crate) struct Matcher {
    host: Pattern,
    user: Pattern,
    destination: Pattern,
    master: Pattern,
}

impl Matcher {
    pub(crate) fn new(silence: Silence) -> Matcher {
        let Silence { host, user, destination, master } = silence;
        let [host, user, destination, master] =
            [host, user, destination, master].map(|text| Pattern { text, compiled: OnceCell::new() });
        Matcher { host, user, destination, master }
    }

    /// Whether it keeps an alert back. One that also tells of another destination or master it does not.
    pub(crate) fn covers(&self, alert: &Alert) -> bool {
        let all = |pattern: &Pattern, found: &[String]| {
            // A full list may have left some out.
            pattern.text.is_empty()
                || (!found.is_empty() && found.len() < NAMED && found.iter().all(|one| pattern.fits(one)))
        };
        (self.host.text.is_empty() || self.host.fits(&alert.host))
            && (self.user.text.is_empty() || alert.user.as_ref().is_some_and(|user| self.user.fits(user)))
            && all(&self.destination, &alert.destination_names)
            && all(&self.master, &alert.masters)
    }
}

/// A pattern that is compiled once, when it is first needed: most alerts differ in the workstation already.
struct Pattern {
    text: String,
    compiled: OnceCell<Option<GlobMatcher>>,
}

impl Pattern {
    fn fits(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| compile(&self.text));
        compiled.as_ref().is_some_and(|glob| glob.is_match(text))
    }
}

fn compile(pattern: &str) -> Option<GlobMatcher> {
    Glob::new(pattern).ok().map(|glob| glob.compile_matcher())
}

/// Names and paths that have nothing in common: what fits all of them fits whatever there is.
const NAMES: [&str; 4] = ["qj7-kx0w", "83619274", "XZ VK", "寒食帖"];
const PATHS: [&str; 4] = ["/qj7/kx0w.tif", "/8361/92/74.JPG", "/XZ/V K", "/寒/食帖.png"];

fn fits_all(pattern: &str, texts: &[&str]) -> bool {
    pattern.is_empty() || compile(pattern).is_some_and(|glob| texts.iter().all(|text| glob.is_match(text)))
}

#[cfg(test)]
mod tests {
    use super::{Matcher, Silence};
    use crate::alert::Alert;

    fn alert() -> Alert {
        let mut alert = Alert::silent("0198c0de", "scan-07", 30, 0, 0);
        alert.user = Some("wen".into());
        alert.destination_names = vec!["courier disk".into()];
        alert.masters = vec!["/srv/scans/[draft]*/K2B_{1}.tif".into()];
        alert
    }

    fn of(host: &str, user: &str, destination: &str, master: &str) -> Silence {
        Silence { host: host.into(), user: user.into(), destination: destination.into(), master: master.into() }
    }

    fn covers(silence: &Silence, alert: &Alert) -> bool {
        Matcher::new(silence.clone()).covers(alert)
    }

    #[test]
    fn a_silence_covers_what_fits_all_of_its_patterns() {
        for (silence, expected) in [
            (of("scan-07", "", "", ""), true),
            (of("scan-0?", "wen", "courier*", "/srv/*"), true),
            (of("scan-08", "", "", ""), false),
            (of("", "we", "", ""), false),
            (of("", "WEN", "", ""), false),
            (of("", "", "", "*/K2B_*"), true),
            (of("scan-07", "wen", "courier disk", "/elsewhere/*"), false),
        ] {
            assert_eq!(covers(&silence, &alert()), expected, "{silence:?}");
        }
    }

    #[test]
    fn one_more_destination_or_master_breaks_it() {
        let mut alert = alert();
        alert.destination_names.push("elsewhere".into());
        assert!(!covers(&of("", "", "courier disk", ""), &alert));
        assert!(covers(&of("", "wen", "", ""), &alert));
        alert.masters = (0..32).map(|n| format!("/srv/{n}.tif")).collect();
        assert!(!covers(&of("", "", "", "/srv/*"), &alert), "more than 32 may not all be there");
        alert.destination_names.clear();
        assert!(!covers(&of("", "", "*disk", ""), &alert));
    }

    #[test]
    fn one_like_an_alert_covers_it_and_not_its_neighbour() {
        let alert = alert();
        let silence = Silence::like(&alert);
        assert!(silence.check().is_ok() && covers(&silence, &alert), "{silence:?}");
        let other = Alert { masters: vec!["/srv/scans/dX/K2B_1.tif".into()], ..alert };
        assert!(!covers(&silence, &other), "{silence:?}");
    }

    #[test]
    fn a_silence_of_everything_is_refused() {
        for (host, user, destination, master) in [
            ("", "*", "**", ""),
            ("?*", "*?*", "", "???*"),
            ("{*,scan-07}", "[!x]*", "*[!/]*", "/*"),
            ("", "", "", "/**/*"),
        ] {
            let silence = of(host, user, destination, master);
            assert!(silence.check().is_err(), "{silence:?}");
        }
        for (host, master) in [("scan*", "*"), ("*-0?", ""), ("?*", "*.tif"), ("", "/srv/*")] {
            let silence = of(host, "*", "", master);
            assert!(silence.check().is_ok(), "{silence:?}");
        }
        assert!(of("scan-[", "", "", "").check().unwrap_err().contains("scan-["));
        assert!(of("*", "wen", "", "").check().is_ok());
    }
}

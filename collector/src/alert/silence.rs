//! Silences: alerts that fit one are raised and listed, and no route is told of them.

use globset::Glob;

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
        if patterns.iter().all(|pattern| pattern.trim_matches('*').is_empty()) {
            return Err("A silence of everything is none: name a workstation, user, destination or master.".into());
        }
        for pattern in patterns {
            Glob::new(pattern).map_err(|error| format!("{pattern:?} is no pattern: {}.", error.kind()))?;
        }
        Ok(())
    }

    /// Whether it keeps an alert back. One that also tells of another destination or master it does not.
    pub(crate) fn covers(&self, alert: &Alert) -> bool {
        let all = |pattern: &str, found: &[String]| {
            // A full list may have left some out.
            pattern.is_empty()
                || (!found.is_empty() && found.len() < NAMED && found.iter().all(|one| fits(pattern, one)))
        };
        (self.host.is_empty() || fits(&self.host, &alert.host))
            && (self.user.is_empty() || alert.user.as_ref().is_some_and(|user| fits(&self.user, user)))
            && all(&self.destination, &alert.destination_names)
            && all(&self.master, &alert.masters)
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

fn fits(pattern: &str, text: &str) -> bool {
    Glob::new(pattern).is_ok_and(|glob| glob.compile_matcher().is_match(text))
}

#[cfg(test)]
mod tests {
    use super::Silence;
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
            assert_eq!(silence.covers(&alert()), expected, "{silence:?}");
        }
    }

    #[test]
    fn one_more_destination_or_master_breaks_it() {
        let mut alert = alert();
        alert.destination_names.push("elsewhere".into());
        assert!(!of("", "", "courier disk", "").covers(&alert));
        assert!(of("", "wen", "", "").covers(&alert));
        alert.masters = (0..32).map(|n| format!("/srv/{n}.tif")).collect();
        assert!(!of("", "", "", "/srv/*").covers(&alert), "more than 32 may not all be there");
        alert.destination_names.clear();
        assert!(!of("", "", "*disk", "").covers(&alert));
    }

    #[test]
    fn one_like_an_alert_covers_it_and_not_its_neighbour() {
        let alert = alert();
        let silence = Silence::like(&alert);
        assert!(silence.check().is_ok() && silence.covers(&alert), "{silence:?}");
        let other = Alert { masters: vec!["/srv/scans/dX/K2B_1.tif".into()], ..alert };
        assert!(!silence.covers(&other), "{silence:?}");
    }

    #[test]
    fn a_silence_of_everything_is_refused() {
        assert!(of("", "*", "**", "").check().is_err());
        assert!(of("scan-[", "", "", "").check().unwrap_err().contains("scan-["));
        assert!(of("*", "wen", "", "").check().is_ok());
    }
}

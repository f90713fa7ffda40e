//! The collector: reached, trusted, and of the same time.

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Check, fail, pass, warn};
use crate::config::Collector;
use crate::pipeline::IDENTITY;
use crate::upload::check::{self, Met};

/// Longest time that the collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Clocks that are further apart than this put records into a wrong order.
const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// Clocks that are further apart than this make certificates invalid that are not.
const FAR: SignedDuration = SignedDuration::from_hours(1);
/// A certificate that is not renewed by then never will be without help; the agent renews it after two thirds of its life.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

pub(super) fn checks(collector: Option<&Collector>, state: &Path) -> Vec<Check> {
    let Some(collector) = collector else {
        return vec![warn(
            "collector",
            "none is set: records stay on this workstation, and nobody is told",
            "set `url` and `token-file` in [collector] of /etc/vitrine/agent.toml",
        )];
    };
    let met = check::meet(collector, PATIENCE);
    let clock = met.as_ref().ok().and_then(|met| met.ahead).map(clock);
    let expires = check::expires(collector, &state.join(IDENTITY));
    let credentials = credentials(expires, Timestamp::now(), || check::has_token(collector));
    [Some(reached(&collector.url, met.as_ref())), Some(credentials), clock].into_iter().flatten().collect()
}

fn reached(url: &str, met: Result<&Met, &String>) -> Check {
    let name = "collector";
    match met {
        Ok(_) if url.starts_with("https") => pass(name, format!("{url} is reached, and its certificate is valid")),
        Ok(_) => pass(name, format!("{url} is reached")),
        Err(why) => fail(
            name,
            format!(
                "{url} is no collector to talk to ({}): records wait here, and nobody is told",
                why.replace('\n', " ")
            ),
            format!(
                "curl -v '{url}/healthz'; start the collector, open the firewall, or mend [collector] of agent.toml"
            ),
        ),
    }
}

/// By what the collector knows the agent: its certificate or, until it has one, its token.
fn credentials(expires: Option<i64>, now: Timestamp, token: impl FnOnce() -> Result<(), String>) -> Check {
    let name = "agent certificate";
    let anew = "vitrine-collector token create on the collector, its output to `token-file` of agent.toml";
    if let Some(left) = expires.and_then(|expires| Timestamp::from_millisecond(expires).ok()) {
        let left = left.duration_since(now);
        let days = left.as_hours() / 24;
        if left < SOON {
            let meaning =
                format!("it ends in {days} days and was not renewed: then the collector takes no records from here");
            return warn(name, meaning, format!("journalctl -u vitrine; {anew}"));
        }
        return pass(name, format!("it is valid for {days} more days; the agent renews it by itself"));
    }
    match token() {
        Ok(()) => pass(name, "there is none yet: the token is shown, which the agent alone can read"),
        Err(why) => {
            let meaning =
                format!("there is none, and {}: the collector takes no records from here", why.replace('\n', " "));
            fail(name, meaning, anew)
        }
    }
}

fn clock(ahead: SignedDuration) -> Check {
    let name = "clock";
    let seconds = ahead.as_secs();
    let mend = "timedatectl set-ntp true, here and on the collector; timedatectl";
    if ahead.abs() > FAR {
        let meaning = format!(
            "the collector's clock is {seconds} s ahead: valid certificates are refused, and records lie in a wrong order"
        );
        fail(name, meaning, mend)
    } else if ahead.abs() > SKEW {
        warn(name, format!("the collector's clock is {seconds} s ahead: records lie in a wrong order"), mend)
    } else {
        pass(name, format!("it agrees with the collector's, within {} s", SKEW.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_collector_is_set_reached_or_not() {
        let lab = tempfile::tempdir().unwrap();
        let token = lab.path().join("token");
        fs::write(&token, "vtr_abc").unwrap();
        fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(checks(None, lab.path())[0].state, State::Warn);
        let at = |url: &str| {
            let collector = Collector {
                url: url.into(),
                token_file: token.clone(),
                ca_file: None,
                ca_fingerprint: None,
                policy: false,
                heartbeat_seconds: 30,
                masters: true,
            };
            checks(Some(&collector), lab.path())
        };
        for wrong in ["http://127.0.0.1:1", "ftp://somewhere", "http://collector.museum.example"] {
            let checks = at(wrong);
            assert!(
                checks[0].state == State::Fail && checks[0].mend.as_ref().unwrap().starts_with("curl -v"),
                "{wrong}"
            );
            assert_eq!(checks[1].state, State::Pass, "the token is sound");
        }
        fs::set_permissions(&token, Permissions::from_mode(0o644)).unwrap();
        let credentials = &at("http://127.0.0.1:1")[1];
        assert!(credentials.state == State::Fail && credentials.meaning.contains("0644"), "{credentials:?}");
    }

    #[test]
    fn a_certificate_is_valid_ends_soon_or_is_missing() {
        let now = Timestamp::now();
        let hours = |hours: i64| Some((now + SignedDuration::from_hours(hours)).as_millisecond());
        let none = || Err("the token is gone".to_owned());
        assert_eq!(credentials(hours(30 * 24), now, none).state, State::Pass);
        let soon = credentials(hours(50), now, none);
        assert!(soon.state == State::Warn && soon.meaning.contains("2 days"), "{soon:?}");
        let missing = credentials(None, now, none);
        assert!(missing.state == State::Fail && missing.mend.unwrap().starts_with("vitrine-collector token create"));
    }

    #[test]
    fn clocks_agree_or_are_apart() {
        let state = |seconds| clock(SignedDuration::from_secs(seconds)).state;
        assert_eq!([state(2), state(-59)], [State::Pass; 2]);
        assert_eq!([state(61), state(-3600)], [State::Warn; 2]);
        assert_eq!([state(3601), state(-100_000)], [State::Fail; 2]);
        assert!(clock(SignedDuration::from_secs(61)).mend.unwrap().starts_with("timedatectl set-ntp"));
    }
}

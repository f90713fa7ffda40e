//! The filter of the list of alerts, as it stands in the address of the page.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use vitrine_policy::record::Severity;

use super::words;
use crate::alert::State;
use crate::alert::text::line;
use crate::store::{Key, Query};

/// Longest text of a filter, in characters.
const TEXT: usize = 200;
/// What `state` says of alerts in whatever state.
const ALL: &str = "all";

/// States by name, in the order of an alert's life.
pub(super) const STATES: [State; 4] = [State::Open, State::Acknowledged, State::Closed, State::Resolved];
/// Severities, the worst first.
pub(super) const SEVERITIES: [Severity; 5] =
    [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Informational];

/// What the address of the page says. What is missing or means nothing filters nothing; without a state only open
/// alerts are shown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    pub(super) state: String,
    pub(super) severity: String,
    pub(super) host: String,
    pub(super) user: String,
    pub(super) to: String,
    pub(super) q: String,
    pub(super) from: String,
    pub(super) until: String,
    before: Option<String>,
    after: Option<String>,
    follow: Option<String>,
}

impl Filter {
    /// The same with every text bounded and safe to show.
    pub(super) fn bounded(mut self) -> Filter {
        let texts = [
            &mut self.severity,
            &mut self.host,
            &mut self.user,
            &mut self.to,
            &mut self.q,
            &mut self.from,
            &mut self.until,
        ];
        for text in texts {
            *text = line(text.trim(), TEXT);
        }
        if self.state != ALL && !STATES.iter().any(|state| state.name() == self.state) {
            self.state = State::Open.name().into();
        }
        self
    }

    pub(super) fn follows(&self) -> bool {
        self.follow.as_deref() == Some("1")
    }

    /// Whether more than a state is asked for.
    pub(super) fn narrows(&self) -> bool {
        self.named().iter().skip(1).any(|(_, value)| !value.is_empty())
    }

    pub(super) fn key(&self) -> Key {
        let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
        match (number(&self.before), number(&self.after)) {
            (Some(before), _) => Key::Before(before),
            (None, Some(after)) => Key::After(after),
            (None, None) => Key::Newest,
        }
    }

    pub(super) fn query(&self) -> Query {
        Query {
            state: STATES.iter().map(|state| state.name()).find(|name| *name == self.state),
            severity: SEVERITIES.into_iter().find(|one| words::severity(*one) == self.severity).map(|one| one as u8),
            host: self.host.clone(),
            user: self.user.clone(),
            destination: self.to.clone(),
            text: self.q.clone(),
            from: midnight(&self.from, false),
            until: midnight(&self.until, true),
        }
    }

    fn named(&self) -> [(&'static str, &str); 8] {
        [
            ("state", &self.state),
            ("severity", &self.severity),
            ("host", &self.host),
            ("user", &self.user),
            ("to", &self.to),
            ("q", &self.q),
            ("from", &self.from),
            ("until", &self.until),
        ]
    }

    /// The filter behind the `?` of an address, with `more` at its end.
    pub(super) fn address(&self, more: &[(&str, &str)]) -> String {
        let mut address = form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.named().iter().chain(more) {
            if !value.is_empty() {
                address.append_pair(name, value);
            }
        }
        address.finish()
    }

    /// The same with another state and nothing else.
    pub(super) fn of_state(state: &str) -> String {
        Filter { state: state.into(), ..Filter::default() }.address(&[])
    }
}

/// When a day begins where the collector stands, or the day after it.
pub(super) fn midnight(date: &str, after: bool) -> Option<i64> {
    let date: Date = date.parse().ok()?;
    let date = if after { date.tomorrow().ok()? } else { date };
    Some(date.to_zoned(TimeZone::system()).ok()?.timestamp().as_millisecond())
}

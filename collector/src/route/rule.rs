//! What a route takes, and when it tells of it.

use std::path::Path;

use globset::{Glob, GlobSet, GlobSetBuilder};
use vitrine_policy::record::Severity;

use crate::alert::Alert;
use crate::config::{self, ConfigError, Span, mistake};

/// Most patterns and names that a route may list, each.
const LISTED: usize = 100;
/// How long a message waits for more of its group, in milliseconds: a copy of many files is told of once.
const WAIT: i64 = 5_000;
/// Least time between two messages about one group, in milliseconds.
const INTERVAL: i64 = 5 * 60 * 1000;
/// Shortest time after which something is told of again or at last, in milliseconds.
const SHORTEST: i64 = 1000;

/// What a route takes, and when it tells of it.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) when: When,
    least: Severity,
    most: Severity,
    collections: Vec<String>,
    hosts: Option<GlobSet>,
    destinations: Vec<String>,
}

/// When a route tells of an alert; all times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// With all of its group: the alerts of one workstation and user about one destination.
    Grouped {
        /// From the first of them on.
        wait: i64,
        /// From one message to the next, unless it got worse.
        interval: i64,
        /// From one message to the next while nobody has answered.
        repeat: Option<i64>,
    },
    /// So long after it came, if nobody has answered for it by then; once.
    Escalated(i64),
    /// All of so long in one message.
    Digest(i64),
}

impl Rule {
    pub(super) fn new(config: &config::Route, data: &Path) -> Result<Rule, ConfigError> {
        let wrong = |reason: String| mistake(data, format!("[[route]] {:?}: {reason}", config.name));
        let (least, most) =
            (config.severity.unwrap_or(Severity::Informational), config.up_to.unwrap_or(Severity::Critical));
        if least > most {
            return Err(wrong("up-to is below severity, so that no alert fits".into()));
        }
        for (what, listed) in
            [("collections", &config.collections), ("hosts", &config.hosts), ("destinations", &config.destinations)]
        {
            if listed.len() > LISTED {
                return Err(wrong(format!("{what} has {} entries; at most {LISTED} are read", listed.len())));
            }
        }
        let mut hosts = GlobSetBuilder::new();
        for pattern in &config.hosts {
            hosts.add(Glob::new(pattern).map_err(|error| wrong(format!("hosts: {error}")))?);
        }
        let hosts = hosts.build().map_err(|error| wrong(format!("hosts: {error}")))?;
        Ok(Rule {
            name: config.name.clone(),
            when: when(config).map_err(wrong)?,
            least,
            most,
            collections: config.collections.clone(),
            hosts: (!config.hosts.is_empty()).then_some(hosts),
            destinations: config.destinations.clone(),
        })
    }

    /// Whether an alert goes this way.
    pub(crate) fn takes(&self, alert: &Alert) -> bool {
        let among =
            |wanted: &[String], found: &[String]| wanted.is_empty() || found.iter().any(|one| wanted.contains(one));
        (self.least..=self.most).contains(&alert.severity)
            && among(&self.collections, &alert.collections)
            && self.hosts.as_ref().is_none_or(|hosts| hosts.is_match(&alert.host))
            && among(&self.destinations, &alert.destination_names)
    }

    /// What alerts share that are told of together.
    pub(crate) fn bundle(&self, alert: &Alert) -> String {
        if let When::Digest(_) = self.when {
            return String::new();
        }
        // None of these holds a line break: see `alert::text::line`.
        let user = alert.user.as_deref().unwrap_or_default();
        let to = alert.destination_names.first().map_or("", String::as_str);
        format!("{}\n{user}\n{to}", alert.agent)
    }
}

fn when(config: &config::Route) -> Result<When, String> {
    let long = |span: Option<Span>, what: &str| match span.map(Span::milliseconds) {
        Some(span) if span < SHORTEST => Err(format!("{what} is shorter than 1s")),
        span => Ok(span),
    };
    let grouped = [config.group_wait, config.group_interval, config.repeat].iter().any(Option::is_some);
    match (long(config.escalate_after, "escalate-after")?, long(config.digest, "digest")?) {
        (None, None) => {}
        (Some(after), None) if !grouped => return Ok(When::Escalated(after)),
        (None, Some(every)) if !grouped => return Ok(When::Digest(every)),
        _ => return Err("escalate-after, digest, and group-wait, group-interval and repeat exclude each other".into()),
    }
    Ok(When::Grouped {
        wait: config.group_wait.map_or(WAIT, Span::milliseconds),
        interval: config.group_interval.map_or(INTERVAL, Span::milliseconds),
        repeat: long(config.repeat, "repeat")?,
    })
}

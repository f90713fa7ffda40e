//! A decision in sentences: what, why, and what would have to change for the other outcome.

use crate::decision::{Decision, Mode, Rule, Verdict};
use crate::facts::{Attempt, Ceiling, Destination, Facts, History, Tier};
use crate::matcher::DestinationEntry;
use crate::policy::{ELSEWHERE, Policy, listed};
use crate::record::printable;

/// Tells of a decision to the user and to security staff, in plain sentences.
#[must_use]
pub fn explain(policy: &Policy, facts: &Facts, decision: &Decision) -> String {
    let mut sentences = match &facts.attempt {
        Attempt::Open { collection, .. } => open(policy, facts, decision, collection),
        Attempt::Transfer { label, destination, history } => {
            let telling = Telling { policy, facts, decision, tier: label.tier, destination, history };
            let mut sentences = telling.transfer();
            sentences.extend(telling.what_is_left());
            if let (Verdict::AllowJustified, Some(given)) = (decision.verdict, &history.justification) {
                sentences
                    .push(format!("The reason given: \u{201c}{}\u{201d}.", printable(given.reason.trim().as_bytes())));
                let by = given.approved_by.as_ref().map(|by| printable(by.as_bytes()));
                sentences.extend(by.map(|by| format!("Approved by {by}.")));
            }
            sentences
        }
    };
    if decision.mode == Mode::Audit && decision.verdict == Verdict::Block {
        sentences.push("The policy is in audit mode, so it is recorded and not refused.".to_owned());
    }
    sentences.join(" ")
}

/// The program as the subject of a sentence; none where nothing is known of it.
fn subject(facts: &Facts) -> Option<String> {
    match &facts.program.named {
        Some(name) => Some(format!("The program `{name}`")),
        None if facts.program.path.is_empty() => None,
        None => Some(format!("{}, which the policy does not name,", printable(facts.program.path.as_bytes()))),
    }
}

fn quoted(names: &[String]) -> Vec<String> {
    names.iter().map(|name| format!("`{name}`")).collect()
}

fn open(policy: &Policy, facts: &Facts, decision: &Decision, collection: &str) -> Vec<String> {
    let program = subject(facts).unwrap_or_else(|| "A program that the policy does not name".to_owned());
    let opened_by = policy.collection(collection).and_then(|collection| collection.opened_by.as_deref());
    let Some(opened_by) = opened_by else {
        return vec![
            format!("{program} may open a master of `{collection}`: without `opened-by`, anybody may read it."),
            format!("Give `{collection}` an `opened-by` to let only named programs open its masters."),
        ];
    };
    let by = listed(&quoted(opened_by), "and");
    if decision.verdict == Verdict::Block {
        let entry = if facts.program.named.is_some() { "" } else { ", with a [[program]] entry of its own" };
        return vec![
            format!("{program} may not open a master of `{collection}`: it is a vault, opened by {by} alone."),
            format!("To allow it, name the program in `opened-by` of `{collection}`{entry}."),
        ];
    }
    vec![
        format!("{program} may open a master of `{collection}`: the vault names it in `opened-by`."),
        "To refuse it, take the program out of `opened-by`.".to_owned(),
    ]
}

/// A share as people read it, to a tenth of a percent. One just above a limit is never rounded down to it.
fn percent(share: f64) -> String {
    let tenths = share * 1000.0;
    // What binary fractions leave behind a tenth is no more than it.
    let tenths = if (tenths - tenths.round()).abs() < 1e-6 { tenths.round() } else { tenths.ceil() };
    if tenths.is_nan() { "an unknown share".to_owned() } else { format!("{} %", tenths / 10.0) }
}

/// One transfer that is told of.
struct Telling<'a> {
    policy: &'a Policy,
    facts: &'a Facts,
    decision: &'a Decision,
    tier: Tier,
    destination: &'a Destination,
    history: &'a History,
}

impl Telling<'_> {
    fn transfer(&self) -> Vec<String> {
        let named = self.named();
        let to = match named {
            Some(entry) => format!("`{}` ({})", entry.name, self.destination.target()),
            None => self.destination.target(),
        };
        let tier = self.policy.tier_name(self.tier);
        let ceiling = self.decision.ceiling.unwrap_or(Ceiling::None);
        match (&self.decision.rule, self.decision.verdict) {
            (Rule::Exempt { program }, _) => vec![
                format!("`{tier}` may go to {to}: the program `{program}` is exempt, it may move anything anywhere."),
                format!("To have it checked, take `trust = \"exempt\"` from [[program]] `{program}`."),
            ],
            (Rule::Ceiling { .. }, Verdict::Block) => {
                let mut sentences = vec![format!("{} to {to}: {}.", self.may_not(tier), self.why_not(named, ceiling))];
                sentences.extend(self.what_may_go(ceiling));
                sentences.push(self.how_to_raise(named));
                sentences
            }
            (Rule::Coverage { .. }, _) => {
                let share = percent(self.history.coverage.unwrap_or(f64::NAN));
                let most = named.and_then(|entry| entry.max_coverage).map_or_else(String::new, percent);
                vec![
                    format!(
                        "This may not go to {to}: it would bring what has gone there to {share} of the master's area; \
                         {most} is the most."
                    ),
                    "To allow it, raise `max-coverage`. What has gone there counts for good; what is small enough for \
                     the lowest tier does not."
                        .to_owned(),
                ]
            }
            (Rule::ObjectsPerDay { .. }, _) => {
                let objects = self.history.objects_today.unwrap_or_default();
                let most = named.and_then(|entry| entry.max_objects_per_day).unwrap_or_default();
                vec![
                    format!(
                        "This may not go to {to}: it would be object number {objects} of this day; {most} is the most."
                    ),
                    "To allow it, raise `max-objects-per-day`, or wait for another day. Every object counts once, at \
                     every tier."
                        .to_owned(),
                ]
            }
            (Rule::Justify { .. }, Verdict::Block) => {
                let asked = named.and_then(|entry| entry.justify);
                let minutes = asked.map_or(0.0, |asked| asked.window.as_secs_f64() / 60.0);
                match asked.and_then(|asked| asked.approval) {
                    None => vec![
                        format!("`{tier}` may go to {to} only with a reason, which is recorded, and none was given."),
                        format!("Give a reason with `vitrine justify`, and try again within {minutes} minutes."),
                    ],
                    Some(_) => vec![
                        format!(
                            "`{tier}` may go to {to} only with a reason that a second person has approved, and none was."
                        ),
                        format!(
                            "Give a reason with `vitrine justify`, and try again within {minutes} minutes after it was \
                             approved."
                        ),
                    ],
                }
            }
            (Rule::Justify { .. }, _) => {
                vec![format!("`{tier}` may go to {to}, because a reason was given; it is recorded.")]
            }
            _ => {
                let section =
                    named.map_or("[elsewhere]".to_owned(), |entry| format!("[[destination]] `{}`", entry.name));
                let ceiling = self.policy.ceiling_name(ceiling);
                vec![
                    format!("`{tier}` may go to {to}: its ceiling is `{ceiling}`."),
                    format!("To refuse it, lower `ceiling` of {section}."),
                ]
            }
        }
    }

    /// How far an allowed transfer brings what is limited.
    fn what_is_left(&self) -> Option<String> {
        let entry = self.named().filter(|_| self.decision.verdict != Verdict::Block)?;
        let mut figures = Vec::new();
        if let (Some(most), Some(sent)) = (entry.max_coverage, self.history.coverage) {
            figures.push(format!("{} of the master's area ({} is the most)", percent(sent), percent(most)));
        }
        if let (Some(most), Some(objects)) = (entry.max_objects_per_day, self.history.objects_today) {
            let objects = if objects == 1 { "one object".to_owned() } else { format!("{objects} objects") };
            figures.push(format!("{objects} of this day ({most} is the most)"));
        }
        (!figures.is_empty()).then(|| format!("With it, what has gone there is {}.", listed(&figures, "and")))
    }

    fn may_not(&self, tier: &str) -> String {
        match subject(self.facts) {
            Some(program) => format!("{program} may not send `{tier}`"),
            None => format!("`{tier}` may not go"),
        }
    }

    fn named(&self) -> Option<&DestinationEntry> {
        self.policy.destination_of(self.destination)
    }

    fn why_not(&self, named: Option<&DestinationEntry>, ceiling: Ceiling) -> String {
        let ceiling = self.policy.ceiling_name(ceiling);
        match named {
            Some(_) => format!("its ceiling is `{ceiling}`"),
            None => format!("the policy does not name it, and the ceiling of `{ELSEWHERE}` is `{ceiling}`"),
        }
    }

    /// What a copy would have to be to go there.
    fn what_may_go(&self, ceiling: Ceiling) -> Option<String> {
        let Ceiling::UpTo(tier) = ceiling else {
            return Some("Nothing made from a master may go there.".to_owned());
        };
        let limits = self.policy.tiers.get(usize::from(tier.0))?.limits();
        (!limits.is_empty()).then(|| format!("A copy of {limits} may go there."))
    }

    fn how_to_raise(&self, named: Option<&DestinationEntry>) -> String {
        let tier = self.policy.tier_name(self.tier);
        match named {
            Some(entry) => {
                format!("To allow this one, raise `ceiling` of [[destination]] `{}` to `{tier}`.", entry.name)
            }
            None => format!(
                "To allow this one, add [[destination]] with {} and the ceiling `{tier}`.",
                self.destination.key_for_policy()
            ),
        }
    }
}

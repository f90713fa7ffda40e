//! A decision in sentences: what, why, and what would have to change for the other outcome.

use crate::decision::{Decision, Mode, Rule, Verdict};
use crate::facts::{Attempt, Ceiling, Destination, Facts, Tier};
use crate::matcher::DestinationEntry;
use crate::policy::{ELSEWHERE, Policy, listed};
use crate::record::printable;

/// Tells of a decision to the user and to security staff, in plain sentences.
#[must_use]
pub fn explain(policy: &Policy, facts: &Facts, decision: &Decision) -> String {
    let mut sentences = match &facts.attempt {
        Attempt::Open { collection, .. } => open(policy, facts, decision, collection),
        Attempt::Transfer { label, destination, history } => {
            let telling = Telling { policy, facts, decision, tier: label.tier, destination };
            let mut sentences = telling.transfer();
            if let (Verdict::AllowJustified, Some(reason)) = (decision.verdict, &history.justification) {
                sentences.push(format!("The reason given: \u{201c}{}\u{201d}.", printable(reason.trim().as_bytes())));
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

/// A limit of the destination was reached.
fn too_much(to: &str, what: &str, key: &str, limit: Option<String>) -> Vec<String> {
    let limit = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
    vec![
        format!("This may not go to {to}: {what} would have gone there than `{key}`{limit} lets through."),
        format!("To allow it, raise `{key}`; what has gone there already counts, at every tier."),
    ]
}

/// One transfer that is told of.
struct Telling<'a> {
    policy: &'a Policy,
    facts: &'a Facts,
    decision: &'a Decision,
    tier: Tier,
    destination: &'a Destination,
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
            (Rule::Coverage { .. }, _) => too_much(
                &to,
                "more of one master's area",
                "max-coverage",
                named.and_then(|entry| entry.max_coverage).map(|most| most.to_string()),
            ),
            (Rule::ObjectsPerDay { .. }, _) => too_much(
                &to,
                "more objects in one day",
                "max-objects-per-day",
                named.and_then(|entry| entry.max_objects_per_day).map(|most| most.to_string()),
            ),
            (Rule::Justify { .. }, Verdict::Block) => vec![
                format!("`{tier}` may go to {to} only with a reason, which is recorded, and none was given."),
                "Give a reason and try again.".to_owned(),
            ],
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

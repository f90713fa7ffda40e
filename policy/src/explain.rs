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

fn program_of(facts: &Facts) -> String {
    match &facts.program.named {
        Some(name) => format!("the program `{name}`"),
        None if facts.program.path.is_empty() => "a program that the policy does not name".to_owned(),
        None => format!("{}, which the policy does not name,", printable(facts.program.path.as_bytes())),
    }
}

/// Begins a sentence.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn quoted(names: &[String]) -> Vec<String> {
    names.iter().map(|name| format!("`{name}`")).collect()
}

fn open(policy: &Policy, facts: &Facts, decision: &Decision, collection: &str) -> Vec<String> {
    let program = capital(&program_of(facts));
    let opened_by = policy.collection(collection).and_then(|collection| collection.opened_by.as_deref());
    let Some(opened_by) = opened_by else {
        return vec![
            format!(
                "{program} may open a master of `{collection}`: the collection has no `opened-by`, so anybody may read it."
            ),
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
                let mut sentences =
                    vec![format!("`{tier}` may not go to {to}: {}.", self.why_not(named, ceiling))];
                sentences.extend(self.what_may_go(ceiling));
                sentences.push(self.how_to_raise(named));
                sentences
            }
            (Rule::Coverage { .. }, _) => vec![
                format!("This may not go to {to}: more of one master's area would have gone there than its `max-coverage`{} lets through.",
                    named.and_then(|entry| entry.max_coverage).map_or_else(String::new, |most| format!(" of {most}"))),
                "Smaller copies of the whole picture do not help; what went there already counts. To allow it, raise `max-coverage`.".to_owned(),
            ],
            (Rule::ObjectsPerDay { .. }, _) => vec![
                format!("This may not go to {to} today: more objects would have gone there than its `max-objects-per-day`{} lets through.",
                    named.and_then(|entry| entry.max_objects_per_day).map_or_else(String::new, |most| format!(" of {most}"))),
                "It may go tomorrow. To allow it today, raise `max-objects-per-day`.".to_owned(),
            ],
            (Rule::Justify { .. }, Verdict::Block) => vec![
                format!("`{tier}` may go to {to} only with a reason, which is recorded, and none was given."),
                "Give a reason and try again.".to_owned(),
            ],
            (Rule::Justify { .. }, _) => {
                vec![format!("`{tier}` may go to {to}, because a reason was given; it is recorded.")]
            }
            _ => {
                let mut sentences = vec![format!(
                    "`{tier}` may go to {to}: its ceiling is `{}`.",
                    self.policy.ceiling_name(ceiling)
                )];
                let section = named.map_or("[elsewhere]".to_owned(), |entry| format!("[[destination]] `{}`", entry.name));
                sentences.push(format!("To refuse it, lower `ceiling` of {section}."));
                sentences
            }
        }
    }

    fn named(&self) -> Option<&DestinationEntry> {
        self.policy.destination_of(self.destination)
    }

    fn why_not(&self, named: Option<&DestinationEntry>, ceiling: Ceiling) -> String {
        let who = program_of(self.facts);
        let ceiling = self.policy.ceiling_name(ceiling);
        match named {
            Some(_) => format!("its ceiling is `{ceiling}`, for {}", who.trim_end_matches(',')),
            None => format!(
                "the policy does not name this destination, and `{ELSEWHERE}` has the ceiling `{ceiling}`, for {}",
                who.trim_end_matches(',')
            ),
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

//! The judgement: facts in, decision out.

use crate::decision::{Decision, Rule, Verdict};
use crate::facts::{Attempt, Ceiling, Destination, Facts, History, Justification, Label, Program};
use crate::policy::{ELSEWHERE, Policy, Trust};

/// Judges one attempt. The mode changes nothing here: it counts in [`Decision::answer`].
///
/// A limit on objects or coverage is checked where the number is known. A lower tier is never refused where
/// a higher one is allowed, all else being equal.
pub fn judge(policy: &Policy, facts: &Facts) -> Decision {
    let (verdict, rule, ceiling) = match &facts.attempt {
        Attempt::Open { collection, .. } => open(policy, &facts.program, collection),
        Attempt::Transfer { label, destination, history } => {
            transfer(policy, &facts.program, label, destination, history)
        }
    };
    Decision { verdict, rule, ceiling, mode: policy.mode }
}

fn open(policy: &Policy, program: &Program, collection: &str) -> (Verdict, Rule, Option<Ceiling>) {
    let collection = collection.to_owned();
    let Some(opened_by) = policy.collection(&collection).and_then(|collection| collection.opened_by.as_ref()) else {
        return (Verdict::Allow, Rule::OpenCollection { collection }, None);
    };
    let named = program.named.as_ref().is_some_and(|name| opened_by.contains(name));
    let verdict = if named { Verdict::Allow } else { Verdict::Block };
    (verdict, Rule::Vault { collection, named }, None)
}

fn transfer(
    policy: &Policy,
    program: &Program,
    label: &Label,
    destination: &Destination,
    history: &History,
) -> (Verdict, Rule, Option<Ceiling>) {
    let entry = policy.destination_of(destination);
    let ceiling = entry.map_or(policy.elsewhere, |entry| entry.ceiling);
    let name = entry.map_or(ELSEWHERE, |entry| entry.name.as_str()).to_owned();
    let decided = |verdict, rule| (verdict, rule, Some(ceiling));

    let known = program.named.as_deref().and_then(|name| policy.program(name));
    if let Some(known) = known.filter(|known| known.trust == Trust::Exempt) {
        return decided(Verdict::Allow, Rule::Exempt { program: known.name.clone() });
    }
    if !ceiling.admits(label.tier) {
        return decided(Verdict::Block, Rule::Ceiling { destination: name });
    }
    let Some(entry) = entry else {
        return decided(Verdict::Allow, Rule::Ceiling { destination: name });
    };
    // Written so that a coverage that is not a number counts as too much.
    if let (Some(most), Some(sent)) = (entry.max_coverage, history.coverage)
        && (sent > most || sent.is_nan())
    {
        return decided(Verdict::Block, Rule::Coverage { destination: name });
    }
    if let (Some(most), Some(sent)) = (entry.max_objects_per_day, history.objects_today)
        && sent > most
    {
        return decided(Verdict::Block, Rule::ObjectsPerDay { destination: name });
    }
    if let Some(asked) = entry.justify {
        let is_approved = |given: &Justification| asked.approval.is_none() || given.approved_by.is_some();
        let is_given = |given: &Justification| !given.reason.trim().is_empty() && is_approved(given);
        let verdict = match &history.justification {
            Some(given) if is_given(given) => Verdict::AllowJustified,
            _ => Verdict::Block,
        };
        return decided(verdict, Rule::Justify { destination: name });
    }
    decided(Verdict::Allow, Rule::Ceiling { destination: name })
}

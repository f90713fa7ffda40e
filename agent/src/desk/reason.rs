//! `vitrine justify`: somebody gives his reason for an attempt that was refused for want of one.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vitrine_policy::decision::Rule;
use vitrine_policy::facts::{Justification, Label};
use vitrine_policy::record::last_part;

use super::{Answer, Asker, Told};
use crate::approval;
use crate::fail::Failure;
use crate::identify::process::Login;
use crate::justification::{Window, now};
use crate::workstation::Workstation;

/// Fewest and most characters of a reason.
pub(crate) const FEWEST: usize = 10;
pub(crate) const MOST: usize = 500;

/// A reason that was taken, as its user is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Given {
    /// By which its records are found.
    pub(crate) id: String,
    pub(crate) file: String,
    pub(crate) destination: String,
    /// How long it holds.
    pub(crate) seconds: f64,
    /// As it was recorded.
    pub(crate) reason: String,
}

/// A reason as it is recorded: on one line, without characters that do anything but show themselves.
pub(crate) fn cleaned(reason: &str) -> Result<String, String> {
    let too_long = || Err(format!("the reason is too long; expected at most {MOST} characters"));
    if reason.len() > MOST * 8 {
        return too_long();
    }
    let is_gap = |letter: char| letter.is_whitespace() || letter.is_control();
    let spaced = reason.replace(is_gap, " ");
    let shown = super::texts::plain(&spaced, usize::MAX).replace('\u{fffd}', "");
    let line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    let length = line.chars().count();
    if length > MOST {
        return too_long();
    }
    let letters = line.chars().filter(|letter| letter.is_alphanumeric()).count();
    if length < FEWEST || letters < FEWEST / 2 {
        return Err(format!(
            "the reason is too short: “{line}”; expected {FEWEST} to {MOST} characters that tell somebody else why, as in \
             vitrine justify ID \"loan 14, agreed with the registrar\""
        ));
    }
    Ok(line)
}

/// Opens the window of an attempt of the asker's own, and records it with the reason; or asks a second person to approve
/// it, where the policy wants that.
pub(super) fn justify(workstation: &Workstation, asker: Asker, id: &str, reason: &str) -> Result<Answer, String> {
    let now = now();
    // Whether somebody else has one of this name is told to nobody. Who has none is not counted among those who asked:
    // one user may have thousands of subordinate ids.
    let told = workstation.desk.told_to(asker, false).into_iter().rev().find(|told| told.id == id);
    let told = told.ok_or("no attempt of yours has this ID; `vitrine why` shows those that were refused to you")?;
    if !workstation.windows.may_ask(asker.uid, now) {
        return Err("you have asked too often; wait ten minutes, and ask again".to_owned());
    }
    if let Some(why) = workstation.windows.why_not() {
        return Err(why.to_owned());
    }
    let reason = cleaned(reason)?;
    let Rule::Justify { destination } = &told.rule else {
        return Err(format!("a reason does not help here, and `vitrine why {}` says what does", told.file));
    };
    if !told.may_justify() {
        return Err(TOO_MANY.to_owned());
    }
    let snapshot = workstation.snapshot();
    let entry = snapshot.policy.destinations.iter().find(|entry| entry.name == *destination);
    let asked = entry.and_then(|entry| entry.justify).ok_or_else(|| {
        format!("the policy wants no reason for `{destination}` any more; try again, and see `vitrine why`")
    })?;
    if asked.approval.is_some() {
        let stands = approval::ask::ask(workstation, &told, asker.uid, destination, asked, reason)?;
        return Ok(Answer::Approval(Box::new(stands)));
    }
    let holds = asked.window;
    let given = Justification { id: uuid::Uuid::now_v7().to_string(), reason, approved_by: None };
    let window = window(&told, destination, given.clone(), now + holds);
    workstation.windows.open(window, now).map_err(|full| full.to_string())?;
    let minutes = holds.as_secs_f64() / 60.0;
    let who = Login::new(asker.uid, None).user();
    let what = format!(
        "{} (user {}) gave a reason why {} (`{}`) may go to `{destination}` for {minutes} minutes: “{}”",
        who.name, who.uid, told.file, told.tier, given.reason
    );
    workstation.spool.push(Failure::Justified.notice(Some(given.id.as_bytes()), what));
    Ok(Answer::Given(Given {
        id: given.id,
        file: last_part(&told.file).to_owned(),
        destination: destination.clone(),
        seconds: holds.as_secs_f64(),
        reason: given.reason,
    }))
}

/// Of so many masters a label names no more.
const TOO_MANY: &str = "what was refused carries so many masters that they are not told apart; take fewer files at a time, \
                        with a program that has read no others";

fn window(told: &Told, destination: &str, given: Justification, until: Duration) -> Window {
    let mut masters = told.masters.clone();
    masters.sort();
    Window { given, uid: told.uid, masters, tier: told.tier.clone(), destination: destination.to_owned(), until }
}

/// Whether the masters of a label are all that there were.
pub(super) fn are_told_apart(masters: &[String]) -> bool {
    !masters.is_empty() && masters.len() < Label::MASTERS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_plain_line_of_bounded_length() {
        assert_eq!(
            cleaned("  loan 14,\n\tagreed\u{0}with the\u{1b}[31m registrar \u{202e}").unwrap(),
            "loan 14, agreed with the [31m registrar"
        );
        for short in [
            "",
            "          ",
            "loan 14",
            "..............",
            "\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}",
        ] {
            assert!(cleaned(short).unwrap_err().contains("too short"), "{short:?}");
        }
        assert_eq!(cleaned(&"é".repeat(MOST)).unwrap().chars().count(), MOST);
        for long in ["x".repeat(MOST + 1), "x".repeat(4 << 20), " ".repeat(4 << 20)] {
            assert!(cleaned(&long).unwrap_err().contains("at most 500 characters"));
        }
        assert_eq!(cleaned("給萊頓的第十四號出借，已與登錄員商定").unwrap(), "給萊頓的第十四號出借，已與登錄員商定");
    }
}

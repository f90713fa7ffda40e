//! `vitrine justify`: gives the reason for what was refused for want of one, and has it approved where somebody else must.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::FOUND;
use crate::approval::Approval;
use crate::desk::client::{self, DeskError};
use crate::desk::reason::cleaned;
use crate::desk::texts::{Texts, Word};
use crate::desk::{Answer, Request};

/// Prints how long the reason holds, or that somebody else decides. 1: it was not taken.
pub(crate) fn run(state: &Path, id: &str, reason: &str) -> anyhow::Result<ExitCode> {
    let not_taken = |why: &str| {
        eprintln!("vitrine: {why}");
        Ok(ExitCode::from(FOUND))
    };
    let reason = match cleaned(reason) {
        Ok(reason) => reason,
        Err(why) => return not_taken(&why),
    };
    let id = id.trim().to_ascii_lowercase().chars().take(64).collect();
    let answer = client::ask(state, &Request::Justify { id, reason })?.next();
    let given = match answer
        .context("the agent gave no answer; it answers a few questions of one user at a time: ask again")?
    {
        Ok(Answer::Given(given)) => given,
        Ok(Answer::Approval(approval)) => {
            println!("{}", asked(&approval));
            return Ok(ExitCode::SUCCESS);
        }
        Err(DeskError::Refused(why)) => return not_taken(&why),
        Ok(_) => {
            anyhow::bail!("the agent answered something else; is it of another version? `systemctl restart vitrine`")
        }
        Err(error) => return Err(error.into()),
    };
    let words = [
        ("file", Word::Text(&given.file)),
        ("place", Word::Text(&given.destination)),
        ("minutes", Word::Number(given.seconds / 60.0)),
        ("id", Word::Text(&given.id)),
    ];
    println!("{}", Texts::of_user().say("given", &words));
    Ok(ExitCode::SUCCESS)
}

/// What happens next where somebody else decides.
fn asked(approval: &Approval) -> String {
    let texts = Texts::of_user();
    let words = [
        ("file", Word::Text(&approval.file)),
        ("place", Word::Text(&approval.destination)),
        ("minutes", Word::Number(approval.seconds / 60.0)),
        ("id", Word::Text(&approval.id)),
    ];
    std::iter::once(texts.say("asked", &words)).chain(texts.stands(approval)).collect::<Vec<_>>().join("\n")
}

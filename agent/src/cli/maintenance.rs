//! `vitrine maintenance`: opens and ends the time for which root may touch what is the agent's.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::FOUND;
use crate::desk::client::{self, DeskError};
use crate::desk::{Answer, Request};
use crate::maintenance::{Wish, shown};

/// Asks the agent, and prints how it stands then. 1: nothing is open, or it was refused.
pub(crate) fn run(state: &Path, token: Option<String>, end: bool, json: bool) -> anyhow::Result<ExitCode> {
    let wish = match token {
        // The question has to find room; what is longer is no token.
        Some(token) => Wish::Open(token.chars().take(vitrine_policy::maintenance::MAX_TEXT + 1).collect()),
        None if end => Wish::End,
        None => Wish::Look,
    };
    let answer = client::ask(state, &Request::Maintenance(wish))?.next();
    let stands = match answer.context("the agent gave no answer; ask again")? {
        Ok(Answer::Maintenance(stands)) => stands,
        Err(DeskError::Refused(why)) => {
            eprintln!("vitrine: {why}");
            return Ok(ExitCode::from(FOUND));
        }
        Ok(_) => {
            anyhow::bail!("the agent answered something else; is it of another version? `systemctl restart vitrine`")
        }
        Err(error) => return Err(error.into()),
    };
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(&stands)?)?;
    } else {
        match &stands.open {
            Some((open, seconds)) => {
                let (minutes, ends) = ((seconds + 59) / 60, shown(open.ends));
                writeln!(
                    out,
                    "Maintenance is open for {minutes} minutes more, until {ends} at the latest: “{}”.",
                    open.reason
                )?;
                writeln!(out, "It was opened by {}. `vitrine maintenance --end` ends it.", open.by)?;
            }
            None => writeln!(out, "No maintenance is open.")?,
        }
        writeln!(out, "The shield is {}.", stands.shield)?;
    }
    Ok(if end || stands.open.is_some() { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

//! `vitrine-collector policy`: what the console's page of policies does, for scripts and whoever holds the data
//! directory.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::json;
use vitrine_collector::alert::text::line;
use vitrine_collector::config::Config;
use vitrine_collector::policy::{check, public_key};
use vitrine_collector::store::{Actor, HostGroup, RolloutStep, Store};

use super::FOUND;

/// Versions that are listed.
const LISTED: u32 = 1000;
/// Longest note, in characters.
const NOTE: usize = 1000;

#[derive(Subcommand)]
pub(super) enum PolicyCommand {
    /// Add a version: a policy without a mistake, whose own tests pass. Prints its number. No workstation gets it yet.
    #[command(after_help = "Exit status: 0 added, 1 the policy has mistakes, 2 it is there already.

Example:
  vitrine-collector policy add policy.toml --signature policy.toml.minisig --note 'loan 14' --data DIR")]
    Add {
        /// The policy.
        file: PathBuf,
        /// Its signature, as `vitrine policy sign` makes it.
        #[arg(long, value_name = "FILE")]
        signature: Option<PathBuf>,
        /// What it is for.
        #[arg(long, default_value = "")]
        note: String,
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
    /// List versions, groups and rollouts.
    #[command(after_help = "Example:\n  vitrine-collector policy list --data DIR --json | jq '.rollouts[0].agents'")]
    List {
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Keep a group of workstations: host names, in which * and ? stand for others, and ids of agents.
    #[command(after_help = "Example:\n  vitrine-collector policy group --data DIR --name studio 'scan-0?' 'lab-*'")]
    Group {
        /// Its name; a group of this name is replaced.
        #[arg(long)]
        name: String,
        /// Its members.
        #[arg(required = true)]
        members: Vec<String>,
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
    /// Begin to give a version to workstations. Prints the number of the rollout.
    #[command(
        after_help = "Example:\n  vitrine-collector policy roll-out --data DIR --version 3 --group studio --percentage 10"
    )]
    RollOut {
        /// The version.
        #[arg(long, value_name = "NUMBER")]
        version: i64,
        /// To whom.
        #[arg(long, default_value = "all")]
        group: String,
        /// To how many of a hundred of them.
        #[arg(long, value_name = "N", default_value_t = 100)]
        percentage: u8,
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
    /// Give the version of a rollout to more workstations.
    Raise {
        /// To how many of a hundred.
        #[arg(long, value_name = "N")]
        percentage: u8,
        #[command(flatten)]
        which: Which,
    },
    /// Give the version of a rollout to nobody else.
    Halt(Which),
    /// Let a halted rollout go on.
    Resume(Which),
}

#[derive(Args)]
pub(super) struct Which {
    /// Number of the rollout.
    #[arg(long, value_name = "NUMBER")]
    rollout: i64,
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

pub(super) async fn run(command: PolicyCommand) -> Result<u8> {
    let by = Actor::command_line();
    let mut out = std::io::stdout();
    match command {
        PolicyCommand::Add { file, signature, note, data } => {
            let key = public_key(&Config::read(&data)?, &data).map_err(anyhow::Error::msg)?;
            let text = read(&file)?;
            let signature = signature.as_deref().map(read).transpose()?;
            let name = file.to_string_lossy();
            let new = match check(&line(&name, NOTE), text, signature, line(note.trim(), NOTE), key.as_ref()) {
                Ok(new) => new,
                Err(why) => {
                    eprintln!("vitrine-collector: not added: {why}");
                    return Ok(FOUND);
                }
            };
            let store = Store::open(&data)?;
            let added = store.add_policy(by, new).await;
            store.close().await;
            writeln!(out, "{}", added?)?;
        }
        PolicyCommand::List { data, json } => list(&Store::open_existing(&data)?, json).await?,
        PolicyCommand::Group { name, members, data } => {
            let store = Store::open_existing(&data)?;
            let kept = store.keep_group(by, HostGroup { name, members }).await;
            store.close().await;
            kept?;
        }
        PolicyCommand::RollOut { version, group, percentage, data } => {
            let store = Store::open_existing(&data)?;
            let begun = store.roll_out(by, version, group, percentage).await;
            store.close().await;
            writeln!(out, "{}", begun?)?;
        }
        PolicyCommand::Raise { percentage, which } => step(by, which, RolloutStep::Raise(percentage)).await?,
        PolicyCommand::Halt(which) => step(by, which, RolloutStep::Halt).await?,
        PolicyCommand::Resume(which) => step(by, which, RolloutStep::Resume).await?,
    }
    Ok(0)
}

async fn step(by: Actor, which: Which, step: RolloutStep) -> Result<()> {
    let store = Store::open_existing(&which.data)?;
    let done = store.step_rollout(by, which.rollout, step).await;
    store.close().await;
    Ok(done?)
}

async fn list(store: &Store, json: bool) -> Result<()> {
    let mut out = std::io::stdout();
    let (versions, groups, rollouts) = (store.policies(LISTED).await?, store.groups().await?, store.rollouts().await?);
    if json {
        let all = json!({"versions": versions, "groups": groups, "rollouts": rollouts});
        writeln!(out, "{}", serde_json::to_string(&all)?)?;
        return Ok(());
    }
    for version in versions {
        let serial = version.serial.map_or_else(|| "-".to_owned(), |serial| serial.to_string());
        let signed = if version.signed { "signed" } else { "not signed" };
        let (has, shall) = (version.acknowledged, version.wanted);
        writeln!(
            out,
            "version {:<4} serial {serial:<6} {signed:<10} {} by {}, in force on {has} of {shall}  {}",
            version.number, version.digest, version.added_by, version.note
        )?;
    }
    for group in groups {
        writeln!(out, "group {:<16} {}", group.name, group.members.join(", "))?;
    }
    for rollout in rollouts {
        writeln!(
            out,
            "rollout {:<4} version {} to {} % of {}: {}, in force on {} of {} ({} by {})",
            rollout.number,
            rollout.policy,
            rollout.percentage,
            rollout.group,
            rollout.state.name(),
            rollout.acknowledged,
            rollout.agents.len(),
            rollout.reason,
            rollout.changed_by
        )?;
    }
    Ok(())
}

/// Reads a small text file.
fn read(path: &Path) -> Result<String> {
    use std::io::Read;
    let most = vitrine_policy::MAX_BYTES as u64;
    let mut text = Vec::new();
    let file = std::fs::File::open(path).with_context(|| format!("{}", path.display()))?;
    file.take(most + 1).read_to_end(&mut text).with_context(|| format!("{}", path.display()))?;
    anyhow::ensure!(text.len() as u64 <= most, "{}: longer than {most} bytes", path.display());
    String::from_utf8(text).with_context(|| format!("{}: expected a file in UTF-8", path.display()))
}

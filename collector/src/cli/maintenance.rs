//! `vitrine-collector maintenance`: tokens with which root may look after the agent of a workstation for a while. The
//! collector holds no secret key: whoever issues a token brings it along, and the audit log says so first.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use minisign::{SecretKey, SecretKeyBox};
use vitrine_collector::alert::text::line;
use vitrine_collector::store::{Actor, Store};
use vitrine_policy::maintenance::{COMMENT, Claims, LONGEST, REASON, Token, signed};

use super::MISUSE;

/// How long before it begins to hold a token may be issued, in seconds.
const AHEAD: i64 = 30 * 24 * 3600;
/// Bits of a token's number.
const NUMBER: usize = 128;

#[derive(Subcommand)]
pub(super) enum MaintenanceCommand {
    /// Issue a token and print it; the audit log has who issued it, for whom, how long and why.
    #[command(
        after_help = "On the workstation, `sudo vitrine maintenance TOKEN` opens maintenance: until the token expires, or \
`vitrine maintenance --end`, the kernel keeps root from nothing that is the agent's. A token opens it once. The key is the \
secret one of `maintenance-key` in the agents' agent.toml, or else of `policy-key`; `vitrine policy keygen` makes a pair.

Examples:
  vitrine-collector maintenance issue --data DIR --key museum.key --host scan-07 --minutes 60 --reason 'new disk, ticket 214'
  vitrine-collector maintenance issue --data DIR --key museum.key --all --minutes 240 --from 2026-12-01T20:00:00Z \\
      --reason 'update of all workstations'"
    )]
    Issue(Issue),
}

#[derive(Args)]
pub(super) struct Issue {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The secret key.
    #[arg(long, value_name = "KEY")]
    key: PathBuf,
    /// Read the passphrase of the secret key from the first line of this file, instead of asking for it.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The workstation that it is for: its name, or the id of its agent.
    #[arg(long, value_name = "NAME|ID", required_unless_present = "all", conflicts_with = "all")]
    host: Option<String>,
    /// For every workstation that trusts the key, instead of one.
    #[arg(long)]
    all: bool,
    /// How long it holds: at most 1440 minutes, a day.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=LONGEST / 60))]
    minutes: i64,
    /// From when it holds, within 30 days, as in 2026-12-01T20:00:00Z; left out: from now on.
    #[arg(long, value_name = "TIME")]
    from: Option<jiff::Timestamp>,
    /// What is to be done, in 10 to 300 characters.
    #[arg(long)]
    reason: String,
}

pub(super) async fn run(command: MaintenanceCommand) -> Result<u8> {
    let MaintenanceCommand::Issue(issue) = command;
    let store = Store::open_existing(&issue.data)?;
    let issued = issue.issue(&store).await;
    store.close().await;
    match issued? {
        Ok(token) => {
            writeln!(std::io::stdout(), "{}", token.text())?;
            Ok(0)
        }
        Err(why) => {
            eprintln!("vitrine-collector: not issued: {why}");
            Ok(MISUSE)
        }
    }
}

impl Issue {
    /// Signs it, has it recorded, and only then hands it out; or says what is wrong with the request.
    async fn issue(&self, store: &Store) -> Result<Result<Token, String>> {
        let agents = match &self.host {
            Some(host) => store.agents_named(host.clone()).await?,
            None => Vec::new(),
        };
        let now = jiff::Timestamp::now().as_second();
        let made = self.claims(&agents, now).and_then(|claims| {
            let token = sign(&claims, &secret_key(&self.key, self.password_file.as_deref())?)?;
            Ok((claims, token))
        });
        let (claims, token) = match made {
            Ok(made) => made,
            Err(why) => return Ok(Err(why)),
        };
        let [from, until] = [claims.from, claims.until].map(jiff::Timestamp::from_second);
        let whom = agents.first().map_or_else(|| "all agents".to_owned(), |(id, host)| format!("agent {id} ({host})"));
        let detail = format!("issued for {whom}, from {} until {}: {}", from?, until?, claims.reason);
        store.record_maintenance(Actor::command_line(), claims.id, detail).await.context("the audit log")?;
        Ok(Ok(token))
    }

    fn claims(&self, agents: &[(String, String)], now: i64) -> Result<Claims, String> {
        let agent = match (&self.host, agents) {
            (None, _) => None,
            (Some(_), [(id, _)]) => Some(id.clone()),
            (Some(host), []) => {
                return Err(format!("no agent was heard of that has the name or id {host:?}; the console lists them"));
            }
            (Some(host), several) => {
                let ids: Vec<_> = several.iter().map(|(id, _)| id.as_str()).collect();
                return Err(format!("several agents are called {host:?}: give one of these ids: {}", ids.join(", ")));
            }
        };
        let from = self.from.map_or(now, jiff::Timestamp::as_second);
        if !(now - 60..=now + AHEAD).contains(&from) {
            return Err("--from: expected a time from now on, within 30 days".to_owned());
        }
        let reason = line(self.reason.trim(), REASON.1 + 1);
        let mut id = [0_u8; NUMBER / 8];
        getrandom::fill(&mut id).map_err(|error| format!("the kernel gives no random numbers: {error}"))?;
        let by = match Actor::command_line() {
            Actor::CommandLine(uid) => format!("uid {uid}"),
            _ => String::new(),
        };
        let claims = Claims { id: hex::encode(id), agent, from, until: from + self.minutes * 60, reason, by };
        claims.check().map(|()| claims).map_err(|why| why.to_string())
    }
}

fn sign(claims: &Claims, key: &SecretKey) -> Result<Token, String> {
    let claims_text = serde_json::to_vec(claims).map_err(|error| error.to_string())?;
    let comment = format!("{COMMENT}{}\tuntil:{}", claims.id, claims.until);
    let message = Cursor::new(signed(&claims_text));
    let signature = minisign::sign(None, key, message, Some(&comment), Some("signature of a maintenance token"))
        .map_err(|error| format!("the token cannot be signed: {error}"))?;
    Ok(Token { claims: claims_text, signature: signature.to_string() })
}

/// Reads a key as `vitrine policy keygen` writes it.
fn secret_key(file: &Path, password_file: Option<&Path>) -> Result<SecretKey, String> {
    let cannot = |why: &dyn std::fmt::Display| format!("the secret key {} cannot be used: {why}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| cannot(&error))?;
    let boxed = || SecretKeyBox::from_string(&text).map_err(|error| cannot(&error));
    if let Ok(key) = boxed()?.into_unencrypted_secret_key() {
        return Ok(key);
    }
    let password = match password_file {
        Some(file) => {
            let text =
                std::fs::read_to_string(file).map_err(|error| format!("the passphrase {}: {error}", file.display()))?;
            Some(text.lines().next().unwrap_or_default().to_owned())
        }
        None => None,
    };
    boxed()?.into_secret_key(password).map_err(|error| cannot(&error))
}

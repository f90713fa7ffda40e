//! `vitrine-collector agent`

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use vitrine_collector::store::Store;

use super::MISUSE;

#[derive(Subcommand)]
pub(super) enum AgentCommand {
    /// List all certificates that were issued, the newest first.
    #[command(after_help = "Example:\n  vitrine-collector agent list --data DIR --json")]
    List {
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make an agent's certificates worthless at once. It can be enrolled again by a new token.
    #[command(
        after_help = "Example:\n  vitrine-collector agent revoke --data DIR --agent 0198c0de-0000-7000-8000-000000000001"
    )]
    Revoke {
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// The agent's id: `agent list`, or the console's page of workstations.
        #[arg(long)]
        agent: String,
    },
}

pub(super) async fn run(command: AgentCommand) -> Result<u8> {
    let mut out = std::io::stdout();
    match command {
        AgentCommand::List { data, json } => {
            let certificates = Store::open_existing(&data)?.certificates().await?;
            if json {
                writeln!(out, "{}", serde_json::to_string(&serde_json::json!({"certificates": certificates}))?)?;
                return Ok(0);
            }
            for certificate in certificates {
                let state = if certificate.revoked.is_some() { "revoked" } else { "valid until" };
                let until = jiff::Timestamp::from_millisecond(certificate.expires)?;
                let host = certificate.host.as_deref().unwrap_or("-");
                writeln!(out, "{} {state} {:.0} {host} (token {})", certificate.agent, until, certificate.token)?;
            }
            Ok(0)
        }
        AgentCommand::Revoke { data, agent } => {
            let store = Store::open_existing(&data)?;
            let revoked = store.revoke_agent(agent.clone()).await?;
            store.close().await;
            if revoked == 0 {
                eprintln!("vitrine-collector: agent {agent:?} has no valid certificate; `agent list` shows them");
            }
            Ok(if revoked > 0 { 0 } else { MISUSE })
        }
    }
}

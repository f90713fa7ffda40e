//! `vitrine-collector user`: what the console's page of users does, for an admin who is locked out of it.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use vitrine_collector::config::{Config, FILE};
use vitrine_collector::store::{Actor, Store, UserRole};

use super::proper_name;

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Add a user and print the one-time token by which he chooses his password.
    #[command(after_help = "Example:\n  vitrine-collector user add --data DIR --name mei --role analyst")]
    Add {
        #[command(flatten)]
        who: Who,
        /// What he may do.
        #[arg(long, value_enum)]
        role: RoleName,
    },
    /// List all users.
    #[command(after_help = "Example:\n  vitrine-collector user list --data DIR --json")]
    List {
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Give a user another role.
    #[command(after_help = "Example:\n  vitrine-collector user role --data DIR --name mei --role admin")]
    Role {
        #[command(flatten)]
        who: Who,
        /// What he may do.
        #[arg(long, value_enum)]
        role: RoleName,
    },
    /// Keep a user out, and end his sessions.
    #[command(after_help = "Example:\n  vitrine-collector user disable --data DIR --name mei")]
    Disable(Who),
    /// Let a user in again.
    #[command(after_help = "Example:\n  vitrine-collector user enable --data DIR --name mei")]
    Enable(Who),
    /// Take a user's password and second factor, or take him back from a provider, and print the one-time token by which
    /// he chooses a new password.
    #[command(after_help = "Example:\n  vitrine-collector user reset --data DIR --name ines")]
    Reset(Who),
    /// Let a user log in by the provider of collector.toml from now on, in place of his password and second factor here.
    #[command(after_help = "Example:\n  vitrine-collector user link --data DIR --name mei --subject 248289761001")]
    Link {
        #[command(flatten)]
        who: Who,
        /// Who that is at the provider: the claim `sub` of his ID token.
        #[arg(long)]
        subject: String,
    },
}

#[derive(Args)]
pub(super) struct Who {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The user's name.
    #[arg(long, value_parser = proper_name)]
    name: String,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum RoleName {
    /// Read alerts and workstations, without pictures and files.
    Viewer,
    /// Look at pictures, answer for alerts, take lists out as files.
    Analyst,
    /// As an analyst, and look after the policy.
    PolicyAdmin,
    /// Look after users too, and read the audit log.
    Admin,
}

impl From<RoleName> for UserRole {
    fn from(name: RoleName) -> UserRole {
        match name {
            RoleName::Viewer => UserRole::Viewer,
            RoleName::Analyst => UserRole::Analyst,
            RoleName::PolicyAdmin => UserRole::PolicyAdmin,
            RoleName::Admin => UserRole::Admin,
        }
    }
}

pub(super) async fn run(command: UserCommand) -> Result<u8> {
    let by = Actor::command_line();
    match command {
        UserCommand::List { data, json } => return list(Store::open_existing(&data)?, json).await,
        UserCommand::Add { who: Who { data, name }, role } => {
            let store = Store::open_existing(&data)?;
            invite(&store.add_user(by, name, role.into()).await?)?;
            store.close().await;
        }
        UserCommand::Reset(Who { data, name }) => {
            let store = Store::open_existing(&data)?;
            invite(&store.reset_user(by, name, true).await?)?;
            store.close().await;
        }
        UserCommand::Role { who: Who { data, name }, role } => {
            let store = Store::open_existing(&data)?;
            store.change_role(by, name, role.into()).await?;
            store.close().await;
        }
        UserCommand::Disable(Who { data, name }) => {
            let store = Store::open_existing(&data)?;
            store.disable(by, name, true).await?;
            store.close().await;
        }
        UserCommand::Enable(Who { data, name }) => {
            let store = Store::open_existing(&data)?;
            store.disable(by, name, false).await?;
            store.close().await;
        }
        UserCommand::Link { who: Who { data, name }, subject } => {
            let Some(oidc) = Config::read(&data)?.console.oidc else {
                eprintln!(
                    "vitrine-collector: {} names no provider: [console.oidc] is expected",
                    data.join(FILE).display()
                );
                return Ok(super::MISUSE);
            };
            let store = Store::open_existing(&data)?;
            store.link_user(by, name, oidc.issuer, subject).await?;
            store.close().await;
        }
    }
    Ok(0)
}

fn invite(token: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{token}")?;
    eprintln!("Open /join?token={token} at the console's address. It works once, for three days.");
    Ok(())
}

async fn list(store: Store, json: bool) -> Result<u8> {
    let users = store.users().await?;
    let mut out = std::io::stdout();
    if json {
        writeln!(out, "{}", serde_json::to_string(&serde_json::json!({"users": users}))?)?;
        return Ok(0);
    }
    for user in users {
        let state = match (user.disabled, user.invited) {
            (Some(_), _) => "disabled",
            (None, true) => "invited",
            (None, false) => "active",
        };
        let factor = match (user.by_provider, user.second_factor) {
            (true, _) => "by a provider",
            (false, true) => "second factor",
            (false, false) => "password only",
        };
        writeln!(out, "{state:<9} {:<13} {factor:<14} {}", user.role.name(), user.name)?;
    }
    Ok(0)
}

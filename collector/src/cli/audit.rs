//! `vitrine-collector audit`: whether the audit log is still what was written, and the log as a file.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use vitrine_collector::store::{Actor, AuditFilter, Head, Store};

use super::FOUND;

/// Entries that are read at once.
const PAGE: u32 = 1000;

#[derive(Subcommand)]
pub(super) enum AuditCommand {
    /// Follow the chain of hashes and name the first entry that does not match; exits 1 if there is one. Prints the
    /// number and hash of the last entry.
    #[command(
        after_help = "Whoever can write the database can write the whole chain anew. Note what this prints where \
he cannot, and give it with --noted later: then a chain that was written anew, or cut before there, is found.

Examples:
  vitrine-collector audit verify --data /var/lib/vitrine-collector
  vitrine-collector audit verify --data DIR --noted $(cat /mnt/safe/head)"
    )]
    Verify {
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// What an earlier run printed.
        #[arg(long, value_name = "NUMBER:HASH")]
        noted: Option<Head>,
    },
    /// Print the whole log, one entry a line as JSON, the oldest first.
    #[command(after_help = "Example:\n  vitrine-collector audit export --data DIR > audit.ndjson")]
    Export {
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
}

pub(super) async fn run(command: AuditCommand) -> Result<u8> {
    match command {
        AuditCommand::Verify { data, noted } => match Store::open_existing(&data)?.verify_audit(noted).await? {
            Ok(head) => {
                writeln!(std::io::stdout(), "{head}")?;
                Ok(0)
            }
            Err(broken) => {
                eprintln!("vitrine-collector: audit log: {broken}");
                Ok(FOUND)
            }
        },
        AuditCommand::Export { data } => {
            let store = Store::open_existing(&data)?;
            store.record_export(Actor::command_line(), "audit export", String::new()).await?;
            let mut out = BufWriter::new(std::io::stdout());
            let mut after = 0;
            loop {
                let filter = AuditFilter { after: Some(after), limit: PAGE, ..AuditFilter::default() };
                let entries = store.audit(filter).await?;
                let Some(last) = entries.last() else {
                    out.flush()?;
                    store.close().await;
                    return Ok(0);
                };
                after = last.number;
                for entry in &entries {
                    writeln!(out, "{}", serde_json::to_string(entry)?)?;
                }
            }
        }
    }
}

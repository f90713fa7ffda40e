//! `vitrine-collector approvals`

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use vitrine_collector::alert::text::line;
use vitrine_collector::store::{Approval, Store};

/// Longest text on a line, in characters.
const TEXT: usize = 300;

#[derive(Args)]
pub(super) struct Approvals {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// At most so many that wait, and so many that are over.
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Approvals) -> Result<u8> {
    let store = Store::open_existing(&arguments.data)?;
    let (waiting, over) = store.approvals(arguments.limit).await?;
    let mut out = std::io::stdout();
    if arguments.json {
        writeln!(out, "{}", serde_json::json!({"waiting": waiting, "over": over}))?;
    } else {
        for approval in waiting.iter().chain(&over) {
            print(&mut out, approval)?;
        }
    }
    Ok(if waiting.is_empty() { 0 } else { super::FOUND })
}

fn print(out: &mut impl Write, approval: &Approval) -> Result<()> {
    let Approval { number, host, request, .. } = approval;
    let state = serde_json::to_value(approval.state)?;
    let user = request.user.as_ref().map_or("somebody", |user| user.name.as_str());
    let [user, host, file] = [user, host, &request.file].map(|text| line(text, TEXT));
    let at = jiff::Timestamp::from_millisecond(approval.received)?;
    let to = line(&request.destination, TEXT);
    writeln!(out, "{number:<5} {:<9} {at:.0} {user} on {host}: {file} to {to}", state.as_str().unwrap_or_default())?;
    writeln!(out, "  reason: {}", line(&request.reason, TEXT * 2))?;
    if let Some(by) = &approval.answered_by {
        writeln!(out, "  answered by {}: {}", line(by, TEXT), line(&approval.note, TEXT * 2))?;
    }
    Ok(())
}

//! `vitrine-collector sinks`

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use vitrine_collector::alert::text::line;
use vitrine_collector::store::{SinkState, Store};

/// Longest text on a line, in characters.
const TEXT: usize = 300;

#[derive(Args)]
pub(super) struct Sinks {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Show the records that this sink would not take, the latest first.
    #[arg(long, value_name = "SINK")]
    refused: Option<String>,
    /// At most so many of them.
    #[arg(long, default_value_t = 100, requires = "refused")]
    limit: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Sinks) -> Result<u8> {
    let store = Store::open_existing(&arguments.data)?;
    let mut out = std::io::stdout();
    if let Some(name) = arguments.refused {
        let Some(refused) = store.refused(name.clone(), arguments.limit).await? else {
            eprintln!("vitrine-collector: no sink is named {name:?}; `sinks` shows them");
            return Ok(super::MISUSE);
        };
        for record in &refused {
            if arguments.json {
                writeln!(out, "{}", serde_json::to_string(record)?)?;
            } else {
                let at = jiff::Timestamp::from_millisecond(record.at)?;
                writeln!(out, "{at:.0} record {}: {}", record.record, line(&record.reason, TEXT))?;
                writeln!(out, "  {}", line(&record.body, TEXT))?;
            }
        }
        return Ok(if refused.is_empty() { 0 } else { super::FOUND });
    }
    let sinks = store.sinks().await?;
    if arguments.json {
        writeln!(out, "{}", serde_json::json!({"sinks": sinks}))?;
    } else {
        for sink in &sinks {
            print(&mut out, sink)?;
        }
    }
    let well = |sink: &SinkState| sink.error.is_none() && sink.lost == 0 && sink.refused == 0;
    Ok(if sinks.iter().all(well) { 0 } else { super::FOUND })
}

fn print(out: &mut impl Write, sink: &SinkState) -> Result<()> {
    let state = match (&sink.error, sink.behind) {
        (Some(_), _) => "failing",
        (None, 0) => "up to date",
        (None, _) => "sending",
    };
    writeln!(out, "{:<20} {:<7} {state:<11} {}", sink.name, sink.kind, line(&sink.target, TEXT))?;
    writeln!(
        out,
        "  {} records and {} s behind, {} delivered, {} refused, {} lost",
        sink.behind, sink.behind_seconds, sink.delivered, sink.refused, sink.lost
    )?;
    if let Some(error) = &sink.error {
        writeln!(out, "  {} failures in a row: {}", sink.failures, line(error, TEXT))?;
    }
    Ok(())
}

//! `vitrine-collector dead-letters`

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use vitrine_collector::alert::text::line;
use vitrine_collector::store::Store;

/// Longest text on a line, in characters.
const TEXT: usize = 300;

#[derive(Args)]
pub(super) struct DeadLetters {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// At most so many of them, the latest first.
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Only such as came before the one of this number.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    before: i64,
    /// Print JSON, one letter a line, each whole.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: DeadLetters) -> Result<u8> {
    let store = Store::open_existing(&arguments.data)?;
    let mut out = std::io::stdout();
    let letters = store.dead_letters(arguments.before, arguments.limit).await?;
    for letter in &letters {
        if arguments.json {
            writeln!(out, "{}", serde_json::to_string(letter)?)?;
            continue;
        }
        let at = jiff::Timestamp::from_millisecond(letter.received)?;
        let from = letter.host.as_deref().unwrap_or(&letter.agent);
        let from = if from.is_empty() { format!("token {}", letter.token) } else { from.to_owned() };
        writeln!(out, "{at:.0} {}, from {}: {}", letter.number, line(&from, TEXT), line(&letter.reason, TEXT))?;
        writeln!(out, "  {}", line(&letter.line, TEXT))?;
    }
    Ok(if letters.is_empty() { 0 } else { super::FOUND })
}

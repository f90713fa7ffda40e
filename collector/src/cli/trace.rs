//! `vitrine-collector trace`: which masters a picture was made from, and what is on record of them.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use vitrine_collector::alert::text;
use vitrine_collector::config::Config;
use vitrine_collector::masters::Masters;
use vitrine_collector::store::{Actor, Store};
use vitrine_collector::trace::{Trace as Found, Traced, trace};

use super::FOUND;

/// `vitrine-collector trace`
#[derive(Args)]
pub(super) struct Trace {
    /// The picture, or a document or archive with pictures.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs it; gives the exit code.
pub(super) async fn run(arguments: Trace) -> Result<u8> {
    let Trace { file: path, data, json } = arguments;
    let named = || format!("{}", path.display());
    let file = vitrine_worker::open_regular(&path).with_context(named)?;
    let limits = Config::read(&data)?.measure;
    let store = Store::open_existing(&data)?;
    let opened = data.clone();
    let masters = tokio::task::spawn_blocking(move || Masters::open_read_only(&opened)).await??;
    let found = trace(&store, Arc::new(masters), &limits, Actor::command_line(), file, &named()).await;
    store.close().await;
    let found = found.with_context(named)?;
    let mut out = std::io::stdout();
    if json {
        writeln!(out, "{}", serde_json::to_string(&found)?)?;
    } else {
        print(&mut out, &found)?;
    }
    Ok(if found.masters.is_empty() { 0 } else { FOUND })
}

fn print(out: &mut impl Write, found: &Found) -> Result<()> {
    writeln!(out, "{}: {} bytes, {}", found.digest, found.bytes, text::line(&found.content, 300))?;
    if let Some(why) = &found.unseen {
        writeln!(out, "It was not seen whole: {}", text::line(why, 300))?;
    }
    if found.masters.is_empty() {
        writeln!(out, "No master is known that it was made from.")?;
    }
    for (number, master) in found.masters.iter().enumerate() {
        print_master(out, number + 1, master)?;
    }
    if found.more_masters > 0 {
        writeln!(out, "{} less certain masters are not shown.", found.more_masters)?;
    }
    Ok(())
}

fn print_master(out: &mut impl Write, number: usize, master: &Traced) -> Result<()> {
    let kind = format!("{:?}", master.kind).to_lowercase();
    let (score, scale, coverage) = (master.score * 100.0, master.scale * 100.0, master.coverage * 100.0);
    writeln!(out, "{number}. {} (collection {})", master.path, master.collection)?;
    let inside = master.inside.as_ref().map_or(String::new(), |inside| format!(", in {inside}"));
    writeln!(out, "   {kind}{inside}, certainty {score:.2} %, scale {scale:.0} %, {coverage:.0} % of its area")?;
    let hosts: Vec<_> = master.workstations.iter().map(|one| one.host.as_ref().unwrap_or(&one.agent)).collect();
    let hosts: Vec<_> = hosts.into_iter().map(|host| text::line(host, 100)).collect();
    writeln!(out, "   on {}", hosts.join(", "))?;
    if master.transfers.is_empty() {
        writeln!(out, "   nothing is on record of it")?;
    }
    for what in &master.transfers {
        let to = if what.destination.is_empty() {
            String::new()
        } else {
            format!(" to {} ({})", what.destination, what.target)
        };
        let program = if what.program.is_empty() { String::new() } else { format!(" with {}", what.program) };
        let user = if what.user.is_empty() { "somebody" } else { what.user.as_str() };
        writeln!(out, "   {} {user} on {}{program}{to}: {}", what.time, what.host, what.decision)?;
    }
    if master.more_transfers {
        writeln!(out, "   and more: the console's page /objects/{}", master.key)?;
    }
    if master.elsewhere > 0 {
        writeln!(out, "   records of a file of the same name on other workstations: {}", master.elsewhere)?;
    }
    Ok(())
}

//! `vitrine-collector`: takes in the agents' records, keeps them, raises alerts and shows them.

#![forbid(unsafe_code)]

mod cli;
#[path = "../../packaging/documents.rs"]
mod documents;

use std::process::ExitCode;

fn main() -> ExitCode {
    if vitrine_worker::is_asked() {
        return vitrine_worker::worker();
    }
    cli::run()
}

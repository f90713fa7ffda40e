//! `vitrine`: the agent on the workstation, and the commands that look into it.

mod approval;
mod cli;
mod clock;
mod collection;
mod config;
mod desk;
#[path = "../../packaging/documents.rs"]
mod documents;
mod ending;
mod fail;
mod guard;
mod history;
mod identify;
mod inspect;
mod installed;
mod justification;
mod maintenance;
mod own;
mod pipeline;
mod policy_file;
mod quarantine;
mod recognise;
mod recorder;
mod spool;
mod stand_in;
mod standing;
mod sys;
mod tiles;
mod upload;
mod workstation;

fn main() -> std::process::ExitCode {
    cli::main()
}

/// A test program is started as a worker, too.
#[cfg(test)]
#[ctor::ctor(unsafe)]
fn be_a_worker() {
    if vitrine_worker::is_asked() {
        std::process::exit(i32::from(vitrine_worker::worker() != std::process::ExitCode::SUCCESS));
    }
}

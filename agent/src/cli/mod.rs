//! The commands. Exit codes: 0 fine, 1 found something, 2 misuse, 3 cannot run here.

pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod fingerprint;
pub(crate) mod index;
mod justify;
mod maintenance;
pub(crate) mod notify;
pub(crate) mod policy;
mod replay;
mod signing;
pub(crate) mod status;
pub(crate) mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use vitrine_policy::record::Event;

use crate::config::{self, Config, GuardChoice};
use crate::{documents, pipeline, stand_in};

/// Something was found, or a check failed.
pub(crate) const FOUND: u8 = 1;
/// The command cannot run on this machine, or as this user.
pub(crate) const CANNOT_RUN: u8 = 3;

/// Keeps masters from leaving: watches where scans are downsized, recognises what was made from a master,
/// and refuses or reports copies to places that may not receive it.
#[derive(Parser)]
#[command(
    name = "vitrine",
    version,
    after_help = "Exit status: 0 fine, 1 found something, 2 misuse, 3 cannot run here."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Guards this workstation until told to stop.
    #[command(
        after_help = "Examples:\n  vitrine run\n  vitrine run --policy policy.toml --state /var/tmp/vitrine --guard watch"
    )]
    Run {
        #[command(flatten)]
        place: Place,
        /// The guard to use instead of the one in the settings.
        #[arg(long, value_enum)]
        guard: Option<GuardChoice>,
        /// Take the guard of an earlier run out of the kernel, and do nothing else.
        #[arg(long, conflicts_with = "guard")]
        detach_guards: bool,
    },
    /// Says what the running agent guards, and what it does not.
    #[command(after_help = "Examples:\n  vitrine status\n  vitrine status --json | jq .guard")]
    Status {
        #[command(flatten)]
        place: Place,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Checks everything that protection depends on, and says how to mend what is missing.
    #[command(
        after_help = "Each line says pass, warn or FAIL, what that means for protection, and the command that mends it.\n\
                      Exit status: 0 nothing fails (warnings are what could be better), 1 something fails, 2 misuse, 3 no guard can run here.\n\n\
                      Examples:\n  sudo vitrine doctor\n  sudo vitrine doctor --json | jq '.[] | select(.state != \"pass\")'"
    )]
    Doctor {
        #[command(flatten)]
        place: Place,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows what was recorded on this workstation.
    #[command(after_help = "Examples:\n  vitrine events --follow\n  vitrine events --json --since 120")]
    Events {
        #[command(flatten)]
        place: Place,
        /// Go on with what comes.
        #[arg(long)]
        follow: bool,
        /// Print one OCSF event a line.
        #[arg(long)]
        json: bool,
        /// Begin behind this record, by the number that its line begins with.
        #[arg(long, value_name = "NUMBER")]
        since: Option<u64>,
    },
    /// Says what was refused to you, why, and what to do instead.
    #[command(after_help = "Examples:\n  vitrine why\n  vitrine why scan.jpg\n  sudo vitrine why --all")]
    Why {
        #[command(flatten)]
        place: Place,
        /// The file that was refused, its master, or what was to be written; `last`: whatever was refused last.
        #[arg(value_name = "FILE|last", default_value = "last")]
        about: PathBuf,
        /// What was refused to everybody (root).
        #[arg(long)]
        all: bool,
        /// Print JSON, one attempt a line.
        #[arg(long)]
        json: bool,
    },
    /// Gives your reason for what was refused to you for want of one; it is recorded with your name.
    #[command(
        after_help = "Then try again: for as long as the policy says, that file may go there. `vitrine why` shows the ID.\nWhere the \
                      policy wants a second person's approval, it is asked for, and this comes back at once; the desktop \
                      and\n`vitrine why` tell of the answer, and from then on the time counts.\n\n\
                      Example:\n  vitrine justify 4f0c81d2 \"loan 14, agreed with the registrar\""
    )]
    Justify {
        #[command(flatten)]
        place: Place,
        /// What was refused, as `vitrine why` and the notification show it.
        id: String,
        /// Why it has to go there, in 10 to 500 characters.
        #[arg(required = true)]
        reason: Vec<String>,
    },
    /// Opens maintenance by a token, for as long as that holds: root may touch what is the agent's until then.
    #[command(
        after_help = "`vitrine-collector maintenance issue` issues tokens; each opens maintenance once. Beginning and end are recorded.\n\
                      Without a token it says how it stands. Exit status: 0 open, or ended as asked; 1 not open, or refused.\n\n\
                      Examples:\n  sudo vitrine maintenance vitrine-maintenance.eyJpZCI6...\n  sudo vitrine maintenance --end"
    )]
    Maintenance {
        #[command(flatten)]
        place: Place,
        /// The token.
        token: Option<String>,
        /// End what is open.
        #[arg(long, conflicts_with = "token")]
        end: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows on the desktop what is refused to you; starts with every session.
    #[command(after_help = "Examples:\n  vitrine notify\n  vitrine notify --every 60")]
    Notify {
        #[command(flatten)]
        place: Place,
        /// Seconds between two notifications; what is refused meanwhile is told together.
        #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
        every: u64,
    },
    /// Makes the derivative of a picture that a place may receive, and puts it there.
    #[command(
        after_help = "Examples:\n  vitrine export KP1_0001.tif --to website\n  vitrine export scan.psd --to /media/courier --out scan.png"
    )]
    Export {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        export: export::Export,
    },
    /// Makes one derivative; `vitrine export` starts it, nobody else.
    #[command(name = export::WORKER, hide = true)]
    ExportWorker { megapixels: String, scale: String, file: PathBuf, made: PathBuf },
    /// Builds and checks an index of masters.
    #[command(subcommand)]
    Index(index::Command),
    /// Prints what identifies files.
    Fingerprint(fingerprint::Fingerprint),
    /// Finds the masters that files were made from.
    Match(fingerprint::Match),
    /// Checks, explains and tests a policy file.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Writes manual pages and completions as they lie below /usr/share; packaging/build starts it.
    #[command(hide = true)]
    Documents { share: PathBuf },
    /// Reads one file from standard input; the agent starts it, nobody else.
    #[command(name = vitrine_worker::WORKER, hide = true)]
    Worker,
}

/// Where settings, policy and state lie.
#[derive(clap::Args)]
struct Place {
    /// The settings.
    #[arg(long, value_name = "FILE", default_value = config::FILE)]
    config: PathBuf,
    /// The policy, instead of the one in the settings.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The directory of index, spool and quarantine, instead of the one in the settings.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

impl Place {
    /// The settings that the agent runs with. It says so where they are not those of the file.
    fn read(&self) -> Result<Config, config::ConfigError> {
        let (config, refused) = Config::to_ask_with(&self.config)?;
        if let Some(refused) = refused {
            eprintln!("vitrine: {refused}");
        }
        let mut config = self.instead(config);
        config.state = stand_in::in_use(std::path::absolute(&config.state).unwrap_or(config.state));
        Ok(config)
    }

    /// The settings of the file, and nothing else.
    fn read_strictly(&self) -> Result<Config, config::ConfigError> {
        Config::read(&self.config).map(|config| self.instead(config))
    }

    /// The settings with what the command line says instead.
    fn instead(&self, mut config: Config) -> Config {
        if let Some(policy) = &self.policy {
            config.policy.clone_from(policy);
        }
        if let Some(state) = &self.state {
            config.state.clone_from(state);
        }
        config
    }
}

/// Reads the command line, does what it says, and tells how it went.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Worker = cli.command {
        return vitrine_worker::worker();
    }
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            // A reader that has seen enough (`| head`) is no failure. SIGPIPE stays ignored: it would end the agent, too,
            // when the collector or a worker goes while something is written to it.
            if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
                return ExitCode::SUCCESS;
            }
            eprintln!("vitrine: {error:#}");
            ExitCode::from(CANNOT_RUN)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run { detach_guards: true, .. } => {
            let was_there = crate::guard::flow::detach()
                .map_err(|error| anyhow::anyhow!("the guard cannot be taken out of the kernel: {error}"))?;
            println!(
                "{}",
                if was_there { "nothing is guarded in the kernel any more" } else { "the kernel held no guard" }
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Run { place, guard, .. } => {
            let (config, of_settings) = Config::to_run_with(&place.config)?;
            let mut config = place.instead(config);
            config.file.clone_from(&place.config);
            if let Some(guard) = guard {
                config.guard = guard;
            }
            guard_workstation(config, of_settings)
        }
        Command::Status { place, json } => status::run(&place.read()?.state, json),
        Command::Doctor { place, json } => doctor::run(&place, json),
        Command::Events { place, follow, json, since } => events::run(&place.read()?.state, follow, json, since),
        Command::Why { place, about, all, json } => why::run(&place.read()?.state, &about, all, json),
        Command::Justify { place, id, reason } => justify::run(&place.read()?.state, &id, &reason.join(" ")),
        Command::Maintenance { place, token, end, json } => maintenance::run(&place.read()?.state, token, end, json),
        Command::Export { place, export } => export::run(&place.read()?.state, &export),
        Command::ExportWorker { megapixels, scale, file, made } => {
            Ok(export::worker(&megapixels, &scale, &file, &made))
        }
        Command::Notify { place, every } => notify::run(&place.read()?.state, std::time::Duration::from_secs(every)),
        Command::Index(command) => index::run(command),
        Command::Fingerprint(command) => fingerprint::fingerprint(command),
        Command::Match(command) => fingerprint::find(command),
        Command::Policy(command) => policy::run(command),
        Command::Documents { share } => {
            documents::write(Cli::command(), "1", &share)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Worker => Ok(vitrine_worker::worker()),
    }
}

fn guard_workstation(mut config: Config, of_settings: Vec<Event>) -> anyhow::Result<ExitCode> {
    config.file = std::path::absolute(&config.file)?;
    config.policy = std::path::absolute(&config.policy)?;
    config.state = std::path::absolute(&config.state)?;
    // The log goes through a thread of its own: whoever reads it may wait for a file that we guard.
    let (log, _flushed_at_the_end) = tracing_appender::non_blocking(std::io::stderr());
    let level = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_writer(log).with_env_filter(level).with_ansi(false).init();
    let state_failed = stand_in::settle(&mut config)?;
    // What everybody may read says so by itself; without a service manager it is the same as with one.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    crate::sys::raise_descriptor_limit();
    // reqwest is built without a provider of its own, so that the only cryptography here is ring's.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(pipeline::run(config, of_settings.into_iter().chain(state_failed).collect()))?;
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    Ok(ExitCode::SUCCESS)
}

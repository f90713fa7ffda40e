//! The command line. Exit codes: 0 fine, 1 found something, 2 misuse, 3 cannot run here.

mod agent;
mod approvals;
mod audit;
mod letters;
mod maintenance;
mod policy;
mod sinks;
mod trace;
mod user;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use vitrine_collector::alert::{Alert, text};
use vitrine_collector::server::{self, Settings, StartError};
use vitrine_collector::store::{AlertFilter, Role, Store, StoreError, Worth};
use vitrine_collector::tls::Tls;

const FOUND: u8 = 1;
const MISUSE: u8 = 2;
const CANNOT: u8 = 3;

/// Takes in the agents' records, keeps them, raises alerts and shows them.
#[derive(Parser)]
#[command(version, after_help = "Exit status: 0 fine, 1 found something, 2 misuse, 3 cannot run here.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve agents and the console until stopped (SIGTERM, Ctrl-C).
    #[command(after_help = "Examples:
  vitrine-collector serve --data /var/lib/vitrine-collector --listen 127.0.0.1:8080
  vitrine-collector serve --data DIR --listen 0.0.0.0:8443 --tls-cert chain.pem --tls-key key.pem

Who is told of alerts is set in DIR/collector.toml, by a route each:
  [[route]]
  name = \"desk\"
  severity = \"high\"         # and above; up-to = \"high\": and below
  hosts = [\"scan-*\"]        # also collections, destinations; left out: all
  group-wait = \"5s\"         # gathers what one user tries about one destination
  group-interval = \"5m\"     # between two messages about it
  repeat = \"4h\"             # while nobody has answered; left out: never
  [route.webhook]
  url = \"https://alerts.museum.example/vitrine\"
  secret-file = \"webhook.secret\"
  shape = \"vitrine\"         # or \"slack\", \"mattermost\", \"teams\", \"pagerduty\", \"alertmanager\"

  [[route]]
  name = \"staff\"
  [route.email]
  server = \"mail.museum.example\"
  from = \"Vitrine <vitrine@museum.example>\"
  to = [\"security@museum.example\"]
  tls = \"always\"    # or \"starttls\"; \"none\" only to localhost

  [[route]]
  name = \"head\"
  severity = \"critical\"
  escalate-after = \"30m\"    # once, of what nobody has answered for by then
  [route.webhook]
  url = \"https://events.pagerduty.com/v2/enqueue\"
  shape = \"pagerduty\"
  secret-file = \"pagerduty.key\"

  [[route]]
  name = \"low\"
  up-to = \"medium\"
  digest = \"24h\"            # all of so long in one message
  [route.syslog]
  server = \"siem.museum.example:6514\"

There, too, where every record goes, at least once:
  [[sink]]
  name = \"archive\"
  kind = \"file\"
  path = \"records.ndjson\"    # max-bytes = 100000000, files = 10

  [[sink]]
  name = \"elastic\"
  kind = \"http\"
  shape = \"elasticsearch\"    # or \"splunk-hec\", \"json\", \"ndjson\"
  url = \"https://elastic.museum.example:9200\"
  token-file = \"elastic.token\"

  [[sink]]
  name = \"siem\"
  kind = \"syslog\"
  server = \"siem.museum.example:6514\"
  message = \"cef\"            # or \"json\"
  classes = [\"transfer\"]    # also \"lifecycle\", \"policy\", \"tamper\"
  severity = \"medium\"        # and above

  [[sink]]
  name = \"stream\"
  kind = \"nats\"             # a stream of JetStream that is there
  server = \"nats.museum.example:4222\"
  subject = \"vitrine.records\"
  credentials-file = \"nats.creds\"    # or nkey-file, token-file, username and password-file

There, too, for how many days what is kept; what is not named, for ever:
  [retention]
  informational-days = 400
  evidence-days = 800

There, too, which key policies must be signed with, and when a rollout halts by itself:
  [policy]
  public-key = \"museum.pub\"
  halt-factor = 3.0          # refused more than so many times as often as before,
  halt-refused = 10          # and at least so many transfers more, at most half of them on one of several,
  halt-hours = 24            # within so long after a workstation has the version

And whether every user of the console must have a second factor, and who vouches for users beside it:
  [console]
  require-totp = true
  [console.oidc]             # at the provider: code flow, redirect to CONSOLE-URL/login/oidc/back
  issuer = \"https://login.museum.example/realms/staff\"
  client-id = \"vitrine\"
  client-secret-file = \"oidc.secret\"
  console-url = \"https://vitrine.museum.example\"
  role-claim = \"groups\"      # name-claim = \"preferred_username\", scopes = [\"profile\"]
  [console.oidc.roles]       # also viewer, policy-admin; who has none does not get in
  analyst = [\"vitrine-analysts\"]
  admin = [\"vitrine-admins\"]

And what the reading of a picture that is traced may take:
  [measure]
  seconds = 60
  memory-mib = 1024

/usr/share/doc/vitrine-collector/examples/collector.toml has every key.")]
    Serve(Serve),
    /// Make, list and revoke the tokens that agents and readers show.
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// List the certificates that agents have, and revoke them.
    Agent {
        #[command(subcommand)]
        command: agent::AgentCommand,
    },
    /// Add, list and disable the console's users, and reset who has lost a password.
    User {
        #[command(subcommand)]
        command: user::UserCommand,
    },
    /// Add policies, and give them to workstations step by step.
    Policy {
        #[command(subcommand)]
        command: policy::PolicyCommand,
    },
    /// Issue tokens with which root may look after a workstation's agent for a while.
    Maintenance {
        #[command(subcommand)]
        command: maintenance::MaintenanceCommand,
    },
    /// Check the audit log, and print it.
    Audit {
        #[command(subcommand)]
        command: audit::AuditCommand,
    },
    /// List alerts, the latest changed first; exits 1 if there are any, 0 if there are none.
    #[command(after_help = "Examples:
  vitrine-collector alerts --data /var/lib/vitrine-collector --open
  vitrine-collector alerts --data DIR --json | jq '.alerts[].title'")]
    Alerts(Alerts),
    /// List what users ask a second person to approve, which is answered in the console; exits 1 if any waits.
    #[command(after_help = "Example:
  vitrine-collector approvals --data DIR --json | jq '.waiting[] | {number, host, expires}'")]
    Approvals(approvals::Approvals),
    /// Say how far each sink has come; exits 1 if one fails, has lost records or refused some.
    #[command(after_help = "Examples:
  vitrine-collector sinks --data /var/lib/vitrine-collector
  vitrine-collector sinks --data DIR --refused siem --limit 10
  vitrine-collector sinks --data DIR --json | jq '.sinks[] | {name, behind, behind_seconds}'")]
    Sinks(sinks::Sinks),
    /// Show what agents sent that is no record, or none that can be kept; exits 1 if there is any, 0 if there is none.
    DeadLetters(letters::DeadLetters),
    /// Find the masters that a picture was made from, and all that is on record of them; exits 1 if there are any, 0 if
    /// there are none.
    #[command(after_help = "Examples:
  vitrine-collector trace found-on-a-market.jpg --data /var/lib/vitrine-collector
  vitrine-collector trace FILE --data DIR --json | jq '.masters[] | {path, score, transfers}'")]
    Trace(trace::Trace),
    /// Write a copy of the database as it is at this moment, while the server goes on, and check it.
    #[command(after_help = "To restore it, stop the server and put the copy into the place of DIR/collector.db; \
collector.db-wal and collector.db-shm beside that must go.

Example:
  vitrine-collector backup --data /var/lib/vitrine-collector --to /backup/collector-$(date +%F).db")]
    Backup {
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// The file to write; one that is there already is left alone.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Write manual pages and completions as they lie below /usr/share; packaging/build starts it.
    #[command(hide = true)]
    Documents { share: PathBuf },
}

#[derive(Args)]
struct Serve {
    /// The data directory; made if it is missing.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to listen; port 0 takes any free one.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// PostgreSQL in the place of SQLite in the data directory, which notes it for all later commands:
    /// `postgresql://USER@HOST[:PORT][,HOST...]/NAME`; with several hosts `?target_session_attrs=read-write`.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Certificate chain that browsers trust, PEM; without it the collector's own authority makes one.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Speak no TLS, to this machine only: for trying, and behind a proxy.
    #[arg(long, conflicts_with = "tls_cert")]
    no_tls: bool,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Make a token and print it; it is shown this once. An agent gets its certificate for it.
    #[command(after_help = "Examples:
  vitrine-collector token create --data DIR --name scan-07 > scan-07.token
  vitrine-collector token create --data DIR --name lab-2027 --uses 40 --days 7
  vitrine-collector token create --data DIR --name siem --role reader --json")]
    Create {
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// A name to list and revoke it by.
        #[arg(long, value_parser = proper_name)]
        name: String,
        /// What it may do.
        #[arg(long, value_enum, default_value = "agent")]
        role: RoleName,
        /// How many agents it may enrol.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        uses: u32,
        /// Days within which an agent must be enrolled by it.
        #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List all tokens, without their secrets.
    #[command(after_help = "Example:\n  vitrine-collector token list --data DIR --json")]
    List {
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a token worthless at once.
    #[command(after_help = "Example:\n  vitrine-collector token revoke --data DIR --name scan-07")]
    Revoke {
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// The token's name.
        #[arg(long)]
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    /// Send records, evidence and heartbeats of one agent.
    Agent,
    /// Read alerts, hosts and evidence.
    Reader,
}

#[derive(Args)]
struct Alerts {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only those that nobody has answered for.
    #[arg(long)]
    open: bool,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Print JSON, as the API gives it.
    #[arg(long)]
    json: bool,
}

fn proper_name(name: &str) -> Result<String, String> {
    if name.trim().is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err("expected 1 to 100 printable characters".into());
    }
    Ok(name.into())
}

/// Runs the command; gives the exit code.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("VITRINE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let outcome = tokio::runtime::Runtime::new()
        .context("the runtime cannot start")
        .and_then(|runtime| runtime.block_on(command(cli.command)));
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // A reader that has gone away (`| head`) is no failure.
            if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
                return ExitCode::SUCCESS;
            }
            eprintln!("vitrine-collector: {error:#}");
            let misuse = matches!(
                error.downcast_ref(),
                Some(StoreError::Taken(_) | StoreError::User(_) | StoreError::Policy(_) | StoreError::Url(_))
            ) || matches!(
                error.downcast_ref(),
                Some(StartError::Clear(_) | StartError::Config(_) | StartError::Store(StoreError::Url(_)))
            );
            ExitCode::from(if misuse { MISUSE } else { CANNOT })
        }
    }
}

async fn command(command: Command) -> Result<u8> {
    match command {
        Command::Serve(serve) => self::serve(serve).await,
        Command::Token { command } => token(command).await,
        Command::Agent { command } => agent::run(command).await,
        Command::User { command } => user::run(command).await,
        Command::Policy { command } => policy::run(command).await,
        Command::Maintenance { command } => maintenance::run(command).await,
        Command::Audit { command } => audit::run(command).await,
        Command::Alerts(alerts) => self::alerts(alerts).await,
        Command::Approvals(arguments) => approvals::run(arguments).await,
        Command::Sinks(arguments) => sinks::run(arguments).await,
        Command::DeadLetters(arguments) => letters::run(arguments).await,
        Command::Trace(arguments) => trace::run(arguments).await,
        Command::Backup { data, to } => {
            Store::open_existing(&data)?.back_up(&to).await?;
            Ok(0)
        }
        Command::Documents { share } => {
            crate::documents::write(Cli::command(), "8", &share)?;
            Ok(0)
        }
    }
}

async fn serve(arguments: Serve) -> Result<u8> {
    let mut settings = Settings::new(arguments.data, arguments.listen);
    settings.database = arguments.database;
    settings.tls = match arguments.tls_cert.zip(arguments.tls_key) {
        _ if arguments.no_tls => Tls::Off,
        Some((certificate, key)) => Tls::Files(certificate, key),
        None => Tls::Own,
    };
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let running = server::start(settings).await?;
    // Whoever started the server may have stopped listening to it: that must not end it.
    let _ = announce(&running);
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&format!("listening on {}", running.url))]);
    let mut well = sd_notify::watchdog_enabled().map(|within| tokio::time::interval(within / 3));
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            () = next(&mut well) => drop(sd_notify::notify(&[NotifyState::Watchdog])),
        }
    }
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    running.stop().await;
    Ok(0)
}

/// When the service manager wants to hear that all is well; never, if it does not.
async fn next(well: &mut Option<tokio::time::Interval>) {
    match well {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

fn announce(running: &server::Running) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "listening on {}", running.url)?;
    if let Some(fingerprint) = &running.fingerprint {
        writeln!(out, "certificate authority: {fingerprint} (ca-fingerprint in agent.toml)")?;
    }
    if let Some(token) = &running.setup {
        writeln!(out, "set-up token: {token} (open {}/setup?token={token})", running.url)?;
    }
    out.flush()
}

async fn token(command: TokenCommand) -> Result<u8> {
    let mut out = std::io::stdout();
    match command {
        TokenCommand::Create { data, name, role, uses, days, json } => {
            let role = match role {
                RoleName::Agent => Role::Agent,
                RoleName::Reader => Role::Reader,
            };
            let lasts = (role == Role::Agent).then(|| i64::from(days) * 24 * 3600 * 1000);
            let worth = Worth { uses, lasts };
            let store = Store::open(&data)?;
            let (token, secret) = store.create_token(name, role, worth).await?;
            store.close().await;
            if json {
                let token =
                    serde_json::json!({"id": token.id, "name": token.name, "role": token.role, "token": secret});
                writeln!(out, "{token}")?;
            } else {
                writeln!(out, "{secret}")?;
                eprintln!("Token {:?} (role {}): keep it now, it is not shown again.", token.name, role.name());
            }
            Ok(0)
        }
        TokenCommand::List { data, json } => {
            let tokens = Store::open_existing(&data)?.tokens().await?;
            if json {
                writeln!(out, "{}", serde_json::to_string(&serde_json::json!({"tokens": tokens}))?)?;
                return Ok(0);
            }
            for token in tokens {
                let state = if token.revoked.is_some() { "revoked" } else { "valid" };
                let agent = token.agent.as_deref().unwrap_or("-");
                writeln!(out, "{:<8} {:<7} {:<24} agent {agent}", state, token.role.name(), token.name)?;
            }
            Ok(0)
        }
        TokenCommand::Revoke { data, name, json } => {
            let store = Store::open_existing(&data)?;
            let revoked = store.revoke_token(name.clone()).await?;
            store.close().await;
            if json {
                writeln!(out, "{}", serde_json::json!({"name": name, "revoked": revoked}))?;
            }
            if !revoked {
                eprintln!("vitrine-collector: no valid token is named {name:?}; `token list` shows them");
            }
            Ok(if revoked { 0 } else { MISUSE })
        }
    }
}

async fn alerts(arguments: Alerts) -> Result<u8> {
    let store = Store::open_existing(&arguments.data)?;
    let filter = AlertFilter { open: arguments.open, since: 0, limit: arguments.limit, skip: 0 };
    let alerts = store.alerts(filter).await?;
    let mut out = std::io::stdout();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string(&serde_json::json!({"alerts": alerts}))?)?;
    } else {
        for alert in &alerts {
            print(&mut out, alert)?;
        }
    }
    Ok(if alerts.is_empty() { 0 } else { FOUND })
}

fn print(out: &mut impl Write, alert: &Alert) -> Result<()> {
    let severity = format!("{:?}", alert.severity).to_lowercase();
    writeln!(out, "{:<6} {severity:<9} {:<12} {}", alert.id, alert.state.name(), text::line(&alert.title, 300))?;
    let user = alert.user.as_deref().unwrap_or("-");
    let plural = if alert.attempts == 1 { "" } else { "s" };
    writeln!(out, "       {user} on {}, {} attempt{plural}", alert.host, alert.attempts)?;
    Ok(())
}

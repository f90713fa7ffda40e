//! The server: TLS, limits, and every route on one screen.

mod addresses;
mod upkeep;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use minisign_verify::PublicKey;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use vitrine_worker::MeasureLimits;

use self::addresses::Addresses;
use crate::config::{self, Config, ConfigError, Policies};
use crate::masters::{self, Opening};
use crate::provider::{self, Provider};
use crate::rate::{Pace, Rate, Rates};
use crate::refusal::Refusal;
use crate::route::{self, Route, Routes};
use crate::sink::{self, Sinks};
use crate::store::{self, Claim, Store, StoreError};
use crate::tls::{self, Authority, Tls};
use crate::{alert, approval, console, enroll, evidence, heartbeat, ingest, policy};

/// What scripts, styles, frames and forms the console's pages may use: its own style sheet and scripts, its own
/// pictures, its own forms, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// The page of which forms carry pictures, and may take longer.
const TRACE: &str = "/trace";
/// Bytes of a form or a heartbeat.
const SMALL: usize = 16 << 10;

fn routes(collector: &Arc<Collector>) -> Router {
    let agents = Router::new()
        .route("/v1/records", post(ingest::records).layer(DefaultBodyLimit::max(ingest::MAX_WIRE)))
        .route("/v1/enroll", post(enroll::enroll))
        .route("/v1/masters", post(masters::receive).layer(DefaultBodyLimit::max(masters::MAX_WIRE)))
        .route("/v1/heartbeat", post(heartbeat::receive))
        .route("/v1/policy", get(policy::give))
        .route("/v1/approvals/{id}", put(approval::ask).layer(DefaultBodyLimit::max(approval::MAX)).get(approval::give))
        .route(
            "/v1/evidence/{digest}",
            put(evidence::put).layer(DefaultBodyLimit::max(evidence::MAX)).head(evidence::has).get(evidence::show),
        );
    let readers = Router::new()
        .route("/v1/alerts", get(alert::list::list))
        .route("/v1/hosts", get(heartbeat::hosts))
        .route("/v1/sinks", get(console::sinks::list))
        .route("/healthz", get(healthz));
    let pages = Router::new()
        .route("/", get(console::list::page))
        .route("/alerts/{id}", get(console::alert::page))
        .route("/alerts.csv", get(console::export::csv))
        .route("/alerts.json", get(console::export::json))
        .route("/triage", post(console::triage::step))
        .route("/views", post(console::triage::view))
        .route("/objects", get(console::objects::page))
        .route("/objects.csv", get(console::object_files::list_csv))
        .route("/objects.json", get(console::object_files::list_json))
        .route("/objects/{key}", get(console::object::page))
        .route("/objects/{key}/history.csv", get(console::object_files::history_csv))
        .route("/objects/{key}/history.json", get(console::object_files::history_json))
        .route("/search", get(console::search::page))
        .route(
            TRACE,
            get(console::trace::page)
                .post(console::trace::trace)
                .layer(DefaultBodyLimit::max(console::trace::MAX_FORM)),
        )
        .route("/hosts", get(console::hosts::page))
        .route("/dead-letters", get(console::letters::page))
        .route("/approvals", get(console::approvals::page).post(console::approvals::answer))
        .route("/silences", get(console::silences::page).post(console::silences::add))
        .route("/silences/end", post(console::silences::end))
        .route("/notifications", get(console::notifications::page))
        .route("/notifications/again", post(console::notifications::again))
        .route("/notifications/test", post(console::notifications::test))
        .route(
            "/policy",
            get(console::policy::page).post(console::policy::add).layer(DefaultBodyLimit::max(console::policy::FORM)),
        )
        .route("/policy/{number}", get(console::policy_version::page))
        .route("/policy/{number}/policy.toml", get(console::policy_version::text))
        .route("/policy/rollouts", post(console::policy::begin))
        .route("/policy/rollouts/step", post(console::policy::step))
        .route("/policy/groups", post(console::policy::group).layer(DefaultBodyLimit::max(console::policy::FORM)))
        .route("/sinks", get(console::sinks::page))
        .route("/login", get(console::login::page).post(console::login::log_in))
        .route("/login/code", post(console::login::code))
        .route("/login/oidc", get(console::oidc::leave))
        .route(provider::BACK, get(console::oidc::come_back))
        .route("/logout", post(console::login::log_out))
        .route("/join", get(console::join::page).post(console::join::join))
        .route("/account", get(console::account::page))
        .route("/account/password", post(console::account::change_password))
        .route("/account/totp", post(console::account::begin))
        .route("/account/totp/confirm", post(console::account::confirm))
        .route("/account/totp/remove", post(console::account::remove))
        .route("/users", get(console::users::page).post(console::users::add))
        .route("/users/step", post(console::users::step))
        .route("/audit", get(console::audit::page))
        .route("/audit.ndjson", get(console::audit::ndjson))
        .route("/setup", get(console::setup::page).post(console::setup::set_up))
        .route("/assets/console.css", get(console::style_sheet))
        .route("/assets/keys.js", get(console::keys))
        .route("/assets/htmx.js", get(console::htmx));
    agents
        .merge(readers)
        .merge(pages)
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "no such address", "an address of README.md"))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "not with this method", "a method of README.md")
        })
        .layer(DefaultBodyLimit::max(SMALL))
        .layer(middleware::from_fn_with_state(Arc::clone(collector), guard))
        .with_state(Arc::clone(collector))
}

/// How the server is to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data directory.
    pub data: PathBuf,
    /// URL of the database where that is not SQLite in the data directory.
    pub database: Option<String>,
    /// Where to listen; port 0 is any free one.
    pub listen: SocketAddr,
    /// How connections are protected. Without TLS only this machine is listened to.
    pub tls: Tls,
    /// What a client may take.
    pub limits: Limits,
    /// How messages go out.
    pub pace: Pace,
}

impl Settings {
    /// The settings of a server without TLS, with the limits that it is made for.
    #[must_use]
    pub fn new(data: PathBuf, listen: SocketAddr) -> Settings {
        Settings { data, database: None, listen, tls: Tls::Off, limits: Limits::default(), pace: Pace::default() }
    }
}

/// What a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections, all clients together; of one address at most half.
    pub connections: usize,
    /// Requests under way, of all agents together and as many of all others; one more is told to come back.
    pub requests: usize,
    /// Time for a TLS handshake, and for the head of each request.
    pub head: Duration,
    /// Time for a whole request with its answer.
    pub request: Duration,
    /// The same where a picture is sent to be traced.
    pub trace: Duration,
    /// Requests of one agent.
    pub agent: Rate,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 4096,
            requests: 256,
            head: Duration::from_secs(15),
            request: Duration::from_secs(60),
            trace: Duration::from_secs(300),
            agent: Rate { per_second: 50.0, burst: 500.0 },
        }
    }
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Tokens and passwords would cross a network in clear.
    #[error(
        "{0} can be reached from other machines, and without TLS every token and password would cross the \
         network in clear: leave --no-tls out, or listen on 127.0.0.1"
    )]
    Clear(SocketAddr),
    /// The address cannot be listened on.
    #[error("{address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// A certificate cannot be made.
    #[error("the collector's own certificate cannot be made: {0}")]
    Certificate(String),
    /// The certificate or key cannot be used.
    #[error("{}: {reason}", .path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What every request can reach.
pub(crate) struct Collector {
    pub(crate) store: Store,
    pub(crate) rates: Rates,
    pub(crate) unpacking: Semaphore,
    pub(crate) hashing: Semaphore,
    pub(crate) secure: bool,
    pub(crate) require_totp: bool,
    /// Who vouches for users beside this console.
    pub(crate) provider: Option<Provider>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) routes: Vec<Arc<Route>>,
    /// What is asked of policies.
    pub(crate) policies: Policies,
    /// The key that they must be signed with.
    pub(crate) public_key: Option<PublicKey>,
    pub(crate) masters: Opening,
    /// The data directory.
    pub(crate) data: PathBuf,
    pub(crate) measure: MeasureLimits,
    /// Pictures that are traced at the same time.
    pub(crate) tracing: Arc<Semaphore>,
    /// Requests of agents, and of all others: who has no key keeps nobody's records out.
    of_agents: Semaphore,
    of_others: Semaphore,
    /// Connections that are free.
    connections: Arc<Semaphore>,
    limits: Limits,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// SHA-256 of the certificate that it has shown, which the collector's authority has issued.
    pub(crate) certificate: Option<[u8; 32]>,
}

/// A server that runs.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// The address of its console.
    pub url: String,
    /// The fingerprint of its certificate authority, by which agents know it.
    pub fingerprint: Option<String>,
    /// The set-up token, while there is no user.
    pub setup: Option<String>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    store: Store,
    claim: Claim,
}

/// Starts a server in the background.
///
/// # Errors
/// See [`StartError`]; nothing runs then.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    if matches!(settings.tls, Tls::Off) && !settings.listen.ip().is_loopback() {
        return Err(StartError::Clear(settings.listen));
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Config::read(&settings.data)?;
    let ways = Routes::new(&config, &settings.data)?;
    let sinks = Sinks::new(&config, &settings.data)?;
    let public_key = policy::public_key(&config, &settings.data)
        .map_err(|why| ConfigError::Value { path: settings.data.join(config::FILE), reason: why })?;
    let provider = config.console.oidc.as_ref().map(|oidc| Provider::new(oidc, &settings.data)).transpose()?;
    if let Some(url) = &settings.database {
        store::name_database(&settings.data, url)?;
    }
    let claim = Claim::take(&settings.data)?;
    let authority = Arc::new(Authority::open(&settings.data)?);
    let tls = tls::config(&settings.tls, &authority, settings.listen.ip())?.map(TlsAcceptor::from);
    let fingerprint = matches!(settings.tls, Tls::Own).then(|| authority.fingerprint());
    let store = Store::open_with(&settings.data, ways.rules())?;
    if !matches!(settings.tls, Tls::Off) {
        store.share_authority(authority.fingerprint()).await?;
    }
    // What stands in the journal, too, cannot be cut off the log without that being seen.
    tracing::info!(head = %store.audit_head().await?, "the audit log ends here");
    let setup = store.new_setup_token().await?;
    let failed = |error| StartError::Listen { address: settings.listen, error };
    let listener = TcpListener::bind(settings.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let secure = tls.is_some();
    let collector = Arc::new(Collector {
        store: store.clone(),
        rates: Rates::new(settings.limits.agent),
        unpacking: Semaphore::new(4),
        hashing: Semaphore::new(2),
        secure,
        require_totp: config.console.require_totp,
        provider,
        authority,
        routes: ways.all(),
        policies: config.policy.clone(),
        public_key,
        masters: Opening::begin(settings.data.clone()),
        data: settings.data,
        measure: config.measure,
        tracing: Arc::new(Semaphore::new(2)),
        of_agents: Semaphore::new(settings.limits.requests),
        of_others: Semaphore::new(settings.limits.requests),
        connections: Arc::new(Semaphore::new(settings.limits.connections)),
        limits: settings.limits,
    });
    let (stop, stopped) = watch::channel(false);
    let mut tasks = route::start(ways, &store, settings.pace, &stopped).await?;
    tasks.extend(sink::start(sinks, &store, settings.pace, &stopped).await?);
    if let Some(keep) = &config.retention {
        tasks.push(tokio::spawn(upkeep::forget(store.clone(), keep.retention(), stopped.clone())));
    }
    tasks.push(tokio::spawn(upkeep::prepare_days(store.clone(), stopped.clone())));
    tasks.push(tokio::spawn(upkeep::sum_up(store.clone(), stopped.clone())));
    tasks.push(tokio::spawn(heartbeat::miss(store.clone(), stopped.clone())));
    tasks.push(tokio::spawn(policy::watch(store.clone(), config.policy.clone(), stopped.clone())));
    let door = Door { connections: Arc::clone(&collector.connections), addresses: Addresses::default() };
    tasks.push(tokio::spawn(listen(listener, tls, routes(&collector), settings.limits, door, stopped)));
    let url = format!("{}://{address}", if secure { "https" } else { "http" });
    Ok(Running { address, url, fingerprint, setup, stop, tasks, store, claim })
}

impl Running {
    /// Ends the requests under way, writes everything to the disk and stops.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
        self.store.close().await;
        self.claim.release();
    }
}

/// What lets connections in.
struct Door {
    connections: Arc<Semaphore>,
    addresses: Addresses,
}

async fn listen(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Router,
    limits: Limits,
    door: Door,
    mut stopped: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    loop {
        let Ok(permit) = Arc::clone(&door.connections).acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, mostly: some will come back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Who has half of all connections leaves the others to the rest, whoever he is: one machine, or many behind a proxy.
        let Some(place) = door.addresses.take(peer.ip(), limits.connections.div_ceil(2)) else { continue };
        let app = app.clone();
        let (tls, watcher) = (tls.clone(), graceful.watcher());
        tokio::spawn(async move {
            connect(stream, peer, tls, app, limits, watcher).await;
            drop((place, permit));
        });
    }
    drop(listener);
    if tokio::time::timeout(Duration::from_secs(10), graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests took too long to end");
    }
}

async fn connect(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    app: Router,
    limits: Limits,
    watcher: Watcher,
) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        let peer = Peer { address, certificate: None };
        return serve(stream, app.layer(Extension(peer)), limits, watcher).await;
    };
    match tokio::time::timeout(limits.head, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let peer = Peer { address, certificate: shown.map(|shown| Sha256::digest(shown).into()) };
            serve(stream, app.layer(Extension(peer)), limits, watcher).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

async fn serve<S>(stream: S, app: Router, limits: Limits, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Around every request: how many at once, how long, and the headers of every answer.
async fn guard(State(collector): State<Arc<Collector>>, request: Request, next: Next) -> Response {
    let time = if request.uri().path() == TRACE { collector.limits.trace } else { collector.limits.request };
    let is_agent = request.uri().path().starts_with("/v1/");
    let requests = if is_agent { &collector.of_agents } else { &collector.of_others };
    let mut response = match requests.try_acquire() {
        Ok(_permit) => match tokio::time::timeout(time, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request took too long", "a whole request in time")
                .into_response(),
        },
        Err(_) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once", "the same request later")
            .retry_after(2)
            .into_response(),
    };
    let headers = response.headers_mut();
    // Workstations that come again in half a minute hold no connection meanwhile where there are too many of them.
    if is_agent && collector.connections.available_permits() < collector.limits.connections / 2 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn healthz(State(collector): State<Arc<Collector>>) -> Result<&'static str, Refusal> {
    collector.store.awaits_setup().await?;
    Ok("ok\n")
}

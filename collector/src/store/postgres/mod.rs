//! PostgreSQL, for several collectors at once.
//!
//! Each write is a transaction of its own on one of a few connections: PostgreSQL itself puts the commits that come
//! together into one write to the disk, and a transaction that held the rows of many agents would wait for others like
//! it in circles. Answers are given after COMMIT, with `synchronous_commit` on: where `synchronous_standby_names` is
//! set, the standby has the write then, too. Connections run on a runtime of their own, so that a thread that waits for
//! an answer never keeps another's from being read.

mod days;
mod schema;
mod session;
mod translate;
mod value;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod};
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Notify, oneshot};
use tokio_postgres::Config;
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::StoreError;
use super::database::{Database, Done, Job};
use super::sql::Connection;
pub(super) use days::{first_of_day, horizon, take_numbers};
pub(super) use session::{Prepared, Session};
pub(super) use value::value;

/// How many writes may wait; one more is told to come back later.
const QUEUE: usize = 1024;
/// Connections that write. More would wait for each other's rows.
const WRITERS: usize = 6;
/// Connections of one collector: those that write, those that read, and the one that holds its jobs.
const CONNECTIONS: usize = WRITERS + super::READERS + 1;
/// How long a connection may take to come about, to each host.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a caller waits for a connection.
const WAIT: Duration = Duration::from_secs(15);
/// How soon a server is missed that no longer answers: after so long, so often, and so many times.
const ALIVE: (Duration, Duration, u32) = (Duration::from_secs(10), Duration::from_secs(5), 3);
/// How often it is looked whether another collector has written something.
const LOOK: Duration = Duration::from_millis(500);
/// First keys of advisory locks, which are set apart from those of whatever else lives in the database.
const ALONE: i32 = 0x7669_7401;
const JOBS: i32 = 0x7669_7402;
const MIGRATION: i32 = 0x7669_7403;
const ORDER: i32 = 0x7669_7405;

/// What helps where the server shows a certificate that nobody here trusts.
const UNTRUSTED: &str = "; expected one of an authority that this system trusts or the environment names \
                         (SSL_CERT_FILE), or sslmode=disable in the URL";

/// What each connection begins with. The server's own settings may keep less than is promised, and a limit of time would
/// report a write as done that the standby does not have.
const BEGIN: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
    SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// Statements that were translated already.
#[derive(Default)]
pub(super) struct Words(Mutex<HashMap<String, Arc<str>>>);

impl Words {
    fn of(&self, sql: &str) -> Arc<str> {
        let mut known = lock(&self.0);
        if let Some(known) = known.get(sql) {
            return Arc::clone(known);
        }
        let translated: Arc<str> = translate::translate(sql).into();
        known.insert(sql.to_owned(), Arc::clone(&translated));
        translated
    }
}

/// The runtime of the connections. It ends with whoever holds it last, who may run on another runtime.
struct Driver(Option<Runtime>);

impl Driver {
    fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Where connections come from.
struct Source {
    pool: Pool,
    words: Arc<Words>,
    driver: Driver,
}

impl Source {
    fn connect(&self) -> Result<Session, StoreError> {
        let runtime = self.driver.handle().ok_or(StoreError::Closed)?;
        let client = runtime.block_on(self.pool.get()).map_err(|error| match error {
            PoolError::Backend(error) => refusal(&error),
            PoolError::Timeout(_) => StoreError::Busy,
            PoolError::PostCreateHook(HookError::Backend(error)) => refusal(&error),
            other => StoreError::Unreachable(other.to_string()),
        })?;
        Ok(Session::new(client, runtime.clone(), Arc::clone(&self.words)))
    }

    /// A connection with a transaction. What the pool held may have been closed in the meantime.
    fn begin(&self, alone: bool) -> Result<Connection, StoreError> {
        let how = if alone { format!("BEGIN; SELECT pg_advisory_xact_lock({ALONE}, 0)") } else { "BEGIN".to_owned() };
        let mut tries = CONNECTIONS;
        loop {
            let session = self.connect()?;
            match session.begin(&how) {
                Ok(()) => return Ok(Connection::Postgres(session)),
                Err(error) if tries == 0 => return Err(error.into()),
                Err(_) if session.is_closed() => tries -= 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn run(&self, job: Job) {
        let connection = match self.begin(job.alone) {
            Ok(connection) => connection,
            Err(error) => return job.refuse(error),
        };
        let Done { worked, reply } = job.run(&connection);
        let Connection::Postgres(session) = &connection else { return };
        reply(session.end(worked).map_err(StoreError::from));
    }
}

/// The jobs that this process does, each held by a lock that ends with the connection.
#[derive(Default)]
struct Jobs {
    session: Option<Session>,
    held: HashSet<String>,
}

/// A database of PostgreSQL.
pub(super) struct Postgres {
    source: Arc<Source>,
    queue: Mutex<Option<SyncSender<Job>>>,
    writers: Mutex<Vec<JoinHandle<()>>>,
    jobs: Mutex<Jobs>,
}

impl Postgres {
    /// Connects to the database that a URL names, and brings its tables to the newest version.
    ///
    /// # Errors
    /// The URL is none, no server answers, or the database is of a newer program.
    pub(super) fn open(url: &str) -> Result<Postgres, StoreError> {
        let config = config(url)?;
        // Whoever calls may be within a runtime already, in which no other one can be waited for.
        let opening = std::thread::spawn(move || -> Result<Arc<Source>, StoreError> {
            let source = source(config)?;
            schema::migrate(&source.connect()?)?;
            match days::prepare(&source.connect()?) {
                Err(StoreError::Busy) => {} // another collector is at it
                done => done?,
            }
            Ok(Arc::new(source))
        });
        let source = opening.join().map_err(|_| StoreError::Closed)??;
        let (queue, jobs) = sync_channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        let writer = |_| {
            let (source, jobs) = (Arc::clone(&source), Arc::clone(&jobs));
            std::thread::spawn(move || {
                while let Some(job) = next(&jobs) {
                    source.run(job);
                }
            })
        };
        let writers = (0..WRITERS).map(writer).collect();
        Ok(Postgres { source, queue: Mutex::new(Some(queue)), writers: Mutex::new(writers), jobs: Mutex::default() })
    }
}

fn next(jobs: &Mutex<Receiver<Job>>) -> Option<Job> {
    lock(jobs).recv().ok()
}

impl Database for Postgres {
    fn write(&self, job: Job) -> Result<(), StoreError> {
        let queue = lock(&self.queue).clone().ok_or(StoreError::Closed)?;
        queue.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Closed,
        })
    }

    fn reader(&self) -> Result<Connection, StoreError> {
        self.source.connect().map(Connection::Postgres)
    }

    fn give_back(&self, reader: Connection) {
        drop(reader);
    }

    fn close(&self, tell: oneshot::Sender<()>) {
        drop(lock(&self.queue).take());
        let writers = std::mem::take(&mut *lock(&self.writers));
        let jobs = std::mem::take(&mut *lock(&self.jobs));
        std::thread::spawn(move || {
            for writer in writers {
                let _ = writer.join();
            }
            drop(jobs); // another collector takes them over
            let _ = tell.send(());
        });
    }

    fn back_up(&self, _to: &Path) -> Result<(), StoreError> {
        Err(StoreError::User(
            "this collector keeps its records in PostgreSQL: copy them with pg_dump, or pg_basebackup".into(),
        ))
    }

    fn leads(&self, job: &str) -> bool {
        let mut jobs = lock(&self.jobs);
        match jobs.lead(&self.source, job) {
            Ok(leads) => leads,
            Err(error) => {
                tracing::warn!(job, %error, "whose job it is cannot be told");
                *jobs = Jobs::default();
                false
            }
        }
    }

    fn look(&self, wake: Vec<Weak<Notify>>) {
        let Some(runtime) = self.source.driver.handle() else { return };
        runtime.spawn(async move {
            let mut ticks = tokio::time::interval(LOOK);
            loop {
                ticks.tick().await;
                let mut woken = wake.iter().filter_map(Weak::upgrade).peekable();
                if woken.peek().is_none() {
                    return;
                }
                woken.for_each(|wake| wake.notify_waiters());
            }
        });
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn prepare_days(&self) -> Result<(), StoreError> {
        days::prepare(&self.source.connect()?)
    }

    fn drop_days(&self, before: i64) -> Result<u64, StoreError> {
        days::drop_old(&self.source.connect()?, before)
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.end_for_good(); // in the pool it would go on to hold the locks
        }
    }
}

impl Jobs {
    fn lead(&mut self, source: &Source, job: &str) -> Result<bool, StoreError> {
        if self.session.as_ref().is_some_and(Session::is_closed) {
            tracing::warn!("the database was lost, and with it this collector's jobs");
            *self = Jobs::default(); // the locks have gone with it
        }
        if self.held.contains(job) {
            return Ok(true);
        }
        let session = match self.session.take() {
            Some(session) => session,
            None => source.connect()?,
        };
        let session = self.session.insert(session);
        let query = session.prepare(&format!("SELECT pg_try_advisory_lock({JOBS}, hashtext($1))"))?;
        let rows = query.query(&[&job])?;
        let held = rows.first().is_some_and(|row| row.get(0));
        if held {
            self.held.insert(job.to_owned());
            tracing::debug!(job, "this collector does it");
        }
        Ok(held)
    }
}

/// Lets one transaction at a time give numbers to alerts.
pub(super) fn in_order(session: &Session) -> super::sql::Result<()> {
    session.batch(&format!("SELECT pg_advisory_xact_lock({ORDER}, 0)"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says what is wrong with a URL, if something is.
pub(super) fn check(url: &str) -> Result<(), StoreError> {
    config(url).map(|_| ())
}

/// Reads a URL (or a list of `key=value`), and adds what makes a lost server be missed in time.
fn config(url: &str) -> Result<Config, StoreError> {
    let wrong = |why: &dyn std::fmt::Display| {
        StoreError::Url(format!("{why}; expected postgresql://USER@HOST[:PORT][,HOST...]/NAME"))
    };
    let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| wrong(&said(&error)))?;
    if config.get_hosts().is_empty() {
        return Err(wrong(&"no host is named"));
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT);
    }
    let (idle, interval, times) = ALIVE;
    config.keepalives_idle(idle).keepalives_interval(interval).keepalives_retries(times);
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(idle + interval * times);
    }
    if config.get_application_name().is_none() {
        config.application_name("vitrine-collector");
    }
    Ok(config)
}

fn source(config: Config) -> Result<Source, StoreError> {
    let failed = |error: &dyn std::fmt::Display| StoreError::Unreachable(error.to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("store connections")
        .enable_all()
        .build()
        .map_err(|error| failed(&error))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let manager = Manager::from_config(
        config,
        MakeRustlsConnect::new(tls),
        ManagerConfig { recycling_method: RecyclingMethod::Fast },
    );
    let begin = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
        Box::pin(async move { client.batch_execute(BEGIN).await.map_err(HookError::Backend) })
    });
    let pool = Pool::builder(manager)
        .max_size(CONNECTIONS)
        .runtime(deadpool_postgres::Runtime::Tokio1)
        .wait_timeout(Some(WAIT))
        .post_create(begin)
        .build()
        .map_err(|error| failed(&error))?;
    Ok(Source { pool, words: Arc::default(), driver: Driver(Some(runtime)) })
}

/// What a failure means to whoever asked.
pub(super) fn refusal(error: &tokio_postgres::Error) -> StoreError {
    let Some(code) = error.code() else {
        let said = said(error);
        let hint = if said.contains("certificate") { UNTRUSTED } else { "" };
        return StoreError::Unreachable(said + hint);
    };
    match code {
        &SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED | &SqlState::LOCK_NOT_AVAILABLE => {
            StoreError::Busy
        }
        &SqlState::DISK_FULL => StoreError::Full,
        &SqlState::DATA_CORRUPTED | &SqlState::INDEX_CORRUPTED => StoreError::Damaged(said(error)),
        // The server stops, starts, has no place, or is a standby now.
        &SqlState::READ_ONLY_SQL_TRANSACTION | &SqlState::TOO_MANY_CONNECTIONS => StoreError::Unreachable(said(error)),
        code if code.code().starts_with("08") || code.code().starts_with("57P") => StoreError::Unreachable(said(error)),
        _ => StoreError::Sql(Arc::new(super::SqlError::Refused(said(error)))),
    }
}

/// An error with its causes, and without the secrets of the URL.
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    crate::sink::said(error)
}

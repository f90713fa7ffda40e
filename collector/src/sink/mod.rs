//! The way out for every record: each sink goes through them in the order in which they were committed, at its own
//! pace and with its own position in the database, so that one that is slow or gone holds up nobody else. Records
//! arrive at least once: the position moves on after the receiver has them.

mod cef;
mod file;
mod http;
mod nats;
pub(crate) mod syslog;
mod tls;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vitrine_policy::record::Record;

use crate::alert::text;
use crate::config::{self, Config, ConfigError, Filter, mistake};
use crate::rate::Pace;
use crate::store::{Progress, SinkSetting, Store, StoreError, now};

/// How long a sink waits for more, once it has given away what there was: the database is written to for each batch.
const GATHER: Duration = Duration::from_millis(250);
/// A sink that catches up rests so many times as long as it kept the processor busy: whoever sends records needs it more.
const REST: u32 = 3;
/// The longest wait between two attempts.
const LONGEST: Duration = Duration::from_secs(60);
/// So often a receiver may refuse each record of a batch before that is taken for the records' fault.
const REFUSALS: u32 = 5;
/// Longest error that is kept, in characters.
const ERROR: usize = 500;

/// Why a batch did not go. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliverError {
    /// The receiver answered with something else than success.
    #[error("the receiver answered {status}{}", .said.as_ref().map(|said| format!(": {said}")).unwrap_or_default())]
    Status {
        /// Its code.
        status: u16,
        /// What else it said.
        said: Option<String>,
        /// When it wants to be asked again.
        after: Option<Duration>,
    },
    /// The receiver refuses whatever it is given.
    #[error("the receiver refuses every record ({0}): check the sink's address, shape and index")]
    All(String),
    /// The request failed.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    /// The answer is not what such a server gives.
    #[error("{0}")]
    Answer(String),
    /// The receiver cannot be reached, or the file not written.
    #[error("{what}: {error}")]
    Io {
        /// What was done to what.
        what: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The receiver took too long.
    #[error("{what} took longer than {} s", .time.as_secs())]
    Slow {
        /// What it was to do.
        what: &'static str,
        /// The time that it was given.
        time: Duration,
    },
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The program is ending.
    #[error("the collector is stopping")]
    Stopping,
}

/// A record in the words of a sink.
struct Outgoing {
    number: i64,
    /// Its own for ever: the agent and the number that it gave the record.
    id: String,
    body: String,
}

/// A record that a receiver will never take: its place in the batch, and why.
type Refused = (usize, String);

enum Target {
    File(Arc<Mutex<file::Log>>),
    Http(http::Http),
    Nats(Box<nats::Nats>),
    Syslog(syslog::Syslog, config::Message),
}

impl Target {
    fn shape(&self, record: &Record) -> String {
        match self {
            Target::File(_) | Target::Nats(_) => json_line(&record.to_ocsf()),
            Target::Http(http) => http.shape(record),
            Target::Syslog(_, message) => syslog::shape(record, *message),
        }
    }

    async fn deliver(&self, batch: &Arc<[Outgoing]>) -> Result<Vec<Refused>, DeliverError> {
        match self {
            Target::File(log) => {
                let (log, batch) = (Arc::clone(log), Arc::clone(batch));
                let writing = tokio::task::spawn_blocking(move || {
                    let mut log = log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    log.append(batch.iter().map(|outgoing| outgoing.body.as_str()))
                });
                writing.await.map_err(|_| DeliverError::Stopping)??;
                Ok(Vec::new())
            }
            Target::Http(http) => http.deliver(batch).await,
            Target::Nats(nats) => nats.deliver(batch).await,
            Target::Syslog(syslog, _) => {
                syslog.deliver(batch.iter().map(|outgoing| outgoing.body.as_str())).await.map(|()| Vec::new())
            }
        }
    }
}

struct Sink {
    name: String,
    filter: Filter,
    target: Target,
}

/// The sinks that the configuration names.
pub(crate) struct Sinks(Vec<(Sink, SinkSetting)>);

impl Sinks {
    pub(crate) fn new(config: &Config, data: &Path) -> Result<Sinks, ConfigError> {
        let (mut names, mut files) = (HashSet::new(), HashSet::new());
        let mut sinks = Vec::new();
        for config in &config.sinks {
            let name = config.name();
            config::check_name("[[sink]]", name, &mut names, data)?;
            let (kind, to, target) = match config {
                config::Sink::File(config) => {
                    let log = file::Log::new(config, data)?;
                    if !files.insert(data.join(&config.path)) {
                        let reason = format!("two [[sink]] write to {}", config.path.display());
                        return Err(mistake(data, reason));
                    }
                    ("file", config.path.display().to_string(), Target::File(Arc::new(Mutex::new(log))))
                }
                config::Sink::Http(config) => {
                    let http = http::Http::new(config, data)?;
                    ("http", http.target(), Target::Http(http))
                }
                config::Sink::Nats(config) => {
                    ("nats", config.server.clone(), Target::Nats(Box::new(nats::Nats::new(config, data)?)))
                }
                config::Sink::Syslog(config) => {
                    let entry = format!("[[sink]] {name:?}");
                    let syslog = syslog::Syslog::new(&entry, &config.server(), data)?;
                    ("syslog", config.server.clone(), Target::Syslog(syslog, config.message))
                }
            };
            let filter = config.filter();
            let setting = SinkSetting { name: name.to_owned(), kind, target: to, filter: filter.clone() };
            sinks.push((Sink { name: name.to_owned(), filter, target }, setting));
        }
        Ok(Sinks(sinks))
    }
}

/// Starts a task for each sink.
pub(crate) async fn start(
    sinks: Sinks,
    store: &Store,
    pace: Pace,
    stopped: &watch::Receiver<bool>,
) -> Result<Vec<JoinHandle<()>>, StoreError> {
    let (sinks, settings): (Vec<_>, Vec<_>) = sinks.0.into_iter().unzip();
    store.set_sinks(settings).await?;
    Ok(sinks.into_iter().map(|sink| tokio::spawn(run(Arc::new(sink), store.clone(), pace, stopped.clone()))).collect())
}

async fn run(sink: Arc<Sink>, store: Store, pace: Pace, mut stopped: watch::Receiver<bool>) {
    let mut failures = 0;
    let job = format!("sink {}", sink.name);
    while store.takes(&job, &mut stopped).await {
        let recorded = store.recorded();
        tokio::pin!(recorded);
        recorded.as_mut().enable();
        let given = tokio::select! {
            given = give(&sink, &store, failures) => given,
            _ = stopped.changed() => return,
        };
        match given {
            Ok(rest) => {
                failures = 0;
                let rest = async {
                    match rest {
                        Some(worked) => tokio::time::sleep(worked * REST).await,
                        None => {
                            recorded.await;
                            tokio::time::sleep(GATHER).await;
                        }
                    }
                };
                tokio::select! {
                    () = rest => {}
                    _ = stopped.changed() => return,
                }
            }
            Err(error) => {
                failures += 1;
                let wait = wait(pace, failures, &error);
                let said = text::line(&said(&error), ERROR);
                tracing::warn!(sink = sink.name, failures, error = said, "records did not go and will be tried again");
                let retry = now().saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
                // Where even this cannot be written, the journal has it.
                let _ = store.stuck(sink.name.clone(), failures, said, retry).await;
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = stopped.changed() => return,
                }
            }
        }
    }
}

/// Gives a sink what comes next. Where there is more, it says how long this took the processor.
async fn give(sink: &Arc<Sink>, store: &Store, failures: u32) -> Result<Option<Duration>, DeliverError> {
    let waiting = store.waiting(sink.name.clone()).await?;
    let Some((position, _)) = waiting.records.last() else {
        return Ok(None);
    };
    let (position, lost) = (*position, waiting.lost);
    let shaping = Arc::clone(sink);
    let shaped = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        let (batch, unreadable) = shape(&shaping, waiting.records);
        (batch, unreadable, began.elapsed())
    });
    let (batch, mut refused, worked) = shaped.await.map_err(|_| DeliverError::Stopping)?;
    let given =
        batch.iter().map(|outgoing| outgoing.number).chain(refused.iter().map(|(number, ..)| *number)).collect();
    let mut delivered = 0;
    if !batch.is_empty() {
        let batch: Arc<[Outgoing]> = batch.into();
        let found = sink.target.deliver(&batch).await?;
        if found.len() == batch.len() && failures < REFUSALS {
            let reason = found.into_iter().next().map(|(_, reason)| reason).unwrap_or_default();
            return Err(DeliverError::All(reason));
        }
        delivered = (batch.len() - found.len()) as u64;
        refused.extend(found.into_iter().filter_map(|(place, reason)| {
            let outgoing = batch.get(place)?;
            Some((outgoing.number, text::line(&reason, ERROR), outgoing.body.clone()))
        }));
    }
    if !refused.is_empty() {
        tracing::error!(sink = sink.name, records = refused.len(), "records were refused and laid aside");
    }
    store.advance(sink.name.clone(), Progress { position, delivered, given, lost, refused }).await?;
    Ok(waiting.more.then_some(worked))
}

/// What a sink asks for, in its words, and what cannot be read.
fn shape(sink: &Sink, records: Vec<(i64, String)>) -> (Vec<Outgoing>, Vec<(i64, String, String)>) {
    let mut batch = Vec::with_capacity(records.len());
    let mut unreadable = Vec::new();
    for (number, text) in records {
        match serde_json::from_str::<Record>(&text) {
            Ok(record) if sink.filter.takes(&record) => {
                let id = format!("{}-{}", record.host.agent, record.sequence);
                batch.push(Outgoing { number, id, body: sink.target.shape(&record) });
            }
            Ok(_) => {}
            Err(error) => unreadable.push((number, format!("the stored record cannot be read: {error}"), text)),
        }
    }
    (batch, unreadable)
}

/// An error with its causes: a client's own words often leave out the one that helps.
pub(crate) fn said(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !said.contains(&more) {
            said = format!("{said}: {more}");
        }
        cause = error.source();
    }
    said
}

/// Each failure doubles the wait, up to [`LONGEST`]; a random half of it keeps sinks and collectors from trying as one.
fn wait(pace: Pace, failures: u32, error: &DeliverError) -> Duration {
    let longest = LONGEST.min(pace.longest_retry);
    let wait = pace.first_retry.saturating_mul(1 << (failures - 1).min(20)).min(longest);
    let random = getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX));
    let wait = wait.mul_f64(0.5 + random / 2.0);
    match error {
        DeliverError::Status { after: Some(after), .. } => wait.max((*after).min(LONGEST)),
        _ => wait,
    }
}

/// JSON on one line, in which characters that move a terminal's cursor or turn the direction of writing stand as
/// `\uNNNN`. Outside of strings JSON has no such character, so that it stays the same JSON.
pub(crate) fn json_line(value: &Value) -> String {
    let text = value.to_string();
    if !text.chars().any(text::moves) {
        return text;
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if text::moves(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(character);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::{DeliverError, json_line, wait};
    use crate::rate::Pace;

    #[test]
    fn a_line_of_json_moves_nothing_and_means_the_same() {
        let value = json!({"path": "a\u{7f}b\u{202e}gpj.\n\u{85}\u{2028}寒食帖"});
        let line = json_line(&value);
        assert_eq!(line, r#"{"path":"a\u007fb\u202egpj.\n\u0085\u2028寒食帖"}"#);
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
    }

    #[test]
    fn waits_double_differ_and_end_at_a_minute() {
        let waits: Vec<f64> =
            (1..=8).map(|n| wait(Pace::default(), n, &DeliverError::Stopping).as_secs_f64()).collect();
        for (n, wait) in waits.iter().enumerate() {
            let full = (5.0 * 2_f64.powi(i32::try_from(n).unwrap())).min(60.0);
            assert!((full / 2.0..=full).contains(wait), "{n}: {wait}");
        }
        let many: Vec<Duration> = (0..20).map(|_| wait(Pace::default(), 9, &DeliverError::Stopping)).collect();
        assert!(many.iter().any(|wait| wait != &many[0]));
    }

    #[test]
    fn a_receiver_that_says_when_is_believed_up_to_a_minute() {
        let busy =
            |seconds| DeliverError::Status { status: 429, said: None, after: Some(Duration::from_secs(seconds)) };
        assert_eq!(wait(Pace::default(), 1, &busy(30)), Duration::from_secs(30));
        assert_eq!(wait(Pace::default(), 1, &busy(86_400)), Duration::from_secs(60));
    }
}

//! The ways out of alerts: each `[[route]]` is told of those that it takes, by webhook, e-mail or syslog. What it is to
//! be told, and when, stands in the store from the transaction on that makes the alert; a message leaves the outbox
//! when its receiver has it, so that every message arrives at least once.

mod email;
pub(crate) mod letter;
mod rule;
mod shape;
mod syslog;
mod webhook;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::alert::{Alert, text};
use crate::config::{self, Config, ConfigError, mistake};
use crate::rate::{Bucket, Pace};
use crate::sink::said;
use crate::store::{Due, Letter, Message, Occasion, Store, StoreError, now};
pub(crate) use rule::{Rule, When};

/// Routes that a configuration may name.
const MOST: usize = 32;
/// Longest answer and error that is kept, in characters.
const ANSWER: usize = 500;
/// How often it is looked what is due, at least: the clock may have been set.
const LOOK: Duration = Duration::from_secs(60);
/// Least time from one look to the next.
const TURN: Duration = Duration::from_millis(100);

/// Time for the answer to a test.
const TEST: Duration = Duration::from_secs(40);

/// Why a message did not go.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// The receiver answered with something else than success.
    #[error("the receiver answered {0}")]
    Answer(String),
    /// The request failed.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    /// The mail server refused or was not there.
    #[error("{0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
    /// The message cannot be made.
    #[error("{0}")]
    Mail(#[from] lettre::error::Error),
    /// The syslog server did not read it.
    #[error("{0}")]
    Syslog(#[from] crate::sink::DeliverError),
    /// The stored letter cannot be read.
    #[error("{0}")]
    Letter(#[from] serde_json::Error),
}

enum Way {
    Webhook(Box<webhook::Webhook>),
    Email(Box<email::Email>),
    Syslog(Box<syslog::Syslog>),
}

/// One route.
pub(crate) struct Route {
    name: String,
    way: Way,
}

impl Route {
    fn new(config: &config::Route, data: &Path) -> Result<Route, ConfigError> {
        let entry = format!("[[route]] {:?}", config.name);
        let way = match (&config.webhook, &config.email, &config.syslog) {
            (Some(config), None, None) => Way::Webhook(Box::new(webhook::Webhook::new(&entry, config, data)?)),
            (None, Some(config), None) => Way::Email(Box::new(email::Email::new(&entry, config, data)?)),
            (None, None, Some(config)) => Way::Syslog(Box::new(syslog::Syslog::new(&entry, config, data)?)),
            _ => {
                let reason =
                    format!("{entry}: expected one of [route.webhook], [route.email] and [route.syslog] below it");
                return Err(mistake(data, reason));
            }
        };
        Ok(Route { name: config.name.clone(), way })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where it leads to, without what may be a secret of the receiver.
    pub(crate) fn target(&self) -> String {
        match &self.way {
            Way::Webhook(webhook) => webhook.target(),
            Way::Email(email) => email.target(),
            Way::Syslog(syslog) => syslog.target(),
        }
    }

    /// Sends an alert that says of itself that it is a test; gives the number under which the answer stands in the log.
    pub(crate) async fn test(&self, store: &Store, by: String) -> Result<i64, StoreError> {
        let alert = Alert::test(&self.name, &by, now());
        let letter = Letter { event: Occasion::Test, route: self.name.clone(), alerts: vec![alert], more: 0 };
        let message = store.begin_test(by, letter).await?;
        let said = match tokio::time::timeout(TEST, self.send(&message)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(text::line(&said(&error), ANSWER)),
            Err(_) => Err(format!("no answer within {} s", TEST.as_secs())),
        };
        match said {
            Ok(answer) => store.delivered(message.number, answer).await?,
            Err(error) => store.undelivered(message.number, error, None).await?,
        }
        Ok(message.number)
    }

    /// Sends a message; gives the receiver's answer.
    async fn send(&self, message: &Message) -> Result<String, SendError> {
        let answer = match &self.way {
            Way::Webhook(webhook) => webhook.send(message).await?,
            Way::Email(email) => email.send(&serde_json::from_str(&message.body)?).await?,
            Way::Syslog(syslog) => syslog.send(&serde_json::from_str(&message.body)?).await?,
        };
        Ok(text::line(&answer, ANSWER))
    }
}

/// The routes that the configuration names.
pub(crate) struct Routes {
    routes: Vec<Arc<Route>>,
    rules: Vec<Rule>,
}

impl Routes {
    pub(crate) fn new(config: &Config, data: &Path) -> Result<Routes, ConfigError> {
        if config.routes.len() > MOST {
            return Err(mistake(data, format!("there are {} [[route]]; at most {MOST} are read", config.routes.len())));
        }
        let mut names = HashSet::new();
        let (mut routes, mut rules) = (Vec::new(), Vec::new());
        for config in &config.routes {
            config::check_name("[[route]]", &config.name, &mut names, data)?;
            routes.push(Arc::new(Route::new(config, data)?));
            rules.push(Rule::new(config, data)?);
        }
        Ok(Routes { routes, rules })
    }

    /// The routes, to be tried.
    pub(crate) fn all(&self) -> Vec<Arc<Route>> {
        self.routes.clone()
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

/// Starts a task for each route, and one that fills the outbox.
pub(crate) async fn start(
    routes: Routes,
    store: &Store,
    pace: Pace,
    stopped: &watch::Receiver<bool>,
) -> Result<Vec<JoinHandle<()>>, StoreError> {
    store.leave_routes().await?;
    let mut tasks = vec![tokio::spawn(tell(store.clone(), stopped.clone()))];
    tasks.extend(routes.routes.into_iter().map(|route| tokio::spawn(run(route, store.clone(), pace, stopped.clone()))));
    Ok(tasks)
}

/// Puts what is due into the outbox, until the server stops.
async fn tell(store: Store, mut stopped: watch::Receiver<bool>) {
    while store.takes("outbox", &mut stopped).await {
        let next = tokio::time::Instant::now() + TURN;
        let armed = store.armed();
        tokio::pin!(armed);
        armed.as_mut().enable();
        let wait = match store.tell(now()).await {
            Ok(Some(due)) => Duration::from_millis(u64::try_from(due.saturating_sub(now())).unwrap_or(0)).min(LOOK),
            Ok(None) => LOOK,
            Err(error) => pause(&error),
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = armed => {}
            _ = stopped.changed() => return,
        }
        // What is armed meanwhile is seen in the next turn.
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            _ = stopped.changed() => return,
        }
    }
}

async fn run(route: Arc<Route>, store: Store, pace: Pace, mut stopped: watch::Receiver<bool>) {
    let mut bucket = Bucket::full(pace.rate);
    let job = format!("route {}", route.name);
    while store.takes(&job, &mut stopped).await {
        let posted = store.posted();
        tokio::pin!(posted);
        posted.as_mut().enable();
        let wait = match store.due(route.name.clone(), milliseconds(pace.longest_retry)).await {
            Ok(Due::Now(message)) => match bucket.take(pace.rate) {
                Err(wait) => wait,
                Ok(()) => {
                    let sent = tokio::select! {
                        sent = route.send(&message) => sent,
                        _ = stopped.changed() => return,
                    };
                    if settle(&route, &store, pace, &message, sent, &mut stopped).await {
                        continue;
                    }
                    return;
                }
            },
            Ok(Due::Later(milliseconds)) => Duration::from_millis(milliseconds).min(LOOK),
            Ok(Due::Nothing) => LOOK,
            Err(error) => pause(&error),
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = posted, if wait > Duration::from_secs(1) => {}
            _ = stopped.changed() => return,
        }
    }
}

fn pause(error: &StoreError) -> Duration {
    tracing::error!(%error, "the outbox cannot be used");
    Duration::from_secs(1)
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Notes how an attempt ended, and tries that until it is done: what is not noted would be sent again. Says whether it
/// was done before the server stops.
async fn settle(
    route: &Route,
    store: &Store,
    pace: Pace,
    message: &Message,
    sent: Result<String, SendError>,
    stopped: &mut watch::Receiver<bool>,
) -> bool {
    let (route, number) = (&route.name, message.number);
    let ended = sent.map_err(|error| text::line(&said(&error), ANSWER));
    let gives_up = message.attempts + 1 >= pace.attempts;
    let wait = pace.first_retry.saturating_mul(1 << message.attempts.min(20)).min(pace.longest_retry);
    match &ended {
        Ok(_) => {}
        Err(error) if gives_up => tracing::error!(route, message = number, error, "a message was given up"),
        Err(error) => {
            tracing::warn!(route, message = number, error, "a message did not go and will be tried again");
        }
    }
    loop {
        let noted = match ended.clone() {
            Ok(answer) => store.delivered(number, answer).await,
            Err(error) => {
                let due = (!gives_up).then(|| now().saturating_add(milliseconds(wait)));
                store.undelivered(number, error, due).await
            }
        };
        let Err(error) = noted else {
            return true;
        };
        let wait = pause(&error);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopped.changed() => return false,
        }
    }
}

//! How fast things go: token buckets (so many a second, and a burst after a silence), and the pace of messages.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::store::Sender;

/// How much is let through.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// So many a second in the long run.
    pub per_second: f64,
    /// So many at once after a silence.
    pub burst: f64,
}

/// How messages go out.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Wait after the first failure; each further one doubles it.
    pub first_retry: Duration,
    /// The longest wait.
    pub longest_retry: Duration,
    /// After so many failures a message is given up.
    pub attempts: u32,
    /// Messages of one route; more wait in the outbox.
    pub rate: Rate,
}

impl Default for Pace {
    /// Gives up after about a day.
    fn default() -> Pace {
        Pace {
            first_retry: Duration::from_secs(5),
            longest_retry: Duration::from_secs(3600),
            attempts: 33,
            rate: Rate { per_second: 0.5, burst: 20.0 },
        }
    }
}

/// One bucket.
pub(crate) struct Bucket {
    left: f64,
    since: Instant,
}

impl Bucket {
    pub(crate) fn full(rate: Rate) -> Bucket {
        Bucket { left: rate.burst, since: Instant::now() }
    }

    /// Takes one, or says how long to wait for it.
    pub(crate) fn take(&mut self, rate: Rate) -> Result<(), Duration> {
        let now = Instant::now();
        let refilled = now.duration_since(self.since).as_secs_f64() * rate.per_second;
        self.left = (self.left + refilled).min(rate.burst);
        self.since = now;
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        Err(Duration::try_from_secs_f64((1.0 - self.left) / rate.per_second).unwrap_or(Duration::MAX))
    }
}

/// A bucket for each agent, whichever certificate it shows, or for each token where there are none.
pub(crate) struct Rates {
    rate: Rate,
    buckets: Mutex<HashMap<String, Bucket>>,
}

impl Rates {
    pub(crate) fn new(rate: Rate) -> Rates {
        Rates { rate, buckets: Mutex::default() }
    }

    pub(crate) fn admit(&self, sender: &Sender) -> bool {
        let agent = sender.agent.clone().filter(|_| sender.certificate.is_some());
        let key = agent.unwrap_or_else(|| format!("token {}", sender.token));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.entry(key).or_insert_with(|| Bucket::full(self.rate)).take(self.rate).is_ok()
    }
}

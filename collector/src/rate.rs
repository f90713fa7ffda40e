//! Token buckets: so many a second, and a burst after a silence.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much is let through.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// So many a second in the long run.
    pub per_second: f64,
    /// So many at once after a silence.
    pub burst: f64,
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

/// A bucket for each agent's token.
pub(crate) struct Rates {
    rate: Rate,
    buckets: Mutex<HashMap<i64, Bucket>>,
}

impl Rates {
    pub(crate) fn new(rate: Rate) -> Rates {
        Rates { rate, buckets: Mutex::default() }
    }

    pub(crate) fn admit(&self, token: i64) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.entry(token).or_insert_with(|| Bucket::full(self.rate)).take(self.rate).is_ok()
    }
}

//! What the server does by itself: sums, old records, room for new ones.

use std::time::Duration;

use tokio::sync::watch;

use crate::store::{Removed, Retention, Store, now};

/// Keeps the lists of masters and the search up with the records, until the server stops. It takes a quarter of the
/// writer's time at most, so that records come in while many of before wait to be summed up.
pub(super) async fn sum_up(store: Store, mut stopped: watch::Receiver<bool>) {
    let mut pause = Duration::ZERO;
    while store.takes("sums", &mut stopped).await {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopped.changed() => return,
        }
        pause = match store.sum_up().await {
            Ok(Some(taken)) => taken * 3,
            Ok(None) => Duration::from_millis(500),
            Err(error) => {
                tracing::error!(%error, "lists of masters and search do not know of the latest records");
                Duration::from_secs(5)
            }
        };
    }
}

/// How long after its start the server removes nothing: the clock of a machine that was just switched on may be wrong.
const SETTLE: Duration = Duration::from_secs(600);

/// Removes every hour what is older than it may be kept, until the server stops.
pub(super) async fn forget(store: Store, retention: Retention, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + SETTLE, Duration::from_secs(3600));
    while store.takes("retention", &mut stopped).await {
        let removed = tokio::select! {
            removed = async { ticks.tick().await; store.remove_old(&retention, now()).await } => removed,
            _ = stopped.changed() => return,
        };
        match removed {
            Ok(removed) if removed == Removed::default() => {}
            Ok(removed) => tracing::info!(?removed, "what is older than it may be kept was removed"),
            Err(error) => tracing::error!(%error, "what is older than it may be kept could not be removed"),
        }
    }
}

/// Makes room every hour for the records of the days to come, until the server stops.
pub(super) async fn prepare_days(store: Store, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(3600)) => {}
            _ = stopped.changed() => return,
        }
        if let Err(error) = store.prepare_days().await {
            tracing::error!(%error, "the database could not be made ready for the days to come");
        }
    }
}

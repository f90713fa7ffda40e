//! The spool: records are durable here before they are anything else.
//!
//! What always holds, each with a test in `tests.rs`:
//!
//! 1. A record is on the disk (`synchronous=FULL`, committed) before the collector can see it.
//! 2. Sequence numbers are contiguous from 1, without holes, also across `kill -9`. A record gets its number
//!    when it is first put into a batch, in the transaction that fixes it for good; so what is dropped
//!    before never had one. `last-sequence` is written after that transaction and before anything is sent: if
//!    the database is lost or put back to an older state, the numbers go on behind all that the collector
//!    knows, and what was lost shows there as a gap.
//! 3. Nothing goes uncounted. A full spool drops the oldest record of the lowest severity that has no number
//!    yet, in the same transaction in which one `spool-full` record tells how many went. A full queue in
//!    memory drops what is below the severity that it is reserved for, and says so in the same way.
//! 4. Whoever records never waits for the disk. While the disk refuses, records wait in memory and are
//!    tried again.
//! 5. Delivered records stay readable for `vitrine events`, the newest `keep_sent` of them.
//! 6. Evidence is kept under the BLAKE3 of its content and sent once.
//! 7. Identical notices within ten seconds are one record with a count; the count is durable.
//! 8. A spool that SQLite cannot read is set aside and never deleted; what can still be read of it is taken
//!    over. The agent keeps its id.

mod coalesce;
mod fit;
mod place;
mod queue;
mod read;
mod schema;
mod seal;
mod store;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use vitrine_policy::record::{Event, Host};

use crate::config::SpoolLimits;
use crate::fail::Failure;
use place::Place;
use queue::Shared;
pub(crate) use schema::is_corrupt;
use store::Store;

pub(crate) use place::{database, lock};
pub(crate) use read::{Entry, read, read_newest};
pub(crate) use seal::Handover;
pub(crate) use store::{Batch, told};

/// Longest picture that is kept as evidence, in bytes; the collector takes no longer ones.
pub(crate) const MAX_EVIDENCE: usize = 64 * 1024;

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// The directory, or a file in it, cannot be made, read or written.
    #[error(
        "cannot keep records in {path}: {source}; expected a directory that this user may write: mend its \
         permissions or free space, or name another one with `state` in agent.toml"
    )]
    Place { path: PathBuf, source: std::io::Error },
    /// Another process holds it.
    #[error(
        "{holder} keeps its records in {path} already; stop it first (`systemctl stop vitrine`), or give \
         this one a directory of its own with `state` in agent.toml"
    )]
    InUse { path: PathBuf, holder: String },
    /// Of a version that this program does not know.
    #[error("the spool {path} is of version {found}, and this program knows versions up to {known}: update Vitrine")]
    Newer { path: PathBuf, found: i64, known: i64 },
    /// SQLite refuses.
    #[error("cannot use the spool {path}: {source}; check free space and permissions of its directory")]
    Database { path: PathBuf, source: rusqlite::Error },
    /// There is none.
    #[error(
        "there is no spool at {path}; start the agent (`systemctl start vitrine`), or give the directory that \
         is `state` in its agent.toml"
    )]
    Absent { path: PathBuf },
}

/// A handle to the spool; clones share it. When the last one is dropped, all that was pushed is written
/// (one attempt) and the spool is closed.
#[derive(Clone)]
pub(crate) struct Spool {
    shared: Arc<Shared>,
    _writer: Arc<Writer>,
}

/// Ends the writing thread with the last handle.
struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; the spool is consistent whatever happened.
            let _ = thread.join();
        }
    }
}

impl Spool {
    /// Opens the spool in `state`, makes it if there is none, and sets it aside if it is corrupt.
    pub(crate) fn open(state: &Path, host: Host, limits: SpoolLimits) -> Result<Spool, SpoolError> {
        let (store, opened) = Store::open(Place::lock(state)?, host.clone(), limits)?;
        let shared = Arc::new(Shared::new(store, host));
        let on = shared.clone();
        let thread = std::thread::Builder::new()
            .name("spool".into())
            .spawn(move || writer::run(&on))
            .map_err(|source| SpoolError::Place { path: state.into(), source })?;
        let spool = Spool { _writer: Arc::new(Writer { shared: shared.clone(), thread: Some(thread) }), shared };
        for finding in opened {
            spool.push(finding.notice());
        }
        Ok(spool)
    }

    /// The agent's UUID, made at its first start. It survives the loss of the spool.
    pub(crate) fn agent_id(state: &Path) -> Result<String, SpoolError> {
        place::agent_id(state)
    }

    /// Takes over what another spool holds that nobody was sent. How many records came.
    pub(crate) fn take_over(&self, state: &Path) -> Result<u64, SpoolError> {
        self.shared.with_store(|store| store.take_over(&database(state)))
    }

    /// Where the records happen.
    pub(crate) fn host(&self) -> &Host {
        self.shared.host()
    }

    /// Takes an event over, stamped with an id and the time of now. Never waits for the disk.
    pub(crate) fn push(&self, event: Event) {
        self.shared.push(event);
    }

    /// Takes a picture (JPEG, at most [`MAX_EVIDENCE`]) over. Returns its BLAKE3 in hexadecimal.
    pub(crate) fn evidence(&self, jpeg: Vec<u8>) -> String {
        let digest = blake3::hash(&jpeg).to_hex().to_string();
        if jpeg.len() > MAX_EVIDENCE {
            let what = format_args!("a picture of {} bytes is not kept; at most {MAX_EVIDENCE} are sent", jpeg.len());
            self.push(Failure::RecordRejected.notice(Some(digest.as_bytes()), what));
        } else {
            self.shared.push_evidence(&digest, jpeg);
        }
        digest
    }

    /// Waits until all that was pushed before is on the disk. Whether that came true within `timeout`.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        self.shared.flush(Instant::now() + timeout)
    }

    /// The next records, at most `max`, each with its sequence number as one line for the wire, and pictures.
    /// The same ones again until they are acknowledged.
    pub(crate) fn batch(&self, max: usize) -> Result<Batch, SpoolError> {
        self.shared.with_store(|store| store.batch(max))
    }

    /// The collector has all records up to this sequence number.
    pub(crate) fn acked(&self, up_to: u64) -> Result<(), SpoolError> {
        self.shared.with_store(|store| store.acked(up_to))
    }

    /// The collector has these pictures.
    pub(crate) fn evidence_sent(&self, digests: &[String]) -> Result<(), SpoolError> {
        self.shared.with_store(|store| store.evidence_sent(digests))
    }

    /// What the collector needs to check the seals, until it has it.
    pub(crate) fn handover(&self) -> Result<Option<Handover>, SpoolError> {
        self.shared.with_store(|store| Ok(store.sealer.handover.clone()))
    }

    /// The collector has it: the first key is forgotten.
    pub(crate) fn handed_over(&self) -> Result<(), SpoolError> {
        self.shared.with_store(|store| {
            store.sealer.handover = None;
            Ok(())
        })
    }

    /// Records on the disk that the collector does not have.
    pub(crate) fn depth(&self) -> u64 {
        self.shared.depth()
    }

    /// The highest sequence number given so far; 0: none.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.shared.last_sequence()
    }

    /// Waits until something was committed since the last call. For one task.
    pub(crate) async fn wait_for_more(&self) {
        self.shared.more.notified().await;
    }
}

//! Seals: what an agent wrote down cannot be changed or removed unseen while it waits in the spool.
//!
//! A run of the agent (an *epoch*) draws a random key K₀ and hands it to the collector in its heartbeats until
//! one arrives. Record *n* of the epoch is sealed with Kₙ as it is written; then Kₙ₊₁ takes the place of Kₙ.
//! This is the forward-secure MAC with an evolving key of Schneier and Kelsey, "Secure Audit Logs to Support
//! Computer Forensics" (ACM TISSEC 2(2), 1999); MAC and key derivation are BLAKE3's. A seal covers the record's
//! own number and not the seal before it, so that a full spool may drop a record: how many it dropped is
//! part of each later seal.
//!
//! Promise: who takes the workstation over after a record was sealed, root included, can neither change,
//! reorder nor remove it unseen, because Kₙ is nowhere any more.
//!
//! Limits: until the first contact K₀ is in the agent's memory alone. Who reads it there can forge; if the agent
//! ends before, the records of that epoch come unproved. The last records of an epoch can be cut off unseen
//! after the agent was killed, as nothing later tells of them. Notices that are held back to be counted (ten
//! seconds) are not sealed yet. What root lets the agent record after the takeover proves nothing.

use serde::{Deserialize, Serialize};

use super::Record;

/// Most keys that are derived for one batch of records: numbers further on are not believed.
pub const MAX_STEPS: u64 = 1 << 20;
const NEXT: &str = "vitrine 2026-11 seal: next key";

/// The proof that a record is the one the agent wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// The run of the agent: 32 hexadecimal digits.
    pub epoch: String,
    /// Position in the epoch, from 0.
    pub number: u64,
    /// Sealed records that the agent itself had dropped in this epoch when it sealed this one.
    pub dropped: u64,
    /// The MAC, 64 hexadecimal digits.
    pub tag: String,
}

/// The key of one position.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl Key {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Key {
        Key(bytes)
    }

    /// Its bytes, to be handed over or kept.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The next key takes its place; there is no way back.
    pub fn advance(&mut self) {
        self.0 = blake3::derive_key(NEXT, &self.0);
    }

    /// The seal of a record's own JSON without number and seal.
    #[must_use]
    pub fn seal(&self, epoch: &str, number: u64, dropped: u64, body: &str) -> Seal {
        let tag = self.tag(epoch, number, dropped, body).to_hex().to_string();
        Seal { epoch: epoch.into(), number, dropped, tag }
    }

    /// Whether the record is the one that was sealed with this key. Takes the same time whatever the tag.
    #[must_use]
    pub fn proves(&self, record: &Record) -> bool {
        let Some(seal) = &record.seal else { return false };
        let bare = Record { sequence: 0, seal: None, ..record.clone() };
        let (Ok(body), Ok(tag)) = (serde_json::to_string(&bare), blake3::Hash::from_hex(&seal.tag)) else {
            return false;
        };
        self.tag(&seal.epoch, seal.number, seal.dropped, &body) == tag
    }

    fn tag(&self, epoch: &str, number: u64, dropped: u64, body: &str) -> blake3::Hash {
        let mut mac = blake3::Hasher::new_keyed(&self.0);
        mac.update(&(epoch.len() as u64).to_le_bytes()).update(epoch.as_bytes());
        mac.update(&number.to_le_bytes()).update(&dropped.to_le_bytes()).update(body.as_bytes());
        mac.finalize()
    }
}

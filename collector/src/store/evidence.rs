//! Thumbnails, each kept once under the BLAKE3 of its bytes.

use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError, now};

impl Store {
    /// Keeps a thumbnail; says whether it is new.
    pub(crate) async fn keep_evidence(&self, digest: String, jpeg: Vec<u8>) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let inserted = connection
                .prepare_cached(
                    "INSERT INTO evidence (digest, received, jpeg) VALUES (?, ?, ?) ON CONFLICT (digest) DO NOTHING",
                )?
                .execute(params![digest, now(), jpeg])?;
            Ok(inserted == 1)
        })
        .await
    }

    /// Whether a thumbnail is kept.
    pub(crate) async fn has_evidence(&self, digest: String) -> Result<bool, StoreError> {
        self.read(move |connection| {
            let there = connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM evidence WHERE digest = ?)")?
                .query_row([digest], |row| row.get(0))?;
            Ok(there)
        })
        .await
    }

    /// A thumbnail's bytes.
    pub(crate) async fn evidence(&self, digest: String) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached("SELECT jpeg FROM evidence WHERE digest = ?")?;
            Ok(query.query_row([digest], |row| row.get(0)).optional()?)
        })
        .await
    }
}

//! Thumbnails, each kept once under the BLAKE3 of its bytes.

use super::audit::{self, Actor, Kind};
use super::sql::{Optional, params};
use super::{Store, StoreError, now};

impl Store {
    /// Keeps a thumbnail; says whether it is new.
    pub(crate) async fn keep_evidence(&self, digest: String, jpeg: Vec<u8>) -> Result<bool, StoreError> {
        self.write_beside(move |connection| {
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

    /// A thumbnail's bytes, for somebody of whom it is recorded that he looks at it.
    pub(crate) async fn evidence(&self, actor: Actor, digest: String) -> Result<Option<Vec<u8>>, StoreError> {
        self.write(move |connection| {
            let mut query = connection.prepare_cached("SELECT jpeg FROM evidence WHERE digest = ?")?;
            let jpeg = query.query_row([&digest], |row| row.get(0)).optional()?;
            if jpeg.is_some() {
                audit::append(connection, &actor, Kind::Evidence, &digest, "looked at")?;
            }
            Ok(jpeg)
        })
        .await
    }
}

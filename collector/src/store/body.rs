//! What the store keeps of a record: its JSON, as a zstd frame (RFC 8878) that leaves out what most records share.

use std::cell::RefCell;
use std::io;
use std::sync::LazyLock;

use vitrine_policy::record::Record;
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::get_frame_content_size;

use super::StoreError;
use super::sql::{self, FromSql, ToSql, ValueRef};

/// Records as they are: what a frame does not say lies here. Never changed, as stored records need it.
const SHARED: &[u8] = include_bytes!("body.ndjson");
const LEVEL: i32 = 3;
/// Bytes of a record; no line that comes in is as long.
const LONGEST: u64 = 32 << 20;

static TO: LazyLock<EncoderDictionary<'static>> = LazyLock::new(|| EncoderDictionary::copy(SHARED, LEVEL));
static FROM: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(SHARED));

thread_local! {
    static PACKER: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// A record as the column holds it.
#[derive(Clone, Debug)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    pub(crate) fn of(record: &Record) -> Result<Body, StoreError> {
        let json = serde_json::to_vec(record)?;
        let frame = PACKER.with_borrow_mut(|packer| {
            let packer = match packer {
                Some(packer) => packer,
                None => packer.insert(Compressor::with_prepared_dictionary(&TO)?),
            };
            packer.compress(&json)
        });
        Ok(Body(frame.map_err(unusable)?))
    }

    /// The record's JSON.
    pub(super) fn json(&self) -> Result<String, StoreError> {
        // As it was kept before records were packed: no frame begins like this.
        let json = if self.0.first() == Some(&b'{') { self.0.clone() } else { unpack(&self.0).map_err(unusable)? };
        String::from_utf8(json).map_err(|error| unusable(io::Error::other(error)))
    }

    pub(super) fn record(&self) -> Result<Record, StoreError> {
        Ok(serde_json::from_str(&self.json()?)?)
    }
}

fn unpack(frame: &[u8]) -> io::Result<Vec<u8>> {
    let length = get_frame_content_size(frame).ok().flatten().filter(|length| *length <= LONGEST);
    let length = length.and_then(|length| usize::try_from(length).ok());
    let length = length.ok_or_else(|| io::Error::other("it is no frame that says how long it is"))?;
    UNPACKER.with_borrow_mut(|unpacker| {
        let unpacker = match unpacker {
            Some(unpacker) => unpacker,
            None => unpacker.insert(Decompressor::with_prepared_dictionary(&FROM)?),
        };
        unpacker.decompress(frame, length)
    })
}

fn unusable(error: io::Error) -> StoreError {
    StoreError::Record(std::sync::Arc::new(error))
}

impl ToSql for Body {
    fn to_sql(&self) -> sql::Result<ValueRef<'_>> {
        Ok(ValueRef::Blob(&self.0))
    }
}

impl FromSql for Body {
    fn from_sql(value: ValueRef<'_>) -> Option<Body> {
        match value {
            ValueRef::Blob(bytes) => Some(Body(bytes.to_vec())),
            ValueRef::Text(text) => Some(Body(text.as_bytes().to_vec())),
            _ => None,
        }
    }
}

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
                None => {
                    let mut new = Compressor::with_prepared_dictionary(&TO)?;
                    new.include_checksum(true)?;
                    packer.insert(new)
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn first() -> Record {
        let line = SHARED.split(|byte| *byte == b'\n').next().unwrap();
        serde_json::from_slice(line).unwrap()
    }

    #[test]
    fn what_is_shared_is_as_stored_records_need_it() {
        assert_eq!(
            blake3::hash(SHARED).to_hex().as_str(),
            "cc654f44eb5dfb8372a4b32d17fbbcc69acbeb2b1feb63113cd7e7e37e1736ca"
        );
        for line in SHARED.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            serde_json::from_slice::<Record>(line).unwrap();
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let record = Record { sequence: 77, ..first() };
        let body = Body::of(&record).unwrap();
        let json = serde_json::to_string(&record).unwrap();
        assert!(body.0.len() * 4 < json.len(), "{} of {}", body.0.len(), json.len());
        assert_eq!((body.json().unwrap(), body.record().unwrap().sequence), (json.clone(), 77));
        // As it was kept before.
        let text = Body::from_sql(ValueRef::Text(&json)).unwrap();
        assert_eq!(text.json().unwrap(), json);
    }

    #[test]
    fn what_is_damaged_is_said_to_be() {
        let body = Body::of(&first()).unwrap();
        for place in 0..body.0.len() {
            let mut damaged = body.0.clone();
            damaged[place] ^= 0x10;
            assert!(!Body(damaged).json().is_ok_and(|json| json != body.json().unwrap()), "byte {place}");
        }
        for length in 0..body.0.len() {
            Body(body.0[..length].to_vec()).json().unwrap_err();
        }
        // A frame that claims more than any record has.
        let bomb = zstd::bulk::compress(&vec![b'x'; LONGEST as usize + 1], 1).unwrap();
        Body(bomb).json().unwrap_err();
    }
}

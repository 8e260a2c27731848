//! What is stored for one key, and which of two copies wins.
//!
//! All numbers are big-endian:
//!
//! ```text
//!  0         1              9               13             21              29     30
//!  | version | stamp millis | stamp logical | dot minter   | dot counter   | kind | value ...
//!  | u8 = 1  | u64          | u32           | u64          | u64           | u8   |
//! ```
//!
//! Kind 1 is a value, 0 a tombstone, which has no value bytes. Stamp and dot stand in the order in which they
//! are compared, so bytes compare as the records do. A later version keeps these 29 bytes where they
//! are: then a node that does not know it still sees which copy is newer.

use std::cmp::Ordering;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tanodb_actors::protocol::id::{Dot, Stamp};

const VERSION: u8 = 1;
const TOMBSTONE: u8 = 0;
const LIVE: u8 = 1;
/// Bytes up to the end of the dot: what decides which copy wins.
const HEAD_BYTES: usize = 29;
/// Bytes of a record beside its value.
const RECORD_OVERHEAD_BYTES: usize = HEAD_BYTES + 1;

/// What a write left behind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Content {
    /// It was deleted.
    Tombstone,
    /// This value.
    Live(Bytes),
}

/// One write of one key. Compared by stamp, then dot: the higher one is the newer one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Record {
    /// When its coordinator saw it.
    pub stamp: Stamp,
    /// Names the write.
    pub dot: Dot,
    /// What it left.
    pub content: Content,
}

/// Why stored bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Shorter than the shortest record.
    #[error("{0} bytes are too few for a record")]
    TooShort(usize),
    /// Written by another version of this program.
    #[error("a record of version {0}, known is {VERSION}")]
    OtherVersion(u8),
    /// Neither a value nor a tombstone.
    #[error("a record of kind {0}")]
    UnknownKind(u8),
    /// A tombstone has no value.
    #[error("a tombstone with {0} bytes of value")]
    TombstoneWithValue(usize),
}

impl Record {
    /// The bytes that are stored.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let (kind, value) = match &self.content {
            Content::Tombstone => (TOMBSTONE, &[][..]),
            Content::Live(value) => (LIVE, &value[..]),
        };
        let mut bytes = BytesMut::with_capacity(RECORD_OVERHEAD_BYTES + value.len());
        bytes.put_u8(VERSION);
        bytes.put_u64(self.stamp.millis);
        bytes.put_u32(self.stamp.logical);
        bytes.put_u64(self.dot.minter);
        bytes.put_u64(self.dot.counter);
        bytes.put_u8(kind);
        bytes.put_slice(value);
        bytes.freeze()
    }

    /// Reads stored bytes. The value shares their memory.
    ///
    /// # Errors
    ///
    /// [`RecordError`] when they are not what [`Record::encode`] writes.
    pub fn decode(mut bytes: Bytes) -> Result<Self, RecordError> {
        if bytes.len() < RECORD_OVERHEAD_BYTES {
            return Err(RecordError::TooShort(bytes.len()));
        }
        let version = bytes.get_u8();
        if version != VERSION {
            return Err(RecordError::OtherVersion(version));
        }
        let stamp = Stamp { millis: bytes.get_u64(), logical: bytes.get_u32() };
        let dot = Dot { minter: bytes.get_u64(), counter: bytes.get_u64() };
        let content = match (bytes.get_u8(), bytes.len()) {
            (LIVE, _) => Content::Live(bytes),
            (TOMBSTONE, 0) => Content::Tombstone,
            (TOMBSTONE, value_bytes) => return Err(RecordError::TombstoneWithValue(value_bytes)),
            (kind, _) => return Err(RecordError::UnknownKind(kind)),
        };
        Ok(Self { stamp, dot, content })
    }
}

/// Stamp and dot of stored bytes, also of a version that is not known. `None` if they are too short.
#[must_use]
pub fn head(stored: &[u8]) -> Option<(Stamp, Dot)> {
    let mut head = stored.get(1..HEAD_BYTES)?;
    let stamp = Stamp { millis: head.get_u64(), logical: head.get_u32() };
    Some((stamp, Dot { minter: head.get_u64(), counter: head.get_u64() }))
}

/// Compares two stored copies of one key; the greater one wins.
///
/// Stamp and dot decide. Equal ones are the same write and have the same bytes; should two coordinators
/// ever mint one dot, the rest of the bytes decides, so that all replicas still end with the same copy.
/// Bytes that cannot have a stamp lose to any that can.
#[must_use]
pub fn compare(one: &[u8], other: &[u8]) -> Ordering {
    (one.get(1..HEAD_BYTES), one).cmp(&(other.get(1..HEAD_BYTES), other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_record() -> impl Strategy<Value = Record> {
        // Few different numbers, so that copies are equal in part.
        let content = prop_oneof![
            Just(Content::Tombstone),
            prop::collection::vec(0u8..3, 0..3).prop_map(|value| Content::Live(value.into())),
        ];
        (0u64..3, 0u32..3, 0u64..3, 0u64..3, content).prop_map(
            |(millis, logical, minter, counter, content)| Record {
                stamp: Stamp { millis, logical },
                dot: Dot { minter, counter },
                content,
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_comes_out_as_it_went_in(record in any_record()) {
            prop_assert_eq!(Record::decode(record.encode()), Ok(record));
        }

        #[test]
        fn bytes_compare_as_the_records_do(one in any_record(), other in any_record()) {
            prop_assert_eq!(compare(&one.encode(), &other.encode()), one.cmp(&other));
            prop_assert_eq!(head(&one.encode()), Some((one.stamp, one.dot)));
        }

        #[test]
        fn any_bytes_are_a_record_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let bytes = Bytes::from(bytes);
            if let Ok(record) = Record::decode(bytes.clone()) {
                prop_assert_eq!(record.encode(), bytes);
            }
        }

        #[test]
        fn comparing_any_bytes_is_an_order(
            copies in prop::collection::vec(prop::collection::vec(0u8..2, 0..40), 3),
        ) {
            let [a, b, c] = &copies[..] else { unreachable!("three were asked for") };
            prop_assert_eq!(compare(a, b), compare(b, a).reverse());
            prop_assert_eq!(compare(a, b) == Ordering::Equal, a == b);
            if compare(a, b).is_le() && compare(b, c).is_le() {
                prop_assert!(compare(a, c).is_le());
            }
        }
    }

    #[test]
    fn the_layout_of_version_one_does_not_move() {
        let record = Record {
            stamp: Stamp { millis: 0x0102_0304_0506_0708, logical: 0x090a_0b0c },
            dot: Dot { minter: 0x0d0e_0f10_1112_1314, counter: 0x1516_1718_191a_1b1c },
            content: Content::Live(Bytes::from_static(b"v")),
        };
        let mut expected: Vec<u8> = (0..=0x1c).collect();
        expected[0] = 1;
        expected.extend([1, b'v']);
        assert_eq!(record.encode(), expected);
    }

    #[test]
    fn a_newer_copy_of_a_later_version_wins_over_an_older_one_of_this() {
        let record = |millis| Record {
            stamp: Stamp { millis, logical: 0 },
            dot: Dot { minter: 1, counter: 1 },
            content: Content::Tombstone,
        };
        let mut later = record(2).encode().to_vec();
        later[0] = 9;
        assert_eq!(Record::decode(later.clone().into()), Err(RecordError::OtherVersion(9)));
        assert_eq!(compare(&later, &record(1).encode()), Ordering::Greater);
        assert_eq!(compare(&later, &record(3).encode()), Ordering::Less);
        assert_eq!(compare(b"\x01short", &record(0).encode()), Ordering::Less);
    }

    #[test]
    fn damage_is_named() {
        let tombstone = |kind, value: &[u8]| {
            let mut bytes = vec![0; HEAD_BYTES];
            bytes[0] = VERSION;
            bytes.push(kind);
            bytes.extend_from_slice(value);
            Record::decode(bytes.into())
        };
        assert_eq!(tombstone(0, b"xy"), Err(RecordError::TombstoneWithValue(2)));
        assert_eq!(tombstone(7, b""), Err(RecordError::UnknownKind(7)));
        assert_eq!(Record::decode(Bytes::from_static(b"x")), Err(RecordError::TooShort(1)));
    }
}

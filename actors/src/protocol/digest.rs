//! The order of items, and the sums that prove two sets of items equal.
//!
//! Every node puts the items of a vnode in one order: by [`KeyOrder`], a hash of the key, then by the key.
//! The top ten bits of the hash name one of [`BUCKETS`] buckets, so a bucket is one contiguous range of that
//! order. A [`Digest`] keeps one sum per bucket and one over all; adding or removing an item changes two
//! numbers. Two nodes whose digests are equal hold the same items; where they differ, the buckets tell
//! which ranges to send again.
//!
//! The sums find damage and mistakes. They do not withstand someone who chooses keys and values to collide.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed, xxh3_128};

/// Buckets of a [`Digest`]. At a million items a bucket is about 1,000 of them, one message's worth.
pub const BUCKETS: u16 = 1024;

/// Bits of a [`KeyOrder`] below those that name the bucket.
const ORDER_BITS_IN_BUCKET: u32 = 54;

/// Keeps the order of items apart from any other use of the hash. Part of the format: it never changes.
const KEY_ORDER_SEED: u64 = 0x7461_6e6f_6f72_6465;

/// Items up to this many bytes are hashed in one piece, which is several times faster than in three.
const ITEM_BYTES_IN_ONE_PIECE: usize = 512;

/// Where a key stands among all keys: its xxh3-64 hash. Keys with equal hashes are ordered by their bytes.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct KeyOrder(pub u64);

impl KeyOrder {
    /// The bucket this place belongs to.
    #[must_use]
    pub fn bucket(self) -> Bucket {
        Bucket((self.0 >> ORDER_BITS_IN_BUCKET) as u16)
    }
}

/// The order of `key`, the same on every node and in every release.
#[must_use]
pub fn item_order(key: &[u8]) -> KeyOrder {
    KeyOrder(xxh3_64_with_seed(key, KEY_ORDER_SEED))
}

/// A place in the order of items.
///
/// No item has an empty key, so a position with an empty key lies before all items of its order: this is
/// how a range ends at the edge of a bucket.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemPosition {
    /// The key's hash.
    pub order: KeyOrder,
    /// The key.
    pub key: Bytes,
}

impl ItemPosition {
    /// Where the item under `key` stands.
    #[must_use]
    pub fn of(key: Bytes) -> Self {
        Self { order: item_order(&key), key }
    }
}

/// A part of the order: what stands above `after`, up to and including `until`.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemRange {
    /// The range starts behind this position; without one, at the first item.
    pub after: Option<ItemPosition>,
    /// The range ends with this position; without one, with the last item.
    pub until: Option<ItemPosition>,
}

impl ItemRange {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Everything behind `position`.
    #[must_use]
    pub fn behind(position: ItemPosition) -> Self {
        Self { after: Some(position), until: None }
    }

    /// Whether an item with this order and key belongs to the range.
    #[must_use]
    pub fn contains(&self, order: KeyOrder, key: &[u8]) -> bool {
        let place = (order, key);
        let above = self.after.as_ref().is_none_or(|after| (after.order, &*after.key) < place);
        above && self.until.as_ref().is_none_or(|until| place <= (until.order, &*until.key))
    }
}

/// One of the [`BUCKETS`] equal parts of the order, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Bucket(u16);

impl Bucket {
    /// Its number, below [`BUCKETS`].
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    /// All items of the bucket and no others.
    #[must_use]
    pub fn range(self) -> ItemRange {
        let edge = |number: u16| ItemPosition {
            order: KeyOrder(u64::from(number) << ORDER_BITS_IN_BUCKET),
            key: Bytes::new(),
        };
        ItemRange {
            after: (self.0 > 0).then(|| edge(self.0)),
            until: (self.0 + 1 < BUCKETS).then(|| edge(self.0 + 1)),
        }
    }
}

impl TryFrom<u16> for Bucket {
    type Error = DigestError;

    fn try_from(number: u16) -> Result<Self, DigestError> {
        if number < BUCKETS { Ok(Self(number)) } else { Err(DigestError::NoBucket { number }) }
    }
}

impl From<Bucket> for u16 {
    fn from(bucket: Bucket) -> Self {
        bucket.0
    }
}

/// The hash of one item: xxh3-128 of the item as it lies in a page, that is of key length and value
/// length (u32, big-endian), key and stored bytes in a row.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ItemHash(pub u128);

impl ItemHash {
    /// The hash of `value` stored under `key`.
    #[must_use]
    pub fn of(key: &[u8], value: &[u8]) -> Self {
        let lengths = ((key.len() as u64) << 32 | value.len() as u64).to_be_bytes();
        let mut piece = [0; ITEM_BYTES_IN_ONE_PIECE];
        let joined = piece.split_first_chunk_mut::<8>().and_then(|(head, rest)| {
            let (key_place, rest) = rest.split_at_mut_checked(key.len())?;
            let (value_place, _) = rest.split_at_mut_checked(value.len())?;
            *head = lengths;
            key_place.copy_from_slice(key);
            value_place.copy_from_slice(value);
            Some(lengths.len() + key.len() + value.len())
        });
        if let Some(whole) = joined.and_then(|bytes| piece.get(..bytes)) {
            return Self::of_encoded(whole);
        }
        let mut hasher = Xxh3::new();
        hasher.update(&lengths);
        hasher.update(key);
        hasher.update(value);
        Self(hasher.digest128())
    }

    /// The hash of an item that is already in the form it has in a page. Equal to [`Self::of`], and faster.
    #[must_use]
    pub fn of_encoded(item: &[u8]) -> Self {
        Self(xxh3_128(item))
    }
}

/// What two nodes compare first: 40 bytes that are equal if, and practically only if, the items are.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Summary {
    /// The sum of all item hashes, modulo 2^128.
    pub root: u128,
    /// How many items.
    pub count: u64,
    /// Bytes of all keys and stored values.
    pub bytes: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} items, {} bytes, {:032x}", self.count, self.bytes, self.root)
    }
}

/// Why something from the wire is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// Neither no sums nor [`BUCKETS`] of them. Nothing was compared.
    #[error("a digest has 0 or {BUCKETS} sums of 16 bytes, this one has {bytes} bytes")]
    WrongLength {
        /// Bytes of all sums.
        bytes: usize,
    },
    /// No digest has such a bucket.
    #[error("bucket {number} is not below {BUCKETS}")]
    NoBucket {
        /// The number that was given.
        number: u16,
    },
}

/// The sums over a set of items. Adding and removing take the same time however many items there are.
///
/// An empty digest has no memory of its own; from the first item on it has 16 KiB.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "DigestParts", into = "DigestParts")]
pub struct Digest {
    /// One sum per bucket, or nothing at all while every sum is zero.
    sums: Vec<u128>,
    summary: Summary,
}

impl Digest {
    /// Adds an item: its order, its hash, and the bytes of its key and value.
    pub fn add(&mut self, order: KeyOrder, hash: ItemHash, bytes: u64) {
        if self.sums.is_empty() {
            self.sums = vec![0; usize::from(BUCKETS)];
        }
        if let Some(sum) = self.sums.get_mut(usize::from(order.bucket().0)) {
            *sum = sum.wrapping_add(hash.0);
        }
        self.summary.root = self.summary.root.wrapping_add(hash.0);
        self.summary.count += 1;
        self.summary.bytes += bytes;
    }

    /// Takes an item out again. It must have been added with the same three values.
    pub fn remove(&mut self, order: KeyOrder, hash: ItemHash, bytes: u64) {
        debug_assert!(self.summary.count > 0, "an item is removed from an empty digest");
        if let Some(sum) = self.sums.get_mut(usize::from(order.bucket().0)) {
            *sum = sum.wrapping_sub(hash.0);
        }
        self.summary.root = self.summary.root.wrapping_sub(hash.0);
        self.summary.count = self.summary.count.saturating_sub(1);
        self.summary.bytes = self.summary.bytes.saturating_sub(bytes);
        // Equal sets must have equal digests, also the empty set.
        if self.summary.count == 0 && self.sums.iter().all(|sum| *sum == 0) {
            self.sums = Vec::new();
        }
    }

    /// The sum of all item hashes, modulo 2^128.
    #[must_use]
    pub fn root(&self) -> u128 {
        self.summary.root
    }

    /// How many items were added and not removed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.summary.count
    }

    /// Bytes of their keys and values.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.summary.bytes
    }

    /// What two nodes compare first.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// The sum of each bucket, from bucket 0 to the last.
    pub fn bucket_sums(&self) -> impl Iterator<Item = u128> + '_ {
        (0..usize::from(BUCKETS)).map(|bucket| self.sums.get(bucket).copied().unwrap_or(0))
    }

    /// The buckets whose sums differ, in order.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<Bucket> {
        let pairs = self.bucket_sums().zip(other.bucket_sums());
        (0..BUCKETS).zip(pairs).filter(|(_, (a, b))| a != b).map(|(n, _)| Bucket(n)).collect()
    }
}

/// A digest as it travels: the sums are one run of bytes. The root is their sum, so it is not sent.
#[derive(Serialize, Deserialize)]
struct DigestParts {
    sums: Bytes,
    count: u64,
    bytes: u64,
}

impl From<Digest> for DigestParts {
    fn from(digest: Digest) -> Self {
        let sums: Vec<u8> = digest.sums.iter().flat_map(|sum| sum.to_be_bytes()).collect();
        Self { sums: sums.into(), count: digest.count(), bytes: digest.bytes() }
    }
}

impl TryFrom<DigestParts> for Digest {
    type Error = DigestError;

    fn try_from(parts: DigestParts) -> Result<Self, DigestError> {
        let (chunks, rest) = parts.sums.as_chunks::<16>();
        let expected = chunks.is_empty() || chunks.len() == usize::from(BUCKETS);
        if !expected || !rest.is_empty() {
            return Err(DigestError::WrongLength { bytes: parts.sums.len() });
        }
        let mut sums: Vec<u128> = chunks.iter().map(|sum| u128::from_be_bytes(*sum)).collect();
        let root = sums.iter().fold(0, |root: u128, sum| root.wrapping_add(*sum));
        if parts.count == 0 && sums.iter().all(|sum| *sum == 0) {
            sums = Vec::new();
        }
        Ok(Self { sums, summary: Summary { root, count: parts.count, bytes: parts.bytes } })
    }
}

#[cfg(test)]
mod tests;

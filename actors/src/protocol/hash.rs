//! The circle of 160-bit hashes and how it is cut into partitions.
//!
//! Owns the arithmetic between a key, its hash, a partition's number and a partition's index. Who
//! owns a partition stands in [`super::ring`], which partitions serve a key in
//! [`super::preference`].
//!
//! Source: `chash` and `riak_core_util:chash_key` of `riak_core`. For a power of two every number
//! here agrees with `riak_core`'s to the bit. Ring sizes of three times a power of two are ours:
//! there 2^160 does not divide evenly, and the hashes left over belong to partition 0, whose range
//! is longer by less than one part in 2^140.

use std::fmt;
use std::str::FromStr;

use ethnum::U256;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use super::id::Partition;

/// Fewest partitions of a ring. Below it no cluster of some nodes can be balanced.
pub const RING_SIZE_MIN: u32 = 8;

/// Most partitions of a ring. An owner is stored in 16 bits, and a ring is sent whole.
pub const RING_SIZE_MAX: u32 = 65_536;

/// Bytes of a hash: SHA-1 gives 160 bits.
pub const RING_HASH_BYTES: usize = 20;

/// Hashes on the circle: 2^160.
const CIRCLE: U256 = U256::from_words(1 << 32, 0);

/// Why a number is not a ring size. Nothing was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingSizeError {
    /// Less than [`RING_SIZE_MIN`].
    #[error("a ring of {size} partitions is too small: the smallest has {RING_SIZE_MIN}")]
    TooSmall {
        /// What was asked for.
        size: u32,
    },
    /// More than [`RING_SIZE_MAX`].
    #[error("a ring of {size} partitions is too large: the largest has {RING_SIZE_MAX}")]
    TooLarge {
        /// What was asked for.
        size: u32,
    },
    /// In range, but neither a power of two nor three times one.
    #[error(
        "a ring cannot have {size} partitions, only a power of two or three times one: \
         the nearest are {below} and {above}"
    )]
    Between {
        /// What was asked for.
        size: u32,
        /// The largest legal size below it.
        below: u32,
        /// The smallest legal size above it.
        above: u32,
    },
}

/// How many partitions a ring has: a power of two, or three times one, from [`RING_SIZE_MIN`] to
/// [`RING_SIZE_MAX`].
///
/// Multiples of three exist because a ring of a power of two cannot give every key three distinct
/// nodes when the cluster has exactly three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct RingSize(u32);

impl Default for RingSize {
    /// 64 partitions, as `riak_core` has: room for some ten nodes.
    fn default() -> Self {
        Self(64)
    }
}

impl RingSize {
    /// Checks a size.
    ///
    /// # Errors
    ///
    /// [`RingSizeError`] names the nearest legal sizes.
    pub fn new(size: u32) -> Result<Self, RingSizeError> {
        if size < RING_SIZE_MIN {
            return Err(RingSizeError::TooSmall { size });
        }
        if size > RING_SIZE_MAX {
            return Err(RingSizeError::TooLarge { size });
        }
        let odd_part = size >> size.trailing_zeros();
        if odd_part == 1 || odd_part == 3 {
            return Ok(Self(size));
        }
        let power = 1 << size.ilog2();
        let three_halves = power / 2 * 3;
        let (below, above) =
            if size < three_halves { (power, three_halves) } else { (three_halves, power * 2) };
        Err(RingSizeError::Between { size, below, above })
    }

    /// How many partitions there are.
    #[must_use]
    pub fn count(self) -> u32 {
        self.0
    }

    /// Whether the ring has this partition. What came from the network is asked this first.
    #[must_use]
    pub fn contains(self, partition: Partition) -> bool {
        partition.0 < self.0
    }

    /// The partition's index, the number people see: its place on the circle, and the end of its
    /// range.
    ///
    /// A number beyond the ring is taken modulo its size, here and in [`Self::next`] and
    /// [`Self::walk`].
    #[must_use]
    pub fn index_of(self, partition: Partition) -> RingHash {
        RingHash::from_number(U256::from(partition.0 % self.0) * self.increment())
    }

    /// The partition with exactly this index, or `None` when the hash lies between two.
    #[must_use]
    pub fn partition_at(self, index: RingHash) -> Option<Partition> {
        let (quotient, remainder) = index.to_number().div_rem_euclid(self.increment());
        // With three times a power of two the leftover hashes give the quotient Q or a remainder.
        (remainder == 0 && quotient < U256::from(self.0)).then(|| Partition(quotient.as_u32()))
    }

    /// The first partition that serves a hash. Partition P serves the hashes from P's predecessor's
    /// index up to, not including, its own; so an index itself belongs to the next partition.
    #[must_use]
    pub fn partition_of(self, hash: RingHash) -> Partition {
        let slice = (hash.to_number() / self.increment()).min(U256::from(self.0 - 1)).as_u32();
        self.next(Partition(slice))
    }

    /// The partition after this one, clockwise.
    #[must_use]
    pub fn next(self, partition: Partition) -> Partition {
        Partition((partition.0 % self.0 + 1) % self.0)
    }

    /// All partitions, clockwise, beginning with `first`.
    pub fn walk(self, first: Partition) -> impl Iterator<Item = Partition> + Clone {
        let first = first.0 % self.0;
        (first..self.0).chain(0..first).map(Partition)
    }

    /// All partitions in the order of their numbers.
    pub fn partitions(self) -> impl Iterator<Item = Partition> + Clone {
        (0..self.0).map(Partition)
    }

    /// Hashes in one partition's range: 2^160 div Q.
    fn increment(self) -> U256 {
        CIRCLE / U256::from(self.0)
    }
}

impl TryFrom<u32> for RingSize {
    type Error = RingSizeError;

    fn try_from(size: u32) -> Result<Self, RingSizeError> {
        Self::new(size)
    }
}

impl From<RingSize> for u32 {
    fn from(size: RingSize) -> Self {
        size.0
    }
}

impl fmt::Display for RingSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Why a text is not a place on the circle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingHashError {
    /// Not a decimal number.
    #[error("'{0}' is not a partition index: write it in decimal digits")]
    NotDecimal(String),
    /// 2^160 or more.
    #[error("{0} is beyond the ring: indices are below 2^160")]
    BeyondTheCircle(String),
}

/// A place on the circle: the hash of a key, or the index of a partition. Big-endian, so that byte
/// order is numeric order. Written in decimal, as `riak_core` does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RingHash(#[serde(with = "serde_bytes")] pub [u8; RING_HASH_BYTES]);

impl RingHash {
    fn to_number(self) -> U256 {
        let mut wide = [0; 32];
        for (place, byte) in wide.iter_mut().skip(32 - RING_HASH_BYTES).zip(self.0) {
            *place = byte;
        }
        U256::from_be_bytes(wide)
    }

    /// The lower 160 bits of `number`.
    fn from_number(number: U256) -> Self {
        let mut bytes = [0; RING_HASH_BYTES];
        let wide = number.to_be_bytes();
        for (place, byte) in bytes.iter_mut().zip(wide.into_iter().skip(32 - RING_HASH_BYTES)) {
            *place = byte;
        }
        Self(bytes)
    }
}

impl fmt::Display for RingHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_number(), f)
    }
}

impl fmt::Debug for RingHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RingHash {
    type Err = RingHashError;

    fn from_str(text: &str) -> Result<Self, RingHashError> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(RingHashError::NotDecimal(text.to_owned()));
        }
        match text.parse::<U256>() {
            Ok(number) if number < CIRCLE => Ok(Self::from_number(number)),
            // Digits only, so what fails to parse is too large for 256 bits.
            Ok(_) | Err(_) => Err(RingHashError::BeyondTheCircle(text.to_owned())),
        }
    }
}

/// The place of a key on the circle: SHA-1 over the Erlang external form of `{Bucket, Key}`.
///
/// That form is 131, 104, 2, and for each part 109, its length as 32 bits big-endian, and its
/// bytes. A part of 4 GiB or more has no such form; its length is written as 2^32 - 1 then, which
/// still is a hash.
///
/// Source: `riak_core_util:chash_std_keyfun` of `riak_core`, and "External Term Format" of
/// Erlang/OTP.
#[must_use]
pub fn key_hash(bucket: &[u8], key: &[u8]) -> RingHash {
    let mut hasher = Sha1::new_with_prefix([131, 104, 2]);
    for part in [bucket, key] {
        hasher.update([109]);
        hasher.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        hasher.update(part);
    }
    RingHash(hasher.finalize().into())
}

#[cfg(test)]
mod tests;

//! What clients ask of the key/value store, and what they are told.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tanodb_actors::protocol::hash::{RingHash, key_hash};

use super::item_key::{LimitError, VALUE_BYTES_MAX, item_key};
use super::record::Record;

/// One command. Bucket and key have at least one byte each, and at most [`super::NAME_BYTES_MAX`] together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvCommand {
    /// Stores a value.
    Put {
        /// The bucket.
        bucket: Bytes,
        /// The key.
        key: Bytes,
        /// At most [`super::VALUE_BYTES_MAX`] bytes.
        value: Bytes,
    },
    /// Reads what is stored.
    Get {
        /// The bucket.
        bucket: Bytes,
        /// The key.
        key: Bytes,
    },
    /// Stores a tombstone, whether something is there or not.
    Delete {
        /// The bucket.
        bucket: Bytes,
        /// The key.
        key: Bytes,
    },
}

impl KvCommand {
    /// Bucket and key.
    #[must_use]
    pub fn name(&self) -> (&Bytes, &Bytes) {
        match self {
            Self::Put { bucket, key, .. }
            | Self::Get { bucket, key }
            | Self::Delete { bucket, key } => (bucket, key),
        }
    }

    /// The item key the command is about, if the command keeps the limits.
    ///
    /// # Errors
    ///
    /// [`LimitError`] names the limit.
    pub fn item_key(&self) -> Result<Vec<u8>, LimitError> {
        match self {
            Self::Put { value, .. } if value.len() > VALUE_BYTES_MAX => {
                Err(LimitError::ValueTooLong { bytes: value.len() })
            }
            Self::Put { bucket, key, .. }
            | Self::Get { bucket, key }
            | Self::Delete { bucket, key } => item_key(bucket, key),
        }
    }

    /// Where on the ring the command belongs.
    #[must_use]
    pub fn ring_hash(&self) -> RingHash {
        let (bucket, key) = self.name();
        key_hash(bucket, key)
    }
}

/// A replica's reply, and that of a quorum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvReply {
    /// To a put: it is stored.
    Stored,
    /// To a delete: the tombstone is stored.
    Deleted {
        /// Whether a value was there.
        existed: bool,
    },
    /// To a get: the newest write that is known, which may be a tombstone.
    Found(Record),
    /// To a get: no write is known.
    Nothing,
    /// The command breaks a limit. Nothing was stored.
    Illegal {
        /// Which limit.
        reason: String,
    },
    /// What is stored cannot be read. It stays as it is.
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
}

impl KvReply {
    /// Whether it tells what is stored, rather than that something was.
    #[must_use]
    pub fn is_read(&self) -> bool {
        match self {
            Self::Found(_) | Self::Nothing | Self::Unreadable { .. } => true,
            Self::Stored | Self::Deleted { .. } | Self::Illegal { .. } => false,
        }
    }

    /// One reply of those of a quorum.
    ///
    /// A get answers with the newest record. One replica that cannot read its copy spoils the answer: its copy
    /// may have been the newest.
    #[must_use]
    pub fn combine(replies: Vec<Self>) -> Option<Self> {
        replies.into_iter().reduce(|one, other| match (one, other) {
            (trouble @ (Self::Illegal { .. } | Self::Unreadable { .. }), _)
            | (_, trouble @ (Self::Illegal { .. } | Self::Unreadable { .. })) => trouble,
            (Self::Found(one), Self::Found(other)) => Self::Found(one.max(other)),
            (Self::Deleted { existed: one }, Self::Deleted { existed: other }) => {
                Self::Deleted { existed: one || other }
            }
            (Self::Found(found), _) | (_, Self::Found(found)) => Self::Found(found),
            (first @ (Self::Stored | Self::Deleted { .. } | Self::Nothing), _) => first,
        })
    }
}

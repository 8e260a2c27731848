//! Where a node keeps its control records: small named byte strings, each replaced as a whole.
//!
//! Owns: the promise ([`Disk`]), the rules for names and sizes. Back ends: [`FolderDisk`] for real
//! nodes, [`MemoryDisk`] for tests and examples; the simulator brings one that loses what was not
//! synced. What the bytes mean and whether they are whole is [`super::records`]' business; a vnode's
//! items are kept elsewhere.

mod files;
mod folder;
mod memory;
#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::sync::Arc;

pub use folder::{FolderDisk, OpenError};
pub use memory::MemoryDisk;

use super::transport::BoxFuture;

/// Longest record name, in bytes. With its suffix it fits the 255 bytes of common file systems.
pub const RECORD_NAME_BYTES_MAX: usize = 200;

/// Largest record, in bytes. A ring of 65,536 partitions with all its takeovers needs a tenth of it.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

/// Which of a record's two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// What was written last.
    Newest,
    /// What stood before that.
    Previous,
}

/// Keeps records over a restart.
///
/// Record names are 1 to [`RECORD_NAME_BYTES_MAX`] characters of `a-z`, `0-9`, `-`, `_` and `@`.
/// Requests have their effect in the order of the calls. The call makes the request, the future only
/// waits for the answer: dropping it takes nothing back.
pub trait Disk: Send + Sync {
    /// Replaces a record. When it returns, the new value survives a power cut; whatever happens before
    /// that, the old or the new value stands, whole. The old one becomes [`Version::Previous`].
    ///
    /// # Errors
    ///
    /// [`DiskError`] says which value stands. After [`DiskError::Uncertain`] every request for this
    /// record is refused until the disk is opened again: a failed sync may have thrown the bytes away
    /// and look well the next time.
    fn write(&self, record: &str, bytes: Vec<u8>) -> BoxFuture<Result<(), DiskError>>;

    /// The bytes of one version, or `None` when there is none. They may have rotted.
    ///
    /// # Errors
    ///
    /// [`DiskError`]; nothing was changed.
    fn read(&self, record: &str, version: Version)
    -> BoxFuture<Result<Option<Vec<u8>>, DiskError>>;

    /// Removes both versions of a record, and what was set aside. Nothing to remove is no error. A
    /// power cut meanwhile never leaves the previous version without the newest.
    ///
    /// # Errors
    ///
    /// As for [`Disk::write`].
    fn remove(&self, record: &str) -> BoxFuture<Result<(), DiskError>>;

    /// Puts a newest version that cannot be read out of the way, durably. It is kept for the operator;
    /// the previous version stays the previous one, and outlives the next write.
    ///
    /// # Errors
    ///
    /// As for [`Disk::write`].
    fn set_aside(&self, record: &str) -> BoxFuture<Result<(), DiskError>>;

    /// The names of all records that begin with `prefix` and have at least one version, in order.
    ///
    /// # Errors
    ///
    /// [`DiskError`]; nothing was changed.
    fn list(&self, prefix: &str) -> BoxFuture<Result<Vec<String>, DiskError>>;

    /// Where an operator finds this version: a file's path, in a folder.
    fn place_of(&self, record: &str, version: Version) -> String;
}

/// Why a request to the disk failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The caller chose a name that not every file system could keep. Nothing was done.
    #[error(
        "'{0}' is no record name: 1 to {RECORD_NAME_BYTES_MAX} characters of a-z, 0-9, '-', '_', '@'"
    )]
    BadName(String),
    /// Longer than [`RECORD_BYTES_MAX`]. Nothing was done.
    #[error("record '{record}' has {bytes} bytes, at most {RECORD_BYTES_MAX} are kept")]
    TooLarge {
        /// The record.
        record: String,
        /// Its size.
        bytes: u64,
    },
    /// The old value stands. The caller may try again, for example when the disk has room.
    #[error("record '{record}' was not written, its old value stands: {why}")]
    NotWritten {
        /// The record.
        record: String,
        /// What the system said.
        why: Arc<io::Error>,
    },
    /// The old or the new value stands, nobody knows which, and it may change with a power cut.
    #[error(
        "record '{record}' may or may not have been changed ({step} failed: {why}); \
         it is not used again until the node is restarted"
    )]
    Uncertain {
        /// The record.
        record: String,
        /// What was being done.
        step: &'static str,
        /// What the system said.
        why: Arc<io::Error>,
    },
    /// An earlier change of this record ended in [`DiskError::Uncertain`]. Nothing was done.
    #[error("record '{0}' is not used since a change of it failed; restart the node")]
    Distrusted(String),
    /// It cannot be read now. Nothing was changed.
    #[error("{place} cannot be read: {why}")]
    Unreadable {
        /// The file or folder.
        place: String,
        /// What the system said.
        why: Arc<io::Error>,
    },
    /// Too many requests wait already. Nothing was done; the caller may try again.
    #[error("the disk is behind with {waiting} requests")]
    Busy {
        /// Requests that wait.
        waiting: usize,
    },
    /// The disk was closed, or its thread has died. The request had no effect if it was made after the
    /// close; else nobody knows.
    #[error("the disk is closed")]
    Closed,
}

/// Checks a record's name. For back ends.
///
/// # Errors
///
/// [`DiskError::BadName`].
pub fn check_name(record: &str) -> Result<(), DiskError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || is_mark(byte);
    let fits = (1..=RECORD_NAME_BYTES_MAX).contains(&record.len());
    if fits && record.bytes().all(allowed) {
        Ok(())
    } else {
        Err(DiskError::BadName(record.to_owned()))
    }
}

fn is_mark(byte: u8) -> bool {
    b"-_@".contains(&byte)
}

/// Checks a record's name and size before it is written. For back ends.
///
/// # Errors
///
/// [`DiskError::BadName`] or [`DiskError::TooLarge`].
pub fn check_write(record: &str, bytes: &[u8]) -> Result<(), DiskError> {
    check_name(record)?;
    if bytes.len() > RECORD_BYTES_MAX {
        let bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        return Err(DiskError::TooLarge { record: record.to_owned(), bytes });
    }
    Ok(())
}

//! Control records: what a node must not forget, each in one checked file.
//!
//! Owns: the format around a value, and what happens when a file is damaged. The value is MessagePack
//! with names, so that fields can be added. Big-endian, in this order:
//!
//! ```text
//! "TanR" | crc32 of all that follows | format u16 | name length u16 | body length u32 | name | body
//! ```
//!
//! The name is inside, so that a file copied over another is noticed. A damaged file is never believed
//! in part: the version before it is used, loudly, or nothing.

#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::disk::{Disk, DiskError, Version};
use super::encoding::encoded;
use super::transport::BoxFuture;

const MAGIC: &[u8; 4] = b"TanR";
/// Format 1: as in the module's description.
const FORMAT: u16 = 1;
const HEADER_BYTES: usize = 16;

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded<T> {
    /// The value.
    pub value: T,
    /// What was wrong with the newest file, if this value comes from the one before. Then something
    /// that was acknowledged as durable is forgotten: who gave promises by this record must not act as
    /// if they were kept. Said again at every load until the record is written anew.
    pub fell_back: Option<Damage>,
}

/// How a file is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Damage {
    /// There is no such file.
    Missing,
    /// The file has no bytes.
    Empty,
    /// The file ends too early.
    Torn {
        /// Its length in bytes.
        bytes: usize,
        /// The length its header speaks of, or that of the header itself.
        expected: usize,
    },
    /// Bytes are not what was written.
    Rotten,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Missing => f.write_str("missing"),
            Damage::Empty => f.write_str("empty"),
            Damage::Torn { bytes, expected } => write!(f, "torn: {bytes} of {expected} bytes"),
            Damage::Rotten => f.write_str("rotten: its checksum is wrong"),
        }
    }
}

/// Why a file that is whole is not what was asked for. Nobody falls back from that: the older file
/// would forget what this one may rightly say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    /// It is the record of this name.
    Name(String),
    /// A newer program wrote it, in this format.
    Format(u16),
    /// The value has another shape.
    Shape(String),
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Foreign::Name(name) => write!(f, "it is the record '{name}'"),
            Foreign::Format(found) => write!(f, "its format is {found}, known is {FORMAT}"),
            Foreign::Shape(why) => write!(f, "its value has another shape: {why}"),
        }
    }
}

/// Why a record was not read. No file was changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The disk did not answer as it should.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Neither version is whole.
    #[error(
        "record '{record}' cannot be used: {newest_place} is {newest}; {previous_place} is {previous}; \
         bring one of them back from a backup, or move both away to start as if the record had never been written"
    )]
    Damaged {
        /// The record.
        record: String,
        /// What is wrong with the newest version.
        newest: Damage,
        /// Where it is.
        newest_place: String,
        /// What is wrong with the version before.
        previous: Damage,
        /// Where it is.
        previous_place: String,
    },
    /// A version is whole, but not for this program.
    #[error(
        "{place} is whole, but {why}; start the version of the program that wrote it, \
         or bring the right file back"
    )]
    Foreign {
        /// Where it is.
        place: String,
        /// What it is.
        why: Foreign,
    },
}

/// Why a record was not saved.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The disk failed; its error says which value stands.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The value cannot be written as MessagePack. The old value stands.
    #[error("record '{record}' was not written, its value cannot be encoded: {why}")]
    NotEncoded {
        /// The record.
        record: String,
        /// What the encoder said.
        why: String,
    },
}

/// Saves a value, durable when the future ends. As with [`Disk::write`], the call makes the request.
///
/// # Errors
///
/// [`SaveError`] says which value stands.
pub fn save<T: Serialize>(
    disk: &dyn Disk,
    record: &str,
    value: &T,
) -> BoxFuture<Result<(), SaveError>> {
    match encode(record, value) {
        Ok(bytes) => {
            let written = disk.write(record, bytes);
            Box::pin(async move { Ok(written.await?) })
        }
        Err(error) => Box::pin(std::future::ready(Err(error))),
    }
}

/// Loads a value, or `None` when there was never one. A newest file that is torn, empty, rotten or
/// missing is put aside, and the one before is used: see [`Loaded::fell_back`].
///
/// # Errors
///
/// [`LoadError`] names the files and what an operator can do.
pub async fn load<T: DeserializeOwned>(
    disk: &dyn Disk,
    record: &str,
) -> Result<Option<Loaded<T>>, LoadError> {
    let newest = match disk.read(record, Version::Newest).await? {
        Some(bytes) => match decode(record, &bytes) {
            Ok(value) => return Ok(Some(Loaded { value, fell_back: None })),
            Err(fault) => damage(disk, record, Version::Newest, fault)?,
        },
        None => Damage::Missing,
    };
    let previous = match disk.read(record, Version::Previous).await? {
        Some(bytes) => match decode(record, &bytes) {
            Ok(value) => {
                fall_back(disk, record, newest).await?;
                return Ok(Some(Loaded { value, fell_back: Some(newest) }));
            }
            Err(fault) => damage(disk, record, Version::Previous, fault)?,
        },
        None if newest == Damage::Missing => return Ok(None),
        None => Damage::Missing,
    };
    Err(LoadError::Damaged {
        record: record.to_owned(),
        newest,
        newest_place: disk.place_of(record, Version::Newest),
        previous,
        previous_place: disk.place_of(record, Version::Previous),
    })
}

/// Puts the damaged file aside, else the next write would keep it in place of the good one.
async fn fall_back(disk: &dyn Disk, record: &str, newest: Damage) -> Result<(), DiskError> {
    let place = disk.place_of(record, Version::Newest);
    let used = disk.place_of(record, Version::Previous);
    log::error!(record; "{place} is {newest}; {used} is used instead, what was newer is lost");
    match newest {
        Damage::Missing => Ok(()),
        Damage::Empty | Damage::Torn { .. } | Damage::Rotten => disk.set_aside(record).await,
    }
}

enum Fault {
    Damaged(Damage),
    Foreign(Foreign),
}

fn damage(
    disk: &dyn Disk,
    record: &str,
    version: Version,
    fault: Fault,
) -> Result<Damage, LoadError> {
    match fault {
        Fault::Damaged(damage) => Ok(damage),
        Fault::Foreign(why) => {
            Err(LoadError::Foreign { place: disk.place_of(record, version), why })
        }
    }
}

fn encode<T: Serialize>(record: &str, value: &T) -> Result<Vec<u8>, SaveError> {
    let not_encoded = |why: String| SaveError::NotEncoded { record: record.to_owned(), why };
    let body = encoded(value).map_err(|why| not_encoded(why.to_string()))?;
    let name_bytes = u16::try_from(record.len()).map_err(|why| not_encoded(why.to_string()))?;
    let body_bytes = u32::try_from(body.len()).map_err(|why| not_encoded(why.to_string()))?;
    let mut checked = Vec::with_capacity(HEADER_BYTES + record.len() + body.len());
    checked.extend_from_slice(&FORMAT.to_be_bytes());
    checked.extend_from_slice(&name_bytes.to_be_bytes());
    checked.extend_from_slice(&body_bytes.to_be_bytes());
    checked.extend_from_slice(record.as_bytes());
    checked.extend_from_slice(&body);
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&crc32fast::hash(&checked).to_be_bytes());
    bytes.append(&mut checked);
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(record: &str, bytes: &[u8]) -> Result<T, Fault> {
    let (format, name, body) = open(bytes).map_err(Fault::Damaged)?;
    if format != FORMAT {
        return Err(Fault::Foreign(Foreign::Format(format)));
    }
    if name != record.as_bytes() {
        let name = String::from_utf8_lossy(name).into_owned();
        return Err(Fault::Foreign(Foreign::Name(name)));
    }
    rmp_serde::from_slice(body).map_err(|why| Fault::Foreign(Foreign::Shape(why.to_string())))
}

/// Takes a file apart into format, name and body, if every byte is as it was written.
fn open(bytes: &[u8]) -> Result<(u16, &[u8], &[u8]), Damage> {
    if bytes.is_empty() {
        return Err(Damage::Empty);
    }
    let torn = |expected| Damage::Torn { bytes: bytes.len(), expected };
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(torn(HEADER_BYTES));
    };
    let [m0, m1, m2, m3, c0, c1, c2, c3, f0, f1, n0, n1, b0, b1, b2, b3] = *header;
    let name_bytes = usize::from(u16::from_be_bytes([n0, n1]));
    let body_bytes = usize::try_from(u32::from_be_bytes([b0, b1, b2, b3])).unwrap_or(usize::MAX);
    let (_, checked) = bytes.split_at_checked(8).ok_or(torn(HEADER_BYTES))?;
    let whole = crc32fast::hash(checked) == u32::from_be_bytes([c0, c1, c2, c3]);
    let expected = name_bytes.saturating_add(body_bytes);
    if [m0, m1, m2, m3] == *MAGIC && rest.len() < expected {
        return Err(torn(expected.saturating_add(HEADER_BYTES)));
    }
    match rest.split_at_checked(name_bytes) {
        Some((name, body)) if whole && [m0, m1, m2, m3] == *MAGIC && body.len() == body_bytes => {
            Ok((u16::from_be_bytes([f0, f1]), name, body))
        }
        Some(_) | None => Err(Damage::Rotten),
    }
}

//! How a run of bytes rides behind a message without being copied in and out of it.
//!
//! A `Bytes` field in a MessagePack map is written as `bin` and read with one copy (a test here holds the
//! serializer to it), which is right for a key or a value. For a page it is one copy too many: such a body is two
//! MessagePack values in a row, a small map (the header) and one `bin` (the blob), and [`split_bin`] takes
//! the blob as a slice of the body. A `Vec<u8>` field would be written as a sequence of numbers: never use one.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame::FRAME_BYTES_MAX;

const BIN_8: u8 = 0xc4;
const BIN_16: u8 = 0xc5;
const BIN_32: u8 = 0xc6;

/// Bytes before a blob: its marker and a length of four bytes.
const BIN_PREFIX_BYTES: usize = 5;

/// Deepest nesting of a header. A header is a flat map; this keeps a hostile one from filling the stack.
const HEADER_DEPTH_MAX: usize = 32;

/// Why a header and a blob cannot be joined, or a body is not a header and a blob.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BinError {
    /// The header cannot be written as MessagePack. Nothing was written; it is a mistake in its type.
    #[error("a header cannot be written: {0}")]
    Unwritable(#[from] rmp_serde::encode::Error),
    /// The header is none of the expected type. The two nodes run different releases.
    #[error("a header cannot be read: {0}")]
    Unreadable(#[from] rmp_serde::decode::Error),
    /// Behind the header stands no `bin`. The two nodes run different releases.
    #[error("no bytes follow the header")]
    NoBlob,
    /// The blob is not exactly what is left of the body. Nothing of it was used.
    #[error("the blob should have {need} bytes and {have} are there")]
    WrongLength {
        /// What its length field says.
        need: usize,
        /// What is left of the body.
        have: usize,
    },
    /// Header and blob do not fit into a frame. Nothing was written; send less at once.
    #[error("a header and {bytes} bytes do not fit into a frame of {FRAME_BYTES_MAX}")]
    TooLong {
        /// Bytes of the blob.
        bytes: usize,
    },
}

/// The bytes that stand before a blob of `blob_bytes`: the header as a named map, then the start of a `bin`.
///
/// With [`super::frame::encode_parts`] a frame is written as `[prefix, blob]` without joining the two.
///
/// # Errors
///
/// [`BinError::Unwritable`] or [`BinError::TooLong`].
pub fn bin_prefix<H: Serialize>(header: &H, blob_bytes: usize) -> Result<Bytes, BinError> {
    let mut prefix = rmp_serde::to_vec_named(header)?;
    let too_long = BinError::TooLong { bytes: blob_bytes };
    let whole = prefix.len().saturating_add(BIN_PREFIX_BYTES).saturating_add(blob_bytes);
    let length = match u32::try_from(blob_bytes) {
        Ok(length) if whole <= FRAME_BYTES_MAX => length,
        Ok(_) | Err(_) => return Err(too_long),
    };
    prefix.put_u8(BIN_32);
    prefix.put_u32(length);
    Ok(prefix.into())
}

/// A body of `header` and one blob, which is all `parts` in a row. Each part is copied once.
///
/// # Errors
///
/// [`BinError::Unwritable`] or [`BinError::TooLong`].
pub fn join_bin<H: Serialize>(header: &H, parts: &[&[u8]]) -> Result<Bytes, BinError> {
    let blob_bytes = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
    let prefix = bin_prefix(header, blob_bytes)?;
    let mut body = BytesMut::with_capacity(prefix.len() + blob_bytes);
    body.extend_from_slice(&prefix);
    for part in parts {
        body.extend_from_slice(part);
    }
    Ok(body.freeze())
}

/// The header and the blob of a body. The blob is a slice of `body`: it is not copied, and keeps it alive.
///
/// # Errors
///
/// [`BinError`] says whether the header, the blob or the length is wrong.
pub fn split_bin<H: DeserializeOwned>(body: &Bytes) -> Result<(H, Bytes), BinError> {
    let mut behind_header: &[u8] = body;
    let mut reader = rmp_serde::Deserializer::new(&mut behind_header);
    reader.set_max_depth(HEADER_DEPTH_MAX);
    let header = H::deserialize(&mut reader)?;
    let (length, blob) = bin_length(behind_header).ok_or(BinError::NoBlob)?;
    if length != blob.len() {
        return Err(BinError::WrongLength { need: length, have: blob.len() });
    }
    Ok((header, body.slice(body.len() - length..)))
}

/// The length of the `bin` that `bytes` start with, and what follows its length field.
fn bin_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (marker, rest) = bytes.split_first()?;
    match *marker {
        BIN_8 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest)),
        BIN_16 => rest
            .split_first_chunk::<2>()
            .map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest)),
        BIN_32 => rest
            .split_first_chunk::<4>()
            .map(|(length, rest)| (u32::from_be_bytes(*length) as usize, rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Header {
        count: u32,
        last: Option<Bytes>,
    }

    proptest! {
        #[test]
        fn a_header_and_a_blob_come_out_as_they_went_in(
            count in any::<u32>(),
            last in prop::option::of(prop::collection::vec(any::<u8>(), 0..50)),
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4),
        ) {
            let header = Header { count, last: last.map(Bytes::from) };
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let body = join_bin(&header, &slices).unwrap();
            let (read, blob) = split_bin::<Header>(&body).unwrap();
            prop_assert_eq!(read, header);
            prop_assert_eq!(&blob[..], &parts.concat()[..]);
        }

        #[test]
        fn a_cut_body_is_refused(blob in prop::collection::vec(any::<u8>(), 0..50), cut in any::<prop::sample::Index>()) {
            let header = Header { count: 1, last: Some(Bytes::from_static(b"key")) };
            let body = join_bin(&header, &[&blob]).unwrap();
            prop_assert!(split_bin::<Header>(&body.slice(..cut.index(body.len()))).is_err());
        }

        #[test]
        fn garbage_is_refused_or_read_without_a_panic(garbage in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = split_bin::<Header>(&garbage.into());
        }
    }

    #[test]
    fn a_blob_is_a_slice_of_the_body() {
        let body = join_bin(&Header { count: 1, last: None }, &[&[7; 5000]]).unwrap();
        let (_, blob) = split_bin::<Header>(&body).unwrap();
        assert_eq!(blob.as_ptr(), body[body.len() - 5000..].as_ptr());
    }

    #[test]
    fn a_body_is_two_plain_messagepack_values() {
        let body = join_bin(&Header { count: 1, last: None }, &[b"ab", b"c"]).unwrap();
        let mut rest: &[u8] = &body;
        let header: Header = rmp_serde::from_read(&mut rest).unwrap();
        let blob: Bytes = rmp_serde::from_read(&mut rest).unwrap();
        assert_eq!((header.count, &blob[..], rest), (1, &b"abc"[..], &b""[..]));
    }

    #[test]
    fn bytes_behind_the_blob_are_refused() {
        let body = join_bin(&Header { count: 1, last: None }, &[b"abc"]).unwrap();
        let longer = Bytes::from([&body[..], b"d"].concat());
        let refused = split_bin::<Header>(&longer);
        assert!(matches!(refused, Err(BinError::WrongLength { need: 3, have: 4 })));
    }

    #[test]
    fn a_blob_that_fits_into_no_frame_is_refused() {
        let refused = bin_prefix(&Header { count: 1, last: None }, FRAME_BYTES_MAX);
        assert!(matches!(refused, Err(BinError::TooLong { .. })));
    }

    #[test]
    fn a_bytes_field_is_written_as_bin_under_its_name() {
        let header = Header { count: 1, last: Some(Bytes::from(vec![7; 300])) };
        let written = rmp_serde::to_vec_named(&header).unwrap();
        let expected = [&b"\x82\xa5count\x01\xa4last\xc5\x01\x2c"[..], &[7; 300]].concat();
        assert_eq!(written, expected);
    }
}

//! Bucket and key as one item key: the bucket's length as 32 bits big-endian, the bucket, the key.

use std::fmt::Write;

/// Most bytes a bucket and a key have together. With the length before them they are the 64 KiB an item
/// key may have.
pub const NAME_BYTES_MAX: usize = 64 * 1024 - LENGTH_BYTES;

const LENGTH_BYTES: usize = 4;

/// Longest value, in bytes. Half of the longest command, so that what stands around it always fits.
pub const VALUE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Why a command breaks a limit. Nothing was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// The bucket has no bytes.
    #[error("the bucket is empty")]
    EmptyBucket,
    /// The key has no bytes.
    #[error("the key is empty")]
    EmptyKey,
    /// They are longer than [`NAME_BYTES_MAX`] together.
    #[error("bucket and key have {bytes} bytes together, at most {NAME_BYTES_MAX} are allowed")]
    TooLong {
        /// Their length.
        bytes: usize,
    },
    /// The value is longer than [`VALUE_BYTES_MAX`].
    #[error("the value has {bytes} bytes, at most {VALUE_BYTES_MAX} are allowed")]
    ValueTooLong {
        /// Its length.
        bytes: usize,
    },
}

/// The item key of a bucket and a key.
///
/// # Errors
///
/// [`LimitError`] when one of them is empty or both are too long.
pub fn item_key(bucket: &[u8], key: &[u8]) -> Result<Vec<u8>, LimitError> {
    if bucket.is_empty() {
        return Err(LimitError::EmptyBucket);
    }
    if key.is_empty() {
        return Err(LimitError::EmptyKey);
    }
    let bytes = bucket.len().saturating_add(key.len());
    let bucket_bytes = match u32::try_from(bucket.len()) {
        Ok(bucket_bytes) if bytes <= NAME_BYTES_MAX => bucket_bytes,
        Ok(_) | Err(_) => return Err(LimitError::TooLong { bytes }),
    };
    let mut joined = Vec::with_capacity(LENGTH_BYTES + bytes);
    joined.extend_from_slice(&bucket_bytes.to_be_bytes());
    joined.extend_from_slice(bucket);
    joined.extend_from_slice(key);
    Ok(joined)
}

/// Bucket and key of an item key, or `None` when the bytes are none.
#[must_use]
pub fn split(item_key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = item_key.split_first_chunk::<LENGTH_BYTES>()?;
    let (bucket, key) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    (!bucket.is_empty() && !key.is_empty()).then_some((bucket, key))
}

/// A bucket and a key as an Erlang shell prints them: `{<<"bucket-1">>,<<"key-1">>}`, or the bytes as numbers
/// when they are no plain text.
#[must_use]
pub fn shown(bucket: &[u8], key: &[u8]) -> String {
    let mut text = String::with_capacity(bucket.len() + key.len() + 15);
    text.push('{');
    push_binary(&mut text, bucket);
    text.push(',');
    push_binary(&mut text, key);
    text.push('}');
    text
}

fn push_binary(text: &mut String, bytes: &[u8]) {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    text.push_str("<<");
    if bytes.iter().all(is_plain) {
        text.push('"');
        text.extend(bytes.iter().map(|&byte| char::from(byte)));
        text.push('"');
    } else {
        for (place, byte) in bytes.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            // Writing to a text cannot fail.
            let _ = write!(text, "{comma}{byte}");
        }
    }
    text.push_str(">>");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bucket_and_a_key_come_out_as_they_went_in(
            bucket in prop::collection::vec(any::<u8>(), 1..80),
            key in prop::collection::vec(any::<u8>(), 1..80),
        ) {
            let joined = item_key(&bucket, &key).unwrap();
            prop_assert_eq!(split(&joined), Some((&bucket[..], &key[..])));
        }

        #[test]
        fn any_bytes_can_be_split_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some((bucket, key)) = split(&bytes) {
                prop_assert_eq!(item_key(bucket, key).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn no_two_pairs_share_an_item_key() {
        assert_ne!(item_key(b"ab", b"c"), item_key(b"a", b"bc"));
    }

    #[test]
    fn empty_and_too_long_names_are_refused() {
        assert_eq!(item_key(b"", b"key"), Err(LimitError::EmptyBucket));
        assert_eq!(item_key(b"bucket", b""), Err(LimitError::EmptyKey));
        let longest = vec![b'x'; NAME_BYTES_MAX - 1];
        assert_eq!(item_key(b"b", &longest).unwrap().len(), 64 * 1024);
        let too_long = LimitError::TooLong { bytes: NAME_BYTES_MAX + 1 };
        assert_eq!(item_key(b"bb", &longest), Err(too_long));
    }

    #[test]
    fn a_key_is_shown_as_the_tutorial_shows_it() {
        assert_eq!(shown(b"bucket-1", b"key-1"), r#"{<<"bucket-1">>,<<"key-1">>}"#);
        assert_eq!(shown(b"a\"b", &[0, 255]), "{<<97,34,98>>,<<0,255>>}");
    }
}

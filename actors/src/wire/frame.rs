//! Frames: how one message is told from the next on a byte stream.
//!
//! A frame is a header of [`FRAME_HEADER_BYTES`] and a body. What the body means is told by `kind` and
//! belongs to the messages, not here. All numbers are big-endian:
//!
//! ```text
//!  0        4      5        6      8         16               20                  24
//!  | length | mark | version| kind | id      | head checksum  | frame checksum    | body ...
//!  | u32    | u8   | u8     | u16  | u64     | crc32 of 0..16 | crc32 of 0..20    | `length` bytes
//!                                                              and the body
//! ```
//!
//! The header has a checksum of its own, so that a damaged length is refused at once; with one checksum
//! over everything the reader would first wait for as many bytes as the damaged length asks for.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// Bytes of a frame before its body.
pub const FRAME_HEADER_BYTES: usize = 24;

/// Longest body of any frame, in bytes. A node may accept less, never more.
///
/// Large enough for one item of [`super::page::ITEM_BYTES_MAX`] with everything around it.
pub const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The version of the frame layout. It changes only with this file; what messages mean is agreed in hello.
pub const FRAME_VERSION: u8 = 1;

/// The fifth byte of each frame. No text, HTTP request or TLS record has it there.
const FRAME_MARK: u8 = 0xD7;

const MARK_AT: usize = 4;
const VERSION_AT: usize = 5;
const HEAD_BYTES: usize = 16;

/// One message on the wire, with a body nobody has looked into yet.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Frame {
    /// What the body is. The numbers belong to the messages.
    pub kind: u16,
    /// Ties an answer to its question.
    pub id: u64,
    /// The message.
    pub body: Bytes,
}

impl Frame {
    /// The bytes that go before the body.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLong`] if the body is longer than [`FRAME_BYTES_MAX`].
    pub fn header(&self) -> Result<[u8; FRAME_HEADER_BYTES], FrameError> {
        header_of(self.kind, self.id, &[&self.body])
    }
}

impl fmt::Debug for Frame {
    /// Tells the body's length, not its bytes: a page would fill the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// Why bytes are no frame, or a message becomes none.
///
/// After an error in [`decode`] the place where the next frame starts is not known: close the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The body is longer than may be sent or accepted. Nothing was reserved for it.
    ///
    /// The sender splits the message; a receiver with a lower limit of its own raises it.
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// Bytes of the body.
        length: usize,
        /// Most bytes allowed.
        limit: usize,
    },
    /// The peer speaks another version of the frame layout. Run the same release on both nodes.
    #[error("the peer writes frame version {found}, this node reads version {FRAME_VERSION}")]
    WrongVersion {
        /// The peer's version.
        found: u8,
    },
    /// The bytes changed on the way. Nothing of the frame was used; connect again and repeat the message.
    #[error("a frame's checksum is {computed:08x} where {found:08x} was sent: it was damaged")]
    BadChecksum {
        /// The checksum in the frame.
        found: u32,
        /// The checksum of the bytes that arrived.
        computed: u32,
    },
    /// The peer is no node of this program. Look at the address and the port.
    #[error("the peer does not speak this protocol (byte {found:#04x} where 0xd7 was expected)")]
    NotOurs {
        /// What stood in the place of the mark.
        found: u8,
    },
}

fn header_of(kind: u16, id: u64, parts: &[&[u8]]) -> Result<[u8; FRAME_HEADER_BYTES], FrameError> {
    let length = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
    let too_long = FrameError::TooLong { length, limit: FRAME_BYTES_MAX };
    let length = match u32::try_from(length) {
        Ok(short) if length <= FRAME_BYTES_MAX => short,
        Ok(_) | Err(_) => return Err(too_long),
    };
    let mut header = [0; FRAME_HEADER_BYTES];
    let (length_field, rest) = header.split_at_mut(4);
    length_field.copy_from_slice(&length.to_be_bytes());
    let (marks, rest) = rest.split_at_mut(2);
    marks.copy_from_slice(&[FRAME_MARK, FRAME_VERSION]);
    let (kind_field, rest) = rest.split_at_mut(2);
    kind_field.copy_from_slice(&kind.to_be_bytes());
    let (id_field, _) = rest.split_at_mut(8);
    id_field.copy_from_slice(&id.to_be_bytes());

    let mut checksum = crc32fast::Hasher::new();
    let (head, checksums) = header.split_at_mut(HEAD_BYTES);
    let (head_checksum, frame_checksum) = checksums.split_at_mut(4);
    checksum.update(head);
    head_checksum.copy_from_slice(&checksum.clone().finalize().to_be_bytes());
    checksum.update(head_checksum);
    for part in parts {
        checksum.update(part);
    }
    frame_checksum.copy_from_slice(&checksum.finalize().to_be_bytes());
    Ok(header)
}

/// Appends `frame` to `out`.
///
/// # Errors
///
/// [`FrameError::TooLong`] if the body is longer than [`FRAME_BYTES_MAX`]; `out` is as it was.
pub fn encode(frame: &Frame, out: &mut BytesMut) -> Result<(), FrameError> {
    encode_parts(frame.kind, frame.id, &[&frame.body], out)
}

/// Appends a frame whose body is all `parts` in a row, without joining them first.
///
/// # Errors
///
/// [`FrameError::TooLong`] if they have more than [`FRAME_BYTES_MAX`] together; `out` is as it was.
pub fn encode_parts(
    kind: u16,
    id: u64,
    parts: &[&[u8]],
    out: &mut BytesMut,
) -> Result<(), FrameError> {
    let header = header_of(kind, id, parts)?;
    out.reserve(FRAME_HEADER_BYTES + parts.iter().map(|part| part.len()).sum::<usize>());
    out.extend_from_slice(&header);
    for part in parts {
        out.extend_from_slice(part);
    }
    Ok(())
}

/// Takes the next frame out of `input`, or says with `None` that more bytes are needed.
///
/// The body shares the memory of `input`: nothing is copied, and that memory lives as long as the body.
/// `limit` is the longest body accepted here, in bytes. It is compared before anything is reserved; for a
/// frame that is not complete, room for the rest of it is reserved, which is never more than `limit`.
///
/// # Errors
///
/// [`FrameError`] says what to do. What is left in `input` is then of no use.
pub fn decode(input: &mut BytesMut, limit: usize) -> Result<Option<Frame>, FrameError> {
    check_marks(input)?;
    let Some(header) = input.first_chunk::<FRAME_HEADER_BYTES>() else { return Ok(None) };
    let (head, _) = header.split_at(HEAD_BYTES);
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(head);
    let mut fields: &[u8] = header;
    let length = fields.get_u32() as usize;
    fields.advance(2);
    let kind = fields.get_u16();
    let id = fields.get_u64();
    let head_checksum = fields.get_u32();
    let frame_checksum = fields.get_u32();
    compare(head_checksum, checksum.clone().finalize())?;
    checksum.update(&head_checksum.to_be_bytes());

    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    let missing = (FRAME_HEADER_BYTES + length).saturating_sub(input.len());
    if missing > 0 {
        input.reserve(missing);
        return Ok(None);
    }
    input.advance(FRAME_HEADER_BYTES);
    let body = input.split_to(length).freeze();
    checksum.update(&body);
    compare(frame_checksum, checksum.finalize())?;
    Ok(Some(Frame { kind, id, body }))
}

/// A stranger may never send a whole header, so its first bytes are judged as they come.
fn check_marks(input: &[u8]) -> Result<(), FrameError> {
    match input.get(MARK_AT) {
        Some(&found) if found != FRAME_MARK => return Err(FrameError::NotOurs { found }),
        Some(_) | None => {}
    }
    match input.get(VERSION_AT) {
        Some(&found) if found != FRAME_VERSION => Err(FrameError::WrongVersion { found }),
        Some(_) | None => Ok(()),
    }
}

fn compare(found: u32, computed: u32) -> Result<(), FrameError> {
    if found == computed { Ok(()) } else { Err(FrameError::BadChecksum { found, computed }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_frame() -> impl Strategy<Value = Frame> {
        (any::<u16>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(kind, id, body)| Frame { kind, id, body: body.into() })
    }

    fn bytes_of(frames: &[Frame]) -> BytesMut {
        let mut out = BytesMut::new();
        for frame in frames {
            encode(frame, &mut out).unwrap();
        }
        out
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_stream_is_cut(
            frames in prop::collection::vec(any_frame(), 1..6),
            cuts in prop::collection::vec(1_usize..120, 1..40),
        ) {
            let stream = bytes_of(&frames).freeze();
            let (mut input, mut decoded, mut rest) = (BytesMut::new(), Vec::new(), stream);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                input.extend_from_slice(&rest.split_to(rest.len().min(*cut)));
                while let Some(frame) = decode(&mut input, 300).unwrap() {
                    decoded.push(frame);
                }
            }
            prop_assert_eq!(decoded, frames);
            prop_assert!(input.is_empty());
        }

        #[test]
        fn a_frame_with_any_bit_flipped_is_refused(frame in any_frame(), place in any::<prop::sample::Index>()) {
            let mut stream = bytes_of(&[frame]);
            let bit = place.index(stream.len() * 8);
            stream[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&mut stream, FRAME_BYTES_MAX).is_err());
        }

        #[test]
        fn garbage_neither_panics_nor_reserves_more_than_the_limit(
            garbage in prop::collection::vec(any::<u8>(), 0..200),
            looks_like_ours in any::<bool>(),
        ) {
            let mut input = BytesMut::from(&garbage[..]);
            if looks_like_ours && input.len() > VERSION_AT {
                input[MARK_AT] = FRAME_MARK;
                input[VERSION_AT] = FRAME_VERSION;
            }
            if looks_like_ours && input.len() >= FRAME_HEADER_BYTES {
                let checksum = crc32fast::hash(&input[..HEAD_BYTES]).to_be_bytes();
                input[HEAD_BYTES..HEAD_BYTES + 4].copy_from_slice(&checksum);
            }
            let before = input.capacity();
            let _ = decode(&mut input, 4096);
            prop_assert!(input.capacity() <= before * 2 + FRAME_HEADER_BYTES + 4096);
        }
    }

    #[test]
    fn a_body_over_the_limit_is_refused_before_anything_is_reserved() {
        let mut input = bytes_of(&[Frame { kind: 1, id: 2, body: vec![0; 1001].into() }]);
        input.truncate(FRAME_HEADER_BYTES);
        let mut input = BytesMut::from(&input[..]);
        let before = input.capacity();
        let refused = decode(&mut input, 1000);
        assert_eq!(refused, Err(FrameError::TooLong { length: 1001, limit: 1000 }));
        assert_eq!(input.capacity(), before);
    }

    #[test]
    fn a_body_no_peer_would_accept_is_not_written() {
        let body = Bytes::from(vec![0; FRAME_BYTES_MAX + 1]);
        let mut out = BytesMut::new();
        let refused = encode(&Frame { kind: 1, id: 2, body }, &mut out);
        assert!(matches!(refused, Err(FrameError::TooLong { .. })));
        assert!(out.is_empty());
    }

    #[test]
    fn a_stranger_is_told_from_a_node_by_its_first_five_bytes() {
        let refused = decode(&mut BytesMut::from(&b"GET / HTTP/1.1\r\n"[..]), 1000);
        assert_eq!(refused, Err(FrameError::NotOurs { found: b'/' }));
    }

    #[test]
    fn another_version_of_the_layout_is_named() {
        let mut input = bytes_of(&[Frame::default()]);
        input[VERSION_AT] = 9;
        assert_eq!(decode(&mut input, 1000), Err(FrameError::WrongVersion { found: 9 }));
    }

    #[test]
    fn a_body_in_parts_is_the_same_frame_as_in_one_piece() {
        let mut parts = BytesMut::new();
        encode_parts(7, 8, &[b"one", b"", b"two"], &mut parts).unwrap();
        let whole = Frame { kind: 7, id: 8, body: Bytes::from_static(b"onetwo") };
        assert_eq!(parts, bytes_of(&[whole]));
    }

    #[test]
    fn a_body_is_taken_out_without_a_copy() {
        let mut input = bytes_of(&[Frame { kind: 1, id: 2, body: vec![7; 5000].into() }]);
        let place = input[FRAME_HEADER_BYTES..].as_ptr();
        assert_eq!(decode(&mut input, 5000).unwrap().unwrap().body.as_ptr(), place);
    }

    #[test]
    fn the_layout_of_version_one_does_not_move() {
        let frame =
            Frame { kind: 0x0102, id: 0x0304_0506_0708_090a, body: Bytes::from_static(b"x") };
        let head = [0, 0, 0, 1, 0xd7, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        let stream = bytes_of(&[frame]);
        assert_eq!(stream[..16], head);
        assert_eq!(stream[16..20], crc32fast::hash(&head).to_be_bytes());
        assert_eq!(stream[24..], *b"x");
    }
}

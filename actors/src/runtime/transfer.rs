//! What the sender and the receiver of a transfer have in common: frames as messages, parts as frames, and
//! what the ring manager hears of both.

use actix::{Message, Recipient};

use crate::protocol::id::TransferId;
use crate::runtime::network::connection::{ConnectionError, FrameReader};
use crate::runtime::vnode::message::Part;
use crate::wire::bin::{BinError, join_bin, split_bin};
use crate::wire::frame::Frame;
use crate::wire::message::{PartHead, kind};

/// A frame of the transfer's connection; `None`: it has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct FrameArrived(pub Option<Result<Frame, ConnectionError>>);

/// How far a transfer has come. Renews its slot.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct TransferProgressed {
    /// The attempt.
    pub transfer: TransferId,
    /// Items sent or stored.
    pub objects: u64,
    /// Bytes sent or stored.
    pub bytes: u64,
}

/// The sender or receiver of a transfer has ended, in whatever way. Its slot is free.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct TransferEnded {
    /// The attempt.
    pub transfer: TransferId,
}

/// Hands frames to an actor, each when the one before has been handled: a peer that sends more than it has
/// credit for waits in its own socket.
pub async fn read_frames(mut reader: FrameReader, to: Recipient<FrameArrived>) {
    loop {
        let frame = reader.next().await.transpose();
        let is_over = !matches!(frame, Some(Ok(_)));
        if to.send(FrameArrived(frame)).await.is_err() || is_over {
            return;
        }
    }
}

/// A part as a frame.
///
/// # Errors
///
/// [`BinError`] if it is longer than a frame.
pub fn part_frame(part: &Part) -> Result<Frame, BinError> {
    let head = PartHead { sequence: part.sequence, content: part.content.clone() };
    let body = join_bin(&head, &[&part.items])?;
    Ok(Frame { kind: kind::PART, id: 0, body })
}

/// A frame as a part. The items are a slice of the frame; whoever stores them counts them.
///
/// # Errors
///
/// [`BinError`] if it is not a part.
pub fn frame_part(frame: &Frame) -> Result<Part, BinError> {
    let (head, items) = split_bin::<PartHead>(&frame.body)?;
    Ok(Part { sequence: head.sequence, content: head.content, items, count: 0 })
}

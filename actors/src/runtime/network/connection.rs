//! A connection to another process: frames in, frames out, each side with its own bound.
//!
//! Owns: the byte stream, the queue of frames that wait to be written, and the task that writes them.
//! What the frames mean, who may connect and when to give up on a silent peer belong to those who hold
//! the connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Sleep;
use tokio_util::codec::FramedRead;

pub use crate::runtime::codec::CodecError as ConnectionError;
use crate::runtime::codec::{FrameCodec, write_frames};
use crate::runtime::encoding::encoded;
use crate::runtime::transport::BoxIo;
use crate::wire::frame::{FRAME_BYTES_MAX, FRAME_HEADER_BYTES, Frame};

/// Bytes of frames that may wait to be written, headers included.
///
/// The longest frame and some room beside it: a frame never has to wait for an empty queue.
pub const QUEUE_BYTES_MAX: usize = FRAME_BYTES_MAX + 1024 * 1024;

/// How long the peer may take no byte before the connection is given up.
///
/// Longer than a cut link of some seconds, after which TCP goes on as if nothing had been.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// The bounds of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Longest body that is accepted, in bytes.
    pub frame_bytes_max: usize,
    /// Frames that may wait to be written. Default 1,024.
    pub queue_frames: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { frame_bytes_max: FRAME_BYTES_MAX, queue_frames: 1_024 }
    }
}

/// One connection. Its halves may be taken apart and used by different tasks.
pub struct Connection {
    /// What arrives.
    pub reader: FrameReader,
    /// What leaves.
    pub writer: FrameWriter,
    /// The other end's address, for logs.
    pub peer: String,
}

impl Connection {
    /// Frames over a byte stream. Starts the task that writes, on this thread.
    ///
    /// The connection closes when both halves are gone; what was queued before is written first.
    #[must_use]
    pub fn over(io: BoxIo, peer: String, limits: ConnectionLimits) -> Self {
        let (incoming, outgoing) = tokio::io::split(io);
        let (queue, waiting) = mpsc::channel(limits.queue_frames.max(1));
        let flow = Arc::new(Flow::default());
        let paced = Paced { io: outgoing, flow: Arc::clone(&flow), stalled: None };
        let flow_of_task = Arc::clone(&flow);
        let task = actix_rt::spawn(async move {
            // Why it failed shows on the reading side, or is the stall that the error text names.
            if let Err(error) = write_frames(paced, waiting).await {
                log::debug!(error:%; "a connection takes no more frames");
            }
            flow_of_task.room.close();
        });
        let codec = FrameCodec { limit: limits.frame_bytes_max };
        let reader = FrameReader { frames: FramedRead::new(incoming, codec) };
        let writer = FrameWriter { queue, flow, task: task.abort_handle() };
        Self { reader, writer, peer }
    }
}

/// The reading half.
pub struct FrameReader {
    frames: FramedRead<ReadHalf<BoxIo>, FrameCodec>,
}

impl FrameReader {
    /// The next frame; `None` when the peer closed the connection between two frames. May be dropped
    /// while it waits: nothing is lost.
    ///
    /// # Errors
    ///
    /// [`ConnectionError`] when the bytes are no frame, the frame is over the limit, or the connection
    /// broke. Nothing more can be read.
    pub async fn next(&mut self) -> Result<Option<Frame>, ConnectionError> {
        self.frames.next().await.transpose()
    }

    /// Changes the longest body that is accepted, in bytes, from the next frame on.
    pub fn set_limit(&mut self, frame_bytes_max: usize) {
        self.frames.decoder_mut().limit = frame_bytes_max;
    }
}

/// Why a frame was not queued. Nothing of it will be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The peer takes frames more slowly than they come.
    #[error("the queue to the peer is full")]
    Full,
    /// The connection has ended.
    #[error("the connection has ended")]
    Closed,
    /// No peer would accept it. The connection goes on.
    #[error("a message of {length} bytes is over the limit of {FRAME_BYTES_MAX}")]
    TooLong {
        /// Bytes of the body.
        length: usize,
    },
}

/// The writing half: the end of a bounded queue. When the last clone is gone, the task writes what is
/// queued and closes its direction.
#[derive(Debug, Clone)]
pub struct FrameWriter {
    queue: mpsc::Sender<Frame>,
    flow: Arc<Flow>,
    task: AbortHandle,
}

impl FrameWriter {
    /// Queues a frame if there is room now.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing was queued.
    pub fn try_send(&self, frame: Frame) -> Result<(), WriteError> {
        let room =
            self.flow.room.try_acquire_many(room_for(&frame)?).map_err(|error| match error {
                tokio::sync::TryAcquireError::NoPermits => WriteError::Full,
                tokio::sync::TryAcquireError::Closed => WriteError::Closed,
            })?;
        self.queue.try_send(frame).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Full,
            mpsc::error::TrySendError::Closed(_) => WriteError::Closed,
        })?;
        room.forget();
        Ok(())
    }

    /// Queues a frame as soon as there is room. If it is dropped before, nothing was queued. Ends by
    /// itself when the peer takes nothing for [`WRITE_STALL_MAX`].
    ///
    /// # Errors
    ///
    /// [`WriteError::Closed`] and [`WriteError::TooLong`]; nothing was queued.
    pub async fn send(&self, frame: Frame) -> Result<(), WriteError> {
        let wanted = room_for(&frame)?;
        let room = self.flow.room.acquire_many(wanted).await.map_err(|_| WriteError::Closed)?;
        self.queue.send(frame).await.map_err(|_| WriteError::Closed)?;
        room.forget();
        Ok(())
    }

    /// Waits until no frame can be written any more.
    pub async fn closed(&self) {
        self.queue.closed().await;
    }

    /// The bytes that the stream has taken so far. A frame whose last byte is beyond this number, counted
    /// from the first frame on, has not reached the peer as a whole.
    #[must_use]
    pub fn taken_bytes(&self) -> u64 {
        self.flow.taken_bytes.load(Ordering::Acquire)
    }

    /// Ends the writing at once: what is still queued is dropped. Answers with the final
    /// [`FrameWriter::taken_bytes`]. To be called on the thread that made the connection.
    pub fn cut(&self) -> u64 {
        self.task.abort();
        self.flow.room.close();
        self.taken_bytes()
    }
}

/// How far writing has come; shared by the writers and the task.
#[derive(Debug)]
struct Flow {
    /// One permit for each byte that may still be queued. Queueing takes them, writing gives them back.
    room: Semaphore,
    taken_bytes: AtomicU64,
}

impl Default for Flow {
    fn default() -> Self {
        Self { room: Semaphore::new(QUEUE_BYTES_MAX), taken_bytes: AtomicU64::new(0) }
    }
}

fn room_for(frame: &Frame) -> Result<u32, WriteError> {
    let length = frame.body.len();
    if length > FRAME_BYTES_MAX {
        return Err(WriteError::TooLong { length });
    }
    u32::try_from(FRAME_HEADER_BYTES + length).map_err(|_| WriteError::TooLong { length })
}

/// Counts what the stream takes, and fails when it takes nothing for too long.
struct Paced {
    io: WriteHalf<BoxIo>,
    flow: Arc<Flow>,
    /// Runs since the stream last refused to take a byte.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    fn judge<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let patience =
            self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_STALL_MAX)));
        match patience.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                let text = format!("the peer took no byte for {WRITE_STALL_MAX:?}");
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
            }
        }
    }

    fn count(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.flow.taken_bytes.fetch_add(*bytes as u64, Ordering::Release);
            self.flow.room.add_permits(*bytes);
        }
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.count(&written);
        self.judge(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.count(&written);
        self.judge(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.judge(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(context);
        self.judge(shut, context)
    }
}

/// A message as a frame.
///
/// # Panics
///
/// If a message cannot be written as MessagePack, which is a mistake in its type.
#[must_use]
pub fn frame<T: Serialize>(kind: u16, id: u64, message: &T) -> Frame {
    #[expect(clippy::expect_used, reason = "wire messages are plain data; no writer could refuse")]
    let body = encoded(message).expect("a wire message is plain data");
    Frame { kind, id, body: Bytes::from(body) }
}

/// A frame's body is not the message it should be. The next frame may be read all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a frame of kind {kind} cannot be understood: {detail}")]
pub struct ParseError {
    /// The kind of the frame.
    pub kind: u16,
    /// What the decoder said.
    pub detail: String,
}

/// The message in a frame.
///
/// # Errors
///
/// [`ParseError`] when the body is not such a message.
pub fn parse<T: DeserializeOwned>(frame: &Frame) -> Result<T, ParseError> {
    rmp_serde::from_slice(&frame.body)
        .map_err(|error| ParseError { kind: frame.kind, detail: error.to_string() })
}

#[cfg(test)]
mod tests;

//! Frames on a stream: the adapter between `wire::frame` and tokio's readers and writers.
//!
//! [`FrameCodec`] reads (with `tokio_util::codec::FramedRead`). Writing goes through [`write_frames`], which
//! batches what is ready and does not copy large bodies; the codec can write too, one frame at a time, which
//! is enough for a greeting.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::codec::{Decoder, Encoder};

use crate::wire::frame::{self, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, Frame, FrameError};

/// Bytes of frames that are gathered before they are written and flushed, if so many are ready.
///
/// At 4 GB/s, which loopback reaches, this is 60 us of work: a system call is nothing beside it.
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// A body longer than this is handed to the kernel where it lies. Copying a shorter one costs less than
/// a system call of its own.
const COPIED_BODY_BYTES_MAX: usize = 16 * 1024;

/// What an idle connection keeps of its write buffer. A node has a connection to every other.
const IDLE_BUFFER_BYTES: usize = 4 * 1024;

/// Why frames stopped coming or going. The connection is of no further use; whether the peer has what was
/// written last is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes are no frame, or a message is too long to become one.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The peer closed the connection within a frame. Nothing of that frame was used.
    #[error("the peer closed the connection {bytes} bytes into a frame")]
    CutOff {
        /// Bytes of the unfinished frame that had arrived.
        bytes: usize,
    },
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads and writes [`Frame`]s whose bodies have at most `limit` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameCodec {
    /// Longest body in bytes, in both directions.
    pub limit: usize,
}

impl Default for FrameCodec {
    /// The limit is [`FRAME_BYTES_MAX`].
    fn default() -> Self {
        Self { limit: FRAME_BYTES_MAX }
    }
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = CodecError;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        Ok(frame::decode(input, self.limit)?)
    }

    fn decode_eof(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        match self.decode(input)? {
            Some(frame) => Ok(Some(frame)),
            None if input.is_empty() => Ok(None),
            None => Err(CodecError::CutOff { bytes: input.len() }),
        }
    }
}

impl Encoder<Frame> for FrameCodec {
    type Error = CodecError;

    fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> Result<(), CodecError> {
        if frame.body.len() > self.limit {
            let length = frame.body.len();
            return Err(FrameError::TooLong { length, limit: self.limit }.into());
        }
        Ok(frame::encode(&frame, out)?)
    }
}

/// Writes what comes out of `frames`, in order, until all its senders are gone; then closes `stream`.
///
/// Frames that are ready go out together, and are flushed before this waits for more, so a lone message
/// does not wait for company. The bound of the channel is the only queue: a slow peer holds
/// up the senders. The stream should have `TCP_NODELAY` set.
///
/// # Errors
///
/// [`CodecError`] if the stream breaks or a frame is too long. Which of the frames taken so far have
/// reached the peer is not known; those in the channel have not.
pub async fn write_frames<W>(
    mut stream: W,
    mut frames: mpsc::Receiver<Frame>,
) -> Result<(), CodecError>
where
    W: AsyncWrite + Unpin,
{
    let mut batch = BytesMut::new();
    while let Some(first) = frames.recv().await {
        let mut next = Some(first);
        let mut taken_bytes = 0;
        while let Some(frame) = next {
            taken_bytes += FRAME_HEADER_BYTES + frame.body.len();
            push(&mut stream, &mut batch, frame).await?;
            next = if taken_bytes < BATCH_BYTES_MAX { frames.try_recv().ok() } else { None };
        }
        stream.write_all(&batch).await?;
        stream.flush().await?;
        batch.clear();
        if frames.is_empty() && batch.capacity() > IDLE_BUFFER_BYTES {
            batch = BytesMut::new();
        }
    }
    Ok(stream.shutdown().await?)
}

/// Puts a small frame into the batch. Writes a large one, and the batch before it in the same call.
async fn push<W>(stream: &mut W, batch: &mut BytesMut, frame: Frame) -> Result<(), CodecError>
where
    W: AsyncWrite + Unpin,
{
    if frame.body.len() <= COPIED_BODY_BYTES_MAX {
        return Ok(frame::encode(&frame, batch)?);
    }
    batch.reserve(FRAME_HEADER_BYTES);
    batch.extend_from_slice(&frame.header()?);
    let mut both = batch.as_ref().chain(frame.body);
    stream.write_all_buf(&mut both).await?;
    batch.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures_util::StreamExt;
    use tokio_util::codec::FramedRead;

    fn frame(id: u64, body_bytes: usize) -> Frame {
        Frame { kind: 1, id, body: vec![id as u8; body_bytes].into() }
    }

    async fn read_all<R: tokio::io::AsyncRead + Unpin>(stream: R) -> Vec<Frame> {
        let frames = FramedRead::new(stream, FrameCodec::default());
        frames.map(|frame| frame.expect("only whole frames are written")).collect().await
    }

    #[tokio::test]
    async fn frames_of_every_size_arrive_in_order_and_then_the_stream_ends() {
        let sizes = [0, 1, 100, 16 * 1024, 16 * 1024 + 1, 300_000, 5, 40_000, 0, 1_000_000, 3];
        let sent: Vec<Frame> =
            (0..).zip(sizes.repeat(5)).map(|(id, size)| frame(id, size)).collect();
        let (near, far) = tokio::io::duplex(10_000);
        let (queue, frames) = mpsc::channel(4);
        let send = async {
            for frame in sent.clone() {
                queue.send(frame).await.unwrap();
            }
            drop(queue);
        };
        let (written, (), read) = tokio::join!(write_frames(near, frames), send, read_all(far));
        written.unwrap();
        assert_eq!(read, sent);
    }

    /// Remembers what each call hands over.
    #[derive(Default)]
    struct Calls {
        writes: Vec<Vec<usize>>,
        flushes: usize,
        places: Vec<*const u8>,
    }

    impl AsyncWrite for &mut Calls {
        fn poll_write(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            bytes: &[u8],
        ) -> std::task::Poll<io::Result<usize>> {
            self.get_mut().writes.push(vec![bytes.len()]);
            std::task::Poll::Ready(Ok(bytes.len()))
        }

        fn poll_write_vectored(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            slices: &[io::IoSlice<'_>],
        ) -> std::task::Poll<io::Result<usize>> {
            let calls = self.get_mut();
            calls.writes.push(slices.iter().map(|slice| slice.len()).collect());
            calls.places.extend(slices.iter().map(|slice| slice.as_ptr()));
            std::task::Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            self.get_mut().flushes += 1;
            std::task::Poll::Ready(Ok(()))
        }

        fn poll_shutdown(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
    }

    async fn calls_for(frames: Vec<Frame>) -> Calls {
        let (queue, receiver) = mpsc::channel(frames.len());
        for frame in frames {
            queue.try_send(frame).unwrap();
        }
        drop(queue);
        let mut calls = Calls::default();
        write_frames(&mut calls, receiver).await.unwrap();
        calls
    }

    #[tokio::test]
    async fn small_frames_that_are_ready_go_out_in_one_write() {
        let calls = calls_for((0..100).map(|id| frame(id, 100)).collect()).await;
        assert_eq!(calls.writes, [[100 * (100 + FRAME_HEADER_BYTES)]]);
        assert_eq!(calls.flushes, 1);
    }

    #[tokio::test]
    async fn a_batch_is_written_when_it_is_full() {
        let calls = calls_for((0..1000).map(|id| frame(id, 1000)).collect()).await;
        let most = BATCH_BYTES_MAX + COPIED_BODY_BYTES_MAX + FRAME_HEADER_BYTES;
        assert!(calls.writes.iter().all(|write| write[0] <= most));
        assert_eq!(calls.writes.len(), 4);
    }

    #[tokio::test]
    async fn a_large_body_is_written_from_where_it_lies_behind_the_small_ones_before_it() {
        let large = frame(2, 100_000);
        let place = large.body.as_ptr();
        let calls = calls_for(vec![frame(1, 10), large, frame(3, 10)]).await;
        let small = 10 + FRAME_HEADER_BYTES;
        assert_eq!(calls.writes, [vec![small + FRAME_HEADER_BYTES, 100_000], vec![small]]);
        assert_eq!(calls.places[1], place);
        assert_eq!(calls.flushes, 1);
    }

    #[tokio::test]
    async fn a_stream_cut_within_a_frame_is_told_from_one_that_ended() {
        let mut stream = BytesMut::new();
        frame::encode(&frame(1, 10), &mut stream).unwrap();
        let cut: Bytes = stream.freeze().slice(..30);
        let mut frames = FramedRead::new(&cut[..], FrameCodec::default());
        let ended = frames.next().await.unwrap();
        assert!(matches!(ended, Err(CodecError::CutOff { bytes: 30 })));
    }

    #[tokio::test]
    async fn a_broken_stream_ends_the_writer() {
        let (near, far) = tokio::io::duplex(100);
        drop(far);
        let (queue, frames) = mpsc::channel(1);
        queue.try_send(frame(1, 1000)).unwrap();
        assert!(matches!(write_frames(near, frames).await, Err(CodecError::Io(_))));
    }

    #[test]
    fn a_lower_limit_holds_in_both_directions() {
        let mut codec = FrameCodec { limit: 10 };
        let mut stream = BytesMut::new();
        assert!(codec.encode(frame(1, 11), &mut stream).is_err());
        assert!(stream.is_empty());
        frame::encode(&frame(1, 11), &mut stream).unwrap();
        let refused = codec.decode(&mut stream);
        assert!(matches!(refused, Err(CodecError::Frame(FrameError::TooLong { .. }))));
    }
}

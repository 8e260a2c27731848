//! One connection to one node: many calls at once, each answered under its own number.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tanodb_actors::runtime::codec::{FrameCodec, write_frames};
use tanodb_actors::runtime::network::connection::{frame, parse};
use tanodb_actors::wire::frame::Frame;
use tanodb_actors::wire::message::{
    ClientMessage, Hello, Introduction, PROTOCOL_VERSION, Purpose, Refusal, Welcome, kind,
};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::FramedRead;

use super::error::UnreachableReason;

/// Frames that wait to be written. A caller whose frame finds no place waits, within its deadline.
const QUEUE_FRAMES: usize = 64;

type Reader = FramedRead<OwnedReadHalf, FrameCodec>;

/// Why a call was not answered.
#[derive(Debug)]
pub(super) enum CallError {
    /// The connection had ended: nothing was sent.
    NotSent,
    /// It was sent, and the connection ended.
    Lost,
    /// The answer cannot be read.
    Malformed(String),
    /// Its time was up.
    TimedOut {
        /// Whether it was sent.
        was_sent: bool,
    },
}

/// A connection that was welcomed.
#[derive(Debug)]
pub(super) struct Link {
    peer: Introduction,
    frames: mpsc::Sender<Frame>,
    calls: Arc<Calls>,
    permits: Semaphore,
    next_id: AtomicU64,
    /// Set when a call was not answered in time and nothing else was heard meanwhile.
    is_suspect: AtomicBool,
    reading: AbortHandle,
}

impl Link {
    /// Connects and says hello.
    pub(super) async fn connect(address: &str, calls: usize) -> Result<Self, UnreachableReason> {
        let network = |why: std::io::Error| UnreachableReason::Network(why.to_string());
        let stream = TcpStream::connect(address).await.map_err(network)?;
        stream.set_nodelay(true).map_err(network)?;
        let (read_half, write_half) = stream.into_split();
        let mut reader = FramedRead::new(read_half, FrameCodec::default());
        let (frames, queue) = mpsc::channel(QUEUE_FRAMES);
        let waiting = Arc::new(Calls::default());
        let written = Arc::clone(&waiting);
        tokio::spawn(async move {
            // Whatever ended the writing, no call on this connection can be answered any more.
            let _ = write_frames(write_half, queue).await;
            written.close();
        });
        let hello =
            Hello { purpose: Purpose::Client, protocol: PROTOCOL_VERSION, from: None, to: None };
        // The queue is new, so there is a place.
        let _ = frames.try_send(frame(kind::HELLO, 0, &hello));
        let peer = welcomed(&mut reader).await?;
        let reading = tokio::spawn(read_answers(reader, Arc::clone(&waiting))).abort_handle();
        Ok(Self {
            peer,
            frames,
            calls: waiting,
            permits: Semaphore::new(calls),
            next_id: AtomicU64::new(1),
            is_suspect: AtomicBool::new(false),
            reading,
        })
    }

    /// Who is at the other end.
    pub(super) fn peer(&self) -> &Introduction {
        &self.peer
    }

    /// Whether new calls may be made.
    pub(super) fn is_usable(&self) -> bool {
        self.calls.is_open() && !self.is_suspect.load(Ordering::Relaxed)
    }

    /// Sends what `make` makes of the time that is left, and waits for the answer.
    pub(super) async fn call(
        &self,
        make: impl Fn(Duration) -> ClientMessage,
        until: Instant,
    ) -> Result<ClientMessage, CallError> {
        const IN_TIME: CallError = CallError::TimedOut { was_sent: false };
        let permit = timeout_at(until, self.permits.acquire()).await.map_err(|_| IN_TIME)?;
        let _permit = permit.map_err(|_| CallError::NotSent)?;
        let place = timeout_at(until, self.frames.reserve()).await.map_err(|_| IN_TIME)?;
        let place = place.map_err(|_| CallError::NotSent)?;

        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let sent_at = Instant::now();
        let (waiting, answer) = Waiting::register(&self.calls, id).ok_or(CallError::NotSent)?;
        place.send(frame(kind::CLIENT, id, &make(until.saturating_duration_since(sent_at))));
        let answered = timeout_at(until, answer).await;
        drop(waiting);
        match answered {
            Ok(Ok(answer)) => {
                parse(&answer).map_err(|error| CallError::Malformed(error.to_string()))
            }
            Ok(Err(_)) => Err(CallError::Lost),
            Err(_) => {
                if self.calls.is_silent_since(sent_at) {
                    self.is_suspect.store(true, Ordering::Relaxed);
                }
                Err(CallError::TimedOut { was_sent: true })
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Reads the answer to the hello.
async fn welcomed(reader: &mut Reader) -> Result<Introduction, UnreachableReason> {
    let stranger = |detail: String| UnreachableReason::Stranger(detail);
    let first = match reader.next().await {
        Some(Ok(first)) => first,
        Some(Err(error)) => return Err(stranger(error.to_string())),
        None => {
            let text = "the connection was closed instead of welcomed";
            return Err(UnreachableReason::Network(text.to_owned()));
        }
    };
    match first.kind {
        kind::WELCOME => {
            let welcome: Welcome = parse(&first).map_err(|error| stranger(error.to_string()))?;
            Ok(welcome.from)
        }
        kind::REFUSAL => {
            let refusal: Refusal = parse(&first).map_err(|error| stranger(error.to_string()))?;
            Err(UnreachableReason::Refused(refusal))
        }
        other => Err(stranger(format!("a frame of kind {other} came instead of a welcome"))),
    }
}

async fn read_answers(mut reader: Reader, calls: Arc<Calls>) {
    while let Some(Ok(answer)) = reader.next().await {
        if answer.kind == kind::CLIENT_ANSWER {
            calls.answered(answer);
        }
    }
    calls.close();
}

/// Calls that wait for their answers.
#[derive(Debug, Default)]
struct Calls(Mutex<CallTable>);

#[derive(Debug, Default)]
struct CallTable {
    waiting: BTreeMap<u64, oneshot::Sender<Frame>>,
    is_closed: bool,
    heard_at: Option<Instant>,
}

impl Calls {
    fn table(&self) -> MutexGuard<'_, CallTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_open(&self) -> bool {
        !self.table().is_closed
    }

    fn is_silent_since(&self, moment: Instant) -> bool {
        self.table().heard_at.is_none_or(|heard_at| heard_at < moment)
    }

    fn answered(&self, answer: Frame) {
        let mut table = self.table();
        table.heard_at = Some(Instant::now());
        // Whoever asked may have gone.
        if let Some(asker) = table.waiting.remove(&answer.id) {
            let _ = asker.send(answer);
        }
    }

    /// No answer will come any more. Everybody who waits is told by the drop.
    fn close(&self) {
        let mut table = self.table();
        table.is_closed = true;
        table.waiting.clear();
    }
}

/// A place in the table, given back when the call ends, however it ends.
struct Waiting<'a> {
    calls: &'a Calls,
    id: u64,
}

impl<'a> Waiting<'a> {
    /// `None` if the connection has ended.
    fn register(calls: &'a Calls, id: u64) -> Option<(Self, oneshot::Receiver<Frame>)> {
        let mut table = calls.table();
        if table.is_closed {
            return None;
        }
        let (asker, answer) = oneshot::channel();
        table.waiting.insert(id, asker);
        Some((Self { calls, id }, answer))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.calls.table().waiting.remove(&self.id);
    }
}

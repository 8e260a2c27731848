//! The roads between the nodes of a town: TCP over loopback that a test can hold and cut.
//!
//! A road is watched at the side that dialled, which sees both directions of the connection.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use tanodb_actors::runtime::tcp::Tcp;
use tanodb_actors::runtime::transport::{BoxFuture, BoxIo, Listener, Transport};
use tanodb_actors::wire::frame::{self, FRAME_BYTES_MAX};
use tanodb_actors::wire::message::{Hello, Purpose};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The first name of a node.
pub type Name = &'static str;

/// What becomes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// They arrive, so many of them at most before something else is decided.
    Pass(u64),
    /// They wait.
    Held,
    /// The connection breaks.
    Cut,
}

/// Which bytes of a transfer are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    /// What the source says after its hello.
    BySource,
    /// What the target says, its welcome included.
    ByTarget,
}

#[derive(Default)]
struct Shared {
    places: BTreeMap<String, Name>,
    cut: Vec<(Name, Name)>,
    held: Vec<(Name, Name)>,
    /// Transfers from one node to another stop behind so many bytes of the source.
    stopped: BTreeMap<(Name, Name), u64>,
    /// The next transfer from one node to another breaks behind so many bytes.
    accidents: BTreeMap<(Name, Name), (Said, u64)>,
    wakers: BTreeMap<(u64, Said), Waker>,
    journeys: u64,
}

/// All roads of a town. Clones are the same roads.
#[derive(Clone, Default)]
pub struct Roads(Arc<Mutex<Shared>>);

impl Roads {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut Shared)) {
        let mut shared = self.shared();
        change(&mut shared);
        for waker in std::mem::take(&mut shared.wakers).into_values() {
            waker.wake();
        }
    }

    /// Breaks every connection between two nodes, and lets none be made.
    pub fn cut(&self, one: Name, other: Name) {
        self.change(|shared| shared.cut.extend([(one, other), (other, one)]));
    }

    /// Connections can be made again.
    pub fn heal(&self, one: Name, other: Name) {
        self.change(|shared| {
            shared.cut.retain(|pair| *pair != (one, other) && *pair != (other, one));
        });
    }

    /// Keeps everything that one node says to another as a member on its way. Transfers have roads of their own.
    pub fn hold(&self, from: Name, to: Name) {
        self.change(|shared| shared.held.push((from, to)));
    }

    /// What was held arrives.
    pub fn release(&self, from: Name, to: Name) {
        self.change(|shared| shared.held.retain(|pair| *pair != (from, to)));
    }

    /// Stops every transfer from one node to another behind so many bytes that the source says.
    pub fn stop_transfers(&self, from: Name, to: Name, behind: u64) {
        self.change(|shared| {
            shared.stopped.insert((from, to), behind);
        });
    }

    /// Stopped transfers go on.
    pub fn resume_transfers(&self, from: Name, to: Name) {
        self.change(|shared| {
            shared.stopped.remove(&(from, to));
        });
    }

    /// Breaks the next transfer from one node to another that gets so far.
    pub fn break_transfer(&self, from: Name, to: Name, said: Said, behind: u64) {
        self.change(|shared| {
            shared.accidents.insert((from, to), (said, behind));
        });
    }

    /// Whether the accident that was asked for has not happened.
    pub fn is_whole(&self, from: Name, to: Name) -> bool {
        self.shared().accidents.contains_key(&(from, to))
    }

    /// A node was killed. Another town's may get its port.
    pub fn nobody_lives_at(&self, address: &str) {
        self.change(|shared| {
            shared.places.remove(address);
        });
    }

    /// The transport of one node.
    pub fn of(&self, me: Name) -> Arc<dyn Transport> {
        Arc::new(Road { me, roads: self.clone() })
    }
}

struct Road {
    me: Name,
    roads: Roads,
}

impl Transport for Road {
    fn connect(&self, to: &str) -> BoxFuture<io::Result<BoxIo>> {
        let (from, roads, address) = (self.me, self.roads.clone(), to.to_owned());
        Box::pin(async move {
            let Some(to) = roads.shared().places.get(&address).copied() else {
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody lives there"));
            };
            if roads.shared().cut.contains(&(from, to)) {
                return Err(io::Error::other(format!("the road from {from} to {to} is cut")));
            }
            let inner = Tcp.connect(&address).await?;
            let number = {
                let mut shared = roads.shared();
                shared.journeys += 1;
                shared.journeys
            };
            let hello = Some(BytesMut::new());
            let journey = Journey {
                number,
                from,
                to,
                roads,
                inner: Some(inner),
                hello,
                is_transfer: false,
                by_source: 0,
                by_target: 0,
            };
            Ok(Box::new(journey) as BoxIo)
        })
    }

    fn bind(&self, at: &str) -> BoxFuture<io::Result<Box<dyn Listener>>> {
        let (me, roads, binding) = (self.me, self.roads.clone(), Tcp.bind(at));
        Box::pin(async move {
            let door = binding.await?;
            roads.shared().places.insert(door.local_address(), me);
            Ok(door)
        })
    }
}

/// One connection, at the side of the node that dialled.
struct Journey {
    number: u64,
    from: Name,
    to: Name,
    roads: Roads,
    /// `None` once it is broken.
    inner: Option<BoxIo>,
    /// What was written of the hello so far; `None` once that is complete.
    hello: Option<BytesMut>,
    is_transfer: bool,
    by_source: u64,
    by_target: u64,
}

impl Journey {
    /// What becomes of the next bytes that one side says. Whoever waits is woken when that changes.
    fn fate(&mut self, said: Said, cx: &Context<'_>) -> Fate {
        let mut shared = self.roads.shared();
        let pair = (self.from, self.to);
        let (speaks, spoken) = match said {
            Said::BySource => (pair, self.by_source),
            Said::ByTarget => ((self.to, self.from), self.by_target),
        };
        let left = |behind: u64| behind.saturating_sub(spoken);
        let mut fate = Fate::Pass(u64::MAX);
        if shared.cut.contains(&pair) {
            fate = Fate::Cut;
        } else if shared.held.contains(&speaks) && self.hello.is_none() && !self.is_transfer {
            fate = Fate::Held;
        } else if let Some((_, behind)) =
            shared.accidents.get(&pair).filter(|(who, _)| self.is_transfer && *who == said)
        {
            fate = Fate::Pass(left(*behind));
        } else if let Some(behind) = shared.stopped.get(&pair).filter(|_| self.is_transfer)
            && said == Said::BySource
        {
            fate = if left(*behind) == 0 { Fate::Held } else { Fate::Pass(left(*behind)) };
        }
        if fate == Fate::Pass(0) {
            shared.accidents.remove(&pair);
            fate = Fate::Cut;
        }
        shared.wakers.insert((self.number, said), cx.waker().clone());
        if fate == Fate::Cut {
            self.inner = None;
            for waker in std::mem::take(&mut shared.wakers).into_values() {
                waker.wake();
            }
        }
        fate
    }

    /// Counts what was written, from behind the hello, which tells what the connection is for.
    fn wrote(&mut self, bytes: &[u8]) {
        let Some(hello) = &mut self.hello else {
            self.by_source += bytes.len() as u64;
            return;
        };
        hello.extend_from_slice(bytes);
        if let Some(frame) = frame::decode(&mut hello.clone(), FRAME_BYTES_MAX).unwrap() {
            let said: Hello = rmp_serde::from_slice(&frame.body).unwrap();
            self.is_transfer = said.purpose == Purpose::Transfer;
            self.hello = None;
        }
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the road is cut")
}

impl AsyncWrite for Journey {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let journey = self.get_mut();
        let passes = match journey.fate(Said::BySource, cx) {
            Fate::Held => return Poll::Pending,
            Fate::Cut => return Poll::Ready(Err(broken())),
            Fate::Pass(passes) => bytes.len().min(usize::try_from(passes).unwrap_or(usize::MAX)),
        };
        let Some(inner) = &mut journey.inner else { return Poll::Ready(Err(broken())) };
        let written = ready!(Pin::new(inner).poll_write(cx, &bytes[..passes]))?;
        journey.wrote(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_flush(cx),
            None => Poll::Ready(Err(broken())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for Journey {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let journey = self.get_mut();
        let passes = match journey.fate(Said::ByTarget, cx) {
            Fate::Held => return Poll::Pending,
            Fate::Cut => return Poll::Ready(Err(broken())),
            Fate::Pass(passes) => usize::try_from(passes).unwrap_or(usize::MAX),
        };
        let Some(inner) = &mut journey.inner else { return Poll::Ready(Err(broken())) };
        let room = bytes.remaining().min(passes);
        let mut some = ReadBuf::new(bytes.initialize_unfilled_to(room));
        ready!(Pin::new(inner).poll_read(cx, &mut some))?;
        let read = some.filled().len();
        journey.by_target += read as u64;
        bytes.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        let mut shared = self.roads.shared();
        for said in [Said::BySource, Said::ByTarget] {
            shared.wakers.remove(&(self.number, said));
        }
    }
}

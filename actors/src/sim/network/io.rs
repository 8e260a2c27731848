//! One end of a connection, as the product reads and writes it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::pipe::{Connection, End, Presence, Segment};
use super::{GONE, Network, NetworkCounts, State, draw_delay};

/// One read of so many is made to wait for another turn, so that tasks of one node meet in other orders.
const ANOTHER_TURN_IN: u64 = 32;

/// One read of so many gets a part of what is there, as bytes do not come in the pieces they were written in.
const IN_PIECES_IN: u64 = 16;

/// An end of a connection.
pub(super) struct SimIo {
    pub(super) network: Network,
    pub(super) connection: u64,
    /// Which of the two ends.
    pub(super) side: usize,
    pub(super) read_alarm: Pin<Box<Sleep>>,
    pub(super) write_alarm: Pin<Box<Sleep>>,
}

impl SimIo {
    pub(super) fn new(network: Network, connection: u64, side: usize) -> Self {
        let never = || Box::pin(tokio::time::sleep(Duration::from_secs(86_400)));
        Self { network, connection, side, read_alarm: never(), write_alarm: never() }
    }
}

/// This end and the other one.
fn sides(connection: &mut Connection, side: usize) -> (&mut End, &mut End) {
    let [one, other] = &mut connection.ends;
    if side == 0 { (one, other) } else { (other, one) }
}

/// What a look at an end found.
enum Found {
    Bytes(usize),
    Another,
    End,
    Broken(io::Error),
    /// Nothing yet; look again at this moment, if there is one.
    Wait(Option<Instant>),
}

fn gone() -> io::Error {
    io::Error::new(GONE, "the connection is gone")
}

impl End {
    /// Whether this end is broken at this moment; else when it will be.
    fn breakage(
        &mut self,
        dead_after: Duration,
        now: Instant,
        counts: &mut NetworkCounts,
    ) -> Result<Option<Instant>, io::Error> {
        let dies = self.unanswered_since.map(|since| since + dead_after);
        if self.breaks.is_none() && dies.is_some_and(|dies| dies <= now) {
            self.breaks = Some((now, io::ErrorKind::TimedOut));
            counts.timed_out += 1;
        }
        match self.breaks {
            Some((at, why)) if at <= now => Err(io::Error::new(why, "the connection broke")),
            Some((at, _)) => Ok(Some(dies.map_or(at, |dies| dies.min(at)))),
            None => Ok(dies),
        }
    }
}

/// Has this waker told, if it is not the one that is.
fn note(waiting: &mut Option<Waker>, waker: &Waker) {
    match waiting {
        Some(known) => known.clone_from(waker),
        None => *waiting = Some(waker.clone()),
    }
}

impl State {
    /// What `waker` is told of, if this finds nothing yet.
    fn read(
        &mut self,
        number: u64,
        side: usize,
        into: &mut ReadBuf<'_>,
        now: Instant,
        waker: &Waker,
    ) -> Found {
        let Self { connections, settings, counts, links, rng, trace, .. } = self;
        let Some(connection) = connections.get_mut(&number) else {
            return Found::Broken(gone());
        };
        let (mine, theirs) = sides(connection, side);
        let breaks_at = match mine.breakage(settings.dead_after, now, counts) {
            Ok(breaks_at) => breaks_at,
            Err(error) => return Found::Broken(error),
        };
        // What a host had sent before its power went is on the way already.
        let cut_since = links.cut_since(&theirs.host, &mine.host);
        let has_come = |first: &Segment| cut_since.is_none_or(|since| first.at <= since);
        let Some(first) = mine.inbox.front_mut().filter(|first| has_come(first)) else {
            note(&mut mine.reader, waker);
            return Found::Wait(breaks_at);
        };
        if first.at > now {
            let at = first.at;
            note(&mut mine.reader, waker);
            return Found::Wait(Some(breaks_at.map_or(at, |breaks| breaks.min(at))));
        }
        let Some(bytes) = &mut first.bytes else { return Found::End };
        if rng.below(ANOTHER_TURN_IN) == 0 {
            return Found::Another;
        }
        let mut length = bytes.len().min(into.remaining());
        if length > 1 && rng.below(IN_PIECES_IN) == 0 {
            length = 1 + usize::try_from(rng.below(length as u64)).unwrap_or(0);
        }
        let arrived = bytes.split_to(length.min(bytes.len()));
        let is_empty = bytes.is_empty();
        into.put_slice(&arrived);
        trace.bytes(number, side, &arrived, now);
        if is_empty {
            mine.inbox.pop_front();
        }
        mine.inbox_bytes = mine.inbox_bytes.saturating_sub(arrived.len());
        if let Some(writer) = theirs.writer.take() {
            writer.wake();
        }
        Found::Bytes(arrived.len())
    }

    /// What `waker` is told of, if there is no room yet.
    fn write(
        &mut self,
        number: u64,
        side: usize,
        bytes: &[u8],
        now: Instant,
        waker: &Waker,
    ) -> Found {
        let Self { connections, settings, counts, links, rng, off, .. } = self;
        let Some(connection) = connections.get_mut(&number) else {
            return Found::Broken(gone());
        };
        let (mine, theirs) = sides(connection, side);
        let breaks_at = match mine.breakage(settings.dead_after, now, counts) {
            Ok(breaks_at) => breaks_at,
            Err(error) => return Found::Broken(error),
        };
        let delay = draw_delay(settings, rng, counts);
        if mine.is_shut {
            return Found::Broken(io::Error::new(io::ErrorKind::BrokenPipe, "it was shut"));
        }
        let room = settings.window.saturating_sub(theirs.inbox_bytes);
        if room == 0 {
            note(&mut mine.writer, waker);
            return Found::Wait(breaks_at);
        }
        let length = bytes.len().min(room);
        let (here, there) = (&mine.host, &theirs.host);
        let is_off = !off.is_empty() && off.contains(there);
        match theirs.presence {
            Presence::Held => {}
            // The other side answers that it knows no such connection.
            Presence::Closed => {
                mine.break_at(now + delay, GONE);
                return Found::Bytes(length);
            }
            Presence::Gone if !is_off => {
                mine.break_at(now + delay, GONE);
                return Found::Bytes(length);
            }
            Presence::Gone => {}
        }
        let is_cut = links.is_cut(here, there) || links.is_cut(there, here);
        if is_off || is_cut {
            mine.unanswered_since.get_or_insert(now);
            if let Some(reader) = mine.reader.take() {
                reader.wake();
            }
        }
        let leaves = links.leaves_at(&mine.host, &theirs.host, length, now);
        let after = theirs.inbox.back().map_or(leaves, |last| last.at.max(leaves));
        let at = after.max(leaves + delay);
        let sent = bytes.get(..length).unwrap_or_default();
        theirs.inbox.push_back(Segment { at, bytes: Some(Bytes::copy_from_slice(sent)) });
        theirs.inbox_bytes += length;
        if let Some(reader) = theirs.reader.take() {
            reader.wake();
        }
        Found::Bytes(length)
    }

    /// This end writes no more; the other one is told behind what is on its way.
    fn shut(&mut self, number: u64, side: usize, now: Instant) {
        let delay = self.draw_delay();
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let (mine, theirs) = sides(connection, side);
        // A machine without power says nothing, and who is told that the connection broke neither.
        if mine.is_shut || mine.breaks.is_some() || mine.presence != Presence::Held {
            return;
        }
        mine.is_shut = true;
        let after = theirs.inbox.back().map_or(now, |last| last.at.max(now));
        theirs.inbox.push_back(Segment { at: after.max(now + delay), bytes: None });
        if let Some(reader) = theirs.reader.take() {
            reader.wake();
        }
    }

    fn close(&mut self, number: u64, side: usize, now: Instant) {
        self.shut(number, side, now);
        if let Some(connection) = self.connections.get_mut(&number) {
            let (mine, _) = sides(connection, side);
            if mine.presence == Presence::Held {
                mine.presence = Presence::Closed;
            }
        }
        self.forget_if_over(number);
    }
}

/// Sets an alarm and has the task woken by it.
fn wait(alarm: &mut Pin<Box<Sleep>>, at: Option<Instant>, cx: &mut Context<'_>) -> bool {
    let Some(at) = at else { return true };
    if alarm.deadline() != at {
        alarm.as_mut().reset(at);
    }
    alarm.as_mut().poll(cx).is_pending()
}

impl AsyncRead for SimIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (mut state, now) = (this.network.state(), Instant::now());
        loop {
            match state.read(this.connection, this.side, into, now, cx.waker()) {
                Found::Bytes(_) | Found::End => return Poll::Ready(Ok(())),
                Found::Broken(error) => return Poll::Ready(Err(error)),
                Found::Another => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Found::Wait(at) => {
                    if wait(&mut this.read_alarm, at, cx) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl AsyncWrite for SimIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let (mut state, now) = (this.network.state(), Instant::now());
        loop {
            match state.write(this.connection, this.side, bytes, now, cx.waker()) {
                Found::Bytes(length) => return Poll::Ready(Ok(length)),
                Found::Broken(error) => return Poll::Ready(Err(error)),
                Found::Another | Found::End => return Poll::Ready(Ok(0)),
                Found::Wait(at) => {
                    if wait(&mut this.write_alarm, at, cx) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.network.state().shut(self.connection, self.side, Instant::now());
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimIo {
    fn drop(&mut self) {
        self.network.state().close(self.connection, self.side, Instant::now());
    }
}

//! One connection: what is on its way to each end, and what has become of the ends.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::task::Waker;

use bytes::Bytes;
use tokio::time::Instant;

use super::{GONE, Host};

/// Whether an end is still held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Somebody reads and writes there.
    Held,
    /// It was closed, and the other side is told.
    Closed,
    /// It is gone without a word.
    Gone,
}

/// Something on its way.
#[derive(Debug)]
pub(super) struct Segment {
    /// When it arrives at the earliest.
    pub(super) at: Instant,
    /// `None`: nothing more comes.
    pub(super) bytes: Option<Bytes>,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) host: Host,
    pub(super) presence: Presence,
    /// What is on its way here.
    pub(super) inbox: VecDeque<Segment>,
    pub(super) inbox_bytes: usize,
    /// Who waits to read here.
    pub(super) reader: Option<Waker>,
    /// Who waits to write here.
    pub(super) writer: Option<Waker>,
    /// From when on this end is broken, and how.
    pub(super) breaks: Option<(Instant, ErrorKind)>,
    /// Since when what this end has written goes unacknowledged.
    pub(super) unanswered_since: Option<Instant>,
    /// Whether this end has said that it writes no more.
    pub(super) is_shut: bool,
}

impl End {
    pub(super) fn of(host: Host) -> Self {
        Self {
            host,
            presence: Presence::Held,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            reader: None,
            writer: None,
            breaks: None,
            unanswered_since: None,
            is_shut: false,
        }
    }

    /// Whether something has been sent here and has not arrived.
    fn has_on_its_way(&self, now: Instant) -> bool {
        self.inbox.back().is_some_and(|last| last.at > now)
    }

    /// Has both who read and who write here look again.
    pub(super) fn wake(&mut self) {
        for waiting in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waiting.wake();
        }
    }

    /// From that moment on the end is broken. The first reason stands.
    pub(super) fn break_at(&mut self, at: Instant, why: ErrorKind) {
        if self.breaks.is_none() {
            self.breaks = Some((at, why));
        }
        self.wake();
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) ends: [End; 2],
}

impl Connection {
    pub(super) fn hosts(&self) -> [Host; 2] {
        let [one, other] = &self.ends;
        [one.host.clone(), other.host.clone()]
    }

    pub(super) fn is_between(&self, one: &str, other: &str) -> bool {
        let [a, b] = &self.ends;
        (&*a.host == one && &*b.host == other) || (&*a.host == other && &*b.host == one)
    }

    pub(super) fn break_both(&mut self, now: Instant) {
        for end in &mut self.ends {
            end.break_at(now, GONE);
        }
    }

    pub(super) fn break_one(&mut self, host: &str, now: Instant) {
        for end in &mut self.ends {
            if &*end.host == host {
                end.break_at(now, GONE);
                end.presence = Presence::Gone;
            }
        }
    }

    /// Both ends count from now on how long they hear nothing, if they have something on the way.
    pub(super) fn begin_to_wait(&mut self, now: Instant) {
        let [one, other] = &mut self.ends;
        if other.has_on_its_way(now) {
            one.unanswered_since.get_or_insert(now);
        }
        if one.has_on_its_way(now) {
            other.unanswered_since.get_or_insert(now);
        }
        one.wake();
        other.wake();
    }

    /// What waited on its way to an end, since its link was cut, arrives from this moment on.
    pub(super) fn go_on(&mut self, at: Instant, cut_since: [Option<Instant>; 2]) {
        for (end, since) in self.ends.iter_mut().zip(cut_since) {
            end.unanswered_since = None;
            if let Some(since) = since {
                for waiting in end.inbox.iter_mut().filter(|segment| segment.at > since) {
                    waiting.at = waiting.at.max(at);
                }
            }
            end.wake();
        }
    }

    /// The host is without power: its ends are gone, and what it had sent is still on the way.
    pub(super) fn silence(&mut self, host: &str, now: Instant) {
        let is_of_host = self.ends.iter().any(|end| &*end.host == host);
        for end in &mut self.ends {
            if &*end.host == host {
                end.presence = Presence::Gone;
            }
        }
        if is_of_host {
            self.begin_to_wait(now);
        }
    }

    /// The host is back and knows nothing of what is on the way to it.
    pub(super) fn refuse_what_waits_for(&mut self, host: &str, now: Instant) {
        let has_forgotten = |end: &End| {
            &*end.host == host && end.presence == Presence::Gone && !end.inbox.is_empty()
        };
        let [one, other] = &mut self.ends;
        if has_forgotten(one) {
            other.break_at(now, GONE);
        } else if has_forgotten(other) {
            one.break_at(now, GONE);
        }
    }
}

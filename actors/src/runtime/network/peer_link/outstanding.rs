//! Requests that were queued on a link and have no answer yet.
//!
//! Each is answered once: by the peer, by its deadline, or by the end of the connection, whichever is
//! first. The end tells apart what the peer may have carried out from what it cannot have seen.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::time::Moment;
use crate::runtime::message::PeerError;
use crate::runtime::reply::Reply;
use crate::wire::message::PeerMessage;

/// Requests under way on one link. With all vnodes of a large node behind one link, some dozens each.
pub(super) const OUTSTANDING_MAX: usize = 4_096;

/// One request that was queued.
pub(super) struct Asked {
    /// Its frame's number.
    pub(super) id: u64,
    /// When it is given up.
    pub(super) deadline: Moment,
    /// Bytes that were queued on the connection up to and including its last one.
    pub(super) end_byte: u64,
    /// Whom to tell.
    pub(super) reply: Reply<Result<PeerMessage, PeerError>>,
}

/// All requests under way on one connection.
#[derive(Default)]
pub(super) struct Outstanding {
    asked: BTreeMap<u64, Asked>,
    deadlines: BTreeSet<(Moment, u64)>,
}

impl Outstanding {
    /// Whether no more may be added.
    pub(super) fn is_full(&self) -> bool {
        self.asked.len() >= OUTSTANDING_MAX
    }

    pub(super) fn add(&mut self, asked: Asked) {
        self.deadlines.insert((asked.deadline, asked.id));
        self.asked.insert(asked.id, asked);
    }

    /// The peer answered. An answer nobody waits for any more is dropped.
    pub(super) fn answer(&mut self, id: u64, message: PeerMessage) {
        if let Some(asked) = self.asked.remove(&id) {
            self.deadlines.remove(&(asked.deadline, id));
            asked.reply.answer(Ok(message));
        }
    }

    /// The earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// Answers those whose deadline has passed.
    pub(super) fn expire(&mut self, now: Moment) {
        while let Some(&(deadline, id)) = self.deadlines.first() {
            if deadline > now {
                return;
            }
            self.deadlines.pop_first();
            if let Some(asked) = self.asked.remove(&id) {
                asked.reply.answer(Err(PeerError::DeadlinePassed));
            }
        }
    }

    /// The connection ended after the stream took this many bytes. A request whose last byte was not
    /// among them cannot have been carried out.
    pub(super) fn end(self, taken_bytes: u64, reason: &str) {
        for asked in self.asked.into_values() {
            let error = if asked.end_byte <= taken_bytes {
                PeerError::Lost
            } else {
                PeerError::NotSent(reason.to_owned())
            };
            asked.reply.answer(Err(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::reply::{Answer, reply};

    type Heard = Answer<Result<PeerMessage, PeerError>>;

    fn asked(id: u64, deadline: u64, end_byte: u64) -> (Asked, Heard) {
        let (reply, heard) = reply(Err(PeerError::Lost));
        (Asked { id, deadline: Moment(deadline), end_byte, reply }, heard)
    }

    fn three() -> (Outstanding, [Heard; 3]) {
        let mut outstanding = Outstanding::default();
        let heard = [(1, 30, 100), (2, 10, 200), (3, 20, 300)].map(|(id, deadline, end_byte)| {
            let (asked, heard) = asked(id, deadline, end_byte);
            outstanding.add(asked);
            heard
        });
        (outstanding, heard)
    }

    #[tokio::test]
    async fn answers_come_in_any_order_and_a_second_one_is_dropped() {
        let (mut outstanding, [first, second, third]) = three();
        for id in [3, 1, 2, 1, 99] {
            outstanding.answer(id, PeerMessage::Pong);
        }
        for heard in [first, second, third] {
            assert_eq!(heard.await, Ok(PeerMessage::Pong));
        }
        assert_eq!(outstanding.next_deadline(), None);
    }

    #[tokio::test]
    async fn a_deadline_answers_at_its_moment_and_not_before() {
        let (mut outstanding, [first, second, third]) = three();
        assert_eq!(outstanding.next_deadline(), Some(Moment(10)));
        outstanding.expire(Moment(20));
        assert_eq!(outstanding.next_deadline(), Some(Moment(30)));
        outstanding.answer(2, PeerMessage::Pong);
        assert_eq!(second.await, Err(PeerError::DeadlinePassed));
        assert_eq!(third.await, Err(PeerError::DeadlinePassed));
        outstanding.answer(1, PeerMessage::Pong);
        assert_eq!(first.await, Ok(PeerMessage::Pong));
    }

    #[tokio::test]
    async fn the_end_tells_lost_from_never_sent() {
        let (outstanding, [first, second, third]) = three();
        outstanding.end(299, "it broke");
        assert_eq!(first.await, Err(PeerError::Lost));
        assert_eq!(second.await, Err(PeerError::Lost));
        assert_eq!(third.await, Err(PeerError::NotSent("it broke".to_owned())));
    }

    #[test]
    fn it_is_full_at_its_limit() {
        let mut outstanding = Outstanding::default();
        for id in 0..OUTSTANDING_MAX as u64 {
            assert!(!outstanding.is_full());
            outstanding.add(asked(id, 1, 1).0);
        }
        assert!(outstanding.is_full());
    }
}

//! A reply that cannot be forgotten.
//!
//! A request that carries a [`Reply`] ends with an answer whatever becomes of it: an actor that panics,
//! a mailbox that closes with messages in it, a branch that returns early all drop the reply, and a
//! dropped reply answers for itself. It does not bound the wait: that is the caller's deadline.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

/// The duty to answer one request.
#[must_use = "dropping it answers that the request was dropped"]
pub struct Reply<T> {
    /// Whom to tell, and what if nothing better is known. `None` once told.
    owed: Option<(oneshot::Sender<T>, T)>,
}

/// The wait for one answer. Cancelled by dropping it; the request goes on.
#[must_use = "the answer is heard only where this is awaited"]
#[derive(Debug)]
pub struct Answer<T>(oneshot::Receiver<T>);

/// A reply and the answer it will become. If the reply is dropped, the answer is `if_dropped`.
pub fn reply<T: Send>(if_dropped: T) -> (Reply<T>, Answer<T>) {
    let (sender, receiver) = oneshot::channel();
    (Reply { owed: Some((sender, if_dropped)) }, Answer(receiver))
}

impl<T> Reply<T> {
    /// Answers. A caller that no longer waits hears nothing.
    pub fn answer(mut self, value: T) {
        if let Some((sender, _if_dropped)) = self.owed.take() {
            let _ = sender.send(value);
        }
    }

    /// Whether someone still waits. Work for nobody may be left out.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.owed.as_ref().is_some_and(|(sender, _)| !sender.is_closed())
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some((sender, if_dropped)) = self.owed.take() {
            let _ = sender.send(if_dropped);
        }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("is_wanted", &self.is_wanted()).finish()
    }
}

impl<T> Future for Answer<T> {
    type Output = T;

    #[expect(clippy::expect_used, reason = "a reply is told at the latest when it is dropped")]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let received = Pin::new(&mut self.0).poll(context);
        received.map(|told| told.expect("a dropped reply has sent its answer"))
    }
}

#[cfg(test)]
mod tests {
    use actix::{Actor, Context, Handler, Message};

    use super::*;

    #[derive(Debug, PartialEq)]
    enum Outcome {
        Done(u32),
        Dropped,
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Double(u32, Reply<Outcome>);

    /// Doubles small numbers and panics at large ones.
    struct Doubler;

    impl Actor for Doubler {
        type Context = Context<Self>;
    }

    impl Handler<Double> for Doubler {
        type Result = ();

        fn handle(&mut self, Double(number, reply): Double, _: &mut Context<Self>) {
            assert!(number < 100, "this panic belongs to the test");
            reply.answer(Outcome::Done(2 * number));
        }
    }

    #[actix::test]
    async fn an_actor_that_panics_leaves_no_request_unanswered() {
        let doubler = Doubler.start();
        let asked = [4, 100, 5].map(|number| {
            let (reply, answer) = reply(Outcome::Dropped);
            doubler.do_send(Double(number, reply));
            answer
        });
        let mut outcomes = Vec::new();
        for answer in asked {
            outcomes.push(answer.await);
        }
        assert_eq!(outcomes, [Outcome::Done(8), Outcome::Dropped, Outcome::Dropped]);

        let (reply, answer) = reply(Outcome::Dropped);
        doubler.do_send(Double(6, reply));
        assert_eq!(answer.await, Outcome::Dropped, "its mailbox is closed");
    }

    #[tokio::test]
    async fn the_first_answer_stands() {
        let (reply, answer) = reply(Outcome::Dropped);
        reply.answer(Outcome::Done(1));
        assert_eq!(answer.await, Outcome::Done(1));
    }

    #[test]
    fn a_reply_knows_whether_someone_waits() {
        let (reply, answer) = reply(Outcome::Dropped);
        assert!(reply.is_wanted());
        drop(answer);
        assert!(!reply.is_wanted());
        reply.answer(Outcome::Done(1));
    }
}

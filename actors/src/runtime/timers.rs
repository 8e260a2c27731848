//! The node's timers: messages that are delivered later.
//!
//! Owns: one task and an ordered list of what is due when. It is a task of its own because a timer in
//! an actor's context does not fire while the actor's mailbox is full. It does not decide anything: a
//! timer that fires is a message like any other, which may come after the thing it waited for.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use actix::{Message, Recipient};
use tokio::sync::Notify;

use super::clock::Clock;
use super::env::Env;
use crate::protocol::time::Moment;

/// Timers that wait at once. A vnode needs a few and a request one; more is a leak.
pub const TIMERS_MAX: usize = 65_536;

/// Messages delivered before the task lets others run.
const DELIVERIES_IN_A_ROW: usize = 256;

/// Names one timer, to cancel it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId {
    due: Moment,
    /// Timers counted from the start; orders those of one moment.
    number: u64,
}

/// [`TIMERS_MAX`] timers wait already. The message was dropped and will not be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{TIMERS_MAX} timers wait already")]
pub struct TimersFull;

/// A handle on the node's timers. When the last one is dropped, the task ends and what still waits is
/// dropped undelivered.
#[derive(Clone)]
pub struct Timers {
    shared: Arc<Shared>,
}

type Delivery = Box<dyn FnOnce() + Send>;

struct Shared {
    clock: Clock,
    queue: Mutex<Queue>,
    /// Told when the earliest moment changed, or when nobody is left.
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Queue {
    waiting: BTreeMap<TimerId, Delivery>,
    numbered: u64,
}

impl Timers {
    /// Starts the task on this arbiter. It should not be one that is busy with vnodes.
    #[must_use]
    pub fn start(env: &Env) -> Self {
        let shared = Arc::new(Shared {
            clock: env.clock.clone(),
            queue: Mutex::default(),
            changed: Arc::default(),
        });
        actix_rt::spawn(run(
            Arc::downgrade(&shared),
            env.clock.clone(),
            Arc::clone(&shared.changed),
        ));
        Self { shared }
    }

    /// Delivers a message after a wait. See [`Timers::at`].
    ///
    /// # Errors
    ///
    /// [`TimersFull`].
    pub fn after<M>(
        &self,
        wait: Duration,
        to: Recipient<M>,
        message: M,
    ) -> Result<TimerId, TimersFull>
    where
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.at(self.shared.clock.now().plus(wait), to, message)
    }

    /// Delivers a message at a moment, never before it, and at once if it has passed. Messages of one
    /// moment are delivered in the order of the calls. The recipient is kept alive until then.
    ///
    /// # Errors
    ///
    /// [`TimersFull`].
    pub fn at<M>(&self, due: Moment, to: Recipient<M>, message: M) -> Result<TimerId, TimersFull>
    where
        M: Message + Send + 'static,
        M::Result: Send,
    {
        // Timers are bounded, so what they add to a mailbox beyond its capacity is bounded too.
        let delivery: Delivery = Box::new(move || to.do_send(message));
        let mut queue = self.shared.queue();
        if queue.waiting.len() >= TIMERS_MAX {
            // What the message drops may want a timer itself.
            drop(queue);
            return Err(TimersFull);
        }
        let id = TimerId { due, number: queue.numbered };
        queue.numbered += 1;
        queue.waiting.insert(id, delivery);
        let is_first = queue.waiting.keys().next() == Some(&id);
        drop(queue);
        if is_first {
            self.shared.changed.notify_one();
        }
        Ok(id)
    }

    /// Takes a timer back; its message is dropped. False when there is no such timer any more: it was
    /// taken back before, or its message is delivered and may not have been handled yet.
    pub fn cancel(&self, id: TimerId) -> bool {
        let delivery = self.shared.queue().waiting.remove(&id);
        delivery.is_some()
    }

    /// How many timers wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.queue().waiting.len()
    }
}

/// What the task does next.
enum Next {
    /// More is due already.
    Yield,
    /// Nothing is due before this moment.
    SleepUntil(Moment),
    /// Nothing waits.
    Idle,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver_due(&self) -> Next {
        for _ in 0..DELIVERIES_IN_A_ROW {
            let now = self.clock.now();
            let mut queue = self.queue();
            let delivery = match queue.waiting.first_entry() {
                None => return Next::Idle,
                Some(first) if first.key().due > now => {
                    return Next::SleepUntil(first.key().due);
                }
                Some(first) => first.remove(),
            };
            // Unlocked: a closed mailbox drops the message, which may want a timer itself.
            drop(queue);
            delivery();
        }
        Next::Yield
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

async fn run(shared: Weak<Shared>, clock: Clock, changed: Arc<Notify>) {
    while let Some(next) = shared.upgrade().map(|shared| shared.deliver_due()) {
        match next {
            Next::Yield => tokio::task::yield_now().await,
            Next::Idle => changed.notified().await,
            Next::SleepUntil(due) => tokio::select! {
                biased;
                () = changed.notified() => {}
                () = clock.sleep_until(due) => {}
            },
        }
    }
}

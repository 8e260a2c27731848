//! Where actors start.
//!
//! Owns: the choice between this thread and a pool of arbiters. It does not start arbiters: the
//! program does, once, and hands their handles in.

use std::sync::Arc;

use actix::{Actor, Addr, ArbiterHandle, Context};

/// The threads a node's actors run on.
///
/// A lone awaited message costs under 1 us within one arbiter and 43 to 66 us across two, so what
/// talks often to a vnode should start in the vnode's slot.
#[derive(Debug, Clone)]
pub enum Arbiters {
    /// All actors run where they are started. The simulator's way, and a small node's.
    Here,
    /// A slot always maps to the same arbiter. An empty pool is the same as `Here`.
    Pool(Arc<Vec<ArbiterHandle>>),
}

impl Arbiters {
    /// Starts an actor in a slot. Slots are partitions, so that placement does not change.
    ///
    /// The actor is made on its own thread; only the closure travels. An arbiter that has stopped
    /// gives an address that is closed.
    pub fn start<A>(
        &self,
        slot: usize,
        make: impl FnOnce(&mut Context<A>) -> A + Send + 'static,
    ) -> Addr<A>
    where
        A: Actor<Context = Context<A>>,
    {
        match self {
            Arbiters::Here => A::create(make),
            Arbiters::Pool(pool) => {
                let chosen = slot.checked_rem(pool.len()).and_then(|place| pool.get(place));
                match chosen {
                    Some(arbiter) => A::start_in_arbiter(arbiter, make),
                    None => A::create(make),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};

    use actix::{Arbiter, Handler, Message};

    use super::*;

    struct Probe;

    #[derive(Message)]
    #[rtype(result = "Thread")]
    struct WhichThread;

    #[derive(Debug, PartialEq, actix::MessageResponse)]
    struct Thread(ThreadId);

    impl Actor for Probe {
        type Context = Context<Self>;
    }

    impl Handler<WhichThread> for Probe {
        type Result = Thread;

        fn handle(&mut self, _: WhichThread, _: &mut Context<Self>) -> Thread {
            Thread(thread::current().id())
        }
    }

    async fn thread_of(arbiters: &Arbiters, slot: usize) -> Thread {
        arbiters.start(slot, |_| Probe).send(WhichThread).await.unwrap()
    }

    #[actix::test]
    async fn here_and_an_empty_pool_are_this_thread() {
        let here = Thread(thread::current().id());
        assert_eq!(thread_of(&Arbiters::Here, 3).await, here);
        assert_eq!(thread_of(&Arbiters::Pool(Arc::default()), 3).await, here);
    }

    #[actix::test]
    #[expect(clippy::disallowed_methods, reason = "a pool needs real arbiters")]
    async fn a_slot_keeps_its_arbiter() {
        let handles = (0..2).map(|_| Arbiter::new().handle()).collect();
        let pool = Arbiters::Pool(Arc::new(handles));
        let (zero, one) = (thread_of(&pool, 0).await, thread_of(&pool, 1).await);
        assert_ne!(zero, one);
        assert_eq!(thread_of(&pool, 2).await, zero);
        assert_eq!(thread_of(&pool, 3).await, one);
    }
}

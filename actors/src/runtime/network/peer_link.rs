//! The link to one member: a task that keeps a connection up and carries requests over it.
//!
//! Owns: the outgoing connection to one member, the requests that wait on it and the pace of dialling.
//! Hears: [`Order`]s from [`super::peers::Peers`], and every change of the rules.
//! Tells: the watcher whenever the peer is heard and when the link ends or cannot be made.
//!
//! It never repeats a request: whether that is safe is known only to whoever asked.

mod conversation;
mod outstanding;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use tokio::sync::mpsc;

use super::alarm::Alarm;
use super::connection::{Connection, ConnectionLimits};
use super::dial::{DialError, dial};
use super::door;
use super::message::{NobodyListens, OtherLifeSeen};
use crate::protocol::id::NodeName;
use crate::protocol::time::Moment;
use crate::runtime::clock::Clock;
use crate::runtime::env::Env;
use crate::runtime::latest::Follower;
use crate::runtime::message::{DoorRules, PeerError, PeerHeard, PeerLost};
use crate::runtime::reply::Reply;
use crate::runtime::rng::Rng;
use crate::wire::message::{
    Hello, Introduction, PROTOCOL_VERSION, PeerMessage, Purpose, Refusal, Welcome,
};
use conversation::{Conversation, Ended};

/// Orders that wait for the link's task. It takes them at once whether it is connected or not, so
/// this bounds a burst within one turn.
pub(super) const ORDERS_MAX: usize = 1_024;

/// How long a request waits for a connection that is being made for the first time.
///
/// A connection within a data centre takes some milliseconds; whoever asks has other replicas to turn to.
const CONNECTION_WAIT_MAX: Duration = Duration::from_millis(200);

/// Pause after the first vain attempt. Doubles with each one.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Longest pause: after a restart every member is linked again within two seconds.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A connection that lived shorter counts as a vain attempt, so that a peer that accepts and closes is not
/// dialled without pause.
const LIVED_MIN: Duration = Duration::from_secs(2);

/// What a link carries.
pub(super) enum Order {
    /// A request.
    Ask {
        /// What.
        message: PeerMessage,
        /// When it is given up.
        deadline: Moment,
        /// Always answered.
        reply: Reply<Result<PeerMessage, PeerError>>,
    },
    /// News, lost when there is no connection.
    Tell(PeerMessage),
}

impl Order {
    /// Ends it without having sent it.
    pub(super) fn refuse(self, error: &PeerError) {
        match self {
            Self::Ask { reply, .. } => reply.answer(Err(error.clone())),
            Self::Tell(_) => {}
        }
    }
}

/// Whom links tell of their peers.
#[derive(Clone)]
pub struct LinkTells {
    /// The watcher.
    pub heard: Recipient<PeerHeard>,
    /// The watcher.
    pub lost: Recipient<PeerLost>,
    /// The watcher.
    pub other_life: Recipient<OtherLifeSeen>,
    /// The ring manager.
    pub nobody: Recipient<NobodyListens>,
}

/// The link to one member. Ends when the orders' sender is dropped.
pub(super) struct PeerLink {
    pub(super) env: Env,
    pub(super) peer: NodeName,
    pub(super) address: String,
    pub(super) rules: Follower<Arc<DoorRules>>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) tell: LinkTells,
}

/// How an attempt to connect ended.
enum Dialled {
    Connected { connection: Connection, peer: Introduction, orders: Vec<Order> },
    Failed(PeerError),
    NotWanted,
}

impl PeerLink {
    /// The link's task.
    pub(super) async fn run(mut self) {
        let mut pace = Pace::new(self.env.rng.fork(&format!("link to {}", self.peer)));
        let mut last = None;
        loop {
            let because = match self.dial(last.as_ref()).await {
                Dialled::NotWanted => return,
                Dialled::Failed(error) => error,
                Dialled::Connected { connection, peer, orders } => {
                    log::info!(peer:% = self.peer; "linked");
                    let began = self.env.clock.now();
                    match Conversation::run(&mut self, peer, connection, orders).await {
                        Ended::NotWanted => return,
                        Ended::Because(reason) => {
                            if self.env.clock.now().since(began) >= LIVED_MIN {
                                pace.start_anew();
                            }
                            PeerError::NotSent(reason)
                        }
                    }
                }
            };
            self.lost(&because, pace.is_fresh());
            if !self.rest(pace.pause(), &because).await {
                return;
            }
            last = Some(because);
        }
    }

    fn lost(&self, because: &PeerError, is_first: bool) {
        let (node, reason) = (self.peer.clone(), because.to_string());
        let is_early = matches!(because, PeerError::Refused(Refusal::OtherCluster { .. }))
            && self.rules.current().staged.iter().any(|staged| staged.name == node);
        if is_early {
            log::info!(peer:% = node; "no link yet: the joining node has not taken the ring");
        } else {
            let level = if is_first { log::Level::Warn } else { log::Level::Debug };
            log::log!(level, peer:% = node, reason:%; "no link");
        }
        self.tell.lost.do_send(PeerLost { node, reason });
    }

    /// One attempt. If it is the first, orders wait for it a little; else they are refused with what the
    /// last attempt met.
    async fn dial(&mut self, last: Option<&PeerError>) -> Dialled {
        let rules = self.rules.take();
        let attempt = attempt(self.env.clone(), self.peer.clone(), self.address.clone(), rules);
        tokio::pin!(attempt);
        let mut queue = Queue::new(self.env.clock.clone());
        let dialled = loop {
            tokio::select! {
                biased;
                () = queue.alarm.ring() => queue.expire(),
                order = self.orders.recv() => match (order, last) {
                    (Some(order), None) => queue.push(order),
                    (Some(order), Some(because)) => order.refuse(because),
                    (None, _) => return Dialled::NotWanted,
                },
                dialled = &mut attempt => break dialled,
            }
        };
        match dialled {
            Ok((connection, welcome)) => {
                let orders = queue.into_orders();
                Dialled::Connected { connection, peer: welcome.from, orders }
            }
            Err(Unlinked { error, other_life, nobody_listens }) => {
                if nobody_listens {
                    self.tell.nobody.do_send(NobodyListens(self.peer.clone()));
                }
                for order in queue.into_orders() {
                    order.refuse(&error);
                }
                if let Some(seen) = other_life {
                    self.tell.other_life.do_send(OtherLifeSeen(seen));
                }
                Dialled::Failed(error)
            }
        }
    }

    /// Refuses orders for a while. False when the link is not wanted any more.
    async fn rest(&mut self, pause: Duration, because: &PeerError) -> bool {
        let over = self.env.clock.sleep(pause);
        tokio::pin!(over);
        loop {
            tokio::select! {
                biased;
                () = &mut over => return true,
                order = self.orders.recv() => match order {
                    Some(order) => order.refuse(because),
                    None => return false,
                },
            }
        }
    }
}

/// Why there is no link, and who answered instead of the member, if it was its other life.
struct Unlinked {
    error: PeerError,
    other_life: Option<Introduction>,
    nobody_listens: bool,
}

impl From<Refusal> for Unlinked {
    fn from(refusal: Refusal) -> Self {
        Self { error: PeerError::Refused(refusal), other_life: None, nobody_listens: false }
    }
}

async fn attempt(
    env: Env,
    peer: NodeName,
    address: String,
    rules: Arc<DoorRules>,
) -> Result<(Connection, Welcome), Unlinked> {
    let hello = Hello {
        purpose: Purpose::Member,
        protocol: PROTOCOL_VERSION,
        from: Some(rules.me.clone()),
        to: Some(peer.clone()),
    };
    let dialled = dial(&env, &address, &hello, ConnectionLimits::default()).await;
    let (connection, welcome) = dialled.map_err(|error| match error {
        DialError::Refused(refusal) => Unlinked::from(refusal),
        DialError::Unreachable(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let error = PeerError::NotSent(error.to_string());
            Unlinked { error, other_life: None, nobody_listens: true }
        }
        DialError::Unreachable(_)
        | DialError::Silent { .. }
        | DialError::Closed { .. }
        | DialError::Broken(_)
        | DialError::NotUnderstood(_) => {
            let error = PeerError::NotSent(error.to_string());
            Unlinked { error, other_life: None, nobody_listens: false }
        }
    })?;
    let door = door(&rules);
    match door.check_welcome(&welcome, &peer) {
        Ok(()) => Ok((connection, welcome)),
        Err(refusal) => {
            let from = welcome.from;
            let is_peer = from.node.name == peer && door.is_other_life_of_member(&from);
            Err(Unlinked { other_life: is_peer.then_some(from), ..Unlinked::from(refusal) })
        }
    }
}

/// Orders that wait for the first connection.
struct Queue {
    clock: Clock,
    alarm: Alarm,
    /// Each with the moment at which it has waited long enough.
    waiting: Vec<(Moment, Order)>,
}

impl Queue {
    fn new(clock: Clock) -> Self {
        Self { alarm: Alarm::unset(clock.clone()), clock, waiting: Vec::new() }
    }

    fn push(&mut self, order: Order) {
        if self.waiting.len() >= ORDERS_MAX {
            return order
                .refuse(&PeerError::NotSent("too many wait for the connection".to_owned()));
        }
        let patience = self.clock.now().plus(CONNECTION_WAIT_MAX);
        let until = match &order {
            Order::Ask { deadline, .. } => patience.min(*deadline),
            Order::Tell(_) => patience,
        };
        self.alarm.no_later_than(until);
        self.waiting.push((until, order));
    }

    fn expire(&mut self) {
        let now = self.clock.now();
        let still_connecting = PeerError::NotSent("the connection is being made".to_owned());
        for (until, order) in std::mem::take(&mut self.waiting) {
            if until <= now {
                order.refuse(&still_connecting);
            } else {
                self.alarm.no_later_than(until);
                self.waiting.push((until, order));
            }
        }
    }

    fn into_orders(self) -> Vec<Order> {
        self.waiting.into_iter().map(|(_, order)| order).collect()
    }
}

/// The pauses between attempts.
struct Pace {
    rng: Rng,
    next: Duration,
}

impl Pace {
    fn new(rng: Rng) -> Self {
        Self { rng, next: PAUSE_MIN }
    }

    fn is_fresh(&self) -> bool {
        self.next == PAUSE_MIN
    }

    fn start_anew(&mut self) {
        self.next = PAUSE_MIN;
    }

    /// The next pause: between half of what is due and all of it, so that members which lost the same peer
    /// do not come back in step.
    fn pause(&mut self) -> Duration {
        let due = self.next;
        self.next = (due * 2).min(PAUSE_MAX);
        let half = due / 2;
        let micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
        half + Duration::from_micros(self.rng.below(micros))
    }
}
